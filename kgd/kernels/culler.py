"""
Culls kernels that are unused, too old or busy for too long.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeGuard

from twisted.internet.defer import maybeDeferred
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from kgd.interfaces import CULLED_PREFIX, IKernel, IKernels, KernelSpec
from kgd.observability.logs import make_logger
from kgd.settings import Settings

_METADATA_KEY = "cull_idle_timeout"
# Seconds, in place of an interval that is not positive.
_DEFAULT_INTERVAL = 300.0


def _is_seconds(value: Any) -> TypeGuard[float]:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 <= value < float("inf")


def idle_timeout(spec: KernelSpec, default: float) -> float:
    """
    :param default: The time-out of kernels whose kernelspec has none that makes sense.
    :return: For how many seconds a kernel may be unused; 0 is for ever.
    """
    value = spec.metadata.get(_METADATA_KEY)
    return value if _is_seconds(value) else default


def may_be_culled(kernel: IKernel, settings: Settings) -> bool:
    """
    Whether this kernel is ever culled, under these settings.
    """
    return bool(
        idle_timeout(kernel.spec, settings.cull_idle_timeout)
        or settings.cull_max_age
        or settings.cull_busy_limit
    )


def cull_reason(kernel: IKernel, settings: Settings, now: float) -> str | None:
    """
    :param now: On the monotonic clock.
    :return: Why this kernel is to be culled now, or ``None``.
    """
    if kernel.execution_state == "dead":
        return "it is dead"
    max_age = settings.cull_max_age
    if max_age and now - kernel.started > max_age:
        return f"it is older than {_seconds(max_age)}"
    busy_limit = settings.cull_busy_limit
    if busy_limit and kernel.busy_since is not None and now - kernel.busy_since > busy_limit:
        return f"it was busy for more than {_seconds(busy_limit)}"
    timeout = idle_timeout(kernel.spec, settings.cull_idle_timeout)
    if timeout and now - kernel.last_used > timeout and not _is_in_use(kernel, settings):
        return f"it was unused for {_seconds(timeout)}"
    return None


def _is_in_use(kernel: IKernel, settings: Settings) -> bool:
    """
    Whether a kernel counts as used, however long it has been silent.
    """
    executes = kernel.execution_state == "busy" or kernel.channels.pending_executions > 0
    return (executes and not settings.cull_busy) or (
        kernel.connections > 0 and not settings.cull_connected
    )


def _seconds(value: float) -> str:
    return f"{value:.12g} s"


class Culler:
    """
    Looks at all kernels at an interval, and stops those that are to be culled. It does so only as
    long as there are kernels that may ever be culled.

    :param reactor: An ``IReactorTime``.
    :param monotonic: The clock of the kernels' ``started``, ``last_used`` and ``busy_since``.
    """

    _log = make_logger()

    def __init__(
        self, reactor: Any, monotonic: Callable[[], float], settings: Settings, kernels: IKernels
    ) -> None:
        self._monotonic = monotonic
        self._settings = settings
        self._kernels = kernels
        self._loop = LoopingCall(self._check_all)
        self._loop.clock = reactor
        self._interval = settings.cull_interval
        if self._interval <= 0:
            self._log.warn(
                "--cull-interval={interval:g} is not positive; {instead:g} s are used instead",
                interval=self._interval,
                instead=_DEFAULT_INTERVAL,
            )
            self._interval = _DEFAULT_INTERVAL

    def watch(self, kernel: IKernel) -> None:
        """
        Begin to look at kernels, if this new one may ever be culled.
        """
        value = kernel.spec.metadata.get(_METADATA_KEY)
        if value is not None and not _is_seconds(value):
            self._log.warn(
                "{key} = {value!r} in the metadata of the kernelspec {name} is ignored; it must be "
                "a number of seconds, or 0 for never",
                name=kernel.spec.name,
                key=_METADATA_KEY,
                value=value,
            )
        if not self._loop.running and may_be_culled(kernel, self._settings):
            self._loop.start(self._interval, now=False)

    def stop(self) -> None:
        """
        Cull no more kernels. May be called at any time.
        """
        if self._loop.running:
            self._loop.stop()

    def _check_all(self) -> None:
        for kernel in self._kernels.list():
            try:
                self._check(kernel)
            except Exception:
                self._cull_failed(Failure(), kernel)  # type: ignore[no-untyped-call]
        if not any(may_be_culled(kernel, self._settings) for kernel in self._kernels.list()):
            self.stop()

    def _check(self, kernel: IKernel) -> None:
        if kernel.stopping:
            return
        reason = cull_reason(kernel, self._settings, self._monotonic())
        if reason is None:
            return
        self._log.info(
            "culling kernel {kernel_id} ({kernel_name}): {reason}",
            kernel_id=kernel.kernel_id,
            kernel_name=kernel.name,
            reason=reason,
        )
        # This may take seconds; the other kernels do not wait for it.
        stopping = maybeDeferred(self._kernels.stop, kernel.kernel_id, f"{CULLED_PREFIX}: {reason}")
        stopping.addErrback(self._cull_failed, kernel)

    def _cull_failed(self, failure: Failure, kernel: IKernel) -> None:
        self._log.failure(
            "kernel {kernel_id} could not be culled; going on with the others",
            failure,
            kernel_id=kernel.kernel_id,
        )
