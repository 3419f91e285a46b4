"""
Carries out the life cycle of one kernel: starts and ends its processes, and tells everything that
waits for them.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from zope.interface import implementer

from kgd.deferreds import Waiters
from kgd.errors import KernelStartFailed, NoSuchKernel, RestartFailed
from kgd.interfaces import (
    GATEWAY_SHUTDOWN_REASON,
    SHUT_DOWN_REASON,
    IKernelChannels,
    IKernelLauncher,
    IKernelObserver,
    IRelay,
    LaunchSpec,
)
from kgd.kernels.activity import Activity
from kgd.kernels.lifecycle import new_lifecycle
from kgd.kernels.restart_policy import RestartPolicy, StepTimer, StopSchedule
from kgd.kernels.supervisor import ProcessSupervisor
from kgd.observability.logs import make_logger
from kgd.protocol.connection_file import ConnectionInfo
from kgd.protocol.messages import MsgId
from kgd.protocol.rfc6455 import GOING_AWAY, INTERNAL_ERROR, NORMAL
from kgd.settings import Settings

# Seconds before a launch is tried again for which there were too many open files.
POSTPONED = 1.0


@implementer(IKernelObserver)
class KernelController:
    """
    Provides :py:class:`kgd.kernels.lifecycle.KernelEffects`, and feeds the events that follow.

    :ivar channels: The kernel's channels.
    :ivar events: The life cycle, which takes :py:class:`kgd.kernels.lifecycle.KernelEvents`.
    :ivar has_started: Whether the start has been reported.
    :ivar is_ready: Whether the present process can be used.
    :ivar has_ended: Whether there is no process, and never will be.
    :ivar reason: Why the kernel failed or was culled, or the empty string. The first line says why;
        others are what its process has printed last.
    :ivar stop_reason: What clients are told when the kernel is stopped.
    :ivar stop_schedule: How long the steps of a stop may take.
    :ivar started: Waiters for the first process; the others wait for a process that can be used,
        for a restart, and for the end.
    :param on_crashed: Called whenever the process is gone and another is to take its place.
    :param on_ended: Called once with the reason when the kernel is gone; it is empty unless
        the kernel died by itself or was stopped for one that is worth telling.
    :raises kgd.errors.KernelStartFailed: when the launcher cannot start such a kernel.
    """

    _log = make_logger()

    def __init__(
        self,
        reactor: Any,
        launch_spec: LaunchSpec,
        settings: Settings,
        launcher: IKernelLauncher,
        relay: IRelay,
        activity: Activity,
        on_crashed: Callable[[], None],
        on_ended: Callable[[str], None],
    ) -> None:
        self._launch_spec = launch_spec
        self._kernel_id = launch_spec.kernel_id
        self._settings = settings
        self._activity = activity
        self._on_crashed = on_crashed
        self._on_ended = on_ended
        self._provisioner = launcher.provision(launch_spec)
        self.events = new_lifecycle(self)
        self.supervisor = ProcessSupervisor(
            launch_spec.kernel_id, self._provisioner, self._connect, self.events
        )
        self._timer = StepTimer(reactor, self.events.timed_out)
        self._policy = RestartPolicy(
            reactor.seconds,
            settings.restart_limit if settings.autorestart else 0,
            settings.stable_start_time,
        )
        self.stop_schedule = StopSchedule.usual(settings)
        self.started: Waiters[None] = Waiters()
        self.ready: Waiters[None] = Waiters()
        self.restarted: Waiters[None] = Waiters()
        self.stopped: Waiters[None] = Waiters()
        self.has_ended = False
        self.has_started = False
        self.is_ready = False
        self.reason = ""
        self._output = ""
        self.stop_reason = SHUT_DOWN_REASON
        self._connected = False
        self._was_ready = False
        self._seeding = False
        self._suspended = False
        self.channels: IKernelChannels = relay.open(launch_spec.kernel_id, self)

    # --- starting a process ---

    def launch(self, reason: str) -> None:
        self._timer.cancel()
        self._launch(new_address=not self._was_ready)

    def replace(self, reason: str) -> None:
        self._timer.cancel()
        self._disconnect("KernelRestarted", "the kernel was restarted before it had answered")
        self.count_as_restart(reason)
        self._launch(new_address=False)

    def count_as_restart(self, reason: str) -> None:
        self._policy.reset()
        self.reason = ""
        self._activity.restarted()

    def _launch(self, *, new_address: bool) -> None:
        self._policy.launching()
        self._output = ""
        self._seeding = self.is_ready = self._suspended = False
        self.supervisor.launch(new_address=new_address)

    def _connect(self, connection: ConnectionInfo) -> None:
        self._connected = True
        seed = self._launch_spec.seed
        self.channels.connect(connection, () if seed is None else seed.sources)

    def await_answer(self, reason: str) -> None:
        self._log.info(
            "started {kernel_name} as {kernel_id}, {process}",
            kernel_name=self._launch_spec.spec.name,
            kernel_id=self._kernel_id,
            process=self.supervisor.describe(),
        )
        self._timer.start(self._settings.kernel_info_timeout)
        if self._launch_spec.seed is None:
            self._report_start()

    def _report_start(self) -> None:
        self.has_started = True
        self.started.fire(None)
        self.restarted.fire(None)

    def await_seed(self, reason: str) -> None:
        self._seeding = True
        self._timer.start(self._settings.seed_timeout)

    def report_ready(self, reason: str) -> None:
        self._timer.cancel()
        self._was_ready = self.is_ready = True
        self._policy.became_ready()
        self.reason = ""
        self._activity.became_ready()
        self._report_start()
        self.ready.fire(None)

    # --- what the channels see ---

    def became_ready(self) -> None:
        self.supervisor.after_launch(self.events.became_ready)

    def began_seeding(self) -> None:
        self.supervisor.after_launch(self.events.began_seeding)

    def seeding_failed(self, index: int, error: str) -> None:
        assert self._launch_spec.seed is not None
        cell, _ = self._launch_spec.seed.cells[index]
        reason = f"cell {cell} of the seed notebook failed: {error}"
        self.supervisor.after_launch(lambda: self.events.seeding_failed(reason))

    def published(
        self,
        msg_type: str,
        parent_type: str,
        execution_state: str | None,
        shell: bytes = b"",
        msg_id: MsgId = "",
    ) -> None:
        self._activity.published(msg_type, parent_type, execution_state, shell, msg_id)

    # --- signals that change nothing in the life cycle ---

    def interrupt(self) -> None:
        """
        Interrupt what the kernel is doing, in the way that its kernelspec says. A kernel that does
        not answer yet is left alone: a signal could end it.
        """
        if not (self.is_ready or self._seeding):
            return
        self.resume()
        if self._launch_spec.spec.interrupt_mode == "message":
            self.channels.request_interrupt()
        else:
            self.supervisor.signal(signal.SIGINT)

    def suspend(self) -> None:
        """
        Stop the process until :py:meth:`resume`.
        """
        if not self._suspended:
            self._suspended = True
            self.supervisor.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """
        Let a suspended process go on.
        """
        if self._suspended:
            self._suspended = False
            self.supervisor.signal(signal.SIGCONT)

    # --- a process has failed ---

    def back_off(self, reason: str) -> None:
        self._note_output()
        self._disconnect("KernelDied", f"the kernel died: {self._explained(reason)}")
        self.is_ready = False
        if self._seeding and not self._was_ready:
            # It would die of its seed again and again.
            self._timer.cancel()
            self.events.restarts_exhausted(f"{reason}, while the seed notebook ran")
            return
        pause = self._policy.failed(reason, self._output.rpartition("\n")[2])
        if pause is None or (self._was_ready and not self._launch_spec.revive):
            self._timer.cancel()
            self.events.restarts_exhausted(reason)
            return
        self._log.warn(
            "kernel {kernel_id} ended: {reason}; restarting it",
            kernel_id=self._kernel_id,
            reason=reason,
        )
        self._timer.start(pause)
        self._restart_later(self._explained(reason))
        self._on_crashed()

    def _restart_later(self, reason: str) -> None:
        self.reason = reason
        self._activity.crashed()
        self.channels.publish_status("restarting", reason)

    def postpone(self, reason: str) -> None:
        # What the failed launch has opened.
        self._disconnect("KernelDied", f"the kernel could not be started: {reason}")
        self._log.warn(
            "kernel {kernel_id} cannot be started at the moment: {reason}; trying again",
            kernel_id=self._kernel_id,
            reason=reason,
        )
        self._timer.start(POSTPONED)
        if self.reason != reason:
            self._restart_later(reason)

    def _note_output(self) -> None:
        """
        Take what the process printed last, if it has never answered: later output need not have to
        do with its end, and what a seed prints is not for clients. It may be a traceback.
        """
        shown = self._settings.allow_tracebacks and not (self.is_ready or self._seeding)
        self._output = self.supervisor.last_output if shown else ""

    def _explained(self, reason: str) -> str:
        """
        :return: The reason with what the process printed last.
        """
        return f"{reason}\n{self._output}" if self._output else reason

    def _disconnect(self, ename: str, evalue: str) -> None:
        if self._connected:
            self._connected = False
            self.channels.disconnect(ename, evalue)

    def kill_unseeded(self, reason: str) -> None:
        self.reason = reason
        self.kill(reason)

    def kill_overdue(self, reason: str) -> None:
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
        self.kill(reason)

    # --- a process is to end ---

    def ask_to_stop(self, reason: str) -> None:
        self._request_shutdown(restart=False)

    def ask_to_restart(self, reason: str) -> None:
        self._request_shutdown(restart=True)

    def _request_shutdown(self, *, restart: bool) -> None:
        self._timer.start(self.stop_schedule.asked)
        self.resume()
        if self._activity.execution_state == "busy" and self.supervisor.is_running:
            # Many kernels read the request only when they have nothing else to do.
            self.interrupt()
        self.channels.request_shutdown(restart)

    def terminate(self, reason: str) -> None:
        self._timer.start(self.stop_schedule.terminated)
        self.supervisor.signal(signal.SIGTERM)

    def kill(self, reason: str) -> None:
        self._timer.start(self.stop_schedule.killed)
        self.supervisor.signal(signal.SIGKILL)

    def kill_late(self, reason: str) -> None:
        self.supervisor.signal(signal.SIGKILL)

    def shorten_step(self, reason: str) -> None:
        self._timer.shorten(self.stop_schedule.longest)

    def await_launch(self, reason: str) -> None:
        self._timer.start(self.stop_schedule.asked + self.stop_schedule.terminated)

    # --- the kernel ends ---

    def fail_waiters(self, reason: str) -> None:
        self._fail_waiters(
            lambda: KernelStartFailed("The kernel was stopped while it started"),
            lambda: NoSuchKernel(f"Kernel does not exist: {self._kernel_id}"),
        )

    def _fail_waiters(
        self, start: Callable[[], Exception], restart: Callable[[], Exception]
    ) -> None:
        self.started.fail(start)
        self.ready.fail(start)
        self.restarted.fail(restart)

    def end_stopped(self, reason: str) -> None:
        self.reason = "" if self.stop_reason == SHUT_DOWN_REASON else self.stop_reason
        self._end(NORMAL, self.stop_reason)
        self.fail_waiters(reason)
        self.stopped.fire(None)

    def end_launch_failed(self, reason: str) -> None:
        self._end_with_failure(reason)

    def end_dead(self, reason: str) -> None:
        self._end_with_failure(reason + self._policy.describe_restarts())

    def end_failed(self, reason: str) -> None:
        self._note_output()
        # The reason of this event is only how the process ended that was killed.
        self._end_with_failure(self.reason)

    def end_detached(self, reason: str) -> None:
        self._log.info(
            "kernel {kernel_id} is kept: {process}",
            kernel_id=self._kernel_id,
            process=self._provisioner.detach(),
        )
        self.supervisor.abandon()
        self._close(GOING_AWAY, GATEWAY_SHUTDOWN_REASON)
        self.fail_waiters(reason)

    def end_unkillable(self, reason: str) -> None:
        self._log.error(
            "kernel {kernel_id}: not even SIGKILL ends {process}; see what holds it",
            kernel_id=self._kernel_id,
            process=self.supervisor.describe(),
        )
        self.supervisor.abandon()
        self._end_with_failure("its process cannot be killed")

    def _end_with_failure(self, reason: str) -> None:
        explained = self._explained(reason)
        # No client asks about a kernel that has never started.
        self.reason = explained if self.has_started else ""
        self._log.error(
            "kernel {kernel_id} died: {reason}", kernel_id=self._kernel_id, reason=explained
        )
        self._disconnect("KernelDied", f"the kernel died: {explained}")
        self.channels.publish_status("dead", explained)
        self._end(NORMAL if self._was_ready else INTERNAL_ERROR, f"The kernel died: {reason}")
        self._fail_waiters(
            lambda: KernelStartFailed(explained),
            lambda: RestartFailed(f"Exception restarting kernel: {explained}"),
        )
        self.stopped.fire(None)

    def _end(self, code: int, reason: str) -> None:
        self._close(code, reason)
        self._provisioner.cleanup()
        self._on_ended(self.reason)

    def _close(self, code: int, reason: str) -> None:
        self._timer.cancel()
        self.has_ended = True
        self.is_ready = False
        self._activity.ended()
        self._connected = False
        self.channels.close(code, reason)
