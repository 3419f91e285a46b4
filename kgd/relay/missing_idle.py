"""
Requests whose end a kernel has lost.

A kernel that prints faster than its output can be sent keeps a thousand messages and drops the rest
without a word: also the status ``idle`` that ends a request, for which clients wait for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.interfaces import IDelayedCall

from kgd.protocol.message_types import INPUT_REQUEST
from kgd.protocol.messages import KernelMessage

# A request that was answered has ended when iopub was silent so many times in a row, in seconds.
CHECK_PERIOD = 2.5
SILENT_PERIODS = 2
# So many requests are remembered, if their headers are no longer than this, in bytes; several may
# run at a time, with subshells and control.
MAX_REMEMBERED = 100
MAX_HEADER = 16 * 1024

_Value = TypeVar("_Value")


class MissingIdle:
    """
    Watches one process of a kernel.

    :param drain_iopub: Hands over what has come on iopub already.
    :param idle_missing: Called with the header of a request that got a reply and no idle status.
    """

    def __init__(
        self, reactor: Any, drain_iopub: Callable[[], None], idle_missing: Callable[[bytes], None]
    ) -> None:
        self._reactor = reactor
        self._drain_iopub = drain_iopub
        self._idle_missing = idle_missing
        # Headers of requests with a status "busy" and no "idle", by their ids.
        self._busy: dict[str, bytes] = {}
        # Requests with a reply and no "idle", and the other way round: what comes on two sockets is
        # read in any order, and some clients use one id for all of their requests.
        self._replied: dict[str, None] = {}
        self._idle: dict[str, None] = {}
        self._received = self._received_before = 0
        self._silent_periods = 0
        self._timer: IDelayedCall | None = None
        self._cancelled = False

    def published(self, message: KernelMessage, state: str | None) -> None:
        """
        Something came on iopub.

        :param state: What it tells, if it is a status.
        """
        self._received += 1
        if state not in ("busy", "idle") or len(message.parts[1]) > MAX_HEADER:
            return
        msg_id = message.parent.msg_id
        if state == "busy":
            _remember(self._busy, msg_id, bytes(message.parts[1]))
            return
        self._busy.pop(msg_id, None)
        if msg_id in self._replied:
            del self._replied[msg_id]
        else:
            _remember(self._idle, msg_id, None)

    def replied(self, reply: KernelMessage) -> None:
        """
        Something came on a channel of requests.
        """
        is_final = reply.header.msg_type != INPUT_REQUEST
        if self._cancelled or not is_final or len(reply.parts[1]) > MAX_HEADER:
            return
        msg_id = reply.parent.msg_id
        if msg_id in self._idle:
            del self._idle[msg_id]
            return
        _remember(self._replied, msg_id, None)
        # It has the whole time from now on: the next look finds no silence.
        self._received_before = -1
        if self._timer is None:
            self._timer = self._reactor.callLater(CHECK_PERIOD, self._check)

    def _check(self) -> None:
        self._timer = None
        if self._received == self._received_before:
            # Not while output comes, for that may have been paused.
            self._drain_iopub()
        if not self._replied:
            return
        self._silent_periods = (
            self._silent_periods + 1 if self._received == self._received_before else 0
        )
        self._received_before = self._received
        if self._silent_periods < SILENT_PERIODS:
            self._timer = self._reactor.callLater(CHECK_PERIOD, self._check)
            return
        replied_ids, self._replied = self._replied, {}
        for msg_id in replied_ids:
            if msg_id in self._busy:
                self._idle_missing(self._busy.pop(msg_id))

    def cancel(self) -> None:
        """
        The process has ended, and its last words count no more.
        """
        self._cancelled = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _remember(recent: dict[str, _Value], msg_id: str, value: _Value) -> None:
    recent.pop(msg_id, None)
    recent[msg_id] = value
    if len(recent) > MAX_REMEMBERED:
        del recent[next(iter(recent))]
