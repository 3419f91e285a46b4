"""
Kernels that are started for one piece of work, and stopped after it.
"""

from __future__ import annotations

from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from kgd.deferreds import Waiters
from kgd.errors import ExecutionTimedOut, KernelLimitReached, NoSuchKernel
from kgd.interfaces import IKernel, IKernels, StartRequest
from kgd.shutdown import Draining

T = TypeVar("T")


class TemporaryKernels:
    """
    Starts kernels so that none is left when nobody waits for it any more.
    """

    def __init__(self, reactor: IReactorTime, kernels: IKernels, draining: Draining) -> None:
        self._reactor = reactor
        self._kernels = kernels
        self._draining = draining
        # How many are being stopped. They still count for the limit of kernels.
        self._stopping = 0
        self._stopped: Waiters[None] = Waiters()

    async def start(self, request: StartRequest, timeout: float) -> IKernel:
        """
        Start a kernel, or take a spare one. If this is cancelled, none is left.

        :param timeout: In seconds; 0 is no limit.
        :raises kgd.errors.ExecutionTimedOut: when that takes longer.
        :raises kgd.errors.KernelLimitReached: when there may be no more kernels.
        """
        began = self._reactor.seconds()
        # While draining, IKernels refuses the kernel, with another error.
        while not self._kernels.has_room() and not self._draining.is_on:
            if not self._stopping:
                raise KernelLimitReached("Resource Limit")
            await self._within(self._stopped.wait(), timeout, began)
        return await self._within(self._started(request), timeout, began)

    def _started(self, request: StartRequest) -> Deferred[IKernel]:
        """
        :return: Fires with a kernel, which is stopped if it comes after this has been cancelled.
        """
        waiting: Deferred[IKernel] = Deferred()

        def started(kernel: IKernel) -> None:
            if waiting.called:
                self.stop(kernel.kernel_id)
            else:
                waiting.callback(kernel)

        def failed(failure: Failure) -> None:
            if not waiting.called:
                waiting.errback(failure)

        self._kernels.start(request).addCallbacks(started, failed)
        return waiting

    async def _within(self, waiting: Deferred[T], timeout: float, began: float) -> T:
        if timeout:
            left = max(0.0, began + timeout - self._reactor.seconds())
            waiting.addTimeout(left, self._reactor, lambda *_: _timed_out(timeout))
        return await waiting

    def stop(self, kernel_id: str) -> None:
        """
        Stop a kernel, if it still runs, and do not wait for that.
        """
        self._stopping += 1
        self._kernels.stop(kernel_id).addErrback(_ignore_loss).addBoth(self._end_stop)

    def _end_stop(self, result: object) -> object:
        self._stopping -= 1
        self._stopped.fire(None)
        return result


def _timed_out(timeout: float) -> Failure:
    return Failure(  # type: ignore[no-untyped-call]
        ExecutionTimedOut(f"No kernel started within {timeout:g} s; send a longer timeout")
    )


def _ignore_loss(failure: Failure) -> None:
    failure.trap(NoSuchKernel)  # type: ignore[no-untyped-call]
