"""
Pauses a kernel's iopub for milliseconds while all of its clients lag.

Clients lag when they are slow, or when they only have not got their share of the processor. For the
latter, output waits in ZeroMQ for a moment instead of being dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.interfaces import IDelayedCall

from kgd.relay.attachment import Attachment

# How long a pause is, in seconds: from MIN_PAUSE to MAX_PAUSE, the longer, the larger the messages
# are, at so many bytes a second.
MIN_PAUSE = 0.01
MAX_PAUSE = 0.1
MIN_BYTES_PER_SECOND = 20e6
# A client that takes less than this during a pause is slow. Then output goes on, and what is too
# much for the client is dropped with a notice.
MIN_PROGRESS = 2 * 1024 * 1024
# During a pause output piles up in the kernel, which keeps a number of messages and drops the rest
# without a notice. So there is a budget for pauses, in seconds, which is refilled by this share of
# the time. The kernel can keep its output for longer when messages are large, for it takes longer
# to send as many of them.
PAUSE_BUDGET = 1.0
PAUSE_SHARE = 0.1
LARGE_MESSAGE = 64 * 1024


class IopubFlowControl:
    """
    Decides when output pauses.

    :param pause: Called with whether to pause.
    :param recipients: Returns the attachments whose clients are waited for.
    """

    def __init__(
        self,
        reactor: Any,
        pause: Callable[[bool], None],
        recipients: Callable[[], Sequence[Attachment]],
    ) -> None:
        self._reactor = reactor
        self._pause = pause
        self._recipients = recipients
        self._resume_call: IDelayedCall | None = None
        self._budget = PAUSE_BUDGET
        self._refilled_at = reactor.seconds()
        self._cost = 1.0

    def lag_changed(self, all_lagging: bool) -> None:
        """
        Begin a pause when all clients lag, and end it when one does not.
        """
        if all_lagging and self._resume_call is None:
            self._begin_pause()
        elif not all_lagging and self._resume_call is not None:
            self._resume_call.cancel()
            self._end_pause()

    def _begin_pause(self) -> None:
        self._refill_budget()
        recipients = self._recipients()
        largest = max(attachment.last_queued_size for attachment in recipients)
        seconds = min(MIN_PAUSE + largest / MIN_BYTES_PER_SECOND, MAX_PAUSE)
        self._cost = min(1.0, LARGE_MESSAGE / max(1, largest))
        if self._budget < seconds * self._cost:
            return
        before = {attachment: attachment.taken_size for attachment in recipients}

        def pause_over() -> None:
            self._end_pause()
            if any(
                attachment.taken_size - before.get(attachment, attachment.taken_size) > MIN_PROGRESS
                for attachment in self._recipients()
            ):
                self._begin_pause()

        self._pause(True)
        self._resume_call = self._reactor.callLater(seconds, pause_over)

    def _end_pause(self) -> None:
        self._resume_call = None
        self._budget -= self._cost * self._refill_budget()
        self._pause(False)

    def _refill_budget(self) -> float:
        """
        :return: The seconds since the last call.
        """
        before, self._refilled_at = self._refilled_at, self._reactor.seconds()
        passed: float = self._refilled_at - before
        self._budget = min(PAUSE_BUDGET, self._budget + PAUSE_SHARE * passed)
        return passed
