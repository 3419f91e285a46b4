"""
Requests whose kernels end, on kernels without processes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from kgd.errors import KernelStartFailed
from kgd.personalities.notebook_http.personality import NotebookHTTP
from kgd.settings import Settings
from kgd.testing.personalities import MemoryGateway
from kgd.testing.web import MemoryClient, Response, read_response
from tests.support.notebooks import python_notebook
from tests.support.scripted import Script

CELLS = ("# GET /x\nprint(1)", "# POST /x\nprint(2)", "# GET /s streamed\nprint(3)")


class EndingKernelsTests(SynchronousTestCase):
    """
    A notebook that is served by kernels that end.
    """

    def serve(self, **settings: Any) -> None:
        """
        Serve a notebook.
        """
        path = Path(self.mktemp())
        path.write_bytes(python_notebook(*CELLS))
        self.gateway = MemoryGateway(Settings(seed_uri=(str(path),), **settings))
        personality = NotebookHTTP(self.gateway)
        self.successResultOf(personality.start())
        self.addCleanup(personality.stop)
        self.client = MemoryClient(self.gateway.settings, personality)
        self.addCleanup(self.client.close)

    def ask(self, method: str = "GET", path: str = "/x", body: bytes = b"", more: str = "") -> Any:
        """
        Send a request.

        :return: The transport of its connection.
        """
        protocol = self.client.connect()
        head = f"{method} {path} HTTP/1.1\r\nHost: gateway:8888\r\nConnection: close\r\n{more}"
        protocol.dataReceived(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        return self.client.transport

    def answer(self, transport: Any) -> Response:
        """
        :return: What has been answered.
        """
        return read_response(transport.value())

    def scripts(self) -> list[Script]:
        """
        What speaks for the kernels, in the order of their start.
        """
        return [Script(kernel) for kernel in self.gateway.kernels.list()]  # type: ignore[arg-type]

    def crash(self, script: Script) -> None:
        """
        End the process of a kernel, and have another one started.
        """
        self.gateway.kernels.crash(script.kernel.kernel_id)
        self.gateway.reactor.advance(0)

    def test_not_begun(self) -> None:
        """
        A request that the kernel has not begun is given to another one.
        """
        for path in ("/x", "/s"):
            self.serve()
            transport = self.ask(path=path)
            (script,) = self.scripts()
            self.crash(script)
            (other,) = self.scripts()
            request = other.take()
            other.begin(request)
            other.say(request, "stream", name="stdout", text="hello")
            other.end(request)
            response = self.answer(transport)
            self.assertEqual((response.code, response.body), (200, b"hello"))
            self.assertEqual(other.codes, [])

    def test_begun(self) -> None:
        """
        Code that has begun never runs again, nor does code that may have begun and must not run
        twice.
        """
        for method, sign in (
            ("GET", "busy"),
            ("GET", "input"),
            ("GET", "output"),
            ("POST", "busy"),
            ("POST", "none"),
        ):
            self.serve()
            transport = self.ask(method)
            (script,) = self.scripts()
            request = script.take()
            if sign == "busy":
                script.begin(request)
            elif sign == "input":
                script.say(request, "execute_input", code="", execution_count=1)
            elif sign == "output":
                script.say(request, "stream", name="stdout", text="h")
            self.crash(script)
            response = self.answer(transport)
            self.assertEqual(response.code, 502, (method, sign))
            self.assertIn("the kernel ended before it had answered", response.json["message"])
            (other,) = self.scripts()
            self.assertEqual(other.codes, [])

    def test_bounded(self) -> None:
        """
        A request of which two kernels die is not given to a third one; the next request is served.
        """
        self.serve()
        transport = self.ask()
        self.crash(self.scripts()[0])
        self.crash(self.scripts()[0])
        self.assertEqual(self.answer(transport).code, 502)
        (script,) = self.scripts()
        self.assertEqual(script.codes, [])
        transport = self.ask()
        request = script.take()
        script.begin(request)
        script.end(request)
        self.assertEqual(self.answer(transport).code, 200)

    def test_no_other(self) -> None:
        """
        If there is no other kernel, the client reads what happened to the first one.
        """
        self.serve()
        transport = self.ask()
        self.gateway.kernels.crash(self.scripts()[0].kernel.kernel_id)
        self.gateway.kernels.error = KernelStartFailed("no room on the disk")
        self.gateway.reactor.advance(0)
        response = self.answer(transport)
        self.assertEqual(response.code, 502)
        self.assertIn("the kernel ended before it had answered", response.json["message"])

    def test_any_method_before_it_is_sent(self) -> None:
        """
        A request that comes when the process has ended already waits for another kernel.
        """
        self.serve()
        (script,) = self.scripts()
        script.kernel.execution_state = "dead"
        transport = self.ask("POST")
        self.assertEqual(script.kernel.channels.attachments["nameless-1"].requests, [])
        self.crash(script)
        (other,) = self.scripts()
        other.end(other.take())
        self.assertEqual(self.answer(transport).code, 200)

    def test_goes_first(self) -> None:
        """
        It does not wait for those that came later, and with sticky callers it stays with its place
        and gets one cookie only.
        """
        self.serve(sticky="cookie")
        first, second = self.ask(), self.ask()
        self.crash(self.scripts()[0])
        (script,) = self.scripts()
        script.end(script.take())
        self.assertEqual(self.answer(first).code, 200)
        self.assertEqual(first.value().count(b"Set-Cookie"), 1)
        self.assertEqual(second.value(), b"")
        script.end(script.take())
        self.assertEqual(self.answer(second).code, 200)

    def test_client_leaves(self) -> None:
        """
        A request that waits for its second kernel is forgotten when its client leaves.
        """
        self.serve()
        protocol = self.client.connect()
        protocol.dataReceived(b"GET /x HTTP/1.1\r\nHost: gateway:8888\r\n\r\n")
        self.gateway.kernels.crash(self.scripts()[0].kernel.kernel_id)
        protocol.connectionLost(Failure(ConnectionDone()))
        self.gateway.reactor.advance(0)
        (script,) = self.scripts()
        self.assertEqual(script.codes, [])

    def test_files(self) -> None:
        """
        The files of a request are there for the second kernel, and gone after that.
        """
        self.serve()
        removed: list[Path] = []
        form = (
            b'--b\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\nabc\r\n--b--\r\n'
        )
        kind = "Content-Type: multipart/form-data; boundary=b\r\n"
        transport = self.ask("GET", body=form, more=kind)
        for _ in range(2):
            self.assertEqual(removed, [])
            (script,) = self.scripts()
            (attachment,) = script.kernel.channels.attachments.values()
            metadata = bytes(attachment.requests[0].parts[2])
            path = Path(metadata.decode().split('\\"path\\": \\"/')[1].split('\\"')[0])
            self.assertEqual((Path("/") / path).read_bytes(), b"abc")
            self.crash(script)
        self.assertEqual(self.answer(transport).code, 502)
        self.assertFalse((Path("/") / path).exists())
