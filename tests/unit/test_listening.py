"""
The gateway's own ports.
"""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactor
from twisted.trial.unittest import SynchronousTestCase

from kgd.errors import ConfigurationError
from kgd.listening import CONSECUTIVE, Listeners, Listening, candidates
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
        tried = list(candidates(port, retries, chance))
        self.assertEqual(tried[0], port)
        self.assertLessEqual(len(tried), retries + 1)
        self.assertTrue(all(0 < each < 65536 for each in tried))
        near = [each for each in range(port, port + min(retries + 1, CONSECUTIVE)) if each < 65536]
        self.assertEqual(tried[: len(near)], near)

    def test_any(self) -> None:
        """
        Port 0 is tried once.
        """
        self.assertEqual(list(candidates(0, 50, random.Random(1))), [0])


class BusyReactor(MemoryReactor):
    """
    Some ports are taken here.
    """

    taken = frozenset({8888, 8889})

    def listenTCP(self, port: int, *args: Any, **kwargs: Any) -> Any:
        """
        Refuse those.
        """
        if port in self.taken:
            raise CannotListenError("127.0.0.1", port, OSError(98, "in use"))
        return super().listenTCP(port, *args, **kwargs)


class ListenTests(SynchronousTestCase):
    """
    Opening them.
    """

    def listen(self, **settings: Any) -> Any:
        """
        :return: A Deferred of what is open.
        """
        self.reactor = BusyReactor()
        listeners = Listeners(self.reactor, Settings(auth_token="t", **settings))

        async def listen() -> list[Listening]:
            listeners.prepare(has_token=True)
            await listeners.open(Factory())
            return listeners.opened

        return Deferred.fromCoroutine(listen())

    def test_next_port(self) -> None:
        """
        When a port is taken, its neighbours are tried.
        """
        self.successResultOf(self.listen(port=8888))
        self.assertEqual([server[0] for server in self.reactor.tcpServers], [8890])

    def test_no_port(self) -> None:
        """
        When none is free, that is said with what to do about it.
        """
        failure = self.failureResultOf(self.listen(port=8888, port_retries=1), ConfigurationError)
        self.assertIn("cannot listen on port 8888", failure.getErrorMessage())
        self.assertIn("--port", failure.getErrorMessage())

    def test_endpoints(self) -> None:
        """
        Endpoints take the place of address and port.
        """
        opened = self.successResultOf(self.listen(listen=("tcp:1234", "unix:/tmp/x")))
        self.assertEqual([each.is_secure for each in opened], [False, False])
        self.assertEqual([server[0] for server in self.reactor.tcpServers], [1234])

    def test_wrong_endpoints(self) -> None:
        """
        One that is wrong is named.
        """
        for description in ("nonsense:1", "tcp:x", "tcp:8888"):
            failure = self.failureResultOf(self.listen(listen=(description,)), ConfigurationError)
            self.assertIn(f"--listen={description}", failure.getErrorMessage())


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
            self.assertEqual(Listening(PortAt(address), is_secure).url("/b"), expected)
        self.assertIn("/run/x", Listening(PortAt(UNIXAddress("/run/x"))).url("/b"))
