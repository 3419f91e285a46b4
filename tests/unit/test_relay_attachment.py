"""
An attachment: what it keeps, drops and says.
"""

from __future__ import annotations

import json
from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from kgd.interfaces import IAttachment, IClient
from kgd.protocol.messages import Outgoing, Request, read_header
from kgd.relay import attachment as module
from kgd.relay.attachment import Attachment
from kgd.relay.wires import Wires


def request(msg_id: str, channel: str = "shell", size: int = 0) -> Request:
    """
    A client's request.
    """
    raw = json.dumps({"msg_type": "execute_request", "msg_id": msg_id}).encode()
    return Request(channel, read_header(raw), (raw, b"{}", b"{}", b"x" * size))


def message(msg_type: str, size: int = 10, channel: str = "iopub") -> Outgoing:
    """
    A kernel's message of about this size.
    """
    raw = json.dumps({"msg_type": msg_type, "msg_id": "k"}).encode()
    return Outgoing(channel, read_header(raw), (raw, b"{}", b"{}", b"x" * size))


@implementer(IClient)
class RecordingClient:
    """
    Remembers what it got.
    """

    def __init__(self) -> None:
        self.got: list[Outgoing] = []
        self.closed: list[tuple[int, str]] = []

    def deliver(self, message: Outgoing) -> None:
        """
        Keep the message.
        """
        self.got.append(message)

    def close(self, code: int, reason: str) -> None:
        """
        Keep the reason.
        """
        self.closed.append((code, reason))

    @property
    def types(self) -> list[str]:
        """
        What kinds of messages came.
        """
        return [each.header.msg_type for each in self.got]


class RecordingWires:
    """
    Remembers what was sent to the kernel.
    """

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.backlog = 0

    def send(self, request: Request) -> None:
        """
        Keep the request's id.
        """
        self.sent.append(request.msg_id)


class AttachmentTests(SynchronousTestCase):
    """
    One client on one kernel.
    """

    def setUp(self) -> None:
        self.client = RecordingClient()
        self.forgotten: list[Attachment] = []
        self.lags: list[bool] = []
        self.attachment = Attachment(
            "s",
            self.client,
            self.forgotten.append,
            lambda: self.lags.append(self.attachment.lags),
        )
        self.wires = RecordingWires()

    def connect(self) -> None:
        """
        The kernel begins to listen.
        """
        self.attachment.connect(cast(Wires, self.wires))

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
        self.assertEqual(self.wires.sent, ["a", "b", "c"])

    def test_requests_wait_during_a_restart(self) -> None:
        """
        Between two processes requests wait for the second.
        """
        self.connect()
        self.assertIs(self.attachment.disconnect(), self.wires)
        self.assertIsNone(self.attachment.disconnect())
        self.attachment.send(request("a"))
        self.wires = RecordingWires()
        self.connect()
        self.assertEqual(self.wires.sent, ["a"])

    def test_channels_without_requests(self) -> None:
        """
        A request on iopub, or on a channel that does not exist, is ignored; the client stays.
        """
        self.connect()
        for channel in ("iopub", "foo", "", "hb"):
            self.attachment.send(request("a", channel))
        self.assertEqual((self.wires.sent, self.client.closed), ([], []))

    def test_waiting_requests_are_bounded(self) -> None:
        """
        A client that sends and sends to a kernel that does not run is closed and told why.
        """
        self.patch(module, "INCOMING_BOUND", 1000)
        for _ in range(3):
            self.attachment.send(request("a", size=400))
        ((code, reason),) = self.client.closed
        self.assertEqual(code, 1013)
        self.assertIn("kernel", reason)
        self.assertEqual(self.forgotten, [self.attachment])

    def test_a_kernel_that_takes_nothing(self) -> None:
        """
        So is one whose requests pile up before a kernel that runs.
        """
        self.patch(module, "INCOMING_BOUND", 1000)
        self.connect()
        self.wires.backlog = 1001
        self.attachment.send(request("a"))
        self.assertEqual([code for code, _ in self.client.closed], [1013])

    def test_nothing_published_before_the_kernel_listens(self) -> None:
        """
        Output from before the client could have asked for anything is not for it.
        """
        self.attachment.publish(message("status"))
        self.connect()
        self.attachment.publish(message("stream"))
        self.assertEqual(self.client.types, ["stream"])

    def test_published_during_a_restart(self) -> None:
        """
        A client that has been there before sees all that the next process publishes.
        """
        self.connect()
        self.attachment.disconnect()
        self.attachment.publish(message("status"))
        self.assertEqual(self.client.types, ["status"])

    def test_paused(self) -> None:
        """
        While the client does not read, messages wait; then they come in order.
        """
        self.connect()
        self.attachment.pause()
        for kind in ("status", "stream", "error"):
            self.attachment.publish(message(kind))
        self.assertEqual(self.client.types, [])
        self.attachment.resume()
        self.attachment.publish(message("comm_msg"))
        self.assertEqual(self.client.types, ["status", "stream", "error", "comm_msg"])

    def test_paused_again_while_resuming(self) -> None:
        """
        A client that is full again in the middle of the queue gets the rest later.
        """
        self.connect()
        self.attachment.pause()
        for _ in range(3):
            self.attachment.publish(message("stream"))
        deliver = self.client.deliver

        def full(each: Outgoing) -> None:
            deliver(each)
            self.attachment.pause()

        cast(Any, self.client).deliver = full
        self.attachment.resume()
        self.assertEqual(len(self.client.got), 1)
        self.attachment.resume()
        self.assertEqual(len(self.client.got), 2)

    def test_output_beyond_the_bound_is_dropped_and_said(self) -> None:
        """
        Past the bound, output is dropped, but no status, reply, error or comm message; when the
        client reads again, one stderr message tells it how much is missing.
        """
        self.patch(module, "OUTGOING_BOUND", 1000)
        self.connect()
        self.attachment.pause()
        for kind in ("stream", "stream", "stream", "display_data", "execute_result"):
            self.attachment.publish(message(kind, 600))
        self.attachment.publish(message("status"))
        self.attachment.publish(message("error"))
        self.attachment.deliver(message("execute_reply", channel="shell"))
        self.attachment.resume()
        self.assertEqual(
            self.client.types, ["stream", "stream", "status", "error", "execute_reply", "stream"]
        )
        content = json.loads(bytes(self.client.got[-1].parts[3]))
        self.assertEqual(content["name"], "stderr")
        self.assertIn("3 messages", content["text"])
        self.attachment.pause()
        self.attachment.resume()
        self.assertEqual(len(self.client.got), 6, "it is said once")

    def test_what_must_not_be_dropped_is_bounded_too(self) -> None:
        """
        A client that does not even take status messages is closed and told why.
        """
        self.patch(module, "OUTGOING_BOUND", 1000)
        self.connect()
        self.attachment.pause()
        for _ in range(6):
            self.attachment.publish(message("comm_msg", 600))
        self.assertEqual([code for code, _ in self.client.closed], [1008])
        self.assertEqual(self.forgotten, [self.attachment])

    def test_lagging(self) -> None:
        """
        A client with much waiting lags, until about half of it is gone.
        """
        self.patch(module, "LAG", 1000)
        self.connect()
        self.attachment.pause()
        for _ in range(4):
            self.attachment.publish(message("stream", 400))
        self.assertEqual(self.lags, [True])
        self.attachment.resume()
        self.assertEqual(self.lags, [True, False])

    def test_replaced(self) -> None:
        """
        A newcomer gets what its predecessor had not taken; that one is closed and told why, and
        its going changes nothing.
        """
        self.connect()
        self.attachment.pause()
        self.attachment.publish(message("stream"))
        newcomer = RecordingClient()
        self.attachment.replace(newcomer)
        self.assertEqual(newcomer.types, ["stream"])
        self.assertEqual(self.client.closed, [(1000, "Replaced by a newer connection")])
        self.attachment.detach(self.client)
        self.assertEqual(self.forgotten, [])
        self.attachment.detach(newcomer)
        self.assertEqual(self.forgotten, [self.attachment])

    def test_end(self) -> None:
        """
        At the end, the client gets what is queued, then the reason.
        """
        self.connect()
        self.attachment.pause()
        self.attachment.publish(message("stream"))
        self.attachment.end(1000, "Kernel shut down")
        self.assertEqual(self.client.types, ["stream"])
        self.assertEqual(self.client.closed, [(1000, "Kernel shut down")])
