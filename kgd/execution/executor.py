"""
Runs code in a kernel for the gateway itself, and returns its outputs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

import attrs
from twisted.internet.defer import Deferred
from zope.interface import implementer

from kgd.errors import KernelLost, ResponseTooLarge
from kgd.execution.execution import KERNEL_GONE_ENAMES, Execution, ExecutionTracker
from kgd.execution.outputs import OutputCollector
from kgd.interfaces import IClient, IKernel, IKernelChannels
from kgd.protocol.messages import USERNAME, KernelMessage, make_execute_request
from kgd.protocol.outputs import Outputs

# A kernel that has just reported an error still aborts what comes next for a moment.
_MAX_ATTEMPTS = 50


@attrs.frozen
class CodeCell:
    """
    Some code to run.

    :ivar metadata: The metadata of the request: a JSON object.
    :ivar on_stdout: Called with what the code prints, which is not kept then.
    """

    source: str
    metadata: bytes = b"{}"
    on_stdout: Callable[[str], None] | None = None


class ExecutionBatch:
    """
    Cells that run one after the other. All are sent at once; when one fails, the kernel aborts
    those that follow.

    :ivar executions: Those of the cells, in order.
    :ivar attempts: How many times they were sent.
    :ivar answered: Fires with the outputs of the cells up to the one that failed, or of all. Never
        fails.
    :ivar settled: Fires when the kernel has nothing of this left to do, or the executor has
        detached.
    :ivar is_settled: Whether the kernel has nothing of this left to do. It is set before
        ``answered`` fires, for the code that gets the answer may lend the kernel again at once.
    :param limit: How many bytes of output there may be.
    :param output_exceeded: Called once when there are more.
    """

    def __init__(
        self, cells: Sequence[CodeCell], limit: int, output_exceeded: Callable[[], None]
    ) -> None:
        self.cells = cells
        self.executions: list[Execution] = []
        self.attempts = 0
        self.answered: Deferred[list[Outputs]] = Deferred()
        self.settled: Deferred[None] = Deferred()
        self.is_settled = False
        self._collectors: list[OutputCollector] = []
        self._limit = limit
        self._output_exceeded: Callable[[], None] | None = output_exceeded

    def begin(
        self, make_execution: Callable[[CodeCell, OutputCollector], Execution]
    ) -> Sequence[Execution]:
        """
        Begin, or begin again.

        :return: The executions to be started.
        """
        self.attempts += 1
        self._collectors = [OutputCollector(cell.on_stdout) for cell in self.cells]
        self.executions = list(map(make_execution, self.cells, self._collectors))
        return self.executions

    @property
    def is_done(self) -> bool:
        """
        Whether nothing more will come of it.
        """
        return all(execution.is_done for execution in self.executions)

    @property
    def size(self) -> int:
        """
        How many bytes of output there are.
        """
        return sum(collector.size for collector in self._collectors)

    def execution_changed(self, changed: Execution) -> None:
        """
        Take into account what has come of an execution.
        """
        if self._output_exceeded is not None and self.size > self._limit:
            output_exceeded, self._output_exceeded = self._output_exceeded, None
            output_exceeded()
        if not changed.is_done:
            return
        self.is_settled = self.is_done
        if not self.answered.called:
            self._answer()
        if self.is_settled:
            self.settle()

    def settle(self) -> None:
        """
        Let go of everything that the batch needed.
        """
        if not self.settled.called:
            self.settled.callback(None)

    def _answer(self) -> None:
        outputs = []
        for execution, collector in zip(self.executions, self._collectors, strict=True):
            if not execution.is_done:
                return
            outputs.append(collector.outputs(execution.error))
            if execution.status != "ok":
                break
        self.answered.callback(outputs)

    @property
    def was_aborted(self) -> bool:
        """
        Whether none of it has run, because of an error in what came before.
        """
        return self.executions[0].status == "aborted"

    @property
    def has_begun(self) -> bool:
        """
        Whether the kernel is known to have begun to run any of it.
        """
        return any(execution.has_begun for execution in self.executions)

    @property
    def ends_kernel(self) -> bool:
        """
        Whether the kernel has announced that it ends, as after ``quit()``.
        """
        replies = (execution.reply for execution in self.executions)
        return any(reply is not None and reply.ends_kernel for reply in replies)

    @property
    def loss_reason(self) -> str:
        """
        Why the kernel cannot finish it, or an empty string.
        """
        if self.was_aborted:
            return "it aborts every request"
        for execution in self.executions:
            error = execution.error
            if error is not None and error.ename in KERNEL_GONE_ENAMES:
                return error.evalue or error.ename
        return ""


@implementer(IClient)
class Executor:
    """
    A client of a kernel within the gateway.

    :param gone: Called when the kernel is gone, or the gateway ends.
    """

    unsent: int = 0
    # An attribute, so that each message of the kernel takes one call.
    deliver: Callable[[KernelMessage], None]

    def __init__(
        self, channels: IKernelChannels, gone: Callable[[], None], username: str = USERNAME
    ) -> None:
        self._gone = gone
        self._username = username
        self._session = os.urandom(16).hex()
        self._unsettled: list[ExecutionBatch] = []
        self._is_closed = False
        self._attachment = channels.attach(None, self, is_internal=True)
        self._tracker = ExecutionTracker(self._attachment.send)
        self.deliver = self._tracker.received

    def run(
        self, cells: Sequence[CodeCell], limit: int, output_exceeded: Callable[[], None]
    ) -> ExecutionBatch:
        """
        Run some code.

        :param limit: How many bytes of output there may be.
        :param output_exceeded: Called when there are more.
        """
        batch = ExecutionBatch(cells, limit, output_exceeded)
        self._unsettled.append(batch)
        batch.settled.addCallback(lambda _: self._unsettled.remove(batch))
        self._start(batch)
        return batch

    def _start(self, batch: ExecutionBatch) -> None:
        now = time.time()

        def changed(execution: Execution) -> None:
            if (
                execution.is_done
                and batch.was_aborted
                and batch.attempts < _MAX_ATTEMPTS
                and not self._is_closed
            ):
                if batch.is_done:
                    self._start(batch)
                return
            batch.execution_changed(execution)

        def make_execution(cell: CodeCell, collector: OutputCollector) -> Execution:
            request = make_execute_request(
                cell.source, self._session, now, cell.metadata, self._username
            )
            return Execution(request, changed, collector)

        for execution in batch.begin(make_execution):
            self._tracker.start(execution)

    def pause_requests(self) -> None:
        """
        Do nothing: who runs code here waits for its results before running more.
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
        Fail what the kernel has not done.
        """
        self._is_closed = True
        for execution in self._tracker.take_all():
            execution.fail(reason)
            execution.changed(execution)
        self._gone()

    def detach(self) -> None:
        """
        Leave the kernel, which may still be busy.
        """
        self._tracker.take_all()
        self._attachment.detach(self)
        for batch in tuple(self._unsettled):
            batch.settle()


def execute_once(kernel: IKernel, source: str, limit: int) -> Deferred[Outputs]:
    """
    Run some code in a kernel; as :py:meth:`kgd.interfaces.IGateway.run`.

    :param limit: How many bytes of output there may be.
    """
    return Deferred.fromCoroutine(_execute_once(kernel, source, limit))


async def _execute_once(kernel: IKernel, source: str, limit: int) -> Outputs:
    _check(kernel)
    await kernel.when_ready()
    _check(kernel)
    executor = Executor(kernel.channels, lambda: None)
    answered: Deferred[Outputs] = Deferred()

    def output_exceeded() -> None:
        answered.errback(
            ResponseTooLarge(
                f"the code gave more than {limit} bytes of output; it has to print less, or the "
                "gateway needs a higher --max-response-size"
            )
        )

    batch = executor.run([CodeCell(source)], limit, output_exceeded)

    def done(outputs: list[Outputs]) -> None:
        if not answered.called:
            answered.callback(outputs[0])

    batch.answered.addCallback(done)
    try:
        outputs = await answered
    finally:
        executor.detach()
    if batch.loss_reason:
        raise KernelLost(f"the kernel ended before it had answered: {batch.loss_reason}")
    return outputs


def _check(kernel: IKernel) -> None:
    if kernel.stopping or kernel.execution_state == "dead":
        # Its clients may not be those of the kernel, to whom the other lines belong.
        reason, _, _ = kernel.reason.partition("\n")
        raise KernelLost(f"the kernel has ended{f': {reason}' if reason else ''}")
