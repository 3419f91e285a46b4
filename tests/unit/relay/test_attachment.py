"""
A client's attachment to a kernel: what it passes on, queues, drops and logs.
"""

from __future__ import annotations

import errno
import json
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from kgd.interfaces import IAttachment, IClient
from kgd.protocol.messages import ClientMessage, Header, KernelMessage, MsgId, read_header
from kgd.relay.attachment import Attachment
from kgd.relay.connection import ClientSockets
from kgd.relay.limits import RELAY_LIMITS, RelayLimits
from kgd.settings import Settings
from kgd.testing.kernel_channels import FakeClient


def request(msg_id: str, channel: str = "shell", size: int = 0) -> ClientMessage:
    """
    A client's request.
    """
    raw = json.dumps({"msg_type": "execute_request", "msg_id": msg_id}).encode()
    return ClientMessage(channel, read_header(raw), (raw, b"{}", b"{}", b"x" * size))


def message(msg_type: str, size: int = 10, channel: str = "iopub") -> KernelMessage:
    """
    A kernel's message of about this size.
    """
    raw = json.dumps({"msg_type": msg_type, "msg_id": "k"}).encode()
    parent = b'{"msg_id": "r"}'
    header = Header(msg_type="execute_request", msg_id="r")
    return KernelMessage(channel, read_header(raw), (raw, parent, b"{}", b"x" * size), (), header)


class RecordingSockets:
    """
    Remembers what was sent to the kernel.
    """

    def __init__(self) -> None:
        self.sent: list[MsgId] = []
        self.backlog = 0
        self.opened = 0
        self.error: Exception | None = None

    def send(self, request: ClientMessage) -> None:
        """
        Keep the request's id.
        """
        if self.error is not None:
            raise self.error
        self.sent.append(request.msg_id)


class AttachmentTests(SynchronousTestCase):
    """
    One client on one kernel.
    """

    def setUp(self) -> None:
        self.client = FakeClient()
        self.forgotten: list[Attachment] = []
        self.away: list[Attachment] = []
        self.is_lagging: list[bool] = []
        self.clock = Clock()
        self.make()
        self.client_sockets = RecordingSockets()

    def make(
        self, *, durable: bool = True, limits: RelayLimits = RELAY_LIMITS, **settings: Any
    ) -> None:
        """
        Make another attachment, with other settings.
        """
        self.attachment = Attachment(
            self.clock,
            Settings(**settings),
            "s",
            self.client,
            durable=durable,
            on_detached=self.away.append,
            on_removed=self.forgotten.append,
            on_lag_changed=lambda: self.is_lagging.append(self.attachment.is_lagging),
            limits=limits,
        )

    def connect(self) -> None:
        """
        The kernel begins to listen.
        """
        self.attachment.connect(cast(ClientSockets, self.client_sockets))

    def test_interfaces(self) -> None:
        """
        It provides what it promises.
        """
        verifyObject(IAttachment, self.attachment)
        verifyObject(IClient, self.client)

    def test_requests_wait_for_the_kernel(self) -> None:
        """
        What is sent before the kernel listens reaches it later, in order, before what follows.
        """
        self.attachment.send(request("a"))
        self.attachment.send(request("b", "control"))
        self.connect()
        self.attachment.send(request("c", "stdin"))
        self.assertEqual(self.client_sockets.sent, ["a", "b", "c"])

    def test_requests_wait_during_a_restart(self) -> None:
        """
        Between two processes requests wait for the second.
        """
        self.connect()
        self.assertIs(self.attachment.disconnect(), self.client_sockets)
        self.assertIsNone(self.attachment.disconnect())
        self.attachment.send(request("a"))
        self.client_sockets = RecordingSockets()
        self.connect()
        self.assertEqual(self.client_sockets.sent, ["a"])

    def test_promised_sockets(self) -> None:
        """
        A client that has used the kernel, or that waits for it, will open sockets to the next
        process.
        """
        self.assertEqual(self.attachment.promised_sockets, 0)
        self.attachment.send(request("a"))
        self.assertEqual(self.attachment.promised_sockets, 2)
        self.connect()
        self.assertEqual(self.attachment.promised_sockets, 0)
        self.client_sockets.opened = 3
        self.attachment.disconnect()
        self.assertEqual(self.attachment.promised_sockets, 3)

    def test_too_many_open_files(self) -> None:
        """
        A client whose request would need one more file than there may be is told to come again.
        """
        for waiting in (False, True):
            self.setUp()
            self.client_sockets.error = OSError(errno.EMFILE, "Too many open files")
            if waiting:
                self.attachment.send(request("a"))
                self.attachment.send(request("b"))
            self.connect()
            self.attachment.send(request("c"))
            ((code, reason),) = self.client.closed
            self.assertEqual(code, 1013)
            self.assertIn("open files", reason)
            self.assertEqual(self.forgotten, [self.attachment])

    def test_channels_without_requests(self) -> None:
        """
        A request on iopub, or on a channel that does not exist, is ignored; the client stays.
        """
        self.connect()
        for channel in ("iopub", "foo", "", "hb"):
            self.attachment.send(request("a", channel))
        self.assertEqual((self.client_sockets.sent, self.client.closed), ([], []))

    def test_waiting_requests_are_bounded(self) -> None:
        """
        A client that sends and sends to a kernel that does not run has to wait until it does;
        nothing is lost.
        """
        self.make(limits=RelayLimits(max_unsent_requests=4000))
        paused = []
        for msg_id in "abc":
            self.attachment.send(request(msg_id, size=400))
            paused.append(self.client.requests_paused)
        # Each has 1 KiB of overhead, too.
        self.assertEqual(paused, [False, False, True])
        self.connect()
        self.assertFalse(self.client.requests_paused)
        self.assertEqual((self.client_sockets.sent, self.client.closed), (["a", "b", "c"], []))

    def test_one_large_request(self) -> None:
        """
        A request alone may be larger than what may wait.
        """
        self.make(limits=RelayLimits(max_unsent_requests=1000))
        self.attachment.send(request("a", size=100_000))
        self.connect()
        self.assertEqual((self.client_sockets.sent, self.client.closed), (["a"], []))

    def test_a_kernel_that_takes_nothing(self) -> None:
        """
        So has one whose requests pile up before a kernel that runs, until a quarter is left.
        """
        self.make(limits=RelayLimits(max_unsent_requests=1000))
        self.connect()
        self.client_sockets.backlog = 1001
        self.attachment.send(request("a"))
        paused = [self.client.requests_paused]
        for self.client_sockets.backlog in (1000, 251, 250):
            self.attachment.requests_taken()
            paused.append(self.client.requests_paused)
        self.assertEqual(paused, [True, True, True, False])

    def test_a_kernel_that_ends(self) -> None:
        """
        What waited before a process goes with it, so the client need not wait for its successor.
        """
        self.make(limits=RelayLimits(max_unsent_requests=1000))
        self.connect()
        self.client_sockets.backlog = 1001
        self.attachment.send(request("a"))
        self.attachment.disconnect()
        self.assertFalse(self.client.requests_paused)

    def test_coming_back_does_not_help(self) -> None:
        """
        A client that leaves and comes back, or is replaced, still has to wait.
        """
        self.make(limits=RelayLimits(max_unsent_requests=1000))
        self.attachment.send(request("a", size=1000))
        self.attachment.detach(self.client)
        again = FakeClient()
        self.attachment.replace(again)
        self.assertTrue(again.requests_paused)
        self.connect()
        self.assertFalse(again.requests_paused)

    def test_leaving_while_waiting(self) -> None:
        """
        When the kernel takes the requests of a client that is away, nobody is told.
        """
        self.make(limits=RelayLimits(max_unsent_requests=1000))
        self.attachment.send(request("a", size=1000))
        self.attachment.detach(self.client)
        self.connect()
        self.assertEqual(self.client_sockets.sent, ["a"])
        self.attachment.replace(FakeClient())
        self.assertFalse(self.attachment._client.requests_paused)  # type: ignore[union-attr]

    def test_requests_after_the_end(self) -> None:
        """
        What a client sends that has been closed is ignored.
        """
        self.connect()
        self.attachment.close(1000, "over")
        self.attachment.send(request("a", size=10_000_000))
        self.assertEqual((self.client_sockets.sent, self.client.requests_paused), ([], False))

    def test_nothing_published_before_the_kernel_listens(self) -> None:
        """
        Output from before the client could have asked for anything is not for it.
        """
        self.attachment.publish(message("status"))
        self.connect()
        self.attachment.publish(message("stream"))
        self.assertEqual(self.client.types(), ["stream"])

    def test_published_during_a_restart(self) -> None:
        """
        A client that has been there before sees all that the next process publishes.
        """
        self.connect()
        self.attachment.disconnect()
        self.attachment.publish(message("status"))
        self.assertEqual(self.client.types(), ["status"])

    def test_paused(self) -> None:
        """
        While the client does not read, messages wait; then they come in order.
        """
        self.connect()
        self.attachment.pause()
        for kind in ("status", "stream", "error"):
            self.attachment.publish(message(kind))
        self.assertEqual(self.client.types(), [])
        self.attachment.resume()
        self.attachment.publish(message("comm_msg"))
        self.assertEqual(self.client.types(), ["status", "stream", "error", "comm_msg"])

    def test_paused_again_while_resuming(self) -> None:
        """
        A client that is full again in the middle of the queue gets the rest later.
        """
        self.connect()
        self.attachment.pause()
        for _ in range(3):
            self.attachment.publish(message("stream"))
        deliver = self.client.deliver

        def full(each: KernelMessage) -> None:
            deliver(each)
            self.attachment.pause()

        cast(Any, self.client).deliver = full
        self.attachment.resume()
        self.assertEqual(len(self.client.messages), 1)
        self.attachment.resume()
        self.assertEqual(len(self.client.messages), 2)

    def test_username(self) -> None:
        """
        Who says what the gateway says itself is an option.
        """
        for settings, expected in ((Settings(), "kgd"), (Settings(username="them"), "them")):
            self.make(username=settings.username)
            self.attachment.deliver_from_gateway("status", {"execution_state": "dead"})
            header = json.loads(bytes(self.client.messages[-1].parts[0]))
            self.assertEqual(header["username"], expected)

    def test_output_beyond_the_bound_is_dropped_and_said(self) -> None:
        """
        Past the bound, output is dropped, but no status, reply, error or comm message; where it
        is missing, one stderr message says how much.
        """
        self.make(max_client_backlog=3000)
        self.connect()
        self.attachment.pause()
        for kind in ("stream", "stream", "stream", "display_data", "execute_result"):
            self.attachment.publish(message(kind, 600))
        self.attachment.publish(message("status"))
        self.attachment.publish(message("error"))
        self.attachment.deliver(message("execute_reply", channel="shell"))
        self.attachment.resume()
        self.assertEqual(
            self.client.types(), ["stream", "stream", "stream", "status", "error", "execute_reply"]
        )
        notice = self.client.messages[2]
        content = json.loads(bytes(notice.parts[3]))
        self.assertEqual(content["name"], "stderr")
        self.assertIn("3 messages", content["text"])
        self.assertEqual(bytes(notice.parts[1]), b'{"msg_id": "r"}', "it is about that request")
        self.attachment.pause()
        self.attachment.resume()
        self.assertEqual(len(self.client.messages), 6, "it is said once")

    def test_what_must_not_be_dropped_is_bounded_too(self) -> None:
        """
        A client that does not even take status messages is closed and told why.
        """
        self.make(max_client_backlog=3000)
        self.connect()
        self.attachment.pause()
        for _ in range(5):
            self.attachment.publish(message("comm_msg", 600))
        self.assertEqual([code for code, _ in self.client.closed], [1008])
        self.assertEqual(self.forgotten, [self.attachment])

    def test_one_large_message(self) -> None:
        """
        A message alone may be larger than all that may wait, whether the client lags or is away.
        """
        for kind in ("display_data", "comm_msg"):
            for away in (False, True):
                self.client = FakeClient()
                self.make(max_client_backlog=1000, replay_bytes=1000)
                self.connect()
                if away:
                    self.attachment.detach(self.client)
                else:
                    self.attachment.pause()
                self.attachment.publish(message(kind, 100_000))
                self.attachment.publish(message("status"))
                again = FakeClient()
                self.attachment.replace(again)
                self.assertEqual(again.types(), [kind, "status"])
        self.assertEqual(self.forgotten, [])

    def test_lagging(self) -> None:
        """
        A client with much waiting lags, until about half of it is gone.
        """
        self.make(limits=RelayLimits(lag_threshold=5000))
        self.connect()
        self.attachment.pause()
        for _ in range(4):
            self.attachment.publish(message("stream", 400))
        self.assertEqual(self.is_lagging, [True])
        self.attachment.resume()
        self.assertEqual(self.is_lagging, [True, False])

    def test_replaced(self) -> None:
        """
        A newcomer gets what its predecessor had not taken; that one is closed and told why, and
        its going changes nothing.
        """
        self.connect()
        self.attachment.pause()
        self.attachment.publish(message("stream"))
        newcomer = FakeClient()
        self.attachment.replace(newcomer)
        self.assertEqual(newcomer.types(), ["stream"])
        self.assertEqual(self.client.closed, [(1000, "Replaced by a newer connection")])
        self.attachment.detach(self.client)
        self.assertEqual((self.away, self.forgotten), ([], []))
        self.attachment.detach(newcomer)
        self.assertEqual((self.away, self.forgotten), ([self.attachment], []))

    def test_end(self) -> None:
        """
        At the end, the client gets what is queued, then the reason.
        """
        self.connect()
        self.attachment.pause()
        self.attachment.publish(message("stream"))
        self.attachment.close(1000, "Kernel shut down")
        self.assertEqual(self.client.types(), ["stream"])
        self.assertEqual(self.client.closed, [(1000, "Kernel shut down")])

    # --- away ---

    def test_away_and_back(self) -> None:
        """
        What comes while the client is away, replies too, reaches it when it is back, in order and
        before what follows.
        """
        self.connect()
        self.attachment.send(request("a"))
        self.attachment.detach(self.client)
        self.assertFalse(self.attachment.is_present)
        self.attachment.publish(message("stream"))
        self.attachment.deliver_reply(message("execute_reply", channel="shell"))
        self.attachment.publish(message("status"))
        newcomer = FakeClient()
        self.attachment.replace(newcomer)
        self.attachment.publish(message("error"))
        self.assertEqual(newcomer.types(), ["stream", "execute_reply", "status", "error"])
        self.assertEqual((self.client.types(), self.client.closed), ([], []))
        self.clock.advance(1000)
        self.assertEqual(self.forgotten, [], "no client is away")

    def test_what_did_not_arrive(self) -> None:
        """
        What was on its way to a client that turned out to be dead comes again, before the rest;
        whether another takes its place or it comes back.
        """
        for gone in (False, True):
            self.client = FakeClient()
            self.make()
            self.connect()
            self.attachment.publish(message("stream"))
            self.attachment.pause()
            self.attachment.publish(message("error"))
            self.client.undelivered = [self.client.messages[0]]
            if gone:
                self.attachment.detach(self.client)
            newcomer = FakeClient()
            self.attachment.replace(newcomer)
            self.assertEqual(newcomer.types(), ["stream", "error"], f"{gone=}")

    def test_away_for_too_long(self) -> None:
        """
        After a while the client is not expected any more.
        """
        self.make(replay_seconds=60.0)
        self.attachment.detach(self.client)
        self.clock.advance(59)
        self.assertEqual(self.forgotten, [])
        self.clock.advance(1)
        self.assertEqual(self.forgotten, [self.attachment])
        self.attachment.publish(message("stream"))

    def test_nameless(self) -> None:
        """
        A client that has no name to come back under is forgotten at once.
        """
        self.make(durable=False)
        self.attachment.detach(self.client)
        self.assertEqual((self.away, self.forgotten), ([], [self.attachment]))

    def test_nothing_is_kept_unless_wanted(self) -> None:
        """
        So is every client when the operator does not want messages to be kept.
        """
        self.make(buffer_offline_messages=False)
        self.attachment.detach(self.client)
        self.assertEqual(self.forgotten, [self.attachment])

    def test_away_bounds(self) -> None:
        """
        What is kept is bounded in bytes and in messages; beyond that, output is dropped and
        counted, and everything else is kept.
        """
        bounds: dict[str, Any]
        for bounds in ({"replay_messages": 4}, {"replay_bytes": 3000}):
            self.client = FakeClient()
            self.make(**cast(Any, bounds))
            self.connect()
            self.attachment.detach(self.client)
            for _ in range(10):
                self.attachment.publish(message("stream", 600))
            self.attachment.publish(message("status"))
            newcomer = FakeClient()
            self.attachment.replace(newcomer)
            self.assertEqual(newcomer.types()[-2:], ["stream", "status"])
            kept = len(newcomer.messages) - 2
            text = json.loads(bytes(newcomer.messages[-2].parts[3]))["text"]
            self.assertIn(f"kgd: {10 - kept} messages", text)
            self.assertIn("--replay-bytes", text)
            self.assertEqual(self.forgotten, [])

    def test_away_and_too_much(self) -> None:
        """
        When even what must not be dropped is too much, the client is not expected any more.
        """
        self.make(replay_messages=2)
        self.connect()
        self.attachment.detach(self.client)
        for _ in range(5):
            self.attachment.publish(message("comm_msg"))
        self.assertEqual(self.forgotten, [self.attachment])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    # --- what may pass ---

    def test_allowed_message_types(self) -> None:
        """
        A message of a type that is not allowed is ignored; the client stays.
        """
        self.make(allowed_message_types=frozenset({"kernel_info_request"}))
        self.connect()
        self.attachment.send(request("a"))
        self.assertEqual((self.client_sockets.sent, self.client.closed), ([], []))
        self.make(allowed_message_types=frozenset({"execute_request"}))
        self.connect()
        self.attachment.send(request("a"))
        self.assertEqual(self.client_sockets.sent, ["a"])

    def test_rate_limit(self) -> None:
        """
        Output beyond the rate is withheld, and said to be.
        """
        self.make(limit_rate=True, iopub_msg_rate_limit=2.0, rate_limit_window=1.0)
        self.connect()
        for _ in range(5):
            self.attachment.publish(message("stream"))
        self.attachment.publish(message("status"))
        self.assertEqual(self.client.types(), ["stream"] * 3 + ["status"])
        warning = self.client.messages[2]
        text = json.loads(bytes(warning.parts[3]))["text"]
        self.assertTrue(text.startswith("IOPub message rate exceeded."))
        self.assertEqual(bytes(warning.parts[1]), b'{"msg_id": "r"}')

    def test_no_rate_limit_on_what_is_kept(self) -> None:
        """
        A replay is not cut short.
        """
        self.make(limit_rate=True, iopub_msg_rate_limit=2.0, rate_limit_window=1.0)
        self.connect()
        self.attachment.detach(self.client)
        for _ in range(5):
            self.attachment.publish(message("stream"))
        newcomer = FakeClient()
        self.attachment.replace(newcomer)
        self.assertEqual(newcomer.types(), ["stream"] * 5)

    # --- requests without an answer ---

    def test_outstanding(self) -> None:
        """
        Requests count as outstanding from when they leave until they are answered.
        """
        self.attachment.send(request("r"))
        self.assertEqual(len(self.attachment.pending_requests), 0)
        self.connect()
        self.assertEqual(len(self.attachment.pending_requests), 1)
        self.attachment.deliver_reply(message("input_request", channel="stdin"))
        self.assertEqual(len(self.attachment.pending_requests), 1)
        self.attachment.deliver_reply(message("execute_reply", channel="shell"))
        self.assertEqual(len(self.attachment.pending_requests), 0)
        self.assertEqual(self.client.types(), ["input_request", "execute_reply"])


class ReconnectionProperties(SynchronousTestCase):
    """
    Whenever clients come and go, read or do not: together they get every message once, in order.
    """

    @given(
        st.lists(
            st.sampled_from(["publish", "answer", "leave", "come", "pause", "resume"]),
            max_size=60,
        )
    )
    def test_nothing_is_lost(self, steps: list[str]) -> None:
        """
        Every message reaches one client, in the order in which the kernel sent it.
        """
        received: list[MsgId] = []

        class Client(FakeClient):
            def deliver(self, each: KernelMessage) -> None:
                received.append(each.header.msg_id)

        client = Client()
        clock = Clock()
        attachment = Attachment(
            clock,
            Settings(),
            "s",
            client,
            durable=True,
            on_detached=lambda _: None,
            on_removed=lambda _: None,
            on_lag_changed=lambda: None,
        )
        attachment.connect(cast(ClientSockets, RecordingSockets()))
        sent: list[str] = []
        for step in steps:
            if step in ("publish", "answer"):
                msg_id = str(len(sent))
                sent.append(msg_id)
                raw = json.dumps({"msg_type": "stream", "msg_id": msg_id}).encode()
                channel = "iopub" if step == "publish" else "shell"
                each = KernelMessage(channel, read_header(raw), (raw, b"{}", b"{}", b"{}"))
                attachment.publish(each) if step == "publish" else attachment.deliver_reply(each)
            elif step == "leave":
                attachment.detach(client)
            elif step == "come":
                client = Client()
                attachment.replace(client)
            elif attachment.is_present:
                attachment.pause() if step == "pause" else attachment.resume()
        client = Client()
        attachment.replace(client)
        self.assertEqual(received, sent)
