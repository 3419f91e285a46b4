"""
Interfaces and values of kernels: kernelspecs, launchers, processes, and the registry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

#: What clients are told of a kernel that somebody wanted gone.
SHUT_DOWN = "Kernel shut down"
#: What they are told of one that was culled begins with this.
CULLED = "Kernel culled"
#: What they are told when it is the gateway that ends.
GATEWAY_SHUTS_DOWN = "The gateway is shutting down"

# --- kernels --------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class KernelSpec:
    """
    An installed kernelspec, in the form in which ``/api/kernelspecs`` shows it.

    :ivar name: The canonical name, in lower case.
    :ivar directory: Where its resource files are.
    :ivar resources: Key (``logo-64x64``, ``kernel.js``) to file name.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    display_name: str
    language: str
    interrupt_mode: str
    metadata: Mapping[str, Any]
    kernel_protocol_version: str
    directory: Path
    resources: Mapping[str, str]


@attrs.frozen(kw_only=True)
class Seed:
    """
    Code that runs in every process of a kernel before clients see it.

    :ivar kernel_name: The kernelspec it is for.
    :ivar cells: The number of a cell in its notebook, counted from 1, and its source.
    """

    kernel_name: str
    cells: tuple[tuple[int, str], ...]


@attrs.frozen(kw_only=True)
class StartRequest:
    """
    What somebody wants of a new kernel.

    :ivar name: A kernelspec; ``None`` is the default one.
    :ivar path: An API path below the root directory, from which the kernel's cwd follows.
    :ivar env: The client's variables, or ``None`` when it sent none; ``{}`` is not ``None``.
    :ivar kernel_id: The id under which to register the kernel; ``None`` lets the gateway choose.
    :ivar seed: What it shall run instead of the seed notebook of the settings.
    :ivar revive: Whether it is started again when it has worked and then dies; otherwise it is
        gone then.
    """

    name: str | None = None
    path: str | None = None
    env: Mapping[str, str] | None = None
    kernel_id: str | None = None
    seed: Seed | None = None
    revive: bool = True


@attrs.frozen
class Ended:
    """
    How a process ended: by itself with ``exit_code``, or by the signal ``signal``.

    :ivar cause: More about it, for people, if the launcher knows more.
    """

    exit_code: int | None = None
    signal: int | None = None
    cause: str = ""

    def __str__(self) -> str:
        how = f"exit code {self.exit_code}" if self.signal is None else f"signal {self.signal}"
        return f"{how}: {self.cause}" if self.cause else how


@attrs.frozen(kw_only=True)
class Limits:
    """
    How much of the machine each process of a kernel may use; 0 is no limit.

    :ivar memory: Bytes that only it can write to.
    :ivar cpu_seconds: Seconds of processor time.
    :ivar open_files: At a time; 0 is the number that is usual.
    :ivar processes: Processes and threads of the user that it runs as, at a time.
    :ivar file_size: Bytes in a file that it writes.
    :ivar nice: How much nicer than the gateway it is to others, from 0 to 19.
    """

    memory: int = 0
    cpu_seconds: int = 0
    open_files: int = 0
    processes: int = 0
    file_size: int = 0
    nice: int = 0


NO_LIMITS = Limits()


class IKernelSpecs(Interface):
    """
    The kernelspecs that are installed here.
    """

    def all() -> Mapping[str, KernelSpec]:
        """
        :return: Canonical name to spec; broken specs are logged and left out.
        """

    def has(name: str) -> bool:
        """
        Whether one of this name seems to be installed, found out without reading any.

        :param name: As for :py:meth:`find`.
        """

    def find(name: str) -> KernelSpec:
        """
        :param name: In any case; ``python`` means ``python3``.
        :raises kgd.errors.NoSuchKernelSpec:
        """


class IKernelProcess(Interface):
    """
    A kernel's process, and all of its process group.
    """

    pid: int = Attribute("The process id, which is also the process group's.")

    def signal(signum: int) -> None:
        """
        Send a signal to the process group; nothing happens when it has ended.
        """

    def when_ended() -> Deferred[Ended]:
        """
        :return: Fires as soon as the process has ended, without waiting for its output.
        """


class IKernelLauncher(Interface):
    """
    Turns a command line into a running process.
    """

    def launch(
        kernel_id: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: str,
        limits: Limits = NO_LIMITS,
    ) -> Deferred[IKernelProcess]:
        """
        Start a process in a session of its own, without any inherited descriptor, its output
        going to the log.

        :param env: The complete environment; nothing is inherited.
        :param limits: To be applied before any of the kernel's own code runs.
        :return: Fires when the process runs; fails with :py:exc:`kgd.errors.KernelStartFailed`.
        """


class IKernel(Interface):
    """
    One kernel, over all the processes that it has in its life.
    """

    kernel_id: str = Attribute("The id under which clients know it.")
    name: str = Attribute("The name of its kernelspec.")
    spec: KernelSpec = Attribute("Its kernelspec, as it was when the kernel was started.")
    execution_state: str = Attribute("starting, idle, busy, restarting or dead.")
    last_activity: float = Attribute("When it was last used, in seconds since the epoch.")
    last_used: float = Attribute(
        "The same on the monotonic clock; as long as it is being started, it is in use."
    )
    started: float = Attribute(
        "When it was first started, or handed out if it was spare, on the monotonic clock."
    )
    busy_since: float | None = Attribute(
        "Since when it has been busy without a break, on the monotonic clock, or None."
    )
    stopping: bool = Attribute("Whether it is being stopped, from which there is no way back.")
    connections: int = Attribute("How many WebSockets are open on it.")
    reason: str = Attribute("Why it failed or was culled, or the empty string.")
    channels: Any = Attribute("Its IKernelChannels.")

    def when_ready() -> Deferred[None]:
        """
        :return: Fires when the kernel answers and has run its seed; fails with
            :py:exc:`kgd.errors.KernelStartFailed` if it never will.
        """


class IKernels(Interface):
    """
    The kernels that run here.
    """

    def prespawn() -> Deferred[None]:
        """
        Get the seed notebook, start the spare kernels that the settings ask for, and keep their
        number from now on.

        :return: Fires when all of them can be used; fails with
            :py:exc:`kgd.errors.ConfigurationError` when the notebook cannot be had, or a kernel
            cannot be started.
        """

    def start(request: StartRequest) -> Deferred[IKernel]:
        """
        Start a kernel; fires when its process runs, which is before it can answer.

        When ``request.kernel_id`` runs already, fires with that kernel.

        :return: Fails with :py:exc:`kgd.errors.KernelLimitReached`,
            :py:exc:`kgd.errors.NoSuchKernelSpec`, :py:exc:`kgd.errors.InvalidRequest` or
            :py:exc:`kgd.errors.KernelStartFailed`.
        """

    def has_room() -> bool:
        """
        Whether another kernel may be started now.
        """

    def get(kernel_id: str) -> IKernel:
        """
        :raises kgd.errors.NoSuchKernel:
        """

    def list() -> Sequence[IKernel]:
        """
        :return: In the order in which they were started.
        """

    def interrupt(kernel_id: str) -> Deferred[None]:
        """
        Interrupt what a kernel is doing, which is nothing as long as it does not answer.

        :return: Fails with :py:exc:`kgd.errors.NoSuchKernel`.
        """

    def hold(kernel_id: str, hold: bool) -> None:
        """
        Let a kernel's process stand still, or go on. One that is interrupted or stopped goes on.

        :raises kgd.errors.NoSuchKernel:
        """

    def restart(kernel_id: str) -> Deferred[None]:
        """
        Stop the kernel's process and start another, under the same id; fires when that runs.

        :return: Fails with :py:exc:`kgd.errors.NoSuchKernel` or
            :py:exc:`kgd.errors.RestartFailed`.
        """

    def stop(kernel_id: str, reason: str = SHUT_DOWN) -> Deferred[None]:
        """
        Ask the kernel to end, then make it; fires when its process is gone.

        :param reason: What clients read in the close frame, which has room for 123 bytes. One
            that the caller gives is also told to those who ask for the kernel later. Of several
            stops the first one's counts.
        :return: Fails with :py:exc:`kgd.errors.NoSuchKernel`.
        """

    def spare() -> Sequence[IKernel]:
        """
        :return: The kernels that nobody has asked for yet.
        """

    def drain() -> Deferred[None]:
        """
        Refuse new kernels from now on, with :py:exc:`kgd.errors.Unavailable`, and keep no spare
        ones. Those that there are go on.

        :return: Fires when none is left.
        """

    def stop_all() -> Deferred[None]:
        """
        Stop every kernel, all at once, and refuse new ones.
        """
