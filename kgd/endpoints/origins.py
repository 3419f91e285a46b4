"""
Origins of web pages, and which of them may use the gateway (RFC 6454).
"""

from __future__ import annotations

import re
from functools import lru_cache

# Scheme, host and port as browsers write them; an opaque origin is "null".
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([^/?#@*\\\s:\[\]]+|\[[0-9a-f:.]+\])(?::(\d{1,5}))?")
_DEFAULT_PORTS = {"http": "80", "https": "443"}


def normalized(origin: str) -> str:
    """
    :return: The origin in lower case and without the scheme's default port; empty if it is not an
        origin, like ``null`` or an address without a scheme.
    """
    found = _ORIGIN.fullmatch(origin.lower())
    if not found:
        return ""
    scheme, host, port = found.groups()
    shown = "" if port is None or port == _DEFAULT_PORTS.get(scheme) else f":{port}"
    return f"{scheme}://{host}{shown}"


@lru_cache(maxsize=8)
def allowed_origins(setting: str) -> tuple[str, ...]:
    """
    :param setting: ``*``, one origin, or several with commas between them; anything else allows
        nothing.
    """
    each = (origin.strip().removesuffix("/") for origin in setting.split(","))
    found = (origin if origin == "*" else normalized(origin) for origin in each)
    return tuple(filter(None, found))


def is_allowed_origin(origin: str | None, host: str | None, setting: str, *, secure: bool) -> bool:
    """
    Whether a page of this origin may use the gateway; scheme, host and port are all compared.

    :param origin: The ``Origin`` header; programs other than browsers send none.
    :param host: The ``Host`` header.
    :param setting: The value of ``--allow-origin``.
    :param secure: Whether the request came over TLS.
    """
    allowed = allowed_origins(setting)
    if origin is None or "*" in allowed:
        return True
    asking = normalized(origin)
    if not asking:
        return False
    scheme = "https" if secure else "http"
    return asking in allowed or (host is not None and asking == normalized(f"{scheme}://{host}"))


def allow_origin_header(origin: str | None, setting: str) -> tuple[str, bool]:
    """
    :return: The value of ``Access-Control-Allow-Origin``, empty for none, and whether it depends
        on the request.
    """
    allowed = allowed_origins(setting)
    if "*" in allowed:
        return "*", False
    if len(allowed) < 2:
        return (allowed[0] if allowed else ""), False
    return (origin if origin is not None and normalized(origin) in allowed else ""), True
