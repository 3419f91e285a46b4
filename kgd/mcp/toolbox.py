"""
What tools for agents have in common: what they are called, what they take, and for which kernel.

Format: https://modelcontextprotocol.io/specification/2026-07-28/server/tools
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Annotated, Any

import attrs
import msgspec
from msgspec import Meta, Struct

from kgd import errors
from kgd.interfaces import IKernel, IKernels, StartRequest
from kgd.mcp.content import ToolResult, failed_result
from kgd.mcp.json_rpc import INVALID_PARAMS, RpcError
from kgd.mcp.progress import ProgressReporter
from kgd.mcp.schemas import schema_of
from kgd.mcp.sessions import Session, Sessions

# Characters of an error, which may quote what the client has sent.
_MAX_ERROR = 2000
#: Annotations of tools: that look, that change something, and after which something is gone.
READS = {"readOnlyHint": True, "openWorldHint": False}
CHANGES = {"readOnlyHint": False, "destructiveHint": False, "openWorldHint": False}
DESTROYS = {"readOnlyHint": False, "destructiveHint": True, "openWorldHint": False}
#: An argument of many tools.
KernelId = Annotated[
    str | None,
    Meta(
        description="A kernel, as run_code, start_kernel or list_kernels name it; by default, that "
        "of this session"
    ),
]


class ToolFailure(errors.GatewayError):
    """
    A tool cannot do what it is asked for; the text is for the model.
    """


@attrs.frozen
class Caller:
    """
    Who calls a tool.

    :ivar session: ``None`` in a revision without sessions.
    :ivar reporter: Gets what code prints, if the client wants that.
    """

    session: Session | None
    reporter: ProgressReporter | None = None


@attrs.frozen(kw_only=True)
class Tool:
    """
    One tool.

    :ivar arguments: What it takes.
    :ivar result: Its structured content.
    :ivar run: Does it.
    :ivar hints: The tool's annotations.
    """

    name: str
    title: str
    description: str
    arguments: type[Struct]
    result: type[Struct]
    run: Callable[[Caller, Any], Awaitable[ToolResult]]
    hints: Mapping[str, bool]

    def describe(self) -> dict[str, Any]:
        """
        :return: Its entry in ``tools/list``.
        """
        return {
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "inputSchema": schema_of(self.arguments),
            "outputSchema": schema_of(self.result),
            "annotations": {"title": self.title, **self.hints},
        }

    def read(self, arguments: Any) -> Any:
        """
        :raises ToolFailure: for arguments that the tool does not take.
        """
        try:
            return msgspec.convert(arguments, self.arguments)
        except msgspec.ValidationError as error:
            raise ToolFailure(f"Wrong arguments for {self.name}: {error}") from None


class KernelChoice:
    """
    Finds the kernel of a call.
    """

    def __init__(self, kernels: IKernels, sessions: Sessions) -> None:
        self._kernels = kernels
        self._sessions = sessions

    async def make(self, caller: Caller, kernel_id: str | None) -> tuple[IKernel, bool]:
        """
        :return: The kernel that is named, or else the session's, or else a new one; and whether it
            was started for this.
        """
        if kernel_id is not None:
            return self._kernels.claim(kernel_id), False
        if caller.session is not None:
            return await self._sessions.default_kernel(caller.session)
        return await self._sessions.start_kernel(None, StartRequest()), True

    def find(self, caller: Caller, kernel_id: str | None) -> IKernel:
        """
        :return: The kernel that is named, or else the session's.
        """
        if kernel_id is not None:
            return self._kernels.get(kernel_id)
        kernel = None if caller.session is None else self._sessions.kernel_of(caller.session)
        if kernel is None:
            raise ToolFailure("kernel_id is missing, and run_code has started no kernel yet")
        return kernel


class Toolbox:
    """
    All tools, by name.
    """

    def __init__(self, tools: Iterable[Tool]) -> None:
        self._tools = {tool.name: tool for tool in tools}

    def describe(self) -> list[dict[str, Any]]:
        """
        :return: What ``tools/list`` tells.
        """
        return [tool.describe() for tool in self._tools.values()]

    def find(self, name: Any) -> Tool:
        """
        :raises RpcError: when there is none of this name.
        """
        tool = self._tools.get(name) if isinstance(name, str) else None
        if tool is None:
            raise RpcError(
                INVALID_PARAMS,
                f"Unknown tool: {str(name)[:100]}; there are {', '.join(self._tools)}",
                status=200,
            )
        return tool

    async def call(self, caller: Caller, tool: Tool, arguments: Any) -> ToolResult:
        """
        Call a tool. What the model can do better next time is in the result.
        """
        try:
            return await tool.run(caller, tool.read(arguments))
        except errors.KernelLimitReached:
            return failed_result("No more kernels may run; stop one with stop_kernel")
        except errors.NoSuchKernel as error:
            return failed_result(f"{error}; leave kernel_id out for a new one"[:_MAX_ERROR])
        except errors.GatewayError as error:
            return failed_result((str(error) or type(error).__doc__ or "").strip()[:_MAX_ERROR])
