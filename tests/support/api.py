"""
The REST API in memory, without a network and without kernels.
"""

from __future__ import annotations

import json
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from kgd.gateway.context import GatewayContext
from kgd.personalities.jupyter_websocket import JupyterWebsocket
from kgd.settings import Settings
from kgd.testing.kernels import FakeKernelSpecs, MemoryKernels, kernel_spec
from kgd.testing.web import MemoryClient, Response

UNKNOWN = "1-2-3-4-5"


class ThreadlessClock(Clock):
    """
    A clock that does at once what is to be done in a thread.
    """

    def getThreadPool(self) -> Any:
        """
        :return: Itself.
        """
        return self

    def callInThread(self, function: Any, *args: Any, **named: Any) -> None:
        """
        Call the function.
        """
        function(*args, **named)

    def callInThreadWithCallback(self, done: Any, function: Any, *args: Any, **named: Any) -> None:
        """
        Call the function, and give away what becomes of it.
        """
        try:
            result = function(*args, **named)
        except Exception:
            done(False, Failure())
        else:
            done(True, result)

    def callFromThread(self, function: Any, *args: Any, **named: Any) -> None:
        """
        Call the function.
        """
        function(*args, **named)


@attrs.frozen
class FilesInFolder:
    """
    Stands for the runtime directory.
    """

    folder: Path

    def make_directory(self, name: str) -> Path:
        """
        :return: A directory in the folder.
        """
        path = self.folder / name
        path.mkdir(exist_ok=True)
        return path

    def as_kernel_user(self) -> AbstractContextManager[None]:
        """
        :return: Changes nothing.
        """
        return nullcontext()


class APITestCase(SynchronousTestCase):
    """
    Tests against the whole stack but the network and the kernels.
    """

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir()
        (self.folder / "logo-64x64.png").write_bytes(b"\x89PNG")
        (self.folder / "kernel.json").write_text("{}")
        self.specs = FakeKernelSpecs(
            attrs.evolve(
                kernel_spec("python3"),
                directory=self.folder,
                resources={"logo-64x64": "logo-64x64.png"},
            )
        )
        self.serve()

    def serve(self, **settings: Any) -> None:
        """
        Begin anew with these settings.
        """
        self.settings = Settings(**settings)
        self.kernels = MemoryKernels(self.settings, self.specs)
        self.clock = ThreadlessClock()
        runtime = FilesInFolder(self.folder)
        self.parts = GatewayContext(self.clock, self.settings, self.kernels, self.specs, runtime)
        self.personality = JupyterWebsocket(self.parts)
        self.client = MemoryClient(
            self.settings,
            self.personality,
            counters=self.parts.counters,
            operations=self.parts.operations,
        )
        self.addCleanup(self.client.close)

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> Response:
        """
        Make a request; ``body`` is bytes, or what to send as JSON.
        """
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        response = self.client.request(
            method, path, body, {name.replace("_", "-"): value for name, value in headers.items()}
        )
        self.assertNotIn("transfer-encoding", response.headers, "it announces its length")
        return response

    def assertError(self, response: Response, code: int, message: str | None = None) -> None:
        """
        The response is an error in the canonical shape.
        """
        self.assertEqual(response.code, code, response.body)
        self.assertEqual(response.headers["content-type"], "application/json")
        self.assertEqual(sorted(response.json), ["message", "reason"])
        self.assertEqual(response.json["reason"], response.reason)
        self.assertNotIn("Traceback", response.json["message"])
        if message is not None:
            self.assertEqual(response.json["message"], message)

    def start(self, body: Any = None) -> str:
        """
        :return: The id of a new kernel.
        """
        response = self.request("POST", "/api/kernels", body)
        self.assertEqual(response.code, 201, response.body)
        return str(response.json["id"])
