"""
How long a kernel is waited for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.interfaces import IDelayedCall

from kgd.settings import Settings

# A process that was sent SIGKILL is gone at once, unless the kernel of the system holds it.
_AFTER_SIGKILL = 5.0
_HURRIED = 1.5


@attrs.frozen(kw_only=True)
class Schedule:
    """
    How long each step towards a kernel's end may take, in seconds.
    """

    asked: float
    terminated: float
    killed: float

    @classmethod
    def usual(cls, settings: Settings) -> Schedule:
        """
        When a user stops or restarts a kernel.
        """
        half = settings.shutdown_wait_time / 2
        return cls(asked=half, terminated=half, killed=_AFTER_SIGKILL)

    @classmethod
    def hurried(cls, settings: Settings) -> Schedule:
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


class Patience:
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
