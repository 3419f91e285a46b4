"""
Real TCP connections on loopback, with both ends in the test.
"""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from tests.support.gateway import until


class End(Protocol):
    """
    One end of a connection.

    :ivar received: How many bytes came.
    :ivar pieces: What came, in the pieces in which it came.
    :ivar made: Fires when there is a connection.
    :ivar lost: Why the connection is gone, or ``None``.
    """

    transport: Any

    def __init__(self) -> None:
        self.received = 0
        self.pieces: list[bytes] = []
        self.made: Deferred[None] = Deferred()
        self.lost: Failure | None = None

    def connectionMade(self) -> None:
        self.made.callback(None)

    def dataReceived(self, data: bytes) -> None:
        self.received += len(data)
        self.pieces.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = reason


async def joined(case: TestCase) -> tuple[End, End]:
    """
    :return: The server's and the client's end of a new connection, which ends with the test.
    """
    server, client = End(), End()
    factory = Factory.forProtocol(lambda: server)
    factory.noisy = False
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
    case.addCleanup(port.stopListening)
    there = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
    await there.connect(Factory.forProtocol(lambda: client))
    await server.made

    async def part() -> None:
        for end in (server, client):
            if not end.lost:
                end.transport.abortConnection()
        await until(lambda: server.lost and client.lost, "both ends are closed")

    case.addCleanup(part)
    return server, client
