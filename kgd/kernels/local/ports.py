"""
Leases TCP ports to kernels.
"""

from __future__ import annotations

import errno
import random
import socket
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from pathlib import Path

from kgd.errors import KernelStartFailed

# The preferred range, as far as the system does not give these ports to outgoing connections.
_FIRST = 20_000
_LAST = 32_000
_UNPRIVILEGED = 1024
_PORTS_END = 65_536
_MIN_CANDIDATES = 1000
_EPHEMERAL_FILE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_EPHEMERAL = (32_768, 60_999)
LOOPBACK = "127.0.0.1"


def candidates(ephemeral: tuple[int, int]) -> range:
    """
    :param ephemeral: The first and the last of the ports that the system gives to outgoing
        connections, which may take one at any moment.
    :return: The ports for kernels.
    """
    first, last = ephemeral
    for ports in (
        range(_FIRST, min(_LAST + 1, first)),
        range(max(_FIRST, last + 1), _LAST + 1),
        range(_UNPRIVILEGED, first),
        range(last + 1, _PORTS_END),
    ):
        if len(ports) >= _MIN_CANDIDATES:
            return ports
    # The system may give any port to a connection. A kernel that finds its port taken is started
    # again with others.
    return range(_FIRST, _LAST + 1)


def ephemeral_ports(file: Path = _EPHEMERAL_FILE) -> tuple[int, int]:
    """
    :return: The first and the last of the ports that the system gives to outgoing connections.
    """
    try:
        first, last = map(int, file.read_text("ascii").split())
    except (OSError, ValueError):
        return _EPHEMERAL
    return first, last


def is_free(port: int, ip: str = LOOPBACK) -> bool:
    """
    Whether a kernel can listen on a port now, even if a connection to it was closed a moment ago.

    :param ip: The address to listen on.
    :raises kgd.errors.KernelStartFailed: when it is not an address of this machine.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ip, port))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise KernelStartFailed(
                    f"Kernels cannot listen on {ip}, which is not an address of this machine; "
                    "choose another with --kernel-ip"
                ) from None
            return False
    return True


class PortLeases:
    """
    Remembers which ports kernels have, so that two that start at once never get the same.

    :param ports: The ports to choose from.
    :param free: Whether a port is free on this machine.
    :param ip: The address on which kernels listen.
    """

    def __init__(
        self,
        ports: Sequence[int] | None = None,
        free: Callable[[int], bool] | None = None,
        ip: str = LOOPBACK,
    ) -> None:
        self._ports = candidates(ephemeral_ports()) if ports is None else ports
        self._free = free or partial(is_free, ip=ip)
        self.ip = ip
        self._leased: set[int] = set()

    @property
    def leased(self) -> frozenset[int]:
        """
        The ports that kernels have at the moment.
        """
        return frozenset(self._leased)

    def lease(self, count: int) -> list[int]:
        """
        :return: That many ports, chosen at random.
        :raises kgd.errors.KernelStartFailed: when too few are free; then none is leased.
        """
        found: list[int] = []
        start = random.randrange(len(self._ports))
        # Neighbours from a random one on: that is cheap, and tries every port once.
        for port in chain(self._ports[start:], self._ports[:start]):
            if len(found) == count:
                break
            if port not in self._leased and self._free(port):
                found.append(port)
        if len(found) < count:
            raise KernelStartFailed(
                "There are not enough free TCP ports for another kernel; stop some kernels"
            )
        self._leased.update(found)
        return found

    def release(self, ports: Sequence[int]) -> None:
        """
        Give ports back.
        """
        self._leased.difference_update(ports)
