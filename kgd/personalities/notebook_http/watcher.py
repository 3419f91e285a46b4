"""
Notices changes of notebook files, for ``--reload``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from kgd.observability.logs import make_logger

INTERVAL = 0.5  # seconds

# Modification time, size and inode number of each file; None for one that does not exist.
FileStates = dict[Path, tuple[int, int, int] | None]


class Watcher:
    """
    Polls files, because network file systems, on which notebooks often are, do not report changes.

    :param paths: Returns the present files.
    :param on_changed: Called with the files that have changed since the last call, appeared or
        disappeared, when they no longer change: writing a file may take some time.
    """

    _log = make_logger()

    def __init__(
        self,
        reactor: IReactorTime,
        paths: Callable[[], Iterable[Path]],
        on_changed: Callable[[set[Path]], None],
    ) -> None:
        self._paths = paths
        self._on_changed = on_changed
        self._known: FileStates = {}
        self._last: FileStates = {}
        self._loop = LoopingCall(self._check)
        self._loop.clock = reactor

    def start(self) -> None:
        """
        Watch from now on.
        """
        self._known = self._last = self._read_states()
        looking = self._loop.start(INTERVAL, now=False)
        looking.addErrback(lambda failure: self._log.failure("notebooks are not watched", failure))

    def stop(self) -> None:
        """
        Stop watching; may be called at any time.
        """
        if self._loop.running:
            self._loop.stop()

    def _read_states(self) -> FileStates:
        return {path: _file_state(path) for path in self._paths()}

    def _check(self) -> None:
        now, last = self._read_states(), self._last
        self._last = now
        if now == self._known or now != last:
            return
        known, self._known = self._known, now
        self._on_changed({path for path in {*now, *known} if now.get(path) != known.get(path)})


def _file_state(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
