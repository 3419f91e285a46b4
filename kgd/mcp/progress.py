"""
Tells an agent what its code prints while it runs.

Format: https://modelcontextprotocol.io/specification/2026-07-28/basic/patterns/progress
"""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from kgd.execution.submitted import Event
from kgd.mcp.content import text_of
from kgd.mcp.json_rpc import RequestId
from kgd.mcp.reply import Reply

# Seconds between notifications, and the characters in one; all output is in the result.
INTERVAL = 0.1
MAX_TEXT = 8192


class _Output(msgspec.Struct):
    output_type: str = ""
    text: str = ""
    data: dict[str, Any] = {}


_OUTPUT = msgspec.json.Decoder(_Output)


class ProgressReporter:
    """
    Sends what an execution prints as progress notifications. What comes fast is put together; for a
    client that does not read, only the latest is kept.

    :param token: The client's name for the request.
    """

    def __init__(self, reactor: IReactorTime, reply: Reply, token: RequestId) -> None:
        self._reactor = reactor
        self._reply = reply
        self._token = token
        self._text = ""
        self._skipped = 0
        self._sent = 0
        self._timer: IDelayedCall | None = None
        reply.resumed = self._flush

    def received(self, event: Event) -> None:
        """
        Take an event of the execution.
        """
        if event.kind != "output":
            return
        output = _OUTPUT.decode(event.data)
        text = output.text or text_of(output.data) or ""
        self._text += text
        excess = len(self._text) - MAX_TEXT
        if excess > 0:
            self._text = self._text[excess:]
            self._skipped += excess
        if self._timer is None:
            self._flush()

    def _flush(self) -> None:
        if not self._text or self._reply.is_paused or not self._reply.can_notify:
            return
        text, self._text = self._text, ""
        if self._skipped:
            text = f"[kgd: {self._skipped} characters skipped]\n{text}"
            self._skipped = 0
        self._sent += 1
        params = {"progressToken": self._token, "progress": self._sent, "message": text}
        self._reply.notify("notifications/progress", params)
        if self._timer is None:
            self._timer = self._reactor.callLater(INTERVAL, self._again)

    def _again(self) -> None:
        self._timer = None
        self._flush()

    def close(self) -> None:
        """
        Send the rest, because the execution has ended.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._flush()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
