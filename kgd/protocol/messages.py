"""
Jupyter messages in wire format: parsing, signing and making them.

A message is four parts of JSON, which are passed on as the bytes they are, and any buffers.

Format: https://jupyter-client.readthedocs.io/en/stable/messaging.html#the-wire-protocol
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
from collections.abc import Callable, Sequence

import msgspec

from kgd.errors import JSON_ERRORS, BadSignature, MalformedMessage
from kgd.protocol.mending import is_json, mended
from kgd.protocol.message_types import EXECUTE_REQUEST
from kgd.protocol.timestamps import timestamp

DELIMITER = b"<IDS|MSG>"
PROTOCOL_VERSION = "5.4"
# The username in the gateway's own messages; --username changes it.
USERNAME = "kgd"
# With a content of this many bytes or more it is cheaper to feed the parts to the hash one by one
# than to join them first.
_JOIN_LIMIT = 32 * 1024
# How many parts a client's message may have, nearly all of them buffers: each takes some time.
MAX_PARTS = 10_000
# Up to how many characters ids that are arrays or objects are compared by what they hold.
_MAX_COMPARED = 16 * 1024

Buffer = bytes | memoryview
# The head and the payload of a WebSocket frame. To join them would copy large messages once more.
Frame = tuple[bytes, bytes]
Parts = tuple[bytes, Buffer, Buffer, Buffer]


class OddId(str):
    """
    The ``msg_id`` of a header that is an array, an object or a number out of range: its JSON.
    """

    __slots__ = ()


#: JSON that is neither an array nor an object.
Scalar = str | int | float | bool | None
#: What a ``msg_id`` can be. All of these can be keys, and two ids that are the same JSON are equal.
MsgId = Scalar


class Header(msgspec.Struct):
    """
    The fields of a header that the gateway reads; the others are passed on unread. Only the type
    has to be what the protocol says.

    :ivar version: As JSON, empty when there is none.
    :ivar subshell_id: Which of the kernel's shells a request is for, as JSON.
    """

    msg_type: str
    msg_id: MsgId = ""
    date: Scalar = None
    version: msgspec.Raw = msgspec.Raw()
    subshell_id: msgspec.Raw = msgspec.Raw()


class MendedHeader(Header):
    """
    A header that is JSON only once it has been mended.
    """


NO_PARENT = Header(msg_type="")

_decode_header: Callable[[Buffer], Header] = msgspec.json.Decoder(Header).decode
_encode = msgspec.json.encode


class _AnyHeader(msgspec.Struct):
    msg_type: msgspec.Raw = msgspec.Raw()
    msg_id: msgspec.Raw = msgspec.Raw(b'""')
    date: msgspec.Raw = msgspec.Raw()
    version: msgspec.Raw = msgspec.Raw()
    subshell_id: msgspec.Raw = msgspec.Raw()


_decode_any_header: Callable[[Buffer], _AnyHeader] = msgspec.json.Decoder(_AnyHeader).decode
_decode_text: Callable[[Buffer], str] = msgspec.json.Decoder(str).decode
_decode_scalar: Callable[[Buffer], Scalar] = msgspec.json.Decoder(Scalar).decode


def read_header(raw: Buffer) -> Header:
    """
    :raises MalformedMessage: unless ``raw`` is a message header.
    """
    try:
        return _decode_header(raw)
    except JSON_ERRORS as error:
        wrong = error
    header = _read_odd_header(raw)
    if header is None or not header.msg_type:
        raise MalformedMessage(f"the message's header cannot be read: {wrong}")
    return header


def read_parent(raw: Buffer) -> Header:
    """
    Read a parent header, which the gateway can do without.

    :return: A header without a type when it has none.
    :raises MalformedMessage: unless ``raw`` is JSON.
    """
    if raw == b"{}":
        return NO_PARENT
    try:
        return _decode_header(raw)
    except JSON_ERRORS as error:
        wrong = error
    header = _read_odd_header(raw)
    if header is not None:
        return header
    if is_json(raw):
        return NO_PARENT
    if is_json(mended(raw)):
        return MendedHeader(msg_type="")
    raise MalformedMessage(f"the message's parent header is not JSON: {wrong}")


def _read_odd_header(raw: Buffer) -> Header | None:
    """
    Read a header whose fields are of any type, or whose JSON has to be mended. This is slow.

    :return: With an empty type if that cannot be read, or ``None`` if it is not an object.
    """
    text = mended(raw)
    try:
        fields = _decode_any_header(text)
    except JSON_ERRORS:
        return None
    kind = Header if text == raw else MendedHeader
    msg_type = ""
    with contextlib.suppress(*JSON_ERRORS):
        msg_type = _decode_text(fields.msg_type)
    # The kernel would read another type than we do.
    if "\ufffd" in msg_type:
        msg_type = ""
    date: Scalar = None
    with contextlib.suppress(*JSON_ERRORS):
        date = _decode_scalar(fields.date)
    return kind(msg_type, _any_id(fields.msg_id), date, fields.version, fields.subshell_id)


def _any_id(raw: msgspec.Raw) -> MsgId:
    with contextlib.suppress(*JSON_ERRORS):
        return _decode_scalar(raw)
    text = bytes(raw).decode("utf-8", "replace")
    if len(text) > _MAX_COMPARED:
        return OddId(text)
    # Whoever repeats it may write its JSON in another way.
    with contextlib.suppress(ValueError, RecursionError):
        text = json.dumps(json.loads(text), sort_keys=True, allow_nan=False)
    return OddId(text)


def id_as_json(msg_id: MsgId) -> bytes:
    """
    :return: The JSON of an id, of the type as which it came.
    """
    return msg_id.encode() if type(msg_id) is OddId else _encode(msg_id)


class _Status(msgspec.Struct):
    execution_state: str


_decode_status: Callable[[Buffer], _Status] = msgspec.json.Decoder(_Status).decode


def read_execution_state(status: Buffer) -> str | None:
    """
    :param status: The content of a ``status`` message.
    :return: The state that it tells, or ``None`` if it cannot be read.
    """
    try:
        return _decode_status(status).execution_state
    except JSON_ERRORS:
        return None


class ClientMessage:
    """
    A message from a client, on its way to the kernel.

    :ivar parts: Header, parent header, metadata and content, as they came.
    """

    __slots__ = ("buffers", "channel", "msg_id", "msg_type", "parts")

    def __init__(
        self, channel: str, header: Header, parts: Parts, buffers: Sequence[Buffer] = ()
    ) -> None:
        self.channel = channel
        self.msg_type = header.msg_type
        self.msg_id = header.msg_id
        self.parts = parts
        self.buffers = buffers

    @property
    def size(self) -> int:
        """
        In bytes.
        """
        return sum(map(len, self.parts)) + sum(map(len, self.buffers))


class KernelMessage:
    """
    A message on its way to clients. It is encoded once for each framing, however many clients get
    it.

    :ivar header: The header, as far as it is parsed.
    :ivar parent: The header of the request that the message belongs to; its ``msg_type`` is
        empty when there is none.
    :ivar size: In bytes.
    """

    __slots__ = ("_encoded", "buffers", "channel", "header", "parent", "parts", "size")

    def __init__(
        self,
        channel: str,
        header: Header,
        parts: Parts,
        buffers: Sequence[Buffer] = (),
        parent: Header = NO_PARENT,
    ) -> None:
        self.channel = channel
        self.header = header
        self.parts = parts
        self.buffers = buffers
        self.parent = parent
        self.size = len(parts[0]) + len(parts[1]) + len(parts[2]) + len(parts[3])
        if buffers:
            self.size += sum(map(len, buffers))
        self._encoded: dict[Callable[[KernelMessage], Frame], Frame] = {}

    def encoded(self, encode: Callable[[KernelMessage], Frame]) -> Frame:
        """
        :param encode: A framing's encoder.
        :return: A whole WebSocket frame.
        """
        frame = self._encoded.get(encode)
        if frame is None:
            frame = self._encoded[encode] = encode(self)
        return frame

    def forget_frames(self) -> None:
        """
        Drop the encoded frames, because the message may be queued for long.
        """
        self._encoded.clear()


class Signer:
    """
    Signs and verifies messages with one kernel's key.

    This is HMAC (RFC 2104) from two hashes that were fed the key beforehand. Python's own looks up
    the hash by its name for each message, which takes longer than to hash a small message.

    :param key: An empty one switches signing off, as the protocol says.
    :param scheme: ``hmac-`` and the name of a hash.
    :raises ValueError: when the scheme is not known.
    """

    def __init__(self, key: bytes, scheme: str = "hmac-sha256") -> None:
        kind, _, name = scheme.partition("-")
        if kind != "hmac":
            raise ValueError(f"signature scheme {scheme!r} is not known; hmac-sha256 is")
        self._key = key
        self._inner = hashlib.new(name)
        self._outer = hashlib.new(name)
        size = self._inner.block_size
        block = key if len(key) <= size else hashlib.new(name, key).digest()
        block = block.ljust(size, b"\0")
        self._inner.update(bytes(byte ^ 0x36 for byte in block))
        self._outer.update(bytes(byte ^ 0x5C for byte in block))

    def sign(self, parts: Parts) -> bytes:
        """
        :return: The signature in lower-case hex.
        """
        if not self._key:
            return b""
        inner = self._inner.copy()
        if len(parts[3]) < _JOIN_LIMIT:
            inner.update(b"".join(parts))
        else:
            for part in parts:
                inner.update(part)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.hexdigest().encode()

    def verify(self, signature: bytes, parts: Parts) -> None:
        """
        :raises BadSignature: unless ``parts`` were signed with this key.
        """
        if self._key and not hmac.compare_digest(self.sign(parts), signature):
            raise BadSignature("a message from the kernel does not carry our signature")


def wire_frames(signer: Signer, parts: Parts, buffers: Sequence[Buffer] = ()) -> list[Buffer]:
    """
    :return: The ZeroMQ frames of a message, without a routing identity.
    """
    return [DELIMITER, signer.sign(parts), *parts, *buffers]


def new_header(msg_type: str, session: str, now: float, username: str = USERNAME) -> bytes:
    """
    :param now: Seconds since the epoch.
    :return: The header of a new message, with a ``msg_id`` of its own.
    """
    return json.dumps(
        {
            "msg_id": os.urandom(16).hex(),
            "msg_type": msg_type,
            "username": username,
            "session": session,
            "date": timestamp(now),
            "version": PROTOCOL_VERSION,
        }
    ).encode()


def make_client_message(
    channel: str,
    msg_type: str,
    content: bytes,
    session: str,
    now: float,
    metadata: bytes = b"{}",
    username: str = USERNAME,
) -> ClientMessage:
    """
    Make a request of the gateway's own.

    :param now: Seconds since the epoch.
    """
    header = new_header(msg_type, session, now, username)
    return ClientMessage(channel, read_header(header), (header, b"{}", metadata, content))


def make_execute_request(
    source: str,
    session: str,
    now: float,
    metadata: bytes = b"{}",
    username: str = USERNAME,
) -> ClientMessage:
    """
    Make a request of the gateway's own to run code, which cannot ask for input.

    :param now: Seconds since the epoch.
    """
    content = {
        "code": source,
        "silent": False,
        # A kernel never forgets its history, so it would grow.
        "store_history": False,
        "user_expressions": {},
        "allow_stdin": False,
        "stop_on_error": True,
    }
    encoded = msgspec.json.encode(content)
    return make_client_message("shell", EXECUTE_REQUEST, encoded, session, now, metadata, username)


def make_kernel_message(
    msg_type: str,
    content: bytes,
    session: str,
    now: float,
    parent: bytes = b"{}",
    channel: str = "iopub",
    username: str = USERNAME,
) -> KernelMessage:
    """
    Make a message of the gateway's own to clients, as if it came from the kernel.

    :param now: Seconds since the epoch.
    :param parent: The header of the request that it belongs to.
    """
    header = new_header(msg_type, session, now, username)
    parent_header = NO_PARENT
    if parent != b"{}":
        with contextlib.suppress(MalformedMessage):
            parent_header = read_parent(parent)
    return KernelMessage(
        channel, read_header(header), (header, parent, b"{}", content), (), parent_header
    )
