"""
The personality ``notebook_http``: annotated notebooks as HTTP APIs.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, FirstError, gatherResults, succeed
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from kgd.deferreds import Waiters
from kgd.errors import ConfigurationError, GatewayError, InvalidRequest, KernelLimitReached
from kgd.interfaces import Access, IDrainable, IGateway, IPersonality
from kgd.notebook.routing import Match
from kgd.observability.logs import make_logger
from kgd.personalities.notebook_http.loading import Source, find_parser, find_sources, load
from kgd.personalities.notebook_http.notebook import Notebook, metrics_of
from kgd.personalities.notebook_http.pages import Pages
from kgd.personalities.notebook_http.uploads import UploadDirectory
from kgd.personalities.notebook_http.watcher import Watcher
from kgd.web.access import PUBLIC
from kgd.web.access_log import set_route
from kgd.web.errors import refuse
from kgd.web.operations.health import HealthAPI
from kgd.web.operations.metrics import MetricsAPI
from kgd.web.operations.status import StatusAPI
from kgd.web.routes import RouteTable

# In place of a prefix.
_LIST = "the list of notebooks"


@implementer(IPersonality, IDrainable)
class NotebookHTTP:
    """
    Serves all notebooks that ``--seed-uri`` names, each below its prefix.
    """

    _log = make_logger()

    def __init__(self, gateway: IGateway) -> None:
        self._gateway = gateway
        settings = gateway.settings
        sources = find_sources(settings.seed_uri)
        find_parser(settings.cell_parser)
        kernels = len(sources) * (settings.prespawn_count or 1)
        if settings.max_kernels is not None and kernels > settings.max_kernels:
            raise ConfigurationError(
                f"{kernels} kernels cannot be prespawned with --max-kernels={settings.max_kernels};"
                " raise that, or lower --prespawn-count"
            )
        self._uploads = UploadDirectory(
            gateway.reactor, lambda: gateway.private_directory("uploads"), gateway.hand_over
        )
        # By prefix; the longest first.
        self._notebooks: dict[str, Notebook] = {}
        # By prefix, or for _LIST, why a newer version is not served.
        self._stale: dict[str, str] = {}
        self._table = RouteTable([])
        self._pages = self._table.resource()
        self._fixed: set[str] = set()
        self._reloading: Deferred[None] = succeed(None)
        self._stopped = False
        # How many requests are being served, and who waits for the last one's end.
        self._serving = 0
        self._drained: Waiters[None] = Waiters()
        self._status = StatusAPI(gateway.kernels, time.time)
        health = HealthAPI(lambda: self._is_ready, self._remarks)
        metrics = MetricsAPI(gateway, self._status, lambda: metrics_of(self._notebooks.values()))
        self._of_gateway = [*health.routes(), *metrics.routes()]
        self._watcher = Watcher(gateway.reactor, self._files, self._changed)

    # --- coming and going ---

    def start(self) -> Deferred[None]:
        """
        Read all notebooks, and have their kernels ready.
        """
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        sources = find_sources(self._gateway.settings.seed_uri)
        opening = [Deferred.fromCoroutine(self._open(source)) for source in sources]
        try:
            notebooks = await gatherResults(opening, consumeErrors=True)
        except FirstError as first:
            error = first.subFailure.value
            if not isinstance(error, GatewayError):
                first.subFailure.raiseException()
            # Whatever a user can cause here ends the start, without a traceback.
            raise ConfigurationError(str(error)) from None
        self._serve(notebooks)
        if self._gateway.settings.reload:
            self._watcher.start()

    async def _open(self, source: Source) -> Notebook:
        gateway = self._gateway
        loaded = await load(gateway.reactor, gateway.settings, gateway.kernel_specs, source)
        notebook = Notebook(gateway, loaded, self._uploads)
        try:
            await notebook.workers.start()
        except KernelLimitReached:
            raise ConfigurationError(
                f"{source.title} cannot be served: --max-kernels leaves no room for its kernels "
                "beside those that there are; raise it"
            ) from None
        except GatewayError as error:
            raise ConfigurationError(f"{source.title} cannot be served: {error}") from None
        if self._stopped:
            notebook.workers.abandon()
        return notebook

    def _serve(self, notebooks: Iterable[Notebook]) -> None:
        ordered = sorted(notebooks, key=lambda notebook: -len(notebook.prefix))
        self._notebooks = {notebook.prefix: notebook for notebook in ordered}
        pages = Pages(self._gateway.settings, ordered, self._of_gateway)
        self._table = RouteTable(pages.routes(), public=PUBLIC)
        self._pages = self._table.resource()
        self._fixed = {route.rule for route in self._table.routes if "<" not in route.rule}

    def stop(self) -> Deferred[None]:
        """
        Serve no more.
        """
        self._stopped = True
        self._watcher.stop()
        for notebook in self._notebooks.values():
            notebook.workers.abandon()
        return succeed(None)

    def drain(self) -> Deferred[None]:
        """
        Refuse new requests, and wait for the end of those that there are.
        """
        drained = self._drained.wait()
        self._look_whether_drained()
        return drained

    def _look_whether_drained(self) -> None:
        if self._gateway.draining.is_on and not self._serving:
            self._drained.fire(None)

    @property
    def _is_ready(self) -> bool:
        notebooks = self._notebooks.values()
        is_hopeless = bool(notebooks) and all(each.workers.is_hopeless for each in notebooks)
        return not (self._gateway.draining.is_on or is_hopeless)

    def _remarks(self) -> Iterable[str]:
        return (f"{prefix or '/'} is out of date" for prefix in self._stale)

    # --- new versions ---

    def reload(self) -> Deferred[None]:
        """
        Read all notebooks again. Each takes the place of its older version when it is ready.
        """
        return self._reload_later(None)

    def _changed(self, files: set[Path]) -> None:
        self._reload_later(files)

    def _files(self) -> Iterable[Path]:
        try:
            sources = find_sources(self._gateway.settings.seed_uri)
        except ConfigurationError:
            return []
        return [source.path for source in sources if source.path is not None]

    def _reload_later(self, files: set[Path] | None) -> Deferred[None]:
        """
        :param files: The only ones that have changed; ``None`` stands for all.
        """
        # One after the other; a version that has been read earlier must not come later.
        self._reloading.addCallback(lambda _: Deferred.fromCoroutine(self._reload(files)))
        self._reloading.addErrback(
            lambda failure: self._log.failure("notebooks could not be reloaded", failure)
        )
        done: Deferred[None] = Deferred()
        self._reloading.addCallback(lambda _: done.callback(None))
        return done

    async def _reload(self, files: set[Path] | None) -> None:
        if self._stopped or self._gateway.draining.is_on:
            return
        self._stale.pop(_LIST, None)
        try:
            sources = find_sources(self._gateway.settings.seed_uri)
        except ConfigurationError as error:
            self._stale[_LIST] = str(error)
            self._log.error("nothing is reloaded: {error}", error=str(error))
            return
        for source in sources:
            if files is None or source.path in files or source.prefix not in self._notebooks:
                await self._renew(source)
        for prefix in {*self._notebooks, *self._stale} - {source.prefix for source in sources}:
            self._replace(prefix, None)

    async def _renew(self, source: Source) -> None:
        try:
            notebook = await self._open(source)
        except GatewayError as error:
            self._stale[source.prefix] = str(error)
            self._log.error(
                "{title} cannot be reloaded, so what is served stays as it is: {error}",
                title=source.title,
                error=str(error),
            )
        else:
            self._log.info("{title} has been reloaded", title=source.title)
            self._replace(source.prefix, notebook)

    def _replace(self, prefix: str, notebook: Notebook | None) -> None:
        self._stale.pop(prefix, None)
        old = self._notebooks.pop(prefix, None)
        self._serve([*self._notebooks.values(), *([notebook] if notebook is not None else [])])
        if old is not None:
            old.workers.close()

    # --- requests ---

    def _is_fixed(self, path: str) -> bool:
        """
        Whether a path is not for the notebooks' own endpoints.
        """
        return path in self._fixed or path.startswith(("/_api/docs/", "/public/"))

    def _find(self, path: str) -> tuple[Notebook, Match] | None:
        for notebook in self._notebooks.values():
            match = notebook.find(path)
            if match is not None:
                return notebook, match
        return None

    def access(self, path: str) -> Access:
        """
        :return: Whether there is an endpoint. It is for any origin, as with the older gateway.
        """
        if self._is_fixed(path):
            access = self._table.access(path)
            if access is not Access.UNKNOWN:
                return access
        try:
            return Access.UNKNOWN if self._find(path) is None else Access.ANY_ORIGIN
        except InvalidRequest:
            # What is wrong with it is not for those without a token.
            return Access.ANY_ORIGIN

    def methods(self, path: str) -> Sequence[str]:
        """
        :return: What an endpoint takes.
        """
        if self._is_fixed(path):
            methods = self._table.methods(path)
            if methods:
                return methods
        found = self._find(path)
        if found is None:
            return ()
        handlers = found[1].endpoint.handlers
        return (*handlers, *(["HEAD"] if "GET" in handlers else []))

    def resource(self) -> IResource:
        """
        :return: The endpoints, and what is beside them.
        """
        return _Root(self)

    def render(self, request: Any) -> Any:
        """
        Answer a request that has been let in.
        """
        path = b"/" + b"/".join(request.postpath)
        text = path.decode("ascii")
        self._status.note(request)
        if self._is_fixed(text) and self._table.access(text) is not Access.UNKNOWN:
            return self._pages.render(request)  # type: ignore[no-untyped-call]
        try:
            found = self._find(text)
            self._gateway.draining.check()
        except GatewayError as error:
            return refuse(request, error)
        assert found is not None, "requests for anything else are refused before"
        notebook, match = found
        set_route(request, notebook.prefix + match.endpoint.path)
        self._serving += 1
        serving = Deferred.fromCoroutine(notebook.serve(request, match))
        serving.addErrback(lambda failure: self._log.failure("a request got no answer", failure))
        serving.addCallback(lambda _: self._served())
        return NOT_DONE_YET

    def _served(self) -> None:
        self._serving -= 1
        self._look_whether_drained()


class _Root(Resource):
    isLeaf = True

    def __init__(self, personality: NotebookHTTP) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._personality = personality

    def render(self, request: Any) -> Any:
        return self._personality.render(request)
