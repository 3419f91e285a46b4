"""
The private directory of a gateway, for connection files and kernels' sockets.

Each gateway has a directory of its own, and holds a lock in it for as long as it runs. A directory
whose lock is free was left behind by a gateway that was killed, or that has left kernels running.

When kernels run as another user, that user may pass through the directory. It owns the connection
files and a directory for sockets in there, and cannot change anything else.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from jupyter_core.paths import jupyter_runtime_dir
from twisted.internet.defer import Deferred, succeed

from kgd.errors import ConfigurationError, KernelStartFailed, is_out_of_files
from kgd.kernels.local import process_records
from kgd.kernels.local.connection_links import (
    ConnectionFileLinks,
    directory_of_links,
    remove_links,
)
from kgd.kernels.local.users import KernelUser, file_rights, find_user
from kgd.kernels.local.watchdog import Watchdog
from kgd.observability.logs import make_logger

_LOCK = "lock"
# The beginning of a directory's name until the lock in it is held.
_NEW_PREFIX = ".new-"
# Seconds after which a gateway that was about to lock its new directory must have died.
_LOCK_TIMEOUT = 60.0
_RUNTIME_DIR_VARIABLE = "JUPYTER_RUNTIME_DIR"
_ADVICE = f"set --connection-dir or {_RUNTIME_DIR_VARIABLE} to a directory that can be written to"
# The directory for the sockets of another user's kernels.
_SOCKETS_DIRECTORY = "s"
# The beginning of the name of a directory that is being removed.
_REMOVED_PREFIX = "removed-"
_PRIVATE_MODE = 0o700
_TRAVERSABLE_MODE = 0o711


class RuntimeDirectory:
    """
    The private directory of the gateway, between :py:meth:`open` and :py:meth:`close`.

    :ivar keeps_kernels: Whether kernels, and their files, outlive the gateway.
    :ivar user: The user that kernels run as, if not the gateway's; known when the directory is
        open.
    :param base: The directory in which to make ``kgd/<something>/``; by default Jupyter's runtime
        directory.
    :param user: The setting ``kernel_user``.
    :param links: Makes links to the connection files, if there are to be any.
    :param watchdog: Removes the directory when the gateway is killed, unless it keeps kernels.
    """

    _log = make_logger()

    def __init__(
        self,
        base: Path | None = None,
        *,
        user: str = "",
        keeps_kernels: bool = False,
        watchdog: Watchdog | None = None,
        links: ConnectionFileLinks | None = None,
    ) -> None:
        given = base or os.environ.get(_RUNTIME_DIR_VARIABLE)
        # Made absolute now, because twistd may change the working directory.
        self._base = Path(os.path.abspath(given)) if given else None
        self._user_name = user
        self.user: KernelUser | None = None
        self.keeps_kernels = keeps_kernels
        self.watchdog: Watchdog | None = None if keeps_kernels else watchdog
        self._links = links
        self._path: Path | None = None
        self._lock = -1

    @property
    def path(self) -> Path:
        """
        Its absolute path.
        """
        if self._path is None:
            raise RuntimeError("the runtime directory is not open")
        return self._path

    def open(self) -> None:
        """
        Make the directory, and remove those of gateways that have ended.

        :raises kgd.errors.ConfigurationError: when that cannot be done.
        """
        if self._user_name:
            self.user = find_user(self._user_name)
        parent = Path(_RUNTIME_DIR_VARIABLE)
        try:
            if self._base is None:
                self._base = _default_base(self.user)
            parent = self._base / "kgd"
            _make_private(parent, self._mode)
            self._remove_stale(parent)
            self._make(parent)
        except OSError as error:
            raise ConfigurationError(
                f"The runtime directory {parent} cannot be used: {error.strerror}; {_ADVICE}"
            ) from None
        if self.user is not None and not self.user.may_enter(self.path):
            path = self.path
            self._remove()
            raise ConfigurationError(
                f"The user {self.user.name} of --kernel-user cannot get to the runtime directory "
                f"{path}; set --connection-dir or {_RUNTIME_DIR_VARIABLE} to a directory that "
                "all users may enter, such as one in /run"
            )
        if self._links is not None:
            self._links.open(self.path)
        if self.watchdog is not None:
            self.watchdog.set_directory(self.path)

    @property
    def _mode(self) -> int:
        return _PRIVATE_MODE if self.user is None else _TRAVERSABLE_MODE

    def _make(self, parent: Path) -> None:
        new = Path(tempfile.mkdtemp(prefix=_NEW_PREFIX, dir=parent))
        lock = _lock_file(new / _LOCK, os.O_CREAT | os.O_EXCL)
        if lock is None:
            raise BlockingIOError(0, "another process holds the lock of a new directory")
        path = parent / new.name.removeprefix(_NEW_PREFIX)
        try:
            new.rename(path)
        except OSError:
            os.close(lock)
            raise
        self._path, self._lock = path, lock
        path.chmod(self._mode)
        if self.user is not None:
            sockets = path / _SOCKETS_DIRECTORY
            sockets.mkdir(mode=_PRIVATE_MODE)
            self.hand_over(sockets)

    def _remove_stale(self, parent: Path) -> None:
        for path in parent.iterdir():
            try:
                if (
                    path.name.startswith(_NEW_PREFIX)
                    and time.time() - path.stat().st_mtime < _LOCK_TIMEOUT
                ):
                    continue
                lock = _lock_file(path / _LOCK)
            except FileNotFoundError:
                # Another gateway was removing this directory, and died after it removed the lock.
                lock = -1
            except OSError:
                continue
            if lock is None:
                continue
            count = self._remove_directory(path)
            if count:
                self._log.info(
                    "a gateway that has ended left kernels running: {count} in {path}",
                    count=count,
                    path=str(path),
                )
            else:
                self._log.info(
                    "removed the files of a gateway that was killed: {path}", path=str(path)
                )
            if lock >= 0:
                os.close(lock)

    @staticmethod
    def _remove_directory(path: Path) -> int:
        """
        Remove a directory, except for the files of kernels that were left running and still run.

        :return: The number of these kernels.
        """
        links = directory_of_links(path)
        count = process_records.sweep(path, _sockets_in(path))
        if not count:
            shutil.rmtree(path, ignore_errors=True)
        if links is not None:
            remove_links(links, path)
        return count

    def connection_file(self, kernel_id: str) -> Path:
        """
        :return: The path of a kernel's connection file.
        """
        return self.path / f"kernel-{kernel_id}.json"

    def write_connection_file(self, kernel_id: str, content: bytes) -> Path:
        """
        Write a kernel's connection file, readable by no other user. An older file is replaced in
        one step.

        :return: The path of the file.
        :raises kgd.errors.KernelStartFailed: when it cannot be written.
        :raises OSError: when the gateway may not open more files.
        """
        self._reopen()
        file = self.connection_file(kernel_id)
        try:
            _write_private(file, content, self.user)
        except OSError as error:
            if is_out_of_files(error):
                # It can be written later.
                raise
            raise KernelStartFailed(
                f"The kernel's connection file cannot be written: {error.strerror}; "
                f"make room in the gateway's runtime directory, or {_ADVICE}"
            ) from None
        if self._links is not None:
            self._links.add(file)
        return file

    def output_file(self, kernel_id: str) -> str:
        """
        :return: The path of the file for what a kernel prints; empty if that goes to the log.
        """
        return str(self.path / f"kernel-{kernel_id}.log") if self.keeps_kernels else ""

    def record(self, kernel_id: str, pid: int, sockets: str) -> None:
        """
        Write the record of a kernel's process, if kernels outlive the gateway.

        :param sockets: The name of its sockets, as for :py:meth:`sockets`, or nothing.
        """
        if not self.keeps_kernels:
            return
        try:
            _write_private(
                self._record_file(kernel_id), process_records.make_record(pid, sockets), None
            )
        except OSError as error:
            self._log.warn(
                "kernel {kernel_id} will not be found again after the gateway has ended, as its "
                "record cannot be written: {error}",
                kernel_id=kernel_id,
                error=error.strerror,
            )

    def _record_file(self, kernel_id: str) -> Path:
        return self.path / f"kernel-{kernel_id}{process_records.SUFFIX}"

    def hand_over(self, *paths: Path) -> None:
        """
        Give these files and directories to the user that kernels run as, if that is another one.
        """
        if self.user is not None:
            for path in paths:
                os.chown(path, self.user.uid, self.user.gid, follow_symlinks=False)

    def as_kernel_user(self) -> AbstractContextManager[None]:
        """
        :return: Gives the calling thread the rights to files of the user that kernels run as.
        """
        return contextlib.nullcontext() if self.user is None else file_rights(self.user)

    def working_directory(self, kernel_id: str) -> Path:
        """
        :return: The path of a kernel's own working directory.
        """
        name = f"kernel-{kernel_id}{process_records.WORKING_DIRECTORY_SUFFIX}"
        return Path(os.path.realpath(self.path)) / name

    def make_working_directory(self, directory: str) -> None:
        """
        Make a kernel's own working directory, unless it is there.

        :param directory: As from :py:meth:`working_directory`.
        :raises kgd.errors.KernelStartFailed: when it cannot be made.
        """
        path = Path(directory)
        try:
            path.mkdir(mode=_PRIVATE_MODE)
            self.hand_over(path)
        except FileExistsError:
            return
        except OSError as error:
            raise KernelStartFailed(
                f"The kernel's working directory cannot be made: {error.strerror}; start another "
                "kernel"
            ) from None

    def remove_working_directory(self, directory: str) -> Callable[[], None]:
        """
        Take a kernel's own working directory away.

        :return: Removes what is in there, which may take a while; for a thread.
        """
        path = Path(directory)
        removed = path.with_name(f"{_REMOVED_PREFIX}{path.name}")
        try:
            path.rename(removed)
        except FileNotFoundError:
            return lambda: None
        except OSError:
            removed = path
        return lambda: shutil.rmtree(removed, ignore_errors=True)

    def _reopen(self) -> None:
        """
        Make the directory again if it was removed. Kernels that run have read their files already.
        """
        if self.path.is_dir():
            return
        self._remove()
        try:
            self.open()
        except ConfigurationError as error:
            raise KernelStartFailed(str(error)) from None

    def make_directory(self, name: str) -> Path:
        """
        :return: A directory in this one, made if it does not exist.
        """
        self._reopen()
        path = self.path / name
        if not path.is_dir():
            path.mkdir(mode=_PRIVATE_MODE)
            path.chmod(self._mode)
        return path

    def remove(self, kernel_id: str) -> None:
        """
        Remove a kernel's connection file, its record and its output, as far as they exist.
        """
        if self._path is None:
            return
        file = self.connection_file(kernel_id)
        if self._links is not None:
            self._links.remove(file)
        self._unlink(file)
        if self.keeps_kernels:
            self._unlink(self._record_file(kernel_id))
            self._unlink(Path(self.output_file(kernel_id)))

    def sockets(self, name: str) -> Path:
        """
        :param name: A name unique to one kernel.
        :return: The beginning of the paths of its Unix sockets; a dash and a number follow.
        """
        return _sockets_in(self.path) / name

    def clear_sockets(self, name: str) -> Path:
        """
        Remove the sockets that an ended process has left, so that the next one can have the same
        paths.

        :return: As from :py:meth:`sockets`.
        :raises kgd.errors.KernelStartFailed: when there is no directory for them.
        """
        self._reopen()
        self.remove_sockets(name)
        return self.sockets(name)

    def remove_sockets(self, name: str) -> None:
        """
        Remove a kernel's sockets, if there are any.
        """
        if self._path is not None:
            for file in _sockets_in(self._path).glob(f"{name}-*"):
                self._unlink(file)

    def _unlink(self, file: Path) -> None:
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            self._log.warn(
                "{file} cannot be removed: {error}", file=str(file), error=error.strerror
            )

    def close(self) -> Deferred[None]:
        """
        Remove the directory with its files, except for those of kernels that are left running.

        :return: Fires when the watchdog has ended, too.
        """
        self._remove()
        return succeed(None) if self.watchdog is None else self.watchdog.stop()

    def _remove(self) -> None:
        path, self._path = self._path, None
        lock, self._lock = self._lock, -1
        if path is not None:
            self._remove_directory(path)
            if self._links is not None:
                # Also if the directory was removed by someone else.
                self._links.close(path)
            os.close(lock)


def _default_base(user: KernelUser | None) -> Path:
    """
    :return: The directory in which to make it by default.
    """
    if user is not None:
        # Other users cannot get to directories below root's home.
        return Path("/run")
    default = Path(jupyter_runtime_dir()).absolute()
    nearest = next(each for each in (default, *default.parents) if os.path.exists(each))
    if os.access(nearest, os.W_OK) or _is_owned(Path.home()):
        return default
    # An account without a home, like "nobody".
    own = Path(tempfile.gettempdir(), f"kgd-{os.geteuid()}")
    _make_private(own, _PRIVATE_MODE)
    return own


def _is_owned(directory: Path) -> bool:
    try:
        return directory.stat().st_uid == os.geteuid()
    except OSError:
        return False


def _sockets_in(directory: Path) -> Path:
    private_sockets = directory / _SOCKETS_DIRECTORY
    return private_sockets if private_sockets.is_dir() else directory


def _make_private(directory: Path, mode: int) -> None:
    """
    Make a directory that only the gateway's user can list and write to, or make an existing one so.

    :param mode: Whether other users may pass through it. A directory that has that already, which
        another gateway may need, keeps it.
    """
    if not directory.parent.is_dir():
        directory.parent.mkdir(parents=True, mode=_PRIVATE_MODE)
        directory.parent.chmod(mode)
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=mode)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise PermissionError(0, "it is not a directory that the gateway's user owns")
    if stat.S_IMODE(found.st_mode) not in (mode, _TRAVERSABLE_MODE):
        directory.chmod(mode)


def _lock_file(file: Path, flags: int = 0) -> int | None:
    """
    :return: A descriptor that holds the lock; ``None`` if another process holds it.
    """
    descriptor = os.open(file, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            return None
        raise
    return descriptor


def _write_private(file: Path, content: bytes, user: KernelUser | None) -> None:
    unfinished = file.with_name(f".{file.name}.new")
    unfinished.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(unfinished, flags, 0o600)
    try:
        with open(descriptor, "wb") as stream:
            stream.write(content)
            if user is not None:
                os.fchown(descriptor, user.uid, user.gid)
        unfinished.rename(file)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
