"""
``GET /api/kernels/<kernel_id>/channels``: checks a handshake and opens the WebSocket of a kernel.

Autobahn sees the request only after all checks, so that refusals are JSON as everywhere.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from typing import Any

import msgspec
from twisted.internet.defer import CancelledError
from twisted.web.resource import IResource

from kgd import errors
from kgd.endpoints.origins import is_allowed_origin
from kgd.errors import JSON_ERRORS
from kgd.interfaces import Access, IGateway, IKernel
from kgd.observability.audit import MAX_FIELD, AuditLog
from kgd.observability.request_context import RequestContext
from kgd.open_files import FILES_PER_CLIENT
from kgd.protocol.message_types import EXECUTE_REQUEST, QUERIES
from kgd.protocol.messages import Buffer, ClientMessage, MsgId, OddId
from kgd.protocol.rfc6455 import POLICY_VIOLATION
from kgd.protocol.websocket import choose_framing
from kgd.settings import Settings
from kgd.web.access import check_single_headers
from kgd.web.access_log import request_log_of
from kgd.web.routes import Route
from kgd.web.server.websocket import KernelWebSocketFactory, UpgradeResource

MAX_SESSION_ID = 255  # bytes
# 16 random bytes in base64.
_KEY = re.compile(rb"[A-Za-z0-9+/]{22}==")
_SINGLE_HEADERS = frozenset({b"sec-websocket-key", b"sec-websocket-version"})
_HANDSHAKE_HEADER_PREFIXES = (b"access-control-", b"x-request-id")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class ChannelsAPI:
    """
    Opens WebSockets to kernels.
    """

    def __init__(self, gateway: IGateway) -> None:
        self._reactor = gateway.reactor
        self._settings = gateway.settings
        self._kernels = gateway.kernels
        self._counters = gateway.counters
        self._open_sockets = gateway.open_sockets
        self._files = gateway.files
        self._audit = MessageAudit(gateway.audit, gateway.settings)
        self._created_factory: KernelWebSocketFactory | None = None
        gateway.token.on_change(self._token_changed)

    @property
    def _factory(self) -> KernelWebSocketFactory:
        if self._created_factory is None:
            self._created_factory = KernelWebSocketFactory(
                self._reactor, self._settings, self._counters, self._open_sockets
            )
        return self._created_factory

    def routes(self) -> list[Route]:
        """
        :return: The one route. It checks the origin itself, to refuse it with another status.
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
        Close all WebSockets, so that their clients come back with the new token.
        """
        self._factory.detach_and_close(POLICY_VIOLATION, "The gateway's token has changed")

    async def open(self, request: Any, kernel_id: str) -> IResource:
        """
        Check a handshake. The origin is first, so that other origins learn nothing about kernels.

        Some clients take a kernel for dead that does not answer at once, so a WebSocket to one that
        is just starting opens when it answers, or after ``--ws-start-wait`` seconds.

        :raises kgd.errors.GatewayError: when it is refused.
        """
        if request.method != b"GET":
            # GET includes HEAD, but that is not a handshake.
            raise errors.NoSuchMethod(["GET"])
        origin, host = _first_value(request, b"origin"), _first_value(request, b"host")
        allowed = self._settings.cors.allow_origin
        if not is_allowed_origin(origin, host, allowed, secure=request.isSecure()):
            raise errors.ResourceForbidden(
                "Cross origin websockets not allowed; the gateway's operator can allow an origin "
                "with --allow-origin"
            )
        # A request that is refused does not use a spare kernel.
        present = self._kernels.get(kernel_id)
        self._check_upgrade(request)
        offered = _list_items(request, b"sec-websocket-protocol")
        session_id = _session_id(request.args.get(b"session_id", [b""])[0])
        # A client that comes back has its sockets already.
        if not present.channels.has_client(session_id):
            self._files.check(FILES_PER_CLIENT)
        kernel = self._kernels.claim(kernel_id)
        if kernel.execution_state == "starting" and self._settings.ws_start_wait:
            await self._wait_for_start(kernel)
        protocol: Any = self._factory.buildProtocol(request.client)
        protocol.prepare(
            kernel,
            session_id,
            choose_framing(offered, self._settings.kernel_ws_protocol),
            _handshake_headers(request),
            self._audit.recorder_for(request_log_of(request).requester, kernel, session_id),
        )
        return UpgradeResource(protocol)

    async def _wait_for_start(self, kernel: IKernel) -> None:
        ready = kernel.when_ready()
        timeout = self._reactor.callLater(self._settings.ws_start_wait, ready.cancel)
        try:
            await ready
        except errors.KernelStartFailed:
            # The WebSocket tells why.
            pass
        except CancelledError:
            if timeout.active():
                # It is the client that has left.
                raise
        finally:
            if timeout.active():
                timeout.cancel()

    def _check_upgrade(self, request: Any) -> None:
        check_single_headers(request, _SINGLE_HEADERS)
        if "websocket" not in map(str.lower, _list_items(request, b"upgrade")):
            raise errors.InvalidRequest('Can "Upgrade" only to "WebSocket".')
        if "upgrade" not in map(str.lower, _list_items(request, b"connection")):
            raise errors.InvalidRequest('"Connection" must be "Upgrade".')
        if _first_value(request, b"sec-websocket-version") != "13":
            request.setHeader(b"Sec-WebSocket-Version", b"13")
            raise errors.UpgradeRequired("Only version 13 of WebSocket is supported")
        key = request.getHeader(b"sec-websocket-key")
        if key is None or not _KEY.fullmatch(key):
            raise errors.InvalidRequest("Missing/Invalid WebSocket headers: Sec-WebSocket-Key")
        if request.clientproto != b"HTTP/1.1" or not request.getHeader(b"host"):
            raise errors.InvalidRequest("A WebSocket needs HTTP/1.1 and a Host header")


def _header_values(request: Any, name: bytes) -> list[str]:
    """
    :return: The values of a header, which may hold any bytes; Twisted's decoding insists on UTF-8.
    """
    values = request.requestHeaders.getRawHeaders(name, ())
    return [value.decode("latin-1") for value in values]


def _first_value(request: Any, name: bytes) -> str | None:
    return next(iter(_header_values(request, name)), None)


def _list_items(request: Any, name: bytes) -> list[str]:
    """
    :return: The elements of a list, which several headers of this name may hold.
    """
    return [token.strip() for value in _header_values(request, name) for token in value.split(",")]


def _session_id(raw: bytes) -> str | None:
    """
    :return: The client's ``session_id``, or ``None`` if it sent none.
    :raises kgd.errors.InvalidRequest: when it is invalid.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise errors.InvalidRequest("session_id is not UTF-8") from None
    if len(raw) > MAX_SESSION_ID or _CONTROL.search(text):
        raise errors.InvalidRequest(
            f"session_id must have at most {MAX_SESSION_ID} bytes and no control characters"
        )
    return text or None


def _handshake_headers(request: Any) -> dict[str, str]:
    """
    :return: Headers that every response has, for the response to the handshake.
    """
    return {
        name.decode("ascii"): values[0].decode("latin-1")
        for name, values in request.responseHeaders.getAllRawHeaders()
        if name.lower().startswith(_HANDSHAKE_HEADER_PREFIXES)
    }


class _Code(msgspec.Struct):
    code: str = ""


_read_code = msgspec.json.Decoder(_Code).decode


class MessageAudit:
    """
    Records clients' messages in the audit log, except those that only ask for something.
    """

    def __init__(self, audit: AuditLog, settings: Settings) -> None:
        self._audit = audit
        self._allowed = settings.allowed_message_types

    def recorder_for(
        self, requester: RequestContext, kernel: IKernel, session_id: str | None
    ) -> Callable[[ClientMessage], None] | None:
        """
        :param requester: The request that opened the WebSocket.
        :return: To be called with each message from the client; ``None`` if the audit log is off.
        """
        if not self._audit.is_on:
            return None

        def record(request: ClientMessage) -> None:
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
                msg_id=_plain_id(request.msg_id),
                size=request.size,
                refused=True if is_refused else None,
                code=_code_of(request.parts[3]) if is_execution and self._audit.with_code else None,
            )

        return record


def _plain_id(msg_id: MsgId) -> Any:
    """
    :return: An id as the type that it came as; a long one that is no text as its JSON.
    """
    if type(msg_id) is OddId and len(msg_id) <= MAX_FIELD:
        with contextlib.suppress(*JSON_ERRORS):
            return msgspec.json.decode(msg_id.encode())
    return msg_id


def _code_of(content: Buffer) -> str:
    try:
        return _read_code(content).code
    except JSON_ERRORS:
        return ""
