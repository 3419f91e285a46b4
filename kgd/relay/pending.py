"""
Requests that a kernel has not replied to, and the replies in its place when it is gone.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import attrs
import msgspec

from kgd.protocol.message_types import EXECUTE_REQUEST, INPUT_REQUEST, REPLIED_TO
from kgd.protocol.messages import (
    USERNAME,
    ClientMessage,
    KernelMessage,
    MsgId,
    make_kernel_message,
)
from kgd.relay.limits import RELAY_LIMITS, RelayLimits

_REQUEST_SUFFIX = "_request"


class PendingRequest(NamedTuple):
    """
    What is remembered of a request.

    :ivar header: As it came.
    """

    channel: str
    msg_type: str
    header: bytes


class PendingRequests:
    """
    One client's requests to one process of a kernel that have no reply yet. When there are too
    many, the oldest are forgotten.

    :ivar executions: How many of them run code.
    """

    def __init__(self, limits: RelayLimits = RELAY_LIMITS) -> None:
        self._max = limits.max_pending
        self._max_headers = limits.max_pending_headers
        # Some clients use one id for all of their requests.
        self._requests: dict[MsgId, deque[PendingRequest]] = {}
        self._count = 0
        self._size = 0
        self.executions = 0

    def __len__(self) -> int:
        return self._count

    def sent(self, request: ClientMessage) -> None:
        """
        Remember a request that leaves for the kernel.
        """
        msg_type = request.msg_type
        if msg_type not in REPLIED_TO:
            return
        header = request.parts[0]
        self._size += len(header)
        while self._count and (self._count >= self._max or self._size > self._max_headers):
            self._forget(next(iter(self._requests)))
        pending = PendingRequest(request.channel, msg_type, header)
        with_this_id = self._requests.get(request.msg_id)
        if with_this_id is None:
            self._requests[request.msg_id] = deque((pending,))
        else:
            with_this_id.append(pending)
        self._count += 1
        self.executions += msg_type == EXECUTE_REQUEST

    def replied(self, reply: KernelMessage) -> None:
        """
        Forget the request that a message from shell, control or stdin replies to.
        """
        msg_id = reply.parent.msg_id
        if msg_id in self._requests and reply.header.msg_type != INPUT_REQUEST:
            self._forget(msg_id)

    def _forget(self, msg_id: MsgId) -> None:
        with_this_id = self._requests[msg_id]
        first = with_this_id.popleft()
        if not with_this_id:
            del self._requests[msg_id]
        self._count -= 1
        self._size -= len(first.header)
        self.executions -= first.msg_type == EXECUTE_REQUEST

    def take_all(self) -> list[PendingRequest]:
        """
        :return: All of them, in order; they are forgotten.
        """
        requests, self._requests = self._requests, {}
        self._count = self._size = self.executions = 0
        return [pending for with_one_id in requests.values() for pending in with_one_id]


@attrs.frozen
class KernelGone:
    """
    The error of requests that a kernel cannot reply to.

    :ivar ename: A name as of an exception: ``KernelDied`` or ``KernelRestarted``.
    :ivar evalue: What happened.
    """

    ename: str
    evalue: str


def substitute_replies(
    request: PendingRequest, gone: KernelGone, session: str, username: str = USERNAME
) -> Iterator[KernelMessage]:
    """
    Reply to a request in place of a kernel that cannot.

    :return: The reply, on the request's channel; then what goes to all clients on iopub.
    """
    error = {
        "ename": gone.ename,
        "evalue": gone.evalue,
        "traceback": f"{gone.ename}: {gone.evalue}".split("\n"),
    }
    parent = request.header
    kind = request.msg_type.removesuffix(_REQUEST_SUFFIX)
    is_code = request.msg_type == EXECUTE_REQUEST
    reply: dict[str, object] = {"status": "error", **error}
    if is_code:
        reply |= {"execution_count": 0, "user_expressions": {}, "payload": []}

    def message(channel: str, msg_type: str, content: dict[str, object]) -> KernelMessage:
        encoded = msgspec.json.encode(content)
        return make_kernel_message(
            msg_type, encoded, session, time.time(), parent, channel, username
        )

    yield message(request.channel, f"{kind}_reply", reply)
    if is_code:
        yield message("iopub", "error", dict(error))
    yield message("iopub", "status", {"execution_state": "idle"})
