"""
The gateway's connection to one process of a kernel: its sockets, and the check of its messages.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from kgd.errors import JSON_ERRORS, MalformedMessage
from kgd.execution.probe import Probe
from kgd.execution.seeding import SeedRun
from kgd.protocol.connection_file import ConnectionInfo
from kgd.protocol.message_types import QUERIES
from kgd.protocol.messages import (
    DELIMITER,
    NO_PARENT,
    Buffer,
    ClientMessage,
    Header,
    KernelMessage,
    MsgId,
    Signer,
    read_header,
    read_parent,
    wire_frames,
)
from kgd.relay.limits import MESSAGE_OVERHEAD, RELAY_LIMITS, RelayLimits
from kgd.relay.missing_idle import MissingIdle
from kgd.relay.sockets import KernelSocket, SocketFactory


class MessageVerifier:
    """
    Verifies and parses the messages of one process.
    """

    def __init__(self, signer: Signer) -> None:
        self._signer = signer
        # In a flood, all messages have the same parent.
        self._parent_part: Buffer = b"{}"
        self._parent = NO_PARENT

    def read(self, channel: str, frames: Sequence[Buffer]) -> KernelMessage:
        """
        :raises MalformedMessage: unless the frames are a signed message.
        """
        try:
            at = frames.index(DELIMITER)
        except ValueError:
            raise MalformedMessage("a message from the kernel has no delimiter") from None
        if len(frames) < at + 6:
            raise MalformedMessage("a message from the kernel has too few parts")
        parts = (bytes(frames[at + 2]), frames[at + 3], frames[at + 4], frames[at + 5])
        self._signer.verify(bytes(frames[at + 1]), parts)
        return KernelMessage(
            channel,
            read_header(parts[0]),
            parts,
            frames[at + 6 :],
            self._parent_of(parts[1]),
        )

    def _parent_of(self, part: Buffer) -> Header:
        if part != self._parent_part:
            self._parent = read_parent(part)
            self._parent_part = part
        return self._parent


class Shells:
    """
    Finds out which of a process' shells works on a request. Each works on one after the other, but
    all at the same time: the main shell, subshells, and what serves control.

    The messages of a kernel do not tell the channel of their request, so those that were sent on
    control are remembered.
    """

    MAIN: Final = b""
    CONTROL: Final = b"control"

    def __init__(self, limits: RelayLimits = RELAY_LIMITS) -> None:
        self._max = limits.max_idle_awaited
        self._on_control: dict[tuple[MsgId, str], None] = {}

    def sent_on_control(self, request: ClientMessage) -> None:
        """
        Take note of a request.
        """
        key = (request.msg_id, request.msg_type)
        self._on_control.pop(key, None)
        self._on_control[key] = None
        if len(self._on_control) > self._max:
            del self._on_control[next(iter(self._on_control))]

    def of(self, request: Header) -> bytes:
        """
        :return: A name of the shell that works on a request, which no other shell has.
        """
        if (request.msg_id, request.msg_type) in self._on_control:
            return self.CONTROL
        # JSON, so that no subshell is called like control.
        subshell = bytes(request.subshell_id)
        return self.MAIN if subshell in _NO_SUBSHELL else subshell


_NO_SUBSHELL = (b"", b"null", b'""')


class ClientSockets:
    """
    The DEALER sockets of one client, all under one identity: they carry its requests to a process,
    and the replies back. A socket is opened when something is sent on it: each takes memory here
    and a connection in the kernel, and many clients only watch.

    A kernel sends ``input_request`` to the identity of the shell request, on another socket, and
    silently drops it when that identity has not connected there. So no code leaves on shell before
    stdin is connected, and nothing that follows it.

    :param shells: Is told of each request on control.
    :param received: Called with the channel and the frames of each message that arrives.
    :param requests_taken: Called when the kernel has taken some of what had to wait.
    """

    def __init__(
        self,
        sockets: SocketFactory,
        connection: ConnectionInfo,
        signer: Signer,
        shells: Shells,
        received: Callable[[str, Sequence[Buffer]], None],
        requests_taken: Callable[[], None] = lambda: None,
    ) -> None:
        self._factory = sockets
        self._connection = connection
        self._signer = signer
        self._shells = shells
        self._received = received
        self._requests_taken = requests_taken
        # Random, because a ROUTER ignores a second peer under an identity that it knows.
        self._identity = os.urandom(16).hex().encode()
        self._sockets: dict[str, KernelSocket] = {}
        self._waiting: deque[ClientMessage] = deque()
        self._stdin_is_connected = False
        self._closed = False

    def send(self, request: ClientMessage) -> None:
        """
        :param request: On shell, control or stdin.
        """
        if request.channel == "shell" and not self._stdin_is_connected:
            if request.msg_type not in QUERIES:
                self._stdin_is_connected = self._socket("stdin").is_connected
            if self._waiting or not (self._stdin_is_connected or request.msg_type in QUERIES):
                # Let shell connect meanwhile, too.
                self._socket("shell")
                self._waiting.append(request)
                return
        elif request.channel == "control":
            self._shells.sent_on_control(request)
        self._send(request)

    def _send(self, request: ClientMessage) -> None:
        frames = wire_frames(self._signer, request.parts, request.buffers)
        self._socket(request.channel).send(frames)

    def _socket(self, channel: str) -> KernelSocket:
        socket = self._sockets.get(channel)
        if socket is None:
            socket = self._sockets[channel] = self._factory.connect_dealer(
                self._connection.url(channel),
                self._identity,
                partial(self._received, channel),
                self._connected,
                self._requests_taken,
                self._connection.curve,
            )
        return socket

    def _connected(self) -> None:
        stdin = self._sockets.get("stdin")
        if stdin is not None and stdin.is_connected and not self._closed:
            self._stdin_is_connected = True
            while self._waiting:
                self._send(self._waiting.popleft())
            self._requests_taken()

    @property
    def opened(self) -> int:
        """
        How many sockets are open.
        """
        return len(self._sockets)

    @property
    def backlog(self) -> int:
        """
        How many bytes wait for the kernel to take them.
        """
        waiting = sum(socket.backlog for socket in self._sockets.values())
        if self._waiting:
            waiting += sum(request.size + MESSAGE_OVERHEAD for request in self._waiting)
        return waiting

    def drain(self) -> None:
        """
        Pass on everything that has arrived.
        """
        for socket in tuple(self._sockets.values()):
            socket.drain()

    def close(self, *, linger: bool) -> None:
        """
        Close all sockets.

        :param linger: Whether to finish sending first.
        """
        self._closed = True
        if linger:
            # Nobody is there whom the kernel could ask for input.
            for request in self._waiting:
                self._send(request)
        self._waiting.clear()
        for socket in self._sockets.values():
            socket.close(linger=linger)


class _SessionHeader(msgspec.Struct):
    session: msgspec.Raw = msgspec.Raw()


_decode_session: Callable[[Buffer], _SessionHeader] = msgspec.json.Decoder(_SessionHeader).decode


def session_of(message: KernelMessage) -> bytes:
    """
    :return: The ``session`` in a message's header as JSON. With most kernels it is the same in all
        messages of a process.
    """
    try:
        return bytes(_decode_session(message.parts[0]).session)
    except JSON_ERRORS:
        return b""


class ProcessConnection:
    """
    The connection to one process of a kernel.

    :ivar shells: Which of them works on what.
    :ivar gateway_sockets: Carry the gateway's own requests.
    :ivar startup: What has to succeed before clients' requests are sent: first the probe, then the
        seed; ``None`` after that.
    :ivar kernel_session: The ``session`` of the process as JSON, once it has replied; ``None``
        also if it has none.
    :ivar ready: Whether clients' requests are sent.
    :param iopub_received: Called with this connection and the frames of each message on iopub.
    :param reply_received: Called with this connection, the channel and the frames of each message
        that comes on the gateway's own sockets.
    :param idle_missing: Called with this connection, the header of a request that has a reply and
        whose idle status does not come, and whether output may be missing, too.
    """

    def __init__(
        self,
        reactor: Any,
        sockets: SocketFactory,
        connection: ConnectionInfo,
        *,
        iopub_received: Callable[[ProcessConnection, Sequence[Buffer]], None],
        reply_received: Callable[[ProcessConnection, str, Sequence[Buffer]], None],
        idle_missing: Callable[[ProcessConnection, bytes, bool], None],
        limits: RelayLimits = RELAY_LIMITS,
    ) -> None:
        self._factory = sockets
        self._connection = connection
        self._signer = Signer(connection.key, connection.signature_scheme)
        self.verifier = MessageVerifier(self._signer)
        self.shells = Shells(limits)
        self.iopub = sockets.subscribe(
            connection.url("iopub"), partial(iopub_received, self), connection.curve
        )
        self.gateway_sockets = self.open_sockets(partial(reply_received, self))
        self.missing_idle = MissingIdle(
            reactor, self.iopub.drain, partial(idle_missing, self), limits
        )
        self.startup: Probe | SeedRun | None = None
        self.kernel_session: bytes | None = None
        self.ready = False

    def open_sockets(
        self,
        received: Callable[[str, Sequence[Buffer]], None],
        requests_taken: Callable[[], None] = lambda: None,
    ) -> ClientSockets:
        """
        :return: Sockets for one client, under an identity of their own.
        """
        return ClientSockets(
            self._factory, self._connection, self._signer, self.shells, received, requests_taken
        )

    def is_from_this_process(self, message: KernelMessage) -> bool:
        """
        Whether a message can be from this process. When it has ended, the sockets connect to
        whichever process listens in its place.
        """
        return self.kernel_session in (None, session_of(message))
