"""
Programs that others wrote, as child processes, and what stands between them and a gateway.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredFilesystemLock
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory, Protocol

from tests.support.gateway import ROOT, TIMEOUT, GatewayProcess, GatewayTestCase, http, pause, until

TOKEN = "a-token"
PYTHON = "--default-kernel-name=python3"
NODE_CLIENT = ROOT / "etc" / "node_client"
NODE_SCRIPTS = Path(__file__).parent / "node"
CHROMIUM = Path(__file__).parent / "node_chromium"
# Installing packages may take a while.
PATIENCE = 200


class Program(GatewayProcess):
    """
    A program that uses a gateway.

    :ivar printed: What came on stdout; ``output`` has stderr, too.
    """

    def __init__(self) -> None:
        super().__init__()
        self.printed = ""

    def outReceived(self, data: bytes) -> None:
        """
        It prints.
        """
        self.printed += data.decode("utf-8", "replace")
        self.errReceived(data)

    def errReceived(self, data: bytes) -> None:
        """
        It complains.
        """
        self.output += data.decode("utf-8", "replace")

    def when_ended(self) -> Deferred[int]:
        """
        :return: Fires with its exit status.
        """
        ended: Deferred[int] = Deferred()
        self._ended.append(ended)
        return ended

    async def prints(self, text: str) -> None:
        """
        Wait until it has said something.
        """
        await until(
            lambda: text in self.output or self.status is not None,
            lambda: f"it says {text!r}; it said: {self.output}",
        )
        assert text in self.output, f"ended with {self.status}: {self.output}"

    async def succeeds(self) -> str:
        """
        Wait until it has ended well.

        :return: What it printed.
        """
        if self.status is None:
            await self.when_ended().addTimeout(PATIENCE, reactor)
        assert self.status == 0, f"ended with {self.status}: {self.output}"
        return self.printed


class _Piece(Protocol):
    """
    One side of a connection through a :py:class:`Lane`.
    """

    def __init__(self) -> None:
        self.other: _Piece | None = None
        self.early: list[bytes] = []

    def dataReceived(self, data: bytes) -> None:
        if self.other is None:
            self.early.append(data)
        else:
            self.other.transport.write(data)  # type: ignore[union-attr]

    def connectionLost(self, reason: object = None) -> None:
        if self.other is not None:
            self.other.transport.loseConnection()  # type: ignore[union-attr]

    def meets(self, other: _Piece) -> None:
        """
        Both sides are connected.
        """
        self.other, other.other = other, self
        for data in self.early:
            self.dataReceived(data)
        # What one side sends faster than the other reads waits with who sends it.
        self.transport.registerProducer(other.transport, True)  # type: ignore[union-attr]
        other.transport.registerProducer(self.transport, True)  # type: ignore[union-attr]


class Lane(Factory):
    """
    TCP between a client and a gateway, which can be cut and held up.
    """

    def __init__(self, port: int) -> None:
        self.gateway = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
        self.pieces: list[_Piece] = []
        self.held: list[_Piece] | None = None
        self.listening: IListeningPort | None = None

    async def listen(self) -> int:
        """
        :return: The port for clients.
        """
        self.listening = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(self)
        address: Any = self.listening.getHost()
        return int(address.port)

    def buildProtocol(self, addr: object) -> Protocol:
        """
        A client comes.
        """
        piece = _Entry(self)
        self.pieces.append(piece)
        return piece

    def came(self, piece: _Piece) -> None:
        """
        It is connected, and goes on unless clients are held up.
        """
        if self.held is None:
            Deferred.fromCoroutine(self._connect(piece))
        else:
            self.held.append(piece)

    async def _connect(self, piece: _Piece) -> None:
        other: Any = await self.gateway.connect(Factory.forProtocol(_Piece))
        self.pieces.append(other)
        piece.meets(other)

    def cut(self) -> None:
        """
        Break all connections off.
        """
        pieces, self.pieces = self.pieces, []
        for piece in pieces:
            piece.transport.abortConnection()  # type: ignore[union-attr]

    def hold(self) -> None:
        """
        Let nobody through from now on.
        """
        self.held = []

    def let_through(self) -> None:
        """
        Who waits goes on.
        """
        held, self.held = self.held or [], None
        for piece in held:
            if piece in self.pieces:
                self.came(piece)

    async def close(self) -> None:
        """
        Everything ends.
        """
        self.cut()
        if self.listening is not None:
            stopped: Any = self.listening.stopListening()
            await stopped


class _Entry(_Piece):
    """
    The client's side.
    """

    def __init__(self, lane: Lane) -> None:
        super().__init__()
        self.lane = lane

    def connectionMade(self) -> None:
        self.lane.came(self)


class ClientTestCase(GatewayTestCase):
    """
    Tests that run other programs against a gateway.
    """

    timeout = 300

    def start_program(
        self,
        *argv: str,
        cwd: Path = ROOT,
        env: Mapping[str, str] | None = None,
        program: Program | None = None,
    ) -> Program:
        """
        Start a program. It ends with the test at the latest.
        """
        program = program or Program()
        reactor.spawnProcess(program, argv[0], argv, env=env or dict(os.environ), path=str(cwd))
        self.addCleanup(program.stop, signal.SIGKILL)
        return program

    async def run_program(self, *argv: str, cwd: Path = ROOT, **env: str) -> str:
        """
        Run a program, which has to succeed.

        :return: What it printed.
        """
        return await self.start_program(*argv, cwd=cwd, env={**os.environ, **env}).succeeds()

    async def gateways(self, *options: str) -> list[tuple[GatewayProcess, str]]:
        """
        One without a token, one with.
        """
        return [
            (await self.gateway(PYTHON, *options), ""),
            (await self.gateway(PYTHON, *options, env={"KGD_AUTH_TOKEN": TOKEN}), TOKEN),
        ]

    def assert_no_traceback(self, gateway: GatewayProcess) -> None:
        """
        The gateway itself has had no unexpected error. What its kernels say is their business:
        ipykernel may stumble over its own sockets when it ends.
        """
        ours = [line for line in gateway.output.splitlines() if "local.process" not in line]
        self.assertNotIn("Traceback", "\n".join(ours))

    async def lane(self, gateway: GatewayProcess) -> tuple[Lane, int]:
        """
        :return: A way to the gateway that can be cut, and the port where it begins.
        """
        lane = Lane(gateway.port)
        self.addCleanup(lane.close)
        return lane, await lane.listen()

    async def when_model(
        self, gateway: GatewayProcess, kernel_id: str, field: str, value: object
    ) -> None:
        """
        Wait until the gateway itself says this of a kernel.
        """
        deadline = reactor.seconds() + TIMEOUT
        while (model := await self.model(gateway, kernel_id))[field] != value:
            self.assertLess(reactor.seconds(), deadline, f"{model}, but never {field} {value}")
            await pause()

    async def model(self, gateway: GatewayProcess, kernel_id: str) -> Any:
        """
        :return: What the gateway itself says of a kernel.
        """
        return (await http(gateway.port, "GET", f"/api/kernels/{kernel_id}")).json

    async def listed(self, gateway: GatewayProcess, token: str = "") -> list[str]:
        """
        :return: The kernels that the gateway itself lists.
        """
        headers = {"Authorization": f"token {token}"} if token else {}
        response = await http(gateway.port, "GET", "/api/kernels", headers=headers)
        return [each["id"] for each in response.json]


class NodeTestCase(ClientTestCase):
    """
    Tests of packages for Node.
    """

    async def node_folder(self, source: Path) -> Path:
        """
        :return: A folder with the packages and scripts of another; installed once for all tests.
        """
        folder = Path(os.environ.get("KGD_NODE_CLIENT") or self.mktemp()).resolve() / source.name
        folder.mkdir(parents=True, exist_ok=True)
        # The other worker of trial may want the same folder.
        lock = DeferredFilesystemLock(f"{folder}.lock", scheduler=reactor)
        await lock.deferUntilLocked(PATIENCE)
        try:
            if not (folder / "installed").exists():
                for each in (*source.glob("*.js"), source / "package.json"):
                    shutil.copy(each, folder)
                await self.run_program(
                    self.command("npm"), "install", "--no-audit", "--no-fund", "--no-package-lock",
                    "--ignore-scripts", cwd=folder,
                )  # fmt: skip
                (folder / "installed").touch()
        finally:
            lock.unlock()
        return folder

    def command(self, name: str) -> str:
        """
        Find ``node`` or ``npm``.
        """
        path = shutil.which(name)
        assert path is not None, f"{name} is missing; the tox environment installs it"
        return path

    async def run_node(self, *argv: str, cwd: Path, **env: str) -> str:
        """
        Run a script with Node.
        """
        return await self.run_program(self.command("node"), *argv, cwd=cwd, **env)

    async def run_chromium(self, script: str, *argv: str) -> str:
        """
        Run a script with Node and the packages that have a browser.
        """
        folder = await self.node_folder(CHROMIUM)
        # The package unpacks the browser there, anew each time: it would not notice half of one.
        unpacked = Path(self.mktemp()).resolve()
        unpacked.mkdir()
        self.addCleanup(shutil.rmtree, unpacked)
        return await self.run_node(
            str(NODE_SCRIPTS / script), *argv, cwd=folder, TMPDIR=str(unpacked)
        )
