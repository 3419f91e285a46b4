"""
The outputs of code that a kernel has run, as values.

They lie below the executor, which makes them, because notebooks' responses are made of them, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

#: Displayed under this type, an object says how to answer the HTTP request.
RESPONSE_TYPE = "application/vnd.kgd.response+json"


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
    The outputs of some code.

    :ivar stdout: All that it printed.
    :ivar result: The MIME bundle of the last ``execute_result`` (media type to data; JSON types to
        any JSON value, binary ones to base64), or ``None``.
    :ivar displayed: The MIME bundle of the last ``display_data`` or ``update_display_data``.
    :ivar response: The last object displayed as ``application/vnd.kgd.response+json``.
    :ivar error: The error, if the code did not run to its end.
    """

    stdout: str = ""
    result: Mapping[str, Any] | None = None
    displayed: Mapping[str, Any] | None = None
    response: Any = None
    error: Failed | None = None
