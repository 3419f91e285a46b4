"""
Finds out whether the system killed a process because memory ran out.

The parent of such a process sees a SIGKILL like any other, but Linux counts the kills.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import attrs

#: The cause of such an end, as users are told it after the number of the signal.
OUT_OF_MEMORY = "the system ran out of memory; raise the memory limit or use less"
_ROOT = PurePosixPath("/")


@attrs.frozen
class KillCount:
    """
    How many kills the system had counted at some time, less those that have explained an end.

    :ivar source: The file with the count. Only readings of the same file can be compared.
    """

    source: Path
    count: int


class OutOfMemoryKills:
    """
    Counts the kills among the processes that share the gateway's memory limit, as its kernels do;
    where Linux does not count these, the kills in the whole system. Nothing here raises.

    :param proc: The ``/proc`` of the system.
    :param cgroups: The directory where control groups are mounted.
    """

    def __init__(self, proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> None:
        self._proc = proc
        self._cgroups = cgroups
        self._explained: Counter[Path] = Counter()

    def read(self) -> KillCount | None:
        """
        :return: The present count, or ``None`` where nothing is counted.
        """
        for source in self._sources():
            count = _oom_kills(source)
            if count is not None:
                return KillCount(source, count - self._explained[source])
        return None

    def happened_since(self, before: KillCount | None) -> bool:
        """
        Whether there was a kill since that reading. To be called for each process that ended, with
        the reading at its start. A kill explains one end only, so that it does not also explain the
        end of a process that a user kills a week later.
        """
        now = self.read()
        if before is None or now is None:
            return False
        if now.source != before.source or now.count <= before.count:
            return False
        self._explained[now.source] += 1
        return True

    def _sources(self) -> Iterator[Path]:
        """
        :return: Files that may have a count, the best first.
        """
        # Lines like 4:memory:/some/path for each hierarchy of cgroup v1, and 0::/some/path for v2.
        for line in _read_text(self._proc / "self" / "cgroup").splitlines():
            _, _, rest = line.partition(":")
            controllers, _, path = rest.partition(":")
            if "memory" in controllers.split(","):
                yield from _ancestor_files(self._cgroups / "memory", path, "memory.oom_control")
            elif not controllers:
                yield from _ancestor_files(self._cgroups, path, "memory.events")
        yield self._proc / "vmstat"


def _ancestor_files(mount: Path, path: str, name: str) -> Iterator[Path]:
    """
    :return: The files of this name in a group and all groups above it. A group may leave memory to
        one above; and in a container its path may be the one outside, of which only the end is
        mounted.
    """
    group = PurePosixPath(path)
    if not group.is_absolute() or ".." in group.parts:
        # It is outside of what this process can see.
        group = _ROOT
    for each in (group, *group.parents):
        yield mount / each.relative_to(_ROOT) / name


def _oom_kills(source: Path) -> int | None:
    for line in _read_text(source).splitlines():
        name, _, value = line.partition(" ")
        if name == "oom_kill" and value.isdecimal():
            return int(value)
    return None


def _read_text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except (OSError, ValueError):
        return ""
