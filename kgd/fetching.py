"""
Getting a notebook from where it is: a file, or a server of the web.
"""

from __future__ import annotations

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


def is_remote(uri: str) -> bool:
    """
    Whether the notebook has to be fetched over HTTP.
    """
    return urlsplit(uri).scheme.lower() in ("http", "https")


def local_path(uri: str) -> str:
    """
    :return: The path that a URI which is not remote means; without ``file:`` it is one already,
        whatever characters it has.
    """
    if uri[:7].lower() == "file://":
        return unquote(urlsplit(uri).path)
    return uri


async def fetch(reactor: Any, uri: str, limit: int, timeout: float) -> bytes:
    """
    :param uri: A path, or a URI of the schemes file, http or https.
    :param limit: In bytes.
    :param timeout: In seconds.
    :return: What is there.
    :raises kgd.errors.NotebookUnavailable: when it cannot be had, or is too large.
    """
    if not is_remote(uri):
        return _read_file(local_path(uri), limit)
    getting = Deferred.fromCoroutine(_get(reactor, uri, limit))
    getting.addTimeout(timeout, reactor, onTimeoutCancel=lambda *_: _too_slow(uri, timeout))
    return await getting


def _too_slow(uri: str, timeout: float) -> Failure:
    return Failure(  # type: ignore[no-untyped-call]
        NotebookUnavailable(
            f"{_shown(uri)} could not be fetched within {timeout:g} s; if it needs longer, raise "
            "--seed-timeout"
        )
    )


def _shown(uri: str) -> str:
    """
    The URI without what may be a secret: credentials and the query.
    """
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _read_file(path: str, limit: int) -> bytes:
    try:
        with open(path, "rb") as file:
            content = file.read(limit + 1)
    except (OSError, ValueError) as error:
        raise NotebookUnavailable(
            f"{path} cannot be read: {getattr(error, 'strerror', None) or error}"
        ) from None
    if len(content) > limit:
        raise _too_large(path, limit)
    return content


def _too_large(name: str, limit: int) -> NotebookUnavailable:
    return NotebookUnavailable(
        f"{name} is larger than {limit} bytes; if it has to be, raise --max-seed-size"
    )


async def _get(reactor: Any, uri: str, limit: int) -> bytes:
    shown = _shown(uri)
    agent: Any = RedirectAgent(Agent(reactor))  # type: ignore[no-untyped-call]
    headers = Headers({"User-Agent": ["kgd"], "Accept": ["application/x-ipynb+json, */*"]})
    try:
        response = await agent.request(b"GET", os.fsencode(uri), headers)
    except SchemeNotSupported:
        raise NotebookUnavailable(f"{shown} leads to something that is not http or https") from None
    except Exception as error:
        raise NotebookUnavailable(f"{shown} cannot be fetched: {_explained(error)}") from None
    if response.code != 200:
        raise NotebookUnavailable(f"{shown} cannot be fetched: the server answers {response.code}")
    collector = _Collector(limit)
    response.deliverBody(collector)
    content = await collector.done
    if content is None:
        raise _too_large(shown, limit)
    if not collector.complete:
        raise NotebookUnavailable(f"{shown} cannot be fetched: the server closed in the middle")
    return content


def _explained(error: Exception) -> str:
    reasons = getattr(error, "reasons", None)
    if reasons:
        error = reasons[0].value
    if isinstance(error, (InfiniteRedirection, RedirectWithNoLocation)):
        return "it is redirected, but leads nowhere"
    if isinstance(error, (ConnectError, DNSLookupError)):
        return str(error).strip()
    return f"{type(error).__name__}: {error}".strip(": ")


class _Collector(Protocol):
    """
    Takes a body up to a limit.

    :ivar done: Fires with the body, or with ``None`` when it is too large.
    """

    def __init__(self, limit: int) -> None:
        self.done: Deferred[bytes | None] = Deferred(lambda _: self._abort())
        self.complete = False
        self._limit = limit
        self._content = bytearray()

    def _abort(self) -> None:
        transport: Any = self.transport
        if transport is not None:
            transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        """
        A piece of it.
        """
        self._content += data
        if len(self._content) > self._limit and not self.done.called:
            self.done.callback(None)
            self._abort()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        That was all.
        """
        if not self.done.called:
            self.complete = reason.check(ResponseDone) is not None  # type: ignore[no-untyped-call]
            self.done.callback(bytes(self._content))
