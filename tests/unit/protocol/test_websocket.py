"""
Both WebSocket framings, against an independent reading of their formats.
"""

from __future__ import annotations

import itertools
import json
import struct
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kgd.errors import MalformedMessage
from kgd.protocol import websocket_legacy as legacy
from kgd.protocol import websocket_v1 as v1
from kgd.protocol.mending import MAX_MENDED
from kgd.protocol.messages import ClientMessage, Frame, KernelMessage, read_header, read_parent
from kgd.protocol.websocket import LEGACY, V1, choose_framing

HEADER = {"msg_id": "m-1", "msg_type": "stream", "username": "u", "session": "s", "version": "5.3"}

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
json_objects = st.dictionaries(st.text(), json_values, max_size=4)
buffer_lists = st.lists(st.binary(max_size=40), max_size=4)


def dump(value: Any) -> bytes:
    """
    JSON as kernels write it.
    """
    return json.dumps(value).encode()


def outgoing(
    content: Any, buffers: list[bytes] | None = None, header: dict[str, str] | None = None
) -> KernelMessage:
    """
    A message from a kernel.
    """
    raw = dump(header or HEADER)
    parts = (raw, dump({"msg_id": "parent"}), b"{}", dump(content))
    return KernelMessage("iopub", read_header(raw), parts, buffers or [])


def payload_of(pieces: Frame) -> tuple[int, bytes]:
    """
    Read the head of a WebSocket frame (RFC 6455, section 5.2).

    :return: The first byte and the payload.
    """
    frame = b"".join(pieces)
    length, at = frame[1], 2
    if length == 126:
        (length,), at = struct.unpack_from("!H", frame, 2), 4
    elif length == 127:
        (length,), at = struct.unpack_from("!Q", frame, 2), 10
    assert len(frame) == at + length, "the head announces another length"
    return frame[0], frame[at:]


def read_legacy(kind: int, payload: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """
    Decode a legacy frame as jupyter_server documents it.
    """
    if kind == 0x81:
        return json.loads(payload), []
    (count,) = struct.unpack_from("!I", payload)
    offsets = [*struct.unpack_from(f"!{count}I", payload, 4), len(payload)]
    parts = [payload[a:b] for a, b in itertools.pairwise(offsets)]
    return json.loads(parts[0]), parts[1:]


def write_legacy(message: dict[str, Any], buffers: list[bytes]) -> bytes:
    """
    Encode a binary legacy frame.
    """
    parts = [dump(message), *buffers]
    offsets = [4 * (len(parts) + 1)]
    for part in parts[:-1]:
        offsets.append(offsets[-1] + len(part))
    return struct.pack(f"!{len(parts) + 1}I", len(parts), *offsets) + b"".join(parts)


def read_v1(payload: bytes) -> list[bytes]:
    """
    Decode a v1 frame into its parts, the channel's name first.
    """
    (count,) = struct.unpack_from("<Q", payload)
    offsets = struct.unpack_from(f"<{count}Q", payload, 8)
    assert offsets[-1] == len(payload), "the last offset is the length of the frame"
    return [payload[a:b] for a, b in itertools.pairwise(offsets)]


def write_v1(parts: list[bytes]) -> bytes:
    """
    Encode a v1 frame.
    """
    offsets = [8 * (len(parts) + 2)]
    for part in parts:
        offsets.append(offsets[-1] + len(part))
    return struct.pack(f"<{len(offsets) + 1}Q", len(offsets), *offsets) + b"".join(parts)


class ChooseTests(SynchronousTestCase):
    """
    Which framing a client gets.
    """

    def test_v1_anywhere_in_the_offer(self) -> None:
        """
        The subprotocol is chosen wherever it stands; without it, legacy is spoken.
        """
        self.assertIs(choose_framing(["x", v1.SUBPROTOCOL]), V1)
        self.assertIs(choose_framing(["x"]), LEGACY)
        self.assertIs(choose_framing([]), LEGACY)


class LegacyEncodeTests(SynchronousTestCase):
    """
    From the kernel to a legacy client.
    """

    @given(json_objects, buffer_lists)
    def test_roundtrip(self, content: Any, buffers: list[bytes]) -> None:
        """
        What the kernel sent is what a client decodes, in a text frame unless there are buffers.
        """
        kind, payload = payload_of(legacy.encode(outgoing(content, buffers)))
        self.assertEqual(kind, 0x82 if buffers else 0x81)
        message, received = read_legacy(kind, payload)
        self.assertEqual(message["content"], content)
        self.assertEqual(message["header"], HEADER)
        self.assertEqual(message["parent_header"], {"msg_id": "parent"})
        self.assertEqual((message["msg_id"], message["msg_type"]), ("m-1", "stream"))
        self.assertEqual(message["channel"], "iopub")
        self.assertEqual(received, buffers)
        if not buffers:
            self.assertEqual(message["buffers"], [])

    def test_offsets_of_a_known_frame(self) -> None:
        """
        With two buffers there are three parts, and the first starts behind the table.
        """
        _, payload = payload_of(legacy.encode(outgoing({}, [b"abc", b""])))
        count, first, second, third = struct.unpack_from("!4I", payload)
        self.assertEqual((count, first), (3, 16))
        self.assertEqual((third - second, len(payload)), (3, third))

    def test_bare_words_become_null(self) -> None:
        """
        NaN and Infinity, which JSON does not know, become null; inside of strings they stay.
        """
        content = {"a": float("nan"), "b": [float("inf"), -float("inf")], "c": 'NaN, "Infinity'}
        _, payload = payload_of(legacy.encode(outgoing(content)))
        self.assertNotIn(b"NaN,", payload.replace(b'"NaN, ', b""))
        message = json.loads(payload, parse_constant=self.fail)
        self.assertEqual(message["content"], {"a": None, "b": [None, None], "c": 'NaN, "Infinity'})

    def test_naive_date_gets_a_zone(self) -> None:
        """
        A date without a zone gets a Z; every other one stays as it is.
        """
        for date, expected in (
            ("2026-11-20T23:59:10.25", "2026-11-20T23:59:10.25Z"),
            ("2026-11-20T23:59:10.259926Z", "2026-11-20T23:59:10.259926Z"),
            ("2026-11-20T23:59:10+02:00", "2026-11-20T23:59:10+02:00"),
            ("2026-11-20T23:59:10-02:00", "2026-11-20T23:59:10-02:00"),
            ("yesterday", "yesterday"),
        ):
            encoded = legacy.encode(outgoing({}, header=HEADER | {"date": date}))
            _, payload = payload_of(encoded)
            self.assertEqual(json.loads(payload)["header"]["date"], expected)

    def test_headers_of_other_types(self) -> None:
        """
        The id is on top as the type that it came as, and a date that is no text stays as it is.
        """
        for value in (None, True, 7, 7.5, ["x"], {"a": [1]}, "", 1 << 80):
            header: Any = HEADER | {"msg_id": value, "date": value}
            _, payload = payload_of(legacy.encode(outgoing({}, header=header)))
            message = json.loads(payload)
            self.assertEqual((message["msg_id"], message["header"]), (value, header))

    def test_headers_are_mended(self) -> None:
        """
        What clients have written into their headers and kernels repeat is JSON for every client.
        """
        raw = b'{"msg_type": "stream", "msg_id": "k", "date": NaN, "session": "\\ud800"}'
        for parent in (raw, b"NaN", b'{"a": Infinity}'):
            message = KernelMessage(
                "iopub", read_header(raw), (raw, parent, b"{}", b"{}"), (), read_parent(parent)
            )
            _, payload = payload_of(legacy.encode(message))
            decoded = json.loads(payload, parse_constant=self.fail)
            self.assertEqual(decoded["header"], {
                "msg_type": "stream", "msg_id": "k", "date": None, "session": "\ufffd",
            })  # fmt: skip

    def test_text_is_always_utf8(self) -> None:
        """
        A kernel that sends bytes which are not UTF-8 does not make clients drop the connection.
        """
        raw = dump(HEADER)
        message = KernelMessage(
            "iopub", read_header(raw), (raw, b"{}", b"{}", b'{"text": "\xff\xe9"}')
        )
        _, payload = payload_of(legacy.encode(message))
        self.assertEqual(json.loads(payload.decode("utf-8"))["content"], {"text": "\ufffd\ufffd"})

    def test_lengths_of_all_sizes(self) -> None:
        """
        The head of the frame is right on both sides of each of its forms.
        """
        for size in (0, 1, 125, 126, 65535, 65536, 200_000):
            _, payload = payload_of(legacy.encode(outgoing({"text": "x" * size})))
            self.assertEqual(len(json.loads(payload)["content"]["text"]), size)


class LegacyDecodeTests(SynchronousTestCase):
    """
    From a legacy client to the kernel.
    """

    def decode(self, **fields: Any) -> ClientMessage:
        """
        Decode a text frame of these fields.
        """
        return legacy.decode(dump({"header": HEADER, **fields}), False)

    @given(json_objects, buffer_lists)
    def test_roundtrip(self, content: Any, buffers: list[bytes]) -> None:
        """
        The parts for the kernel hold what the client sent.
        """
        message = {"header": HEADER, "parent_header": {}, "metadata": {"m": 1}, "content": content,
                   "channel": "control"}  # fmt: skip
        if buffers:
            request = legacy.decode(write_legacy(message, buffers), True)
        else:
            request = legacy.decode(dump(message), False)
        self.assertEqual(request.channel, "control")
        self.assertEqual((request.msg_type, request.msg_id), ("stream", "m-1"))
        self.assertEqual(
            list(map(json.loads, request.parts)),  # type: ignore[arg-type]
            [HEADER, {}, {"m": 1}, content],
        )
        self.assertEqual(list(map(bytes, request.buffers)), buffers)

    def test_raw_bytes_pass_unchanged(self) -> None:
        """
        Content keeps its spelling, white space and number formats.
        """
        content = b'{ "x" : 1.0000,\t"y":[1e3 ] }'
        frame = b'{"header": %b, "content": %b}' % (dump(HEADER), content)
        self.assertEqual(legacy.decode(frame, False).parts[3], content)

    def test_what_real_clients_leave_out(self) -> None:
        """
        No channel means shell; buffers may be an empty object, null, or missing, as may the rest.
        """
        extras: list[dict[str, Any]] = [
            {}, {"buffers": {}}, {"buffers": []}, {"buffers": None}, {"content": None},
        ]  # fmt: skip
        for extra in extras:
            request = self.decode(**extra)
            self.assertEqual(request.channel, "shell")
            self.assertEqual(request.parts[1:], (b"{}", b"{}", b"{}"))
            self.assertEqual(list(request.buffers), [])

    def test_parts_of_other_types(self) -> None:
        """
        Parts that are no objects are the kernel's affair, and pass as they came; null is empty.
        """
        for value in ([], [1], "", "x", 0, 7.5, True, [None], {"a": None}):
            for number, name in enumerate(("parent_header", "metadata", "content"), 1):
                request = self.decode(**{name: value})
                self.assertEqual(request.parts[number], dump(value))
                self.assertEqual(self.decode(**{name: None}).parts[number], b"{}")
        ignored: list[Any] = ["", 0, 5, True, False, 1.5, [], {}, None]
        for buffers in ignored:
            self.assertEqual(list(self.decode(buffers=buffers).buffers), [])

    def test_channels(self) -> None:
        """
        What is no name of a channel is an unknown channel, to which nothing is sent.
        """
        for channel, expected in (
            ("control", "control"), ("", "shell"), (None, "shell"), ("SHELL", "SHELL"), (7, "7"),
            (["shell"], '["shell"]'),
        ):  # fmt: skip
            self.assertEqual(self.decode(channel=channel).channel, expected)
        frame = b'{"header": %b, "channel": "%b"}'
        escaped = frame % (dump(HEADER), b"\\u0073hell")
        self.assertEqual(legacy.decode(escaped, False).channel, "shell")
        unpaired = frame % (dump(HEADER), b"\\ud800")
        self.assertEqual(legacy.decode(unpaired, False).channel, "\ufffd")

    def test_headers_of_other_types(self) -> None:
        """
        A header passes as it came, whatever is in it besides the type.
        """
        values: list[Any] = [None, True, 7, 1795716739.56, 1 << 80, [], ["x"], {}, {"a": [1]}, ""]
        for value in values:
            for name in ("date", "session", "username", "msg_id", "version", "traceId"):
                header = HEADER | {name: value}
                for request in (
                    legacy.decode(dump({"header": header}), False),
                    v1.decode(write_v1([b"shell", dump(header), b"{}", b"{}", b"{}"]), True),
                ):
                    self.assertEqual(bytes(request.parts[0]), dump(header))
                    self.assertEqual(request.msg_type, "stream")

    def test_unpaired_surrogates(self) -> None:
        """
        Halves of pairs, which are no text, become U+FFFD; pairs and escaped backslashes stay.
        """
        for spelled, expected in (
            (b"\\ud800", "\ufffd"),
            (b"\\uDC00x", "\ufffdx"),
            (b"\\ud83d\\ude00", "\U0001f600"),
            (b"\\ud83d\\ud83d\\ude00\\ude00", "\ufffd\U0001f600\ufffd"),
            (b"\\\\ud800\\ud800", "\\ud800\ufffd"),
            (b"\\ud83d\\\\ude00", "\ufffd\\ude00"),
        ):
            header = dump(HEADER)[:-1] + b', "date": "%b"}' % spelled
            frame = b'{"header": %b, "content": {"code": "%b\\ud800"}}' % (header, spelled)
            request = legacy.decode(frame, False)
            self.assertEqual(json.loads(bytes(request.parts[0]))["date"], expected)
            content = json.loads(bytes(request.parts[3]))
            self.assertEqual(content, {"code": expected + "\ufffd"})

    def test_missing_version_is_5(self) -> None:
        """
        A header without a version gets 5.0, lest the kernel take it for protocol 4.
        """
        raw = {"msg_id": "a", "msg_type": "execute_request"}
        request = legacy.decode(dump({"header": raw}), False)
        self.assertEqual(json.loads(bytes(request.parts[0])), raw | {"version": "5.0"})

    def test_bare_words_are_mended(self) -> None:
        """
        Clients in Python write NaN; the kernel gets null.
        """
        request = self.decode(content={"x": float("nan"), "y": "NaN"})
        self.assertEqual(json.loads(bytes(request.parts[3])), {"x": None, "y": "NaN"})
        # In long messages finding them would take too long.
        long = "x" * MAX_MENDED
        self.assertEqual(len(self.decode(content={"x": 1, "y": long}).parts), 4)
        with self.assertRaises(MalformedMessage) as caught:
            self.decode(content={"x": float("nan"), "y": long})
        self.assertIn("NaN is taken up to 512 KiB only", caught.exception.reason)

    def test_malformed_text(self) -> None:
        """
        What is no message is said to be malformed, whatever it is.
        """
        for frame in (
            b"", b"{", b"[]", b"5", b'""', b"null", b"{}", b'{"header": 5}', b'{"header": {}}',
            b'{"header": {"msg_type": 5}}', b'{"header": null}', b"\xff\xfe", b"[" * 100_000,
            b'{"header": ' * 5000,
        ):  # fmt: skip
            self.assertRaises(MalformedMessage, legacy.decode, frame, False)
        refused: list[Any] = [["abc"], [{}], "abc", {"0": 1}]
        for buffers in refused:
            self.assertRaises(MalformedMessage, self.decode, buffers=buffers)

    def test_malformed_tables(self) -> None:
        """
        Counts and offsets that lie are found out before anything is allocated for them.
        """
        good = write_legacy({"header": HEADER}, [b"abc"])
        for frame in (
            b"", b"\0" * 7, b"\0" * 12, dump({"header": HEADER}), b"\xff" * 40,
            struct.pack("!I", 0xFFFFFFFF) + good[4:],
            struct.pack("!3I", 2, 12, 4) + good[12:],
            struct.pack("!3I", 2, 12, 1 << 30) + good[12:],
            struct.pack("!3I", 2, 4, 20) + good[12:],
        ):  # fmt: skip
            self.assertRaises(MalformedMessage, legacy.decode, frame, True)

    @settings(max_examples=300)
    @given(st.binary(max_size=200), st.booleans())
    def test_any_bytes(self, frame: bytes, is_binary: bool) -> None:
        """
        Any bytes at all are either a message or malformed.
        """
        try:
            legacy.decode(frame, is_binary)
        except MalformedMessage as error:
            self.assertTrue(error.reason)


class V1Tests(SynchronousTestCase):
    """
    The framing without JSON around it.
    """

    @given(json_objects, buffer_lists)
    def test_encode(self, content: Any, buffers: list[bytes]) -> None:
        """
        A client finds the kernel's own bytes, and the buffers.
        """
        message = outgoing(content, buffers)
        kind, payload = payload_of(v1.encode(message))
        self.assertEqual(kind, 0x82)
        self.assertEqual(read_v1(payload), [b"iopub", *message.parts, *buffers])

    def test_known_frame(self) -> None:
        """
        Without buffers there are six offsets, and the channel's name starts at byte 56.
        """
        _, payload = payload_of(v1.encode(outgoing({})))
        self.assertEqual(struct.unpack_from("<2Q", payload), (6, 56))

    def test_bulk(self) -> None:
        """
        Large parts and their frame's head are right, too.
        """
        message = outgoing({"text": "x" * 300_000}, [b"y" * 70_000, b""])
        _, payload = payload_of(v1.encode(message))
        self.assertEqual(read_v1(payload), [b"iopub", *message.parts, *message.buffers])

    @given(json_objects, buffer_lists)
    def test_decode(self, content: Any, buffers: list[bytes]) -> None:
        """
        The kernel gets the client's own bytes, and the buffers.
        """
        parts = [dump(HEADER), b"{ }", b"{}", dump(content)]
        request = v1.decode(write_v1([b"shell", *parts, *buffers]), True)
        self.assertEqual(request.channel, "shell")
        self.assertEqual(list(request.parts), parts)
        self.assertEqual(list(map(bytes, request.buffers)), buffers)
        self.assertEqual(request.size, sum(map(len, parts)) + sum(map(len, buffers)))

    def test_malformed(self) -> None:
        """
        Text, short frames and offsets that lie are malformed.
        """
        good = write_v1([b"shell", dump(HEADER), b"{}", b"{}", b"{}"])
        self.assertRaises(MalformedMessage, v1.decode, good, False)
        table = struct.unpack_from("<7Q", good)
        for frame in (
            b"", b"\0" * 7, b"garbage", b"\0" * 56, b"\xff" * 80,
            struct.pack("<Q", 1 << 63) + good[8:],
            struct.pack("<Q", 5) + good[8:],
            struct.pack("<7Q", 6, *table[2:], table[1]) + good[56:],
            struct.pack("<7Q", *table[:6], 1 << 40) + good[56:],
            struct.pack("<7Q", 6, 0, *table[2:]) + good[56:],
            write_v1([b"\xff\xff", dump(HEADER), b"{}", b"{}", b"{}"]),
            write_v1([b"shell", b"{}", b"{}", b"{}", b"{}"]),
        ):  # fmt: skip
            self.assertRaises(MalformedMessage, v1.decode, frame, True)

    @settings(max_examples=300)
    @given(st.binary(max_size=200))
    def test_any_bytes(self, frame: bytes) -> None:
        """
        Any bytes at all are either a message or malformed.
        """
        try:
            v1.decode(frame, True)
        except MalformedMessage as error:
            self.assertTrue(error.reason)


class SharedEncodingTests(SynchronousTestCase):
    """
    A message for many clients.
    """

    def test_encoded_once(self) -> None:
        """
        However many clients want it in a framing, it is encoded once.
        """
        message = outgoing({"x": 1})
        calls: list[KernelMessage] = []

        def encode(each: KernelMessage) -> Frame:
            calls.append(each)
            return b"head", b"payload"

        self.assertIs(message.encoded(encode), message.encoded(encode))
        self.assertEqual(calls, [message])
        self.assertNotEqual(message.encoded(legacy.encode), message.encoded(v1.encode))
