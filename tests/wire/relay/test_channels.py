"""
A kernel's channels, with a kernel that is only ZeroMQ sockets.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any, cast

import zmq
from twisted.internet import reactor
from twisted.internet.task import LoopingCall
from twisted.trial.unittest import TestCase

from kgd.errors import ConfigurationError
from kgd.interfaces import IAttachment, IKernelChannels, IKernelObserver, IRelay
from kgd.kernels.local.ports import PortLeases
from kgd.protocol.connection_file import CHANNELS, ConnectionInfo
from kgd.protocol.messages import (
    DELIMITER,
    ClientMessage,
    MsgId,
    Signer,
    new_header,
    read_header,
    wire_frames,
)
from kgd.relay.limits import RELAY_LIMITS, RelayLimits
from kgd.relay.relay import Relay
from kgd.settings import Settings
from kgd.testing.kernel_channels import FakeClient, FakeObserver
from kgd.testing.relay_contracts import ChannelsContract, RelayContract, until

# For last words, which take long where the processor is busy.
PATIENT = RelayLimits(final_output_delay=0.5)


class PretendKernel:
    """
    Answers every request on shell and control: busy, the reply, idle.

    :ivar silent: Whether it does not.
    :ivar quiet: Whether it replies to ``kernel_info_request`` only.
    :ivar executions: The ids of ``execute_request``, in order.
    :ivar failing: Whether code fails.
    :ivar forgetful: Whether it does not say when it is idle again.
    :ivar aborting: Whether it aborts code and publishes nothing, as R's kernel does.
    :ivar repeats_sessions: Whether its messages have the session of their request.
    """

    def __init__(self, info: ConnectionInfo, *, deaf_to_subscribers: bool = False) -> None:
        self._session = os.urandom(4).hex()
        self.silent = self.quiet = False
        self.executions: list[str] = []
        self.failing = self.forgetful = self.aborting = self.repeats_sessions = False
        self.signer = Signer(info.key)
        self.requests: list[tuple[str, str]] = []
        self.identities: dict[str, bytes] = {}
        self._context = zmq.Context()
        self._sockets: dict[str, Any] = {}
        for channel in ("shell", "control", "stdin"):
            self._bind(channel, zmq.ROUTER, info)
        if not deaf_to_subscribers:
            self._bind("iopub", zmq.XPUB, info)
        self._info = info
        self._loop = LoopingCall(self._turn)
        self._loop.start(0.001)

    def open_iopub(self) -> None:
        """
        Begin to publish, as late as some kernels do.
        """
        self._bind("iopub", zmq.XPUB, self._info)

    def _bind(self, channel: str, kind: int, info: ConnectionInfo) -> None:
        sock = self._context.socket(kind)
        sock.linger = 0
        sock.sndhwm = 0
        sock.bind(info.url(channel))
        self._sockets[channel] = sock

    def _turn(self) -> None:
        for channel in ("stdin", "control", "shell"):
            while self._sockets[channel].poll(0):
                self._handle(channel, self._sockets[channel].recv_multipart())
        iopub = self._sockets.get("iopub")
        while iopub is not None and iopub.poll(0):
            iopub.recv()
            self.publish("iopub_welcome", b"{}", {"subscription": ""})

    def _handle(self, channel: str, frames: list[bytes]) -> None:
        at = frames.index(DELIMITER)
        header = frames[at + 2]
        parsed = json.loads(header)
        parts = (frames[at + 2], frames[at + 3], frames[at + 4], frames[at + 5])
        self.signer.verify(frames[at + 1], parts)
        self.requests.append((channel, parsed["msg_type"]))
        self.identities[parsed["msg_id"]] = frames[0]
        if parsed["msg_type"] == "execute_request":
            self.executions.append(parsed["msg_id"])
        is_quiet = self.quiet and parsed["msg_type"] != "kernel_info_request"
        if channel == "stdin" or self.silent or is_quiet:
            return
        if self.aborting and parsed["msg_type"] == "execute_request":
            self.answer(channel, frames[0], "execute_reply", header, {"status": "aborted"})
            return
        self.publish("status", header, {"execution_state": "busy"})
        reply = parsed["msg_type"].replace("request", "reply")
        failing = self.failing and reply == "execute_reply"
        content = {"status": "error", "ename": "E", "evalue": "e"} if failing else {"status": "ok"}
        self.answer(channel, frames[0], reply, header, content)
        if not self.forgetful:
            self.publish("status", header, {"execution_state": "idle"})

    def answer(
        self, channel: str, identity: bytes, msg_type: str, parent: bytes, content: Any
    ) -> None:
        """
        Send to one client.
        """
        self._sockets[channel].send_multipart([identity, *self._frames(msg_type, parent, content)])

    def publish(self, msg_type: str, parent: bytes, content: Any) -> None:
        """
        Send to all.
        """
        if "iopub" in self._sockets:
            self._sockets["iopub"].send_multipart(
                [b"topic", *self._frames(msg_type, parent, content)]
            )

    def _frames(self, msg_type: str, parent: bytes, content: Any) -> list[Any]:
        session = self._session
        if self.repeats_sessions:
            session = json.loads(parent).get("session", "")
        parts = (
            new_header(msg_type, session, 0.0),
            parent,
            b"{}",
            json.dumps(content).encode(),
        )
        return wire_frames(self.signer, parts)

    def forge(self) -> None:
        """
        Publish something that is not signed with the key, and something that is no message.
        """
        parts = (new_header("stream", "kernel", 0.0), b"{}", b"{}", b"{}")
        self._sockets["iopub"].send_multipart(wire_frames(Signer(b"wrong"), parts))
        self._sockets["iopub"].send_multipart([b"garbage"])

    def stop(self) -> None:
        """
        Vanish. Calling it again does no harm.
        """
        if self._loop.running:
            self._loop.stop()
            self._context.destroy(linger=0)


def connection_info() -> ConnectionInfo:
    """
    :return: Free ports for a kernel.
    """
    ports = PortLeases().lease(len(CHANNELS))
    return ConnectionInfo(ports=dict(zip(CHANNELS, ports, strict=True)), key=b"key")


class RelayContractTests(RelayContract, TestCase):
    """
    The relay is one.
    """

    def make_relay(self) -> IRelay:
        return Relay(reactor, Settings())


class ChannelsContractTests(ChannelsContract, TestCase):
    """
    The channels that it opens are a kernel's channels.
    """

    def open_channels(self, observer: IKernelObserver) -> IKernelChannels:
        relay = Relay(reactor, Settings())
        relay.start()
        self.addCleanup(relay.stop)
        return relay.open("the-kernel", observer)

    def connection_info(self) -> ConnectionInfo:
        return connection_info()

    async def start_kernel(self, channels: IKernelChannels, info: ConnectionInfo) -> None:
        channels.connect(info)
        self.kernel = PretendKernel(info)
        self.addCleanup(self.kernel.stop)
        self.kernel.quiet = True
        await until(lambda: self.observer.ready, "the kernel is ready")

    def received(self, channels: IKernelChannels) -> Sequence[MsgId]:
        return self.kernel.executions


class ChannelsTests(TestCase):
    """
    Channels between clients and a kernel.
    """

    def setUp(self) -> None:
        self.observer = FakeObserver()
        self.open()
        self.info = connection_info()

    def open(self, limits: RelayLimits = RELAY_LIMITS) -> None:
        """
        Open channels in a relay of their own.
        """
        self.relay = Relay(reactor, Settings(), limits=limits)
        self.relay.start()
        self.addCleanup(self.relay.stop)
        self.channels = self.relay.open("the-kernel", self.observer)

    def kernel(self, **options: bool) -> PretendKernel:
        """
        Start a kernel.
        """
        kernel = PretendKernel(self.info, **options)
        self.addCleanup(kernel.stop)
        return kernel

    async def ready(self, times: int = 1) -> None:
        """
        Wait until the kernel has become ready so many times.
        """
        await until(lambda: self.observer.ready >= times, "the kernel is ready")

    def request(
        self, attachment: IAttachment, channel: str = "shell", msg_type: str = "execute_request"
    ) -> MsgId:
        """
        Send a request, and return its id.
        """
        header = new_header(msg_type, attachment.session_id, 0.0)
        request = ClientMessage(channel, read_header(header), (header, b"{}", b"{}", b"{}"))
        attachment.send(request)
        return request.msg_id

    async def answered(self, client: FakeClient, times: int = 1) -> None:
        """
        Wait until a client has so many replies and idle statuses.
        """
        await until(
            lambda: (
                client.types().count("execute_reply") >= times
                and sum(b"idle" in bytes(m.parts[3]) for m in client.messages) >= times
            ),
            f"{times} requests are answered; came: {client.types()}",
        )

    def test_encryption(self) -> None:
        """
        Where encryption is asked for and not possible, nothing begins; otherwise there are keys.
        """
        for wanted in ("auto", "required"):
            settings = Settings(transport_encryption=wanted)
            relay = Relay(reactor, settings, is_encryption_possible=lambda: False)
            error = self.assertRaises(ConfigurationError, relay.start)
            self.assertIn(f"--transport-encryption={wanted} is not possible", str(error))
        self.assertNotEqual(self.relay.new_curve_keys(), self.relay.new_curve_keys())

    async def test_ready(self) -> None:
        """
        A kernel that starts after we have connected becomes ready, once.
        """
        self.channels.connect(self.info)
        kernel = self.kernel()
        await self.ready()
        self.assertEqual(kernel.requests[0], ("shell", "kernel_info_request"))
        self.assertEqual(self.observer.ready, 1)
        self.assertIn(("status", "kernel_info_request", "idle"), self.observer.messages)

    async def test_lost_end(self) -> None:
        """
        When a kernel has dropped the status that ends a request, we send it, and say what happened.
        """
        self.open(RelayLimits(idle_check_period=0.01))
        self.channels.connect(self.info)
        kernel = self.kernel()
        await self.ready()
        client = FakeClient()
        attachment = self.channels.attach("s", client)
        kernel.forgetful = True
        msg_id = self.request(attachment)
        await self.answered(client)
        self.assertEqual(client.types("iopub"), ["status", "stream", "status"])
        notice, idle = client.messages[-2:]
        self.assertEqual((notice.parent.msg_id, idle.parent.msg_id), (msg_id, msg_id))
        self.assertIn(b"kgd: the kernel has lost the end", bytes(notice.parts[3]))
        self.assertEqual(self.observer.messages[-1], ("status", "execute_request", "idle"))
        kernel.forgetful = False
        self.request(attachment)
        await self.answered(client, 2)

    async def test_aborted(self) -> None:
        """
        When a kernel publishes nothing of what it aborts, we end it, and say nothing of a loss.
        """
        self.open(RelayLimits(idle_check_period=0.01))
        self.channels.connect(self.info)
        kernel = self.kernel()
        await self.ready()
        client = FakeClient()
        attachment = self.channels.attach("s", client)
        kernel.aborting = True
        msg_id = self.request(attachment)
        await self.answered(client)
        self.assertEqual(client.types("iopub"), ["status"])
        self.assertEqual(client.messages[-1].parent.msg_id, msg_id)

    async def test_odd_headers(self) -> None:
        """
        Ids of any type find their replies, and the kernel's observer hears which shell worked.
        """
        self.channels.connect(self.info)
        kernel = self.kernel()
        await self.ready()
        client = FakeClient()
        attachment = self.channels.attach("s", client)
        del self.observer.shells[:]
        requests = (
            ("shell", b"7", b"null", b""),
            ("control", b"7.5", b"null", b"control"),
            ("shell", b"null", b'"sub"', b'"sub"'),
            ("control", b"true", b'"sub"', b"control"),
            ("shell", b'"same"', b"5", b"5"),
        )
        for number, (channel, msg_id, subshell, _) in enumerate(requests, 1):
            header = (
                b'{"msg_type": "execute_request", "msg_id": %b, "subshell_id": %b, "date": 1.5}'
                % (msg_id, subshell)
            )
            parts = (header, b"[]", b"null", b"{}")
            attachment.send(ClientMessage(channel, read_header(header), parts))
            await self.answered(client, number)
            self.assertEqual({bytes(each.parts[1]) for each in client.messages[-3:]}, {header})
        self.assertEqual(self.channels.pending_executions, 0)
        self.assertEqual(
            self.observer.shells, [shell for *_, shell in requests for _ in ("busy", "idle")]
        )
        self.assertEqual(len(kernel.executions), len(requests))

    async def test_last_words_with_sessions_of_clients(self) -> None:
        """
        The last words of a process arrive also when it repeats the sessions of its clients.
        """
        self.open(PATIENT)
        self.channels.connect(self.info)
        kernel = self.kernel()
        kernel.repeats_sessions = True
        await self.ready()
        client = FakeClient()
        attachment = self.channels.attach("s", client)
        self.request(attachment)
        await self.answered(client)
        parent = new_header("execute_request", "s", 0.0)
        kernel.publish("stream", parent, {"text": "last words"})
        self.channels.disconnect("KernelDied", "it ended")
        self.channels.publish_status("restarting")
        await until(lambda: b"restarting" in bytes(client.messages[-1].parts[3]), "it is said")
        self.assertEqual(client.types()[-2:], ["stream", "status"])

    async def test_ready_only_when_its_output_arrives(self) -> None:
        """
        A kernel that answers while we cannot see its output yet is asked until we can.
        """
        self.channels.connect(self.info)
        kernel = self.kernel(deaf_to_subscribers=True)
        await until(lambda: len(kernel.requests) > 1, "it is asked again")
        self.assertEqual(self.observer.ready, 0)
        kernel.open_iopub()
        await self.ready()

    async def test_nothing_is_lost_at_the_start(self) -> None:
        """
        A request that is sent before the kernel even listens gets every output, exactly once, and
        the client sees nothing that was not for it.
        """
        client = FakeClient()
        attachment = self.channels.attach("s", client)
        self.channels.connect(self.info)
        self.request(attachment)
        self.kernel()
        await self.answered(client)
        self.assertEqual(client.types("iopub"), ["status", "status"])
        self.assertEqual(client.types("shell"), ["execute_reply"])

    async def test_fan_out(self) -> None:
        """
        All clients get what is published; a reply goes to the client that sent the request.
        """
        self.channels.connect(self.info)
        self.kernel()
        await self.ready()
        one, two = FakeClient(), FakeClient()
        first = self.channels.attach("1", one)
        second = self.channels.attach("2", two)
        self.assertEqual(self.channels.connections, 2)
        self.request(first)
        await self.answered(one)
        self.request(second)
        await self.answered(two)
        await until(lambda: len(one.types("iopub")) == 4, "the first sees the second's output")
        self.assertEqual(one.types("shell"), ["execute_reply"])
        self.assertEqual(two.types("iopub"), one.types("iopub"))

    async def test_prompts_find_their_client(self) -> None:
        """
        An input_request that is sent to the identity of a shell request arrives, however soon, and
        the answer comes back.
        """
        self.channels.connect(self.info)
        kernel = self.kernel()
        await self.ready()
        client = FakeClient()
        attachment = self.channels.attach("s", client)
        msg_id = self.request(attachment)
        await until(lambda: msg_id in kernel.identities, "the request arrives")
        kernel.answer(
            "stdin", kernel.identities[str(msg_id)], "input_request", b"{}", {"prompt": "?"}
        )
        await until(lambda: "input_request" in client.types("stdin"), "the prompt arrives")
        self.request(attachment, "stdin", "input_reply")
        await until(lambda: ("stdin", "input_reply") in kernel.requests, "the answer arrives")

    async def test_own_requests(self) -> None:
        """
        Shutdown and interrupt travel on control; their replies go to no client.
        """
        self.channels.request_interrupt()
        self.channels.connect(self.info)
        kernel = self.kernel()
        await self.ready()
        client = FakeClient()
        self.channels.attach("s", client)
        self.channels.request_interrupt()
        self.channels.request_shutdown(True)
        await until(lambda: len(kernel.requests) >= 3, "the requests arrive")
        self.assertEqual(
            kernel.requests[-2:],
            [("control", "interrupt_request"), ("control", "shutdown_request")],
        )
        await until(lambda: len(client.types("iopub")) == 4, "their statuses are published")
        self.assertEqual(client.types("control"), [])

    async def test_forged_messages(self) -> None:
        """
        What the kernel did not sign, and what is no message, is dropped; the rest arrives.
        """
        self.channels.connect(self.info)
        kernel = self.kernel()
        await self.ready()
        client = FakeClient()
        self.channels.attach("s", client)
        kernel.forge()
        kernel.publish("stream", b"{}", {"text": "real"})
        await until(lambda: client.messages, "something arrives")
        self.assertEqual(client.types(), ["stream"])

    async def test_another_process(self) -> None:
        """
        When the process is replaced, clients stay: its last words come first, then the status, and
        what they send meanwhile is for the next process.
        """
        self.open(PATIENT)
        self.channels.connect(self.info)
        first = self.kernel()
        await self.ready()
        client = FakeClient()
        attachment = self.channels.attach("s", client)
        self.request(attachment)
        await self.answered(client)
        first.publish("stream", b"{}", {"text": "last words"})
        self.channels.disconnect("KernelDied", "it ended")
        self.channels.publish_status("restarting")
        self.request(attachment)
        await until(lambda: b"restarting" in bytes(client.messages[-1].parts[3]), "it is said")
        self.assertEqual(client.types()[-2:], ["stream", "status"])
        self.assertEqual(
            json.loads(bytes(client.messages[-1].parts[3])), {"execution_state": "restarting"}
        )
        first.stop()
        self.channels.connect(self.info)
        second = self.kernel()
        await self.ready(2)
        await self.answered(client, 2)
        self.assertIn(("shell", "execute_request"), second.requests)
        self.assertNotIn("iopub_welcome", client.types())

    async def test_requests_that_die_with_the_process(self) -> None:
        """
        What a process has not answered is answered for it, before anything else is said; what it
        had answered is not answered again.
        """
        self.channels.connect(self.info)
        kernel = self.kernel()
        await self.ready()
        client, other = FakeClient(), FakeClient()
        attachment = self.channels.attach("s", client)
        self.channels.attach("o", other)
        self.request(attachment)
        await self.answered(client)
        kernel.silent = True
        msg_id = self.request(attachment)
        await until(lambda: msg_id in kernel.identities, "the request arrives")
        self.assertEqual(self.channels.pending_executions, 1)
        kernel.stop()
        self.channels.disconnect("KernelDied", "signal 9")
        self.channels.publish_status("restarting")
        await until(lambda: b"restarting" in bytes(client.messages[-1].parts[3]), "it is said")
        reply, error, idle, _ = client.messages[-4:]
        for each in (reply, error, idle):
            self.assertEqual(json.loads(bytes(each.parts[1]))["msg_id"], msg_id)
        self.assertEqual(json.loads(bytes(reply.parts[3]))["ename"], "KernelDied")
        self.assertEqual((reply.channel, error.header.msg_type), ("shell", "error"))
        self.assertEqual(json.loads(bytes(idle.parts[3])), {"execution_state": "idle"})
        self.assertEqual(other.types()[-3:], ["error", "status", "status"])
        self.assertEqual(self.channels.pending_executions, 0)

    async def test_coming_back(self) -> None:
        """
        A client that comes back under its name gets what it missed, even the reply to what it had
        asked for; under another name, nothing.
        """
        self.channels.connect(self.info)
        self.kernel()
        await self.ready()
        client, other, again = FakeClient(), FakeClient(), FakeClient()
        attachment = self.channels.attach("s", client)
        self.request(attachment)
        attachment.detach(client)
        self.request(self.channels.attach("o", other))
        self.assertEqual(self.channels.connections, 1)
        await self.answered(other)
        self.channels.attach("s", again)
        await self.answered(again)
        self.assertEqual(client.messages, [])
        self.assertEqual(self.channels.connections, 2)

    async def test_seed(self) -> None:
        """
        A seed runs before clients are let in, and they see nothing of it, not even those that were
        there before a restart.
        """
        self.channels.connect(self.info, ("a", "b"))
        kernel = self.kernel()
        client = FakeClient()
        attachment = self.channels.attach("s", client)
        self.request(attachment)
        await self.ready()
        await self.answered(client)
        kinds = [msg_type for _, msg_type in kernel.requests]
        self.assertEqual(kinds[-3:], ["execute_request"] * 3)
        self.assertTrue(self.observer.seeding)
        self.assertEqual(client.types().count("execute_reply"), 1)
        self.channels.disconnect("KernelRestarted", "a user wanted it")
        kernel.stop()
        count = len(client.messages)
        self.channels.connect(self.info, ("a", "b"))
        again = self.kernel()
        await self.ready(2)
        self.assertEqual([msg_type for _, msg_type in again.requests][-2:], ["execute_request"] * 2)
        of_seed = [
            each for each in client.messages[count:] if each.parent.msg_type == "execute_request"
        ]
        self.assertEqual([bytes(each.parts[1]) for each in of_seed], [])

    async def test_failing_seed(self) -> None:
        """
        The first cell that fails is the last one, and clients get nothing.
        """
        self.channels.connect(self.info, ("a", "b"))
        kernel = self.kernel()
        kernel.failing = True
        await until(lambda: self.observer.failed, "it fails")
        self.assertEqual(self.observer.failed, (0, "E: e"))
        client = FakeClient()
        self.request(self.channels.attach("s", client))
        kinds = [msg_type for _, msg_type in kernel.requests]
        self.assertEqual(kinds.count("execute_request"), 1)
        self.assertEqual((client.messages, self.observer.ready), ([], 0))

    async def test_most_away(self) -> None:
        """
        The number of clients that messages are kept for has a limit.
        """
        self.open(RelayLimits(max_away_clients=2))
        self.channels.connect(self.info)
        self.kernel()
        await self.ready()
        holds = []
        for name in ("a", "b", "c", "d"):
            client = FakeClient()
            hold = self.channels.attach(name, client)
            holds.append(hold)
            hold.detach(client)
        for name, hold, kept in zip("abcd", holds, (False, False, True, True), strict=True):
            self.assertEqual(self.channels.attach(name, FakeClient()) is hold, kept, name)

    async def test_leaving(self) -> None:
        """
        A client without a name that goes is forgotten, and what it sent just before still arrives.
        """
        self.channels.connect(self.info)
        kernel = self.kernel()
        await self.ready()
        client = FakeClient()
        attachment = self.channels.attach(None, client)
        self.request(attachment)
        await self.answered(client)
        msg_id = self.request(attachment)
        attachment.detach(client)
        self.assertEqual(self.channels.connections, 0)
        await until(lambda: msg_id in kernel.identities, "the last request arrives")
        self.assertEqual(client.types().count("execute_reply"), 1)

    async def test_taking_over(self) -> None:
        """
        A newcomer with the same session_id takes the other's place, and its pending replies.
        """
        self.channels.connect(self.info)
        self.kernel()
        await self.ready()
        old, new = FakeClient(), FakeClient()
        attachment = self.channels.attach("s", old)
        self.request(attachment)
        self.assertIs(self.channels.attach("s", new), attachment)
        self.assertEqual(self.channels.connections, 1)
        self.assertEqual([code for code, _ in old.closed], [1000])
        await self.answered(new)
        self.assertEqual(old.messages, [])

    async def test_dismiss(self) -> None:
        """
        Clients can be sent away while the gateway still talks to the kernel.
        """
        self.channels.connect(self.info)
        kernel = self.kernel()
        await self.ready()
        client = FakeClient()
        self.channels.attach("s", client)
        self.channels.close_clients(1001, "bye")
        self.assertEqual(client.closed, [(1001, "bye")])
        self.channels.request_shutdown(False)
        await until(lambda: len(kernel.requests) == 2, "the request arrives")

    async def test_close(self) -> None:
        """
        At the end clients get the last words, then the reason; later calls do nothing.
        """
        self.open(PATIENT)
        self.channels.connect(self.info)
        kernel = self.kernel()
        await self.ready()
        client = FakeClient()
        attachment = self.channels.attach("s", client)
        kernel.publish("shutdown_reply", b"{}", {"restart": False})
        self.channels.close(1000, "Kernel shut down")
        await until(lambda: client.closed, "the client is closed")
        self.assertEqual(client.closed, [(1000, "Kernel shut down")])
        self.assertEqual(client.types(), ["shutdown_reply"])
        self.channels.close(1000, "again")
        self.channels.connect(self.info)
        self.channels.publish_status("dead")
        self.channels.request_interrupt()
        self.channels.disconnect("KernelDied", "it ended")
        self.request(attachment)
        self.assertEqual(len(client.closed), 1)

    async def test_a_client_that_lags(self) -> None:
        """
        Output pauses for a moment when every client lags, and goes on when one has caught up.
        """
        self.channels.connect(self.info)
        kernel = self.kernel()
        await self.ready()
        client = FakeClient()
        attachment = self.channels.attach("s", client)
        attachment.pause()
        text = "x" * 1_000_000
        for _ in range(10):
            kernel.publish("stream", b"{}", {"text": text})
        process = cast(Any, self.channels)._process
        await until(lambda: process.iopub._paused, "output pauses")
        attachment.resume()
        await until(lambda: len(client.messages) == 10, "everything arrives")
        self.assertFalse(process.iopub._paused)

    async def test_a_client_that_does_not_read_is_not_waited_for(self) -> None:
        """
        After a moment output is taken again, though no client has caught up.
        """
        self.channels.connect(self.info)
        kernel = self.kernel()
        await self.ready()
        attachment = self.channels.attach("s", FakeClient())
        attachment.pause()
        text = "x" * 1_000_000
        for _ in range(10):
            kernel.publish("stream", b"{}", {"text": text})
        kernel.publish("status", b"{}", {"execution_state": "idle"})
        count = len(self.observer.messages) + 11
        await until(lambda: len(self.observer.messages) >= count, "everything is taken")
