"""
The DEALERs of one client: shell, control and stdin, under one identity.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from kgd.protocol.connection import ConnectionInfo
from kgd.protocol.messages import Buffer, Request, Signer, wire_frames
from kgd.relay.sockets import KernelSocket, SocketFactory

FOR_CLIENTS = ("stdin", "shell", "control")
FOR_OURSELVES = ("shell", "control")


class Wires:
    """
    Carries requests to the kernel's present process, and what is answered back.

    A kernel sends ``input_request`` to the identity of the shell request, on another socket, and
    silently drops it when that identity has not connected there. So nothing leaves on shell before
    stdin is connected.
    """

    def __init__(
        self,
        sockets: SocketFactory,
        connection: ConnectionInfo,
        signer: Signer,
        channels: tuple[str, ...],
        received: Callable[[str, Sequence[Buffer]], None],
    ) -> None:
        self._signer = signer
        self._waiting: deque[Request] = deque()
        # Random, because a ROUTER ignores a second peer under an identity that it knows.
        identity = os.urandom(16).hex().encode()

        def open_socket(channel: str) -> KernelSocket:
            return sockets.deal(
                connection.url(channel),
                identity,
                lambda frames: received(channel, frames),
                self._connected,
                connection.curve,
            )

        self._sockets: Mapping[str, KernelSocket] = {
            channel: open_socket(channel) for channel in channels
        }
        self._gate = self._sockets.get("stdin")

    def send(self, request: Request) -> None:
        """
        :param request: On a channel that these wires have.
        """
        gate = self._gate
        if gate is not None and request.channel == "shell":
            if not gate.is_connected:
                self._waiting.append(request)
                return
            self._gate = None
        self._send(request)

    def _send(self, request: Request) -> None:
        frames = wire_frames(self._signer, request.parts, request.buffers)
        self._sockets[request.channel].send(frames)

    def _connected(self) -> None:
        gate = self._gate
        if gate is not None and gate.is_connected:
            self._gate = None
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
        for socket in self._sockets.values():
            socket.drain()

    def close(self, *, linger: bool) -> None:
        """
        :param linger: Whether what is under way to the kernel may still leave.
        """
        for socket in self._sockets.values():
            socket.close(linger=linger)
