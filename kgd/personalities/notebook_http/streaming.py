"""
Answers on their way to the client: whole, or as they are printed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IPushProducer
from twisted.web.http import RESPONSES
from zope.interface import implementer

from kgd.notebook.api import Response
from kgd.web.responses import is_not_modified

ABORT_DELAY = 5.0
_WITHOUT_BODY = (204, 205, 304)


def write_response(request: Any, response: Response) -> None:
    """
    Answer a request. A ``GET`` that succeeds gets an ``ETag`` unless the notebook has set one.
    """
    status, body = response.status, response.body
    request.setResponseCode(status, RESPONSES.get(status, b"Unknown"))
    headers = request.responseHeaders
    names = set()
    for name, value in response.headers:
        lowered = name.lower()
        encoded = value.encode("latin-1")
        if lowered in names or lowered in ("set-cookie", "vary"):
            headers.addRawHeader(name.encode("ascii"), encoded)
        else:
            headers.setRawHeaders(name.encode("ascii"), [encoded])
        names.add(lowered)
    is_get = request.method in (b"GET", b"HEAD")
    if is_get and status == 200 and "etag" not in names and is_not_modified(request, body):
        request.finish()
        return
    if status in _WITHOUT_BODY:
        headers.removeHeader("Content-Type")
    else:
        request.setHeader(b"Content-Length", b"%d" % len(body))
        if request.method != b"HEAD":
            request.write(body)
    request.finish()


@implementer(IPushProducer)
class StreamedResponse:
    """
    An answer that is sent as it is printed. When the client does not take it, the kernel stands
    still.

    :param hold: Called with whether the kernel shall stand still.
    """

    def __init__(self, request: Any, content_type: str, hold: Callable[[bool], None]) -> None:
        self._request = request
        self._content_type = content_type
        self._hold = hold
        self.has_begun = False

    def write(self, text: str) -> None:
        """
        Send some more.
        """
        if not self.has_begun:
            self._begin()
        # An empty chunk would be the last.
        if text:
            self._request.write(text.encode("utf-8", "replace"))

    def _begin(self) -> None:
        self.has_begun = True
        request = self._request
        request.setHeader(b"Content-Type", self._content_type.encode("latin-1"))
        request.setHeader(b"Cache-Control", b"no-cache")
        # Proxies would collect it.
        request.setHeader(b"X-Accel-Buffering", b"no")
        request.registerProducer(self, True)

    def end(self) -> None:
        """
        That was all.
        """
        if not self.has_begun:
            self._begin()
        self._request.unregisterProducer()
        self._request.finish()

    def abort(self) -> None:
        """
        Let the client see that something is missing: what there is has no end.
        """
        request = self._request
        request.unregisterProducer()
        request.loseConnection()
        # A client that does not read what is left has this long.
        transport = request.channel.transport
        call = request.channel.site.reactor.callLater(ABORT_DELAY, transport.abortConnection)
        request.notifyFinish().addErrback(lambda _: call.active() and call.cancel())

    def pauseProducing(self) -> None:
        """
        The client does not take more.
        """
        self._hold(True)

    def resumeProducing(self) -> None:
        """
        It takes more.
        """
        self._hold(False)

    def stopProducing(self) -> None:
        """
        The client went.
        """
        self._hold(False)
