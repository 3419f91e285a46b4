"""
Requests that are none, and requests that somebody else may read in another way.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from twisted.internet.defer import ensureDeferred, gatherResults

from tests.support.gateway import GatewayTestCase, http, raw

HOST = b"Host: localhost\r\n"
# One more request, which must not be taken for a part of the first, nor answered.
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n"
AT_A_TIME = 25


def get(head: bytes, target: bytes = b"/api") -> bytes:
    """
    A request with these lines after the first.
    """
    return b"GET " + target + b" HTTP/1.1\r\n" + head + b"\r\n"


def post(head: bytes, body: bytes = b"") -> bytes:
    """
    A request with a body.
    """
    return b"POST /api/kernels HTTP/1.1\r\n" + HOST + head + b"\r\n" + body


def lines() -> Iterator[tuple[bytes, int]]:
    """
    First lines.
    """
    for line in (
        b"", b" ", b"GET", b"GET /api", b"GET  /api HTTP/1.1", b"GET /api  HTTP/1.1",
        b" GET /api HTTP/1.1", b"GET /api HTTP/1.1 ", b"GET\t/api\tHTTP/1.1",
        b"GET /api HTTP/1.1 x", b"GET /a b HTTP/1.1", b"/api GET HTTP/1.1", b"HTTP/1.1 200 OK",
        b"GET /api HTTP/1", b"GET /api HTTP/1.", b"GET /api HTTP/.1", b"GET /api HTTP/1.10",
        b"GET /api HTTP/01.1", b"GET /api HTTP/2.0", b"GET /api HTTP/0.9", b"GET /api http/1.1",
        b"GET /api HTTP 1.1", b"GET /api HTTPS/1.1", b"GET /api XYZ/1.1", b"GET /api HTTP/1.1\r",
        b"GET /api\r HTTP/1.1", b"G\xc9T /api HTTP/1.1", b"GE(T) /api HTTP/1.1",
        b"GE,T /api HTTP/1.1", b"GET: /api HTTP/1.1", b"\x00 /api HTTP/1.1",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03", b"SSH-2.0-OpenSSH_9.2", b"\xff\xfe\xfd",
        b'{"method": "GET"}', b"GET api HTTP/1.1", b"GET * HTTP/1.1", b"POST * HTTP/1.1",
        b"OPTIONS ** HTTP/1.1", b"GET ?x HTTP/1.1", b"CONNECT localhost:80 HTTP/1.1",
        b"GET localhost HTTP/1.1", b"GET ftp://localhost/api HTTP/1.1", b"GET http:/api HTTP/1.1",
        b"GET http:///api HTTP/1.1", b"GET http://a@localhost/api HTTP/1.1",
        b"GET http://local host/api HTTP/1.1", b"GET http://localhost:x/api HTTP/1.1",
        b"GET http://[::1/api HTTP/1.1", b"GET file:///etc/passwd HTTP/1.1",
        b"GET javascript:alert(1) HTTP/1.1", b"GET \\api HTTP/1.1", b"GET http://x#/api HTTP/1.1",
        b"PRI * HTTP/2.0",
    ):  # fmt: skip
        # One empty line before a request is for old browsers.
        yield line + b"\r\n" + (b"\r\n" if not line else b"") + HOST + b"\r\n", 400
    for byte in [*range(0x21), *range(0x7F, 0x100, 5), 0xFF]:
        yield get(HOST, b"/api%c" % byte), 400
    yield get(HOST, b"/" + b"x" * 20_000), 414
    yield b"G" * 20_000, 414
    yield get(HOST, b"/api?" + b"x=1&" * 6_000), 414


def heads() -> Iterator[tuple[bytes, int]]:
    """
    Headers.
    """
    for head in (
        b"", b"Host: localhost\r\n" * 2, b"Host: localhost\r\nhost: evil.org\r\n",
        b"Host: a b\r\n", b"Host: localhost/\r\n", b"Host: a@localhost\r\n",
        b"Host: http://localhost\r\n", b"Host: localhost:8a\r\n", b"Host: localhost:1:2\r\n",
        b"Host: [::1\r\n", b"Host: ::1\r\n", b"Host: localhost, localhost\r\n",
        b"Host: loc\xc3\xa4lhost\r\n", b"Host: localhost%zz\r\n", b"Host: localhost\\\r\n",
        b"Host: %b\r\n" % (b"a" * 300), b"Host: localhost#\r\n", b"Host: localhost?\r\n",
        b'Host: "localhost"\r\n', b"Host: <localhost>\r\n", b"Host: localhost:999999\r\n",
    ):  # fmt: skip
        yield get(head), 400
    for head in (
        b"X\r\n", b": y\r\n", b"X : y\r\n", b"X\t: y\r\n", b" X: y\r\n", b"\tX: y\r\n",
        b"X y: z\r\n", b"X: y\r\n z\r\n", b"X: y\r\n\tz\r\n", b"X: \r\n y\r\n", b"X(: y\r\n",
        b"X,: y\r\n", b"X\xe4: y\r\n", b"X\x00: y\r\n", b"X: y\x00\r\n", b"X: \x00\r\n",
        b"X: y\nZ: a\r\n", b"X: y\rz\r\n", b"X: \x01\r\n", b"X: \x0b\r\n", b"X: \x0c\r\n",
        b"X: \x1b[31m\r\n", b"X: \x7f\r\n", b"X: y\r\r\n", b"\x00\r\n", b"\n", b"{}\r\n",
        b"GET /api HTTP/1.1\r\n", b"\xff: \xff\r\n", b"X;: y\r\n", b"X=y\r\n", b"[X]: y\r\n",
        b'"X": y\r\n', b"@: y\r\n", b"X/Y: z\r\n", b"X?: y\r\n", b"X{: y\r\n",
    ):  # fmt: skip
        yield get(HOST + head), 400
        if b"\n" not in head[:-2]:
            yield get(head + HOST), 400
    yield get(HOST + b"X: y\r\n" * 300), 431
    yield get(HOST + b"X: %b\r\n" % (b"y" * 70_000)), 431
    yield get(HOST + b"X: %b\r\n" % (b"y" * 1_000) * 100), 431
    yield get(HOST + b"%b: y\r\n" % (b"X" * 70_000)), 431
    yield b"GET /api HTTP/1.1\r\n" + HOST + b"y" * 70_000, 431
    yield b"GET /api HTTP/1.1\nHost: localhost\n\n", 400
    yield b"GET /api HTTP/1.1\r\nHost: localhost\nX: y\r\n\r\n", 400
    yield b"GET /api HTTP/1.1\r\nHost: localhost\r\n\n", 400
    yield get(HOST + b"Expect: 200-ok\r\n"), 417
    yield post(b"Expect: 100-continue, x\r\nContent-Length: 2\r\n", b"{}"), 417


def lengths() -> Iterator[tuple[bytes, int]]:
    """
    Where a body ends.
    """
    for length in (
        b"+2", b"-2", b"2 ", b"0x2", b"2.0", b"2,2", b"2, 2", b"2 2", b"", b"two", b"2e0", b"\xb2",
        b"--2", b"2;", b"9" * 20, b"0" * 20, b"9" * 5_000, b"1_0", b"\x0b2", b"(2)", b"'2'",
        b"NaN", b"2\xa0", b"2\x85", b"\xd9\xa2",
    ):  # fmt: skip
        if length != b"2 ":
            yield post(b"Content-Length: " + length + b"\r\n", b"{}" + HIDDEN), 400
    yield post(b"Content-Length: 2\r\n" * 2, b"{}" + HIDDEN), 400
    yield post(b"Content-Length: 2\r\nContent-Length: 40\r\n", b"{}" + HIDDEN), 400
    yield post(b"Content-Length: 2\r\ncontent-length: 3\r\n", b"{}" + HIDDEN), 400
    yield post(b"Content-Length: 2\r\n Content-Length: 3\r\n", b"{}" + HIDDEN), 400
    yield post(b"Content-Length: 1\r\n 2\r\n", b"{}" + HIDDEN), 400
    yield post(b"Content-Length : 2\r\n", b"{}" + HIDDEN), 400
    yield post(b"Content-Length: 9999999999\r\n", b"{}"), 413
    yield post(b"Content-Length: 9223372036854775808\r\n", b"{}"), 413
    chunks = b"2\r\n{}\r\n0\r\n\r\n"
    both = b"Content-Length: 2\r\n", b"Transfer-Encoding: chunked\r\n"
    yield post(b"".join(both), chunks + HIDDEN), 400
    yield post(b"".join(reversed(both)), chunks + HIDDEN), 400
    yield post(both[1] * 2, chunks + HIDDEN), 400
    yield post(b"Transfer-Encoding : chunked\r\n", chunks + HIDDEN), 400
    yield post(b"Transfer-Encoding:\r\n chunked\r\n", chunks + HIDDEN), 400
    yield b"POST /api/kernels HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks, 400
    for coding in (
        b"identity", b"gzip", b"gzip, chunked", b"chunked, gzip", b"chunked, chunked", b"chunked,",
        b",chunked", b"xchunked", b"chunked;q=1", b'"chunked"', b"chunked identity", b"chunke",
        b"", b"\xffchunked", b"chunked\xa0", b"x", b"deflate", b"compress", b"trailers",
        b"chunked\x85",
    ):  # fmt: skip
        yield post(b"Transfer-Encoding: " + coding + b"\r\n", chunks + HIDDEN), 501
    yield post(b"Transfer-Encoding: \x0bchunked\r\n", chunks + HIDDEN), 400
    for body in (
        b"\r\n", b"x\r\n", b"-2\r\n{}\r\n", b"+2\r\n{}\r\n", b"0x2\r\n{}\r\n", b" 2\r\n{}\r\n",
        b"2 \r\n{}\r\n", b"2\r\n{}x\r\n", b"2\r\n{}\n0\r\n\r\n", b"2\r\n{}0\r\n\r\n",
        b"2;\x00\r\n{}\r\n", b"1" * 2_000, b"2_0\r\n", b"g\r\n", b"2" + b";x" * 1_000,
        b"0\r\n" + b"X: y\r\n" * 12_000, b"\xb2\r\n{}\r\n",
    ):  # fmt: skip
        yield post(b"Transfer-Encoding: chunked\r\n", body), 400
    yield post(b"Transfer-Encoding: chunked\r\n", b"ffffffffffffffff\r\n" + b"x" * 300_000), 413
    for coding in (b"gzip", b"deflate", b"br", b"zstd", b"x-gzip", b"identity, gzip", b"nonsense"):
        yield post(b"Content-Encoding: " + coding + b"\r\nContent-Length: 2\r\n", b"{}"), 415


CASES = [*lines(), *heads(), *lengths()]


class HostileTests(GatewayTestCase):
    """
    Bytes that a client has no business to send.
    """

    async def test_malformed(self) -> None:
        """
        Each is refused in JSON that says why, with the connection closed and nothing of what came
        behind it answered; the next request works. The log has one line for each at most.
        """
        self.assertGreater(len(CASES), 150)
        gateway = await self.gateway("--max-body-size=200KiB", "--max-kernels=0")
        wrong: list[tuple[bytes, int, bytes]] = []

        async def check(request: bytes, expected: int) -> None:
            answer = await raw(gateway.port, request)
            head, _, body = answer.partition(b"\r\n\r\n")
            fields = dict(re.findall(rb"\r\n([\w-]+): ([^\r]*)", head))
            if not (
                re.findall(rb"HTTP/1.1 (\d+) ", answer) == [b"%d" % expected]
                and fields[b"Connection"] == b"close"
                and fields[b"Server"] == b"kgd"
                and fields[b"Content-Type"] == b"application/json"
                and int(fields[b"Content-Length"]) == len(body)
                and json.loads(body)["message"]
            ):
                wrong.append((request[:200], expected, answer))

        for at in range(0, len(CASES), AT_A_TIME):
            checks = [ensureDeferred(check(*case)) for case in CASES[at : at + AT_A_TIME]]
            await gatherResults(checks, consumeErrors=True)
            self.assertEqual((await http(gateway.port, "GET", "/api")).code, 200)
        self.assertEqual(wrong, [], "\n".join(map(str, wrong)))
        self.assertEqual(await gateway.stop(), 0)
        log = gateway.output.splitlines()
        self.assertNotIn("Traceback", gateway.output)
        self.assertNotIn("/hidden", gateway.output)
        self.assertLess(len(log), len(CASES) + 20)
        self.assertFalse([line for line in log if not line.isprintable()])

    async def test_absolute_target(self) -> None:
        """
        A target with a host in it is served like one without, and its host is the one that counts.
        """
        gateway = await self.gateway()

        async def ask(target: bytes, host: bytes = b"evil.org", method: bytes = b"GET") -> bytes:
            return await raw(
                gateway.port,
                method + b" " + target + b" HTTP/1.1\r\nConnection: close\r\nHost: " + host
                + b"\r\n\r\n",
            )  # fmt: skip

        for target in (
            b"http://localhost/api",
            b"HTTP://127.0.0.1:1/api?x=1",
            b"https://[::1]/api",
        ):
            answer = await ask(target)
            self.assertTrue(answer.startswith(b"HTTP/1.1 200 "), answer)
            self.assertIn(b'"version"', answer)
        refused = await ask(b"http://evil.org/api", b"localhost")
        self.assertTrue(refused.startswith(b"HTTP/1.1 403 "), refused)
        for target in (b"http://localhost", b"http://localhost?x"):
            answer = await ask(target)
            self.assertTrue(answer.startswith(b"HTTP/1.1 404 "), answer)
            self.assertIn(b"application/json", answer)
        for target in (b"*", b"http://localhost"):
            answer = await ask(target, b"localhost", b"OPTIONS")
            self.assertTrue(answer.startswith(b"HTTP/1.1 200 "), answer)
            self.assertIn(b"Server: kgd", answer)

    async def test_pipelined(self) -> None:
        """
        Requests that come at once are answered in order, the first of which takes longest, though
        there are many, in pieces, and with bodies.
        """
        gateway = await self.gateway()
        start = post(b"Content-Length: 2\r\n", b"{}")
        chunked = post(
            b"Transfer-Encoding: chunked\r\nX-Request-Id: chunked\r\n",
            b'9;x=y\r\n{"name": \r\n6\r\n"nope"\r\n1\r\n}\r\n0\r\nX: y\r\n\r\n',
        )
        many = [get(HOST + b"X-Request-Id: %d\r\n" % number) for number in range(500)]
        last = get(HOST + b"Connection: close\r\n")
        answer = await raw(
            gateway.port, b"\r\n".join([start, chunked, *many[:250]]) + b"".join(many[250:]) + last
        )
        codes = re.findall(rb"HTTP/1.1 (\d+) ", answer)
        self.assertEqual(codes, [b"201", b"404"] + [b"200"] * 501)
        ids = re.findall(rb"X-Request-Id: (\w+)\r", answer)
        self.assertEqual(ids[1:-1], [b"chunked"] + [b"%d" % number for number in range(500)])
