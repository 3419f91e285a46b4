"""
A kernel's connection file.

Format: https://jupyter-client.readthedocs.io/en/stable/kernels.html#connection-files
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import attrs

CHANNELS = ("shell", "iopub", "stdin", "control", "hb")


@attrs.frozen(kw_only=True)
class ConnectionInfo:
    """
    Where a kernel listens, and the key that signs what is said there.

    :ivar ports: One for each of :py:data:`CHANNELS`.
    :ivar signature_scheme: ``hmac-`` and the name of a hash.
    """

    ports: Mapping[str, int]
    key: bytes = attrs.field(repr=False)
    ip: str = "127.0.0.1"
    transport: str = "tcp"
    signature_scheme: str = "hmac-sha256"
    kernel_name: str = ""

    def url(self, channel: str) -> str:
        """
        :return: The ZeroMQ address of a channel.
        """
        return f"{self.transport}://{self.ip}:{self.ports[channel]}"

    def to_json(self) -> bytes:
        """
        :return: The connection file's content; it holds the key.
        """
        return json.dumps(
            {f"{channel}_port": self.ports[channel] for channel in CHANNELS}
            | {
                "ip": self.ip,
                "key": self.key.decode("ascii"),
                "transport": self.transport,
                "signature_scheme": self.signature_scheme,
                "kernel_name": self.kernel_name,
            },
            indent=2,
        ).encode("ascii")
