"""
Pauses of iopub while all clients lag.
"""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kgd.relay import flow_control as module
from kgd.relay.attachment import Attachment
from kgd.relay.flow_control import (
    MAX_PAUSE,
    MIN_PAUSE,
    MIN_PROGRESS,
    PAUSE_BUDGET,
    IopubFlowControl,
)


class Listener:
    """
    The part of an attachment that flow control looks at.
    """

    def __init__(self) -> None:
        self.taken_size = 0
        self.last_queued_size = 1000


class IopubFlowControlTests(SynchronousTestCase):
    """
    One kernel's output.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.pauses: list[bool] = []
        self.listener = Listener()
        self.flow_control = IopubFlowControl(
            self.clock, self.pauses.append, lambda: cast(Any, [self.listener])
        )

    def test_one_that_does_not_read(self) -> None:
        """
        A client that takes nothing is waited for once, and not for long.
        """
        self.flow_control.lag_changed(True)
        self.assertEqual(self.pauses, [True])
        self.clock.advance(MIN_PAUSE + 0.001)
        self.assertEqual(self.pauses, [True, False])
        self.clock.advance(10)
        self.assertEqual(self.pauses, [True, False])

    def test_one_that_catches_up(self) -> None:
        """
        When one has caught up, output goes on at once.
        """
        self.flow_control.lag_changed(True)
        self.flow_control.lag_changed(False)
        self.assertEqual(self.pauses, [True, False])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.flow_control.lag_changed(False)
        self.assertEqual(self.pauses, [True, False])

    def test_large_messages(self) -> None:
        """
        For large messages the wait is longer, up to a bound.
        """
        self.listener.last_queued_size = 16 * 1024 * 1024
        self.flow_control.lag_changed(True)
        self.clock.advance(MAX_PAUSE - 0.001)
        self.assertEqual(self.pauses, [True])
        self.clock.advance(0.002)
        self.assertEqual(self.pauses, [True, False])

    def test_one_that_gets_on(self) -> None:
        """
        A client that takes much is waited for again and again; but in the long run only for a part
        of the time, since the kernel cannot keep all of its output.
        """
        self.flow_control.lag_changed(True)
        waited = 0.0
        for _ in range(10_000):
            self.listener.taken_size += MIN_PROGRESS + 1
            if not self.pauses[-1]:
                self.flow_control.lag_changed(True)
            waited += 0.01 if self.pauses[-1] else 0.0
            self.clock.advance(0.01)
        self.assertGreater(waited, PAUSE_BUDGET)
        self.assertLess(waited, 100 * module.PAUSE_SHARE + PAUSE_BUDGET + 1)

    def test_the_price_of_large_messages(self) -> None:
        """
        Pauses can go on for longer when messages are large.
        """
        self.listener.last_queued_size = 16 * module.LARGE_MESSAGE
        self.flow_control.lag_changed(True)
        for _ in range(100):
            self.listener.taken_size += MIN_PROGRESS + 1
            self.clock.advance(MAX_PAUSE)
        self.assertTrue(self.pauses[-1], "still after 10 seconds")

    def test_attachments_fit(self) -> None:
        """
        An attachment has what is looked at here.
        """
        for name in vars(self.listener):
            self.assertTrue(
                hasattr(Attachment, name) or f":ivar {name}:" in (Attachment.__doc__ or "")
            )
