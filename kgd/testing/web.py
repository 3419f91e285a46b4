"""
HTTP in memory: requests against a gateway's resources without a network.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import attrs
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.resource import IResource

from kgd.auth.token import AuthToken
from kgd.interfaces import IPersonality
from kgd.observability.counters import Counters
from kgd.personalities.resource_adapter import ResourceAdapter, is_older_form
from kgd.settings import Settings
from kgd.web.operations.routes import Operations
from kgd.web.root import RootResource
from kgd.web.server.site import GatewaySite

# Of a documentation network: not this machine's, to which web pages have special ways.
EXAMPLE_ADDRESS = IPv4Address("TCP", "192.0.2.1", 8888)


class _Transport(StringTransport):
    """
    Remembers how a connection ends.
    """

    def __init__(self, host: object) -> None:
        super().__init__(  # type: ignore[no-untyped-call]
            hostAddress=host, peerAddress=IPv4Address("TCP", "127.0.0.1", 54321)
        )
        self.aborted = False
        self.no_delay: bool | None = None

    def abortConnection(self) -> None:
        """
        The connection is cut.
        """
        self.aborted = self.disconnecting = True

    def setTcpNoDelay(self, enabled: bool) -> None:
        """
        As a TCP transport has it.
        """
        self.no_delay = enabled


@attrs.frozen
class Response:
    """
    What came back.

    :ivar headers: By lower-case name; the last one wins.
    """

    code: int
    reason: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """
        The body, decoded.
        """
        return json.loads(self.body)


class MemoryClient:
    """
    Sends requests to a personality, through all checks of a gateway with these settings.

    :param resource: The resource of a personality of the older form that has not been started; by
        default, the personality is asked for it.
    :param counters: Where to count requests.
    :param host: The gateway's own address.
    :param operations: The endpoints that the gateway serves itself; none by default.
    :param token: Authenticates requests; by default, the token that the settings hold.
    :ivar clock: The time of the connections.
    :ivar transport: The transport of the latest connection.
    """

    def __init__(
        self,
        settings: Settings,
        personality: IPersonality,
        resource: IResource | None = None,
        counters: Counters | None = None,
        host: object = EXAMPLE_ADDRESS,
        operations: Operations | None = None,
        token: AuthToken | None = None,
    ) -> None:
        self.clock = Clock()
        if is_older_form(personality):
            older: Any = personality
            personality = ResourceAdapter(older, resource=resource or older.resource())
        root = RootResource(settings, personality, counters, None, token, operations)
        self._site = GatewaySite(settings, root, self.clock, self.clock.seconds)
        self._site.startFactory()
        self._host = host
        self.transport = _Transport(host)

    def connect(self) -> Any:
        """
        :return: A connection's protocol, for bytes to be given to its ``dataReceived``.
        """
        self.transport = _Transport(self._host)
        protocol = self._site.buildProtocol(self.transport.getPeer())  # type: ignore[no-untyped-call]
        assert protocol is not None
        protocol.makeConnection(self.transport)
        return protocol

    def close(self) -> None:
        """
        Stop the site's own timer.
        """
        self._site.stopFactory()

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """
        Make one request on a connection of its own.

        :raises AssertionError: when it has not been answered at once.
        """
        lines = [f"{method} {path} HTTP/1.1", "Connection: close"]
        given = {"Host": "gateway:8888", **(headers or {})}
        if body is not None:
            given["Content-Length"] = str(len(body))
        lines += [f"{name}: {value}" for name, value in given.items()]
        protocol = self.connect()
        protocol.dataReceived("\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b""))
        response = read_response(self.transport.value())  # type: ignore[no-untyped-call]
        protocol.connectionLost(Failure(ConnectionDone()))  # type: ignore[no-untyped-call]
        # What was to come after the answer finds that the client has gone.
        self.clock.advance(0)
        return response


def read_response(raw: bytes) -> Response:
    """
    Take one response apart.

    :raises AssertionError: when it is not complete.
    """
    head, separator, body = raw.partition(b"\r\n\r\n")
    assert separator, f"no complete response: {raw!r}"
    status, *fields = head.decode("latin-1").split("\r\n")
    _, code, reason = status.split(" ", 2)
    headers = {}
    for field in fields:
        name, _, value = field.partition(": ")
        headers[name.lower()] = value
    if "transfer-encoding" in headers:
        body = _decode_chunks(body)
    return Response(int(code), reason, headers, body)


def _decode_chunks(chunks: bytes) -> bytes:
    """
    :param chunks: A body as RFC 9112 has it in chunks, without extensions and trailers.
    """
    pieces: list[bytes] = []
    while True:
        size, separator, chunks = chunks.partition(b"\r\n")
        assert separator, "no complete response: its last chunk is missing"
        length = int(size, 16)
        if not length:
            return b"".join(pieces)
        pieces.append(chunks[:length])
        chunks = chunks[length + 2 :]
