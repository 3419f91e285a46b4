"""
Collects what code prints, displays and returns, from the messages of the kernel that runs it.

Format: https://jupyter-client.readthedocs.io/en/stable/messaging.html#messages-on-the-iopub-pub-sub-channel
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from kgd.execution.execution import read_content
from kgd.protocol.messages import Buffer, KernelMessage
from kgd.protocol.outputs import RESPONSE_TYPE, Failed, Outputs


class _Stream(msgspec.Struct):
    text: str = ""
    name: str = "stdout"


class _Data(msgspec.Struct):
    data: Any = None


_STREAM = msgspec.json.Decoder(_Stream)
_DATA = msgspec.json.Decoder(_Data)


def _mime_bundle(content: Buffer) -> dict[str, Any]:
    """
    :return: The MIME bundle of a result or a display; an empty one if it cannot be read.
    """
    value = read_content(_DATA, content, _Data()).data
    return value if isinstance(value, dict) else {}


class OutputCollector:
    """
    The outputs of one execution so far.

    :ivar size: How many bytes of output came, whether or not they were kept.
    :param on_stdout: Called with what the code prints, which is not kept then, nor counted.
    """

    __slots__ = ("_displayed", "_on_stdout", "_response", "_result", "_stdout", "size")

    def __init__(self, on_stdout: Callable[[str], None] | None = None) -> None:
        self.size = 0
        self._on_stdout = on_stdout
        self._stdout: list[str] = []
        self._result: dict[str, Any] | None = None
        self._displayed: dict[str, Any] | None = None
        self._response: Any = None

    def received(self, message: KernelMessage) -> None:
        """
        Take a message from iopub.
        """
        msg_type = message.header.msg_type
        if msg_type == "stream":
            self._print(message.parts[3])
        elif msg_type in ("execute_result", "display_data", "update_display_data"):
            self._show(msg_type, message.parts[3])

    def _print(self, content: Buffer) -> None:
        stream = read_content(_STREAM, content, _Stream())
        if stream.name != "stdout":
            return
        if self._on_stdout is not None:
            self._on_stdout(stream.text)
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
        # Only the last of several is kept, but all of them count against the limit.
        self.size += len(content)

    def outputs(self, error: Failed | None = None) -> Outputs:
        """
        :param error: The error of the execution, if it has one.
        :return: What came so far.
        """
        return Outputs(
            stdout="".join(self._stdout),
            result=self._result,
            displayed=self._displayed,
            response=self._response,
            error=error,
        )
