"""
Interfaces and values of kernels: kernelspecs, launchers, processes and the registry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from kgd.protocol.connection_file import ConnectionInfo

#: The reason that clients get when a user has stopped their kernel.
SHUT_DOWN_REASON = "Kernel shut down"
#: The beginning of the reason that they get when it was culled.
CULLED_PREFIX = "Kernel culled"
#: The reason that they get when the gateway ends.
GATEWAY_SHUTDOWN_REASON = "The gateway is shutting down"

#: The name of the file in a kernelspec's directory that describes it.
KERNEL_FILE = "kernel.json"

# --- values ---------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class KernelSpec:
    """
    An installed kernelspec, in the form in which ``/api/kernelspecs`` shows it.

    :ivar name: The canonical name, in lower case.
    :ivar directory: The directory of its resource files.
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

    :ivar kernel_name: The kernelspec that the code is for.
    :ivar cells: The number of each cell in its notebook, counted from 1, and its source.
    """

    kernel_name: str
    cells: tuple[tuple[int, str], ...]

    @property
    def sources(self) -> tuple[str, ...]:
        """
        The code of the cells, in order.
        """
        return tuple(source for _, source in self.cells)


@attrs.frozen(kw_only=True)
class StartRequest:
    """
    A request for a new kernel.

    :ivar name: A kernelspec; ``None`` is the default one.
    :ivar path: An API path below the root directory, from which the kernel's cwd follows.
    :ivar env: The client's variables, or ``None`` when it sent none; ``{}`` is not ``None``.
    :ivar kernel_id: The id under which to register the kernel; ``None`` lets the gateway choose.
    :ivar seed: A seed to run instead of the seed notebook of the settings.
    :ivar revive: Whether the kernel is started again when it has worked and then dies; otherwise
        it is gone then.
    :ivar has_private_directory: Whether its working directory is a new one of its own, which is
        removed with the kernel; ``path`` does not count then.
    """

    name: str | None = None
    path: str | None = None
    env: Mapping[str, str] | None = None
    kernel_id: str | None = None
    seed: Seed | None = None
    revive: bool = True
    has_private_directory: bool = False


@attrs.frozen
class ExitStatus:
    """
    How a process ended: by itself with ``exit_code``, or by the signal ``signal``.

    :ivar cause: An explanation for people, if the launcher has one.
    :ivar output: The last lines that the process printed, as far as the launcher has them. They are
        not for readers who may not use the kernel.
    """

    exit_code: int | None = None
    signal: int | None = None
    cause: str = ""
    output: str = attrs.field(default="", eq=False, repr=False)

    def __str__(self) -> str:
        how = f"exit code {self.exit_code}" if self.signal is None else f"signal {self.signal}"
        return f"{how}: {self.cause}" if self.cause else how


@attrs.frozen(kw_only=True)
class Limits:
    """
    How much of the machine each process of a kernel may use; 0 is no limit.

    :ivar memory: Bytes of memory that only this process can write to.
    :ivar cpu_seconds: Seconds of processor time.
    :ivar open_files: Files open at a time; 0 is the system's usual number.
    :ivar processes: Processes and threads, at a time, of the user that the kernel runs as.
    :ivar file_size: Bytes in a file that the kernel writes.
    :ivar nice: How much is added to the gateway's niceness, from 0 to 19.
    """

    memory: int = 0
    cpu_seconds: int = 0
    open_files: int = 0
    processes: int = 0
    file_size: int = 0
    nice: int = 0


NO_LIMITS = Limits()


@attrs.frozen(kw_only=True)
class LaunchSpec:
    """
    What one kernel is made of, the same for all of its processes.

    :ivar spec: The kernelspec, as it was when the kernel was asked for.
    :ivar env: The complete environment; nothing is inherited.
    :ivar cwd: The working directory.
    :ivar limits: Limits that hold before any of the kernel's own code runs.
    :ivar seed: Code to run before clients are let in, if any.
    :ivar revive: Whether another process follows when one that worked has died.
    :ivar has_private_directory: Whether the working directory is made for the kernel, and removed
        with it.
    """

    kernel_id: str
    spec: KernelSpec
    env: Mapping[str, str] = attrs.field(repr=False)
    cwd: str
    limits: Limits = NO_LIMITS
    seed: Seed | None = None
    revive: bool = True
    has_private_directory: bool = False

    def is_like(self, other: LaunchSpec) -> bool:
        """
        Whether a kernel made from this is as good as one made from the other.
        """
        return attrs.evolve(self, kernel_id=other.kernel_id) == other


# --- kernelspecs ----------------------------------------------------------------------------------


class IKernelSpecs(Interface):
    """
    The kernelspecs that are installed on this machine.
    """

    def all() -> Mapping[str, KernelSpec]:
        """
        :return: Canonical name to spec; broken specs are logged and left out.
        """

    def has(name: str) -> bool:
        """
        Whether a kernelspec of this name seems to be installed; reads none of them.

        :param name: As for :py:meth:`find`.
        """

    def find(name: str) -> KernelSpec:
        """
        :param name: In any case; ``python`` means ``python3``.
        :raises kgd.errors.NoSuchKernelSpec:
        :raises kgd.errors.UnusableKernelSpec: The message names the file, and what is wrong.
        """


# --- launchers ------------------------------------------------------------------------------------


class IKernelProcess(Interface):
    """
    A kernel's process and all of its process group, or what stands for them elsewhere.
    """

    def signal(signum: int) -> None:
        """
        Send a signal to the process group; does nothing when it has ended.
        """

    def when_ended() -> Deferred[ExitStatus]:
        """
        :return: Fires as soon as the process has ended, without waiting for its output.
        """

    def describe() -> str:
        """
        :return: A name for log messages, by which an operator finds the process: ``process 4711``.
        """


@attrs.frozen
class Launched:
    """
    A process that runs, and how to reach the kernel in it.
    """

    process: IKernelProcess
    connection: ConnectionInfo


class IKernelProvisioner(Interface):
    """
    Launches the processes of one kernel, one after the other, and keeps what they share: the
    address, the keys, the files. Jupyter calls its counterpart a provisioner, too.
    """

    def launch(
        announce: Callable[[ConnectionInfo], None], *, new_address: bool = False
    ) -> Deferred[Launched]:
        """
        Start a process, whose output goes to the log.

        :param announce: To be called with the connection before the process starts, if that is
            known then, so that the gateway subscribes to iopub in time and no output of the start
            is lost. A launcher that learns the connection from the running process does not call
            it; the gateway then connects to what the Deferred fires with.
        :param new_address: Whether another address is wanted than the last process had, because
            that has never worked. Otherwise the address stays the same. The keys always do.
        :return: Fires when the process runs; fails with :py:exc:`kgd.errors.KernelStartFailed`.
        """

    def detach() -> str:
        """
        Leave the present process and its files as they are; the gateway ends without them.

        :return: For the log: which process that is, and how to reach it.
        """

    def cleanup() -> None:
        """
        Give the address back and remove the files, when the kernel is gone for good. May be called
        at any time, also again.
        """


class IKernelLauncher(Interface):
    """
    Decides where and how kernels run: as processes of this machine, or by an engine elsewhere.

    All that depends on the place is behind this interface and :py:class:`IKernelProvisioner`.
    Isolation is a step of the local launcher, between the command line and the process. A launcher
    of remote kernels knows the connection only after the launch, and has no process id to show.
    Taking over a process that has survived another gateway belongs beside
    :py:meth:`IKernelProvisioner.launch`, as a method that takes the record of the process and
    fires with a :py:class:`Launched`.
    """

    def prepare(kernel_id: str, spec: KernelSpec, request: StartRequest) -> LaunchSpec:
        """
        Choose environment, directory and limits of a new kernel. Nothing is taken or started.

        :raises kgd.errors.InvalidRequest: when no process can have the environment.
        :raises kgd.errors.KernelStartFailed: when the kernelspec wants what this launcher cannot
            do.
        """

    def provision(spec: LaunchSpec) -> IKernelProvisioner:
        """
        Make the provisioner of a new kernel. It takes nothing before its first launch.

        :raises kgd.errors.KernelStartFailed: when the kernel cannot be reached as the settings
            want it.
        """


# --- kernels --------------------------------------------------------------------------------------


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
        "The same on the monotonic clock. A kernel that is being started counts as used."
    )
    started: float = Attribute(
        "When it was first started, or handed out if it was spare, on the monotonic clock."
    )
    busy_since: float | None = Attribute(
        "Since when it has been busy without a break, on the monotonic clock, or None."
    )
    stopping: bool = Attribute("Whether it is being stopped, which cannot be undone.")
    connections: int = Attribute("How many WebSockets are open on it.")
    reason: str = Attribute(
        "Why it failed or was culled, or the empty string. Further lines are the last output of "
        "its process, which only users of the kernel may see."
    )
    channels: Any = Attribute("Its IKernelChannels.")
    working_directory: str = Attribute(
        "The absolute path of the directory that it was started in, or the empty string if that is "
        "not on this machine."
    )

    def when_ready() -> Deferred[None]:
        """
        :return: Fires when the kernel answers and has run its seed; fails with
            :py:exc:`kgd.errors.KernelStartFailed` if it never will.
        """


class IKernels(Interface):
    """
    All kernels of the gateway.
    """

    def prespawn() -> Deferred[None]:
        """
        Get the seed notebook, start the spare kernels that the settings ask for, and keep their
        number from now on.

        :return: Fires when all of them can be used; fails with
            :py:exc:`kgd.errors.ConfigurationError` when the notebook cannot be read, or a kernel
            cannot be started.
        """

    def start(request: StartRequest) -> Deferred[IKernel]:
        """
        Start a kernel; fires when its process runs, which is before it can answer.

        When ``request.kernel_id`` runs already, fires with that kernel, as :py:meth:`claim` does.

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
        Get a kernel to look at it. Spare kernels are found if the settings list them.

        :raises kgd.errors.NoSuchKernel: The message says why, if the kernel died or was culled
            not long ago.
        """

    def claim(kernel_id: str) -> IKernel:
        """
        Get a kernel that a client is about to use. If it was a spare one, it is the client's from
        now on, as if the client had just started it.

        :raises kgd.errors.NoSuchKernel: As from :py:meth:`get`.
        """

    def list() -> Sequence[IKernel]:
        """
        :return: All kernels but spare ones, in the order in which they were started; also those
            that are being started or stopped.
        """

    def listed() -> Sequence[IKernel]:
        """
        :return: The kernels that clients find: those of :py:meth:`list`, and spare ones if the
            settings list them.
        """

    def interrupt(kernel_id: str) -> Deferred[None]:
        """
        Interrupt what a kernel is doing. A kernel that does not answer yet is left alone.

        :return: Fails with :py:exc:`kgd.errors.NoSuchKernel`.
        """

    def suspend(kernel_id: str) -> None:
        """
        Stop a kernel's process until :py:meth:`resume`, an interrupt, a restart or a stop.

        :raises kgd.errors.NoSuchKernel:
        """

    def resume(kernel_id: str) -> None:
        """
        Let a suspended process go on.

        :raises kgd.errors.NoSuchKernel:
        """

    def restart(kernel_id: str) -> Deferred[None]:
        """
        Stop the kernel's process and start another, under the same id; fires when that runs.

        :return: Fails with :py:exc:`kgd.errors.NoSuchKernel` or
            :py:exc:`kgd.errors.RestartFailed`.
        """

    def stop(kernel_id: str, reason: str = SHUT_DOWN_REASON) -> Deferred[None]:
        """
        Ask the kernel to end, then end its process; fires when that is gone.

        :param reason: What clients read in the close frame, which has room for 123 bytes. A reason
            other than the default is also told to clients that ask for the kernel later. Of several
            stops, the first one's reason counts.
        :return: Fails with :py:exc:`kgd.errors.NoSuchKernel`.
        """

    def spare() -> Sequence[IKernel]:
        """
        :return: The kernels that are started and not handed out yet.
        """

    def drain() -> Deferred[None]:
        """
        Refuse new kernels from now on, with :py:exc:`kgd.errors.Unavailable`, and stop the spare
        ones. Kernels in use go on.

        :return: Fires when none is left.
        """

    def stop_all() -> Deferred[None]:
        """
        Stop every kernel, all at once, and refuse new ones.
        """
