"""
Where a kernel listens, and the file that tells it.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from kgd.kernels.ports import PortLeases
from kgd.kernels.runtime import RuntimeDirectory
from kgd.protocol.connection import CHANNELS, ConnectionInfo


class KernelAddress:
    """
    The ports, the key and the connection file of one kernel. Nothing is taken before
    :py:meth:`prepare`.
    """

    def __init__(
        self, kernel_id: str, kernel_name: str, ports: PortLeases, runtime: RuntimeDirectory
    ) -> None:
        self._kernel_id = kernel_id
        self._kernel_name = kernel_name
        self._leases = ports
        self._runtime = runtime
        self._ports: list[int] = []
        self._key = secrets.token_hex(16).encode()

    def prepare(self, *, new_ports: bool) -> tuple[ConnectionInfo, Path]:
        """
        Get ready for the next process.

        :param new_ports: Whether to move, as the present ports may be taken by somebody else.
        :return: The address, and the file that it was written to.
        :raises kgd.errors.KernelStartFailed: when there are no ports, or no room for the file.
        """
        if new_ports or not self._ports:
            ports = self._leases.lease(len(CHANNELS))
            self._leases.release(self._ports)
            self._ports = ports
        info = ConnectionInfo(
            ports=dict(zip(CHANNELS, self._ports, strict=True)),
            key=self._key,
            kernel_name=self._kernel_name,
        )
        # Anew for each process: some kernels remove the file when they end.
        return info, self._runtime.write(self._kernel_id, info.to_json())

    def give_up(self) -> None:
        """
        Give the ports back, and remove the file.
        """
        self._leases.release(self._ports)
        self._ports = []
        self._runtime.remove(self._kernel_id)
