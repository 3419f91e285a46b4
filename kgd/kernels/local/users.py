"""
The user that kernels run as, if it is not the gateway's.
"""

from __future__ import annotations

import contextlib
import ctypes
import grp
import os
import platform
import pwd
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import attrs

from kgd.errors import ConfigurationError, NotSupported

_NOLOGIN_SHELLS = ("/nologin", "/false")
# The number of setgroups, as libc's own function changes all threads.
_SYS_SETGROUPS = {"x86_64": 116, "aarch64": 159, "riscv64": 159}
_NO_ID = 0xFFFFFFFF


@attrs.frozen(kw_only=True)
class KernelUser:
    """
    A user of this system.

    :ivar groups: All of the user's groups, ``gid`` among them.
    :ivar environment: The variables that the user's programs expect.
    """

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    environment: Mapping[str, str]

    def may_enter(self, directory: Path) -> bool:
        """
        Whether the user can reach what is in a directory, as far as owners and modes tell.
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


def gateway_user_environment() -> Mapping[str, str]:
    """
    :return: The variables that programs expect, for the user that the gateway runs as.
    """
    uid = os.geteuid()
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        # A user need not have a name.
        return {"HOME": "/", "USER": str(uid), "LOGNAME": str(uid)}
    return _environment(entry)


def _environment(entry: pwd.struct_passwd) -> Mapping[str, str]:
    shell = entry.pw_shell
    # Accounts without a login have a shell that does nothing.
    usable = shell and not shell.endswith(_NOLOGIN_SHELLS)
    return {
        "HOME": entry.pw_dir,
        "USER": entry.pw_name,
        "LOGNAME": entry.pw_name,
        "SHELL": shell if usable else "/bin/sh",
    }


def find_user(wanted: str) -> KernelUser:
    """
    :param wanted: The name of a user, optionally with a group after a colon.
    :raises kgd.errors.ConfigurationError: when there is no such user or group, or the gateway may
        not become that user.
    """
    option = f"--kernel-user={wanted}"
    if os.geteuid() != 0:
        raise ConfigurationError(
            f"{option} needs a gateway that runs as root, and this one does not; start it as root "
            "(without --uid), or leave the option out"
        )
    name, colon, group = wanted.partition(":")
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise ConfigurationError(
            f"{option}: there is no user {name!r} on this system; create it, or name another"
        ) from None
    try:
        gid = grp.getgrnam(group).gr_gid if colon else entry.pw_gid
    except KeyError:
        raise ConfigurationError(
            f"{option}: there is no group {group!r} on this system; create it, or name another"
        ) from None
    return KernelUser(
        name=entry.pw_name,
        uid=entry.pw_uid,
        gid=gid,
        groups=tuple(os.getgrouplist(entry.pw_name, gid)),
        environment=_environment(entry),
    )


@contextlib.contextmanager
def file_rights(user: KernelUser) -> Iterator[None]:
    """
    Give the calling thread a user's rights to files, and no others: what it makes is the user's,
    and what the user may not read or write, it may not, either.

    The system has rights of each thread for servers of files:
    https://man7.org/linux/man-pages/man2/setfsuid.2.html

    :raises kgd.errors.NotSupported: on a machine where that is not known to work.
    """
    number = _SYS_SETGROUPS.get(platform.machine())
    if number is None:
        raise NotSupported(
            "The gateway cannot serve files of kernels that run as another user on this machine "
            f"({platform.machine()})"
        )
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.getgroups()
    try:
        _set_groups(libc, number, user.groups)
        libc.setfsgid(ctypes.c_uint(user.gid))
        libc.setfsuid(ctypes.c_uint(user.uid))
        # These report no errors; an id that nobody has changes nothing, and tells the present one.
        now = libc.setfsuid(ctypes.c_uint(_NO_ID)), libc.setfsgid(ctypes.c_uint(_NO_ID))
        if now != (user.uid, user.gid):
            raise NotSupported(f"The gateway cannot serve files as the user {user.name}")
        yield
    finally:
        libc.setfsuid(ctypes.c_uint(os.geteuid()))
        libc.setfsgid(ctypes.c_uint(os.getegid()))
        _set_groups(libc, number, before)


def _set_groups(libc: ctypes.CDLL, number: int, groups: Sequence[int]) -> None:
    array = (ctypes.c_uint * len(groups))(*groups)
    if libc.syscall(ctypes.c_long(number), ctypes.c_size_t(len(groups)), array):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
