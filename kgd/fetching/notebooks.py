"""
Getting a notebook from where it is: a file, or a server of the web.
"""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import unquote, urlsplit

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

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


def split_prefix(text: str) -> tuple[str | None, str]:
    """
    Take ``/reports=reports.ipynb`` apart. A path that exists as it is has no prefix, whatever
    characters it has.

    :return: The prefix, or ``None``, and the URI.
    """
    prefix, equals, uri = text.partition("=")
    if not equals or not prefix.startswith("/") or os.path.exists(text):
        return None, text
    return prefix, uri


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
    # An HTTP client takes megabytes that a gateway without remote notebooks can do without.
    from kgd.fetching.http_client import get

    getting = Deferred.fromCoroutine(get(reactor, uri, shown(uri), limit))
    getting.addTimeout(timeout, reactor, onTimeoutCancel=lambda *_: _too_slow(uri, timeout))
    content = await getting
    if content is None:
        raise _too_large(shown(uri), limit)
    return content


def _too_slow(uri: str, timeout: float) -> Failure:
    return Failure(  # type: ignore[no-untyped-call]
        NotebookUnavailable(
            f"{shown(uri)} could not be fetched within {timeout:g} s; if it needs longer, raise "
            "--seed-timeout"
        )
    )


def shown(uri: str) -> str:
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
