"""
Limits on the rate of output.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kgd.protocol.messages import KernelMessage
from kgd.relay.rate_limit import RateLimiter
from kgd.settings import Settings
from tests.support.jupyter_messages import message


class RateTests(SynchronousTestCase):
    """
    Jupyter's limits on output.
    """

    def limiter(self, **settings: Any) -> RateLimiter:
        """
        A limiter with a clock of its own.
        """
        self.clock = Clock()
        return RateLimiter(Settings(**settings), self.clock.seconds)

    def passed(self, limiter: RateLimiter, *messages: KernelMessage) -> list[bool]:
        """
        Which of them the client may have.
        """
        return [limiter.check(each)[0] for each in messages]

    def test_messages(self) -> None:
        """
        Beyond the rate, messages are withheld and the first time a warning is given; below 80 % of
        the rate they come again.
        """
        limiter = self.limiter(iopub_msg_rate_limit=10.0, rate_limit_window=1.0)
        judged = [limiter.check(message("display_data")) for _ in range(13)]
        self.assertEqual([within for within, _ in judged], [True] * 10 + [False] * 3)
        self.assertEqual(
            [bool(warning) for _, warning in judged], [False] * 10 + [True] + [False] * 2
        )
        self.assertTrue(judged[10][1].startswith("IOPub message rate exceeded."))
        self.assertIn("--iopub-msg-rate-limit=10 (msgs/sec)", judged[10][1])
        self.assertIn("--rate-limit-window=1 (secs)", judged[10][1])
        self.clock.advance(1.0)
        self.assertEqual(limiter.check(message("display_data")), (True, ""))

    def test_bytes(self) -> None:
        """
        Bytes are counted of streams only.
        """
        limiter = self.limiter(
            iopub_msg_rate_limit=0.0, iopub_data_rate_limit=1000.0, rate_limit_window=1.0
        )
        big = {"data": "x" * 5000}
        self.assertEqual(self.passed(limiter, *[message("display_data", big)] * 3), [True] * 3)
        within, warning = limiter.check(message("stream", big))
        self.assertFalse(within)
        self.assertTrue(warning.startswith("IOPub data rate exceeded."))

    def test_exempt(self) -> None:
        """
        Statuses, comm_open and execute_input always come; idle makes everything new.
        """
        limiter = self.limiter(iopub_msg_rate_limit=1.0, rate_limit_window=1.0)
        self.assertEqual(self.passed(limiter, *[message("stream")] * 2), [True, False])
        for each in ("comm_open", "execute_input"):
            self.assertEqual(self.passed(limiter, message(each)), [True])
        self.assertEqual(
            self.passed(
                limiter,
                message("status", {"execution_state": "busy"}),
                message("stream"),
                message("status", {"execution_state": "idle"}),
                message("stream"),
            ),
            [True, False, True, True],
        )

    def test_off(self) -> None:
        """
        A limit of 0 is none.
        """
        limiter = self.limiter(iopub_msg_rate_limit=0.0, iopub_data_rate_limit=0.0)
        self.assertEqual(self.passed(limiter, *[message("stream")] * 5000), [True] * 5000)
