"""
Messages that were written to a TCP connection and have not arrived at the other end.

A connection can be dead long before its end is noticed; what is written meanwhile stays in the
system's send buffer. The system knows how much of it the other side has acknowledged, so that a
client that comes back can be sent the rest.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from kgd.observability.logs import make_logger
from kgd.protocol.messages import KernelMessage

# Messages that are written to a connection before acknowledgements are checked.
_CHECK_EVERY = 256
# Acknowledgements are also checked after a write of more bytes than this.
_LARGE_WRITE = 256 * 1024


class AcknowledgementSweep:
    """
    Forgets acknowledged messages from time to time, also of connections to which nothing is written
    any longer.

    :param period: Seconds for which acknowledged messages may still be remembered.
    :param stale_after: Seconds after which a connection with an unacknowledged message counts as
        dead; a system that runs acknowledges within 0.2 s.
    """

    _log = make_logger()

    def __init__(
        self, reactor: IReactorTime, period: float = 1.0, stale_after: float = 1.0
    ) -> None:
        self.now: Callable[[], float] = reactor.seconds
        self.stale_after = stale_after
        self._period = period
        self._watched: set[Unacknowledged] = set()
        self._sweeping = LoopingCall(self._sweep)
        self._sweeping.clock = reactor

    def watch(self, messages: Unacknowledged) -> None:
        """
        Forget messages of a connection, until all are acknowledged.
        """
        self._watched.add(messages)
        if not self._sweeping.running:
            sweeping = self._sweeping.start(self._period, now=False)
            sweeping.addErrback(self._failed)

    def _sweep(self) -> None:
        for messages in tuple(self._watched):
            if not messages.forget_arrived():
                self.unwatch(messages)

    def _failed(self, failure: Failure) -> None:
        self._log.failure("cannot check which messages have arrived", failure)

    def unwatch(self, messages: Unacknowledged) -> None:
        """
        Leave a connection alone.
        """
        self._watched.discard(messages)
        if not self._watched and self._sweeping.running:
            self._sweeping.stop()


class Unacknowledged:
    """
    The messages that were last written to one connection.

    :param transport: A plain TCP connection. For others (TLS, Unix sockets), nothing can be known
        and nothing is remembered.
    """

    def __init__(self, transport: Any, sweep: AcknowledgementSweep) -> None:
        self._transport = transport if is_plain_tcp(transport) else None
        self._sweep = sweep
        self._written = 0
        self._countdown = _CHECK_EVERY
        self._messages: deque[tuple[int, float, KernelMessage]] = deque()

    def add(self, messages: Sequence[tuple[KernelMessage, int]]) -> None:
        """
        Remember messages that have been written.

        :param messages: Each with the size of its frame, in bytes.
        """
        if self._transport is None:
            return
        if not self._messages:
            self._sweep.watch(self)
        now = self._sweep.now()
        before = self._written
        for message, size in messages:
            self._written += size
            self._messages.append((self._written, now, message))
        self._countdown -= len(messages)
        if self._countdown <= 0 or self._written - before > _LARGE_WRITE:
            self.forget_arrived()

    def forget_arrived(self) -> bool:
        """
        Forget the messages that have been acknowledged.

        :return: Whether any message is left.
        """
        self._countdown = _CHECK_EVERY
        arrived = self._written - _undelivered_size(self._transport)
        messages = self._messages
        while messages and messages[0][0] <= arrived:
            messages.popleft()
        return bool(messages)

    def undelivered_if_stale(self) -> list[KernelMessage]:
        """
        Take the messages that have not arrived, because another connection replaces this one.

        :return: The messages, if the connection is dead. None if it is alive: what its system has
            not acknowledged may have arrived, or still will.
        """
        if self._transport is None:
            return []
        self.forget_arrived()
        return self._take_after(0) if self._is_stale() else []

    def undelivered_on_loss(self, *, orderly: bool) -> list[KernelMessage]:
        """
        Take the messages that have not arrived, because the connection is lost. Its socket must
        still be open.

        :param orderly: Whether the other side closed the connection, and so acknowledged what it
            had received. Otherwise what is left in the system's buffer may have arrived, unless it
            has been there for long; what is left in Twisted's buffer has not.
        """
        if self._transport is None:
            return []
        self.forget_arrived()
        if orderly or self._is_stale():
            return self._take_after(0)
        return self._take_after(self._written - unsent_size(self._transport))

    def _is_stale(self) -> bool:
        if not self._messages:
            return False
        return self._sweep.now() - self._messages[0][1] >= self._sweep.stale_after

    def _take_after(self, sent: int) -> list[KernelMessage]:
        """
        Forget all messages.

        :return: Those that end behind the first ``sent`` bytes.
        """
        messages, self._messages = self._messages, deque()
        self._transport = None
        self._sweep.unwatch(self)
        return [message for end, _, message in messages if end > sent]


def _undelivered_size(transport: Any) -> int:
    """
    :return: Bytes in Twisted's buffer and in the system's.
    """
    return unsent_size(transport) + unacknowledged_size(transport)


# Up to this size it is cheaper to join pieces here than to have the transport do it.
_MAX_JOINED = 64 * 1024


def is_plain_tcp(transport: Any) -> bool:
    """
    Whether a transport is a TCP connection without TLS.
    """
    # TLS passes through the attributes of what is below it.
    connection = getattr(transport, "socket", None)
    is_tls = hasattr(transport, "wrappedProtocol")
    return not is_tls and getattr(connection, "family", None) in (socket.AF_INET, socket.AF_INET6)


def unsent_size(transport: Any) -> int:
    """
    :return: Bytes in the buffer of a plain TCP transport; 0 for other transports.
    """
    if not is_plain_tcp(transport):
        return 0
    return len(transport.dataBuffer) - transport.offset + transport._tempDataLen  # type: ignore[no-any-return]


def unsent_size_below_tls(transport: Any) -> int:
    """
    :return: Bytes in the buffer of a transport of Twisted's, or of the one below TLS; 0 for other
        transports.
    """
    # TLS passes through the attributes of what is below it.
    if not hasattr(transport, "dataBuffer"):
        return 0
    return len(transport.dataBuffer) - transport.offset + transport._tempDataLen  # type: ignore[no-any-return]


def unacknowledged_size(transport: Any) -> int:
    """
    :return: Written bytes in the system's buffer, which the other side has not acknowledged; 0 if
        unknown.
    """
    try:
        answer = fcntl.ioctl(transport.fileno(), termios.TIOCOUTQ, struct.pack("i", 0))
    except (AttributeError, OSError, ValueError):
        return 0
    size: int = struct.unpack("i", answer)[0]
    return size


def write_now(transport: Any, pieces: Sequence[bytes]) -> None:
    """
    Write at once, if nothing is waiting to be written.

    Twisted's transports wait until the reactor reports that there is room, which takes two more
    system calls; but kernels' messages hardly ever fill the system's buffer.
    """
    if (
        sum(map(len, pieces)) > _MAX_JOINED
        or not is_plain_tcp(transport)
        or not transport.connected
        or transport.disconnecting
        or transport.dataBuffer
        or transport._tempDataBuffer
    ):
        transport.writeSequence(pieces)
        return
    data = b"".join(pieces)
    written = transport.writeSomeData(data)
    if written != len(data):
        # There was no room for all of it, or an error, which the transport will get again.
        transport.write(data[written:] if isinstance(written, int) and written > 0 else data)
