"""
A kernel's execution state and its last activity, as its messages tell them.
"""

from __future__ import annotations

from collections.abc import Callable, Set

from kgd.protocol.message_types import UNTRACKED
from kgd.protocol.messages import MsgId

# The states that kernels publish themselves.
_PUBLISHED = frozenset({"starting", "idle", "busy"})
# Subshells that are remembered to be busy. A client may make up any number of names.
MAX_SHELLS = 100


class Activity:
    """
    A kernel's state as clients see it, and when it was last used.

    It is busy as long as one of its shells is: the main shell, a subshell, or what serves control.
    Each works on one request after the other, so the latest ``busy`` tells what it works on; when
    the ``idle`` of an earlier request is lost, the next request makes up for it.

    :ivar execution_state: ``starting``, ``idle``, ``busy``, ``restarting`` or ``dead``.
    :ivar last_activity: In seconds since the epoch, which is what clients are told.
    :ivar busy_since: Since when it has been busy without a break, on the monotonic clock, or
        ``None``.
    :param untracked: Types of messages that do not count as use of the kernel.
    """

    def __init__(
        self,
        wall_clock: Callable[[], float],
        monotonic: Callable[[], float],
        untracked: Set[str] = UNTRACKED,
    ) -> None:
        self._untracked = untracked
        self._wall_clock = wall_clock
        self._monotonic = monotonic
        self._is_ready = False
        self.execution_state = "starting"
        self.last_activity = wall_clock()
        self._last_used = monotonic()
        self.busy_since: float | None = None
        # The request that each busy shell works on.
        self._busy: dict[bytes, MsgId] = {}

    @property
    def last_used(self) -> float:
        """
        The last activity on the monotonic clock. A kernel that is being started, which a seed may
        make long, counts as used.
        """
        return self._monotonic() if self._is_starting else self._last_used

    @property
    def _is_starting(self) -> bool:
        return not self._is_ready and self.execution_state == "starting"

    def _record_use(self) -> None:
        self.last_activity = self._wall_clock()
        self._last_used = self._monotonic()

    def restarted(self) -> None:
        """
        A user restarts the kernel.
        """
        self._set_state("starting")
        self._record_use()

    def handed_out(self) -> None:
        """
        A client gets the kernel.
        """
        self._record_use()

    def crashed(self) -> None:
        """
        The process ended by itself, and another will take its place.
        """
        if self.busy_since is not None:
            # It was in use until now, even if it printed nothing.
            self._record_use()
        self._set_state("restarting")

    def ended(self) -> None:
        """
        There will be no other process.
        """
        self._set_state("dead")

    def _set_state(self, execution_state: str) -> None:
        # Messages of the old process may still arrive; the states in them are outdated.
        self._is_ready = False
        self.execution_state = execution_state
        self.busy_since = None
        self._busy.clear()

    def became_ready(self) -> None:
        """
        The process answers, so it is idle.
        """
        if not self._is_ready:
            self._last_used = self.last_used
            self._is_ready = True
            self.execution_state = "idle"

    def published(
        self,
        msg_type: str,
        parent_type: str,
        execution_state: str | None,
        shell: bytes = b"",
        msg_id: MsgId = "",
    ) -> None:
        """
        The kernel sent a message on iopub.

        :param execution_state: Of a ``status`` message, else ``None``.
        :param shell: Which of the kernel's shells that is about.
        :param msg_id: Of the request that the message belongs to.
        """
        # A message without a parent counts as use: the kernel did something by itself.
        if (
            self.execution_state == "busy"
            or parent_type not in self._untracked
            or msg_type not in self._untracked
        ):
            self._record_use()
        if execution_state in _PUBLISHED and self._is_ready:
            if parent_type not in self._untracked:
                assert execution_state is not None
                self._shell_changed(execution_state, parent_type, shell, msg_id)
            elif self.execution_state == "starting" != execution_state:
                self.execution_state = "idle"

    def _shell_changed(self, state: str, parent_type: str, shell: bytes, msg_id: MsgId) -> None:
        busy = self._busy
        if state == "busy":
            busy.pop(shell, None)
            busy[shell] = msg_id
            if len(busy) > MAX_SHELLS:
                del busy[next(iter(busy))]
        elif state == "starting" or not parent_type:
            # Without a parent it is about the whole process.
            busy.clear()
        elif busy.get(shell) in (msg_id, ""):
            # Not the end of an earlier request, which may be noticed late.
            busy.pop(shell, None)
        if not busy:
            self.busy_since = None
            self.execution_state = state if state == "starting" else "idle"
        elif self.execution_state != "busy":
            self.busy_since = self._monotonic()
            self.execution_state = "busy"
