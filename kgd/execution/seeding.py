"""
Runs the cells of a kernel's seed before clients can use the kernel.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from kgd.execution.execution import Execution, ExecutionTracker
from kgd.protocol.messages import (
    USERNAME,
    ClientMessage,
    KernelMessage,
    MsgId,
    make_execute_request,
)


class SeedRun:
    """
    Runs cells one after the other, each when the last is done.

    :param sources: The code of the cells.
    :param succeeded: Called when all are done.
    :param failed: Called with the index and the error of a cell that fails or ends the kernel; no
        other runs then.
    """

    def __init__(
        self,
        sources: Sequence[str],
        session: str,
        send: Callable[[ClientMessage], None],
        succeeded: Callable[[], None],
        failed: Callable[[int, str], None],
        username: str = USERNAME,
    ) -> None:
        self._username = username
        self._sources = sources
        self._session = session
        self._succeeded = succeeded
        self._failed = failed
        self._tracker = ExecutionTracker(send)
        self._index = -1
        self._msg_ids: set[MsgId] = set()

    def start(self) -> None:
        """
        Run the first cell.
        """
        self._run_next()

    def _run_next(self) -> None:
        self._index += 1
        if self._index == len(self._sources):
            self._succeeded()
            return
        source = self._sources[self._index]
        request = make_execute_request(source, self._session, time.time(), username=self._username)
        self._msg_ids.add(request.msg_id)
        self._tracker.start(Execution(request, self._changed))

    def hides(self, message: KernelMessage) -> bool:
        """
        :return: Whether a message belongs to the seed. Clients do not see those, not even clients
            that were there before a restart.
        """
        return message.parent.msg_id in self._msg_ids

    def received(self, message: KernelMessage) -> None:
        """
        Take a message of the kernel.
        """
        self._tracker.received(message)

    def _changed(self, execution: Execution) -> None:
        if execution.status not in ("", "ok"):
            error = execution.error
            assert error is not None
            self.cancel()
            self._failed(self._index, f"{error.ename}: {error.evalue}")
        elif execution.reply is not None and execution.reply.ends_kernel:
            self.cancel()
            self._failed(self._index, "it ends the kernel; remove its quit() or exit()")
        elif execution.is_done:
            self._run_next()

    def cancel(self) -> None:
        """
        Stop, and expect nothing more.
        """
        self._tracker.take_all()
