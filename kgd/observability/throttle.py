"""
Limits how often an event of one kind is logged.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.logger import LogEvent, formatEvent

# Of one kind of event in a second; kernels' output has a limit of its own.
MOST_A_SECOND = 100
# Of so many kinds it is known how many there were.
MOST_KINDS = 1000

Write = Callable[[LogEvent], None]
COMMON_FIELDS = ("log_level", "log_namespace", "log_system", "log_time")


class LogThrottle:
    """
    Lets so many events of a kind pass in a second, then counts them, and says how many there were.

    :param publish: Gets what passes.
    :param clock: Seconds.
    :param call_later: Calls a function after a number of seconds.
    """

    def __init__(
        self,
        publish: Write,
        clock: Callable[[], float],
        call_later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        self._publish = publish
        self._clock = clock
        self._call_later = call_later
        # Since when, how many there were, and the first that was left out.
        self._kinds: dict[tuple[Any, ...], list[Any]] = {}

    def __call__(self, event: LogEvent) -> None:
        """
        An event.
        """
        if event.get("log_unlimited"):
            self._publish(event)
            return
        kind = (event.get("log_namespace"), event.get("log_level"), event.get("log_format"))
        now = self._clock()
        known = self._kinds.get(kind)
        if known is None or not 0 <= now - known[0] < 1:
            if known is not None:
                self._tell(known)
            elif len(self._kinds) >= MOST_KINDS:
                self._forget()
            known = self._kinds[kind] = [now, 0, None]
        known[1] += 1
        if known[1] <= MOST_A_SECOND:
            self._publish(event)
        elif known[2] is None:
            known[2] = event
            # There may be no other that could tell of them.
            self._call_later(1.0, lambda: self._tell(known))

    def _forget(self) -> None:
        for known in self._kinds.values():
            self._tell(known)
        self._kinds.clear()

    def _tell(self, known: list[Any]) -> None:
        first, known[2] = known[2], None
        if first is None:
            return
        left_out, known[1] = known[1] - MOST_A_SECOND, MOST_A_SECOND
        self._publish(
            {
                **{key: first[key] for key in COMMON_FIELDS if key in first},
                "log_format": "{left_out} more lines like this were left out: {example}",
                "left_out": left_out,
                "example": formatEvent(first),
            }
        )
