"""
Sends responses: complete ones, or streams that are sent while they are printed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IPushProducer
from twisted.web.http import RESPONSES
from zope.interface import implementer

from kgd.notebook.api import Response
from kgd.web.responses import is_not_modified

# Seconds in which a client may read the rest of a response that is aborted.
ABORT_DELAY = 5.0
_WITHOUT_BODY = (204, 205, 304)


def write_response(request: Any, response: Response) -> None:
    """
    Send a complete response. A successful ``GET`` gets an ``ETag`` unless the notebook has set one.
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
    A response that is sent while it is printed. While the client does not read, the kernel is
    suspended.

    :param suspend: Called with whether to suspend the kernel.
    """

    def __init__(self, request: Any, content_type: str, suspend: Callable[[bool], None]) -> None:
        self._request = request
        self._content_type = content_type
        self._suspend = suspend
        self.has_begun = False

    def write(self, text: str) -> None:
        """
        Send printed text.
        """
        if not self.has_begun:
            self._begin()
        # An empty chunk would end the response.
        if text:
            self._request.write(text.encode("utf-8", "replace"))

    def _begin(self) -> None:
        self.has_begun = True
        request = self._request
        request.setHeader(b"Content-Type", self._content_type.encode("latin-1"))
        request.setHeader(b"Cache-Control", b"no-cache")
        # Otherwise proxies would buffer it.
        request.setHeader(b"X-Accel-Buffering", b"no")
        request.registerProducer(self, True)

    def end(self) -> None:
        """
        End the response.
        """
        if not self.has_begun:
            self._begin()
        self._request.unregisterProducer()
        self._request.finish()

    def abort(self) -> None:
        """
        Close the connection without ending the response, so that the client sees that it is
        incomplete.
        """
        request = self._request
        request.unregisterProducer()
        request.loseConnection()
        transport = request.channel.transport
        call = request.channel.site.reactor.callLater(ABORT_DELAY, transport.abortConnection)
        request.notifyFinish().addErrback(lambda _: call.active() and call.cancel())

    def pauseProducing(self) -> None:
        self._suspend(True)

    def resumeProducing(self) -> None:
        self._suspend(False)

    def stopProducing(self) -> None:
        self._suspend(False)
