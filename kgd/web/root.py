"""
The root of the resource tree: checks host name, token, scope and origin, then calls the
personality.
"""

from __future__ import annotations

from contextvars import copy_context
from functools import partial
from typing import Any

from twisted.web.error import UnsupportedMethod
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from kgd import errors
from kgd.auth.identities import set_identity
from kgd.auth.in_requests import token_from_request
from kgd.auth.token import AuthToken
from kgd.endpoints.origins import is_allowed_origin
from kgd.endpoints.paths import has_dot_segment, is_well_formed
from kgd.interfaces import Access, IOperations, IPersonality, Match
from kgd.observability.audit import AuditLog
from kgd.observability.counters import Counters
from kgd.observability.request_context import CURRENT_REQUEST
from kgd.settings import Settings
from kgd.web.access import HostGuard, check_single_headers
from kgd.web.access_log import RequestLog, request_log_of, set_route
from kgd.web.errors import refuse
from kgd.web.mounted import find_base_url, set_base_url
from kgd.web.responses import ResponseHeaders

# The headers by which the gateway decides about every request, and which a client sends once. Who
# reads another one checks that itself.
_SINGLE_HEADERS = frozenset(
    {
        b"access-control-request-method",
        b"access-control-request-private-network",
        b"authorization",
        b"host",
        b"origin",
    }
)
# What web pages of other origins get. That a path is served is told only where a protocol wants it.
_OF_OTHER_ORIGINS: dict[Access, type[errors.GatewayError]] = {
    Access.GUARDED: errors.CrossOriginRefused,
    Access.ORIGIN_CHECKED: errors.OriginForbidden,
}


class RootResource(Resource):
    """
    Serves the personality and the gateway's operations. No request reaches them before all checks.

    :param counters: Where to count requests.
    :param audit: Gets a fingerprint of each token, if it is on.
    :param token: Authenticates clients; by default, the token that the settings hold.
    :param operations: What the gateway serves itself, unless the personality serves the path.
    """

    isLeaf = True

    def __init__(
        self,
        settings: Settings,
        personality: IPersonality,
        counters: Counters | None = None,
        audit: AuditLog | None = None,
        token: AuthToken | None = None,
        operations: IOperations | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._response_headers = ResponseHeaders(settings, counters)
        self._audit = audit or AuditLog()
        self._token = AuthToken(settings) if token is None else token
        self._hosts = HostGuard(settings, needs_token=self._token.is_needed)
        self._settings = settings
        self._personality = personality
        self._operations = operations
        if operations is not None:
            operations.personality = personality
        self._base = settings.base_url.encode("utf-8")

    def render(self, request: Any) -> Any:
        """
        Check a request, and have the personality answer it.
        """
        request_log = self.prepare(request)
        request_log.end_with_request()
        # Everything that is logged in this context belongs to the request.
        context = copy_context()
        context.run(CURRENT_REQUEST.set, request_log.requester)
        return context.run(self._answer, request)

    def _answer(self, request: Any) -> Any:
        try:
            self._check_head(request)
            base, path = self._split_base_url(request)
            match = self._match(request, path)
            if request.method == b"OPTIONS" and self._answers_options(request, match):
                return b""
            found = self._check_access(request, match)
            if path is not None and self._operations is not None:
                self._operations.record_use(request, path)
            request.prepath = base.split(b"/")[1:]
            request.postpath = request.path[len(base) + 1 :].split(b"/")
            set_base_url(request, base)
            if found.route:
                set_route(request, found.route)
            # Exactly: Werkzeug and Klein would take methods in any case.
            if request.method.decode("latin-1") not in found.methods:
                raise errors.NoSuchMethod(found.methods)
            body = found.render(request)
            if body is not NOT_DONE_YET and not isinstance(body, bytes):
                raise TypeError(f"the personality has answered with {type(body)} instead of bytes")
        except UnsupportedMethod as error:
            allowed: list[bytes] = list(error.allowedMethods)
            return refuse(request, errors.NoSuchMethod([each.decode("ascii") for each in allowed]))
        except Exception as error:
            return refuse(request, error)
        return body

    def check_before_body(self, request: Any) -> Any:
        """
        :return: What takes the body, or ``None``.
        :raises errors.GatewayError: when the request is refused whatever its body is.
        """
        self.prepare(request)
        self._check_head(request)
        if request.method == b"OPTIONS":
            return None
        # This match is not kept: token and notebooks may change until the body is there.
        match = self._check_access(request, self._match(request, self._split_base_url(request)[1]))
        return None if match.open_body is None else match.open_body(request)

    def prepare(self, request: Any) -> RequestLog:
        """
        Set the headers of every response, also of one that is refused before it gets here.
        """
        return self._response_headers.prepare(request)

    def _check_head(self, request: Any) -> None:
        """
        :raises errors.GatewayError: for a request that could be understood in two ways, and for a
            host that is not allowed.
        """
        check_single_headers(request, _SINGLE_HEADERS)
        self._hosts.check(request)

    def _split_base_url(self, request: Any) -> tuple[bytes, str | None]:
        """
        :return: The base URL, and the path below it; ``None`` for a path that cannot be served.
        :raises errors.InvalidRequest: when the path is not one.
        """
        base = find_base_url(request, self._base)
        path = request.path
        if not path.startswith(base + b"/"):
            return base, None
        text = path[len(base) :].decode("latin-1")
        if not is_well_formed(text):
            raise errors.InvalidRequest(
                "The path has a character that must be percent-encoded, like %25 for a percent sign"
            )
        return base, None if has_dot_segment(text) else text

    def _match(self, request: Any, path: str | None) -> Match | None:
        """
        :return: What is served, or ``None`` for a path that is not.
        """
        if path is None:
            return None
        method = request.method.decode("latin-1")
        try:
            match = self._personality.match(method, path)
            if match is None and self._operations is not None:
                match = self._operations.match(method, path)
        except errors.GatewayError as error:
            # Only clients with the token are told what is wrong.
            methods = () if method == "OPTIONS" else (method,)
            return Match(Access.ANY_ORIGIN, methods, partial(_fail, error))
        if match is not None and not (
            isinstance(match, Match) and isinstance(match.access, Access)
        ):
            # A defect of a personality must not let anyone in.
            raise TypeError(f"match({method!r}, {path!r}) of the personality returned {match!r}")
        return match

    def _answers_options(self, request: Any, match: Match | None) -> bool:
        """
        Set the headers for ``OPTIONS``, which needs no token.

        :return: Whether that is the whole response, because the request is a preflight request, or
            the personality does not answer this method.
        """
        methods = match.methods if match is not None else ()
        if methods:
            allowed = sorted({*methods, "OPTIONS"})
            request.setHeader(b"Allow", ", ".join(allowed).encode("ascii"))
        is_preflight = request.requestHeaders.hasHeader(b"access-control-request-method")
        if (
            self._settings.allow_private_network
            and request.getHeader(b"access-control-request-private-network") == b"true"
            and self._is_allowed_origin(request)
        ):
            request.setHeader(b"Access-Control-Allow-Private-Network", b"true")
        return is_preflight or "OPTIONS" not in methods

    def _check_access(self, request: Any, match: Match | None) -> Match:
        """
        The one place where a request is authenticated and its identity's scopes are checked.

        :return: The match.
        :raises errors.GatewayError: unless the request may be served.
        """
        if match is None or match.access is Access.UNKNOWN:
            raise errors.NoSuchResource("")
        if match.access is Access.PUBLIC:
            return match
        identity = self._token.authenticate(request)
        if identity is None:
            raise errors.Unauthorized("")
        if not identity.has_scope(match.scope):
            raise errors.ScopeMissing(f"This request needs the scope {match.scope}")
        set_identity(request, identity)
        if self._audit.is_on:
            fingerprint = self._audit.fingerprint(token_from_request(request))
            request_log_of(request).requester.token = fingerprint
        refusal = _OF_OTHER_ORIGINS.get(match.access)
        if refusal is not None and not self._is_allowed_origin(request):
            raise refusal("")
        return match

    def _is_allowed_origin(self, request: Any) -> bool:
        if not request.requestHeaders.hasHeader(b"origin"):
            return True
        # Clients may send any bytes; Twisted's decoding insists on UTF-8.
        origin, host = (
            value.decode("latin-1") if value is not None else None
            for value in map(request.getHeader, (b"origin", b"host"))
        )
        allowed = self._settings.cors.allow_origin
        return is_allowed_origin(origin, host, allowed, secure=request.isSecure())


def _fail(error: Exception, request: Any) -> bytes:
    raise error
