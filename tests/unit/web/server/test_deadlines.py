"""
How many connections there may be, for how long they may keep the gateway waiting, and what is
refused before it has been read.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from kgd.gateway.context import GatewayContext
from kgd.personalities.jupyter_websocket import JupyterWebsocket
from kgd.settings import Settings
from kgd.testing.kernels import FakeKernelSpecs, MemoryKernels
from kgd.testing.web import MemoryClient
from kgd.web.root import RootResource
from kgd.web.server.deadlines import client_network
from kgd.web.server.site import LINGER

GET = b"GET /api HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /api/kernels HTTP/1.1\r\nHost: x\r\n"


class ConnectionsTestCase(SynchronousTestCase):
    """
    A gateway in memory.
    """

    def serve(self, **settings: Any) -> MemoryClient:
        """
        A gateway with these settings.
        """
        made = Settings(**settings)
        specs = FakeKernelSpecs()
        kernels = MemoryKernels(made, specs)
        self.client = MemoryClient(
            made, JupyterWebsocket(GatewayContext(Clock(), made, kernels, specs, None))
        )
        self.addCleanup(self.client.close)
        return self.client

    def wait(self, seconds: int) -> None:
        """
        Let time pass.
        """
        for _ in range(seconds):
            self.client.clock.advance(1)

    def lose(self, protocol: Any) -> None:
        """
        The client goes.
        """
        protocol.connectionLost(Failure(ConnectionDone()))

    @property
    def said(self) -> bytes:
        """
        What the gateway has written to the latest connection.
        """
        value: bytes = self.client.transport.value()
        return value


class DeadlineTests(ConnectionsTestCase):
    """
    Time.
    """

    def test_headers(self) -> None:
        """
        All headers have to be there in time; a byte now and then does not help.
        """
        protocol = self.serve(header_timeout=10.0).connect()
        for byte in GET[:9]:
            protocol.dataReceived(bytes([byte]))
            self.wait(1)
        self.assertEqual(self.said, b"")
        self.wait(1)
        self.assertIn(b"HTTP/1.1 408 ", self.said)
        self.assertIn(b"did not arrive in time", self.said)
        protocol.dataReceived(GET[9:])
        self.assertNotIn(b" 200 ", self.said)
        self.wait(int(LINGER))
        self.assertTrue(self.client.transport.aborted)

    def test_nothing(self) -> None:
        """
        A connection on which nothing is said ends without a word.
        """
        self.serve(header_timeout=10.0).connect()
        self.wait(9)
        self.assertFalse(self.client.transport.disconnecting)
        self.wait(1)
        self.assertTrue(self.client.transport.disconnecting)
        self.assertEqual(self.said, b"")

    def test_next_request(self) -> None:
        """
        Between requests there is another limit, and each has its own time for its headers.
        """
        protocol = self.serve(header_timeout=10.0, keep_alive_timeout=30.0).connect()
        for _ in range(3):
            protocol.dataReceived(GET[:5])
            self.wait(9)
            protocol.dataReceived(GET[5:])
            self.wait(29)
        self.assertEqual(self.said.count(b"HTTP/1.1 200 "), 3)
        self.assertFalse(self.client.transport.disconnecting)
        self.wait(1)
        self.assertTrue(self.client.transport.disconnecting)
        self.assertNotIn(b" 408 ", self.said)

    def test_idle(self) -> None:
        """
        When others need their files, connections that wait for nothing are closed, and no others.
        """
        client = self.serve()
        begun = client.connect()
        begun.dataReceived(GET[:9])
        transport = client.transport
        idle = client.connect()
        idle.dataReceived(GET)
        self.assertIn(b"200 OK", self.said)
        idle.site.connections.close_idle()
        self.assertTrue(client.transport.disconnecting)
        self.assertFalse(transport.disconnecting)

    def test_body(self) -> None:
        """
        A body has to be there in time, too; the faster it comes, the longer it may take.
        """
        self.serve(body_timeout=10.0, body_rate=100)
        protocol = self.client.connect()
        protocol.dataReceived(POST + b"Content-Length: 10000\r\n\r\n")
        for _ in range(30):
            # As fast as it has to be.
            protocol.dataReceived(b"x" * 100)
            self.wait(1)
        self.assertEqual(self.said, b"")
        self.wait(10)
        self.assertIn(b"HTTP/1.1 408 ", self.said)
        self.assertIn(b"--body-timeout", self.said)

    def test_defect(self) -> None:
        """
        A connection whose deadlines cannot be checked leaves those of the others as they are.
        """
        self.serve(header_timeout=10.0).connect()
        transport = self.client.transport
        broken: Any = object()
        self.client._site.connections.watch(broken)
        self.wait(10)
        self.assertTrue(transport.disconnecting)
        self.client._site.connections.unwatch(broken)
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 10)

    def test_without_limits(self) -> None:
        """
        Each may be switched off.
        """
        off = dict.fromkeys(("header_timeout", "body_timeout", "keep_alive_timeout"), 0.0)
        self.serve(**off)
        for sent in (b"", GET[:5], GET, POST + b"Content-Length: 5\r\n\r\n12"):
            self.client.connect().dataReceived(sent)
            self.wait(10_000)
            self.assertFalse(self.client.transport.disconnecting)

    def test_unread_answers(self) -> None:
        """
        A client that takes nothing of what waits for it is cut off; one that takes a little is not.
        """
        protocol = self.serve(send_timeout=10.0).connect()
        transport: Any = self.client.transport
        transport.dataBuffer, transport.offset, transport._tempDataLen = b"x" * 1000, 0, 50
        protocol.dataReceived(GET)
        for _ in range(20):
            transport.offset += 1
            self.wait(9)
        self.assertFalse(transport.aborted)
        self.wait(11)
        self.assertTrue(transport.aborted)


class NumberTests(ConnectionsTestCase):
    """
    Numbers.
    """

    def test_too_many(self) -> None:
        """
        So many connections and no more; who goes makes room.
        """
        for settings in ({"max_connections": 3}, {"max_connections_per_address": 3}):
            self.serve(**settings)
            protocols = [self.client.connect() for _ in range(3)]
            refused = self.client.connect()
            self.assertIn(b"HTTP/1.1 503 ", self.said)
            self.assertIn(b"Retry-After: 10\r\n", self.said)
            self.assertIn(b"too many connections", self.said)
            refused.dataReceived(GET)
            self.assertNotIn(b" 200 ", self.said)
            for protocol in (refused, protocols.pop()):
                self.lose(protocol)
            self.client.connect().dataReceived(GET)
            self.assertIn(b"HTTP/1.1 200 ", self.said)

    def test_flood(self) -> None:
        """
        Not everybody can be told.
        """
        self.serve(max_connections=1)
        for _ in range(100):
            self.client.connect()
        self.assertTrue(self.client.transport.aborted)
        self.assertEqual(self.said, b"")

    def test_places(self) -> None:
        """
        What counts as one client.
        """
        for address, place in (
            (IPv4Address("TCP", "192.0.2.1", 1), "192.0.2.1"),
            (IPv6Address("TCP", "2001:db8:1:2:3::4", 1), "2001:db8:1:2::/64"),
            (IPv6Address("TCP", "fe80::1%eth0", 1), "fe80::/64"),
            (UNIXAddress("/s"), ""),
            (None, ""),
        ):
            self.assertEqual(client_network(address), place)

    def test_pipelined(self) -> None:
        """
        Of requests that come at once, one is answered in a turn of the reactor; none as long as
        the client does not read.
        """
        self.serve().connect().dataReceived(GET * 20)
        self.assertEqual(self.said.count(b"HTTP/1.1 200 "), 1)
        self.client.clock.advance(0)
        self.assertEqual(self.said.count(b"HTTP/1.1 200 "), 20)
        protocol = self.client.connect()
        protocol.pauseProducing()
        protocol.dataReceived(GET * 3)
        self.wait(10)
        self.assertEqual(self.said.count(b"HTTP/1.1 200 "), 1)
        protocol.resumeProducing()
        self.client.clock.advance(0)
        self.assertEqual(self.said.count(b"HTTP/1.1 200 "), 3)


class LastRequestTests(ConnectionsTestCase):
    """
    After the last request.
    """

    def test_more(self) -> None:
        """
        Whatever comes after a request that was to be the last is not answered, not even with a
        refusal.
        """
        self.serve()
        for more in (GET, b"garbage\n", b"x" * 100_000):
            for sent in (GET.replace(b"Host", b"Connection: close\r\nHost") + more, b""):
                self.client.connect().dataReceived(sent)
                self.client.clock.advance(0)
                self.assertEqual(self.said.count(b"HTTP/1.1 "), bool(sent))

    def test_defect(self) -> None:
        """
        What nobody has thought of is JSON, too, and logged.
        """
        client = self.serve()
        self.patch(RootResource, "render", lambda *_: 1 / 0)
        response = client.request("GET", "/api")
        self.assertEqual((response.code, response.json["message"]), (500, "Unknown server error"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class BeforeBodyTests(ConnectionsTestCase):
    """
    What is refused before the body comes.
    """

    def test_refused(self) -> None:
        """
        Without a token, or for what is not served, a large body is not read, nor asked for.
        """
        self.serve(auth_token="t")
        for head, code in (
            (POST, 401),
            (POST.replace(b"kernels", b"nothing"), 404),
            (POST + b"Authorization: token wrong\r\n", 401),
        ):
            for length in (b"Content-Length: 1000000", b"Transfer-Encoding: chunked"):
                protocol = self.client.connect()
                protocol.dataReceived(head + b"Expect: 100-continue\r\n" + length + b"\r\n\r\n")
                self.assertTrue(self.said.startswith(b"HTTP/1.1 %d " % code), self.said)
                self.assertNotIn(b" 100 ", self.said)
        protocol = self.client.connect()
        protocol.dataReceived(POST + b"Authorization: token t\r\nExpect: 100-continue\r\n")
        protocol.dataReceived(b"Content-Length: 2\r\n\r\n")
        self.assertTrue(self.said.startswith(b"HTTP/1.1 100 "))
        protocol.dataReceived(b"{}")
        self.assertIn(b"HTTP/1.1 201 ", self.said)
