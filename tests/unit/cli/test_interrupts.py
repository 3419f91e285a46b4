"""
Ctrl-C while code runs.
"""

from __future__ import annotations

import os
import signal
import threading

from twisted.trial.unittest import SynchronousTestCase

from kgd.cli.interrupts import Interrupts
from kgd.client.values import GatewayUnreachable


class InterruptsTests(SynchronousTestCase):
    """
    ``Interrupts``.
    """

    def setUp(self) -> None:
        self.done = threading.Event()
        self.noted: list[str] = []
        self.interrupts = Interrupts(lambda: self.noted.append("interrupting"))

    def press(self) -> None:
        """
        Press Ctrl-C.
        """
        os.kill(os.getpid(), signal.SIGINT)

    def test_twice(self) -> None:
        """
        The first one interrupts what runs, and the second one raises.
        """
        with self.interrupts.handled():
            self.interrupts.set_target(self.done.set)
            self.press()
            self.assertTrue(self.done.wait(10))
            self.assertTrue(self.interrupts.was_interrupted)
            self.assertEqual(self.noted, ["interrupting"])
            with self.assertRaises(KeyboardInterrupt):
                self.press()

    def test_nothing_runs(self) -> None:
        """
        While nothing runs, the first one raises.
        """
        with self.interrupts.handled(), self.assertRaises(KeyboardInterrupt):
            self.press()

    def test_gateway_is_gone(self) -> None:
        """
        A gateway that cannot be reached then is no error of its own.
        """

        def fail() -> None:
            self.done.set()
            raise GatewayUnreachable("gone")

        raised: list[object] = []
        self.patch(threading, "excepthook", raised.append)
        with self.interrupts.handled():
            self.interrupts.set_target(fail)
            self.press()
            self.assertTrue(self.done.wait(10))
        for thread in threading.enumerate():
            if thread.name.endswith("(_carry_out)"):
                thread.join(10)
        self.assertEqual(raised, [])

    def test_termination(self) -> None:
        """
        SIGTERM ends the command in order, with the status that shells give it; the handlers are as
        before afterwards.
        """
        signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = [signal.getsignal(each) for each in signals]
        with self.assertRaises(SystemExit) as ended, self.interrupts.handled():
            os.kill(os.getpid(), signal.SIGTERM)
        self.assertEqual(ended.exception.code, 128 + signal.SIGTERM)
        self.assertEqual([signal.getsignal(each) for each in signals], before)
