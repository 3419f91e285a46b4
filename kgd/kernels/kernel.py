"""
One kernel.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from kgd.errors import NoSuchKernel
from kgd.interfaces import (
    SHUT_DOWN,
    IKernel,
    IKernelChannels,
    IKernelLauncher,
    IKernelObserver,
    IRelay,
    KernelSpec,
)
from kgd.kernels.activity import Activity
from kgd.kernels.controller import KernelController
from kgd.kernels.local.transport import KernelAddress
from kgd.kernels.restart_policy import StopSchedule
from kgd.kernels.supervisor import LaunchSpec
from kgd.settings import Settings


@implementer(IKernel, IKernelObserver)
class Kernel:
    """
    A kernel over all the processes that it has in its life. Every Deferred that it gives away
    belongs to one asker; cancelling it changes nothing for the kernel or for others.

    :ivar plan: What it is made of.
    :ivar spec: The kernelspec that it was made from.
    :ivar started: When that was, or when it was handed out, on the monotonic clock.
    :ivar stopping: Whether somebody wants it gone, from which there is no way back.
    :param address: Where it will listen.
    :param forget: Called once when the kernel is gone, with the reason if it died by itself or was
        stopped for one that is worth telling.
    :param crashed: Called whenever its process has died and another is to take its place.
    """

    def __init__(
        self,
        reactor: Any,
        plan: LaunchSpec,
        settings: Settings,
        launcher: IKernelLauncher,
        relay: IRelay,
        address: KernelAddress,
        forget: Callable[[str], None],
        crashed: Callable[[], None],
        wall_clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.plan = plan
        self.kernel_id: str = plan.kernel_id
        self.name: str = plan.spec.name
        self.spec: KernelSpec = plan.spec
        self._monotonic = monotonic
        self.started: float = monotonic()
        self.stopping: bool = False
        self._settings = settings
        self._activity = Activity(wall_clock, monotonic, settings.untracked_message_types)
        self._work = KernelController(
            reactor, plan, settings, launcher, address, self._activity, forget, crashed
        )
        self._work.kernel = self
        self.channels: IKernelChannels = relay.open(plan.kernel_id, self)
        self._work.channels = self.channels

    @property
    def execution_state(self) -> str:
        """
        ``starting``, ``idle``, ``busy``, ``restarting`` or ``dead``.
        """
        return self._activity.execution_state

    @property
    def last_activity(self) -> float:
        """
        When it was last used, in seconds since the epoch.
        """
        return self._activity.last_activity

    @property
    def last_used(self) -> float:
        """
        The same on the monotonic clock; as long as it is being started, it is in use.
        """
        return self._activity.last_used

    @property
    def busy_since(self) -> float | None:
        """
        Since when it has been busy without a break, on that clock, or ``None``.
        """
        return self._activity.busy_since

    @property
    def connections(self) -> int:
        """
        How many WebSockets are open on it.
        """
        return self.channels.connections

    @property
    def reason(self) -> str:
        """
        Why it failed or was culled, or the empty string.
        """
        return self._work.reason

    # --- what users want ---

    def start(self) -> Deferred[IKernel]:
        """
        Start the first process. To be called once.

        :return: Fires when it runs; fails with :py:exc:`kgd.errors.KernelStartFailed`.
        """
        starting = self._work.askers.started.wait()
        self._work.events.start_asked()
        return starting

    def when_started(self) -> Deferred[IKernel]:
        """
        :return: As :py:meth:`start`, for those who come later.
        """
        return succeed(self) if self._work.has_run else self._work.askers.started.wait()

    def when_ready(self) -> Deferred[None]:
        """
        :return: Fires when the kernel can be used; fails as :py:meth:`start` if it never will.
        """
        return succeed(None) if self._work.is_ready else self._work.askers.ready.wait()

    @property
    def is_ready(self) -> bool:
        """
        Whether it can be used at the moment.
        """
        return self._work.is_ready

    def hand_out(self) -> None:
        """
        From now on somebody uses it.
        """
        self.started = self._monotonic()
        self._activity.handed_out()

    def interrupt(self) -> None:
        """
        Interrupt what the kernel is doing, if anything.
        """
        self._work.interrupt()

    def hold(self, hold: bool) -> None:
        """
        Let its process stand still, or go on.
        """
        self._work.hold(hold)

    def restart(self) -> Deferred[None]:
        """
        Replace the process. Whoever asks while that is being done gets the same one.

        :return: Fires when the new one runs. Fails with :py:exc:`kgd.errors.RestartFailed`, or
            with :py:exc:`kgd.errors.NoSuchKernel` if the kernel is stopped instead.
        """
        if self._work.gone:
            return fail(NoSuchKernel(f"Kernel does not exist: {self.kernel_id}"))
        restarting = self._work.askers.restarted.wait()
        self._work.events.restart_asked()
        return restarting

    def stop(self, reason: str = SHUT_DOWN, *, hurried: bool = False) -> Deferred[None]:
        """
        End the process and the kernel.

        :param reason: For the clients, and those who ask later; of several the first counts.
        :param hurried: Whether it must be done within 5 seconds.
        :return: Fires when that is done.
        """
        if self._work.gone:
            return succeed(None)
        if not self.stopping:
            self.stopping = True
            self._work.stop_reason = reason
        if hurried:
            self._work.schedule = StopSchedule.hurried(self._settings)
        stopping = self._work.askers.stopped.wait()
        self._work.events.stop_asked()
        return stopping

    def leave(self) -> bool:
        """
        Leave the process as it is, and its connection file, for whoever comes after the gateway.

        :return: Whether that was done. It is not for a kernel that has not run its seed yet, or
            that is between two processes or at its end; such a one has to be stopped.
        """
        if self.is_ready or self.plan.seed is None:
            self._work.hold(False)
            self._work.events.leave_asked()
        return self._work.gone

    # --- what the channels see ---

    def became_ready(self) -> None:
        """
        The present process answers, its output reaches us, and it has run its seed.
        """
        self._work.process.says(self._work.events.became_ready)

    def began_seeding(self) -> None:
        """
        The present process answers, and begins to run its seed.
        """
        self._work.process.says(self._work.events.began_seeding)

    def seeding_failed(self, index: int, error: str) -> None:
        """
        A cell of the seed has failed.
        """
        self._work.process.says(lambda: self._work.seeding_failed(index, error))

    def published(self, msg_type: str, parent_type: str, execution_state: str | None) -> None:
        """
        The kernel sent a message on iopub.
        """
        self._activity.published(msg_type, parent_type, execution_state)
