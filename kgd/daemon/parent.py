"""
Whoever has started a daemon with ``twistd`` and waits to hear how that went.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import MutableMapping
from typing import Any

# So much twistd reads of what is written, with two characters before it.
_MOST = 98


class ParentProcess:
    """
    The process that has become a daemon's parent, if it is still there: it ends with the status 0
    as soon as it hears that the daemon works, and otherwise says why not and ends with 1.

    twistd would tell it that all is well before the gateway has begun to start.

    :param of_twistd: twistd's options. When it has become a daemon, there is a pipe among them, for
        which nothing in twistd's own interface stands.
    """

    def __init__(self, of_twistd: MutableMapping[str, Any]) -> None:
        self._of_twistd = of_twistd
        self._pipe: int | None = None

    def keep(self) -> None:
        """
        Let it wait.
        """
        self._pipe = self._of_twistd.pop("statusPipe", None)

    def tell(self, failure: str = "") -> None:
        """
        Say how it went; what is said later is not heard.
        """
        pipe, self._pipe = self._pipe, None
        if pipe is None:
            return
        # It may have been interrupted.
        with contextlib.suppress(OSError):
            os.write(pipe, b"1 " + failure.encode("ascii", "replace")[:_MOST] if failure else b"0")
        os.close(pipe)
