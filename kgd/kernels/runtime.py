"""
The directory in which connection files and kernels' sockets live.

Each gateway has one of its own, and holds a lock in it for as long as it runs: a directory whose
lock is free was left behind by a gateway that was killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
import time
from pathlib import Path

from jupyter_core.paths import jupyter_runtime_dir

from kgd.errors import ConfigurationError, KernelStartFailed
from kgd.logs import make_logger

_LOCK = "lock"
# The name of a directory until its lock is held.
_UNBORN = ".new-"
# In seconds; after this long, whoever was about to lock a directory has died instead.
_BIRTH = 60.0
_ADVICE = "set --connection-dir or JUPYTER_RUNTIME_DIR to a directory that can be written to"


class RuntimeDirectory:
    """
    A private directory of the gateway's, between :py:meth:`open` and :py:meth:`close`.

    :param base: The directory in which to make ``kgd/<something>/``; Jupyter's runtime directory
        if not given.
    """

    _log = make_logger()

    def __init__(self, base: Path | None = None) -> None:
        self._base = base
        self._path: Path | None = None
        self._lock = -1

    @property
    def path(self) -> Path:
        """
        Where it is.
        """
        if self._path is None:
            raise RuntimeError("the runtime directory is not open")
        return self._path

    def open(self) -> None:
        """
        Make the directory, and remove those of gateways that are no more.

        :raises kgd.errors.ConfigurationError: when that cannot be done.
        """
        # Kernels have working directories of their own.
        parent = (self._base or Path(jupyter_runtime_dir())).absolute() / "kgd"
        try:
            _make_private(parent)
            self._sweep(parent)
            self._make(parent)
        except OSError as error:
            raise ConfigurationError(
                f"The runtime directory {parent} cannot be used: {error.strerror}; {_ADVICE}"
            ) from None
        self._base = parent.parent

    def _make(self, parent: Path) -> None:
        unborn = Path(tempfile.mkdtemp(prefix=_UNBORN, dir=parent))
        lock = _locked(unborn / _LOCK, os.O_CREAT | os.O_EXCL)
        if lock is None:
            raise BlockingIOError(0, "another process holds the lock of a new directory")
        path = parent / unborn.name.removeprefix(_UNBORN)
        try:
            unborn.rename(path)
        except OSError:
            os.close(lock)
            raise
        self._path, self._lock = path, lock

    def _sweep(self, parent: Path) -> None:
        for path in parent.iterdir():
            try:
                if path.name.startswith(_UNBORN) and time.time() - path.stat().st_mtime < _BIRTH:
                    continue
                lock = _locked(path / _LOCK)
            except FileNotFoundError:
                # Whoever swept here did not get further than to the lock.
                lock = -1
            except OSError:
                continue
            if lock is None:
                continue
            self._log.info("removing what a dead gateway left behind: {path}", path=str(path))
            shutil.rmtree(path, ignore_errors=True)
            if lock >= 0:
                os.close(lock)

    def connection_file(self, kernel_id: str) -> Path:
        """
        :return: Where a kernel's connection file is, or would be.
        """
        return self.path / f"kernel-{kernel_id}.json"

    def write(self, kernel_id: str, content: bytes) -> Path:
        """
        Write a kernel's connection file, at once and readable by nobody else. An older one is
        replaced.

        :return: Where it is.
        :raises kgd.errors.KernelStartFailed: when it cannot be written.
        """
        self._mend()
        file = self.connection_file(kernel_id)
        try:
            _write_private(file, content)
        except OSError as error:
            raise KernelStartFailed(
                f"The kernel's connection file cannot be written: {error.strerror}; "
                f"make room in the gateway's runtime directory, or {_ADVICE}"
            ) from None
        return file

    def _mend(self) -> None:
        """
        Make the directory again if somebody tidied up; live kernels have read their files already.
        """
        if self.path.is_dir():
            return
        self.close()
        try:
            self.open()
        except ConfigurationError as error:
            raise KernelStartFailed(str(error)) from None

    def directory(self, name: str) -> Path:
        """
        :return: A directory in ours, made if it is not there.
        """
        self._mend()
        path = self.path / name
        path.mkdir(mode=0o700, exist_ok=True)
        return path

    def remove(self, kernel_id: str) -> None:
        """
        Remove a kernel's connection file, if there is one.
        """
        if self._path is not None:
            self._unlink(self.connection_file(kernel_id))

    def sockets(self, name: str) -> Path:
        """
        :param name: Unique to one kernel.
        :return: What the paths of its Unix sockets begin with; a dash and a number follow.
        """
        return self.path / name

    def clear_sockets(self, name: str) -> Path:
        """
        Remove what a process that is no more has left of its sockets, so that another can have them
        under the same paths.

        :return: As from :py:meth:`sockets`.
        :raises kgd.errors.KernelStartFailed: when there is no directory for them.
        """
        self._mend()
        self.remove_sockets(name)
        return self.sockets(name)

    def remove_sockets(self, name: str) -> None:
        """
        Remove a kernel's sockets, if there are any.
        """
        if self._path is not None:
            for file in self._path.glob(f"{name}-*"):
                self._unlink(file)

    def _unlink(self, file: Path) -> None:
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            self._log.warn(
                "{file} cannot be removed: {error}", file=str(file), error=error.strerror
            )

    def close(self) -> None:
        """
        Remove the directory and all that is in it.
        """
        path, self._path = self._path, None
        lock, self._lock = self._lock, -1
        if path is not None:
            shutil.rmtree(path, ignore_errors=True)
            os.close(lock)


def _make_private(directory: Path) -> None:
    """
    Make a directory that only we can enter, or see to it that an existing one is.
    """
    directory.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise PermissionError(0, "it is not a directory of the gateway's own")
    if stat.S_IMODE(found.st_mode) != 0o700:
        directory.chmod(0o700)


def _locked(file: Path, flags: int = 0) -> int | None:
    """
    :return: A descriptor that holds the lock; ``None`` if somebody else holds it.
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


def _write_private(file: Path, content: bytes) -> None:
    unfinished = file.with_name(f".{file.name}.new")
    unfinished.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(unfinished, flags, 0o600)
    try:
        with open(descriptor, "wb") as stream:
            stream.write(content)
        unfinished.rename(file)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
