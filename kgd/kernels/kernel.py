"""
One kernel, as the registry and its users see it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from kgd.errors import NoSuchKernel
from kgd.interfaces import (
    SHUT_DOWN_REASON,
    IKernel,
    IKernelChannels,
    IKernelLauncher,
    IRelay,
    KernelSpec,
    LaunchSpec,
)
from kgd.kernels.activity import Activity
from kgd.kernels.controller import KernelController
from kgd.kernels.restart_policy import StopSchedule
from kgd.settings import Settings


@implementer(IKernel)
class Kernel:
    """
    A kernel over all the processes that it has in its life. Each Deferred that it returns belongs
    to one caller; cancelling it changes nothing for the kernel or for other callers.

    :ivar launch_spec: What it is made of.
    :param on_crashed: Called whenever its process has died and another is to take its place.
    :param on_ended: Called once when the kernel is gone; has the reason if it died by itself or was
        stopped for one that is worth telling.
    :raises kgd.errors.KernelStartFailed: when the launcher cannot start such a kernel.
    """

    def __init__(
        self,
        reactor: Any,
        launch_spec: LaunchSpec,
        settings: Settings,
        launcher: IKernelLauncher,
        relay: IRelay,
        on_crashed: Callable[[], None],
        on_ended: Callable[[str], None],
        wall_clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.launch_spec = launch_spec
        self.kernel_id: str = launch_spec.kernel_id
        self.spec: KernelSpec = launch_spec.spec
        self.name: str = launch_spec.spec.name
        self._settings = settings
        self._monotonic = monotonic
        self.started: float = monotonic()
        self.stopping: bool = False
        self._activity = Activity(wall_clock, monotonic, settings.untracked_message_types)
        self._controller = KernelController(
            reactor, launch_spec, settings, launcher, relay, self._activity, on_crashed, on_ended
        )
        self.channels: IKernelChannels = self._controller.channels

    @property
    def execution_state(self) -> str:
        return self._activity.execution_state

    @property
    def last_activity(self) -> float:
        return self._activity.last_activity

    @property
    def last_used(self) -> float:
        return self._activity.last_used

    @property
    def busy_since(self) -> float | None:
        return self._activity.busy_since

    @property
    def connections(self) -> int:
        return self.channels.connections

    @property
    def reason(self) -> str:
        return self._controller.reason

    @property
    def working_directory(self) -> str:
        return self.launch_spec.cwd

    # --- what users want ---

    def start(self) -> None:
        """
        Start the first process. To be called once; a kernel that was stopped before stays so.
        """
        self._controller.events.start_asked()

    def when_started(self) -> Deferred[IKernel]:
        """
        :return: Fires when the first process runs; fails with
            :py:exc:`kgd.errors.KernelStartFailed`.
        """
        if self._controller.has_started:
            return succeed(self)
        started: Deferred[Any] = self._controller.started.wait()
        return started.addCallback(lambda _: self)

    def when_ready(self) -> Deferred[None]:
        return succeed(None) if self.is_ready else self._controller.ready.wait()

    @property
    def is_ready(self) -> bool:
        """
        Whether it can be used at the moment.
        """
        return self._controller.is_ready

    def hand_out(self) -> None:
        """
        Count a spare kernel as started now: a client gets it.
        """
        self.started = self._monotonic()
        self._activity.handed_out()

    def interrupt(self) -> None:
        """
        Interrupt what the kernel is doing, if anything.
        """
        self._controller.interrupt()

    def suspend(self) -> None:
        """
        Stop its process until it is resumed, interrupted, restarted or stopped.
        """
        self._controller.suspend()

    def resume(self) -> None:
        """
        Let its process go on, if it is suspended.
        """
        self._controller.resume()

    def restart(self) -> Deferred[None]:
        """
        Replace the process. Calls during a restart share it.

        :return: Fires when the new one runs. Fails with :py:exc:`kgd.errors.RestartFailed`, or
            with :py:exc:`kgd.errors.NoSuchKernel` if the kernel is stopped instead.
        """
        if self._controller.has_ended:
            return fail(NoSuchKernel(f"Kernel does not exist: {self.kernel_id}"))
        restarting = self._controller.restarted.wait()
        self._controller.events.restart_asked()
        return restarting

    def stop(self, reason: str = SHUT_DOWN_REASON, *, hurried: bool = False) -> Deferred[None]:
        """
        End the process and the kernel.

        :param reason: For clients, also later ones; of several stops the first one's counts.
        :param hurried: Whether it must be done within 5 seconds.
        :return: Fires when that is done.
        """
        if self._controller.has_ended:
            return succeed(None)
        if not self.stopping:
            self.stopping = True
            self._controller.stop_reason = reason
        if hurried:
            self._controller.stop_schedule = StopSchedule.hurried(self._settings)
        stopping = self._controller.stopped.wait()
        self._controller.events.stop_asked()
        return stopping

    def detach(self) -> bool:
        """
        Leave the process running without the gateway, and its connection file where it is.

        :return: Whether that was done. A kernel that has not run its seed yet, that is between two
            processes or that is being stopped cannot be left, and has to be stopped.
        """
        if self.is_ready or self.launch_spec.seed is None:
            self._controller.resume()
            self._controller.events.detach_asked()
        return self._controller.has_ended
