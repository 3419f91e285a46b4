"""
The registry of all kernels: starts them, finds them by id, stops them.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred, succeed
from twisted.python.failure import Failure
from zope.interface import implementer

from kgd.deferreds import Waiters
from kgd.errors import (
    ConfigurationError,
    KernelLimitReached,
    KernelStartFailed,
    NoSuchKernel,
    NoSuchKernelSpec,
    UnusableKernelSpec,
)
from kgd.interfaces import (
    CULLED_PREFIX,
    GATEWAY_SHUTDOWN_REASON,
    SHUT_DOWN_REASON,
    IKernel,
    IKernelLauncher,
    IKernels,
    IKernelSpecs,
    IRelay,
    LaunchSpec,
    Seed,
    StartRequest,
)
from kgd.kernels.culler import Culler
from kgd.kernels.kernel import Kernel
from kgd.kernels.kernel_ids import check_kernel_id, new_kernel_id
from kgd.kernels.pool import WarmPool
from kgd.kernels.seed import load_seed
from kgd.observability.audit import AuditLog
from kgd.observability.counters import Counters
from kgd.open_files import FILES_PER_CLIENT, FILES_PER_KERNEL, FileBudget
from kgd.settings import Settings
from kgd.shutdown import Draining

# Kernels that died by themselves or were culled, of which the reason is remembered.
_MAX_REASONS = 100
# A kernel is of no use without a client.
_FILES = FILES_PER_KERNEL + FILES_PER_CLIENT


@implementer(IKernels)
class KernelRegistry:
    """
    Starts kernels, keeps them until they are gone, culls unused ones, and keeps spare ones ready.

    :param monotonic: The clock for ages. Twisted's reactors have the wall clock only.
    :param counters: Counts starts, restarts after crashes, and deaths of kernels.
    :param audit: Records who did what.
    :param files: Says whether there are open files for another kernel.
    """

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        specs: IKernelSpecs,
        launcher: IKernelLauncher,
        relay: IRelay,
        wall_clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        counters: Counters | None = None,
        audit: AuditLog | None = None,
        files: FileBudget | None = None,
    ) -> None:
        self._reactor = reactor
        self._settings = settings
        self._specs = specs
        self._launcher = launcher
        self._relay = relay
        self._wall_clock = wall_clock
        self._monotonic = monotonic
        self._counters = counters or Counters()
        self._audit = audit or AuditLog()
        self._files = files or FileBudget()
        self._files.promised = self._promised_files
        self._draining = Draining()
        self._drained: Waiters[None] = Waiters()
        self._kernels: dict[str, Kernel] = {}
        self._end_reasons: OrderedDict[str, str] = OrderedDict()
        self._pool = WarmPool(reactor, self._new_spare, self._room)
        self._seed: Seed | None = None
        self._closed = False
        self._culler = Culler(reactor, monotonic, settings, self)

    def prespawn(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._prespawn())

    async def _prespawn(self) -> None:
        settings = self._settings
        self._seed = await load_seed(self._reactor, settings, self._specs)
        wanted: dict[str, int] = {}
        for name, count in self._spare_counts():
            try:
                key = self._specs.find(name).name
            except NoSuchKernelSpec:
                raise ConfigurationError(
                    f"The kernelspec {name} cannot be prespawned, it is not installed; install it, "
                    "or change --prespawn-count and --prespawn"
                ) from None
            except UnusableKernelSpec as error:
                raise ConfigurationError(f"A kernel cannot be prespawned: {error}") from None
            wanted[key] = wanted.get(key, 0) + count
        limit = settings.max_kernels
        if limit is not None and sum(wanted.values()) > limit:
            raise ConfigurationError(
                f"{sum(wanted.values())} kernels cannot be prespawned with --max-kernels={limit}; "
                "raise that, or lower --prespawn-count and --prespawn"
            )
        await self._pool.fill(wanted)

    def _spare_counts(self) -> Iterator[tuple[str, int]]:
        settings = self._settings
        if settings.prespawn_count:
            name = settings.force_kernel_name or settings.default_kernel_name
            yield name, settings.prespawn_count
        yield from ((name, count) for name, count in settings.prespawn.items() if count)

    def start(self, request: StartRequest) -> Deferred[IKernel]:
        return Deferred.fromCoroutine(self._start(request))

    async def _start(self, request: StartRequest) -> IKernel:
        kernel_id = new_kernel_id()
        if request.kernel_id is not None:
            kernel_id = check_kernel_id(request.kernel_id)
        self._claim_spare(kernel_id)
        while kernel_id in self._kernels:
            present = self._kernels[kernel_id]
            if not present.stopping:
                return await present.when_started()
            await present.stop()
        if self._closed:
            raise KernelStartFailed(GATEWAY_SHUTDOWN_REASON)
        self._draining.check()
        # Nothing is awaited from here until the kernel is registered, or two requests could both
        # find room for the last kernel.
        if not self.has_room():
            raise KernelLimitReached("Resource Limit")
        launch_spec = self._launch_spec(kernel_id, request)
        spare = self._pool.take(launch_spec) if request.kernel_id is None else None
        if spare is not None:
            self._hand_out(spare)
            return spare
        evict = not self._files.has_room_for_kernel()
        if evict and not self._pool.can_give_way:
            self._files.refuse()
        kernel = self._new_kernel(launch_spec)
        self._end_reasons.pop(kernel_id, None)
        self._kernels[kernel_id] = kernel
        self._culler.watch(kernel)
        self._record("kernel_started", kernel)
        # The start goes on when this client gives up waiting: others may wait for it, too.
        started = kernel.when_started()
        self._make_room(evict=evict).addCallback(lambda _: kernel.start())
        return await started

    def _hand_out(self, spare: Kernel) -> None:
        spare.hand_out()
        self._kernels[spare.kernel_id] = spare
        self._culler.watch(spare)
        self._record("kernel_started", spare)

    def _find_spare(self, kernel_id: str) -> Kernel | None:
        return self._pool.find(kernel_id) if self._settings.spare_kernels == "listed" else None

    def _claim_spare(self, kernel_id: str) -> None:
        spare = self._find_spare(kernel_id)
        if spare is not None:
            self._pool.give(spare)
            self._hand_out(spare)

    def _new_spare(self, name: str) -> Kernel:
        self._files.check(_FILES)
        return self._new_kernel(self._launch_spec(new_kernel_id(), StartRequest(name=name)))

    def _launch_spec(self, kernel_id: str, request: StartRequest) -> LaunchSpec:
        settings = self._settings
        name = settings.force_kernel_name or request.name or settings.default_kernel_name
        spec = self._specs.find(name)
        seed = request.seed or self._seed
        if seed is not None and (seed.kernel_name != spec.name or not seed.cells):
            seed = None
        prepared = self._launcher.prepare(kernel_id, spec, request)
        return attrs.evolve(prepared, seed=seed, revive=request.revive)

    def _new_kernel(self, launch_spec: LaunchSpec) -> Kernel:
        kernel = Kernel(
            self._reactor,
            launch_spec,
            self._settings,
            self._launcher,
            self._relay,
            lambda: self._counters.revivals.update([kernel.name]),
            lambda reason: self._kernel_ended(kernel, reason),
            self._wall_clock,
            self._monotonic,
        )
        self._measure_start(kernel)
        return kernel

    def _measure_start(self, kernel: Kernel) -> None:
        name, since = kernel.name, self._monotonic()

        def ready(_: None) -> None:
            self._counters.kernel_started(name, self._monotonic() - since)

        def failed(failure: Failure) -> None:
            if not kernel.stopping:
                self._counters.failed_starts[name] += 1

        kernel.when_ready().addCallbacks(ready, failed)

    def _record(self, event: str, kernel: Kernel, reason: str | None = None) -> None:
        self._audit.record(
            event, kernel_id=kernel.kernel_id, kernel_name=kernel.name, reason=reason
        )

    def _kernel_ended(self, kernel: Kernel, reason: str) -> None:
        kernel_id = kernel.kernel_id
        self._pool.kernel_ended(kernel)
        self._files.kernel_ended()
        if not kernel.stopping:
            self._counters.deaths[kernel.name] += 1
        # Clients have never known a spare kernel, and do not ask for it.
        if self._kernels.pop(kernel_id, None) is not None and reason:
            self._end_reasons[kernel_id] = reason
            if len(self._end_reasons) > _MAX_REASONS:
                self._end_reasons.popitem(last=False)
        self._check_drained()

    def has_room(self) -> bool:
        # A kernel that is being stopped counts until it is gone; a spare one gives way.
        limit = self._settings.max_kernels
        return limit is None or len(self._kernels) < limit

    def _room(self) -> int | None:
        """
        :return: How many more kernels there may be; spare ones count.
        """
        limit = self._settings.max_kernels
        return None if limit is None else limit - len(self._kernels) - len(self._pool)

    def _promised_files(self) -> int:
        kernels = (*self._kernels.values(), *self._pool)
        return sum(kernel.channels.promised_files for kernel in kernels)

    def _make_room(self, *, evict: bool) -> Deferred[None]:
        """
        :param evict: Whether there is no room for want of files.
        :return: Fires when a spare kernel has given way to the latest one, if need be.
        """
        room = self._room()
        if not evict and (room is None or room >= 0):
            return succeed(None)
        return self._pool.evict()

    def get(self, kernel_id: str) -> Kernel:
        kernel = self._kernels.get(kernel_id) or self._find_spare(kernel_id)
        if kernel is None:
            reason = self._end_reasons.get(kernel_id)
            ended = f" (it ended: {reason})" if reason else ""
            raise NoSuchKernel(f"Kernel does not exist: {kernel_id}{ended}")
        return kernel

    def claim(self, kernel_id: str) -> Kernel:
        self._claim_spare(kernel_id)
        return self.get(kernel_id)

    def list(self) -> Sequence[IKernel]:
        return tuple(self._kernels.values())

    def listed(self) -> Sequence[IKernel]:
        spare = [kernel for kernel in self._pool if self._find_spare(kernel.kernel_id) is kernel]
        return (*self._kernels.values(), *spare)

    def spare(self) -> Sequence[IKernel]:
        return tuple(self._pool)

    def interrupt(self, kernel_id: str) -> Deferred[None]:
        def interrupt() -> None:
            kernel = self.claim(kernel_id)
            self._record("kernel_interrupted", kernel)
            kernel.interrupt()

        return maybeDeferred(interrupt)

    def suspend(self, kernel_id: str) -> None:
        self.get(kernel_id).suspend()

    def resume(self, kernel_id: str) -> None:
        self.get(kernel_id).resume()

    def restart(self, kernel_id: str) -> Deferred[None]:
        def restart() -> Deferred[None]:
            kernel = self.claim(kernel_id)
            self._record("kernel_restarted", kernel)
            return kernel.restart()

        return maybeDeferred(restart)

    def stop(self, kernel_id: str, reason: str = SHUT_DOWN_REASON) -> Deferred[None]:
        def stop() -> Deferred[None]:
            kernel = self.get(kernel_id)
            if not kernel.stopping:
                was_culled = reason.startswith(CULLED_PREFIX)
                event = "kernel_culled" if was_culled else "kernel_stopped"
                self._record(event, kernel, reason=reason)
            if self._find_spare(kernel_id) is kernel:
                return self._pool.discard(kernel)
            return kernel.stop(reason)

        return maybeDeferred(stop)

    def drain(self) -> Deferred[None]:
        self._draining.ask()
        for kernel in self._pool.close():
            kernel.stop()
        drained = self._drained.wait()
        self._check_drained()
        return drained

    def _check_drained(self) -> None:
        if self._draining.is_on and not self._kernels:
            self._drained.fire(None)

    def stop_all(self) -> Deferred[None]:
        """
        Stop every kernel within 5 seconds, all at once, and refuse new ones. With ``keep_kernels``
        those that clients have are left running.
        """
        self._closed = True
        self._culler.stop()
        spare = self._pool.close()
        keep = self._settings.keep_kernels
        kernels = [
            kernel for kernel in tuple(self._kernels.values()) if not (keep and kernel.detach())
        ]
        for kernel in kernels:
            if not kernel.stopping:
                self._record("kernel_stopped", kernel, reason=GATEWAY_SHUTDOWN_REASON)
        kernels += spare
        stopping = [kernel.stop(hurried=True) for kernel in kernels]
        return DeferredList(stopping).addCallback(lambda _: None)
