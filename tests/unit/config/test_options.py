"""
The table of options.
"""

from __future__ import annotations

import os
import runpy
from pathlib import Path

import attrs
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from kgd.config.command_line import ACTION_NAMES, Options
from kgd.config.options import OPTIONS, OWN
from kgd.config.render import environment_file
from kgd.config.resolve import resolve, with_origins
from kgd.config.sources import from_environment
from kgd.settings import CORS, MEBIBYTE, Settings, normalize_base_url

# Types that accept any text, or check more than these texts can show.
EXCEPTIONS = (
    "text", "names", "notebook_uri", "stickiness", "path", "endpoint", "url_path", "header_value",
    "token",
)  # fmt: skip
DOCS = Path(__file__).resolve().parents[3] / "docs"


def parsed(*arguments: str, **environ: str) -> Settings:
    """
    The settings for a command line and an environment.
    """
    options = Options()
    options.postOptions = lambda: None  # type: ignore[method-assign]
    options.parseOptions(list(arguments))
    return resolve(OWN, options.source, from_environment(environ, OWN)).settings


class TableTests(SynchronousTestCase):
    """
    All rows.
    """

    def test_complete(self) -> None:
        """
        Every setting has a row, and every row a setting. The rows of a personality that others have
        made are its own.
        """
        fields = {field.name for field in attrs.fields(Settings)} - {"cors", "personality_options"}
        fields |= {field.name for field in attrs.fields(CORS)}
        self.assertEqual({option.field for option in OPTIONS if not option.no_effect}, fields)

    def test_wrong_values(self) -> None:
        """
        Errors of every type name the option, the value and the remedy.
        """
        for option in OPTIONS:
            if option.is_switch or option.type.read.__name__ in EXCEPTIONS:
                continue
            for value in ("-1", "x", "1e999", "nan"):
                error = self.assertRaises(UsageError, parsed, f"--{option.name}={value}")
                self.assertRegex(
                    str(error), rf"^--{option.name}={value} is (not valid|out of range); use \w"
                )

    def test_notebooks(self) -> None:
        """
        What is for notebooks: prefixes, comments, callers.
        """
        settings = parsed(
            "--seed-uri=/a=b.ipynb", "--seed-uri=https://h/c.ipynb", "--seed-uri=/d=file:///e",
            "--comment-prefix=Lua=--", "--comment-prefix==%", "--sticky=X-Caller",
        )  # fmt: skip
        self.assertEqual(
            settings.seed_uri, (f"/a={Path.cwd()}/b.ipynb", "https://h/c.ipynb", "/d=file:///e")
        )
        self.assertEqual(settings.comment_prefix, {"lua": "--", "": "%"})
        self.assertEqual(settings.sticky, "x-caller")
        self.assertRaises(UsageError, parsed, "--sticky=a header")
        self.assertRaises(UsageError, parsed, "--comment-prefix=lua")
        self.assertRaises(UsageError, parsed, "--static-path=/nowhere")

    def test_endpoints(self) -> None:
        """
        What cannot be right in an endpoint is said before anything is started; of kinds that are
        others', Twisted finds out later. An empty one, like an empty notebook, is none.
        """
        for wrong in (
            "tcp", "tcp:", "tcp:x", "tcp:65536", "tcp:1:nonsense=1", "tcp:1:backlog=x", "ssl:x",
            "tcp6:1:interfaces=x", "unix:", "unix:/s:mode=9", "systemd:index=0",
        ):  # fmt: skip
            error = self.assertRaises(UsageError, parsed, f"--listen={wrong}")
            self.assertTrue(str(error).startswith(f"--listen={wrong} is not valid; use "), error)
            self.assertIn("tcp:8888:interface=127.0.0.1", str(error))
        right = ("tcp:0", "tcp6:1:interface=x", "unix:/s:mode=600", "onion:1:anything=x",
                 "systemd:domain=INET:index=0", "ssl:1:privateKey=/k:certKey=/c")  # fmt: skip
        self.assertEqual(parsed(*(f"--listen={each}" for each in right)).listen, right)
        self.assertEqual(parsed("--listen=", "--seed-uri="), parsed())

    def test_web(self) -> None:
        """
        Paths and headers that could not be in a request or an answer are refused.
        """
        for path in ("/a b", "/a?b", "/a#b", "/caf\u00e9", "/a/../b", "/%zz", "/a\nb"):
            self.assertRaises(UsageError, parsed, f"--base-url={path}")
        self.assertEqual(parsed("--base-url=user/a%40b/").base_url, "/user/a%40b")
        for value in ("X-A\nX-B", "X-\u20ac"):
            self.assertRaises(UsageError, parsed, f"--allow-headers={value}")

    def test_token(self) -> None:
        """
        One that no client could send is refused, and not shown; blanks around it do not count.
        """
        for value in ("one\ntwo", " ", "\n", "a\x00b"):
            error = self.assertRaises(UsageError, parsed, KG_AUTH_TOKEN=value)
            self.assertIn(
                "--auth-token (set in the variable KG_AUTH_TOKEN) is not valid", str(error)
            )
        self.assertEqual(parsed(KG_AUTH_TOKEN="s3cret\n").auth_token, "s3cret")
        self.assertFalse(parsed("--auth-token=", KG_AUTH_TOKEN="x").needs_token)

    def test_too_much(self) -> None:
        """
        Numbers that are too large to work are refused.
        """
        for given in (
            f"max-kernels={2**31}", "prespawn-count=10001", "prespawn=ir=10001",
            "port-retries=10001", f"kernel-memory={2**62 + 1}", "kernel-file-size=9999999999GiB",
        ):  # fmt: skip
            error = self.assertRaises(UsageError, parsed, f"--{given}")
            name, _, value = given.partition("=")
            self.assertIn(f"--{name}={value} is out of range; use ", str(error))

    def test_origins(self) -> None:
        """
        Later errors have the places of the options that are not set on the command line.
        """
        where = {"ip": "in the variable KGD_IP", "port": "on the command line"}
        self.assertEqual(
            with_origins("cannot listen; see --ip and --port, not --ip-x", where),
            "cannot listen; see --ip and --port, not --ip-x (--ip is set in the variable KGD_IP)",
        )
        self.assertEqual(with_origins("see --port", where), "see --port")

    def test_jkg_options(self) -> None:
        """
        Every option that the Jupyter Kernel Gateway has, and its users set, is one.
        """
        known = {name for option in OPTIONS for name in (option.name, *option.aliases)}
        known |= {f"no-{option.name}" for option in OPTIONS if option.is_switch} | set(ACTION_NAMES)
        wanted = """
            ip port port-retries listen base-url auth-token allow-origin allow-credentials
            allow-headers allow-methods expose-headers max-age trust-xheaders max-kernels seed-uri
            prespawn-count default-kernel-name force-kernel-name env-process-whitelist api
            certfile keyfile client-ca tls-min auth-token-file ssl-version ws-ping-interval
            log-level config generate-config show-config
            show-config-json debug version help list-kernels env-whitelist cell-parser
            comment-prefix allow-notebook-download static-path cull-idle-timeout cull-interval
            cull-connected cull-busy buffer-offline-messages no-buffer-offline-messages
            kernel-info-timeout allowed-message-types allow-tracebacks no-allow-tracebacks
            traceback-replacement-message untracked-message-types root-dir transport-encryption
            shutdown-wait-time autorestart no-autorestart transport kernel-ip connection-dir
            restart-limit time-to-dead stable-start-time limit-rate no-limit-rate
            iopub-msg-rate-limit iopub-data-rate-limit rate-limit-window kernel-ws-protocol
            signature-scheme username allowed-kernelspecs ensure-native-kernel
            no-ensure-native-kernel max-message-size max-body-size max-buffered-bytes seed-timeout
            cell-timeout pool-queue-limit metrics no-metrics allow-origin-list
        """
        self.assertEqual(set(wanted.split()) - known, set())

    def test_defaults(self) -> None:
        """
        Without any option, the settings are the defaults, with the current directory.
        """
        self.assertEqual(parsed(), Settings(root_dir=str(Path.cwd())))

    def test_manual_is_current(self) -> None:
        """
        The page of options is what the table makes of it.
        """
        made = runpy.run_path(str(DOCS / "make_options.py"))
        self.assertEqual((DOCS / "options.md").read_text(), made["document"]())
        self.assertEqual(made["ENVIRONMENT"].read_text(), environment_file())


class ReadingTests(SynchronousTestCase):
    """
    How values are read from the command line and from variables.
    """

    def test_precedence(self) -> None:
        """
        Command line, then KGD_, then KG_; the last of several on the command line.
        """
        self.assertEqual(parsed("--port=1", "--port=2", KGD_PORT="3", KG_PORT="4").port, 2)
        self.assertEqual(parsed(KGD_PORT="3", KG_PORT="4").port, 3)
        self.assertEqual(parsed(KG_PORT="4").port, 4)
        self.assertEqual(parsed("-p", "5").port, 5)

    def test_empty_variables(self) -> None:
        """
        A variable that is set to nothing is not set.
        """
        settings = parsed(KG_MAX_KERNELS="", KGD_PORT="", KG_PORT="7", KG_DEFAULT_KERNEL_NAME="")
        self.assertEqual((settings.max_kernels, settings.port), (None, 7))
        self.assertEqual(settings.default_kernel_name, "python3")

    def test_variables_of_kubernetes(self) -> None:
        """
        It tells its containers where a service is in variables that look like ours, if the service
        is called kgd; that is not meant for us.
        """
        service = "tcp://10.96.0.7:8888"
        self.assertEqual(parsed(KGD_PORT=service).port, 8888)
        self.assertEqual(parsed(KGD_PORT=service, KG_PORT="7").port, 7)
        self.assertRaises(UsageError, parsed, f"--port={service}")
        self.assertRaises(UsageError, parsed, KGD_PORT_RETRIES=service)

    def test_home(self) -> None:
        """
        A ``~`` that the shell has left is the home, wherever a path is taken.
        """
        home = os.getcwd()
        self.patch(os, "environ", {"HOME": home})
        settings = parsed("--certfile=~/c", "--root-dir=~", "--seed-uri=/a=~/x.ipynb")
        self.assertEqual((settings.certfile, settings.root_dir), (f"{home}/c", home))
        self.assertEqual(settings.seed_uri, (f"/a={home}/x.ipynb",))

    def test_every_variable(self) -> None:
        """
        What the Jupyter Kernel Gateway reads from the environment is read here.
        """
        settings = parsed(
            KG_IP="1.1.1.1", KG_PORT="1234", KG_PORT_RETRIES="4321", KG_AUTH_TOKEN="secret",
            KG_ALLOW_CREDENTIALS="true", KG_ALLOW_HEADERS="a", KG_ALLOW_METHODS="b",
            KG_ALLOW_ORIGIN="*", KG_EXPOSE_HEADERS="c", KG_MAX_AGE="5", KG_BASE_URL="/fake/path",
            KG_MAX_KERNELS="1", KG_FORCE_KERNEL_NAME="f", KG_DEFAULT_KERNEL_NAME="d",
            KG_WS_PING_INTERVAL_SECS="2", KG_LIST_KERNELS="True", KG_API="x",
            KG_ENV_WHITELIST="A, B,", KG_ENV_PROCESS_WHITELIST="C",
            KG_SEED_URI="/n.ipynb", KG_PRESPAWN_COUNT="1", KG_SSL_VERSION="3",
            KG_TRUST_XHEADERS="false",
        )  # fmt: skip
        self.assertEqual(
            (settings.ip, settings.port, settings.port_retries, settings.auth_token),
            ("1.1.1.1", 1234, 4321, "secret"),
        )
        self.assertEqual(
            settings.cors,
            CORS(
                allow_origin="*",
                allow_credentials="true",
                allow_headers="a",
                allow_methods="b",
                expose_headers="c",
                max_age="5",
            ),
        )
        self.assertEqual((settings.base_url, settings.max_kernels), ("/fake/path", 1))
        self.assertEqual((settings.force_kernel_name, settings.default_kernel_name), ("f", "d"))
        self.assertEqual((settings.ws_ping_interval, settings.list_kernels), (2, True))
        self.assertEqual((settings.api, settings.env_whitelist), ("x", {"A", "B"}))
        self.assertEqual(settings.env_process_whitelist, {"C"})
        self.assertEqual((settings.seed_uri, settings.prespawn_count), (("/n.ipynb",), 1))
        self.assertIs(settings.trust_xheaders, False)
        self.assertIs(parsed(KG_TRUST_XHEADERS="true").trust_xheaders, True)
        self.assertIs(parsed().trust_xheaders, False)

    def test_idle(self) -> None:
        """
        Options without effect are read, and lead to a warning with the reason.
        """
        (remark,) = resolve(OWN, from_environment({"KG_SSL_VERSION": "3"}, OWN)).remarks
        self.assertIn("--ssl-version has no effect (in the variable KG_SSL_VERSION)", remark)
        self.assertIn("--tls-min=1.2", remark)
        error = self.assertRaises(UsageError, parsed, KG_SSL_VERSION="x")
        self.assertIn(
            "--ssl-version=x (set in the variable KG_SSL_VERSION) is not valid", str(error)
        )

    def test_switches(self) -> None:
        """
        A switch is on, off, or a word in the environment; another word is an error.
        """
        for arguments, variable, expected in (
            (["--list-kernels"], "", True),
            (["--list-kernels", "--no-list-kernels"], "", False),
            (["--no-list-kernels"], "true", False),
            ([], "TRUE", True),
            ([], "1", True),
            ([], "yes", True),
            ([], "off", False),
            ([], "0", False),
        ):
            settings = parsed(*arguments, KG_LIST_KERNELS=variable)
            self.assertEqual(settings.list_kernels, expected, (arguments, variable))
        error = self.assertRaises(UsageError, parsed, KG_LIST_KERNELS="maybe")
        self.assertIn(
            "--list-kernels=maybe (set in the variable KG_LIST_KERNELS) is not valid", str(error)
        )

    def test_lists(self) -> None:
        """
        Lists take commas and repetition; endpoints, which may hold commas, only repetition.
        """
        settings = parsed(
            "--env-whitelist=A, B", "--env-whitelist", "C", "--listen=a,b", "--listen=c"
        )
        self.assertEqual(settings.env_whitelist, {"A", "B", "C"})
        self.assertEqual(settings.listen, ("a,b", "c"))

    def test_files_and_endpoints(self) -> None:
        """
        Files are where they are from here, wherever the gateway goes.
        """
        settings = parsed(
            "--certfile=c", "--keyfile=/k", "--auth-token-file=t", "--listen=unix:s",
            KG_CLIENT_CA="a", KGD_PORT_FILE="",
        )  # fmt: skip
        here = Path.cwd()
        self.assertEqual((settings.certfile, settings.keyfile), (f"{here}/c", "/k"))
        self.assertEqual((settings.auth_token_file, settings.client_ca), (f"{here}/t", f"{here}/a"))
        self.assertEqual((settings.listen, settings.port_file), ((f"unix:address={here}/s",), ""))
        self.assertTrue(settings.needs_token)
        environ = {"KG_CERTFILE": "/c", "KG_KEYFILE": "/k"}
        self.assertEqual(parsed(**environ).keyfile, "/k")
        self.assertEqual(parsed(**environ).certfile, "/c")

    def test_origins(self) -> None:
        """
        An origin is one with a scheme; what could never match is an error.
        """
        given = parsed("--allow-origin= http://a.com, https://b.com:8443/ ")
        self.assertEqual(given.cors.allow_origin, "http://a.com,https://b.com:8443/")
        repeated = parsed("--allow-origin=http://a.com", "--allow-origin-list=http://b.com")
        self.assertEqual(repeated.cors.allow_origin, "http://a.com,http://b.com")
        self.assertEqual(parsed("--allow-origin=*").cors.allow_origin, "*")
        for wrong in ("null", "a.com", "a.com:80", "http://", "http://a.com/b", "http://*.a.com"):
            self.assertRaises(UsageError, parsed, f"--allow-origin={wrong}")

    def test_sizes(self) -> None:
        """
        Sizes are bytes, or have a suffix.
        """
        for value, expected in (("17", 17), ("2KiB", 2048), ("3MiB", 3 * MEBIBYTE)):
            self.assertEqual(parsed(f"--max-body-size={value}").max_body_size, expected)

    def test_notebooks(self) -> None:
        """
        A path is one from here, wherever the gateway goes; a URI stays as it is.
        """
        for value, expected in (
            ("a b/c%20d#e.ipynb", os.path.abspath("a b/c%20d#e.ipynb")),
            ("/a/../b", "/b"),
            ("http://a/../b", "http://a/../b"),
            ("HTTPS://a", "HTTPS://a"),
            ("file:///a%20b", "file:///a%20b"),
        ):
            self.assertEqual(parsed(f"--seed-uri={value}").seed_uri, (expected,))

    def test_counts(self) -> None:
        """
        Numbers by name may be given at once or one after the other.
        """
        given = parsed("--prespawn=ir=2, bash=1", "--prespawn=c=3").prespawn
        self.assertEqual(given, {"ir": 2, "bash": 1, "c": 3})
        for wrong in ("ir", "=2", "ir=x", "ir=-1"):
            self.assertRaises(UsageError, parsed, f"--prespawn={wrong}")

    def test_words(self) -> None:
        """
        Where only a few words will do, others are refused with those that will.
        """
        self.assertEqual(parsed("--transport=IPC").transport, "ipc")
        error = self.assertRaises(UsageError, parsed, "--transport=pigeon")
        self.assertIn("auto, tcp, ipc", str(error))
        self.assertEqual(parsed("--signature-scheme=HMAC-sha512").signature_scheme, "hmac-sha512")
        for wrong in ("hmac-", "hmac-shake_128", "sha256", "hmac-md17"):
            self.assertRaises(UsageError, parsed, f"--signature-scheme={wrong}")
        for value, address in (
            ("localhost", "127.0.0.1"),
            ("*", "0.0.0.0"),
            ("10.0.0.1", "10.0.0.1"),
        ):
            self.assertEqual(parsed(f"--kernel-ip={value}").kernel_ip, address)
        for wrong in ("::1", "kernels.example", "1.2.3"):
            self.assertRaises(UsageError, parsed, f"--kernel-ip={wrong}")
        self.assertIsNone(parsed("--max-kernels=none", KGD_MAX_KERNELS="5").max_kernels)
        self.assertEqual(parsed("--max-kernels=0").max_kernels, 0)
        self.assertEqual(parsed("--kernel-ws-protocol=").kernel_ws_protocol, "")
        self.assertEqual(parsed("--kernel-ws-protocol=legacy").kernel_ws_protocol, "")
        self.assertIsNone(parsed().kernel_ws_protocol)

    def test_levels(self) -> None:
        """
        Levels have names in any case, or the numbers of Python's logging.
        """
        for value, expected in (
            ("DEBUG", "debug"), ("Warning", "warn"), ("0", "debug"), ("10", "debug"),
            ("20", "info"), ("30", "warn"), ("50", "critical"),
        ):  # fmt: skip
            self.assertEqual(parsed(f"--log-level={value}").log_level, expected)
        self.assertRaises(UsageError, parsed, "--log-level=51")

    def test_usage_errors(self) -> None:
        """
        Options that there are not, and arguments without an option, are errors.
        """
        for arguments in (["--nope"], ["--port"], ["surplus"], ["--list-kernels=x"]):
            self.assertRaises(UsageError, parsed, *arguments)

    def test_base_urls(self) -> None:
        """
        All spellings of a base URL are one.
        """
        for text in ("foo/bar", "/foo/bar", "foo/bar/", "//foo//bar//"):
            self.assertEqual(normalize_base_url(text), "/foo/bar")
        self.assertEqual(normalize_base_url("/"), "")

    def test_secrets(self) -> None:
        """
        The token does not appear where settings are printed.
        """
        settings = parsed("--auth-token=s3cret")
        self.assertEqual(settings.auth_token, "s3cret")
        self.assertNotIn("s3cret", repr(settings))

    def test_read_at_once(self) -> None:
        """
        ``parseOptions`` itself refuses what cannot be right, before anything is made of it.
        """
        self.patch(__import__("os"), "environ", {"KGD_PORT": "x"})
        self.assertRaises(UsageError, Options().parseOptions, [])
