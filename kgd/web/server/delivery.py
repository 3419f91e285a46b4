"""
What was written to a TCP connection, and has not arrived at its other end.

A connection can be dead for a long time before anybody notices; what was written meanwhile sits in
the system's buffer. The system knows how much of it the other side has acknowledged, so that a
client that comes back can be given the rest.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.interfaces import IDelayedCall

from kgd.protocol.messages import KernelMessage

# A living system acknowledges within 0.2 s at the latest, in seconds.
STALE_AFTER = 1.0
# How long what has arrived may be remembered nevertheless, in seconds and in messages.
_SWEEP_PERIOD = 1.0
_CHECK_EVERY = 256
# A message of this size is reason enough to look, in bytes.
_LARGE_WRITE = 256 * 1024


class AcknowledgementSweep:
    """
    Sees to it that what has arrived is forgotten, also on connections where nothing more is sent.
    """

    def __init__(self, reactor: Any) -> None:
        self.now: Callable[[], float] = reactor.seconds
        self._reactor = reactor
        self._watched: set[Unacknowledged] = set()
        self._timer: IDelayedCall | None = None

    def watch(self, messages: Unacknowledged) -> None:
        """
        There is something to forget.
        """
        self._watched.add(messages)
        if self._timer is None:
            self._timer = self._reactor.callLater(_SWEEP_PERIOD, self._sweep)

    def _sweep(self) -> None:
        self._timer = None
        watched, self._watched = self._watched, set()
        for messages in watched:
            if messages.forget_arrived():
                self.watch(messages)

    def unwatch(self, messages: Unacknowledged) -> None:
        """
        There is nothing to forget any more.
        """
        self._watched.discard(messages)
        if not self._watched and self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Unacknowledged:
    """
    The messages that were written last.

    :param transport: A TCP connection. Of others (TLS, Unix sockets) nothing can be known, and
        nothing is remembered.
    """

    def __init__(self, transport: Any, sweep: AcknowledgementSweep) -> None:
        self._transport = transport if is_plain_tcp(transport) else None
        self._sweep = sweep
        self._written = 0
        self._countdown = _CHECK_EVERY
        self._messages: deque[tuple[int, float, KernelMessage]] = deque()

    def add(self, messages: Sequence[tuple[KernelMessage, int]]) -> None:
        """
        Remember messages.

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
        :return: Whether there is anything left.
        """
        self._countdown = _CHECK_EVERY
        arrived = self._written - _undelivered_size(self._transport)
        messages = self._messages
        while messages and messages[0][0] <= arrived:
            messages.popleft()
        return bool(messages)

    def undelivered_if_stale(self) -> list[KernelMessage]:
        """
        Somebody wants to take the connection's place.

        :return: What has not arrived, if the connection is dead. Of a living one nothing: what its
            system has not acknowledged may have arrived, or still will.
        """
        if self._transport is None:
            return []
        self.forget_arrived()
        return self._take_after(0) if self._is_stale() else []

    def undelivered_on_loss(self, *, orderly: bool) -> list[KernelMessage]:
        """
        The connection is lost, and its socket not yet closed.

        :param orderly: Whether the other side closed it, and so said at the same time what it had
            got. Otherwise what is left in the system's buffer may have arrived, unless it has been
            there for long; what is left in ours has not.
        :return: What has not arrived.
        """
        if self._transport is None:
            return []
        self.forget_arrived()
        if orderly or self._is_stale():
            return self._take_after(0)
        return self._take_after(self._written - unsent_size(self._transport))

    def _is_stale(self) -> bool:
        return bool(self._messages) and self._sweep.now() - self._messages[0][1] >= STALE_AFTER

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
    :return: How many bytes are in our buffer or in the system's.
    """
    return unsent_size(transport) + unacknowledged_size(transport)


# Up to here it is cheaper to copy pieces together than to have the transport do it.
_MAX_JOINED = 64 * 1024


def is_plain_tcp(transport: Any) -> bool:
    """
    Whether a transport is a TCP connection, and nothing is between it and us.
    """
    # TLS passes through the attributes of what is below it.
    connection = getattr(transport, "socket", None)
    is_tls = hasattr(transport, "wrappedProtocol")
    return not is_tls and getattr(connection, "family", None) in (socket.AF_INET, socket.AF_INET6)


def unsent_size(transport: Any) -> int:
    """
    :return: How many bytes are in a transport's own buffer; 0 when that is not known.
    """
    if not is_plain_tcp(transport):
        return 0
    return len(transport.dataBuffer) - transport.offset + transport._tempDataLen  # type: ignore[no-any-return]


def unsent_size_below_tls(transport: Any) -> int:
    """
    :return: How many bytes are in the buffer of a transport of Twisted's, or of the one below TLS;
        0 for others.
    """
    # TLS passes through the attributes of what is below it.
    if not hasattr(transport, "dataBuffer"):
        return 0
    return len(transport.dataBuffer) - transport.offset + transport._tempDataLen  # type: ignore[no-any-return]


def unacknowledged_size(transport: Any) -> int:
    """
    :return: How many bytes that were written are in the system's buffer, because the other side
        has not acknowledged them; 0 when that is not known.
    """
    try:
        answer = fcntl.ioctl(transport.fileno(), termios.TIOCOUTQ, struct.pack("i", 0))
    except (AttributeError, OSError, ValueError):
        return 0
    size: int = struct.unpack("i", answer)[0]
    return size


def write_now(transport: Any, pieces: Sequence[bytes]) -> None:
    """
    Write without waiting, if nothing waits already.

    A transport of Twisted's has the reactor say when there is room, for which that asks the system
    twice; but what a kernel says hardly ever fills the system's buffer.
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
        # There is no room for all of it, or an error, which the transport will meet again.
        transport.write(data[written:] if isinstance(written, int) and written > 0 else data)
