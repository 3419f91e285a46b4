"""
What is known of the operations of the API beside their routes, and the description in Swagger 2.0
that is made of it. :py:mod:`kgd.web.api.openapi31` makes one in OpenAPI 3.1 of the same.

Format: https://swagger.io/specification/v2/
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from copy import deepcopy
from functools import cache
from http import HTTPStatus
from typing import Any

import msgspec

from kgd import errors
from kgd.interfaces import Access
from kgd.web import models
from kgd.web.errors import describe_errors
from kgd.web.idempotency import MAX_KEY_LENGTH
from kgd.web.routes import Route

#: What all descriptions say of the API as a whole.
INFO: Mapping[str, str] = {
    "title": "Kernel gateway API",
    "description": "Start Jupyter kernels and exchange messages with them",
    "version": "5",
}
_VARIABLE = re.compile(r"<(?:\w+:)?(\w+)>")
_OK = HTTPStatus.OK
_JSON = "application/json"
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
    ("POST", "/api/execute"): (models.ExecuteOnce, ("code",)),
    ("POST", "/api/notebooks/run"): (models.RunNotebook, ()),
    ("POST", "/api/sessions"): (models.SessionBody, ("path", "type")),
    ("PATCH", "/api/sessions/<session_id>"): (models.SessionBody, ()),
}
_FILE = "/api/kernels/<kernel_id>/files/<path:file>"
_ARTIFACT = "/api/kernels/<kernel_id>/artifacts/<artifact>"
_MAY_BE_MISSING = frozenset({("POST", "/api/kernels"), ("PUT", _FILE)})
# Bodies that one can send as they are, to begin with.
EXAMPLES: dict[tuple[str, str], Any] = {
    ("POST", "/api/kernels"): {"name": "python3"},
    ("POST", "/api/kernels/<kernel_id>/execute"): {"code": "print(6 * 7)"},
    ("POST", "/api/kernels/<kernel_id>/executions/<execution_id>/input"): {"value": "yes"},
    ("POST", "/api/execute"): {"code": "print(6 * 7)"},
    ("POST", "/api/notebooks/run"): {
        "notebook": {
            "nbformat": 4,
            "nbformat_minor": 5,
            "metadata": {},
            "cells": [
                {
                    "id": "one",
                    "cell_type": "code",
                    "source": "print(6 * 7)",
                    "metadata": {},
                    "outputs": [],
                    "execution_count": None,
                }
            ],
        }
    },
    ("POST", "/api/sessions"): {"path": "notebook.ipynb", "type": "notebook"},
    ("PATCH", "/api/sessions/<session_id>"): {"name": "A name"},
}
# Arguments in the query, beside the token, and headers.
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
        },
        "Last-Event-ID": {
            "in": "header",
            "type": "integer",
            "minimum": 0,
            "maximum": 10**18 - 1,
            "description": "The id of the last event that the client has, for a stream",
        },
    },
}
# Successful responses: the status, and what the body holds; str is a text, and bytes a file.
RESPONSES: dict[tuple[str, str], tuple[HTTPStatus, Any]] = {
    ("GET", "/healthz"): (_OK, str),
    ("GET", "/readyz"): (_OK, str),
    ("GET", "/metrics"): (_OK, str),
    ("GET", "/api/swagger.json"): (_OK, dict[str, Any]),
    ("GET", "/api/swagger.yaml"): (_OK, dict[str, Any]),
    ("GET", "/api/openapi.json"): (_OK, dict[str, Any]),
    ("GET", "/api/docs"): (_OK, str),
    ("GET", "/api/docs/<path:name>"): (_OK, str),
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
    ("POST", "/api/execute"): (_OK, models.OnceExecution),
    ("POST", "/api/notebooks/run"): (_OK, dict[str, Any]),
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
YAML = "text/x-yaml"
MEDIA_TYPES: dict[str, str] = {
    "/healthz": "text/plain",
    "/readyz": "text/plain",
    "/metrics": "text/plain",
    "/api/swagger.yaml": YAML,
    "/api/docs": "text/html",
    "/api/docs/<path:name>": "text/*",
    "/api/notebooks/run": "application/x-ipynb+json",
    "/kernelspecs/<spec_name>/<path:file>": "*/*",
    _FILE: "*/*",
    _ARTIFACT: "*/*",
}
# What happens to executions, as streams of events tell it.
_EXECUTION_EVENTS: Mapping[str, Any] = {
    "accepted": models.Accepted,
    "started": models.Started,
    "output": models.OutputAdded,
    "input_request": models.InputRequested,
    "result": models.Execution,
}
#: By operation, the events of the streams that can be had instead of one body of JSON, and what is
#: told of each.
EVENTS: dict[tuple[str, str], Mapping[str, Any]] = {
    ("POST", "/api/kernels/<kernel_id>/execute"): _EXECUTION_EVENTS,
    ("GET", "/api/kernels/<kernel_id>/executions/<execution_id>"): {
        "gap": models.Gap,
        **_EXECUTION_EVENTS,
    },
    ("POST", "/api/execute"): {**_EXECUTION_EVENTS, "result": models.OnceExecution},
    ("POST", "/api/notebooks/run"): {
        "accepted": models.RunAccepted,
        "cell_started": models.CellStarted,
        "cell_output": models.CellOutput,
        "cell_ended": models.CellEnded,
        "result": models.RunResult,
    },
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
#: The header of requests that may be sent again.
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "type": "string",
    "maxLength": MAX_KEY_LENGTH,
    "pattern": "^[!-~]([ -~]*[!-~])?$",
    "description": "A request of the same key and body gets the answer to the first one",
}
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
    ("POST", "/api/execute"): (
        *_STARTS_KERNEL,
        errors.ExecutionTimedOut,
        errors.NotAcceptable,
    ),
    ("POST", "/api/notebooks/run"): (
        *_STARTS_KERNEL,
        errors.ExecutionTimedOut,
        errors.NotAcceptable,
        errors.ResourceForbidden,
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
    # The caller's own, to change.
    return deepcopy(_schema_of(kind))


# Most responses are refusals, which all have the same one.
@cache
def _schema_of(kind: Any) -> dict[str, Any]:
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
    if "exclusiveMinimum" in kept:
        # In Swagger 2.0 it only says how the minimum is meant.
        kept |= {"minimum": kept["exclusiveMinimum"], "exclusiveMinimum": True}
    if "properties" in kept:
        kept["properties"] = {key: _swagger(each) for key, each in kept["properties"].items()}
    for key in ("items", "additionalProperties"):
        # Whether other properties are allowed is no schema.
        if isinstance(kept.get(key), dict):
            kept[key] = _swagger(kept[key])
    return kept


def template_of(rule: str) -> str:
    """
    :return: The rule of a route in the form that descriptions have.
    """
    return _VARIABLE.sub(r"{\1}", rule)


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
    if route.repeats is not None:
        yield errors.IdempotencyKeyReused
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


def _parameters(method: str, route: Route) -> list[dict[str, Any]]:
    rule = route.rule
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "type": "string", **_PATTERNS.get(name, {})}
        for name in _VARIABLE.findall(rule)
    ]
    for name, described in QUERIES.get((method, rule), {}).items():
        parameters.append({"name": name, "in": "query", "required": False, **described})
    if route.repeats is not None:
        parameters.append(dict(IDEMPOTENCY_KEY))
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
        operations = paths.setdefault(template_of(route.rule), {})
        for method in route.methods:
            operation: dict[str, Any] = {
                "summary": route.summary,
                "parameters": _parameters(method, route),
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
        "info": dict(INFO),
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
