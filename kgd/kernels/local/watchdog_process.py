"""
A program that ends the kernels of a gateway that was killed, and removes its runtime directory.

``python -I -S watchdog_process.py``

It waits for the end of its input, a pipe whose other end only the gateway has: so it notices the
end of the gateway, however that comes. The lines of the input are ``+PGID`` when a kernel's process
group has been started, ``-PGID`` when it has ended, and the path of the gateway's runtime directory
when there is a new one. After an orderly end of the gateway neither groups nor a directory are
left, and the program does nothing.
"""

import _signal  # type: ignore[import-not-found]
import os
import time

# Signals, and the seconds after each; together, and with some room, less than 5.
TIMEOUTS = ((_signal.SIGTERM, 1.5), (_signal.SIGKILL, 1.5))
# Seconds between two looks at process groups: the system reports the end of child processes only,
# and these are not children of this program.
POLL_INTERVAL = 0.02


def read_until_eof() -> tuple[set[int], bytes]:
    """
    :return: The process groups and the directory that were left when the gateway ended.
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


def send_signal(group: int, signum: int) -> bool:
    """
    :return: Whether the group still has processes.
    """
    try:
        os.killpg(group, signum)
    except ProcessLookupError:
        return False
    except PermissionError:
        # The number belongs to a group of another user by now.
        return False
    return True


def end_groups(groups: set[int]) -> None:
    """
    End all processes of these groups.
    """
    for signum, seconds in TIMEOUTS:
        until = time.monotonic() + seconds
        groups = {group for group in groups if send_signal(group, signum)}
        while groups and time.monotonic() < until:
            time.sleep(POLL_INTERVAL)
            groups = {group for group in groups if send_signal(group, 0)}


def remove_links(directory: bytes) -> None:
    """
    Remove the links to connection files in the gateway's runtime directory; a link in there names
    the directory in which they are.
    """
    try:
        links = os.readlink(os.path.join(directory, b"links"))
        names = os.listdir(links)
    except OSError:
        return
    for name in names:
        link = os.path.join(links, name)
        try:
            if os.path.dirname(os.readlink(link)) == directory:
                os.unlink(link)
        except OSError:
            # It is not a link.
            continue


def main() -> None:
    """
    Wait for the end of the gateway, then clean up after it.
    """
    os.setsid()
    os.chdir("/")
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    for signum in (_signal.SIGTERM, _signal.SIGINT, _signal.SIGHUP, _signal.SIGPIPE):
        # A signal to all processes at once ends the gateway, and so this program, too.
        _signal.signal(signum, _signal.SIG_IGN)
    groups, directory = read_until_eof()
    end_groups(groups)
    if os.path.isdir(directory):
        remove_links(directory)
        # The import takes longer than all the rest, and is seldom needed.
        import shutil

        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
