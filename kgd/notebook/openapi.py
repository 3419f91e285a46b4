"""
Describes a notebook's endpoints as OpenAPI 3.1 and as Swagger 2.0.

Formats: https://spec.openapis.org/oas/v3.1.0, https://swagger.io/specification/v2/
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import count
from typing import Any

import attrs

from kgd.notebook.api import Example, Handler, NotebookAPI
from kgd.notebook.endpoints import MEDIA_TYPE_PATTERN, find_shadowed
from kgd.notebook.media_types import is_json
from kgd.notebook.routing import (
    parameter_names,
    path_parameters,
    percent_encode,
    split_path,
    swagger_template,
)
from kgd.notebook.swagger_parser import Operation, parameter_location, read_operations
from kgd.protocol.json import read_strict_json
from kgd.protocol.outputs import RESPONSE_TYPE

_TEXT = {"schema": {"type": "string"}}
_ERROR = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
_ANYTHING: Mapping[str, Any] = {"*/*": {}}
_SECURITY: list[dict[str, list[str]]] = [{"tokenHeader": []}, {"tokenParam": []}]

#: Request bodies that a cell can read, when its endpoint declares none.
_ANY_BODY: Mapping[str, Any] = {
    "application/json": {},
    "text/plain": _TEXT,
    "multipart/form-data": {"schema": {"type": "object"}},
    "application/octet-stream": {},
}

_SIMPLE_TYPES = ("string", "number", "integer", "boolean", "array")


# Refusals that notebooks have, too, and then as text.
_TEXT_REFUSALS = frozenset({"406"})


@attrs.frozen(kw_only=True)
class GatewayAnswers:
    """
    What the gateway itself answers on all endpoints, for the description of a notebook.

    :ivar refusals: Status to meaning. The bodies are JSON, of the schema ``Error``.
    :ivar schemas: ``Error``, and the schemas to which it refers.
    :ivar needs_token: Whether clients need a token.
    :ivar rich: Whether a cell's result may be sent in any of its media types.
    """

    refusals: Mapping[str, str] = attrs.field(factory=dict)
    schemas: Mapping[str, Any] = attrs.field(factory=dict)
    needs_token: bool = False
    rich: bool = False

    def components(self) -> dict[str, Any]:
        """
        :return: The components of the document.
        """
        found: dict[str, Any] = {}
        if self.refusals:
            found["schemas"] = dict(self.schemas)
            found["responses"] = {
                status: {
                    "description": text,
                    "content": {
                        **_ERROR,
                        **({"text/plain": _TEXT} if status in _TEXT_REFUSALS else {}),
                    },
                }
                for status, text in self.refusals.items()
            }
        if self.needs_token:
            found["securitySchemes"] = {
                "tokenHeader": {"type": "apiKey", "name": "Authorization", "in": "header"},
                "tokenParam": {"type": "apiKey", "name": "token", "in": "query"},
            }
        return found


def openapi(
    api: NotebookAPI, title: str, base_path: str, gateway: GatewayAnswers | None = None
) -> dict[str, Any]:
    """
    Describe the endpoints that can be reached, with their descriptions in markdown or in a Swagger
    document of the notebook.

    :param title: For a notebook whose document has none.
    :param base_path: Precedes the endpoints' paths; a slash at its end is ignored.
    :param gateway: What the gateway itself answers; by default, nothing is said about that.
    """
    gateway = gateway or GatewayAnswers()
    document = api.document or {}
    info = document.get("info")
    declared = {
        (operation.path, operation.verb): operation for operation in read_operations(document)
    }
    hidden = find_shadowed(endpoint.path for endpoint in api.endpoints)
    # Functions of the seed may display what says how to answer, for any endpoint.
    is_free = any(RESPONSE_TYPE in source for _, source in api.seed)
    taken: set[str] = set()
    paths: dict[str, Any] = {}
    for endpoint in api.endpoints:
        if endpoint.path in hidden:
            continue
        path, parameters = _path(endpoint.path)
        item: dict[str, Any] = {"parameters": parameters} if parameters else {}
        for verb, handler in endpoint.handlers.items():
            operation = declared.get((endpoint.path, verb))
            described = _operation(
                verb, handler, gateway, is_free=is_free or RESPONSE_TYPE in handler.source
            )
            name = _default_operation_id(verb, endpoint.path)
            if operation:
                _add_swagger(operation, document, described)
                name = operation.operation_id or name
            # With a default, nothing tells the gateway's refusals from what the code answers.
            for status in () if "default" in described["responses"] else gateway.refusals:
                reference = {"$ref": f"#/components/responses/{status}"}
                described["responses"].setdefault(status, reference)
            item[verb.lower()] = {"operationId": _take_unique(name, taken), **described}
        paths[path] = item
    return {
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "version": "0.0.0",
            **_string_items(
                info if isinstance(info, dict) else {}, "title", "version", "description"
            ),
        },
        "servers": [{"url": base_path.rstrip("/") or "/"}],
        "paths": paths,
        **({"components": components} if (components := gateway.components()) else {}),
        **({"security": _SECURITY} if gateway.needs_token else {}),
    }


def _path(path: str) -> tuple[str, list[dict[str, Any]]]:
    """
    :return: The template, and its parameters, of which a wildcard is one.
    """
    taken = set(parameter_names(path))
    template = ""
    parameters = []
    for part in split_path(path):
        if part.kind == "text":
            template += percent_encode(part.text)
            continue
        parameter = {"name": part.text, "in": "path", "required": True, **_TEXT}
        if part.kind == "wildcard":
            parameter["name"] = _take_unique("wildcard", taken)
            parameter["description"] = "Any text, which may be empty and may have slashes in it."
        template += f"{{{parameter['name']}}}"
        parameters.append(parameter)
    return template, parameters


def _default_operation_id(verb: str, path: str) -> str:
    return "_".join([verb.lower(), *re.findall(r"[A-Za-z0-9]+", path)])


def _take_unique(name: str, taken: set[str]) -> str:
    """
    :return: The name, followed by a number if it is taken; it is added to ``taken``.
    """
    names = (name if number == 1 else f"{name}_{number}" for number in count(1))
    name = next(name for name in names if name not in taken)
    taken.add(name)
    return name


def _operation(
    verb: str, handler: Handler, gateway: GatewayAnswers, *, is_free: bool
) -> dict[str, Any]:
    """
    Describe an operation from its handler.

    :param is_free: Whether its code may say how to answer by displaying it.
    """
    described: dict[str, Any] = {}
    if handler.description:
        first = handler.description.strip().split("\n\n", 1)[0]
        if first.startswith("#"):
            # A heading needs no blank line after it.
            first = first.partition("\n")[0].lstrip("#")
        described["summary"] = " ".join(first.split())
        described["description"] = handler.description
    if verb in ("PUT", "POST", "PATCH", "DELETE"):
        content = _content((), handler.request_examples) or dict(_ANY_BODY)
        described["requestBody"] = {"content": content}
    success = _content(handler.produces or ("text/plain",), handler.response_examples)
    failure: dict[str, Any] = {"text/plain": _TEXT, **(_ERROR if gateway.refusals else {})}
    is_free = is_free or handler.response is not None
    if is_free or (gateway.rich and not handler.produces):
        success |= _ANYTHING
    if is_free:
        failure |= _ANYTHING
    described["responses"] = {
        "200": {"description": "What the code printed or resulted in", "content": success},
        "500": {"description": "The code failed", "content": failure},
    }
    if is_free:
        described["responses"]["default"] = {
            "description": "The notebook's code decides on status and headers"
        }
    if handler.streams:
        described["x-kgd-streamed"] = True
    described["x-kgd-cells"] = list(handler.cells)
    return described


def _content(media_types: Iterable[str], examples: Iterable[Example]) -> dict[str, Any]:
    content: dict[str, Any] = {media_type: _media(media_type) for media_type in media_types}
    for example in examples:
        media = content.setdefault(example.media_type, _media(example.media_type))
        numbered = media.setdefault("examples", {})
        numbered[str(len(numbered) + 1)] = {"value": _value(example)}
    return content


def _media(media_type: str) -> dict[str, Any]:
    # A schema of an event stream would be that of each event.
    is_text = media_type.startswith("text/") and media_type != "text/event-stream"
    return dict(_TEXT) if is_text else {}


def _value(example: Example) -> Any:
    if is_json(example.media_type):
        try:
            return read_strict_json(example.text)
        except ValueError:
            pass
    return example.text


def _add_swagger(
    operation: Operation, document: Mapping[str, Any], described: dict[str, Any]
) -> None:
    """
    Add what a Swagger 2.0 operation says and OpenAPI 3.1 says in a similar way. Schemas are left
    out, since their dialects differ.
    """
    details = operation.details
    described |= _string_items(details, "summary", "description")
    if details.get("deprecated") is True:
        described["deprecated"] = True
    tags = details.get("tags")
    if isinstance(tags, list):
        described["tags"] = [tag for tag in tags if isinstance(tag, str)]
    path_parameters = [
        {
            "name": parameter["name"],
            "in": parameter_location(parameter),
            "required": parameter.get("required") is True
            or parameter_location(parameter) == "path",
            "schema": _schema(parameter),
            **_string_items(parameter, "description"),
        }
        for parameter in operation.parameters
        if parameter_location(parameter) in ("query", "header", "path")
    ]
    if path_parameters:
        described["parameters"] = path_parameters
    consumes = details.get("consumes", document.get("consumes"))
    if "requestBody" in described and isinstance(consumes, list):
        media_types = [entry for entry in consumes if _is_media_type(entry)]
        described["requestBody"]["content"] = _content(media_types, ()) or dict(_ANY_BODY)
    responses = details.get("responses")
    for status, response in responses.items() if isinstance(responses, dict) else ():
        if re.fullmatch(r"[1-5][0-9][0-9]|default", status) and isinstance(response, dict):
            text = response.get("description")
            if isinstance(text, str):
                described["responses"].setdefault(status, {})["description"] = text


def _string_items(values: Mapping[str, Any], *names: str) -> dict[str, str]:
    return {name: values[name] for name in names if isinstance(values.get(name), str)}


def _is_media_type(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(MEDIA_TYPE_PATTERN, value) is not None


def _schema(values: Mapping[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = _string_items(values, "format")
    kind = values.get("type")
    if isinstance(kind, str) and kind in _SIMPLE_TYPES:
        schema["type"] = kind
    if isinstance(values.get("enum"), list):
        schema["enum"] = values["enum"]
    if isinstance(values.get("items"), dict):
        schema["items"] = _schema(values["items"])
    return schema


def title_of(uri: str) -> str:
    """
    :param uri: A notebook's URI.
    :return: Its base name up to the first dot, or all of it when it begins with one.
    """
    name = uri.rpartition("/")[2]
    return name.partition(".")[0] or name


def swagger(api: NotebookAPI, title: str, base_path: str) -> dict[str, Any]:
    """
    :param title: The title of a document that has none.
    :param base_path: Precedes the endpoints' paths; a slash at its end is ignored.
    :return: The notebook's own document, or a minimal one.
    """
    minimal = {"version": "0.0.0", "title": title}
    if api.document is not None:
        info = api.document.get("info", minimal)
        if isinstance(info, dict):
            info = {"title": title, **info}
        return {**api.document, "info": info}
    hidden = find_shadowed(endpoint.path for endpoint in api.endpoints)
    paths: dict[str, Any] = {}
    for endpoint in api.endpoints:
        if endpoint.path in hidden:
            continue
        item: dict[str, Any] = {
            verb.lower(): {"responses": {"200": {"description": "Success"}}}
            for verb in endpoint.handlers
        }
        names = path_parameters(endpoint.path)
        if names:
            item["parameters"] = [
                {"name": name, "in": "path", "required": True, "type": "string"} for name in names
            ]
        paths.setdefault(swagger_template(endpoint.path), item)
    base = base_path.rstrip("/")
    return {
        "swagger": "2.0",
        "paths": paths,
        "info": minimal,
        **({"basePath": base} if base else {}),
    }
