"""
One version of a notebook that is served, with kernels of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from http import HTTPStatus
from typing import Any

import msgspec

from kgd import errors
from kgd.interfaces import IGateway
from kgd.notebook.openapi import GatewayAnswers, openapi, swagger
from kgd.notebook.routing import EndpointMatch, Router
from kgd.personalities.notebook_http.call import Call, CallContext
from kgd.personalities.notebook_http.loading import LoadedNotebook
from kgd.personalities.notebook_http.uploads import UploadDirectory
from kgd.personalities.notebook_http.worker_pool import WorkerOptions, WorkerPool
from kgd.settings import Settings
from kgd.web import models
from kgd.web.errors import describe_errors
from kgd.web.operations.metrics import Values, gauge

# What a request can be refused with, besides the errors of every request.
_RAISED: tuple[type[Exception], ...] = (
    errors.ScopeMissing,
    errors.NoSuchResource,
    errors.NotAcceptable,
    errors.ResponseTooLarge,
    errors.KernelLost,
    errors.ExecutionTimedOut,
)
# Documents are cached for so many base URLs.
MAX_BASE_URLS = 4


class ServedNotebook:
    """
    Serves the endpoints of a notebook.
    """

    def __init__(self, gateway: IGateway, loaded: LoadedNotebook, uploads: UploadDirectory) -> None:
        settings = gateway.settings
        self.loaded = loaded
        self.prefix = loaded.location.prefix
        self.title = loaded.location.title
        self._gateway_answers = gateway_answers(settings)
        self.pool = WorkerPool(
            gateway.reactor,
            gateway.kernels,
            WorkerOptions(
                kernel_name=loaded.seed.kernel_name,
                seed=loaded.seed,
                count=settings.prespawn_count or 1,
                reset=settings.reset_kernels,
                queue_limit=settings.queue_limit,
                queue_size=settings.queue_size,
                queue_timeout=settings.request_timeout,
                response_limit=settings.max_response_size,
                username=settings.username,
            ),
        )
        # A gateway is mounted in one place, or in a few.
        self._documents = lru_cache(MAX_BASE_URLS)(self._make_documents)
        self._router = Router(loaded.api.endpoints)
        self._context = CallContext(
            reactor=gateway.reactor,
            settings=settings,
            language=loaded.language,
            reads_metadata=loaded.reads_metadata,
            prefix=self.prefix,
            pool=self.pool,
            uploads=uploads,
            audit=gateway.audit,
        )

    def find(self, path: str) -> EndpointMatch | None:
        """
        :param path: Below the base URL, percent-encoded.
        :return: The endpoint, and the values of its path's parameters.
        :raises kgd.errors.InvalidRequest: when the path is not UTF-8.
        """
        if not path.startswith(self.prefix + "/"):
            return None
        return self._router.find(path[len(self.prefix) :])

    def has_endpoint(self, path: str) -> bool:
        """
        Whether an endpoint has exactly this path.
        """
        return any(self.prefix + endpoint.path == path for endpoint in self.loaded.api.endpoints)

    async def serve(self, request: Any, match: EndpointMatch) -> None:
        """
        Serve a request.
        """
        await Call(self._context, request, match).serve()

    def _make_documents(self, base: str) -> tuple[bytes, Mapping[str, Any]]:
        title = self.title
        return (
            msgspec.json.encode(swagger(self.loaded.api, title, base + self.prefix)),
            openapi(self.loaded.api, title, base + self.prefix, self._gateway_answers),
        )

    def swagger(self, base: str) -> bytes:
        """
        :param base: The base URL.
        :return: A Swagger 2.0 document of the endpoints.
        """
        return self._documents(base)[0]

    def openapi(self, base: str) -> Mapping[str, Any]:
        """
        :param base: The base URL.
        :return: An OpenAPI 3.1 document of the endpoints.
        """
        return self._documents(base)[1]


def gateway_answers(settings: Settings) -> GatewayAnswers:
    """
    :return: What the gateway answers on the endpoints of all notebooks.
    """
    kinds = (*_RAISED, errors.Unauthorized) if settings.needs_token else _RAISED
    # A notebook's own failures have this status, too, and are described with each endpoint.
    refusals = {
        str(status.value): text
        for status, text in describe_errors(kinds).items()
        if status is not HTTPStatus.INTERNAL_SERVER_ERROR
    }
    template = "#/components/schemas/{name}"
    schemas = msgspec.json.schema_components([models.Error], ref_template=template)[1]
    return GatewayAnswers(
        refusals=refusals,
        schemas=schemas,
        needs_token=settings.needs_token,
        rich=settings.rich_responses,
    )


def metrics_of(notebooks: Iterable[ServedNotebook]) -> Iterator[Any]:
    """
    :return: Metrics of how busy the notebooks' kernels are.
    """
    pools = [(notebook.prefix or "/", notebook.pool) for notebook in notebooks]
    states: Values = {
        (prefix, state): count for prefix, pool in pools for state, count in pool.states().items()
    }
    text = "Kernels of a notebook: free, busy with a request, or missing at the moment"
    yield gauge("kgd_notebook_workers", text, states, ["notebook", "state"])
    queue_lengths: Values = {(prefix,): pool.queue_length for prefix, pool in pools}
    text = "Requests that wait for a kernel of a notebook"
    yield gauge("kgd_notebook_queue_length", text, queue_lengths, ["notebook"])
