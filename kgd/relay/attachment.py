"""
One client's hold on a kernel.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

import msgspec
from zope.interface import implementer

from kgd.interfaces import IAttachment, IClient
from kgd.logs import make_logger
from kgd.protocol.messages import Outgoing, Request, own_message
from kgd.relay.wires import Wires

# How much may wait for a client that does not read, and how much for a kernel that does not listen.
OUTGOING_BOUND = 32 * 1024 * 1024
INCOMING_BOUND = 32 * 1024 * 1024
# With more than this waiting, a client counts as lagging, until it is down to half of it.
LAG = 4 * 1024 * 1024

# What a client can do without. Everything else (status, replies, errors, prompts, comms) it needs.
DROPPABLE = frozenset({"stream", "display_data", "update_display_data", "execute_result"})

TRY_AGAIN_LATER = 1013
POLICY_VIOLATION = 1008


@implementer(IAttachment)
class Attachment:
    """
    Routes one client's requests to the kernel, and queues what the client does not take at once.

    :ivar session_id: The name under which the client may come back.
    :ivar outstanding: How many of the client's requests the kernel has not answered.
    :ivar lags: Whether much is waiting for the client.
    :ivar delivered: How many bytes the client took after they had waited.
    :param lag_changed: Called when that has changed.
    """

    _log = make_logger()

    def __init__(
        self,
        session_id: str,
        client: IClient,
        forget: Callable[[Attachment], None],
        lag_changed: Callable[[], None],
    ) -> None:
        self.session_id = session_id
        self.outstanding = 0
        self.lags = False
        self.delivered = 0
        self._client: IClient = client
        self._forget = forget
        self._lag_changed = lag_changed
        self._wires: Wires | None = None
        self._admitted = False
        self._paused = False
        self._ended = False
        self._pending: deque[Request] = deque()
        self._pending_size = 0
        self._queue: deque[Outgoing] = deque()
        self._queue_size = 0
        self._dropped_messages = 0
        self._dropped_bytes = 0

    # --- from the client to the kernel ---

    def send(self, request: Request) -> None:
        """
        Pass a client's message on; without a kernel that listens, keep it.
        """
        if request.channel not in ("shell", "control", "stdin"):
            self._log.warn(
                "ignoring a {msg_type} on channel {channel!r}, which takes no requests",
                msg_type=request.msg_type,
                channel=request.channel,
            )
            return
        if self._wires is None:
            self._pending.append(request)
            self._pending_size += request.size
            backlog = self._pending_size
        else:
            self._wires.send(request)
            backlog = self._wires.backlog
        if backlog > INCOMING_BOUND:
            self.end(TRY_AGAIN_LATER, "more requests than the kernel takes")

    def connect(self, wires: Wires) -> None:
        """
        The kernel listens: send it what has been waiting.
        """
        self._wires = wires
        self._admitted = True
        while self._pending:
            wires.send(self._pending.popleft())
        self._pending_size = 0

    def disconnect(self) -> Wires | None:
        """
        The kernel's process is gone. Requests wait for the next one.

        :return: The wires, for the caller to close.
        """
        wires, self._wires = self._wires, None
        return wires

    # --- from the kernel to the client ---

    def publish(self, message: Outgoing) -> None:
        """
        Deliver a message from iopub, unless it is older than the client's first request could be.
        """
        if self._admitted:
            self.deliver(message)

    def deliver(self, message: Outgoing) -> None:
        """
        Deliver a message now, or when the client can take it.
        """
        if not self._paused:
            self._client.deliver(message)
            return
        if self._ended:
            return
        if self._queue_size > OUTGOING_BOUND:
            if message.header.msg_type in DROPPABLE and message.channel == "iopub":
                self._dropped_messages += 1
                self._dropped_bytes += message.size
                return
            if self._queue_size > 2 * OUTGOING_BOUND:
                self.end(POLICY_VIOLATION, "the client does not read what it is sent")
                return
        self._queue.append(message)
        self._queue_size += message.size
        if self._queue_size > LAG and not self.lags:
            self.lags = True
            self._lag_changed()

    def pause(self) -> None:
        """
        The client cannot take more.
        """
        self._paused = True

    def resume(self) -> None:
        """
        The client can take more: first what is queued, then word of what was dropped.
        """
        self._paused = False
        queue = self._queue
        while queue and not self._paused:
            message = queue.popleft()
            self._queue_size -= message.size
            self.delivered += message.size
            self._client.deliver(message)
        if self.lags and self._queue_size < LAG // 2:
            self.lags = False
            self._lag_changed()
        if self._dropped_messages and not self._paused:
            self._client.deliver(self._notice())
            self._dropped_messages = self._dropped_bytes = 0

    def _notice(self) -> Outgoing:
        text = (
            f"kgd: {self._dropped_messages} messages ({self._dropped_bytes} bytes) of output were "
            f"dropped here, because this client did not read them in time.\n"
        )
        content = msgspec.json.encode({"name": "stderr", "text": text})
        return own_message("stream", content, self.session_id, time.time())

    def tell(self, msg_type: str, content: bytes) -> None:
        """
        Deliver a message of the gateway's own.
        """
        self.deliver(own_message(msg_type, content, self.session_id, time.time()))

    # --- coming and going ---

    def replace(self, client: IClient) -> None:
        """
        Another client takes the place of the present one, and gets what that one had not yet taken.
        """
        self._client.close(1000, "Replaced by a newer connection")
        self._client = client
        self.resume()

    def detach(self, client: IClient) -> None:
        """
        The client went.
        """
        if client is self._client:
            self._forget(self)

    def end(self, code: int, reason: str) -> None:
        """
        Close the client, after what is queued for it.
        """
        if self._ended:
            return
        self._ended = True
        self._forget(self)
        for message in self._queue:
            self._client.deliver(message)
        self._queue.clear()
        self._client.close(code, reason)
