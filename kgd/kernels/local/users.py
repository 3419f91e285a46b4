"""
The user that kernels run as, if it is another than the gateway's.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Mapping
from pathlib import Path

import attrs

from kgd.errors import ConfigurationError

_NO_SHELLS = ("/nologin", "/false")


@attrs.frozen(kw_only=True)
class KernelUser:
    """
    A user of this system.

    :ivar groups: All of its groups, ``gid`` among them.
    :ivar environment: What its programs expect to find.
    """

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    environment: Mapping[str, str]

    def may_enter(self, directory: Path) -> bool:
        """
        Whether it can reach what is in a directory, as far as owners and modes tell.
        """
        found = directory.resolve()
        return self.uid == 0 or all(self._may_pass(each) for each in (found, *found.parents))

    def _may_pass(self, directory: Path) -> bool:
        found = directory.stat()
        if found.st_uid == self.uid:
            return bool(found.st_mode & stat.S_IXUSR)
        if found.st_gid in self.groups:
            return bool(found.st_mode & stat.S_IXGRP)
        return bool(found.st_mode & stat.S_IXOTH)


def own_environment() -> Mapping[str, str]:
    """
    :return: What programs expect to find about the user that the gateway runs as.
    """
    uid = os.geteuid()
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        # Nobody has to have a name.
        return {"HOME": "/", "USER": str(uid), "LOGNAME": str(uid)}
    return _environment(entry)


def _environment(entry: pwd.struct_passwd) -> Mapping[str, str]:
    shell = entry.pw_shell
    # Accounts that nobody logs in to have one that does nothing.
    usable = shell and not shell.endswith(_NO_SHELLS)
    return {
        "HOME": entry.pw_dir,
        "USER": entry.pw_name,
        "LOGNAME": entry.pw_name,
        "SHELL": shell if usable else "/bin/sh",
    }


def find_user(wanted: str) -> KernelUser:
    """
    :param wanted: The name of a user, maybe with a group after a colon.
    :raises kgd.errors.ConfigurationError: when there is none, or we may not act for it.
    """
    said = f"--kernel-user={wanted}"
    if os.geteuid() != 0:
        raise ConfigurationError(
            f"{said} needs a gateway that runs as root, and this one does not; start it as root "
            "(without --uid), or leave the option out"
        )
    name, colon, group = wanted.partition(":")
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise ConfigurationError(
            f"{said}: there is no user {name!r} on this system; create it, or name another"
        ) from None
    try:
        gid = grp.getgrnam(group).gr_gid if colon else entry.pw_gid
    except KeyError:
        raise ConfigurationError(
            f"{said}: there is no group {group!r} on this system; create it, or name another"
        ) from None
    return KernelUser(
        name=entry.pw_name,
        uid=entry.pw_uid,
        gid=gid,
        groups=tuple(os.getgrouplist(entry.pw_name, gid)),
        environment=_environment(entry),
    )
