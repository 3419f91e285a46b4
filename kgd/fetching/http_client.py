"""
Fetches a file from a web server. Credentials never follow a redirect to another server.
"""

from __future__ import annotations

import base64
import os
from typing import Any
from urllib.parse import unquote, urlsplit

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import Agent, RedirectAgent, ResponseDone
from twisted.web.error import InfiniteRedirection, RedirectWithNoLocation, SchemeNotSupported
from twisted.web.http_headers import Headers

from kgd.errors import NotebookUnavailable


async def get(reactor: Any, uri: str, display_uri: str, limit: int) -> bytes | None:
    """
    :param display_uri: What to call the URI in an error.
    :param limit: In bytes.
    :return: The body, or ``None`` if it is larger than the limit.
    :raises kgd.errors.NotebookUnavailable: when it cannot be fetched.
    """
    agent: Any = RedirectAgent(Agent(reactor))  # type: ignore[no-untyped-call]
    uri, credentials = _without_credentials(uri)
    headers = Headers({"User-Agent": ["kgd"], "Accept": ["application/x-ipynb+json, */*"]})
    if credentials is not None:
        headers.addRawHeader(b"Authorization", credentials)
    try:
        response = await agent.request(b"GET", os.fsencode(uri), headers)
    except SchemeNotSupported:
        raise NotebookUnavailable(
            f"{display_uri} redirects to a URI that is neither http nor https"
        ) from None
    except Exception as error:
        raise NotebookUnavailable(
            f"{display_uri} cannot be fetched: {_describe_error(error)}"
        ) from None
    if response.code != 200:
        raise NotebookUnavailable(
            f"{display_uri} cannot be fetched: the server answers {response.code}"
        )
    collector = _Collector(limit)
    response.deliverBody(collector)
    content = await collector.done
    if content is not None and not collector.complete:
        raise NotebookUnavailable(
            f"{display_uri} cannot be fetched: the server closed the connection in mid-answer"
        )
    return content


def _without_credentials(uri: str) -> tuple[str, bytes | None]:
    """
    :return: The URI without user and password, and an ``Authorization`` header with them.
    """
    parts = urlsplit(uri)
    user, at, server = parts.netloc.rpartition("@")
    if not at:
        return uri, None
    encoded = base64.b64encode(unquote(user).encode("utf-8"))
    return parts._replace(netloc=server).geturl(), b"Basic " + encoded


def _describe_error(error: Exception) -> str:
    reasons = getattr(error, "reasons", None)
    if reasons:
        error = reasons[0].value
    if isinstance(error, (InfiniteRedirection, RedirectWithNoLocation)):
        return "it redirects without end, or without saying where to"
    if isinstance(error, (ConnectError, DNSLookupError)):
        return str(error).strip()
    return f"{type(error).__name__}: {error}".strip(": ")


class _Collector(Protocol):
    """
    Collects a body up to a limit.

    :ivar done: Fires with the body, or with ``None`` when it is too large.
    """

    def __init__(self, limit: int) -> None:
        self.done: Deferred[bytes | None] = Deferred(lambda _: self._close())
        self.complete = False
        self._limit = limit
        self._content = bytearray()

    def _close(self) -> None:
        # What the agent gives us in place of the connection has no abortConnection.
        transport: Any = self.transport
        if transport is not None:
            transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        if self.done.called:
            # Over TLS, some may still come until the server closes, too.
            return
        self._content += data
        if len(self._content) > self._limit:
            self.done.callback(None)
            self._close()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self.done.called:
            self.complete = reason.check(ResponseDone) is not None  # type: ignore[no-untyped-call]
            self.done.callback(bytes(self._content))
