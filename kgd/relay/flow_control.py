"""
Waiting for clients that only lack the processor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.interfaces import IDelayedCall

from kgd.relay.attachment import Attachment

# How long output is left in ZeroMQ when every client lags, in seconds: the larger the messages, the
# longer one of them takes.
SHORTEST = 0.01
LONGEST = 0.1
LEAST_SPEED = 20e6
# Whoever takes less than this in such a time is slow; then what is too much is dropped, and said.
PROGRESS = 2 * 1024 * 1024
# Meanwhile output piles up in the kernel, which keeps a number of messages and would drop the rest
# without a word. So for a while this is done as often as it helps, then only in so much of the
# time; it takes longer to send as many large messages.
BUDGET = 1.0
SHARE = 0.1
LARGE = 64 * 1024


class IopubFlowControl:
    """
    Pauses a kernel's output.

    :param pause: Called with whether to pause.
    :param audience: Returns those who are waited for.
    """

    def __init__(
        self,
        reactor: Any,
        pause: Callable[[bool], None],
        audience: Callable[[], Sequence[Attachment]],
    ) -> None:
        self._reactor = reactor
        self._pause = pause
        self._audience = audience
        self._breath: IDelayedCall | None = None
        self._budget = BUDGET
        self._budgeted = reactor.seconds()
        self._price = 1.0

    def lag_changed(self, everyone_lags: bool) -> None:
        """
        Begin or end to wait.
        """
        if everyone_lags and self._breath is None:
            self._take_breath()
        elif not everyone_lags and self._breath is not None:
            self._breath.cancel()
            self._end_breath()

    def _take_breath(self) -> None:
        self._earn()
        audience = self._audience()
        largest = max(attachment.kept for attachment in audience)
        seconds = min(SHORTEST + largest / LEAST_SPEED, LONGEST)
        self._price = min(1.0, LARGE / max(1, largest))
        if self._budget < seconds * self._price:
            return
        before = {attachment: attachment.taken for attachment in audience}

        def breathed() -> None:
            self._end_breath()
            if any(
                attachment.taken - before.get(attachment, attachment.taken) > PROGRESS
                for attachment in self._audience()
            ):
                self._take_breath()

        self._pause(True)
        self._breath = self._reactor.callLater(seconds, breathed)

    def _end_breath(self) -> None:
        self._breath = None
        self._budget -= self._price * self._earn()
        self._pause(False)

    def _earn(self) -> float:
        """
        :return: How long ago it was done last, in seconds.
        """
        before, self._budgeted = self._budgeted, self._reactor.seconds()
        passed: float = self._budgeted - before
        self._budget = min(BUDGET, self._budget + SHARE * passed)
        return passed
