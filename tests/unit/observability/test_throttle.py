"""
Throttles.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kgd.observability.throttle import Throttle


class ThrottleTests(SynchronousTestCase):
    """
    A number of events pass in a period.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.reports: list[int] = []

    def test_once_a_minute(self) -> None:
        """
        By default one event passes, and the next one after a minute.
        """
        throttle = Throttle(self.clock.seconds)
        passed = []
        for _ in range(7):
            passed.append(throttle.passes())
            self.clock.advance(20)
        self.assertEqual(passed, [True, False, False, True, False, False, True])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_report(self) -> None:
        """
        What was left out is reported at the end of its period, even if no other event comes.
        """
        throttle = Throttle(self.clock.seconds, 2, 1.0, self.reports.append, self.clock.callLater)
        self.assertEqual([throttle.passes() for _ in range(5)], [True, True, False, False, False])
        throttle.leave_out(10)
        self.assertEqual(self.reports, [])
        self.clock.advance(1)
        self.assertEqual(self.reports, [13])
        self.assertTrue(throttle.is_open)
        self.clock.advance(10)
        self.assertEqual(self.reports, [13])

    def test_next_period(self) -> None:
        """
        An event of the next period has what was left out reported first.
        """
        throttle = Throttle(self.clock.seconds, 1, 1.0, self.reports.append, self.clock.callLater)
        throttle.passes()
        self.clock.advance(0.5)
        throttle.passes()
        self.clock.advance(0.6)
        self.assertTrue(throttle.passes())
        self.assertEqual(self.reports, [1])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_flush(self) -> None:
        """
        A flush reports at once, and leaves no timer.
        """
        throttle = Throttle(self.clock.seconds, 0, 1.0, self.reports.append, self.clock.callLater)
        throttle.passes()
        throttle.flush()
        throttle.flush()
        self.assertEqual(self.reports, [1])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_clock_put_back(self) -> None:
        """
        A clock that is put back does not close a throttle for longer than a period.
        """
        now = [1000.0]
        throttle = Throttle(lambda: now[0])
        self.assertTrue(throttle.passes())
        now[0] = 10.0
        self.assertTrue(throttle.passes())
