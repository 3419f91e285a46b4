"""
Many who wait for the same event.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from kgd.deferreds import Waiters


class WaitersTests(SynchronousTestCase):
    """
    Each has a Deferred of their own.
    """

    def setUp(self) -> None:
        """
        Two who wait.
        """
        self.waiters: Waiters[str] = Waiters()
        self.first, self.second = self.waiters.wait(), self.waiters.wait()

    def test_fire(self) -> None:
        """
        All get the result, and who asks later waits for the next.
        """
        self.waiters.fire("x")
        self.assertEqual(self.successResultOf(self.first), "x")
        self.assertEqual(self.successResultOf(self.second), "x")
        third = self.waiters.wait()
        self.assertNoResult(third)
        self.waiters.fire("y")
        self.assertEqual(self.successResultOf(third), "y")

    def test_fail(self) -> None:
        """
        Each gets an error of their own.
        """
        self.waiters.fail(lambda: ValueError("no"))
        first = self.failureResultOf(self.first, ValueError)
        second = self.failureResultOf(self.second, ValueError)
        self.assertIsNot(first.value, second.value)

    def test_cancel(self) -> None:
        """
        One that gives up is forgotten at once, so that a long wait collects no garbage.
        """
        self.first.cancel()
        self.failureResultOf(self.first, CancelledError)
        self.assertEqual(self.waiters._waiting, [self.second])
        self.waiters.fire("x")
        self.assertEqual(self.successResultOf(self.second), "x")

    def test_cancel_from_a_callback(self) -> None:
        """
        One that gives up because another got the result gets none.
        """
        self.first.addCallback(lambda _: self.second.cancel())
        self.waiters.fire("x")
        self.failureResultOf(self.second, CancelledError)

    def test_wait_from_a_callback(self) -> None:
        """
        Who waits again when the event comes waits for the next one.
        """
        again: list[Deferred[str]] = []
        self.first.addCallback(lambda _: again.append(self.waiters.wait()))
        self.waiters.fire("x")
        self.assertNoResult(again[0])
