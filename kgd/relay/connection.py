"""
The gateway's side of one process of a kernel.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from kgd.errors import UNREADABLE, MalformedMessage
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
    Signer,
    read_header,
    wire_frames,
)
from kgd.relay.missing_idle import MissingIdle
from kgd.relay.sockets import KernelSocket, SocketFactory


class _SessionHeader(msgspec.Struct):
    session: str = ""


_decode_session: Callable[[Buffer], _SessionHeader] = msgspec.json.Decoder(_SessionHeader).decode


class ProcessConnection:
    """
    The gateway's connection to one process of a kernel.

    :ivar gateway_sockets: The sockets of the gateway's own requests.
    :ivar startup: What the gateway waits for, before clients' requests are sent.
    :ivar kernel_session: What the process writes into its messages' headers, once it has answered.
    :ivar ready: Whether clients' requests are sent.
    """

    def __init__(self, connection: ConnectionInfo) -> None:
        self.connection = connection
        self.signer = Signer(connection.key, connection.signature_scheme)
        self.verifier = MessageVerifier(self.signer)
        self.iopub: KernelSocket
        self.gateway_sockets: ClientSockets
        self.missing_idle: MissingIdle
        self.startup: Probe | SeedRun | None = None
        self.kernel_session: str | None = None
        self.ready = False

    def is_from_this_process(self, message: KernelMessage) -> bool:
        """
        Whether a message can be from the process that this line was made for. When it has ended,
        its sockets connect to whoever listens in its place.
        """
        return self.kernel_session in (None, session_of(message))


def session_of(message: KernelMessage) -> str:
    """
    :return: What the process that sent it writes into its messages' headers as its session.
    """
    try:
        return _decode_session(message.parts[0]).session
    except UNREADABLE:
        return ""


class ClientSockets:
    """
    Carries requests to the kernel's present process, and what is answered back. Sockets are opened
    when something is sent on them: each takes memory here and a connection in the kernel, and many
    clients only look on.

    A kernel sends ``input_request`` to the identity of the shell request, on another socket, and
    silently drops it when that identity has not connected there. So no code leaves on shell before
    stdin is connected, and nothing that follows it.
    """

    def __init__(
        self,
        sockets: SocketFactory,
        connection: ConnectionInfo,
        signer: Signer,
        received: Callable[[str, Sequence[Buffer]], None],
    ) -> None:
        self._factory = sockets
        self._connection = connection
        self._signer = signer
        self._received = received
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
                # Have the other connection made meanwhile, too.
                self._socket("shell")
                self._waiting.append(request)
                return
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
                lambda frames: self._received(channel, frames),
                self._connected,
                self._connection.curve,
            )
        return socket

    def _connected(self) -> None:
        stdin = self._sockets.get("stdin")
        if stdin is not None and stdin.is_connected and not self._closed:
            self._stdin_is_connected = True
            while self._waiting:
                self._send(self._waiting.popleft())

    @property
    def backlog(self) -> int:
        """
        How many bytes wait for the kernel to take them.
        """
        waiting = sum(request.size for request in self._waiting) if self._waiting else 0
        return waiting + sum(socket.backlog for socket in self._sockets.values())

    def drain(self) -> None:
        """
        Hand over everything that has arrived.
        """
        for socket in tuple(self._sockets.values()):
            socket.drain()

    def close(self, *, linger: bool) -> None:
        """
        :param linger: Whether what is under way to the kernel may still leave.
        """
        self._closed = True
        for socket in self._sockets.values():
            socket.close(linger=linger)


class MessageVerifier:
    """
    Takes the messages of one kernel process apart and verifies them.
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
            self._parent = NO_PARENT if bytes(part).strip() == b"{}" else read_header(part)
            self._parent_part = part
        return self._parent
