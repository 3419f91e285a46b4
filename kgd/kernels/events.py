"""
What happens to a kernel, and what is done about it: the two sides of its life cycle.
"""

from __future__ import annotations

from typing import Protocol


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
