"""
Calls of tools, which go on when the connection of the client breaks that has asked for them.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from kgd.deferreds import Waiters
from kgd.mcp.content import ToolResult
from kgd.mcp.json_rpc import INTERNAL_ERROR, RpcError
from kgd.observability.logs import make_logger

_log = make_logger()


@attrs.define(eq=False)
class Call:
    """
    A tool at work.

    :ivar work: Fires with its result; cancelling it cancels the tool.
    :ivar is_done: Whether it has ended.
    :ivar outcome: The result, or the error; ``None`` if it was cancelled.
    """

    work: Deferred[ToolResult]
    is_done: bool = False
    outcome: ToolResult | RpcError | None = None
    _waiters: Waiters[None] = attrs.field(factory=Waiters)

    def begin(self, done: Callable[[], None]) -> None:
        """
        :param done: Called when it has ended.
        """

        def ended(result: ToolResult | Failure) -> None:
            self.is_done = True
            self.outcome = _outcome(result)
            done()
            self._waiters.fire(None)

        self.work.addBoth(ended)

    async def wait(self) -> None:
        """
        Wait for its end.
        """
        if not self.is_done:
            await self._waiters.wait()


def _outcome(result: ToolResult | Failure) -> ToolResult | RpcError | None:
    if isinstance(result, ToolResult):
        return result
    if result.check(CancelledError):  # type: ignore[no-untyped-call]
        return None
    if isinstance(result.value, RpcError):
        return result.value
    _log.failure("a tool for agents has a defect", result)
    return RpcError(INTERNAL_ERROR, "Unknown server error", status=200)
