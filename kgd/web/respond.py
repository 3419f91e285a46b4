"""
Successful answers.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from twisted.web.http import CACHED


def json_answer(request: Any, value: Any, code: int = 200) -> bytes:
    """
    Answer with JSON; one that a ``GET`` asked for carries a strong ``ETag``.

    :return: The body, which is empty when the client has it already.
    """
    return encoded_answer(request, msgspec.json.encode(value), b"application/json", code)


def encoded_answer(request: Any, body: bytes, content_type: bytes, code: int = 200) -> bytes:
    """
    Answer with a body that is ready.
    """
    request.setResponseCode(code)
    request.setHeader(b"Content-Type", content_type)
    request.setHeader(b"X-Content-Type-Options", b"nosniff")
    if code == 200 and request.method in (b"GET", b"HEAD"):
        tag = b'"%b"' % hashlib.sha256(body).hexdigest()[:32].encode("ascii")
        if request.setETag(tag) is CACHED:
            return b""
    request.setHeader(b"Content-Length", b"%d" % len(body))
    return body if request.method != b"HEAD" else b""


def empty_answer(request: Any, code: int = 204) -> bytes:
    """
    Answer without a body.
    """
    request.setResponseCode(code)
    return b""
