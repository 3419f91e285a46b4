"""
When a kernel counts as ready.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kgd.execution.probe import RETRY_DELAY, Probe
from kgd.protocol.messages import ClientMessage, Header, KernelMessage


class ProbeTests(SynchronousTestCase):
    """
    The probe asks until reply and idle status have come.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.asked: list[ClientMessage] = []
        self.ready = 0
        self.probe = Probe(self.clock, "s", self.asked.append, self.succeed)
        self.probe.ask()

    def succeed(self) -> None:
        """
        The kernel is ready.
        """
        self.ready += 1

    def answer(self, request: ClientMessage) -> KernelMessage:
        """
        Something that the kernel sends because of a request.
        """
        parent = Header(msg_type=request.msg_type, msg_id=request.msg_id)
        return KernelMessage(
            "shell", Header(msg_type="x"), (b"{}", b"{}", b"{}", b"{}"), (), parent
        )

    def test_reply_then_idle(self) -> None:
        """
        Either order will do: here the reply comes first.
        """
        self.probe.replied(self.answer(self.asked[0]))
        self.assertEqual(self.ready, 0)
        self.probe.published(self.answer(self.asked[0]), "busy")
        self.assertEqual(self.ready, 0)
        self.probe.published(self.answer(self.asked[0]), "idle")
        self.assertEqual(self.ready, 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_idle_then_reply(self) -> None:
        """
        Here the status comes first.
        """
        self.probe.published(self.answer(self.asked[0]), "idle")
        self.assertEqual(self.ready, 0)
        self.probe.replied(self.answer(self.asked[0]))
        self.assertEqual(self.ready, 1)

    def test_asks_again_when_the_status_was_missed(self) -> None:
        """
        A kernel that answered before it saw the subscription is asked again, not only once.
        """
        for times in (2, 3):
            self.probe.replied(self.answer(self.asked[-1]))
            self.clock.advance(RETRY_DELAY)
            self.assertEqual(len(self.asked), times)
        self.probe.published(self.answer(self.asked[1]), "idle")
        self.assertEqual(self.ready, 1)

    def test_not_asked_again_without_a_reply(self) -> None:
        """
        Requests do not pile up before a kernel that does not answer.
        """
        self.clock.advance(1000)
        self.assertEqual(len(self.asked), 1)

    def test_others_do_not_count(self) -> None:
        """
        What belongs to somebody else's request proves nothing.
        """
        other = ClientMessage("shell", Header(msg_type="x", msg_id="other"), (b"", b"", b"", b""))
        self.probe.replied(self.answer(other))
        self.probe.published(self.answer(other), "idle")
        self.assertEqual((self.ready, self.clock.getDelayedCalls()), (0, []))

    def test_cancel(self) -> None:
        """
        A cancelled probe asks no more.
        """
        self.probe.replied(self.answer(self.asked[0]))
        self.probe.cancel()
        self.clock.advance(RETRY_DELAY)
        self.assertEqual(len(self.asked), 1)
