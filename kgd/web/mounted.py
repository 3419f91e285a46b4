"""
A gateway in the tree of another application, whose HTTP server is not ours.
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
from kgd.web.embedded import fail
from kgd.web.errors import refuse
from kgd.web.responses import ResponseHeaders


def take_base(request: Any, configured: bytes) -> bytes:
    """
    Find out what comes before the gateway's own paths.

    :param configured: The base URL of the settings, for requests that come in at the root.
    :return: ``b""`` or ``b"/foo/bar"``, as it is in the path of the request. A gateway that is
        mounted below a path has that for its base URL.
    """
    depth = len(request.prepath)
    if not depth:
        return configured
    # Twisted has decoded the segments; what was sent is still in the path.
    return b"/" + b"/".join(request.path.split(b"/")[1 : depth + 1])


def note_base(request: Any, base: bytes) -> None:
    """
    Remember it for :py:func:`base_url`, since Klein changes ``prepath`` as it goes.
    """
    request.kgd_base_url = base.decode("utf-8", "replace")


def base_url(request: Any) -> str:
    """
    :return: What links to the gateway's own paths begin with, for whoever sent this request: ``""``
        or ``/foo/bar``.
    """
    base: str = request.kgd_base_url
    return base


class MountedResource(Resource):
    """
    What an application puts into its tree, before the gateway is started and after it has ended.

    :param tally: Where requests are counted.
    :ivar root: The gateway's resource, or ``None`` while it does not run.
    :ivar reason: Why it does not, for clients.
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
        Answer, if the gateway runs.
        """
        self._make_ours(request)
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
        self._response_headers.prepare(request).watch()
        return refuse(request, error)

    def _make_ours(self, request: Any) -> None:
        """
        Take back what Twisted's own server does to requests, and ours does not.
        """
        request.defaultContentType = None
        # Each would keep the other.
        request.processingFailed = MethodType(fail, proxy(request))
        if self._settings.needs_token:
            _hide_token(request)
        # A field of a form that was posted is no argument of the query.
        request.args = parse_qs(_query(request), keep_blank_values=True)


def _query(request: Any) -> bytes:
    query: bytes = request.uri.partition(b"?")[2]
    return query


def _hide_token(request: Any) -> None:
    """
    Move the token from the query, which gets into the application's access log, to where that does
    not look.
    """
    headers = request.requestHeaders
    token = token_from_query(_query(request))
    if token is not None:
        # The one in the query counts.
        headers.setRawHeaders(b"Authorization", [b"token " + token])
        request.uri = without_token(request.uri)
    referer = request.getHeader(b"referer")
    if referer is not None:
        headers.setRawHeaders(b"Referer", [without_token(referer)])
