"""
Configuration files: where they are looked for, what they say, and what is wrong with them.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from kgd.config.files import ConfigFiles, default_path, read_files, read_toml
from kgd.config.options import OPTIONS, OWN
from kgd.config.resolve import Resolution, resolve
from kgd.settings import Settings

KGD = "kgd.toml"
NAMED = "jupyter_kernel_gateway_config"


class FilesTestCase(SynchronousTestCase):
    """
    With two directories for files, the first of which is stronger.
    """

    def setUp(self) -> None:
        self.near, self.far = (Path(self.mktemp()).resolve() for _ in range(2))
        for directory in (self.near, self.far):
            directory.mkdir(parents=True)
        path = os.pathsep.join(map(str, (self.near, self.far)))
        environ = {"JUPYTER_CONFIG_PATH": path, "JUPYTER_CONFIG_DIR": str(self.far), "HOME": "/"}
        self.patch(os, "environ", environ)

    def read(self, chosen: str = "", **environ: str) -> tuple[Settings, ConfigFiles, Resolution]:
        """
        Read what there is.
        """
        files = read_files(chosen, {**os.environ, **environ}, OWN)
        decided = resolve(OWN, *files.sources)
        return decided.settings, files, decided

    def wrong(self, chosen: str = "") -> str:
        """
        :return: The error.
        """
        return str(self.assertRaises(UsageError, self.read, chosen))


class TomlTests(FilesTestCase):
    """
    Our own files.
    """

    def test_values(self) -> None:
        """
        Every kind of value; names with dashes, with underscores, or an alias.
        """
        (self.near / KGD).write_text(
            'port = 9000\nmax_kernels = 5\nlist-kernels = true\nenv-whitelist = ["A", "B"]\n'
            'env-process-whitelist = "C,D"\nmax-body-size = "2MiB"\nmax-message-size = 7\n'
            'cell-timeout = 1.5\nallow-origin = "*"\nseed-uri = ["/a.ipynb", "/b.ipynb"]\n'
            "listen = []\nmax-age = 600\n[prespawn]\nir = 2\n[comment-prefix]\nlua = '--'\n"
        )
        settings, files, decided = self.read()
        self.assertEqual((settings.port, settings.max_kernels), (9000, 5))
        self.assertEqual((settings.list_kernels, settings.request_timeout), (True, 1.5))
        self.assertEqual((settings.env_whitelist, settings.env_process_whitelist),
                         ({"A", "B"}, {"C", "D"}))  # fmt: skip
        self.assertEqual((settings.max_body_size, settings.max_message_size), (2 * 1024**2, 7))
        self.assertEqual((settings.cors.allow_origin, settings.cors.max_age), ("*", "600"))
        self.assertEqual(settings.seed_uri, ("/a.ipynb", "/b.ipynb"))
        self.assertEqual((settings.prespawn, settings.comment_prefix), ({"ir": 2}, {"lua": "--"}))
        self.assertEqual(list(files.remarks), [])
        self.assertEqual(decided.where["max-kernels"], f"as max_kernels in {self.near / KGD}")

    def test_nearest_wins(self) -> None:
        """
        All files count, key by key; a chosen one replaces them.
        """
        (self.near / KGD).write_text("port = 1")
        (self.far / KGD).write_text("port = 2\nmax-kernels = 3")
        settings, _, _ = self.read()
        self.assertEqual((settings.port, settings.max_kernels), (1, 3))
        chosen = self.far / "mine"
        chosen.write_text("port = 4")
        settings, _, _ = self.read(str(chosen))
        self.assertEqual((settings.port, settings.max_kernels), (4, None))

    def test_unreachable(self) -> None:
        """
        A directory that cannot be looked into is remarked upon, and does not matter: a user may
        have somebody else's HOME.
        """
        # For root no mode would do.
        closed = self.near / ("x" * 300)
        (self.far / KGD).write_text("port = 2")
        path = os.pathsep.join(map(str, (closed, self.far)))
        self.patch(os, "environ", {**os.environ, "JUPYTER_CONFIG_PATH": path})
        settings, files, _ = self.read()
        self.assertEqual(settings.port, 2)
        (remark,) = files.remarks
        self.assertEqual(remark, f"cannot read configuration from {closed}: File name too long")

    def test_mark(self) -> None:
        """
        Editors that begin a file with a byte order mark do no harm.
        """
        (self.near / KGD).write_text("port = 2", "utf-8-sig")
        self.assertEqual(self.read()[0].port, 2)

    def test_none_at_all(self) -> None:
        """
        With ``JUPYTER_NO_CONFIG`` nothing is looked for, but what is chosen is read.
        """
        (self.near / KGD).write_text("port = 1")
        (self.near / f"{NAMED}.py").write_text("c.KernelGatewayApp.ip = '1.1.1.1'")
        settings, _, _ = self.read(JUPYTER_NO_CONFIG="1")
        self.assertEqual((settings.port, settings.ip), (8888, "127.0.0.1"))
        settings, _, _ = self.read(str(self.near / KGD), JUPYTER_NO_CONFIG="1")
        self.assertEqual((settings.port, settings.ip), (1, "127.0.0.1"))

    def test_empty_lists(self) -> None:
        """
        An empty list is one, for every option that takes a list.
        """
        for option in OPTIONS:
            if option.many:
                (self.near / KGD).write_text(f"{option.name} = []")
                settings, _, _ = self.read()
                self.assertEqual(len(option.value_in(settings)), 0, option.name)

    def test_wrong_values(self) -> None:
        """
        The error names the option, the value, the file, the key and the remedy.
        """
        path = self.near / KGD
        for text, value in (
            ('port = "x"', "x"), ("port = 70000", "70000"), ("port = [1]", "[1]"),
            ("port = 1979-05-27", "datetime.date(1979, 5, 27)"), ("port = true", "true"),
            ("port = {a = 1}", "{'a': 1}"),
        ):  # fmt: skip
            path.write_text(text)
            error = self.wrong()
            self.assertRegex(
                error,
                rf"^--port={re.escape(value)} \(set as port in {path}\) is "
                rf"{'out of range' if value == '70000' else 'not valid'}; use a port from 0",
            )

    def test_secrets(self) -> None:
        """
        A token that is none is not printed.
        """
        (self.near / KGD).write_text('auth-token = ["s3cret"]')
        self.assertNotIn("s3cret", self.wrong())

    def test_wrong_files(self) -> None:
        """
        Unknown keys, repeated ones, invalid TOML and missing files are errors that help.
        """
        path = self.near / KGD
        for text, expected in (
            (
                "prot = 1",
                f"{path} has the key 'prot', which is not an option; did you mean 'port'?",
            ),
            ("zzzzzz = 1", "which is not an option; kgd --help-all lists"),
            ("max-kernels = 1\nmax_kernels = 2", "has max-kernels twice"),
            ("port = ", f"{path} is not valid TOML: "),
        ):
            path.write_text(text)
            self.assertIn(expected, self.wrong())
        path.write_bytes(b'api = "\xff"')
        self.assertIn(f"{path} is not valid TOML: ", self.wrong())
        for name in ("missing.toml", "missing.py", "missing.json"):
            path = self.far / name
            error = self.wrong(str(path))
            self.assertIn(f"{path} cannot be read: No such file", error)
        self.assertIn("cannot be read: Is a directory", self.wrong(str(self.far)))

    def test_default_path(self) -> None:
        """
        A new file is written to where it will be found.
        """
        default_path().write_text("port = 5")
        self.assertEqual(self.read()[0].port, 5)
        self.assertEqual(set(read_toml(default_path(), OWN)), {"port"})


class JupyterTests(FilesTestCase):
    """
    The files of the Jupyter Kernel Gateway.
    """

    def test_python(self) -> None:
        """
        They are executed; lists may be appended to, and other files loaded.
        """
        (self.near / "other.py").write_text("c.KernelGatewayApp.max_kernels = 6")
        (self.near / f"{NAMED}.py").write_text(
            "c = get_config()\nload_subconfig('other.py')\n"
            "c.KernelGatewayApp.port = 9000\nc.KernelGatewayApp.auth_token = 't'\n"
            "c.KernelGatewayApp.seed_uri = None\nc.KernelGatewayApp.default_kernel_name = ''\n"
            "c.JupyterWebsocketPersonality.list_kernels = True\n"
            "c.JupyterWebsocketPersonality.env_whitelist.append('A')\n"
            "c.KernelSpecManager.allowed_kernelspecs = {'python3'}\n"
            "c.NotebookHTTPPersonality.comment_prefix = {'lua': '--', None: '%'}\n"
            "c.Session.username = 'them'\n"
            "if c.KernelGatewayApp.ip:\n    pass\n"
        )
        settings, files, decided = self.read()
        self.assertEqual(list(files.remarks), [])
        self.assertEqual((settings.port, settings.auth_token), (9000, "t"))
        self.assertEqual((settings.seed_uri, settings.default_kernel_name), ((), "python3"))
        self.assertEqual((settings.list_kernels, settings.env_whitelist), (True, {"A"}))
        self.assertEqual(settings.allowed_kernelspecs, {"python3"})
        self.assertEqual(settings.comment_prefix, {"lua": "--", "": "%"})
        self.assertEqual((settings.username, settings.max_kernels), ("them", 6))
        self.assertEqual(settings.ip, "127.0.0.1")
        self.assertEqual(
            decided.where["port"], f"as KernelGatewayApp.port in {self.near / NAMED}.py"
        )

    def test_lists_grow(self) -> None:
        """
        What is appended is appended to the default, over all files.
        """
        (self.far / f"{NAMED}.py").write_text(
            "c.MappingKernelManager.untracked_message_types.append('a')"
        )
        (self.near / f"{NAMED}.py").write_text(
            "c.MappingKernelManager.untracked_message_types.extend(['b'])"
        )
        settings, _, _ = self.read()
        self.assertEqual(
            settings.untracked_message_types, {*Settings().untracked_message_types, "a", "b"}
        )

    def test_strength(self) -> None:
        """
        kgd.toml, then the named files, then ``jupyter_config``; nearer directories before others,
        and in one of them JSON before Python.
        """
        found = []
        files = [
            *((self.far / f"jupyter_config{suffix}") for suffix in (".py", ".json")),
            *((self.near / f"jupyter_config{suffix}") for suffix in (".py", ".json")),
            *((self.far / f"{NAMED}{suffix}") for suffix in (".py", ".json")),
            *((self.near / f"{NAMED}{suffix}") for suffix in (".py", ".json")),
            self.far / KGD,
            self.near / KGD,
        ]
        for port, path in enumerate(files, 1):
            path.write_text(
                {
                    ".py": f"c.KernelGatewayApp.port = {port}",
                    ".json": json.dumps({"KernelGatewayApp": {"port": port}}),
                    ".toml": f"port = {port}",
                }[path.suffix]
            )
            found.append(self.read()[0].port)
        self.assertEqual(found, [*range(1, len(files) + 1)])

    def test_chosen(self) -> None:
        """
        A chosen file replaces what would be found, but not ``jupyter_config``.
        """
        (self.near / f"{NAMED}.json").write_text('{"KernelGatewayApp": {"port": 1}}')
        (self.near / KGD).write_text("port = 2")
        (self.near / "jupyter_config.json").write_text('{"JupyterApp": {"log_level": 10}}')
        for name, text in (
            ("mine.json", '{"KernelGatewayApp": {"ip": "1.1.1.1"}}'),
            ("mine.py", "c.KernelGatewayApp.ip = '1.1.1.1'"),
            ("mine.toml", "ip = '1.1.1.1'"),
        ):
            chosen = self.far / name
            chosen.write_text(text)
            settings, _, _ = self.read(str(chosen))
            self.assertEqual(
                (settings.port, settings.ip, settings.log_level), (8888, "1.1.1.1", "debug"), name
            )

    def test_ancestors(self) -> None:
        """
        The name of any class in the chain will do, and the nearest wins.
        """
        (self.near / f"{NAMED}.json").write_text(
            json.dumps(
                {
                    "MappingKernelManager": {"cull_interval": 1, "cull_idle_timeout": 2},
                    "SeedingMappingKernelManager": {"cull_interval": 3},
                    "MultiKernelManager": {"cull_interval": 4, "root_dir": "/"},
                    "ConnectionFileMixin": {"ip": "127.0.0.2"},
                }
            )
        )
        settings, files, _ = self.read()
        self.assertEqual((settings.cull_interval, settings.cull_idle_timeout), (3, 2))
        self.assertEqual((settings.root_dir, settings.kernel_ip), ("/", "127.0.0.2"))
        self.assertEqual(settings.ip, "127.0.0.1")
        self.assertEqual(list(files.remarks), [])

    def test_remarks(self) -> None:
        """
        Unknown names and those that change nothing are remarked upon, with the file; what is meant
        for other programs in the file that all of them share is not.
        """
        shared = self.near / "jupyter_config.json"
        shared.write_text(
            '{"ServerApp": {"port": 1}, "KernelGatewayApp": {"no_such": 1},'
            '"JupyterApp": {"answer_yes": true}}'
        )
        named = self.near / f"{NAMED}.py"
        named.write_text(
            "c.KernelGatewayApp.cookie_secret = b'x'\nc.Foo.bar = 1\n"
            "c.KernelGatewayApp.cull_busy = True\nc.KernelGatewayApp.ssl_version = 5\n"
        )
        _, files, decided = self.read()
        expected = (
            f"{shared} sets KernelGatewayApp.no_such, which kgd does not know",
            f"{named} sets Foo.bar, which kgd does not know",
            f"{named} sets KernelGatewayApp.cull_busy, which kgd does not know",
            f"{named} sets KernelGatewayApp.cookie_secret, which has no effect: ",
        )
        self.assertEqual(len(files.remarks), len(expected), files.remarks)
        for text in expected:
            self.assertTrue(any(each.startswith(text) for each in files.remarks), text)
        (remark,) = decided.remarks
        self.assertIn("--ssl-version has no effect (as KernelGatewayApp.ssl_version", remark)

    def test_no_class(self) -> None:
        """
        What stands outside of any class is remarked upon, except in the file of all programs.
        """
        chosen = self.far / "mine.json"
        chosen.write_text('{"port": 1, "KernelGatewayApp": 2, "version": 1}')
        (self.near / "jupyter_config.json").write_text('{"port": 1}')
        _, files, _ = self.read(str(chosen))
        self.assertEqual(
            list(files.remarks),
            [
                f"{chosen} sets {name}, which is not a class with options and has no effect"
                for name in ("port", "KernelGatewayApp")
            ],
        )

    def test_wrong_values(self) -> None:
        """
        The error names our option, the value, the file and the trait.
        """
        path = self.near / f"{NAMED}.py"
        for value in ("'x'", "['x']", "object"):
            path.write_text(f"c.KernelGatewayApp.port = {value}")
            error = self.wrong()
            self.assertIn("--port=", error)
            self.assertIn(f" (set as KernelGatewayApp.port in {path}) is not valid", error)

    def test_files_that_raise(self) -> None:
        """
        They are errors of one line, which says where in the file it went wrong.
        """
        path = self.near / f"{NAMED}.py"
        for text, expected in (
            ("\n1/0", "ZeroDivisionError: division by zero (line 2)"),
            ("def f():\n    raise OSError('a\\nb')\nf()", "OSError: a b (line 2)"),
            ("import sys\nsys.exit('so')", "SystemExit: so (line 2)"),
            ("c.x = ", "invalid syntax (line 1)"),
            ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ):
            path.write_text(text)
            error = self.wrong()
            self.assertIn(f"{path} cannot be read: {expected}", error)
            self.assertNotIn("\n", error)
        path.unlink()
        path = self.near / f"{NAMED}.json"
        path.write_text("{")
        self.assertIn(f"{path} cannot be read: it is not valid JSON", self.wrong())
        path.write_text("[1]")
        self.assertIn(f"{path} cannot be read: ", self.wrong())
