"""
Requests that the kernel has not answered.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import attrs
import msgspec

from kgd.protocol.message_types import EXECUTE_REQUEST, INPUT_REQUEST, REPLIED_TO
from kgd.protocol.messages import USERNAME, ClientMessage, KernelMessage, make_kernel_message

_REQUEST_SUFFIX = "_request"
# Of so many requests of one client it is remembered that they wait for an answer, as long as their
# headers have no more bytes than this together.
MAX_REQUESTS = 10_000
MAX_HEADER_BYTES = 8 * 1024 * 1024


@attrs.frozen
class KernelGone:
    """
    Why requests will not be answered any more.

    :ivar ename: A name as of an exception: ``KernelDied`` or ``KernelRestarted``.
    """

    ename: str
    evalue: str


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
    One client's requests to one process of the kernel, until they are answered.

    :ivar executions: How many of them are to run code.
    """

    def __init__(
        self, max_requests: int = MAX_REQUESTS, max_header_bytes: int = MAX_HEADER_BYTES
    ) -> None:
        self._max_requests = max_requests
        self._max_header_bytes = max_header_bytes
        # Some clients use one id for all of their requests.
        self._requests: dict[str, deque[PendingRequest]] = {}
        self._count = 0
        self._size = 0
        self.executions = 0

    def __len__(self) -> int:
        return self._count

    def sent(self, request: ClientMessage) -> None:
        """
        A request leaves for the kernel.
        """
        msg_type = request.msg_type
        if msg_type not in REPLIED_TO:
            return
        header = request.parts[0]
        self._size += len(header)
        while self._count and (
            self._count >= self._max_requests or self._size > self._max_header_bytes
        ):
            self._forget(next(iter(self._requests)))
        waiting = PendingRequest(request.channel, msg_type, header)
        with_this_id = self._requests.get(request.msg_id)
        if with_this_id is None:
            self._requests[request.msg_id] = deque((waiting,))
        else:
            with_this_id.append(waiting)
        self._count += 1
        self.executions += msg_type == EXECUTE_REQUEST

    def replied(self, reply: KernelMessage) -> None:
        """
        A message came on a channel of requests.
        """
        msg_id = reply.parent.msg_id
        if msg_id in self._requests and reply.header.msg_type != INPUT_REQUEST:
            self._forget(msg_id)

    def _forget(self, msg_id: str) -> None:
        with_this_id = self._requests[msg_id]
        first = with_this_id.popleft()
        if not with_this_id:
            del self._requests[msg_id]
        self._count -= 1
        self._size -= len(first.header)
        self.executions -= first.msg_type == EXECUTE_REQUEST

    def take_all(self) -> list[PendingRequest]:
        """
        :return: Those that are not answered, in order; they are forgotten.
        """
        lost, self._requests = self._requests, {}
        self._count = self._size = self.executions = 0
        return [waiting for with_one_id in lost.values() for waiting in with_one_id]


def substitute_replies(
    request: PendingRequest, gone: KernelGone, session: str, username: str = USERNAME
) -> Iterator[KernelMessage]:
    """
    Answer a request in place of a kernel that cannot any more.

    :return: The reply, on the request's channel; then what goes to everybody on iopub.
    """
    error = {
        "ename": gone.ename,
        "evalue": gone.evalue,
        "traceback": [f"{gone.ename}: {gone.evalue}"],
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


# Nobody knows how much is missing.
LOST_OUTPUT_NOTICE = (
    "kgd: the kernel has lost the end of this output, probably because it printed faster than that "
    "could be sent.\n"
)


def substitute_idle(
    parent: bytes, session: str, username: str
) -> Iterator[tuple[KernelMessage, str | None]]:
    """
    :param parent: The header of the request whose end is lost.
    :return: What the kernel should have said on iopub, each with the state that it tells.
    """
    for msg_type, content, state in (
        ("stream", {"name": "stderr", "text": LOST_OUTPUT_NOTICE}, None),
        ("status", {"execution_state": "idle"}, "idle"),
    ):
        encoded = msgspec.json.encode(content)
        yield (
            make_kernel_message(msg_type, encoded, session, time.time(), parent, username=username),
            state,
        )
