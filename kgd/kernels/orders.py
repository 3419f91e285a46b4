"""
What the program between the gateway and a kernel is told to do; it is in ``exec_kernel.py``.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator

from kgd.interfaces import Limits
from kgd.kernels.users import KernelUser

#: Seconds between the signal for too much processor time and SIGKILL.
GRACE = 5
_UNLIMITED = resource.RLIM_INFINITY


def orders(
    limits: Limits, user: KernelUser | None, *, parent_pid: int | None, open_files: int
) -> str:
    """
    :param user: As whom to run; ``None`` is as the gateway.
    :param parent_pid: Without which process the kernel makes no sense, if there is one.
    :param open_files: The soft limit of open files for a kernel that is given none, which is the
        one that the gateway found when it began.
    :return: For ``exec_kernel.py``.
    """
    words = []
    if parent_pid is not None:
        words.append(f"parent={parent_pid}")
    if limits.nice:
        words.append(f"nice={limits.nice}")
    if user is not None:
        groups = ",".join(str(group) for group in user.groups)
        words.append(f"groups={groups} gid={user.gid} uid={user.uid}")
    listed = ",".join(_rlimits(limits, open_files))
    if listed:
        words.append(f"limits={listed}")
    return " ".join(words)


def _rlimits(limits: Limits, open_files: int) -> Iterator[str]:
    for number, wanted, grace in (
        # Not RLIMIT_AS: that counts what is only reserved, of which Node, Java, Go and every thread
        # take gigabytes. This counts what can be written to and is nobody else's.
        (resource.RLIMIT_DATA, limits.memory, 0),
        (resource.RLIMIT_CPU, limits.cpu_seconds, GRACE),
        (resource.RLIMIT_NOFILE, limits.open_files, 0),
        (resource.RLIMIT_NPROC, limits.processes, 0),
        (resource.RLIMIT_FSIZE, limits.file_size, 0),
    ):
        if wanted:
            # Nobody may have more than the gateway may.
            _, most = resource.getrlimit(number)
            yield f"{number}:{_least(wanted, most)}:{_least(wanted + grace, most)}"
    if not limits.open_files:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != open_files:
            yield f"{resource.RLIMIT_NOFILE}:{_least(open_files, hard)}:{hard}"


def _least(wanted: int, most: int) -> int:
    if most == _UNLIMITED:
        return wanted
    return most if wanted == _UNLIMITED else min(wanted, most)
