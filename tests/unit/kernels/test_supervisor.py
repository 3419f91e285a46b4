"""
Kernels on a launcher that is not the local one.
"""

from __future__ import annotations

import signal

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kgd.errors import KernelStartFailed
from kgd.interfaces import IKernels, StartRequest
from kgd.kernels.registry import KernelRegistry
from kgd.settings import Settings
from kgd.testing.kernels import (
    FakeKernelSpecs,
    FakeLauncher,
    FakeRelay,
    KernelsContract,
    kernel_spec,
)

SPECS = (kernel_spec(), kernel_spec("bash"))


class OtherLauncherContractTests(KernelsContract, SynchronousTestCase):
    """
    The registry needs nothing of the local launcher.
    """

    def make_kernels(self, settings: Settings) -> IKernels:
        """
        A registry on the fake launcher itself.
        """
        specs = FakeKernelSpecs(*SPECS)
        relay = FakeRelay()
        relay.start()
        return KernelRegistry(Clock(), settings, specs, FakeLauncher(), relay)


class LateConnectionTests(SynchronousTestCase):
    """
    A launcher that learns the connection from the process that runs.
    """

    def setUp(self) -> None:
        """
        Make a registry on such a launcher.
        """
        self.clock = Clock()
        self.launcher = FakeLauncher()
        self.launcher.announces = False
        self.relay = FakeRelay()
        self.relay.start()
        self.kernels = KernelRegistry(
            self.clock,
            Settings(restart_limit=1),
            FakeKernelSpecs(*SPECS),
            self.launcher,
            self.relay,
            monotonic=self.clock.seconds,
        )

    def test_connected_after_the_launch(self) -> None:
        """
        The gateway connects as soon as the process runs, and so it does after a crash.
        """
        self.launcher.hold()
        starting = self.kernels.start(StartRequest(kernel_id="a-b-c-d-e"))
        channels = self.relay.opened["a-b-c-d-e"]
        self.assertIsNone(channels.connection)
        self.launcher.release()
        kernel = self.successResultOf(starting)
        first = channels.connection
        assert first is not None
        channels.answer()
        self.assertEqual(kernel.execution_state, "idle")
        self.launcher.processes[0].end()
        self.assertIsNone(channels.connection)
        self.clock.advance(0)
        self.assertEqual(channels.connection, first)

    def test_cannot_connect(self) -> None:
        """
        A process that the gateway cannot connect to does not stay.
        """
        self.launcher.hold()
        starting = self.kernels.start(StartRequest(kernel_id="a-b-c-d-e"))
        self.relay.opened["a-b-c-d-e"].error = OSError("Too many open files")
        self.launcher.release()
        self.failureResultOf(starting, KernelStartFailed)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        (process,) = self.launcher.processes
        self.assertEqual(process.signals, [signal.SIGKILL])
