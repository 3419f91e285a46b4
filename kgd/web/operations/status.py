"""
``/api/status``: how many kernels and clients there are, and when the gateway was last used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kgd.interfaces import IKernels
from kgd.protocol.timestamps import timestamp
from kgd.web import models
from kgd.web.responses import json_answer
from kgd.web.routes import Route

# Probes do not use the gateway, and requests without a token must not show in its last use.
_UNTRACKED_PATHS = frozenset(
    {
        "/api",
        "/api/status",
        "/api/swagger.json",
        "/api/swagger.yaml",
        "/healthz",
        "/metrics",
        "/readyz",
    }
)


class StatusAPI:
    """
    Sums up the kernels, and remembers when the gateway was last used.

    :ivar started: When the gateway was started, in seconds since the epoch.
    :param wall_clock: Seconds since the epoch.
    """

    def __init__(self, kernels: IKernels, wall_clock: Callable[[], float]) -> None:
        self._kernels = kernels
        self._now = wall_clock
        self.started = self._last_activity = wall_clock()

    def routes(self) -> list[Route]:
        """
        :return: The routes of this part of the API.
        """
        return [
            Route(
                "/api/status",
                ("GET",),
                self.show,
                summary="Kernels, connections and the last activity",
                scope="api:read",
            )
        ]

    def record_use(self, request: Any, path: str) -> None:
        """
        Count a request as use of the gateway, unless it has ``no_track_activity`` in its query.

        :param path: Below the base URL.
        """
        if path not in _UNTRACKED_PATHS and b"no_track_activity" not in request.args:
            self._last_activity = self._now()

    def last_activity(self) -> float:
        """
        When a client or a kernel was last active, in seconds since the epoch.
        """
        latest = [kernel.last_activity for kernel in self._kernels.list()]
        # Kept, so that it does not go back when a kernel ends.
        self._last_activity = max([self._last_activity, *latest])
        return self._last_activity

    def active_duration(self) -> float:
        """
        Seconds from the start to the last activity.
        """
        return self.last_activity() - self.started

    def show(self, request: Any) -> bytes:
        """
        ``GET /api/status``.
        """
        kernels = self._kernels.listed()
        return json_answer(
            request,
            models.Status(
                connections=sum(each.connections for each in kernels),
                kernels=len(kernels),
                last_activity=timestamp(self.last_activity()),
                started=timestamp(self.started),
            ),
        )
