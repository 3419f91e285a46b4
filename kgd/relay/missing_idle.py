"""
Detects requests whose idle status does not come, and makes that status in its place.

A kernel that prints faster than its output can be sent keeps a thousand messages and drops the rest
without a notice, even the ``idle`` status that ends a request and for which clients wait for ever.
Other kernels publish no status for what they abort. R's does so with all requests that have arrived
when one is interrupted or fails, and tells only in their replies that they are ``aborted``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import msgspec
from twisted.internet.interfaces import IDelayedCall

from kgd.errors import JSON_ERRORS
from kgd.protocol.message_types import EXECUTE_REPLY, INPUT_REQUEST
from kgd.protocol.messages import Buffer, KernelMessage, MsgId, make_kernel_message
from kgd.relay.limits import RELAY_LIMITS, RelayLimits

_Value = TypeVar("_Value")
# The content of a reply to what was aborted is short.
_MAX_ABORTED = 4096


class _Content(msgspec.Struct):
    status: str = ""


_decode_content: Callable[[Buffer], _Content] = msgspec.json.Decoder(_Content).decode


class _Reply(NamedTuple):
    """
    What is remembered of a reply.

    :ivar header: Of its request.
    :ivar content: Its own, if it is short.
    """

    msg_type: str
    header: Buffer
    content: Buffer

    @property
    def is_aborted(self) -> bool:
        """
        Whether the request has not been begun, so that there is no output of it.
        """
        try:
            return _decode_content(self.content).status == "aborted"
        except JSON_ERRORS:
            return False


class MissingIdle:
    """
    Watches one process of a kernel. An idle status is missing when its request has a reply, and
    iopub has been silent for a number of periods since. What was aborted has no output that could
    be overtaken, so for that, one whole period is enough, with or without silence.

    :param drain_iopub: Passes on what has arrived on iopub already.
    :param idle_missing: Called with the header of a request whose idle status is missing, and
        whether output may be missing, too: the kernel had begun to publish something.
    """

    def __init__(
        self,
        reactor: Any,
        drain_iopub: Callable[[], None],
        idle_missing: Callable[[bytes, bool], None],
        limits: RelayLimits = RELAY_LIMITS,
    ) -> None:
        self._reactor = reactor
        self._drain_iopub = drain_iopub
        self._idle_missing = idle_missing
        self._period = limits.idle_check_period
        self._max_silent_periods = limits.idle_silent_periods
        self._max_remembered = limits.max_idle_awaited
        self._max_header = limits.max_idle_header
        # Headers of requests with a status "busy" and no "idle", by their ids.
        self._busy: dict[MsgId, bytes] = {}
        # Requests with a reply and no "idle", and the other way round: the order in which messages
        # of two sockets are read is not fixed, and some clients use one id for all requests.
        self._replied: dict[MsgId, _Reply] = {}
        self._idle: dict[MsgId, None] = {}
        # The replies that were there at the last check.
        self._checked: dict[MsgId, _Reply] = {}
        self._received = self._received_before = 0
        self._silent_periods = 0
        self._timer: IDelayedCall | None = None
        self._cancelled = False

    def published(self, message: KernelMessage, state: str | None) -> None:
        """
        Take note of a message on iopub.

        :param state: The state that it tells, if it is a status.
        """
        self._received += 1
        if state not in ("busy", "idle") or len(message.parts[1]) > self._max_header:
            return
        msg_id = message.parent.msg_id
        if state == "busy":
            self._remember(self._busy, msg_id, bytes(message.parts[1]))
            return
        self._busy.pop(msg_id, None)
        if msg_id in self._replied:
            del self._replied[msg_id]
        else:
            self._remember(self._idle, msg_id, None)

    def replied(self, reply: KernelMessage) -> None:
        """
        Take note of a message on shell, control or stdin.
        """
        msg_type = reply.header.msg_type
        is_final = msg_type != INPUT_REQUEST
        if self._cancelled or not is_final or len(reply.parts[1]) > self._max_header:
            return
        msg_id = reply.parent.msg_id
        if msg_id in self._idle:
            del self._idle[msg_id]
            return
        content = reply.parts[3] if len(reply.parts[3]) <= _MAX_ABORTED else b""
        self._remember(self._replied, msg_id, _Reply(msg_type, reply.parts[1], content))
        # The silent periods count from now on: the next check must not find silence.
        self._received_before = -1
        if self._timer is None:
            self._timer = self._reactor.callLater(self._period, self._check)

    def _check(self) -> None:
        self._timer = None
        if self._received == self._received_before:
            # Not while output comes, for it may have been paused.
            self._drain_iopub()
        self._end_aborted()
        if not self._replied:
            return
        is_silent = self._received == self._received_before
        self._silent_periods = self._silent_periods + 1 if is_silent else 0
        self._received_before = self._received
        if self._silent_periods < self._max_silent_periods:
            self._timer = self._reactor.callLater(self._period, self._check)
            return
        replies, self._replied, self._checked = self._replied, {}, {}
        for msg_id, reply in replies.items():
            self._end(msg_id, reply, was_begun=True)

    def _end_aborted(self) -> None:
        """
        End what was aborted before the last check.
        """
        for msg_id, reply in self._checked.items():
            if self._replied.get(msg_id) is reply and reply.is_aborted:
                del self._replied[msg_id]
                self._end(msg_id, reply, was_begun=False)
        self._checked = self._replied.copy()

    def _end(self, msg_id: MsgId, reply: _Reply, *, was_begun: bool) -> None:
        header = self._busy.pop(msg_id, None)
        if header is not None:
            self._idle_missing(header, was_begun)
        elif not was_begun or reply.msg_type == EXECUTE_REPLY:
            # Some kernels publish no status for other requests.
            self._idle_missing(bytes(reply.header), False)

    def cancel(self) -> None:
        """
        Stop, because the process has ended.
        """
        self._cancelled = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _remember(self, recent: dict[MsgId, _Value], msg_id: MsgId, value: _Value) -> None:
        recent.pop(msg_id, None)
        recent[msg_id] = value
        if len(recent) > self._max_remembered:
            del recent[next(iter(recent))]


# How much is missing is not known.
LOST_OUTPUT_NOTICE = (
    "kgd: the kernel has lost the end of this output, probably because it printed faster than the "
    "output could be sent.\n"
)


def substitute_idle(
    parent: bytes, output_missing: bool, session: str, username: str
) -> Iterator[tuple[KernelMessage, str | None]]:
    """
    :param parent: The header of the request whose idle status is missing.
    :param output_missing: Whether output may be missing, too, which clients are told.
    :return: The messages to send in the kernel's place on iopub, each with the state that it tells.
    """
    for msg_type, content, state in (
        ("stream", {"name": "stderr", "text": LOST_OUTPUT_NOTICE}, None),
        ("status", {"execution_state": "idle"}, "idle"),
    ):
        if state is None and not output_missing:
            continue
        encoded = msgspec.json.encode(content)
        yield (
            make_kernel_message(msg_type, encoded, session, time.time(), parent, username=username),
            state,
        )
