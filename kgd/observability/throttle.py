"""
Limits how often something happens, above all how often an event of one kind is logged.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.logger import LogEvent, formatEvent

# Events of one kind that are logged in a second; kernels' output has a limit of its own.
MOST_A_SECOND = 100
# Kinds of events that are counted at a time.
MOST_KINDS = 1000

Write = Callable[[LogEvent], None]
COMMON_FIELDS = ("log_level", "log_namespace", "log_system", "log_time")


class Throttle:
    """
    Lets a number of events pass in each period, and counts those that it left out.

    :param seconds: A clock.
    :param most: Events that pass in a period.
    :param period: In seconds; one begins with the first event after the last has ended.
    :param report: Called with the number of events that were left out, at the end of their period.
    :param call_later: Calls a function after a number of seconds; needed for ``report``.
    """

    __slots__ = ("_begin", "_call_later", "_left_out", "_most", "_passed", "_period", "_report",
                 "_seconds", "_timer")  # fmt: skip

    def __init__(
        self,
        seconds: Callable[[], float],
        most: int = 1,
        period: float = 60.0,
        report: Callable[[int], object] | None = None,
        call_later: Callable[[float, Callable[[], None]], Any] | None = None,
    ) -> None:
        self._seconds = seconds
        self._most = most
        self._period = period
        self._report = report
        self._call_later = call_later
        self._begin: float | None = None
        self._passed = 0
        self._left_out = 0
        self._timer: Any = None

    @property
    def is_open(self) -> bool:
        """
        Whether the next event passes.
        """
        now = self._seconds()
        # A clock that has been put back begins a new period, too.
        if self._begin is None or not 0 <= now - self._begin < self._period:
            self.flush()
            self._begin, self._passed = now, 0
        return self._passed < self._most

    def passes(self) -> bool:
        """
        Count an event.

        :return: Whether it passes.
        """
        if self.is_open:
            self._passed += 1
            return True
        self.leave_out(1)
        return False

    def leave_out(self, count: int) -> None:
        """
        Count events that do not pass, whether or not there is room for them.
        """
        self._left_out += count
        if self._timer is None and self._report is not None and self._call_later is not None:
            # There may be no further event that would end the period.
            self._timer = self._call_later(self._period, self.flush)

    def flush(self) -> None:
        """
        Report what has been left out so far.
        """
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        left_out, self._left_out = self._left_out, 0
        if left_out and self._report is not None:
            self._report(left_out)


class LogThrottle:
    """
    Lets a number of events of each kind pass in a second, then tells how many it left out.

    :param publish: Gets what passes.
    :param clock: Seconds.
    :param call_later: Calls a function after a number of seconds.
    """

    def __init__(
        self,
        publish: Write,
        clock: Callable[[], float],
        call_later: Callable[[float, Callable[[], None]], Any],
    ) -> None:
        self._publish = publish
        self._clock = clock
        self._call_later = call_later
        self._kinds: dict[tuple[Any, ...], _Kind] = {}

    def __call__(self, event: LogEvent) -> None:
        """
        Publish an event, or count it.
        """
        if event.get("log_unlimited"):
            self._publish(event)
            return
        key = (event.get("log_namespace"), event.get("log_level"), event.get("log_format"))
        kind = self._kinds.get(key)
        if kind is None:
            if len(self._kinds) >= MOST_KINDS:
                self._forget()
            kind = self._kinds[key] = _Kind(self._publish, self._clock, self._call_later)
        kind.publish(event)

    def _forget(self) -> None:
        for kind in self._kinds.values():
            kind.throttle.flush()
        self._kinds.clear()


class _Kind:
    """
    Events of one kind.
    """

    __slots__ = ("_example", "_publish", "throttle")

    def __init__(
        self,
        publish: Write,
        clock: Callable[[], float],
        call_later: Callable[[float, Callable[[], None]], Any],
    ) -> None:
        self._publish = publish
        self._example: LogEvent | None = None
        self.throttle = Throttle(clock, MOST_A_SECOND, 1.0, self._report, call_later)

    def publish(self, event: LogEvent) -> None:
        if self.throttle.passes():
            self._publish(event)
        elif self._example is None:
            self._example = event

    def _report(self, left_out: int) -> None:
        first, self._example = self._example, None
        assert first is not None
        self._publish(
            {
                **{key: first[key] for key in COMMON_FIELDS if key in first},
                "log_format": "{left_out} more lines like this were left out: {example}",
                "left_out": left_out,
                "example": formatEvent(first),
            }
        )
