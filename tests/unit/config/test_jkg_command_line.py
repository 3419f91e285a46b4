"""
Command lines as the Jupyter Kernel Gateway takes them, and other spellings of our own.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from kgd.config.command_line import Options
from kgd.config.jkg_command_line import CommandLineRewriter
from kgd.config.jkg_traits import TRAIT_ALIASES
from kgd.config.options import OPTIONS, OWN
from kgd.config.resolve import resolve
from kgd.settings import Settings


def read(*arguments: str) -> tuple[Settings, Sequence[str]]:
    """
    :return: The settings for a command line, and what is remarked upon.
    """
    options = Options()
    options.postOptions = lambda: None  # type: ignore[method-assign]
    options.parseOptions(list(arguments))
    return resolve(OWN, options.source).settings, options.remarks


class TraitTests(SynchronousTestCase):
    """
    ``--Class.trait``.
    """

    def test_forms(self) -> None:
        """
        What embedders and the documentation of the Jupyter Kernel Gateway write.
        """
        settings, remarks = read(
            "--KernelGatewayApp.ip", "1.2.3.4", "--KernelGatewayApp.port", "9000",
            "--KernelGatewayApp.port_retries=0", "--KernelGatewayApp.auth_token", "-starts-so",
            "--KernelGatewayApp.api='notebook-http'", "--JupyterApp.answer_yes", "true",
            "--JupyterApp.log_level=DEBUG", "--KernelGatewayApp.env_process_whitelist=A",
            "--KernelGatewayApp.env_process_whitelist=B",
            "--JupyterWebsocketPersonality.list_kernels=True",
            "--JupyterWebsocketPersonality.env_whitelist=['C', 'D']",
            "--NotebookHTTPPersonality.allow_notebook_download=true",
            '--NotebookHTTPPersonality.comment_prefix={"lua": "--", None: "%"}',
            "--ZMQChannelsWebsocketConnection.limit_rate", "True",
            "--ZMQChannelsWebsocketConnection.iopub_data_rate_limit=5e6",
            "--MappingKernelManager.cull_idle_timeout=300", "--MappingKernelManager.cull_connected",
            "--MappingKernelManager.buffer_offline_messages", "False",
            "--KernelManager.autorestart=0", "--KernelManager.ip=127.0.0.2",
            "--KernelRestarter.restart_limit", "7",
            "--Session.username=them", "--KernelSpecManager.whitelist=python3",
            "--KernelGatewayApp.max_kernels=None", "--KernelGatewayApp.seed_uri=None",
        )  # fmt: skip
        self.assertEqual(remarks, [])
        self.assertEqual((settings.ip, settings.port, settings.port_retries), ("1.2.3.4", 9000, 0))
        self.assertEqual((settings.auth_token, settings.api), ("-starts-so", "notebook-http"))
        self.assertEqual((settings.log_level, settings.list_kernels), ("debug", True))
        self.assertEqual(settings.env_process_whitelist, {"A", "B"})
        self.assertEqual(settings.env_whitelist, {"C", "D"})
        self.assertEqual(settings.comment_prefix, {"lua": "--", "": "%"})
        self.assertTrue(settings.allow_notebook_download)
        self.assertEqual((settings.limit_rate, settings.iopub_data_rate_limit), (True, 5e6))
        self.assertEqual((settings.cull_idle_timeout, settings.cull_connected), (300, True))
        self.assertFalse(settings.buffer_offline_messages)
        self.assertEqual((settings.autorestart, settings.kernel_ip), (False, "127.0.0.2"))
        self.assertEqual((settings.restart_limit, settings.username), (7, "them"))
        self.assertEqual(settings.allowed_kernelspecs, {"python3"})
        self.assertEqual((settings.max_kernels, settings.seed_uri), (None, ()))

    def test_ancestors(self) -> None:
        """
        Any class will do from which the one inherits that has the trait.
        """
        for name in ("SeedingMappingKernelManager", "AsyncMappingKernelManager",
                     "MultiKernelManager", "Configurable"):  # fmt: skip
            settings, _ = read(f"--{name}.cull_interval=7")
            self.assertEqual(settings.cull_interval, 7, name)

    def test_last_one_counts(self) -> None:
        """
        Whatever its spelling.
        """
        settings, _ = read("--port=1", "--KernelGatewayApp.port=2", "--port", "3")
        self.assertEqual(settings.port, 3)
        settings, _ = read("--port=1", "--KernelGatewayApp.port=2")
        self.assertEqual(settings.port, 2)

    def test_switch_before_another_option(self) -> None:
        """
        A switch that stands alone is on, and takes nothing from what follows.
        """
        settings, _ = read("--JupyterWebsocketPersonality.list_kernels", "--port=5")
        self.assertEqual((settings.list_kernels, settings.port), (True, 5))

    def test_idle(self) -> None:
        """
        A trait without a counterpart is accepted, with a warning that has the reason.
        """
        for word, reason in (
            ("--JupyterApp.logging_config={}", "--logfile"),
            ("--KernelGatewayApp.kernel_manager_class=x.Y", "not with classes"),
            ("--Session.key=x", "random key"),
            ("--MappingKernelManager.shared_context=False", "one ZeroMQ context"),
        ):
            _, (remark,) = read(word)
            self.assertTrue(remark.startswith(word.partition("=")[0]), remark)
            self.assertIn(reason, remark)

    def test_unknown(self) -> None:
        """
        An unknown trait is an error, and with ``--drop-in`` a warning.
        """
        for words in (["--Foo.bar=1"], ["--Foo.bar", "1"], ["--KernelGatewayApp.cull_busy=True"]):
            name = words[0].partition("=")[0]
            error = self.assertRaises(UsageError, read, *words)
            self.assertIn(f"{name} is not known", str(error))
            settings, (remark,) = read("--drop-in", *words, "--port=5")
            self.assertIn(f"{name} is not known", remark)
            self.assertEqual(settings, attrs_with_port(5))

    def test_arguments(self) -> None:
        """
        What is no option, and no value of one, is an error, and with ``--drop-in`` one warning for
        all of it; the options after it count.
        """
        for words, ignored in (
            (["notebook.ipynb"], "'notebook.ipynb'"),
            (["a", "--port=5", "b c"], "'a', 'b c'"),
            (["--port", "5", "a"], "'a'"),
            (["-p", "5", "-p5", "a"], "'a'"),
            (["--port=5", "", "--", "a", "--port=6"], "'', 'a', '--port=6'"),
            (["--KernelGatewayApp.port", "5", "a"], "'a'"),
            (["--list-kernels", "true"], "'true'"),
        ):
            settings, (remark,) = read("--drop-in", *words)
            self.assertTrue(remark.startswith(f"{ignored} on the command line has no"), remark)
            self.assertEqual(settings.port, 5 if "5" in " ".join(words) else 8888)
            self.assertRaises(UsageError, read, *words)
        for words in (["--port", "5"], ["-p", "5"], ["--Foo.bar", "a"]):
            _, remarks = read("--drop-in", *words)
            self.assertNotIn("on the command line", str(remarks))

    def test_wrong_values(self) -> None:
        """
        The error names our option, the value and the remedy.
        """
        for word, expected in (
            (
                "--KernelGatewayApp.port=x",
                "--port=x is not valid; use a port",
            ),
            (
                "--MappingKernelManager.cull_busy=maybe",
                "--cull-busy=maybe (set on the command line, as --Mapping",
            ),
            ("--KernelGatewayApp.port", "needs a value"),
            (
                "--JupyterApp.answer_yes=maybe",
                "--JupyterApp.answer_yes=maybe is not valid; use true or false",
            ),
            ("--JupyterWebsocketPersonality.env_whitelist=[{}]", "as --JupyterWebsocket"),
        ):
            self.assertIn(expected, str(self.assertRaises(UsageError, read, word)))

    def test_table(self) -> None:
        """
        Every trait leads to an option, or has a reason not to; no family says two things.
        """
        known = {option.name for option in OPTIONS}
        for family in TRAIT_ALIASES:
            self.assertEqual(set(family.options.values()) - known, set())
            kinds = (family.options, family.actions, family.no_effect)
            self.assertEqual(sum(map(len, kinds)), len({trait for each in kinds for trait in each}))
        self.assertEqual(list(OWN.trait_aliases_of("Nobody", "port")), [])


def attrs_with_port(port: int) -> Settings:
    """
    :return: Nothing but a port.
    """
    return read(f"--port={port}")[0]


class OwnTests(SynchronousTestCase):
    """
    Our own options.
    """

    def test_spellings(self) -> None:
        """
        Underscores, aliases, switches with values, and JKG's short forms.
        """
        settings, _ = read(
            "--port_retries=3", "--seed_uri", "/a.ipynb", "--ssl_version=5", "--list-kernels=true",
            "--cull_busy=on", "--buffer-offline-messages=off", "--cell-timeout=5", "-y", "-p", "6",
            "--pool-queue-limit", "7", "--max-buffered-bytes=1MiB", "--log-level", "30",
        )  # fmt: skip
        self.assertEqual((settings.port_retries, settings.seed_uri), (3, ("/a.ipynb",)))
        self.assertEqual((settings.list_kernels, settings.cull_busy), (True, True))
        self.assertFalse(settings.buffer_offline_messages)
        self.assertEqual((settings.request_timeout, settings.port), (5, 6))
        self.assertEqual((settings.queue_limit, settings.max_client_backlog), (7, 1024 * 1024))
        self.assertEqual(settings.log_level, "warn")

    def test_debug(self) -> None:
        """
        ``--debug`` is a log level; as elsewhere, the last one counts.
        """
        self.assertEqual(read("--debug")[0].log_level, "debug")
        self.assertEqual(read("--debug", "--log-level=error")[0].log_level, "error")

    def test_values_are_left_alone(self) -> None:
        """
        What an option takes is its value, whatever it looks like.
        """
        settings, _ = read("--auth-token", "--Foo.bar=1", "--base_url", "--list_kernels")
        self.assertEqual(
            (settings.auth_token, settings.base_url), ("--Foo.bar=1", "/--list_kernels")
        )

    def test_end_of_options(self) -> None:
        """
        After two dashes there are no options.
        """
        rewriter = CommandLineRewriter(OWN, lenient=False)
        self.assertEqual(rewriter.rewrite(["--", "--Foo.bar=1"]), ["--", "--Foo.bar=1"])

    def test_wrong_switch(self) -> None:
        """
        A switch takes no other words.
        """
        error = self.assertRaises(UsageError, read, "--list-kernels=maybe")
        self.assertIn("--list-kernels=maybe is not valid; use --list-kernels, --no", str(error))
        self.assertIn("--no-list-kernels", str(error))
