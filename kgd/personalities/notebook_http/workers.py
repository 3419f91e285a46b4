"""
The kernels of one notebook, and the requests that wait for one.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import attrs
from twisted.internet.defer import Deferred, DeferredList, FirstError, gatherResults, succeed

from kgd.errors import Unavailable
from kgd.interfaces import IKernels
from kgd.personalities.notebook_http.worker import LONGEST_PAUSE, Worker, WorkerOptions

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

    def __init__(self, reactor: Any, kernels: IKernels, options: WorkerOptions) -> None:
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
