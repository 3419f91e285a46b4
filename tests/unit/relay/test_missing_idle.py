"""
Idle statuses that a kernel has dropped.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kgd.protocol.messages import KernelMessage, new_header, read_header
from kgd.relay.limits import RelayLimits
from kgd.relay.missing_idle import MissingIdle

LIMITS = RelayLimits()
SILENT_PERIODS = LIMITS.idle_silent_periods


def message(msg_type: str, parent: bytes) -> KernelMessage:
    """
    :return: A message on iopub that belongs to a request.
    """
    header = new_header(msg_type, "kernel", 0.0)
    parts = (header, parent, b"{}", b"{}")
    return KernelMessage("iopub", read_header(header), parts, (), read_header(parent))


class MissingIdleTests(SynchronousTestCase):
    """
    One kernel's process.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.lost: list[bytes] = []
        self.late: list[KernelMessage] = []
        self.caught_up = 0
        self.make(LIMITS)
        self.request = new_header("execute_request", "client", 0.0)

    def make(self, limits: RelayLimits) -> None:
        """
        Watch with these limits.
        """
        self.missing = MissingIdle(self.clock, self.drain_iopub, self.lost.append, limits)

    def drain_iopub(self) -> None:
        """
        Pass on what has arrived.
        """
        self.caught_up += 1
        while self.late:
            self.missing.published(self.late.pop(), "idle")

    def status(self, state: str, request: bytes | None = None) -> None:
        """
        Publish a state.
        """
        self.missing.published(message("status", request or self.request), state)

    def reply(self, msg_type: str = "execute_reply", request: bytes | None = None) -> None:
        """
        Reply to a request.
        """
        self.missing.replied(message(msg_type, request or self.request))

    def wait(self, periods: int) -> None:
        """
        Let time pass.
        """
        self.clock.pump([LIMITS.idle_check_period] * periods)

    def test_lost(self) -> None:
        """
        When nothing comes for a while after the reply, the idle status is missing; this is reported
        once.
        """
        self.status("busy")
        self.reply()
        self.wait(SILENT_PERIODS)
        self.assertEqual(self.lost, [])
        self.wait(1)
        self.assertEqual(self.lost, [self.request])
        self.wait(10)
        self.assertEqual(self.lost, [self.request])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_reply_first(self) -> None:
        """
        The reply may be read before the busy status.
        """
        self.reply()
        self.status("busy")
        self.wait(SILENT_PERIODS + 1)
        self.assertEqual(self.lost, [self.request])

    def test_not_lost(self) -> None:
        """
        It is not missing if it comes before or after the reply, nor while a request runs or asks
        for input.
        """
        self.status("busy")
        self.reply()
        self.status("idle")
        self.status("busy")
        self.status("idle")
        self.reply()
        # All of them may have one id.
        self.status("busy")
        self.reply("input_request")
        self.wait(10)
        self.assertEqual(self.lost, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_output(self) -> None:
        """
        As long as something comes, the idle status may still come, and it may be waiting to be
        read.
        """
        self.status("busy")
        self.reply()
        for _ in range(10):
            self.missing.published(message("stream", self.request), None)
            self.wait(SILENT_PERIODS - 1)
        self.assertEqual(self.caught_up, 0, "what is paused stays so")
        self.late.append(message("status", self.request))
        self.wait(SILENT_PERIODS + 1)
        self.assertEqual(self.lost, [])

    def test_each_has_its_time(self) -> None:
        """
        A request that gets its reply while another one's idle status is awaited has as much time.
        """
        other = new_header("execute_request", "client", 0.0)
        self.status("busy")
        self.status("busy", other)
        self.reply()
        self.wait(SILENT_PERIODS)
        self.reply(request=other)
        self.wait(SILENT_PERIODS)
        self.assertEqual(self.lost, [])
        self.wait(1)
        self.assertEqual(self.lost, [self.request, other])

    def test_many(self) -> None:
        """
        A kernel that never publishes idle does not fill the memory.
        """
        self.make(RelayLimits(max_idle_awaited=2))
        requests = [new_header("execute_request", "client", 0.0) for _ in range(3)]
        for request in requests:
            self.status("busy", request)
            self.reply(request=request)
        self.wait(SILENT_PERIODS + 1)
        self.assertEqual(self.lost, requests[1:])
        self.make(RelayLimits(max_idle_header=len(self.request) - 1))
        self.status("busy")
        self.reply()
        self.wait(SILENT_PERIODS + 1)
        self.assertEqual(self.lost, requests[1:])

    def test_cancel(self) -> None:
        """
        When the process has ended, its final output starts nothing.
        """
        self.status("busy")
        self.reply()
        self.missing.cancel()
        self.reply()
        self.assertEqual(self.clock.getDelayedCalls(), [])
