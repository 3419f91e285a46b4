"""
Kernels with real processes, real files and real ports.
"""

from __future__ import annotations

import signal
import socket
import stat
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from kgd.errors import KernelStartFailed, NoSuchKernel
from kgd.interfaces import StartRequest
from kgd.kernels.kernel import Kernel
from kgd.kernels.local.launcher import LocalLauncher
from kgd.kernels.local.ports import PortLeases, is_free
from kgd.kernels.local.process import LocalProcess, ProcessSpawner
from kgd.kernels.local.runtime_directory import RuntimeDirectory
from kgd.kernels.registry import KernelRegistry
from kgd.settings import Settings
from kgd.testing.kernels import FakeKernelSpecs, FakeRelay, kernel_spec
from tests.support.processes import LONG, is_alive, running_reactor, until, within

# Programs in the place of kernels, which cannot be asked anything.
PATIENT = ("sh", "-c", "sleep 60")
STUBBORN = (
    sys.executable,
    "-ISc",
    "import signal; signal.signal(15, signal.SIG_IGN); open('ready', 'w'); signal.pause()",
)
HASTY = ("sh", "-c", "exit 3")


class RegistryTests(TestCase):
    """
    What becomes of processes, files and ports.
    """

    timeout = 2 * LONG

    def setUp(self) -> Deferred[None]:  # type: ignore[override]
        """
        A registry on this machine, with a relay that does nothing.
        """
        self.root = Path(self.mktemp()).resolve()
        self.root.mkdir(parents=True)
        self.runtime = RuntimeDirectory(self.root / "run")
        self.runtime.open()
        self.addCleanup(self.runtime.close)
        self.relay = FakeRelay()
        self.relay.start()
        self.specs = FakeKernelSpecs(
            kernel_spec("patient", argv=PATIENT),
            kernel_spec("stubborn", argv=STUBBORN),
            kernel_spec("hasty", argv=HASTY),
            kernel_spec("missing", argv=("kgd-not-there", "{connection_file}")),
        )
        settings = Settings(shutdown_wait_time=0.4, restart_limit=1, root_dir=str(self.root))
        self.processes: dict[str, LocalProcess] = {}
        self.spawner = ProcessSpawner(reactor, self.runtime)
        self.launcher = LocalLauncher(
            reactor,
            settings,
            self.runtime,
            {"PATH": "/usr/bin:/bin"},
            self.relay.new_curve_keys,
            spawn=self.spawn,
        )
        self.kernels = KernelRegistry(
            reactor,
            settings,
            self.specs,
            self.launcher,
            self.relay,
        )
        self.addCleanup(self.end)
        return running_reactor()

    def end(self) -> Deferred[None]:
        """
        Leave nothing behind.
        """
        return within("the end of all kernels", self.kernels.stop_all())

    async def start(self, name: str) -> Kernel:
        """
        Start something in the place of a kernel.
        """
        kernel = await self.kernels.start(StartRequest(name=name))
        assert isinstance(kernel, Kernel)
        return kernel

    def spawn(self, kernel_id: str, *args: Any) -> Deferred[LocalProcess]:
        """
        Start a process, and remember it.
        """

        def spawned(process: LocalProcess) -> LocalProcess:
            self.processes[kernel_id] = process
            return process

        return self.spawner.spawn(kernel_id, *args).addCallback(spawned)

    def pid(self, kernel: Kernel) -> int:
        """
        The process that it has, or had.
        """
        return self.processes[kernel.kernel_id].pid

    def files(self) -> list[str]:
        """
        The connection files there are.
        """
        return sorted(path.name for path in self.runtime.path.glob("kernel-*"))

    async def test_start_and_stop(self) -> None:
        """
        A kernel has a process and a private file; after the stop neither is there.
        """
        kernel = await self.start("patient")
        pid = self.pid(kernel)
        self.assertTrue(is_alive(pid))
        file = self.runtime.connection_file(kernel.kernel_id)
        self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600)
        await within("the stop", self.kernels.stop(kernel.kernel_id))
        self.assertFalse(is_alive(pid))
        self.assertEqual(self.files(), [])

    async def test_stubborn(self) -> None:
        """
        A process that ignores SIGTERM is gone when the stop has ended.
        """
        kernel = await self.start("stubborn")
        await until("the program's start", (self.root / "ready").exists)
        pid = self.pid(kernel)
        await within("the stop", self.kernels.stop(kernel.kernel_id))
        self.assertFalse(is_alive(pid))

    async def test_missing_executable(self) -> None:
        """
        A kernelspec without its program fails at once, by name, and leaves nothing.
        """
        error = await self.assertFailure(
            self.kernels.start(StartRequest(name="missing")), KernelStartFailed
        )
        self.assertIn("'kgd-not-there'", str(error))
        self.assertEqual((self.files(), list(self.kernels.list())), ([], []))

    async def test_exits_at_once(self) -> None:
        """
        One that exits at once is dead within a bounded time, and it is known why.
        """
        kernel = await self.start("hasty")
        await until("the end of the kernel", lambda: kernel.execution_state == "dead")
        error = self.assertRaises(NoSuchKernel, self.kernels.get, kernel.kernel_id)
        self.assertIn("exit code 3 (restarted once)", str(error))
        self.assertEqual(self.relay.opened[kernel.kernel_id].statuses, ["restarting", "dead"])
        self.assertEqual(self.files(), [])

    async def test_killed(self) -> None:
        """
        A process that was killed is replaced.
        """
        kernel = await self.start("patient")
        first = self.pid(kernel)
        self.processes[kernel.kernel_id].signal(signal.SIGKILL)
        await until("another process", lambda: self.pid(kernel) != first)
        self.assertFalse(is_alive(first))

    async def test_stop_all(self) -> None:
        """
        Many are stopped together, stubborn ones too.
        """
        kernels = [await self.start("patient") for _ in range(8)] + [await self.start("stubborn")]
        pids = [self.pid(kernel) for kernel in kernels]
        begun = reactor.seconds()
        await within("the end of all kernels", self.kernels.stop_all())
        self.assertLess(reactor.seconds() - begun, 5)
        self.assertEqual([pid for pid in pids if is_alive(pid)], [])
        self.assertEqual(self.files(), [])


class PortTests(TestCase):
    """
    Ports of this machine.
    """

    def test_taken(self) -> None:
        """
        A port is not free while a program listens on it, and is afterwards.
        """
        (port,) = PortLeases().lease(1)
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", port))
            listener.listen()
            self.assertFalse(is_free(port))
        self.assertTrue(is_free(port))

    def test_time_wait(self) -> None:
        """
        A connection that was closed a moment ago does not make its port unusable.
        """
        (port,) = PortLeases().lease(1)
        with socket.socket() as listener, socket.socket() as client:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", port))
            listener.listen()
            client.connect(("127.0.0.1", port))
            accepted, _ = listener.accept()
            # The side that closes first keeps the port for a while.
            accepted.close()
        self.assertTrue(is_free(port))
