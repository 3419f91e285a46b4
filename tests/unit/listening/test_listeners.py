"""
The gateway's own ports.
"""

from __future__ import annotations

import random
import socket
from typing import Any, ClassVar

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactor
from twisted.trial.unittest import SynchronousTestCase

from kgd.errors import ConfigurationError
from kgd.listening.listeners import CONSECUTIVE_PORTS, Listeners, OpenPort, candidate_ports
from kgd.settings import Settings


class CandidateTests(SynchronousTestCase):
    """
    Which ports are tried.
    """

    @given(st.integers(1, 65535), st.integers(0, 100), st.randoms())
    def test_in_range(self, port: int, retries: int, chance: random.Random) -> None:
        """
        The wanted one first, then its neighbours, then others; all of them ports.
        """
        tried = list(candidate_ports(port, retries, chance))
        self.assertEqual(tried[0], port)
        self.assertLessEqual(len(tried), retries + 1)
        self.assertTrue(all(0 < each < 65536 for each in tried))
        near = [
            each for each in range(port, port + min(retries + 1, CONSECUTIVE_PORTS)) if each < 65536
        ]
        self.assertEqual(tried[: len(near)], near)

    def test_any(self) -> None:
        """
        Port 0 is tried once.
        """
        self.assertEqual(list(candidate_ports(0, 50, random.Random(1))), [0])


class PortAt:
    """
    A port with an address.
    """

    def __init__(self, address: object) -> None:
        self._address = address

    def getHost(self) -> object:
        """
        Where it is.
        """
        return self._address


class FakeSocket:
    """
    Has a port.

    :ivar state: What has become of it.
    """

    family = socket.AF_INET

    def __init__(self, number: int, host: str, port: int, stolen: bool) -> None:
        self.host, self.port = host, port
        self.state = "bound"
        self._number = number
        self._stolen = stolen

    def __enter__(self) -> FakeSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        """
        What a reactor calls it.
        """
        return self._number

    def getsockname(self) -> tuple[str, int]:
        """
        What it is bound to.
        """
        return self.host, self.port

    def listen(self, backlog: int) -> None:
        """
        It listens, unless another one does.
        """
        if self._stolen:
            raise OSError(98, "stolen")
        self.state = "listens"

    def close(self) -> None:
        """
        It is ours no more.
        """
        self.state += ", closed"


class System:
    """
    A reactor, and a system with some ports that are taken, one that somebody else is about to
    listen on, and one that only root may have.
    """

    taken = frozenset({8888, 8889})
    of_root = 81
    stolen = 9000
    names: ClassVar[dict[str, str]] = {"": "0.0.0.0", "localhost": "127.0.0.1", "far": "10.0.0.9"}

    def __init__(self) -> None:
        self.sockets: list[FakeSocket] = []
        self.unix = MemoryReactor()
        self.listenUNIX = self.unix.listenUNIX
        self.listenTCP = self.unix.listenTCP

    def bind(self, port: int, interface: str) -> Any:
        """
        Refuse those.
        """
        if port in self.taken:
            raise OSError(98, "in use")
        if interface == "nowhere":
            raise socket.gaierror(-2, "no such name")
        if port == self.of_root:
            raise PermissionError(13, "Permission denied")
        host = self.names.get(interface, interface)
        self.sockets.append(FakeSocket(len(self.sockets), host, port, port == self.stolen))
        return self.sockets[-1]

    def adoptStreamPort(self, fileno: int, family: int, factory: Any) -> PortAt:
        """
        Accept what connects.
        """
        found = self.sockets[fileno]
        return PortAt(IPv4Address("TCP", found.host, found.port))

    @property
    def listening(self) -> list[int]:
        """
        The ports.
        """
        return [each.port for each in self.sockets if each.state.startswith("listens")]


class ListenTests(SynchronousTestCase):
    """
    Opening them.
    """

    def listen(self, **settings: Any) -> Any:
        """
        :return: A Deferred of what is open.
        """
        self.system = System()
        given = Settings(**{"auth_token": "t", **settings})
        self.listeners = Listeners(self.system, given, self.system.bind)

        async def listen() -> list[OpenPort]:
            self.listeners.prepare(has_token=given.needs_token)
            await self.listeners.open(Factory())
            return self.listeners.opened

        return Deferred.fromCoroutine(listen())

    def test_next_port(self) -> None:
        """
        When a port is taken, its neighbours are tried.
        """
        self.successResultOf(self.listen(port=8888))
        self.assertEqual(self.system.listening, [8890])

    def test_too_late(self) -> None:
        """
        Two can take the same port, and only one can listen: the other goes on looking.
        """
        self.successResultOf(self.listen(port=9000))
        self.assertEqual(self.system.listening, [9001])
        for settings in ({"port": 9000, "port_retries": 0}, {"listen": ("tcp:9000",)}):
            failure = self.failureResultOf(self.listen(**settings), ConfigurationError)
            self.assertIn("stolen", failure.getErrorMessage())
            self.assertEqual([each.state for each in self.system.sockets], ["bound, closed"])

    def test_taken_before_it_listens(self) -> None:
        """
        Ports are taken at once, all or none, and given back if nobody wants to listen any more.
        """
        system = System()
        for listen, states in (
            (("tcp:1", "tcp:2"), ["bound", "bound"]),
            (("tcp:3", "tcp:8888"), ["bound, closed"]),
        ):
            system.sockets.clear()
            listeners = Listeners(system, Settings(auth_token="t", listen=listen), system.bind)
            try:
                listeners.prepare(has_token=True)
            except ConfigurationError as error:
                self.assertIn("--listen=tcp:8888: ", str(error))
            self.assertEqual([each.state for each in system.sockets], states)
            listeners.release()
            self.assertEqual({each.state for each in system.sockets}, {"bound, closed"})

    def test_no_port(self) -> None:
        """
        When none is free, that is said with what to do about it.
        """
        failure = self.failureResultOf(self.listen(port=8888, port_retries=1), ConfigurationError)
        self.assertIn("cannot listen on port 8888", failure.getErrorMessage())
        self.assertIn("--port", failure.getErrorMessage())

    def test_port_of_root(self) -> None:
        """
        Who may not have a port is told what it needs.
        """
        for settings in ({"port": 81, "port_retries": 0}, {"listen": ("tcp:81",)}):
            failure = self.failureResultOf(self.listen(**settings), ConfigurationError)
            self.assertIn(
                ": Permission denied; ports below 1024 need root", failure.getErrorMessage()
            )

    def test_endpoints(self) -> None:
        """
        Endpoints take the place of address and port.
        """
        opened = self.successResultOf(self.listen(listen=("tcp:1234", "unix:/tmp/x")))
        self.assertEqual([each.is_secure for each in opened], [False, False])
        self.assertEqual(self.system.listening, [1234])

    def test_wrong_endpoints(self) -> None:
        """
        One that is wrong is named.
        """
        for description in (
            "nonsense:1", "tcp:x", "tcp:8888", "tcp", "", "ssl:1:privateKey=/none", "ssl:x",
            "ssl:1:sslmethod=TLSv1_METHOD", "ssl", "systemd:domain=INET:index=9", "systemd:x",
            "systemd:domain=INET:name=none",
        ):  # fmt: skip
            failure = self.failureResultOf(self.listen(listen=(description,)), ConfigurationError)
            self.assertIn(f"--listen={description}", failure.getErrorMessage())

    def test_no_open_door(self) -> None:
        """
        Without a token nothing is opened that other machines can reach, unless somebody insists.
        """
        for settings in (
            {"ip": "0.0.0.0"},
            {"ip": ""},
            {"ip": "::"},
            {"ip": "10.0.0.1"},
            {"listen": ("tcp:80",)},
            {"listen": ("tcp6:80",)},
            {"listen": ("tcp:80:interface=127.0.0.1", "tcp:80:interface=0.0.0.0")},
        ):
            failure = self.failureResultOf(
                self.listen(auth_token="", **settings), ConfigurationError
            )
            reason = failure.getErrorMessage()
            for words in ("other machines can reach --", "--auth-token-file", "--insecure-no-auth"):
                self.assertIn(words, reason)
            self.assertNotIn("\n", reason)
            self.assertEqual(self.system.listening, [])
            self.successResultOf(self.listen(auth_token="t", **settings))
            self.successResultOf(self.listen(auth_token="", insecure_no_auth=True, **settings))
            self.assertTrue(self.system.listening)

    def test_local_without_token(self) -> None:
        """
        What only this machine can reach needs none; a Unix socket is for its user then.
        """
        self.successResultOf(self.listen(auth_token="", ip="127.0.0.1", port=1))
        self.successResultOf(self.listen(auth_token="", listen=("tcp:1:interface=localhost",)))
        for token, text, mode in (
            ("", "unix:/s", 0o600),
            ("", "unix:/s:mode=660", 0o660),
            ("t", "unix:/s", 0o666),
        ):
            self.successResultOf(self.listen(auth_token=token, listen=(text,)))
            self.assertEqual(self.system.unix.unixServers[0][3], mode)

    def test_known_when_it_listens(self) -> None:
        """
        Where the description does not say who can reach it, the port does: as soon as it is taken,
        or when it is open.
        """
        for text, opened in (("tcp:1:interface=far", 0), ("haproxy:tcp:1", 1)):
            failure = self.failureResultOf(
                self.listen(auth_token="", listen=(text,)), ConfigurationError
            )
            self.assertIn(f"other machines can reach --listen={text}", failure.getErrorMessage())
            self.assertEqual(len(self.listeners.opened), opened, "for the caller to close")

    def test_no_such_name(self) -> None:
        """
        That an address is none is found out once, and not with every port.
        """
        failure = self.failureResultOf(self.listen(ip="nowhere"), ConfigurationError)
        self.assertEqual(
            failure.getErrorMessage(),
            "cannot listen on port 8888 of nowhere: no such name; choose another with --port or "
            "--ip",
        )

    def test_useless_certificates(self) -> None:
        """
        A certificate that nothing would use is an error, and no silent lack of protection.
        """
        for settings in (
            {"certfile": "/c", "listen": ("tcp:1",)},
            {"keyfile": "/k"},
            {"client_ca": "/a"},
            {"client_ca": "/a", "listen": ("unix:/s",)},
        ):
            failure = self.failureResultOf(self.listen(**settings), ConfigurationError)
            self.assertIn("would protect nothing", failure.getErrorMessage())


class URLTests(SynchronousTestCase):
    """
    How a port is announced.
    """

    def test_urls(self) -> None:
        """
        By scheme, address and base URL; a socket in the file system by its path.
        """
        for address, is_secure, expected in (
            (IPv4Address("TCP", "127.0.0.1", 80), False, "http://127.0.0.1:80/b"),
            (IPv6Address("TCP", "::1", 443), True, "https://[::1]:443/b"),
        ):
            self.assertEqual(OpenPort(PortAt(address), is_secure).url("/b"), expected)
        socket = OpenPort(PortAt(UNIXAddress("/run/x")))
        self.assertEqual((socket.url("/b"), socket.port_or_path), ("unix:/run/x", "/run/x"))
        self.assertEqual(OpenPort(PortAt(IPv4Address("TCP", "127.0.0.1", 80))).port_or_path, "80")
