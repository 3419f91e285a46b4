"""
Code that the gateway has run, and what comes of it.

Format: https://jupyter-client.readthedocs.io/en/stable/messaging.html#execute
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import attrs
import msgspec

from kgd.errors import UNREADABLE
from kgd.protocol.json import read_lenient_json
from kgd.protocol.messages import Buffer, KernelMessage, read_execution_state
from kgd.protocol.outputs import Failed, Outputs

#: Displayed under this type, an object says how to answer the HTTP request.
RESPONSE_TYPE = "application/vnd.kgd.response+json"
#: The errors with which the gateway answers for a process that is no more.
KERNEL_GONE_ENAMES = ("KernelDied", "KernelRestarted")


class _Stream(msgspec.Struct):
    text: str = ""
    name: str = "stdout"


class _Error(msgspec.Struct):
    status: str = "error"
    ename: str = "Error"
    evalue: str = ""


class _Data(msgspec.Struct):
    data: Any = None


_Content = TypeVar("_Content")
_STREAM = msgspec.json.Decoder(_Stream)
_ERROR = msgspec.json.Decoder(_Error)
_DATA = msgspec.json.Decoder(_Data)


def _read(decoder: msgspec.json.Decoder[_Content], content: Buffer, default: _Content) -> _Content:
    """
    :param default: What to take a content for that nobody can read.
    """
    try:
        return decoder.decode(content)
    except UNREADABLE:
        pass
    try:
        return msgspec.convert(read_lenient_json(content), type(default))
    except (ValueError, *UNREADABLE):
        return default


def _mime_bundle(content: Buffer) -> dict[str, Any]:
    """
    :return: The MIME bundle of a result or a display; what cannot be read is empty.
    """
    value = _read(_DATA, content, _Data()).data
    return value if isinstance(value, dict) else {}


@attrs.frozen
class CodeCell:
    """
    Some code to run.

    :ivar metadata: That of the request: a JSON object.
    :ivar on_stdout: Called with what it prints, which is not kept then.
    """

    source: str
    metadata: bytes = b"{}"
    on_stdout: Callable[[str], None] | None = None


class Execution:
    """
    Some code that was sent to the kernel, and what has come of it so far.

    :ivar msg_id: Of its request.
    :ivar status: ``ok``, ``error`` or ``aborted``, or empty until it is known.
    """

    __slots__ = (
        "_displayed", "_error", "_response", "_result", "_stdout", "is_idle", "msg_id", "on_stdout",
        "size", "status",
    )  # fmt: skip

    def __init__(self, on_stdout: Callable[[str], None] | None) -> None:
        self.msg_id = ""
        self.status = ""
        self.is_idle = False
        self.size = 0
        self.on_stdout = on_stdout
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

    def received(self, message: KernelMessage) -> None:
        """
        The kernel said something about it.
        """
        msg_type = message.header.msg_type
        content = message.parts[3]
        if msg_type == "status":
            self.is_idle = self.is_idle or read_execution_state(content) == "idle"
        elif msg_type == "stream":
            self._print(content)
        elif msg_type in ("execute_result", "display_data", "update_display_data"):
            self._show(msg_type, content)
        elif msg_type in ("error", "execute_reply"):
            self._report(msg_type, content)

    def _print(self, content: Buffer) -> None:
        stream = _read(_STREAM, content, _Stream())
        if stream.name != "stdout":
            return
        if self.on_stdout is not None:
            self.on_stdout(stream.text)
            return
        self.size += len(content)
        self._stdout.append(stream.text)

    def _show(self, msg_type: str, content: Buffer) -> None:
        bundle = _mime_bundle(content)
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
        report = _read(_ERROR, content, _Error(evalue="what the kernel said cannot be read"))
        if msg_type == "execute_reply":
            self.status = report.status
            if self.status == "aborted":
                report.ename = "Aborted"
        if report.status != "ok" and self._error is None:
            self._error = Failed(ename=report.ename, evalue=report.evalue)

    def fail(self, reason: str) -> None:
        """
        Nothing more will come of it.
        """
        self.status, self.is_idle = "error", True
        self._error = Failed(ename=KERNEL_GONE_ENAMES[0], evalue=reason)

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
