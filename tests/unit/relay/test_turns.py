"""
Requests that wait for their turn.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from kgd.protocol.messages import ClientMessage, make_execute_request
from kgd.relay.turns import Turn, TurnQueue


class TurnQueueTests(SynchronousTestCase):
    """
    A kernel that runs as many requests as the test says.
    """

    def setUp(self) -> None:
        self.running = 0
        self.sent: list[str] = []
        self.turns = TurnQueue(lambda: self.running)

    def turn(self, name: str, *, needs_idle: bool = True, owner: object = None) -> Turn:
        """
        A request that counts as running when it is sent.
        """

        def send(_: ClientMessage) -> None:
            self.sent.append(name)
            self.running += 1

        return Turn(make_execute_request(name, "s", 0.0), send, owner, needs_idle)

    def reply(self) -> None:
        """
        The kernel replies to one request.
        """
        self.running -= 1
        self.turns.send_next()

    def test_idle(self) -> None:
        """
        A kernel that runs nothing gets a request at once, and the next one when it has replied.
        """
        for name in "abc":
            self.turns.add(self.turn(name))
        self.assertEqual(self.sent, ["a"])
        self.reply()
        self.assertEqual(self.sent, ["a", "b"])
        self.assertEqual(len(self.turns), 1)

    def test_others_do_not_overtake(self) -> None:
        """
        What others ask for waits behind what waits or runs, and then goes together.
        """
        self.running = 1
        self.turns.add(self.turn("mine"))
        self.turns.add(self.turn("other 1", needs_idle=False))
        self.turns.add(self.turn("other 2", needs_idle=False))
        self.turns.add(self.turn("mine again"))
        self.assertEqual(self.sent, [])
        self.reply()
        self.assertEqual(self.sent, ["mine"])
        self.reply()
        self.assertEqual(self.sent, ["mine", "other 1", "other 2"])
        self.reply()
        self.assertEqual(len(self.sent), 3)
        self.reply()
        self.assertEqual(self.sent[3:], ["mine again"])
        self.assertEqual((len(self.turns), bool(self.turns)), (0, True))
        self.reply()
        self.assertFalse(self.turns)

    def test_withdraw(self) -> None:
        """
        What has not been sent can be taken back, once, and those behind it move up.
        """
        self.running = 1
        first, second = self.turn("first"), self.turn("second", needs_idle=False)
        self.turns.add(first)
        self.turns.add(second)
        self.assertTrue(self.turns.withdraw(first))
        self.assertEqual(self.sent, ["second"])
        self.assertFalse(self.turns.withdraw(first))
        self.assertFalse(self.turns.withdraw(second))

    def test_a_client_that_leaves(self) -> None:
        """
        Its requests are dropped, and others' are not.
        """
        self.running = 1
        owner = object()
        self.turns.add(self.turn("gone", owner=owner))
        self.turns.add(self.turn("stays", needs_idle=False))
        self.turns.withdraw_all_of(owner)
        self.assertEqual(self.sent, ["stays"])

    def test_a_reply_while_sending(self) -> None:
        """
        A request that is replied to while it is sent does not change the order.
        """

        def send(_: ClientMessage) -> None:
            self.sent.append("at once")
            self.turns.send_next()

        self.running = 1
        self.turns.add(Turn(make_execute_request("a", "s", 0.0), send, None, True))
        self.turns.add(self.turn("next"))
        self.running = 0
        self.turns.send_next()
        self.assertEqual(self.sent, ["at once", "next"])
