"""
Our ZeroMQ sockets against real ones on loopback.
"""

from __future__ import annotations

import itertools
import shutil
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import zmq
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import deferLater
from twisted.protocols.portforward import ProxyFactory, ProxyServer
from twisted.trial.unittest import TestCase

from kgd.kernels.local.ports import PortLeases
from kgd.protocol.connection_file import CurveKeys
from kgd.protocol.messages import Buffer
from kgd.relay import sockets
from kgd.relay.limits import MEBIBYTE, MESSAGE_OVERHEAD
from kgd.relay.sockets import (
    MAX_SOCKETS,
    TURN_MESSAGES,
    ZERO_COPY_SIZE,
    KernelSocket,
    SocketFactory,
    new_curve_keys,
)

TIMEOUT = 20


class Inbox:
    """
    Keeps what arrives, and fires when so many messages are there.
    """

    def __init__(self) -> None:
        self.messages: list[list[bytes]] = []
        self._awaited: list[tuple[int, Deferred[None]]] = []

    def received(self, frames: Sequence[Buffer]) -> None:
        """
        A message arrived.
        """
        self.messages.append([bytes(frame) for frame in frames])
        for awaited in self._awaited[:]:
            count, deferred = awaited
            if len(self.messages) >= count:
                self._awaited.remove(awaited)
                deferred.callback(None)

    def when(self, count: int) -> Deferred[None]:
        """
        :return: Fires when ``count`` messages have arrived.
        """
        if len(self.messages) >= count:
            return succeed(None)
        deferred: Deferred[None] = Deferred()
        deferred.addTimeout(
            TIMEOUT,
            reactor,
            lambda failure, timeout: self._too_late(count),
        )
        self._awaited.append((count, deferred))
        return deferred

    def _too_late(self, count: int) -> None:
        raise AssertionError(f"{len(self.messages)} of {count} messages arrived in {TIMEOUT} s")


class SocketCase(TestCase):
    """
    One socket of ours, one of the kernel's.
    """

    def setUp(self) -> None:
        self.context = zmq.Context()
        self.factory = SocketFactory(reactor)
        self.inbox = Inbox()
        # How much waited each time that some of it was sent.
        self.sent: list[int] = []
        self.addCleanup(self.context.destroy, 0)
        self.addCleanup(self.factory.shutdown)

    #: Of the kernel, if it has any; and what we take for them.
    curve: CurveKeys | None = None
    ours: CurveKeys | None = None

    def new_address(self) -> str:
        """
        :return: An address where no process listens yet.
        """
        # Not one of those that the system hands out: trying such a port again and again, a socket
        # would one day meet itself.
        (port,) = PortLeases().lease(1)
        return f"tcp://127.0.0.1:{port}"

    def kernel(
        self, kind: int, address: str | None = None, receive_high_water: int = 1000
    ) -> tuple[zmq.Socket[bytes], str]:
        """
        :return: A bound socket and its address.
        """
        address = address or self.new_address()
        socket = self.context.socket(kind)
        socket.set(zmq.RCVHWM, receive_high_water)
        socket.set(zmq.SNDHWM, 0)
        if self.curve is not None:
            socket.set(zmq.CURVE_SERVER, 1)
            socket.set(zmq.CURVE_PUBLICKEY, self.curve.public)
            socket.set(zmq.CURVE_SECRETKEY, self.curve.secret)
        socket.bind(address)
        return socket, address

    def dealer(self, address: str, identity: bytes = b"me") -> tuple[KernelSocket, Deferred[None]]:
        """
        :return: A DEALER, and what fires when it is connected.
        """
        connected: Deferred[None] = Deferred()
        connected.addTimeout(TIMEOUT, reactor)
        ours = self.factory.connect_dealer(
            address,
            identity,
            self.inbox.received,
            lambda: connected.callback(None),
            lambda: self.sent.append(ours.backlog),
            self.ours,
        )
        return ours, connected

    async def receive(self, socket: zmq.Socket[bytes]) -> list[bytes]:
        """
        Wait for a message to the kernel, with the reactor running.
        """
        until = reactor.seconds() + TIMEOUT
        while not socket.poll(0):
            self.assertLess(reactor.seconds(), until, "nothing arrived at the kernel")
            await deferLater(reactor, 0)
        return socket.recv_multipart()

    async def subscribed(self) -> tuple[zmq.Socket[bytes], KernelSocket]:
        """
        :return: A publisher that knows its subscriber, and that.
        """
        publisher, address = self.kernel(zmq.XPUB)
        socket = self.factory.subscribe(address, self.inbox.received, self.ours)
        self.assertEqual(await self.receive(publisher), [b"\x01"])
        return publisher, socket


class SocketTests(SocketCase):
    """
    Over TCP.
    """

    async def test_published(self) -> None:
        """
        All that is published arrives, in order, with its frames as they were.
        """
        publisher, _ = await self.subscribed()
        sent = [[b"topic", b"%d" % number, b""] for number in range(1000)]
        for message in sent:
            publisher.send_multipart(message)
        await self.inbox.when(1000)
        self.assertEqual(self.inbox.messages, sent)

    async def test_bulk(self) -> None:
        """
        Large frames arrive whole, too.
        """
        publisher, _ = await self.subscribed()
        message = [
            b"a",
            b"x" * (ZERO_COPY_SIZE - 1),
            b"y" * ZERO_COPY_SIZE,
            b"z" * (5 * ZERO_COPY_SIZE),
        ]
        publisher.send_multipart(message)
        await self.inbox.when(1)
        self.assertEqual(self.inbox.messages, [message])

    async def test_a_flood_leaves_room_for_others(self) -> None:
        """
        However much has arrived, other events get their turn after a bounded number of messages.
        """
        publisher, _socket = await self.subscribed()
        count = 10 * TURN_MESSAGES
        for number in range(count):
            publisher.send(b"%d" % number)
        seen: list[int] = []

        def other() -> None:
            seen.append(len(self.inbox.messages))
            if seen[-1] < count:
                reactor.callLater(0, other)

        reactor.callLater(0, other)
        await self.inbox.when(count)
        steps = [after - before for before, after in itertools.pairwise(seen)]
        # Two at most: what was scheduled, and what the descriptor signalled, in one turn.
        self.assertLessEqual(max(steps), 2 * TURN_MESSAGES)

    async def test_drain(self) -> None:
        """
        When it must be everything, it is everything that is there, not only a turn's share.
        """
        publisher, socket = await self.subscribed()
        publisher.send(b"first")
        await self.inbox.when(1)
        for number in range(5 * TURN_MESSAGES):
            publisher.send(b"%d" % number)
        before = 0
        while before < len(self.inbox.messages) < 5 * TURN_MESSAGES + 1:
            before = len(self.inbox.messages)
            socket.socket.poll(TIMEOUT * 1000)
            socket.drain()
        self.assertEqual(len(self.inbox.messages), 5 * TURN_MESSAGES + 1)

    async def test_send_before_the_kernel_listens(self) -> None:
        """
        What is sent before the kernel listens arrives soon after it does.
        """
        address = self.new_address()
        socket, connected = self.dealer(address)
        socket.send([b"one", b"more"])
        socket.send([b"two"])
        self.assertEqual(socket.backlog, 10 + 2 * MESSAGE_OVERHEAD)
        # Long enough for many vain attempts.
        await deferLater(reactor, 0.3)
        self.assertFalse(socket.is_connected)
        kernel, _ = self.kernel(zmq.ROUTER, address)
        begun = reactor.seconds()
        await connected
        self.assertLess(reactor.seconds() - begun, 1.0)
        self.assertEqual(await self.receive(kernel), [b"me", b"one", b"more"])
        self.assertEqual(await self.receive(kernel), [b"me", b"two"])
        self.assertTrue(socket.is_connected)
        self.assertEqual(socket.backlog, 0)

    async def test_a_kernel_that_does_not_read(self) -> None:
        """
        What it does not take waits here, where its size is known, and not in ZeroMQ; it leaves in
        order when the kernel reads.
        """
        kernel, address = self.kernel(zmq.ROUTER, receive_high_water=1)
        socket, connected = self.dealer(address)
        await connected
        total = 64
        for number in range(total):
            socket.send([b"%d" % number, b"x" * MEBIBYTE])
        # The rest is in buffers of the system and of ZeroMQ, which takes few messages.
        self.assertGreater(socket.backlog, (total - 16) * MEBIBYTE)
        for number in range(total):
            self.assertEqual((await self.receive(kernel))[1], b"%d" % number)
        self.assertEqual(socket.backlog, 0)
        self.assertEqual(self.sent[-1], 0)
        self.assertEqual(sorted(self.sent, reverse=True), self.sent)

    async def test_close_finishes_sending(self) -> None:
        """
        A socket that is closed sends what was queued, and passes on nothing more.
        """
        kernel, address = self.kernel(zmq.ROUTER, receive_high_water=1)
        socket, connected = self.dealer(address)
        await connected
        for number in range(20):
            socket.send([b"%d" % number, b"x" * MEBIBYTE])
        socket.close()
        self.assertGreater(socket.backlog, 0)
        kernel.send_multipart([(await self.receive(kernel))[0], b"reply"])
        for number in range(1, 20):
            self.assertEqual((await self.receive(kernel))[1], b"%d" % number)
        self.assertEqual(self.inbox.messages, [])

    async def test_close_does_not_wait_for_ever(self) -> None:
        """
        What the kernel does not take for a second is dropped, also when close is called again.
        """
        self.patch(sockets, "LINGER_MILLISECONDS", 10)
        socket, connected = self.dealer(self.new_address())
        connected.addErrback(lambda failure: failure.trap(CancelledError))
        connected.cancel()
        socket.send([b"nobody"])
        socket.close()
        socket.close()
        self.assertIsNotNone(socket.factory)
        until = reactor.seconds() + TIMEOUT
        while socket.factory is not None:
            self.assertLess(reactor.seconds(), until, "the socket stays open")
            await deferLater(reactor, 0)

    async def test_answers_are_noticed_while_sending(self) -> None:
        """
        Sending uses up the descriptor's signal; answers arrive all the same.
        """
        kernel, address = self.kernel(zmq.ROUTER)
        socket, connected = self.dealer(address)
        await connected
        for number in range(200):
            socket.send([b"%d" % number])
            kernel.send_multipart(await self.receive(kernel))
            socket.send([b"x"])
            await self.receive(kernel)
            await self.inbox.when(number + 1)
        self.assertEqual(self.inbox.messages[-1], [b"199"])

    async def test_views(self) -> None:
        """
        A view of a client's frame can be sent.
        """
        kernel, address = self.kernel(zmq.ROUTER)
        socket, connected = self.dealer(address)
        await connected
        socket.send([memoryview(b"abcdef")[2:4], b"", b"x" * (2 * ZERO_COPY_SIZE)])
        self.assertEqual(
            await self.receive(kernel), [b"me", b"cd", b"", b"x" * (2 * ZERO_COPY_SIZE)]
        )

    async def test_a_receiver_that_fails(self) -> None:
        """
        An error while one message is handled is logged, and the next one arrives.
        """
        publisher, socket = await self.subscribed()
        received = socket._received

        def failing(frames: Sequence[Buffer]) -> None:
            socket._received = received
            raise ZeroDivisionError

        socket._received = failing
        publisher.send(b"one")
        publisher.send(b"two")
        await self.inbox.when(1)
        self.assertEqual(self.inbox.messages, [[b"two"]])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    async def test_close_while_receiving(self) -> None:
        """
        A receiver may close the socket; closing again and sending afterwards do no harm.
        """
        publisher, socket = await self.subscribed()
        closed: Deferred[None] = Deferred()
        closed.addTimeout(TIMEOUT, reactor)

        def closing(frames: Sequence[Buffer]) -> None:
            socket.close()
            closed.callback(None)

        socket._received = closing
        publisher.send(b"one")
        publisher.send(b"two")
        await closed
        socket.close(linger=False)
        socket.send([b"nobody"])
        socket.drain()
        self.assertEqual(self.inbox.messages, [])

    async def test_an_address_that_is_none(self) -> None:
        """
        A wrong address is an error at once, and leaves no socket open.
        """
        self.assertRaises(zmq.ZMQError, self.factory.subscribe, "tcp://", self.inbox.received)
        self.assertEqual(set(self.factory.connections), set())

    async def test_many_sockets(self) -> None:
        """
        The context allows far more sockets than libzmq does by itself.
        """
        self.assertEqual(self.factory.context.get(zmq.MAX_SOCKETS), MAX_SOCKETS)


class UnixSocketTests(SocketTests):
    """
    The same over Unix sockets.
    """

    def setUp(self) -> None:
        super().setUp()
        # Short: what trial makes may be too long for a socket.
        self.folder = Path(tempfile.mkdtemp(prefix="kgd-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self._numbers = itertools.count(1)

    def new_address(self) -> str:
        """
        A file that is not there yet.
        """
        return f"ipc://{self.folder}/k-{next(self._numbers)}"

    async def test_a_stale_file(self) -> None:
        """
        What a killed kernel has left of its socket is no obstacle to its successor.
        """
        address = self.new_address()
        file = Path(address.removeprefix("ipc://"))
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(file))
        dealer, connected = self.dealer(address)
        await deferLater(reactor, 0.1)
        self.assertFalse(dealer.is_connected)
        kernel, _ = self.kernel(zmq.ROUTER, address)
        dealer.send([b"hello"])
        await connected
        self.assertEqual(await self.receive(kernel), [b"me", b"hello"])


class CurveTests(SocketTests):
    """
    The same with encryption; and only who has the keys gets in.
    """

    def setUp(self) -> None:
        super().setUp()
        self.curve = self.ours = new_curve_keys()

    async def assert_not_connected(self) -> None:
        """
        Nothing gets to the kernel.
        """
        kernel, address = self.kernel(zmq.ROUTER)
        dealer, connected = self.dealer(address)
        connected.addErrback(lambda failure: failure.trap(CancelledError))
        dealer.send([b"hello"])
        await deferLater(reactor, 0.3)
        self.assertFalse(dealer.is_connected)
        self.assertFalse(kernel.poll(0))
        connected.cancel()

    async def test_another_key(self) -> None:
        """
        With the keys of another kernel, there is no connection.
        """
        self.ours = new_curve_keys()
        await self.assert_not_connected()

    async def test_no_key(self) -> None:
        """
        Nor is there without any.
        """
        self.ours = None
        await self.assert_not_connected()

    async def test_a_kernel_without(self) -> None:
        """
        A kernel that does not encrypt is told nothing.
        """
        self.curve = None
        await self.assert_not_connected()


class CurveUnixSocketTests(CurveTests, UnixSocketTests):
    """
    Both together.
    """


class EavesdropperTests(SocketCase):
    """
    An attacker who reads the connection.
    """

    async def test_nothing_in_the_clear(self) -> None:
        """
        Of what is encrypted, no word can be read.
        """
        self.curve = self.ours = new_curve_keys()
        overheard = bytearray()

        class Listener(ProxyServer):
            """
            Between us and the kernel.
            """

            def dataReceived(self, data: bytes) -> None:
                overheard.extend(data)
                super().dataReceived(data)

        kernel, address = self.kernel(zmq.ROUTER)
        proxy: Any = ProxyFactory("127.0.0.1", int(address.rpartition(":")[2]))
        proxy.protocol = Listener
        port: Any = reactor.listenTCP(0, proxy, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        dealer, connected = self.dealer(f"tcp://127.0.0.1:{port.getHost().port}")
        dealer.send([b"the secret word"])
        await connected
        self.assertEqual(await self.receive(kernel), [b"me", b"the secret word"])
        self.assertIn(b"CURVE", overheard)
        self.assertNotIn(b"secret", overheard)
        dealer.close(linger=False)
        kernel.close(linger=0)
        # Until the listener has noticed.
        await deferLater(reactor, 0.1)
