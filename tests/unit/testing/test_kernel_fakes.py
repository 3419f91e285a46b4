"""
The fakes of kernels keep the promises of the real thing.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from kgd.errors import KernelStartFailed, NoSuchKernel
from kgd.interfaces import (
    IKernelLauncher,
    IKernels,
    IKernelSpecs,
    StartRequest,
)
from kgd.settings import Settings
from kgd.testing.kernels import (
    FakeKernelSpecs,
    FakeLauncher,
    KernelsContract,
    LauncherContract,
    MemoryKernels,
    kernel_spec,
)


class FakeLauncherTests(LauncherContract, TestCase):
    """
    The fake launcher is a launcher.
    """

    def make_launcher(self) -> IKernelLauncher:
        """
        A new one.
        """
        return FakeLauncher()


class MemoryKernelsTests(KernelsContract, SynchronousTestCase):
    """
    Kernels in memory are kernels.
    """

    def make_kernels(self, settings: Settings) -> IKernels:
        """
        New ones.
        """
        return MemoryKernels(settings, FakeKernelSpecs(kernel_spec(), kernel_spec("bash")))

    def test_told_to_fail(self) -> None:
        """
        A test can make the next action fail, and only that one.
        """
        kernels = MemoryKernels()
        kernels.error = KernelStartFailed("no")
        self.failureResultOf(kernels.start(StartRequest()), KernelStartFailed)
        kernel = self.successResultOf(kernels.start(StartRequest()))
        kernels.error = KernelStartFailed("no")
        self.failureResultOf(kernels.interrupt(kernel.kernel_id), KernelStartFailed)
        self.successResultOf(kernels.interrupt(kernel.kernel_id))
        self.assertEqual(kernels.interrupted, [kernel.kernel_id])

    def test_lose(self) -> None:
        """
        A test can let a kernel die.
        """
        kernels = MemoryKernels()
        kernel = self.successResultOf(kernels.start(StartRequest()))
        kernels.crash(kernel.kernel_id)
        self.assertRaises(NoSuchKernel, kernels.get, kernel.kernel_id)


class FakeKernelSpecsTests(SynchronousTestCase):
    """
    Kernelspecs in memory.
    """

    def test_interface(self) -> None:
        """
        They provide what they stand for.
        """
        verifyObject(IKernelSpecs, FakeKernelSpecs())
