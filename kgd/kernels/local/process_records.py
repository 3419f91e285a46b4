"""
Records of the processes that are to outlive their gateway, and whether these still run.

A record is a file beside the kernel's connection file, ``kernel-ID.process``. It holds JSON with
``pid`` (of the leader of its session), ``start_time`` and ``boot_id``, which tell it from another
process that has got the same number later, and ``sockets``, with which the names of its Unix
sockets begin (``""`` if it has none).
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

#: What the names of records end with.
SUFFIX = ".process"
#: What the names of kernels' own working directories end with.
WORKING_DIRECTORY_SUFFIX = ".work"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_DEAD_STATES = ("Z", "X")


def make_record(pid: int, sockets: str) -> bytes:
    """
    :return: The record of a process that runs.
    :raises OSError: when the system does not know the process.
    """
    return json.dumps(
        {
            "pid": pid,
            "start_time": _start_time(pid),
            "boot_id": _boot_id(),
            "sockets": sockets,
        }
    ).encode()


def _boot_id() -> str:
    return _BOOT_ID.read_text("ascii").strip()


def _start_time(pid: int) -> int:
    """
    :return: When the process was started, in ticks since the start of the system.
    """
    # The name, in parentheses, may contain any character.
    fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    if fields[0] in _DEAD_STATES:
        raise ProcessLookupError
    return int(fields[19])


def find_running(directory: Path) -> Iterator[tuple[str, str]]:
    """
    :param directory: A gateway's runtime directory.
    :return: For each recorded kernel that runs: the beginnings of the names of its files, and of
        its sockets.
    """
    for file in directory.glob(f"kernel-*{SUFFIX}"):
        try:
            record = json.loads(file.read_bytes())
            pid, sockets = int(record["pid"]), str(record["sockets"])
            if record["boot_id"] == _boot_id() and record["start_time"] == _start_time(pid):
                yield file.name.removesuffix(SUFFIX), sockets
        except (OSError, ValueError, LookupError, TypeError):
            # The process has ended, or the file is not a record.
            continue


def sweep(directory: Path, sockets_in: Path) -> int:
    """
    Remove all files but those of recorded kernels that run. Nothing is removed if there is no such
    kernel.

    :param directory: A gateway's runtime directory.
    :param sockets_in: The directory of the sockets.
    :return: The number of these kernels.
    """
    found = [*find_running(directory)]
    if not found:
        return 0
    suffixes = (".json", ".log", SUFFIX, WORKING_DIRECTORY_SUFFIX)
    files = {f"{stem}{suffix}" for stem, _ in found for suffix in suffixes}
    prefixes = tuple(f"{sockets}-" for _, sockets in found if sockets)
    stale = [file for file in directory.glob("kernel-*") if file.name not in files]
    stale += [file for file in sockets_in.glob("*-[0-9]") if not file.name.startswith(prefixes)]
    for file in stale:
        if file.name.endswith(WORKING_DIRECTORY_SUFFIX):
            shutil.rmtree(file, ignore_errors=True)
            continue
        with contextlib.suppress(OSError):
            file.unlink()
    return len(found)
