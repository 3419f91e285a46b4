"""
The token in a request: where a client may put it.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, unquote_plus

_SCHEME = re.compile(rb"\s*(?:token|bearer)\s+(.*?)\s*", re.IGNORECASE | re.DOTALL)


def presented(query: bytes, authorization: bytes | None) -> bytes | None:
    """
    The query argument wins over the header, even when it is empty. Only ``&`` is between arguments:
    where the token is taken out of a query, it must be found just as it is found here.

    :param query: As it was sent.
    :param authorization: The ``Authorization`` header.
    :return: The token, or ``None`` when there is none.
    """
    if query:
        for name, value in parse_qsl(query.decode("latin-1"), True, encoding="latin-1"):
            if name == "token":
                return value.encode("latin-1")
    found = _SCHEME.fullmatch(authorization or b"")
    return found[1] if found else None


TOKEN_ARGUMENT = "token"  # noqa: S105 - the argument's name


def without_token(url: bytes) -> bytes:
    """
    :return: A URL without the argument that may be the gateway's token.
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
