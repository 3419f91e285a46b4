"""
Interfaces of the relay: a kernel's channels and the clients attached to them.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from zope.interface import Attribute, Interface

from kgd.protocol.connection_file import ConnectionInfo, CurveKeys
from kgd.protocol.messages import ClientMessage, KernelMessage

# --- relay ----------------------------------------------------------------------------------------


class IKernelObserver(Interface):
    """
    Whoever wants to know what a kernel is doing: the kernel itself.
    """

    def became_ready() -> None:
        """
        The kernel's present process answers, its output reaches us, and it has run its seed.
        """

    def began_seeding() -> None:
        """
        The present process answers, and begins to run its seed.
        """

    def seeding_failed(index: int, error: str) -> None:
        """
        A piece of the seed has failed; clients are not let in.

        :param index: Which, counted from 0.
        :param error: Name and value of the exception.
        """

    def published(msg_type: str, parent_type: str, execution_state: str | None) -> None:
        """
        The kernel sent a message on iopub.

        :param parent_type: The ``msg_type`` of the request it belongs to, or ``""``.
        :param execution_state: Of a ``status`` message, else ``None``.
        """


class IClient(Interface):
    """
    One WebSocket, as the relay sees it. None of these methods raises.
    """

    unsent: int = Attribute("How many bytes wait to be sent, as far as that is known.")

    def deliver(message: KernelMessage) -> None:
        """
        Send a message to the client.
        """

    def take_undelivered() -> Sequence[KernelMessage]:
        """
        Give back what was delivered and is known not to have arrived, in order. When there is any,
        the connection is cut.
        """

    def close(code: int, reason: str) -> None:
        """
        Send what is still queued, then a close frame.

        :param code: A close code of RFC 6455.
        :param reason: For the user, at most 123 bytes of it are sent.
        """


class IAttachment(Interface):
    """
    One client's durable hold on a kernel.
    """

    session_id: str = Attribute("The name under which the client may come back.")

    def send(request: ClientMessage) -> None:
        """
        Pass a client's message on to the kernel, as soon as the kernel can take it, in order.
        """

    def pause() -> None:
        """
        The client cannot take more at the moment; what arrives is queued up to the bound.
        """

    def resume() -> None:
        """
        The client can take more.
        """

    def detach(client: IClient) -> None:
        """
        The client went; if it has a ``session_id`` of its own, it may come back. Nothing happens
        if another has taken its place meanwhile.
        """


@attrs.frozen(kw_only=True)
class ClientStats:
    """
    The clients of a kernel, without those that are parts of the gateway.

    :ivar present: How many are there.
    :ivar away: How many may come back.
    :ivar messages: How many messages wait for them.
    :ivar size: How many bytes do.
    """

    present: int = 0
    away: int = 0
    messages: int = 0
    size: int = 0


class IKernelChannels(Interface):
    """
    A kernel's ZeroMQ sockets and the clients that use them, for as long as the kernel exists.
    """

    connections: int = Attribute("How many clients are there at the moment.")
    pending_executions: int = Attribute(
        "How many requests to run code the kernel has not answered."
    )

    def client_stats() -> ClientStats:
        """
        :return: How many clients there are at the moment, and what waits for them.
        """

    def connect(connection: ConnectionInfo, seed: Sequence[str] = ()) -> None:
        """
        Open the gateway's sockets to a process that is about to start, iopub first, find out when
        it answers, and run the seed then. What clients send meanwhile is kept for it.

        :param seed: Pieces of code, of which clients shall see nothing.
        """

    def disconnect(ename: str, evalue: str) -> None:
        """
        The process is gone: close all sockets. Requests that it has not answered are answered
        with this error, and with an idle status.

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

    def publish_status(execution_state: str) -> None:
        """
        Tell every client a state that the kernel cannot tell itself (``restarting``, ``dead``).
        """

    def attach(
        session_id: str | None, client: IClient, *, is_internal: bool = False
    ) -> IAttachment:
        """
        Give a client its hold on the kernel. If there is one already under the same
        ``session_id``, the new client takes its place without a gap: the old one is closed if it
        is still there, and what came while it was away is delivered first.

        :param session_id: ``None`` for a client that has none, and so cannot come back.
        :param is_internal: Whether the client is a part of the gateway, for which the limits do not
            hold that the operator sets to users: types of messages, rates of output.
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
    Opens kernels' channels; owner of the ZeroMQ context.
    """

    def open(kernel_id: str, observer: IKernelObserver) -> IKernelChannels:
        """
        Make the channels of a new kernel, not yet connected.
        """

    def new_curve_keys() -> CurveKeys:
        """
        Make keys for a new kernel, with which what goes to and from it is encrypted.
        """

    def start() -> None:
        """
        Begin: create the context. Called after daemonizing.

        :raises kgd.errors.ConfigurationError: when encryption is asked for and not possible.
        """

    def stop() -> None:
        """
        Close everything that is open.
        """
