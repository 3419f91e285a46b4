"""
Raises the limit of open files, and warns if it is too low.
"""

from __future__ import annotations

import resource

from kgd.errors import RAISE_LIMIT
from kgd.open_files import BASE_FILES, FILES_PER_CLIENT, FILES_PER_KERNEL, reserve_of
from kgd.settings import Settings

# A kernel with two clients. Those that are away for a while keep their sockets.
_FILES = FILES_PER_KERNEL + 2 * FILES_PER_CLIENT
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


def open_files_warning(limit: int, settings: Settings) -> str:
    """
    :param limit: The limit of open files.
    :return: A warning for the operator if it is too low; otherwise an empty text.
    """
    base = BASE_FILES + 2 * reserve_of(limit)
    if settings.max_kernels is None and not settings.max_connections:
        if limit >= MIN_FILES:
            return ""
        return f"only {limit} files may be open at a time, which is too few; {RAISE_LIMIT}"
    for option, number, files, each in (
        ("max-kernels", settings.max_kernels or 0, _FILES, " with two clients for each kernel"),
        ("max-connections", settings.max_connections, 1, " without any kernel"),
    ):
        needed = base + files * number
        if number and limit < needed:
            return (
                f"only {limit} files may be open at a time, but --{option}={number} needs about "
                f"{needed}{each}; {RAISE_LIMIT}, or lower --{option} to "
                f"{max(0, limit - base) // files}"
            )
    return ""
