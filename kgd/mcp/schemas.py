"""
JSON Schemas of the arguments and results of tools.

Format: https://json-schema.org/draft/2020-12/schema
"""

from __future__ import annotations

from typing import Any

import msgspec

_REFERENCE = "#/$defs/"


def schema_of(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """
    :return: The schema of an object, without references and without the names of Python's classes.
    """
    (schema,), definitions = msgspec.json.schema_components(
        [kind], ref_template=f"{_REFERENCE}{{name}}"
    )
    inlined: dict[str, Any] = _inline(schema, definitions)
    return inlined


def _inline(value: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(value, list):
        return [_inline(each, definitions) for each in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        found = definitions[value["$ref"].removeprefix(_REFERENCE)]
        return _inline({**found, **{k: v for k, v in value.items() if k != "$ref"}}, definitions)
    # The docstrings of classes are for people who read the code.
    is_object = "properties" in value
    return {
        key: _inline(each, definitions)
        for key, each in value.items()
        if not (is_object and key in ("title", "description"))
    }
