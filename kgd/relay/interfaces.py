"""
The interfaces of the relay: a kernel's channels, their clients, and the kernel's side of both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
from zope.interface import Attribute, Interface

from kgd.protocol.connection_file import ConnectionInfo, CurveKeys
from kgd.protocol.messages import ClientMessage, KernelMessage, MsgId


class IKernelObserver(Interface):
    """
    The kernel, which the relay tells about its process and its messages.
    """

    def became_ready() -> None:
        """
        The present process answers, its output arrives, and its seed has run.
        """

    def began_seeding() -> None:
        """
        The present process answers, and begins to run its seed.
        """

    def seeding_failed(index: int, error: str) -> None:
        """
        A cell of the seed has failed. The kernel does not become ready.

        :param index: Of the cell, counted from 0.
        :param error: Name and value of the exception.
        """

    def published(
        msg_type: str,
        parent_type: str,
        execution_state: str | None,
        shell: bytes = b"",
        msg_id: MsgId = "",
    ) -> None:
        """
        The kernel sent a message on iopub.

        :param parent_type: The ``msg_type`` of the request it belongs to, or ``""``.
        :param execution_state: Of a ``status`` message, else ``None``.
        :param shell: Which of the kernel's shells a ``status`` message is about; empty for the main
            shell. Shells work at the same time.
        :param msg_id: Of the request it belongs to.
        """


class IClient(Interface):
    """
    A client of a kernel: a WebSocket, or the gateway's own executor. None of its methods raises.
    """

    unsent: int = Attribute("How many bytes wait to be sent, as far as that is known.")

    def deliver(message: KernelMessage) -> None:
        """
        Send a message to the client.
        """

    def pause_requests() -> None:
        """
        Read no more requests, if possible, because the kernel does not take them.
        """

    def resume_requests() -> None:
        """
        Read requests again.
        """

    def take_undelivered() -> Sequence[KernelMessage]:
        """
        Give back the messages that are known not to have arrived, in order. If there are any, the
        connection is cut.
        """

    def close(code: int, reason: str) -> None:
        """
        Send what is still queued, then a close frame.

        :param code: A close code of RFC 6455.
        :param reason: For the user; at most 123 bytes of it are sent.
        """


class IAttachment(Interface):
    """
    A client's connection to a kernel, which can outlast the client's WebSocket.
    """

    session_id: str = Attribute("The name under which the client may come back.")

    def send(request: ClientMessage) -> None:
        """
        Pass a client's message on to the kernel, in order, as soon as the kernel can take it.
        """

    def send_in_turn(request: ClientMessage, sent: Callable[[], None]) -> Callable[[], bool]:
        """
        Pass on a request to run code as soon as the kernel has no other code to run. What other
        clients ask for later waits behind it.

        :param sent: Called when it is passed on, which may be at once.
        :return: Takes the request back, and returns whether that was possible: it had not been
            passed on.
        """

    def pause() -> None:
        """
        Stop delivering messages; those that arrive are queued, up to a bound.
        """

    def resume() -> None:
        """
        Deliver messages again, the queued ones first.
        """

    def detach(client: IClient) -> None:
        """
        Take note that the client has left. If it has a ``session_id`` of its own, it may come
        back. Nothing happens if another client has taken its place.
        """


@attrs.frozen(kw_only=True)
class ClientStats:
    """
    The clients of a kernel, without those that are parts of the gateway.

    :ivar present: How many are connected.
    :ivar away: How many have left and may come back.
    :ivar messages: How many messages wait for them.
    :ivar size: How many bytes wait for them.
    """

    present: int = 0
    away: int = 0
    messages: int = 0
    size: int = 0


class IKernelChannels(Interface):
    """
    A kernel's ZeroMQ sockets and the clients that use them, for as long as the kernel exists.
    """

    connections: int = Attribute(
        "How many clients are connected, with those parts of the gateway that count."
    )
    pending_executions: int = Attribute(
        "How many requests to run code have no reply yet, with those that wait for their turn."
    )
    promised_files: int = Attribute(
        "How many files will be opened for the kernel and its clients without another request: "
        "while there is no process, those for the sockets to the next one."
    )

    def has_client(session_id: str | None) -> bool:
        """
        Whether a client with this name is connected or may come back, and so has its sockets.
        """

    def client_stats() -> ClientStats:
        """
        :return: How many clients there are, and how much waits for them.
        """

    def connect(connection: ConnectionInfo, seed: Sequence[str] = ()) -> None:
        """
        Open sockets to a process that is about to start, iopub first; find out when it answers, and
        run the seed then. What clients send meanwhile is kept for it.

        :param seed: Code to run first; clients do not see its output.
        """

    def disconnect(ename: str, evalue: str) -> None:
        """
        Close the sockets, because the process has ended. Each request without a reply gets this
        error as its reply, and an idle status.

        :param ename: A name as of an exception, like ``KernelDied``.
        :param evalue: What happened, and what the user can do.
        """

    def request_shutdown(restart: bool) -> None:
        """
        Send ``shutdown_request`` on control.
        """

    def request_interrupt() -> None:
        """
        Send ``interrupt_request`` on control.
        """

    def publish_status(execution_state: str, reason: str = "") -> None:
        """
        Send a status to every client that the kernel itself cannot send (``restarting``, ``dead``).

        :param reason: What has happened, which becomes a field of the message.
        """

    def attach(
        session_id: str | None,
        client: IClient,
        *,
        is_internal: bool = False,
        is_connection: bool = True,
    ) -> IAttachment:
        """
        Connect a client to the kernel. If one with the same ``session_id`` exists, the new client
        takes its place without a gap: the old client is closed if it is still connected, and what
        came while it was away is delivered first. A client that comes after :py:meth:`close` is
        told the last status that was published, and closed at once for the same reason.

        :param session_id: ``None`` for a client that has none, and so cannot come back.
        :param is_internal: Whether the client is a part of the gateway. The operator's limits do
            not apply to it: types of messages, rates of output.
        :param is_connection: Whether it counts as a connection, which keeps the kernel from being
            culled.
        """

    def close_clients(code: int, reason: str) -> None:
        """
        Close every client, and leave the gateway's own sockets open.
        """

    def close(code: int, reason: str) -> None:
        """
        Close every client, then all sockets. Later calls do nothing.
        """


class IRelay(Interface):
    """
    Opens kernels' channels, and owns the ZeroMQ context.
    """

    def open(kernel_id: str, observer: IKernelObserver) -> IKernelChannels:
        """
        Make the channels of a new kernel, not yet connected.

        :raises RuntimeError: when the relay is not running.
        """

    def new_curve_keys() -> CurveKeys:
        """
        Make keys for a new kernel, to encrypt what is exchanged with it.
        """

    def start() -> None:
        """
        Create the context. To be called after the process has become a daemon.

        :raises kgd.errors.ConfigurationError: when ZeroMQ cannot encrypt, and the settings ask for
            it.
        """

    def stop() -> None:
        """
        Close all channels and the context.
        """
