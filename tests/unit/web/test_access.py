"""
Names under which the gateway answers.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kgd.gateway.context import GatewayContext
from kgd.personalities.jupyter_websocket import JupyterWebsocket
from kgd.settings import Settings
from kgd.testing.kernels import FakeKernelSpecs, MemoryKernels
from kgd.testing.web import EXAMPLE_ADDRESS, MemoryClient, Response

HERE = IPv4Address("TCP", "127.0.0.1", 8888)
OURS = ("localhost", "LOCALHOST:1", "localhost.", "127.0.0.1", "127.0.0.1:8888", "127.1.2.3",
        "[::1]", "[::1]:8888")  # fmt: skip
FOREIGN = (
    "evil.org", "evil.org:8888", "localhost.evil.org", "127.0.0.1.evil.org", "evil.org.", ":8888",
    "0.0.0.0", "10.0.0.1", "127.1", "2130706433", "localhost,evil.org", "*",
)  # fmt: skip
# None of these is a name.
JUNK = (
    "::1", "localhost@evil.org", "localhost:80@evil.org", "localhost/evil.org",
    "evil.org/localhost", "[::1].evil.org", "127.0.0.1%evil.org", "loc\xe4lhost",
    "localhost evil.org", "localhost:x", "localhost:80:80", "[::1", "x" * 300,
)  # fmt: skip


class HostTests(SynchronousTestCase):
    """
    The check against DNS rebinding.
    """

    def serve(self, address: object = HERE, **settings: Any) -> MemoryClient:
        """
        A gateway with these settings, to which one connects at this address.
        """
        made = Settings(**settings)
        specs = FakeKernelSpecs()
        self.kernels = MemoryKernels(made, specs)
        personality = JupyterWebsocket(GatewayContext(Clock(), made, self.kernels, specs, None))
        client = MemoryClient(made, personality, host=address)
        self.addCleanup(client.close)
        return client

    def ask(self, client: MemoryClient, host: str, path: str = "/api") -> Response:
        """
        Ask under this name.
        """
        return client.request("GET", path, headers={"Host": host})

    def test_names(self) -> None:
        """
        On loopback without a token, only names of loopback will do, on every path and method.
        """
        client = self.serve()
        for host in OURS:
            self.assertEqual(self.ask(client, host).code, 200, host)
        for host in FOREIGN:
            response = self.ask(client, host)
            self.assertEqual(response.code, 403, host)
            self.assertEqual(response.json["reason"], "Forbidden")
            self.assertIn("--allowed-hosts", response.json["message"])
        for host in JUNK:
            self.assertEqual(self.ask(client, host).code, 400, host)
        for method, path in (
            ("GET", "/nope"),
            ("GET", "/healthz"),
            ("OPTIONS", "/api"),
            ("HEAD", "/api"),
            ("POST", "/api/kernels"),
            ("GET", "/api/kernels/1-2-3-4-5/channels"),
        ):
            response = client.request(method, path, headers={"Host": "evil.org"})
            self.assertEqual(response.code, 403, path)
        self.assertEqual(list(self.kernels.list()), [])

    def test_number(self) -> None:
        """
        There is one name, not two. A health check without a name is no web page's: with HTTP/1.0 it
        needs none, with HTTP/1.1 it has to say that it has none.
        """
        for settings in ({}, {"auth_token": "t"}, {"allowed_hosts": frozenset({"a"})}):
            client = self.serve(**settings)
            query = b"?token=t" if "auth_token" in settings else b""
            for version, hosts, code in (
                (b"1.0", b"", 200),
                (b"1.1", b"", 400),
                (b"1.0", b"Host:\r\n", 200),
                (b"1.1", b"Host: \r\n", 200),
                (b"1.0", b"Host: localhost\r\n", 200),
                (b"1.0", b"Host: evil.org\r\n", 200 if query else 403),
                *(
                    (version, b"Host: %b\r\nHost: %b\r\n" % names, 400)
                    for version in (b"1.0", b"1.1")
                    for names in (
                        (b"localhost", b"evil.org"),
                        (b"a", b"localhost"),
                        (b"localhost", b"localhost"),
                        (b"", b"localhost"),
                        (b"", b""),
                    )
                ),
            ):
                for target in (b"/api", b"/api/kernelspecs"):
                    client.connect().dataReceived(
                        b"GET %b%b HTTP/%b\r\n%b\r\n" % (target, query, version, hosts)
                    )
                    self.assertRegex(
                        client.transport.value(),
                        rb"^HTTP/1.[01] %d " % code,
                        (settings, version, hosts),
                    )

    def test_listed(self) -> None:
        """
        Other names may be listed: for any port, or with one; or all of them.
        """
        client = self.serve(allowed_hosts=frozenset({"Hub.example", "other.example:80", "fe80::1"}))
        for host in ("hub.example", "HUB.example:1", "hub.example.", "other.example:80",
                     "[fe80::1]:9", "localhost"):  # fmt: skip
            self.assertEqual(self.ask(client, host).code, 200, host)
        for host in (
            "other.example",
            "other.example:8",
            "hub.example.evil.org",
            "xhub.example",
            ":80",
        ):
            self.assertEqual(self.ask(client, host).code, 403, host)
        client = self.serve(allowed_hosts=frozenset({"*"}))
        for host in FOREIGN:
            self.assertEqual(self.ask(client, host).code, 200, host)

    def test_where(self) -> None:
        """
        It holds for every address of loopback; not for Unix sockets, nor for other addresses.
        """
        for address, code in (
            (IPv4Address("TCP", "127.8.8.8", 1), 403),
            (IPv6Address("TCP", "::1", 1), 403),
            (IPv6Address("TCP", "::ffff:127.0.0.1", 1), 403),
            (UNIXAddress("/run/s"), 200),
            (EXAMPLE_ADDRESS, 200),
        ):
            self.assertEqual(self.ask(self.serve(address), "evil.org").code, code, address)

    def test_protected_otherwise(self) -> None:
        """
        A token is protection enough. Who opens the gateway to everybody has done so.
        """
        client = self.serve(auth_token="t")
        self.assertEqual(self.ask(client, "evil.org").code, 401)
        self.assertEqual(self.ask(client, "evil.org", "/api?token=t").code, 200)
        for settings, code in (
            ({"ip": "0.0.0.0"}, 200),
            ({"listen": ("tcp:80", "tcp:81:interface=127.0.0.1")}, 200),
            ({"ip": "127.0.0.1"}, 403),
            ({"listen": ("tcp:81:interface=127.0.0.1", "unix:/s")}, 403),
        ):
            client = self.serve(insecure_no_auth=True, **settings)
            self.assertEqual(self.ask(client, "evil.org").code, code, settings)
