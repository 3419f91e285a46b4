"""
The kernels of one notebook: each serves one request at a time, and other requests wait in a queue.
"""

from __future__ import annotations

import contextlib
import math
import sys
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import attrs
from twisted.internet.defer import Deferred, DeferredList, FirstError, gatherResults, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from kgd.errors import GatewayError, KernelLost, NoSuchKernel, Unavailable
from kgd.execution.executor import CodeCell, ExecutionBatch, Executor
from kgd.interfaces import IKernel, IKernels, Seed, StartRequest
from kgd.kernels.restart_policy import RestartPolicy
from kgd.observability.logs import make_logger
from kgd.protocol.messages import USERNAME

# Seconds that interrupted code may take to end.
INTERRUPT_GRACE = 2.0
# Seconds before the next attempt to start a kernel, after one has failed.
MIN_BACKOFF = 0.5
MAX_BACKOFF = 30.0


@attrs.frozen(kw_only=True)
class WorkerOptions:
    """
    The properties of all workers of a notebook.

    :ivar kernel_name: The name of their kernelspec.
    :ivar count: The number of workers.
    :ivar reset: Whether each request gets a new kernel.
    :ivar queue_limit: Most requests that may wait for a worker.
    :ivar queue_size: Most bytes of all waiting requests together.
    :ivar queue_timeout: Seconds that a request may wait; 0 for no limit.
    :ivar response_limit: Most bytes of output for a request.
    :ivar stable_start_time: Seconds after which a kernel's end is not counted with earlier ones.
    :ivar username: The ``username`` in the headers of messages to their kernels.
    """

    kernel_name: str
    seed: Seed
    count: int
    reset: bool
    queue_limit: int
    queue_size: int
    queue_timeout: float
    response_limit: int
    stable_start_time: float = 10.0
    username: str = USERNAME


def _ignore_missing_kernel(failure: Failure) -> None:
    # The kernel has ended by itself.
    failure.trap(NoSuchKernel)  # type: ignore[no-untyped-call]


class Worker:
    """
    Serves one request at a time with a kernel of its own, and replaces a kernel that ends.

    :ivar reason: Why it has no kernel and is not starting one; otherwise empty.
    :param on_ready: Called when it can serve a request.
    :param on_lost: Called when it has no kernel.
    """

    _log = make_logger()

    def __init__(
        self,
        reactor: IReactorTime,
        kernels: IKernels,
        options: WorkerOptions,
        on_ready: Callable[[Worker], None],
        on_lost: Callable[[Worker], None],
    ) -> None:
        self._reactor = reactor
        self._kernels = kernels
        self._options = options
        self._on_ready = on_ready
        self._on_lost = on_lost
        self._kernel: IKernel | None = None
        self._executor: Executor | None = None
        self._backoff = MIN_BACKOFF
        # Kernels in a row that ended by themselves before they had begun to serve a request. There
        # is always another one, but after pauses that grow.
        self._early_ends = RestartPolicy(reactor.seconds, sys.maxsize, options.stable_start_time)
        self._restart_call: IDelayedCall | None = None
        self._release_timeout: IDelayedCall | None = None
        self._is_busy = False
        self._closed = False
        self.reason = ""

    # --- the kernel ---

    def start(self) -> Deferred[None]:
        """
        Start a kernel.

        :return: Fires when it can be used; fails as :py:meth:`IKernels.start` does.
        """
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        options = self._options
        self.reason = ""
        self._early_ends.launching()
        kernel = await self._kernels.start(
            StartRequest(name=options.kernel_name, seed=options.seed, revive=False)
        )
        await kernel.when_ready()
        if self._closed:
            await self._stop_kernel(kernel)
            return
        self._early_ends.became_ready()
        self._kernel = kernel
        self._executor = Executor(
            kernel.channels, lambda: self._kernel_gone(kernel), options.username
        )
        self._on_ready(self)

    def _kernel_gone(self, kernel: IKernel) -> None:
        if kernel is not self._kernel:
            return
        self._kernel = self._executor = None
        self._on_lost(self)
        if not self._is_busy:
            self._ended_unused(kernel.reason)

    def _ended_unused(self, reason: str) -> None:
        """
        Start another kernel in place of one that has ended while it served nothing.

        :param reason: Why it has ended.
        """
        pause = self._early_ends.failed(reason) or 0.0
        if pause:
            self.reason = f"its kernels end before they serve a request: {reason}"
            self._log.error(
                "{reason}; trying again in {pause:g} s", reason=self.reason, pause=pause
            )
            self._on_lost(self)
        self._start_later(pause)

    def _replace_kernel(self) -> None:
        """
        Stop the kernel, and start another one.
        """
        kernel, self._kernel = self._kernel, None
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.detach()
        stopping = self._stop_kernel(kernel) if kernel is not None else succeed(None)
        if self._kernels.has_room():
            self._start_later(0.0)
        else:
            stopping.addCallback(lambda _: self._start_later(0.0))

    def _stop_kernel(self, kernel: IKernel) -> Deferred[None]:
        return self._kernels.stop(kernel.kernel_id).addErrback(_ignore_missing_kernel)

    def _start_later(self, pause: float) -> None:
        if not self._closed and self._restart_call is None:
            self._restart_call = self._reactor.callLater(pause, self._start_again)

    def _start_again(self) -> None:
        self._restart_call = None
        self.start().addErrback(self._start_failed)

    def _start_failed(self, failure: Any) -> None:
        error = failure.value
        if not isinstance(error, GatewayError):
            self._log.failure("a kernel of a notebook could not be started", failure)
        if self._closed:
            return
        # The clients of a notebook may not see what its kernel prints; the operator may.
        brief = getattr(error, "brief", None) or failure.getErrorMessage()
        self.reason = f"a kernel could not be started: {brief}"
        self._log.error(
            "a kernel could not be started: {reason}; trying again",
            reason=failure.getErrorMessage(),
        )
        self._start_later(self._backoff)
        self._backoff = min(2 * self._backoff, MAX_BACKOFF)
        self._on_lost(self)

    # --- requests ---

    @property
    def is_usable(self) -> bool:
        """
        Whether it has a kernel whose process runs, as far as is known. Of a process that has ended,
        the channels are closed a moment later, when its last output has been read.
        """
        kernel = self._kernel
        return kernel is not None and kernel.execution_state != "dead" and not kernel.stopping

    @property
    def kernel_id(self) -> str:
        """
        The id of the kernel.
        """
        assert self._kernel is not None
        return self._kernel.kernel_id

    def acquire(self) -> None:
        """
        Reserve it for a request.
        """
        self._is_busy = True

    def run(self, cells: Sequence[CodeCell], output_exceeded: Callable[[], None]) -> ExecutionBatch:
        """
        Run code, as :py:meth:`Executor.run`.

        :raises kgd.errors.KernelLost: when the kernel has just ended.
        """
        if self._executor is None:
            raise KernelLost("the kernel has just ended; try again")
        return self._executor.run(cells, self._options.response_limit, output_exceeded)

    def interrupt(self) -> None:
        """
        Interrupt the code that it runs.
        """
        if self._kernel is not None:
            self._kernels.interrupt(self._kernel.kernel_id).addErrback(_ignore_missing_kernel)

    def suspend(self) -> None:
        """
        Stop the kernel's process until :py:meth:`resume`.
        """
        if self._kernel is not None:
            with contextlib.suppress(NoSuchKernel):
                self._kernels.suspend(self._kernel.kernel_id)

    def resume(self) -> None:
        """
        Let the kernel's process go on, if it is suspended.
        """
        if self._kernel is not None:
            with contextlib.suppress(NoSuchKernel):
                self._kernels.resume(self._kernel.kernel_id)

    def release(self, run: ExecutionBatch | None) -> None:
        """
        Make it available to the next request.

        :param run: The code of the last request, which has :py:data:`INTERRUPT_GRACE` to end.
        """
        # Its last output may have been read after it was suspended.
        self.resume()
        if run is None or run.is_settled:
            self._released(run)
            return
        self._release_timeout = self._reactor.callLater(INTERRUPT_GRACE, self._release_timed_out)
        run.settled.addCallback(lambda _: self._settled(run))

    def _release_timed_out(self) -> None:
        self._release_timeout = None
        self._log.warn("a kernel did not end its interrupted code in time, and is replaced")
        self._is_busy = False
        self._replace_kernel()

    def _settled(self, run: ExecutionBatch) -> None:
        release_timeout, self._release_timeout = self._release_timeout, None
        if release_timeout is not None:
            release_timeout.cancel()
            self._released(run)

    def _released(self, run: ExecutionBatch | None) -> None:
        self._is_busy = False
        if run is not None and run.has_begun:
            self._early_ends.reset()
        if self._closed:
            self._drop_kernel()
        elif not self.is_usable or (
            run is not None and (self._options.reset or run.ends_kernel or run.loss_reason)
        ):
            self._replace_kernel()
        else:
            if run is not None:
                self._backoff = MIN_BACKOFF
            self._on_ready(self)

    def close(self) -> None:
        """
        Stop the kernel, after the request that it is serving.
        """
        self._closed = True
        restart_call, self._restart_call = self._restart_call, None
        if restart_call is not None:
            restart_call.cancel()
        if not self._is_busy:
            self._drop_kernel()

    def _drop_kernel(self) -> None:
        kernel, self._kernel = self._kernel, None
        if kernel is not None:
            self._stop_kernel(kernel)

    @property
    def is_busy(self) -> bool:
        """
        Whether it serves a request.
        """
        return self._is_busy


# Callers whose worker is remembered.
MAX_CALLERS = 10_000


@attrs.define(eq=False)
class _WaitingRequest:
    """
    A request that waits for a worker.

    :ivar worker: The one that it needs; ``None`` for any.
    :ivar size: Its size in bytes.
    """

    worker: Worker | None
    size: int
    deferred: Deferred[Worker] = attrs.field(factory=Deferred)


class WorkerPool:
    """
    The workers of one notebook, and the queue of requests.
    """

    def __init__(self, reactor: IReactorTime, kernels: IKernels, options: WorkerOptions) -> None:
        self._reactor = reactor
        self._options = options
        self._workers = [
            Worker(reactor, kernels, options, self._worker_ready, self._worker_lost)
            for _ in range(options.count)
        ]
        self._free: deque[Worker] = deque()
        self._waiting: deque[_WaitingRequest] = deque()
        self._sticky_workers: OrderedDict[str, Worker] = OrderedDict()
        # Callers of each worker. A caller that keeps no cookies counts again with each request.
        self._callers: Counter[Worker] = Counter()
        # Seconds that a request takes on average.
        self._average_busy_time = 0.1
        self._acquired_at: dict[Worker, float] = {}
        self._closed = self._is_shut_down = False
        # Requests that are being read, or wait.
        self._expected_requests = 0

    async def start(self) -> None:
        """
        Start all kernels.

        :raises kgd.errors.GatewayError: when one cannot be started; then none is left.
        """
        starting = [worker.start() for worker in self._workers]
        try:
            await gatherResults(starting, consumeErrors=True)
        except FirstError as first:
            self.shut_down()
            await DeferredList(starting)
            first.subFailure.raiseException()

    @contextmanager
    def expect_request(self) -> Iterator[None]:
        """
        Keep the workers, also after :py:meth:`close`, while a request is read and waits.
        """
        self._expected_requests += 1
        try:
            yield
        finally:
            self._expected_requests -= 1
            if self._closed and not self._expected_requests:
                self._close_unused()

    def acquire(
        self, caller: str | None = None, size: int = 0, *, again: bool = False
    ) -> Deferred[Worker]:
        """
        :param caller: A caller that gets the same worker each time; ``None`` gets the one that has
            been free for the longest time.
        :param size: The size of the request that may have to wait, in bytes.
        :param again: Whether the request had a worker whose kernel ended before it had begun: it
            waits ahead of the others, and does not count against the limits of the queue.
        :return: Fires with a worker, reserved until it is released; cancel it to stop waiting.
            Fails with :py:exc:`kgd.errors.Unavailable`.
        """
        wanted = self._sticky_worker(caller) if caller is not None else None
        for worker in self._free:
            if wanted in (None, worker) and worker.is_usable:
                self._free.remove(worker)
                self._acquire(worker)
                return succeed(worker)
        if self._is_shut_down:
            raise Unavailable("the gateway is shutting down", 1)
        if not again:
            self._check_queue(size)
        self._check_startable(wanted)
        waiting = _WaitingRequest(wanted, size)
        waiting.deferred = Deferred(lambda _: self._waiting.remove(waiting))
        (self._waiting.appendleft if again else self._waiting.append)(waiting)
        if self._options.queue_timeout:
            waiting.deferred.addTimeout(
                self._options.queue_timeout, self._reactor, onTimeoutCancel=self._wait_timed_out
            )
        return waiting.deferred

    def _check_queue(self, size: int) -> None:
        """
        :raises kgd.errors.Unavailable: when a request of this size may not wait.
        """
        if self._closed and not self._expected_requests:
            raise Unavailable("the notebook is being replaced; try again", 1)
        waiting_size = sum(waiting.size for waiting in self._waiting)
        # One request alone may wait whatever its size, which has limits of its own.
        is_too_much = bool(waiting_size) and waiting_size + size > self._options.queue_size
        if is_too_much or len(self._waiting) >= self._options.queue_limit:
            raise Unavailable(
                "too many requests wait for a kernel already; try again later", self._retry_after()
            )

    def _wait_timed_out(self, result: Any, timeout: float) -> Any:
        result.trap(Exception)
        raise Unavailable(
            f"no kernel was free within {timeout:g} s; try again later", self._retry_after()
        ) from None

    def _sticky_worker(self, caller: str) -> Worker:
        wanted = self._sticky_workers.pop(caller, None)
        if wanted is None:
            if len(self._sticky_workers) >= MAX_CALLERS:
                _, former = self._sticky_workers.popitem(last=False)
                self._callers[former] -= 1
            wanted = min(self._workers, key=self._callers.__getitem__)
            self._callers[wanted] += 1
        self._sticky_workers[caller] = wanted
        return wanted

    def _check_startable(self, wanted: Worker | None) -> None:
        """
        :raises kgd.errors.Unavailable: when none of the wanted workers can start its kernel.
        """
        reasons = [each.reason for each in self._workers if wanted in (None, each)]
        if all(reasons):
            raise Unavailable(reasons[0], math.ceil(MAX_BACKOFF))

    def _retry_after(self) -> int:
        ahead = (len(self._waiting) + 1) / len(self._workers)
        return max(1, min(60, math.ceil(ahead * self._average_busy_time)))

    def _acquire(self, worker: Worker) -> None:
        worker.acquire()
        self._acquired_at[worker] = self._reactor.seconds()

    def _worker_ready(self, worker: Worker) -> None:
        since = self._acquired_at.pop(worker, None)
        if since is not None:
            self._average_busy_time += 0.1 * (
                self._reactor.seconds() - since - self._average_busy_time
            )
        for waiting in self._waiting:
            if waiting.worker in (None, worker):
                self._waiting.remove(waiting)
                self._acquire(worker)
                waiting.deferred.callback(worker)
                return
        if self._closed and not self._expected_requests:
            worker.close()
        else:
            self._free.append(worker)

    def _worker_lost(self, worker: Worker) -> None:
        """
        A worker has no kernel: fail the requests that only it could serve, if it gets none.
        """
        if worker in self._free:
            self._free.remove(worker)
        for waiting in tuple(self._waiting):
            try:
                self._check_startable(waiting.worker)
            except Unavailable as error:
                self._waiting.remove(waiting)
                waiting.deferred.errback(error)

    @property
    def queue_length(self) -> int:
        """
        The number of requests that wait.
        """
        return len(self._waiting)

    @property
    def has_failed(self) -> bool:
        """
        Whether no worker has a kernel or is starting one.
        """
        return all(worker.reason for worker in self._workers)

    def states(self) -> dict[str, int]:
        """
        :return: How many workers are ``free``, ``busy`` or without a kernel (``missing``).
        """
        busy, free = sum(worker.is_busy for worker in self._workers), len(self._free)
        return {"busy": busy, "free": free, "missing": len(self._workers) - busy - free}

    def close(self) -> None:
        """
        Accept no further requests. Those that have a worker or wait for one are still served, and
        each kernel is stopped when no request needs it.
        """
        self._closed = True
        if not self._expected_requests:
            self._close_unused()

    def _close_unused(self) -> None:
        idle, self._free = self._free, deque()
        for worker in self._workers:
            # A request that waits while a worker is free waits for another worker.
            if worker in idle or not (self._waiting or worker.is_busy):
                worker.close()

    def shut_down(self) -> None:
        """
        Fail all requests that wait, and stop all kernels.
        """
        self._closed = self._is_shut_down = True
        self._free.clear()
        waiting, self._waiting = self._waiting, deque()
        for each in waiting:
            each.deferred.errback(Unavailable("the gateway is shutting down", 1))
        for worker in self._workers:
            worker.close()
