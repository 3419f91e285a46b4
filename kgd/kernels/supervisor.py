"""
The process that a kernel has at the moment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure

from kgd.errors import KernelStartFailed
from kgd.interfaces import (
    NO_LIMITS,
    Ended,
    IKernelLauncher,
    IKernelProcess,
    KernelSpec,
    Limits,
    Seed,
)
from kgd.kernels.lifecycle import KernelEvents
from kgd.kernels.local.command import kernel_command
from kgd.kernels.local.transport import KernelAddress
from kgd.observability.logs import make_logger
from kgd.protocol.connection_file import ConnectionInfo

_FAULT = "the gateway made a mistake, which its log describes"


@attrs.frozen(kw_only=True)
class LaunchSpec:
    """
    What one kernel is made of, the same for all of its processes.

    :ivar env: The complete environment.
    :ivar cwd: The working directory.
    :ivar limits: How much it may use.
    :ivar seed: What to run before clients are let in, if anything.
    :ivar revive: Whether another process follows when one that worked has died.
    """

    kernel_id: str
    spec: KernelSpec
    env: Mapping[str, str] = attrs.field(repr=False)
    cwd: str
    limits: Limits = NO_LIMITS
    seed: Seed | None = None
    revive: bool = True

    @property
    def pieces(self) -> tuple[str, ...]:
        """
        The seed's code.
        """
        return () if self.seed is None else tuple(source for _, source in self.seed.cells)

    def is_like(self, other: LaunchSpec) -> bool:
        """
        Whether a kernel of this plan is as good as one of the other.
        """
        return attrs.evolve(self, kernel_id=other.kernel_id) == other


class ProcessSupervisor:
    """
    Launches a kernel's processes, one after the other, and tells what becomes of them.

    :param connect: Called with the address before a process is started that listens there.
    :param events: Hears ``launched``, ``launch_failed``, ``process_ended``, and what the process
        says for itself: ``began_seeding``, ``seeding_failed``, ``became_ready``.
    """

    _log = make_logger()

    def __init__(
        self,
        plan: LaunchSpec,
        launcher: IKernelLauncher,
        address: KernelAddress,
        connect: Callable[[ConnectionInfo], None],
        events: KernelEvents,
    ) -> None:
        self._plan = plan
        self._launcher = launcher
        self._address = address
        self._connect = connect
        self._events = events
        self._process: IKernelProcess | None = None
        # What the process said before the launcher said that it runs.
        self._said: list[Callable[[], None]] | None = []

    @property
    def pid(self) -> int | None:
        """
        Its process id, or ``None`` when there is no process.
        """
        return None if self._process is None else self._process.pid

    def launch(self, *, new_ports: bool) -> None:
        """
        Start another, after the last has ended.
        """
        self._said = []
        # Whatever goes wrong here, such as ZeroMQ's running out of descriptors, is a failed launch.
        launching = maybeDeferred(self._launch, new_ports)
        launching.addCallbacks(self._launched, self._launch_failed)
        launching.addErrback(self._fault)

    def _launch(self, new_ports: bool) -> Deferred[IKernelProcess]:
        plan = self._plan
        connection, file = self._address.prepare(new_ports=new_ports)
        self._connect(connection)
        argv = kernel_command(
            plan.spec.argv, connection_file=file, resource_dir=plan.spec.directory
        )
        return self._launcher.launch(plan.kernel_id, argv, plan.env, plan.cwd, plan.limits)

    def _launched(self, process: IKernelProcess) -> None:
        self._process = process
        self._address.launched(process.pid)
        said, self._said = self._said or [], None
        self._events.launched()
        for event in said:
            event()
        process.when_ended().addCallback(self._ended).addErrback(self._fault)

    def _launch_failed(self, failure: Failure) -> None:
        if isinstance(failure.value, KernelStartFailed):
            self._events.launch_failed(str(failure.value))
        else:
            self._fault(failure)
            self._events.launch_failed(_FAULT)

    def _fault(self, failure: Failure) -> None:
        self._log.failure(
            "kernel {kernel_id}: something unforeseen", failure, kernel_id=self._plan.kernel_id
        )

    def says(self, event: Callable[[], None]) -> None:
        """
        It says something for itself; maybe even before the launcher says that it runs.

        :param event: One of those that follow from that.
        """
        if self._said is None:
            event()
        else:
            self._said.append(event)

    def _ended(self, ended: Ended) -> None:
        self._process = None
        self._events.process_ended(str(ended))

    def signal(self, signum: int) -> None:
        """
        Send a signal to its group, if there is a process.
        """
        if self._process is not None:
            self._process.signal(signum)

    def disown(self) -> None:
        """
        Do not care any more what becomes of it.
        """
        self._process = None
