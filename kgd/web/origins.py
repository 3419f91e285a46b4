"""
Which web pages may talk to the gateway.
"""

from __future__ import annotations

from urllib.parse import urlsplit


def allowed_origins(setting: str) -> list[str]:
    """
    :param setting: ``*``, one origin, or several with commas between them.
    """
    return [origin.strip().lower() for origin in setting.split(",") if origin.strip()]


def is_allowed(origin: str | None, host: str | None, setting: str) -> bool:
    """
    :param origin: The ``Origin`` header; programs other than browsers send none.
    :param host: The ``Host`` header.
    :param setting: The value of ``--allow-origin``.
    """
    if origin is None or host is None or setting.strip() == "*":
        return True
    if origin.lower() in allowed_origins(setting):
        return True
    try:
        netloc = urlsplit(origin).netloc
    except ValueError:
        return False
    return bool(netloc) and netloc == host


def allow_origin_header(origin: str | None, setting: str) -> tuple[str, bool]:
    """
    :return: The value of ``Access-Control-Allow-Origin``, empty for none, and whether it depends
        on the request.
    """
    allowed = allowed_origins(setting)
    if len(allowed) < 2:
        return setting.strip(), False
    return (origin if origin is not None and origin.lower() in allowed else ""), True
