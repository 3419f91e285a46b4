"""
Routes beside the notebooks' endpoints: documentation, descriptions, sources and static files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from twisted.web.resource import IResource

from kgd.interfaces import Access
from kgd.personalities.notebook_http.notebook import ServedNotebook
from kgd.settings import Settings
from kgd.web.docs.page import asset_answer, page, page_answer
from kgd.web.files import file_resource
from kgd.web.mounted import base_url
from kgd.web.responses import encoded_answer
from kgd.web.routes import Route

_JSON = b"application/json"
_HTML = b"text/html; charset=utf-8"


class DocumentationRoutes:
    """
    Makes the routes for the notebooks that are served.
    """

    def __init__(self, settings: Settings, notebooks: Sequence[ServedNotebook]) -> None:
        self._settings = settings
        self._notebooks = notebooks

    def routes(self) -> list[Route]:
        """
        :return: The routes of all notebooks.
        """
        routes = [
            Route("/_api/docs/<path:name>", ("GET",), self._asset, Access.PUBLIC),
            *(route for notebook in self._notebooks for route in self._notebook_routes(notebook)),
        ]
        if not any(notebook.prefix == "" for notebook in self._notebooks):
            routes.append(_token_route("/_api/docs", self._docs_page(self._notebooks)))
        if self._settings.static_path:
            routes.append(Route("/public/<path:name>", ("GET",), self._static_file, Access.PUBLIC))
        return routes

    def _notebook_routes(self, notebook: ServedNotebook) -> Iterable[Route]:
        pages = f"{notebook.prefix}/_api"
        shown = self._notebooks if notebook.prefix == "" else [notebook]
        yield _token_route(f"{pages}/docs", self._docs_page(shown))
        yield _token_route(
            f"{pages}/spec/swagger.json", lambda base: (notebook.swagger(base), _JSON)
        )
        yield _token_route(
            f"{pages}/spec/openapi.json",
            lambda base: (msgspec.json.encode(notebook.openapi(base)), _JSON),
        )
        if self._settings.allow_notebook_download:
            yield _token_route(
                f"{pages}/source", lambda _: (notebook.loaded.raw, b"application/x-ipynb+json")
            )

    def _docs_page(
        self, notebooks: Sequence[ServedNotebook]
    ) -> Callable[[str], tuple[bytes, bytes]]:
        return lambda base: (
            page(
                [(each.title, base + each.prefix, each.openapi(base)) for each in notebooks],
                f"{base}/_api/docs",
            ),
            _HTML,
        )

    def _asset(self, request: Any, name: str) -> bytes:
        return asset_answer(request, name)

    def _static_file(self, request: Any, name: str) -> IResource:
        return file_resource(Path(self._settings.static_path), name)


def _token_route(path: str, make: Callable[[str], tuple[bytes, bytes]]) -> Route:
    """
    A route that needs the token, and serves any origin.

    :param make: Returns the body and its media type for a base URL.
    """

    def serve(request: Any) -> bytes:
        body, media_type = make(base_url(request))
        if media_type == _HTML:
            return page_answer(request, body)
        return encoded_answer(request, body, media_type)

    return Route(path, ("GET",), serve, Access.ANY_ORIGIN, scope="notebooks:read")
