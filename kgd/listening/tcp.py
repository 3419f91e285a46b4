"""
A TCP port that is bound first, and listened on later.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.interfaces import IProtocolFactory

Bind = Callable[[int, str], socket.socket]


def bind_tcp(port: int, interface: str) -> socket.socket:
    """
    :param interface: An address or a name; empty for all addresses.
    :return: A socket that is bound and does not listen yet.
    :raises OSError: when the port cannot be bound.
    :raises ValueError: when the number is out of range.
    """
    if not 0 <= port < 65536:
        raise ValueError(f"port {port} is out of range; use 0 to 65535")
    family = socket.AF_INET6 if ":" in interface else socket.AF_INET
    addresses = socket.getaddrinfo(
        interface or None, port, family, socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(addresses[0][4])
    except OSError:
        found.close()
        raise
    found.setblocking(False)
    return found


class TCPPort:
    """
    The first of several ports that can be bound.

    It is bound before anything else is started, and while the process may still be root's, which
    the ports below 1024 need. Until the gateway listens, clients are refused.

    :param ports: The ports to try, in order.
    :param bind: As :py:func:`bind_tcp`.
    """

    def __init__(
        self,
        reactor: Any,
        ports: Iterator[int],
        interface: str,
        backlog: int,
        bind: Bind = bind_tcp,
    ) -> None:
        self._reactor = reactor
        self._ports = ports
        self._interface = interface
        self._backlog = backlog
        self._bind = bind
        self._socket: socket.socket | None = None

    def take(self) -> None:
        """
        Bind the next port that is free.

        :raises OSError: when none is.
        :raises ValueError: when one of them is out of range.
        """
        problem = OSError("there is no other port to try")
        for port in self._ports:
            try:
                self._socket = self._bind(port, self._interface)
            except socket.gaierror:
                # Other ports do not help.
                raise
            except OSError as error:
                problem = error
            else:
                return
        raise problem

    @property
    def host(self) -> str:
        """
        The address that is bound.
        """
        assert self._socket is not None
        return str(self._socket.getsockname()[0])

    async def listen(self, factory: IProtocolFactory) -> Any:
        """
        :return: The listening port.
        :raises OSError: when another process listens there already, and no other port is free.
        """
        while True:
            assert self._socket is not None
            try:
                self._socket.listen(self._backlog)
                break
            except OSError as error:
                # With SO_REUSEADDR, two processes can bind the same port until one listens.
                self.release()
                try:
                    self.take()
                except OSError:
                    raise error from None
        bound, self._socket = self._socket, None
        with bound:
            return self._reactor.adoptStreamPort(bound.fileno(), bound.family, factory)

    def release(self) -> None:
        """
        Release the port, unless it is listened on.
        """
        bound, self._socket = self._socket, None
        if bound is not None:
            bound.close()
