"""
The command line and the working directory of a kernel.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_FIELD = re.compile(r"\{([A-Za-z0-9_]+)\}")
# Bytes, the limit of Linux. Splitting a path that is much longer would take a while.
_MAX_PATH = 4096
_MAJOR, _MINOR = sys.version_info[:2]
_THIS_PYTHON = frozenset({"python", f"python{_MAJOR}", f"python{_MAJOR}.{_MINOR}"})


def kernel_command(
    argv: Sequence[str],
    *,
    connection_file: Path,
    resource_dir: Path,
    executable: str = sys.executable,
    prefix: str = sys.prefix,
) -> list[str]:
    """
    Fill in a kernelspec's ``argv``.

    ``{connection_file}``, ``{resource_dir}`` and ``{prefix}`` stand for their values; other words
    in braces stay. "python" stands for the Python that the gateway runs on, where the kernel is
    installed, not for the first one on the PATH.
    """
    fields: Mapping[str, str] = {
        "connection_file": str(connection_file),
        "resource_dir": str(resource_dir),
        "prefix": prefix,
    }
    command = [_FIELD.sub(lambda found: fields.get(found[1], found[0]), word) for word in argv]
    if argv and argv[0] in _THIS_PYTHON:
        command[0] = executable
    return command


def working_directory(root: str, path: str | None) -> str:
    """
    Find the directory that an API path stands for.

    :param root: The gateway's root directory.
    :param path: The path of a directory, or of a file in one, which need not exist. It is separated
        by slashes, and below the root even if it starts with one. A path that no system can have
        counts as empty.
    :return: The nearest directory on the way there that exists, may be entered and is inside of the
        root. Never fails.
    """
    top = current = _nearest_directory(os.path.realpath(root))
    if path is None or len(path) > _MAX_PATH:
        path = ""
    for name in _path_names(path):
        below = _resolved(os.path.join(current, name))
        if below is None or not _is_inside(top, below) or not _may_be_entered(below):
            break
        current = below
    return current


def _nearest_directory(directory: str) -> str:
    while not _may_be_entered(directory) and os.path.dirname(directory) != directory:
        directory = os.path.dirname(directory)
    return directory


def _path_names(path: str) -> list[str]:
    """
    :return: The path's names; ``..`` never leads above the root.
    """
    names: list[str] = []
    for name in path.split("/"):
        if name == "..":
            del names[-1:]
        elif name not in ("", "."):
            names.append(name)
    return names


def _resolved(path: str) -> str | None:
    try:
        return os.path.realpath(path)
    except ValueError:
        # It has characters that no file name can have.
        return None


def _is_inside(top: str, directory: str) -> bool:
    return directory == top or directory.startswith(os.path.join(top, ""))


def _may_be_entered(directory: str) -> bool:
    return os.path.isdir(directory) and os.access(directory, os.X_OK)
