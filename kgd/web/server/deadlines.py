"""
All connections of a port: how many there may be, and for how long they may keep us waiting.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from ipaddress import IPv6Network
from typing import Any, Protocol

from twisted.internet.interfaces import IDelayedCall

from kgd.observability.logs import make_logger
from kgd.observability.throttle import Throttle
from kgd.settings import Settings

# How often all of them are looked at, in seconds. One timer for each of them would have to be set
# several times for each request.
CHECK_PERIOD = 1.0
# So many more than there may be are told why they are refused; others are cut off.
_MAX_EXPLAINED = 64


class HasDeadlines(Protocol):
    """
    A connection that has deadlines.
    """

    def check_deadlines(self, now: float) -> None:
        """
        End what takes too long.

        :param now: Monotonic, in seconds.
        """


class TooManyConnections(Exception):
    """
    There are too many connections.

    :ivar is_explained: Whether to tell the client.
    """

    def __init__(self, reason: str, *, is_explained: bool) -> None:
        super().__init__(reason)
        self.is_explained = is_explained


class Connections:
    """
    Counts connections, and looks at those that wait for something.

    :ivar now: Monotonic, in seconds.
    """

    _log = make_logger()

    def __init__(self, settings: Settings, reactor: Any, now: Callable[[], float]) -> None:
        self._max = settings.max_connections
        self._max_per_network = settings.max_connections_per_address
        self._reactor = reactor
        self.now = now
        self._count = 0
        self._per_network: Counter[str] = Counter()
        self._watched: set[HasDeadlines] = set()
        self._timer: IDelayedCall | None = None
        self._warning = Throttle(self.now)

    def add(self, network: str) -> None:
        """
        There is another connection; whether it may stay or not, it has to :py:meth:`remove`.

        :param network: Where it comes from, as :py:func:`client_network` has it.
        :raises Full: when there are too many.
        """
        self._count += 1
        if network:
            self._per_network[network] += 1
        if self._max and self._count > self._max:
            self._refuse("--max-connections", "all clients", self._max, self._count)
        if self._max_per_network and self._per_network[network] > self._max_per_network:
            self._refuse(
                "--max-connections-per-address",
                network,
                self._max_per_network,
                self._per_network[network],
            )

    def remove(self, network: str) -> None:
        """
        A connection has gone.
        """
        self._count -= 1
        if network:
            self._per_network[network] -= 1
            if not self._per_network[network]:
                del self._per_network[network]

    def _refuse(self, option: str, whose: str, most: int, count: int) -> None:
        if self._warning.passes():
            self._log.warn(
                "{whose} may have {most} connections, and more are refused; if a proxy stands "
                "before the gateway, or there are that many clients, raise {option}",
                whose=whose,
                most=most,
                option=option,
            )
        raise TooManyConnections(
            "There are too many connections; close some, or try again later",
            is_explained=count <= most + _MAX_EXPLAINED,
        )

    def watch(self, connection: HasDeadlines) -> None:
        """
        Look at a connection from time to time, until it is to be forgotten.
        """
        self._watched.add(connection)
        if self._timer is None:
            self._timer = self._reactor.callLater(CHECK_PERIOD, self._check_all)

    def unwatch(self, connection: HasDeadlines) -> None:
        """
        Look at it no more.
        """
        self._watched.discard(connection)
        if not self._watched and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check_all(self) -> None:
        self._timer = self._reactor.callLater(CHECK_PERIOD, self._check_all)
        now = self.now()
        for connection in tuple(self._watched):
            connection.check_deadlines(now)


def client_network(address: Any) -> str:
    """
    :param address: The ``IAddress`` of a client.
    :return: What is counted as one: an IPv4 address, or the network of an IPv6 address, of which
        everybody has plenty. Empty for Unix sockets.
    """
    host = getattr(address, "host", None)
    if not isinstance(host, str):
        return ""
    if ":" in host:
        try:
            return str(IPv6Network((host.partition("%")[0], 64), strict=False))
        except ValueError:
            return host
    return host
