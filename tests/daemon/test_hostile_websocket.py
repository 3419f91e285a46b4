"""
WebSocket conversations that break RFC 6455, or that hold no messages of Jupyter's.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator

from twisted.internet.defer import ensureDeferred, gatherResults

from tests.support.gateway import V1, GatewayTestCase, raw, stdout
from tests.support.websocket_frames import (
    BINARY,
    CLOSE,
    CONTINUED,
    PING,
    PONG,
    TEXT,
    close,
    close_code,
    frame,
)

AT_A_TIME = 25
MOST = 80_000
FRAGMENTS = 50
HEADER = {"msg_id": "a", "msg_type": "kernel_info_request"}


def dump(value: object) -> bytes:
    """
    JSON.
    """
    return json.dumps(value).encode()


def violations() -> Iterator[tuple[bytes, int]]:
    """
    Frames that break the rules, and the code with which the conversation ends.
    """
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        yield frame(opcode), 1002
        yield frame(opcode, b"payload"), 1002
    for rsv in range(1, 8):
        yield frame(TEXT, b"{}", rsv=rsv), 1002
        yield frame(PING, rsv=rsv), 1002
    yield frame(TEXT, zlib.compress(b"x" * 1_000_000)[2:-4], rsv=4), 1002
    yield frame(BINARY, zlib.compress(bytes(10_000_000))[2:-4], rsv=4), 1002
    for opcode in (TEXT, BINARY, PING, PONG, CLOSE):
        yield frame(opcode, b"{}", mask=None), 1002
    for opcode in (PING, PONG, CLOSE):
        yield frame(opcode, fin=False), 1002
        yield frame(opcode, bytes(126)), 1002
        yield frame(opcode, bytes(70_000)), 1002
    yield frame(TEXT, b"{}", length=b"\x7e\0\2"), 1002
    yield frame(TEXT, b"{}", length=b"\x7f" + struct.pack("!Q", 2)), 1002
    yield frame(TEXT, bytes(200), length=b"\x7f" + struct.pack("!Q", 200)), 1002
    yield frame(TEXT, b"{}", length=b"\x7f" + b"\xff" * 8), 1002
    yield frame(TEXT, b"{}", length=b"\x7f\x80" + bytes(7)), 1002
    yield frame(TEXT, b"{}", length=b"\x7f\x7f" + b"\xff" * 7), 1009
    yield frame(TEXT, b"{}", length=b"\x7f" + struct.pack("!Q", 1 << 40)), 1009
    yield frame(BINARY, b"{}", length=b"\x7f" + struct.pack("!Q", 1 << 31)), 1009
    yield frame(TEXT, b" " * (MOST + 1)), 1009
    yield frame(BINARY, bytes(MOST + 1)), 1009
    yield (
        frame(TEXT, b" " * (MOST // 4 * 3), fin=False) + frame(CONTINUED, b" " * (MOST // 4 * 3)),
        1009,
    )
    yield frame(TEXT, b" ", fin=False) + frame(CONTINUED, b" ", fin=False) * 100, 1009
    yield frame(BINARY, fin=False) + frame(CONTINUED, fin=False) * 10_000, 1009
    yield frame(CONTINUED, b"{}"), 1002
    yield frame(CONTINUED, b"{}", fin=False), 1002
    yield frame(TEXT, b"{", fin=False) + frame(TEXT, b"}"), 1002
    yield frame(TEXT, b"{", fin=False) + frame(BINARY, b"}"), 1002
    yield frame(BINARY, b"{", fin=False) + frame(TEXT, b"}", fin=False), 1002
    yield frame(TEXT, b"{", fin=False) + frame(PING, fin=False), 1002
    for text in (
        b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x80", b"\xc3", b"\xe2\x82",
        b"{\xf0\x9f\x98", b'{"a": "\xfe"}', b"\xf8\x88\x80\x80\x80",
    ):  # fmt: skip
        yield frame(TEXT, text), 1007
        yield frame(TEXT, text[:1], fin=False) + frame(CONTINUED, text[1:]), 1007
    yield frame(CLOSE, b"\3"), 1002
    yield frame(CLOSE, struct.pack("!H", 1000) + b"\xff"), 1007
    yield frame(CLOSE, struct.pack("!H", 1000) + b"\xe2\x82"), 1007
    for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535):
        yield close(code), 1002


def garbage() -> Iterator[tuple[bytes, int]]:
    """
    Frames that are right, and hold no message.
    """
    good = dump({"header": HEADER, "parent_header": {}, "metadata": {}, "content": {}})
    for text in (
        b"", b" ", b"null", b"true", b"5", b'""', b"[]", b"{}", b"{", b"}", b'{"header": 5}',
        b"NaN", b'{"header": null}', b'{"header": []}', b'{"header": {}}', b'{"header": "{}"}',
        good[:-1], b'{"header": {"msg_type": 5}}', b'{"header": {"msg_type": null}}', good + good,
        good + b"x", b'{"header": {"msg_id": "a"}}',
        b"[" * 10_000, b'{"a":' * 3_000, b'{"header": ' + b"9" * 10_000 + b"}",
        b'{"header": "NaN" ,', b"\0", b'{"header": {"a": "\0"}}', b"'header'",
        b'{"header": Infinity}',
    ):  # fmt: skip
        yield frame(TEXT, text), 1007
        yield frame(BINARY, struct.pack("!2I", 1, 8) + text), 1007
    for buffers in (["x"], "x"):
        yield frame(TEXT, dump({"header": HEADER, "buffers": buffers})), 1007
    for binary in (
        b"", b"\0", bytes(8), bytes(12), b"\xff" * 4, b"\xff" * 40, struct.pack("!2I", 1, 4) + good,
        struct.pack("!2I", 1, 9_999) + good, struct.pack("!3I", 2, 12, 4) + good,
        struct.pack("!3I", 2, 12, 1 << 31) + good, struct.pack("!I", 1 << 30) + good,
        struct.pack("!3I", 2, 99, 12) + good, good, struct.pack("!I", 0) + good,
    ):  # fmt: skip
        yield frame(BINARY, binary), 1007


def v1_garbage() -> Iterator[tuple[bytes, int]]:
    """
    The same in the other framing.
    """
    yield frame(TEXT, b"{}"), 1003
    header = dump(HEADER)
    for binary in (
        b"", bytes(7), bytes(8), bytes(56), b"\xff" * 8, b"\xff" * 64, struct.pack("<Q", 1 << 63),
        struct.pack("<7Q", 6, *[56] * 6), struct.pack("<7Q", 6, *range(56, 62)) + bytes(9),
        struct.pack("<7Q", 6, 56, 61, 60, 99, 99, 99) + bytes(50),
        struct.pack("<7Q", 5, 56, 61, 61, 61, 61, 61) + b"shell",
        struct.pack("<7Q", 6, 56, 61, *[61 + len(header)] * 4)[:-8] + bytes(8) + b"shell" + header,
        struct.pack("<7Q", 6, 56, 61, 63, 65, 67, 69) + b"shell" + b"{}" * 4,
        struct.pack("<7Q", 6, 56, 61, 63, 65, 67, 69) + b"\xff" * 13,
        struct.pack("<7Q", 6, 0, 5, 7, 9, 11, 13) + b"shell" + b"{}" * 4,
        b"garbage" * 20,
    ):  # fmt: skip
        yield frame(BINARY, binary), 1007


def fine() -> Iterator[tuple[bytes, int]]:
    """
    What looks odd, and is allowed.
    """
    yield close(), 1000
    for code in (1000, 1001, 1002, 1003, 1007, 1011, 3000, 4999):
        yield close(code, b"bye"), 1000
    yield frame(PING, b"x" * 125) * 100 + close(1000), 1000
    yield frame(PONG, b"never asked for") + close(1000), 1000
    message = dump({"header": HEADER, "content": {"x": float("nan")}})
    pieces = [frame(CONTINUED, message[at : at + 3], fin=False) for at in range(1, len(message), 3)]
    begun = frame(TEXT, message[:1], fin=False) + frame(PING)
    yield begun + b"".join(pieces) + frame(CONTINUED) + close(1000), 1000
    for header in ({"msg_id": 7}, {"msg_id": "\ud800"}, {"date": 5}):
        odd = dump({"header": {**header, "msg_type": "kernel_info_request"}})
        yield frame(TEXT, odd) + close(1000), 1000
        yield frame(BINARY, struct.pack("!2I", 1, 8) + odd) + close(1000), 1000
    for field, value in (
        ("parent_header", 5), ("parent_header", "x"), ("metadata", []), ("metadata", True),
        ("content", "x"), ("content", 1.5), ("channel", 5), ("channel", []), ("channel", {}),
    ):  # fmt: skip
        odd = dump({"header": HEADER, "channel": "nowhere", field: value})
        yield frame(TEXT, odd) + close(1000), 1000
    # Only small frames are counted.
    large = [frame(CONTINUED, b" " * 1024, fin=False) for _ in range(FRAGMENTS + 10)]
    begun = frame(TEXT, dump({"header": HEADER}), fin=False)
    yield begun + b"".join(large) + frame(CONTINUED) + close(1000), 1000
    yield frame(TEXT, dump({"header": HEADER, "channel": "nowhere"})) + close(1000), 1000


CASES = [(False, *case) for kind in (violations, garbage, fine) for case in kind()]
CASES += [(True, *case) for case in v1_garbage()]


class HostileTests(GatewayTestCase):
    """
    Clients that have a token, and no manners.
    """

    async def test_malformed(self) -> None:
        """
        Each conversation ends with the close code that is due; the kernel, and another client of
        it, notice nothing. The log has one line for each at most.
        """
        self.assertGreater(len(CASES), 80)
        gateway = await self.gateway(
            f"--max-message-size={MOST}", f"--max-frame-size={MOST}", f"--max-fragments={FRAGMENTS}"
        )
        kernel_id = await self.start_kernel(gateway.port)
        other = await self.connect(gateway.port, kernel_id)
        wrong = []

        async def check(v1: bool, frames: bytes, expected: int) -> None:
            handshake = (
                f"GET /api/kernels/{kernel_id}/channels HTTP/1.1\r\nHost: localhost\r\n"
                "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                "Sec-WebSocket-Extensions: permessage-deflate\r\n"
                + (f"Sec-WebSocket-Protocol: {V1}\r\n" if v1 else "")
                + "\r\n"
            ).encode()
            # What it begins with comes together with the handshake.
            answer = await raw(gateway.port, handshake + frames)
            if not answer.startswith(b"HTTP/1.1 101 ") or close_code(answer) != expected:
                wrong.append((frames[:60], expected, answer))

        for at in range(0, len(CASES), AT_A_TIME):
            checks = [ensureDeferred(check(*case)) for case in CASES[at : at + AT_A_TIME]]
            await gatherResults(checks, consumeErrors=True)
        self.assertEqual(wrong, [], "\n".join(map(str, wrong)))
        self.assertEqual(stdout(await other.execute("still there")), "still there")
        self.assertIsNone(other.closed)
        self.assertEqual(await gateway.stop(), 0)
        self.assertNotIn("Traceback", gateway.output)
        self.assertLess(len(gateway.output.splitlines()), len(CASES) + 20)
