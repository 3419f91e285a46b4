"""
The commands in the documents do what these say.

Each page has a directory and a shell of its own, in which its blocks run in order; a copy of
``etc`` is there. A gateway that a command starts runs until the next one is started, or the page
ends.

There is one rule for ports: 8888 stands for any free one where a gateway is started or configured,
and everywhere else for the one that it got.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest

from tests.support.documents import (
    PAGES,
    ROOT,
    Block,
    agrees,
    blocks_of,
    console,
    starts_gateway,
)
from tests.support.gateway import GatewayTestCase, alive, children_of, until

PORT = "8888"
AVAILABLE = " is available at "
_NUMBER = re.compile(rf"(?<![\w.]){PORT}\b")
_END = "--- the command has ended:"
NEEDED = ("bash", "curl")


class Shell(ProcessProtocol):
    """
    A shell that is told what to do line by line.
    """

    def __init__(self) -> None:
        self.output = ""
        self.ended = False

    def outReceived(self, data: bytes) -> None:
        """
        Something was printed.
        """
        self.output += data.decode("utf-8", "replace")

    errReceived = outReceived

    def processEnded(self, reason: Failure) -> None:
        """
        The shell has gone.
        """
        self.ended = True

    async def run(self, command: str) -> tuple[int, str]:
        """
        :return: The command's exit status, and what it printed.
        """
        self.output = ""
        line = (
            f"eval {shlex.quote(command)} </dev/null; printf '\\n%s %s\\n' {shlex.quote(_END)} $?\n"
        )
        assert self.transport is not None
        self.transport.write(line.encode())
        ended = re.compile(rf"\n{_END} (\d+)\n$")
        await until(
            lambda: self.ended or ended.search(self.output),
            lambda: f"this ends:\n{command}\nIt said: {self.output}",
        )
        found = ended.search(self.output)
        assert found, f"the shell has gone: {self.output}"
        return int(found[1]), self.output[: found.start()]


def _gone(pid: int) -> bool:
    return not alive(pid)


class Page:
    """
    One page, on its way from block to block.

    :param directory: Where its commands run.
    """

    def __init__(self, test: GatewayTestCase, directory: Path) -> None:
        self._directory = directory
        self._port_file = directory / "port.txt"
        self._gateway = 0
        self._port = PORT
        self.shell = Shell()
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        environment = test.environment(
            PATH=path,
            CURL_HOME=str(test.home),
            KGD_PORT="0",
            KGD_PORT_FILE=str(self._port_file),
            PYTHONWARNINGS="ignore",
        )
        # As on a terminal, where what comes is all that is printed.
        (test.home / ".curlrc").write_text("silent\nshow-error\n")
        self._strict = test.home / "strict"
        self._strict.mkdir()
        (self._strict / ".curlrc").write_text("silent\nshow-error\nfail-with-body\n")
        unneeded = shutil.ignore_patterns("node_modules", "__pycache__")
        shutil.copytree(ROOT / "etc", directory / "etc", ignore=unneeded)
        reactor.spawnProcess(
            self.shell,
            "bash",
            ["bash", "--noprofile", "--norc"],
            env=environment,
            path=str(directory),
        )

    async def run(self, block: Block, shown: str | None) -> None:
        """
        Run a block.

        :param shown: What is shown as its output, if that is in a block of its own.
        """
        printed = ""
        for command, expected in self._commands(block):
            starts = starts_gateway(command)
            if starts:
                status, printed = await self._start(_NUMBER.sub("0", command))
            else:
                status, printed = await self.shell.run(_NUMBER.sub(self._port, command))
            if " twistd " in f" {command} " and "--help" not in command:
                await until(self._port_file.exists, f"{block}: the gateway answers")
                self._answers()
            self._check(block, command, status, printed)
            # A log is seldom shown.
            if expected is not None and (expected or not starts):
                self._compare(block, command, expected, printed)
        if shown is not None:
            self._compare(block, "it", shown, printed)

    def _commands(self, block: Block) -> Iterator[tuple[str, str | None]]:
        """
        :return: Commands, and what is expected of each.
        """
        if block.language == "console":
            yield from console(block.text)
        elif block.language == "python":
            program = self._directory / f"line_{block.line}.py"
            program.write_text(_NUMBER.sub(self._port, block.text))
            yield f"python {program.name}", None
        elif starts_gateway(block.text):
            yield block.text.strip(), None
        else:
            # All at once, so that a command may have several lines. Nobody looks at the answers.
            yield f"set -e\nCURL_HOME={self._strict}\n{block.text}\nCURL_HOME=$HOME; set +e", None

    def _check(self, block: Block, command: str, status: int, printed: str) -> None:
        assert (status != 0) == (block.kind == "fails"), (
            f"{block}: ended with {status}:\n{command}\nIt said: {printed}"
        )

    def _compare(self, block: Block, command: str, expected: str, printed: str) -> None:
        same = printed.replace(f":{self._port}", f":{PORT}")
        assert agrees(expected, same), f"{block}: {command}\nprinted:\n{same}\nnot:\n{expected}"

    def write(self, block: Block) -> None:
        """
        Make the file that a block shows.
        """
        path = self._directory / block.detail
        path.parent.mkdir(parents=True, exist_ok=True)
        # A program talks to the gateway; whatever else it is, a gateway will read it.
        path.write_text(_NUMBER.sub(self._port if path.suffix == ".py" else "0", block.text))

    # --- gateways ---

    async def _start(self, command: str) -> tuple[int, str]:
        """
        Let a command run on, and wait until it answers.

        :return: 0 if it does, otherwise its exit status; and what it has said.
        """
        await self.stop()
        log = self._directory / "gateway.log"
        log.write_text("")
        _, number = await self.shell.run(f"exec env {command} >{log} 2>&1 & echo $!")
        self._gateway = int(number)
        # The file comes first, and then the last line of what is shown.
        await until(
            lambda: AVAILABLE in log.read_text("utf-8") or not alive(self._gateway),
            lambda: f"{command} answers; it said: {log.read_text('utf-8')}",
        )
        if alive(self._gateway):
            self._answers()
            return 0, log.read_text("utf-8")
        ended, _ = await self.shell.run(f"wait {self._gateway}")
        return ended, log.read_text("utf-8")

    def _answers(self) -> None:
        self._port = self._port_file.read_text().split()[0]

    async def stop(self) -> None:
        """
        Stop the gateway that runs, if there is one.
        """
        daemons = [int(file.read_text()) for file in self._directory.glob("*.pid")]
        for pid in filter(None, [self._gateway, *daemons]):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            await until(partial(_gone, pid), f"the gateway {pid} ends")
        self._gateway = 0

    async def end(self) -> None:
        """
        Leave nothing that runs.
        """
        await self.stop()
        assert self.shell.transport is not None
        if not self.shell.ended:
            pid = self.shell.transport.pid
            for each in (*children_of(pid), pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(each, signal.SIGKILL)
        await until(lambda: self.shell.ended, "the shell ends")


class DocumentationTests(GatewayTestCase):
    """
    Pages, from the first block to the last.
    """

    timeout = 300

    async def run_page(self, file: Path) -> None:
        """
        Run the blocks of a page.
        """
        missing = [name for name in NEEDED if shutil.which(name) is None]
        if missing:
            raise SkipTest(f"needs {' and '.join(missing)}")
        directory = self.home / "page"
        directory.mkdir()
        page = Page(self, directory)
        self.addCleanup(page.end)
        blocks = blocks_of(file)
        for block, following in zip(blocks, [*blocks[1:], None], strict=True):
            if block.kind == "file":
                page.write(block)
            elif block.is_run:
                shown = following is not None and following.kind == "output"
                await page.run(block, following.text if shown and following else None)


def _add_tests() -> None:
    for file in PAGES:
        if any(block.is_run for block in blocks_of(file)):
            name = re.sub(r"\W+", "_", str(file.relative_to(ROOT).with_suffix(""))).lower()

            async def test(self: DocumentationTests, file: Path = file) -> None:
                await self.run_page(file)

            test.__name__ = f"test_{name}"
            test.__doc__ = f"What {file.relative_to(ROOT)} shows is so."
            setattr(DocumentationTests, test.__name__, test)


_add_tests()
