"""
Descriptions of endpoints, and who can reach them.
"""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import endpoints
from twisted.trial.unittest import SynchronousTestCase

from kgd.endpoints.addresses import (
    Reach,
    format_endpoint,
    is_loopback,
    parse_endpoint,
    reach_of,
    with_absolute_paths,
)

TEXT = st.text(st.sampled_from("ab=:\\/ .\u00e9"), min_size=1)


class EndpointTests(SynchronousTestCase):
    """
    Taking descriptions apart.
    """

    def test_arguments(self) -> None:
        """
        Arguments have a name, or get the one of their place; a backslash quotes.
        """
        for text, kind, arguments in (
            ("tcp:8888", "tcp", {"port": "8888"}),
            ("tcp:8888:127.0.0.1", "tcp", {"port": "8888", "interface": "127.0.0.1"}),
            (r"tcp6:1:interface=\:\:1", "tcp6", {"port": "1", "interface": "::1"}),
            ("tcp6:1:50:::", "tcp6", {"port": "1", "backlog": "50", "interface": ""}),
            ("unix:/a=b", "unix", {"/a": "b"}),
            (r"unix:/a\=b", "unix", {"address": "/a=b"}),
            ("unix:address=/a:mode=660", "unix", {"address": "/a", "mode": "660"}),
            ("systemd:domain=INET:index=0", "systemd", {"domain": "INET", "index": "0"}),
            ("onion:80:x=y=z", "onion", {"x": "y=z"}),
            ("", "", {}),
        ):
            endpoint = parse_endpoint(text)
            self.assertEqual((endpoint.kind, endpoint.arguments), (kind, arguments), text)

    @given(st.dictionaries(st.sampled_from(["interface", "mode", "x"]), TEXT))
    def test_written(self, arguments: dict[str, str]) -> None:
        """
        What is written is what is read, by us and by Twisted.
        """
        text = format_endpoint("unix", arguments)
        self.assertEqual(parse_endpoint(text).arguments, arguments)
        self.assertEqual(endpoints._parse(text), (["unix"], arguments))

    def test_absolute(self) -> None:
        """
        Files are where they are from here; nothing else changes.
        """
        here = os.getcwd()
        self.patch(os, "environ", {"HOME": "/home/me"})
        for text, expected in (
            ("unix:s:mode=600", f"unix:address={here}/s:mode=600"),
            ("unix:/s", "unix:/s"),
            ("ssl:1:privateKey=k", f"ssl:port=1:privateKey={here}/k"),
            ("tcp:1", "tcp:1"),
            ("a,b", "a,b"),
            ("unix:~/s", "unix:address=/home/me/s"),
        ):
            self.assertEqual(with_absolute_paths(text), expected)

    def test_reach(self) -> None:
        """
        A Unix socket and loopback are local; all addresses and others are not; the rest is not
        known yet.
        """
        for text, reach in (
            ("unix:/s", Reach.LOCAL),
            ("tcp:1:interface=127.0.0.1", Reach.LOCAL),
            ("tcp:1:interface=127.3.2.1", Reach.LOCAL),
            ("tcp:1:localhost", Reach.LOCAL),
            (r"tcp6:1:interface=\:\:1", Reach.LOCAL),
            (r"tcp6:1:interface=\:\:ffff\:127.0.0.1", Reach.LOCAL),
            (r"ssl:1:interface=\:\:1", Reach.LOCAL),
            ("tcp:1", Reach.REMOTE),
            ("tcp6:1", Reach.REMOTE),
            ("ssl:1", Reach.REMOTE),
            ("tcp:1:interface=0.0.0.0", Reach.REMOTE),
            ("tcp:1:interface=10.0.0.1", Reach.REMOTE),
            (r"tcp6:1:interface=fe80\:\:1%eth0", Reach.REMOTE),
            ("tcp:1:interface=example.org", Reach.UNKNOWN),
            ("systemd:domain=INET:index=0", Reach.UNKNOWN),
            ("haproxy:tcp:1", Reach.UNKNOWN),
        ):
            self.assertIs(parse_endpoint(text).reach, reach, text)
        self.assertIs(reach_of(""), Reach.REMOTE)

    def test_loopback(self) -> None:
        """
        By address, not by how a name begins.
        """
        for host in (
            "localhost",
            "LocalHost",
            "127.0.0.1",
            "127.255.0.1",
            "::1",
            "::ffff:127.0.0.1",
        ):
            self.assertTrue(is_loopback(host), host)
        for host in ("", "0.0.0.0", "::", "127.0.0.1.evil.org", "localhost.evil.org", "127.1",
                     "10.0.0.1", "::ffff:10.0.0.1", "2130706433"):  # fmt: skip
            self.assertFalse(is_loopback(host), host)
