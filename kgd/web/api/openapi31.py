"""
The description of the API in OpenAPI 3.1, made of the same tables as the one in Swagger 2.0.

Formats: https://spec.openapis.org/oas/v3.1.0 and https://json-schema.org/draft/2020-12/schema
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Set
from functools import cache
from typing import Any

import msgspec

from kgd.interfaces import Access
from kgd.web import models
from kgd.web.api import openapi
from kgd.web.api.event_stream import EVENT_STREAM, NDJSON
from kgd.web.errors import describe_errors
from kgd.web.routes import Route

_JSON = "application/json"
_SCHEMAS = "#/components/schemas/"
# Each of these carries the token.
_SECURITY_SCHEMES: Mapping[str, Mapping[str, str]] = {
    "tokenBearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "`Authorization: Bearer T`, for the token T",
    },
    "tokenHeader": {
        "type": "apiKey",
        "name": "Authorization",
        "in": "header",
        "description": "`Authorization: token T`, for the token T",
    },
    "tokenParam": {
        "type": "apiKey",
        "name": "token",
        "in": "query",
        "description": "Wins over the header; it is in no log of the gateway's",
    },
}
# What is said of a parameter, and not of its value.
_OF_PARAMETERS = frozenset({"name", "in", "required", "description"})
_FIELD = re.compile(r"^:ivar (\w+): (.*(?:\n[ \t]+.*)*)", re.MULTILINE)


@cache
def schema_of(kind: Any) -> dict[str, Any]:
    """
    :param kind: One of :py:mod:`kgd.web.models`, a list of it, or another type of Python's that has
        a form in JSON.
    :return: Its JSON Schema, which refers to the document's components. It must not be changed.
    """
    (schema,), _ = msgspec.json.schema_components([kind], ref_template=f"{_SCHEMAS}{{name}}")
    return schema


def describe(routes: Iterable[Route], base: str, *, needs_token: bool) -> dict[str, Any]:
    """
    :param needs_token: Whether the gateway has a token.
    :return: A description of the routes in OpenAPI 3.1.
    """
    routes = tuple(routes)
    swagger = openapi.describe(routes, base, needs_token=needs_token)["paths"]
    # What any request may be answered with is said once.
    common = {str(status.value): text for status, text in describe_errors(()).items()}
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        path = openapi.template_of(route.rule)
        for method in route.methods:
            described = _operation(method, route, swagger[path][method.lower()], common)
            if needs_token and route.access is not Access.PUBLIC:
                scopes = route.scope.split()
                described["security"] = [{name: scopes} for name in _SECURITY_SCHEMES]
            paths.setdefault(path, {})[method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": dict(openapi.INFO),
        "servers": [{"url": base or "/"}],
        "tags": [{"name": name} for name in dict.fromkeys(_tag_of(each.rule) for each in routes)],
        "paths": paths,
        "components": {
            "schemas": _schemas(
                {(method, each.rule) for each in routes for method in each.methods}
            ),
            "responses": {
                status: {"description": text, "content": _json(models.Error)}
                for status, text in common.items()
            },
            **(
                {"securitySchemes": {name: dict(each) for name, each in _SECURITY_SCHEMES.items()}}
                if needs_token
                else {}
            ),
        },
    }


def _schemas(keys: Set[tuple[str, str]]) -> dict[str, Any]:
    """
    :param keys: The operations whose bodies are described; some may be off.
    """
    kinds: list[Any] = [models.Error]
    kinds += [kind for key, (kind, _) in openapi.BODIES.items() if key in keys]
    kinds += [kind for key, (_, kind) in openapi.RESPONSES.items() if key in keys]
    for key in keys & openapi.EVENTS.keys():
        kinds += openapi.EVENTS[key].values()
    _, found = msgspec.json.schema_components(kinds, ref_template=f"{_SCHEMAS}{{name}}")
    return {name: _documented(schema) for name, schema in sorted(found.items())}


def _documented(schema: dict[str, Any]) -> dict[str, Any]:
    """
    Distribute the docstring of a class, in which the fields are explained, over its fields.
    """
    text = schema.pop("description", "")
    found = {name: _plain(about) for name, about in _FIELD.findall(text)}
    for name, field in schema.get("properties", {}).items():
        if name in found:
            field["description"] = found[name]
    about = _plain(text.partition("\n\n:")[0])
    return {**schema, **({"description": about} if about else {})}


def _plain(text: str) -> str:
    return " ".join(text.replace("``", "`").split())


def _operation(
    method: str, route: Route, swagger: Mapping[str, Any], common: Mapping[str, str]
) -> dict[str, Any]:
    key = (method, route.rule)
    words = re.findall(r"[A-Za-z0-9]+", openapi.template_of(route.rule))
    described: dict[str, Any] = {
        "operationId": "_".join([method.lower(), *words]),
        "summary": route.summary,
        "tags": [_tag_of(route.rule)],
        "parameters": [
            _parameter(each, route.rule) for each in swagger["parameters"] if each["in"] != "body"
        ],
    }
    for each in swagger["parameters"]:
        if each["in"] == "body":
            described["requestBody"] = {
                "required": each["required"],
                "content": _body(key, is_required=each["required"]),
            }
    described["responses"] = {
        status: _response(key, status, response, common)
        for status, response in swagger["responses"].items()
    }
    if route.access is Access.PUBLIC:
        described["security"] = []
    return described


def _tag_of(rule: str) -> str:
    """
    :return: Of which kind of things it is a path.
    """
    found = re.search(r"\b(kernels|kernelspecs|notebooks|sessions)\b", rule)
    return found[1] if found else "gateway"


def _parameter(swagger: Mapping[str, Any], rule: str) -> dict[str, Any]:
    described = {name: value for name, value in swagger.items() if name in _OF_PARAMETERS}
    schema = {name: value for name, value in swagger.items() if name not in _OF_PARAMETERS}
    if f"<path:{swagger['name']}>" in rule:
        described["description"] = "Any number of segments, with slashes between them"
        # OpenAPI has no word for it.
        described["x-kgd-slashes"] = True
    return {**described, "schema": schema}


def _body(key: tuple[str, str], *, is_required: bool) -> dict[str, Any]:
    kind, fields = openapi.BODIES[key]
    if kind is bytes:
        return {"*/*": {}}
    schema = schema_of(kind)
    demanded = [name for name in fields if name not in _required(kind)]
    if demanded:
        # Whether a field may be missing, or null, depends on the method then.
        found = {name: {"not": {"type": "null"}} for name in demanded}
        schema = {"allOf": [schema, {"required": demanded, "properties": found}]}
    if not is_required:
        schema = {"anyOf": [schema, {"type": "null"}]}
    media: dict[str, Any] = {"schema": schema}
    if key in openapi.EXAMPLES:
        media["example"] = openapi.EXAMPLES[key]
    return {_JSON: media}


def _required(kind: Any) -> set[str]:
    return {field.encode_name for field in msgspec.structs.fields(kind) if field.required}


def _response(
    key: tuple[str, str], status: str, swagger: Mapping[str, Any], common: Mapping[str, str]
) -> dict[str, Any]:
    if swagger["description"] == common.get(status):
        return {"$ref": f"#/components/responses/{status}"}
    described: dict[str, Any] = {"description": swagger["description"]}
    if "headers" in swagger:
        described["headers"] = {name: {"schema": each} for name, each in swagger["headers"].items()}
    if int(status) >= 400:
        # A range that cannot be had is answered by what serves files.
        described["content"] = _json(models.Error) if "schema" in swagger else {"*/*": {}}
    elif "schema" in swagger:
        described["content"] = _content(key)
    elif status == "206":
        described["content"] = {"*/*": {}}
    return described


def _json(kind: Any) -> dict[str, Any]:
    return {_JSON: {"schema": schema_of(kind)}}


def _content(key: tuple[str, str]) -> dict[str, Any]:
    """
    :return: What a success holds, by media type.
    """
    _, kind = openapi.RESPONSES[key]
    media_type = openapi.MEDIA_TYPES.get(key[1], _JSON)
    content = {media_type: {} if kind is bytes else {"schema": schema_of(kind)}}
    if key in openapi.EVENTS:
        events = openapi.EVENTS[key]
        content.setdefault(_JSON, content[media_type])
        for stream, form, others in (
            (NDJSON, _line, [_object(event={"const": "keep-alive"})]),
            # Here, a comment keeps the connection alive.
            (EVENT_STREAM, _server_sent, []),
        ):
            forms = [*map(form, events, events.values()), *others]
            content[stream] = {"schema": _stream(stream, forms)}
    return content


def _stream(media_type: str, events: list[dict[str, Any]]) -> dict[str, Any]:
    """
    Describe a stream as a text with something in it, because OpenAPI 3.1 has no word for it.
    """
    return {
        "type": "string",
        "contentMediaType": media_type,
        "contentSchema": {"type": "array", "items": {"oneOf": events}},
    }


def _line(event: str, kind: Any) -> dict[str, Any]:
    head = _object(event={"const": event}, id={"type": "integer", "minimum": 0})
    return {"allOf": [head, schema_of(kind)]}


def _server_sent(event: str, kind: Any) -> dict[str, Any]:
    data = {"type": "string", "contentMediaType": _JSON, "contentSchema": schema_of(kind)}
    return _object(event={"const": event}, id={"type": "string", "pattern": "^[0-9]+$"}, data=data)


def _object(**fields: Any) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "required": list(fields)}
