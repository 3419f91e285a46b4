"""
One request to a kernel and what comes back of it, up to its reply and its idle status.

The probe, the seed and the executor all wait like this: a reply and the output of its request come
on different sockets, so neither tells that the other has arrived.

Format: https://jupyter-client.readthedocs.io/en/stable/messaging.html#execute
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import msgspec

from kgd.errors import JSON_ERRORS
from kgd.protocol.json import read_lenient_json
from kgd.protocol.message_types import INPUT_REQUEST
from kgd.protocol.messages import (
    Buffer,
    ClientMessage,
    KernelMessage,
    MsgId,
    read_execution_state,
)
from kgd.protocol.outputs import Failed

#: The names of errors in replies that the gateway gives in place of a process that has ended.
KERNEL_GONE_ENAMES = ("KernelDied", "KernelRestarted")

_Content = TypeVar("_Content")


def read_content(
    decoder: msgspec.json.Decoder[_Content], content: Buffer, default: _Content
) -> _Content:
    """
    Read the content of a message, which may be JSON as Python writes it.

    :return: ``default`` if it cannot be read.
    """
    try:
        return decoder.decode(content)
    except JSON_ERRORS:
        pass
    try:
        return msgspec.convert(read_lenient_json(content), type(default))
    except (ValueError, *JSON_ERRORS):
        return default


class Reply(msgspec.Struct):
    """
    What a reply or an ``error`` message says of how a request ended.

    :ivar status: ``ok``, ``error`` or ``aborted``.
    :ivar execution_count: What the kernel counts, usually a number.
    :ivar user_expressions: What became of the request's, usually an object.
    :ivar payload: What the code asks of its client: a list of objects, if the kernel does it right.
    """

    status: str = "error"
    ename: str = "Error"
    evalue: str = ""
    traceback: Any = None
    execution_count: Any = None
    user_expressions: Any = None
    payload: Any = None

    @property
    def ends_kernel(self) -> bool:
        """
        Whether the kernel announces that it ends now, as after ``quit()``. It may still run for a
        moment.
        """
        return isinstance(self.payload, list) and any(
            isinstance(entry, dict)
            and entry.get("source") == "ask_exit"
            and not entry.get("keepkernel")
            for entry in self.payload
        )


_REPLY = msgspec.json.Decoder(Reply)


class OutputReceiver(Protocol):
    """
    Takes the output of one execution.
    """

    def received(self, message: KernelMessage) -> object:
        """
        Take a message from iopub that is not a status.
        """


class Execution:
    """
    A request that a kernel works on.

    :ivar request: As it was sent.
    :ivar reply: What the kernel replied, or ``None`` as long as it did not.
    :ivar is_idle: Whether the kernel has published that it is done with the request.
    :ivar has_begun: Whether the kernel is known to have begun to run it.
    :ivar error: The error that was published or replied first, if any.
    :ivar changed: Called after each message that belongs to the request.
    :param output: Takes what the request prints and displays; by default it is dropped.
    :param input_requested: Called with each ``input_request``; by default it is ignored.
    """

    __slots__ = (
        "_input_requested",
        "_output",
        "changed",
        "error",
        "has_begun",
        "is_idle",
        "reply",
        "request",
    )

    def __init__(
        self,
        request: ClientMessage,
        changed: Callable[[Execution], Any],
        output: OutputReceiver | None = None,
        input_requested: Callable[[KernelMessage], None] | None = None,
    ) -> None:
        self.request = request
        self.changed = changed
        self.reply: Reply | None = None
        self.is_idle = False
        self.has_begun = False
        self.error: Failed | None = None
        self._output = output
        self._input_requested = input_requested

    @property
    def msg_id(self) -> MsgId:
        """
        The id of the request.
        """
        return self.request.msg_id

    @property
    def status(self) -> str:
        """
        The status of the reply, or an empty string as long as there is none.
        """
        return self.reply.status if self.reply is not None else ""

    @property
    def is_done(self) -> bool:
        """
        Whether nothing more will come of it. Kernels do not publish that they are idle after a
        request that they have aborted.
        """
        return self.reply is not None and (self.is_idle or self.reply.status == "aborted")

    def received(self, message: KernelMessage) -> None:
        """
        Take a message that belongs to the request.
        """
        msg_type = message.header.msg_type
        if message.channel != "iopub":
            if msg_type != INPUT_REQUEST:
                self.reply = self._report(message)
                if self.reply.status != "aborted" and self.reply.ename not in KERNEL_GONE_ENAMES:
                    self.has_begun = True
            elif self._input_requested is not None:
                self._input_requested(message)
        elif msg_type == "status":
            state = read_execution_state(message.parts[3])
            if state == "idle":
                self.is_idle = True
            elif state == "busy":
                self.has_begun = True
        else:
            if msg_type == "error":
                # The gateway publishes one, too, in place of a kernel that is gone.
                self._report(message)
            else:
                self.has_begun = True
            if self._output is not None:
                self._output.received(message)

    def _report(self, message: KernelMessage) -> Reply:
        unreadable = Reply(evalue="what the kernel replied cannot be read")
        reply = read_content(_REPLY, message.parts[3], unreadable)
        if reply.status == "aborted":
            reply.ename = "Aborted"
        if reply.status != "ok" and self.error is None:
            self.error = Failed(ename=reply.ename, evalue=reply.evalue)
        return reply

    def fail(self, reason: str) -> None:
        """
        End it, because the kernel cannot.
        """
        self.reply = Reply(ename=KERNEL_GONE_ENAMES[0], evalue=reason)
        self.is_idle = True
        self.error = Failed(ename=self.reply.ename, evalue=reason)


class ExecutionTracker:
    """
    Sends requests to a kernel, and gives each message to the execution that it belongs to.

    :param send: Passes a request on to the kernel.
    """

    def __init__(self, send: Callable[[ClientMessage], None]) -> None:
        self._send = send
        self._running: dict[MsgId, Execution] = {}

    def start(self, execution: Execution) -> None:
        """
        Send the request of an execution.
        """
        self.add(execution)
        self._send(execution.request)

    def add(self, execution: Execution) -> None:
        """
        Expect messages of an execution whose request is sent otherwise.
        """
        self._running[execution.msg_id] = execution

    def remove(self, execution: Execution) -> None:
        """
        Expect no more messages of an execution.
        """
        self._running.pop(execution.msg_id, None)

    def received(self, message: KernelMessage) -> None:
        """
        Take a message of the kernel; one that belongs to no execution is ignored.
        """
        execution = self._running.get(message.parent.msg_id)
        if execution is None:
            return
        execution.received(message)
        if execution.is_done:
            del self._running[execution.msg_id]
        execution.changed(execution)

    def take_all(self) -> list[Execution]:
        """
        :return: The executions that are not done; they get no more messages.
        """
        running, self._running = self._running, {}
        return list(running.values())
