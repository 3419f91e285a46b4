"""
Writing to a connection without a detour.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
from collections.abc import Sequence
from typing import Any

# Up to here it is cheaper to copy pieces together than to have the transport do it.
_SMALL = 64 * 1024


def is_plain_tcp(transport: Any) -> bool:
    """
    Whether a transport is a TCP connection, and nothing is between it and us.
    """
    # TLS passes through the attributes of what is below it.
    connection = getattr(transport, "socket", None)
    is_tls = hasattr(transport, "wrappedProtocol")
    return not is_tls and getattr(connection, "family", None) in (socket.AF_INET, socket.AF_INET6)


def unsent(transport: Any) -> int:
    """
    :return: How many bytes are in a transport's own buffer; 0 when that is not known.
    """
    if not is_plain_tcp(transport):
        return 0
    return len(transport.dataBuffer) - transport.offset + transport._tempDataLen  # type: ignore[no-any-return]


def unsent_below(transport: Any) -> int:
    """
    :return: How many bytes are in the buffer of a transport of Twisted's, or of the one below TLS;
        0 for others.
    """
    # TLS passes through the attributes of what is below it.
    if not hasattr(transport, "dataBuffer"):
        return 0
    return len(transport.dataBuffer) - transport.offset + transport._tempDataLen  # type: ignore[no-any-return]


def in_system(transport: Any) -> int:
    """
    :return: How many bytes that were written are in the system's buffer, because the other side
        has not acknowledged them; 0 when that is not known.
    """
    try:
        answer = fcntl.ioctl(transport.fileno(), termios.TIOCOUTQ, struct.pack("i", 0))
    except (AttributeError, OSError, ValueError):
        return 0
    size: int = struct.unpack("i", answer)[0]
    return size


def write_at_once(transport: Any, pieces: Sequence[bytes]) -> None:
    """
    Write without waiting, if nothing waits already.

    A transport of Twisted's has the reactor say when there is room, for which that asks the system
    twice; but what a kernel says hardly ever fills the system's buffer.
    """
    if (
        sum(map(len, pieces)) > _SMALL
        or not is_plain_tcp(transport)
        or not transport.connected
        or transport.disconnecting
        or transport.dataBuffer
        or transport._tempDataBuffer
    ):
        transport.writeSequence(pieces)
        return
    data = b"".join(pieces)
    written = transport.writeSomeData(data)
    if written != len(data):
        # There is no room for all of it, or an error, which the transport will meet again.
        transport.write(data[written:] if isinstance(written, int) and written > 0 else data)
