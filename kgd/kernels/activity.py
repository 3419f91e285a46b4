"""
What a kernel's messages tell of what it is doing.
"""

from __future__ import annotations

from collections.abc import Callable, Set

from kgd.protocol.message_types import UNTRACKED

# The states that a kernel tells itself.
_TOLD = frozenset({"starting", "idle", "busy"})


class Activity:
    """
    A kernel's state as clients see it, and when it was last used.

    :ivar execution_state: ``starting``, ``idle``, ``busy``, ``restarting`` or ``dead``.
    :ivar last_activity: In seconds since the epoch, which is what clients are told.
    :ivar busy_since: Since when it has been busy without a break, on that clock, or ``None``.
    :param untracked: Types of messages that are no use of the kernel.
    """

    def __init__(
        self,
        wall_clock: Callable[[], float],
        monotonic: Callable[[], float],
        untracked: Set[str] = UNTRACKED,
    ) -> None:
        self._untracked = untracked
        self._now = wall_clock
        self._monotonic = monotonic
        self._listens = False
        self.execution_state = "starting"
        self.last_activity = wall_clock()
        self._last_used = monotonic()
        self.busy_since: float | None = None

    @property
    def last_used(self) -> float:
        """
        The same on the monotonic clock, to reckon with. As long as somebody waits for it to start,
        which a seed may make long, it is in use.
        """
        return self._monotonic() if self._is_awaited else self._last_used

    @property
    def _is_awaited(self) -> bool:
        return not self._listens and self.execution_state == "starting"

    def _used(self) -> None:
        self.last_activity = self._now()
        self._last_used = self._monotonic()

    def restarted(self) -> None:
        """
        A user restarts the kernel.
        """
        self._is_now("starting")
        self._used()

    def handed_out(self) -> None:
        """
        Somebody begins to use the kernel.
        """
        self._used()

    def crashed(self) -> None:
        """
        The process ended by itself, and another will take its place.
        """
        if self.busy_since is not None:
            # However silent it was, it was in use until now.
            self._used()
        self._is_now("restarting")

    def ended(self) -> None:
        """
        There will be no other process.
        """
        self._is_now("dead")

    def _is_now(self, execution_state: str) -> None:
        # The last words of a process may still come after it; what they say is no longer true.
        self._listens = False
        self.execution_state = execution_state
        self.busy_since = None

    def became_ready(self) -> None:
        """
        The process answers, so it has nothing else to do.
        """
        if not self._listens:
            self._last_used = self.last_used
            self._listens = True
            self.execution_state = "idle"

    def published(self, msg_type: str, parent_type: str, execution_state: str | None) -> None:
        """
        The kernel sent a message on iopub.

        :param execution_state: Of a ``status`` message, else ``None``.
        """
        # A message without a parent counts: nobody asked for it, so something went on.
        if (
            self.execution_state == "busy"
            or parent_type not in self._untracked
            or msg_type not in self._untracked
        ):
            self._used()
        if execution_state in _TOLD and self._listens:
            if parent_type not in self._untracked:
                if execution_state != self.execution_state:
                    busy = execution_state == "busy"
                    self.busy_since = self._monotonic() if busy else None
                self.execution_state = execution_state
            elif self.execution_state == "starting" != execution_state:
                self.execution_state = "idle"
