"""
The kernels of one notebook, and the requests that wait for one.
"""

from __future__ import annotations

import contextlib
import math
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import attrs
from twisted.internet.defer import Deferred, DeferredList, FirstError, gatherResults, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from kgd.errors import GatewayError, NoSuchKernel, Unavailable
from kgd.execution.executor import CodeCell, ExecutionBatch, Executor
from kgd.interfaces import IKernel, IKernels, Seed, StartRequest
from kgd.observability.logs import make_logger
from kgd.protocol.messages import USERNAME

# How long code that was interrupted may take to end.
GRACE = 2.0
# After a kernel could not be started.
SHORTEST_PAUSE = 0.5
LONGEST_PAUSE = 30.0


@attrs.frozen(kw_only=True)
class WorkerOptions:
    """
    What the workers of a notebook are like.

    :ivar kernel_name: Their kernelspec.
    :ivar count: How many there are.
    :ivar reset: Whether each request gets a kernel that nobody has used before.
    :ivar queue_limit: How many requests may wait for one.
    :ivar queue_size: How large they may be together, in bytes.
    :ivar patience: How long each of them may wait, in seconds; 0 is for ever.
    :ivar response_limit: How much output a request may have, in bytes.
    :ivar username: Who asks their kernels, in the headers of messages.
    """

    kernel_name: str
    seed: Seed
    count: int
    reset: bool
    queue_limit: int
    queue_size: int
    patience: float
    response_limit: int
    username: str = USERNAME


def _never_mind(failure: Failure) -> None:
    """
    The kernel has gone by itself.
    """
    failure.trap(NoSuchKernel)  # type: ignore[no-untyped-call]


class Worker:
    """
    A place for a kernel. It has a kernel, or one is being started for it.

    :ivar reason: Why it has no kernel, and is not starting one at the moment either; or empty.
    :param ready: Called when it can work.
    :param lost: Called when it cannot any more, or not yet.
    """

    _log = make_logger()

    def __init__(
        self,
        reactor: IReactorTime,
        kernels: IKernels,
        options: WorkerOptions,
        ready: Callable[[Worker], None],
        lost: Callable[[Worker], None],
    ) -> None:
        self._reactor = reactor
        self._kernels = kernels
        self._options = options
        self._ready = ready
        self._lost = lost
        self._kernel: IKernel | None = None
        self._executor: Executor | None = None
        self._pause = SHORTEST_PAUSE
        self._again: IDelayedCall | None = None
        self._impatience: IDelayedCall | None = None
        self._lent = False
        self._closed = False
        self.reason = ""

    # --- its kernel ---

    def start(self) -> Deferred[None]:
        """
        Get a kernel.

        :return: Fires when it can be used; fails as :py:meth:`IKernels.start` does.
        """
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        options = self._options
        self.reason = ""
        kernel = await self._kernels.start(
            StartRequest(name=options.kernel_name, seed=options.seed, revive=False)
        )
        await kernel.when_ready()
        if self._closed:
            await self._stop_kernel(kernel)
            return
        self._kernel = kernel
        self._executor = Executor(kernel.channels, lambda: self._gone(kernel), options.username)
        self._ready(self)

    def _gone(self, kernel: IKernel) -> None:
        if kernel is not self._kernel:
            return
        self._kernel = self._executor = None
        self._lost(self)
        if not self._lent:
            self._start_later(0.0)

    def _replace(self) -> None:
        """
        Get another kernel; the one that is there can go.
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
        return self._kernels.stop(kernel.kernel_id).addErrback(_never_mind)

    def _start_later(self, pause: float) -> None:
        if not self._closed and self._again is None:
            self._again = self._reactor.callLater(pause, self._start_again)

    def _start_again(self) -> None:
        self._again = None
        self.start().addErrback(self._failed)

    def _failed(self, failure: Any) -> None:
        error = failure.value
        if not isinstance(error, GatewayError):
            self._log.failure("a kernel of a notebook could not be started", failure)
        if self._closed:
            return
        self.reason = f"a kernel could not be started: {failure.getErrorMessage()}"
        self._log.error("{reason}; trying again", reason=self.reason)
        self._start_later(self._pause)
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        self._lost(self)

    # --- its work ---

    @property
    def kernel_id(self) -> str:
        """
        The id of its kernel.
        """
        assert self._kernel is not None
        return self._kernel.kernel_id

    def lend(self) -> None:
        """
        Somebody has it from now on.
        """
        self._lent = True

    def run(self, cells: Sequence[CodeCell], output_exceeded: Callable[[], None]) -> ExecutionBatch:
        """
        Run code; as :py:meth:`Executor.run`.

        :raises kgd.errors.Unavailable: when the kernel has just gone.
        """
        if self._executor is None:
            raise Unavailable("the kernel has just ended; try again", 1)
        return self._executor.run(cells, self._options.response_limit, output_exceeded)

    def interrupt(self) -> None:
        """
        Interrupt what it is doing.
        """
        if self._kernel is not None:
            self._kernels.interrupt(self._kernel.kernel_id).addErrback(_never_mind)

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

    def give_back(self, run: ExecutionBatch | None) -> None:
        """
        Whoever had it does not want it any more.

        :param run: What it may still be doing; that has :py:data:`GRACE` to end.
        """
        # Its last words may have been read after it was told to stand still.
        self.resume()
        if run is None or run.is_settled:
            self._back(run)
            return
        self._impatience = self._reactor.callLater(GRACE, self._lose_patience)
        run.settled.addCallback(lambda _: self._settled(run))

    def _lose_patience(self) -> None:
        self._impatience = None
        self._log.warn("a kernel goes on with what it should have ended; it is replaced")
        self._lent = False
        self._replace()

    def _settled(self, run: ExecutionBatch) -> None:
        impatience, self._impatience = self._impatience, None
        if impatience is not None:
            impatience.cancel()
            self._back(run)

    def _back(self, run: ExecutionBatch | None) -> None:
        self._lent = False
        if self._closed:
            self._leave()
        elif self._kernel is None or (run is not None and (self._options.reset or run.loss_reason)):
            self._replace()
        else:
            if run is not None:
                self._pause = SHORTEST_PAUSE
            self._ready(self)

    def close(self) -> None:
        """
        Work no more, after what it is doing.
        """
        self._closed = True
        again, self._again = self._again, None
        if again is not None:
            again.cancel()
        if not self._lent:
            self._leave()

    def _leave(self) -> None:
        kernel, self._kernel = self._kernel, None
        if kernel is not None:
            self._stop_kernel(kernel)

    @property
    def is_lent(self) -> bool:
        """
        Whether somebody has it.
        """
        return self._lent


# Of so many callers it is remembered which kernel is theirs.
MOST_CALLERS = 10_000


@attrs.define(eq=False)
class _Waiting:
    """
    A request that waits.

    :ivar place: The only worker that will do, or ``None``.
    :ivar size: Its size in bytes.
    """

    place: Worker | None
    size: int
    deferred: Deferred[Worker] = attrs.field(factory=Deferred)


class Workers:
    """
    All workers of a notebook, and the requests that wait for one.
    """

    def __init__(self, reactor: IReactorTime, kernels: IKernels, options: WorkerOptions) -> None:
        self._reactor = reactor
        self._options = options
        self._all = [
            Worker(reactor, kernels, options, self._free, self._lost) for _ in range(options.count)
        ]
        self._idle: deque[Worker] = deque()
        self._waiting: deque[_Waiting] = deque()
        self._places: OrderedDict[str, Worker] = OrderedDict()
        # How many of them have each worker: whoever keeps no cookies is a new one each time.
        self._callers: Counter[Worker] = Counter()
        # How long a request has one, on average; in seconds.
        self._usual = 0.1
        self._lent_at: dict[Worker, float] = {}
        self._closed = self._abandoned = False
        # How many requests are being read, or wait.
        self._expected = 0

    async def start(self) -> None:
        """
        Get all kernels.

        :raises kgd.errors.GatewayError: when one cannot be had; then none is left.
        """
        starting = [worker.start() for worker in self._all]
        try:
            await gatherResults(starting, consumeErrors=True)
        except FirstError as first:
            self.abandon()
            await DeferredList(starting)
            first.subFailure.raiseException()

    @contextmanager
    def expecting(self) -> Iterator[None]:
        """
        Somebody is going to ask for a worker, or asks and waits: until then they stay.
        """
        self._expected += 1
        try:
            yield
        finally:
            self._expected -= 1
            if self._closed and not self._expected:
                self._close_idle()

    def lend(self, caller: str | None = None, size: int = 0) -> Deferred[Worker]:
        """
        :param caller: Whoever gets the same worker each time; ``None`` gets the one that has been
            free for the longest time.
        :param size: How large the request is that may have to wait, in bytes.
        :return: Fires with a worker that is not anybody else's until it is given back. Cancel it
            to wait no longer. Fails with :py:exc:`kgd.errors.Unavailable`.
        """
        place = self._place_of(caller) if caller is not None else None
        for worker in self._idle:
            if place in (None, worker):
                self._idle.remove(worker)
                self._lend(worker)
                return succeed(worker)
        if self._abandoned:
            raise Unavailable("the gateway is shutting down", 1)
        if self._closed and not self._expected:
            raise Unavailable("the notebook is being replaced; try again", 1)
        waiting_size = sum(waiting.size for waiting in self._waiting)
        if (
            len(self._waiting) >= self._options.queue_limit
            or waiting_size + size > self._options.queue_size
        ):
            raise Unavailable(
                "too many requests wait for a kernel already; try again later", self._retry_after()
            )
        self._check_hope(place)
        waiting = _Waiting(place, size)
        waiting.deferred = Deferred(lambda _: self._waiting.remove(waiting))
        self._waiting.append(waiting)
        if self._options.patience:
            waiting.deferred.addTimeout(
                self._options.patience, self._reactor, onTimeoutCancel=self._waited_too_long
            )
        return waiting.deferred

    def _waited_too_long(self, result: Any, timeout: float) -> Any:
        result.trap(Exception)
        raise Unavailable(
            f"no kernel was free within {timeout:g} s; try again later", self._retry_after()
        ) from None

    def _place_of(self, caller: str) -> Worker:
        place = self._places.pop(caller, None)
        if place is None:
            if len(self._places) >= MOST_CALLERS:
                _, former = self._places.popitem(last=False)
                self._callers[former] -= 1
            place = min(self._all, key=self._callers.__getitem__)
            self._callers[place] += 1
        self._places[caller] = place
        return place

    def _check_hope(self, place: Worker | None) -> None:
        """
        Nobody shall wait for kernels that do not start.
        """
        reasons = [each.reason for each in self._all if place in (None, each)]
        if all(reasons):
            raise Unavailable(reasons[0], math.ceil(LONGEST_PAUSE))

    def _retry_after(self) -> int:
        ahead = (len(self._waiting) + 1) / len(self._all)
        return max(1, min(60, math.ceil(ahead * self._usual)))

    def _lend(self, worker: Worker) -> None:
        worker.lend()
        self._lent_at[worker] = self._reactor.seconds()

    def _free(self, worker: Worker) -> None:
        since = self._lent_at.pop(worker, None)
        if since is not None:
            self._usual += 0.1 * (self._reactor.seconds() - since - self._usual)
        for waiting in self._waiting:
            if waiting.place in (None, worker):
                self._waiting.remove(waiting)
                self._lend(worker)
                waiting.deferred.callback(worker)
                return
        if self._closed and not self._expected:
            worker.close()
        else:
            self._idle.append(worker)

    def _lost(self, worker: Worker) -> None:
        """
        A worker has no kernel. Nobody waits for one that will not get any.
        """
        if worker in self._idle:
            self._idle.remove(worker)
        for waiting in tuple(self._waiting):
            try:
                self._check_hope(waiting.place)
            except Unavailable as error:
                self._waiting.remove(waiting)
                waiting.deferred.errback(error)

    @property
    def depth(self) -> int:
        """
        How many requests wait.
        """
        return len(self._waiting)

    @property
    def is_hopeless(self) -> bool:
        """
        Whether none has a kernel or is getting one at the moment.
        """
        return all(worker.reason for worker in self._all)

    def states(self) -> dict[str, int]:
        """
        :return: How many are ``free``, ``busy``, or without a kernel: ``missing``.
        """
        busy, free = sum(worker.is_lent for worker in self._all), len(self._idle)
        return {"busy": busy, "free": free, "missing": len(self._all) - busy - free}

    def close(self) -> None:
        """
        Take no more requests. Those that have a worker, or wait for one, are still served; a kernel
        goes when nobody needs it.
        """
        self._closed = True
        if not self._expected:
            self._close_idle()

    def _close_idle(self) -> None:
        idle, self._idle = self._idle, deque()
        for worker in self._all:
            # Whoever waits while one is idle waits for another one.
            if worker in idle or not (self._waiting or worker.is_lent):
                worker.close()

    def abandon(self) -> None:
        """
        The gateway ends.
        """
        self._closed = self._abandoned = True
        self._idle.clear()
        waiting, self._waiting = self._waiting, deque()
        for each in waiting:
            each.deferred.errback(Unavailable("the gateway is shutting down", 1))
        for worker in self._all:
            worker.close()
