"""
Twisted's endpoint descriptions: parsing and checking them, and who can reach what listens there.

Nothing is opened or resolved here. Format: ``twisted.internet.endpoints.serverFromString``.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Callable, Mapping
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

import attrs

#: Longest path of a Unix socket on Linux, in bytes (unix(7)).
MAX_SOCKET_PATH = 107
# Positional arguments of each kind of endpoint, in Twisted's order.
_ARGUMENT_ORDER: Mapping[str, tuple[str, ...]] = {
    "tcp": ("port", "interface", "backlog"),
    "tcp6": ("port", "backlog", "interface"),
    "ssl": (
        "port", "privateKey", "certKey", "sslmethod", "interface", "backlog", "extraCertChain",
        "dhParameters",
    ),
    "unix": ("address", "mode", "backlog", "lockfile"),
    "systemd": ("domain", "index", "name"),
}  # fmt: skip
_PATH_ARGUMENTS = frozenset({"address", "privateKey", "certKey", "extraCertChain", "dhParameters"})


class Reach(enum.Enum):
    """
    Which clients can connect to an address.
    """

    LOCAL = "this machine"
    REMOTE = "other machines"
    UNKNOWN = "that is known when it listens"


@attrs.frozen
class Endpoint:
    """
    A parsed endpoint description.

    :ivar kind: The word before the first colon, in lower case.
    :ivar arguments: By name; of an unknown kind, only the named ones.
    """

    text: str
    kind: str
    arguments: Mapping[str, str]

    @property
    def reach(self) -> Reach:
        """
        Which clients can connect, as far as the description says.
        """
        if self.kind == "unix":
            return Reach.LOCAL
        if self.kind in ("tcp", "tcp6", "ssl"):
            return reach_of(self.arguments.get("interface", ""))
        return Reach.UNKNOWN


def parse_endpoint(text: str) -> Endpoint:
    """
    :param text: Like ``tcp:8888:interface=127.0.0.1``; a backslash escapes the next character.
    """
    fields: list[tuple[str, str]] = []
    name = piece = ""
    characters = iter(text)
    for character in characters:
        if character == "\\":
            piece += next(characters, "")
        elif character == ":":
            fields.append((name, piece))
            name = piece = ""
        elif character == "=" and not name:
            name, piece = piece, ""
        else:
            piece += character
    fields.append((name, piece))
    kind = fields[0][1].lower()
    nameless = iter(_ARGUMENT_ORDER.get(kind, ()))
    arguments = {}
    for given, value in fields[1:]:
        argument = given or next(nameless, "")
        if argument:
            arguments[argument] = value
    return Endpoint(text, kind, arguments)


def check_endpoint(endpoint: Endpoint) -> None:
    """
    Check the arguments of an endpoint of a known kind; Twisted checks the others when it listens.

    :raises ValueError: when an argument is missing, unknown or malformed.
    """
    known = _ARGUMENT_ORDER.get(endpoint.kind)
    if known is None:
        return
    arguments = endpoint.arguments
    first = known[0]
    if not arguments.get(first) or not set(known).issuperset(arguments):
        raise ValueError
    if first == "port" and not 0 <= int(arguments["port"]) < 65536:
        raise ValueError
    if "backlog" in arguments:
        int(arguments["backlog"])
    if "mode" in arguments:
        int(arguments["mode"], 8)


def format_endpoint(kind: str, arguments: Mapping[str, str]) -> str:
    """
    :return: An endpoint description, with special characters escaped.
    """
    quoted = (
        f"{name}={value}".replace("\\", "\\\\").replace(":", "\\:")
        for name, value in arguments.items()
    )
    return ":".join([kind, *quoted])


def absolute_path(path: str) -> str:
    """
    :return: The absolute path; an empty one stays empty. A ``~`` is expanded, since no shell sees
        those in files, or after an equals sign.
    """
    return os.path.abspath(os.path.expanduser(path)) if path else ""


def with_absolute_paths(text: str) -> str:
    """
    :return: The endpoint with absolute paths of files.
    """
    return map_paths(text, absolute_path)


def map_paths(text: str, map_path: Callable[[str], str]) -> str:
    """
    :return: The endpoint with each path of a file replaced by ``map_path(path)``.
    """
    endpoint = parse_endpoint(text)
    if endpoint.kind not in ("unix", "ssl"):
        return text
    changed = {
        name: map_path(value)
        for name, value in endpoint.arguments.items()
        if name in _PATH_ARGUMENTS and value and map_path(value) != value
    }
    return format_endpoint(endpoint.kind, {**endpoint.arguments, **changed}) if changed else text


# Every request asks for one of the same few names.
@lru_cache(maxsize=64)
def is_loopback(host: str) -> bool:
    """
    :param host: An address, or a name; ``localhost`` is the only name that counts as loopback.
    """
    if host.lower() == "localhost":
        return True
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback


def reach_of(interface: str) -> Reach:
    """
    :param interface: What to listen on: an address, a name, or an empty string for all addresses.
    """
    if is_loopback(interface):
        return Reach.LOCAL
    try:
        ip_address(interface.partition("%")[0] or "::")
    except ValueError:
        # A name may resolve to a loopback address.
        return Reach.UNKNOWN
    return Reach.REMOTE
