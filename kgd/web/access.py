"""
Under which names the gateway answers when nothing else protects it.

A web page may come from a name that its owner then points to 127.0.0.1: the browser takes our
answers for that page's own, so that no check of origins helps. But it says which name it used.
"""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from typing import Any

from kgd.endpoints.addresses import Reach, is_loopback, parse_endpoint, reach_of
from kgd.errors import HostRefused
from kgd.settings import Settings

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\[\]:@/\\%\s]+)(?::\d*)?", re.IGNORECASE)


def hostname_of(host: str) -> str:
    """
    :param host: A ``Host`` header.
    :return: The name or address in it, without port and brackets, in lower case; empty if there is
        none.
    """
    found = _HOST.fullmatch(host.strip())
    return found[1].strip("[]").rstrip(".").lower() if found else ""


def is_allowed_host(hosts: Sequence[str], allowed: Set[str]) -> bool:
    """
    :param hosts: The ``Host`` headers of a request, of which there has to be one.
    :param allowed: Names to answer to beside those of loopback, with a port or for any port; ``*``
        is all.
    """
    if "*" in allowed:
        return True
    if len(hosts) != 1:
        return False
    name, whole = hostname_of(hosts[0]), hosts[0].strip().lower()
    return is_loopback(name) or any(
        whole == each or (name and name == each.strip("[]").rstrip("."))
        for each in map(str.lower, allowed)
    )


class HostGuard:
    """
    Refuses names that are not ours, where only the browser stands between web pages and us: what
    comes over loopback, and needs no token.

    It does nothing for a gateway of which the operator says that everybody may use it, from
    anywhere; nor for Unix sockets, which no browser can reach.

    :param needs_token: Whether the gateway does.
    """

    def __init__(self, settings: Settings, *, needs_token: bool) -> None:
        reaches = [parse_endpoint(text).reach for text in settings.listen] or [
            reach_of(settings.ip)
        ]
        is_for_all = settings.insecure_no_auth and Reach.REMOTE in reaches
        self._is_on = not needs_token and not is_for_all
        self._allowed = settings.allowed_hosts

    def check(self, request: Any) -> None:
        """
        :raises kgd.errors.HostRefused: when a request has the wrong name.
        """
        if not self._is_on or not is_loopback(getattr(request.getHost(), "host", "")):
            return
        raw = request.requestHeaders.getRawHeaders(b"host") or []
        if not is_allowed_host([host.decode("latin-1") for host in raw], self._allowed):
            raise HostRefused(
                "This gateway needs no token, and so answers only to names like localhost; its "
                "operator can add this one with --allowed-hosts, or set a token"
            )


#: The rules of routes, as :py:class:`kgd.web.routes.Route` has them.
PUBLIC_ROUTES = frozenset(
    {
        # What there is, but nothing about who uses it.
        "/api/swagger.json",
        "/api/swagger.yaml",
        # For whoever keeps the gateway running: ok or not.
        "/healthz",
        "/readyz",
        # With --metrics-public.
        "/metrics",
        # Files that the operator publishes, with --static-path.
        "/public/<path:name>",
        # Style and code of the page of notebook_http, the same for everybody.
        "/_api/docs/<path:name>",
    }
)
