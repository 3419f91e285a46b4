"""
Who is who: callers that want the same kernel again.
"""

from __future__ import annotations

import secrets
from typing import Any

CALLER_COOKIE = b"kgd-caller"
# Whoever sends more than this is given no kernel of their own.
_MAX_CALLER = 256


def identify_caller(request: Any, sticky: str, path: str) -> str | None:
    """
    Tell a caller; one without a cookie gets one with the answer.

    :param sticky: As for ``--sticky``.
    :param path: Where the cookie is for.
    :return: The same for all requests of a caller; ``None`` when it is all the same which kernel
        serves it.
    """
    if not sticky:
        return None
    if sticky != "cookie":
        return _valid_caller(request.getHeader(sticky.encode("ascii")))
    caller = _valid_caller(request.getCookie(CALLER_COOKIE))
    if caller is None:
        caller = secrets.token_urlsafe(16)
        request.addCookie(
            CALLER_COOKIE,
            caller,
            path=path,
            httpOnly=True,
            sameSite="lax",
            secure=request.isSecure(),
        )
    return caller


def _valid_caller(value: bytes | None) -> str | None:
    return value.decode("latin-1") if value and len(value) <= _MAX_CALLER else None
