"""
WebSocket frames as bytes (RFC 6455, section 5.2), also malformed ones.
"""

from __future__ import annotations

import struct

CONTINUED, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bytes | None = b"abcd",
    length: bytes | None = None,
) -> bytes:
    """
    A frame as a client sends it.

    :param length: What to send instead of the length.
    """
    size = len(payload)
    if length is None:
        length = (
            bytes([size])
            if size < 126
            else b"\x7e" + struct.pack("!H", size)
            if size < 1 << 16
            else b"\x7f" + struct.pack("!Q", size)
        )
    head = bytes([fin << 7 | rsv << 4 | opcode, length[0] | (0x80 if mask else 0)]) + length[1:]
    if mask is None:
        return head + payload
    keys = mask * (size // 4 + 1)
    return head + mask + bytes(a ^ b for a, b in zip(payload, keys, strict=False))


def close(code: int | None = None, reason: bytes = b"") -> bytes:
    """
    A close frame.
    """
    return frame(CLOSE, (b"" if code is None else struct.pack("!H", code)) + reason)


def close_code(answer: bytes) -> int:
    """
    :return: The code of the close frame after the handshake; 0 if it has none, -1 if it is missing.
    """
    at = answer.index(b"\r\n\r\n") + 4
    while at + 2 <= len(answer):
        size = answer[at + 1]
        opcode, start = answer[at] & 15, at + 2
        if size == 126:
            (size,) = struct.unpack_from("!H", answer, start)
            start += 2
        elif size == 127:
            (size,) = struct.unpack_from("!Q", answer, start)
            start += 8
        if opcode == CLOSE:
            return int.from_bytes(answer[start : start + 2], "big") if size else 0
        at = start + size
    return -1
