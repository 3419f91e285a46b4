"""
Serves files below a directory.
"""

from __future__ import annotations

import os
from pathlib import Path

from twisted.web.resource import IResource
from twisted.web.static import File

from kgd import errors


def file_resource(root: Path, name: str) -> IResource:
    """
    :param name: As for :py:func:`confined`.
    :return: The resource of a file below a directory, which supports ranges and conditional
        requests.
    :raises errors.GatewayError: as :py:func:`confined` does.
    """
    resource = File(str(confined(root, name)), defaultType="application/octet-stream")
    resource.isLeaf = True
    return resource


def confined(root: Path, name: str) -> Path:
    """
    Find a file below a directory, also when there are symbolic links.

    :param name: The path that the client asked for, decoded.
    :return: The path without symbolic links.
    :raises errors.ResourceForbidden: for a directory, and for a path outside.
    :raises errors.NoSuchResource: when there is no such file.
    """
    if "\0" in name or os.path.isabs(name):
        raise errors.NoSuchResource("")
    if ".." in name.split("/"):
        raise errors.ResourceForbidden("")
    base = root.resolve()
    try:
        path = (base / name).resolve()
        is_directory, is_file = path.is_dir(), path.is_file()
    except (OSError, RuntimeError):
        # The name is too long for a file, or links form a loop.
        raise errors.NoSuchResource("") from None
    if is_directory or not path.is_relative_to(base):
        raise errors.ResourceForbidden("")
    if not is_file:
        raise errors.NoSuchResource("")
    return path
