"""
The token in a request: reading it, and removing it from URLs.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

TOKEN_ARGUMENT = "token"  # noqa: S105 - the argument's name
_SCHEME = re.compile(rb"\s*(?:token|bearer)\s+(.*?)\s*", re.IGNORECASE | re.DOTALL)


def token_from_request(request: Any) -> bytes | None:
    """
    :param request: A request of ``twisted.web``.
    :return: The token in its query or, without one there, in its ``Authorization`` header;
        ``None`` when it has none.
    """
    token = token_from_query(request.uri.partition(b"?")[2])
    if token is not None:
        return token
    found = _SCHEME.fullmatch(request.getHeader(b"authorization") or b"")
    return found[1] if found else None


def token_from_query(query: bytes) -> bytes | None:
    """
    Read the token from a query. Only ``&`` separates arguments, so that :py:func:`without_token`
    removes exactly what is found here.

    :param query: As the client sent it.
    :return: The first token, which may be empty, or ``None`` when there is none.
    """
    if query:
        for name, value in parse_qsl(query.decode("latin-1"), True, encoding="latin-1"):
            if name == TOKEN_ARGUMENT:
                return value.encode("latin-1")
    return None


def without_token(url: bytes) -> bytes:
    """
    :return: The URL without the argument that may hold the gateway's token.
    """
    path, _, query = url.partition(b"?")
    pairs = query.split(b"&")
    kept = [
        pair
        for pair in pairs
        if unquote_plus(pair.partition(b"=")[0].decode("latin-1")) != TOKEN_ARGUMENT
    ]
    if len(kept) == len(pairs):
        return url
    return path + b"?" + b"&".join(kept) if kept else path
