"""
How to try the gateway, as its log says after the start.
"""

from __future__ import annotations

import shlex

from twisted.logger import LogLevel
from twisted.trial.unittest import SynchronousTestCase

from kgd.daemon.log import is_wanted
from kgd.daemon.welcome import how_to_try
from kgd.observability.logs import set_level
from kgd.observability.scrubbing import Scrubber
from kgd.settings import Settings

URL = "http://127.0.0.1:8888"
SECRET = "a-s3cret-token"


class HowToTryTests(SynchronousTestCase):
    """
    A command that works as it is, except for the token.
    """

    def test_commands(self) -> None:
        """
        Each API has something to ask for; the place of a token is named, and the token is not.
        """
        for settings, url, expected in (
            (Settings(), URL, f"curl {URL}/api/kernelspecs"),
            (Settings(api="kernel_gateway.jupyter_websocket"), URL, f"curl {URL}/api/kernelspecs"),
            (
                Settings(auth_token=SECRET),
                URL,
                f"curl --oauth2-bearer YOUR_TOKEN {URL}/api/kernelspecs",
            ),
            (Settings(), "http://0.0.0.0:1/x", "curl http://127.0.0.1:1/x/api/kernelspecs"),
            (Settings(), "http://[::]:1", "curl 'http://[::1]:1/api/kernelspecs'"),
            (
                Settings(base_url="/x"),
                "unix:/a b",
                "curl --unix-socket '/a b' http://localhost/x/api/kernelspecs",
            ),
            (
                Settings(client_ca="/ca"),
                "https://h:1",
                "curl --cert YOUR_CERTIFICATE https://h:1/api/kernelspecs",
            ),
            (Settings(api="notebook-http"), URL, f"open {URL}/_api/docs in a browser"),
            (
                Settings(api="notebook-http"),
                "http://0.0.0.0:1",
                "open http://127.0.0.1:1/_api/docs in a browser",
            ),
            (
                Settings(api="notebook_http", auth_token=SECRET),
                URL,
                f"open {URL}/_api/docs?token= in a browser, with the token at its end",
            ),
            (
                Settings(api="notebook_http"),
                "unix:/s",
                "curl --unix-socket /s http://localhost/healthz",
            ),
            (Settings(api="hello", auth_token=SECRET), URL, f"curl {URL}/healthz"),
        ):
            found = how_to_try(settings, url)
            self.assertEqual(found, expected)
            self.assertNotIn(SECRET, found)
            # The log takes secrets out of its lines; this has none.
            self.assertEqual(Scrubber([SECRET])(found), found)
            self.assertTrue(shlex.split(found))


class WantedTests(SynchronousTestCase):
    """
    Which of Twisted's messages the log has.
    """

    def setUp(self) -> None:
        self.addCleanup(set_level, "info")

    def names(self) -> list[str]:
        """
        :return: Whether each of some messages is wanted.
        """
        legacy = {"log_namespace": "log_legacy", "log_format": "{log_text}"}
        return [
            is_wanted({"log_level": LogLevel.info, **event}).name
            for event in (
                {"log_format": "twistd {version} ({exe} {pyVersion}) starting up."},
                {"log_format": "Starting factory {factory!r}"},
                {**legacy, "log_text": "GatewaySite starting on 8888"},
                {**legacy, "log_text": "GatewaySite (TLS) starting on 8888"},
                {**legacy, "log_text": "GatewaySite starting on '/run/kgd.sock'"},
                {**legacy, "log_text": "(TCP Port 8888 Closed)"},
                {**legacy, "log_text": "a personality starting on its work"},
                {"log_format": "Server Shut Down."},
                {"log_namespace": "kgd.x", "log_format": "draining"},
                {},
            )
        ]

    def test_info(self) -> None:
        """
        What Twisted says of the process, its ports and factories is left out; all else passes.
        """
        set_level("info")
        self.assertEqual(self.names(), 6 * ["no"] + 4 * ["maybe"])

    def test_debug(self) -> None:
        """
        For debugging, everything passes.
        """
        set_level("debug")
        self.assertEqual(self.names(), 10 * ["maybe"])
