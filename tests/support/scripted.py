"""
A kernel that runs the gateway's own code as a test tells it to.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec

from kgd.protocol.messages import ClientMessage, make_kernel_message
from kgd.testing.kernels import FakeAttachment, MemoryKernel


class Script:
    """
    Plays the part of a kernel that runs code of the gateway's own.
    """

    def __init__(self, kernel: MemoryKernel) -> None:
        self.kernel = kernel

    @property
    def attachment(self) -> FakeAttachment:
        """
        The attachment of the gateway's executor.
        """
        (attachment,) = self.kernel.channels.attachments.values()
        return attachment

    @property
    def codes(self) -> list[str]:
        """
        The code that it was asked to run and that was not taken with :py:meth:`take`.
        """
        return [msgspec.json.decode(each.parts[3])["code"] for each in self.attachment.requests]

    def take(self) -> ClientMessage:
        """
        :return: The next request.
        """
        return self.attachment.requests.pop(0)

    def say(
        self, request: ClientMessage, msg_type: str, channel: str = "iopub", **content: Any
    ) -> None:
        """
        Send a message that belongs to a request, if the executor has not detached.
        """
        encoded = msgspec.json.encode(content)
        parent = request.parts[0]
        for attachment in self.kernel.channels.attachments.values():
            attachment.deliver(
                make_kernel_message(msg_type, encoded, "k", time.time(), parent, channel)
            )

    def begin(self, request: ClientMessage) -> None:
        """
        Be busy with a request.
        """
        self.say(request, "status", execution_state="busy")

    def end(self, request: ClientMessage, status: str = "ok", **more: Any) -> None:
        """
        Reply to a request, and be idle.
        """
        self.say(request, "execute_reply", "shell", status=status, **more)
        if status != "aborted":
            self.say(request, "status", execution_state="idle")

    def fail(self, request: ClientMessage, ename: str = "E", evalue: str = "v") -> None:
        """
        Fail with an error.
        """
        self.say(request, "error", ename=ename, evalue=evalue, traceback=[])
        self.end(request, "error", ename=ename, evalue=evalue)

    def answer(self, text: str) -> None:
        """
        Run the assignment of ``REQUEST``, then print something for the cell.
        """
        self.end(self.take())
        request = self.take()
        self.say(request, "stream", name="stdout", text=text)
        self.end(request)

    def die(self) -> None:
        """
        Close the executor, as a kernel's channels do when the kernel has died.
        """
        client = self.attachment.client
        assert client is not None
        client.close(1000, "The kernel died: signal 9")
