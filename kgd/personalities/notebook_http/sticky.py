"""
Identifies callers that are to get the same kernel each time (``--sticky``).
"""

from __future__ import annotations

import secrets
from typing import Any

from kgd.web.access import check_single_headers

CALLER_COOKIE = b"kgd-caller"
# A caller with a longer name, in bytes, gets any kernel.
_MAX_CALLER = 256


def identify_caller(request: Any, sticky: str, path: str) -> str | None:
    """
    Identify the caller of a request; a caller without a cookie is sent one.

    :param sticky: The value of ``--sticky``.
    :param path: The cookie's path.
    :return: The same name for all requests of a caller; ``None`` if any kernel may serve it.
    :raises kgd.errors.InvalidRequest: when the header that names the caller is there twice.
    """
    if not sticky:
        return None
    if sticky != "cookie":
        name = sticky.encode("ascii").lower()
        check_single_headers(request, {name})
        return _valid_caller(request.getHeader(name))
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
