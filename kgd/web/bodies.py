"""
Reads the JSON bodies of requests.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence, Set
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from kgd.errors import JSON_ERRORS, BodyTooLarge, InvalidRequest

# In bytes. The bodies that are read here are small; decoded, they may need many times their size.
MAX_JSON_BODY = 4 * 1024 * 1024

# How msgspec says that a value has the wrong type.
_WRONG_TYPE = re.compile(r"Expected `(\w+)(?: \| null)?`, got `\w+`(?: - at `\$\.?(.*)`)?")
_WRONG_CHOICE = re.compile(r"Invalid enum value .* - at `\$\.([\w.]+)`", re.DOTALL)
_TYPES = {"str": "a string", "object": "an object"}
T = TypeVar("T", bound=msgspec.Struct)


def read_body(request: Any, kind: type[T], untold: Set[str] = frozenset()) -> T | None:
    """
    Read the body as a JSON object, regardless of its ``Content-Type``: old clients send that of a
    form.

    :param kind: What the object holds; other fields are ignored.
    :param untold: Fields of whose wrong type the error says nothing, as in the Jupyter Kernel
        Gateway.
    :return: The object, or ``None`` for a body that is missing or ``null``.
    :raises kgd.errors.InvalidRequest: for any other body; the text names the field that is wrong.
    :raises kgd.errors.BodyTooLarge: for more than :py:data:`MAX_JSON_BODY`.
    """
    if request.content.seek(0, os.SEEK_END) > MAX_JSON_BODY:
        raise BodyTooLarge(f"JSON like this may have at most {MAX_JSON_BODY} bytes")
    request.content.seek(0)
    raw = request.content.read()
    if not raw:
        return None
    try:
        # All of it has to be JSON, also fields that are ignored.
        value = msgspec.json.decode(raw)
    except JSON_ERRORS:
        raise InvalidRequest("Invalid JSON in body of request") from None
    try:
        return msgspec.convert(value, kind | None)
    except msgspec.ValidationError as error:
        raise InvalidRequest(_describe(error, value, kind, untold)) from None


def _describe(
    error: msgspec.ValidationError, body: Any, kind: type[msgspec.Struct], untold: Set[str]
) -> str:
    """
    :return: Which field must have which type.
    """
    choice = _WRONG_CHOICE.fullmatch(str(error))
    if choice is not None:
        allowed = " or ".join(map(_quoted, _choices_of(kind, choice[1].split("."))))
        return f"{choice[1]} must be {allowed}"
    found = _WRONG_TYPE.fullmatch(str(error))
    if found is None or found[1] not in _TYPES:
        return str(error)
    field = found[2] or "JSON body"
    if field in untold:
        return ""
    if field.endswith("[...]"):
        # msgspec does not say which value of an object has the wrong type.
        field = field.removesuffix("[...]")
        for segment in field.split("."):
            body = body[segment]
        name = next((name for name, value in body.items() if not isinstance(value, str)), "...")
        field = f"the value of {name} in {field}"
    return f"{field} must be {_TYPES[found[1]]}"


def _quoted(value: str) -> str:
    return f'"{value}"'


def _choices_of(kind: Any, fields: Sequence[str]) -> list[str]:
    """
    :param kind: A type that may have other types in it.
    :param fields: The names of fields, one in the other.
    :return: The values that the last one may have.
    """
    if fields and isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _choices_of(get_type_hints(kind)[fields[0]], fields[1:])
    if get_origin(kind) is Literal:
        return list(get_args(kind))
    return [choice for each in get_args(kind) for choice in _choices_of(each, fields)]
