"""
``/api/status``: how much is going on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kgd.interfaces import IKernels
from kgd.protocol.timestamps import timestamp
from kgd.web.responses import json_answer
from kgd.web.routes import Route

# Whoever only looks whether the gateway is there does not use it, and what needs no token says
# nothing about those who have one.
_NO_USE = frozenset(
    {
        b"/api",
        b"/api/status",
        b"/api/swagger.json",
        b"/api/swagger.yaml",
        b"/healthz",
        b"/metrics",
        b"/readyz",
    }
)


class StatusAPI:
    """
    Sums the kernels up.

    :ivar started: When the gateway was, in seconds since the epoch.
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
        return [Route("/api/status", ("GET",), self.show, summary="How much is going on")]

    def note(self, request: Any) -> None:
        """
        A request is being served. With ``no_track_activity`` in its query it is no use either.
        """
        path = b"/" + b"/".join(request.postpath)
        if path not in _NO_USE and b"no_track_activity" not in request.args:
            self._last_activity = self._now()

    def last_activity(self) -> float:
        """
        When somebody, or a kernel, did something last, in seconds since the epoch.
        """
        latest = [kernel.last_activity for kernel in self._kernels.list()]
        # It is kept, so that it does not go back when a kernel goes.
        self._last_activity = max([self._last_activity, *latest])
        return self._last_activity

    def active_duration(self) -> float:
        """
        The time from the start to then, in seconds.
        """
        return self.last_activity() - self.started

    def show(self, request: Any) -> bytes:
        """
        ``GET /api/status``.
        """
        kernels = self._kernels.list()
        return json_answer(
            request,
            {
                "connections": sum(each.connections for each in kernels),
                "kernels": len(kernels),
                "last_activity": timestamp(self.last_activity()),
                "started": timestamp(self.started),
            },
        )
