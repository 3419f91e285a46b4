"""
Connection files, which tell kernels where to listen and with which keys.

Format: https://jupyter-client.readthedocs.io/en/stable/kernels.html#connection-files
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import attrs

_ALL_INTERFACES = "0.0.0.0"  # noqa: S104
CHANNELS = ("shell", "iopub", "stdin", "control", "hb")


@attrs.frozen
class CurveKeys:
    """
    A key pair of CurveZMQ, in Z85. The public key is enough to talk to the kernel, so it is not
    printed either.
    """

    public: bytes = attrs.field(repr=False)
    secret: bytes = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class ConnectionInfo:
    """
    Where a kernel listens, and the key that signs its messages.

    :ivar ports: One for each of :py:data:`CHANNELS`.
    :ivar ip: With the transport ``ipc``, the beginning of the sockets' paths.
    :ivar signature_scheme: ``hmac-`` and the name of a hash.
    :ivar curve: The kernel's keys, if messages are encrypted.
    """

    ports: Mapping[str, int]
    key: bytes = attrs.field(repr=False)
    ip: str = "127.0.0.1"
    transport: str = "tcp"
    signature_scheme: str = "hmac-sha256"
    kernel_name: str = ""
    curve: CurveKeys | None = None

    def url(self, channel: str) -> str:
        """
        :return: The ZeroMQ address of a channel.
        """
        separator = "-" if self.transport == "ipc" else ":"
        # A kernel that listens on all addresses is reached on loopback.
        ip = "127.0.0.1" if self.ip == _ALL_INTERFACES else self.ip
        return f"{self.transport}://{ip}{separator}{self.ports[channel]}"

    def to_json(self) -> bytes:
        """
        :return: The content of the connection file, which includes the keys.
        """
        keys = {}
        if self.curve is not None:
            keys["curve_publickey"] = self.curve.public.decode("ascii")
            keys["curve_secretkey"] = self.curve.secret.decode("ascii")
        return json.dumps(
            {f"{channel}_port": self.ports[channel] for channel in CHANNELS}
            | {
                "ip": self.ip,
                "key": self.key.decode("ascii"),
                "transport": self.transport,
                "signature_scheme": self.signature_scheme,
                "kernel_name": self.kernel_name,
            }
            | keys,
            indent=2,
        ).encode("ascii")
