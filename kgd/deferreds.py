"""
Deferreds for several callers that wait for the same event.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred

T = TypeVar("T")


class Waiters(Generic[T]):
    """
    Gives each caller that waits for an event a Deferred of its own, so that cancelling one does not
    affect the others.
    """

    def __init__(self) -> None:
        self._waiting: list[Deferred[T]] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def wait(self) -> Deferred[T]:
        """
        :return: Fires when the event comes.
        """
        waiter: Deferred[T] = Deferred(self._waiting.remove)
        self._waiting.append(waiter)
        return waiter

    def fire(self, result: T) -> None:
        """
        Fire all Deferreds that wait; later ones wait for the next event.
        """
        waiting, self._waiting = self._waiting, []
        while waiting:
            waiting.pop(0).callback(result)

    def fail(self, make_error: Callable[[], Exception]) -> None:
        """
        Fail all Deferreds that wait.

        :param make_error: Called for each waiter, so that none sees another's traceback.
        """
        waiting, self._waiting = self._waiting, []
        while waiting:
            waiting.pop(0).errback(make_error())
