"""
Supervises the processes that a kernel has, one after the other.
"""

from __future__ import annotations

import signal
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from kgd.errors import RAISE_LIMIT, KernelStartFailed, is_out_of_files
from kgd.interfaces import ExitStatus, IKernelProcess, IKernelProvisioner
from kgd.kernels.lifecycle import KernelEvents
from kgd.observability.logs import make_logger
from kgd.observability.scrubbing import Scrubber
from kgd.protocol.connection_file import ConnectionInfo

_NO_FILES = f"there are too many open files for another process; {RAISE_LIMIT}"
_FAULT = "the gateway made a mistake, which its log describes"


class ProcessSupervisor:
    """
    Launches a kernel's processes and reports their events.

    :param provisioner: Launches the processes.
    :param connect: Called once for each process, with the connection to the kernel in it.
    :param events: Gets ``launched``, ``launch_failed``, ``launch_postponed`` and
        ``process_ended``, and the events that the process causes itself: ``began_seeding``,
        ``seeding_failed``, ``became_ready``.
    :ivar last_output: The last lines that the latest process printed, once it has ended, without
        the keys of its connection.
    """

    _log = make_logger()

    def __init__(
        self,
        kernel_id: str,
        provisioner: IKernelProvisioner,
        connect: Callable[[ConnectionInfo], None],
        events: KernelEvents,
    ) -> None:
        self._kernel_id = kernel_id
        self._provisioner = provisioner
        self._connect = connect
        self._events = events
        self._process: IKernelProcess | None = None
        self._connection: ConnectionInfo | None = None
        self.last_output = ""
        # What the process has caused before its launch was reported, or None.
        self._early: list[Callable[[], None]] | None = []

    @property
    def is_running(self) -> bool:
        """
        Whether there is a process.
        """
        return self._process is not None

    def describe(self) -> str:
        """
        :return: A name of the process for log messages.
        """
        return "no process" if self._process is None else self._process.describe()

    def launch(self, *, new_address: bool) -> None:
        """
        Start a process, after the last has ended.

        :param new_address: As for :py:meth:`IKernelProvisioner.launch`.
        """
        self._early = []
        self.last_output = ""
        # Any failure here, such as ZeroMQ's running out of descriptors, is a failed launch.
        launching = Deferred.fromCoroutine(self._launch(new_address))
        launching.addCallbacks(self._launched, self._launch_failed)
        launching.addErrback(self._fault)

    async def _launch(self, new_address: bool) -> IKernelProcess:
        announced: list[ConnectionInfo] = []

        def announce(connection: ConnectionInfo) -> None:
            announced.append(connection)
            self._connect(connection)

        launched = await self._provisioner.launch(announce, new_address=new_address)
        if not announced:
            try:
                self._connect(launched.connection)
            except Exception:
                launched.process.signal(signal.SIGKILL)
                raise
        self._connection = launched.connection
        return launched.process

    def _launched(self, process: IKernelProcess) -> None:
        self._process = process
        early, self._early = self._early or [], None
        self._events.launched()
        for event in early:
            event()
        process.when_ended().addCallback(self._ended).addErrback(self._fault)

    def _launch_failed(self, failure: Failure) -> None:
        if is_out_of_files(failure.value):
            self._events.launch_postponed(_NO_FILES)
        elif isinstance(failure.value, KernelStartFailed):
            self._events.launch_failed(str(failure.value))
        else:
            self._fault(failure)
            self._events.launch_failed(_FAULT)

    def _fault(self, failure: Failure) -> None:
        self._log.failure(
            "kernel {kernel_id}: unexpected error", failure, kernel_id=self._kernel_id
        )

    def after_launch(self, event: Callable[[], None]) -> None:
        """
        Report an event that the process causes itself, but not before its launch: it may answer
        before the launcher says that it runs.
        """
        if self._early is None:
            event()
        else:
            self._early.append(event)

    def _ended(self, ended: ExitStatus) -> None:
        self._process = None
        self.last_output = self._without_keys(ended.output)
        self._events.process_ended(str(ended))

    def _without_keys(self, text: str) -> str:
        connection = self._connection
        if not text or connection is None:
            return text
        keys = [connection.key]
        if connection.curve is not None:
            keys += [connection.curve.public, connection.curve.secret]
        return Scrubber(key.decode("ascii", "replace") for key in keys).scrub_known(text)

    def signal(self, signum: int) -> None:
        """
        Send a signal to the process group, if there is a process.
        """
        if self._process is not None:
            self._process.signal(signum)

    def abandon(self) -> None:
        """
        Let go of the process: send it no more signals.
        """
        self._process = None
