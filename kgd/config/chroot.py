"""
Paths for a gateway that ``twistd --chroot`` moves into a jail, after they have been read outside.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import attrs
from twisted.python.usage import UsageError

from kgd.config.options import OPTIONS, Option
from kgd.config.types import directory, endpoint, maybe_directory, notebook_uri, path
from kgd.endpoints.addresses import with_paths
from kgd.fetching.notebooks import is_remote, split_prefix
from kgd.settings import Settings

_PATHS = (path, directory, maybe_directory)


def jailed(settings: Settings, root: str | None, rows: Iterable[Option] = OPTIONS) -> Settings:
    """
    :param root: The directory that will be the root, if there is one.
    :param rows: What the settings are made of.
    :return: The settings with paths as they are below that root.
    :raises UsageError: for a path that will not be there.
    """
    if root is None:
        return settings
    top = os.path.abspath(root)
    changes: dict[str, Any] = {}
    others = dict(settings.personality_options)
    for row in rows:
        if row.idle:
            continue
        if row.owner:
            if row.read in _PATHS and others.get(row.own_name):
                others[row.own_name] = _below(top, row.name, others[row.own_name])
            continue
        value = row.value_in(settings)
        if row.read in _PATHS and value:
            changes[row.field] = _below(top, row.name, value)
        elif row.read is endpoint:
            changes[row.field] = tuple(_listening(top, row.name, each) for each in value)
        elif row.read is notebook_uri:
            changes[row.field] = tuple(_source(top, row.name, each) for each in value)
    return attrs.evolve(settings, personality_options=others, **changes)


def _listening(top: str, name: str, text: str) -> str:
    return with_paths(text, lambda path: _below(top, name, path))


def _source(top: str, name: str, source: str) -> str:
    prefix, uri = split_prefix(source)
    if is_remote(uri) or uri.lower().startswith("file:"):
        # The latter are read as they are, by whoever wrote them for the jail.
        return source
    below = _below(top, name, uri)
    return below if prefix is None else f"{prefix}={below}"


def _below(top: str, name: str, path: str) -> str:
    if path == top:
        return "/"
    if path.startswith(os.path.join(top, "")):
        return "/" + os.path.relpath(path, top)
    if name == "root-dir" and path == os.getcwd():
        # Nobody said so; twistd, too, moves to the new root then.
        return "/"
    raise UsageError(
        f"--{name} is {path!r}, which is not below --chroot={top}; the gateway could not reach it"
    )
