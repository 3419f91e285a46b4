"""
Running code in a kernel before any client is let in.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import msgspec

from kgd.errors import UNREADABLE
from kgd.protocol.messages import USERNAME, ClientMessage, KernelMessage, make_execute_request


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
        sources: Sequence[str],
        session: str,
        send: Callable[[ClientMessage], None],
        succeeded: Callable[[], None],
        failed: Callable[[int, str], None],
        username: str = USERNAME,
    ) -> None:
        self._username = username
        self._sources = sources
        self._session = session
        self._send = send
        self._succeeded = succeeded
        self._failed = failed
        self._index = -1
        #: The ids of all the requests, to tell what they lead to from what is for clients.
        self.msg_ids: set[str] = set()

    def run_next(self) -> None:
        """
        Run the next piece, the first one at first.
        """
        self._index += 1
        if self._index == len(self._sources):
            self._succeeded()
            return
        code = self._sources[self._index]
        request = make_execute_request(code, self._session, time.time(), username=self._username)
        self._replied = self._idle = False
        self._msg_id = request.msg_id
        self.msg_ids.add(request.msg_id)
        self._send(request)

    def replied(self, message: KernelMessage) -> None:
        """
        A message came on shell.
        """
        if message.parent.msg_id != self._msg_id or self._replied:
            return
        try:
            reply = _decode(message.parts[3])
        except UNREADABLE:
            reply = _Reply(evalue="the kernel's reply cannot be read")
        if reply.status != "ok":
            self._failed(self._index, f"{reply.ename}: {reply.evalue}")
            return
        self._replied = True
        self._advance()

    def published(self, message: KernelMessage, execution_state: str | None) -> None:
        """
        A message came on iopub.
        """
        if execution_state == "idle" and message.parent.msg_id == self._msg_id:
            self._idle = True
            self._advance()

    def _advance(self) -> None:
        if self._replied and self._idle:
            self.run_next()
