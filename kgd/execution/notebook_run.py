"""
Runs the cells of a notebook one after the other, and makes the notebook with their outputs.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import attrs
import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from kgd.deferreds import Waiters
from kgd.errors import GatewayError
from kgd.execution.queue import ExecutionQueue
from kgd.execution.runnable_notebook import RAISES_TAG, cells_to_run, valid_outputs
from kgd.execution.submitted import CodeRequest, Event, EventLog, SubmittedExecution
from kgd.notebook.parameters import tags_of
from kgd.observability.logs import make_logger
from kgd.protocol.timestamps import timestamp

# How a cell may end after which the others can be run.
_MAY_CONTINUE = ("ok", "error", "interrupted")
_log = make_logger()


@attrs.frozen(kw_only=True)
class RunOptions:
    """
    How a notebook is to be run.

    :ivar timeout: How many seconds each cell may run; 0 is no limit.
    :ivar stops_on_error: Whether no cell is run after one that has failed.
    :ivar parameters: What has been set, for the record.
    :ivar max_output: How many bytes of output all cells may have together.
    :ivar event_size: How many bytes of events are kept.
    """

    timeout: float
    stops_on_error: bool = True
    parameters: Mapping[str, Any] = attrs.field(factory=dict)
    max_output: int = 100 * 1024 * 1024
    event_size: int = 1024 * 1024


class NotebookRun:
    """
    One run. It begins at once.

    :ivar notebook: It gets the outputs.
    :ivar status: How it has ended, as for an execution; empty before.
    :ivar events: What happens: ``accepted``, for each cell ``cell_started``, ``cell_output`` and
        ``cell_ended``, and at the end ``result``.
    :param notebook: As :py:func:`kgd.execution.runnable_notebook.runnable_notebook` makes it.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        queue: ExecutionQueue,
        notebook: dict[str, Any],
        options: RunOptions,
    ) -> None:
        self._reactor = reactor
        self._queue = queue
        self._options = options
        self.notebook = notebook
        self.status = ""
        self.size = 0
        self.events = EventLog(options.event_size)
        self._error: dict[str, Any] | None = None
        self._started = time.time()
        self._began_at = reactor.seconds()
        self._duration: float | None = None
        self._current: SubmittedExecution | None = None
        self._ran: list[tuple[dict[str, Any], SubmittedExecution]] = []
        self._is_cancelled = False
        self._done: Waiters[None] = Waiters()
        cells = cells_to_run(notebook)
        self.events.add("accepted", {"cells": len(cells)})
        running = Deferred.fromCoroutine(self._run(cells))
        running.addErrback(self._failed).addCallback(self._finish)

    def when_done(self) -> Deferred[None]:
        """
        :return: Fires when it has ended.
        """
        return succeed(None) if self.status else self._done.wait()

    def cancel(self) -> None:
        """
        Interrupt the cell that runs, and run no others.
        """
        self._is_cancelled = True
        if self._current is not None and not self._current.status:
            self._queue.cancel(self._current)

    def summary(self) -> dict[str, Any]:
        """
        :return: What has become of it, as it is in the metadata of the notebook.
        """
        return {
            "status": self.status,
            "error": self._error,
            "started": timestamp(self._started),
            "duration": self._duration,
            "parameters": self._options.parameters,
        }

    async def _run(self, cells: list[tuple[int, dict[str, Any]]]) -> str:
        status = "ok"
        for index, cell in cells:
            submitted = await self._run_cell(index, cell)
            ended = submitted.status
            is_expected = ended in _MAY_CONTINUE and RAISES_TAG in tags_of(cell)
            if ended != "ok" and (not is_expected or self._is_cancelled):
                if status == "ok":
                    status = ended
                    self._error = {"cell": index, **_error_of(submitted)}
                if (
                    self._options.stops_on_error
                    or ended not in _MAY_CONTINUE
                    or submitted.verdict is not None
                ):
                    status = ended
                    break
            if self.size > self._options.max_output:
                status = "error"
                self._error = {"cell": index, **_too_large(self._options.max_output)}
                break
            if self._is_cancelled:
                status = "interrupted"
                break
        return status

    def _failed(self, failure: Failure) -> str:
        """
        A run has to end, whatever happens.
        """
        if failure.check(GatewayError) is None:  # type: ignore[no-untyped-call]
            _log.failure("cannot run a notebook", failure)
        ename = type(failure.value).__name__
        evalue = failure.getErrorMessage()
        self._error = {"cell": None, "ename": ename, "evalue": evalue}
        return "error"

    def _finish(self, status: str) -> None:
        for cell, submitted in self._ran:
            # Not before, because a later cell may update what an earlier one displays.
            cell["outputs"] = valid_outputs(submitted.outputs.shown())
        self._duration = self._reactor.seconds() - self._began_at
        self.status = status
        self.notebook["metadata"]["kgd"] = self.summary()
        self.events.add("result", {})
        self._done.fire(None)

    async def _run_cell(self, index: int, cell: dict[str, Any]) -> SubmittedExecution:
        self.events.add("cell_started", {"cell": index})
        submitted = self._queue.submit(
            CodeRequest(
                code=cell["source"],
                timeout=self._options.timeout,
                longest_wait=self._options.timeout,
                is_timed=True,
            )
        )
        self._current = submitted
        stop_following = submitted.events.follow(0, lambda event: self._cell_event(index, event))
        if not submitted.status:
            await submitted.when_done()
        stop_following()
        self._current = None
        self.size += submitted.outputs.size
        cell["execution_count"] = submitted.execution_count
        self._ran.append((cell, submitted))
        cell["metadata"]["execution"] = dict(submitted.times)
        self.events.add(
            "cell_ended",
            {
                "cell": index,
                "status": submitted.status,
                "execution_count": submitted.execution_count,
                "duration": submitted.duration,
                "error": submitted.error,
            },
        )
        return submitted

    def _cell_event(self, index: int, event: Event) -> None:
        if event.kind == "output":
            self.events.add("cell_output", {"cell": index, "output": msgspec.Raw(event.data)})


def _error_of(submitted: SubmittedExecution) -> dict[str, Any]:
    error = submitted.error or {}
    return {"ename": error.get("ename", ""), "evalue": error.get("evalue", "")}


def _too_large(limit: int) -> dict[str, Any]:
    return {
        "ename": "OutputTooLarge",
        "evalue": f"the cells gave more than {limit} bytes of output together; ask the gateway's "
        "operator to raise --max-response-size",
    }
