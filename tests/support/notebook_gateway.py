"""
Gateways that serve a notebook of the test's own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

from tests.support.gateway import (
    GatewayProcess,
    GatewayTestCase,
    Response,
    children_of,
    http,
    pause,
    until,
)
from tests.support.metrics import read_metrics
from tests.support.notebooks import python_notebook
from tests.support.valve import Valve

SETUP = """
import base64, json, os, signal, sys, threading, time
from IPython.display import HTML, Image, display
seeded = True
def request():
    return json.loads(REQUEST)
def wait():
    path = request()["args"]["valve"][0]
    open(path + ".began", "w").close()
    with open(path) as valve:
        valve.readline()
"""
HI = "# GET /hi\nprint('hi')"
PID = "# GET /pid\nprint(os.getpid(), seeded)"
PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg"
    "=="
)


class Connection(Protocol):
    """
    A connection whose bytes a test looks at as they come, or does not take.
    """

    def __init__(self) -> None:
        # Bytes would be copied for each piece that comes.
        self.received = bytearray()
        self.lost = False

    def dataReceived(self, data: bytes) -> None:
        """
        Keep it.
        """
        self.received += data

    def connectionLost(self, reason: Failure = None) -> None:  # type: ignore[assignment]
        """
        It is over.
        """
        self.lost = True


class NotebookTestCase(GatewayTestCase):
    """
    Tests with notebooks of their own.
    """

    def write(self, content: bytes, name: str = "n.ipynb") -> Path:
        """
        :return: The path of a notebook.
        """
        path = self.home / "work" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return path

    async def serve(self, *cells: str, options: tuple[str, ...] = ()) -> GatewayProcess:
        """
        Serve a notebook with these cells.
        """
        path = self.write(python_notebook(SETUP, *cells))
        gateway = await self.gateway("--api=notebook_http", f"--seed-uri={path}", *options)
        self.port = gateway.port
        return gateway

    async def get(self, path: str, method: str = "GET", **more: Any) -> Response:
        """
        Ask for something.
        """
        return await http(self.port, method, path, **more)

    def asking(self, path: str, **more: Any) -> Deferred[Response]:
        """
        The same, without waiting.
        """
        return Deferred.fromCoroutine(self.get(path, **more))

    async def running(self, valve: Valve, path: str = "/wait") -> Deferred[Response]:
        """
        Ask for what waits for a valve.

        :return: What comes, as soon as its code runs: before that, others could overtake it.
        """
        answer = self.asking(f"{path}?valve={valve.path}")
        await self.begun(valve)
        return answer

    async def begun(self, valve: Valve) -> None:
        """
        When code waits for a valve.
        """
        await until(Path(f"{valve.path}.began").exists, "the code runs")

    async def queued(self, count: int = 1) -> dict[str, float]:
        """
        When so many requests wait for a kernel.

        :return: The metrics that say so.
        """
        deadline = reactor.seconds() + 30
        while True:
            metrics = read_metrics((await self.get("/metrics")).body.decode())
            if metrics['kgd_notebook_queue_length{notebook="/"}'] == count:
                return metrics
            self.assertLess(reactor.seconds(), deadline, f"{count} requests do not wait")
            await pause()

    async def connect_raw(self, request: str) -> Any:
        """
        Ask, and look at what comes.
        """
        protocol: Any = await HostnameEndpoint(reactor, "127.0.0.1", self.port).connect(
            Factory.forProtocol(Connection)
        )
        self.addCleanup(protocol.transport.abortConnection)
        protocol.transport.write(f"{request} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        return protocol

    def kernels(self, gateway: GatewayProcess) -> list[int]:
        """
        :return: The processes of its kernels.
        """
        assert gateway.transport is not None
        return children_of(gateway.transport.pid)
