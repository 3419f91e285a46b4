"""
How often a kernel may fail, and how long it rests in between.
"""

from __future__ import annotations

from collections.abc import Callable

_SHORTEST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0


def pause(failures: int) -> float:
    """
    :param failures: How often the kernel has failed in a row.
    :return: How long to wait before the next try, in seconds.
    """
    if failures <= 1:
        return 0.0
    # 2 ** 10 is beyond the longest pause already.
    return min(_SHORTEST_PAUSE * float(2 ** min(failures - 2, 10)), _LONGEST_PAUSE)


class Failures:
    """
    A kernel's failures in a row.

    :param now: A monotonic clock.
    :param most: How many of them another process may follow.
    :param stable: A kernel that was usable for so many seconds starts with a clean record when it
        fails.
    """

    def __init__(self, now: Callable[[], float], most: int, stable: float) -> None:
        self._now = now
        self._stable = stable
        self._most = most
        self._ready_since: float | None = None
        self._count = 0

    def launching(self) -> None:
        """
        Another process is about to be started.
        """
        self._ready_since = None

    def became_ready(self) -> None:
        """
        That process answers.
        """
        self._ready_since = self._now()

    def forgive(self) -> None:
        """
        A user has taken the matter into their own hands.
        """
        self._count = 0

    def failed(self) -> float | None:
        """
        The process has ended by itself, or could not be started.

        :return: How long to rest before the next one; ``None`` when there should be none.
        """
        since, self._ready_since = self._ready_since, None
        if since is not None and self._now() - since >= self._stable:
            self._count = 0
        self._count += 1
        return pause(self._count) if self._count <= self._most else None

    def in_vain(self) -> str:
        """
        :return: How often the kernel was restarted, to be added to a reason; maybe nothing.
        """
        restarts = self._count - 1
        if restarts < 1:
            return ""
        return f" (restarted {restarts} times)" if restarts > 1 else " (restarted once)"
