"""
The root of what is served: CORS, then the name, the token and the origin, then the personality.
"""

from __future__ import annotations

from typing import Any

from twisted.web.resource import IResource, Resource

from kgd import errors
from kgd.auth import AuthToken
from kgd.interfaces import Access, IPersonality
from kgd.settings import CORS, Settings
from kgd.web.errors import refuse
from kgd.web.hosts import HostGuard
from kgd.web.origins import allow_origin_header, is_allowed
from kgd.web.tokens import presented


class GatewayResource(Resource):
    """
    Wraps the whole tree of a personality, so that no route can be forgotten.
    """

    isLeaf = True

    def __init__(
        self, settings: Settings, personality: IPersonality, token: AuthToken | None = None
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._token = AuthToken(settings) if token is None else token
        self._hosts = HostGuard(settings, needs_token=self._token.is_needed)
        self._settings = settings
        self._personality = personality
        self._resource: IResource | None = None
        self._base = settings.base_url.encode("utf-8")
        self._cors = constant_cors_headers(settings.cors)

    def render(self, request: Any) -> Any:
        """
        Answer, or pass the request on.
        """
        self.prepare(request)
        try:
            self._hosts.check(request)
            if request.method == b"OPTIONS" and self._answers_options(request):
                return b""
            self._admit(request)
        except errors.GatewayError as error:
            return refuse(request, error)
        if self._resource is None:
            self._resource = self._personality.resource()
        return self._resource.render(request)  # type: ignore[no-untyped-call]

    def prepare(self, request: Any) -> None:
        """
        Set the headers that every response has, also one that is refused before it gets here.
        """
        request.setHeader(b"Server", b"kgd")
        origin = request.getHeader(b"origin")
        value, varies = allow_origin_header(
            origin.decode("latin-1") if origin is not None else None,
            self._settings.cors.allow_origin,
        )
        if varies:
            request.setHeader(b"Vary", b"Origin")
        if value:
            request.setHeader(b"Access-Control-Allow-Origin", value.encode("latin-1"))
        for name, constant in self._cors:
            request.setHeader(name, constant)

    def _answers_options(self, request: Any) -> bool:
        """
        Whether ``OPTIONS`` is not for the personality: it needs no token, and runs nothing.
        """
        try:
            methods = self._personality.methods(self._path(request))
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

    def _path(self, request: Any) -> str:
        """
        :return: What was asked for, below the base URL.
        :raises errors.NoSuchResource: when it is not there.
        """
        path = request.path
        if not path.startswith(self._base + b"/"):
            raise errors.NoSuchResource("")
        try:
            return path[len(self._base) :].decode("ascii")  # type: ignore[no-any-return]
        except UnicodeDecodeError:
            raise errors.NoSuchResource("") from None

    def _admit(self, request: Any) -> None:
        """
        :raises errors.GatewayError: unless the request may be served.
        """
        text = self._path(request)
        access = self._personality.access(text)
        if access is Access.UNKNOWN:
            raise errors.NoSuchResource("")
        if access is not Access.PUBLIC:
            query = request.uri.partition(b"?")[2]
            token = presented(query, request.getHeader(b"authorization"))
            if not self._token.admits(token):
                raise errors.Unauthorized("")
        if access is Access.GUARDED and not self._is_allowed_origin(request):
            raise errors.CrossOriginRefused("")
        # Klein would decode and split the path again; an encoded slash is no separator.
        request.prepath = self._base.split(b"/")[1:]
        request.postpath = text.encode("ascii").split(b"/")[1:]

    def _is_allowed_origin(self, request: Any) -> bool:
        # Clients may send any bytes, and Twisted itself would insist on UTF-8.
        origin, host = (
            value.decode("latin-1") if value is not None else None
            for value in map(request.getHeader, (b"origin", b"host"))
        )
        allowed = self._settings.cors.allow_origin
        return is_allowed(origin, host, allowed, secure=request.isSecure())


def constant_cors_headers(cors: CORS) -> list[tuple[bytes, bytes]]:
    """
    :return: The headers that do not depend on the request; empty ones are left out.
    """
    rows = (
        (b"Access-Control-Allow-Credentials", cors.allow_credentials),
        (b"Access-Control-Allow-Headers", cors.allow_headers),
        (b"Access-Control-Allow-Methods", cors.allow_methods),
        (b"Access-Control-Expose-Headers", cors.expose_headers),
        (b"Access-Control-Max-Age", cors.max_age),
    )
    return [(name, value.encode("latin-1")) for name, value in rows if value]
