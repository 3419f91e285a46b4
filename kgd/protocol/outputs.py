"""
The outputs of code that a kernel has run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs


@attrs.frozen(kw_only=True)
class Failed:
    """
    The error with which code ended.
    """

    ename: str
    evalue: str


@attrs.frozen(kw_only=True)
class Outputs:
    """
    What came of running some code.

    :ivar stdout: All of it.
    :ivar result: The last ``execute_result``'s MIME bundle (media type to data; JSON types to any
        JSON value, binary ones to base64), or ``None``.
    :ivar displayed: The last ``display_data``'s or ``update_display_data``'s.
    :ivar response: What was displayed as ``application/vnd.kgd.response+json``; the last one.
    :ivar error: Set when the code did not run to its end.
    """

    stdout: str = ""
    result: Mapping[str, Any] | None = None
    displayed: Mapping[str, Any] | None = None
    response: Any = None
    error: Failed | None = None
