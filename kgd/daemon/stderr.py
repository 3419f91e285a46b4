"""
The log on stderr, for those who start the gateway as they started the Jupyter Kernel Gateway.
"""

from __future__ import annotations

import os
import select

# twistd makes sys.stderr a part of the log.
STDERR = 2
# So many bytes a pipe takes in one piece whenever it takes any.
_PIECE = select.PIPE_BUF


class UnblockedStream:
    """
    Text for a descriptor that may be a pipe which nobody reads any more: when it is full, lines are
    lost. Waiting would stop the whole gateway.

    :param descriptor: Where to write. Its flags stay as they are, since others may share it.
    """

    encoding = "utf-8"

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self._lost = 0

    def write(self, text: str) -> None:
        """
        Write text that ends with a line, or lose it.
        """
        if self._lost:
            text = f"kgd: {self._lost} messages were lost here, because nobody read them\n{text}"
        data = text.encode(self.encoding, "backslashreplace")
        try:
            for start in range(0, len(data), _PIECE):
                if not self._poll.poll(0):
                    self._lost += 1
                    return
                os.write(self._descriptor, data[start : start + _PIECE])
        except OSError:
            # Nobody is there to be told.
            return
        self._lost = 0

    def flush(self) -> None:
        """
        Nothing is kept here.
        """
