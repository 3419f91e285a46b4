"""
Stopping in order: refusing new work, and waiting until WebSockets have closed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from twisted.internet.defer import Deferred, succeed

from kgd.deferreds import Waiters
from kgd.errors import Unavailable

# Seconds after which a client may try again; by then another gateway should be running.
RETRY_AFTER = 30


class Draining:
    """
    Whether the gateway refuses new work while it finishes what it has begun. It cannot be undone.
    """

    def __init__(self) -> None:
        self.is_on = False
        self._waiters: Waiters[None] = Waiters()

    def ask(self) -> None:
        """
        Refuse new work from now on.
        """
        if not self.is_on:
            self.is_on = True
            self._waiters.fire(None)

    def when_asked(self) -> Deferred[None]:
        """
        :return: Fires when :py:meth:`ask` has been called.
        """
        return succeed(None) if self.is_on else self._waiters.wait()

    def check(self) -> None:
        """
        :raises kgd.errors.Unavailable: while draining.
        """
        if self.is_on:
            raise Unavailable(
                "the gateway is draining: it accepts no new work and stops when its present work "
                "is done; use another gateway, or try again later",
                RETRY_AFTER,
            )


class OpenSockets:
    """
    The open WebSockets, for which the gateway waits before it ends, so that close frames arrive.
    """

    def __init__(self) -> None:
        self._open: set[Any] = set()
        self._waiters: Waiters[None] = Waiters()

    def __iter__(self) -> Iterator[Any]:
        return iter(tuple(self._open))

    def add(self, connection: Any) -> None:
        self._open.add(connection)

    def discard(self, connection: Any) -> None:
        self._open.discard(connection)
        if not self._open:
            self._waiters.fire(None)

    def when_all_closed(self) -> Deferred[None]:
        """
        :return: Fires when no WebSocket is open.
        """
        return self._waiters.wait() if self._open else succeed(None)
