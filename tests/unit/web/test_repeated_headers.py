"""
Headers that are there twice: refused where the gateway decides by one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from kgd.gateway.context import GatewayContext
from kgd.personalities.jupyter_websocket import JupyterWebsocket
from kgd.personalities.notebook_http.personality import NotebookHTTP
from kgd.settings import CORS, Settings
from kgd.testing.kernels import FakeKernelSpecs, MemoryKernels
from kgd.testing.web import MemoryClient
from tests.support.notebooks import python_notebook

HOST = "Host: gateway:8888"
RIGHT = "Authorization: token s3cret"
OURS = "Origin: http://gateway:8888"
ALLOWED = "Origin: https://good.example"
KEY = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
VERSION = "Sec-WebSocket-Version: 13"
UPGRADE = ("Upgrade: websocket", "Connection: Upgrade", RIGHT)
KERNEL_ID = "1-2-3-4-5"


class RepeatedHeadersTests(SynchronousTestCase):
    """
    Requests whose head could be understood in two ways.
    """

    def serve(self, kind: Any, **settings: Any) -> None:
        """
        Start a personality.
        """
        made = Settings(list_kernels=True, **settings)
        specs = FakeKernelSpecs()
        kernels = MemoryKernels(made, specs)
        parts = GatewayContext(Clock(), made, kernels, specs, None)
        personality = kind(parts)
        self.successResultOf(personality.start())
        self.client = MemoryClient(made, personality, operations=parts.operations)
        self.addCleanup(self.client.close)
        if kind is JupyterWebsocket:
            body = b'{"kernel_id": "%b"}' % KERNEL_ID.encode()
            started = self.client.request(
                "POST", "/api/kernels", body, {"Authorization": "token s3cret"}
            )
            self.assertEqual(started.code, 201)

    def serve_notebook(self, **settings: Any) -> None:
        """
        Serve a notebook.
        """
        notebook = Path(self.mktemp()).resolve().with_suffix(".ipynb")
        notebook.write_bytes(
            python_notebook("x = 1", "# POST /hello as text/html\nx", "# POST /any\nx")
        )
        self.serve(NotebookHTTP, seed_uri=(str(notebook),), **settings)

    def ask(self, path: str, lines: Sequence[str], method: str = "GET") -> int | None:
        """
        :return: The status; ``None`` while there is no response.
        """
        protocol = self.client.connect()
        protocol.dataReceived(
            "\r\n".join([f"{method} {path} HTTP/1.1", HOST, *lines, "", ""]).encode("latin-1")
        )
        received: bytes = self.client.transport.value()
        protocol.connectionLost(Failure(ConnectionDone()))
        self.client.clock.advance(0)
        if not received:
            return None
        if received.startswith(b"HTTP/1.1 400 "):
            self.assertIn(b'"message":"There are 2 ', received)
        return int(received.split()[1])

    def test_refused(self) -> None:
        """
        Two of what decides are refused, whichever is right and even if they are the same, on every
        path; one that is right is served.
        """
        self.serve(
            JupyterWebsocket, auth_token="s3cret", cors=CORS(allow_origin="https://good.example")
        )
        for rest, right, wrong in (
            ((), RIGHT, "Authorization: token x"),
            ((), RIGHT, "authorization: Bearer s3cret"),
            ((), RIGHT, "Authorization:"),
            ((RIGHT,), OURS, "Origin: http://evil.org"),
            ((RIGHT,), ALLOWED, OURS),
            ((RIGHT,), ALLOWED, "origin: null"),
            ((RIGHT,), "Access-Control-Request-Method: GET", "Access-Control-Request-Method: PUT"),
        ):
            for path in ("/api/kernels", "/api", "/healthz", "/api/swagger.json"):
                self.assertEqual(self.ask(path, [*rest, right]), 200, (path, right))
                for twice in ([right, wrong], [wrong, right], [right, right], [wrong, wrong]):
                    self.assertEqual(self.ask(path, [*rest, *twice]), 400, (path, twice))
                    self.assertEqual(self.ask(path, [*rest, *twice], "OPTIONS"), 400, (path, twice))
        # Whether the token is in the query, too, does not matter.
        self.assertEqual(self.ask("/api?token=s3cret", [RIGHT, RIGHT]), 400)
        self.assertEqual(self.ask("/api?token=s3cret", ["Authorization: token x"]), 200)
        self.assertEqual(self.ask("/api?token=x", [RIGHT]), 401)
        # Before a large body is read.
        large = [RIGHT, RIGHT, "Content-Length: 9000000"]
        self.assertEqual(self.ask("/api/kernels", large, "POST"), 400)

    def test_handshakes(self) -> None:
        """
        Key and version of a WebSocket are there once; what is a list may have several headers.
        """
        self.serve(JupyterWebsocket, auth_token="s3cret")
        path = f"/api/kernels/{KERNEL_ID}/channels"
        old = "Sec-WebSocket-Version: 8"
        for lines, code in (
            ([old, KEY], 426),
            ([VERSION, KEY, KEY], 400),
            ([VERSION, KEY, KEY.replace("A=", "Q=")], 400),
            ([VERSION, "Sec-WebSocket-Key: x", KEY], 400),
            ([VERSION, VERSION, KEY], 400),
            ([VERSION, old, KEY], 400),
            ([old, VERSION, KEY], 400),
            ([VERSION, KEY, OURS, OURS], 400),
            # All is well but the version.
            ([old, KEY, "Upgrade: h2c", "Connection: keep-alive"], 426),
            ([old, KEY, "Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: b"], 426),
            ([old, KEY, "Cookie: a=b", "Cookie: c=d", "X-Any: a", "X-Any: b"], 426),
        ):
            self.assertEqual(self.ask(path, [*UPGRADE, *lines]), code, lines)

    def test_lists(self) -> None:
        """
        What is a list, and what nobody reads, may be there several times.
        """
        self.serve(JupyterWebsocket, auth_token="s3cret")
        for name in (
            "Accept", "Accept-Encoding", "Cache-Control", "Connection", "Content-Type", "Cookie",
            "Forwarded", "If-None-Match", "Via", "X-Forwarded-For", "X-Forwarded-Proto",
            "X-Request-Id", "X-Any", "Sec-WebSocket-Key",
        ):  # fmt: skip
            lines = [RIGHT, f"{name}: a", f"{name}: b"]
            self.assertEqual(self.ask("/api/kernels", lines), 200, name)

    def test_notebooks(self) -> None:
        """
        The headers that only a cell reads get to it, however many there are.
        """
        self.serve_notebook()
        body = "Content-Length: 0"
        for lines, code in (
            (["Content-Type: text/plain", "Content-Type: application/json"], 400),
            (["Content-Type: text/plain", "content-type: text/plain"], 400),
            ([OURS, OURS], 400),
            (["Content-Type: text/plain"], None),
            (["Authorization: Basic x", "Authorization: Basic y"], 400),
            (["X-Any: a", "X-Any: b", "Cookie: a=b", "Cookie: c=d", KEY, KEY], None),
            (["Accept: image/png"], 406),
            (["Accept: image/png", "Accept: text/plain"], 406),
            (["Accept: image/png", "Accept: text/html"], None),
            (["Accept: text/html", "Accept: image/png"], None),
        ):
            self.assertEqual(self.ask("/hello", [body, *lines], "POST"), code, lines)

    def test_callers(self) -> None:
        """
        The header that identifies a caller is there once; other ones are as before.
        """
        self.serve_notebook(sticky="X-User")
        for lines, code in (
            (["X-User: a", "X-User: b"], 400),
            (["X-User: a", "x-user: a"], 400),
            (["X-User: a", "X-Other: b", "X-Other: c"], None),
        ):
            self.assertEqual(self.ask("/any", ["Content-Length: 0", *lines], "POST"), code, lines)
