"""
What has arrived at the other end of a connection, over real sockets.
"""

from __future__ import annotations

import socket
from types import SimpleNamespace

from twisted.internet import reactor
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import TestCase

from kgd.protocol.messages import KernelMessage, read_header
from kgd.web.server.delivery import (
    AcknowledgementSweep,
    Unacknowledged,
    _undelivered_size,
    unsent_size,
)
from tests.support.connections import joined
from tests.support.gateway import until

PIECE = 64 * 1024


def message(number: int) -> KernelMessage:
    """
    A message that can be told from others.
    """
    raw = b'{"msg_type": "stream", "msg_id": "%d"}' % number
    return KernelMessage("iopub", read_header(raw), (raw, b"{}", b"{}", b"{}"))


class UnacknowledgedTests(TestCase):
    """
    Messages on their way from one end to the other.
    """

    async def connect(self, **sweep: float) -> None:
        """
        Join two ends.
        """
        self.server, self.client = await joined(self)
        self.sweep = AcknowledgementSweep(reactor, **sweep)
        self.messages = Unacknowledged(self.server.transport, self.sweep)
        self.addCleanup(self.sweep.unwatch, self.messages)
        self.sent = 0

    def write(self, count: int) -> None:
        """
        Write so many messages.
        """
        for _ in range(count):
            self.server.transport.write(b"x" * PIECE)
            self.messages.add([(message(self.sent), PIECE)])
            self.sent += 1

    async def test_all_arrived(self) -> None:
        """
        What the other end's system has taken has arrived.
        """
        await self.connect()
        self.write(20)
        await until(lambda: self.client.received == 20 * PIECE, "it is there")
        await until(lambda: not self.messages.forget_arrived(), "that is known")
        self.assertEqual(self.messages.undelivered_on_loss(orderly=True), [])

    async def test_dead(self) -> None:
        """
        What is left in buffers of a connection on which nothing moves has not; nothing between is
        missing, and the last of those that arrived is not among them.
        """
        await self.connect(stale_after=0.0)
        self.client.transport.pauseProducing()
        self.write(400)
        transport = self.server.transport
        before = None

        def settled() -> bool:
            nonlocal before
            now = _undelivered_size(transport)
            unchanged = before == now
            before = now
            return unchanged and now < self.sent * PIECE

        await until(settled, "the buffers are full")
        undelivered = self.messages.undelivered_if_stale()
        self.assertTrue(undelivered)
        numbers = [int(str(each.header.msg_id)) for each in undelivered]
        self.assertEqual(numbers, list(range(numbers[0], 400)))
        self.assertGreater(numbers[0] + 1, (400 * PIECE - (before or 0)) // PIECE - 1)

    async def test_alive(self) -> None:
        """
        A connection that is only busy is not taken for dead.
        """
        await self.connect()
        self.client.transport.pauseProducing()
        self.write(400)
        self.assertEqual(self.messages.undelivered_if_stale(), [])

    async def test_reset(self) -> None:
        """
        Of a connection that is reset while it is busy, all that we still had ourselves has not
        arrived, the message of which a part was sent included; of the rest nobody knows.
        """
        await self.connect()
        self.client.transport.pauseProducing()
        self.write(400)
        await until(lambda: unsent_size(self.server.transport) < 400 * PIECE, "some of it is sent")
        whole = (400 * PIECE - unsent_size(self.server.transport)) // PIECE
        numbers = [
            int(str(each.header.msg_id))
            for each in self.messages.undelivered_on_loss(orderly=False)
        ]
        self.assertEqual(numbers, list(range(whole, 400)))

    async def test_forgotten(self) -> None:
        """
        What has arrived is forgotten, even when nothing more is sent.
        """
        await self.connect(period=0.01)
        self.write(3)
        await until(lambda: not self.messages._messages, "it is forgotten")

    async def test_other_transports(self) -> None:
        """
        Of transports that are not TCP nothing is known.
        """
        a, b = socket.socketpair()
        self.addCleanup(a.close)
        self.addCleanup(b.close)
        for transport in (SimpleNamespace(socket=a), StringTransport()):
            messages = Unacknowledged(transport, AcknowledgementSweep(reactor))
            messages.add([(message(0), PIECE)])
            self.assertEqual(messages.undelivered_on_loss(orderly=True), [])
