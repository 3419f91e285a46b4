"""
Opening the gateway's own ports.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import attrs
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint, serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IProtocolFactory

from kgd.errors import ConfigurationError
from kgd.settings import Settings

# Twisted's 50 is little for clients that all come at once.
BACKLOG = 1024
CONSECUTIVE = 5  # after so many neighbours of a taken port, others near it are tried at random


def candidates(port: int, retries: int, chance: random.Random) -> Iterator[int]:
    """
    :return: The ports to try, the wanted one first, ``retries`` more after it.
    """
    yield port
    if port == 0:
        return
    for number in range(1, retries + 1):
        if number < CONSECUTIVE:
            other = port + number
        else:
            other = port + chance.randint(-2 * retries, 2 * retries)
        if 0 < other < 65536:
            yield other


@attrs.frozen
class Listening:
    """
    An open port.

    :ivar port: Its ``IListeningPort``.
    """

    port: Any
    is_secure: bool = False

    def url(self, base_url: str) -> str:
        """
        :return: Where the gateway answers, for people and for programs that wait to be told.
        """
        address = self.port.getHost()
        host = getattr(address, "host", None)
        if host is None:
            return str(address)
        scheme = "https" if self.is_secure else "http"
        shown = f"[{host}]" if ":" in host else host
        return f"{scheme}://{shown}:{address.port}{base_url}"


async def listen(reactor: Any, settings: Settings, factory: IProtocolFactory) -> list[Listening]:
    """
    Open the ports that the settings name.

    :raises ConfigurationError: when one cannot be opened; then none stays open.
    """
    if not settings.listen:
        return [Listening(await _listen_near(reactor, settings, factory))]
    opened: list[Listening] = []
    for description in settings.listen:
        try:
            endpoint = serverFromString(reactor, description)  # type: ignore[no-untyped-call]
            port = await endpoint.listen(factory)
        except (CannotListenError, ValueError, TypeError, LookupError, OSError) as error:
            for each in opened:
                await each.port.stopListening()
            raise ConfigurationError(f"cannot listen on --listen={description}: {error}") from None
        opened.append(Listening(port, description.startswith("ssl:")))
    return opened


async def _listen_near(reactor: Any, settings: Settings, factory: IProtocolFactory) -> Any:
    endpoint_class = TCP6ServerEndpoint if ":" in settings.ip else TCP4ServerEndpoint
    for port in candidates(settings.port, settings.port_retries, random.Random()):
        endpoint = endpoint_class(reactor, port, backlog=BACKLOG, interface=settings.ip)
        try:
            return await endpoint.listen(factory)  # type: ignore[no-untyped-call]
        except CannotListenError as error:
            problem = error.socketError
        except OSError as error:
            problem = error
    raise ConfigurationError(
        f"cannot listen on port {settings.port} of {settings.ip or 'any address'}, nor on "
        f"{settings.port_retries} others: {problem}; choose another with --port or --ip"
    )
