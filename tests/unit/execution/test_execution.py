"""
Requests of the gateway itself, until their reply and their idle status have come.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from kgd.execution.execution import KERNEL_GONE_ENAMES, Execution, ExecutionTracker
from kgd.protocol.messages import ClientMessage, KernelMessage, read_execution_state
from kgd.protocol.outputs import Failed
from tests.support.jupyter_messages import DEEP, message, request

IDLE = {"execution_state": "idle"}
OK = {"status": "ok"}


class ExecutionTests(SynchronousTestCase):
    """
    One request.
    """

    def execution(self, *messages: KernelMessage) -> Execution:
        """
        :return: What becomes of a request after these messages.
        """
        execution = Execution(request("r"), lambda _: None)
        for each in messages:
            execution.received(each)
        return execution

    def test_done(self) -> None:
        """
        It takes the reply and the idle status, in any order.
        """
        reply = message("execute_reply", OK, channel="shell")
        idle = message("status", IDLE)
        busy = message("status", {"execution_state": "busy"})
        for messages, done in (
            ((), False),
            ((reply,), False),
            ((idle,), False),
            ((busy, reply, busy), False),
            ((busy, reply, idle), True),
            ((idle, reply), True),
        ):
            self.assertEqual(self.execution(*messages).is_done, done)

    def test_not_a_reply(self) -> None:
        """
        A prompt comes on a channel of requests, and is not the reply.
        """
        prompt = message("input_request", {"prompt": "?"}, channel="stdin")
        self.assertIsNone(self.execution(message("status", IDLE), prompt).reply)

    def test_has_begun(self) -> None:
        """
        A kernel has begun when it says so, or prints, or has replied; what the gateway says in
        place of a kernel that is gone is no sign of that.
        """
        gone = {"status": "error", "ename": "KernelDied", "evalue": "signal 9"}
        for sent, begun in (
            (message("status", {"execution_state": "busy"}), True),
            (message("execute_input", {"code": "x"}), True),
            (message("stream", {"name": "stdout", "text": "x"}), True),
            (message("execute_reply", OK, channel="shell"), True),
            (message("execute_reply", {"status": "error", "ename": "E"}, channel="shell"), True),
            (message("execute_reply", {"status": "aborted"}, channel="shell"), False),
            (message("execute_reply", gone, channel="shell"), False),
            (message("error", gone), False),
            (message("status", IDLE), False),
        ):
            self.assertEqual(self.execution(sent).has_begun, begun, sent.parts)
        self.assertFalse(self.execution().has_begun)

    def test_ends_kernel(self) -> None:
        """
        A reply may announce that the kernel ends; a client that only leaves it does not end it.
        """
        payloads: tuple[tuple[Any, bool], ...] = (
            ([{"source": "ask_exit", "keepkernel": False}], True),
            ([{"source": "ask_exit"}], True),
            ([{"source": "page"}, {"source": "ask_exit", "keepkernel": None}], True),
            ([{"source": "ask_exit", "keepkernel": True}], False),
            ([{"source": "page"}], False),
            ([None, 3, "ask_exit", []], False),
            ([], False),
            ({"source": "ask_exit"}, False),
            ("ask_exit", False),
            (None, False),
        )
        for payload, ends in payloads:
            for status in ("ok", "error"):
                content = {"status": status, "payload": payload}
                reply = self.execution(message("execute_reply", content, channel="shell")).reply
                assert reply is not None
                self.assertEqual((reply.ends_kernel, reply.status), (ends, status), payload)

    def test_aborted(self) -> None:
        """
        After a request that it has aborted, a kernel may not say that it is idle.
        """
        execution = self.execution(message("execute_reply", {"status": "aborted"}, channel="shell"))
        self.assertTrue(execution.is_done)
        self.assertEqual(execution.error, Failed(ename="Aborted", evalue=""))

    def test_first_error(self) -> None:
        """
        The error that is published or replied first counts.
        """
        one, two = ({"status": "error", "ename": name, "evalue": "v"} for name in ("One", "Two"))
        error = message("error", one)
        reply = message("execute_reply", two, channel="shell")
        for messages, ename in (((error, reply), "One"), ((reply, error), "Two")):
            execution = self.execution(*messages)
            self.assertEqual(execution.error, Failed(ename=ename, evalue="v"))
            self.assertEqual(execution.status, "error")

    def test_output(self) -> None:
        """
        Everything on iopub but statuses and errors is output.
        """
        taken: list[str] = []

        class Taking:
            def received(self, message: KernelMessage) -> None:
                taken.append(message.header.msg_type)

        execution = Execution(request("r"), lambda _: None, Taking())
        for msg_type in ("status", "stream", "clear_output", "error", "display_data"):
            execution.received(message(msg_type))
        execution.received(message("execute_reply", OK, channel="shell"))
        self.assertEqual(taken, ["stream", "clear_output", "error", "display_data"])

    def test_nested_too_deeply(self) -> None:
        """
        A status that is nested too deeply to be read is none; a reply or an error like that is an
        error.
        """
        content = b'{"execution_state": "idle", "x": ' + DEEP + b"}"
        self.assertIsNone(read_execution_state(content))
        for msg_type, channel in (
            ("status", "iopub"),
            ("stream", "iopub"),
            ("error", "iopub"),
            ("execute_reply", "shell"),
        ):
            execution = self.execution(message(msg_type, content, channel=channel))
            self.assertFalse(execution.is_idle)
            self.assertEqual(bool(execution.error), msg_type in ("error", "execute_reply"))

    def test_almost_json(self) -> None:
        """
        A reply that is JSON as Python or JavaScript write it is read; no error is none.
        """
        reply = rb'{"status": "error", "evalue": "\udcff"}'
        failed = self.execution(message("execute_reply", reply, channel="shell")).error
        assert failed is not None
        self.assertEqual(failed.evalue, "?")
        reply = b'{"status": "ok", "user_expressions": {"x": NaN}}'
        execution = self.execution(message("execute_reply", reply, channel="shell"))
        self.assertEqual((execution.status, execution.error), ("ok", None))

    def test_fail(self) -> None:
        """
        What the kernel cannot do any more is done, with an error that says why.
        """
        execution = self.execution()
        execution.fail("signal 9")
        self.assertTrue(execution.is_done)
        self.assertEqual(execution.error, Failed(ename=KERNEL_GONE_ENAMES[0], evalue="signal 9"))


class ExecutionTrackerTests(SynchronousTestCase):
    """
    Several requests.
    """

    def setUp(self) -> None:
        self.sent: list[ClientMessage] = []
        self.changed: list[Execution] = []
        self.tracker = ExecutionTracker(self.sent.append)

    def start(self, msg_id: str) -> Execution:
        """
        Send a request.
        """
        execution = Execution(request(msg_id), self.changed.append)
        self.tracker.start(execution)
        return execution

    def test_each_gets_its_messages(self) -> None:
        """
        A message goes to the execution that it belongs to, and that has not ended.
        """
        one, two = self.start("1"), self.start("2")
        self.assertEqual(self.sent, [one.request, two.request])
        for msg_id in ("2", "3", "1", "1"):
            self.tracker.received(message("execute_reply", {"status": "aborted"}, msg_id, "shell"))
        self.assertEqual(self.changed, [two, one])

    def test_take_all(self) -> None:
        """
        What is taken gets nothing more.
        """
        one, two = self.start("1"), self.start("2")
        self.tracker.received(message("execute_reply", {"status": "aborted"}, "1", "shell"))
        self.assertEqual(self.tracker.take_all(), [two])
        self.tracker.received(message("execute_reply", OK, "2", "shell"))
        self.assertEqual(self.changed, [one])
