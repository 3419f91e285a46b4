"""
Fetching a notebook from a server of the web, with a real one.
"""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from twisted.web.static import Data
from twisted.web.util import Redirect

from kgd.errors import NotebookUnavailable
from kgd.fetching.notebooks import fetch
from tests.support.gateway import until


class Silent(Resource):
    """
    Never answers.
    """

    isLeaf = True

    def render_GET(self, request: Any) -> int:
        """
        Wait.
        """
        return NOT_DONE_YET


class Endless(Resource):
    """
    Never stops answering.
    """

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.written = 0
        self.gone = False

    def render_GET(self, request: Any) -> int:
        """
        Write as long as somebody reads.
        """

        def went(_: object) -> None:
            self.gone = True

        def more() -> None:
            if not self.gone:
                request.write(b"x" * 1000)
                self.written += 1
                reactor.callLater(0, more)

        request.notifyFinish().addBoth(went)
        more()
        return NOT_DONE_YET


class FetchTests(TestCase):
    """
    A server that is nice, and some that are not.
    """

    async def serve(self, **resources: Resource) -> str:
        """
        :return: The URL of a server with these resources.
        """
        root = Resource()
        for name, resource in resources.items():
            root.putChild(name.encode(), resource)
        site = Site(root)
        site.noisy = False
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(site)
        self.addCleanup(port.stopListening)
        return f"http://127.0.0.1:{port.getHost().port}"

    async def refused(self, uri: str, **limits: Any) -> str:
        """
        :return: Why it cannot be had.
        """
        options: dict[str, Any] = {"limit": 1000, "timeout": 20.0} | limits
        try:
            await fetch(reactor, uri, **options)
        except NotebookUnavailable as error:
            return str(error)
        raise AssertionError("it was fetched")

    async def test_fetch(self) -> None:
        """
        What is there comes, also from where it is redirected to.
        """
        url = await self.serve(a=Data(b"hello", "text/plain"), b=Redirect(b"/a"))
        for name in ("a", "b"):
            self.assertEqual(await fetch(reactor, f"{url}/{name}", 5, 20), b"hello")

    async def test_credentials(self) -> None:
        """
        User and password in the URI are presented to its server, and to no other after a redirect.
        """
        seen: list[tuple[str, bytes | None]] = []

        class Watcher(Data):
            def render_GET(self, request: Any) -> bytes:
                seen.append((request.path.decode(), request.getHeader(b"authorization")))
                return super().render_GET(request)  # type: ignore[no-any-return]

        elsewhere = await self.serve(b=Watcher(b"hello", "text/plain"))
        url = await self.serve(
            a=Watcher(b"hello", "text/plain"), b=Redirect(f"{elsewhere}/b".encode())
        )
        url = url.replace("127.0.0.1", "me:s%20t@127.0.0.1")
        for name in ("a", "b"):
            self.assertEqual(await fetch(reactor, f"{url}/{name}", 5, 20), b"hello")
        self.assertEqual(seen, [("/a", b"Basic bWU6cyB0"), ("/b", None)])

    async def test_too_large(self) -> None:
        """
        What is larger than the limit is refused as soon as that is known.
        """
        endless = Endless()
        url = await self.serve(a=Data(b"x" * 1001, "text/plain"), b=endless)
        for name in ("a", "b"):
            self.assertIn("--max-seed-size", await self.refused(f"{url}/{name}"))
        await until(lambda: endless.gone, "the connection is cut")

    async def test_too_slow(self) -> None:
        """
        So is what takes longer than the limit, before the answer and in the middle of it.
        """
        endless = Endless()
        url = await self.serve(a=Silent(), b=endless)
        for name in ("a", "b"):
            reason = await self.refused(f"{url}/{name}", limit=10**9, timeout=0.2)
            self.assertIn("--seed-timeout", reason)
        self.assertGreater(endless.written, 100)
        await until(lambda: endless.gone, "the connection is cut")

    async def test_cancelled(self) -> None:
        """
        Cancelling stops the fetching, before the server is reached and while it answers.
        """
        for waits in (False, True):
            endless = Endless()
            url = await self.serve(a=endless)
            fetching = Deferred.fromCoroutine(fetch(reactor, f"{url}/a", 10**9, 20))
            if waits:
                # One at each turn of the reactor, of which the client needs a few.
                await until(lambda: endless.written > 100, "the answer comes")  # noqa: B023
            fetching.cancel()
            kind = CancelledError if waits else NotebookUnavailable
            await self.assertFailure(fetching, kind)
            self.assertEqual(endless.written > 0, waits)
            if waits:
                await until(lambda: endless.gone, "the connection is cut")  # noqa: B023

    async def test_refused(self) -> None:
        """
        What cannot be had is explained, without secrets.
        """
        url = await self.serve(
            loop=Redirect(b"/loop"), out=Redirect(b"file:///etc/passwd"), a=Data(b"", "text/plain")
        )
        for uri, words in (
            (f"{url}/nothing?token=s3cret", "answers 404"),
            (f"{url}/loop", "redirects without end"),
            (f"{url}/out", "neither http nor https"),
            (url.replace("127.0.0.1", "u:s3cret@127.0.0.1") + "/nothing", "answers 404"),
            ("http://127.0.0.1:1/a", "cannot be fetched"),
        ):
            reason = await self.refused(uri)
            self.assertIn(words, reason)
            self.assertNotIn("s3cret", reason)
