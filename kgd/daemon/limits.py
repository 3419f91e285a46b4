"""
The limit of open files: raising it, and warning about one that is too low.
"""

from __future__ import annotations

import resource

from kgd.listening.accept_throttle import RAISE_LIMIT

# Measured: a kernel takes 6, a client 5 (its connection, and sockets to the kernel); this is a
# kernel with two clients. Clients that are away for a while keep theirs.
PER_KERNEL = 16
# What is open anyway, and room for what is open for a moment.
BASIS = 64
# With less than this, one can hardly work even alone.
FEW = 512


def raise_limit() -> int:
    """
    Allow as many open files as we may.

    :return: How many these are.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def complaint(limit: int, max_kernels: int | None) -> str:
    """
    :param limit: Of open files.
    :return: What to say to an operator if that is too low; otherwise nothing.
    """
    if max_kernels is None:
        if limit >= FEW:
            return ""
        return f"only {limit} files may be open at a time, which is very little; {RAISE_LIMIT}"
    needed = BASIS + PER_KERNEL * max_kernels
    if limit >= needed:
        return ""
    return (
        f"only {limit} files may be open at a time, but --max-kernels={max_kernels} needs about "
        f"{needed} with two clients for each kernel; {RAISE_LIMIT}, or lower --max-kernels to "
        f"{max(0, limit - BASIS) // PER_KERNEL}"
    )
