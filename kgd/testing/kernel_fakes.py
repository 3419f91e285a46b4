"""
Fakes of what kernels are started with: kernelspecs, a launcher and its processes. They do nothing
by themselves.
"""

from __future__ import annotations

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
    Ended,
    IKernelLauncher,
    IKernelProcess,
    IKernelSpecs,
    KernelSpec,
    Limits,
)

#: What :py:class:`FakeLauncher` does not find, and no system should have either.
MISSING_EXECUTABLE = "kgd-no-such-executable"


# --- kernelspecs ----------------------------------------------------------------------------------


def kernel_spec(name: str = "python3", **changes: Any) -> KernelSpec:
    """
    :param changes: Fields that should differ from those of an ordinary Python kernel.
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

    :ivar specs: Name to spec; change it at will.
    """

    def __init__(self, *specs: KernelSpec) -> None:
        self.specs = {spec.name: spec for spec in specs or (kernel_spec(),)}

    def all(self) -> Mapping[str, KernelSpec]:
        """
        All of them.
        """
        return dict(self.specs)

    def has(self, name: str) -> bool:
        """
        Whether there is one of this name.
        """
        key = name.lower()
        return ("python3" if key == "python" else key) in self.specs

    def find(self, name: str) -> KernelSpec:
        """
        One of them.
        """
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
    :ivar signals: The signals it got while it lived.
    :ivar deadly: Those of which it dies; empty it for a process that ignores even SIGKILL.
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
        self.pid: int = FakeProcess._next_pid
        self.kernel_id = kernel_id
        self.argv = list(argv)
        self.env = dict(env or {})
        self.cwd = cwd
        self.signals: list[int] = []
        self.deadly: set[int] = {signal.SIGTERM, signal.SIGKILL}
        self.ended: Ended | None = None
        self._waiters: Waiters[Ended] = Waiters()

    def signal(self, signum: int) -> None:
        """
        Remember a signal, and die if it is deadly.
        """
        if self.ended is not None:
            return
        self.signals.append(signum)
        if signum in self.deadly:
            self.end(Ended(signal=int(signum)))

    def when_ended(self) -> Deferred[Ended]:
        """
        :return: Fires when a test or a signal ends the process.
        """
        return self._waiters.wait() if self.ended is None else succeed(self.ended)

    def end(self, ended: Ended | None = None) -> None:
        """
        End the process.

        :param ended: How; with exit code 0 if not given.
        """
        self.ended = ended or Ended(exit_code=0)
        self._waiters.fire(self.ended)


@implementer(IKernelLauncher)
class FakeLauncher:
    """
    A launcher of :py:class:`FakeProcess`.

    :ivar processes: All that it launched, ended ones too.
    :ivar missing: Executables that it does not find.
    :ivar error: What every launch fails with as long as it is not ``None``.
    :ivar held: Launches that wait for :py:meth:`release`; ``None`` unless :py:meth:`hold` was
        called.
    """

    def __init__(self) -> None:
        self.processes: list[FakeProcess] = []
        self.missing: set[str] = {MISSING_EXECUTABLE}
        self.error: KernelStartFailed | None = None
        self.held: list[Callable[[], None]] | None = None

    @property
    def alive(self) -> list[FakeProcess]:
        """
        The processes that have not ended.
        """
        return [process for process in self.processes if process.ended is None]

    def launch(
        self,
        kernel_id: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: str,
        limits: Limits = NO_LIMITS,
    ) -> Deferred[IKernelProcess]:
        """
        Launch a fake process, at once unless :py:meth:`hold` was called.
        """
        launched: Deferred[IKernelProcess] = Deferred()

        def proceed() -> None:
            if self.error is not None:
                launched.errback(self.error)
            elif argv[0] in self.missing:
                launched.errback(KernelStartFailed(f"{argv[0]} is missing"))
            else:
                process = FakeProcess(kernel_id, argv, env, cwd)
                self.processes.append(process)
                launched.callback(process)

        if self.held is None:
            proceed()
        else:
            self.held.append(proceed)
        return launched

    def hold(self) -> None:
        """
        Let launches wait from now on.
        """
        self.held = []

    def release(self) -> None:
        """
        Let all that wait proceed, and later ones not wait.
        """
        held, self.held = self.held or [], None
        for proceed in held:
            proceed()
