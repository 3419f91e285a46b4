"""
Kernels for tests: fakes of everything below and above ``kgd.kernels``, and the suites that keep
them honest.

For what uses kernels (a web layer, a personality) there is :py:class:`MemoryKernels`: kernels that
start, restart and stop at once, and have a :py:class:`FakeChannels` each. For what makes them there
are :py:class:`FakeLauncher` and :py:class:`FakeRelay`, which do nothing by themselves: a test ends
processes (:py:meth:`FakeProcess.end`) and lets kernels answer (:py:meth:`FakeChannels.answer`) when
it wants to.

A launcher of your own should pass :py:class:`LauncherContract`, another ``IKernels``
:py:class:`KernelsContract`; mix them into a test case of trial.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import attrs
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from zope.interface import implementer

from kgd.deferreds import Waiters
from kgd.errors import KernelLimitReached, KernelStartFailed, NoSuchKernel
from kgd.interfaces import SHUT_DOWN, IKernel, IKernels, IKernelSpecs, KernelSpec, StartRequest
from kgd.kernels.kernel_ids import check_kernel_id, new_kernel_id
from kgd.kernels.local.environment import check_client_environment
from kgd.protocol.rfc6455 import NORMAL
from kgd.settings import Settings
from kgd.shutdown import Draining
from kgd.testing.kernel_channels import FakeAttachment, FakeChannels, FakeRelay
from kgd.testing.kernel_contracts import KernelsContract, LauncherContract
from kgd.testing.kernel_fakes import (
    MISSING_EXECUTABLE,
    FakeKernelSpecs,
    FakeLauncher,
    FakeProcess,
    kernel_spec,
)

__all__ = [
    "MISSING_EXECUTABLE",
    "FakeAttachment",
    "FakeChannels",
    "FakeKernelSpecs",
    "FakeLauncher",
    "FakeProcess",
    "FakeRelay",
    "KernelsContract",
    "LauncherContract",
    "MemoryKernel",
    "MemoryKernels",
    "kernel_spec",
]


@implementer(IKernel)
@attrs.define(eq=False)
class MemoryKernel:
    """
    A kernel that is nothing but its attributes; a test may set them.

    :ivar request: What it was started with.
    """

    kernel_id: str
    spec: KernelSpec
    request: StartRequest
    last_activity: float
    started: float
    last_used: float
    busy_since: float | None = None
    stopping: bool = False
    execution_state: str = "starting"
    reason: str = ""
    channels: FakeChannels = attrs.field(factory=FakeChannels)

    @property
    def name(self) -> str:
        """
        The name of its kernelspec.
        """
        return self.spec.name

    @property
    def connections(self) -> int:
        """
        How many clients are attached.
        """
        return self.channels.connections

    def when_ready(self) -> Deferred[None]:
        """
        :return: Fires at once: it is.
        """
        return succeed(None)


@implementer(IKernels)
class MemoryKernels:
    """
    Kernels without processes, for tests of what is above them. All that is asked for is done at
    once; :py:attr:`error` makes it fail.

    Of the settings it heeds ``max_kernels``, ``default_kernel_name`` and ``force_kernel_name``.

    :ivar error: What the next start, interrupt, restart or stop fails with.
    :ivar interrupted: The ids of kernels that were interrupted, in order.
    :ivar held: The ids of kernels that stand still.
    :ivar restarted: The ids of kernels that were restarted, in order.
    :ivar draining: Whether :py:meth:`drain` was called.
    :ivar closed: Whether :py:meth:`stop_all` was called.
    :ivar prespawned: Whether :py:meth:`prespawn` was called.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        specs: IKernelSpecs | None = None,
        wall_clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings or Settings()
        self._specs = specs or FakeKernelSpecs()
        self._wall_clock = wall_clock
        self._monotonic = monotonic
        self._kernels: dict[str, MemoryKernel] = {}
        self._reasons: dict[str, str] = {}
        self.error: Exception | None = None
        self.interrupted: list[str] = []
        self.held: set[str] = set()
        self.restarted: list[str] = []
        self.closed = False
        self.draining = Draining()
        self._drained: Waiters[None] = Waiters()
        self.prespawned = False

    def prespawn(self) -> Deferred[None]:
        """
        Start nothing.
        """
        self.prespawned = True
        return succeed(None)

    def start(self, request: StartRequest) -> Deferred[IKernel]:
        """
        Start a kernel, as :py:class:`IKernels` promises.
        """
        return maybeDeferred(self._start, request)

    def _start(self, request: StartRequest) -> IKernel:
        self._fail_if_told_to()
        if self.closed:
            raise KernelStartFailed("The gateway is shutting down")
        kernel_id = new_kernel_id()
        if request.kernel_id is not None:
            kernel_id = check_kernel_id(request.kernel_id)
        if kernel_id in self._kernels:
            return self._kernels[kernel_id]
        self.draining.check()
        if not self.has_room():
            raise KernelLimitReached("Resource Limit")
        settings = self._settings
        name = settings.force_kernel_name or request.name or settings.default_kernel_name
        spec = self._specs.find(name)
        if request.env is not None:
            check_client_environment(request.env)
        now = self._monotonic()
        kernel = MemoryKernel(kernel_id, spec, request, self._wall_clock(), now, now)
        self._reasons.pop(kernel_id, None)
        self._kernels[kernel_id] = kernel
        return kernel

    def _fail_if_told_to(self) -> None:
        error, self.error = self.error, None
        if error is not None:
            raise error

    def has_room(self) -> bool:
        """
        Whether another kernel may be started now.
        """
        most = self._settings.max_kernels
        return most is None or len(self._kernels) < most

    def get(self, kernel_id: str) -> MemoryKernel:
        """
        One of the kernels.
        """
        try:
            return self._kernels[kernel_id]
        except KeyError:
            reason = self._reasons.get(kernel_id)
            ended = f" (it ended: {reason})" if reason else ""
            raise NoSuchKernel(f"Kernel does not exist: {kernel_id}{ended}") from None

    def list(self) -> Sequence[IKernel]:
        """
        All kernels, in the order in which they were started.
        """
        return tuple(self._kernels.values())

    def interrupt(self, kernel_id: str) -> Deferred[None]:
        """
        Remember the id, as :py:meth:`restart` does.
        """
        return self._do(kernel_id, lambda kernel: self.interrupted.append(kernel.kernel_id))

    def hold(self, kernel_id: str, hold: bool) -> None:
        """
        Remember that a kernel shall stand still.
        """
        self.get(kernel_id)
        (self.held.add if hold else self.held.discard)(kernel_id)

    def restart(self, kernel_id: str) -> Deferred[None]:
        """
        Remember the id; the kernel is ``starting`` again.
        """
        return self._do(kernel_id, self._restart)

    def _restart(self, kernel: MemoryKernel) -> None:
        self.restarted.append(kernel.kernel_id)
        kernel.execution_state = "starting"
        kernel.last_activity = self._wall_clock()
        kernel.last_used = self._monotonic()
        kernel.busy_since = None

    def stop(self, kernel_id: str, reason: str = SHUT_DOWN) -> Deferred[None]:
        """
        Close the kernel's channels and forget it, but not a reason that was given.
        """
        return self._do(kernel_id, lambda kernel: self._stop(kernel, reason))

    def _stop(self, kernel: MemoryKernel, reason: str = SHUT_DOWN) -> None:
        del self._kernels[kernel.kernel_id]
        kernel.execution_state = "dead"
        kernel.stopping = True
        if reason != SHUT_DOWN:
            kernel.reason = self._reasons[kernel.kernel_id] = reason
        kernel.channels.close(NORMAL, reason)
        self._look_whether_drained()

    def _do(self, kernel_id: str, action: Callable[[MemoryKernel], None]) -> Deferred[None]:
        def do() -> None:
            self._fail_if_told_to()
            action(self.get(kernel_id))

        return maybeDeferred(do)

    def stop_all(self) -> Deferred[None]:
        """
        Stop every kernel, and refuse new ones.
        """
        self.closed = True
        for kernel in tuple(self._kernels.values()):
            self._stop(kernel)
        return succeed(None)

    def spare(self) -> Sequence[IKernel]:
        """
        There are none.
        """
        return ()

    def drain(self) -> Deferred[None]:
        """
        Refuse new kernels.
        """
        self.draining.ask()
        drained = self._drained.wait()
        self._look_whether_drained()
        return drained

    def _look_whether_drained(self) -> None:
        if self.draining.is_on and not self._kernels:
            self._drained.fire(None)

    def lose(self, kernel_id: str) -> None:
        """
        Let a kernel die by itself.
        """
        self._stop(self.get(kernel_id))
