"""
Reads JSON: strictly, as notebooks have it, or leniently, as kernels send it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

import msgspec

from kgd.protocol.messages import Buffer


def read_lenient_json(content: Buffer) -> Any:
    """
    Read JSON that may contain Python's NaN, bytes that are not UTF-8, as in names of files, and
    unpaired surrogates, as from JavaScript. This is slower than reading strict JSON.

    :return: A value whose texts can be encoded as UTF-8.
    :raises ValueError: when it is something else.
    :raises RecursionError: when it is nested too deeply.
    """
    value = json.loads(bytes(content).decode("utf-8", "replace"))
    return json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))


def read_strict_json(text: str) -> Any:
    """
    :raises ValueError: when the text is not JSON.
    """
    try:
        return json.loads(text, parse_constant=_number, parse_float=_number)
    except RecursionError:
        raise ValueError("too deep") from None


# Nobody writes documents that are nested deeper, and code that goes through them is recursive.
_MAX_DEPTH = 100


def read_json_document(text: str) -> Any:
    """
    Read JSON that becomes a part of a JSON document of the gateway's own.

    :return: A value that can be written again: not nested too deeply, and without unpaired
        surrogates.
    :raises ValueError: when the text is something else.
    """
    value = read_strict_json(text)
    level = [value]
    for _ in range(_MAX_DEPTH):
        level = [child for container in level for child in _children(container)]
    if level:
        raise ValueError("too deep")
    try:
        msgspec.json.encode(value)
    except UnicodeEncodeError:
        raise ValueError("it has half of a character, like \\ud800") from None
    return value


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not a number")
    return number
