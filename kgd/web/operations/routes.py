"""
What every personality has for those who run the gateway, unless it serves these paths itself.
"""

from __future__ import annotations

import time

from kgd.interfaces import IGateway
from kgd.web.access import PUBLIC
from kgd.web.operations.drain import DrainAPI
from kgd.web.operations.health import HealthAPI
from kgd.web.operations.metrics import MetricsAPI
from kgd.web.operations.status import StatusAPI
from kgd.web.routes import RouteTable


def operations(gateway: IGateway) -> RouteTable:
    """
    :return: Health, readiness, metrics, draining.
    """
    draining = gateway.draining
    return RouteTable(
        [
            *HealthAPI(lambda: not draining.is_on).routes(),
            *MetricsAPI(gateway, StatusAPI(gateway.kernels, time.time)).routes(),
            *DrainAPI(draining, gateway.kernels).routes(),
        ],
        public=PUBLIC,
    )
