"""
Those who wait for something that they asked of a kernel.
"""

from __future__ import annotations

from collections.abc import Callable

from kgd.errors import KernelStartFailed, NoSuchKernel, RestartFailed
from kgd.interfaces import IKernel
from kgd.waiters import Waiters


class Askers:
    """
    Who waits for a kernel's start, its first answer, its restart and its end.
    """

    def __init__(self, kernel_id: str) -> None:
        self._kernel_id = kernel_id
        self.started: Waiters[IKernel] = Waiters()
        self.ready: Waiters[None] = Waiters()
        self.restarted: Waiters[None] = Waiters()
        self.stopped: Waiters[None] = Waiters()

    def greet(self, kernel: IKernel) -> None:
        """
        A process runs.
        """
        self.started.fire(kernel)
        self.restarted.fire(None)

    def turn_away(self) -> None:
        """
        No process will run, because somebody wants the kernel gone.
        """
        self._fail(
            lambda: KernelStartFailed("The kernel was stopped while it started"),
            lambda: NoSuchKernel(f"Kernel does not exist: {self._kernel_id}"),
        )

    def disappoint(self, reason: str) -> None:
        """
        No process will run, because something went wrong.
        """
        self._fail(
            lambda: KernelStartFailed(reason),
            lambda: RestartFailed(f"Exception restarting kernel: {reason}"),
        )

    def _fail(self, start: Callable[[], Exception], restart: Callable[[], Exception]) -> None:
        self.started.fail(start)
        self.ready.fail(start)
        self.restarted.fail(restart)
