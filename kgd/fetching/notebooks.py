"""
Reads a notebook from a file, or fetches it from a web server.
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
    Whether a notebook is fetched over HTTP.
    """
    return urlsplit(uri).scheme.lower() in ("http", "https")


def local_path(uri: str) -> str:
    """
    :param uri: A ``file://`` URI, or a path, which may contain any characters.
    :return: The path.
    """
    if uri[:7].lower() == "file://":
        return unquote(urlsplit(uri).path)
    return uri


def split_prefix(text: str) -> tuple[str | None, str]:
    """
    Split ``/reports=reports.ipynb`` into prefix and URI. If the whole text is the path of an
    existing file, it has no prefix.

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
    :return: The content.
    :raises kgd.errors.NotebookUnavailable: when it cannot be read or fetched, or is too large.
    """
    if not is_remote(uri):
        return _read_file(local_path(uri), limit)
    # Importing an HTTP client takes memory that most gateways never need.
    from kgd.fetching.http_client import get

    fetching = Deferred.fromCoroutine(get(reactor, uri, uri_for_display(uri), limit))
    fetching.addTimeout(timeout, reactor, onTimeoutCancel=lambda *_: _timed_out(uri, timeout))
    content = await fetching
    if content is None:
        raise _too_large(uri_for_display(uri), limit)
    return content


def _timed_out(uri: str, timeout: float) -> Failure:
    return Failure(  # type: ignore[no-untyped-call]
        NotebookUnavailable(
            f"{uri_for_display(uri)} could not be fetched within {timeout:g} s; if it needs "
            "longer, raise --seed-timeout"
        )
    )


def uri_for_display(uri: str) -> str:
    """
    :return: The URI without credentials and query, which may be secret.
    """
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def name_for_display(uri: str) -> str:
    """
    :return: A notebook's path, or its URI as :py:func:`uri_for_display` has it.
    """
    return uri_for_display(uri) if is_remote(uri) else local_path(uri)


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
        f"{name} is larger than {limit} bytes; make it smaller, or raise --max-seed-size"
    )
