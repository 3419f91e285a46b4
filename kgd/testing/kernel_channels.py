"""
Fakes of a kernel's channels, their clients and the relay that opens them.

They behave as the interfaces say, without a kernel: a test plays its part, and looks at what was
done with them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

import msgspec
from zope.interface import implementer

from kgd.interfaces import (
    GATEWAY_SHUTDOWN_REASON,
    ClientStats,
    IAttachment,
    IClient,
    IKernelChannels,
    IKernelObserver,
    IRelay,
)
from kgd.protocol.connection_file import ConnectionInfo, CurveKeys
from kgd.protocol.messages import ClientMessage, KernelMessage, MsgId, make_kernel_message
from kgd.protocol.rfc6455 import GOING_AWAY, NORMAL
from kgd.relay.pending import KernelGone, PendingRequests, substitute_replies
from kgd.relay.turns import Turn, TurnQueue


@implementer(IClient)
class FakeClient:
    """
    A client that keeps what it gets.

    :ivar messages: The messages that were delivered.
    :ivar closed: Code and reason of each :py:meth:`close`.
    :ivar undelivered: What :py:meth:`take_undelivered` returns.
    :ivar requests_paused: Whether it is told to send no more requests.
    """

    unsent: int = 0

    def __init__(self) -> None:
        self.messages: list[KernelMessage] = []
        self.closed: list[tuple[int, str]] = []
        self.undelivered: list[KernelMessage] = []
        self.requests_paused = False

    def types(self, channel: str | None = None) -> list[str]:
        """
        :return: The types of the messages, on one channel or on all.
        """
        return [each.header.msg_type for each in self.messages if channel in (None, each.channel)]

    def deliver(self, message: KernelMessage) -> None:
        assert not self.closed, "a message was delivered after the client was closed"
        self.messages.append(message)

    def pause_requests(self) -> None:
        self.requests_paused = True

    def resume_requests(self) -> None:
        self.requests_paused = False

    def take_undelivered(self) -> Sequence[KernelMessage]:
        return self.undelivered

    def close(self, code: int, reason: str) -> None:
        self.closed.append((code, reason))


@implementer(IKernelObserver)
class FakeObserver:
    """
    A kernel that keeps what the relay tells it.

    :ivar ready: How many times it became ready.
    :ivar seeding: Whether a seed has begun to run.
    :ivar failed: Index and error of the cell of the seed that failed.
    :ivar messages: Type, type of the parent and state of each message on iopub.
    :ivar shells: The shell of each of them that tells a state.
    """

    def __init__(self) -> None:
        self.ready = 0
        self.seeding = False
        self.failed: tuple[int, str] | None = None
        self.messages: list[tuple[str, str, str | None]] = []
        self.shells: list[bytes] = []

    def became_ready(self) -> None:
        self.ready += 1

    def began_seeding(self) -> None:
        self.seeding = True

    def seeding_failed(self, index: int, error: str) -> None:
        self.failed = (index, error)

    def published(
        self,
        msg_type: str,
        parent_type: str,
        execution_state: str | None,
        shell: bytes = b"",
        msg_id: MsgId = "",
    ) -> None:
        self.messages.append((msg_type, parent_type, execution_state))
        if execution_state is not None:
            self.shells.append(shell)


@implementer(IAttachment)
class FakeAttachment:
    """
    A client's connection to a fake kernel.

    :ivar requests: What the client sent.
    :ivar paused: Whether messages wait until :py:meth:`resume`.
    :ivar client: The client, or ``None`` while it is away.
    :ivar is_internal: Whether the client is a part of the gateway.
    :ivar is_connection: Whether it counts as a connection.
    :ivar pending_requests: Requests without a reply.
    """

    def __init__(
        self,
        session_id: str,
        client: IClient,
        is_internal: bool = False,
        detached: Callable[[FakeAttachment], None] | None = None,
        turns: TurnQueue | None = None,
    ) -> None:
        self.session_id: str = session_id
        self.client: IClient | None = client
        self.is_internal = is_internal
        self.is_connection = True
        self.requests: list[ClientMessage] = []
        self.pending_requests = PendingRequests()
        self.paused = False
        self._detached = detached
        self._turns = TurnQueue(lambda: 0) if turns is None else turns
        self._queue: list[KernelMessage] = []

    def deliver(self, message: KernelMessage) -> None:
        """
        Deliver a message of the kernel, now or when the client can take it.
        """
        if message.channel != "iopub":
            self.pending_requests.replied(message)
        if self.paused or self.client is None:
            self._queue.append(message)
        else:
            self.client.deliver(message)
        self._turns.send_next()

    def send(self, request: ClientMessage) -> None:
        self.requests.append(request)
        self.pending_requests.sent(request)

    def send_in_turn(self, request: ClientMessage, sent: Callable[[], None]) -> Callable[[], bool]:
        def send(request: ClientMessage) -> None:
            sent()
            self.send(request)

        turn = Turn(request, send, self, needs_idle=True)
        self._turns.add(turn)
        return partial(self._turns.withdraw, turn)

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False
        queue, self._queue = self._queue, []
        for message in queue:
            self.deliver(message)

    def replace(self, client: IClient) -> None:
        """
        Let another client take the place of the last one.
        """
        if self.client is not None:
            self._queue[:0] = self.client.take_undelivered()
            self.client.close(NORMAL, "Replaced by a newer connection")
        self.client = client
        self.resume()

    def detach(self, client: IClient) -> None:
        if self.client is client:
            self._queue[:0] = client.take_undelivered()
            self.client = None
            if self._detached is not None:
                self._detached(self)


@implementer(IKernelChannels)
class FakeChannels:
    """
    Channels without a kernel.

    :ivar attachments: ``session_id`` to attachment, with those of clients that are away.
    :ivar connection: What they are connected to, or ``None``.
    :ivar control_requests: The gateway's own requests: ``shutdown``, ``restart``, ``interrupt``.
    :ivar statuses: The states of :py:meth:`publish_status`.
    :ivar status_reason: The reason of the latest of them.
    :ivar clients_closed: Code and reason of :py:meth:`close_clients`.
    :ivar closed: Code and reason of :py:meth:`close`.
    :ivar on_shutdown: Called with ``restart`` when a shutdown is requested; a test sets it to end
        the kernel.
    :ivar error: What :py:meth:`connect` raises as long as it is not ``None``.
    :ivar pending_executions: A number that a test sets.
    :ivar promised_files: Another.
    :ivar seed: What :py:meth:`connect` was told to run; nothing runs it.
    :ivar disconnect_errors: Name and value of the errors that requests without a reply got.
    """

    def __init__(self, observer: IKernelObserver | None = None) -> None:
        self.observer = observer
        self.attachments: dict[str, FakeAttachment] = {}
        self.connection: ConnectionInfo | None = None
        self.pending_executions: int = 0
        self.promised_files: int = 0
        self.control_requests: list[str] = []
        self.statuses: list[str] = []
        self.status_reason = ""
        self.clients_closed: tuple[int, str] | None = None
        self.closed: tuple[int, str] | None = None
        self.on_shutdown: Callable[[bool], None] = lambda _restart: None
        self.error: Exception | None = None
        self.disconnect_errors: list[tuple[str, str]] = []
        self.seed: tuple[str, ...] = ()
        self._nameless = 0
        self._turns = TurnQueue(self._running)

    def _running(self) -> int:
        return sum(each.pending_requests.executions for each in self.attachments.values())

    @property
    def connections(self) -> int:
        attachments = self.attachments.values()
        return sum(each.client is not None and each.is_connection for each in attachments)

    def has_client(self, session_id: str | None) -> bool:
        return session_id in self.attachments

    def client_stats(self) -> ClientStats:
        clients = [each for each in self.attachments.values() if not each.is_internal]
        present = sum(each.client is not None for each in clients)
        return ClientStats(present=present, away=len(clients) - present)

    def answer(self) -> None:
        """
        Let the kernel answer for the first time.
        """
        if self.observer is not None:
            self.observer.became_ready()

    def publish(
        self, msg_type: str, parent_type: str = "", execution_state: str | None = None
    ) -> None:
        """
        Tell the kernel's observer that a message came on iopub; clients do not get it.
        """
        if self.observer is not None:
            self.observer.published(msg_type, parent_type, execution_state)

    def connect(self, connection: ConnectionInfo, seed: Sequence[str] = ()) -> None:
        if self.closed is not None:
            return
        self.seed = tuple(seed)
        if self.error is not None:
            raise self.error
        self.connection = connection

    def disconnect(self, ename: str, evalue: str) -> None:
        self.connection = None
        self.disconnect_errors.append((ename, evalue))
        gone = KernelGone(ename, evalue)
        for attachment in self.attachments.values():
            for request in attachment.pending_requests.take_all():
                for message in substitute_replies(request, gone, attachment.session_id):
                    self._deliver(attachment, message)

    def _deliver(self, attachment: FakeAttachment, message: KernelMessage) -> None:
        everyone = tuple(self.attachments.values())
        for each in everyone if message.channel == "iopub" else (attachment,):
            each.deliver(message)

    def request_shutdown(self, restart: bool) -> None:
        self.control_requests.append("restart" if restart else "shutdown")
        self.on_shutdown(restart)

    def request_interrupt(self) -> None:
        self.control_requests.append("interrupt")

    def publish_status(self, execution_state: str, reason: str = "") -> None:
        self.statuses.append(execution_state)
        self.status_reason = reason
        for attachment in tuple(self.attachments.values()):
            attachment.deliver(self._last_status(attachment.session_id))

    def _last_status(self, session: str) -> KernelMessage:
        told = {"execution_state": self.statuses[-1]}
        if self.status_reason:
            told["reason"] = self.status_reason
        return make_kernel_message("status", msgspec.json.encode(told), session, time.time())

    def attach(
        self,
        session_id: str | None,
        client: IClient,
        *,
        is_internal: bool = False,
        is_connection: bool = True,
    ) -> IAttachment:
        present = self.attachments.get(session_id) if session_id is not None else None
        if present is not None:
            present.replace(client)
            return present
        if session_id is None:
            self._nameless += 1
            name = f"nameless-{self._nameless}"
        else:
            name = session_id
        detached = self._forget if session_id is None else None
        attachment = FakeAttachment(name, client, is_internal, detached, self._turns)
        attachment.is_connection = is_connection
        if self.closed is not None:
            if self.statuses:
                attachment.deliver(self._last_status(name))
            client.close(*self.closed)
            return attachment
        self.attachments[name] = attachment
        return attachment

    def _forget(self, attachment: FakeAttachment) -> None:
        self.attachments.pop(attachment.session_id, None)

    def close_clients(self, code: int, reason: str) -> None:
        self.clients_closed = (code, reason)
        attachments, self.attachments = self.attachments, {}
        for attachment in attachments.values():
            client, attachment.client = attachment.client, None
            if client is not None:
                client.close(code, reason)

    def close(self, code: int, reason: str) -> None:
        if self.closed is None:
            self.closed = (code, reason)
            self.connection = None
            self.close_clients(code, reason)


@implementer(IRelay)
class FakeRelay:
    """
    Opens :py:class:`FakeChannels`.

    :ivar opened: Kernel id to its latest channels.
    :ivar running: Whether it was started, and not stopped since.
    """

    def __init__(self) -> None:
        self.opened: dict[str, FakeChannels] = {}
        self.running = False
        self._keys = 0

    def open(self, kernel_id: str, observer: IKernelObserver) -> IKernelChannels:
        if not self.running:
            raise RuntimeError("the relay is not running; call start() first")
        channels = self.opened[kernel_id] = FakeChannels(observer)
        return channels

    def new_curve_keys(self) -> CurveKeys:
        self._keys += 1
        return CurveKeys(b"%040d" % self._keys, b"%040d" % -self._keys)

    def start(self) -> None:
        self.running = True

    def stop(self) -> None:
        self.running = False
        for channels in self.opened.values():
            channels.close(GOING_AWAY, GATEWAY_SHUTDOWN_REASON)
