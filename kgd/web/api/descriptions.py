"""
``/api/swagger.json``, ``/api/swagger.yaml`` and ``/api/openapi.json``: descriptions of the API, and
``/api/docs``: a page on which people read it and try each call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import msgspec

from kgd.interfaces import Access
from kgd.web.api import openapi, openapi31
from kgd.web.api.yaml_text import yaml_text
from kgd.web.docs.page import asset_answer, page, page_answer
from kgd.web.mounted import base_url
from kgd.web.responses import encoded_answer
from kgd.web.routes import Route

_JSON = b"application/json"
# Descriptions are kept for so many base URLs; a gateway is mounted in one place, or in a few.
_MAX_BASE_URLS = 4


class DescriptionsAPI:
    """
    Serves the descriptions.

    :param described: Gives all routes. Called for the first request, because this API's routes are
        made before the others.
    :param needs_token: Whether the gateway has a token.
    """

    def __init__(self, described: Callable[[], Iterable[Route]], *, needs_token: bool) -> None:
        self._described = described
        self._needs_token = needs_token
        # Everybody may ask for them, and making them takes a while.
        keep = lru_cache(_MAX_BASE_URLS)
        self._swagger_json = keep(self._make_swagger_json)
        self._swagger_yaml = keep(self._make_swagger_yaml)
        self._openapi = keep(self._make_openapi)
        self._page = keep(self._make_page)

    def routes(self) -> list[Route]:
        """
        :return: The routes of this part of the API.
        """
        return [
            Route(path, ("GET",), handler, Access.PUBLIC, summary)
            for path, handler, summary in (
                ("/api/swagger.json", self.swagger_json, "This description in Swagger 2.0"),
                ("/api/swagger.yaml", self.swagger_yaml, "This description in YAML"),
                ("/api/openapi.json", self.openapi, "This description in OpenAPI 3.1"),
                ("/api/docs", self.docs, "This description as a page, to try all calls"),
                ("/api/docs/<path:name>", self.asset, "A style sheet or script of the page"),
            )
        ]

    # --- handlers ---

    def swagger_json(self, request: Any) -> bytes:
        """
        ``GET /api/swagger.json``.
        """
        return encoded_answer(request, self._swagger_json(base_url(request)), _JSON)

    def swagger_yaml(self, request: Any) -> bytes:
        """
        ``GET /api/swagger.yaml``.
        """
        body = self._swagger_yaml(base_url(request))
        return encoded_answer(request, body, openapi.YAML.encode("ascii"))

    def openapi(self, request: Any) -> bytes:
        """
        ``GET /api/openapi.json``.
        """
        return encoded_answer(request, self._openapi(base_url(request)), _JSON)

    def docs(self, request: Any) -> bytes:
        """
        ``GET /api/docs``.
        """
        return page_answer(request, self._page(base_url(request)))

    def asset(self, request: Any, name: str) -> bytes:
        """
        ``GET /api/docs/<path:name>``.
        """
        return asset_answer(request, name)

    # --- what they send ---

    def _make_swagger_json(self, base: str) -> bytes:
        document = openapi.describe(self._described(), base, needs_token=self._needs_token)
        return _written(document)

    def _make_swagger_yaml(self, base: str) -> bytes:
        return yaml_text(msgspec.json.decode(self._swagger_json(base))).encode("utf-8")

    def _make_openapi(self, base: str) -> bytes:
        document = openapi31.describe(self._described(), base, needs_token=self._needs_token)
        return _written(document)

    def _make_page(self, base: str) -> bytes:
        document = msgspec.json.decode(self._openapi(base))
        return page([(openapi.INFO["title"], base, document)], f"{base}/api/docs")


def _written(document: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(document), indent=2)
