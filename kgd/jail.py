"""
Paths for a gateway that ``twistd --chroot`` moves into a jail, after they have been read outside.
"""

from __future__ import annotations

import os
from typing import Any

import attrs
from twisted.python.usage import UsageError

from kgd.addresses import with_paths
from kgd.fetching import is_remote, split_prefix
from kgd.settings import Settings

# The settings that hold an absolute path each.
_PATHS = (
    "root_dir",
    "static_path",
    "port_file",
    "certfile",
    "keyfile",
    "client_ca",
    "auth_token_file",
    "audit_log",
)


def jailed(settings: Settings, root: str | None) -> Settings:
    """
    :param root: The directory that will be the root, if there is one.
    :return: The settings with paths as they are below that root.
    :raises UsageError: for a path that will not be there.
    """
    if root is None:
        return settings
    top = os.path.abspath(root)
    changes: dict[str, Any] = {
        name: _below(top, name, getattr(settings, name))
        for name in _PATHS
        if getattr(settings, name)
    }
    changes["listen"] = tuple(
        with_paths(endpoint, lambda path: _below(top, "listen", path))
        for endpoint in settings.listen
    )
    changes["seed_uri"] = tuple(_source(top, source) for source in settings.seed_uri)
    return attrs.evolve(settings, **changes)


def _source(top: str, source: str) -> str:
    prefix, uri = split_prefix(source)
    if is_remote(uri) or uri.lower().startswith("file:"):
        # The latter are read as they are, by whoever wrote them for the jail.
        return source
    below = _below(top, "seed_uri", uri)
    return below if prefix is None else f"{prefix}={below}"


def _below(top: str, name: str, path: str) -> str:
    if path == top:
        return "/"
    if path.startswith(os.path.join(top, "")):
        return "/" + os.path.relpath(path, top)
    if name == "root_dir" and path == os.getcwd():
        # Nobody said so; twistd, too, moves to the new root then.
        return "/"
    raise UsageError(
        f"--{name.replace('_', '-')} is {path!r}, which is not below --chroot={top}; the gateway "
        "could not reach it"
    )
