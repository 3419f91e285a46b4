"""
What clients give to a program: results, events and errors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypedDict

import attrs

#: How an execution may end.
Status = Literal["ok", "error", "timeout", "interrupted", "died"]


class OutputChoice(TypedDict, total=False):
    """
    How the gateway prepares outputs; ``docs/http-api.md`` explains each field.
    """

    ansi: Literal["keep", "strip"]
    max_text_bytes: int | None
    mime: Sequence[str]


class ExecuteOptions(TypedDict, total=False):
    """
    How code is run; ``docs/http-api.md`` explains each field.
    """

    timeout: float | None
    store_history: bool
    silent: bool
    user_expressions: Mapping[str, str]
    outputs: OutputChoice
    queue: Literal["wait", "reject"]
    on_error: Literal["continue", "abort"]
    on_disconnect: Literal["interrupt", "continue"]


class StreamOptions(ExecuteOptions, total=False):
    """
    How code is run whose outputs are read as they come.
    """

    stdin: bool


class NotebookOptions(TypedDict, total=False):
    """
    How a notebook is run; ``docs/http-api.md`` explains each field.
    """

    parameters: Mapping[str, Any]
    kernel_name: str
    timeout: float
    on_error: Literal["stop", "continue"]
    on_disconnect: Literal["interrupt", "continue"]


# --- errors ---------------------------------------------------------------------------------------


class ClientError(Exception):
    """
    Anything that keeps a client from getting an answer.
    """


class GatewayUnreachable(ClientError):
    """
    The gateway did not answer, however often it was asked.
    """


class Refused(ClientError):
    """
    The gateway has refused a request.

    :ivar status: The status of the response.
    :ivar message: What the gateway says about it, which may be nothing.
    :ivar retry_after: The seconds after which it asks to be tried again, or ``None``.
    """

    def __init__(
        self, status: int, reason: str, message: str, retry_after: float | None = None
    ) -> None:
        super().__init__(f"{status} {reason}: {message}" if message else f"{status} {reason}")
        self.status = status
        self.message = message
        self.retry_after = retry_after


class ExecutionFailed(ClientError):
    """
    Code has not ended well, and the program has asked for an exception in this case.

    :ivar result: How it has ended.
    """

    def __init__(self, result: ExecutionResult) -> None:
        error = result.error
        more = f": {error.ename}: {error.evalue}" if error else ""
        super().__init__(f"the code ended with the status {result.status}{more}")
        self.result = result


# --- values ---------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class KernelInfo:
    """
    A kernel as the gateway describes it.

    :ivar reason: Why it has failed, if it has.
    """

    id: str
    name: str
    execution_state: str
    connections: int
    last_activity: datetime
    reason: str = ""


@attrs.frozen
class ExecutionError:
    """
    The error with which code has ended.

    :ivar traceback: Lines for people, with the colours of a terminal unless ``"ansi": "strip"`` was
        asked for.
    """

    ename: str
    evalue: str
    traceback: Sequence[str]


@attrs.frozen(kw_only=True)
class ExecutionResult:
    """
    An execution, and what has come of it so far.

    :ivar state: ``queued``, ``running`` or ``done``.
    :ivar status: How it has ended, or ``None`` before.
    :ivar outputs: In the form of nbformat. A stream's result has none: they have come before it.
    :ivar outputs_complete: Whether these are all outputs that were not cleared.
    :ivar duration: In seconds.
    :ivar ended_by: What it took to end it: ``interrupt``, ``restart`` of the kernel, or nothing.
    """

    execution_id: str
    state: str = "done"
    status: Status | None = None
    execution_count: int | None = None
    outputs: Sequence[Mapping[str, Any]] = ()
    outputs_complete: bool = True
    error: ExecutionError | None = None
    user_expressions: Mapping[str, Any] = attrs.field(factory=dict)
    created: datetime | None = None
    started: datetime | None = None
    duration: float | None = None
    ended_by: str | None = None

    @property
    def text(self) -> str:
        """
        What was printed to stdout, and results and displays as plain text, in order.
        """
        return "".join(_texts(self.outputs))

    @property
    def stdout(self) -> str:
        """
        What was printed to stdout.
        """
        return _printed(self.outputs, "stdout")

    @property
    def stderr(self) -> str:
        """
        What was printed to stderr.
        """
        return _printed(self.outputs, "stderr")

    def raise_for_status(self) -> ExecutionResult:
        """
        :return: This result.
        :raises ExecutionFailed: unless the status is ``ok``.
        """
        if self.status != "ok":
            raise ExecutionFailed(self)
        return self


def _printed(outputs: Iterable[Mapping[str, Any]], name: str) -> str:
    return "".join(
        output["text"]
        for output in outputs
        if output["output_type"] == "stream" and output["name"] == name
    )


def _texts(outputs: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    for output in outputs:
        if output["output_type"] == "stream":
            if output["name"] == "stdout":
                yield output["text"]
        elif isinstance(plain := output.get("data", {}).get("text/plain"), str):
            yield f"{plain}\n"


# --- events ---------------------------------------------------------------------------------------


@attrs.frozen
class Event:
    """
    Something that a stream tells.

    :ivar number: Counted from 1 in each execution.
    """

    number: int


@attrs.frozen
class Accepted(Event):
    """
    The gateway has the code; it may have to wait for its turn.
    """

    execution_id: str


@attrs.frozen
class Started(Event):
    """
    The kernel has the code.
    """


@attrs.frozen
class Output(Event):
    """
    Something that the code has given.

    :ivar output: In the form of nbformat; or its ``output_type`` is ``clear_output`` or
        ``update_display_data``.
    """

    output: Mapping[str, Any]

    @property
    def text(self) -> str:
        """
        What was printed to stdout, or a result or display as plain text.
        """
        return "".join(_texts([self.output]))


@attrs.frozen
class InputRequested(Event):
    """
    The code waits for a line of input.

    :ivar is_password: Whether what is typed should not be shown.
    """

    prompt: str
    is_password: bool


@attrs.frozen
class Gap(Event):
    """
    A connection was lost, and the gateway no longer has some of the events in between.

    :ivar missing: How many.
    """

    missing: int


@attrs.frozen
class Finished(Event):
    """
    The last event.
    """

    result: ExecutionResult
