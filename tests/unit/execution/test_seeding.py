"""
Running a seed.
"""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from kgd.execution.seeding import SeedRun
from kgd.protocol.messages import ClientMessage
from tests.support.jupyter_messages import message


class SeedRunTests(SynchronousTestCase):
    """
    Two cells.
    """

    def setUp(self) -> None:
        self.sent: list[ClientMessage] = []
        self.succeeded = 0
        self.failed: list[tuple[int, str]] = []
        self.seed_run = SeedRun(
            ("a", "b"),
            "session",
            self.sent.append,
            self._succeed,
            lambda index, error: self.failed.append((index, error)),
        )
        self.seed_run.start()

    def _succeed(self) -> None:
        self.succeeded += 1

    def reply(self, **content: object) -> None:
        """
        Reply to the latest request.
        """
        self.seed_run.received(message("execute_reply", content, self.sent[-1].msg_id, "shell"))

    def idle(self) -> None:
        """
        Be idle after the latest request.
        """
        self.seed_run.received(message("status", {"execution_state": "idle"}, self.sent[-1].msg_id))

    def test_one_after_the_other(self) -> None:
        """
        The second cell is sent when the first is done; after that the seed has run.
        """
        self.reply(status="ok")
        self.assertEqual(len(self.sent), 1)
        self.idle()
        self.assertEqual(
            [json.loads(bytes(each.parts[3]))["code"] for each in self.sent], ["a", "b"]
        )
        self.idle()
        self.assertEqual(self.succeeded, 0)
        self.reply(status="ok")
        self.assertEqual((self.succeeded, self.failed), (1, []))

    def test_failure(self) -> None:
        """
        A cell that fails ends the run, once, whether or not the kernel says that it is idle.
        """
        self.reply(status="ok")
        self.idle()
        self.reply(status="error", ename="E", evalue="v")
        self.assertEqual(self.failed, [(1, "E: v")])
        self.idle()
        self.reply(status="error", ename="E", evalue="v")
        self.assertEqual((self.succeeded, self.failed), (0, [(1, "E: v")]))

    def test_ends_kernel(self) -> None:
        """
        A cell that ends the kernel is a failure: it would end every kernel.
        """
        self.reply(status="ok", payload=[{"source": "ask_exit", "keepkernel": False}])
        self.idle()
        self.assertEqual(self.failed, [(0, "it ends the kernel; remove its quit() or exit()")])
        self.assertEqual((self.succeeded, len(self.sent)), (0, 1))

    def test_unreadable_reply(self) -> None:
        """
        A reply that cannot be read is a failure.
        """
        self.seed_run.received(message("execute_reply", b"{", self.sent[-1].msg_id, "shell"))
        self.assertEqual(self.failed, [(0, "Error: what the kernel replied cannot be read")])

    def test_hides(self) -> None:
        """
        Everything that belongs to the seed is hidden from clients, and nothing else.
        """
        first = self.sent[0].msg_id
        self.reply(status="ok")
        self.idle()
        for msg_id, hidden in ((first, True), (self.sent[1].msg_id, True), ("other", False)):
            self.assertIs(self.seed_run.hides(message("stream", None, msg_id)), hidden)

    def test_cancel(self) -> None:
        """
        A run that was cancelled does not go on.
        """
        self.seed_run.cancel()
        self.reply(status="ok")
        self.idle()
        self.assertEqual((len(self.sent), self.succeeded, self.failed), (1, 0, []))
