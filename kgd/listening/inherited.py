"""
Listening sockets that a service manager has opened, and keeps open when the gateway stops.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import AdoptedStreamServerEndpoint, serverFromString
from twisted.internet.interfaces import IProtocolFactory, IStreamServerEndpoint
from zope.interface import implementer

from kgd.endpoints.addresses import Endpoint, Reach, reach_of

# The first descriptor that a service manager passes on, sd_listen_fds(3).
FIRST_DESCRIPTOR = 3


def inherited_endpoint(reactor: Any, endpoint: Endpoint) -> tuple[IStreamServerEndpoint, Reach]:
    """
    :param endpoint: Of the kind ``systemd``.
    :return: An endpoint to listen on once, and who can reach it.
    :raises LookupError: when there is no such socket.
    :raises ValueError: when the description is ambiguous.
    """
    inherited = _listening_socket(_find_descriptor(reactor, endpoint))
    if inherited.family == socket.AF_UNIX:
        return _UNIXEndpoint(reactor, inherited), Reach.LOCAL
    reach = reach_of(inherited.getsockname()[0])
    family, descriptor = inherited.family, inherited.detach()
    return AdoptedStreamServerEndpoint(reactor, descriptor, family), reach  # type: ignore[no-untyped-call]


def _find_descriptor(reactor: Any, endpoint: Endpoint) -> int:
    """
    Twisted finds no sockets without names, as from ``systemd-socket-activate``. It has read and
    removed the variables already, but the descriptors are open.
    """
    try:
        found = serverFromString(reactor, endpoint.text)  # type: ignore[no-untyped-call]
    except LookupError:
        index = endpoint.arguments.get("index", "")
        return FIRST_DESCRIPTOR + int(index) if index.isdecimal() else -1
    return found.fileno  # type: ignore[no-any-return]


def _listening_socket(descriptor: int) -> socket.socket:
    """
    :raises LookupError: unless it is a listening socket.
    """
    try:
        inherited = socket.socket(fileno=descriptor)
    except (OSError, ValueError):
        inherited = None
    if inherited is not None and inherited.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return inherited
    if inherited is not None:
        inherited.detach()
    raise LookupError(
        "the service manager has not passed on such a socket; start the gateway by its socket "
        "unit, and check FileDescriptorName= there"
    )


@implementer(IStreamServerEndpoint)
class _UNIXEndpoint:
    def __init__(self, reactor: Any, inherited: socket.socket) -> None:
        self._reactor = reactor
        self._socket = inherited

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        port = _UNIXPort(self._reactor, self._socket, protocolFactory)
        port.startListening()
        return succeed(port)


class _UNIXPort(unix.Port):
    """
    A port on an inherited Unix socket. Twisted's own would make the socket accessible to all users
    and remove it at the end, so that the service manager could not use it again.
    """

    _shouldShutdown = False

    def __init__(self, reactor: Any, inherited: socket.socket, factory: IProtocolFactory) -> None:
        super().__init__(inherited.getsockname(), factory, reactor=reactor)
        self._inherited = inherited

    def startListening(self) -> None:
        # As all of Twisted's ports do, to have one left when descriptors run out.
        tcp._reservedFD.reserve()  # type: ignore[no-untyped-call]
        assert self.factory is not None
        self.factory.doStart()  # type: ignore[no-untyped-call]
        self._inherited.setblocking(False)
        self.socket = self._inherited
        self.fileno = self.socket.fileno  # type: ignore[method-assign]
        self.connected = True
        self.numberAccepts = 100
        self.startReading()  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Any) -> None:
        # Not unix.Port's, which would remove the socket.
        tcp.Port.connectionLost(self, reason)  # type: ignore[no-untyped-call]
