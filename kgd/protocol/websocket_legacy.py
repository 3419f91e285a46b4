"""
The legacy WebSocket framing: one JSON object per message, with an offset table before it when
there are binary buffers.

Format: ``serialize_binary_message`` of jupyter_server; no other specification exists.
A text frame is an object with the keys ``header``, ``parent_header``, ``metadata``, ``content``,
``buffers`` and ``channel``. A binary frame holds big-endian unsigned 32-bit integers: the number
of parts, then the offset of each part from the start of the frame; the first part is the JSON
object, the others are the buffers.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Sequence

import msgspec

from kgd.errors import JSON_ERRORS, MalformedMessage
from kgd.protocol.messages import (
    MAX_PARTS,
    Buffer,
    ClientMessage,
    Frame,
    Header,
    KernelMessage,
    read_header,
)
from kgd.protocol.rfc6455 import BINARY, TEXT, frame_head

# Stand for an escaped backslash and an escaped quote for a moment. JSON cannot contain them.
_MARKS_BACKSLASH, _MARKS_QUOTE = b"\0", b"\1"
# Up to this size, in bytes, clients may write NaN and the like: to replace it takes up to 30 ms.
MAX_NAN_REPLACED = 512 * 1024
_EMPTY = b"{}"
_quote = msgspec.json.encode
_skip: Callable[[Buffer], msgspec.Raw] = msgspec.json.Decoder(msgspec.Raw).decode


class _Message(msgspec.Struct):
    header: msgspec.Raw
    parent_header: msgspec.Raw = msgspec.Raw(_EMPTY)
    metadata: msgspec.Raw = msgspec.Raw(_EMPTY)
    content: msgspec.Raw = msgspec.Raw(_EMPTY)
    buffers: msgspec.Raw = msgspec.Raw(_EMPTY)
    channel: str | None = None


_decode_frame: Callable[[Buffer], _Message] = msgspec.json.Decoder(_Message).decode


def replace_nan(raw: Buffer) -> Buffer:
    """
    Replace every ``NaN``, ``Infinity`` and ``-Infinity`` outside of strings by ``null``.
    """
    try:
        # This only skips over the JSON, in a third of the time that it takes to search for words.
        _skip(raw)
    except JSON_ERRORS:
        raw = bytes(raw)
    else:
        return raw
    if (
        (b"NaN" not in raw and b"Infinity" not in raw)
        or _MARKS_BACKSLASH in raw
        or _MARKS_QUOTE in raw
    ):
        return raw
    # The time is proportional to the length, whatever a client sends: no step runs Python code for
    # each string or word.
    marked = raw.replace(b"\\\\", _MARKS_BACKSLASH).replace(b'\\"', _MARKS_QUOTE)
    pieces = marked.split(b'"')
    outside = b'"'.join(pieces[::2])
    for word in (b"NaN", b"-Infinity", b"Infinity"):
        outside = outside.replace(word, b"null")
    pieces[::2] = outside.split(b'"')
    marked = b'"'.join(pieces)
    return marked.replace(_MARKS_QUOTE, b'\\"').replace(_MARKS_BACKSLASH, b"\\\\")


def encode(message: KernelMessage) -> Frame:
    """
    :return: A WebSocket frame.
    """
    header, parent, metadata, content = message.parts
    fields = [
        b'{"header": ',
        _with_time_zone(header, message.header.date),
        b', "msg_id": ',
        _quote(message.header.msg_id),
        b', "msg_type": ',
        _quote(message.header.msg_type),
        b', "parent_header": ',
        parent,
        b', "metadata": ',
        replace_nan(metadata),
        b', "content": ',
        replace_nan(content),
        b', "channel": "',
        message.channel.encode("ascii"),
    ]
    if message.buffers:
        fields.append(b'"}')
        return _binary(b"".join(fields), message.buffers)
    fields.append(b'", "buffers": []}')
    payload = b"".join(fields)
    if not payload.isascii():
        payload = _utf8(payload)
    return frame_head(TEXT, len(payload)), payload


def _utf8(payload: bytes) -> bytes:
    """
    Make a text frame valid UTF-8, for one wrong byte would make a client close the connection.
    """
    try:
        payload.decode("utf-8")
    except UnicodeDecodeError:
        return payload.decode("utf-8", "replace").encode("utf-8")
    return payload


def _binary(text: bytes, buffers: Sequence[Buffer]) -> Frame:
    count = 1 + len(buffers)
    offsets = [4 * (count + 1)]
    for part in (text, *buffers[:-1]):
        offsets.append(offsets[-1] + len(part))
    length = offsets[-1] + len(buffers[-1])
    table = struct.pack(f"!{count + 1}I", count, *offsets)
    return frame_head(BINARY, length), b"".join((table, text, *buffers))


def _with_time_zone(header: bytes, date: str | None) -> bytes:
    """
    Add a time zone to a date without one, which JavaScript would take for local time.
    """
    if date is None or date.endswith("Z") or len(date) < 19 or date[10:11] != "T":
        return header
    if "+" in date[19:] or "-" in date[19:]:
        return header
    naive = _quote(date)
    return header.replace(naive, naive[:-1] + b'Z"', 1)


def decode(payload: bytes, is_binary: bool) -> ClientMessage:
    """
    :raises MalformedMessage: unless ``payload`` is a message in this framing.
    """
    if is_binary:
        text, buffers = _split(payload)
        return _client_message(text, buffers)
    return _client_message(payload, None)


def _client_message(text: bytes, buffers: Sequence[Buffer] | None) -> ClientMessage:
    frame = _read_frame(text)
    header = read_header(frame.header)
    if buffers is None:
        if bytes(frame.buffers) not in (b"[]", _EMPTY, b"null"):
            raise MalformedMessage("buffers travel in a binary frame, not inside of the JSON text")
        buffers = ()
    parts = (
        _with_version(bytes(frame.header), header),
        _object("parent_header", frame.parent_header),
        _object("metadata", frame.metadata),
        _object("content", frame.content),
    )
    return ClientMessage(frame.channel or "shell", header, parts, buffers)


def _read_frame(text: bytes) -> _Message:
    try:
        return _decode_frame(text)
    except JSON_ERRORS as error:
        wrong = error
    # Python's json module writes NaN and accepts it, and so did every earlier gateway.
    if len(text) > MAX_NAN_REPLACED:
        raise MalformedMessage(
            f"not a message in JSON, where NaN is taken up to {MAX_NAN_REPLACED // 1024} KiB only: "
            f"{wrong}"
        )
    replaced = replace_nan(text)
    if replaced != text:
        try:
            return _decode_frame(replaced)
        except JSON_ERRORS as error:
            wrong = error
    raise MalformedMessage(f"not a message in JSON: {wrong}")


def _object(name: str, raw: msgspec.Raw) -> bytes:
    part = bytes(raw)
    if part[:1] == b"{":
        return part
    if part == b"null":
        return _EMPTY
    raise MalformedMessage(f"{name} must be a JSON object")


def _with_version(raw: bytes, header: Header) -> bytes:
    """
    Add a version to a header without one, which a kernel would take for protocol 4.
    """
    if bytes(header.version):
        return raw
    return b'{"version": "5.0", ' + raw[1:]


def _split(payload: bytes) -> tuple[bytes, list[Buffer]]:
    if len(payload) < 8:
        raise MalformedMessage(
            f"a binary frame starts with a table of offsets; {len(payload)} bytes are too short"
        )
    (count,) = struct.unpack_from("!I", payload)
    head = 4 * (count + 1)
    if not 1 <= count <= MAX_PARTS or head > len(payload):
        raise MalformedMessage(f"a frame of {len(payload)} bytes cannot hold {count} parts")
    offsets = [*struct.unpack_from(f"!{count}I", payload, 4), len(payload)]
    if offsets[0] < head or any(a > b for a, b in itertools.pairwise(offsets)):
        raise MalformedMessage("the offsets of the parts are out of order or out of the frame")
    view = memoryview(payload)
    parts = [view[a:b] for a, b in itertools.pairwise(offsets)]
    return bytes(parts[0]), list(parts[1:])
