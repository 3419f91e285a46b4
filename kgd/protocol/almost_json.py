"""
What kernels send in place of JSON.
"""

from __future__ import annotations

import json
from typing import Any

from kgd.protocol.messages import Buffer


def read_almost_json(content: Buffer) -> Any:
    """
    Read JSON in which there may be Python's NaN, bytes that are not UTF-8, as in names of files,
    and, from JavaScript, halves of characters. That takes longer than to read JSON.

    :return: A value whose texts can be written, whatever they were.
    :raises ValueError: when it is something else.
    :raises RecursionError: when it is nested too deeply.
    """
    value = json.loads(bytes(content).decode("utf-8", "replace"))
    return json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
