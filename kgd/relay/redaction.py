"""
Hides the names, values and tracebacks of errors in a kernel from its clients.
"""

from __future__ import annotations

from typing import Any

import msgspec

from kgd.errors import JSON_ERRORS
from kgd.protocol.json import read_lenient_json
from kgd.protocol.messages import Buffer, KernelMessage

# What replies say in place of an error's name and value.
_ENAME = "ExecutionError"
_EVALUE = "Execution error"


class Redactor:
    """
    Replaces names, values and tracebacks of errors.

    :param replacement: Takes the place of the traceback.
    """

    def __init__(self, replacement: str) -> None:
        self._instead = {"ename": _ENAME, "evalue": _EVALUE, "traceback": [replacement]}

    def redacted(self, message: KernelMessage) -> KernelMessage:
        """
        :return: The message itself if it tells no error, else one with the error replaced.
        """
        msg_type = message.header.msg_type
        if msg_type != "error" and not msg_type.endswith("_reply"):
            return message
        content = _read(message.parts[3])
        if msg_type == "error":
            content = dict(self._instead)
        elif not self._redact(content):
            return message
        header, parent, metadata, _ = message.parts
        parts = (header, parent, metadata, msgspec.json.encode(content))
        return KernelMessage(
            message.channel, message.header, parts, message.buffers, message.parent
        )

    def _redact(self, content: Any) -> bool:
        """
        Replace the errors in a reply's content: its own and those of ``user_expressions``.

        :return: Whether there were any.
        """
        if not isinstance(content, dict):
            return False
        found = content.get("status") == "error"
        if found:
            content |= self._instead
        expressions = content.get("user_expressions")
        if isinstance(expressions, dict):
            for each in expressions.values():
                found = self._redact(each) or found
        return found


def _read(content: Buffer) -> Any:
    try:
        return msgspec.json.decode(content)
    except JSON_ERRORS:
        pass
    try:
        return read_lenient_json(content)
    except (ValueError, RecursionError):
        # What cannot be read here could still hold a traceback.
        return {"status": "error"}
