"""
The gateway's last phase: what is there goes on, and nothing new is begun.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from twisted.internet.defer import Deferred, succeed

from kgd.deferreds import Waiters
from kgd.errors import Unavailable

# In seconds; whoever tries again then hopefully meets another gateway.
RETRY_AFTER = 30


class Draining:
    """
    Whether somebody wants the gateway to begin nothing new. There is no way back.
    """

    def __init__(self) -> None:
        self.is_on = False
        self._asked: Waiters[None] = Waiters()

    def ask(self) -> None:
        """
        Begin nothing new from now on. Asking again changes nothing.
        """
        if not self.is_on:
            self.is_on = True
            self._asked.fire(None)

    def when_asked(self) -> Deferred[None]:
        """
        :return: Fires when somebody has asked.
        """
        return succeed(None) if self.is_on else self._asked.wait()

    def check(self) -> None:
        """
        :raises kgd.errors.Unavailable: when nothing new is to be begun.
        """
        if self.is_on:
            raise Unavailable(
                "the gateway is being drained: it begins nothing new, and stops when what it has "
                "is done; use another one, or try again later",
                RETRY_AFTER,
            )


class OpenSockets:
    """
    A set of connections.
    """

    def __init__(self) -> None:
        self._open: set[Any] = set()
        self._waiting: Waiters[None] = Waiters()

    def __iter__(self) -> Iterator[Any]:
        return iter(tuple(self._open))

    def add(self, connection: Any) -> None:
        """
        It is open.
        """
        self._open.add(connection)

    def discard(self, connection: Any) -> None:
        """
        It is not, or not any more.
        """
        self._open.discard(connection)
        if not self._open:
            self._waiting.fire(None)

    def when_none(self) -> Deferred[None]:
        """
        :return: Fires when none is open.
        """
        return self._waiting.wait() if self._open else succeed(None)
