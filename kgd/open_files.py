"""
Knows how many files the gateway may still open, and keeps some for requests that free others.

Kernels and their clients take most descriptors, and take them for long. If they could take all,
nobody could connect any more to stop a kernel. So new ones are refused in time.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable

from kgd.errors import RAISE_LIMIT, OutOfFiles
from kgd.observability.logs import make_logger
from kgd.observability.throttle import Throttle

# Measured. A ZeroMQ socket takes two files: its signal, and its connection.
FILES_PER_SOCKET = 2
#: A kernel has two pipes, and the gateway three sockets to it; its start takes two more.
FILES_PER_KERNEL = 10
#: A client has its connection, and up to three sockets to the kernel.
FILES_PER_CLIENT = 7
_MAX_RESERVE = 64
# Seconds for which a count is good. Requests and what an application does need few files in it.
_COUNT_AGE = 1.0

_log = make_logger()


def file_limit() -> int:
    """
    :return: How many files the gateway may have open.
    """
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def reserve_of(limit: int) -> int:
    """
    :return: How many files no new connection may take.
    """
    return min(_MAX_RESERVE, limit // 8)


def count_open_files(limit: int) -> int:
    """
    :return: The number of open descriptors; ``limit`` when it cannot be found out.
    """
    try:
        # One of them is the directory itself.
        return len(os.listdir("/proc/self/fd")) - 1
    except FileNotFoundError:
        # There is no /proc, as in many chroots: take the lowest free descriptor.
        pass
    except OSError:
        return limit
    try:
        lowest = os.dup(0)
    except OSError:
        return limit
    os.close(lowest)
    return lowest


class FileBudget:
    """
    Decides whether there are files for another kernel or client.

    Twice as many stay free as no new connection may take, so that requests without a kernel are
    served when kernels and clients have all that they may have.

    :ivar promised: Returns how many more files the present kernels and clients need: those of a
        kernel that is being restarted have closed their sockets, and will open them again.
    :param count: Returns the number of open files.
    :param limit: Returns how many there may be.
    """

    def __init__(
        self,
        count: Callable[[int], int] = count_open_files,
        limit: Callable[[], int] = file_limit,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._count = count
        self._limit = limit
        self._now = monotonic
        self.promised: Callable[[], int] = lambda: 0
        self._left = 0
        self._counted_at = float("-inf")
        self._vacant = 0
        self._warning = Throttle(monotonic)

    def has_room(self, files: int) -> bool:
        """
        Whether so many files may be opened; if so, they count as opened.
        """
        # Counting thousands takes a while, so it is not done each time.
        if self._left < files or self._now() - self._counted_at > _COUNT_AGE:
            limit = self._limit()
            free = limit - 2 * reserve_of(limit) - self._count(limit) - self.promised()
            self._counted_at = self._now()
            if free < files:
                self._left = 0
                return False
            # Half of it is for what is opened without asking here.
            self._left = max(files, free // 2)
        self._left -= files
        return True

    def has_room_for_kernel(self) -> bool:
        """
        Whether a kernel may be started; if so, its files and a client's count as opened. At the
        limit, each kernel that has ended since leaves its place to another one.
        """
        if self.has_room(FILES_PER_KERNEL + FILES_PER_CLIENT):
            self._vacant = 0
            return True
        if self._vacant:
            self._vacant -= 1
            return True
        return False

    def kernel_ended(self) -> None:
        """
        Take note that a kernel is gone, whose files may still be about to be closed.
        """
        self._vacant += 1

    def check(self, files: int) -> None:
        """
        Take room for so many files.

        :raises kgd.errors.OutOfFiles: when there is none.
        """
        if not self.has_room(files):
            self.refuse()

    def refuse(self) -> None:
        """
        :raises kgd.errors.OutOfFiles: always.
        """
        limit = self._limit()
        if self._warning.passes():
            _log.warn(
                "almost all of the {limit} files that may be open are open, so new kernels and "
                "WebSockets are refused; {advice}, or lower --max-kernels",
                limit=limit,
                advice=RAISE_LIMIT,
            )
        raise OutOfFiles(limit)
