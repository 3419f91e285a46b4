"""
Requests that the kernel has not answered.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator

import attrs
import msgspec

from kgd.protocol.messages import Outgoing, Request, own_message

_REQUEST = "_request"


@attrs.frozen
class Loss:
    """
    Why requests will not be answered any more.

    :ivar ename: A name as of an exception: ``KernelDied`` or ``KernelRestarted``.
    """

    ename: str
    evalue: str


class Outstanding:
    """
    One client's requests to one process of the kernel, until they are answered.
    """

    def __init__(self) -> None:
        # Some clients use one id for all of their requests.
        self._requests: dict[str, deque[Request]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._requests.values()))

    def sent(self, request: Request) -> None:
        """
        A request leaves for the kernel.
        """
        if not request.msg_type.endswith(_REQUEST):
            return
        with_this_id = self._requests.get(request.msg_id)
        if with_this_id is None:
            self._requests[request.msg_id] = deque((request,))
        else:
            with_this_id.append(request)

    def answered(self, reply: Outgoing) -> None:
        """
        A message came on a channel of requests.
        """
        if reply.header.msg_type == "input_request":
            return
        msg_id = reply.parent.msg_id
        with_this_id = self._requests.get(msg_id)
        if with_this_id is not None:
            with_this_id.popleft()
            if not with_this_id:
                del self._requests[msg_id]

    def lose(self) -> list[Request]:
        """
        :return: Those that are not answered, in order; they are forgotten.
        """
        lost, self._requests = self._requests, {}
        return [request for with_one_id in lost.values() for request in with_one_id]


def substitutes(request: Request, loss: Loss, session: str) -> Iterator[Outgoing]:
    """
    Answer a request in place of a kernel that cannot any more.

    :return: The reply, on the request's channel; then what goes to everybody on iopub.
    """
    error = {
        "ename": loss.ename,
        "evalue": loss.evalue,
        "traceback": [f"{loss.ename}: {loss.evalue}"],
    }
    parent = bytes(request.parts[0])
    kind = request.msg_type.removesuffix(_REQUEST)
    is_code = kind == "execute"
    reply: dict[str, object] = {"status": "error", **error}
    if is_code:
        reply |= {"execution_count": 0, "user_expressions": {}, "payload": []}

    def message(channel: str, msg_type: str, content: dict[str, object]) -> Outgoing:
        encoded = msgspec.json.encode(content)
        return own_message(msg_type, encoded, session, time.time(), parent, channel)

    yield message(request.channel, f"{kind}_reply", reply)
    if is_code:
        yield message("iopub", "error", dict(error))
    yield message("iopub", "status", {"execution_state": "idle"})
