"""
What the relay says in a kernel's place, leaves out, and hides.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kgd.execution.outputs import Execution
from kgd.protocol.messages import (
    ClientMessage,
    Header,
    KernelMessage,
    read_execution_state,
    read_header,
)
from kgd.relay import pending as module
from kgd.relay.pending import KernelGone, PendingRequest, PendingRequests, substitute_replies
from kgd.relay.rate_limit import RateLimiter
from kgd.relay.redaction import Redactor
from kgd.settings import Settings

DEEP = b"[" * 100_000 + b"]" * 100_000


def request(
    msg_id: str, msg_type: str = "execute_request", channel: str = "shell"
) -> ClientMessage:
    """
    A client's request.
    """
    raw = json.dumps({"msg_type": msg_type, "msg_id": msg_id}).encode()
    return ClientMessage(channel, read_header(raw), (raw, b"{}", b"{}", b"{}"))


def message(
    msg_type: str, content: Any = None, parent: str = "r", channel: str = "iopub"
) -> KernelMessage:
    """
    A kernel's message.
    """
    raw = json.dumps({"msg_type": msg_type, "msg_id": "k"}).encode()
    body = content if isinstance(content, bytes) else json.dumps(content or {}).encode()
    header = Header(msg_type="execute_request", msg_id=parent)
    return KernelMessage(channel, read_header(raw), (raw, b"{}", b"{}", body), (), header)


def content_of(each: KernelMessage) -> Any:
    """
    What a message says.
    """
    return json.loads(bytes(each.parts[3]))


class OutstandingTests(SynchronousTestCase):
    """
    Requests that wait for their answers.
    """

    def setUp(self) -> None:
        self.pending = PendingRequests()

    def test_answers(self) -> None:
        """
        A reply settles its request and no other.
        """
        for msg_id in ("a", "b"):
            self.pending.sent(request(msg_id))
        self.pending.replied(message("execute_reply", parent="a", channel="shell"))
        self.pending.replied(message("execute_reply", parent="unknown", channel="shell"))
        self.assertEqual(
            [json.loads(each.header)["msg_id"] for each in self.pending.take_all()], ["b"]
        )
        self.assertEqual(self.pending.take_all(), [])

    def test_one_id_for_all(self) -> None:
        """
        Some clients give every request the same id; each reply settles one of them.
        """
        for _ in range(3):
            self.pending.sent(request("same"))
        self.pending.replied(message("execute_reply", parent="same", channel="shell"))
        self.assertEqual(len(self.pending), 2)

    def test_what_nobody_answers(self) -> None:
        """
        Comm messages and answers to prompts have no replies to wait for.
        """
        self.pending.sent(request("a", "comm_msg"))
        self.pending.sent(request("b", "input_reply", "stdin"))
        self.assertEqual(len(self.pending), 0)

    def test_bounded(self) -> None:
        """
        Nobody can make the gateway remember any number of requests, nor any that kernels may never
        answer.
        """
        self.patch(module, "MAX_REQUESTS", 10)
        self.pending.sent(request("x", "nonsense_request"))
        self.assertEqual(len(self.pending), 0)
        for number in range(20):
            self.pending.sent(request(str(number % 15)))
        self.assertEqual((len(self.pending), self.pending.executions), (10, 10))
        self.pending.replied(message("execute_reply", parent="14", channel="shell"))
        self.assertEqual((len(self.pending), self.pending.executions), (9, 9))
        self.assertEqual(len(self.pending.take_all()), 9)
        self.assertEqual((len(self.pending), self.pending.executions), (0, 0))

    def test_large(self) -> None:
        """
        Nor can anybody with large headers; the last request is always remembered.
        """
        each = request("x" * 1000)
        size = len(each.parts[0])
        self.patch(module, "MAX_HEADER_BYTES", 3 * size)
        for _ in range(5):
            self.pending.sent(each)
        self.assertEqual(len(self.pending), 3)
        self.pending.replied(message("execute_reply", parent=each.msg_id, channel="shell"))
        self.pending.sent(each)
        self.assertEqual(len(self.pending), 3)
        self.pending.sent(request("y" * 9000))
        (waiting,) = self.pending.take_all()
        self.assertIn(b"y" * 9000, waiting.header)
        self.pending.sent(each)
        self.pending.sent(each)
        self.assertEqual(len(self.pending), 2)

    def test_code(self) -> None:
        """
        Of the requests those that run code are counted apart.
        """
        self.pending.sent(request("a", "kernel_info_request"))
        self.pending.sent(request("b"))
        self.assertEqual((len(self.pending), self.pending.executions), (2, 1))

    def lost(self, each: ClientMessage) -> PendingRequest:
        """
        What is remembered of a request.
        """
        self.pending.sent(each)
        (waiting,) = self.pending.take_all()
        return waiting

    def test_substitutes_for_code(self) -> None:
        """
        Code that ran gets an error reply, an error in its output, and an idle status.
        """
        lost = self.lost(request("a"))
        reply, error, status = substitute_replies(lost, KernelGone("KernelDied", "signal 9"), "s")
        self.assertEqual(
            [(each.channel, each.header.msg_type) for each in (reply, error, status)],
            [("shell", "execute_reply"), ("iopub", "error"), ("iopub", "status")],
        )
        for each in (reply, error):
            self.assertEqual(content_of(each)["ename"], "KernelDied")
            self.assertEqual(content_of(each)["evalue"], "signal 9")
        self.assertEqual(content_of(reply)["status"], "error")
        self.assertEqual(content_of(status), {"execution_state": "idle"})
        for each in (reply, error, status):
            self.assertEqual(json.loads(bytes(each.parts[1]))["msg_id"], "a")

    def test_substitutes_for_other_requests(self) -> None:
        """
        Another request gets the reply of its kind, on its own channel.
        """
        lost = self.lost(request("a", "debug_request", "control"))
        reply, status = substitute_replies(lost, KernelGone("KernelDied", "x"), "s")
        self.assertEqual((reply.channel, reply.header.msg_type), ("control", "debug_reply"))
        self.assertEqual(status.header.msg_type, "status")


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


class RedactionTests(SynchronousTestCase):
    """
    Errors that clients must not see.
    """

    def setUp(self) -> None:
        self.redactor = Redactor("hidden")

    def test_error(self) -> None:
        """
        An error on iopub says nothing but that it is one.
        """
        each = message("error", {"ename": "E", "evalue": "secret", "traceback": ["secret"]})
        self.assertEqual(
            content_of(self.redactor.redacted(each)),
            {"ename": "ExecutionError", "evalue": "Execution error", "traceback": ["hidden"]},
        )

    def test_reply(self) -> None:
        """
        Nor does the reply; what else it holds stays.
        """
        content = {
            "status": "error",
            "ename": "E",
            "evalue": "secret",
            "traceback": ["secret"],
            "execution_count": 3,
            "user_expressions": {},
        }
        shown = content_of(self.redactor.redacted(message("execute_reply", content)))
        self.assertNotIn("secret", json.dumps(shown))
        self.assertEqual((shown["execution_count"], shown["status"]), (3, "error"))

    def test_expressions(self) -> None:
        """
        An expression that failed does not show why either.
        """
        content = {
            "status": "ok",
            "user_expressions": {"x": {"status": "error", "evalue": "secret", "traceback": []}},
        }
        shown = content_of(self.redactor.redacted(message("execute_reply", content)))
        self.assertNotIn("secret", json.dumps(shown))
        self.assertEqual(shown["status"], "ok")

    def test_everything_else(self) -> None:
        """
        Other messages stay as they are.
        """
        for each in (message("stream", {"text": "x"}), message("execute_reply", {"status": "ok"})):
            self.assertIs(self.redactor.redacted(each), each)

    def test_unreadable(self) -> None:
        """
        An error that is not JSON is hidden, too.
        """
        shown = content_of(self.redactor.redacted(message("error", b"secret")))
        self.assertEqual(shown["ename"], "ExecutionError")

    def test_unreadable_reply(self) -> None:
        """
        Nor does a reply show one that Python can read and JSON cannot, or that nobody can.
        """
        failed = {"status": "error", "evalue": "secret"}
        odd = json.dumps({"status": "ok", "x": float("nan"), "user_expressions": {"a": failed}})
        odd_bytes = odd.encode().replace(b"ok", b"ok \xff")
        shown = content_of(self.redactor.redacted(message("execute_reply", odd_bytes)))
        self.assertEqual((shown["status"], shown["x"]), ("ok \ufffd", None))
        self.assertNotIn("secret", json.dumps(shown))
        for content in (b"secret", b'{"evalue": "secret", "x": ' + DEEP + b"}"):
            shown = content_of(self.redactor.redacted(message("execute_reply", content)))
            self.assertEqual(shown["ename"], "ExecutionError")


class DeepTests(SynchronousTestCase):
    """
    What a kernel says, nested too deeply for anybody to read.
    """

    CONTENT = b'{"execution_state": "idle", "data": {"text/plain": "x"}, "x": ' + DEEP + b"}"

    def test_state(self) -> None:
        """
        A status like this is none.
        """
        self.assertIsNone(read_execution_state(self.CONTENT))

    def test_piece(self) -> None:
        """
        Whatever is said of code that the gateway has run: a reply is an error, the rest is nothing.
        """
        for msg_type in ("status", "stream", "execute_result", "error", "execute_reply"):
            execution = Execution(None)
            execution.received(message(msg_type, self.CONTENT))
            self.assertFalse(execution.is_idle)
            self.assertEqual(bool(execution.error), msg_type in ("error", "execute_reply"))


class OddTests(SynchronousTestCase):
    """
    What a kernel says that is almost JSON, as answers of notebooks show it.
    """

    def execution(self, msg_type: str, content: bytes) -> Execution:
        """
        What becomes of one message.
        """
        execution = Execution(None)
        execution.received(message(msg_type, content))
        return execution

    def test_print(self) -> None:
        """
        Whatever is printed arrives, but for what is no character.
        """
        for content, expected in (
            (rb'{"name": "stdout", "text": "a \ud800 b"}', "a ? b"),
            (b'{"name": "stdout", "text": "a \xff b"}', "a \ufffd b"),
            (rb'{"name": "stdout", "text": "a \ud83d\ude00 b", "x": NaN}', "a \U0001f600 b"),
            (b'{"name": "stderr", "text": "a \xff b"}', ""),
            (b'{"name": "stdout", "text": 1, "x": NaN}', ""),
            (b"no", ""),
        ):
            self.assertEqual(self.execution("stream", content).outputs.stdout, expected)

    def test_result(self) -> None:
        """
        So does what is displayed.
        """
        bundle = rb'{"data": {"text/plain": "\ud800", "application/json": [NaN, "' + b'\xff"]}}'
        shown = self.execution("execute_result", bundle).outputs.result
        assert shown is not None
        self.assertEqual(shown["text/plain"], "?")
        self.assertEqual(shown["application/json"][1], "\ufffd")
        self.assertIsNot(shown["application/json"][0], None)

    def test_report(self) -> None:
        """
        An error is told, and no error is none.
        """
        failed = self.execution("execute_reply", rb'{"status": "error", "evalue": "\udcff"}').error
        assert failed is not None
        self.assertEqual(failed.evalue, "?")
        execution = self.execution(
            "execute_reply", b'{"status": "ok", "user_expressions": {"x": NaN}}'
        )
        self.assertEqual((execution.status, execution.error), ("ok", None))
