"""
The life of a kernel, as a table.

=========== ========================================================================================
launching   the first process is being started
starting    a process runs, and has not answered yet
seeding     it answers, and runs its seed
running     it answers
overdue     it took too long, or failed, to answer or to be seeded, and was killed
resting     the process ended by itself; another follows after a pause
recovering  another process is being started after that
restarting  another process is being started because a user wants it
asked       the kernel was asked to end,
terminated  it got SIGTERM,
killed      it got SIGKILL; each of these once to stop, and once to start another process then
abandoning  to be stopped, but a process is just being started
ended       there is no process, and there will be none
=========== ========================================================================================

The table knows what follows from what. How it is done, and how long patience lasts, is for whoever
provides :py:class:`KernelEffects`. Events return nothing, so that one may come
while another is being handled.
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
        Begin. Comes first, and once.
        """

    def launched(self) -> None:
        """
        The launch has succeeded: a process runs.
        """

    def launch_failed(self, reason: str) -> None:
        """
        The launch has failed.
        """

    def began_seeding(self) -> None:
        """
        The process answers, and runs its seed.
        """

    def seeding_failed(self, reason: str) -> None:
        """
        It could not be seeded.
        """

    def became_ready(self) -> None:
        """
        The process answers, and is seeded.
        """

    def process_ended(self, reason: str) -> None:
        """
        The process is gone.
        """

    def patience_ended(self) -> None:
        """
        What was waited for has not come, or a pause is over.
        """

    def hope_ended(self, reason: str) -> None:
        """
        The kernel has failed too often in a row.
        """

    def restart_asked(self) -> None:
        """
        A user wants another process.
        """

    def stop_asked(self) -> None:
        """
        A user wants the kernel gone, or wants it gone sooner.
        """

    def leave_asked(self) -> None:
        """
        The gateway ends; the process shall run on without it.
        """


class KernelEffects(Protocol):
    """
    What is done about it. An effect that waits for something begins a new patience.
    """

    def launch(self) -> None:
        """
        Start a process. Leads to ``launched`` or ``launch_failed``.
        """

    def replace(self) -> None:
        """
        Start a process in place of the one that a user did not want any more.
        """

    def promote(self) -> None:
        """
        The process that is being started anyway is the one that a user wants.
        """

    def greet(self) -> None:
        """
        A process runs, which is all that some wait for. Give it time to answer.
        """

    def settle(self) -> None:
        """
        The kernel can be used.
        """

    def rest(self, reason: str) -> None:
        """
        Pause before the next try. Leads to ``patience_ended`` or ``hope_ended``.
        """

    def watch_seed(self) -> None:
        """
        Give it time to run its seed.
        """

    def reject(self, reason: str) -> None:
        """
        Kill a process that cannot be seeded.
        """

    def overrun(self) -> None:
        """
        Kill a process that did not answer in time.
        """

    def ask_to_stop(self) -> None:
        """
        Ask the kernel to end.
        """

    def ask_to_restart(self) -> None:
        """
        Ask the kernel to end, and tell it that another process will follow.
        """

    def terminate(self) -> None:
        """
        Send SIGTERM.
        """

    def kill(self) -> None:
        """
        Send SIGKILL.
        """

    def hurry(self) -> None:
        """
        Go on with the present patience, or with less if whoever wants the stop has less.
        """

    def turn_away(self) -> None:
        """
        Disappoint everybody who waits for a process.
        """

    def abandon(self) -> None:
        """
        Wait for the launch that is under way, but not for ever.
        """

    def discard(self) -> None:
        """
        Kill a process that came too late.
        """

    def end_stopped(self) -> None:
        """
        A user wanted the kernel gone, and it is.
        """

    def end_unlaunched(self, reason: str) -> None:
        """
        The process that a user waits for could not be started.
        """

    def end_dead(self, reason: str) -> None:
        """
        The kernel has failed for good.
        """

    def end_overdue(self) -> None:
        """
        The kernel has failed for good by not answering in time.
        """

    def end_left(self) -> None:
        """
        The process is not ours any more.
        """

    def end_unkillable(self) -> None:
        """
        Even SIGKILL did not end the process; there is nothing else to wait for.
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
_overdue = _state("overdue")
_resting = _state("resting")
_recovering = _state("recovering")
_restarting = _state("restarting")
_asked_to_stop = _state("asked to stop")
_terminated_to_stop = _state("terminated to stop")
_killed_to_stop = _state("killed to stop")
_asked_to_restart = _state("asked to restart")
_terminated_to_restart = _state("terminated to restart")
_killed_to_restart = _state("killed to restart")
_abandoning = _state("abandoning")
_ended = _state("ended")

_on = KernelEvents
_do = KernelEffects
# In this state, upon this event, the kernel goes to that state and these effects are had.
_TABLE: dict[Any, tuple[tuple[Any, ...], ...]] = {
    _new: ((_on.start_asked, _launching, _do.launch),),
    _launching: (
        (_on.launched, _starting, _do.greet),
        (_on.launch_failed, _ended, _do.end_unlaunched),
        (_on.restart_asked, _launching),
        (_on.stop_asked, _abandoning, _do.turn_away, _do.abandon),
    ),
    _starting: (
        (_on.began_seeding, _seeding, _do.watch_seed),
        (_on.became_ready, _running, _do.settle),
        (_on.process_ended, _resting, _do.rest),
        (_on.patience_ended, _overdue, _do.overrun),
        (_on.restart_asked, _terminated_to_restart, _do.terminate),
        (_on.stop_asked, _terminated_to_stop, _do.terminate),
        (_on.leave_asked, _ended, _do.end_left),
    ),
    _seeding: (
        (_on.became_ready, _running, _do.settle),
        (_on.seeding_failed, _overdue, _do.reject),
        (_on.process_ended, _resting, _do.rest),
        (_on.patience_ended, _overdue, _do.overrun),
        (_on.restart_asked, _terminated_to_restart, _do.terminate),
        (_on.stop_asked, _terminated_to_stop, _do.terminate),
    ),
    _running: (
        (_on.process_ended, _resting, _do.rest),
        (_on.restart_asked, _asked_to_restart, _do.ask_to_restart),
        (_on.stop_asked, _asked_to_stop, _do.ask_to_stop),
        (_on.leave_asked, _ended, _do.end_left),
    ),
    _overdue: (
        (_on.process_ended, _ended, _do.end_overdue),
        (_on.patience_ended, _ended, _do.end_unkillable),
        (_on.restart_asked, _killed_to_restart, _do.kill),
        (_on.stop_asked, _killed_to_stop, _do.kill),
    ),
    _resting: (
        (_on.patience_ended, _recovering, _do.launch),
        (_on.hope_ended, _ended, _do.end_dead),
        (_on.restart_asked, _restarting, _do.replace),
        (_on.stop_asked, _ended, _do.end_stopped),
    ),
    _recovering: (
        (_on.launched, _starting, _do.greet),
        (_on.launch_failed, _resting, _do.rest),
        (_on.restart_asked, _restarting, _do.promote),
        (_on.stop_asked, _abandoning, _do.turn_away, _do.abandon),
    ),
    _restarting: (
        (_on.launched, _starting, _do.greet),
        (_on.launch_failed, _ended, _do.end_unlaunched),
        (_on.restart_asked, _restarting),
        (_on.stop_asked, _abandoning, _do.turn_away, _do.abandon),
    ),
    _asked_to_stop: (
        (_on.process_ended, _ended, _do.end_stopped),
        (_on.patience_ended, _terminated_to_stop, _do.terminate),
        (_on.restart_asked, _asked_to_stop, _do.turn_away),
        (_on.stop_asked, _asked_to_stop, _do.hurry),
    ),
    _terminated_to_stop: (
        (_on.process_ended, _ended, _do.end_stopped),
        (_on.patience_ended, _killed_to_stop, _do.kill),
        (_on.restart_asked, _terminated_to_stop, _do.turn_away),
        (_on.stop_asked, _terminated_to_stop, _do.hurry),
    ),
    _killed_to_stop: (
        (_on.process_ended, _ended, _do.end_stopped),
        (_on.patience_ended, _ended, _do.end_unkillable),
        (_on.restart_asked, _killed_to_stop, _do.turn_away),
        (_on.stop_asked, _killed_to_stop, _do.hurry),
    ),
    _asked_to_restart: (
        (_on.process_ended, _restarting, _do.replace),
        (_on.patience_ended, _terminated_to_restart, _do.terminate),
        (_on.restart_asked, _asked_to_restart),
        (_on.stop_asked, _asked_to_stop, _do.turn_away, _do.hurry),
    ),
    _terminated_to_restart: (
        (_on.process_ended, _restarting, _do.replace),
        (_on.patience_ended, _killed_to_restart, _do.kill),
        (_on.restart_asked, _terminated_to_restart),
        (_on.stop_asked, _terminated_to_stop, _do.turn_away, _do.hurry),
    ),
    _killed_to_restart: (
        (_on.process_ended, _restarting, _do.replace),
        (_on.patience_ended, _ended, _do.end_unkillable),
        (_on.restart_asked, _killed_to_restart),
        (_on.stop_asked, _killed_to_stop, _do.turn_away, _do.hurry),
    ),
    _abandoning: (
        (_on.launched, _terminated_to_stop, _do.terminate),
        (_on.launch_failed, _ended, _do.end_stopped),
        (_on.patience_ended, _ended, _do.end_stopped),
        (_on.restart_asked, _abandoning, _do.turn_away),
        (_on.stop_asked, _abandoning, _do.hurry),
    ),
    _ended: (
        (_on.launched, _ended, _do.discard),
        (_on.launch_failed, _ended),
        (_on.process_ended, _ended),
        (_on.restart_asked, _ended),
        (_on.stop_asked, _ended),
    ),
}
# Events that may come in any state, and mean nothing in most.
_STRAY = (_on.began_seeding, _on.seeding_failed, _on.became_ready, _on.hope_ended, _on.leave_asked)


def _add(state: Any, event: Callable[..., None], to: Any, *effects: Callable[..., None]) -> None:
    """
    Add a row to the machine. An effect gets as many of the event's arguments as it takes.
    """
    steps = [(effect.__name__, effect.__code__.co_argcount - 1) for effect in effects]

    def have_effects(_events: KernelEvents, do: KernelEffects, *arguments: str) -> None:
        for name, takes in steps:
            getattr(do, name)(*arguments[:takes])

    state.upon(event).to(to)(have_effects)


def _add_all() -> None:
    for state, rows in _TABLE.items():
        meant = set()
        for event, to, *effects in rows:
            meant.add(event)
            _add(state, event, to, *effects)
        for event in _STRAY:
            if event not in meant:
                _add(state, event, state)


_add_all()
#: Makes the machine of one kernel, given its effects.
new_lifecycle = _machine.build()
