"""
Types of option values: each reads the text of an option, and says which texts it accepts.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
from collections.abc import Callable, Iterable, Mapping, Set
from typing import Any, Generic, TypeVar

import attrs

from kgd.endpoints.addresses import (
    absolute_path,
    check_endpoint,
    map_paths,
    parse_endpoint,
    with_absolute_paths,
)
from kgd.endpoints.origins import normalized
from kgd.fetching.notebooks import is_remote, split_prefix, uri_for_display
from kgd.observability.logs import LEVELS
from kgd.protocol.websocket_v1 import SUBPROTOCOL
from kgd.settings import KIBIBYTE, MEBIBYTE, OutOfRange, size_in_bytes

_Value = TypeVar("_Value")
_Read = Callable[[str], _Value]
#: Gives the new path for a path.
MovePath = Callable[[str], str]

# The characters of a segment of a path in a URL (RFC 3986).
_SEGMENT = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*")
_KUBERNETES_SERVICE = re.compile(r"(?:tcp|udp|sctp)://\S+:\d+")


def plain(value: Any) -> Any:
    """
    :return: The value as a configuration file has it: a string, number, truth value, list or
        mapping.
    """
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Set):
        return sorted(value)
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    # A type of another distribution may read a text as any object.
    return value if isinstance(value, bool | int | float) else str(value)


@attrs.frozen(slots=False, eq=False)
class OptionType(Generic[_Value]):
    """
    A type of option values. Calling it with a text reads that text.

    :ivar read: Turns the text of an option into a value; raises ``ValueError`` for a text that is
        not valid.
    :ivar accepted: The texts that are valid, as a phrase like "a whole number from 0 to 19".
    :ivar metavar: The placeholder for the value in ``--help``.
    :ivar none: The text that means ``None``; empty if ``None`` is no value of this type.
    :ivar flags: For an option that is used without a value: the text that each of its forms on the
        command line stands for. ``{}`` in a form is the name of the option.
    :ivar write: Turns a value into what a configuration file has.
    :ivar join: Makes one value of several, for an option that may be repeated; without it, the last
        one counts.
    :ivar is_table: Whether a configuration file may give the value as a mapping.
    :ivar map_paths: Replaces each path in a value; ``None`` if there are none.
    :ivar is_foreign: Whether a variable with this text was set by another program, for another
        purpose.
    """

    read: Callable[[str], _Value]
    accepted: str
    metavar: str = "VALUE"
    none: str = ""
    flags: Mapping[str, str] = attrs.field(factory=dict)
    write: Callable[[Any], Any] = plain
    join: Callable[[list[Any]], Any] | None = None
    is_table: bool = False
    map_paths: Callable[[Any, MovePath], Any] | None = None
    is_foreign: Callable[[str], bool] = attrs.field(default=lambda _: False, repr=False)

    def __attrs_post_init__(self) -> None:
        # For whatever describes functions.
        self.__dict__["__name__"] = getattr(self.read, "__name__", "read")
        self.__dict__["__doc__"] = self.accepted_sentence

    def __call__(self, text: str) -> _Value:
        return self.read(text)

    def with_metavar(self, metavar: str) -> OptionType[_Value]:
        """
        :return: The same type with another placeholder in ``--help``.
        """
        return attrs.evolve(self, metavar=metavar)

    @property
    def accepted_sentence(self) -> str:
        """
        The valid texts, as a sentence.
        """
        return f"{self.accepted[:1].upper()}{self.accepted[1:]}."

    @classmethod
    def of(cls, read: Callable[[str], Any]) -> OptionType[Any]:
        """
        :param read: A type, or a function that reads; the first paragraph of its docstring says
            which texts it accepts.
        """
        if isinstance(read, OptionType):
            return read
        if isinstance(read, type) and read in _BUILT_IN:
            return _BUILT_IN[read]
        return cls(read, _accepted(read.__doc__))


def _accepted(docstring: str | None) -> str:
    paragraph = (docstring or "").strip().partition("\n\n")[0]
    words = " ".join(paragraph.split()).rstrip(".") or "another value"
    # Not the first letter of an abbreviation.
    return words if words[1:2].isupper() else words[0].lower() + words[1:]


def option_type(**attributes: Any) -> Callable[[_Read[_Value]], OptionType[_Value]]:
    """
    Make a type of the function that reads it. Its docstring says which texts it accepts.
    """

    def decorate(read: _Read[_Value]) -> OptionType[_Value]:
        return OptionType(read, _accepted(read.__doc__), **attributes)

    return decorate


def several(each: OptionType[_Value]) -> OptionType[_Value]:
    """
    :return: The type of an option that may be repeated, whose value is a tuple of values of another
        type, without empty ones.
    """
    move_one = each.map_paths
    return attrs.evolve(
        each,
        join=lambda values: tuple(value for value in values if value != ""),
        map_paths=None
        if move_one is None
        else lambda values, move: tuple(move_one(value, move) for value in values),
    )


def _finite(value: str) -> float:
    number = float(value)
    if not 0 <= number < float("inf"):
        # A number that is none is not out of any range.
        raise OutOfRange if number == number else ValueError  # noqa: PLR0124
    return number


def _within(number: int, most: int) -> int:
    if not 0 <= number <= most:
        raise OutOfRange
    return number


def _write_size(value: Any) -> Any:
    if isinstance(value, int) and value and value % KIBIBYTE == 0:
        whole = value % MEBIBYTE == 0
        return f"{value // MEBIBYTE}MiB" if whole else f"{value // KIBIBYTE}KiB"
    return plain(value)


def _merged(values: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return {name: value for each in values for name, value in each.items()}


def _move_path(value: str, move: MovePath) -> str:
    return move(value) if value else value


def _move_notebook(value: str, move: MovePath) -> str:
    prefix, uri = split_prefix(value)
    if is_remote(uri) or uri.lower().startswith("file:"):
        # A file: URI is used as it is; it is written for the place where it is read.
        return value
    moved = move(uri)
    return moved if prefix is None else f"{prefix}={moved}"


@option_type(metavar="TEXT")
def text(value: str) -> str:
    """
    Any text.
    """
    return value


@option_type(metavar="N")
def whole_number(value: str) -> int:
    """
    A whole number from 0 to 2147483647.
    """
    # System calls take no larger ones.
    return _within(int(value), 2**31 - 1)


@option_type(metavar="N")
def small_number(value: str) -> int:
    """
    A whole number from 0 to 10000.
    """
    return _within(int(value), 10_000)


@option_type(metavar="N", none="none")
def number_or_none(value: str) -> int | None:
    """
    A whole number from 0 to 2147483647, or none.
    """
    return None if value.strip().lower() == "none" else whole_number(value)


@option_type(
    metavar="PORT",
    # In its containers, Kubernetes sets KGD_PORT for a service with the name kgd.
    is_foreign=lambda value: bool(_KUBERNETES_SERVICE.fullmatch(value)),
)
def port_number(value: str) -> int:
    """
    A port from 0, which is any free one, to 65535.
    """
    return _within(int(value), 65535)


@option_type(metavar="SECONDS")
def seconds(value: str) -> float:
    """
    A number of seconds, not negative.
    """
    return _finite(value)


@option_type(metavar="N")
def rate(value: str) -> float:
    """
    A number, not negative.
    """
    return _finite(value)


@option_type(metavar="SIZE", write=_write_size)
def size(value: str) -> int:
    """
    A number of bytes up to 2**62, or a number with KiB, MiB or GiB after it.
    """
    return size_in_bytes(value)


@option_type(metavar="N")
def niceness(value: str) -> int:
    """
    A whole number from 0 to 19.
    """
    return _within(int(value), 19)


@option_type(metavar="N")
def oom_score(value: str) -> int:
    """
    A whole number from 0 to 1000.
    """
    return _within(int(value), 1000)


@option_type(metavar="NAMES", join=lambda values: frozenset().union(*values))
def names(value: str) -> frozenset[str]:
    """
    Names, separated by commas.
    """
    return frozenset(name.strip() for name in value.split(",") if name.strip())


@option_type(metavar="SWITCH", flags={"{}": "true", "no-{}": "false"})
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


@option_type(metavar="SWITCH", flags={**switch.flags, "{}-failures": "failures"}, none="failures")
def switch_or_failures(value: str) -> bool | None:
    """
    One of 1, true, yes, on, 0, false, no, off, failures.
    """
    return None if value.strip().lower() == "failures" else switch(value)


@option_type(metavar="NOTEBOOK", map_paths=_move_notebook)
def notebook_uri(value: str) -> str:
    """
    A path, or a URI that starts with file:, http: or https:; in notebook_http, a prefix may come
    before it, like /reports=reports.ipynb.
    """
    if not value:
        return ""
    prefix, uri = split_prefix(value)
    if not (is_remote(uri) or uri.lower().startswith("file://")):
        # A daemon changes its current directory.
        uri = absolute_path(uri)
    return uri if prefix is None else f"{prefix}={uri}"


def one_of(*words: str) -> OptionType[str]:
    """
    :return: The type of an option that accepts these words only.
    """

    def read(value: str) -> str:
        word = value.strip().lower()
        if word not in words:
            raise ValueError
        return word

    return OptionType(read, f"one of {', '.join(words)}", metavar="WORD")


@option_type(metavar="LANGUAGE=PREFIX", join=_merged, is_table=True)
def prefixes(value: str) -> dict[str, str]:
    """
    A language and the prefix of its comments, like lua=--; without a language, the prefix is for
    all other languages.
    """
    language, equals, prefix = value.partition("=")
    if not equals or not prefix.strip():
        raise ValueError
    return {language.strip().lower(): prefix.strip()}


@option_type(metavar="HEADER")
def stickiness(value: str) -> str:
    """
    An empty text, cookie, or the name of a header.
    """
    name = value.strip().lower()
    if name and not re.fullmatch(r"[a-z][a-z0-9-]*", name):
        raise ValueError
    return name


@option_type(metavar="NAME=N", join=_merged, is_table=True)
def counts(value: str) -> dict[str, int]:
    """
    Names with a number up to 10000 each, like ir=2, separated by commas.
    """
    pairs = [pair.partition("=") for pair in value.split(",") if pair.strip()]
    if not all(name.strip() for name, _, _ in pairs):
        raise ValueError
    return {name.strip(): small_number(number) for name, _, number in pairs}


@option_type(metavar="ADDRESS")
def ipv4_address(value: str) -> str:
    """
    An IPv4 address of this machine, or localhost, or * for all of its addresses.
    """
    named = {"localhost": "127.0.0.1", "*": "0.0.0.0"}  # noqa: S104
    return str(ipaddress.IPv4Address(named.get(value.strip().lower(), value.strip())))


@option_type(metavar="SCHEME")
def signature_scheme(value: str) -> str:
    """
    The word hmac, a dash and the name of a hash, like hmac-sha256 or hmac-sha512.
    """
    kind, _, name = value.strip().lower().partition("-")
    # Hashes without a digest size (SHAKE) cannot be used for HMAC.
    if kind != "hmac" or not hashlib.new(name).digest_size:
        raise ValueError
    return f"{kind}-{name}"


@option_type(metavar="PROTOCOL", none="auto")
def ws_protocol(value: str) -> str | None:
    """
    An empty text, legacy, v1.kernel.websocket.jupyter.org, or auto, which is the one that the
    client offers.
    """
    if value == "auto":
        return None
    if value in ("", "legacy"):
        return ""
    if value != SUBPROTOCOL:
        raise ValueError
    return value


@option_type(metavar="LEVEL")
def log_level(value: str) -> str:
    """
    One of debug, info, warn, error, critical, or a number from 0 to 50.
    """
    word = value.strip().lower()
    if word == "warning":
        word = "warn"
    if word.isdecimal():
        word = LEVELS[max(0, (_within(int(word), 50) - 1) // 10)]
    if word not in LEVELS:
        raise ValueError
    return word


@option_type(metavar="DIRECTORY", map_paths=_move_path)
def directory(value: str) -> str:
    """
    An existing directory.
    """
    path = absolute_path(value or ".")
    if not os.path.isdir(path):
        raise ValueError
    return path


@option_type(metavar="PATH", map_paths=_move_path)
def path(value: str) -> str:
    """
    A path, or an empty text for none.
    """
    # A daemon changes its current directory.
    return absolute_path(value)


@option_type(metavar="ENDPOINT", map_paths=map_paths)
def endpoint(value: str) -> str:
    """
    A Twisted endpoint description, like tcp:8888:interface=127.0.0.1, unix:/run/kgd.sock or
    ssl:443:privateKey=key.pem:certKey=cert.pem.
    """
    if value:
        check_endpoint(parse_endpoint(value))
    return with_absolute_paths(value)


@option_type(metavar="PATH")
def url_path(value: str) -> str:
    """
    A path like /gateway, of characters that a URL may have unquoted, or percent-encoded ones.
    """
    segments = value.strip().split("/")
    if not all(_SEGMENT.fullmatch(each) and each not in (".", "..") for each in segments):
        raise ValueError
    return value.strip()


@option_type(metavar="TOKEN")
def token(value: str) -> str:
    """
    One line of printable characters.
    """
    # No client could send blanks around it; and a token of blanks only is a mistake, not a wish to
    # have none.
    found = value.strip()
    if not found.isprintable() or (value and not found):
        raise ValueError
    return found


@option_type(metavar="TEXT")
def header_value(value: str) -> str:
    """
    Printable ASCII characters on one line.
    """
    if not (value.isascii() and value.isprintable()):
        raise ValueError
    return value


@option_type(metavar="ORIGINS", join=lambda values: ",".join(filter(None, values)))
def origins(value: str) -> str:
    """
    An asterisk, or origins like https://hub.example:8443, separated by commas.
    """
    each = [origin.strip() for origin in value.split(",") if origin.strip()]
    if not all(origin == "*" or normalized(origin.removesuffix("/")) for origin in each):
        raise ValueError
    return ",".join(each)


@option_type(metavar="DIRECTORY", map_paths=_move_path)
def maybe_directory(value: str) -> str:
    """
    An existing directory, or an empty text for none.
    """
    return directory(value) if value else ""


# Types of Python that the option of a personality may name.
_BUILT_IN: Mapping[type, OptionType[Any]] = {
    str: text,
    int: OptionType(int, "a whole number", "N"),
    float: OptionType(float, "a number", "N"),
}


def hidden(value: Any) -> str:
    """
    :return: Asterisks if there is a value.
    """
    return "***" if value else ""


def without_secrets(uris: tuple[str, ...]) -> tuple[str, ...]:
    """
    :return: The URIs without passwords, and without queries, which may hold secrets.
    """
    found = []
    for each in uris:
        prefix, uri = split_prefix(each)
        uri = uri_for_display(uri) if is_remote(uri) else uri
        found.append(uri if prefix is None else f"{prefix}={uri}")
    return tuple(found)
