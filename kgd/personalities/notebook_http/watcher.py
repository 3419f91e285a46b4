"""
Noticing that notebooks have changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from kgd.observability.logs import make_logger

INTERVAL = 0.5

# Of each file: when it was changed, how large it is, and which it is; None when there is none.
FileStates = dict[Path, tuple[int, int, int] | None]


class Watcher:
    """
    Looks at files again and again. Some file systems tell when a file changes, but not those of the
    network, on which notebooks often are.

    :param paths: Gives the files that there are at the moment.
    :param changed: Called with those that are not as they were when they were last called changed,
        and do not change any more: whoever writes one may need some time. Those are among them that
        have come or gone.
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
        What there is now is known.
        """
        self._known = self._last = self._read_states()
        looking = self._loop.start(INTERVAL, now=False)
        looking.addErrback(lambda failure: self._log.failure("notebooks are not watched", failure))

    def stop(self) -> None:
        """
        Look no more. May be called at any time.
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
