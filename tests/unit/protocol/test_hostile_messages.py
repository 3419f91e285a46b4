"""
Messages made up to keep the gateway busy.
"""

from __future__ import annotations

import contextlib
import json
import struct
import time
from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kgd.errors import MalformedMessage
from kgd.protocol import websocket_v1 as v1
from kgd.protocol.mending import MAX_MENDED, replace_nan
from kgd.protocol.messages import MAX_PARTS
from kgd.protocol.websocket import LEGACY, V1, Framing

# Of the processor, in seconds.
MOST_TIME = 0.05
SIZE = 4 * 1024 * 1024
HEADER = b'{"msg_id": "a", "msg_type": "x"}'


def repeated(pattern: bytes, size: int = SIZE) -> bytes:
    """
    So many bytes of a pattern.
    """
    return pattern * (size // len(pattern))


def numbered(size: int = SIZE) -> bytes:
    """
    Many different keys.
    """
    return b",".join(b'"%d":1' % number for number in range(size // 10))


def halves() -> bytes:
    """
    As many unpaired surrogates as are replaced.
    """
    return b"\\ud800" * (MAX_MENDED // 8)


def v1_frame(count: int) -> bytes:
    """
    A frame with so many parts, most of them of one byte.
    """
    at = [8 * (count + 1)]
    for size in (5, len(HEADER), 2, 2, 2):
        at.append(at[-1] + size)
    at += range(at[-1] + 1, at[-1] + 1 + count - len(at))
    return struct.pack(f"<{count + 1}Q", count, *at) + b"shell" + HEADER + b"{}" * 3 + bytes(count)


def texts() -> Iterator[tuple[str, bytes]]:
    """
    Messages in JSON, or what looks like it, each with a name.
    """
    for name, content in (
        ("a string", b'{"a": "' + repeated(b"x") + b'"}'),
        ("an integer", b'{"a": ' + repeated(b"7") + b"}"),
        ("a small number", b'{"a": 1e-' + repeated(b"9") + b"}"),
        ("lists in lists", repeated(b"[", SIZE // 2) + repeated(b"]", SIZE // 2)),
        ("objects in objects", repeated(b'{"a":')),
        ("many keys", b"{" + numbered() + b"}"),
        ("a key again and again", b"{" + repeated(b'"a":1,') + b'"a":1}'),
        ("many strings", b'{"a": [' + repeated(b'"",') + b"1]}"),
        ("many words", b'{"a": [' + repeated(b"NaN,", MAX_MENDED // 2) + b"1]}"),
        ("too many words", b'{"a": [' + repeated(b"-Infinity,") + b"1]}"),
        ("words in lists", repeated(b"[NaN,", MAX_MENDED // 2)),
        ("words between strings", repeated(b'NaN"a"', MAX_MENDED // 2)),
        ("an end that is missing", b'NaN "' + repeated(b'\\"')),
        ("strings and a word", b'{"a": NaN, ' + repeated(b'"y",', MAX_MENDED // 2)),
        ("halves of pairs", b'{"a": "' + repeated(b"\\ud800") + b'"}'),
        ("wrong UTF-8", b'{"a": "' + repeated(b"\xff") + b'"}'),
        ("NUL", repeated(b"\0")),
    ):
        yield name, b'{"header": %b, "content": %b}' % (HEADER, content)
    for name, header in (
        ("a header with many keys", b'{"msg_type": "x", ' + numbered() + b"}"),
        ("a long msg_id", b'{"msg_type": "x", "msg_id": "' + repeated(b"\\u00e9") + b'"}'),
        ("halves of pairs in a header", b'{"msg_type": "x", "a": "%b"}' % halves()),
        ("too many halves", b'{"msg_type": "x", "a": "' + repeated(b"\\ud800") + b'"}'),
        ("escaped backslashes", b'{"msg_type": "x", "a": "%b"}' % (halves() + b"\\\\" * 1000)),
        ("words in an id", b'{"msg_type": "x", "msg_id": [%b1]}' % (b"NaN," * 100_000)),
        ("a list as an id", b'{"msg_type": "x", "msg_id": [' + repeated(b"7,", SIZE // 2) + b"1]}"),
        ("keys as an id", b'{"msg_type": "x", "msg_id": {' + numbered() + b"}}"),
        ("a deep id", b'{"msg_type": "x", "msg_id": ' + b"[" * 900 + b"]" * 900 + b"}"),
        ("a number as an id", b'{"msg_type": "x", "msg_id": ' + repeated(b"7") + b"}"),
        ("an unknown type", b'{"msg_type": [' + repeated(b"7,") + b"1]}"),
        ("a long version", b'{"msg_type": "x", "version": ' + repeated(b"7") + b"}"),
        ("a word in a string of what is broken", b'{"a": "NaN"}, ' + repeated(b'"y",', 100_000)),
    ):
        yield name, b'{"header": %b}' % header
    yield "many keys on top", b"{" + numbered() + b"}"
    yield "the header again and again", b"{" + repeated(b'"header": {},') + b'"a": 1}'


def frames() -> Iterator[tuple[str, bytes, bool, Framing]]:
    """
    All frames, each with a name, whether it is binary, and its framing.
    """
    for name, text in texts():
        yield name, text, False, LEGACY
        yield f"{name}, before buffers", struct.pack("!2I", 1, 8) + text, True, LEGACY
    count = SIZE // 8
    rising = struct.pack(f"!{count + 1}I", count, *range(SIZE // 2 + 4, SIZE // 2 + 4 + count))
    yield "offsets that are all the same", struct.pack("!I", count) + bytes(SIZE), True, LEGACY
    yield "offsets that rise", rising + bytes(SIZE), True, LEGACY
    yield "as many parts as there may be", v1_frame(MAX_PARTS), True, V1
    yield "more parts", v1_frame(SIZE // 16), True, V1
    yield "a count", struct.pack("<Q", SIZE // 8) + bytes(SIZE), True, V1


def spent(frame: bytes, is_binary: bool, framing: Framing) -> float:
    """
    :return: How long the processor was busy with a frame, in seconds.
    """
    began = time.process_time()
    with contextlib.suppress(MalformedMessage):
        framing.decode(frame, is_binary)
    return time.process_time() - began


class HostileTests(SynchronousTestCase):
    """
    Reading a message takes little time, whatever is in it.
    """

    def test_time(self) -> None:
        """
        No message of a few mebibytes keeps the reactor for longer than 50 ms.
        """
        for name, frame, is_binary, framing in frames():
            # Others may have the processor's cache.
            best = min(spent(frame, is_binary, framing) for _ in range(2))
            self.assertLess(best, MOST_TIME, name)

    def test_parts(self) -> None:
        """
        So many buffers and not one more.
        """
        self.assertEqual(len(v1.decode(v1_frame(MAX_PARTS), True).buffers), MAX_PARTS - 6)
        self.assertRaises(MalformedMessage, v1.decode, v1_frame(MAX_PARTS + 1), True)

    @given(
        st.recursive(
            st.floats() | st.text() | st.sampled_from(['"', '\\"', "\\\\NaN", "NaN", '"Infinity'])
            | st.booleans(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        )
    )  # fmt: skip
    def test_words_are_mended(self, value: Any) -> None:
        """
        Words that JSON does not know become null, and nothing else changes.
        """
        for ensure_ascii in (False, True):
            try:
                text = json.dumps(value, ensure_ascii=ensure_ascii).encode()
            except UnicodeEncodeError:
                continue
            mended = bytes(replace_nan(text))
            self.assertEqual(
                json.loads(mended, parse_constant=self.fail),
                json.loads(text, parse_constant=lambda _: None),
            )
