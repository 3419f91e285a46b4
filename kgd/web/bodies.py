"""
The JSON that clients send.
"""

from __future__ import annotations

import os
from typing import Any

import msgspec

from kgd.errors import JSON_ERRORS, BodyTooLarge, InvalidRequest

# In bytes. What is read here is small; decoded, it may need many times its size.
MOST_JSON = 4 * 1024 * 1024


def read_object(request: Any) -> dict[str, Any]:
    """
    As :py:func:`read_object_or_none`, but nothing is an empty object.
    """
    return read_object_or_none(request) or {}


def read_object_or_none(request: Any) -> dict[str, Any] | None:
    """
    Read the body as a JSON object, whatever its ``Content-Type`` claims; old clients claim a form.

    :return: The object, or ``None`` when there is no body, or ``null``.
    :raises InvalidRequest: when it is something else.
    :raises BodyTooLarge: when no client can mean it.
    """
    if request.content.seek(0, os.SEEK_END) > MOST_JSON:
        raise BodyTooLarge(f"JSON like this may have at most {MOST_JSON} bytes")
    request.content.seek(0)
    raw = request.content.read()
    if not raw:
        return None
    try:
        value = msgspec.json.decode(raw)
    except JSON_ERRORS:
        raise InvalidRequest("Invalid JSON in body of request") from None
    if value is None:
        return None
    if not isinstance(value, dict):
        raise InvalidRequest("JSON body must be an object")
    return value


def text_or_none(body: dict[str, Any], key: str) -> str | None:
    """
    :raises InvalidRequest: when the field is there and is no string.
    """
    value = body.get(key)
    if value is not None and not isinstance(value, str):
        raise InvalidRequest(f"{key} must be a string")
    return value


def object_or_empty(body: dict[str, Any], key: str) -> dict[str, Any]:
    """
    :return: The field; an empty object when it is not there, or ``null``.
    :raises InvalidRequest: when it is something else.
    """
    value = body.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidRequest(f"{key} must be an object")
    return value
