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
ABORTED = b'{"status":"aborted"}'


def message(msg_type: str, parent: bytes, content: bytes = b"{}") -> KernelMessage:
    """
    :return: A message on iopub that belongs to a request.
    """
    header = new_header(msg_type, "kernel", 0.0)
    parts = (header, parent, b"{}", content)
    return KernelMessage("iopub", read_header(header), parts, (), read_header(parent))


class MissingIdleTests(SynchronousTestCase):
    """
    One kernel's process.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.lost: list[bytes] = []
        # Of which output may be missing, too.
        self.incomplete: list[bytes] = []
        self.late: list[KernelMessage] = []
        self.caught_up = 0
        self.make(LIMITS)
        self.request = new_header("execute_request", "client", 0.0)

    def make(self, limits: RelayLimits) -> None:
        """
        Watch with these limits.
        """
        self.missing = MissingIdle(self.clock, self.drain_iopub, self.idle_missing, limits)

    def idle_missing(self, header: bytes, output_missing: bool) -> None:
        """
        Remember what is missing.
        """
        self.lost.append(header)
        if output_missing:
            self.incomplete.append(header)

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

    def reply(
        self,
        msg_type: str = "execute_reply",
        request: bytes | None = None,
        content: bytes = b'{"status": "ok"}',
    ) -> None:
        """
        Reply to a request.
        """
        self.missing.replied(message(msg_type, request or self.request, content))

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
        self.assertEqual(self.incomplete, [self.request])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_r_interrupted(self) -> None:
        """
        R's kernel, interrupted, publishes no status at all for the requests that have arrived
        meanwhile, and names their replies in its own way. The statuses are made up soon, also while
        others print, and nothing is said to be lost.
        """
        waiting = [new_header("execute_request", "client", 0.0) for _ in range(2)]
        question = new_header("kernel_info_request", "client", 0.0)
        self.status("busy")
        self.missing.published(message("execute_input", self.request), None)
        self.reply(content=b'{"status":"abort","execution_count":1}')
        for request in waiting:
            self.reply(request=request, content=ABORTED)
        self.reply("kernel_reply", question, ABORTED)
        self.status("idle")
        self.wait(1)
        self.assertEqual(self.lost, [], "it may still come")
        self.missing.published(message("stream", b'{"msg_type": "x", "msg_id": "other"}'), None)
        self.wait(1)
        self.assertEqual(self.lost, [*waiting, question])
        self.wait(10)
        self.assertEqual(self.lost, [*waiting, question])
        self.assertEqual(self.incomplete, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_r_goes_on(self) -> None:
        """
        When R's kernel has not seen the next request before it was done with the interrupted one,
        everything comes, whichever of idle and reply is read first.
        """
        following = new_header("execute_request", "client", 0.0)
        self.status("busy")
        self.status("idle")
        self.reply(content=b'{"status":"abort","execution_count":1}')
        self.status("busy", following)
        self.reply(request=following)
        self.status("idle", following)
        self.wait(10)
        self.assertEqual(self.lost, [])

    def test_aborted_with_statuses(self) -> None:
        """
        For what ipykernel aborts, there are both statuses, around the reply; both may be read late.
        """
        self.reply(content=ABORTED)
        self.wait(1)
        self.status("busy")
        self.status("idle")
        self.wait(10)
        self.assertEqual(self.lost, [])

    def test_aborted_ids(self) -> None:
        """
        Ids of any type will do, and one that is used again is another request's.
        """
        for msg_id in (b"7", b"null", b"[1]", b'"x"'):
            request = b'{"msg_type": "execute_request", "msg_id": %b}' % msg_id
            self.reply(request=request, content=ABORTED)
            self.wait(1)
            self.reply(request=request, content=ABORTED)
            self.wait(1)
            self.assertEqual(self.lost, [], msg_id)
            self.wait(1)
            self.assertEqual(self.lost, [request])
            self.lost.clear()

    def test_no_status_at_all(self) -> None:
        """
        When the kernel has dropped both statuses of a request to run code, its end is made up.
        Replies to other requests may be of kernels that publish none.
        """
        self.reply("complete_reply", new_header("complete_request", "client", 0.0))
        self.reply(content=b'{"status": "ok", "payload": "%b"}' % (b"x" * 10_000))
        self.wait(SILENT_PERIODS + 1)
        self.assertEqual(self.lost, [self.request])
        self.assertEqual(self.incomplete, [])

    def test_unreadable_reply(self) -> None:
        """
        A reply that cannot be read is one like any other.
        """
        self.status("busy")
        for content in (b"", b"[]", b'{"status": 5}'):
            self.reply(content=content)
        self.wait(SILENT_PERIODS + 1)
        self.assertEqual(self.lost, [self.request])

    def test_idle_of_another(self) -> None:
        """
        The end of another request is not the end of this one.
        """
        self.status("busy")
        self.reply()
        self.status("idle", new_header("execute_request", "client", 0.0))
        self.wait(SILENT_PERIODS + 1)
        self.assertEqual(self.lost, [self.request])

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
