"""
Applies ``X-Forwarded-For`` and similar headers of a proxy in front of the gateway.

Every client can send these headers, so they apply only with ``--trust-xheaders``.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.web.http_headers import Headers


def apply_forwarded_headers(request: Any) -> None:
    """
    Set the client address and the scheme of a request to those that the proxy tells.
    """
    address = client_address(request.requestHeaders)
    if address is not None:
        request.getClientAddress = lambda: address
    secure = is_secure(request.requestHeaders)
    if secure is not None:
        request.isSecure = lambda: secure


def client_address(headers: Headers) -> IPv4Address | IPv6Address | None:
    """
    :return: The client's address: ``X-Real-Ip``, or the last address of ``X-Forwarded-For``, which
        the nearest proxy has added. ``None`` if there is none.
    """
    for name in ("X-Real-Ip", "X-Forwarded-For"):
        try:
            address = ip_address(_last(headers, name))
        except ValueError:
            continue
        kind = IPv4Address if address.version == 4 else IPv6Address
        return kind("TCP", str(address), 0)
    return None


def is_secure(headers: Headers) -> bool | None:
    """
    :return: Whether the client uses https, by ``X-Scheme`` or ``X-Forwarded-Proto``; ``None`` if
        neither tells.
    """
    for name in ("X-Scheme", "X-Forwarded-Proto"):
        scheme = _last(headers, name).lower()
        if scheme in ("http", "https"):
            return scheme == "https"
    return None


def _last(headers: Headers, name: str) -> str:
    """
    :return: The last element of a list, which several headers of this name may hold.
    """
    values = headers.getRawHeaders(name.encode("ascii")) or [b""]
    # Clients may send any bytes; Twisted's decoding insists on UTF-8.
    return values[-1].decode("latin-1").rpartition(",")[2].strip()
