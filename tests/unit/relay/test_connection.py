"""
Verifying and parsing the messages of a kernel.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from kgd.errors import BadSignature, MalformedMessage
from kgd.protocol.messages import Buffer, Signer, wire_frames
from kgd.relay.connection import MessageVerifier

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
