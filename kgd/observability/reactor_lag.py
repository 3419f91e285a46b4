"""
How late the reactor is.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall

from kgd.observability.counters import Counters

INTERVAL = 1.0  # seconds


class LagMeter:
    """
    Has itself called again and again, and looks at the clock.

    :param tally: Where to count.
    :param monotonic: Seconds; the reactor's own clock may be set while it runs.
    """

    def __init__(
        self, reactor: Any, counters: Counters, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._reactor = reactor
        self._counters = counters
        self._now = monotonic
        self._next: IDelayedCall | None = None

    def start(self) -> None:
        """
        Begin.
        """
        self._due = self._now() + INTERVAL
        self._next = self._reactor.callLater(INTERVAL, self._called)

    def _called(self) -> None:
        self._counters.lag.observe(max(0.0, self._now() - self._due))
        self.start()

    def stop(self) -> None:
        """
        End; may be called at any time.
        """
        call, self._next = self._next, None
        if call is not None:
            call.cancel()
