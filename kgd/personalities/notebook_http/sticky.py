"""
Who is who: callers that want the same kernel again.
"""

from __future__ import annotations

import secrets
from typing import Any

COOKIE = b"kgd-caller"
# Whoever sends more than this is given no kernel of their own.
_LONGEST = 256


def caller_of(request: Any, sticky: str, path: str) -> str | None:
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
        return _known(request.getHeader(sticky.encode("ascii")))
    known = _known(request.getCookie(COOKIE))
    if known is None:
        known = secrets.token_urlsafe(16)
        request.addCookie(
            COOKIE, known, path=path, httpOnly=True, sameSite="lax", secure=request.isSecure()
        )
    return known


def _known(value: bytes | None) -> str | None:
    return value.decode("latin-1") if value and len(value) <= _LONGEST else None
