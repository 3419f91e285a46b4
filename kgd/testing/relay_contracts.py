"""
Test suites that each relay and each kernel's channels have to pass, to be mixed into test cases.
"""

# mypy: allow-untyped-calls
# (trial's assertions have no types)

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.task import deferLater
from zope.interface.verify import verifyObject

from kgd.interfaces import (
    GATEWAY_SHUTDOWN_REASON,
    ClientStats,
    IAttachment,
    IClient,
    IKernelChannels,
    IKernelObserver,
    IRelay,
)
from kgd.protocol.connection_file import CHANNELS, ConnectionInfo
from kgd.protocol.messages import ClientMessage, KernelMessage, MsgId, new_header, read_header
from kgd.protocol.rfc6455 import GOING_AWAY, NORMAL
from kgd.testing.kernel_channels import FakeClient, FakeObserver

if TYPE_CHECKING:
    from twisted.trial.unittest import TestCase
else:
    # The suites are mixed into test cases; alone they are none.
    TestCase = object

# Seconds until a test gives up.
TIMEOUT = 20


async def until(condition: Callable[[], object], what: str) -> None:
    """
    Let the reactor run until something is the case.

    :param what: Names it in the error if it is not in :py:data:`TIMEOUT` seconds.
    """
    from twisted.internet import reactor

    clock: Any = reactor
    deadline = clock.seconds() + TIMEOUT
    while not condition():
        assert clock.seconds() < deadline, f"waited {TIMEOUT} s until {what}"
        await deferLater(clock, 0)


def content_of(message: KernelMessage) -> Any:
    """
    :return: The content of a message, parsed.
    """
    return json.loads(bytes(message.parts[3]))


class RelayContract(TestCase):
    """
    What every relay has to do.
    """

    @abstractmethod
    def make_relay(self) -> IRelay:
        """
        :return: A new relay that does not run yet.
        """

    def start_relay(self) -> IRelay:
        """
        :return: A relay that runs until the end of the test.
        """
        relay = self.make_relay()
        relay.start()
        self.addCleanup(relay.stop)
        return relay

    def test_provides_the_interfaces(self) -> None:
        """
        The relay and what it opens provide their interfaces.
        """
        relay = self.start_relay()
        channels = relay.open("1-2-3-4-5", FakeObserver())
        verifyObject(IRelay, relay)
        verifyObject(IKernelChannels, channels)
        verifyObject(IAttachment, channels.attach("s", FakeClient()))
        verifyObject(IClient, FakeClient())
        verifyObject(IKernelObserver, FakeObserver())

    def test_opens_while_it_runs(self) -> None:
        """
        Channels can be opened between start and stop only.
        """
        relay = self.make_relay()
        self.assertRaises(RuntimeError, relay.open, "1-2-3-4-5", FakeObserver())
        relay.start()
        self.assertEqual(relay.open("1-2-3-4-5", FakeObserver()).connections, 0)
        relay.stop()
        self.assertRaises(RuntimeError, relay.open, "1-2-3-4-5", FakeObserver())

    def test_stops_everything(self) -> None:
        """
        A relay that stops closes the clients of all kernels, at once.
        """
        relay = self.start_relay()
        clients = [FakeClient() for _ in range(2)]
        for number, client in enumerate(clients):
            relay.open(f"1-2-3-4-{number}", FakeObserver()).attach("s", client)
        relay.stop()
        for client in clients:
            self.assertEqual(client.closed, [(GOING_AWAY, GATEWAY_SHUTDOWN_REASON)])

    def test_curve_keys(self) -> None:
        """
        Each kernel gets keys of its own: 40 characters of Z85 each.
        """
        relay = self.start_relay()
        first, second = relay.new_curve_keys(), relay.new_curve_keys()
        self.assertEqual(
            [len(key) for each in (first, second) for key in (each.public, each.secret)], [40] * 4
        )
        self.assertEqual(len({first.public, first.secret, second.public, second.secret}), 4)


class ChannelsContract(TestCase):
    """
    What the channels of every kernel have to do.
    """

    @abstractmethod
    def open_channels(self, observer: IKernelObserver) -> IKernelChannels:
        """
        :return: New channels, not connected.
        """

    @abstractmethod
    async def start_kernel(self, channels: IKernelChannels, info: ConnectionInfo) -> None:
        """
        Connect the channels to a kernel and wait until it is ready. It does not reply to clients.
        """

    @abstractmethod
    def received(self, channels: IKernelChannels) -> Sequence[MsgId]:
        """
        :return: The ids of clients' requests that have reached the kernel, in order.
        """

    def connection_info(self) -> ConnectionInfo:
        """
        :return: Where a kernel may listen.
        """
        ports = {name: number for number, name in enumerate(CHANNELS, 1)}
        return ConnectionInfo(ports=ports, key=b"key")

    async def make_channels(self, *, connected: bool = True) -> IKernelChannels:
        """
        :param connected: Whether to start a kernel, too.
        """
        self.observer = FakeObserver()
        self.info = self.connection_info()
        channels = self.open_channels(self.observer)
        self.addCleanup(channels.close, NORMAL, "the test has ended")
        if connected:
            await self.start_kernel(channels, self.info)
        return channels

    def send(self, attachment: IAttachment, msg_type: str = "execute_request") -> MsgId:
        """
        Send a client's request.

        :return: Its id.
        """
        header = new_header(msg_type, attachment.session_id, 0.0)
        request = ClientMessage("shell", read_header(header), (header, b"{}", b"{}", b"{}"))
        attachment.send(request)
        return request.msg_id

    async def test_becomes_ready(self) -> None:
        """
        The observer is told once that the kernel is ready.
        """
        await self.make_channels()
        self.assertEqual((self.observer.ready, self.observer.failed), (1, None))

    async def test_requests_wait_for_the_kernel(self) -> None:
        """
        Requests reach the kernel in order, those first that were sent before it was there.
        """
        channels = await self.make_channels(connected=False)
        attachment = channels.attach("s", FakeClient())
        sent = [self.send(attachment), self.send(attachment)]
        await self.start_kernel(channels, self.info)
        sent.append(self.send(attachment))
        await until(lambda: len(self.received(channels)) >= 3, "all requests arrive")
        self.assertEqual(list(self.received(channels)), sent)

    async def test_turns(self) -> None:
        """
        A request that is to run in its turn reaches a kernel that runs nothing at once; then it
        counts, and cannot be taken back.
        """
        channels = await self.make_channels()
        attachment = channels.attach("s", FakeClient())
        header = new_header("execute_request", "s", 0.0)
        request = ClientMessage("shell", read_header(header), (header, b"{}", b"{}", b"{}"))
        sent: list[bool] = []
        withdraw = attachment.send_in_turn(request, lambda: sent.append(True))
        self.assertEqual(sent, [True])
        self.assertFalse(withdraw())
        await until(lambda: request.msg_id in self.received(channels), "the request arrives")

    async def test_client_stats(self) -> None:
        """
        Clients that have a name can come back, others are forgotten; parts of the gateway are
        connections unless they say otherwise, but not counted among the clients.
        """
        channels = await self.make_channels()
        named, nameless, internal = FakeClient(), FakeClient(), FakeClient()
        first = channels.attach("s", named)
        second = channels.attach(None, nameless)
        channels.attach(None, internal, is_internal=True)
        channels.attach(None, FakeClient(), is_internal=True, is_connection=False)
        self.assertEqual(first.session_id, "s")
        self.assertNotEqual(second.session_id, "s")
        self.assertEqual(channels.connections, 3)
        self.assertEqual(channels.client_stats(), ClientStats(present=2))
        first.detach(named)
        second.detach(nameless)
        self.assertEqual(channels.connections, 1)
        self.assertEqual(channels.client_stats(), ClientStats(away=1))

    async def test_replacement(self) -> None:
        """
        A second client with the same name takes the first one's place; the first one is closed, and
        that it leaves changes nothing.
        """
        channels = await self.make_channels()
        first, second = FakeClient(), FakeClient()
        attachment = channels.attach("s", first)
        self.assertIs(channels.attach("s", second), attachment)
        self.assertEqual(first.closed, [(NORMAL, "Replaced by a newer connection")])
        attachment.detach(first)
        self.assertEqual((channels.connections, second.closed), (1, []))
        attachment.detach(second)
        self.assertEqual(channels.connections, 0)

    async def test_status(self) -> None:
        """
        A status goes to all clients: to one that is paused when it resumes, to one that is away
        when it comes back, to a newcomer never.
        """
        channels = await self.make_channels()
        present, paused, away, again = (FakeClient() for _ in range(4))
        channels.attach("present", present)
        attachment = channels.attach("paused", paused)
        attachment.pause()
        channels.attach("away", away).detach(away)
        channels.publish_status("restarting")
        self.assertEqual([paused.messages, away.messages], [[], []])
        attachment.resume()
        channels.attach("away", again)
        newcomer = FakeClient()
        channels.attach("newcomer", newcomer)
        for client in (present, paused, again):
            (message,) = client.messages
            self.assertEqual((message.channel, message.header.msg_type), ("iopub", "status"))
            self.assertEqual(content_of(message), {"execution_state": "restarting"})
        self.assertEqual([away.messages, newcomer.messages], [[], []])

    async def test_undelivered(self) -> None:
        """
        What is known not to have arrived goes to the client that comes next.
        """
        channels = await self.make_channels()
        first, second = FakeClient(), FakeClient()
        channels.attach("s", first)
        channels.publish_status("restarting")
        first.undelivered = list(first.messages)
        channels.attach("s", second)
        self.assertEqual(second.messages, first.messages)

    async def test_disconnect(self) -> None:
        """
        When the process has ended, each request without a reply gets an error as its reply, and
        all clients see that it is over.
        """
        channels = await self.make_channels()
        client, other = FakeClient(), FakeClient()
        attachment = channels.attach("s", client)
        channels.attach("o", other)
        msg_id = self.send(attachment)
        await until(lambda: msg_id in self.received(channels), "the request arrives")
        channels.disconnect("KernelDied", "signal 9")
        await until(lambda: "execute_reply" in client.types("shell"), "it is replied to")
        self.assertEqual(client.types(), ["execute_reply", "error", "status"])
        self.assertEqual(other.types(), ["error", "status"])
        reply, error, status = client.messages
        for message in (reply, error):
            content = content_of(message)
            self.assertEqual((content["ename"], content["evalue"]), ("KernelDied", "signal 9"))
        self.assertEqual(content_of(status), {"execution_state": "idle"})
        self.assertEqual({each.parent.msg_id for each in client.messages}, {msg_id})
        channels.publish_status("restarting")
        await until(lambda: len(client.messages) == 4, "the status comes after that")

    async def test_close_clients(self) -> None:
        """
        Clients are closed and forgotten; others can come.
        """
        channels = await self.make_channels()
        client, other = FakeClient(), FakeClient()
        attachment = channels.attach("s", client)
        channels.close_clients(GOING_AWAY, "bye")
        self.assertEqual(client.closed, [(GOING_AWAY, "bye")])
        self.assertEqual(channels.client_stats(), ClientStats())
        self.assertIsNot(channels.attach("s", other), attachment)
        self.assertEqual((channels.connections, other.closed), (1, []))

    async def test_close(self) -> None:
        """
        Clients are closed, once, and later calls do nothing.
        """
        channels = await self.make_channels()
        client = FakeClient()
        channels.attach("s", client)
        channels.close(NORMAL, "first")
        await until(lambda: client.closed, "the client is closed")
        channels.close(GOING_AWAY, "second")
        channels.connect(self.info)
        channels.request_interrupt()
        channels.publish_status("dead")
        channels.disconnect("KernelDied", "it ended")
        self.assertEqual((client.closed, client.messages), ([(NORMAL, "first")], []))
        self.assertEqual((channels.connections, self.observer.ready), (0, 1))
        late = FakeClient()
        channels.attach("late", late)
        self.assertEqual((late.closed, channels.connections), ([(NORMAL, "first")], 0))
        self.assertEqual(late.types(), ["status"])

    async def test_requests_of_the_gateway(self) -> None:
        """
        Without a process they do nothing.
        """
        channels = await self.make_channels(connected=False)
        client = FakeClient()
        channels.attach("s", client)
        channels.request_interrupt()
        channels.request_shutdown(True)
        self.assertEqual((client.messages, client.closed), ([], []))
