"""
Lets code run in the order in which it was asked for, whoever asked.

A kernel works on requests in the order in which they reach it, and gives none back. So a request
that may still be cancelled must not reach it before its turn; and what other clients ask for
afterwards must not overtake it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import attrs

from kgd.protocol.messages import ClientMessage


@attrs.define(eq=False)
class Turn:
    """
    A request that waits for its turn.

    :ivar send: Sends the request to the kernel.
    :ivar owner: Whose request it is.
    :ivar needs_idle: Whether nothing else may run or wait in the kernel when it is sent.
    """

    request: ClientMessage
    send: Callable[[ClientMessage], None]
    owner: object
    needs_idle: bool


class TurnQueue:
    """
    The requests to run code that are kept from one kernel until it is their turn.

    :param running: Returns how many requests to run code have reached the kernel, or are on their
        way, and have no reply.
    """

    def __init__(self, running: Callable[[], int]) -> None:
        self._running = running
        self._waiting: deque[Turn] = deque()
        self._is_sending = False
        # Whether a request that needed the kernel to be idle has been sent and has no reply. What
        # others send takes other ways to the kernel and might still overtake it.
        self._is_taken = False

    def __len__(self) -> int:
        """
        How many wait.
        """
        return len(self._waiting)

    def __bool__(self) -> bool:
        """
        Whether other requests have to wait, too.
        """
        return bool(self._waiting) or self._is_taken

    def add(self, turn: Turn) -> None:
        """
        Send a request when it is its turn, which may be at once.
        """
        self._waiting.append(turn)
        self.send_next()

    def withdraw(self, turn: Turn) -> bool:
        """
        Take a request back.

        :return: Whether it had not been sent.
        """
        if turn not in self._waiting:
            return False
        was_first = self._waiting[0] is turn
        self._waiting.remove(turn)
        if was_first:
            self.send_next()
        return True

    def withdraw_all_of(self, owner: object) -> None:
        """
        Take back the requests of a client that is gone.
        """
        self._waiting = deque(turn for turn in self._waiting if turn.owner is not owner)
        self.send_next()

    def send_next(self) -> None:
        """
        Send those requests whose turn it is. To be called whenever a request has got its reply.
        """
        if self._is_sending:
            # A request may be replied to while it is sent.
            return
        self._is_sending = True
        try:
            while self._is_next_due():
                turn = self._waiting.popleft()
                self._is_taken = turn.needs_idle
                turn.send(turn.request)
        finally:
            self._is_sending = False

    def _is_next_due(self) -> bool:
        if self._is_taken and not self._running():
            self._is_taken = False
        if not self._waiting or self._is_taken:
            return False
        return not (self._waiting[0].needs_idle and self._running())
