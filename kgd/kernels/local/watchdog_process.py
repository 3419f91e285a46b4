"""
Ends the kernels of a gateway that was killed: a program of its own, that lives as long as the
gateway and not much longer.

``python -I -S watchdog_process.py``

Its input is a pipe whose other end the gateway alone has, so that it ends with the gateway,
however that ends. On it come lines: ``+PGID`` when a kernel's process group has been started,
``-PGID`` when it is no more, and the path of the gateway's runtime directory when there is a new
one. An orderly gateway has neither groups nor a directory left at its end, and then there is
nothing to do.
"""

import _signal  # type: ignore[import-not-found]
import os
import time

# In seconds; together, and with some room, less than 5.
PATIENCE = ((_signal.SIGTERM, 1.5), (_signal.SIGKILL, 1.5))
# Nothing tells when a process group is empty whose processes are not our children.
PAUSE = 0.02


def read_until_the_end() -> tuple[set[int], bytes]:
    """
    :return: The process groups and the directory that there were when the gateway ended.
    """
    groups: set[int] = set()
    directory = rest = b""
    while data := os.read(0, 65536):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            if line[:1] == b"+":
                groups.add(int(line[1:]))
            elif line[:1] == b"-":
                groups.discard(int(line[1:]))
            else:
                directory = line
    return groups, directory


def send(group: int, signum: int) -> bool:
    """
    :return: Whether there is still somebody in the group.
    """
    try:
        os.killpg(group, signum)
    except ProcessLookupError:
        return False
    except PermissionError:
        # Not ours any more.
        return False
    return True


def end(groups: set[int]) -> None:
    """
    End all that is in these process groups.
    """
    for signum, patience in PATIENCE:
        until = time.monotonic() + patience
        groups = {group for group in groups if send(group, signum)}
        while groups and time.monotonic() < until:
            time.sleep(PAUSE)
            groups = {group for group in groups if send(group, 0)}


def main() -> None:
    """
    Wait for the end of the gateway, then clean up after it.
    """
    os.setsid()
    os.chdir("/")
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    for signum in (_signal.SIGTERM, _signal.SIGINT, _signal.SIGHUP, _signal.SIGPIPE):
        # Whoever ends all processes at once ends the gateway, too, and so this one.
        _signal.signal(signum, _signal.SIG_IGN)
    groups, directory = read_until_the_end()
    end(groups)
    if os.path.isdir(directory):
        # Importing it takes longer than all the rest, and seldom is there need.
        import shutil

        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
