"""
Being told to stop before there is anything to stop.
"""

from __future__ import annotations

import os
import signal
from types import FrameType


def leave_when_told() -> None:
    """
    Until the gateway has handlers of its own, which is when it begins to start something, let
    SIGTERM and SIGINT end the process with 0, as they do later.
    """
    for signum in (signal.SIGTERM, signal.SIGINT):
        # Who starts us in the background of a shell may have us ignore the latter.
        if signal.getsignal(signum) is not signal.SIG_IGN:
            signal.signal(signum, _leave)


def _leave(signum: int, frame: FrameType | None) -> None:
    # An exception could be caught by whatever is being imported.
    os._exit(0)
