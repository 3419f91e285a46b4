"""
``GET /api/kernels/<kernel_id>/channels``: who may open a WebSocket on a kernel.

That is decided here, before Autobahn sees the request, so that a refusal is JSON like every other.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec
from twisted.web.resource import IResource

from kgd import errors
from kgd.endpoints.origins import is_allowed
from kgd.errors import JSON_ERRORS
from kgd.interfaces import Access, IGateway, IKernel
from kgd.observability.audit import AuditLog
from kgd.observability.request_context import RequestContext
from kgd.protocol.message_types import EXECUTE_REQUEST, QUERIES
from kgd.protocol.messages import Buffer, ClientMessage
from kgd.protocol.rfc6455 import POLICY_VIOLATION
from kgd.protocol.websocket import choose_framing
from kgd.settings import Settings
from kgd.web.access_log import request_log_of
from kgd.web.routes import Route
from kgd.web.server.websocket import ChannelsFactory, UpgradeResource

LONGEST_SESSION_ID = 255  # bytes
# 16 random bytes in base64.
_KEY = re.compile(rb"[A-Za-z0-9+/]{22}==")
_ALSO_WITH_HANDSHAKES = (b"access-control-", b"x-request-id")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class ChannelsAPI:
    """
    Opens WebSockets on kernels.
    """

    def __init__(self, gateway: IGateway) -> None:
        self._reactor = gateway.reactor
        self._settings = gateway.settings
        self._kernels = gateway.kernels
        self._counters = gateway.counters
        self._open_sockets = gateway.open_sockets
        self._audit = MessageAudit(gateway.audit, gateway.settings)
        self._made: ChannelsFactory | None = None
        gateway.token.on_change(self._token_changed)

    @property
    def _factory(self) -> ChannelsFactory:
        if self._made is None:
            self._made = ChannelsFactory(
                self._reactor, self._settings, self._counters, self._open_sockets
            )
        return self._made

    def routes(self) -> list[Route]:
        """
        :return: The one route; it checks the origin itself, to answer with another status.
        """
        return [
            Route(
                "/api/kernels/<kernel_id>/channels",
                ("GET",),
                self.open,
                access=Access.ANY_ORIGIN,
                summary="Exchange messages with a kernel over a WebSocket",
                scope="kernels:execute",
            )
        ]

    def _token_changed(self) -> None:
        """
        Whoever came with the old token has to come back with the new one.
        """
        self._factory.turn_away(POLICY_VIOLATION, "The gateway's token has changed")

    def open(self, request: Any, kernel_id: str) -> IResource:
        """
        Check a request for a WebSocket, in the order in which little is given away.

        :raises kgd.errors.GatewayError: to refuse it.
        """
        if request.method != b"GET":
            # HEAD comes with GET, but it is no handshake.
            raise errors.NoSuchMethod(["GET"])
        origin, host = _first(request, b"origin"), _first(request, b"host")
        allowed = self._settings.cors.allow_origin
        if not is_allowed(origin, host, allowed, secure=request.isSecure()):
            raise errors.ResourceForbidden(
                "Cross origin websockets not allowed; the gateway's operator can allow an origin "
                "with --allow-origin"
            )
        kernel = self._kernels.get(kernel_id)
        self._check_upgrade(request)
        protocol: Any = self._factory.buildProtocol(request.client)
        session_id = _session_id(request.args.get(b"session_id", [b""])[0])
        protocol.prepare(
            kernel,
            session_id,
            choose_framing(
                _tokens(request, b"sec-websocket-protocol"), self._settings.kernel_ws_protocol
            ),
            _own_headers(request),
            self._audit.of(request_log_of(request).requester, kernel, session_id),
        )
        return UpgradeResource(protocol)

    def _check_upgrade(self, request: Any) -> None:
        if "websocket" not in map(str.lower, _tokens(request, b"upgrade")):
            raise errors.InvalidRequest('Can "Upgrade" only to "WebSocket".')
        if "upgrade" not in map(str.lower, _tokens(request, b"connection")):
            raise errors.InvalidRequest('"Connection" must be "Upgrade".')
        if _first(request, b"sec-websocket-version") != "13":
            request.setHeader(b"Sec-WebSocket-Version", b"13")
            raise errors.UpgradeRequired("Only version 13 of the WebSocket protocol is spoken here")
        key = request.getHeader(b"sec-websocket-key")
        if key is None or not _KEY.fullmatch(key):
            raise errors.InvalidRequest("Missing/Invalid WebSocket headers: Sec-WebSocket-Key")
        if request.clientproto != b"HTTP/1.1" or request.getHeader(b"host") is None:
            raise errors.InvalidRequest("A WebSocket needs HTTP/1.1 and a Host header")


def _values(request: Any, name: bytes) -> list[str]:
    """
    The values of a header, which may hold any bytes; Twisted itself would insist on UTF-8.
    """
    values = request.requestHeaders.getRawHeaders(name, ())
    return [value.decode("latin-1") for value in values]


def _first(request: Any, name: bytes) -> str | None:
    return next(iter(_values(request, name)), None)


def _tokens(request: Any, name: bytes) -> list[str]:
    """
    What a header lists that may come more than once.
    """
    return [token.strip() for value in _values(request, name) for token in value.split(",")]


def _session_id(raw: bytes) -> str | None:
    """
    :return: The name under which the client may come back, or ``None`` if it gave none.
    :raises kgd.errors.InvalidRequest: when it could not be used as a name.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise errors.InvalidRequest("session_id is not UTF-8") from None
    if len(raw) > LONGEST_SESSION_ID or _CONTROL.search(text):
        raise errors.InvalidRequest(
            f"session_id must have at most {LONGEST_SESSION_ID} bytes and no control characters"
        )
    return text or None


def _own_headers(request: Any) -> dict[str, str]:
    """
    What has been set for every response goes along with the handshake, too.
    """
    return {
        name.decode("ascii"): values[0].decode("latin-1")
        for name, values in request.responseHeaders.getAllRawHeaders()
        if name.lower().startswith(_ALSO_WITH_HANDSHAKES)
    }


class _Code(msgspec.Struct):
    code: str = ""


_read_code = msgspec.json.Decoder(_Code).decode


class MessageAudit:
    """
    Writes down the messages that do something.
    """

    def __init__(self, audit: AuditLog, settings: Settings) -> None:
        self._audit = audit
        self._allowed = settings.allowed_message_types

    def of(
        self, requester: RequestContext, kernel: IKernel, session_id: str | None
    ) -> Callable[[ClientMessage], None] | None:
        """
        :param requester: Who opened the connection.
        :return: To be called with each message that comes over it; ``None`` if nobody wants it.
        """
        if not self._audit.is_on:
            return None

        def note(request: ClientMessage) -> None:
            if request.msg_type in QUERIES:
                return
            is_execution = request.msg_type == EXECUTE_REQUEST
            is_refused = self._allowed and request.msg_type not in self._allowed
            self._audit.record(
                "executed" if is_execution else "sent",
                requester,
                kernel_id=kernel.kernel_id,
                kernel_name=kernel.name,
                session_id=session_id,
                msg_type=request.msg_type,
                msg_id=request.msg_id,
                size=request.size,
                refused=True if is_refused else None,
                code=_code(request.parts[3]) if is_execution and self._audit.with_code else None,
            )

        return note


def _code(content: Buffer) -> str:
    try:
        return _read_code(content).code
    except JSON_ERRORS:
        return ""
