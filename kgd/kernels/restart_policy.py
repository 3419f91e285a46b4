"""
How often a kernel may fail, how long to wait in between, and how long each step of a stop may take.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.interfaces import IDelayedCall

from kgd.settings import Settings

_NUMBER = re.compile(r"(?:0x)?[0-9a-f]*[0-9][0-9a-f]*")
_MIN_BACKOFF = 0.5
_MAX_BACKOFF = 30.0


def backoff(failures: int) -> float:
    """
    :param failures: How often the kernel has failed in a row.
    :return: How long to wait before the next launch, in seconds.
    """
    if failures <= 1:
        return 0.0
    # 2 ** 10 is beyond the longest pause already.
    return min(_MIN_BACKOFF * float(2 ** min(failures - 2, 10)), _MAX_BACKOFF)


class RestartPolicy:
    """
    Counts a kernel's failures in a row, and says whether it is restarted after them.

    :param now: A monotonic clock.
    :param limit: After how many failures in a row the kernel is still restarted.
    :param stable: A kernel that was usable for so many seconds starts with a clean record when it
        fails.
    """

    def __init__(self, now: Callable[[], float], limit: int, stable: float) -> None:
        self._now = now
        self._stable = stable
        self._limit = limit
        self._ready_since: float | None = None
        self._was_ready = False
        self._failures = 0
        self._last_failure: tuple[str, str] | None = None

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
        self._was_ready = True

    def reset(self) -> None:
        """
        Forget the failures: a user restarts the kernel.
        """
        self._failures = 0
        self._last_failure = None

    def failed(self, how: str, said: str = "") -> float | None:
        """
        The process has ended by itself, or could not be started.

        A kernel that has never answered and fails twice in the same way would do so again.

        :param how: How it ended.
        :param said: What it printed last; numbers in it, such as the time, make no difference.
        :return: How long to wait before the next launch; ``None`` when there should be none.
        """
        last, self._last_failure = self._last_failure, (how, _NUMBER.sub("0", said))
        if not self._was_ready and last == self._last_failure:
            self._failures += 1
            return None
        since, self._ready_since = self._ready_since, None
        if since is not None and self._now() - since >= self._stable:
            self._failures = 0
        self._failures += 1
        return backoff(self._failures) if self._failures <= self._limit else None

    def describe_restarts(self) -> str:
        """
        :return: How often the kernel was restarted, as the end of a reason: ``" (restarted once)"``
            or the empty string.
        """
        restarts = self._failures - 1
        if restarts < 1:
            return ""
        return f" (restarted {restarts} times)" if restarts > 1 else " (restarted once)"


# A process that was sent SIGKILL is gone at once, unless the kernel of the system holds it.
_AFTER_SIGKILL = 5.0
_HURRIED_STEP = 1.5


@attrs.frozen(kw_only=True)
class StopSchedule:
    """
    How long each step towards the end of a process may take, in seconds.

    :ivar asked: After ``shutdown_request``.
    :ivar terminated: After SIGTERM.
    :ivar killed: After SIGKILL.
    """

    asked: float
    terminated: float
    killed: float

    @classmethod
    def usual(cls, settings: Settings) -> StopSchedule:
        """
        The schedule when a user stops or restarts a kernel.
        """
        half = settings.shutdown_wait_time / 2
        return cls(asked=half, terminated=half, killed=_AFTER_SIGKILL)

    @classmethod
    def hurried(cls, settings: Settings) -> StopSchedule:
        """
        The schedule when the gateway ends, which service managers expect within 5 seconds.
        """
        step = min(settings.shutdown_wait_time / 2, _HURRIED_STEP)
        return cls(asked=step, terminated=step, killed=1.0)

    @property
    def longest(self) -> float:
        """
        The longest of the steps.
        """
        return max(self.asked, self.terminated, self.killed)


class StepTimer:
    """
    A timer for one step at a time.

    :param reactor: An ``IReactorTime``.
    :param on_expired: Called when the step has taken too long.
    """

    def __init__(self, reactor: Any, on_expired: Callable[[], None]) -> None:
        self._reactor = reactor
        self._on_expired = on_expired
        self._timer: IDelayedCall | None = None

    def start(self, seconds: float) -> None:
        """
        Begin a step, and time the one before no longer.
        """
        self.cancel()
        self._timer = self._reactor.callLater(seconds, self._expire)

    def shorten(self, seconds: float) -> None:
        """
        Give the present step at most that long from now on.
        """
        if self._timer is not None and self._timer.getTime() - self._reactor.seconds() > seconds:
            self._timer.reset(seconds)

    def cancel(self) -> None:
        """
        Time nothing.
        """
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _expire(self) -> None:
        self._timer = None
        self._on_expired()
