"""
All the kernels that run here.
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

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
)
from kgd.interfaces import (
    CULLED,
    NO_LIMITS,
    SHUT_DOWN,
    IKernel,
    IKernelLauncher,
    IKernelProcess,
    IKernels,
    IKernelSpecs,
    IRelay,
    KernelSpec,
    Limits,
    Seed,
    StartRequest,
)
from kgd.kernels.culler import Culler
from kgd.kernels.kernel import Kernel
from kgd.kernels.kernel_ids import check_kernel_id, new_kernel_id
from kgd.kernels.local.command import working_directory
from kgd.kernels.local.environment import as_user, check_client_environment, kernel_environment
from kgd.kernels.local.ports import PortLeases
from kgd.kernels.local.rlimits import limits_of
from kgd.kernels.local.runtime_directory import RuntimeDirectory
from kgd.kernels.local.transport import Addresses
from kgd.kernels.pool import WarmPool
from kgd.kernels.seed import load_seed
from kgd.kernels.supervisor import LaunchSpec
from kgd.observability.audit import AuditLog
from kgd.observability.counters import Counters
from kgd.settings import Settings
from kgd.shutdown import Draining

# Of so many kernels that died by themselves or were culled it is remembered why.
_REMEMBERED = 100
# How a kernelspec says that its kernels are processes of this machine, if it says anything.
_LOCAL = "local-provisioner"


@implementer(IKernels)
class KernelRegistry:
    """
    Starts kernels and keeps them until they are gone, or are to be culled.

    :param environment: The gateway's environment.
    :param ports: Where to get ports for kernels; by default from this machine's.
    :param monotonic: What ages are measured with. Twisted's reactors have the wall clock only.
    :param tally: Where to count what becomes of kernels.
    :param audit: Where to write down who did what.
    """

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        specs: IKernelSpecs,
        launcher: IKernelLauncher,
        relay: IRelay,
        runtime: RuntimeDirectory,
        environment: Mapping[str, str],
        wall_clock: Callable[[], float] = time.time,
        ports: PortLeases | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        counters: Counters | None = None,
        audit: AuditLog | None = None,
    ) -> None:
        self._reactor = reactor
        self._settings = settings
        self._specs = specs
        self.launcher = launcher
        self._relay = relay
        self._runtime = runtime
        self._environment = environment
        self._wall_clock = wall_clock
        self._monotonic = monotonic
        self._counters = counters or Counters()
        self._audit = audit or AuditLog()
        self._draining = Draining()
        self._drained: Waiters[None] = Waiters()
        self._addresses = Addresses(
            settings, ports or PortLeases(ip=settings.kernel_ip), runtime, relay.new_curve_keys
        )
        self._kernels: dict[str, Kernel] = {}
        self._reasons: OrderedDict[str, str] = OrderedDict()
        self._pool = WarmPool(reactor, self._new_spare, self._room)
        self._seed: Seed | None = None
        self._closed = False
        self._culler = Culler(reactor, monotonic, settings, self)

    def prespawn(self) -> Deferred[None]:
        """
        Load the seed notebook, and start the spare kernels.
        """
        return Deferred.fromCoroutine(self._prespawn())

    async def _prespawn(self) -> None:
        settings = self._settings
        self._seed = await load_seed(self._reactor, settings, self._specs)
        wanted: dict[str, int] = {}
        for name, count in self._asked_to_prespawn():
            try:
                key = self._specs.find(name).name
            except NoSuchKernelSpec:
                raise ConfigurationError(
                    f"No kernel of {name} can be prespawned, it is not installed"
                ) from None
            wanted[key] = wanted.get(key, 0) + count
        most = settings.max_kernels
        if most is not None and sum(wanted.values()) > most:
            raise ConfigurationError(
                f"{sum(wanted.values())} kernels cannot be prespawned with --max-kernels={most}; "
                "raise that, or lower --prespawn-count and --prespawn"
            )
        await self._pool.fill(wanted)

    def _asked_to_prespawn(self) -> Iterator[tuple[str, int]]:
        settings = self._settings
        if settings.prespawn_count:
            name = settings.force_kernel_name or settings.default_kernel_name
            yield name, settings.prespawn_count
        yield from ((name, count) for name, count in settings.prespawn.items() if count)

    def start(self, request: StartRequest) -> Deferred[IKernel]:
        """
        Start a kernel; fires when its process runs, which is before it can answer.
        """
        return Deferred.fromCoroutine(self._start(request))

    async def _start(self, request: StartRequest) -> IKernel:
        kernel_id = new_kernel_id()
        if request.kernel_id is not None:
            kernel_id = check_kernel_id(request.kernel_id)
        while kernel_id in self._kernels:
            present = self._kernels[kernel_id]
            if not present.stopping:
                return await present.when_started()
            await present.stop()
        if self._closed:
            raise KernelStartFailed("The gateway is shutting down")
        self._draining.check()
        # From here to where the place is taken nothing is awaited, or two requests could both find
        # room for the last kernel.
        if not self.has_room():
            raise KernelLimitReached("Resource Limit")
        plan = self._plan(kernel_id, request)
        spare = self._pool.take(plan) if request.kernel_id is None else None
        if spare is not None:
            spare.hand_out()
            self._kernels[spare.kernel_id] = spare
            self._culler.watch(spare)
            self._record("kernel_started", spare)
            return spare
        kernel = self._new_kernel(plan, _AfterRoom(self))
        self._reasons.pop(kernel_id, None)
        self._kernels[kernel_id] = kernel
        self._culler.watch(kernel)
        self._record("kernel_started", kernel)
        # Work that is shared is not awaited itself: this only waits for it.
        return await kernel.start()

    def _new_spare(self, name: str) -> Kernel:
        return self._new_kernel(self._plan(new_kernel_id(), StartRequest(name=name)), self.launcher)

    def _plan(self, kernel_id: str, request: StartRequest) -> LaunchSpec:
        settings = self._settings
        name = settings.force_kernel_name or request.name or settings.default_kernel_name
        spec = self._specs.find(name)
        _check_is_local(spec)
        wanted = request.env
        if wanted is not None:
            wanted = check_client_environment(wanted)
        limits = limits_of(settings, spec)
        user = self._runtime.user
        env = kernel_environment(
            self._environment if user is None else as_user(self._environment, user.environment),
            wanted,
            spec.env,
            inherit=settings.env_process_whitelist,
            accept=settings.env_whitelist,
            hide=self._hidden(),
            parent_pid=None if settings.keep_kernels else os.getpid(),
        )
        cwd = working_directory(settings.root_dir, request.path)
        if user is not None and not user.may_enter(Path(cwd)):
            raise KernelStartFailed(
                f"Kernels run as {user.name}, who cannot enter the directory {cwd}; let them, or "
                "choose another one with --root-dir"
            )
        seed = request.seed or self._seed
        if seed is not None and (seed.kernel_name != spec.name or not seed.cells):
            seed = None
        return LaunchSpec(
            kernel_id=kernel_id,
            spec=spec,
            env=env,
            cwd=cwd,
            limits=limits,
            seed=seed,
            revive=request.revive,
        )

    def _hidden(self) -> set[str]:
        """
        :return: The variables that hold the token, also when it was given in another way.
        """
        token = self._settings.auth_token
        found = {name for name, value in self._environment.items() if token and value == token}
        return {self._settings.auth_token_env, *found}

    def _new_kernel(self, plan: LaunchSpec, launcher: IKernelLauncher) -> Kernel:
        kernel = Kernel(
            self._reactor,
            plan,
            self._settings,
            launcher,
            self._relay,
            self._addresses.new(plan.kernel_id, plan.spec),
            lambda reason: self._forget(kernel, reason),
            lambda: self._counters.revivals.update([kernel.name]),
            self._wall_clock,
            self._monotonic,
        )
        self._measure(kernel)
        return kernel

    def _measure(self, kernel: Kernel) -> None:
        name, since = kernel.name, self._monotonic()

        def ready(_: None) -> None:
            self._counters.started(name, self._monotonic() - since)

        def failed(failure: Failure) -> None:
            if not kernel.stopping:
                self._counters.failed_starts[name] += 1

        kernel.when_ready().addCallbacks(ready, failed)

    def _record(self, event: str, kernel: Kernel, reason: str | None = None) -> None:
        self._audit.record(
            event, kernel_id=kernel.kernel_id, kernel_name=kernel.name, reason=reason
        )

    def _forget(self, kernel: Kernel, reason: str) -> None:
        kernel_id = kernel.kernel_id
        self._pool.forget(kernel)
        if not kernel.stopping:
            self._counters.deaths[kernel.name] += 1
        # A spare kernel has not been anybody's.
        if self._kernels.pop(kernel_id, None) is not None and reason:
            self._reasons[kernel_id] = reason
            if len(self._reasons) > _REMEMBERED:
                self._reasons.popitem(last=False)
        self._look_whether_drained()

    def has_room(self) -> bool:
        """
        Whether another kernel may be started now. One that is being stopped takes its place until
        it is gone; a spare one gives way.
        """
        most = self._settings.max_kernels
        return most is None or len(self._kernels) < most

    def _room(self) -> int | None:
        """
        How many more kernels there may be, spare ones counted.
        """
        most = self._settings.max_kernels
        return None if most is None else most - len(self._kernels) - len(self._pool)

    def make_room(self) -> Deferred[None]:
        """
        :return: Fires when the kernels that users want fit in.
        """
        room = self._room()
        if room is None or room >= 0:
            return succeed(None)
        return self._pool.give_way()

    def get(self, kernel_id: str) -> Kernel:
        """
        One of the kernels. If it died by itself or was culled not long ago, the failure says why.
        """
        try:
            return self._kernels[kernel_id]
        except KeyError:
            reason = self._reasons.get(kernel_id)
            ended = f" (it ended: {reason})" if reason else ""
            raise NoSuchKernel(f"Kernel does not exist: {kernel_id}{ended}") from None

    def list(self) -> Sequence[IKernel]:
        """
        All kernels, those too that are being started or stopped, in the order in which they were
        started.
        """
        return tuple(self._kernels.values())

    def spare(self) -> Sequence[IKernel]:
        """
        Those that are kept ready.
        """
        return tuple(self._pool)

    def interrupt(self, kernel_id: str) -> Deferred[None]:
        """
        Interrupt what a kernel is doing.
        """

        def interrupt() -> None:
            kernel = self.get(kernel_id)
            self._record("kernel_interrupted", kernel)
            kernel.interrupt()

        return maybeDeferred(interrupt)

    def hold(self, kernel_id: str, hold: bool) -> None:
        """
        Let a kernel's process stand still, or go on.
        """
        self.get(kernel_id).hold(hold)

    def restart(self, kernel_id: str) -> Deferred[None]:
        """
        Replace a kernel's process.
        """

        def restart() -> Deferred[None]:
            kernel = self.get(kernel_id)
            self._record("kernel_restarted", kernel)
            return kernel.restart()

        return maybeDeferred(restart)

    def stop(self, kernel_id: str, reason: str = SHUT_DOWN) -> Deferred[None]:
        """
        End a kernel.
        """

        def stop() -> Deferred[None]:
            kernel = self.get(kernel_id)
            if not kernel.stopping:
                was_culled = reason.startswith(CULLED)
                event = "kernel_culled" if was_culled else "kernel_stopped"
                self._record(event, kernel, reason=reason)
            return kernel.stop(reason)

        return maybeDeferred(stop)

    def drain(self) -> Deferred[None]:
        """
        Refuse new kernels, and wait for the end of those that there are.
        """
        self._draining.ask()
        for kernel in self._pool.close():
            kernel.stop()
        drained = self._drained.wait()
        self._look_whether_drained()
        return drained

    def _look_whether_drained(self) -> None:
        if self._draining.is_on and not self._kernels:
            self._drained.fire(None)

    def stop_all(self) -> Deferred[None]:
        """
        End every kernel within 5 seconds, all at once, and refuse new ones. Those that shall be
        kept are left as they are, if they are somebody's.
        """
        self._closed = True
        self._culler.stop()
        spare = self._pool.close()
        keep = self._settings.keep_kernels
        kernels = [
            kernel for kernel in tuple(self._kernels.values()) if not (keep and kernel.leave())
        ]
        for kernel in kernels:
            if not kernel.stopping:
                self._record("kernel_stopped", kernel, reason="The gateway is shutting down")
        kernels += spare
        stopping = [kernel.stop(hurried=True) for kernel in kernels]
        return DeferredList(stopping).addCallback(lambda _: None)


def _check_is_local(spec: KernelSpec) -> None:
    """
    :raises kgd.errors.KernelStartFailed: when the kernelspec wants its kernels to run elsewhere.
    """
    provisioner = spec.metadata.get("kernel_provisioner")
    name = provisioner.get("provisioner_name", _LOCAL) if isinstance(provisioner, dict) else _LOCAL
    if name != _LOCAL:
        raise KernelStartFailed(
            f"The kernelspec {spec.name} wants to be started by {name!r}, but this gateway only "
            f"starts processes of its own machine; choose another one"
        )


@implementer(IKernelLauncher)
class _AfterRoom:
    """
    Launches a user's kernel as soon as there is room for it.
    """

    def __init__(self, registry: KernelRegistry) -> None:
        self._registry = registry

    def launch(
        self,
        kernel_id: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: str,
        limits: Limits = NO_LIMITS,
    ) -> Deferred[IKernelProcess]:
        """
        Launch it, after a spare kernel has given way if there are too many.
        """
        launching: Deferred[Any] = self._registry.make_room()
        return launching.addCallback(
            lambda _: self._registry.launcher.launch(kernel_id, argv, env, cwd, limits)
        )
