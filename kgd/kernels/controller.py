"""
What is done for one kernel: the effects of its life cycle.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from kgd.deferreds import Waiters
from kgd.errors import KernelStartFailed, NoSuchKernel, RestartFailed
from kgd.interfaces import GATEWAY_SHUTS_DOWN, SHUT_DOWN, IKernel, IKernelChannels, IKernelLauncher
from kgd.kernels.activity import Activity
from kgd.kernels.lifecycle import new_lifecycle
from kgd.kernels.local.transport import KernelAddress
from kgd.kernels.restart_policy import RestartPolicy, StepTimer, StopSchedule
from kgd.kernels.supervisor import LaunchSpec, ProcessSupervisor
from kgd.observability.logs import make_logger
from kgd.protocol.connection_file import ConnectionInfo
from kgd.protocol.rfc6455 import GOING_AWAY, INTERNAL_ERROR, NORMAL
from kgd.settings import Settings


class KernelWaiters:
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


class KernelController:
    """
    Provides :py:class:`kgd.kernels.lifecycle.KernelEffects`, and feeds the events that follow.

    :ivar has_run: Whether a start has been reported.
    :ivar is_ready: Whether the present process can be used.
    :ivar gone: Whether there is no process any more, and never will be.
    :ivar reason: Why the kernel failed or was culled, or the empty string.
    :ivar stop_reason: What clients are told when somebody wanted the kernel gone.
    :param crashed: Called whenever the process is gone and another is to take its place.
    :param forget: Called once, with the reason, when the kernel is gone; the reason is empty unless
        it died by itself or was stopped for one that is worth telling.
    """

    _log = make_logger()

    def __init__(
        self,
        reactor: Any,
        plan: LaunchSpec,
        settings: Settings,
        launcher: IKernelLauncher,
        address: KernelAddress,
        activity: Activity,
        forget: Callable[[str], None],
        crashed: Callable[[], None],
    ) -> None:
        self._reactor = reactor
        self._plan = plan
        self._settings = settings
        self._address = address
        self._activity = activity
        self._forget = forget
        self._crashed = crashed
        self.channels: IKernelChannels
        self.kernel: IKernel
        self.events = new_lifecycle(self)
        self.schedule = StopSchedule.usual(settings)
        self.askers = KernelWaiters(plan.kernel_id)
        self.gone = False
        self.has_run = False
        self.reason = ""
        self.stop_reason = SHUT_DOWN
        self.process = ProcessSupervisor(plan, launcher, address, self._connect, self.events)
        self._patience = StepTimer(reactor, self.events.patience_ended)
        self._connected = False
        self._was_ready = False
        self._seeding = False
        self._held = False
        self.is_ready = False
        self._failures = RestartPolicy(
            reactor.seconds,
            settings.restart_limit if settings.autorestart else 0,
            settings.stable_start_time,
        )

    # --- starting a process ---

    def launch(self) -> None:
        """
        Start a process; on other ports as long as these have never worked.
        """
        self._patience.end()
        self._launch(new_ports=not self._was_ready)

    def replace(self) -> None:
        """
        Start another process just like the last.
        """
        self._patience.end()
        self._disconnect("KernelRestarted", "the kernel was restarted before it had answered")
        self.promote()
        self._launch(new_ports=False)

    def promote(self) -> None:
        """
        What went wrong before does not count any more.
        """
        self._failures.forgive()
        self.reason = ""
        self._activity.restarted()

    def _launch(self, *, new_ports: bool) -> None:
        self._failures.launching()
        self._seeding = self.is_ready = self._held = False
        self.process.launch(new_ports=new_ports)

    def _connect(self, connection: ConnectionInfo) -> None:
        self._connected = True
        self.channels.connect(connection, self._plan.pieces)

    def greet(self) -> None:
        """
        Wait for the first answer. Those who wait for the start of a kernel without a seed wait no
        longer.
        """
        self._log.info(
            "started {kernel_name} as {kernel_id}, process {pid}",
            kernel_name=self._plan.spec.name,
            kernel_id=self._plan.kernel_id,
            pid=self.process.pid,
        )
        self._patience.wait(self._settings.kernel_info_timeout)
        if self._plan.seed is None:
            self._report_start()

    def _report_start(self) -> None:
        self.has_run = True
        self.askers.greet(self.kernel)

    def watch_seed(self) -> None:
        """
        Give the seed its time.
        """
        self._seeding = True
        self._patience.wait(self._settings.seed_timeout)

    def seeding_failed(self, index: int, error: str) -> None:
        """
        Not an effect: a piece of the seed has failed.
        """
        assert self._plan.seed is not None
        cell, _ = self._plan.seed.cells[index]
        self.events.seeding_failed(f"cell {cell} of the seed notebook failed: {error}")

    def reject(self, reason: str) -> None:
        """
        Kill a process that cannot be seeded.
        """
        self.reason = reason
        self.kill()

    def settle(self) -> None:
        """
        The kernel is usable.
        """
        self._patience.end()
        self._was_ready = self.is_ready = True
        self._failures.became_ready()
        self.reason = ""
        self._activity.became_ready()
        self._report_start()
        self.askers.ready.fire(None)

    def interrupt(self) -> None:
        """
        Not an effect: interrupt what the kernel is doing, in the way that its kernelspec says. One
        that does not answer yet does nothing, and a signal could end it.
        """
        if not (self.is_ready or self._seeding):
            return
        self.hold(False)
        if self._plan.spec.interrupt_mode == "message":
            self.channels.request_interrupt()
        else:
            self.process.signal(signal.SIGINT)

    def hold(self, hold: bool) -> None:
        """
        Not an effect: let the process stand still, or go on.
        """
        if hold != self._held:
            self._held = hold
            self.process.signal(signal.SIGSTOP if hold else signal.SIGCONT)

    # --- a process ended by itself, or should have ---

    def rest(self, reason: str) -> None:
        """
        Count the failure, and pause.
        """
        self._disconnect("KernelDied", f"the kernel died: {reason}")
        self.is_ready = False
        if self._seeding and not self._was_ready:
            # It would die of its seed again and again.
            self._patience.end()
            self.events.hope_ended(f"{reason}, while the seed notebook ran")
            return
        rest = self._failures.failed()
        if rest is None or (self._was_ready and not self._plan.revive):
            self._patience.end()
            self.events.hope_ended(reason)
            return
        self._log.warn(
            "kernel {kernel_id} ended: {reason}; restarting it",
            kernel_id=self._plan.kernel_id,
            reason=reason,
        )
        self._patience.wait(rest)
        self.reason = reason
        self._activity.crashed()
        self._crashed()
        self.channels.publish_status("restarting")

    def _disconnect(self, ename: str, evalue: str) -> None:
        if self._connected:
            self._connected = False
            self.channels.disconnect(ename, evalue)

    def overrun(self) -> None:
        """
        Kill a process that did not answer in time.
        """
        if self._seeding:
            self.reason = (
                f"did not get through its seed notebook within {self._settings.seed_timeout:g} s; "
                "if it needs longer, raise --seed-timeout"
            )
        else:
            self.reason = (
                f"did not answer within {self._settings.kernel_info_timeout:g} s; if it needs "
                "longer to start, raise --kernel-info-timeout"
            )
        self.kill()

    # --- a process shall end ---

    def ask_to_stop(self) -> None:
        """
        Ask the kernel to end.
        """
        self._ask(restart=False)

    def ask_to_restart(self) -> None:
        """
        Ask the kernel to end, for another will follow.
        """
        self._ask(restart=True)

    def _ask(self, *, restart: bool) -> None:
        self._patience.wait(self.schedule.asked)
        self.hold(False)
        if self._activity.execution_state == "busy" and self.process.pid is not None:
            # Many kernels read the request only when they have nothing else to do.
            self.interrupt()
        self.channels.request_shutdown(restart)

    def terminate(self) -> None:
        """
        Send SIGTERM.
        """
        self._patience.wait(self.schedule.terminated)
        self.process.signal(signal.SIGTERM)

    def kill(self) -> None:
        """
        Send SIGKILL.
        """
        self._patience.wait(self.schedule.killed)
        self.process.signal(signal.SIGKILL)

    def hurry(self) -> None:
        """
        Adopt the schedule of whoever wants the stop.
        """
        self._patience.limit(self.schedule.longest)

    def abandon(self) -> None:
        """
        Wait for the launch that is under way.
        """
        self._patience.wait(self.schedule.asked + self.schedule.terminated)

    def discard(self) -> None:
        """
        Kill a process that came too late.
        """
        self.process.signal(signal.SIGKILL)

    # --- the kernel's end ---

    def turn_away(self) -> None:
        """
        Disappoint everybody who waits for a process.
        """
        self.askers.turn_away()

    def end_stopped(self) -> None:
        """
        A user wanted the kernel gone.
        """
        self.reason = "" if self.stop_reason == SHUT_DOWN else self.stop_reason
        self._end(NORMAL, self.stop_reason)
        self.askers.turn_away()
        self.askers.stopped.fire(None)

    def end_unlaunched(self, reason: str) -> None:
        """
        The process that a user waits for could not be started.
        """
        self._end_failed(reason)

    def end_dead(self, reason: str) -> None:
        """
        The kernel has failed once too often.
        """
        self._end_failed(reason + self._failures.in_vain())

    def end_overdue(self) -> None:
        """
        The kernel did not answer in time.
        """
        self._end_failed(self.reason)

    def end_left(self) -> None:
        """
        Leave the process, and what others need to reach it.
        """
        self._log.info(
            "kernel {kernel_id} is kept: process {pid}, connection file {file}",
            kernel_id=self._plan.kernel_id,
            pid=self.process.pid,
            file=str(self._address.file),
        )
        self.process.disown()
        self._close(GOING_AWAY, GATEWAY_SHUTS_DOWN)
        self.askers.turn_away()

    def end_unkillable(self) -> None:
        """
        Even SIGKILL did not help.
        """
        self._log.error(
            "kernel {kernel_id}: not even SIGKILL ends process {pid}; see what holds it",
            kernel_id=self._plan.kernel_id,
            pid=self.process.pid,
        )
        self.process.disown()
        self._end_failed("its process cannot be killed")

    def _end_failed(self, reason: str) -> None:
        # Nobody asks about a kernel that never was.
        self.reason = reason if self.has_run else ""
        self._log.error(
            "kernel {kernel_id} died: {reason}", kernel_id=self._plan.kernel_id, reason=reason
        )
        self._disconnect("KernelDied", f"the kernel died: {reason}")
        self.channels.publish_status("dead")
        self._end(NORMAL if self._was_ready else INTERNAL_ERROR, f"The kernel died: {reason}")
        self.askers.disappoint(reason)
        self.askers.stopped.fire(None)

    def _end(self, code: int, reason: str) -> None:
        self._close(code, reason)
        self._address.give_up()
        self._forget(self.reason)

    def _close(self, code: int, reason: str) -> None:
        self._patience.end()
        self.gone = True
        self.is_ready = False
        self._activity.ended()
        self._connected = False
        self.channels.close(code, reason)
