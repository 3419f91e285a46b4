"""
Defers signals that arrive before the gateway can act on them.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

# Without a handler, these would end the process.
_BLOCKED = (signal.SIGHUP, signal.SIGUSR1)


def exit_on_stop_signals() -> None:
    """
    Let SIGTERM and SIGINT end the process with 0, as they do later, and block other signals, until
    the gateway installs its own handlers when it begins to start something.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _BLOCKED)
    for signum in (signal.SIGTERM, signal.SIGINT):
        # A shell that starts us in the background may have us ignore SIGINT.
        if signal.getsignal(signum) is not signal.SIG_IGN:
            signal.signal(signum, _exit)


def deliver_blocked_signals() -> None:
    """
    Deliver the signals that have arrived in the meantime to the gateway's handlers.
    """
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _BLOCKED)


def _exit(signum: int, frame: FrameType | None) -> None:
    # A module that is being imported could catch an exception.
    os._exit(0)
