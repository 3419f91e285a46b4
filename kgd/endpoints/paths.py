"""
Paths of requests: which are well-formed, and what their segments stand for.

Format: RFC 3986, sections 2.1 (percent-encoding), 3.3 (segments) and 6.2.2 (which paths are the
same).
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

# Visible ASCII but for #, % and \, of which others make a fragment, an octet and a slash.
_WELL_FORMED = re.compile(r"/(?:[!\"$&-\[\]-~]++|%[0-9A-Fa-f]{2})*+")
_DOT_SEGMENT = re.compile(r"/(?:\.|%2[Ee]){1,2}(?=/|\Z)")
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_OCTET = re.compile(r"%[0-9A-Fa-f]{2}")
# What some encoders leave as it is, and others encode. All of them leave letters, digits, "-", "."
# and "_".
_EITHER_WAY = {f"%{ord(character):02X}": character for character in "~!$&'()*+,;=:@"}


def is_well_formed(path: str) -> bool:
    """
    Whether a path begins with a slash, and holds nothing that has to be percent-encoded and that a
    proxy may take for something else: no backslash, no ``#``, and no ``%`` without its two digits.
    """
    return _WELL_FORMED.fullmatch(path) is not None


def has_dot_segment(path: str) -> bool:
    """
    Whether a path has a segment ``.`` or ``..``, percent-encoded or not. Clients remove these
    before they send a path, and proxies may.
    """
    return ("/." in path or "%" in path) and _DOT_SEGMENT.search(path) is not None


def decode_text(text: str) -> str:
    """
    Undo percent-encoding, once. A ``+`` stays.

    :param text: A part of a path.
    :raises ValueError: unless it is percent-encoded UTF-8.
    """
    if "%" not in text:
        return text
    if _STRAY_PERCENT.search(text):
        raise ValueError("a % is not followed by two hexadecimal digits")
    return unquote_to_bytes(text).decode("utf-8")


def decode_segment(text: str) -> str:
    """
    Decode a segment that names one thing, like a file in a directory.

    :return: The name, in which any other characters may be.
    :raises ValueError: when it is not percent-encoded UTF-8, is empty, is ``.`` or ``..``, or has a
        slash.
    """
    name = decode_text(text)
    if name in ("", ".", "..") or "/" in name:
        raise ValueError("this is not the name of one thing")
    return name


def canonical(path: str) -> str:
    """
    :return: The same for all ways in which correct encoders write a path: octets in upper case, and
        the characters ``~!$&'()*+,;=:@``, which some encode and others do not, as they are.
    """
    if "%" not in path:
        return path
    return _OCTET.sub(lambda found: _EITHER_WAY.get(found[0].upper(), found[0].upper()), path)
