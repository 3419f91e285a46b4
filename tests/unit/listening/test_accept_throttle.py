"""
What is done when there are few open files left.
"""

from __future__ import annotations

import resource
from types import SimpleNamespace
from typing import Any

from twisted.internet.task import Clock
from twisted.internet.tcp import Port
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from kgd.listening.accept_throttle import AcceptThrottle


class FakePort(Port):
    """
    A port that accepts whatever it may, and counts it.
    """

    def __init__(self) -> None:
        self.sessionno = 0
        self.numberAccepts = 1000
        self.reading = True

    def doRead(self) -> None:
        """
        Accept.
        """
        self.sessionno += self.numberAccepts

    def stopReading(self) -> None:
        """
        The reactor shall not look.
        """
        self.reading = False

    def startReading(self) -> None:
        """
        It shall.
        """
        self.reading = True


class TurnstileTests(SynchronousTestCase):
    """
    Holding up newcomers.
    """

    def setUp(self) -> None:
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.usable = limit - min(64, limit // 8)
        self.open = self.usable - 48
        self.counted = 0
        self.clock = Clock()
        self.turnstile = AcceptThrottle(self.clock, self.count, self.clock.seconds)
        self.port = FakePort()
        self.turnstile.add_port(self.port)

    def count(self, limit: int) -> int:
        """
        How many are open.
        """
        self.counted += 1
        return self.open

    def says(self, act: Any) -> list[str]:
        """
        :return: What the log says of it.
        """
        with capturedLogs() as events:
            act()
        return [formatEvent(event) for event in events]

    def test_not_more_than_fits(self) -> None:
        """
        As many are accepted as could each take 16 descriptors; then it is counted again.
        """
        self.port.doRead()
        self.assertEqual(self.port.sessionno, 3)
        self.assertEqual(self.counted, 1)
        self.open += 32
        self.port.doRead()
        self.assertEqual(self.port.sessionno, 4)
        self.assertEqual(self.counted, 2)

    def test_shut(self) -> None:
        """
        When there are none to spare nobody is accepted, which is said; nor later, until there are.
        """
        self.open = self.usable
        idle: list[str] = []
        self.turnstile.on_paused = lambda: idle.append("closed")
        (line,) = self.says(self.port.doRead)
        self.assertEqual(idle, ["closed"])
        self.assertIn("new connections wait", line)
        self.assertEqual((self.port.sessionno, self.port.reading), (0, False))
        self.assertEqual(self.says(lambda: self.clock.pump([1.0] * 5)), [])
        self.assertFalse(self.port.reading)
        self.open -= 1
        (line,) = self.says(lambda: self.clock.advance(1))
        self.assertIn("accepted again", line)
        self.assertTrue(self.port.reading)
        self.port.doRead()
        self.assertEqual(self.port.sessionno, 1)

    def test_not_said_all_the_time(self) -> None:
        """
        It is said once a minute at most.
        """
        said = 0
        for _ in range(300):
            self.open = self.usable
            said += len(self.says(self.port.doRead))
            self.open = 0
            self.clock.advance(AcceptThrottle.RETRY_DELAY)
            self.assertTrue(self.port.reading)
        self.assertEqual(said, 2)

    def test_stop(self) -> None:
        """
        Nothing is done any more after the end.
        """
        self.open = self.usable
        self.port.doRead()
        self.turnstile.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_other_ports(self) -> None:
        """
        A port that is not Twisted's own is let be.
        """
        other: Any = SimpleNamespace(doRead=lambda: None)
        before = dict(vars(other))
        self.turnstile.add_port(other)
        self.assertEqual(vars(other), before)
        # It has no stopReading and no startReading, either.
        self.open = self.usable
        self.port.doRead()
        self.open = 0
        self.clock.advance(AcceptThrottle.RETRY_DELAY)
        self.assertTrue(self.port.reading)
