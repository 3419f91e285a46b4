"""
Requests that wait for a reply, and what the relay sends in place of a kernel that has ended.
"""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from kgd.protocol.messages import ClientMessage, read_header, read_parent
from kgd.relay.limits import RelayLimits
from kgd.relay.pending import KernelGone, PendingRequest, PendingRequests, substitute_replies
from tests.support.jupyter_messages import content_of, message, request


class PendingRequestsTests(SynchronousTestCase):
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

    def test_ids_of_any_type(self) -> None:
        """
        An id of any type finds its reply, which repeats it, or has its substitute.
        """
        ids = (b"7", b"7.5", b"null", b"true", b'["x"]', b'{"a": 1}', b"9" * 5000, b'""', b'"\xff"')
        for msg_id in ids:
            raw = b'{"msg_type": "execute_request", "msg_id": %b}' % msg_id
            sent = ClientMessage("shell", read_header(raw), (raw, b"{}", b"{}", b"{}"))
            self.pending.sent(sent)
            reply = message("execute_reply", parent=read_parent(raw).msg_id, channel="shell")
            self.pending.replied(reply)
            self.assertEqual(len(self.pending), 0, msg_id[:20])
            for each in substitute_replies(self.lost(sent), KernelGone("E", "e"), "s"):
                self.assertEqual(each.parts[1], raw)
                self.assertEqual(each.parent.msg_id, sent.msg_id)

    def test_without_a_reply(self) -> None:
        """
        Comm messages and answers to prompts have no replies to wait for.
        """
        self.pending.sent(request("a", "comm_msg"))
        self.pending.sent(request("b", "input_reply", "stdin"))
        self.assertEqual(len(self.pending), 0)

    def test_bounded(self) -> None:
        """
        The number of requests that are remembered has a limit, and those that kernels may never
        reply to are not remembered.
        """
        self.pending = PendingRequests(RelayLimits(max_pending=10))
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
        So has the size of their headers; the last request is always remembered.
        """
        each = request("x" * 1000)
        size = len(each.parts[0])
        self.pending = PendingRequests(RelayLimits(max_pending_headers=3 * size))
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
