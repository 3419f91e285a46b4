"""
The personality ``jupyter_websocket``: what Jupyter's own server does for kernels.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from twisted.internet.defer import Deferred, succeed
from twisted.plugin import IPlugin
from twisted.web.resource import IResource
from zope.interface import implementer

from kgd.interfaces import Access, IGateway, IPersonality, IPersonalityMaker
from kgd.sessions.store import SessionStore
from kgd.web.access import PUBLIC
from kgd.web.api.about import AboutAPI
from kgd.web.api.channels import ChannelsAPI
from kgd.web.api.kernels import KernelsAPI
from kgd.web.api.kernelspecs import KernelSpecsAPI
from kgd.web.api.me import MeAPI
from kgd.web.api.openapi import SwaggerAPI
from kgd.web.api.sessions import SessionsAPI
from kgd.web.operations.drain import DrainAPI
from kgd.web.operations.health import HealthAPI
from kgd.web.operations.metrics import MetricsAPI
from kgd.web.operations.status import StatusAPI
from kgd.web.routes import Route, RouteTable


@implementer(IPersonality)
class JupyterWebsocket:
    """
    REST for kernels, kernelspecs and sessions, and a WebSocket for each client of a kernel.
    """

    def __init__(self, gateway: IGateway) -> None:
        settings = gateway.settings
        self._kernels = gateway.kernels
        draining = gateway.draining
        sessions = SessionStore(settings, gateway.kernels, draining)
        status = StatusAPI(gateway.kernels, time.time)
        self._table = RouteTable(
            [
                *AboutAPI().routes(),
                *status.routes(),
                *MeAPI().routes(),
                *HealthAPI(lambda: not draining.is_on).routes(),
                *MetricsAPI(gateway, status).routes(),
                *DrainAPI(draining, gateway.kernels).routes(),
                *SwaggerAPI(self._routes).routes(),
                *KernelsAPI(settings, gateway.kernels, draining).routes(),
                *ChannelsAPI(gateway).routes(),
                *KernelSpecsAPI(settings, gateway.kernel_specs).routes(),
                *SessionsAPI(settings, sessions).routes(),
            ],
            status.note,
            PUBLIC,
        )

    def _routes(self) -> tuple[Route, ...]:
        return self._table.routes

    def start(self) -> Deferred[None]:
        """
        Have the spare kernels ready before the gateway listens.
        """
        return self._kernels.prespawn()  # type: ignore[no-any-return]

    def stop(self) -> Deferred[None]:
        """
        Nothing but the kernels has to be stopped.
        """
        return succeed(None)

    def reload(self) -> Deferred[None]:
        """
        There is nothing that could be read again.
        """
        return succeed(None)

    def resource(self) -> IResource:
        """
        :return: The API.
        """
        return self._table.resource()

    def access(self, path: str) -> Access:
        """
        :return: What the route of this path demands.
        """
        return self._table.access(path)

    def methods(self, path: str) -> Sequence[str]:
        """
        :return: What the routes of this path take.
        """
        return self._table.methods(path)


@implementer(IPlugin, IPersonalityMaker)
class JupyterWebsocketMaker:
    """
    Makes it.
    """

    name = "jupyter_websocket"

    def make(self, gateway: IGateway) -> IPersonality:
        """
        :return: The personality; it works with any settings.
        """
        return JupyterWebsocket(gateway)


maker = JupyterWebsocketMaker()
