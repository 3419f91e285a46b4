"""
Paths of Unix sockets: checking their length, and removing sockets of killed gateways.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat

from kgd.endpoints.addresses import MAX_SOCKET_PATH
from kgd.errors import ConfigurationError

IN_USE = "another process listens there"


def check_path_length(path: str) -> None:
    """
    :raises kgd.errors.ConfigurationError: when the path is too long for a socket.
    """
    length = len(os.fsencode(path))
    if length > MAX_SOCKET_PATH:
        raise ConfigurationError(
            f"the path has {length} bytes, and that of a Unix socket can have {MAX_SOCKET_PATH}; "
            "choose a directory with a shorter path, such as one in /run"
        )


def remove_stale_socket(path: str) -> None:
    """
    Remove a socket on which no process listens, and Twisted's lock on it.

    Twisted itself checks whether a process with the lock's number exists. That may be another
    process by now; in a container, where numbers repeat, it is the gateway itself.

    :raises kgd.errors.ConfigurationError: when a process listens there.
    """
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
        with socket.socket(socket.AF_UNIX) as probe:
            probe.setblocking(False)
            probe.connect(path)
    except ConnectionRefusedError:
        for file in (f"{path}.lock", path):
            with contextlib.suppress(OSError):
                os.unlink(file)
    except BlockingIOError:
        # The queue of a process that listens is full.
        raise ConfigurationError(IN_USE) from None
    except OSError:
        # It does not exist or is not accessible, which listening will show.
        return
    else:
        raise ConfigurationError(IN_USE)
