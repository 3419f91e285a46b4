"""
Where a kernel listens, and the file that tells it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from kgd.endpoints.addresses import LONGEST_PATH
from kgd.errors import KernelStartFailed
from kgd.interfaces import KernelSpec
from kgd.kernels.local.ports import LOOPBACK, PortLeases
from kgd.kernels.local.runtime_directory import RuntimeDirectory
from kgd.kernels.specs import is_ipykernel
from kgd.observability.logs import make_logger
from kgd.protocol.connection_file import CHANNELS, ConnectionInfo, CurveKeys
from kgd.settings import Settings

# In the metadata of a kernelspec: a name, or a list of names. The second is Jupyter's.
_TRANSPORTS = "supported_transports"
_ENCRYPTION = "supported_encryption"


def speaks_ipc(spec: KernelSpec) -> bool:
    """
    Whether it is known that a kernel can be reached over Unix sockets.

    Its kernelspec may say so. Otherwise ipykernel is known for it, if a Python of this machine is
    started with it directly: what is wrapped into another command may run in a container, where
    our sockets are not.
    """
    said = spec.metadata.get(_TRANSPORTS)
    return is_ipykernel(spec.argv) if said is None else "ipc" in _names(said)


def _names(said: Any) -> set[str]:
    """
    What a kernelspec's metadata lists, leniently.
    """
    listed = said if isinstance(said, list | tuple) else [said]
    return {str(each).strip().lower() for each in listed}


def prefers_ipc(wanted: str, spec: KernelSpec) -> bool:
    """
    Whether to reach a kernel over Unix sockets, if that is possible.

    :param wanted: The setting ``transport``.
    """
    return wanted == "ipc" or (wanted == "auto" and speaks_ipc(spec))


def is_short(sockets: Path) -> bool:
    """
    Whether paths that begin so, and end with a dash and a digit, can be those of sockets.
    """
    try:
        return len(f"{sockets}-1".encode()) <= LONGEST_PATH
    except UnicodeEncodeError:
        # ZeroMQ takes text.
        return False


def use_curve(wanted: str, spec: KernelSpec) -> bool:
    """
    Whether to encrypt what goes to and from a kernel.

    :param wanted: The setting ``transport_encryption``.
    :raises kgd.errors.KernelStartFailed: when it must be so and the kernel is not able to.
    """
    if wanted == "disabled":
        return False
    able = "curve" in _names(spec.metadata.get(_ENCRYPTION))
    if wanted == "required" and not able:
        raise KernelStartFailed(
            f"The gateway encrypts what goes to and from kernels, but the kernelspec {spec.name} "
            f'does not say that its kernel can do that ("curve" in the {_ENCRYPTION} of its '
            f"metadata); choose another one, or use --transport-encryption=auto"
        )
    return able


class Place(Protocol):
    """
    What one kernel listens on.

    :ivar transport: As connection files have it.
    :ivar sockets: What the names of its Unix sockets begin with, if it has any.
    """

    transport: str
    sockets: str

    def take(self, *, new: bool) -> tuple[str, list[int]]:
        """
        Get ready for the next process.

        :param new: Whether to move, as the present place may be taken by somebody else.
        :return: What connection files have as ``ip``, and the ports.
        :raises kgd.errors.KernelStartFailed: when there is no place.
        """

    def give_back(self) -> None:
        """
        The kernel is gone.
        """


class TCPPorts:
    """
    Ports of this machine.
    """

    transport = "tcp"
    sockets = ""

    def __init__(self, leases: PortLeases) -> None:
        self._leases = leases
        self._ports: list[int] = []

    def take(self, *, new: bool) -> tuple[str, list[int]]:
        """
        Lease ports, or keep those that are leased.
        """
        if new or not self._ports:
            ports = self._leases.lease(len(CHANNELS))
            self._leases.release(self._ports)
            self._ports = ports
        return self._leases.ip, self._ports

    def give_back(self) -> None:
        """
        Give the ports back.
        """
        self._leases.release(self._ports)
        self._ports = []


class UnixSockets:
    """
    Sockets in the runtime directory, where only we come in. Nobody else can take their place.

    :param name: Unique to the kernel, and short: its id would make many a path too long.
    """

    transport = "ipc"

    def __init__(self, runtime: RuntimeDirectory, name: str) -> None:
        self._runtime = runtime
        self.sockets = name

    def take(self, *, new: bool) -> tuple[str, list[int]]:
        """
        Remove what a killed process has left.
        """
        return str(self._runtime.clear_sockets(self.sockets)), [*range(1, len(CHANNELS) + 1)]

    def give_back(self) -> None:
        """
        Remove the sockets.
        """
        self._runtime.remove_sockets(self.sockets)


class KernelAddress:
    """
    The place, the keys and the connection file of one kernel. Nothing is taken before
    :py:meth:`prepare`.
    """

    def __init__(
        self,
        kernel_id: str,
        kernel_name: str,
        place: Place,
        runtime: RuntimeDirectory,
        signature_scheme: str,
        curve: CurveKeys | None,
    ) -> None:
        self._kernel_id = kernel_id
        self._kernel_name = kernel_name
        self._place = place
        self._runtime = runtime
        self._key = secrets.token_hex(16).encode()
        self._signature_scheme = signature_scheme
        self._curve = curve

    def prepare(self, *, new_ports: bool) -> tuple[ConnectionInfo, Path]:
        """
        Get ready for the next process.

        :param new_ports: Whether to move, as the present ports may be taken by somebody else.
        :return: The address, and the file that it was written to.
        :raises kgd.errors.KernelStartFailed: when there are no ports, or no room for the file.
        """
        ip, ports = self._place.take(new=new_ports)
        info = ConnectionInfo(
            ports=dict(zip(CHANNELS, ports, strict=True)),
            key=self._key,
            ip=ip,
            transport=self._place.transport,
            signature_scheme=self._signature_scheme,
            kernel_name=self._kernel_name,
            curve=self._curve,
        )
        # Anew for each process: some kernels remove the file when they end.
        return info, self._runtime.write(self._kernel_id, info.to_json())

    @property
    def file(self) -> Path:
        """
        The connection file.
        """
        return self._runtime.connection_file(self._kernel_id)

    def launched(self, pid: int) -> None:
        """
        A process runs there now.
        """
        self._runtime.keep(self._kernel_id, pid, self._place.sockets)

    def give_up(self) -> None:
        """
        Give the place back, and remove the file.
        """
        self._place.give_back()
        self._runtime.remove(self._kernel_id)


class Addresses:
    """
    Chooses for each kernel how it is reached.

    :param ports: Where to get TCP ports.
    :param new_keys: Makes keys for encryption.
    """

    _log = make_logger()

    def __init__(
        self,
        settings: Settings,
        ports: PortLeases,
        runtime: RuntimeDirectory,
        new_keys: Callable[[], CurveKeys],
    ) -> None:
        self._settings = settings
        self._ports = ports
        self._runtime = runtime
        self._new_keys = new_keys
        self._names = (f"{number:x}" for number in count(1))
        self._complained = False

    def new(self, kernel_id: str, spec: KernelSpec) -> KernelAddress:
        """
        Make the address of a new kernel.

        :raises kgd.errors.KernelStartFailed: when the settings want what is not possible.
        """
        settings = self._settings
        curve = self._new_keys() if use_curve(settings.transport_encryption, spec) else None
        return KernelAddress(
            kernel_id,
            spec.name,
            self._place(spec),
            self._runtime,
            settings.signature_scheme,
            curve,
        )

    def _place(self, spec: KernelSpec) -> Place:
        wanted = self._settings.transport
        if wanted == "auto" and self._settings.kernel_ip != LOOPBACK:
            # Who chooses an address wants it to be used.
            wanted = "tcp"
        if prefers_ipc(wanted, spec):
            name = next(self._names)
            sockets = self._runtime.sockets(name)
            if is_short(sockets):
                return UnixSockets(self._runtime, name)
            if wanted == "ipc":
                raise KernelStartFailed(f"{_too_long(sockets)}, or use --transport=tcp")
            if not self._complained:
                self._complained = True
                self._log.warn("{reason}; until then, TCP is used", reason=_too_long(sockets))
        return TCPPorts(self._ports)


def _too_long(sockets: Path) -> str:
    return (
        f"Kernels cannot have Unix sockets, because the paths would be longer than {LONGEST_PATH} "
        f"bytes ({sockets}-1); set JUPYTER_RUNTIME_DIR to a directory with a shorter path"
    )
