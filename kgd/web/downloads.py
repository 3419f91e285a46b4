"""
Answers with files: conditional requests, ranges, and no more in memory than one piece.

Format: RFC 9110, sections 13 (conditions) and 14 (ranges). A request for several ranges gets all of
the file, which is allowed and which programs understand.
"""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.threads import deferToThreadPool
from twisted.web.http import datetimeToString, stringToDatetime
from zope.interface import implementer

from kgd.deferreds import Waiters
from kgd.errors import RangeNotSatisfiable, Unavailable
from kgd.web.confined import OpenedFile
from kgd.web.embedded import cut_response
from kgd.web.responses import parse_tags

# Bytes that are read at a time.
PIECE = 256 * 1024
OCTETS = "application/octet-stream"
_RANGE = re.compile(rb"bytes=\s*(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))\s*")
_MEDIA_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+(?:; ?[\w.+-]+=[\w.+-]+)*", re.ASCII)
# Only what comes with Python: what is installed makes no difference.
_TYPES = mimetypes.MimeTypes()
_TYPES.add_type("application/x-ipynb+json", ".ipynb")
_TYPES.add_type("text/markdown", ".md")
T = TypeVar("T")


def in_thread(reactor: Any, function: Callable[..., T], *args: Any, **named: Any) -> Deferred[T]:
    """
    Do something that blocks.

    :return: Fires with its result. When it is cancelled, the thread goes on.
    """
    return deferToThreadPool(reactor, reactor.getThreadPool(), function, *args, **named)


def media_type_of(name: str) -> str:
    """
    :return: The media type of a file, as far as its name tells.
    """
    kind, encoding = _TYPES.guess_type(name, strict=False)
    return kind if kind and not encoding else OCTETS


def forbid_scripts(request: Any) -> None:
    """
    Set headers by which browsers neither guess what a file is nor run anything in it: it would have
    the rights of the gateway's own pages.
    """
    request.setHeader(b"X-Content-Type-Options", b"nosniff")
    request.setHeader(b"Content-Security-Policy", b"sandbox")


async def send_file(reactor: Any, request: Any, file: OpenedFile, media_type: str) -> bytes:
    """
    Answer ``GET`` or ``HEAD`` with a file, and close it.

    :param media_type: One that headers cannot have counts as unknown.
    :return: What is left to be written.
    :raises kgd.errors.RangeNotSatisfiable:
    """
    info = file.info
    request.setHeader(b"ETag", info.tag.encode("ascii"))
    request.setHeader(b"Last-Modified", datetimeToString(info.modified))  # type: ignore[no-untyped-call]
    request.setHeader(b"Accept-Ranges", b"bytes")
    forbid_scripts(request)
    if _is_unchanged(request, file):
        request.setResponseCode(304)
        file.close()
        return b""
    first, length = _range(request, file)
    kind = media_type if _MEDIA_TYPE.fullmatch(media_type) else OCTETS
    request.setHeader(b"Content-Type", kind.encode("ascii"))
    request.setHeader(b"Content-Length", b"%d" % length)
    if request.method == b"HEAD" or not length:
        file.close()
        return b""
    await _Sender(reactor, request, file).send(first, length)
    return b""


def _is_unchanged(request: Any, file: OpenedFile) -> bool:
    """
    Whether the client has the file already.
    """
    headers = request.requestHeaders
    given = headers.getRawHeaders(b"if-none-match")
    if given is not None:
        tags = b",".join(given)
        return tags.strip() == b"*" or file.info.tag.encode("ascii") in parse_tags(tags)
    since = _time(request.getHeader(b"if-modified-since"))
    return since is not None and int(file.info.modified) <= since


def _time(value: bytes | None) -> int | None:
    try:
        return None if value is None else stringToDatetime(value)  # type: ignore[no-untyped-call]
    except ValueError:
        return None


def _range(request: Any, file: OpenedFile) -> tuple[int, int]:
    """
    Set the status, and find what the client wants.

    :return: The first byte, and how many.
    """
    size = file.info.size
    found = _RANGE.fullmatch(request.getHeader(b"range") or b"")
    condition = request.getHeader(b"if-range")
    if found is None or request.method != b"GET":
        return 0, size
    if condition is not None and condition != file.info.tag.encode("ascii"):
        return 0, size
    start, end, suffix = found.groups()
    if start is None:
        first, last = max(0, size - int(suffix)), size - 1
    else:
        first, last = int(start), min(int(end), size - 1) if end else size - 1
        if end and int(end) < int(start):
            # That is no range at all.
            return 0, size
    if first >= size or first > last:
        request.setHeader(b"Content-Range", b"bytes */%d" % size)
        file.close()
        raise RangeNotSatisfiable(f"The file has {size} bytes; ask for some of them")
    request.setHeader(b"Content-Range", b"bytes %d-%d/%d" % (first, last, size))
    request.setResponseCode(206)
    return first, last - first + 1


@implementer(IPushProducer)
class _Sender:
    """
    Sends a part of a file, as fast as the client reads.
    """

    def __init__(self, reactor: Any, request: Any, file: OpenedFile) -> None:
        self._reactor = reactor
        self._request = request
        self._file = file
        self._is_paused = False
        self._resumed: Waiters[None] = Waiters()

    async def send(self, first: int, length: int) -> None:
        """
        Send so many bytes. A client that leaves cancels this.

        :param first: Where they begin.
        :raises kgd.errors.Unavailable: when the file cannot be read.
        """
        request, end = self._request, first + length
        is_cut = False
        try:
            piece = await self._read(first, end)
            request.registerProducer(self, True)
            while piece:
                request.write(piece)
                first += len(piece)
                if self._is_paused:
                    await self._resumed.wait()
                try:
                    piece = await self._read(first, end)
                except Unavailable:
                    break
            is_cut = first < end
            request.unregisterProducer()
        finally:
            self._file.close_soon(self._reactor.callInThread)
        if is_cut:
            # It is shorter than it was, and the client has to see that the end is missing.
            cut_response(request)

    async def _read(self, first: int, end: int) -> bytes:
        if first == end:
            return b""
        try:
            return await in_thread(self._reactor, self._file.read, first, min(end - first, PIECE))
        except OSError as error:
            raise Unavailable(f"The file cannot be read: {error.strerror}", 10) from None

    def pauseProducing(self) -> None:
        self._is_paused = True

    def resumeProducing(self) -> None:
        self._is_paused = False
        self._resumed.fire(None)

    def stopProducing(self) -> None:
        """
        Do nothing: the end of the connection cancels the request.
        """
