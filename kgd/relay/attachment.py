"""
Connects one client to a kernel, and queues messages while the client is slow or away.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
from twisted.internet.interfaces import IDelayedCall
from zope.interface import implementer

from kgd.errors import is_out_of_files
from kgd.interfaces import IAttachment, IClient
from kgd.observability.counters import Counters
from kgd.observability.logs import make_logger
from kgd.observability.scrubbing import shortened
from kgd.protocol.message_types import EXECUTE_REQUEST
from kgd.protocol.messages import ClientMessage, KernelMessage, make_kernel_message
from kgd.protocol.rfc6455 import NORMAL, POLICY_VIOLATION, TRY_AGAIN_LATER
from kgd.relay.backlog import Backlog
from kgd.relay.connection import ClientSockets
from kgd.relay.limits import MESSAGE_OVERHEAD, RELAY_LIMITS, RelayLimits
from kgd.relay.pending import PendingRequests
from kgd.relay.rate_limit import RateLimiter
from kgd.relay.turns import Turn, TurnQueue
from kgd.settings import Settings

# Characters of a name that a client has chosen, in a log. It may have megabytes.
MAX_LOGGED_NAME = 100

_SLOW_CLIENT = "this client did not read them in time"
_AWAY_CLIENT = (
    "they were more than is kept for a client that is away, "
    "which --replay-bytes and --replay-messages of the gateway decide"
)


@implementer(IAttachment)
class Attachment:
    """
    Passes one client's requests to the kernel and the kernel's messages to the client; queues what
    the client does not take at once, and what comes while it is away.

    :ivar session_id: The name under which the client may come back.
    :ivar pending_requests: The requests that the kernel's present process has not replied to.
    :ivar is_lagging: Whether much is waiting for the client.
    :ivar last_queued_size: How large the latest message is that had to wait, in bytes.
    :ivar is_internal: Whether the client is a part of the gateway.
    :ivar is_connection: Whether it counts as a connection while the client is present.
    :ivar turns: The kernel's queue of turns, if anybody uses it.
    :param durable: Whether the client knows the name, so that it can come back.
    :param on_detached: Called when the client has left and may come back.
    :param on_removed: Called when it cannot come back.
    :param on_lag_changed: Called when ``is_lagging`` has changed.
    :param use_turns: Returns the kernel's queue of turns, from now on also that of all other
        attachments.
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
        is_internal: bool = False,
        is_connection: bool = True,
        on_detached: Callable[[Attachment], None],
        on_removed: Callable[[Attachment], None],
        on_lag_changed: Callable[[], None],
        use_turns: Callable[[], TurnQueue] = lambda: TurnQueue(lambda: 0),
        counters: Counters | None = None,
        limits: RelayLimits = RELAY_LIMITS,
    ) -> None:
        self.session_id = session_id
        self.pending_requests = PendingRequests(limits)
        self.is_lagging = False
        self.last_queued_size = 0
        self._delivered = 0
        self._reactor = reactor
        self._settings = settings
        self.is_internal = is_internal
        self.is_connection = is_connection
        self._counters = counters or Counters()
        self._max_unsent_requests = limits.max_unsent_requests
        self._lag_threshold = limits.lag_threshold
        self._durable = durable and settings.buffer_offline_messages
        self._on_detached = on_detached
        self._on_removed = on_removed
        self._on_lag_changed = on_lag_changed
        self._use_turns = use_turns
        self.turns: TurnQueue | None = None
        self._client_sockets: ClientSockets | None = None
        # How many of them it had to the last process.
        self._sockets_before = 0
        self._receives_iopub = False
        self._closed = False
        self._unsent_requests: deque[ClientMessage] = deque()
        self._unsent_size = 0
        self._requests_paused = False
        self._backlog = Backlog(session_id, settings.username)
        self._replay_timeout: IDelayedCall | None = None
        self._client: IClient | None
        self._set_client(client)

    @property
    def is_present(self) -> bool:
        """
        Whether the client is connected.
        """
        return self._client is not None

    @property
    def queued(self) -> int:
        """
        How many messages wait until the client can take them or comes back.
        """
        return len(self._backlog)

    @property
    def queued_size(self) -> int:
        """
        How many bytes wait, including those in the client's connection.
        """
        unsent = self._client.unsent if self._client is not None else 0
        return self._backlog.size + unsent

    @property
    def taken_size(self) -> int:
        """
        How many bytes of what had to wait the client has taken, counted as the backlog counts them.
        """
        return self._delivered - (self._client.unsent if self._client is not None else 0)

    @property
    def promised_sockets(self) -> int:
        """
        How many sockets it will open as soon as there is a process.
        """
        if self._client_sockets is not None:
            return 0
        # Code needs shell and stdin.
        return max(self._sockets_before, 2 if self._unsent_requests else 0)

    # --- from the client to the kernel ---

    def send(self, request: ClientMessage) -> None:
        if self._closed or not self._may_pass(request):
            return
        if self.turns and request.msg_type == EXECUTE_REQUEST:
            self._unsent_size += request.size + MESSAGE_OVERHEAD
            self.turns.add(Turn(request, self._send_held, self, needs_idle=False))
        else:
            self._send(request)
        if self._waiting_size > self._max_unsent_requests and not self._requests_paused:
            self._requests_paused = True
            if self._client is not None:
                self._client.pause_requests()

    def send_in_turn(self, request: ClientMessage, sent: Callable[[], None]) -> Callable[[], bool]:
        def send(request: ClientMessage) -> None:
            sent()
            self._send(request)

        turns = self._use_turns()
        turn = Turn(request, send, self, needs_idle=True)
        turns.add(turn)
        return partial(turns.withdraw, turn)

    def _send_held(self, request: ClientMessage) -> None:
        self._unsent_size -= request.size + MESSAGE_OVERHEAD
        self._send(request)
        self.requests_taken()

    def _send(self, request: ClientMessage) -> None:
        if self._client_sockets is None:
            self._unsent_requests.append(request)
            self._unsent_size += request.size + MESSAGE_OVERHEAD
        else:
            self.pending_requests.sent(request)
            self._pass_on(self._client_sockets, request)

    @property
    def _waiting_size(self) -> int:
        """
        How many bytes of requests wait for the kernel.
        """
        if self._client_sockets is None:
            return self._unsent_size
        return self._unsent_size + self._client_sockets.backlog

    def requests_taken(self) -> None:
        """
        Read from the client again if the kernel has taken enough of what waited.
        """
        if self._requests_paused and self._waiting_size <= self._max_unsent_requests // 4:
            self._requests_paused = False
            if self._client is not None:
                self._client.resume_requests()

    def _pass_on(self, client_sockets: ClientSockets, request: ClientMessage) -> bool:
        """
        :return: Whether the client is still there: it is closed if there are too many open files
            for a socket to the kernel.
        """
        try:
            client_sockets.send(request)
        except Exception as error:
            if not is_out_of_files(error):
                raise
            self.close(TRY_AGAIN_LATER, "the gateway has too many open files")
            return False
        return True

    def _may_pass(self, request: ClientMessage) -> bool:
        if request.channel not in ("shell", "control", "stdin"):
            self._log.warn(
                "ignoring a {msg_type} on channel {channel!r}, which takes no requests",
                msg_type=shortened(request.msg_type, MAX_LOGGED_NAME),
                channel=shortened(request.channel, MAX_LOGGED_NAME),
            )
            return False
        allowed = self._settings.allowed_message_types
        if allowed and request.msg_type not in allowed and not self.is_internal:
            self._log.warn(
                "ignoring a {msg_type}, which is not among --allowed-message-types",
                msg_type=shortened(request.msg_type, MAX_LOGGED_NAME),
            )
            return False
        return True

    def connect(self, client_sockets: ClientSockets) -> None:
        """
        Send the process everything that has been waiting for it.
        """
        self._client_sockets = client_sockets
        self._receives_iopub = True
        while self._unsent_requests:
            request = self._unsent_requests.popleft()
            self._unsent_size -= request.size + MESSAGE_OVERHEAD
            self.pending_requests.sent(request)
            if not self._pass_on(client_sockets, request):
                return
        self.requests_taken()

    def disconnect(self) -> ClientSockets | None:
        """
        Let requests wait for the next process.

        :return: The sockets to the last one, for the caller to close.
        """
        client_sockets, self._client_sockets = self._client_sockets, None
        if client_sockets is not None:
            self._sockets_before = client_sockets.opened
        self.requests_taken()
        return client_sockets

    # --- from the kernel to the client ---

    def publish(self, message: KernelMessage) -> None:
        """
        Deliver a message from iopub, unless it came before any request of this client could have
        reached the kernel.
        """
        if self._receives_iopub and (self._limiter is None or self._is_within_rate(message)):
            self.deliver(message)

    def _is_within_rate(self, message: KernelMessage) -> bool:
        assert self._limiter is not None
        within, warning = self._limiter.check(message)
        if not within:
            self._counters.too_fast.add(message.size)
        if warning:
            self.deliver_from_gateway(
                "stream", {"name": "stderr", "text": warning}, bytes(message.parts[1])
            )
        return within

    def deliver_reply(self, message: KernelMessage) -> None:
        """
        Deliver a message from shell, control or stdin.
        """
        self.pending_requests.replied(message)
        self.deliver(message)
        if self.turns:
            self.turns.send_next()

    def deliver(self, message: KernelMessage) -> None:
        """
        Deliver a message now, or queue it until the client can take it.
        """
        if self._paused:
            self._enqueue(message)
        else:
            assert self._client is not None
            self._client.deliver(message)

    def deliver_from_gateway(
        self, msg_type: str, content: dict[str, str], parent: bytes = b"{}"
    ) -> None:
        """
        Deliver a message that the gateway makes itself.
        """
        encoded = msgspec.json.encode(content)
        username = self._settings.username
        self.deliver(
            make_kernel_message(
                msg_type, encoded, self.session_id, time.time(), parent, username=username
            )
        )

    def _enqueue(self, message: KernelMessage) -> None:
        if self._closed:
            return
        self.last_queued_size = message.size
        if not self._backlog.add(message):
            self.close(POLICY_VIOLATION, "the client does not read what it is sent")
        elif self._backlog.size > self._lag_threshold and not self.is_lagging and self.is_present:
            self.is_lagging = True
            self._on_lag_changed()

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        assert self._client is not None
        while self._backlog and not self._paused:
            message = self._backlog.pop()
            self._delivered += message.size + MESSAGE_OVERHEAD
            self._client.deliver(message)
        if self.is_lagging and self._backlog.size < self._lag_threshold // 2:
            self.is_lagging = False
            self._on_lag_changed()

    # --- coming and going ---

    def _set_client(self, client: IClient) -> None:
        self._client = client
        self._paused = False
        if self._requests_paused:
            client.pause_requests()
        settings = self._settings
        self._limiter = (
            RateLimiter(settings, self._reactor.seconds)
            if settings.limit_rate and not self.is_internal
            else None
        )
        self._backlog.set_limits(
            settings.max_client_backlog, None, _SLOW_CLIENT, self._counters.slow
        )

    def replace(self, client: IClient) -> None:
        """
        Give the attachment to another client, which gets what the last one has not taken. If the
        last one is still connected, it is closed.
        """
        self._cancel_replay_timeout()
        if self._client is not None:
            self._backlog.put_back(self._client.take_undelivered())
            self._client.close(NORMAL, "Replaced by a newer connection")
        self._set_client(client)
        self.resume()

    def detach(self, client: IClient) -> None:
        if client is not self._client or self._closed:
            return
        if not self._durable:
            self._on_removed(self)
            return
        settings = self._settings
        self._backlog.put_back(client.take_undelivered())
        self._client = None
        self._paused = True
        # The queue has limits of its own.
        self._limiter = None
        self._backlog.set_limits(
            settings.replay_bytes, settings.replay_messages, _AWAY_CLIENT, self._counters.away
        )
        self.is_lagging = False
        self._replay_timeout = self._reactor.callLater(
            settings.replay_seconds, self._replay_timed_out
        )
        self._on_detached(self)

    def _replay_timed_out(self) -> None:
        self._replay_timeout = None
        self.close(POLICY_VIOLATION, "")

    def _cancel_replay_timeout(self) -> None:
        timeout, self._replay_timeout = self._replay_timeout, None
        if timeout is not None:
            timeout.cancel()

    def close(self, code: int, reason: str) -> None:
        """
        Close the client, after what is queued for it. If it is away, discard that.
        """
        if self._closed:
            return
        self._closed = True
        self._cancel_replay_timeout()
        self._on_removed(self)
        if self._client is not None:
            while self._backlog:
                self._client.deliver(self._backlog.pop())
            self._client.close(code, reason)
        else:
            self._backlog.discard()
