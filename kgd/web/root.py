"""
The root of what is served: CORS, then the name, the token and the origin, then the personality.
"""

from __future__ import annotations

from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from twisted.web.error import UnsupportedMethod
from twisted.web.resource import IResource, Resource

from kgd import errors
from kgd.auth.in_requests import presented
from kgd.auth.token import AuthToken
from kgd.endpoints.origins import is_allowed
from kgd.interfaces import Access, IPersonality
from kgd.observability.audit import AuditLog
from kgd.observability.counters import Counters
from kgd.observability.request_context import CURRENT_REQUEST
from kgd.settings import Settings
from kgd.web.access import HostGuard
from kgd.web.access_log import RequestLog, request_log_of
from kgd.web.embedded import render
from kgd.web.errors import refuse
from kgd.web.mounted import note_base, take_base
from kgd.web.responses import ResponseHeaders

if TYPE_CHECKING:
    # Klein, which this imports, would choose a reactor.
    from kgd.web.routes import RouteTable


class GatewayResource(Resource):
    """
    Wraps the whole tree of a personality, so that no route can be forgotten.

    :param tally: Where to count requests.
    :param audit: Who wants to know with which token they come.
    :param token: What they have to present; by default, what the settings hold themselves.
    :param operations: What is served below constant paths that are unknown to the personality.
    """

    isLeaf = True

    def __init__(
        self,
        settings: Settings,
        personality: IPersonality,
        resource: IResource,
        counters: Counters | None = None,
        audit: AuditLog | None = None,
        token: AuthToken | None = None,
        operations: RouteTable | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._response_headers = ResponseHeaders(settings, counters)
        self._audit = audit or AuditLog()
        self._token = AuthToken(settings) if token is None else token
        self._hosts = HostGuard(settings, needs_token=self._token.is_needed)
        self._settings = settings
        # Who knows what a path demands, and what serves it.
        self._usual = (personality, resource)
        self._operated: dict[str, tuple[RouteTable, IResource]] = {}
        if operations is not None:
            serving = (operations, operations.resource())
            self._operated = {route.rule: serving for route in operations.routes}
        self._base = settings.base_url.encode("utf-8")

    def render(self, request: Any) -> Any:
        """
        Answer, or pass the request on.
        """
        exchange = self.prepare(request)
        exchange.watch()
        # Whatever is logged from here on belongs to this request, and nothing after that does.
        context = copy_context()
        context.run(CURRENT_REQUEST.set, exchange.requester)
        return context.run(self._answer, request)

    def _answer(self, request: Any) -> Any:
        try:
            self._hosts.check(request)
            base, path = self._split(request)
            served, resource = self._who_serves(path)
            if request.method == b"OPTIONS" and self._answers_options(request, path, served):
                return b""
            self._admit(request, path, served)
            request.prepath = base.split(b"/")[1:]
            note_base(request, base)
            # It would not have been admitted without one.
            assert path is not None
            return render(resource, request, path)
        except UnsupportedMethod as error:
            allowed: list[bytes] = list(error.allowedMethods)
            return refuse(request, errors.NoSuchMethod([each.decode("ascii") for each in allowed]))
        except Exception as error:
            return refuse(request, error)

    def check_before_body(self, request: Any) -> None:
        """
        :raises errors.GatewayError: when the request will be refused, whatever its body will be.
        """
        self.prepare(request)
        self._hosts.check(request)
        if request.method != b"OPTIONS":
            path = self._split(request)[1]
            self._admit(request, path, self._who_serves(path)[0])

    def prepare(self, request: Any) -> RequestLog:
        """
        Set the headers that every response has, also one that is refused before it gets here.
        """
        return self._response_headers.prepare(request)

    def _split(self, request: Any) -> tuple[bytes, str | None]:
        """
        :return: The base URL, and what was asked for below it; ``None`` when that cannot be there.
        """
        base = take_base(request, self._base)
        path = request.path
        if not path.startswith(base + b"/") or not path.isascii():
            return base, None
        return base, path[len(base) :].decode("ascii")

    def _who_serves(self, path: str | None) -> tuple[IPersonality | RouteTable, IResource]:
        found = self._operated.get(path or "")
        if found is not None and path and self._usual[0].access(path) is Access.UNKNOWN:
            return found
        return self._usual

    def _answers_options(
        self, request: Any, path: str | None, served: IPersonality | RouteTable
    ) -> bool:
        """
        Whether ``OPTIONS`` is not for the personality: it needs no token, and runs nothing.
        """
        try:
            methods = served.methods(path) if path is not None else ()
        except errors.GatewayError:
            return True
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

    def _admit(self, request: Any, path: str | None, served: IPersonality | RouteTable) -> None:
        """
        :raises errors.GatewayError: unless the request may be served.
        """
        access = served.access(path) if path is not None else Access.UNKNOWN
        if not isinstance(access, Access):
            # Whoever forgot to say shall not let everybody in.
            raise TypeError(
                f"access({path!r}) of the personality is {access!r}, which is no Access"
            )
        if access is Access.UNKNOWN:
            raise errors.NoSuchResource("")
        if access is not Access.PUBLIC:
            query = request.uri.partition(b"?")[2]
            token = presented(query, request.getHeader(b"authorization"))
            if not self._token.admits(token):
                raise errors.Unauthorized("")
            if self._audit.is_on:
                request_log_of(request).requester.token = self._audit.fingerprint(token)
        if access is Access.GUARDED and not self._is_allowed_origin(request):
            raise errors.CrossOriginRefused("")

    def _is_allowed_origin(self, request: Any) -> bool:
        if not request.requestHeaders.hasHeader(b"origin"):
            return True
        # Clients may send any bytes, and Twisted itself would insist on UTF-8.
        origin, host = (
            value.decode("latin-1") if value is not None else None
            for value in map(request.getHeader, (b"origin", b"host"))
        )
        allowed = self._settings.cors.allow_origin
        return is_allowed(origin, host, allowed, secure=request.isSecure())
