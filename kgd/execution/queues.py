"""
The execution queues of all kernels.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from kgd import errors
from kgd.execution.queue import ExecutionQueue, QueueLimits
from kgd.interfaces import IKernel, IKernels
from kgd.settings import Settings


class ExecutionQueues:
    """
    The queues of all kernels that have run code for HTTP clients.

    :param gone: Called with the id of each of them that is gone.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        settings: Settings,
        kernels: IKernels,
        gone: Callable[[str], None] = lambda kernel_id: None,
    ) -> None:
        self._gone = gone
        self._reactor = reactor
        self._settings = settings
        self._kernels = kernels
        self._queues: dict[str, ExecutionQueue] = {}
        self._limits = QueueLimits(
            output_size=settings.max_response_size,
            grace=settings.interrupt_grace,
            longest_wait=settings.max_execute_timeout,
        )

    def of(self, kernel: IKernel) -> ExecutionQueue:
        """
        :return: The queue of a kernel, which is made if need be.
        """
        kernel_id = kernel.kernel_id
        queue = self._queues.get(kernel_id)
        if queue is None:
            queue = self._queues[kernel_id] = ExecutionQueue(
                self._reactor,
                kernel.channels,
                interrupt=lambda: _ignore_loss(self._kernels.interrupt(kernel_id)),
                restart=lambda: _ignore_loss(self._kernels.restart(kernel_id)),
                gone=lambda: self._forget(kernel_id),
                limits=self._limits,
                username=self._settings.username,
            )
        return queue

    def _forget(self, kernel_id: str) -> None:
        del self._queues[kernel_id]
        self._gone(kernel_id)


def _ignore_loss(deferred: Deferred[None]) -> None:
    """
    A kernel that is gone, or does not start again, ends its executions in its own way.
    """

    def trap(failure: Failure) -> None:
        failure.trap(  # type: ignore[no-untyped-call]
            errors.NoSuchKernel, errors.RestartFailed
        )

    deferred.addErrback(trap)
