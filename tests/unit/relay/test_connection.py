"""
Verifying and parsing the messages of a kernel.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from kgd.errors import BadSignature, MalformedMessage
from kgd.protocol.messages import Buffer, ClientMessage, MsgId, Signer, read_header, wire_frames
from kgd.relay.connection import MessageVerifier, Shells, session_of
from kgd.relay.limits import RelayLimits

HEADER = b'{"msg_type": "stream", "msg_id": "k-1"}'
PARENT = b'{"msg_type": "execute_request", "msg_id": "c-1"}'


class MessageVerifierTests(SynchronousTestCase):
    """
    From frames to messages.
    """

    def setUp(self) -> None:
        self.signer = Signer(b"key")
        self.verifier = MessageVerifier(self.signer)

    def frames(self, *buffers: bytes, parent: bytes = PARENT) -> list[Buffer]:
        """
        A signed message.
        """
        return wire_frames(self.signer, (HEADER, parent, b"{}", b"{}"), buffers)

    def test_read(self) -> None:
        """
        The parts, the buffers and both headers are found behind any number of topics.
        """
        for prefix in ([], [b"topic"], [b"a", b"b"]):
            message = self.verifier.read("iopub", [*prefix, *self.frames(b"one", b"")])
            self.assertEqual(message.parts, (HEADER, PARENT, b"{}", b"{}"))
            self.assertEqual(list(message.buffers), [b"one", b""])
            self.assertEqual(message.header.msg_type, "stream")
            self.assertEqual((message.parent.msg_type, message.parent.msg_id),
                             ("execute_request", "c-1"))  # fmt: skip

    def test_parents(self) -> None:
        """
        Each message has its own parent, or none.
        """
        other = b'{"msg_type": "comm_msg", "msg_id": "c-2"}'
        for parent, expected in (
            (PARENT, "execute_request"),
            (b"{}", ""),
            (other, "comm_msg"),
            (PARENT, "execute_request"),
        ):
            message = self.verifier.read("iopub", self.frames(parent=parent))
            self.assertEqual(message.parent.msg_type, expected)

    def test_odd_parents(self) -> None:
        """
        Of a parent, nothing is needed: a message is passed on whatever it belongs to.
        """
        parents: list[tuple[bytes, str, MsgId]] = [
            (b"{}", "", ""),
            (b" { } ", "", ""),
            (b"null", "", ""),
            (b"[]", "", ""),
            (b'""', "", ""),
            (b"5", "", ""),
            (b"NaN", "", ""),
            (b'{"msg_id": "c-3"}', "", "c-3"),
            (b'{"msg_id": 7, "msg_type": "x", "date": 1.5, "session": {}}', "x", 7),
            (b'{"msg_id": "a", "msg_type": null, "version": 5}', "", "a"),
            (b'{"msg_id": "a", "msg_type": ["x"], "date": []}', "", "a"),
            (b'{"msg_id": "a", "msg_type": "x", "date": NaN}', "x", "a"),
            (b'{"msg_id": "a", "msg_type": "x", "username": "\\ud83d"}', "x", "a"),
            (b'{"msg_id": "a", "msg_type": "x", "username": "\xff"}', "x", "a"),
            (b'{"msg_id": "\xff", "msg_type": "x"}', "x", "\ufffd"),
        ]
        for raw, msg_type, msg_id in parents:
            message = self.verifier.read("iopub", self.frames(parent=raw))
            self.assertEqual((message.parent.msg_type, message.parent.msg_id), (msg_type, msg_id))
            self.assertEqual(message.parts[1], raw)
        for raw in (b"", b"{", b"garbage"):
            self.assertRaises(
                MalformedMessage, self.verifier.read, "iopub", self.frames(parent=raw)
            )

    def test_sessions(self) -> None:
        """
        The session of a message is compared as it is, whatever its type.
        """
        for session in (b'"s"', b"7", b"null", b'{"a": 1}'):
            header = b'{"msg_type": "x", "session": %b}' % session
            frames = wire_frames(self.signer, (header, PARENT, b"{}", b"{}"))
            self.assertEqual(session_of(self.verifier.read("iopub", frames)), session)
        self.assertEqual(session_of(self.verifier.read("iopub", self.frames())), b"")

    def test_forged(self) -> None:
        """
        A message that another key signed is not passed on.
        """
        frames = wire_frames(Signer(b"other"), (HEADER, PARENT, b"{}", b"{}"))
        self.assertRaises(BadSignature, self.verifier.read, "iopub", frames)

    def test_malformed(self) -> None:
        """
        Too few frames, no delimiter, no header: malformed.
        """
        for frames in ([], [b"x"], self.frames()[:5], self.frames()[1:]):
            self.assertRaises(MalformedMessage, self.verifier.read, "iopub", frames)
        frames = wire_frames(self.signer, (b"[]", PARENT, b"{}", b"{}"))
        self.assertRaises(MalformedMessage, self.verifier.read, "iopub", frames)


def request(header: bytes) -> ClientMessage:
    """
    A request on control.
    """
    return ClientMessage("control", read_header(header), (header, b"{}", b"{}", b"{}"))


class ShellsTests(SynchronousTestCase):
    """
    Which shell works on a request.
    """

    def test_subshells(self) -> None:
        """
        The header tells it, whatever the type of what it says.
        """
        shells = Shells()
        for subshell, expected in (
            (b'"one"', b'"one"'),
            (b'"control"', b'"control"'),
            (b"7", b"7"),
            (b"[1]", b"[1]"),
            (b"null", Shells.MAIN),
            (b'""', Shells.MAIN),
        ):
            header = b'{"msg_type": "x", "msg_id": "a", "subshell_id": %b}' % subshell
            self.assertEqual(shells.of(read_header(header)), expected)
        self.assertEqual(shells.of(read_header(PARENT)), Shells.MAIN)

    def test_control(self) -> None:
        """
        What was sent on control is known by its id and its type: some clients use one id for all.
        """
        shells = Shells(RelayLimits(max_idle_awaited=2))
        sent = [b'{"msg_type": "usage_request", "msg_id": %d}' % number for number in range(3)]
        for header in sent:
            shells.sent_on_control(request(header))
        self.assertEqual(
            [shells.of(read_header(header)) for header in sent],
            [Shells.MAIN, Shells.CONTROL, Shells.CONTROL],
            "the latest are remembered",
        )
        same_id = read_header(b'{"msg_type": "execute_request", "msg_id": 2}')
        self.assertEqual(shells.of(same_id), Shells.MAIN)
