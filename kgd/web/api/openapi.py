"""
``/api/swagger.json`` and ``/api/swagger.yaml``: the API, described from its own routes.

Format: https://swagger.io/specification/v2/
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache
from http import HTTPStatus
from typing import Any

import msgspec

from kgd.interfaces import Access
from kgd.web import models
from kgd.web.mounted import base_url
from kgd.web.responses import encoded_answer
from kgd.web.routes import Route

_VARIABLE = re.compile(r"<(?:\w+:)?(\w+)>")
_OK = HTTPStatus.OK
# Bodies of requests, and the fields that are required; a body without any may be missing.
BODIES: dict[tuple[str, str], tuple[Any, tuple[str, ...]]] = {
    ("POST", "/api/kernels"): (models.StartKernel, ()),
    ("POST", "/api/sessions"): (models.SessionBody, ("path", "type")),
    ("PATCH", "/api/sessions/<session_id>"): (models.SessionBody, ()),
}
_MAY_BE_MISSING = frozenset({("POST", "/api/kernels")})
# Successful responses: the status, and what the body holds if it is JSON.
RESPONSES: dict[tuple[str, str], tuple[HTTPStatus, Any]] = {
    ("GET", "/api"): (_OK, models.ApiInfo),
    ("GET", "/api/status"): (_OK, models.Status),
    ("POST", "/api/drain"): (HTTPStatus.ACCEPTED, models.Drain),
    ("GET", "/api/me"): (_OK, models.Me),
    ("GET", "/api/kernels"): (_OK, list[models.Kernel]),
    ("POST", "/api/kernels"): (HTTPStatus.CREATED, models.Kernel),
    ("GET", "/api/kernels/<kernel_id>"): (_OK, models.Kernel),
    ("DELETE", "/api/kernels/<kernel_id>"): (HTTPStatus.NO_CONTENT, None),
    ("POST", "/api/kernels/<kernel_id>/interrupt"): (HTTPStatus.NO_CONTENT, None),
    ("POST", "/api/kernels/<kernel_id>/restart"): (_OK, models.Kernel),
    ("GET", "/api/kernels/<kernel_id>/channels"): (HTTPStatus.SWITCHING_PROTOCOLS, None),
    ("GET", "/api/kernelspecs"): (_OK, models.KernelSpecs),
    ("GET", "/api/kernelspecs/<spec_name>"): (_OK, models.KernelSpec),
    ("GET", "/api/sessions"): (_OK, list[models.Session]),
    ("POST", "/api/sessions"): (HTTPStatus.CREATED, models.Session),
    ("GET", "/api/sessions/<session_id>"): (_OK, models.Session),
    ("PATCH", "/api/sessions/<session_id>"): (_OK, models.Session),
    ("DELETE", "/api/sessions/<session_id>"): (HTTPStatus.NO_CONTENT, None),
}
# The definitions of Jupyter Server's description; other types are described where they are used.
_DEFINITIONS = frozenset({"ApiInfo", "Error", "Kernel", "KernelSpec", "KernelSpecFile", "Session"})
_REFERENCE = "#/definitions/"


@cache
def _components() -> dict[str, dict[str, Any]]:
    described = [models.Error, *(kind for kind, _ in BODIES.values())]
    described += [kind for _, kind in RESPONSES.values() if kind is not None]
    return msgspec.json.schema_components(described, ref_template=f"{_REFERENCE}{{name}}")[1]


def schema_of(kind: Any) -> dict[str, Any]:
    """
    :param kind: One of :py:mod:`kgd.web.models`, or a list of it.
    :return: Its schema in Swagger 2.0.
    """
    (schema,), _ = msgspec.json.schema_components([kind], ref_template=f"{_REFERENCE}{{name}}")
    return _swagger(schema)


def _swagger(schema: dict[str, Any]) -> dict[str, Any]:
    """
    :param schema: A schema of msgspec's. Swagger 2.0 has no ``null``, and what can be ``null`` is a
        field that can be missing.
    """
    name = schema.get("$ref", "").removeprefix(_REFERENCE)
    if name in _DEFINITIONS:
        return schema
    if name:
        return _swagger(_components()[name])
    if "anyOf" in schema:
        (other,) = (each for each in schema["anyOf"] if each.get("type") != "null")
        return _swagger(other)
    # It has neither titles nor texts, and no list of required fields that is empty.
    kept = {
        key: value
        for key, value in schema.items()
        if key not in ("title", "description", "default") and (key != "required" or value)
    }
    if "properties" in kept:
        kept["properties"] = {key: _swagger(each) for key, each in kept["properties"].items()}
    for key in ("items", "additionalProperties"):
        if key in kept:
            kept[key] = _swagger(kept[key])
    return kept


def _responses(method: str, rule: str) -> dict[str, Any]:
    error = {"description": "An error", "schema": schema_of(models.Error)}
    responses: dict[str, Any] = {"default": error}
    if (method, rule) in RESPONSES:
        status, kind = RESPONSES[method, rule]
        response: dict[str, Any] = {"description": status.phrase}
        if kind is not None:
            response["schema"] = schema_of(kind)
        responses[str(status.value)] = response
    return responses


def _parameters(method: str, rule: str) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "type": "string"}
        for name in _VARIABLE.findall(rule)
    ]
    if (method, rule) in BODIES:
        kind, fields = BODIES[method, rule]
        schema = schema_of(kind) | ({"required": list(fields)} if fields else {})
        required = (method, rule) not in _MAY_BE_MISSING
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
        "definitions": {name: _swagger(_components()[name]) for name in sorted(_DEFINITIONS)},
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
        document = describe(self._others(), base_url(request))
        return msgspec.json.format(msgspec.json.encode(document), indent=2)
