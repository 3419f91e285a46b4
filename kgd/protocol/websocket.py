"""
The two ways in which a WebSocket carries Jupyter messages.
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
    :ivar subprotocol: The WebSocket subprotocol that stands for it, if one does.
    :ivar encode: Makes a whole WebSocket frame of a message.
    :ivar decode: Takes a frame's payload, and whether it is binary, apart; raises
        :py:exc:`kgd.errors.MalformedMessage`.
    """

    subprotocol: str | None
    encode: Callable[[KernelMessage], Frame]
    decode: Callable[[bytes, bool], ClientMessage]


LEGACY = Framing(None, legacy.encode, legacy.decode)
V1 = Framing(v1.SUBPROTOCOL, v1.encode, v1.decode)


def choose_framing(offered: Iterable[str], wanted: str | None = None) -> Framing:
    """
    :param offered: The subprotocols that the client offers, in any order.
    :param wanted: The one that the operator wants; ``""`` agrees to none, ``None`` to any.
    """
    return V1 if v1.SUBPROTOCOL in offered and wanted != "" else LEGACY
