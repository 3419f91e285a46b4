"""
Runs what clients submit to one kernel, one after the other, and remembers what has become of it.
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs
import msgspec
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from kgd.errors import ExecutionConflict, InvalidRequest, NoSuchExecution, Unavailable
from kgd.execution.execution import (
    KERNEL_GONE_ENAMES,
    Execution,
    ExecutionTracker,
    read_content,
)
from kgd.execution.notebook_outputs import NotebookOutputs, Output
from kgd.execution.submitted import CodeRequest, SubmittedExecution, Verdict
from kgd.interfaces import IClient, IKernelChannels
from kgd.protocol.message_types import EXECUTE_REQUEST
from kgd.protocol.messages import USERNAME, ClientMessage, KernelMessage, make_client_message


@attrs.frozen(kw_only=True)
class QueueLimits:
    """
    Bounds of one kernel's executions.

    :ivar history: How many executions are remembered that have ended.
    :ivar history_size: How many bytes of output they may have together.
    :ivar queued: How many may wait or run at a time.
    :ivar output_size: How many bytes of output one may have, unless it is streamed.
    :ivar event_size: How many bytes of its events are kept for clients that come back.
    :ivar grace: How many seconds code may take to end after an interrupt.
    :ivar longest_wait: How many seconds an execution may wait for its turn; 0 is no limit.
    """

    history: int = 100
    history_size: int = 32 * 1024 * 1024
    queued: int = 1000
    output_size: int = 100 * 1024 * 1024
    event_size: int = 1024 * 1024
    grace: float = 5.0
    longest_wait: float = 0.0


class _InputRequest(msgspec.Struct):
    prompt: Any = ""
    password: Any = False


_INPUT_REQUEST = msgspec.json.Decoder(_InputRequest)


@implementer(IClient)
class ExecutionQueue:
    """
    A client of one kernel within the gateway, which runs code for clients over HTTP.

    :param interrupt: Interrupts the kernel.
    :param restart: Ends the kernel's process and starts another.
    :param gone: Called when the kernel is gone.
    """

    unsent: int = 0
    deliver: Callable[[KernelMessage], None]

    def __init__(
        self,
        reactor: IReactorTime,
        channels: IKernelChannels,
        *,
        interrupt: Callable[[], object],
        restart: Callable[[], object],
        gone: Callable[[], None],
        limits: QueueLimits,
        username: str = USERNAME,
    ) -> None:
        self._reactor = reactor
        self._channels = channels
        self._interrupt = interrupt
        self._restart = restart
        self._gone = gone
        self._limits = limits
        self._username = username
        self._session = os.urandom(16).hex()
        self._unfinished: dict[str, SubmittedExecution] = {}
        self._history: OrderedDict[str, SubmittedExecution] = OrderedDict()
        self._history_size = 0
        self._displays: dict[str, list[Output]] = {}
        self._attachment = channels.attach(None, self, is_internal=True, is_connection=False)
        self._tracker = ExecutionTracker(self._attachment.send)
        self.deliver = self._tracker.received

    def __iter__(self) -> Iterator[SubmittedExecution]:
        """
        All executions that are remembered, the oldest first.
        """
        return iter((*self._history.values(), *self._unfinished.values()))

    def get(self, execution_id: str) -> SubmittedExecution:
        """
        :raises kgd.errors.NoSuchExecution:
        """
        found = self._unfinished.get(execution_id) or self._history.get(execution_id)
        if found is None:
            raise NoSuchExecution(
                f"Execution does not exist: {execution_id}; the last {self._limits.history} of a "
                "kernel are remembered"
            )
        return found

    # --- running ---

    def submit(self, request: CodeRequest, *, wait: bool = True) -> SubmittedExecution:
        """
        Run some code when it is its turn, which may be at once.

        :param wait: Whether it may wait behind other code.
        :raises kgd.errors.ExecutionConflict: when it would have to wait and may not.
        :raises kgd.errors.Unavailable: when too many wait already.
        """
        if not wait and self._channels.pending_executions:
            raise ExecutionConflict('The kernel is busy; try again later, or send "queue": "wait"')
        if len(self._unfinished) >= self._limits.queued:
            raise Unavailable(
                f"{self._limits.queued} executions wait for this kernel already; try again later", 1
            )
        now = time.time()
        kept = self._limits.event_size if request.is_streamed else 0
        outputs = NotebookOutputs(request.outputs, kept, self._displays)
        submitted = SubmittedExecution(request, outputs, now, self._limits.event_size)
        message = self._request_message(request, now)
        execution = Execution(
            message,
            lambda changed: self._changed(submitted, changed),
            _Outputs(self, submitted),
            lambda asked: self._input_requested(submitted, asked),
        )
        submitted.execution = execution
        self._unfinished[submitted.execution_id] = submitted
        submitted.events.add("accepted", {"execution_id": submitted.execution_id})
        if self._limits.longest_wait:
            submitted.timer = self._reactor.callLater(
                self._limits.longest_wait, self._waited_too_long, submitted
            )
        self._tracker.add(execution)
        submitted.withdraw = self._attachment.send_in_turn(message, lambda: self._sent(submitted))
        return submitted

    def _request_message(self, request: CodeRequest, now: float) -> ClientMessage:
        content = {
            "code": request.code,
            "silent": request.silent,
            "store_history": request.store_history and not request.silent,
            "user_expressions": request.user_expressions,
            "allow_stdin": request.allow_stdin,
            # What other clients ask for is not to be aborted because of this code.
            "stop_on_error": request.abort_following,
        }
        return make_client_message(
            "shell",
            EXECUTE_REQUEST,
            msgspec.json.encode(content),
            self._session,
            now,
            username=self._username,
        )

    def _sent(self, submitted: SubmittedExecution) -> None:
        self._cancel_timer(submitted)
        submitted.started = time.time()
        submitted.began_at = self._reactor.seconds()
        submitted.events.add("started", {})
        if submitted.request.timeout:
            submitted.timer = self._reactor.callLater(
                submitted.request.timeout, self._timed_out, submitted
            )

    def _changed(self, submitted: SubmittedExecution, execution: Execution) -> None:
        reply = execution.reply
        if reply is not None and reply.status != "ok" and submitted.request.abort_following:
            # Now, for with this reply it is the next one's turn.
            self._abort_waiting()
        if execution.is_done and not submitted.status:
            self._finish(submitted, *submitted.outcome_of(execution))

    def output_received(self, submitted: SubmittedExecution, message: KernelMessage) -> None:
        """
        Take a message from iopub that belongs to an execution.
        """
        output = submitted.outputs.received(message)
        if output is not None:
            submitted.events.add("output", output)
        if (
            submitted.outputs.size > self._limits.output_size
            and not submitted.request.is_streamed
            and submitted.verdict is None
        ):
            self._end(
                submitted,
                Verdict(
                    "error",
                    "OutputTooLarge",
                    f"the code gave more than {self._limits.output_size} bytes of output and was "
                    "interrupted; read it as a stream, or ask the gateway's operator to raise "
                    "--max-response-size",
                ),
            )

    # --- ending ---

    def _waited_too_long(self, submitted: SubmittedExecution) -> None:
        submitted.timer = None
        self._end(
            submitted,
            Verdict(
                "timeout", "TimeoutError", f"it waited {self._limits.longest_wait:g} s for its turn"
            ),
        )

    def _timed_out(self, submitted: SubmittedExecution) -> None:
        submitted.timer = None
        self._end(
            submitted,
            Verdict(
                "timeout", "TimeoutError", f"it did not end within {submitted.request.timeout:g} s"
            ),
        )

    def cancel(self, submitted: SubmittedExecution) -> None:
        """
        Take an execution out of the queue, or interrupt it.

        :raises kgd.errors.ExecutionConflict: when it has ended already.
        """
        if submitted.status:
            raise ExecutionConflict(
                f"The execution has ended already, with the status {submitted.status}"
            )
        self._end(submitted, Verdict("interrupted", "Cancelled", "it was cancelled"))

    def _end(self, submitted: SubmittedExecution, verdict: Verdict) -> None:
        if submitted.verdict is not None:
            return
        submitted.verdict = verdict
        self._cancel_timer(submitted)
        if submitted.withdraw():
            assert submitted.execution is not None
            self._tracker.remove(submitted.execution)
            self._finish(submitted, verdict.status, verdict.error)
            return
        submitted.ended_by = "interrupt"
        self._interrupt()
        submitted.timer = self._reactor.callLater(self._limits.grace, self._kill, submitted)

    def _kill(self, submitted: SubmittedExecution) -> None:
        submitted.timer = None
        submitted.ended_by = "restart"
        self._restart()

    def _finish(
        self, submitted: SubmittedExecution, status: str, error: dict[str, Any] | None
    ) -> None:
        self._cancel_timer(submitted)
        if submitted.started is not None:
            submitted.duration = self._reactor.seconds() - submitted.began_at
        submitted.outputs.is_final = True
        submitted.finish(status, error)
        submitted.execution = None
        del self._unfinished[submitted.execution_id]
        self._remember(submitted)
        submitted.events.add("result", {})
        submitted.announce_end()

    def _abort_waiting(self) -> None:
        # The last first, for the first one would make room for the next.
        for waiting in reversed(tuple(self._unfinished.values())):
            if waiting.started is None:
                self._end(waiting, Verdict("error", "Aborted", "an execution before it failed"))

    def _remember(self, submitted: SubmittedExecution) -> None:
        self._history[submitted.execution_id] = submitted
        self._history_size += submitted.outputs.size
        while self._history and (
            len(self._history) > self._limits.history
            or (self._history_size > self._limits.history_size and len(self._history) > 1)
        ):
            _, oldest = self._history.popitem(last=False)
            self._history_size -= oldest.outputs.size
        if not self._history:
            self._displays.clear()

    def _cancel_timer(self, submitted: SubmittedExecution) -> None:
        timer, submitted.timer = submitted.timer, None
        if timer is not None:
            timer.cancel()

    # --- input ---

    def _input_requested(self, submitted: SubmittedExecution, message: KernelMessage) -> None:
        asked = read_content(_INPUT_REQUEST, message.parts[3], _InputRequest())
        submitted.input_request = {"prompt": str(asked.prompt), "password": bool(asked.password)}
        submitted.events.add("input_request", submitted.input_request)

    def send_input(self, submitted: SubmittedExecution, value: str) -> None:
        """
        Answer the input request of an execution.

        :raises kgd.errors.ExecutionConflict: when it does not wait for input.
        """
        if submitted.input_request is None:
            raise ExecutionConflict("The execution does not wait for input")
        submitted.input_request = None
        self._attachment.send(
            make_client_message(
                "stdin",
                "input_reply",
                msgspec.json.encode({"value": value, "status": "ok"}),
                self._session,
                time.time(),
                username=self._username,
            )
        )

    # --- as a client of the kernel ---

    def pause_requests(self) -> None:
        """
        Do nothing: the number of executions that wait is bounded.
        """

    def resume_requests(self) -> None:
        """
        Do nothing.
        """

    def take_undelivered(self) -> Sequence[KernelMessage]:
        """
        :return: Nothing: what is delivered has arrived.
        """
        return ()

    def close(self, code: int, reason: str) -> None:
        """
        End everything, because the kernel is gone.
        """
        self._tracker.take_all()
        for submitted in tuple(self._unfinished.values()):
            verdict = submitted.verdict or Verdict("died", KERNEL_GONE_ENAMES[0], reason)
            self._finish(submitted, verdict.status, verdict.error)
        self._gone()


class _Outputs:
    """
    Takes the output of one execution.
    """

    __slots__ = ("_queue", "_submitted")

    def __init__(self, queue: ExecutionQueue, submitted: SubmittedExecution) -> None:
        self._queue = queue
        self._submitted = submitted

    def received(self, message: KernelMessage) -> None:
        """
        Take a message from iopub that is not a status.
        """
        self._queue.output_received(self._submitted, message)


def check_timeout(timeout: float | None, longest: float) -> float:
    """
    :param timeout: What a client asks for, in seconds; ``None`` is as long as possible.
    :param longest: What the operator allows; 0 is no limit.
    :return: How long code may run, in seconds; 0 is no limit.
    :raises kgd.errors.InvalidRequest: when that is out of range.
    """
    if timeout is None:
        return longest
    if not 0 < timeout <= (longest or float("inf")):
        most = f" and at most {longest:g}" if longest else ""
        raise InvalidRequest(f"timeout must be more than 0{most} seconds")
    return timeout
