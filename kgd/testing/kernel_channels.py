"""
Fakes of a kernel's channels and of the relay that opens them. They remember what was done with
them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
from kgd.protocol.messages import ClientMessage
from kgd.protocol.rfc6455 import GOING_AWAY, NORMAL


@implementer(IAttachment)
class FakeAttachment:
    """
    A client's hold on a fake kernel.

    :ivar requests: What the client sent.
    :ivar paused: Whether it can take no more.
    :ivar client: The client, or ``None`` after it went; call its ``deliver`` to send it a message.
    """

    def __init__(self, session_id: str, client: IClient) -> None:
        self.session_id: str = session_id
        self.client: IClient | None = client
        self.requests: list[ClientMessage] = []
        self.paused = False

    def send(self, request: ClientMessage) -> None:
        """
        Remember a message.
        """
        self.requests.append(request)

    def pause(self) -> None:
        """
        Remember that the client can take no more.
        """
        self.paused = True

    def resume(self) -> None:
        """
        Remember that the client can take more.
        """
        self.paused = False

    def detach(self, client: IClient) -> None:
        """
        Forget the client, unless another took its place.
        """
        if self.client is client:
            self.client = None


@implementer(IKernelChannels)
class FakeChannels:
    """
    Channels without a kernel.

    :ivar attachments: ``session_id`` to attachment, those without a client too.
    :ivar connection: What they are connected to, or ``None``.
    :ivar control_requests: The gateway's own requests: ``shutdown``, ``restart``, ``interrupt``.
    :ivar statuses: What was told to clients with :py:meth:`publish_status`.
    :ivar clients_closed: Code and reason of :py:meth:`close_clients`.
    :ivar closed: Code and reason of :py:meth:`close`.
    :ivar on_shutdown: Called with ``restart`` when a shutdown is asked for: what an obliging
        kernel does then.
    :ivar error: What :py:meth:`connect` raises as long as it is not ``None``.
    :ivar pending_executions: How many requests shall seem not to be answered.
    :ivar seed: What :py:meth:`connect` was told to run; nothing runs it.
    :ivar disconnect_errors: Name and value of the errors that unanswered requests got.
    """

    def __init__(self, observer: IKernelObserver | None = None) -> None:
        self.observer = observer
        self.attachments: dict[str, FakeAttachment] = {}
        self.connection: ConnectionInfo | None = None
        self.pending_executions: int = 0
        self.control_requests: list[str] = []
        self.statuses: list[str] = []
        self.clients_closed: tuple[int, str] | None = None
        self.closed: tuple[int, str] | None = None
        self.on_shutdown: Callable[[bool], None] = lambda _restart: None
        self.error: Exception | None = None
        self.disconnect_errors: list[tuple[str, str]] = []
        self.seed: tuple[str, ...] = ()

    @property
    def connections(self) -> int:
        """
        How many clients are attached.
        """
        return sum(each.client is not None for each in self.attachments.values())

    def client_stats(self) -> ClientStats:
        """
        How many clients there are, and how many have left.
        """
        away = len(self.attachments) - self.connections
        return ClientStats(present=self.connections, away=away)

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
        Let the kernel publish something.
        """
        if self.observer is not None:
            self.observer.published(msg_type, parent_type, execution_state)

    def connect(self, connection: ConnectionInfo, seed: Sequence[str] = ()) -> None:
        """
        Remember where to, and what to run there.
        """
        self.seed = tuple(seed)
        if self.error is not None:
            raise self.error
        self.connection = connection

    def disconnect(self, ename: str, evalue: str) -> None:
        """
        Forget where to.
        """
        self.connection = None
        self.disconnect_errors.append((ename, evalue))

    def request_shutdown(self, restart: bool) -> None:
        """
        Remember the request, and do what :py:attr:`on_shutdown` does.
        """
        self.control_requests.append("restart" if restart else "shutdown")
        self.on_shutdown(restart)

    def request_interrupt(self) -> None:
        """
        Remember the request.
        """
        self.control_requests.append("interrupt")

    def publish_status(self, execution_state: str) -> None:
        """
        Remember the state.
        """
        self.statuses.append(execution_state)

    def attach(
        self, session_id: str | None, client: IClient, *, is_internal: bool = False
    ) -> IAttachment:
        """
        Attach a client, in place of the one that holds the same ``session_id``.
        """
        if session_id is None:
            session_id = f"nameless-{len(self.attachments)}"
        attachment = self.attachments.get(session_id)
        if attachment is None:
            attachment = self.attachments[session_id] = FakeAttachment(session_id, client)
        else:
            if attachment.client is not None:
                attachment.client.close(NORMAL, "Replaced by a newer connection")
            attachment.client = client
        return attachment

    def close_clients(self, code: int, reason: str) -> None:
        """
        Close every client.
        """
        self.clients_closed = (code, reason)
        for attachment in self.attachments.values():
            client, attachment.client = attachment.client, None
            if client is not None:
                client.close(code, reason)

    def close(self, code: int, reason: str) -> None:
        """
        Close every client, and forget where the channels led.
        """
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
        """
        Make fake channels.
        """
        channels = self.opened[kernel_id] = FakeChannels(observer)
        return channels

    def new_curve_keys(self) -> CurveKeys:
        """
        Make keys that nothing is encrypted with.
        """
        self._keys += 1
        return CurveKeys(b"%040d" % self._keys, b"%040d" % -self._keys)

    def start(self) -> None:
        """
        Begin.
        """
        self.running = True

    def stop(self) -> None:
        """
        Close what is open.
        """
        self.running = False
        for channels in self.opened.values():
            channels.close(GOING_AWAY, GATEWAY_SHUTDOWN_REASON)
