"""
The personality ``notebook_http``: annotated notebooks as HTTP APIs.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, FirstError, gatherResults, succeed
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from kgd.deferreds import Waiters
from kgd.endpoints.paths import canonical
from kgd.errors import ConfigurationError, GatewayError, KernelLimitReached
from kgd.interfaces import Access, IDrainable, IGateway, IMonitored, IPersonality, Match, Readiness
from kgd.notebook import routing
from kgd.observability.logs import make_logger
from kgd.personalities.notebook_http.loading import (
    NotebookLocation,
    find_notebooks,
    find_parser,
    load_notebook,
)
from kgd.personalities.notebook_http.notebook import ServedNotebook, metrics_of
from kgd.personalities.notebook_http.pages import DocumentationRoutes
from kgd.personalities.notebook_http.uploads import UploadDirectory
from kgd.personalities.notebook_http.watcher import Watcher
from kgd.web.access import PUBLIC_ROUTES
from kgd.web.routes import RouteTable

# An endpoint replaces these only if it has exactly the same path.
_MONITORING = frozenset({"/healthz", "/readyz", "/metrics"})
# Stands for a prefix.
_ALL_NOTEBOOKS = "the list of notebooks"


@implementer(IPersonality, IDrainable, IMonitored)
class NotebookHTTP:
    """
    Serves all notebooks that ``--seed-uri`` names, each below its prefix.
    """

    _log = make_logger()

    def __init__(self, gateway: IGateway) -> None:
        self._gateway = gateway
        settings = gateway.settings
        locations = find_notebooks(settings.seed_uri)
        find_parser(settings.cell_parser)
        kernels = len(locations) * (settings.prespawn_count or 1)
        if settings.max_kernels is not None and kernels > settings.max_kernels:
            raise ConfigurationError(
                f"{kernels} kernels cannot be prespawned with --max-kernels={settings.max_kernels};"
                " raise that, or lower --prespawn-count"
            )
        self._uploads = UploadDirectory(
            gateway.reactor, lambda: gateway.private_directory("uploads"), gateway.hand_over
        )
        # By prefix; the longest first.
        self._notebooks: dict[str, ServedNotebook] = {}
        # Why a newer version is not served, by prefix or for _ALL_NOTEBOOKS.
        self._stale: dict[str, str] = {}
        # Descriptions and static files.
        self._table = RouteTable([])
        self._constant: set[str] = set()
        self._prefixes: list[tuple[str, str]] = []
        # The gateway's own paths, which no endpoint with parameters replaces.
        self._reserved = {route.rule for route in gateway.operations.routes} & _MONITORING
        self._reloading: Deferred[None] = succeed(None)
        self._stopped = False
        # Requests that are being served.
        self._active_requests = 0
        self._drained_waiters: Waiters[None] = Waiters()
        self._watcher = Watcher(gateway.reactor, self._files, self._files_changed)

    # --- start and stop ---

    def start(self) -> Deferred[None]:
        """
        Read all notebooks, and start their kernels.
        """
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        locations = find_notebooks(self._gateway.settings.seed_uri)
        opening = [Deferred.fromCoroutine(self._open_notebook(location)) for location in locations]
        try:
            notebooks = await gatherResults(opening, consumeErrors=True)
        except FirstError as first:
            error = first.subFailure.value
            if not isinstance(error, GatewayError):
                first.subFailure.raiseException()
            # Errors that users can cause end the start without a traceback.
            raise ConfigurationError(str(error)) from None
        self._set_notebooks(notebooks)
        if self._gateway.settings.reload:
            self._watcher.start()

    async def _open_notebook(self, location: NotebookLocation) -> ServedNotebook:
        gateway = self._gateway
        loaded = await load_notebook(
            gateway.reactor, gateway.settings, gateway.kernel_specs, location
        )
        notebook = ServedNotebook(gateway, loaded, self._uploads)
        try:
            await notebook.pool.start()
        except KernelLimitReached:
            raise ConfigurationError(
                f"{location.title} cannot be served: --max-kernels leaves no room for its kernels "
                "beside those that run; raise it"
            ) from None
        except GatewayError as error:
            raise ConfigurationError(f"{location.title} cannot be served: {error}") from None
        if self._stopped:
            notebook.pool.shut_down()
        return notebook

    def _set_notebooks(self, notebooks: Iterable[ServedNotebook]) -> None:
        ordered = sorted(notebooks, key=lambda notebook: -len(notebook.prefix))
        self._notebooks = {notebook.prefix: notebook for notebook in ordered}
        self._table = RouteTable(
            DocumentationRoutes(self._gateway.settings, ordered).routes(), PUBLIC_ROUTES
        )
        self._constant = {route.rule for route in self._table.routes if "<" not in route.rule}
        # Those that encoders may write in another way, too.
        self._prefixes = [
            (canonical(prefix), prefix)
            for prefix in self._notebooks
            if not prefix.replace("/", "").replace(".", "").replace("-", "").isalnum()
        ]

    def stop(self) -> Deferred[None]:
        """
        Close all notebooks and stop their kernels.
        """
        self._stopped = True
        self._watcher.stop()
        for notebook in self._notebooks.values():
            notebook.pool.shut_down()
        return succeed(None)

    def drain(self) -> Deferred[None]:
        """
        Wait until no request is being served; new ones are refused.
        """
        drained = self._drained_waiters.wait()
        self._check_drained()
        return drained

    def _check_drained(self) -> None:
        if self._gateway.draining.is_on and not self._active_requests:
            self._drained_waiters.fire(None)

    def readiness(self) -> Readiness:
        """
        Ready unless no notebook has a kernel, and none can be started.
        """
        notebooks = self._notebooks.values()
        has_failed = bool(notebooks) and all(each.pool.has_failed for each in notebooks)
        remarks = [f"{prefix or '/'} is out of date" for prefix in self._stale]
        return Readiness(not has_failed, remarks)

    def metrics(self) -> Iterable[Any]:
        """
        How busy the notebooks' kernels are.
        """
        return metrics_of(self._notebooks.values())

    # --- new versions ---

    def reload(self) -> Deferred[None]:
        """
        Read all notebooks again. Each replaces its older version when its kernels are ready.
        """
        return self._reload_later(None)

    def _files_changed(self, files: set[Path]) -> None:
        self._reload_later(files)

    def _files(self) -> Iterable[Path]:
        try:
            locations = find_notebooks(self._gateway.settings.seed_uri)
        except ConfigurationError:
            return []
        return [location.path for location in locations if location.path is not None]

    def _reload_later(self, files: set[Path] | None) -> Deferred[None]:
        """
        :param files: The files that have changed; ``None`` for all.
        """
        # One reload after the other, so that an older version never replaces a newer one.
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
        self._stale.pop(_ALL_NOTEBOOKS, None)
        try:
            locations = find_notebooks(self._gateway.settings.seed_uri)
        except ConfigurationError as error:
            self._stale[_ALL_NOTEBOOKS] = str(error)
            self._log.error("nothing is reloaded: {error}", error=str(error))
            return
        for location in locations:
            if files is None or location.path in files or location.prefix not in self._notebooks:
                await self._reload_notebook(location)
        for prefix in {*self._notebooks, *self._stale} - {
            location.prefix for location in locations
        }:
            self._replace(prefix, None)

    async def _reload_notebook(self, location: NotebookLocation) -> None:
        try:
            notebook = await self._open_notebook(location)
        except GatewayError as error:
            self._stale[location.prefix] = str(error)
            self._log.error(
                "{title} cannot be reloaded, so the older version stays: {error}",
                title=location.title,
                error=str(error),
            )
        else:
            self._log.info("{title} has been reloaded", title=location.title)
            self._replace(location.prefix, notebook)

    def _replace(self, prefix: str, notebook: ServedNotebook | None) -> None:
        self._stale.pop(prefix, None)
        old = self._notebooks.pop(prefix, None)
        self._set_notebooks(
            [*self._notebooks.values(), *([notebook] if notebook is not None else [])]
        )
        if old is not None:
            old.pool.close()

    # --- requests ---

    def match(self, method: str, path: str) -> Match | None:
        """
        Find the page or endpoint of a path. Endpoints serve any origin, as with the Jupyter Kernel
        Gateway.
        """
        path = self._with_prefix_as_listed(path)
        if path in self._constant or path.startswith(("/_api/docs/", "/public/")):
            page = self._table.match(method, path)
            if page is not None:
                return page
        if path in self._reserved and not any(
            notebook.has_endpoint(path) for notebook in self._notebooks.values()
        ):
            return None
        for notebook in self._notebooks.values():
            found = notebook.find(path)
            if found is not None:
                handlers = found.endpoint.handlers
                return Match(
                    Access.ANY_ORIGIN,
                    (*handlers, *(["HEAD"] if "GET" in handlers else [])),
                    partial(self._render, notebook, found),
                    "notebooks:execute",
                    notebook.prefix + found.endpoint.path,
                )
        return None

    def _with_prefix_as_listed(self, path: str) -> str:
        """
        :return: The path; if it is below a notebook's prefix, with that as our own links have it.
        """
        for spelling, prefix in self._prefixes:
            depth = prefix.count("/")
            segments = path.split("/")
            if canonical("/".join(segments[: depth + 1])) == spelling:
                return "/".join([prefix, *segments[depth + 1 :]])
        return path

    def _render(self, notebook: ServedNotebook, found: routing.EndpointMatch, request: Any) -> int:
        self._gateway.draining.check()
        self._active_requests += 1
        serving = Deferred.fromCoroutine(notebook.serve(request, found))
        serving.addErrback(lambda failure: self._log.failure("a request was not answered", failure))
        serving.addCallback(lambda _: self._request_ended())
        return NOT_DONE_YET

    def _request_ended(self) -> None:
        self._active_requests -= 1
        self._check_drained()
