"""
A kernel of a notebook, lent to one request at a time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from kgd.errors import GatewayError, NoSuchKernel, Unavailable
from kgd.interfaces import IKernel, IKernels, Seed, StartRequest
from kgd.logs import make_logger
from kgd.protocol.messages import USERNAME
from kgd.relay.executor import Executor, Run
from kgd.relay.pieces import Code

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
        reactor: Any,
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
            executor.leave()
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

    def run(self, codes: Sequence[Code], too_much: Callable[[], None]) -> Run:
        """
        Run code; as :py:meth:`Executor.run`.

        :raises kgd.errors.Unavailable: when the kernel has just gone.
        """
        if self._executor is None:
            raise Unavailable("the kernel has just ended; try again", 1)
        return self._executor.run(codes, self._options.response_limit, too_much)

    def interrupt(self) -> None:
        """
        Interrupt what it is doing.
        """
        if self._kernel is not None:
            self._kernels.interrupt(self._kernel.kernel_id).addErrback(_never_mind)

    def hold(self, hold: bool) -> None:
        """
        :param hold: Whether the kernel's process shall stand still.
        """
        if self._kernel is not None:
            with contextlib.suppress(NoSuchKernel):
                self._kernels.hold(self._kernel.kernel_id, hold)

    def give_back(self, run: Run | None) -> None:
        """
        Whoever had it does not want it any more.

        :param run: What it may still be doing; that has :py:data:`GRACE` to end.
        """
        # Its last words may have been read after it was told to stand still.
        self.hold(False)
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

    def _settled(self, run: Run) -> None:
        impatience, self._impatience = self._impatience, None
        if impatience is not None:
            impatience.cancel()
            self._back(run)

    def _back(self, run: Run | None) -> None:
        self._lent = False
        if self._closed:
            self._leave()
        elif self._kernel is None or (run is not None and (self._options.reset or run.lost)):
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
