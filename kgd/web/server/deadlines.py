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
ROUND = 1.0
# So many more than there may be are told why they are refused; others are cut off.
_TOLD = 64


class Watched(Protocol):
    """
    A connection that has deadlines.
    """

    def look(self, now: float) -> None:
        """
        End what takes too long.

        :param now: Monotonic, in seconds.
        """


class TooManyConnections(Exception):
    """
    There are too many connections.

    :ivar is_told: Whether to tell the client.
    """

    def __init__(self, reason: str, *, is_told: bool) -> None:
        super().__init__(reason)
        self.is_told = is_told


class Connections:
    """
    Counts connections, and looks at those that wait for something.

    :ivar now: Monotonic, in seconds.
    """

    _log = make_logger()

    def __init__(self, settings: Settings, reactor: Any, now: Callable[[], float]) -> None:
        self._most = settings.max_connections
        self._most_from_one = settings.max_connections_per_address
        self._reactor = reactor
        self.now = now
        self._count = 0
        self._from: Counter[str] = Counter()
        self._watched: set[Watched] = set()
        self._timer: IDelayedCall | None = None
        self._warning = Throttle(self.now)

    def enter(self, place: str) -> None:
        """
        There is another connection; whether it may stay or not, it has to :py:meth:`leave`.

        :param place: Where it comes from, as :py:func:`place_of` has it.
        :raises Full: when there are too many.
        """
        self._count += 1
        if place:
            self._from[place] += 1
        if self._most and self._count > self._most:
            self._refuse("--max-connections", "all clients", self._most, self._count)
        if self._most_from_one and self._from[place] > self._most_from_one:
            self._refuse(
                "--max-connections-per-address", place, self._most_from_one, self._from[place]
            )

    def leave(self, place: str) -> None:
        """
        A connection has gone.
        """
        self._count -= 1
        if place:
            self._from[place] -= 1
            if not self._from[place]:
                del self._from[place]

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
            is_told=count <= most + _TOLD,
        )

    def watch(self, connection: Watched) -> None:
        """
        Look at a connection from time to time, until it is to be forgotten.
        """
        self._watched.add(connection)
        if self._timer is None:
            self._timer = self._reactor.callLater(ROUND, self._look)

    def forget(self, connection: Watched) -> None:
        """
        Look at it no more.
        """
        self._watched.discard(connection)
        if not self._watched and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = self._reactor.callLater(ROUND, self._look)
        now = self.now()
        for connection in tuple(self._watched):
            connection.look(now)


def place_of(address: Any) -> str:
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
