"""
Clients that hang up while code runs.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from tests.support.api import APITestCase


class LeavingTests(APITestCase):
    """
    A kernel that is busy for as long as the test lasts.
    """

    def leave(self, accept: str, **body: Any) -> list[str]:
        """
        Run code, and hang up.

        :return: The kernels that were interrupted.
        """
        self.serve()
        kernel_id = self.start()
        content = json.dumps({"code": "x", **body}).encode()
        protocol = self.client.connect()
        head = [
            f"POST /api/kernels/{kernel_id}/execute HTTP/1.1",
            "Host: a",
            f"Accept: {accept}",
            f"Content-Length: {len(content)}",
            "",
            "",
        ]
        protocol.dataReceived("\r\n".join(head).encode() + content)
        protocol.connectionLost(Failure(ConnectionDone()))
        # trial fails this test for anything that has been logged.
        return ["it" for each in self.kernels.interrupted if each == kernel_id]

    def test_interrupted(self) -> None:
        """
        The code is interrupted unless the client wants it to go on, in every form of the response.
        """
        for accept in ("application/json", "application/x-ndjson", "text/event-stream"):
            self.assertEqual(self.leave(accept), ["it"], accept)
            self.assertEqual(self.leave(accept, on_disconnect="continue"), [], accept)
