"""
The gateway's side of one process of a kernel.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from kgd.errors import UNREADABLE
from kgd.protocol.connection import ConnectionInfo
from kgd.protocol.messages import Buffer, Outgoing, Signer
from kgd.relay.incoming import Reader
from kgd.relay.lost_ends import LostEnds
from kgd.relay.readiness import Probe
from kgd.relay.seeding import SeedRun
from kgd.relay.sockets import KernelSocket
from kgd.relay.wires import Wires


class _Sender(msgspec.Struct):
    session: str = ""


_decode_sender: Callable[[Buffer], _Sender] = msgspec.json.Decoder(_Sender).decode


class Line:
    """
    All that belongs to one process of the kernel.

    :ivar session: What the process writes into its messages' headers, once it has answered.
    """

    def __init__(self, connection: ConnectionInfo) -> None:
        self.connection = connection
        self.signer = Signer(connection.key, connection.signature_scheme)
        self.reader = Reader(self.signer)
        self.iopub: KernelSocket
        self.own: Wires
        self.ends: LostEnds
        self.probe: Probe | None = None
        self.seeding: SeedRun | None = None
        self.session: str | None = None
        self.ready = False

    def is_from_this_process(self, message: Outgoing) -> bool:
        """
        Whether a message can be from the process that this line was made for. When it has ended,
        its sockets connect to whoever listens in its place.
        """
        return self.session in (None, sender(message))


def sender(message: Outgoing) -> str:
    """
    :return: What the process that sent it writes into its messages' headers as its session.
    """
    try:
        return _decode_sender(message.parts[0]).session
    except UNREADABLE:
        return ""
