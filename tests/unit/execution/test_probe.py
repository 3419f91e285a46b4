"""
When a kernel counts as ready.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kgd.execution.probe import RETRY_DELAY, Probe
from kgd.protocol.messages import ClientMessage, MsgId
from tests.support.jupyter_messages import message


class ProbeTests(SynchronousTestCase):
    """
    The probe asks until reply and idle status have come.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.asked: list[ClientMessage] = []
        self.ready = 0
        self.probe = Probe(self.clock, "s", self.asked.append, self.succeed)
        self.probe.start()

    def succeed(self) -> None:
        """
        The kernel is ready.
        """
        self.ready += 1

    def reply(self, msg_id: MsgId) -> None:
        """
        Reply to a request.
        """
        self.probe.received(message("kernel_info_reply", {"status": "ok"}, msg_id, "shell"))

    def publish(self, msg_id: MsgId, execution_state: str) -> None:
        """
        Publish a status that belongs to a request.
        """
        self.probe.received(message("status", {"execution_state": execution_state}, msg_id))

    def test_reply_then_idle(self) -> None:
        """
        Either order will do: here the reply comes first.
        """
        self.reply(self.asked[0].msg_id)
        self.assertEqual(self.ready, 0)
        self.publish(self.asked[0].msg_id, "busy")
        self.assertEqual(self.ready, 0)
        self.publish(self.asked[0].msg_id, "idle")
        self.assertEqual(self.ready, 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_idle_then_reply(self) -> None:
        """
        Here the status comes first.
        """
        self.publish(self.asked[0].msg_id, "idle")
        self.assertEqual(self.ready, 0)
        self.reply(self.asked[0].msg_id)
        self.assertEqual(self.ready, 1)

    def test_asks_again_when_the_status_was_missed(self) -> None:
        """
        A kernel that answered before it saw the subscription is asked again, not only once.
        """
        for times in (2, 3):
            self.reply(self.asked[-1].msg_id)
            self.clock.advance(RETRY_DELAY)
            self.assertEqual(len(self.asked), times)
        self.publish(self.asked[1].msg_id, "idle")
        self.assertEqual(self.ready, 1)

    def test_not_asked_again_without_a_reply(self) -> None:
        """
        Requests do not pile up before a kernel that does not answer.
        """
        self.clock.advance(1000)
        self.assertEqual(len(self.asked), 1)

    def test_others_do_not_count(self) -> None:
        """
        What belongs to a client's request proves nothing.
        """
        self.reply("other")
        self.publish("other", "idle")
        self.assertEqual((self.ready, self.clock.getDelayedCalls()), (0, []))

    def test_cancel(self) -> None:
        """
        A probe that was cancelled sends nothing.
        """
        self.reply(self.asked[0].msg_id)
        self.probe.cancel()
        self.clock.advance(RETRY_DELAY)
        self.assertEqual(len(self.asked), 1)
