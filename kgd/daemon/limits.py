"""
Raises the limit of open files, and warns if it is too low.
"""

from __future__ import annotations

import resource

from kgd.listening.accept_throttle import RAISE_LIMIT

# Measured: a kernel takes 6, and a client 5 (its connection, and sockets to the kernel); this is a
# kernel with two clients. Clients that are away for a while keep theirs.
FILES_PER_KERNEL = 16
# Files that are always open, and room for those that are open for a moment.
BASE_FILES = 64
# Hardly enough for one user.
MIN_FILES = 512


def raise_limit() -> int:
    """
    Raise the limit of open files as far as the system allows.

    :return: The new limit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def open_files_warning(limit: int, max_kernels: int | None) -> str:
    """
    :param limit: The limit of open files.
    :return: A warning for the operator if it is too low; otherwise an empty text.
    """
    if max_kernels is None:
        if limit >= MIN_FILES:
            return ""
        return f"only {limit} files may be open at a time, which is too few; {RAISE_LIMIT}"
    needed = BASE_FILES + FILES_PER_KERNEL * max_kernels
    if limit >= needed:
        return ""
    return (
        f"only {limit} files may be open at a time, but --max-kernels={max_kernels} needs about "
        f"{needed} with two clients for each kernel; {RAISE_LIMIT}, or lower --max-kernels to "
        f"{max(0, limit - BASE_FILES) // FILES_PER_KERNEL}"
    )
