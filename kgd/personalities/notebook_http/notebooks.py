"""
One notebook that is served: one version of it, with kernels of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import msgspec

from kgd.interfaces import IGateway
from kgd.notebook.openapi import openapi
from kgd.notebook.routing import Match, Router
from kgd.notebook.swagger import swagger
from kgd.personalities.notebook_http.calls import Call, Counter
from kgd.personalities.notebook_http.loading import Loaded
from kgd.personalities.notebook_http.uploads import UploadDirectory
from kgd.personalities.notebook_http.worker import Crew
from kgd.personalities.notebook_http.workers import Workers


class Notebook:
    """
    Serves the endpoints of a notebook.
    """

    def __init__(self, gateway: IGateway, loaded: Loaded, uploads: UploadDirectory) -> None:
        settings = gateway.settings
        self.loaded = loaded
        self.prefix = loaded.source.prefix
        self.title = loaded.source.title
        self.base = settings.base_url + self.prefix
        self.workers = Workers(
            gateway.reactor,
            gateway.kernels,
            Crew(
                kernel_name=loaded.seed.kernel_name,
                seed=loaded.seed,
                count=settings.prespawn_count or 1,
                reset=settings.reset_kernels,
                queue_limit=settings.queue_limit,
                queue_size=settings.queue_size,
                patience=settings.request_timeout,
                response_limit=settings.max_response_size,
            ),
        )
        self._router = Router(loaded.api.endpoints)
        self._counter = Counter(
            reactor=gateway.reactor,
            settings=settings,
            language=loaded.language,
            by_metadata=loaded.by_metadata,
            base=self.base,
            workers=self.workers,
            uploads=uploads,
        )

    def find(self, path: str) -> Match | None:
        """
        :param path: Below the base URL, percent-encoded.
        :return: The endpoint, and what it reads from the path.
        :raises kgd.errors.InvalidRequest: when the path is not UTF-8.
        """
        if not path.startswith(self.prefix + "/"):
            return None
        return self._router.find(path[len(self.prefix) :])

    def defines(self, path: str) -> bool:
        """
        Whether an endpoint has just this path.
        """
        return any(self.prefix + endpoint.path == path for endpoint in self.loaded.api.endpoints)

    async def serve(self, request: Any, match: Match) -> None:
        """
        Answer a request.
        """
        await Call(self._counter, request, match).serve()

    @cached_property
    def swagger(self) -> bytes:
        """
        What it serves, in Swagger 2.0.
        """
        return msgspec.json.encode(swagger(self.loaded.api, self.title, self.base))

    @cached_property
    def openapi(self) -> Mapping[str, Any]:
        """
        The same in OpenAPI 3.1.
        """
        return openapi(self.loaded.api, self.title, self.base)
