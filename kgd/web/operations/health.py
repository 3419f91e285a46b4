"""
``/healthz`` and ``/readyz``: whether the gateway lives, and whether it takes new work.

They need no token, so they say no more than that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from kgd.interfaces import Access
from kgd.web.responses import encoded_answer
from kgd.web.routes import Route

_TEXT = b"text/plain; charset=utf-8"


class HealthAPI:
    """
    For whoever starts, stops and replaces gateways.

    :param is_ready: Whether new work is taken.
    :param remarks: Lines to be added to what is said when it is.
    """

    def __init__(
        self, is_ready: Callable[[], bool], remarks: Callable[[], Iterable[str]] = tuple
    ) -> None:
        self._is_ready = is_ready
        self._remarks = remarks

    def routes(self) -> list[Route]:
        """
        :return: The routes of this part of the API.
        """
        return [
            Route("/healthz", ("GET",), self.health, Access.PUBLIC, "Whether the gateway lives"),
            Route("/readyz", ("GET",), self.readiness, Access.PUBLIC, "Whether it takes new work"),
        ]

    def health(self, request: Any) -> bytes:
        """
        ``GET /healthz``.
        """
        return encoded_answer(request, b"ok\n", _TEXT)

    def readiness(self, request: Any) -> bytes:
        """
        ``GET /readyz``.
        """
        if not self._is_ready():
            return encoded_answer(request, b"not ready\n", _TEXT, 503)
        text = "".join(f"{line}\n" for line in ("ok", *self._remarks()))
        return encoded_answer(request, text.encode("utf-8"), _TEXT)
