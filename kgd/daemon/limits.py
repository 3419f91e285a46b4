"""
Raises the limit of open files, and warns if it is too low.
"""

from __future__ import annotations

import resource

from kgd.errors import RAISE_LIMIT
from kgd.open_files import reserve_of
from kgd.settings import Settings

# Measured: a kernel takes 6, and a client that runs code 5; this is a kernel with two clients.
# Clients that are away for a while keep theirs.
_FILES_PER_KERNEL = 16
# Files that are always open.
_BASE_FILES = 20
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
    if settings.max_kernels is None and not settings.max_connections:
        if limit >= MIN_FILES:
            return ""
        return f"only {limit} files may be open at a time, which is too few; {RAISE_LIMIT}"
    for option, number, files, for_what in (
        ("max-kernels", settings.max_kernels or 0, _FILES_PER_KERNEL, " with two clients for each"),
        ("max-connections", settings.max_connections, 1, " without any kernel"),
    ):
        needed = _BASE_FILES + files * number
        # A quarter of the files is kept free, as long as that is not too much.
        needed += 2 * reserve_of(needed * 4 // 3)
        if number and limit < needed:
            fits = max(0, limit - _BASE_FILES - 2 * reserve_of(limit)) // files
            return (
                f"only {limit} files may be open at a time, but --{option}={number} needs about "
                f"{needed}{for_what}; {RAISE_LIMIT}, or lower --{option} to {fits}"
            )
    return ""
