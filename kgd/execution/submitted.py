"""
Code that a client has submitted to a kernel, and what has become of it so far.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall

from kgd.deferreds import Waiters
from kgd.execution.execution import KERNEL_GONE_ENAMES, Execution
from kgd.execution.notebook_outputs import NotebookOutputs, OutputOptions
from kgd.protocol.timestamps import timestamp

#: How an execution may end.
STATUSES = ("ok", "error", "timeout", "interrupted", "died")
# The name of Python's error after an interrupt, which other kernels have taken over.
_INTERRUPTED_ENAME = "KeyboardInterrupt"


@attrs.frozen(kw_only=True)
class CodeRequest:
    """
    Code that is to run, and how.

    :ivar timeout: How long it may run, in seconds; 0 is no limit.
    :ivar allow_stdin: Whether it may ask for input.
    :ivar abort_following: Whether code that waits behind it is not run if it fails.
    :ivar is_streamed: Whether a client reads its outputs as they come, so that they need not be
        kept.
    :ivar longest_wait: How long it may wait for its turn, in seconds; 0 is the limit of the queue.
    :ivar is_timed: Whether to note when its messages come.
    """

    code: str
    timeout: float = 0.0
    allow_stdin: bool = False
    store_history: bool = True
    silent: bool = False
    user_expressions: Mapping[str, str] = attrs.field(factory=dict)
    outputs: OutputOptions = attrs.field(factory=OutputOptions)
    abort_following: bool = False
    is_streamed: bool = False
    longest_wait: float = 0.0
    is_timed: bool = False


@attrs.frozen
class Event:
    """
    Something that a client who reads an execution's stream is told.

    :ivar number: Counted from 1 in each execution.
    :ivar kind: ``accepted``, ``started``, ``output``, ``input_request`` or ``result``.
    :ivar data: A JSON object, encoded.
    """

    number: int
    kind: str
    data: bytes


class EventLog:
    """
    The latest events of one execution, for clients that read them or take a stream up again.

    :ivar first: The number of the oldest event that is kept.
    :param limit: How many bytes of events are kept.
    """

    def __init__(self, limit: int) -> None:
        self.first = 1
        self._limit = limit
        self._size = 0
        self._events: deque[Event] = deque()
        self._listeners: list[Callable[[Event], object]] = []

    def add(self, kind: str, data: object) -> None:
        """
        Tell all listeners, and keep the event for those that come later.

        :param data: What msgspec can encode.
        """
        number = self.first + len(self._events)
        event = Event(number, kind, msgspec.json.encode(data))
        self._events.append(event)
        self._size += len(event.data)
        while self._size > self._limit and len(self._events) > 1:
            self._size -= len(self._events.popleft().data)
            self.first += 1
        for listener in tuple(self._listeners):
            listener(event)

    def follow(self, after: int, listener: Callable[[Event], object]) -> Callable[[], None]:
        """
        Tell a listener all events after the one of this number, those that are kept at once.

        :return: Ends that.
        """
        for event in tuple(self._events):
            if event.number > after:
                listener(event)
        self._listeners.append(listener)

        def stop() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return stop


@attrs.frozen
class Verdict:
    """
    Why the gateway ends an execution.

    :ivar status: One of :py:data:`STATUSES`.
    """

    status: str
    ename: str
    evalue: str

    @property
    def error(self) -> dict[str, Any]:
        """
        The error that clients get.
        """
        return {"ename": self.ename, "evalue": self.evalue, "traceback": []}


class SubmittedExecution:
    """
    One execution, from its submission on.

    :ivar execution_id: Under which clients find it.
    :ivar created: When it was submitted, in seconds since the epoch.
    :ivar started: When the kernel got it, or ``None``.
    :ivar duration: How many seconds it ran, when it has ended.
    :ivar status: How it ended, one of :py:data:`STATUSES`; empty before.
    :ivar ended_by: What it took to end it: ``interrupt``, ``restart`` or nothing.
    :ivar error: ``ename``, ``evalue`` and ``traceback``, if it has failed.
    :ivar execution_count: What the kernel counts.
    :ivar user_expressions: What became of the request's.
    :ivar verdict: Why the gateway ends it, if it does.
    :ivar input_request: ``prompt`` and ``password`` of the input that it waits for, or ``None``.
    :ivar events: For clients that read them.
    :ivar times: When its messages came, by the names that JupyterLab has for them.
    """

    def __init__(
        self,
        request: CodeRequest,
        outputs: NotebookOutputs,
        created: float,
        event_limit: int,
    ) -> None:
        self.execution_id = os.urandom(16).hex()
        self.request = request
        self.outputs = outputs
        self.created = created
        self.started: float | None = None
        self.duration: float | None = None
        self.status = ""
        self.ended_by = ""
        self.error: dict[str, Any] | None = None
        self.execution_count: int | None = None
        self.user_expressions: Mapping[str, Any] = {}
        self.input_request: dict[str, Any] | None = None
        self.events = EventLog(event_limit)
        self.times: dict[str, str] = {}
        self._done: Waiters[None] = Waiters()
        # What the queue needs to carry it out.
        self.execution: Execution | None = None
        self.withdraw: Callable[[], bool] = lambda: False
        self.timer: IDelayedCall | None = None
        self.began_at = 0.0
        self.verdict: Verdict | None = None

    @property
    def state(self) -> str:
        """
        ``queued``, ``running`` or ``done``.
        """
        if self.status:
            return "done"
        return "queued" if self.started is None else "running"

    def note_time(self, name: str) -> None:
        """
        Note that a message has come, unless one of this name has come before.
        """
        if name not in self.times:
            self.times[name] = timestamp(time.time())

    def note_times(self, execution: Execution) -> None:
        """
        Note which messages have come.
        """
        if execution.has_begun:
            self.note_time("iopub.status.busy")
        if execution.reply is not None:
            self.note_time("shell.execute_reply")
        if execution.is_idle:
            self.note_time("iopub.status.idle")

    def when_done(self) -> Deferred[None]:
        """
        :return: Fires when it has ended.
        """
        return succeed(None) if self.status else self._done.wait()

    def finish(self, status: str, error: dict[str, Any] | None) -> None:
        """
        Set how it ended.
        """
        self.status, self.error = status, error
        self.input_request = None

    def announce_end(self) -> None:
        """
        Tell everybody who waits for its end.
        """
        self._done.fire(None)

    def outcome_of(self, execution: Execution) -> tuple[str, dict[str, Any] | None]:
        """
        :return: Status and error of what the kernel has done with it.
        """
        reply = execution.reply
        assert reply is not None
        if isinstance(reply.execution_count, int):
            self.execution_count = reply.execution_count
        if isinstance(reply.user_expressions, dict):
            self.user_expressions = reply.user_expressions
        if self.verdict is not None:
            return self.verdict.status, self.verdict.error
        if execution.error is None:
            return "ok", None
        lines = reply.traceback if isinstance(reply.traceback, list) else []
        prepare = self.outputs.prepared
        error = {
            "ename": prepare(execution.error.ename),
            "evalue": prepare(execution.error.evalue),
            "traceback": [prepare(str(line)) for line in lines],
        }
        if execution.error.ename in KERNEL_GONE_ENAMES:
            return "died", error
        is_interrupted = execution.error.ename == _INTERRUPTED_ENAME
        return ("interrupted" if is_interrupted else "error"), error
