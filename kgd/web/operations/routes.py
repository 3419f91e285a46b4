"""
The endpoints for operators, which every gateway has unless its personality serves these paths.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from zope.interface import implementer

from kgd.interfaces import IGateway, IMonitored, IOperations, IPersonality, Match, Readiness
from kgd.web.access import PUBLIC_ROUTES
from kgd.web.operations.drain import DrainAPI
from kgd.web.operations.health import HealthAPI
from kgd.web.operations.metrics import MetricsAPI
from kgd.web.operations.status import StatusAPI
from kgd.web.routes import Route, RouteTable


@implementer(IOperations)
class Operations:
    """
    Health, readiness, metrics and draining of one gateway, and its status.

    :ivar personality: The personality that is served; readiness and metrics include its own if it
        is an :py:class:`kgd.interfaces.IMonitored`.
    """

    def __init__(self, gateway: IGateway) -> None:
        self.personality: IPersonality | None = None
        self._draining = gateway.draining
        self._status = StatusAPI(gateway.kernels, time.time)
        self._table = RouteTable(
            [
                *HealthAPI(self._readiness).routes(),
                *MetricsAPI(gateway, self._status, self._metrics).routes(),
                *DrainAPI(gateway.settings, gateway.draining, gateway.kernels).routes(),
            ],
            PUBLIC_ROUTES,
        )

    @property
    def routes(self) -> Sequence[Route]:
        return self._table.routes

    @property
    def status_routes(self) -> Sequence[Route]:
        return self._status.routes()

    def match(self, method: str, path: str) -> Match | None:
        return self._table.match(method, path)

    def record_use(self, request: Any, path: str) -> None:
        self._status.record_use(request, path)

    def _readiness(self) -> Readiness:
        if self._draining.is_on:
            return Readiness(is_ready=False)
        if IMonitored.providedBy(self.personality):
            return self.personality.readiness()
        return Readiness()

    def _metrics(self) -> Iterable[Any]:
        if IMonitored.providedBy(self.personality):
            return self.personality.metrics()
        return ()
