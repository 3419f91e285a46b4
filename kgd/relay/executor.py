"""
Running code in a kernel for the gateway itself, and collecting what comes of it.

Format: https://jupyter-client.readthedocs.io/en/stable/messaging.html#execute
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import msgspec
from twisted.internet.defer import Deferred
from zope.interface import implementer

from kgd.interfaces import IChannels, IClient
from kgd.notebook.api import Failed, Outputs
from kgd.protocol.messages import USERNAME, Buffer, Outgoing, own_request, read_state

#: Displayed under this type, an object says how to answer the HTTP request.
RESPONSE_TYPE = "application/vnd.kgd.response+json"
# The errors with which the gateway answers for a process that is no more.
_LOST = ("KernelDied", "KernelRestarted")
# A kernel that has just reported an error still throws away what comes next for a moment.
_ATTEMPTS = 50


class _Stream(msgspec.Struct):
    text: str = ""
    name: str = "stdout"


class _Error(msgspec.Struct):
    status: str = "error"
    ename: str = "Error"
    evalue: str = ""


class _Data(msgspec.Struct):
    data: msgspec.Raw = msgspec.Raw(b"{}")


_read_stream = msgspec.json.Decoder(_Stream).decode
_read_error = msgspec.json.Decoder(_Error).decode
_read_data = msgspec.json.Decoder(_Data).decode


def _bundle(content: Buffer) -> dict[str, Any]:
    """
    :return: The MIME bundle of a result or a display; what cannot be read is empty.
    """
    try:
        value = msgspec.json.decode(_read_data(content).data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        try:
            # Python's NaN is no JSON, but kernels send it.
            value = json.loads(bytes(content)).get("data")
        except (ValueError, AttributeError, RecursionError):
            return {}
    return value if isinstance(value, dict) else {}


@attrs.frozen
class Code:
    """
    Some code to run.

    :ivar metadata: That of the request: a JSON object.
    :ivar printed: Called with what it prints, which is not kept then.
    """

    source: str
    metadata: bytes = b"{}"
    printed: Callable[[str], None] | None = None


class Piece:
    """
    Some code that was sent to the kernel, and what has come of it so far.

    :ivar msg_id: Of its request.
    :ivar status: ``ok``, ``error`` or ``aborted``, or empty until it is known.
    """

    __slots__ = (
        "_displayed", "_error", "_response", "_result", "_stdout", "is_idle", "msg_id", "printed",
        "size", "status",
    )  # fmt: skip

    def __init__(self, printed: Callable[[str], None] | None) -> None:
        self.msg_id = ""
        self.status = ""
        self.is_idle = False
        self.size = 0
        self.printed = printed
        self._stdout: list[str] = []
        self._result: dict[str, Any] | None = None
        self._displayed: dict[str, Any] | None = None
        self._response: Any = None
        self._error: Failed | None = None

    @property
    def is_done(self) -> bool:
        """
        Whether nothing more will come of it.
        """
        return self.status == "aborted" or (self.is_idle and bool(self.status))

    def received(self, message: Outgoing) -> None:
        """
        The kernel said something about it.
        """
        msg_type = message.header.msg_type
        content = message.parts[3]
        if msg_type == "status":
            self.is_idle = self.is_idle or read_state(content) == "idle"
        elif msg_type == "stream":
            self._print(content)
        elif msg_type in ("execute_result", "display_data", "update_display_data"):
            self._show(msg_type, content)
        elif msg_type in ("error", "execute_reply"):
            self._report(msg_type, content)

    def _print(self, content: Buffer) -> None:
        try:
            stream = _read_stream(content)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return
        if stream.name != "stdout":
            return
        if self.printed is not None:
            self.printed(stream.text)
            return
        self.size += len(content)
        self._stdout.append(stream.text)

    def _show(self, msg_type: str, content: Buffer) -> None:
        bundle = _bundle(content)
        if RESPONSE_TYPE in bundle:
            self._response = bundle.pop(RESPONSE_TYPE)
            if not bundle:
                return
        if msg_type == "execute_result":
            self._result = bundle
        else:
            self._displayed = bundle
        # Of several only the last is kept, but they are not to be had without limit, either.
        self.size += len(content)

    def _report(self, msg_type: str, content: Buffer) -> None:
        try:
            report = _read_error(content)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            report = _Error(evalue="what the kernel said cannot be read")
        if msg_type == "execute_reply":
            self.status = report.status
            if self.status == "aborted":
                report.ename = "Aborted"
        if report.status != "ok" and self._error is None:
            self._error = Failed(ename=report.ename, evalue=report.evalue)

    def lose(self, reason: str) -> None:
        """
        Nothing more will come of it.
        """
        self.status, self.is_idle = "error", True
        self._error = Failed(ename=_LOST[0], evalue=reason)

    @property
    def error(self) -> Failed | None:
        """
        What went wrong.
        """
        return self._error

    @property
    def outputs(self) -> Outputs:
        """
        What came of it.
        """
        return Outputs(
            stdout="".join(self._stdout),
            result=self._result,
            displayed=self._displayed,
            response=self._response,
            error=self._error,
        )


class Run:
    """
    Code that runs piece by piece. All pieces are sent at once; when one fails, the kernel
    throws away those that follow.

    :ivar answered: Fires with the outputs of the pieces up to the one that failed, or of all. Never
        fails.
    :ivar settled: Fires when the kernel has nothing of this left to do.
    :param too_much: Called once when the outputs are more than ``limit`` bytes.
    """

    def __init__(
        self,
        codes: Sequence[Code],
        limit: int,
        too_much: Callable[[], None],
    ) -> None:
        self.codes = codes
        self.pieces: list[Piece] = []
        self.attempts = 0
        self.answered: Deferred[list[Outputs]] = Deferred()
        self.settled: Deferred[None] = Deferred()
        self.is_settled = False
        self._limit = limit
        self._too_much: Callable[[], None] | None = too_much

    def begin(self) -> list[Piece]:
        """
        Begin, or begin again.

        :return: The pieces to be sent.
        """
        self.attempts += 1
        self.pieces = [Piece(code.printed) for code in self.codes]
        return self.pieces

    @property
    def size(self) -> int:
        """
        How many bytes have come of it.
        """
        return sum(piece.size for piece in self.pieces)

    def advance(self, changed: Piece) -> None:
        """
        Something has come of a piece: see what follows.
        """
        if self._too_much is not None and self.size > self._limit:
            too_much, self._too_much = self._too_much, None
            too_much()
        if not changed.is_done:
            return
        # Whoever gets the answer may give the kernel to somebody else at once.
        self.is_settled = all(piece.is_done for piece in self.pieces)
        if not self.answered.called:
            self._answer()
        if self.is_settled and not self.settled.called:
            self.settled.callback(None)

    def _answer(self) -> None:
        outputs = []
        for piece in self.pieces:
            if not piece.is_done:
                return
            outputs.append(piece.outputs)
            if piece.status != "ok":
                break
        self.answered.callback(outputs)

    @property
    def was_thrown_away(self) -> bool:
        """
        Whether none of it has run, because of an error in what came before.
        """
        return self.pieces[0].status == "aborted"

    @property
    def lost(self) -> str:
        """
        Why the kernel can do no more for it, or the empty string.
        """
        if self.was_thrown_away:
            return "it throws away whatever it is to run"
        for piece in self.pieces:
            error = piece.error
            if error is not None and error.ename in _LOST:
                return error.evalue or error.ename
        return ""


@implementer(IClient)
class Executor:
    """
    A client of a kernel within the gateway.

    :param gone: Called when the kernel is gone, or the gateway ends.
    """

    unsent: int = 0

    def __init__(
        self, channels: IChannels, gone: Callable[[], None], username: str = USERNAME
    ) -> None:
        self._gone = gone
        self._username = username
        self._session = os.urandom(16).hex()
        self._waiting: dict[str, tuple[Run, Piece]] = {}
        self._attachment = channels.attach(None, self, is_ours=True)

    def run(self, codes: Sequence[Code], limit: int, too_much: Callable[[], None]) -> Run:
        """
        Run some code.

        :param limit: How many bytes of output there may be.
        :param too_much: Called when there are more.
        """
        run = Run(codes, limit, too_much)
        self._send(run)
        return run

    def _send(self, run: Run) -> None:
        now = time.time()
        for code, piece in zip(run.codes, run.begin(), strict=True):
            content = {
                "code": code.source,
                "silent": False,
                # A kernel keeps all of its history for ever.
                "store_history": False,
                "user_expressions": {},
                # There is nobody to be asked.
                "allow_stdin": False,
                "stop_on_error": True,
            }
            encoded = msgspec.json.encode(content)
            request = own_request(
                "shell",
                "execute_request",
                encoded,
                self._session,
                now,
                code.metadata,
                self._username,
            )
            piece.msg_id = request.msg_id
            self._waiting[request.msg_id] = run, piece
            self._attachment.send(request)

    def deliver(self, message: Outgoing) -> None:
        """
        The kernel said something; what is not about our code is for others.
        """
        found = self._waiting.get(message.parent.msg_id)
        if found is None:
            return
        run, piece = found
        piece.received(message)
        if piece.is_done:
            del self._waiting[piece.msg_id]
            if run.was_thrown_away and run.attempts < _ATTEMPTS:
                if all(each.is_done for each in run.pieces):
                    self._send(run)
                return
        run.advance(piece)

    def surrender(self) -> Sequence[Outgoing]:
        """
        :return: Nothing: what is delivered has arrived.
        """
        return ()

    def close(self, code: int, reason: str) -> None:
        """
        The kernel is gone, or the gateway ends.
        """
        waiting, self._waiting = self._waiting, {}
        for run, piece in waiting.values():
            piece.lose(reason)
            run.advance(piece)
        self._gone()

    def leave(self) -> None:
        """
        Have nothing to do with the kernel any more.
        """
        self._waiting.clear()
        self._attachment.detach(self)
