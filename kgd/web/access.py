"""
Checks the ``Host`` header, against DNS rebinding, refuses headers that contradict each other, and
lists the routes that need no token.

The owner of a web page can have the page's name resolve to 127.0.0.1. The browser then takes the
gateway's responses for the page's own, so that checks of ``Origin`` do not help; but ``Host`` has
the page's name. Browsers always send it, so that a request without it, such as a health check of
HTTP/1.0, comes from no page.
"""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from typing import Any

from kgd.endpoints.addresses import Reach, is_loopback, parse_endpoint, reach_of
from kgd.errors import HostRefused, InvalidRequest
from kgd.settings import Settings

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\[\]:@/\\%\s]+)(?::\d*)?", re.IGNORECASE)


def hostname_of(host: str) -> str:
    """
    :param host: A ``Host`` header.
    :return: The name or address, without port and brackets, in lower case; empty if it is invalid.
    """
    found = _HOST.fullmatch(host.strip())
    return found[1].strip("[]").rstrip(".").lower() if found else ""


def is_allowed_host(hosts: Sequence[str], allowed: Set[str]) -> bool:
    """
    Whether the ``Host`` of a request names loopback or an allowed host, or the request names none.

    :param hosts: The ``Host`` headers of the request.
    :param allowed: Names, with a port or for all ports; ``*`` stands for all names.
    """
    if "*" in allowed or not any(hosts):
        return True
    if len(hosts) > 1:
        return False
    name, whole = hostname_of(hosts[0]), hosts[0].strip().lower()
    return is_loopback(name) or any(
        whole == each or (name and name == each.strip("[]").rstrip("."))
        for each in map(str.lower, allowed)
    )


class HostGuard:
    """
    Refuses host names of web pages where nothing else protects the gateway from them: on loopback,
    without a token.

    It does nothing for gateways that listen to other machines with ``--insecure-no-auth``, nor for
    Unix sockets, which browsers cannot reach.

    :param needs_token: Whether clients need a token.
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
        :raises kgd.errors.HostRefused: when the host of a request is not allowed.
        """
        if not self._is_on or not is_loopback(getattr(request.getHost(), "host", "")):
            return
        raw = request.requestHeaders.getRawHeaders(b"host") or []
        if not is_allowed_host([host.decode("latin-1") for host in raw], self._allowed):
            raise HostRefused(
                "This gateway has no token, so it answers only to names like localhost; its "
                "operator can allow this name with --allowed-hosts, or set a token"
            )


def check_single_headers(request: Any, names: Set[bytes]) -> None:
    """
    Check that headers which have one value are not there twice, not even with the same value: a
    proxy may have judged the other one.

    :param names: Their names in lower case.
    :raises kgd.errors.InvalidRequest: when one of them is.
    """
    for name, values in request.requestHeaders.getAllRawHeaders():
        if len(values) > 1 and name.lower() in names:
            raise InvalidRequest(
                f"There are {len(values)} {name.decode('latin-1')} headers; send one of them"
            )


#: The rules of the routes that may be public; see :py:class:`kgd.web.routes.Route`.
PUBLIC_ROUTES = frozenset(
    {
        # Descriptions of the API, without anything about its use.
        "/api/swagger.json",
        "/api/swagger.yaml",
        "/api/openapi.json",
        # The page on which one can try it, with a token that one enters there.
        "/api/docs",
        "/api/docs/<path:name>",
        # Probes for operators: ok or not.
        "/healthz",
        "/readyz",
        # With --metrics-public.
        "/metrics",
        # Files that the operator publishes, with --static-path.
        "/public/<path:name>",
        # The style sheet and script of notebook_http's documentation page.
        "/_api/docs/<path:name>",
    }
)
