"""
Fakes of kernelspecs, of a launcher and of its processes, which do nothing by themselves.
"""

from __future__ import annotations

import secrets
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from kgd.deferreds import Waiters
from kgd.errors import KernelStartFailed, NoSuchKernelSpec
from kgd.interfaces import (
    NO_LIMITS,
    ExitStatus,
    IKernelLauncher,
    IKernelProcess,
    IKernelProvisioner,
    IKernelSpecs,
    KernelSpec,
    Launched,
    LaunchSpec,
    Limits,
    StartRequest,
)
from kgd.kernels.local.environment import check_client_environment
from kgd.protocol.connection_file import CHANNELS, ConnectionInfo

#: An executable that :py:class:`FakeLauncher` does not find, and that no system should have.
MISSING_EXECUTABLE = "kgd-no-such-executable"


# --- kernelspecs ----------------------------------------------------------------------------------


def kernel_spec(name: str = "python3", **changes: Any) -> KernelSpec:
    """
    :param changes: Fields that differ from those of an ordinary Python kernel.
    """
    fields: dict[str, Any] = {
        "argv": ("python", "-m", "ipykernel_launcher", "-f", "{connection_file}"),
        "env": {},
        "display_name": f"{name} for tests",
        "language": "python",
        "interrupt_mode": "signal",
        "metadata": {},
        "kernel_protocol_version": "5.4",
        "directory": Path("/nonexistent/kernels") / name,
        "resources": {},
    }
    return KernelSpec(name=name, **(fields | changes))


@implementer(IKernelSpecs)
class FakeKernelSpecs:
    """
    Kernelspecs that are not installed anywhere.

    :ivar specs: Name to spec; a test may change it.
    """

    def __init__(self, *specs: KernelSpec) -> None:
        self.specs = {spec.name: spec for spec in specs or (kernel_spec(),)}

    def all(self) -> Mapping[str, KernelSpec]:
        return dict(self.specs)

    def has(self, name: str) -> bool:
        key = name.lower()
        return ("python3" if key == "python" else key) in self.specs

    def find(self, name: str) -> KernelSpec:
        key = name.lower()
        try:
            return self.specs["python3" if key == "python" else key]
        except KeyError:
            raise NoSuchKernelSpec(f"No such kernel: {name}") from None


# --- processes ------------------------------------------------------------------------------------


@implementer(IKernelProcess)
class FakeProcess:
    """
    A process that ends when it is told to.

    :ivar kernel_id: What it was launched with, as are ``argv``, ``env`` and ``cwd``.
    :ivar pid: A number that no other fake process has.
    :ivar signals: The signals that it got while it lived.
    :ivar deadly_signals: The signals that end it; empty for a process that ignores even SIGKILL.
    :ivar ended: How it ended, once it has.
    """

    _next_pid = 1_000_000

    def __init__(
        self,
        kernel_id: str = "",
        argv: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
    ) -> None:
        FakeProcess._next_pid += 1
        self.pid = FakeProcess._next_pid
        self.kernel_id = kernel_id
        self.argv = list(argv)
        self.env = dict(env or {})
        self.cwd = cwd
        self.signals: list[int] = []
        self.deadly_signals: set[int] = {signal.SIGTERM, signal.SIGKILL}
        self.ended: ExitStatus | None = None
        self._waiters: Waiters[ExitStatus] = Waiters()

    def signal(self, signum: int) -> None:
        """
        Remember a signal, and end if it is deadly.
        """
        if self.ended is not None:
            return
        self.signals.append(signum)
        if signum in self.deadly_signals:
            self.end(ExitStatus(signal=int(signum)))

    def when_ended(self) -> Deferred[ExitStatus]:
        return self._waiters.wait() if self.ended is None else succeed(self.ended)

    def describe(self) -> str:
        return f"fake process {self.pid}"

    def end(self, ended: ExitStatus | None = None) -> None:
        """
        End the process.

        :param ended: How; with exit code 0 if not given.
        """
        self.ended = ended or ExitStatus(exit_code=0)
        self._waiters.fire(self.ended)


# --- launchers ------------------------------------------------------------------------------------


@implementer(IKernelLauncher)
class FakeLauncher:
    """
    A launcher of :py:class:`FakeProcess`.

    :ivar processes: All that it launched, ended ones too.
    :ivar missing: Executables that it does not find.
    :ivar error: What every launch fails with as long as it is not ``None``.
    :ivar held: Launches that wait for :py:meth:`release`; ``None`` unless :py:meth:`hold` was
        called.
    :ivar announces: Whether it knows connections before processes start, as a launcher of local
        kernels does, or only afterwards.
    """

    def __init__(self) -> None:
        self.processes: list[FakeProcess] = []
        self.missing: set[str] = {MISSING_EXECUTABLE}
        self.error: KernelStartFailed | None = None
        self.held: list[Callable[[], None]] | None = None
        self.announces = True

    @property
    def alive(self) -> list[FakeProcess]:
        """
        The processes that have not ended.
        """
        return [process for process in self.processes if process.ended is None]

    def prepare(self, kernel_id: str, spec: KernelSpec, request: StartRequest) -> LaunchSpec:
        """
        Take the client's environment only, and the root as the working directory.
        """
        env = {} if request.env is None else check_client_environment(request.env)
        return LaunchSpec(kernel_id=kernel_id, spec=spec, env=env, cwd="/")

    def provision(self, spec: LaunchSpec) -> IKernelProvisioner:
        return FakeProvisioner(self, spec)

    def spawn(
        self,
        kernel_id: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: str,
        limits: Limits = NO_LIMITS,
    ) -> Deferred[FakeProcess]:
        """
        Start a fake process, at once unless :py:meth:`hold` was called.
        """
        spawned: Deferred[FakeProcess] = Deferred()

        def proceed() -> None:
            if self.error is not None:
                spawned.errback(self.error)
            elif argv[0] in self.missing:
                spawned.errback(KernelStartFailed(f"{argv[0]} is missing"))
            else:
                process = FakeProcess(kernel_id, argv, env, cwd)
                self.processes.append(process)
                spawned.callback(process)

        if self.held is None:
            proceed()
        else:
            self.held.append(proceed)
        return spawned

    def hold(self) -> None:
        """
        Let launches wait from now on.
        """
        self.held = []

    def release(self) -> None:
        """
        Let all waiting launches proceed, and later ones not wait.
        """
        held, self.held = self.held or [], None
        for proceed in held:
            proceed()


@implementer(IKernelProvisioner)
class FakeProvisioner:
    """
    Launches the fake processes of one kernel, at an address where nothing listens.
    """

    _next_port = 50_000

    def __init__(self, launcher: FakeLauncher, spec: LaunchSpec) -> None:
        self._launcher = launcher
        self._spec = spec
        self._key = secrets.token_hex(16).encode()
        self._ports: dict[str, int] = {}

    def launch(
        self, announce: Callable[[ConnectionInfo], None], *, new_address: bool = False
    ) -> Deferred[Launched]:
        spec = self._spec
        if new_address or not self._ports:
            first = FakeProvisioner._next_port
            FakeProvisioner._next_port += len(CHANNELS)
            self._ports = {channel: first + n for n, channel in enumerate(CHANNELS)}
        connection = ConnectionInfo(ports=self._ports, key=self._key, kernel_name=spec.spec.name)
        if self._launcher.announces:
            announce(connection)
        spawning = self._launcher.spawn(
            spec.kernel_id, spec.spec.argv, spec.env, spec.cwd, spec.limits
        )
        return spawning.addCallback(lambda process: Launched(process, connection))

    def detach(self) -> str:
        return "fake process"

    def cleanup(self) -> None:
        """
        Do nothing: there is nothing to remove.
        """
