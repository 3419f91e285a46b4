"""
Clients that are slow, large or many.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import time
from http.client import HTTPConnection
from pathlib import Path

from twisted.internet.threads import deferToThread

from kgd.observability.throttle import MOST_A_SECOND
from tests.support.gateway import GatewayProcess, GatewayTestCase, http, raw, stdout, until
from tests.support.websocket_frames import BINARY, CONTINUED, close_code, frame

MEBIBYTE = 1024 * 1024
LIMIT = 48 * MEBIBYTE
UNKNOWN = "/api/kernels/00000000-0000-0000-0000-000000000000"


def proc(gateway: GatewayProcess) -> Path:
    """
    Where the system tells of a gateway.
    """
    assert gateway.transport is not None
    return Path(f"/proc/{gateway.transport.pid}")


def memory(gateway: GatewayProcess, what: str = "VmRSS") -> int:
    """
    :param what: Or ``VmHWM``, the most it ever was.
    :return: In bytes.
    """
    found = re.search(rf"{what}:\s+(\d+) kB", (proc(gateway) / "status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def descriptors(gateway: GatewayProcess) -> int:
    """
    :return: How many files a gateway has open.
    """
    return len(os.listdir(proc(gateway) / "fd"))


def forget_most(gateway: GatewayProcess) -> None:
    """
    Let ``VmHWM`` begin anew.
    """
    (proc(gateway) / "clear_refs").write_text("5")


def percentile(port: int, share: float, count: int = 300) -> float:
    """
    :return: In how many seconds so many of 100 requests are answered, on one connection.
    """
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    taken: list[float] = []
    for _ in range(count):
        began = time.perf_counter()
        connection.request("GET", "/api")
        response = connection.getresponse()
        assert response.status == 200
        response.read()
        taken.append(time.perf_counter() - began)
        # A client that is alone would find the gateway busy with nothing but itself.
        time.sleep(0.002)
    connection.close()
    return sorted(taken)[int(count * share)]


class LoadTestCase(GatewayTestCase):
    """
    Plain sockets, so that clients cost little here.
    """

    def dial(self, port: int, data: bytes) -> socket.socket:
        """
        Connect, and say something.
        """
        client = socket.create_connection(("127.0.0.1", port))
        self.addCleanup(client.close)
        client.sendall(data)
        client.setblocking(False)
        return client

    async def rest(self, client: socket.socket) -> bytes:
        """
        :return: All that comes until the gateway closes.
        """
        received = b""

        def ended() -> bool:
            nonlocal received
            try:
                while data := client.recv(65536):
                    received += data
            except BlockingIOError:
                return False
            except ConnectionResetError:
                received += b"<reset>"
            return True

        await until(ended, lambda: f"the gateway closes: {received[-200:]!r}")
        return received


class SlowTests(LoadTestCase):
    """
    Clients that take their time.
    """

    async def test_half_open(self) -> None:
        """
        Hundreds of requests that are not finished, and of bodies that do not come, keep nobody
        else waiting. Each is told so in time, and the log does not overflow.
        """
        gateway = await self.gateway("--header-timeout=4", "--body-timeout=4", "--body-rate=0")
        heads = [
            self.dial(gateway.port, b"GET /api HTTP/1.1\r\nHost: localhost\r\nX-%d: " % number)
            for number in range(500)
        ]
        body = b"POST /api/kernels HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{"
        bodies = [self.dial(gateway.port, body) for _ in range(200)]
        # Others share the machine.
        taken: list[float] = []
        while not taken or (min(taken) >= 0.05 and len(taken) < 5):
            taken.append(await deferToThread(percentile, gateway.port, 0.99))
        self.assertLess(min(taken), 0.05)
        for slow in (*heads, *bodies):
            try:
                # It is one byte that comes after the other.
                slow.send(b"x")
            except OSError:
                continue
        for slow in (*heads, *bodies):
            answer = await self.rest(slow)
            self.assertTrue(answer.startswith(b"HTTP/1.1 408 "), answer)
        self.assertEqual((await http(gateway.port, "GET", "/api")).code, 200)
        lines = gateway.output.splitlines()
        written = len([line for line in lines if " 408 " in line])
        self.assertLess(written, 4 * MOST_A_SECOND + 10)
        await until(lambda: "more lines like this" in gateway.output, lambda: gateway.output)

    async def test_unread_answers(self) -> None:
        """
        A client that asks again and again and reads nothing is cut off, and costs little until
        then; one that reads slowly is not.
        """
        gateway = await self.gateway("--send-timeout=2")
        ask = b"GET /api/swagger.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
        before, files = memory(gateway), descriptors(gateway)

        def insatiable() -> socket.socket:
            client = self.dial(gateway.port, b"")
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sent, all_of_it = 0, ask * 5_000
            with contextlib.suppress(BlockingIOError):
                while sent < len(all_of_it):
                    sent += client.send(all_of_it[sent:])
            return client

        clients = [insatiable() for _ in range(20)]
        self.assertLess(await deferToThread(percentile, gateway.port, 0.5), 0.05)
        self.assertLess(memory(gateway) - before, 20 * MEBIBYTE)
        slow, began = insatiable(), time.monotonic()

        def only_one_is_left() -> bool:
            with contextlib.suppress(BlockingIOError):
                slow.recv(2048)
            # It has read for longer than the others were allowed to read nothing.
            return descriptors(gateway) == files + 1 and time.monotonic() - began > 4

        await until(only_one_is_left, lambda: f"others are cut off: {descriptors(gateway)}")
        for client in clients:
            self.assertTrue((await self.rest(client)).endswith(b"<reset>"))
        self.assertNotIn("Traceback", gateway.output)


class LargeTests(LoadTestCase):
    """
    Clients that send much.
    """

    async def test_bodies(self) -> None:
        """
        Bodies, whole, in chunks or compressed, need less than twice the limit, and those beyond it
        hardly anything.
        """
        gateway = await self.gateway(f"--max-body-size={LIMIT}")
        await http(gateway.port, "POST", "/api/kernels", b'{"name": "nope"}')
        before = memory(gateway)
        forget_most(gateway)
        body = b'{"name": "%b"}' % (b"x" * (LIMIT - 20))
        self.assertEqual((await http(gateway.port, "POST", "/api/kernels", body)).code, 413)
        self.assertLess(memory(gateway, "VmHWM") - before, 2 * LIMIT)
        forget_most(gateway)
        before = memory(gateway)
        head = b"POST /api/kernels HTTP/1.1\r\nHost: localhost\r\n"
        chunks = (b"10000\r\n" + b"x" * 65536 + b"\r\n") * (2 * LIMIT // 65536)
        for request, code in (
            (b"Content-Length: %d\r\n\r\n" % (2 * LIMIT) + b"x" * 2 * LIMIT, 413),
            (b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n", 413),
            (b"Content-Encoding: gzip\r\nContent-Length: 9\r\n\r\n" + b"x" * 9, 415),
        ):
            answer = await raw(gateway.port, head + request)
            self.assertTrue(answer.startswith(b"HTTP/1.1 %d " % code), answer)
        self.assertLess(memory(gateway, "VmHWM") - before, 2 * LIMIT)

    async def test_messages(self) -> None:
        """
        Messages over WebSockets need less than twice the limit, in however many pieces they come.
        """
        gateway = await self.gateway(f"--max-message-size={LIMIT}")
        kernel_id = await self.start_kernel(gateway.port)
        other = await self.connect(gateway.port, kernel_id)
        await other.execute("hello")
        before = memory(gateway)
        forget_most(gateway)
        shake = (
            f"GET /api/kernels/{kernel_id}/channels HTTP/1.1\r\nHost: localhost\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        ).encode()
        head = b"\x82\xff" + (LIMIT).to_bytes(8, "big") + b"\0\0\0\0"
        begun = frame(BINARY, fin=False)
        for frames, expected in (
            (head + b"\xff" * LIMIT, 1007),
            (begun + frame(CONTINUED, b"\xff" * 4000, fin=False, mask=bytes(4)) * 17_000, 1009),
            (begun + frame(CONTINUED, fin=False) * 100_000, 1009),
        ):
            answer = await raw(gateway.port, shake + frames)
            self.assertEqual(close_code(answer), expected)
        self.assertLess(memory(gateway, "VmHWM") - before, 2 * LIMIT)
        self.assertEqual(stdout(await other.execute("still there")), "still there")


class ManyTests(LoadTestCase):
    """
    Clients that do not give up.
    """

    async def test_dead_ids(self) -> None:
        """
        Asking for a kernel that is not there, over REST and for WebSockets, 20,000 times, leaves
        nothing behind.
        """
        gateway = await self.gateway("--no-access-log")
        upgrade = (
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        )
        asked = 0

        async def ask(count: int) -> None:
            nonlocal asked
            for _ in range(count // 1000):
                requests = []
                for _ in range(500):
                    asked += 1
                    # Each with another id, that nothing can be kept for.
                    path = UNKNOWN[:-8] + f"{asked:08x}"
                    for asked_for in (path, f"{path}/channels?session_id={asked}"):
                        first = f"GET {asked_for} HTTP/1.1\r\nHost: localhost\r\n"
                        requests.append(f"{first}{upgrade}\r\n")
                last = "GET /api HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                answer = await raw(gateway.port, "".join([*requests, last]).encode())
                self.assertEqual(answer.count(b"HTTP/1.1 404 "), 1000)

        await ask(4_000)
        before, files = memory(gateway), descriptors(gateway)
        await ask(16_000)
        self.assertLess(memory(gateway) - before, MEBIBYTE)
        await until(lambda: descriptors(gateway) <= files, "the connections are gone")
