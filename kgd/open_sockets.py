"""
The WebSockets that are open, so that the gateway does not end before its last words have arrived.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from twisted.internet.defer import Deferred, succeed

from kgd.waiters import Waiters


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
