"""
Limits the number of connections to a port, and closes those that exceed a deadline.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from ipaddress import IPv6Network
from typing import Any, Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from kgd.observability.logs import make_logger
from kgd.observability.throttle import Throttle
from kgd.settings import Settings

# Seconds between checks of all deadlines. A timer for each connection would be set several times
# for each request.
CHECK_PERIOD = 1.0
# This many connections above the limit get a response that says why; others are aborted.
_MAX_EXPLAINED = 64


class HasDeadlines(Protocol):
    """
    A connection that has deadlines.
    """

    def check_deadlines(self, now: float) -> None:
        """
        Close the connection if it has exceeded a deadline.

        :param now: Monotonic, in seconds.
        """

    def close_if_idle(self) -> None:
        """
        Close the connection if its client waits for nothing.
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
    Counts the connections of a port, and checks their deadlines.

    :ivar now: Monotonic, in seconds.
    """

    _log = make_logger()

    def __init__(self, settings: Settings, reactor: IReactorTime, now: Callable[[], float]) -> None:
        self._max = settings.max_connections
        self._max_per_network = settings.max_connections_per_address
        self.now = now
        self._count = 0
        self._per_network: Counter[str] = Counter()
        self._watched: set[HasDeadlines] = set()
        self._checking = LoopingCall(self._check_all)
        self._checking.clock = reactor
        self._warning = Throttle(self.now)

    def add(self, network: str) -> None:
        """
        Count a new connection, which has to be removed later even if it is refused.

        :param network: The client's, from :py:func:`client_network`.
        :raises TooManyConnections: when there are too many.
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
        Stop counting a connection that is lost.
        """
        self._count -= 1
        if network:
            self._per_network[network] -= 1
            if not self._per_network[network]:
                del self._per_network[network]

    def _refuse(self, option: str, whose: str, limit: int, count: int) -> None:
        if self._warning.passes():
            self._log.warn(
                "{whose} may have {limit} connections, and more are refused; if the gateway is "
                "behind a proxy, or there are that many clients, raise {option}",
                whose=whose,
                limit=limit,
                option=option,
            )
        raise TooManyConnections(
            "There are too many connections; close some, or try again later",
            is_explained=count <= limit + _MAX_EXPLAINED,
        )

    def watch(self, connection: HasDeadlines) -> None:
        """
        Check a connection's deadlines from now on.
        """
        self._watched.add(connection)
        if not self._checking.running:
            self._checking.start(CHECK_PERIOD, now=False)

    def unwatch(self, connection: HasDeadlines) -> None:
        """
        Check a connection's deadlines no longer.
        """
        self._watched.discard(connection)
        if not self._watched and self._checking.running:
            self._checking.stop()

    def close_idle(self) -> None:
        """
        Close the connections that clients keep for later requests: others need their files.
        """
        for connection in tuple(self._watched):
            connection.close_if_idle()

    def _check_all(self) -> None:
        now = self.now()
        for connection in tuple(self._watched):
            try:
                connection.check_deadlines(now)
            except Exception:
                # The deadlines of the others still hold.
                self._log.failure("cannot check the deadlines of a connection")


def client_network(address: Any) -> str:
    """
    :param address: The ``IAddress`` of a client.
    :return: What is counted as one client: an IPv4 address, or the /64 network of an IPv6 address,
        because each client has many of these. Empty for Unix sockets.
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
