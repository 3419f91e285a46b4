"""
What the head of an HTTP request may look like.

Format: RFC 9112, sections 3 (the line, ``Host``) and 6 (where the body ends). Of what it leaves to
servers the strict reading is taken: what somebody else on the way may read differently is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from kgd import errors

_TARGET = re.compile(rb"[\x21-\x7e]+")
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)([^#]*)", re.IGNORECASE)
_HOST = re.compile(
    rb"(?:\[[0-9a-f:.]{2,45}\]|(?:[a-z0-9._~!$&'()*+,;=-]|%[0-9a-f]{2}){0,255})(?::[0-9]{0,5})?",
    re.IGNORECASE,
)
# All that is no text, but for the tabulator.
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
# 2**63 has so many.
_MAX_DIGITS = 19


def read_target(method: bytes, target: bytes) -> tuple[bytes | None, bytes]:
    """
    :return: The host that the target names, if it does, and what is asked for there: a path, maybe
        with a query, or ``*``.
    :raises kgd.errors.InvalidRequest: when it is no target.
    """
    if not _TARGET.fullmatch(target):
        raise errors.InvalidRequest(
            "The target holds a byte that has to be encoded, like %20 for a space"
        )
    if target.startswith(b"/"):
        return None, target
    if target == b"*" and method == b"OPTIONS":
        return None, target
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None or not absolute[1]:
        raise errors.InvalidRequest("The target has to begin with a slash; only OPTIONS takes *")
    host, rest = absolute[1], absolute[2]
    if not rest and method == b"OPTIONS":
        return host, b"*"
    return host, rest if rest.startswith(b"/") else b"/" + rest


def check_host(hosts: Sequence[bytes], version: bytes) -> None:
    """
    :param hosts: All ``Host`` headers.
    :raises kgd.errors.InvalidRequest: unless there is one, and it can be one.
    """
    if len(hosts) > 1 or (not hosts and version != b"HTTP/1.0"):
        raise errors.InvalidRequest("A request needs one Host header, and not more than one")
    if hosts and not _HOST.fullmatch(hosts[0]):
        raise errors.InvalidRequest(
            "The Host header has to be a name or an address, maybe with a port"
        )


def check_header_line(line: bytes) -> None:
    """
    :param line: Of one header.
    :raises kgd.errors.InvalidRequest: when there is something in it that is no text.
    """
    if _CONTROL.search(line):
        raise errors.InvalidRequest(
            "A header holds a control character; each line ends with CR and LF"
        )


def check_length_header(name: bytes, value: bytes, version: bytes) -> None:
    """
    :param name: ``Content-Length`` or ``Transfer-Encoding``.
    :raises kgd.errors.GatewayError: when where the body ends could be read in two ways, or in none.
    """
    if name == b"Content-Length":
        if not value.isdigit() or len(value) > _MAX_DIGITS:
            raise errors.InvalidRequest("Content-Length has to be one number, of digits only")
    elif version == b"HTTP/1.0":
        raise errors.InvalidRequest("HTTP/1.0 has no Transfer-Encoding; send a Content-Length")
    elif value.lower() != b"chunked":
        raise errors.NotSupported(
            "The only Transfer-Encoding that is understood here is chunked; leave it out, and send "
            "a Content-Length"
        )


def check_body_headers(encodings: Sequence[bytes], expectations: Sequence[bytes]) -> None:
    """
    :param encodings: All ``Content-Encoding`` headers.
    :param expectations: All ``Expect`` headers.
    :raises kgd.errors.GatewayError: when a body will not be read, whatever is in it.
    """
    if any(encoding.lower() not in (b"", b"identity") for encoding in encodings):
        raise errors.UnsupportedEncoding(
            "Bodies are taken as they are; send this one without a Content-Encoding"
        )
    if any(expected.lower() != b"100-continue" for expected in expectations):
        raise errors.ExpectationFailed("The only Expect that is understood here is 100-continue")
