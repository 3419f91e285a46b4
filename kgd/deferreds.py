"""
Many who wait for the same event, each with a Deferred of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred

T = TypeVar("T")


class Waiters(Generic[T]):
    """
    Whoever waits for an event. One that cancels its Deferred is forgotten, and nobody else
    notices.
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
        The event has come; those who ask from now on wait for the next one.
        """
        waiting, self._waiting = self._waiting, []
        while waiting:
            waiting.pop(0).callback(result)

    def fail(self, make_error: Callable[[], Exception]) -> None:
        """
        The event will not come.

        :param make_error: Called for each waiter, so that none sees another's traceback.
        """
        waiting, self._waiting = self._waiting, []
        while waiting:
            waiting.pop(0).errback(make_error())
