"""
A TCP port that is taken first, and listened on later.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.interfaces import IProtocolFactory

Bind = Callable[[int, str], socket.socket]


def bind_tcp(port: int, interface: str) -> socket.socket:
    """
    :param interface: An address or a name; nothing is all addresses.
    :return: A socket that has the port, and on which nobody listens.
    :raises OSError: when it cannot be had.
    :raises ValueError: when there is no such port.
    """
    if not 0 <= port < 65536:
        raise ValueError(f"{port} is no port; there are those from 0 to 65535")
    family = socket.AF_INET6 if ":" in interface else socket.AF_INET
    known = socket.getaddrinfo(
        interface or None, port, family, socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(known[0][4])
    except OSError:
        found.close()
        raise
    found.setblocking(False)
    return found


class TCPPort:
    """
    The first of some ports that can be had.

    It is taken before anything is started that would have been in vain if there were none, and
    while the process may still be root's, who alone can have the lower ones. Until somebody
    listens, clients are refused.

    :param ports: Those to try.
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
        Take the next of the ports that can be had.

        :raises OSError: when there is none.
        :raises ValueError: when one of them is none.
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
        The address at which a port has been taken.
        """
        assert self._socket is not None
        return str(self._socket.getsockname()[0])

    async def listen(self, factory: IProtocolFactory) -> Any:
        """
        :return: The listening port.
        :raises OSError: when another process has been quicker, and there is no other port.
        """
        while True:
            assert self._socket is not None
            try:
                self._socket.listen(self._backlog)
                break
            except OSError as error:
                # Two can have the same one, until one of them listens.
                self.give_back()
                try:
                    self.take()
                except OSError:
                    raise error from None
        taken, self._socket = self._socket, None
        with taken:
            return self._reactor.adoptStreamPort(taken.fileno(), taken.family, factory)

    def give_back(self) -> None:
        """
        Let others have it, if nobody listens on it.
        """
        taken, self._socket = self._socket, None
        if taken is not None:
            taken.close()
