"""
How a kernel is reached: over TCP or Unix sockets, at which address, with which keys. The kernel
reads that from its connection file.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from kgd.endpoints.addresses import MAX_SOCKET_PATH
from kgd.errors import KernelStartFailed
from kgd.interfaces import KernelSpec
from kgd.kernels.local.ports import LOOPBACK, PortLeases
from kgd.kernels.local.runtime_directory import RuntimeDirectory
from kgd.kernels.specs import is_ipykernel
from kgd.observability.logs import make_logger
from kgd.protocol.connection_file import CHANNELS, ConnectionInfo, CurveKeys
from kgd.settings import Settings

# Keys in the metadata of a kernelspec, of a name or a list of names. The second is Jupyter's.
_TRANSPORTS = "supported_transports"
_ENCRYPTION = "supported_encryption"


def supports_ipc(spec: KernelSpec) -> bool:
    """
    Whether a kernel is known to support Unix sockets.

    The metadata of its kernelspec may say so. Otherwise only ipykernel is known for it, and only if
    its command starts a Python of this machine directly: another command may start it in a
    container, which does not have these sockets.
    """
    value = spec.metadata.get(_TRANSPORTS)
    return is_ipykernel(spec.argv) if value is None else "ipc" in _listed_names(value)


def _listed_names(value: Any) -> set[str]:
    """
    :return: The names that a kernelspec's metadata has there, without regard to case and blanks.
    """
    listed = value if isinstance(value, list | tuple) else [value]
    return {str(each).strip().lower() for each in listed}


def prefers_ipc(wanted: str, spec: KernelSpec) -> bool:
    """
    Whether to reach a kernel over Unix sockets, if their paths are not too long.

    :param wanted: The setting ``transport``.
    """
    return wanted == "ipc" or (wanted == "auto" and supports_ipc(spec))


def fits_socket_paths(sockets: Path) -> bool:
    """
    Whether paths that begin like this, and end with a dash and a digit, are short enough for
    sockets.
    """
    try:
        return len(f"{sockets}-1".encode()) <= MAX_SOCKET_PATH
    except UnicodeEncodeError:
        # ZeroMQ takes text only.
        return False


def use_curve(wanted: str, spec: KernelSpec) -> bool:
    """
    Whether to encrypt what goes to and from a kernel.

    :param wanted: The setting ``transport_encryption``.
    :raises kgd.errors.KernelStartFailed: when encryption is required and the kernel has none.
    """
    if wanted == "disabled":
        return False
    is_able = "curve" in _listed_names(spec.metadata.get(_ENCRYPTION))
    if wanted == "required" and not is_able:
        raise KernelStartFailed(
            f"The gateway encrypts what goes to and from kernels, but the kernelspec {spec.name} "
            f'does not say that its kernel can do that ("curve" in the {_ENCRYPTION} of its '
            f"metadata); choose another kernelspec, or use --transport-encryption=auto"
        )
    return is_able


class Transport(Protocol):
    """
    How one kernel is reached: over TCP or Unix sockets.

    :ivar name: The ``transport`` of connection files.
    :ivar sockets: The beginning of the names of its Unix sockets, or nothing.
    """

    name: str
    sockets: str

    def take(self, *, new: bool) -> tuple[str, list[int]]:
        """
        Get an address for the next process.

        :param new: Whether to take another one, as the present one may be in use elsewhere.
        :return: What connection files have as ``ip``, and the ports.
        :raises kgd.errors.KernelStartFailed: when there is none.
        """

    def release(self) -> None:
        """
        Give the address back: the kernel is gone.
        """


class TCPTransport:
    """
    TCP ports of this machine.
    """

    name = "tcp"
    sockets = ""

    def __init__(self, leases: PortLeases) -> None:
        self._leases = leases
        self._ports: list[int] = []

    def take(self, *, new: bool) -> tuple[str, list[int]]:
        if new or not self._ports:
            # Leased before the others are given back, so that these are not leased again.
            ports = self._leases.lease(len(CHANNELS))
            self._leases.release(self._ports)
            self._ports = ports
        return self._leases.ip, self._ports

    def release(self) -> None:
        self._leases.release(self._ports)
        self._ports = []


class IPCTransport:
    """
    Unix sockets in the runtime directory, which is private: no other program can take their place.

    :param sockets: A name unique to the kernel, and short: its id would make many a path too long.
    """

    name = "ipc"

    def __init__(self, runtime: RuntimeDirectory, sockets: str) -> None:
        self._runtime = runtime
        self.sockets = sockets

    def take(self, *, new: bool) -> tuple[str, list[int]]:
        # A killed process has left its sockets behind.
        return str(self._runtime.clear_sockets(self.sockets)), [*range(1, len(CHANNELS) + 1)]

    def release(self) -> None:
        self._runtime.remove_sockets(self.sockets)


class KernelConnection:
    """
    The address, the keys and the connection file of one kernel, over all of its processes. Nothing
    is taken before the first :py:meth:`write`.
    """

    def __init__(
        self,
        kernel_id: str,
        kernel_name: str,
        transport: Transport,
        runtime: RuntimeDirectory,
        signature_scheme: str,
        curve: CurveKeys | None,
    ) -> None:
        self._kernel_id = kernel_id
        self._kernel_name = kernel_name
        self._transport = transport
        self._runtime = runtime
        self._key = secrets.token_hex(16).encode()
        self._signature_scheme = signature_scheme
        self._curve = curve

    def write(self, *, new_address: bool) -> tuple[ConnectionInfo, Path]:
        """
        Take an address for the next process, and write the connection file.

        :param new_address: Whether to take another one, as the present one may be in use elsewhere.
        :return: The connection, and the file that it was written to.
        :raises kgd.errors.KernelStartFailed: when there are no ports, or no room for the file.
        """
        ip, ports = self._transport.take(new=new_address)
        info = ConnectionInfo(
            ports=dict(zip(CHANNELS, ports, strict=True)),
            key=self._key,
            ip=ip,
            transport=self._transport.name,
            signature_scheme=self._signature_scheme,
            kernel_name=self._kernel_name,
            curve=self._curve,
        )
        # Anew for each process: some kernels remove the file when they end.
        return info, self._runtime.write_connection_file(self._kernel_id, info.to_json())

    @property
    def file(self) -> Path:
        """
        The path of the connection file.
        """
        return self._runtime.connection_file(self._kernel_id)

    def record(self, pid: int) -> None:
        """
        Record the process that listens there now, if kernels outlive the gateway.
        """
        self._runtime.record(self._kernel_id, pid, self._transport.sockets)

    def release(self) -> None:
        """
        Give the address back, and remove the files.
        """
        self._transport.release()
        self._runtime.remove(self._kernel_id)


class ConnectionAllocator:
    """
    Chooses for each kernel how it is reached.

    :param ports: TCP ports for kernels.
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
        self._warned = False

    def allocate(self, kernel_id: str, spec: KernelSpec) -> KernelConnection:
        """
        Make the connection of a new kernel.

        :raises kgd.errors.KernelStartFailed: when the settings want what is not possible.
        """
        settings = self._settings
        curve = self._new_keys() if use_curve(settings.transport_encryption, spec) else None
        return KernelConnection(
            kernel_id,
            spec.name,
            self._transport(spec),
            self._runtime,
            settings.signature_scheme,
            curve,
        )

    def _transport(self, spec: KernelSpec) -> Transport:
        wanted = self._settings.transport
        if wanted == "auto" and self._settings.kernel_ip != LOOPBACK:
            # An address that was chosen is to be used, and only TCP has one.
            wanted = "tcp"
        if prefers_ipc(wanted, spec):
            name = next(self._names)
            sockets = self._runtime.sockets(name)
            if fits_socket_paths(sockets):
                return IPCTransport(self._runtime, name)
            if wanted == "ipc":
                raise KernelStartFailed(f"{_too_long(sockets)}, or use --transport=tcp")
            if not self._warned:
                self._warned = True
                self._log.warn("{reason}; until then, TCP is used", reason=_too_long(sockets))
        return TCPTransport(self._ports)


def _too_long(sockets: Path) -> str:
    return (
        f"Kernels cannot have Unix sockets: the paths would be longer than {MAX_SOCKET_PATH} "
        f"bytes ({sockets}-1); set JUPYTER_RUNTIME_DIR to a directory with a shorter path"
    )
