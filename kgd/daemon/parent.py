"""
Reports to the process that runs ``twistd``, which waits until the daemon has started.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import MutableMapping
from typing import Any

# Bytes of a reason: twistd reads 100, of which the status takes two.
_MAX_MESSAGE = 98


class ParentProcess:
    """
    The daemon's parent process: it ends with the status 0 when it is told that the daemon works,
    and otherwise prints the reason and ends with 1.

    twistd would tell it so before the gateway has begun to start.

    :param twistd_options: twistd's options. A daemon's hold a pipe to the parent, which is not
        part of twistd's documented interface.
    """

    def __init__(self, twistd_options: MutableMapping[str, Any]) -> None:
        self._twistd_options = twistd_options
        self._pipe: int | None = None

    def take_pipe(self) -> None:
        """
        Take the pipe away from twistd, so that the parent waits for :py:meth:`report`.
        """
        self._pipe = self._twistd_options.pop("statusPipe", None)

    def report(self, failure: str = "") -> None:
        """
        Report success, or the reason of a failure. Only the first call has an effect.
        """
        pipe, self._pipe = self._pipe, None
        if pipe is None:
            return
        # The parent may have been interrupted.
        with contextlib.suppress(OSError):
            os.write(
                pipe, b"1 " + failure.encode("ascii", "replace")[:_MAX_MESSAGE] if failure else b"0"
            )
        os.close(pipe)
