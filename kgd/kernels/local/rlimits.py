"""
The resource limits of a kernel, from the settings and from its kernelspec, and the arguments of
:py:mod:`.exec_kernel` that set them.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from kgd.errors import KernelStartFailed
from kgd.interfaces import KernelSpec, Limits
from kgd.kernels.local.users import KernelUser
from kgd.settings import MAX_SIZE, Settings, size_in_bytes

# Keys in the metadata of a kernelspec: ``{"kgd": {"limits": {"memory": "2GiB"}}}``.
_METADATA = "kgd"
_LIMITS = "limits"
_SIZES = ("memory", "file_size")
_NAMES = tuple(field.name for field in attrs.fields(Limits))
_MAX_NICE = 19


def limits_of(settings: Settings, spec: KernelSpec) -> Limits:
    """
    :return: The limits of the settings, except where the kernelspec has its own.
    :raises kgd.errors.KernelStartFailed: when those of the kernelspec are invalid.
    """
    defaults = {name: getattr(settings, f"kernel_{name}") for name in _NAMES}
    metadata = spec.metadata.get(_METADATA, {})
    own = metadata.get(_LIMITS, {}) if isinstance(metadata, Mapping) else None
    if not isinstance(own, Mapping):
        raise _invalid(spec, f"must be objects, like {{{_METADATA!r}: {{{_LIMITS!r}: {{}}}}}}")
    return Limits(**(defaults | {name: _read(spec, name, value) for name, value in own.items()}))


def _read(spec: KernelSpec, name: object, value: Any) -> int:
    if name not in _NAMES:
        raise _invalid(spec, f"have the unknown name {name!r} (known: {', '.join(_NAMES)})")
    expected = "a whole number, or null for no limit"
    try:
        if name in _SIZES:
            expected = "bytes, as a number or like '2GiB', or null for no limit"
            number = size_in_bytes(value) if isinstance(value, str) else value
        else:
            number = value
        if number is None:
            return 0
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= MAX_SIZE:
            raise ValueError
        if name == "nice" and number > _MAX_NICE:
            expected = f"a whole number from 0 to {_MAX_NICE}"
            raise ValueError
    except ValueError:
        raise _invalid(spec, f"have {value!r} as {name}; it takes {expected}") from None
    return number


def _invalid(spec: KernelSpec, what: str) -> KernelStartFailed:
    return KernelStartFailed(
        f"The {_LIMITS} of {_METADATA} in the metadata of the kernelspec {spec.name} {what}; "
        "correct its kernel.json"
    )


#: Seconds between the signal for too much processor time and SIGKILL.
CPU_GRACE = 5
_UNLIMITED = resource.RLIM_INFINITY


def exec_arguments(
    limits: Limits,
    user: KernelUser | None,
    *,
    parent_pid: int | None,
    open_files: int,
    oom_score_adj: int = 0,
) -> str:
    """
    :param user: The user to run as; ``None`` is the gateway's.
    :param oom_score_adj: The value of that name, as in ``--kernel-oom-score-adj``.
    :param parent_pid: The process that must still be the parent, if any.
    :param open_files: The soft limit of open files for a kernel that is given none, which is the
        one that the gateway had when it started.
    :return: The SETUP of ``exec_kernel.py``.
    """
    words = []
    if parent_pid is not None:
        words.append(f"parent={parent_pid}")
    if limits.nice:
        words.append(f"nice={limits.nice}")
    if oom_score_adj:
        words.append(f"oom={oom_score_adj}")
    if user is not None:
        groups = ",".join(str(group) for group in user.groups)
        words.append(f"groups={groups} gid={user.gid} uid={user.uid}")
    listed = ",".join(_rlimits(limits, open_files))
    if listed:
        words.append(f"limits={listed}")
    return " ".join(words)


def _rlimits(limits: Limits, open_files: int) -> Iterator[str]:
    for number, wanted, grace in (
        # Not RLIMIT_AS: that counts reserved memory, too, of which Node, Java, Go and every thread
        # take gigabytes. This counts memory that only this process can write to.
        (resource.RLIMIT_DATA, limits.memory, 0),
        (resource.RLIMIT_CPU, limits.cpu_seconds, CPU_GRACE),
        (resource.RLIMIT_NOFILE, limits.open_files, 0),
        (resource.RLIMIT_NPROC, limits.processes, 0),
        (resource.RLIMIT_FSIZE, limits.file_size, 0),
    ):
        if wanted:
            # A kernel may not have more than the gateway may.
            _, most = resource.getrlimit(number)
            yield f"{number}:{_min_limit(wanted, most)}:{_min_limit(wanted + grace, most)}"
    if not limits.open_files:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != open_files:
            yield f"{resource.RLIMIT_NOFILE}:{_min_limit(open_files, hard)}:{hard}"


def _min_limit(wanted: int, most: int) -> int:
    if most == _UNLIMITED:
        return wanted
    return most if wanted == _UNLIMITED else min(wanted, most)
