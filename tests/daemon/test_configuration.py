"""
Options from everywhere, and the command that takes the place of the Jupyter Kernel Gateway, as
those see it who start it.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.utils import getProcessOutputAndValue
from twisted.python.failure import Failure

from kgd.config.render import to_toml
from tests.support.gateway import GatewayProcess, GatewayTestCase, alive, children_of, http, until
from tests.support.option_rows import SAMPLES, jupyters

DROP_IN = (
    "import sys; sys.argv[0] = 'jupyter-kgd'; from kgd.cli.main import jupyter_main; jupyter_main()"
)


class DropIn(GatewayProcess):
    """
    ``jupyter-kgd``, with what it writes to stderr apart from the rest.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stdout = ""
        self.stderr = ""

    def outReceived(self, data: bytes) -> None:
        """
        It should not say much here.
        """
        self.stdout += data.decode()

    def errReceived(self, data: bytes) -> None:
        """
        The log.
        """
        self.stderr += data.decode()
        super().outReceived(data)


class Unread(DropIn):
    """
    Somebody who reads until they know the port, and no further.
    """

    def errReceived(self, data: bytes) -> None:
        """
        The log.
        """
        super().errReceived(data)
        if self.url:
            self.transport.pauseProducing()  # type: ignore[union-attr]

    def processExited(self, reason: Failure) -> None:
        """
        What is left in the pipes does not matter.
        """
        self.transport.loseConnection()  # type: ignore[union-attr]


class ConfigurationTestCase(GatewayTestCase):
    """
    With ways to start other commands.
    """

    async def run_kgd(self, *options: str, **env: str) -> tuple[str, str, int]:
        """
        :return: What a command that does not stay wrote to stdout and to stderr, and its status.
        """
        running: Deferred[Any] = getProcessOutputAndValue(
            sys.executable,
            ["-m", "kgd", *options],
            self.environment(**env),
            str(self.home / "work"),
            reactor,
        )
        out, err, status = await running
        return out.decode(), err.decode(), status

    def drop_in(
        self, *options: str, kind: type[DropIn] = DropIn, env: dict[str, str] | None = None
    ) -> DropIn:
        """
        Start ``jupyter-kgd``.
        """
        process = kind()
        reactor.spawnProcess(
            process,
            sys.executable,
            [sys.executable, "-c", DROP_IN, *options],
            env=self.environment(**(env or {})),
            path=str(self.home / "work"),
        )
        self.addCleanup(process.stop, signal.SIGKILL)
        return process

    async def says(self, process: GatewayProcess, text: str) -> None:
        """
        Wait until a process has said something.
        """
        await until(lambda: text in process.output, lambda: f"{text}: {process.output}")


class FilesTests(ConfigurationTestCase):
    """
    Where options come from.
    """

    async def test_precedence(self) -> None:
        """
        Command line, variable, our file, the Jupyter Kernel Gateway's file, default: shown, and in
        effect.
        """
        config = self.home / "config"
        (config / "kgd.toml").write_text(
            'max-kernels = 2\nport = 1\nport-retries = 1\ndefault-kernel-name = "tiny"\n'
        )
        (config / "jupyter_kernel_gateway_config.py").write_text(
            "c.KernelGatewayApp.max_kernels = 1\nc.KernelGatewayApp.port_retries = 2\n"
            "c.JupyterWebsocketPersonality.list_kernels = True\nc.Unheard.of = 1\n"
        )
        out, err, status = await self.run_kgd(
            "--show-config-json", "--port=0", KG_PORT_RETRIES="3", KG_AUTH_TOKEN="s3cret"
        )
        self.assertEqual((err, status), ("", 0))
        self.assertNotIn("s3cret", out)
        shown = json.loads(out)
        for name, value, where in (
            ("port", 0, "on the command line"),
            ("port-retries", 3, "in the variable KG_PORT_RETRIES"),
            ("max-kernels", 2, f"as max-kernels in {config / 'kgd.toml'}"),
            ("ip", "127.0.0.1", "default"),
            ("auth-token", "***", "in the variable KG_AUTH_TOKEN"),
        ):
            self.assertEqual(shown[name], {"value": value, "from": where})
        self.assertIn("as JupyterWebsocketPersonality.list_kernels", shown["list-kernels"]["from"])
        gateway = self.launch("--port=0")
        await gateway.ready()
        self.assertIn("sets Unheard.of, which kgd does not know", gateway.output)
        for _ in range(2):
            await self.start_kernel(gateway.port)
        refused = await http(gateway.port, "POST", "/api/kernels")
        self.assertEqual(refused.code, 403)
        self.assertEqual(len((await http(gateway.port, "GET", "/api/kernels")).json), 2)

    async def test_every_option(self) -> None:
        """
        All options at once, from each source; those of the Jupyter Kernel Gateway in its files.
        """
        theirs = [each for each in SAMPLES if each.trait]
        work = self.home / "work"
        (work / "all.toml").write_text(
            "".join(f"{each.option} = {to_toml(each.value)}\n" for each in SAMPLES)
        )
        (work / "all.json").write_text(json.dumps(jupyters(theirs)))
        (work / "all.py").write_text(
            "".join(f"c.{each.trait} = {each.value!r}\n" for each in theirs)
        )
        for samples, options, env in (
            (SAMPLES, [f"--{each.option}={each.text}" for each in SAMPLES], {}),
            (SAMPLES, [], {f"KGD_{each.variable}": each.text for each in SAMPLES}),
            (SAMPLES, [], {f"KG_{each.variable}": each.text for each in SAMPLES}),
            (SAMPLES, ["--config=all.toml"], {}),
            (theirs, [f"--{each.trait}={each.text}" for each in theirs], {}),
            (theirs, ["--config=all.py"], {}),
            (theirs, ["--config=all.json"], {}),
        ):
            out, err, status = await self.run_kgd(*options, "--show-config-json", **env)
            self.assertEqual((err, status), ("", 0))
            shown = json.loads(out)
            found = {each.option: shown[each.option]["value"] for each in samples}
            self.assertEqual(found, {each.option: each.shown for each in samples})

    async def test_chosen_file(self) -> None:
        """
        A chosen file replaces those that would be found; its path is relative to where the command
        is given.
        """
        (self.home / "config" / "jupyter_kernel_gateway_config.json").write_text(
            '{"JupyterWebsocketPersonality": {"list_kernels": true}}'
        )
        (self.home / "work" / "mine.toml").write_text('port = 0\nbase-url = "/here"\n')
        gateway = self.launch("--config=mine.toml")
        await gateway.ready()
        self.assertTrue(gateway.url.endswith("/here"), gateway.url)
        listing = await http(gateway.port, "GET", "/here/api/kernels")
        self.assertEqual(listing.code, 403)

    async def test_errors(self) -> None:
        """
        What is wrong in a file stops the start, with one line about it.
        """
        file = self.home / "config" / "jupyter_kernel_gateway_config.py"
        for text, expected in (
            ("1/0", f"{file} cannot be read: ZeroDivisionError: division by zero (line 1)"),
            ("c.KernelGatewayApp.port = 'x'", f"--port=x (set as KernelGatewayApp.port in {file})"),
        ):
            file.write_text(text)
            out, err, status = await self.run_kgd()
            self.assertEqual((out, status), ("", 1))
            self.assertEqual(len(err.splitlines()), 2, err)
            self.assertIn(f"kgd: {expected}", err)

    async def test_from_a_shell(self) -> None:
        """
        Whoever reads only the beginning of the help, or is in a directory that is gone, sees no
        traceback.
        """
        for command, out, err in (
            ("{} --help | head -n 1", "Usage: ", ""),
            (
                "mkdir gone; cd gone; rmdir ../gone; {} --show-config",
                "",
                "kgd: the current directory cannot be used: No such file or directory; change",
            ),
        ):
            running: Deferred[Any] = getProcessOutputAndValue(
                "/bin/sh",
                ["-c", command.format(f"{sys.executable} -m kgd")],
                self.environment(PYTHONWARNINGS=""),
                str(self.home / "work"),
                reactor,
            )
            found = await running
            self.assertTrue(found[0].decode().startswith(out), found)
            self.assertTrue(found[1].decode().startswith(err), found)
            self.assertNotIn(b"Traceback", found[1])

    async def test_trusted_proxy(self) -> None:
        """
        The log has the client that a proxy speaks of, if the proxy is trusted.
        """
        for options, client in (([], "127.0.0.1"), (["--trust-xheaders"], "10.1.2.3")):
            gateway = await self.gateway(*options)
            headers = {"X-Forwarded-For": "6.6.6.6, 10.1.2.3", "X-Forwarded-Proto": "https"}
            await http(gateway.port, "GET", "/nowhere", headers=headers)
            await self.says(gateway, "/nowhere")
            (line,) = (each for each in gateway.output.splitlines() if "/nowhere" in each)
            self.assertIn(f"({client})", line)
            await gateway.stop()


class FirstLookTests(ConfigurationTestCase):
    """
    What somebody sees who starts the gateway, or asks for help.
    """

    async def tried(self, gateway: GatewayProcess, token: str = "") -> Any:
        """
        :return: What the command gets that the log has to try the gateway.
        """
        await self.says(gateway, "try it: ")
        command = gateway.output.split("try it: ")[1].splitlines()[0]
        words = shlex.split(command.replace("YOUR_TOKEN", token))
        out, err, status = await getProcessOutputAndValue(
            "/usr/bin/env", [words[0], "-sS", *words[1:]], os.environ, reactor=reactor
        )
        self.assertEqual((err, status), (b"", 0), command)
        return json.loads(out)

    async def test_log(self) -> None:
        """
        One line says where the gateway is, and one how to try it; that command works. Twisted's own
        lines are there for debugging.
        """
        # Twisted and other libraries may print deprecation warnings of their own.
        quiet = {"PYTHONWARNINGS": "ignore"}
        gateway = await self.gateway("--default-kernel-name=tiny", env=quiet)
        self.assertIn("tiny", (await self.tried(gateway))["kernelspecs"])
        available, hint = gateway.output.splitlines()
        self.assertTrue(available.endswith(f" is available at {gateway.url}"), available)
        self.assertTrue(hint.endswith(f" try it: curl {gateway.url}/api/kernelspecs"), hint)
        await gateway.stop()
        gateway = await self.gateway("--log-level=debug")
        for line in ("starting up.", "reactor class: ", "starting on ", "Starting factory <"):
            self.assertIn(line, gateway.output)
        await gateway.stop()
        self.assertIn(" Closed)", gateway.output)

    async def test_token(self) -> None:
        """
        The command has a place for the token, and never the token.
        """
        gateway = await self.gateway("--auth-token=s3cret-token", "--ip=0.0.0.0")
        found = await self.tried(gateway, "s3cret-token")
        self.assertIn("tiny", found["kernelspecs"])
        self.assertNotIn("s3cret", gateway.output)

    async def test_socket(self) -> None:
        """
        A Unix socket can be tried, too.
        """
        gateway = self.launch(f"--listen=unix:{self.runtime}/s", "--base-url=/x")
        self.assertIn("tiny", (await self.tried(gateway))["kernelspecs"])

    async def test_help(self) -> None:
        """
        Help is text without colours in a pipe, and an error names the help in its second line.
        """
        for option, expected in (
            ("--help", "Most used options:\n"),
            ("--help-all", "\nLogs, metrics and draining:\n"),
        ):
            out, err, status = await self.run_kgd(option, TERM="xterm-256color")
            self.assertEqual((err, status), ("", 0))
            self.assertTrue(out.startswith("Usage: kgd [options]\n"), out)
            self.assertIn(expected, out)
            self.assertNotIn("\x1b", out)
        out, err, status = await self.run_kgd("--port=70000")
        self.assertEqual((out, status), ("", 1))
        self.assertEqual(
            err,
            "kgd: --port=70000 is out of range; use a port from 0, which is any free one, "
            "to 65535\n"
            "kgd: --help-all explains all options\n",
        )


class DropInTests(ConfigurationTestCase):
    """
    ``jupyter kgd``.
    """

    async def test_forms(self) -> None:
        """
        It takes what embedders write, says on stderr where it is, whatever the log level, in a line
        that ends with the port; and ends well when the whole process group is told to.
        """
        process = self.drop_in(
            "--KernelGatewayApp.ip", "127.0.0.1", "--KernelGatewayApp.port", "0",
            "--KernelGatewayApp.auth_token", "s3cret", "--JupyterApp.answer_yes", "true",
            "--JupyterWebsocketPersonality.list_kernels", "True", "--JupyterApp.log_level=ERROR",
            "--KernelGatewayApp.default_kernel_name='tiny'", "--Unheard.of=1",
            "--ZMQChannelsWebsocketConnection.limit_rate=False",
        )  # fmt: skip
        await process.ready()
        lines = [line for line in process.stderr.splitlines() if "is available at" in line]
        self.assertEqual(len(lines), 1)
        port = int(lines[0].split(":")[-1])
        self.assertTrue(lines[0].startswith("Jupyter Kernel Gateway "), lines)
        for scheme in ("token", "Bearer"):
            headers = {"Authorization": f"{scheme} s3cret"}
            response = await http(port, "GET", "/api/kernels", headers=headers)
            self.assertEqual((response.code, response.json), (200, []))
        self.assertEqual((await http(port, "GET", "/api/kernels")).code, 401)
        await http(port, "POST", "/api/kernels?token=s3cret")
        assert process.transport is not None
        pid = process.transport.pid
        await until(lambda: children_of(pid), "a kernel runs")
        kernels = children_of(pid)
        self.assertEqual(await process.stop(signal.SIGTERM), 0)
        self.assertFalse([kernel for kernel in kernels if alive(kernel)])
        self.assertNotIn("s3cret", process.stderr + process.stdout)

    async def test_log(self) -> None:
        """
        The log is on stderr, with one line that says where the gateway is, and what it does not
        know; an interrupt ends it well.
        """
        process = self.drop_in("--port=0", "--Unheard.of=1", "--JupyterApp.logging_config={}")
        await process.ready()
        self.assertEqual(process.stderr.count("is available at http://127.0.0.1:"), 1)
        self.assertNotIn("try it", process.stderr)
        self.assertIn("--Unheard.of is not known", process.stderr)
        self.assertIn("--JupyterApp.logging_config has no effect", process.stderr)
        self.assertEqual(await process.stop(signal.SIGINT), 0)
        self.assertEqual(process.stdout, "")

    async def test_errors(self) -> None:
        """
        What cannot be is said on stderr, and the status tells.
        """
        for options, expected in (
            (
                ["--KernelGatewayApp.port=x"],
                "jupyter-kgd: --port=x is not valid; use a port",
            ),
            (["--port=0", "--seed_uri=/no/such.ipynb"], "/no/such.ipynb cannot be read"),
        ):
            process = self.drop_in(*options)
            self.assertEqual(await process.ended(), 1)
            self.assertIn(expected, process.stderr)
            self.assertNotIn("is available at", process.stderr)
            self.assertNotIn("Traceback", process.stderr)

    async def test_nobody_reads(self) -> None:
        """
        Whoever reads no further than to the port does not stop the gateway by that, however much it
        has to say.
        """
        process = self.drop_in("--port=0", "--access-log", kind=Unread)
        await process.ready()
        # Twice what fits into a pipe.
        path = f"/api?{'x' * 8000}"
        for _ in range(16 + 16):
            response = await http(process.port, "GET", path)
            self.assertEqual(response.code, 200)
        self.assertEqual(await process.stop(), 0)

    async def test_found_by_jupyter(self) -> None:
        """
        ``jupyter kgd`` finds the command, and asks it.
        """
        folder = self.home / "bin"
        folder.mkdir()
        script = folder / "jupyter-kgd"
        script.write_text(f"#!{sys.executable}\n{DROP_IN}\n")
        script.chmod(0o755)
        env = self.environment()
        env["PATH"] = os.pathsep.join([str(folder), env["PATH"]])
        running: Deferred[Any] = getProcessOutputAndValue(
            sys.executable, ["-m", "jupyter", "kgd", "--version"], env, reactor=reactor
        )
        out, err, status = await running
        self.assertEqual(status, 0, err)
        self.assertRegex(out.decode(), r"^\d+\.\d+\.\d+\n$")
