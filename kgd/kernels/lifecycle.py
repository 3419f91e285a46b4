"""
The life cycle of a kernel, as a table of states, events and effects.

=========== ========================================================================================
new         the kernel waits for room
launching   the first process is being started
starting    a process runs, and has not answered yet
seeding     the process answers, and runs its seed
running     the process answers, and is seeded
failing     it took too long, or failed, to answer or to be seeded, and was killed
backing off the process ended by itself, or could not be started; another follows after a pause
recovering  another process is being started after that pause
restarting  another process is being started because a user asked for it
asked       the kernel was asked to end,
terminated  it got SIGTERM,
killed      it got SIGKILL; each of these once to stop, and once to start another process then
cancelling  to be stopped, but a process is still being started
ended       there is no process, and there will be none
=========== ========================================================================================

The table knows what follows from what. How it is done, and how long each step may take, is decided
by the provider of :py:class:`KernelEffects`. Events return nothing, so that one may come while
another is being handled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from automat import TypeMachineBuilder


class KernelEvents(Protocol):
    """
    What happens to a kernel.
    """

    def start_asked(self) -> None:
        """
        There is room for the kernel: start it. Comes once.
        """

    def launched(self) -> None:
        """
        The launch has succeeded: a process runs.
        """

    def launch_failed(self, reason: str) -> None:
        """
        The launch has failed.
        """

    def launch_postponed(self, reason: str) -> None:
        """
        The launch cannot be carried out at the moment, for want of something that other kernels and
        clients of the gateway have.
        """

    def began_seeding(self) -> None:
        """
        The process answers, and runs its seed.
        """

    def seeding_failed(self, reason: str) -> None:
        """
        The seed has failed.
        """

    def became_ready(self) -> None:
        """
        The process answers, and is seeded.
        """

    def process_ended(self, reason: str) -> None:
        """
        The process is gone.
        """

    def timed_out(self) -> None:
        """
        The present step has taken too long, or a pause is over.
        """

    def restarts_exhausted(self, reason: str) -> None:
        """
        The kernel has failed too often in a row.
        """

    def restart_asked(self) -> None:
        """
        A user wants another process.
        """

    def stop_asked(self) -> None:
        """
        The kernel is to be stopped, or to be stopped sooner.
        """

    def detach_asked(self) -> None:
        """
        The gateway ends, and is to leave the process running.
        """


class KernelEffects(Protocol):
    """
    What is done about the events. An effect that begins a step gives it a time limit.

    Each effect gets the ``reason`` of its event, which is empty for events that have none.
    """

    def launch(self, reason: str) -> None:
        """
        Start a process, at another address as long as none has ever worked. Leads to ``launched``
        or ``launch_failed``.
        """

    def replace(self, reason: str) -> None:
        """
        Start a process in place of the one that a user did not want any more, at its address.
        """

    def count_as_restart(self, reason: str) -> None:
        """
        Take the launch that is under way for the one that a user asks for: what went wrong before
        does not count any more.
        """

    def await_answer(self, reason: str) -> None:
        """
        A process runs: give it time to answer. A kernel without a seed has started.
        """

    def await_seed(self, reason: str) -> None:
        """
        Give the process time to run its seed.
        """

    def report_ready(self, reason: str) -> None:
        """
        The kernel can be used: tell everything that waits for it.
        """

    def back_off(self, reason: str) -> None:
        """
        Count a failure, and pause before the next launch. Leads to ``timed_out`` or
        ``restarts_exhausted``.
        """

    def postpone(self, reason: str) -> None:
        """
        Pause before the same launch is tried again, however often. Leads to ``timed_out``.
        """

    def kill_unseeded(self, reason: str) -> None:
        """
        Kill a process whose seed has failed.
        """

    def kill_overdue(self, reason: str) -> None:
        """
        Kill a process that did not answer, or did not run its seed, in time.
        """

    def ask_to_stop(self, reason: str) -> None:
        """
        Send a shutdown request.
        """

    def ask_to_restart(self, reason: str) -> None:
        """
        Send a shutdown request that says that another process follows.
        """

    def terminate(self, reason: str) -> None:
        """
        Send SIGTERM.
        """

    def kill(self, reason: str) -> None:
        """
        Send SIGKILL.
        """

    def kill_late(self, reason: str) -> None:
        """
        Kill a process that was launched after the kernel's end.
        """

    def shorten_step(self, reason: str) -> None:
        """
        Give the present step no more time than the schedule of the latest stop allows.
        """

    def await_launch(self, reason: str) -> None:
        """
        Give the launch that is under way time to end.
        """

    def fail_waiters(self, reason: str) -> None:
        """
        Tell those that wait for a process that the kernel is being stopped.
        """

    def end_stopped(self, reason: str) -> None:
        """
        The kernel was to be stopped, and is gone.
        """

    def end_launch_failed(self, reason: str) -> None:
        """
        The process that a user waits for could not be started.
        """

    def end_dead(self, reason: str) -> None:
        """
        The kernel has failed too often.
        """

    def end_failed(self, reason: str) -> None:
        """
        The kernel did not answer, or was not seeded, and its process is gone.
        """

    def end_detached(self, reason: str) -> None:
        """
        Leave the process running, with all that is needed to reach it.
        """

    def end_unkillable(self, reason: str) -> None:
        """
        Not even SIGKILL has ended the process, and no further step is left.
        """


_machine: TypeMachineBuilder[KernelEvents, KernelEffects] = TypeMachineBuilder(
    KernelEvents,
    KernelEffects,  # type: ignore[type-abstract]
)
_state = _machine.state
_new = _state("new")
_launching = _state("launching")
_starting = _state("starting")
_running = _state("running")
_seeding = _state("seeding")
_failing = _state("failing")
_backing_off = _state("backing off")
_recovering = _state("recovering")
_restarting = _state("restarting")
_asked_to_stop = _state("asked to stop")
_terminated_to_stop = _state("terminated to stop")
_killed_to_stop = _state("killed to stop")
_asked_to_restart = _state("asked to restart")
_terminated_to_restart = _state("terminated to restart")
_killed_to_restart = _state("killed to restart")
_cancelling = _state("cancelling")
_ended = _state("ended")

_on = KernelEvents
_do = KernelEffects
# State, then rows of an event, the next state, and the effects in their order.
_TABLE: dict[Any, tuple[tuple[Any, ...], ...]] = {
    _new: (
        (_on.start_asked, _launching, _do.launch),
        (_on.restart_asked, _new),
        (_on.stop_asked, _ended, _do.end_stopped),
    ),
    _launching: (
        (_on.launched, _starting, _do.await_answer),
        (_on.launch_failed, _ended, _do.end_launch_failed),
        (_on.launch_postponed, _ended, _do.end_launch_failed),
        (_on.restart_asked, _launching),
        (_on.stop_asked, _cancelling, _do.fail_waiters, _do.await_launch),
    ),
    _starting: (
        (_on.began_seeding, _seeding, _do.await_seed),
        (_on.became_ready, _running, _do.report_ready),
        (_on.process_ended, _backing_off, _do.back_off),
        (_on.timed_out, _failing, _do.kill_overdue),
        (_on.restart_asked, _terminated_to_restart, _do.terminate),
        (_on.stop_asked, _terminated_to_stop, _do.terminate),
        (_on.detach_asked, _ended, _do.end_detached),
    ),
    _seeding: (
        (_on.became_ready, _running, _do.report_ready),
        (_on.seeding_failed, _failing, _do.kill_unseeded),
        (_on.process_ended, _backing_off, _do.back_off),
        (_on.timed_out, _failing, _do.kill_overdue),
        (_on.restart_asked, _terminated_to_restart, _do.terminate),
        (_on.stop_asked, _terminated_to_stop, _do.terminate),
    ),
    _running: (
        (_on.process_ended, _backing_off, _do.back_off),
        (_on.restart_asked, _asked_to_restart, _do.ask_to_restart),
        (_on.stop_asked, _asked_to_stop, _do.ask_to_stop),
        (_on.detach_asked, _ended, _do.end_detached),
    ),
    _failing: (
        (_on.process_ended, _ended, _do.end_failed),
        (_on.timed_out, _ended, _do.end_unkillable),
        (_on.restart_asked, _killed_to_restart, _do.kill),
        (_on.stop_asked, _killed_to_stop, _do.kill),
    ),
    _backing_off: (
        (_on.timed_out, _recovering, _do.launch),
        (_on.restarts_exhausted, _ended, _do.end_dead),
        (_on.restart_asked, _restarting, _do.replace),
        (_on.stop_asked, _ended, _do.end_stopped),
    ),
    _recovering: (
        (_on.launched, _starting, _do.await_answer),
        (_on.launch_failed, _backing_off, _do.back_off),
        (_on.launch_postponed, _backing_off, _do.postpone),
        (_on.restart_asked, _restarting, _do.count_as_restart),
        (_on.stop_asked, _cancelling, _do.fail_waiters, _do.await_launch),
    ),
    _restarting: (
        (_on.launched, _starting, _do.await_answer),
        (_on.launch_failed, _ended, _do.end_launch_failed),
        (_on.launch_postponed, _backing_off, _do.postpone),
        (_on.restart_asked, _restarting),
        (_on.stop_asked, _cancelling, _do.fail_waiters, _do.await_launch),
    ),
    _asked_to_stop: (
        (_on.process_ended, _ended, _do.end_stopped),
        (_on.timed_out, _terminated_to_stop, _do.terminate),
        (_on.restart_asked, _asked_to_stop, _do.fail_waiters),
        (_on.stop_asked, _asked_to_stop, _do.shorten_step),
    ),
    _terminated_to_stop: (
        (_on.process_ended, _ended, _do.end_stopped),
        (_on.timed_out, _killed_to_stop, _do.kill),
        (_on.restart_asked, _terminated_to_stop, _do.fail_waiters),
        (_on.stop_asked, _terminated_to_stop, _do.shorten_step),
    ),
    _killed_to_stop: (
        (_on.process_ended, _ended, _do.end_stopped),
        (_on.timed_out, _ended, _do.end_unkillable),
        (_on.restart_asked, _killed_to_stop, _do.fail_waiters),
        (_on.stop_asked, _killed_to_stop, _do.shorten_step),
    ),
    _asked_to_restart: (
        (_on.process_ended, _restarting, _do.replace),
        (_on.timed_out, _terminated_to_restart, _do.terminate),
        (_on.restart_asked, _asked_to_restart),
        (_on.stop_asked, _asked_to_stop, _do.fail_waiters, _do.shorten_step),
    ),
    _terminated_to_restart: (
        (_on.process_ended, _restarting, _do.replace),
        (_on.timed_out, _killed_to_restart, _do.kill),
        (_on.restart_asked, _terminated_to_restart),
        (_on.stop_asked, _terminated_to_stop, _do.fail_waiters, _do.shorten_step),
    ),
    _killed_to_restart: (
        (_on.process_ended, _restarting, _do.replace),
        (_on.timed_out, _ended, _do.end_unkillable),
        (_on.restart_asked, _killed_to_restart),
        (_on.stop_asked, _killed_to_stop, _do.fail_waiters, _do.shorten_step),
    ),
    _cancelling: (
        (_on.launched, _terminated_to_stop, _do.terminate),
        (_on.launch_failed, _ended, _do.end_stopped),
        (_on.launch_postponed, _ended, _do.end_stopped),
        (_on.timed_out, _ended, _do.end_stopped),
        (_on.restart_asked, _cancelling, _do.fail_waiters),
        (_on.stop_asked, _cancelling, _do.shorten_step),
    ),
    _ended: (
        (_on.start_asked, _ended),
        (_on.launched, _ended, _do.kill_late),
        (_on.launch_failed, _ended),
        (_on.launch_postponed, _ended),
        (_on.process_ended, _ended),
        (_on.restart_asked, _ended),
        (_on.stop_asked, _ended),
    ),
}
# Events that may come in any state, and are ignored where the table does not have them.
_IGNORED = (
    _on.began_seeding,
    _on.seeding_failed,
    _on.became_ready,
    _on.restarts_exhausted,
    _on.detach_asked,
)


def _add(state: Any, event: Callable[..., None], to: Any, *effects: Callable[..., None]) -> None:
    """
    Add a row to the machine.
    """
    names = [effect.__name__ for effect in effects]

    def run_effects(_events: KernelEvents, do: KernelEffects, reason: str = "") -> None:
        for name in names:
            getattr(do, name)(reason)

    state.upon(event).to(to)(run_effects)


def _add_all() -> None:
    for state, rows in _TABLE.items():
        known = set()
        for event, to, *effects in rows:
            known.add(event)
            _add(state, event, to, *effects)
        for event in _IGNORED:
            if event not in known:
                _add(state, event, state)


_add_all()
#: Makes the machine of one kernel from its effects.
new_lifecycle = _machine.build()
