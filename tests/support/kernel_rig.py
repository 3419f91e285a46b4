"""
A kernel registry on fakes, with a clock that the test moves.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kgd.errors import (
    NoSuchKernel,
)
from kgd.interfaces import (
    ExitStatus,
    StartRequest,
)
from kgd.kernels.kernel import Kernel
from kgd.kernels.local.launcher import LocalLauncher
from kgd.kernels.local.ports import PortLeases
from kgd.kernels.local.runtime_directory import RuntimeDirectory
from kgd.kernels.registry import KernelRegistry
from kgd.observability.audit import AuditLog
from kgd.observability.counters import Counters
from kgd.observability.request_context import RequestContext
from kgd.open_files import FileBudget
from kgd.settings import Settings
from kgd.testing.kernels import (
    FakeChannels,
    FakeKernelSpecs,
    FakeLauncher,
    FakeProcess,
    FakeRelay,
    kernel_spec,
)

CRASH = ExitStatus(exit_code=1)


class MemoryRuntime(RuntimeDirectory):
    """
    A runtime directory without a disk.

    :ivar files: Kernel id to content.
    :ivar listening: The names of sockets that a kernel may have.
    :ivar error: What writing fails with as long as it is not ``None``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, bytes] = {}
        self.listening: set[str] = set()
        self.error: Exception | None = None

    def write_connection_file(self, kernel_id: str, content: bytes) -> Path:
        """
        Remember a file.
        """
        if self.error is not None:
            raise self.error
        self.files[kernel_id] = content
        return self.connection_file(kernel_id)

    def connection_file(self, kernel_id: str) -> Path:
        """
        Where a file would be.
        """
        return Path(f"/run/kernel-{kernel_id}.json")

    def remove(self, kernel_id: str) -> None:
        """
        Forget a file.
        """
        self.files.pop(kernel_id, None)

    def sockets(self, name: str) -> Path:
        """
        Where sockets would be.
        """
        return Path("/run") / name

    def clear_sockets(self, name: str) -> Path:
        """
        Remember that a kernel may have sockets.
        """
        self.listening.add(name)
        return self.sockets(name)

    def remove_sockets(self, name: str) -> None:
        """
        Forget them.
        """
        self.listening.discard(name)


class RecordingAudit(AuditLog):
    """
    Remembers what would be written.
    """

    def __init__(self) -> None:
        super().__init__()
        self.records: list[tuple[str, str]] = []

    def record(self, event: str, requester: RequestContext | None = None, **fields: Any) -> None:
        """
        Something was done.
        """
        self.records.append((event, fields["kernel_id"]))


class Rig:
    """
    A registry with the local launcher, on fakes: nothing below it does anything by itself.

    :ivar launcher: Starts the fake processes.
    :ivar free_files: How many files may be open; none is.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *specs: Any,
        runtime: MemoryRuntime | None = None,
    ) -> None:
        self.clock = Clock()
        self.launcher = FakeLauncher()
        self.relay = FakeRelay()
        self.relay.start()
        self.runtime = runtime or MemoryRuntime()
        self.settings = settings or Settings()
        self.ports = PortLeases(range(5000, 5200), lambda _port: True, self.settings.kernel_ip)
        self.wall = 1000.0
        self.counters = Counters()
        self.audit = RecordingAudit()
        self.free_files = 1_000_000
        self.files = FileBudget(lambda _: 0, lambda: self.free_files, self.clock.seconds)
        self.kernels = KernelRegistry(
            self.clock,
            self.settings,
            FakeKernelSpecs(*(specs or (kernel_spec(), kernel_spec("bash")))),
            LocalLauncher(
                self.clock,
                self.settings,
                self.runtime,
                {"PATH": "/bin", "HOME": "/root", "KG_AUTH_TOKEN": "s3cret"},
                self.relay.new_curve_keys,
                ports=self.ports,
                spawn=self.launcher.spawn,  # type: ignore[arg-type]
            ),
            self.relay,
            lambda: self.wall,
            self.clock.seconds,
            self.counters,
            self.audit,
            self.files,
        )

    @property
    def process(self) -> FakeProcess:
        """
        The latest process.
        """
        return self.launcher.processes[-1]

    def channels(self, kernel: Kernel) -> FakeChannels:
        """
        A kernel's channels.
        """
        return self.relay.opened[kernel.kernel_id]

    def pass_time(self, *seconds: float) -> None:
        """
        Let time pass, in steps.
        """
        for step in seconds:
            self.clock.advance(step)

    def leftovers(self) -> tuple[object, ...]:
        """
        Everything that must be gone when no kernel is left.
        """
        return (
            [*self.runtime.files, *self.runtime.listening],
            sorted(self.ports.leased),
            list(self.clock.getDelayedCalls()),
            [process.pid for process in self.launcher.alive],
            [kernel.kernel_id for kernel in self.kernels.list()],
        )


NOTHING: tuple[object, ...] = ([], [], [], [], [])


class Case(SynchronousTestCase):
    """
    A rig for each test.
    """

    settings = Settings()

    def setUp(self) -> None:
        """
        Make the rig.
        """
        self.rig = Rig(self.settings)
        self.kernels = self.rig.kernels
        self.launcher = self.rig.launcher

    def start(self, **fields: Any) -> Kernel:
        """
        Start a kernel, which does not answer yet.
        """
        kernel = self.successResultOf(self.kernels.start(StartRequest(**fields)))
        assert isinstance(kernel, Kernel)
        self.channels = self.rig.channels(kernel)
        return kernel

    def ready(self, **fields: Any) -> Kernel:
        """
        Start a kernel, and let it answer.
        """
        kernel = self.start(**fields)
        self.channels.answer()
        return kernel

    def crash(self) -> None:
        """
        Let the latest process fail.
        """
        self.rig.process.end(CRASH)

    def assert_nothing_left(self) -> None:
        """
        No process, no file, no port, no timer, no entry.
        """
        self.assertEqual(self.rig.leftovers(), NOTHING)

    def reason_of(self, kernel: Kernel) -> str:
        """
        The error for a kernel that is gone, which has its reason.
        """
        return str(self.assertRaises(NoSuchKernel, self.kernels.get, kernel.kernel_id))
