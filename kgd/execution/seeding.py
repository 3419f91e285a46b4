"""
Running code in a kernel before any client is let in.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import msgspec

from kgd.errors import JSON_ERRORS
from kgd.protocol.messages import USERNAME, ClientMessage, KernelMessage, own_code


class _Reply(msgspec.Struct):
    status: str = "error"
    ename: str = "Error"
    evalue: str = ""


_decode = msgspec.json.Decoder(_Reply).decode


class SeedRun:
    """
    Runs pieces of code one after the other. Each is done when its reply *and*, on iopub, its idle
    status have come: then nothing that it printed is still under way.

    :param failed: Called with the number of a piece and with its error.
    """

    def __init__(
        self,
        pieces: Sequence[str],
        session: str,
        send: Callable[[ClientMessage], None],
        succeeded: Callable[[], None],
        failed: Callable[[int, str], None],
        username: str = USERNAME,
    ) -> None:
        self._username = username
        self._pieces = pieces
        self._session = session
        self._send = send
        self._succeeded = succeeded
        self._failed = failed
        self._at = -1
        #: The ids of all the requests, to tell what they lead to from what is for clients.
        self.asked: set[str] = set()

    def proceed(self) -> None:
        """
        Run the next piece, the first one at first.
        """
        self._at += 1
        if self._at == len(self._pieces):
            self._succeeded()
            return
        code = self._pieces[self._at]
        request = own_code(code, self._session, time.time(), username=self._username)
        self._replied = self._idle = False
        self._current = request.msg_id
        self.asked.add(request.msg_id)
        self._send(request)

    def replied(self, message: KernelMessage) -> None:
        """
        A message came on shell.
        """
        if message.parent.msg_id != self._current or self._replied:
            return
        try:
            reply = _decode(message.parts[3])
        except JSON_ERRORS:
            reply = _Reply(evalue="the kernel's reply cannot be read")
        if reply.status != "ok":
            self._failed(self._at, f"{reply.ename}: {reply.evalue}")
            return
        self._replied = True
        self._advance()

    def published(self, message: KernelMessage, execution_state: str | None) -> None:
        """
        A message came on iopub.
        """
        if execution_state == "idle" and message.parent.msg_id == self._current:
            self._idle = True
            self._advance()

    def _advance(self) -> None:
        if self._replied and self._idle:
            self.proceed()
