"""
Being told something before there is anything that could do it.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

# Without a handler they would end the process.
_FOR_LATER = (signal.SIGHUP, signal.SIGUSR1)


def leave_when_told() -> None:
    """
    Until the gateway has handlers of its own, which is when it begins to start something, let
    SIGTERM and SIGINT end the process with 0, as they do later; other signals wait.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _FOR_LATER)
    for signum in (signal.SIGTERM, signal.SIGINT):
        # Who starts us in the background of a shell may have us ignore the latter.
        if signal.getsignal(signum) is not signal.SIG_IGN:
            signal.signal(signum, _leave)


def hear_the_rest() -> None:
    """
    The gateway has its handlers: let it have the signals that have waited.
    """
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _FOR_LATER)


def _leave(signum: int, frame: FrameType | None) -> None:
    # An exception could be caught by whatever is being imported.
    os._exit(0)
