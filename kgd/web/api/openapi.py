"""
``/api/swagger.json`` and ``/api/swagger.yaml``: the API, described from its own routes.

Format: https://swagger.io/specification/v2/
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from kgd.interfaces import Access
from kgd.web.models import ANSWERS, BODIES, DEFINITIONS, ERROR
from kgd.web.mounted import base_url
from kgd.web.responses import encoded_answer
from kgd.web.routes import Route

_VARIABLE = re.compile(r"<(?:\w+:)?(\w+)>")


def _responses(method: str, rule: str) -> dict[str, Any]:
    responses: dict[str, Any] = {"default": {"description": "An error", "schema": ERROR}}
    if (method, rule) in ANSWERS:
        status, schema = ANSWERS[method, rule]
        answer: dict[str, Any] = {"description": status.phrase}
        if schema is not None:
            answer["schema"] = schema
        responses[str(status.value)] = answer
    return responses


def _parameters(method: str, rule: str) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "type": "string"}
        for name in _VARIABLE.findall(rule)
    ]
    if (method, rule) in BODIES:
        schema, required = BODIES[method, rule]
        parameters.append({"name": "body", "in": "body", "required": required, "schema": schema})
    return parameters


def describe(routes: Iterable[Route], base: str) -> dict[str, Any]:
    """
    :return: A description of the routes in Swagger 2.0.
    """
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        operations = paths.setdefault(_VARIABLE.sub(r"{\1}", route.rule), {})
        for method in route.methods:
            operation: dict[str, Any] = {
                "summary": route.summary,
                "parameters": _parameters(method, route.rule),
                "responses": _responses(method, route.rule),
            }
            if route.access is Access.PUBLIC:
                operation["security"] = []
            operations[method.lower()] = operation
    return {
        "swagger": "2.0",
        "info": {
            "title": "Kernel gateway API",
            "description": "Start Jupyter kernels and exchange messages with them",
            "version": "5",
        },
        "basePath": base or "/",
        "consumes": ["application/json"],
        "produces": ["application/json"],
        "securityDefinitions": {
            "tokenHeader": {"type": "apiKey", "name": "Authorization", "in": "header"},
            "tokenParam": {"type": "apiKey", "name": "token", "in": "query"},
        },
        "security": [{"tokenHeader": []}, {"tokenParam": []}],
        "paths": paths,
        "definitions": DEFINITIONS,
    }


class SwaggerAPI:
    """
    Serves the description.

    :param others: Gives all other routes, which exist only when this is asked for.
    """

    def __init__(self, others: Callable[[], Iterable[Route]]) -> None:
        self._others = others

    def routes(self) -> list[Route]:
        """
        :return: The routes of this part of the API.
        """
        return [
            Route("/api/swagger.json", ("GET",), self.json, Access.PUBLIC, "This description"),
            Route(
                "/api/swagger.yaml", ("GET",), self.yaml, Access.PUBLIC, "This description in YAML"
            ),
        ]

    def json(self, request: Any) -> bytes:
        """
        ``GET /api/swagger.json``.
        """
        return encoded_answer(request, self._document(request), b"application/json")

    def yaml(self, request: Any) -> bytes:
        """
        ``GET /api/swagger.yaml``: JSON is YAML, too.
        """
        return encoded_answer(request, self._document(request), b"text/x-yaml")

    def _document(self, request: Any) -> bytes:
        described = describe(self._others(), base_url(request))
        return msgspec.json.format(msgspec.json.encode(described), indent=2)
