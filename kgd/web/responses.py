"""
Makes responses: the headers that all of them have, JSON, and conditional requests.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

import msgspec

from kgd.endpoints.origins import allow_origin_header
from kgd.observability.counters import Counters
from kgd.settings import CORS, Settings
from kgd.web.access_log import RequestLog, RequestLogs
from kgd.web.proxies import apply_forwarded_headers

# A tag in a list; whether it is weak does not matter.
_TAG = re.compile(rb'[\s,]*(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")\s*(?:,|\Z)')


class ResponseHeaders:
    """
    Sets the headers of every response, also of one that is refused early.

    :param counters: Where to count requests.
    """

    def __init__(self, settings: Settings, counters: Counters | None = None) -> None:
        self._request_logs = RequestLogs(settings, counters)
        self._trust_xheaders = settings.trust_xheaders
        self._allow_origin = settings.cors.allow_origin
        self._cors = constant_cors_headers(settings.cors)

    def prepare(self, request: Any) -> RequestLog:
        """
        Set the headers.

        :return: The request's log, which is begun if necessary.
        """
        if self._trust_xheaders:
            apply_forwarded_headers(request)
        request_log = self._request_logs.begin(request)
        request.setHeader(b"X-Request-Id", request_log.requester.request_id.encode("ascii"))
        request.setHeader(b"Server", b"kgd")
        origin = request.getHeader(b"origin")
        value, varies = allow_origin_header(
            origin.decode("latin-1") if origin is not None else None, self._allow_origin
        )
        if varies:
            request.setHeader(b"Vary", b"Origin")
        if value:
            request.setHeader(b"Access-Control-Allow-Origin", value.encode("latin-1"))
        for name, constant in self._cors:
            request.setHeader(name, constant)
        return request_log


def constant_cors_headers(cors: CORS) -> list[tuple[bytes, bytes]]:
    """
    :return: The headers that do not depend on the request, without empty ones.
    """
    rows = (
        (b"Access-Control-Allow-Credentials", cors.allow_credentials),
        (b"Access-Control-Allow-Headers", cors.allow_headers),
        (b"Access-Control-Allow-Methods", cors.allow_methods),
        (b"Access-Control-Expose-Headers", cors.expose_headers),
        (b"Access-Control-Max-Age", cors.max_age),
    )
    return [(name, value.encode("latin-1")) for name, value in rows if value]


def json_answer(request: Any, value: Any, code: int = 200) -> bytes:
    """
    Answer with JSON. The response to a ``GET`` has a strong ``ETag``.

    :param value: What msgspec can encode, above all one of :py:mod:`kgd.web.models`.
    :return: The body, which is empty when the client has it already.
    """
    return encoded_answer(request, msgspec.json.encode(value), b"application/json", code)


def encoded_answer(request: Any, body: bytes, content_type: bytes, code: int = 200) -> bytes:
    """
    As :py:func:`json_answer`, with a body that is already encoded.
    """
    request.setResponseCode(code)
    request.setHeader(b"Content-Type", content_type)
    request.setHeader(b"X-Content-Type-Options", b"nosniff")
    if code == 200 and request.method in (b"GET", b"HEAD") and is_not_modified(request, body):
        return b""
    request.setHeader(b"Content-Length", b"%d" % len(body))
    return body if request.method != b"HEAD" else b""


def is_not_modified(request: Any, body: bytes) -> bool:
    """
    Set the ``ETag`` of a response to ``GET`` or ``HEAD``.

    Format: RFC 9110, 8.8.3 and 13.1.2. The comparison is a weak one, because proxies that compress
    our responses make their tags weak.

    :return: Whether the client has the body already. Then the status is set to 304.
    """
    tag = b'"%b"' % hashlib.sha256(body).hexdigest()[:32].encode("ascii")
    request.setHeader(b"ETag", tag)
    given = b",".join(request.requestHeaders.getRawHeaders(b"if-none-match", ()))
    if given.strip() != b"*" and tag not in parse_tags(given):
        return False
    request.setResponseCode(304)
    return True


def parse_tags(given: bytes) -> set[bytes]:
    """
    Read ``If-None-Match`` or ``If-Match`` strictly. Werkzeug's ``parse_etags`` takes tags without
    quotes, too, and ``w/`` for ``W/``; Twisted's own comparison takes no weak ones.
    """
    found, at = set(), 0
    while match := _TAG.match(given, at):
        found.add(match[1])
        at = match.end()
    return found


def empty_answer(request: Any, code: int = 204) -> bytes:
    """
    Answer without a body.
    """
    request.setResponseCode(code)
    return b""
