"""
Reads JSON: strictly, as notebooks have it, or leniently, as kernels send it.
"""

from __future__ import annotations

import json
import math
from typing import Any

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


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not a number")
    return number
