"""
``/api/swagger.json`` and ``/api/swagger.yaml``: a description of the API, made from its routes.

Format: https://swagger.io/specification/v2/
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache, lru_cache
from http import HTTPStatus
from typing import Any

import msgspec

from kgd import errors
from kgd.interfaces import Access
from kgd.web import models
from kgd.web.api.yaml_text import yaml_text
from kgd.web.errors import describe_errors
from kgd.web.mounted import base_url
from kgd.web.responses import encoded_answer
from kgd.web.routes import Route

_VARIABLE = re.compile(r"<(?:\w+:)?(\w+)>")
_OK = HTTPStatus.OK
_JSON = "application/json"
# Descriptions are kept for so many base URLs; a gateway is mounted in one place, or in a few.
_MAX_BASE_URLS = 4
# The forms of variables in paths, where they are not any text.
_PATTERNS = {name: {"pattern": f"^{models.KERNEL_ID}$"} for name in ("kernel_id", "session_id")}
# Bodies of requests, and the fields that are required; a body without any may be missing.
BODIES: dict[tuple[str, str], tuple[Any, tuple[str, ...]]] = {
    ("POST", "/api/kernels"): (models.StartKernel, ()),
    ("POST", "/api/kernels/<kernel_id>/execute"): (models.ExecuteCode, ("code",)),
    ("POST", "/api/kernels/<kernel_id>/executions/<execution_id>/input"): (
        models.InputValue,
        ("value",),
    ),
    ("PUT", "/api/kernels/<kernel_id>/files/<path:file>"): (bytes, ()),
    ("POST", "/api/sessions"): (models.SessionBody, ("path", "type")),
    ("PATCH", "/api/sessions/<session_id>"): (models.SessionBody, ()),
}
_FILE = "/api/kernels/<kernel_id>/files/<path:file>"
_ARTIFACT = "/api/kernels/<kernel_id>/artifacts/<artifact>"
_MAY_BE_MISSING = frozenset({("POST", "/api/kernels"), ("PUT", _FILE)})
# Arguments in the query, beside the token.
QUERIES: dict[tuple[str, str], dict[str, Any]] = {
    ("GET", "/api/me"): {
        "permissions": {
            "type": "string",
            "description": "A JSON object of lists of texts: for each resource, the actions that "
            "the client wants to know about",
        }
    },
    ("GET", "/api/kernels/<kernel_id>/channels"): {
        "session_id": {
            "type": "string",
            "description": "A client that comes back under this name gets what it has missed",
        }
    },
    ("GET", "/api/kernels/<kernel_id>/executions/<execution_id>"): {
        "wait": {
            "type": "number",
            "minimum": 0,
            "maximum": 60,
            "description": "Seconds to wait for the end of the execution",
        }
    },
}
# Successful responses: the status, and what the body holds; str is a text, and bytes a file.
RESPONSES: dict[tuple[str, str], tuple[HTTPStatus, Any]] = {
    ("GET", "/healthz"): (_OK, str),
    ("GET", "/readyz"): (_OK, str),
    ("GET", "/metrics"): (_OK, str),
    ("GET", "/api/swagger.json"): (_OK, dict[str, Any]),
    ("GET", "/api/swagger.yaml"): (_OK, dict[str, Any]),
    ("GET", "/kernelspecs/<spec_name>/<path:file>"): (_OK, bytes),
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
    ("POST", "/api/kernels/<kernel_id>/execute"): (_OK, models.Execution),
    ("GET", "/api/kernels/<kernel_id>/executions"): (_OK, list[models.ExecutionSummary]),
    ("GET", "/api/kernels/<kernel_id>/executions/<execution_id>"): (_OK, models.Execution),
    ("DELETE", "/api/kernels/<kernel_id>/executions/<execution_id>"): (
        HTTPStatus.NO_CONTENT,
        None,
    ),
    ("POST", "/api/kernels/<kernel_id>/executions/<execution_id>/input"): (
        HTTPStatus.NO_CONTENT,
        None,
    ),
    ("GET", _ARTIFACT): (_OK, bytes),
    ("GET", "/api/kernels/<kernel_id>/files"): (_OK, models.Directory),
    ("GET", _FILE): (_OK, bytes),
    ("PUT", _FILE): (HTTPStatus.CREATED, models.File),
    ("DELETE", _FILE): (HTTPStatus.NO_CONTENT, None),
    ("GET", "/api/kernelspecs"): (_OK, models.KernelSpecs),
    ("GET", "/api/kernelspecs/<spec_name>"): (_OK, models.KernelSpec),
    ("GET", "/api/sessions"): (_OK, list[models.Session]),
    ("POST", "/api/sessions"): (HTTPStatus.CREATED, models.Session),
    ("GET", "/api/sessions/<session_id>"): (_OK, models.Session),
    ("PATCH", "/api/sessions/<session_id>"): (_OK, models.Session),
    ("DELETE", "/api/sessions/<session_id>"): (HTTPStatus.NO_CONTENT, None),
}
# Other successful responses.
OTHER_RESPONSES: dict[tuple[str, str], tuple[HTTPStatus, Any]] = {
    ("PUT", _FILE): (_OK, models.File),
}
# The media types of successful responses that are not JSON; errors always are.
_YAML = "text/x-yaml"
MEDIA_TYPES: dict[str, str] = {
    "/healthz": "text/plain",
    "/readyz": "text/plain",
    "/metrics": "text/plain",
    "/api/swagger.yaml": _YAML,
    "/kernelspecs/<spec_name>/<path:file>": "*/*",
    _FILE: "*/*",
    _ARTIFACT: "*/*",
}
# Other responses of handlers that answer themselves.
_NO_CONDITIONS = frozenset({"/api/kernels/<kernel_id>/channels"})
_RANGES = frozenset(
    {
        ("GET", "/kernelspecs/<spec_name>/<path:file>"),
        ("GET", _FILE),
        ("GET", _ARTIFACT),
    }
)
_OF_FILES: tuple[type[Exception], ...] = (
    errors.ResourceForbidden,
    errors.NotSupported,
    errors.Unavailable,
)
_STARTS_KERNEL: tuple[type[Exception], ...] = (
    errors.NoSuchKernelSpec,
    errors.KernelLimitReached,
    errors.KernelStartFailed,
    errors.Unavailable,
)
# What handlers raise, beyond what follows from the path and the access of a route.
RAISES: dict[tuple[str, str], tuple[type[Exception], ...]] = {
    ("PATCH", "/api/me"): (errors.NotSupported,),
    ("GET", "/api/kernels"): (errors.ListingForbidden,),
    ("POST", "/api/kernels"): _STARTS_KERNEL,
    ("POST", "/api/kernels/<kernel_id>/restart"): (errors.RestartFailed,),
    ("GET", "/api/kernels/<kernel_id>/channels"): (
        errors.ResourceForbidden,
        errors.UpgradeRequired,
    ),
    ("POST", "/api/kernels/<kernel_id>/execute"): (
        errors.ExecutionConflict,
        errors.NotAcceptable,
        errors.Unavailable,
    ),
    ("GET", "/api/kernels/<kernel_id>/executions/<execution_id>"): (errors.NotAcceptable,),
    ("DELETE", "/api/kernels/<kernel_id>/executions/<execution_id>"): (errors.ExecutionConflict,),
    ("POST", "/api/kernels/<kernel_id>/executions/<execution_id>/input"): (
        errors.ExecutionConflict,
    ),
    ("GET", "/api/kernels/<kernel_id>/files"): _OF_FILES,
    ("GET", _FILE): _OF_FILES,
    ("PUT", _FILE): (
        *_OF_FILES,
        errors.FileConflict,
        errors.PreconditionFailed,
        errors.StorageFull,
    ),
    ("DELETE", _FILE): (*_OF_FILES, errors.FileConflict, errors.PreconditionFailed),
    ("GET", "/kernelspecs/<spec_name>/<path:file>"): (errors.ResourceForbidden,),
    ("GET", "/api/sessions"): (errors.ListingForbidden,),
    ("POST", "/api/sessions"): (*_STARTS_KERNEL, errors.SessionKernelUnavailable),
    ("PATCH", "/api/sessions/<session_id>"): (*_STARTS_KERNEL, errors.SessionKernelUnavailable),
}
_RAISED_FOR: dict[str, type[Exception]] = {
    "kernel_id": errors.NoSuchKernel,
    "session_id": errors.NoSuchSession,
    "spec_name": errors.NoSuchKernelSpec,
    "execution_id": errors.NoSuchExecution,
    "artifact": errors.NoSuchArtifact,
}
_HEADERS: dict[HTTPStatus, tuple[str, ...]] = {
    HTTPStatus.CREATED: ("Location",),
    HTTPStatus.UNAUTHORIZED: ("WWW-Authenticate",),
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
    if kind is bytes:
        return {"type": "file"}
    (schema,), _ = msgspec.json.schema_components([kind], ref_template=f"{_REFERENCE}{{name}}")
    return _swagger(schema)


def _swagger(schema: dict[str, Any]) -> dict[str, Any]:
    """
    :param schema: A schema of msgspec's. Swagger 2.0 has no ``null``; ``x-nullable`` is what many
        programs know for it.
    """
    name = schema.get("$ref", "").removeprefix(_REFERENCE)
    if name in _DEFINITIONS:
        return schema
    if name:
        return _swagger(_components()[name])
    if "anyOf" in schema:
        (other,) = (each for each in schema["anyOf"] if each.get("type") != "null")
        return _swagger(other) | {"x-nullable": True}
    # Swagger 2.0 has no empty list of required fields.
    kept = {
        key: value
        for key, value in schema.items()
        if key not in ("title", "description", "default") and (key != "required" or value)
    }
    if "properties" in kept:
        kept["properties"] = {key: _swagger(each) for key, each in kept["properties"].items()}
    for key in ("items", "additionalProperties"):
        # Whether other properties are allowed is no schema.
        if isinstance(kept.get(key), dict):
            kept[key] = _swagger(kept[key])
    return kept


def errors_of(method: str, route: Route, *, needs_token: bool) -> Iterable[type[Exception]]:
    """
    :param needs_token: Whether the gateway has a token.
    :return: What an operation can raise, besides the errors of every request.
    """
    if route.access is not Access.PUBLIC:
        if needs_token:
            yield errors.Unauthorized
        yield errors.ScopeMissing
    if route.access is Access.GUARDED:
        yield errors.CrossOriginRefused
    variables = _VARIABLE.findall(route.rule)
    if variables:
        # What does not have their form is a path that is not served.
        yield errors.NoSuchResource
    for name in variables:
        if name in _RAISED_FOR:
            yield _RAISED_FOR[name]
    yield from RAISES.get((method, route.rule), ())


def _responses(method: str, route: Route, *, needs_token: bool) -> dict[str, Any]:
    described: dict[HTTPStatus, dict[str, Any]] = {}
    for table in (RESPONSES, OTHER_RESPONSES):
        if (method, route.rule) not in table:
            continue
        status, kind = table[method, route.rule]
        described[status] = {"description": status.phrase}
        if kind is not None:
            described[status]["schema"] = schema_of(kind)
    if method == "GET" and route.rule not in _NO_CONDITIONS:
        described[HTTPStatus.NOT_MODIFIED] = {"description": "The client has it already."}
    if (method, route.rule) in _RANGES:
        for status in (HTTPStatus.PARTIAL_CONTENT, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE):
            described[status] = {"description": f"{status.phrase}, for a request with Range"}
    kinds = errors_of(method, route, needs_token=needs_token)
    for status, text in describe_errors(kinds).items():
        described[status] = {"description": text, "schema": schema_of(models.Error)}
    for status, names in _HEADERS.items():
        if status in described:
            described[status]["headers"] = {name: {"type": "string"} for name in names}
    return {str(status.value): described[status] for status in sorted(described)}


def _parameters(method: str, rule: str) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "type": "string", **_PATTERNS.get(name, {})}
        for name in _VARIABLE.findall(rule)
    ]
    for name, described in QUERIES.get((method, rule), {}).items():
        parameters.append({"name": name, "in": "query", "required": False, **described})
    if (method, rule) in BODIES:
        kind, fields = BODIES[method, rule]
        schema: dict[str, Any] = (
            {"type": "string", "format": "binary"} if kind is bytes else schema_of(kind)
        )
        for name in fields:
            schema["properties"][name].pop("x-nullable", None)
        if fields:
            schema["required"] = list(fields)
        required = (method, rule) not in _MAY_BE_MISSING
        if not required and kind is not bytes:
            schema["x-nullable"] = True
        parameters.append({"name": "body", "in": "body", "required": required, "schema": schema})
    return parameters


def describe(routes: Iterable[Route], base: str, *, needs_token: bool) -> dict[str, Any]:
    """
    :param needs_token: Whether the gateway has a token.
    :return: A description of the routes in Swagger 2.0.
    """
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        operations = paths.setdefault(_VARIABLE.sub(r"{\1}", route.rule), {})
        for method in route.methods:
            operation: dict[str, Any] = {
                "summary": route.summary,
                "parameters": _parameters(method, route.rule),
                "responses": _responses(method, route, needs_token=needs_token),
            }
            if BODIES.get((method, route.rule), (None,))[0] is bytes:
                operation["consumes"] = ["application/octet-stream"]
            if route.rule in MEDIA_TYPES:
                operation["produces"] = [MEDIA_TYPES[route.rule], _JSON]
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
        "consumes": [_JSON],
        "produces": [_JSON],
        "securityDefinitions": {
            "tokenHeader": {"type": "apiKey", "name": "Authorization", "in": "header"},
            "tokenParam": {"type": "apiKey", "name": "token", "in": "query"},
        },
        "security": [{"tokenHeader": []}, {"tokenParam": []}] if needs_token else [],
        "paths": paths,
        "definitions": {name: _swagger(_components()[name]) for name in sorted(_DEFINITIONS)},
    }


class SwaggerAPI:
    """
    Serves the description.

    :param described: Gives all routes. Called for the first request, because this API's routes are
        made before the others.
    :param needs_token: Whether the gateway has a token.
    """

    def __init__(self, described: Callable[[], Iterable[Route]], *, needs_token: bool) -> None:
        self._described = described
        self._needs_token = needs_token
        # Everybody may ask for them, and making them takes a while.
        self._json = lru_cache(_MAX_BASE_URLS)(self._make_json)
        self._yaml = lru_cache(_MAX_BASE_URLS)(self._make_yaml)

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
        return encoded_answer(request, self._json(base_url(request)), _JSON.encode("ascii"))

    def yaml(self, request: Any) -> bytes:
        """
        ``GET /api/swagger.yaml``.
        """
        return encoded_answer(request, self._yaml(base_url(request)), _YAML.encode("ascii"))

    def _make_json(self, base: str) -> bytes:
        document = describe(self._described(), base, needs_token=self._needs_token)
        return msgspec.json.format(msgspec.json.encode(document), indent=2)

    def _make_yaml(self, base: str) -> bytes:
        return yaml_text(msgspec.json.decode(self._json(base))).encode("utf-8")
