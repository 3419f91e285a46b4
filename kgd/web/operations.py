"""
What every personality has for those who run the gateway, unless it serves these paths itself.
"""

from __future__ import annotations

import time

from kgd.interfaces import IGateway
from kgd.web.drain import DrainAPI
from kgd.web.health import HealthAPI
from kgd.web.metrics import MetricsAPI
from kgd.web.public import PUBLIC
from kgd.web.routes import RouteTable
from kgd.web.status import StatusAPI


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
