"""
Letting code in a kernel go on when a test wants it.
"""

from __future__ import annotations

import os
from pathlib import Path


class Valve:
    """
    A FIFO from which code in a kernel reads lines, so that a test says when it goes on.

    :ivar path: What to open in the kernel.
    :ivar wait: A line of Python that waits; it closes what it opens, since warnings of that would
        be among a cell's output.
    """

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.wait = f"with open({self.path!r}) as valve: valve.readline()"
        os.mkfifo(path)
        # For both directions, so that opening waits for nobody.
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)

    def open(self) -> None:
        """
        Let one line through.
        """
        os.write(self._fd, b"go\n")

    def close(self) -> None:
        """
        That was it.
        """
        os.close(self._fd)
