"""
``kgd run`` and ``kgd kernels`` as a user has them.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.utils import getProcessOutputAndValue
from twisted.python.failure import Failure

from tests.support.gateway import GatewayTestCase, alive, children_of, until

KGD = (sys.executable, "-m", "kgd")
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\r")


class OnTerminal(ProcessProtocol):
    """
    A program on a terminal.
    """

    def __init__(self) -> None:
        self.shown = ""
        self.status: int | None = None

    def outReceived(self, data: bytes) -> None:
        """
        It prints.
        """
        self.shown += data.decode("utf-8", "replace")

    def processEnded(self, reason: Failure) -> None:
        """
        It has ended.
        """
        value: Any = reason.value
        self.status = value.exitCode if value.signal is None else -value.signal

    @property
    def text(self) -> str:
        """
        What it printed, without colours.
        """
        return _ESCAPES.sub("", self.shown)

    async def prints(self, text: str) -> None:
        """
        Wait until it has printed something.
        """
        await until(
            lambda: text in self.text or self.status is not None,
            lambda: f"it prints {text!r}; it printed {self.text!r}",
        )
        assert text in self.text, self.text

    async def ended(self) -> int:
        """
        :return: Its exit status.
        """
        await until(lambda: self.status is not None, lambda: f"it ends; {self.text!r}")
        assert self.status is not None
        return self.status


class CommandTestCase(GatewayTestCase):
    """
    Tests that run the commands.
    """

    async def run_kgd(self, *arguments: str, **env: str) -> tuple[str, str, int]:
        """
        :return: What it printed to stdout and to stderr, and its exit status.
        """
        executable, *rest = KGD
        out, err, status = await getProcessOutputAndValue(
            executable,
            [*rest, *arguments],
            env=self.environment(**env),
            path=str(self.home / "work"),
        )
        return out.decode(), err.decode(), status

    def on_terminal(self, *arguments: str) -> OnTerminal:
        """
        Start the command on a terminal.
        """
        program = OnTerminal()
        argv = [*KGD, *arguments]
        transport: Any = reactor.spawnProcess(
            program,
            argv[0],
            argv,
            env=self.environment(TERM="xterm"),
            path=str(self.home / "work"),
            usePTY=True,
        )
        self.press = transport.write
        self.pid = transport.pid

        async def end() -> None:
            if program.status is None:
                os.kill(self.pid, signal.SIGKILL)
                await program.ended()

        self.addCleanup(end)
        return program


class OwnGatewayTests(CommandTestCase):
    """
    Without ``--url``.
    """

    async def test_pipe(self) -> None:
        """
        In a pipe there is what the code prints, and nothing else; options for gateways are not
        taken notice of.
        """
        (self.home / "work" / "script.py").write_text(
            "import sys, os; print('out'); print('err', file=sys.stderr)\n"
            "open('here', 'w').close()\n"
            "[name for name in os.environ if 'TOKEN' in name]\n"
        )
        out, err, status = await self.run_kgd(
            "run", "script.py", KGD_PORT="1", KGD_AUTH_TOKEN="not-this"
        )
        self.assertEqual((out, err, status), ("out\n[]\n", "err\n", 0))
        self.assertTrue((self.home / "work" / "here").exists())
        self.assertEqual(self.leftovers(), [])

    async def test_interrupt(self) -> None:
        """
        The first Ctrl-C interrupts the code, whose outputs still come. The gateway ends with the
        command.
        """
        program = self.on_terminal(
            "run",
            "import time\ntry:\n  print('be' + 'gun')\n  time.sleep(60)\nfinally:\n"
            "  print('clea' + 'ned')",
        )
        await program.prints("begun")
        (gateway,) = children_of(self.pid)
        command = Path(f"/proc/{gateway}/cmdline").read_bytes()
        self.assertNotIn(b"token", command)
        self.press(b"\x03")
        await program.prints("cleaned")
        self.assertEqual(await program.ended(), 130)
        self.assertIn("KeyboardInterrupt", program.text)
        self.assertIn("\x1b[31m", program.shown)
        self.assertNotIn('File "', program.text)
        self.assertFalse(alive(gateway))

    async def test_second_interrupt(self) -> None:
        """
        The second Ctrl-C ends the command, whatever the code does.
        """
        program = self.on_terminal(
            "run",
            "import time\nprint('be' + 'gun')\nwhile True:\n"
            "  try: time.sleep(60)\n  except KeyboardInterrupt: print('ca' + 'ught')",
        )
        await program.prints("begun")
        (gateway,) = children_of(self.pid)
        self.press(b"\x03")
        await program.prints("caught")
        self.press(b"\x03")
        self.assertEqual(await program.ended(), 130)
        self.assertFalse(alive(gateway))

    async def test_killed(self) -> None:
        """
        The gateway does not outlive a command that is killed.
        """
        if sys.platform != "linux":
            return
        program = self.on_terminal("run", "print('be' + 'gun')\nimport time; time.sleep(60)")
        await program.prints("begun")
        (gateway,) = children_of(self.pid)
        os.kill(self.pid, signal.SIGKILL)
        await until(lambda: not alive(gateway), "the gateway ends")


class GatewayTests(CommandTestCase):
    """
    With ``--url``.
    """

    async def test_statuses(self) -> None:
        """
        The exit status says how the code has ended.
        """
        gateway = await self.gateway("--default-kernel-name=python3")
        url = f"--url={gateway.url}"
        for code, status, said in (
            ("1 / 0", 1, "ZeroDivisionError: division by zero\n"),
            ("import os; os._exit(3)", 70, "KernelDied"),
            ("raise KeyboardInterrupt", 130, "KeyboardInterrupt"),
        ):
            out, err, ended = await self.run_kgd("run", url, code)
            self.assertEqual((out, ended), ("", status), err)
            self.assertIn(said, err)
            self.assertNotIn("\x1b", err)
        _, err, ended = await self.run_kgd("run", url, "--timeout=0.2", "while True: pass")
        self.assertEqual(ended, 124, err)
        _, err, ended = await self.run_kgd("run", url, "--kernel=cobol", "1")
        self.assertEqual((ended, err), (69, "kgd run: 404 Not Found: No such kernel: cobol\n"))
        out, err, ended = await self.run_kgd("kernels", url)
        self.assertEqual((out, err, ended), ("", "", 0), "none is left")

    async def test_token(self) -> None:
        """
        The token comes from a file or a variable; without it, the gateway refuses.
        """
        gateway = await self.gateway(env={"KGD_AUTH_TOKEN": "secret"})
        token = self.home / "token"
        token.write_text("secret\n")
        url = f"--url={gateway.url}"
        out, err, status = await self.run_kgd("kernels", url, f"--token-file={token}")
        self.assertEqual((out, err, status), ("", "", 0))
        _, err, status = await self.run_kgd("kernels", url, KGD_AUTH_TOKEN="secret")
        self.assertEqual((err, status), ("", 0))
        _, err, status = await self.run_kgd("kernels", url)
        self.assertEqual((err, status), ("kgd kernels: 401 Unauthorized\n", 69))

    async def test_unreachable(self) -> None:
        """
        A gateway that is not there is an error in one line.
        """
        _, err, status = await self.run_kgd("kernels", "--url=http://127.0.0.1:1")
        self.assertEqual(status, 69)
        self.assertRegex(err, r"^kgd kernels: the gateway at http://127.0.0.1:1 cannot be .*\n$")
