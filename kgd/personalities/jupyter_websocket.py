"""
The personality ``jupyter_websocket``: the part of Jupyter Server's API that is about kernels.
"""

from __future__ import annotations

from collections.abc import Iterable

from twisted.internet.defer import Deferred, succeed
from twisted.plugin import IPlugin
from zope.interface import implementer

from kgd.execution.queues import ExecutionQueues
from kgd.interfaces import IGateway, IPersonality, IPersonalityMaker, Match
from kgd.kernels.temporary import TemporaryKernels
from kgd.mcp.endpoint import MCP_PATH, MCPEndpoint
from kgd.sessions.store import SessionStore
from kgd.web.access import PUBLIC_ROUTES
from kgd.web.api.about import AboutAPI
from kgd.web.api.artifacts import artifact_stores
from kgd.web.api.channels import ChannelsAPI
from kgd.web.api.descriptions import DescriptionsAPI
from kgd.web.api.executions import ExecutionsAPI
from kgd.web.api.files import FilesAPI
from kgd.web.api.kernels import KernelsAPI
from kgd.web.api.kernelspecs import KernelSpecsAPI
from kgd.web.api.me import MeAPI
from kgd.web.api.notebook_runs import NotebookRunsAPI
from kgd.web.api.once import OnceAPI
from kgd.web.api.sessions import SessionsAPI
from kgd.web.idempotency import IdempotencyKeys
from kgd.web.routes import Route, RouteTable


@implementer(IPersonality)
class JupyterWebsocket:
    """
    REST for kernels, kernelspecs and sessions, and a WebSocket for each client of a kernel.
    """

    def __init__(self, gateway: IGateway) -> None:
        settings = gateway.settings
        self._kernels = gateway.kernels
        self._operations = gateway.operations
        draining = gateway.draining
        sessions = SessionStore(settings, gateway.kernels, draining)
        artifacts = artifact_stores(gateway)
        queues = ExecutionQueues(gateway.reactor, settings, gateway.kernels, artifacts.forget)
        self._mcp = MCPEndpoint(gateway, queues) if settings.mcp else None
        mcp_routes = self._mcp.routes() if self._mcp is not None else []
        executions = ExecutionsAPI(gateway, queues, artifacts)
        temporary = TemporaryKernels(gateway.reactor, gateway.kernels, draining)
        keys = IdempotencyKeys(gateway.reactor, settings)
        self._table = RouteTable(
            keys.wrap(
                [
                    *AboutAPI().routes(),
                    *gateway.operations.status_routes,
                    *MeAPI().routes(),
                    *DescriptionsAPI(self._described, needs_token=gateway.token.is_needed).routes(),
                    *KernelsAPI(settings, gateway.kernels, draining).routes(),
                    *ChannelsAPI(gateway).routes(),
                    *executions.routes(),
                    *OnceAPI(temporary, executions).routes(),
                    *NotebookRunsAPI(gateway, temporary, executions).routes(),
                    *FilesAPI(gateway).routes(),
                    *KernelSpecsAPI(settings, gateway.kernel_specs).routes(),
                    *SessionsAPI(settings, sessions).routes(),
                    *mcp_routes,
                ]
            ),
            PUBLIC_ROUTES,
        )

    def _described(self) -> Iterable[Route]:
        # The Model Context Protocol describes itself.
        routes = (route for route in self._table.routes if route.rule != MCP_PATH)
        return (*routes, *self._operations.routes)

    def start(self) -> Deferred[None]:
        """
        Start the spare kernels.
        """
        return self._kernels.prespawn()

    def stop(self) -> Deferred[None]:
        """
        End the sessions of agents.
        """
        if self._mcp is not None:
            self._mcp.stop()
        return succeed(None)

    def reload(self) -> Deferred[None]:
        """
        Nothing can be read again.
        """
        return succeed(None)

    def match(self, method: str, path: str) -> Match | None:
        return self._table.match(method, path)


@implementer(IPlugin, IPersonalityMaker)
class JupyterWebsocketMaker:
    """
    Makes :py:class:`JupyterWebsocket`, which works with any settings.
    """

    name = "jupyter_websocket"

    def make(self, gateway: IGateway) -> IPersonality:
        return JupyterWebsocket(gateway)


maker = JupyterWebsocketMaker()
