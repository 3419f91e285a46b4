"""
Streams of the outputs of code, in memory.
"""

from __future__ import annotations

from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from tests.support.api import APITestCase


class HangUpTests(APITestCase):
    """
    Clients that leave before the end.
    """

    def test_hang_up(self) -> None:
        """
        Code whose client leaves its stream is interrupted, and nothing is logged as an error.
        """
        for accept in (b"text/event-stream", b"application/x-ndjson", b"application/json"):
            kernel_id = self.start()
            body = b'{"code": "x"}'
            protocol = self.client.connect()
            path = b"/api/kernels/%b/execute" % kernel_id.encode()
            protocol.dataReceived(b"POST %b HTTP/1.1\r\nHost: x\r\nAccept: %b\r\n" % (path, accept))
            protocol.dataReceived(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
            protocol.connectionLost(Failure(ConnectionLost()))
            self.assertEqual(self.kernels.interrupted[-1], kernel_id)
