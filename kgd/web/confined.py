"""
Files below one directory, and nothing else: no path and no symbolic link leads out of it, not even
while somebody renames what is on the way.

Linux resolves a path below a directory in one step, with ``openat2`` and ``RESOLVE_BENEATH``
(https://man7.org/linux/man-pages/man2/openat2.2.html). Where that is not allowed, each directory on
the way is opened by itself, and symbolic links are refused.

Everything here blocks, so it is called in a thread. Paths are relative, with slashes and without
``.`` and ``..``, as the routes decode them.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import secrets
import stat
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from threading import Lock

import attrs

from kgd import errors

#: How many names a listing has at most.
MAX_ENTRIES = 10_000

_SYS_OPENAT2 = 437
_NO_MAGIC_LINKS = 0x02
_NO_SYMLINKS = 0x04
_BENEATH = 0x08
# Attempts, when something is renamed while a path is resolved.
_ATTEMPTS = 16
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_HERE = b"."
# Bytes, the limit of Linux.
_MAX_PATH = 4096
# The end of the year 9999.
_END_OF_TIME = 253402300799.0
_NO_OPENAT2 = (errno.ENOSYS, errno.EPERM)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ETXTBSY)
_TYPES = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}

_libc = ctypes.CDLL(None, use_errno=True)


class _OpenHow(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


def _openat2(directory: int, path: bytes, flags: int, resolve: int) -> int:
    how = _OpenHow(flags, 0, resolve)
    for _ in range(_ATTEMPTS):
        descriptor = _libc.syscall(
            ctypes.c_long(_SYS_OPENAT2),
            ctypes.c_int(directory),
            ctypes.c_char_p(path),
            ctypes.byref(how),
            ctypes.c_size_t(ctypes.sizeof(how)),
        )
        if descriptor >= 0:
            return int(descriptor)
        code = ctypes.get_errno()
        if code not in (errno.EAGAIN, errno.EINTR):
            break
    raise OSError(code, os.strerror(code))


def _walk(directory: int, path: bytes, flags: int) -> int:
    """
    Open a path step by step, without following any symbolic link.
    """
    *parents, name = path.split(b"/")
    if b".." in parents or (b"" in parents) or name in (b"", b".."):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
    here = os.open(_HERE, _DIRECTORY, dir_fd=directory)
    try:
        for each in parents:
            below = _open_no_link(each, here)
            os.close(here)
            here = below
        # Otherwise a link would look like a file that is no directory.
        os.close(_open_no_link(name, here))
        return os.open(name, flags | os.O_NOFOLLOW, dir_fd=here)
    finally:
        os.close(here)


def _open_no_link(name: bytes, directory: int) -> int:
    descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    if not stat.S_ISLNK(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def open_beneath(directory: int, path: bytes, flags: int) -> int:
    """
    Open what a path leads to.

    :param directory: The descriptor of the directory that is not left.
    :return: A descriptor.
    :raises OSError: also for a symbolic link that leads out.
    """
    try:
        return _openat2(directory, path, flags, _BENEATH | _NO_MAGIC_LINKS)
    except OSError as error:
        # A filter of system calls may refuse it with either; what follows tells them apart.
        if error.errno not in _NO_OPENAT2:
            raise
    return _walk(directory, path, flags)


def _open_root(root: str) -> int:
    path = os.fsencode(root)
    if not os.path.isabs(path):
        raise ValueError("the directory must have an absolute path")
    try:
        return _openat2(-1, path, _DIRECTORY, _NO_SYMLINKS)
    except OSError as error:
        if error.errno not in _NO_OPENAT2:
            raise
    top = os.open(b"/", _DIRECTORY)
    try:
        return _walk(top, path.strip(b"/") or _HERE, _DIRECTORY)
    finally:
        os.close(top)


@attrs.frozen
class FileInfo:
    """
    What is known of a file without reading it.

    :ivar type: ``file``, ``directory``, ``link``, or ``other`` for devices, pipes and sockets.
    :ivar size: In bytes.
    :ivar modified: In seconds since the epoch.
    :ivar tag: Its ``ETag``: another one whenever it has changed.
    :ivar mode: Its permissions.
    """

    type: str
    size: int
    modified: float
    tag: str
    mode: int

    @classmethod
    def of(cls, found: os.stat_result) -> FileInfo:
        """
        :return: The same, from what the system says.
        """
        return cls(
            _TYPES.get(stat.S_IFMT(found.st_mode), "other"),
            found.st_size,
            # A kernel may set any time, also one that no calendar has.
            min(max(found.st_mtime, 0.0), _END_OF_TIME),
            f'"{found.st_ino:x}-{found.st_size:x}-{found.st_ctime_ns:x}"',
            stat.S_IMODE(found.st_mode),
        )


class OpenedFile:
    """
    A file that is open for reading, until :py:meth:`close`, or until nobody has it any longer: a
    thread may have opened it for a client that has left.
    """

    def __init__(self, descriptor: int, info: FileInfo) -> None:
        self.info = info
        self._descriptor = descriptor
        self._lock = Lock()

    def read(self, offset: int, size: int) -> bytes:
        """
        :return: As many bytes as there are, up to ``size``; none when it has been closed.
        """
        # Closing waits for the lock, or another file could have the number by now.
        with self._lock:
            return os.pread(self._descriptor, size, offset) if self._descriptor >= 0 else b""

    def close_soon(self, in_thread: Callable[[Callable[[], None]], object]) -> None:
        """
        Close it, in a thread if one is reading now.
        """
        if self._lock.acquire(blocking=False):
            self._lock.release()
            self.close()
        else:
            in_thread(self.close)

    def close(self) -> None:
        """
        Close it, when no thread reads it any longer.
        """
        with self._lock:
            descriptor, self._descriptor = self._descriptor, -1
            if descriptor >= 0:
                os.close(descriptor)

    def __del__(self) -> None:
        self.close()


@attrs.frozen
class Listing:
    """
    What is in a directory.

    :ivar entries: By name, sorted.
    :ivar is_complete: Whether that is all. There may be too many, and names that are not UTF-8 are
        left out.
    """

    entries: dict[str, FileInfo]
    is_complete: bool


#: Gives the calling thread the rights of a user.
Rights = Callable[[], AbstractContextManager[None]]
#: Looks at what there is, ``None`` for nothing, and raises if it is not to be changed.
Check = Callable[[FileInfo | None], None]


def _no_rights() -> AbstractContextManager[None]:
    return contextlib.nullcontext()


class ConfinedDirectory:
    """
    A directory whose files clients may read and write. All methods raise
    :py:exc:`kgd.errors.GatewayError` for what goes wrong.

    :param root: Its absolute path, without symbolic links.
    :param rights: Gives the calling thread the rights of the user whose files these are.
    """

    def __init__(self, root: str, rights: Rights = _no_rights) -> None:
        self._root = root
        self._rights = rights

    @contextmanager
    def _opened(self, path: str) -> Iterator[tuple[int, bytes]]:
        """
        :return: The descriptor of the directory, and the encoded path.
        """
        with self._rights(), _explained(path):
            encoded = path.encode("utf-8")
            if b"\0" in encoded:
                raise OSError(errno.ENOENT, "")
            if len(encoded) >= _MAX_PATH:
                raise OSError(errno.ENAMETOOLONG, "")
            try:
                root = _open_root(self._root)
            except OSError as error:
                if error.errno in _FORBIDDEN:
                    raise
                raise errors.NoSuchResource(
                    "The kernel's working directory does not exist any longer"
                ) from None
            try:
                yield root, encoded
            finally:
                os.close(root)

    def open(self, path: str) -> OpenedFile | Listing:
        """
        Open a file, or list a directory.

        :param path: Empty for the directory itself.
        """
        with self._opened(path) as (root, encoded):
            # Nothing is opened before it is known to be harmless: opening a device may do things.
            found = open_beneath(root, encoded or _HERE, os.O_PATH | os.O_CLOEXEC)
            try:
                kind = FileInfo.of(os.fstat(found)).type
            finally:
                os.close(found)
            if kind not in ("file", "directory"):
                raise _special(path)
            flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            descriptor = open_beneath(root, encoded or _HERE, flags)
            opened = OpenedFile(descriptor, FileInfo.of(os.fstat(descriptor)))
            if opened.info.type == "directory":
                with contextlib.closing(opened):
                    return _listed(descriptor)
            if opened.info.type != "file":
                raise _special(path)
            return opened

    def begin(self, path: str, check: Check) -> NewFile:
        """
        Begin a file that is to be at a path when it is complete. Directories on the way are made if
        they are missing.
        """
        with self._opened(path) as (root, encoded):
            *parents, name = encoded.split(b"/")
            try:
                directory = open_beneath(root, b"/".join(parents) or _HERE, _DIRECTORY)
            except FileNotFoundError:
                check(None)
                directory = _make_directories(root, parents)
            except NotADirectoryError:
                raise errors.FileConflict(
                    f"{path}: a part of the path is a file; name a path in a directory"
                ) from None
            try:
                return NewFile(path, directory, name, check, self._rights)
            except BaseException:
                os.close(directory)
                raise

    def write(
        self, path: str, content: bytes, check: Check, *, only_new: bool = False
    ) -> tuple[FileInfo, bool]:
        """
        Write a file.

        :return: As from :py:meth:`NewFile.finish`.
        """
        file = self.begin(path, check)
        try:
            file.write(content)
            return file.finish(only_new=only_new)
        finally:
            file.discard()

    def remove(self, path: str, check: Check) -> None:
        """
        Remove a file, an empty directory, or a symbolic link.
        """
        with self._opened(path) as (root, encoded):
            parent, _, name = encoded.rpartition(b"/")
            directory = open_beneath(root, parent or _HERE, _DIRECTORY)
            try:
                present = _look(directory, name)
                check(present)
                if present is None:
                    raise OSError(errno.ENOENT, "")
                if present.type == "directory":
                    os.rmdir(name, dir_fd=directory)
                else:
                    os.unlink(name, dir_fd=directory)
            finally:
                os.close(directory)


def _look(directory: int, name: bytes) -> FileInfo | None:
    try:
        return FileInfo.of(os.stat(name, dir_fd=directory, follow_symlinks=False))
    except FileNotFoundError:
        return None


def _listed(descriptor: int) -> Listing:
    entries: dict[str, FileInfo] = {}
    is_complete = True
    with os.scandir(descriptor) as found:
        for entry in found:
            if len(entries) == MAX_ENTRIES:
                is_complete = False
                break
            try:
                name = os.fsencode(entry.name).decode("utf-8")
                entries[name] = FileInfo.of(entry.stat(follow_symlinks=False))
            except UnicodeDecodeError:
                is_complete = False
            except FileNotFoundError:
                # It has been removed just now.
                continue
    return Listing(dict(sorted(entries.items())), is_complete)


def _make_directories(root: int, names: list[bytes]) -> int:
    """
    :return: The descriptor of the last one.
    """
    here = os.open(_HERE, _DIRECTORY, dir_fd=root)
    for count, name in enumerate(names, 1):
        path = b"/".join(names[:count])
        try:
            try:
                below = open_beneath(root, path, _DIRECTORY)
            except FileNotFoundError:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, dir_fd=here)
                below = open_beneath(root, path, _DIRECTORY)
        finally:
            os.close(here)
        here = below
    return here


class NewFile:
    """
    A file beside the one that it is to replace. Others see the old one or the new one, and never a
    part of it.

    :param directory: The descriptor of the directory, which is closed in the end.
    :param check: Looks at what is there before anything is written, and before it is replaced.
    """

    def __init__(
        self, path: str, directory: int, name: bytes, check: Check, rights: Rights
    ) -> None:
        present = _look(directory, name)
        _check_replaceable(name, present)
        check(present)
        self._path = path
        self._directory = directory
        self._name = name
        self._check = check
        self._rights = rights
        self._mode = None if present is None else present.mode & 0o777
        # A client that leaves has it discarded, while a thread may be busy with it.
        self._lock = Lock()
        self._unfinished = f".kgd-{secrets.token_hex(8)}.new"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(self._unfinished, flags, 0o666, dir_fd=directory)

    def write(self, data: bytes) -> None:
        """
        Add to it.
        """
        with self._lock, _explained(self._path):
            self._check_open()
            view = memoryview(data)
            while view:
                view = view[os.write(self._descriptor, view) :]

    def finish(self, *, only_new: bool = False) -> tuple[FileInfo, bool]:
        """
        Let it take its place.

        :param only_new: Whether a file that has appeared in the meantime is left as it is.
        :return: The file, and whether there was none before.
        """
        here = self._directory
        with self._lock, self._rights(), _explained(self._path):
            self._check_open()
            if self._mode is not None:
                os.fchmod(self._descriptor, self._mode)
            # It may have changed while this was written.
            present = _look(self._directory, self._name)
            self._check(present)
            try:
                if only_new:
                    os.link(self._unfinished, self._name, src_dir_fd=here, dst_dir_fd=here)
                else:
                    os.rename(self._unfinished, self._name, src_dir_fd=here, dst_dir_fd=here)
                    self._unfinished = ""
            except FileExistsError:
                raise errors.PreconditionFailed(
                    f"If-None-Match: there is a file {self._path} already"
                ) from None
            self._remove()
            return FileInfo.of(os.fstat(self._descriptor)), present is None

    def _check_open(self) -> None:
        if self._descriptor < 0:
            raise errors.Unavailable(f"{self._path} is not written any longer; try again", 1)

    def _remove(self) -> None:
        name, self._unfinished = self._unfinished, ""
        if name:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=self._directory)

    def discard(self) -> None:
        """
        Remove it, unless it has taken its place, and close everything. May be called again.
        """
        with self._lock:
            descriptor, self._descriptor = self._descriptor, -1
            if descriptor >= 0:
                with self._rights():
                    self._remove()
                os.close(descriptor)
                os.close(self._directory)


def _check_replaceable(name: bytes, present: FileInfo | None) -> None:
    if present is None or present.type == "file":
        return
    shown = name.decode("utf-8")
    if present.type == "directory":
        raise errors.FileConflict(f"{shown} is a directory; name a file in it")
    if present.type == "link":
        raise errors.FileConflict(
            f"{shown} is a symbolic link; name the file that it leads to, or delete it first"
        )
    raise _special(shown)


def _special(path: str) -> errors.ResourceForbidden:
    return errors.ResourceForbidden(
        f"{path} is a device, a pipe or a socket; only files and directories are served"
    )


@contextmanager
def _explained(path: str) -> Iterator[None]:
    """
    Say what the system's errors mean.
    """
    try:
        yield
    except OSError as error:
        raise _explanation(path, error) from None


# What the system says, and what a client is told; the first group that has the error counts.
_Explained = Callable[[str, OSError], errors.GatewayError]
_EXPLANATIONS: Sequence[tuple[Collection[int], _Explained]] = (
    (
        (errno.ENOENT, errno.ENOTDIR),
        lambda path, error: errors.NoSuchResource(
            f"There is no file {path} in the kernel's working directory"
        ),
    ),
    (
        (errno.EXDEV, errno.ELOOP),
        lambda path, error: errors.ResourceForbidden(
            f"{path}: a symbolic link leads out of the kernel's working directory"
        ),
    ),
    (_FORBIDDEN, lambda path, error: errors.ResourceForbidden(f"{path}: {error.strerror}")),
    ((errno.ENXIO,), lambda path, error: _special(path)),
    (
        (errno.ENAMETOOLONG, errno.EINVAL),
        lambda path, error: errors.InvalidRequest(
            "The path is not one that a file can have; take a shorter one"
        ),
    ),
    (
        (errno.EISDIR, errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY),
        lambda path, error: errors.FileConflict(
            f"{path}: {error.strerror}; delete what is in it first"
        ),
    ),
    (
        (errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
        lambda path, error: errors.StorageFull(
            f"{path}: {error.strerror}; delete other files first"
        ),
    ),
)


def _explanation(path: str, error: OSError) -> errors.GatewayError:
    for codes, explained in _EXPLANATIONS:
        if error.errno in codes:
            return explained(path, error)
    return errors.Unavailable(f"{path}: {error.strerror}; try again later", 10)
