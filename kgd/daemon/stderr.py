"""
Writes the log to stderr, where programs that start a Jupyter Kernel Gateway expect it.
"""

from __future__ import annotations

import os
import select

# sys.stderr does not do: twistd redirects it to the log.
STDERR_FD = 2
# Bytes that a pipe takes at once if it takes any.
_CHUNK_SIZE = select.PIPE_BUF


class NonBlockingStream:
    """
    Writes text to a descriptor without ever waiting. If it is a full pipe that its reader has
    abandoned, lines are dropped; waiting would stop the whole gateway.

    :param descriptor: The descriptor. Its flags stay unchanged, since other processes may share it.
    """

    encoding = "utf-8"

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self._lost_count = 0

    def write(self, text: str) -> None:
        """
        Write text that ends with a newline, or drop it.
        """
        if self._lost_count:
            text = (
                f"kgd: {self._lost_count} messages are missing here, because the pipe was full\n"
                f"{text}"
            )
        data = text.encode(self.encoding, "backslashreplace")
        try:
            for start in range(0, len(data), _CHUNK_SIZE):
                if not self._poll.poll(0):
                    self._lost_count += 1
                    return
                os.write(self._descriptor, data[start : start + _CHUNK_SIZE])
        except OSError:
            # There is no other place to report it.
            return
        self._lost_count = 0

    def flush(self) -> None:
        """
        Do nothing: nothing is buffered.
        """
