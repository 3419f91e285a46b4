"""
``/healthz`` and ``/readyz``: whether the gateway runs, and whether it takes new requests.

They need no token, so they tell nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kgd.interfaces import Access, Readiness
from kgd.web.responses import encoded_answer
from kgd.web.routes import Route

_TEXT = b"text/plain; charset=utf-8"


class HealthAPI:
    """
    Probes for programs that start, stop and replace gateways.

    :param readiness: Tells whether new requests are taken.
    """

    def __init__(self, readiness: Callable[[], Readiness]) -> None:
        self._readiness = readiness

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
        state = self._readiness()
        if not state.is_ready:
            return encoded_answer(request, b"not ready\n", _TEXT, 503)
        text = "".join(f"{line}\n" for line in ("ok", *state.remarks))
        return encoded_answer(request, text.encode("utf-8"), _TEXT)
