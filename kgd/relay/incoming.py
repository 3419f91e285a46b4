"""
From ZeroMQ frames to a message for clients.
"""

from __future__ import annotations

from collections.abc import Sequence

from kgd.errors import MalformedMessage
from kgd.protocol.messages import (
    DELIMITER,
    NO_PARENT,
    Buffer,
    Header,
    Outgoing,
    Signer,
    read_header,
)


class Reader:
    """
    Takes the messages of one kernel process apart and verifies them.
    """

    def __init__(self, signer: Signer) -> None:
        self._signer = signer
        # In a flood, all messages have the same parent.
        self._parent_part: Buffer = b"{}"
        self._parent = NO_PARENT

    def read(self, channel: str, frames: Sequence[Buffer]) -> Outgoing:
        """
        :raises MalformedMessage: unless the frames are a signed message.
        """
        try:
            at = frames.index(DELIMITER)
        except ValueError:
            raise MalformedMessage("a message from the kernel has no delimiter") from None
        if len(frames) < at + 6:
            raise MalformedMessage("a message from the kernel has too few parts")
        parts = (bytes(frames[at + 2]), frames[at + 3], frames[at + 4], frames[at + 5])
        self._signer.verify(bytes(frames[at + 1]), parts)
        return Outgoing(
            channel,
            read_header(parts[0]),
            parts,
            frames[at + 6 :],
            self._parent_of(parts[1]),
        )

    def _parent_of(self, part: Buffer) -> Header:
        if part != self._parent_part:
            self._parent = NO_PARENT if bytes(part).strip() == b"{}" else read_header(part)
            self._parent_part = part
        return self._parent
