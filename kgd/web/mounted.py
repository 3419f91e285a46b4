"""
The gateway as a resource in another application's tree, and the base URL of requests.
"""

from __future__ import annotations

import os
from types import MethodType
from typing import Any
from urllib.parse import parse_qs
from weakref import proxy

from twisted.web.resource import IResource, Resource

from kgd import errors
from kgd.auth.in_requests import token_from_query, without_token
from kgd.observability.counters import Counters
from kgd.settings import Settings
from kgd.web.embedded import fail_request
from kgd.web.errors import refuse
from kgd.web.responses import ResponseHeaders


def find_base_url(request: Any, configured: bytes) -> bytes:
    """
    Find the base URL, which precedes the gateway's own paths.

    :param configured: The base URL of the settings, for a gateway at the root.
    :return: ``b""`` or ``b"/foo/bar"``, as it is in the path of the request. For a gateway that is
        mounted below a path, it is that path.
    """
    depth = len(request.prepath)
    if not depth:
        return configured
    # Twisted has decoded the segments of prepath, but not the path.
    return b"/" + b"/".join(request.path.split(b"/")[1 : depth + 1])


def set_base_url(request: Any, base: bytes) -> None:
    """
    Keep the base URL for :py:func:`base_url`, because Klein changes ``prepath``.
    """
    request.kgd_base_url = base.decode("utf-8", "replace")


def base_url(request: Any) -> str:
    """
    :return: The base URL for the client that sent a request: ``""`` or ``/foo/bar``. Links to the
        gateway's own paths begin with it.
    """
    base: str = request.kgd_base_url
    return base


class MountedResource(Resource):
    """
    Serves the gateway while it runs, and otherwise answers 503.

    :param counters: Where to count requests.
    :ivar root: The gateway's resource, or ``None`` while the gateway does not run.
    :ivar reason: Why it does not run, for clients.
    """

    isLeaf = True

    def __init__(self, settings: Settings, counters: Counters) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._settings = settings
        self._response_headers = ResponseHeaders(settings, counters)
        self.root: IResource | None = None
        self.reason = "the gateway has not been started"

    def render(self, request: Any) -> Any:
        """
        Have the gateway answer, or refuse the request.
        """
        self._undo_site_changes(request)
        if self.root is None:
            return self._refuse(request, errors.Unavailable(self.reason, 1))
        limit = self._settings.max_body_size
        if request.content.seek(0, os.SEEK_END) > limit:
            return self._refuse(
                request, errors.BodyTooLarge(f"the body may have at most {limit} bytes")
            )
        request.content.seek(0)
        return self.root.render(request)  # type: ignore[no-untyped-call]

    def _refuse(self, request: Any, error: errors.GatewayError) -> bytes:
        self._response_headers.prepare(request).end_with_request()
        return refuse(request, error)

    def _undo_site_changes(self, request: Any) -> None:
        """
        Undo what Twisted's site does to requests and :py:class:`kgd.web.server.site.GatewaySite`
        does not.
        """
        request.defaultContentType = None
        # A proxy, because otherwise each would keep the other.
        request.processingFailed = MethodType(fail_request, proxy(request))
        if self._settings.needs_token:
            _hide_token(request)
        # Twisted adds the fields of a posted form to the arguments of the query.
        request.args = parse_qs(_query(request), keep_blank_values=True)


def _query(request: Any) -> bytes:
    query: bytes = request.uri.partition(b"?")[2]
    return query


def _hide_token(request: Any) -> None:
    """
    Move the token from the query to the ``Authorization`` header, so that it does not get into the
    application's access log.
    """
    headers = request.requestHeaders
    token = token_from_query(_query(request))
    if token is not None:
        # It takes precedence over the header.
        headers.setRawHeaders(b"Authorization", [b"token " + token])
        request.uri = without_token(request.uri)
    referer = request.getHeader(b"referer")
    if referer is not None:
        headers.setRawHeaders(b"Referer", [without_token(referer)])
