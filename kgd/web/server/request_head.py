"""
Checks the head of a request strictly: its target, ``Host``, and the headers that end the body.

Format: RFC 9112, sections 3 (request line, ``Host``) and 6 (where the body ends). Where it leaves a
choice to servers, whatever a proxy might read differently is refused.
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
# All control characters except the tabulator.
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
# The number of digits of 2**63.
_MAX_DIGITS = 19


def read_target(method: bytes, target: bytes) -> tuple[bytes | None, bytes]:
    """
    :return: The host in the target, if there is one, and the path, maybe with a query, or ``*``.
    :raises kgd.errors.InvalidRequest: for an invalid target.
    """
    if not _TARGET.fullmatch(target):
        raise errors.InvalidRequest(
            "The target has a byte that must be percent-encoded, like %20 for a space"
        )
    if target.startswith(b"/"):
        return None, target
    if target == b"*" and method == b"OPTIONS":
        return None, target
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None or not absolute[1]:
        raise errors.InvalidRequest("The target must begin with a slash; only OPTIONS accepts *")
    host, rest = absolute[1], absolute[2]
    if not rest and method == b"OPTIONS":
        return host, b"*"
    return host, rest if rest.startswith(b"/") else b"/" + rest


def check_host(hosts: Sequence[bytes], version: bytes) -> None:
    """
    :param hosts: All ``Host`` headers.
    :raises kgd.errors.InvalidRequest: unless there is exactly one, and it is valid.
    """
    if len(hosts) > 1 or (not hosts and version != b"HTTP/1.0"):
        raise errors.InvalidRequest("A request must have exactly one Host header")
    if hosts and not _HOST.fullmatch(hosts[0]):
        raise errors.InvalidRequest(
            "The Host header must be a name or an address, optionally with a port"
        )


def check_header_line(line: bytes) -> None:
    """
    :param line: The line of one header.
    :raises kgd.errors.InvalidRequest: when it has a control character.
    """
    if _CONTROL.search(line):
        raise errors.InvalidRequest(
            "A header holds a control character; each line ends with CR and LF"
        )


def check_length_header(name: bytes, value: bytes, version: bytes) -> None:
    """
    :param name: ``Content-Length`` or ``Transfer-Encoding``.
    :raises kgd.errors.GatewayError: when the end of the body is unclear.
    """
    if name == b"Content-Length":
        if not value.isdigit() or len(value) > _MAX_DIGITS:
            raise errors.InvalidRequest("Content-Length must be one number, in digits only")
    elif version == b"HTTP/1.0":
        raise errors.InvalidRequest("HTTP/1.0 has no Transfer-Encoding; send a Content-Length")
    elif value.lower() != b"chunked":
        raise errors.NotSupported(
            "The only supported Transfer-Encoding is chunked; use that, or send a Content-Length"
        )


def check_body_headers(encodings: Sequence[bytes], expectations: Sequence[bytes]) -> None:
    """
    :param encodings: All ``Content-Encoding`` headers.
    :param expectations: All ``Expect`` headers.
    :raises kgd.errors.GatewayError: when the body is refused without being read.
    """
    if any(encoding.lower() not in (b"", b"identity") for encoding in encodings):
        raise errors.UnsupportedEncoding(
            "Encoded bodies are not supported; send this one without a Content-Encoding"
        )
    if any(expected.lower() != b"100-continue" for expected in expectations):
        raise errors.ExpectationFailed("The only supported Expect is 100-continue")
