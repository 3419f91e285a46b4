"""
Fakes of kernels, and of what kernels are made of, with the suites that these and the real ones
pass.

Code that uses kernels (a web layer, a personality) is tested with :py:class:`MemoryKernels`: its
kernels start, restart and stop at once, and have a :py:class:`FakeChannels` each. Code that makes
kernels is tested with :py:class:`FakeLauncher` and :py:class:`FakeRelay`, which do nothing by
themselves: a test ends processes (:py:meth:`FakeProcess.end`) and lets kernels answer
(:py:meth:`FakeChannels.answer`).

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
from kgd.interfaces import (
    GATEWAY_SHUTDOWN_REASON,
    SHUT_DOWN_REASON,
    IKernel,
    IKernels,
    IKernelSpecs,
    KernelSpec,
    StartRequest,
)
from kgd.kernels.kernel_ids import check_kernel_id, new_kernel_id
from kgd.kernels.local.environment import check_client_environment
from kgd.protocol.rfc6455 import NORMAL
from kgd.settings import Settings
from kgd.shutdown import Draining
from kgd.testing.kernel_channels import FakeAttachment, FakeChannels, FakeClient, FakeRelay
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
    "FakeClient",
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
    A kernel without a process; a test may set its attributes.

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
    working_directory: str = ""

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def connections(self) -> int:
        return self.channels.connections

    def when_ready(self) -> Deferred[None]:
        return succeed(None)


@implementer(IKernels)
class MemoryKernels:
    """
    Kernels without processes, for tests of code that uses kernels. Every request is carried out at
    once; :py:attr:`error` makes the next one fail.

    It follows the settings ``max_kernels``, ``default_kernel_name`` and ``force_kernel_name``.

    :ivar error: The error that the next start, interrupt, restart or stop fails with.
    :ivar claimed: The ids of kernels that were claimed, in order.
    :ivar interrupted: The ids of kernels that were interrupted, in order.
    :ivar suspended: The ids of kernels that are suspended.
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
        self._end_reasons: dict[str, str] = {}
        self.error: Exception | None = None
        self.claimed: list[str] = []
        self.interrupted: list[str] = []
        self.suspended: set[str] = set()
        self.restarted: list[str] = []
        self.closed = False
        self.draining = Draining()
        self._drained: Waiters[None] = Waiters()
        self.prespawned = False

    def prespawn(self) -> Deferred[None]:
        self.prespawned = True
        return succeed(None)

    def start(self, request: StartRequest) -> Deferred[IKernel]:
        return maybeDeferred(self._start, request)

    def _start(self, request: StartRequest) -> IKernel:
        self._raise_error()
        if self.closed:
            raise KernelStartFailed(GATEWAY_SHUTDOWN_REASON)
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
        self._end_reasons.pop(kernel_id, None)
        self._kernels[kernel_id] = kernel
        return kernel

    def _raise_error(self) -> None:
        error, self.error = self.error, None
        if error is not None:
            raise error

    def has_room(self) -> bool:
        limit = self._settings.max_kernels
        return limit is None or len(self._kernels) < limit

    def get(self, kernel_id: str) -> MemoryKernel:
        try:
            return self._kernels[kernel_id]
        except KeyError:
            reason = self._end_reasons.get(kernel_id)
            ended = f" (it ended: {reason})" if reason else ""
            raise NoSuchKernel(f"Kernel does not exist: {kernel_id}{ended}") from None

    def claim(self, kernel_id: str) -> MemoryKernel:
        kernel = self.get(kernel_id)
        self.claimed.append(kernel_id)
        return kernel

    def list(self) -> Sequence[IKernel]:
        return tuple(self._kernels.values())

    def listed(self) -> Sequence[IKernel]:
        return self.list()

    def interrupt(self, kernel_id: str) -> Deferred[None]:
        return self._do(kernel_id, lambda kernel: self.interrupted.append(kernel.kernel_id))

    def suspend(self, kernel_id: str) -> None:
        self.get(kernel_id)
        self.suspended.add(kernel_id)

    def resume(self, kernel_id: str) -> None:
        self.get(kernel_id)
        self.suspended.discard(kernel_id)

    def restart(self, kernel_id: str) -> Deferred[None]:
        return self._do(kernel_id, self._restart)

    def _restart(self, kernel: MemoryKernel) -> None:
        self.restarted.append(kernel.kernel_id)
        kernel.execution_state = "starting"
        kernel.last_activity = self._wall_clock()
        kernel.last_used = self._monotonic()
        kernel.busy_since = None

    def stop(self, kernel_id: str, reason: str = SHUT_DOWN_REASON) -> Deferred[None]:
        return self._do(kernel_id, lambda kernel: self._stop(kernel, reason))

    def _stop(self, kernel: MemoryKernel, reason: str = SHUT_DOWN_REASON) -> None:
        del self._kernels[kernel.kernel_id]
        kernel.execution_state = "dead"
        kernel.stopping = True
        if reason != SHUT_DOWN_REASON:
            kernel.reason = self._end_reasons[kernel.kernel_id] = reason
        kernel.channels.close(NORMAL, reason)
        self._check_drained()

    def _do(self, kernel_id: str, action: Callable[[MemoryKernel], None]) -> Deferred[None]:
        def do() -> None:
            self._raise_error()
            action(self.get(kernel_id))

        return maybeDeferred(do)

    def stop_all(self) -> Deferred[None]:
        self.closed = True
        for kernel in tuple(self._kernels.values()):
            self._stop(kernel)
        return succeed(None)

    def spare(self) -> Sequence[IKernel]:
        return ()

    def drain(self) -> Deferred[None]:
        self.draining.ask()
        drained = self._drained.wait()
        self._check_drained()
        return drained

    def _check_drained(self) -> None:
        if self.draining.is_on and not self._kernels:
            self._drained.fire(None)

    def crash(self, kernel_id: str) -> None:
        """
        Let a kernel die by itself.
        """
        self._stop(self.get(kernel_id))
