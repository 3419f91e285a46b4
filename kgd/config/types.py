"""
Types of option values: functions that read an option's text and say what it may be.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
from collections.abc import Callable
from typing import Any

from kgd.endpoints.addresses import absolute, check_endpoint, parse_endpoint, with_absolute_paths
from kgd.endpoints.origins import normalized
from kgd.fetching.notebooks import is_remote, shown, split_prefix
from kgd.observability.logs import LEVELS
from kgd.protocol.websocket_v1 import SUBPROTOCOL
from kgd.settings import size_in_bytes

Reader = Callable[[str], Any]

# Of a path, as RFC 3986 has it.
_SEGMENT = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*")


def text(value: str) -> str:
    """
    Any text.
    """
    return value


def whole_number(value: str) -> int:
    """
    A whole number from 0 to 2147483647.
    """
    number = int(value)
    # More than that the system does not take.
    if not 0 <= number < 2**31:
        raise ValueError
    return number


def small_number(value: str) -> int:
    """
    A whole number from 0 to 10000.
    """
    number = whole_number(value)
    if number > 10_000:
        raise ValueError
    return number


def number_or_none(value: str) -> int | None:
    """
    A whole number from 0 to 2147483647, or none.
    """
    return None if value.strip().lower() == "none" else whole_number(value)


def port_number(value: str) -> int:
    """
    A port from 0, which means any free one, to 65535.
    """
    number = whole_number(value)
    if number > 65535:
        raise ValueError
    return number


def seconds(value: str) -> float:
    """
    A number of seconds that is not negative.
    """
    number = float(value)
    if not 0 <= number < float("inf"):
        raise ValueError
    return number


def rate(value: str) -> float:
    """
    A number that is not negative.
    """
    return seconds(value)


def size(value: str) -> int:
    """
    A number of bytes up to 2**62, with KiB, MiB or GiB after it if you like.
    """
    return size_in_bytes(value)


def niceness(value: str) -> int:
    """
    A whole number from 0 to 19.
    """
    number = whole_number(value)
    if number > 19:
        raise ValueError
    return number


def names(value: str) -> frozenset[str]:
    """
    Names with commas between them.
    """
    return frozenset(name.strip() for name in value.split(",") if name.strip())


def switch(value: str) -> bool:
    """
    One of 1, true, yes, on, 0, false, no, off.
    """
    word = value.strip().lower()
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("0", "false", "no", "off", ""):
        return False
    raise ValueError


def switch_or_failures(value: str) -> bool | None:
    """
    One of 1, true, yes, on, 0, false, no, off; or failures, for those only.
    """
    return None if value.strip().lower() == "failures" else switch(value)


def notebook_uri(value: str) -> str:
    """
    A path, or a URI that starts with file:, http: or https:; in notebook_http maybe with a prefix,
    like /reports=reports.ipynb.
    """
    if not value:
        return ""
    prefix, uri = split_prefix(value)
    if not (is_remote(uri) or uri.lower().startswith("file://")):
        # Whoever becomes a daemon leaves the directory.
        uri = absolute(uri)
    return uri if prefix is None else f"{prefix}={uri}"


def one_of(*words: str) -> Reader:
    """
    :return: A reader that takes these words only.
    """

    def read(value: str) -> str:
        word = value.strip().lower()
        if word not in words:
            raise ValueError
        return word

    read.__doc__ = f"One of {', '.join(words)}."
    return read


def prefixes(value: str) -> dict[str, str]:
    """
    A language and what its comments begin with, like lua=--; without a language, for all others.
    """
    language, equals, prefix = value.partition("=")
    if not equals or not prefix.strip():
        raise ValueError
    return {language.strip().lower(): prefix.strip()}


def stickiness(value: str) -> str:
    """
    Nothing, cookie, or the name of a header.
    """
    name = value.strip().lower()
    if name and not re.fullmatch(r"[a-z][a-z0-9-]*", name):
        raise ValueError
    return name


def counts(value: str) -> dict[str, int]:
    """
    Names with a number up to 10000 each, like ir=2, with commas between them.
    """
    pairs = [pair.partition("=") for pair in value.split(",") if pair.strip()]
    if not all(name.strip() for name, _, _ in pairs):
        raise ValueError
    return {name.strip(): small_number(number) for name, _, number in pairs}


def ipv4_address(value: str) -> str:
    """
    An IPv4 address of this machine, or localhost, or * for all of its addresses.
    """
    named = {"localhost": "127.0.0.1", "*": "0.0.0.0"}  # noqa: S104
    return str(ipaddress.IPv4Address(named.get(value.strip().lower(), value.strip())))


def signature_scheme(value: str) -> str:
    """
    The word hmac, a dash and a hash, like hmac-sha256 or hmac-sha512.
    """
    kind, _, name = value.strip().lower().partition("-")
    # Other hashes have no length of their own.
    if kind != "hmac" or not hashlib.new(name).digest_size:
        raise ValueError
    return f"{kind}-{name}"


def ws_protocol(value: str) -> str | None:
    """
    Nothing, legacy or v1.kernel.websocket.jupyter.org; or auto, which is what the client offers.
    """
    if value == "auto":
        return None
    if value in ("", "legacy"):
        return ""
    if value != SUBPROTOCOL:
        raise ValueError
    return value


def log_level(value: str) -> str:
    """
    One of debug, info, warn, error, critical, or a number from 0 to 50.
    """
    word = value.strip().lower()
    if word == "warning":
        word = "warn"
    if word.isdecimal() and int(word) <= 50:
        word = LEVELS[max(0, (int(word) - 1) // 10)]
    if word not in LEVELS:
        raise ValueError
    return word


def directory(value: str) -> str:
    """
    An existing directory.
    """
    path = absolute(value or ".")
    if not os.path.isdir(path):
        raise ValueError
    return path


def path(value: str) -> str:
    """
    A path, or nothing.
    """
    # Whoever becomes a daemon leaves the directory.
    return absolute(value)


def endpoint(value: str) -> str:
    """
    An endpoint as Twisted writes them, like tcp:8888:interface=127.0.0.1, unix:/run/kgd.sock or
    ssl:443:privateKey=key.pem:certKey=cert.pem.
    """
    if value:
        check_endpoint(parse_endpoint(value))
    return with_absolute_paths(value)


def url_path(value: str) -> str:
    """
    A path like /gateway, of characters that need no quotes in a URL, or with % and two digits.
    """
    segments = value.strip().split("/")
    if not all(_SEGMENT.fullmatch(each) and each not in (".", "..") for each in segments):
        raise ValueError
    return value.strip()


def token(value: str) -> str:
    """
    One line of printable characters.
    """
    # What is around it no client could send; and blanks only are a mistake, not a wish for none.
    found = value.strip()
    if not found.isprintable() or (value and not found):
        raise ValueError
    return found


def header_value(value: str) -> str:
    """
    Text that a header can have: printable ASCII on one line.
    """
    if not (value.isascii() and value.isprintable()):
        raise ValueError
    return value


def origins(value: str) -> str:
    """
    An asterisk, or origins like https://hub.example:8443 with commas between them.
    """
    each = [origin.strip() for origin in value.split(",") if origin.strip()]
    if not all(origin == "*" or normalized(origin.removesuffix("/")) for origin in each):
        raise ValueError
    return ",".join(each)


def maybe_directory(value: str) -> str:
    """
    An existing directory, or nothing.
    """
    return directory(value) if value else ""


def as_it_is(value: Any) -> Any:
    """
    :return: The value, because everybody may see it.
    """
    return value


def hidden(value: str) -> str:
    """
    :return: Only whether there is a value.
    """
    return "***" if value else ""


def without_secrets(uris: tuple[str, ...]) -> tuple[str, ...]:
    """
    :return: The URIs without passwords, and without queries, which may be as good as one.
    """
    found = []
    for each in uris:
        prefix, uri = split_prefix(each)
        uri = shown(uri) if is_remote(uri) else uri
        found.append(uri if prefix is None else f"{prefix}={uri}")
    return tuple(found)
