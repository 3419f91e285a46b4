"""
One client's hold on a kernel.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec
from twisted.internet.interfaces import IDelayedCall
from zope.interface import implementer

from kgd.interfaces import IAttachment, IClient
from kgd.observability.counters import Counters
from kgd.observability.logs import make_logger
from kgd.observability.scrubbing import shortened
from kgd.protocol.messages import ClientMessage, KernelMessage, make_kernel_message
from kgd.protocol.rfc6455 import NORMAL, POLICY_VIOLATION, TRY_AGAIN_LATER
from kgd.relay.backlog import OVERHEAD, Backlog
from kgd.relay.connection import ClientSockets
from kgd.relay.pending import PendingRequests
from kgd.relay.rate_limit import RateLimiter
from kgd.settings import Settings

# How much may wait for a kernel that does not listen.
INCOMING_BOUND = 32 * 1024 * 1024
# Characters of what clients call something, in a log; it may have megabytes.
LONGEST_NAME = 100
# With more than this waiting, a client counts as lagging, until it is down to half of it.
LAG = 4 * 1024 * 1024

_SLOW = "this client did not read them in time"
_AWAY = (
    "they were more than is kept for a client that is away, "
    "which --replay-bytes and --replay-messages of the gateway decide"
)


@implementer(IAttachment)
class Attachment:
    """
    Routes one client's requests to the kernel, and keeps what the client does not take at once or
    what comes while it is away.

    :ivar session_id: The name under which the client may come back.
    :ivar outstanding: The requests that the kernel's present process has not answered.
    :ivar lags: Whether much is waiting for the client.
    :ivar kept: How large the latest message is that had to wait, in bytes.
    :ivar is_ours: Whether the client is a part of the gateway.
    :param durable: Whether the client knows the name.
    :param left: Called when the client has gone, and may come back.
    :param forget: Called when it will not come back.
    :param lag_changed: Called when ``lags`` has changed.
    """

    _log = make_logger()

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        session_id: str,
        client: IClient,
        *,
        durable: bool,
        is_ours: bool = False,
        left: Callable[[Attachment], None],
        forget: Callable[[Attachment], None],
        lag_changed: Callable[[], None],
        counters: Counters | None = None,
    ) -> None:
        self.session_id = session_id
        self.outstanding = PendingRequests()
        self.lags = False
        self.kept = 0
        self._delivered = 0
        self._reactor = reactor
        self._settings = settings
        self.is_ours = is_ours
        self._counters = counters or Counters()
        self._durable = durable and settings.buffer_offline_messages
        self._left = left
        self._forget = forget
        self._lag_changed = lag_changed
        self._wires: ClientSockets | None = None
        self._admitted = False
        self._ended = False
        self._pending: deque[ClientMessage] = deque()
        self._pending_size = 0
        self._backlog = Backlog(session_id, settings.username)
        self._absence: IDelayedCall | None = None
        self._client: IClient | None
        self._welcome(client)

    @property
    def is_present(self) -> bool:
        """
        Whether there is a client at the moment.
        """
        return self._client is not None

    @property
    def queued(self) -> int:
        """
        How many messages wait for the client, or for its coming back.
        """
        return len(self._backlog)

    @property
    def queued_size(self) -> int:
        """
        How many bytes do, those included that wait in its connection.
        """
        unsent = self._client.unsent if self._client is not None else 0
        return self._backlog.size + unsent

    @property
    def taken(self) -> int:
        """
        How many bytes of what had to wait the client has taken, counted as the backlog counts them.
        """
        return self._delivered - (self._client.unsent if self._client is not None else 0)

    # --- from the client to the kernel ---

    def send(self, request: ClientMessage) -> None:
        """
        Pass a client's message on; without a kernel that listens, keep it.
        """
        if not self._may_pass(request):
            return
        if self._wires is None:
            self._pending.append(request)
            self._pending_size += request.size
            backlog = self._pending_size
        else:
            self.outstanding.sent(request)
            self._wires.send(request)
            backlog = self._wires.backlog
        if backlog > INCOMING_BOUND:
            self.end(TRY_AGAIN_LATER, "more requests than the kernel takes")

    def _may_pass(self, request: ClientMessage) -> bool:
        if request.channel not in ("shell", "control", "stdin"):
            self._log.warn(
                "ignoring a {msg_type} on channel {channel!r}, which takes no requests",
                msg_type=shortened(request.msg_type, LONGEST_NAME),
                channel=shortened(request.channel, LONGEST_NAME),
            )
            return False
        allowed = self._settings.allowed_message_types
        if allowed and request.msg_type not in allowed and not self.is_ours:
            self._log.warn(
                "ignoring a {msg_type}, which is not among --allowed-message-types",
                msg_type=shortened(request.msg_type, LONGEST_NAME),
            )
            return False
        return True

    def connect(self, wires: ClientSockets) -> None:
        """
        The kernel listens: send it what has been waiting.
        """
        self._wires = wires
        self._admitted = True
        while self._pending:
            request = self._pending.popleft()
            self.outstanding.sent(request)
            wires.send(request)
        self._pending_size = 0

    def disconnect(self) -> ClientSockets | None:
        """
        The kernel's process is gone. Requests wait for the next one.

        :return: The wires, for the caller to close.
        """
        wires, self._wires = self._wires, None
        return wires

    # --- from the kernel to the client ---

    def publish(self, message: KernelMessage) -> None:
        """
        Deliver a message from iopub, unless it is older than the client's first request could be.
        """
        if self._admitted and (self._limiter is None or self._is_within_limits(message)):
            self.deliver(message)

    def _is_within_limits(self, message: KernelMessage) -> bool:
        assert self._limiter is not None
        within, warning = self._limiter.judge(message)
        if not within:
            self._counters.too_fast.add(message.size)
        if warning:
            self.tell("stream", {"name": "stderr", "text": warning}, bytes(message.parts[1]))
        return within

    def answer(self, message: KernelMessage) -> None:
        """
        Deliver a message from a channel of requests.
        """
        self.outstanding.answered(message)
        self.deliver(message)

    def deliver(self, message: KernelMessage) -> None:
        """
        Deliver a message now, or when the client can take it.
        """
        if self._paused:
            self._keep(message)
        else:
            assert self._client is not None
            self._client.deliver(message)

    def tell(self, msg_type: str, content: dict[str, str], parent: bytes = b"{}") -> None:
        """
        Deliver a message of the gateway's own.
        """
        encoded = msgspec.json.encode(content)
        username = self._settings.username
        self.deliver(
            make_kernel_message(
                msg_type, encoded, self.session_id, time.time(), parent, username=username
            )
        )

    def _keep(self, message: KernelMessage) -> None:
        if self._ended:
            return
        self.kept = message.size
        if not self._backlog.add(message):
            self.end(POLICY_VIOLATION, "the client does not read what it is sent")
        elif self._backlog.size > LAG and not self.lags and self.is_present:
            self.lags = True
            self._lag_changed()

    def pause(self) -> None:
        """
        The client cannot take more.
        """
        self._paused = True

    def resume(self) -> None:
        """
        The client can take more, of what has been waiting first.
        """
        self._paused = False
        assert self._client is not None
        while self._backlog and not self._paused:
            message = self._backlog.pop()
            self._delivered += message.size + OVERHEAD
            self._client.deliver(message)
        if self.lags and self._backlog.size < LAG // 2:
            self.lags = False
            self._lag_changed()

    # --- coming and going ---

    def _welcome(self, client: IClient) -> None:
        self._client = client
        self._paused = False
        settings = self._settings
        self._limiter = (
            RateLimiter(settings, self._reactor.seconds)
            if settings.limit_rate and not self.is_ours
            else None
        )
        self._backlog.limit(settings.max_client_backlog, None, _SLOW, self._counters.slow)

    def replace(self, client: IClient) -> None:
        """
        A client takes the place of the present one, or of one that went; it gets what that one had
        not yet taken.
        """
        self._end_absence()
        if self._client is not None:
            self._backlog.put_back(self._client.take_undelivered())
            self._client.close(NORMAL, "Replaced by a newer connection")
        self._welcome(client)
        self.resume()

    def detach(self, client: IClient) -> None:
        """
        The client went.
        """
        if client is not self._client or self._ended:
            return
        if not self._durable:
            self._forget(self)
            return
        settings = self._settings
        self._backlog.put_back(client.take_undelivered())
        self._client = None
        self._paused = True
        # What is kept is limited in other ways.
        self._limiter = None
        self._backlog.limit(
            settings.replay_bytes, settings.replay_messages, _AWAY, self._counters.away
        )
        self.lags = False
        self._absence = self._reactor.callLater(settings.replay_seconds, self._give_up)
        self._left(self)

    def _give_up(self) -> None:
        self._absence = None
        self.end(POLICY_VIOLATION, "")

    def _end_absence(self) -> None:
        absence, self._absence = self._absence, None
        if absence is not None:
            absence.cancel()

    def end(self, code: int, reason: str) -> None:
        """
        Close the client, after what is queued for it, and keep nothing.
        """
        if self._ended:
            return
        self._ended = True
        self._end_absence()
        self._forget(self)
        if self._client is not None:
            while self._backlog:
                self._client.deliver(self._backlog.pop())
            self._client.close(code, reason)
        else:
            self._backlog.give_up()
