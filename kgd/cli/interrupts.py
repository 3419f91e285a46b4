"""
Ctrl-C while code runs: the first one interrupts the code, the second one ends the command.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from kgd.client.values import ClientError


class Interrupts:
    """
    What is to be interrupted at the moment.

    :param notify: Called when code is being interrupted.
    """

    def __init__(self, notify: Callable[[], object]) -> None:
        self._notify = notify
        self._interrupt: Callable[[], object] | None = None
        self.was_interrupted = False

    def set_target(self, interrupt: Callable[[], object] | None) -> None:
        """
        :param interrupt: Interrupts what runs; ``None`` when nothing does.
        """
        self._interrupt = interrupt

    @contextlib.contextmanager
    def handled(self) -> Iterator[None]:
        """
        Take Ctrl-C, and have SIGTERM and SIGHUP end the command in order.
        """
        before = {
            signal.SIGINT: signal.signal(signal.SIGINT, self._pressed),
            signal.SIGTERM: signal.signal(signal.SIGTERM, _end),
            signal.SIGHUP: signal.signal(signal.SIGHUP, _end),
        }
        try:
            yield
        finally:
            for signum, handler in before.items():
                signal.signal(signum, handler)

    def _pressed(self, signum: int, frame: FrameType | None) -> None:
        if self.was_interrupted or self._interrupt is None:
            # The gateway must be able to end while nobody waits any more.
            self._interrupt = None
            raise KeyboardInterrupt
        self.was_interrupted = True
        # The main thread goes on reading what comes of it.
        threading.Thread(target=self._carry_out, args=(self._interrupt,), daemon=True).start()

    def _carry_out(self, interrupt: Callable[[], object]) -> None:
        self._notify()
        # It may just have ended; a second Ctrl-C helps in any case.
        with contextlib.suppress(ClientError):
            interrupt()


def _end(signum: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + signum)
