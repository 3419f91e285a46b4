"""
Writing to a connection at once, over real sockets.
"""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import TestCase

from kgd.web.server.delivery import unsent_size, write_now
from tests.support.connections import joined
from tests.support.gateway import until


class SendingTests(TestCase):
    """
    What is written arrives, in order, whichever way it takes.
    """

    async def test_at_once(self) -> None:
        """
        A little is written before the reactor has its turn.
        """
        server, client = await joined(self)
        write_now(server.transport, [b"a" * 1000, b"b"])
        self.assertEqual(unsent_size(server.transport), 0)
        self.assertFalse(server.transport in reactor.getWriters())
        await until(lambda: client.received == 1001, "it is there")

    async def test_order(self) -> None:
        """
        Behind what waits nothing is written at once, and much is left to the transport.
        """
        server, client = await joined(self)
        client.transport.pauseProducing()
        expected = b""
        for number in range(300):
            pieces = [b"%06d" % number, b"x" * (100_000 if number % 3 else 100)]
            expected += b"".join(pieces)
            write_now(server.transport, pieces)
        self.assertGreater(unsent_size(server.transport), 0)
        client.transport.resumeProducing()
        await until(lambda: client.received == len(expected), "all of it is there")
        self.assertEqual(b"".join(client.pieces), expected)

    async def test_lost(self) -> None:
        """
        On a connection that is being lost, or is lost, it does no harm.
        """
        server, client = await joined(self)
        server.transport.loseConnection()
        write_now(server.transport, [b"x"])
        await until(lambda: server.lost and client.lost, "it is lost")
        write_now(server.transport, [b"x"])

    def test_other_transports(self) -> None:
        """
        Other transports are written to in their own way.
        """
        transport: Any = StringTransport()
        write_now(transport, [b"a", b"b"])
        self.assertEqual((transport.value(), unsent_size(transport)), (b"ab", 0))
