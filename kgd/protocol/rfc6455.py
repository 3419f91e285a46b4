"""
Frame heads and close codes of the WebSocket protocol: RFC 6455, sections 5.2 and 7.4.1.

Frames that a server sends are not masked, so that one encoding serves every client.
"""

from __future__ import annotations

import struct

TEXT = 0x81  # the final bit, and the opcode
BINARY = 0x82

_SHORT = struct.Struct("!BB").pack
_MEDIUM = struct.Struct("!BBH").pack
_LONG = struct.Struct("!BBQ").pack


def frame_head(kind: int, length: int) -> bytes:
    """
    Make the head of a frame that a server sends.

    :param kind: :py:data:`TEXT` or :py:data:`BINARY`.
    :param length: Of the payload, in bytes.
    """
    if length < 126:
        return _SHORT(kind, length)
    if length < 65536:
        return _MEDIUM(kind, 126, length)
    return _LONG(kind, 127, length)


# Close codes.
NORMAL = 1000
GOING_AWAY = 1001
UNSUPPORTED_DATA = 1003
INVALID_PAYLOAD = 1007
POLICY_VIOLATION = 1008
MESSAGE_TOO_BIG = 1009
INTERNAL_ERROR = 1011
TRY_AGAIN_LATER = 1013
