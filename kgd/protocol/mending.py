"""
Makes JSON of what programs write in place of it: Python's ``NaN``, unpaired surrogates of
JavaScript, and bytes that are not UTF-8.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from kgd.errors import JSON_ERRORS

# Stand for an escaped backslash and an escaped quote for a moment. JSON cannot contain them.
_MARKS_BACKSLASH, _MARKS_QUOTE = b"\0", b"\1"
# Up to this size, in bytes, clients may write NaN and the like: to replace it takes up to 30 ms.
MAX_MENDED = 512 * 1024
_skip: Callable[[bytes | memoryview], msgspec.Raw] = msgspec.json.Decoder(msgspec.Raw).decode
_HIGH = rb"\\u[dD][89abAB][0-9a-fA-F]{2}"
_LOW = rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_UNPAIRED = re.compile(rb"%b(?!%b)|(?<!%b)%b" % (_HIGH, _LOW, rb"\\u[dD][89abAB]..", _LOW))


def is_json(raw: bytes | memoryview) -> bool:
    """
    Whether this is JSON. It is only skipped over; its strings may hold bytes that are not UTF-8.
    """
    try:
        _skip(raw)
    except JSON_ERRORS:
        return False
    return True


def replace_nan(raw: bytes | memoryview) -> bytes | memoryview:
    """
    Replace every ``NaN``, ``Infinity`` and ``-Infinity`` outside of strings by ``null``.
    """
    # To skip over the JSON takes a third of the time of searching for words.
    if is_json(raw):
        return raw
    raw = bytes(raw)
    if (
        (b"NaN" not in raw and b"Infinity" not in raw)
        or _MARKS_BACKSLASH in raw
        or _MARKS_QUOTE in raw
    ):
        return raw
    # The time is proportional to the length, whatever a client sends: no step runs Python code for
    # each string or word.
    marked = raw.replace(b"\\\\", _MARKS_BACKSLASH).replace(b'\\"', _MARKS_QUOTE)
    pieces = marked.split(b'"')
    outside = b'"'.join(pieces[::2])
    for word in (b"NaN", b"-Infinity", b"Infinity"):
        outside = outside.replace(word, b"null")
    pieces[::2] = outside.split(b'"')
    marked = b'"'.join(pieces)
    return marked.replace(_MARKS_QUOTE, b'\\"').replace(_MARKS_BACKSLASH, b"\\\\")


def mended(raw: bytes | memoryview) -> bytes:
    """
    Replace everything that keeps this from being JSON, as far as it is known: ``NaN`` and its like
    by ``null``, unpaired surrogates and wrong bytes by U+FFFD.

    :param raw: At most :py:data:`MAX_MENDED` bytes; what is longer is only copied.
    """
    if len(raw) > MAX_MENDED:
        return bytes(raw)
    text = bytes(replace_nan(raw))
    if not text.isascii():
        text = text.decode("utf-8", "replace").encode("utf-8")
    if b"\\u" in text and _MARKS_BACKSLASH not in text:
        marked = text.replace(b"\\\\", _MARKS_BACKSLASH)
        text = _UNPAIRED.sub(rb"\\ufffd", marked).replace(_MARKS_BACKSLASH, b"\\\\")
    return text
