"""
The fakes of the relay pass the suites that the real one passes.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase, TestCase

from kgd.interfaces import IKernelChannels, IKernelObserver, IRelay
from kgd.protocol.connection_file import ConnectionInfo
from kgd.protocol.messages import ClientMessage, MsgId, read_header
from kgd.testing.kernel_channels import FakeChannels, FakeClient, FakeRelay
from kgd.testing.relay_contracts import ChannelsContract, RelayContract


class FakeRelayTests(RelayContract, TestCase):
    """
    :py:class:`FakeRelay` is a relay.
    """

    def make_relay(self) -> IRelay:
        return FakeRelay()


class FakeChannelsContractTests(ChannelsContract, TestCase):
    """
    :py:class:`FakeChannels` are a kernel's channels.
    """

    def open_channels(self, observer: IKernelObserver) -> IKernelChannels:
        return FakeChannels(observer)

    async def start_kernel(self, channels: IKernelChannels, info: ConnectionInfo) -> None:
        assert isinstance(channels, FakeChannels)
        channels.connect(info)
        channels.answer()

    def received(self, channels: IKernelChannels) -> Sequence[MsgId]:
        assert isinstance(channels, FakeChannels)
        return [
            request.msg_id
            for attachment in channels.attachments.values()
            for request in attachment.requests
        ]


class FakeChannelsTests(SynchronousTestCase):
    """
    What a test sees of the fakes.
    """

    def test_requests(self) -> None:
        """
        What a client sends is remembered, and so is whether it can take messages.
        """
        channels = FakeChannels()
        attachment = channels.attach("s", FakeClient())
        raw = b'{"msg_type": "execute_request"}'
        request = ClientMessage("shell", read_header(raw), (raw, b"{}", b"{}", b"{}"))
        attachment.pause()
        attachment.send(request)
        self.assertEqual(channels.attachments["s"].requests, [request])
        self.assertTrue(channels.attachments["s"].paused)
        attachment.resume()
        self.assertFalse(channels.attachments["s"].paused)

    def test_calls(self) -> None:
        """
        So is what the gateway does with them.
        """
        channels = FakeChannels()
        channels.connect(ConnectionInfo(ports={}, key=b""), ("a", "b"))
        self.assertIsNotNone(channels.connection)
        channels.request_shutdown(True)
        channels.request_shutdown(False)
        channels.request_interrupt()
        channels.publish_status("dead")
        channels.disconnect("KernelDied", "signal 9")
        channels.close_clients(1001, "bye")
        channels.close(1000, "end")
        self.assertEqual(channels.seed, ("a", "b"))
        self.assertEqual(channels.control_requests, ["restart", "shutdown", "interrupt"])
        self.assertEqual(channels.statuses, ["dead"])
        self.assertEqual(channels.disconnect_errors, [("KernelDied", "signal 9")])
        self.assertEqual((channels.closed, channels.connection), ((1000, "end"), None))

    def test_error(self) -> None:
        """
        A test can make connecting fail.
        """
        channels = FakeChannels()
        channels.error = OSError("no")
        self.assertRaises(OSError, channels.connect, ConnectionInfo(ports={}, key=b""))
        self.assertIsNone(channels.connection)
