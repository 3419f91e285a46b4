"""
The directory in which connection files and kernels' sockets live.

Each gateway has one of its own, and holds a lock in it for as long as it runs: a directory whose
lock is free was left behind by a gateway that was killed, or that has left kernels running.

When kernels run as another user, that user may pass through the directory, and finds in it
connection files of its own and a directory for sockets; it cannot change anything else.
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
from twisted.internet.defer import Deferred, succeed

from kgd.errors import ConfigurationError, KernelStartFailed
from kgd.kernels.local import process_records as kept
from kgd.kernels.local.users import KernelUser, find_user
from kgd.kernels.local.watchdog import Watchdog
from kgd.observability.logs import make_logger

_LOCK = "lock"
# The name of a directory until its lock is held.
_UNBORN = ".new-"
# In seconds; after this long, whoever was about to lock a directory has died instead.
_BIRTH = 60.0
_VARIABLE = "JUPYTER_RUNTIME_DIR"
_ADVICE = f"set --connection-dir or {_VARIABLE} to a directory that can be written to"
# Where kernels of another user have their sockets.
_SOCKETS = "s"
_OURS_ALONE = 0o700
_PASSABLE = 0o711


class RuntimeDirectory:
    """
    A private directory of the gateway's, between :py:meth:`open` and :py:meth:`close`.

    :ivar keeps: Whether kernels, and their files, outlive the gateway.
    :ivar user: As whom kernels run, if not as the gateway; known when the directory is open.
    :param base: The directory in which to make ``kgd/<something>/``; Jupyter's runtime directory
        if not given.
    :param user: The setting ``kernel_user``.
    :param watchdog: Removes the directory when the gateway is killed; not for one that keeps
        kernels.
    """

    _log = make_logger()

    def __init__(
        self,
        base: Path | None = None,
        *,
        user: str = "",
        keeps: bool = False,
        watchdog: Watchdog | None = None,
    ) -> None:
        given = base or os.environ.get(_VARIABLE)
        # Now, because twistd may leave the directory.
        self._base = Path(os.path.abspath(given)) if given else None
        self._user_name = user
        self.user: KernelUser | None = None
        self.keeps = keeps
        self.watchdog: Watchdog | None = None if keeps else watchdog
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
        if self._user_name:
            self.user = find_user(self._user_name)
        parent = Path(_VARIABLE)
        try:
            if self._base is None:
                self._base = _usual_base(self.user)
            parent = self._base / "kgd"
            _make_private(parent, self._mode)
            self._sweep(parent)
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
                f"{path}; set --connection-dir or {_VARIABLE} to a directory, like /run, that "
                "everybody may enter"
            )
        if self.watchdog is not None:
            self.watchdog.guard(self.path)

    @property
    def _mode(self) -> int:
        return _OURS_ALONE if self.user is None else _PASSABLE

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
        path.chmod(self._mode)
        if self.user is not None:
            sockets = path / _SOCKETS
            sockets.mkdir(mode=_OURS_ALONE)
            self.hand_over(sockets)

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
            count = self._clear(path)
            if count:
                self._log.info(
                    "a gateway that is no more has left kernels running: {count} in {path}",
                    count=count,
                    path=str(path),
                )
            else:
                self._log.info("removed what a dead gateway left behind: {path}", path=str(path))
            if lock >= 0:
                os.close(lock)

    @staticmethod
    def _clear(path: Path) -> int:
        """
        Remove a directory, but for what kernels need that were kept and run.

        :return: How many these are.
        """
        count = kept.sweep(path, _sockets_in(path))
        if not count:
            shutil.rmtree(path, ignore_errors=True)
        return count

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
            _write_private(file, content, self.user)
        except OSError as error:
            raise KernelStartFailed(
                f"The kernel's connection file cannot be written: {error.strerror}; "
                f"make room in the gateway's runtime directory, or {_ADVICE}"
            ) from None
        return file

    def output(self, kernel_id: str) -> str:
        """
        :return: The file for what a kernel prints, or nothing if that goes to the log.
        """
        return str(self.path / f"kernel-{kernel_id}.log") if self.keeps else ""

    def keep(self, kernel_id: str, pid: int, sockets: str) -> None:
        """
        Remember a process that shall outlive the gateway, if any shall.

        :param sockets: As for :py:meth:`sockets`, if it has any.
        """
        if not self.keeps:
            return
        try:
            _write_private(self._record(kernel_id), kept.record_of(pid, sockets), None)
        except OSError as error:
            self._log.warn(
                "kernel {kernel_id} will not be found again after the gateway has ended, for its "
                "record cannot be written: {error}",
                kernel_id=kernel_id,
                error=error.strerror,
            )

    def _record(self, kernel_id: str) -> Path:
        return self.path / f"kernel-{kernel_id}{kept.SUFFIX}"

    def hand_over(self, *paths: Path) -> None:
        """
        Let kernels have these files and directories, if they run as another user.
        """
        if self.user is not None:
            for path in paths:
                os.chown(path, self.user.uid, self.user.gid, follow_symlinks=False)

    def _mend(self) -> None:
        """
        Make the directory again if somebody tidied up; live kernels have read their files already.
        """
        if self.path.is_dir():
            return
        self._remove()
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
        if not path.is_dir():
            path.mkdir(mode=_OURS_ALONE)
            path.chmod(self._mode)
        return path

    def remove(self, kernel_id: str) -> None:
        """
        Remove a kernel's connection file, if there is one, and all that goes with it.
        """
        if self._path is None:
            return
        self._unlink(self.connection_file(kernel_id))
        if self.keeps:
            self._unlink(self._record(kernel_id))
            self._unlink(Path(self.output(kernel_id)))

    def sockets(self, name: str) -> Path:
        """
        :param name: Unique to one kernel.
        :return: What the paths of its Unix sockets begin with; a dash and a number follow.
        """
        return _sockets_in(self.path) / name

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
        Remove the directory and all that is in it, but for what kernels need that are kept.

        :return: Fires when the watchdog is gone, too.
        """
        self._remove()
        return succeed(None) if self.watchdog is None else self.watchdog.stop()

    def _remove(self) -> None:
        path, self._path = self._path, None
        lock, self._lock = self._lock, -1
        if path is not None:
            self._clear(path)
            os.close(lock)


def _usual_base(user: KernelUser | None) -> Path:
    """
    :return: Where to make the directory if nobody has said where.
    """
    if user is not None:
        # What is below root's home, nobody else can get to.
        return Path("/run")
    usual = Path(jupyter_runtime_dir()).absolute()
    nearest = next(each for each in (usual, *usual.parents) if os.path.exists(each))
    if os.access(nearest, os.W_OK) or _is_ours(Path.home()):
        return usual
    # An account without a home, like nobody's.
    own = Path(tempfile.gettempdir(), f"kgd-{os.geteuid()}")
    _make_private(own, _OURS_ALONE)
    return own


def _is_ours(directory: Path) -> bool:
    try:
        return directory.stat().st_uid == os.geteuid()
    except OSError:
        return False


def _sockets_in(directory: Path) -> Path:
    theirs = directory / _SOCKETS
    return theirs if theirs.is_dir() else directory


def _make_private(directory: Path, mode: int) -> None:
    """
    Make a directory that only we can list and write to, or see to it that an existing one is.

    :param mode: Whether others may pass through it. Other gateways may need that as it is.
    """
    if not directory.parent.is_dir():
        directory.parent.mkdir(parents=True, mode=_OURS_ALONE)
        directory.parent.chmod(mode)
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=mode)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise PermissionError(0, "it is not a directory of the gateway's own")
    if stat.S_IMODE(found.st_mode) not in (mode, _PASSABLE):
        directory.chmod(mode)


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
