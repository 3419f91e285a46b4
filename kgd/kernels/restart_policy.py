"""
How often a kernel may fail, and how long it rests in between.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.interfaces import IDelayedCall

from kgd.settings import Settings

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


class RestartPolicy:
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


# A process that was sent SIGKILL is gone at once, unless the kernel of the system holds it.
_AFTER_SIGKILL = 5.0
_HURRIED = 1.5


@attrs.frozen(kw_only=True)
class StopSchedule:
    """
    How long each step towards a kernel's end may take, in seconds.
    """

    asked: float
    terminated: float
    killed: float

    @classmethod
    def usual(cls, settings: Settings) -> StopSchedule:
        """
        When a user stops or restarts a kernel.
        """
        half = settings.shutdown_wait_time / 2
        return cls(asked=half, terminated=half, killed=_AFTER_SIGKILL)

    @classmethod
    def hurried(cls, settings: Settings) -> StopSchedule:
        """
        When the gateway ends, which whoever told it to expects to take 5 seconds at most.
        """
        step = min(settings.shutdown_wait_time / 2, _HURRIED)
        return cls(asked=step, terminated=step, killed=1.0)

    @property
    def longest(self) -> float:
        """
        The longest of the steps.
        """
        return max(self.asked, self.terminated, self.killed)


class StepTimer:
    """
    Waits for one thing at a time.

    :param reactor: An ``IReactorTime``.
    :param ended: Called when what was waited for has not come in time.
    """

    def __init__(self, reactor: Any, ended: Callable[[], None]) -> None:
        self._reactor = reactor
        self._ended = ended
        self._timer: IDelayedCall | None = None

    def wait(self, seconds: float) -> None:
        """
        Wait so long, and no longer for anything else.
        """
        self.end()
        self._timer = self._reactor.callLater(seconds, self._expire)

    def limit(self, seconds: float) -> None:
        """
        Wait not longer than that from now on.
        """
        if self._timer is not None and self._timer.getTime() - self._reactor.seconds() > seconds:
            self._timer.reset(seconds)

    def end(self) -> None:
        """
        Wait for nothing.
        """
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _expire(self) -> None:
        self._timer = None
        self._ended()
