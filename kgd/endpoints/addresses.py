"""
Addresses: what the description of an endpoint says, and who can reach what listens there.

Nothing is opened or looked up here.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Callable, Mapping
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

import attrs

#: What the path of a Unix socket can have, in bytes.
LONGEST_PATH = 107
# The order in which Twisted takes arguments without a name, by the kind of endpoint.
_PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "tcp": ("port", "interface", "backlog"),
    "tcp6": ("port", "backlog", "interface"),
    "ssl": (
        "port", "privateKey", "certKey", "sslmethod", "interface", "backlog", "extraCertChain",
        "dhParameters",
    ),
    "unix": ("address", "mode", "backlog", "lockfile"),
    "systemd": ("domain", "index", "name"),
}  # fmt: skip
_FILES = frozenset({"address", "privateKey", "certKey", "extraCertChain", "dhParameters"})


class Reach(enum.Enum):
    """
    From where something can be connected to.
    """

    LOCAL = "this machine"
    REMOTE = "other machines"
    UNKNOWN = "that is known when it listens"


@attrs.frozen
class Endpoint:
    """
    The description of an endpoint, taken apart.

    :ivar kind: What comes before the first colon, in lower case.
    :ivar arguments: By name; of a kind that we do not know, only those that were given with one.
    """

    text: str
    kind: str
    arguments: Mapping[str, str]

    @property
    def reach(self) -> Reach:
        """
        From where it can be connected to, as far as the description says.
        """
        if self.kind == "unix":
            return Reach.LOCAL
        if self.kind in ("tcp", "tcp6", "ssl"):
            return reach_of(self.arguments.get("interface", ""))
        return Reach.UNKNOWN


def parse_endpoint(text: str) -> Endpoint:
    """
    :param text: As Twisted writes them, like ``tcp:8888:interface=127.0.0.1``; a backslash takes
        the meaning from the character after it.
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
    nameless = iter(_PARAMETERS.get(kind, ()))
    arguments = {}
    for given, value in fields[1:]:
        argument = given or next(nameless, "")
        if argument:
            arguments[argument] = value
    return Endpoint(text, kind, arguments)


def check_endpoint(endpoint: Endpoint) -> None:
    """
    Look for what can be wrong in an endpoint of a kind that we know; of other kinds, Twisted finds
    out.

    :raises ValueError: when there is something.
    """
    known = _PARAMETERS.get(endpoint.kind)
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


def written(kind: str, arguments: Mapping[str, str]) -> str:
    """
    :return: The description of an endpoint, which Twisted and :py:func:`parse_endpoint` can read.
    """
    quoted = (
        f"{name}={value}".replace("\\", "\\\\").replace(":", "\\:")
        for name, value in arguments.items()
    )
    return ":".join([kind, *quoted])


def absolute(path: str) -> str:
    """
    :return: The same path for whoever leaves the directory; nothing stays nothing. A ``~`` means
        what it does to a shell, which does not see it in files, nor after an equals sign.
    """
    return os.path.abspath(os.path.expanduser(path)) if path else ""


def with_absolute_paths(text: str) -> str:
    """
    :return: The same endpoint for whoever leaves the directory.
    """
    return with_paths(text, absolute)


def with_paths(text: str, change: Callable[[str], str]) -> str:
    """
    :return: The same endpoint with other paths of files.
    """
    endpoint = parse_endpoint(text)
    if endpoint.kind not in ("unix", "ssl"):
        return text
    changed = {
        name: change(value)
        for name, value in endpoint.arguments.items()
        if name in _FILES and value and change(value) != value
    }
    return written(endpoint.kind, {**endpoint.arguments, **changed}) if changed else text


# Asked for the same few names with every request.
@lru_cache(maxsize=64)
def is_loopback(host: str) -> bool:
    """
    :param host: An address, or a name, of which only ``localhost`` is known.
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
    :param interface: What to listen on: an address, a name, or nothing for all addresses.
    """
    if is_loopback(interface):
        return Reach.LOCAL
    try:
        ip_address(interface.partition("%")[0] or "::")
    except ValueError:
        # A name, which may be one of this machine's own.
        return Reach.UNKNOWN
    return Reach.REMOTE
