"""
The paths of Unix sockets: whether they can be used, and what killed gateways have left there.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat

from kgd.endpoints.addresses import LONGEST_PATH
from kgd.errors import ConfigurationError

TAKEN = "another process listens there"


def check_length(path: str) -> None:
    """
    :raises kgd.errors.ConfigurationError: when no socket can have this path.
    """
    length = len(os.fsencode(path))
    if length > LONGEST_PATH:
        raise ConfigurationError(
            f"the path has {length} bytes, and that of a Unix socket can have {LONGEST_PATH}; "
            "choose a directory with a shorter one, like those in /run"
        )


def clear_abandoned(path: str) -> None:
    """
    Remove a socket on which nobody listens any more, and Twisted's lock on it.

    Twisted itself asks whether there is a process with the number that the lock has. By now that
    may be another one; in a container, where the number is always the same, it is our own.

    :raises kgd.errors.ConfigurationError: when somebody listens there.
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
        # So many want to be let in already.
        raise ConfigurationError(TAKEN) from None
    except OSError:
        # It is not there, or not ours; whoever listens there will find out.
        return
    else:
        raise ConfigurationError(TAKEN)
