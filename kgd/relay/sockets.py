"""
ZeroMQ sockets on the reactor, with bounded memory and a fair share of each reactor turn.

By itself, txZMQ would let one busy kernel starve the reactor, keep any amount of messages, and send
half of a message (its ``doRead`` and ``send``). Both are overridden here. No other module of the
gateway uses txZMQ or pyzmq.

ZeroMQ signals *edges* on a socket's descriptor, and every operation on the socket may use one up.
So each operation has to be followed by a check for more to do: :py:meth:`doRead
<KernelSocket.doRead>` reads until the socket is empty or schedules itself again, the others call
``_check_events``.
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
from kgd.relay.limits import MESSAGE_OVERHEAD

# The share of a reactor turn that one socket may take.
TURN_MESSAGES = 128
TURN_SECONDS = 0.002
TURN_BYTES = 512 * 1024

# Frames of this size, in bytes, and larger ones are passed on as views of ZeroMQ's memory; smaller
# ones are copied.
ZERO_COPY_SIZE = 64 * 1024
# How many frames a message without buffers has.
FRAMES_WITHOUT_BUFFERS = 6
# Far above libzmq's 1023, which would be some 250 clients.
MAX_SOCKETS = 65_000
# A kernel that sends a larger frame, in bytes, loses its connection.
MAX_MESSAGE = 256 * 1024 * 1024
# A kernel opens its port or socket file some time after the first attempt to connect.
RECONNECT_MILLISECONDS = 10
LINGER_MILLISECONDS = 1000
# How many messages ZeroMQ takes from us before the kernel does, whatever their size: as many as a
# request of notebook_http sends. Others are queued here, where their bytes count.
SEND_HIGH_WATER = 4
# How many messages ZeroMQ may queue for us, whatever their size. (To change this on an open socket
# can block it.)
RECEIVE_HIGH_WATER = 32
# Messages are read ahead from ZeroMQ up to this size, in bytes, so many at a time, and each time
# that so many have been passed on. What does not fit in waits in the system's buffers, which are
# small for Unix sockets, and in the kernel, which drops output when it has a thousand messages.
READ_AHEAD_BYTES = 16 * 1024 * 1024
READ_AHEAD_MESSAGES = 256
READ_AHEAD_EVERY = 8

Received = Callable[[Sequence[Buffer]], None]


def can_encrypt() -> bool:
    """
    Whether ZeroMQ was built with CurveZMQ.
    """
    return bool(zmq.has("curve"))


def new_curve_keys() -> CurveKeys:
    """
    Make a key pair for a kernel.
    """
    return CurveKeys(*zmq.curve_keypair())


class SocketFactory(ZmqFactory):  # type: ignore[misc]
    """
    Owns the ZeroMQ context. To be made after the process has become a daemon, for the context's
    threads do not survive a fork.
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
        sent: Callable[[], None],
        curve: CurveKeys | None = None,
    ) -> KernelSocket:
        """
        Connect to a kernel's shell, control or stdin channel.

        :param identity: Unique to one client of the kernel, the same on all of its channels.
        :param connected: Called once, when the kernel has accepted the connection.
        :param sent: Called when some of what had to wait has been sent.
        :param curve: The kernel's keys, if it has any.
        """
        return KernelSocket(self, zmq.DEALER, address, received, curve, identity, connected, sent)

    def shutdown(self) -> None:
        """
        Close every socket and the context, without finishing to send.
        """
        for socket in tuple(self.connections):
            socket.close(linger=False)
        self.context.destroy(linger=0)


class KernelSocket(ZmqConnection):  # type: ignore[misc]
    """
    One socket, connected to one channel of one kernel.

    :ivar backlog: How many bytes wait for the kernel to take them, with
        :py:data:`~kgd.relay.limits.MESSAGE_OVERHEAD` for each message.
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
        sent: Callable[[], None] = lambda: None,
    ) -> None:
        # txZMQ's constructor reads from the socket, so these come first.
        self.socketType = kind
        self._from_kernels = factory.counters.from_kernels
        self._to_kernels = factory.counters.to_kernels
        self._received = received
        self._connected = connected
        self._sent = sent
        self._lingering: IDelayedCall | None = None
        self._paused = False
        # What has been read from ZeroMQ and not been passed on, with its size.
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
            # Nothing is queued for a port that another process may open.
            socket.set(zmq.IMMEDIATE, 1)
        if curve is not None:
            # Jupyter's own clients do the same: their keys are the kernel's.
            socket.set(zmq.CURVE_SERVERKEY, curve.public)
            socket.set(zmq.CURVE_PUBLICKEY, curve.public)
            socket.set(zmq.CURVE_SECRETKEY, curve.secret)

    @property
    def is_connected(self) -> bool:
        """
        Whether the kernel has accepted the connection. Only known of a DEALER.
        """
        return self._connected is None

    def doRead(self) -> None:
        """
        Pass on what has arrived, but no more than a fair share of this reactor turn.
        """
        if self.factory is None or self._is_scheduled():
            return
        empty = self._pass_on_some()
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
        Read what has arrived, up to a bound.

        :return: Whether ZeroMQ has no more.
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

    def _pass_on_some(self) -> bool:
        """
        :return: Whether ZeroMQ has no more.
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
            total += self._pass_on_next()
            if self.factory is None or total > TURN_BYTES or clock() > until:
                break
        return empty

    def _pass_on_next(self) -> int:
        frames, size = self._ahead.popleft()
        self._ahead_size -= size
        try:
            self._received(frames)
        except Exception:
            self._log.failure("a message from a kernel could not be handled")
        return size

    def _read_while_paused(self, empty: bool) -> None:
        # As long as there is room.
        if self._ahead_size >= READ_AHEAD_BYTES:
            self.factory.reactor.removeReader(self)
        elif not empty:
            self._schedule()

    def pause(self) -> None:
        """
        Pass on nothing until :py:meth:`resume`. What arrives is kept, as far as there is room.
        """
        self._paused = True

    def resume(self) -> None:
        """
        Pass on messages again, those first that have been kept.
        """
        if self._paused and self.factory is not None:
            self._paused = False
            self.factory.reactor.addReader(self)
            self._schedule()

    def drain(self) -> None:
        """
        Pass on everything that has arrived, however long that takes.
        """
        empty = False
        while self.factory is not None and not empty:
            empty = self._read_ahead()
            while self._ahead:
                self._pass_on_next()

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
        Send a message, or queue it until the kernel can take it.

        :param message: All of its frames. What a view shows must not change afterwards.
        """
        if self.factory is None:
            return
        size = sum(map(len, message))
        self._to_kernels.messages += 1
        self._to_kernels.size += size
        if self.queue or not self._try_send(message):
            self.queue.append(message)
            self.backlog += size + MESSAGE_OVERHEAD
        self._check_events()

    def _try_send(self, message: Sequence[Buffer]) -> bool:
        try:
            # Small frames are copied, which costs less than to pass on views of them.
            bulky = len(message) > FRAMES_WITHOUT_BUFFERS or len(message[-1]) >= ZERO_COPY_SIZE
            self.socket.send_multipart(message, zmq.NOBLOCK, copy=not bulky)
        except zmq.Again:
            return False
        return True

    def _flush(self) -> None:
        queue = self.queue
        before = self.backlog
        while queue and self._try_send(queue[0]):
            self.backlog -= sum(map(len, queue.popleft())) + MESSAGE_OVERHEAD
        if self.backlog != before:
            self._sent()
            if self._lingering is not None and not queue:
                self.close()

    def _check_writable(self) -> None:
        """
        Send what is queued, if the socket takes it by now.
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
            if self.factory is None:
                return
        self._check_events()

    def _check_events(self) -> None:
        """
        Read and write in the next reactor turn if there is something to do, for the descriptor's
        signal may have been used up.
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

        :param linger: Whether to finish sending first.
        """
        if self.factory is None:
            return
        self._received = self._ignore
        lingering, self._lingering = self._lingering, None
        if lingering is not None and lingering.active():
            lingering.cancel()
        if not linger:
            self.socket.set(zmq.LINGER, 0)
        elif self.queue:
            # ZeroMQ finishes sending only what it has taken.
            self._lingering = self.factory.reactor.callLater(
                LINGER_MILLISECONDS / 1000, self.close, linger=False
            )
            return
        self.queue.clear()
        self._ahead.clear()
        self.shutdown()

    def _ignore(self, frames: Sequence[Buffer]) -> None:
        """
        Drop a message that comes after the owner has closed the socket.
        """

    def connectionLost(self, reason: Failure) -> None:
        """
        Close the socket, because the reactor cannot read its descriptor. Only a defect causes that.
        """
        self._log.error("a kernel's socket was lost: {reason}", reason=reason.getErrorMessage())
        self.close(linger=False)
