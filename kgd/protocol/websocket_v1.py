"""
The WebSocket framing ``v1.kernel.websocket.jupyter.org``: the parts of a message as they are,
after a table of offsets.

Format: https://jupyter-server.readthedocs.io/en/latest/developers/websocket-protocols.html
All integers are little-endian unsigned 64-bit: the number of offsets, then the offsets from the
start of the frame; the parts are the channel's name, header, parent header, metadata, content and
the buffers, and the last offset is the length of the frame.
"""

from __future__ import annotations

import itertools
import struct

from kgd.errors import MalformedMessage
from kgd.protocol.messages import (
    MAX_PARTS,
    Buffer,
    ClientMessage,
    Frame,
    KernelMessage,
    read_header,
)
from kgd.protocol.rfc6455 import BINARY, frame_head

SUBPROTOCOL = "v1.kernel.websocket.jupyter.org"

_pack_offsets = struct.Struct("<7Q").pack
_PARTS_START = 56  # where the parts start when there are no buffers


def encode(message: KernelMessage) -> Frame:
    """
    :return: A WebSocket frame.
    """
    channel = message.channel.encode("ascii")
    header, parent, metadata, content = message.parts
    if message.buffers:
        return _with_buffers(channel, message)
    a = _PARTS_START + len(channel)
    b = a + len(header)
    c = b + len(parent)
    d = c + len(metadata)
    e = d + len(content)
    table = _pack_offsets(6, _PARTS_START, a, b, c, d, e)
    return frame_head(BINARY, e), b"".join((table, channel, header, parent, metadata, content))


def _with_buffers(channel: bytes, message: KernelMessage) -> Frame:
    parts = (channel, *message.parts, *message.buffers)
    offsets = [8 * (len(parts) + 2)]
    for part in parts:
        offsets.append(offsets[-1] + len(part))
    table = struct.pack(f"<{len(offsets) + 1}Q", len(offsets), *offsets)
    return frame_head(BINARY, offsets[-1]), b"".join((table, *parts))


def decode(payload: bytes, is_binary: bool) -> ClientMessage:
    """
    :raises MalformedMessage: unless ``payload`` is a message in this framing.
    """
    if not is_binary:
        raise MalformedMessage(f"a message of {SUBPROTOCOL} is a binary frame")
    if len(payload) < _PARTS_START:
        raise MalformedMessage("the frame is too short to hold a message")
    (count,) = struct.unpack_from("<Q", payload)
    if not 6 <= count <= MAX_PARTS or 8 * (count + 1) > len(payload):
        raise MalformedMessage(f"a frame of {len(payload)} bytes cannot hold {count} offsets")
    offsets = struct.unpack_from(f"<{count}Q", payload, 8)
    if (
        offsets[0] < 8 * (count + 1)
        or offsets[-1] > len(payload)
        or any(a > b for a, b in itertools.pairwise(offsets))
    ):
        raise MalformedMessage("the offsets of the parts are out of order or out of the frame")
    view = memoryview(payload)
    parts: list[Buffer] = [view[a:b] for a, b in itertools.pairwise(offsets)]
    try:
        channel = bytes(parts[0]).decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedMessage("the channel's name is not UTF-8") from None
    header, parent, metadata, content = map(bytes, parts[1:5])
    return ClientMessage(
        channel, read_header(header), (header, parent, metadata, content), parts[5:]
    )
