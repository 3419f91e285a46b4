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
from kgd.settings import Settings
from kgd.web.respond import encoded_answer
from kgd.web.routes import Route

_VARIABLE = re.compile(r"<(?:\w+:)?(\w+)>")
_ERROR = {
    "description": "An error",
    "schema": {"$ref": "#/definitions/Error"},
}


def _object(required: str, **types: Any) -> dict[str, Any]:
    """
    :param required: Names of fields, with spaces between them.
    :param types: What each field is: the name of a type, or a schema.
    """
    properties = {
        name: {"type": kind} if isinstance(kind, str) else kind for name, kind in types.items()
    }
    return {"type": "object", "required": required.split(), "properties": properties}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/definitions/{name}"}


_TIME = {"type": "string", "format": "dateTime"}
_NOTEBOOK = _object("", path="string", name="string")
_DEFINITIONS = {
    "Error": _object("reason message", reason="string", message="string", short_message="string"),
    "ApiInfo": _object("version", version="string", kgd="string"),
    "Kernel": _object(
        "id name",
        id="string",
        name="string",
        last_activity=_TIME,
        execution_state="string",
        connections="integer",
        reason="string",
    ),
    "KernelSpec": _object(
        "name spec resources", name="string", spec=_ref("KernelSpecFile"), resources="object"
    ),
    "KernelSpecFile": _object(
        "argv display_name language",
        argv={"type": "array", "items": {"type": "string"}},
        display_name="string",
        language="string",
        env="object",
        interrupt_mode="string",
        metadata="object",
        kernel_protocol_version="string",
    ),
    "Session": _object(
        "id path name type kernel",
        id="string",
        path="string",
        name="string",
        type="string",
        kernel=_ref("Kernel"),
        notebook=_NOTEBOOK,
    ),
}
# What a successful answer holds: its status, a definition, and whether it is a list of those.
_ANSWERS: dict[tuple[str, str], tuple[int, str, bool]] = {
    ("GET", "/api"): (200, "ApiInfo", False),
    ("GET", "/api/kernels"): (200, "Kernel", True),
    ("POST", "/api/kernels"): (201, "Kernel", False),
    ("GET", "/api/kernels/<kernel_id>"): (200, "Kernel", False),
    ("POST", "/api/kernels/<kernel_id>/restart"): (200, "Kernel", False),
    ("GET", "/api/kernelspecs/<spec_name>"): (200, "KernelSpec", False),
    ("GET", "/api/sessions"): (200, "Session", True),
    ("POST", "/api/sessions"): (201, "Session", False),
    ("GET", "/api/sessions/<session_id>"): (200, "Session", False),
    ("PATCH", "/api/sessions/<session_id>"): (200, "Session", False),
}


def _responses(method: str, rule: str) -> dict[str, Any]:
    responses: dict[str, Any] = {"default": _ERROR}
    answer = _ANSWERS.get((method, rule))
    if answer is not None:
        code, name, many = answer
        schema = {"type": "array", "items": _ref(name)} if many else _ref(name)
        responses[str(code)] = {"description": name, "schema": schema}
    return responses


def describe(routes: Iterable[Route], base_url: str) -> dict[str, Any]:
    """
    :return: A description of the routes in Swagger 2.0.
    """
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        operations = paths.setdefault(_VARIABLE.sub(r"{\1}", route.rule), {})
        for method in route.methods:
            operation: dict[str, Any] = {
                "summary": route.summary,
                "parameters": [
                    {"name": name, "in": "path", "required": True, "type": "string"}
                    for name in _VARIABLE.findall(route.rule)
                ],
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
        "basePath": base_url or "/",
        "consumes": ["application/json"],
        "produces": ["application/json"],
        "securityDefinitions": {
            "tokenHeader": {"type": "apiKey", "name": "Authorization", "in": "header"},
            "tokenParam": {"type": "apiKey", "name": "token", "in": "query"},
        },
        "security": [{"tokenHeader": []}, {"tokenParam": []}],
        "paths": paths,
        "definitions": _DEFINITIONS,
    }


class SwaggerAPI:
    """
    Serves the description.

    :param others: Gives all other routes, which exist only when this is asked for.
    """

    def __init__(self, settings: Settings, others: Callable[[], Iterable[Route]]) -> None:
        self._settings = settings
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
        return encoded_answer(request, self._document(), b"application/json")

    def yaml(self, request: Any) -> bytes:
        """
        ``GET /api/swagger.yaml``: JSON is YAML, too.
        """
        return encoded_answer(request, self._document(), b"text/x-yaml")

    def _document(self) -> bytes:
        described = describe(self._others(), self._settings.base_url)
        return msgspec.json.format(msgspec.json.encode(described), indent=2)
