"""
How a kernel is reached: over TCP or over Unix sockets, encrypted or not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from kgd.addresses import LONGEST_PATH
from kgd.errors import KernelStartFailed
from kgd.interfaces import KernelSpec

# In the metadata of a kernelspec: a name, or a list of names. The second is Jupyter's.
_TRANSPORTS = "supported_transports"
_ENCRYPTION = "supported_encryption"

_PYTHON = re.compile(r"(python|pypy)[0-9.]*")
_IPYKERNEL = ("ipykernel", "ipykernel_launcher")


def speaks_ipc(spec: KernelSpec) -> bool:
    """
    Whether it is known that a kernel can be reached over Unix sockets.

    Its kernelspec may say so. Otherwise ipykernel is known for it, if a Python of this machine is
    started with it directly: what is wrapped into another command may run in a container, where
    our sockets are not.
    """
    said = spec.metadata.get(_TRANSPORTS)
    return is_ipykernel(spec.argv) if said is None else "ipc" in _names(said)


def is_ipykernel(argv: Sequence[str]) -> bool:
    """
    Whether a command starts ipykernel, with nothing in between.
    """
    return (
        bool(argv)
        and _PYTHON.fullmatch(Path(argv[0]).name) is not None
        and any(flag == "-m" and module in _IPYKERNEL for flag, module in pairwise(argv))
    )


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
