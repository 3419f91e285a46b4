"""
``/api/status``: how much is going on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kgd.interfaces import IKernels
from kgd.protocol.timestamps import timestamp
from kgd.web.respond import json_answer
from kgd.web.routes import Route

# Whoever only looks whether the gateway is there does not use it.
_NO_USE = (b"/api", b"/api/status")


class StatusAPI:
    """
    Sums the kernels up.

    :ivar started: When the gateway was, in seconds since the epoch.
    :param wall_clock: Seconds since the epoch.
    """

    def __init__(self, kernels: IKernels, wall_clock: Callable[[], float]) -> None:
        self._kernels = kernels
        self._now = wall_clock
        self.started = self._last_request = wall_clock()

    def routes(self) -> list[Route]:
        """
        :return: The routes of this part of the API.
        """
        return [Route("/api/status", ("GET",), self.show, summary="How much is going on")]

    def note(self, request: Any) -> None:
        """
        A request is being served.
        """
        path = b"/" + b"/".join(request.postpath)
        if path not in _NO_USE and request.args.get(b"no_track_activity") != [b"1"]:
            self._last_request = self._now()

    def last_activity(self) -> float:
        """
        When somebody, or a kernel, did something last, in seconds since the epoch.
        """
        kernels = self._kernels.list()
        return max([self._last_request, *(each.last_activity for each in kernels)])

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
