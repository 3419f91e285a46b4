"""
The fakes of kernels keep the promises of the real thing.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from kgd.errors import KernelStartFailed, NoSuchKernel
from kgd.interfaces import (
    IAttachment,
    IKernelChannels,
    IKernelLauncher,
    IKernels,
    IKernelSpecs,
    IRelay,
    StartRequest,
)
from kgd.protocol.messages import ClientMessage, read_header
from kgd.settings import Settings
from kgd.testing.kernels import (
    FakeChannels,
    FakeKernelSpecs,
    FakeLauncher,
    FakeRelay,
    KernelsContract,
    LauncherContract,
    MemoryKernels,
    kernel_spec,
)
from tests.support.kernel_rig import RecordingClient


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


class FakeChannelsTests(SynchronousTestCase):
    """
    What the fake relay opens.
    """

    def test_interfaces(self) -> None:
        """
        The fakes provide what they stand for.
        """
        verifyObject(IKernelSpecs, FakeKernelSpecs())
        verifyObject(IRelay, FakeRelay())
        channels = FakeChannels()
        verifyObject(IKernelChannels, channels)
        verifyObject(IAttachment, channels.attach("s", RecordingClient()))

    def test_replacement(self) -> None:
        """
        A second client of the same session takes the place of the first, which is told.
        """
        channels = FakeChannels()
        first, second = RecordingClient(), RecordingClient()
        hold = channels.attach("s", first)
        self.assertIs(channels.attach("s", second), hold)
        self.assertEqual(first.closed, (1000, "Replaced by a newer connection"))
        hold.detach(first)
        self.assertEqual(channels.connections, 1)
        hold.detach(second)
        self.assertEqual(channels.connections, 0)

    def test_requests(self) -> None:
        """
        What a client sends is remembered.
        """
        channels = FakeChannels()
        hold = channels.attach("s", RecordingClient())
        raw = b'{"msg_type": "execute_request"}'
        request = ClientMessage("shell", read_header(raw), (raw, b"{}", b"{}", b"{}"))
        hold.pause()
        hold.send(request)
        self.assertEqual(channels.attachments["s"].requests, [request])
        self.assertTrue(channels.attachments["s"].paused)
        hold.resume()
        self.assertFalse(channels.attachments["s"].paused)

    def test_close(self) -> None:
        """
        Every client is closed, once.
        """
        relay = FakeRelay()
        relay.start()
        channels = FakeChannels()
        client = RecordingClient()
        channels.attach("s", client)
        channels.close(1000, "first")
        channels.close(1011, "second")
        self.assertEqual(client.closed, (1000, "first"))
        self.assertEqual(channels.connections, 0)
