"""
The token in a request: where a client may put it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_SCHEME = re.compile(rb"\s*(?:token|bearer)\s+(.*?)\s*", re.IGNORECASE | re.DOTALL)


def presented(args: Mapping[bytes, Sequence[bytes]], authorization: bytes | None) -> bytes | None:
    """
    The query argument wins over the header, even when it is empty.

    :param args: The query's arguments.
    :param authorization: The ``Authorization`` header.
    :return: The token, or ``None`` when there is none.
    """
    given = args.get(b"token")
    if given:
        return given[0]
    found = _SCHEME.fullmatch(authorization or b"")
    return found[1] if found else None
