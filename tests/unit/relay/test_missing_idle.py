"""
Requests whose end a kernel has lost.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kgd.protocol.messages import KernelMessage, new_header, read_header
from kgd.relay import missing_idle as module
from kgd.relay.missing_idle import CHECK_PERIOD, SILENT_PERIODS, MissingIdle


def message(msg_type: str, parent: bytes) -> KernelMessage:
    """
    What belongs to a request.
    """
    header = new_header(msg_type, "kernel", 0.0)
    parts = (header, parent, b"{}", b"{}")
    return KernelMessage("iopub", read_header(header), parts, (), read_header(parent))


class LostEndsTests(SynchronousTestCase):
    """
    One kernel's process.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.lost: list[bytes] = []
        self.late: list[KernelMessage] = []
        self.caught_up = 0
        self.ends = MissingIdle(self.clock, self.drain_iopub, self.lost.append)
        self.request = new_header("execute_request", "client", 0.0)

    def drain_iopub(self) -> None:
        """
        Hand over what had come.
        """
        self.caught_up += 1
        while self.late:
            self.ends.published(self.late.pop(), "idle")

    def status(self, state: str, request: bytes | None = None) -> None:
        """
        The kernel tells a state.
        """
        self.ends.published(message("status", request or self.request), state)

    def reply(self, msg_type: str = "execute_reply", request: bytes | None = None) -> None:
        """
        The kernel answers.
        """
        self.ends.replied(message(msg_type, request or self.request))

    def wait(self, periods: int) -> None:
        """
        Let time pass.
        """
        self.clock.pump([CHECK_PERIOD] * periods)

    def test_lost(self) -> None:
        """
        When nothing comes for a while after the reply, the end is lost, once.
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
        What comes on two sockets is read in any order.
        """
        self.reply()
        self.status("busy")
        self.wait(SILENT_PERIODS + 1)
        self.assertEqual(self.lost, [self.request])

    def test_not_lost(self) -> None:
        """
        Whichever of the two comes first; requests that run, and those that ask for input, wait.
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
        As long as something comes, the end may come, too; so may what waits to be read.
        """
        self.status("busy")
        self.reply()
        for _ in range(10):
            self.ends.published(message("stream", self.request), None)
            self.wait(SILENT_PERIODS - 1)
        self.assertEqual(self.caught_up, 0, "what is paused stays so")
        self.late.append(message("status", self.request))
        self.wait(SILENT_PERIODS + 1)
        self.assertEqual(self.lost, [])

    def test_each_has_its_time(self) -> None:
        """
        A request that is answered while another is waited for is not lost at once.
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
        A kernel that never ends anything does not fill the memory.
        """
        self.patch(module, "MAX_REMEMBERED", 2)
        requests = [new_header("execute_request", "client", 0.0) for _ in range(3)]
        for request in requests:
            self.status("busy", request)
            self.reply(request=request)
        self.wait(SILENT_PERIODS + 1)
        self.assertEqual(self.lost, requests[1:])
        self.patch(module, "MAX_HEADER", len(self.request) - 1)
        self.status("busy")
        self.reply()
        self.wait(SILENT_PERIODS + 1)
        self.assertEqual(self.lost, requests[1:])

    def test_cancel(self) -> None:
        """
        When the process has ended, its last words begin nothing.
        """
        self.status("busy")
        self.reply()
        self.ends.cancel()
        self.reply()
        self.assertEqual(self.clock.getDelayedCalls(), [])
