"""
Measures how late the reactor calls what is due.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from twisted.internet.task import LoopingCall

from kgd.observability.counters import Counters

INTERVAL = 1.0  # seconds


class LagMeter:
    """
    Observes the reactor's delay once a second.

    :param counters: Get the delays, in ``lag``.
    :param monotonic: Seconds; the reactor's own clock may be set while it runs.
    """

    def __init__(
        self, reactor: Any, counters: Counters, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._reactor = reactor
        self._counters = counters
        self._now = monotonic
        self._loop = LoopingCall(self._observe)
        self._loop.clock = reactor

    def start(self) -> None:
        """
        Observe from now on.
        """
        self._began = self._now()
        self._expected_at = self._began + INTERVAL
        self._loop.start(INTERVAL, now=False)

    def _observe(self) -> None:
        now = self._now()
        self._counters.lag.observe(max(0.0, now - self._expected_at))
        # A LoopingCall keeps to whole intervals since its start, and leaves out those it missed.
        self._expected_at = now + INTERVAL - (now - self._began) % INTERVAL

    def stop(self) -> None:
        """
        Stop observing; may be called at any time.
        """
        if self._loop.running:
            self._loop.stop()
