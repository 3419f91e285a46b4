"""
Code that clients run over HTTP in memory, where a test plays the part of the kernel.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from kgd.protocol.messages import ClientMessage, KernelMessage
from kgd.testing.kernels import MemoryKernel
from kgd.testing.web import MemoryClient, Response, read_response
from tests.support.api import APITestCase
from tests.support.jupyter_messages import message


class PendingRequest:
    """
    A request whose answer may come later, on a connection of its own.
    """

    def __init__(
        self, client: MemoryClient, method: str, path: str, body: bytes, headers: dict[str, str]
    ) -> None:
        given = {"Host": "gateway:8888", "Content-Length": str(len(body)), **headers}
        lines = [f"{method} {path} HTTP/1.1", *(f"{key}: {given[key]}" for key in given)]
        self._protocol = client.connect()
        self._transport = client.transport
        self._protocol.dataReceived("\r\n".join([*lines, "", ""]).encode() + body)

    @property
    def received(self) -> bytes:
        """
        All bytes so far.
        """
        value: bytes = self._transport.value()
        return value

    @property
    def response(self) -> Response:
        """
        The answer, which must be complete.
        """
        return read_response(self.received)

    @property
    def events(self) -> list[dict[str, Any]]:
        """
        The lines of a stream that has ended.
        """
        return [json.loads(line) for line in self.response.body.splitlines()]

    def pause(self) -> None:
        """
        Have the client read no more.
        """
        producer: Any = self._transport.producer
        producer.pauseProducing()

    def hang_up(self) -> None:
        """
        Close the connection.
        """
        self._protocol.connectionLost(Failure(ConnectionLost()))


class CodeTestCase(APITestCase):
    """
    Tests of code over HTTP.
    """

    def post(self, path: str, body: Any, **headers: str) -> PendingRequest:
        """
        Send a request, whose answer may come later.
        """
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        pending = PendingRequest(self.client, "POST", path, raw, named)
        self.addCleanup(pending.hang_up)
        return pending

    def advance(self, seconds: float) -> None:
        """
        Let time pass.
        """
        clock: Any = self.parts.reactor
        clock.advance(seconds)

    def kernel(self) -> MemoryKernel:
        """
        :return: The only kernel.
        """
        (kernel,) = self.kernels.list()
        assert isinstance(kernel, MemoryKernel)
        return kernel

    def requests(self, kernel: MemoryKernel | None = None) -> list[ClientMessage]:
        """
        :return: What a kernel has been asked to run.
        """
        attachments = (kernel or self.kernel()).channels.attachments.values()
        return [each for attachment in attachments for each in attachment.requests]

    def code(self, kernel: MemoryKernel | None = None) -> list[str]:
        """
        :return: The code that a kernel has been asked to run.
        """
        return [json.loads(bytes(each.parts[3]))["code"] for each in self.requests(kernel)]

    def publish(self, *messages: tuple[str, Any], kernel: MemoryKernel | None = None) -> None:
        """
        Have a kernel publish messages that belong to the latest request.
        """
        msg_id = self.requests(kernel)[-1].msg_id
        for msg_type, content in messages:
            channel = "shell" if msg_type == "execute_reply" else "iopub"
            self._deliver(message(msg_type, content, msg_id, channel), kernel)

    def _deliver(self, each: KernelMessage, kernel: MemoryKernel | None) -> None:
        for attachment in tuple((kernel or self.kernel()).channels.attachments.values()):
            attachment.deliver(each)

    def finish(self, text: str = "", kernel: MemoryKernel | None = None, **error: Any) -> None:
        """
        Have a kernel print a text, and end the latest request.

        :param error: ``ename`` and ``evalue``, if it fails.
        """
        kernel = kernel or self.kernel()
        printed = [("stream", {"name": "stdout", "text": text})] if text else []
        failed = {"traceback": [], **error}
        reply = {"status": "ok", "execution_count": 1}
        self.publish(
            ("status", {"execution_state": "busy"}),
            *printed,
            *([("error", failed)] if error else []),
            ("execute_reply", {"status": "error", **failed} if error else reply),
            ("status", {"execution_state": "idle"}),
            kernel=kernel,
        )
