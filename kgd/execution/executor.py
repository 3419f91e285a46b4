"""
Running code in a kernel for the gateway itself, and collecting what comes of it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred
from zope.interface import implementer

from kgd.errors import KernelLost, ResponseTooLarge
from kgd.execution.outputs import KERNEL_GONE_ENAMES, CodeCell, Execution
from kgd.interfaces import IClient, IKernel, IKernelChannels
from kgd.protocol.messages import USERNAME, KernelMessage, make_execute_request
from kgd.protocol.outputs import Outputs

# A kernel that has just reported an error still throws away what comes next for a moment.
_MAX_ATTEMPTS = 50


class ExecutionBatch:
    """
    Code that runs piece by piece. All pieces are sent at once; when one fails, the kernel
    throws away those that follow.

    :ivar answered: Fires with the outputs of the pieces up to the one that failed, or of all. Never
        fails.
    :ivar settled: Fires when the kernel has nothing of this left to do, or has been left.
    :param output_exceeded: Called once when the outputs are more than ``limit`` bytes.
    """

    def __init__(
        self,
        cells: Sequence[CodeCell],
        limit: int,
        output_exceeded: Callable[[], None],
    ) -> None:
        self.cells = cells
        self.executions: list[Execution] = []
        self.attempts = 0
        self.answered: Deferred[list[Outputs]] = Deferred()
        self.settled: Deferred[None] = Deferred()
        self.is_settled = False
        self._limit = limit
        self._output_exceeded: Callable[[], None] | None = output_exceeded

    def begin(self) -> list[Execution]:
        """
        Begin, or begin again.

        :return: The pieces to be sent.
        """
        self.attempts += 1
        self.executions = [Execution(code.on_stdout) for code in self.cells]
        return self.executions

    @property
    def size(self) -> int:
        """
        How many bytes have come of it.
        """
        return sum(execution.size for execution in self.executions)

    def execution_changed(self, changed: Execution) -> None:
        """
        Something has come of a piece: see what follows.
        """
        if self._output_exceeded is not None and self.size > self._limit:
            output_exceeded, self._output_exceeded = self._output_exceeded, None
            output_exceeded()
        if not changed.is_done:
            return
        # Whoever gets the answer may give the kernel to somebody else at once.
        self.is_settled = all(execution.is_done for execution in self.executions)
        if not self.answered.called:
            self._answer()
        if self.is_settled:
            self.settle()

    def settle(self) -> None:
        """
        Nothing more of this is of interest; what it needed can go.
        """
        if not self.settled.called:
            self.settled.callback(None)

    def _answer(self) -> None:
        outputs = []
        for execution in self.executions:
            if not execution.is_done:
                return
            outputs.append(execution.outputs)
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
    def loss_reason(self) -> str:
        """
        Why the kernel can do no more for it, or the empty string.
        """
        if self.was_aborted:
            return "it throws away whatever it is to run"
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

    def __init__(
        self, channels: IKernelChannels, gone: Callable[[], None], username: str = USERNAME
    ) -> None:
        self._gone = gone
        self._username = username
        self._session = os.urandom(16).hex()
        self._waiting: dict[str, tuple[ExecutionBatch, Execution]] = {}
        self._attachment = channels.attach(None, self, is_internal=True)

    def run(
        self, cells: Sequence[CodeCell], limit: int, output_exceeded: Callable[[], None]
    ) -> ExecutionBatch:
        """
        Run some code.

        :param limit: How many bytes of output there may be.
        :param output_exceeded: Called when there are more.
        """
        run = ExecutionBatch(cells, limit, output_exceeded)
        self._send(run)
        return run

    def _send(self, run: ExecutionBatch) -> None:
        now = time.time()
        for code, execution in zip(run.cells, run.begin(), strict=True):
            request = make_execute_request(
                code.source, self._session, now, code.metadata, self._username
            )
            execution.msg_id = request.msg_id
            self._waiting[request.msg_id] = run, execution
            self._attachment.send(request)

    def deliver(self, message: KernelMessage) -> None:
        """
        The kernel said something; what is not about our code is for others.
        """
        found = self._waiting.get(message.parent.msg_id)
        if found is None:
            return
        run, execution = found
        execution.received(message)
        if execution.is_done:
            del self._waiting[execution.msg_id]
            if run.was_aborted and run.attempts < _MAX_ATTEMPTS:
                if all(each.is_done for each in run.executions):
                    self._send(run)
                return
        run.execution_changed(execution)

    def take_undelivered(self) -> Sequence[KernelMessage]:
        """
        :return: Nothing: what is delivered has arrived.
        """
        return ()

    def close(self, code: int, reason: str) -> None:
        """
        The kernel is gone, or the gateway ends.
        """
        waiting, self._waiting = self._waiting, {}
        for run, execution in waiting.values():
            execution.fail(reason)
            run.execution_changed(execution)
        self._gone()

    def detach(self) -> None:
        """
        Have nothing to do with the kernel any more.
        """
        waiting, self._waiting = self._waiting, {}
        self._attachment.detach(self)
        for run, _ in waiting.values():
            run.settle()


def execute_once(kernel: IKernel, source: str, limit: int) -> Deferred[Outputs]:
    """
    As :py:meth:`kgd.interfaces.IGateway.run`.

    :param limit: How many bytes of output there may be.
    """
    return Deferred.fromCoroutine(_run(kernel, source, limit))


async def _run(kernel: IKernel, source: str, limit: int) -> Outputs:
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

    running = executor.run([CodeCell(source)], limit, output_exceeded)

    def done(outputs: list[Outputs]) -> None:
        if not answered.called:
            answered.callback(outputs[0])

    running.answered.addCallback(done)
    try:
        outputs = await answered
    finally:
        executor.detach()
    if running.loss_reason:
        raise KernelLost(f"the kernel ended before it had answered: {running.loss_reason}")
    return outputs


def _check(kernel: IKernel) -> None:
    if kernel.stopping or kernel.execution_state == "dead":
        raise KernelLost(f"the kernel has ended{f': {kernel.reason}' if kernel.reason else ''}")
