"""
The JSON that clients send.
"""

from __future__ import annotations

from typing import Any

import msgspec

from kgd.errors import InvalidRequest


def read_object(request: Any) -> dict[str, Any]:
    """
    Read the body as a JSON object, whatever its ``Content-Type`` claims; old clients claim a form.

    :return: The object; an empty one when there is no body, or ``null``.
    :raises InvalidRequest: when it is something else.
    """
    raw = request.content.read()
    if not raw:
        return {}
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise InvalidRequest("Invalid JSON in body of request") from None
    if value is None:
        return {}
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
