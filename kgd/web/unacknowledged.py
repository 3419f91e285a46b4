"""
What was written to a TCP connection, and has not arrived at its other end.

A connection can be dead for a long time before anybody notices; what was written meanwhile sits in
the system's buffer. The system knows how much of it the other side has acknowledged, so that a
client that comes back can be given the rest.
"""

from __future__ import annotations

import fcntl
import struct
import termios
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.interfaces import IDelayedCall

from kgd.protocol.messages import Outgoing
from kgd.web.sending import is_plain_tcp, unsent

# A living system acknowledges within 0.2 s at the latest, in seconds.
STALE = 1.0
# How long what has arrived may be remembered nevertheless, in seconds and in messages.
_SWEEP = 1.0
_MOST = 256
# A message of this size is reason enough to look, in bytes.
_LARGE = 256 * 1024


class Sweep:
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
            self._timer = self._reactor.callLater(_SWEEP, self._sweep)

    def _sweep(self) -> None:
        self._timer = None
        watched, self._watched = self._watched, set()
        for messages in watched:
            if messages.forget_arrived():
                self.watch(messages)

    def leave(self, messages: Unacknowledged) -> None:
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

    def __init__(self, transport: Any, sweep: Sweep) -> None:
        self._transport = transport if is_plain_tcp(transport) else None
        self._sweep = sweep
        self._written = 0
        self._countdown = _MOST
        self._messages: deque[tuple[int, float, Outgoing]] = deque()

    def wrote(self, messages: Sequence[tuple[Outgoing, int]]) -> None:
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
        if self._countdown <= 0 or self._written - before > _LARGE:
            self.forget_arrived()

    def forget_arrived(self) -> bool:
        """
        :return: Whether there is anything left.
        """
        self._countdown = _MOST
        arrived = self._written - _waiting(self._transport)
        messages = self._messages
        while messages and messages[0][0] <= arrived:
            messages.popleft()
        return bool(messages)

    def take(self, *, at_least_stale: bool) -> list[Outgoing]:
        """
        Forget all of them.

        :param at_least_stale: Whether only a connection counts that has been dead for a while. A
            living one may have got what its system has not acknowledged yet.
        :return: Those that have not arrived.
        """
        if self._transport is None:
            return []
        self.forget_arrived()
        messages, self._messages = self._messages, deque()
        self._transport = None
        self._sweep.leave(self)
        if not messages or (at_least_stale and self._sweep.now() - messages[0][1] < STALE):
            return []
        return [message for _, _, message in messages]


def _waiting(transport: Any) -> int:
    """
    :return: How many bytes are in our buffer or in the system's.
    """
    ours = unsent(transport)
    try:
        answer = fcntl.ioctl(transport.fileno(), termios.TIOCOUTQ, struct.pack("i", 0))
    except (OSError, ValueError):
        return ours
    theirs: int = struct.unpack("i", answer)[0]
    return ours + theirs
