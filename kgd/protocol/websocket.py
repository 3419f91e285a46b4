"""
Jupyter's two framings of messages on a WebSocket, and how one is chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import attrs

from kgd.protocol import websocket_legacy as legacy
from kgd.protocol import websocket_v1 as v1
from kgd.protocol.messages import ClientMessage, Frame, KernelMessage


@attrs.frozen
class Framing:
    """
    One way to carry messages in WebSocket frames.

    :ivar subprotocol: The WebSocket subprotocol that selects it, or ``None``.
    :ivar encode: Encodes a message as a WebSocket frame.
    :ivar decode: Parses the payload of a frame, given whether it is binary; raises
        :py:exc:`kgd.errors.MalformedMessage`.
    """

    subprotocol: str | None
    encode: Callable[[KernelMessage], Frame]
    decode: Callable[[bytes, bool], ClientMessage]


LEGACY = Framing(None, legacy.encode, legacy.decode)
V1 = Framing(v1.SUBPROTOCOL, v1.encode, v1.decode)


def choose_framing(offered: Iterable[str], wanted: str | None = None) -> Framing:
    """
    Choose the framing of a connection.

    :param offered: The subprotocols that the client offers, in any order.
    :param wanted: The one that the operator wants; ``""`` accepts none, ``None`` any.
    """
    return V1 if v1.SUBPROTOCOL in offered and wanted != "" else LEGACY
