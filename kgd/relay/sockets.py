"""
ZeroMQ sockets on the reactor: txZMQ, tamed.

What txZMQ does by itself would let one busy kernel starve the reactor, keep any amount of messages
and send half of a message (its ``doRead`` and ``send``); it is overridden here, and nothing else
of the gateway knows txZMQ or pyzmq.

ZeroMQ signals *edges* on a socket's descriptor, and every operation on the socket may use one up.
So after each of them somebody has to look whether there is more to do: :py:meth:`doRead
<KernelSocket.doRead>` reads until the socket is empty or comes back, the others look afterwards.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import zmq
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure
from txzmq import ZmqConnection, ZmqEndpoint, ZmqEndpointType, ZmqFactory

from kgd.observability.counters import Counters
from kgd.observability.logs import make_logger
from kgd.protocol.connection_file import CurveKeys
from kgd.protocol.messages import Buffer

# What one socket may take of a reactor turn.
TURN_MESSAGES = 128
TURN_SECONDS = 0.002
TURN_BYTES = 512 * 1024

# Frames from this size on are handed over as a view of ZeroMQ's memory instead of a copy.
ZERO_COPY_SIZE = 64 * 1024
# How many frames a message without buffers has.
FRAMES_WITHOUT_BUFFERS = 6
# Far above libzmq's 1023, which would be some 250 clients.
MAX_SOCKETS = 65_000
# A kernel that sends more than this at once loses its connection.
MAX_MESSAGE = 256 * 1024 * 1024
# A kernel's port or socket file opens some time after we first tried it.
RECONNECT_MILLISECONDS = 10
LINGER_MILLISECONDS = 1000
SEND_HIGH_WATER = 1000
# What ZeroMQ may hold back for us, in messages, as it counts them, whatever their size. (To change
# this on a living socket can block it.)
RECEIVE_HIGH_WATER = 32
# What is taken from ZeroMQ before its turn, in bytes, and in messages at a time; and after how many
# messages that have been handed over. What does not fit in waits in the system's buffers, which are
# small for Unix sockets, and with the kernel, which drops output when it has a thousand messages.
READ_AHEAD_BYTES = 16 * 1024 * 1024
READ_AHEAD_MESSAGES = 256
READ_AHEAD_EVERY = 8

Received = Callable[[Sequence[Buffer]], None]


def can_encrypt() -> bool:
    """
    Whether ZeroMQ was built with what it takes.
    """
    return bool(zmq.has("curve"))


def new_curve_keys() -> CurveKeys:
    """
    Make keys for a kernel.
    """
    return CurveKeys(*zmq.curve_keypair())


class SocketFactory(ZmqFactory):  # type: ignore[misc]
    """
    Owns the ZeroMQ context. To be made after daemonizing: its threads do not survive a fork.
    """

    lingerPeriod = LINGER_MILLISECONDS

    def __init__(self, reactor: Any, counters: Counters | None = None) -> None:
        self.reactor = reactor
        self.counters = counters or Counters()
        super().__init__()
        self.context.set(zmq.MAX_SOCKETS, MAX_SOCKETS)

    def subscribe(
        self, address: str, received: Received, curve: CurveKeys | None = None
    ) -> KernelSocket:
        """
        Connect to a kernel's iopub channel.

        :param curve: The kernel's keys, if it has any.
        """
        return KernelSocket(self, zmq.SUB, address, received, curve)

    def connect_dealer(
        self,
        address: str,
        identity: bytes,
        received: Received,
        connected: Callable[[], None],
        curve: CurveKeys | None = None,
    ) -> KernelSocket:
        """
        Connect to a channel on which requests are answered.

        :param identity: Unique to one client of the kernel, the same on all of its channels.
        :param connected: Called once, when the kernel has taken the connection.
        :param curve: The kernel's keys, if it has any.
        """
        return KernelSocket(self, zmq.DEALER, address, received, curve, identity, connected)

    def shutdown(self) -> None:
        """
        Close every socket and the context, without waiting for anything unsent.
        """
        for socket in tuple(self.connections):
            socket.close(linger=False)
        self.context.destroy(linger=0)


class KernelSocket(ZmqConnection):  # type: ignore[misc]
    """
    One socket, connected to one channel of one kernel.

    :ivar backlog: How many bytes wait for the kernel to take them.
    """

    _log = make_logger()
    backlog = 0
    read_scheduled: IDelayedCall | None

    def __init__(
        self,
        factory: SocketFactory,
        kind: int,
        address: str,
        received: Received,
        curve: CurveKeys | None = None,
        identity: bytes | None = None,
        connected: Callable[[], None] | None = None,
    ) -> None:
        # The constructor of txZMQ reads from the socket already.
        self.socketType = kind
        self._from_kernels = factory.counters.from_kernels
        self._to_kernels = factory.counters.to_kernels
        self._received = received
        self._connected = connected
        self._paused = False
        # What has been taken from ZeroMQ, with its size, and has not been handed over.
        self._ahead: deque[tuple[list[Buffer], int]] = deque()
        self._ahead_size = 0
        super().__init__(factory, identity=identity)
        try:
            self._configure(kind, curve)
            self.addEndpoints([ZmqEndpoint(ZmqEndpointType.connect, address)])
            self._check_events()
        except zmq.ZMQError:
            self.close(linger=False)
            raise

    def _configure(self, kind: int, curve: CurveKeys | None) -> None:
        socket = self.socket
        socket.set(zmq.SNDHWM, SEND_HIGH_WATER)
        socket.set(zmq.RCVHWM, RECEIVE_HIGH_WATER)
        socket.set(zmq.MAXMSGSIZE, MAX_MESSAGE)
        socket.set(zmq.RECONNECT_IVL, RECONNECT_MILLISECONDS)
        if kind == zmq.SUB:
            socket.set(zmq.SUBSCRIBE, b"")
        else:
            # Nothing is queued for a port that somebody else may open.
            socket.set(zmq.IMMEDIATE, 1)
        if curve is not None:
            # As Jupyter's own clients do it, whose keys are the kernel's, too.
            socket.set(zmq.CURVE_SERVERKEY, curve.public)
            socket.set(zmq.CURVE_PUBLICKEY, curve.public)
            socket.set(zmq.CURVE_SECRETKEY, curve.secret)

    @property
    def is_connected(self) -> bool:
        """
        Whether the kernel has taken the connection. Of a DEALER only.
        """
        return self._connected is None

    def doRead(self) -> None:
        """
        Hand over what there is, but no more than a fair share of this reactor turn.
        """
        if self.factory is None or self._is_scheduled():
            return
        empty = self._hand_over_some()
        if self.factory is None:
            return
        if self._paused:
            self._read_while_paused(empty)
        elif self._ahead or not empty:
            self._schedule()
        else:
            self._check_writable()

    def _read_ahead(self) -> bool:
        """
        Take what has arrived, up to a bound.

        :return: Whether nothing is left.
        """
        ahead, before = len(self._ahead), self._ahead_size
        try:
            for _ in range(READ_AHEAD_MESSAGES):
                if self._ahead_size >= READ_AHEAD_BYTES:
                    break
                frames = self._receive()
                size = sum(map(len, frames))
                self._ahead.append((frames, size))
                self._ahead_size += size
        except zmq.Again:
            return True
        finally:
            flow = self._from_kernels
            flow.messages += len(self._ahead) - ahead
            flow.size += self._ahead_size - before
        return False

    def _hand_over_some(self) -> bool:
        """
        :return: Whether ZeroMQ had no more.
        """
        clock = self.factory.reactor.seconds
        until = clock() + TURN_SECONDS
        total = 0
        empty = False
        for number in range(TURN_MESSAGES):
            if number % READ_AHEAD_EVERY == 0:
                empty = self._read_ahead()
            if not self._ahead or self._paused:
                break
            total += self._hand_over_next()
            if self.factory is None or total > TURN_BYTES or clock() > until:
                break
        return empty

    def _hand_over_next(self) -> int:
        frames, size = self._ahead.popleft()
        self._ahead_size -= size
        try:
            self._received(frames)
        except Exception:
            self._log.failure("a message from a kernel could not be handled")
        return size

    def _read_while_paused(self, empty: bool) -> None:
        """
        Come back for more as long as there is room.
        """
        if self._ahead_size >= READ_AHEAD_BYTES:
            self.factory.reactor.removeReader(self)
        elif not empty:
            self._schedule()

    def pause(self) -> None:
        """
        Hand over nothing until :py:meth:`resume`. What arrives is kept, as far as there is room.
        """
        self._paused = True

    def resume(self) -> None:
        """
        Go on where :py:meth:`pause` stopped.
        """
        if self._paused and self.factory is not None:
            self._paused = False
            self.factory.reactor.addReader(self)
            self._schedule()

    def drain(self) -> None:
        """
        Hand over everything that has arrived, however long that takes.
        """
        empty = False
        while self.factory is not None and not empty:
            empty = self._read_ahead()
            while self._ahead:
                self._hand_over_next()

    def _receive(self) -> list[Buffer]:
        receive = self.socket.recv
        frame = receive(zmq.NOBLOCK, False)
        frames = [frame.bytes if len(frame) < ZERO_COPY_SIZE else frame.buffer]
        while frame.more:
            frame = receive(zmq.NOBLOCK, False)
            frames.append(frame.bytes if len(frame) < ZERO_COPY_SIZE else frame.buffer)
        return frames

    def send(self, message: Sequence[Buffer]) -> None:
        """
        Send a message, or keep it until the kernel can take it.

        :param message: All of its frames; a view must not change afterwards.
        """
        if self.factory is None:
            return
        size = sum(map(len, message))
        self._to_kernels.messages += 1
        self._to_kernels.size += size
        if self.queue or not self._try_send(message):
            self.queue.append(message)
            self.backlog += size
        self._check_events()

    def _try_send(self, message: Sequence[Buffer]) -> bool:
        try:
            # To pass views on without copying them costs more than to copy small ones.
            bulky = len(message) > FRAMES_WITHOUT_BUFFERS or len(message[-1]) >= ZERO_COPY_SIZE
            self.socket.send_multipart(message, zmq.NOBLOCK, copy=not bulky)
        except zmq.Again:
            return False
        return True

    def _flush(self) -> None:
        queue = self.queue
        while queue and self._try_send(queue[0]):
            self.backlog -= sum(map(len, queue.popleft()))

    def _check_writable(self) -> None:
        """
        The socket is empty; has it become possible to send?
        """
        if not self._wants_to_write():
            return
        if self.socket.get(zmq.EVENTS) & zmq.POLLOUT:
            connected, self._connected = self._connected, None
            if connected is not None:
                connected()
            if self.factory is None:
                return
            self._flush()
        self._check_events()

    def _check_events(self) -> None:
        """
        The descriptor's signal may have been used up: come back if there is something to do.
        """
        events = self.socket.get(zmq.EVENTS)
        if events & zmq.POLLIN or (events & zmq.POLLOUT and self._wants_to_write()):
            self._schedule()

    def _wants_to_write(self) -> bool:
        return bool(self.queue) or self._connected is not None

    def _is_scheduled(self) -> bool:
        return self.read_scheduled is not None

    def _schedule(self) -> None:
        if self.read_scheduled is None:
            self.read_scheduled = self.factory.reactor.callLater(0, self._read_again)

    def _read_again(self) -> None:
        self.read_scheduled = None
        self.doRead()

    def close(self, *, linger: bool = True) -> None:
        """
        Close the socket. Calling it again does no harm.

        :param linger: Whether what is under way to the kernel may still leave.
        """
        if self.factory is None:
            return
        if not linger:
            self.socket.set(zmq.LINGER, 0)
        self.queue.clear()
        self._ahead.clear()
        self.shutdown()

    def connectionLost(self, reason: Failure) -> None:
        """
        The reactor gives up on the descriptor, which nothing but a defect makes it do.
        """
        self._log.error("a kernel's socket was lost: {reason}", reason=reason.getErrorMessage())
        self.close(linger=False)
