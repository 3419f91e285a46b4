"""
Rewrites the paths in settings for ``twistd --chroot``, after the options have been read outside.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import partial
from typing import Any

import attrs
from twisted.python.usage import UsageError

from kgd.config.options import OPTIONS
from kgd.config.table import Option
from kgd.settings import Settings


def chrooted(settings: Settings, root: str | None, rows: Iterable[Option] = OPTIONS) -> Settings:
    """
    :param root: The directory that becomes the root, or ``None``.
    :param rows: The options that the settings are made of.
    :return: The settings with paths relative to that root.
    :raises UsageError: for a path outside of it.
    """
    if root is None:
        return settings
    top = os.path.abspath(root)
    changes: dict[str, Any] = {}
    others = dict(settings.personality_options)
    for row in rows:
        map_paths = row.type.map_paths
        if map_paths is None:
            continue
        move = partial(_path_below, top, row.name)
        if not row.owner:
            changes[row.field] = map_paths(row.value_in(settings), move)
        elif others.get(row.own_name):
            others[row.own_name] = map_paths(others[row.own_name], move)
    return attrs.evolve(settings, personality_options=others, **changes)


def _path_below(top: str, name: str, path: str) -> str:
    if path == top:
        return "/"
    if path.startswith(os.path.join(top, "")):
        return "/" + os.path.relpath(path, top)
    if name == "root-dir" and path == os.getcwd():
        # This is the default; twistd changes to the new root.
        return "/"
    raise UsageError(f"--{name}={path} is outside of --chroot={top}; use a path below it")
