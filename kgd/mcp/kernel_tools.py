"""
The tools for code and kernels: run code, and start, list, interrupt, restart and stop kernels.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta, Struct
from twisted.internet.defer import CancelledError

from kgd.execution.notebook_outputs import OutputOptions
from kgd.execution.queue import check_timeout
from kgd.execution.queues import ExecutionQueues
from kgd.execution.submitted import CodeRequest
from kgd.interfaces import IKernel, IKernels, StartRequest
from kgd.mcp.content import CodeResult, ToolResult, code_result, plain_result
from kgd.mcp.sessions import Sessions
from kgd.mcp.toolbox import (
    CHANGES,
    DESTROYS,
    READS,
    Caller,
    KernelChoice,
    KernelId,
    Tool,
    ToolFailure,
)
from kgd.protocol.timestamps import timestamp
from kgd.settings import Settings


class RunCode(Struct, forbid_unknown_fields=True):
    """
    The arguments of ``run_code``.
    """

    code: Annotated[str, Meta(description="Code in the language of the kernel, usually Python")]
    kernel_id: KernelId = None
    timeout: Annotated[
        float | None, Meta(description="Seconds after which the code is interrupted")
    ] = None
    max_text_bytes: Annotated[
        int,
        Meta(ge=2, description="How much of each text is returned, half of it from the end"),
    ] = 100_000


class StartKernel(Struct, forbid_unknown_fields=True):
    """
    The arguments of ``start_kernel``.
    """

    name: Annotated[
        str | None, Meta(description="A kernelspec, like python3; by default, the gateway's")
    ] = None
    path: Annotated[
        str | None, Meta(description="The directory to start in, below the gateway's root")
    ] = None
    env: Annotated[
        dict[str, str] | None, Meta(description="Environment variables that the gateway allows")
    ] = None


class NoArguments(Struct, forbid_unknown_fields=True):
    """
    The arguments of tools that take none.
    """


class OneKernel(Struct, forbid_unknown_fields=True):
    """
    The arguments of tools for a kernel.
    """

    kernel_id: KernelId = None


class KernelState(Struct):
    """
    A kernel, as agents see it.
    """

    kernel_id: str
    name: str
    execution_state: str
    last_activity: str


class KernelStates(Struct):
    """
    The result of ``list_kernels``.
    """

    kernels: list[KernelState]


class KernelDone(Struct):
    """
    What has been done with a kernel.
    """

    kernel_id: str
    done: str


class KernelTools:
    """
    Tools that run code, and tools for kernels.
    """

    def __init__(
        self, settings: Settings, kernels: IKernels, queues: ExecutionQueues, sessions: Sessions
    ) -> None:
        self._settings = settings
        self._kernels = kernels
        self._queues = queues
        self._sessions = sessions
        self._choice = KernelChoice(kernels, sessions)

    def tools(self) -> Iterable[Tool]:
        """
        :return: The tools.
        """
        settings = self._settings
        lifetime = (
            f"A kernel ends when it has not been used for {settings.mcp_session_timeout:g} s."
            if settings.mcp_session_timeout and not settings.mcp_keep_kernels
            else "A kernel goes on until it is stopped."
        )
        limit = (
            f" Code is interrupted after {settings.max_execute_timeout:g} s at the latest."
            if settings.max_execute_timeout
            else ""
        )
        yield Tool(
            name="run_code",
            title="Run code",
            description="Run code in a Jupyter kernel and return what it prints, displays and "
            "returns; pictures come as images. Variables, imports and files stay for later calls "
            "in the same kernel: pass the kernel_id of the result, unless your client has a "
            "session, which keeps its kernel. Without a kernel, one is started, and new_kernel in "
            f"the result is true. {lifetime}{limit}",
            arguments=RunCode,
            result=CodeResult,
            run=self.run_code,
            hints={"readOnlyHint": False, "destructiveHint": True, "openWorldHint": True},
        )
        yield Tool(
            name="start_kernel",
            title="Start a kernel",
            description="Start another kernel, whose variables are apart from all others'. Pass "
            f"its kernel_id to run_code. {lifetime}",
            arguments=StartKernel,
            result=KernelState,
            run=self.start_kernel,
            hints=CHANGES,
        )
        yield Tool(
            name="list_kernels",
            title="List kernels",
            description="List the kernels of the gateway, or only this session's if the gateway "
            "does not list others.",
            arguments=NoArguments,
            result=KernelStates,
            run=self.list_kernels,
            hints=READS,
        )
        yield Tool(
            name="interrupt",
            title="Interrupt a kernel",
            description="Interrupt the code that a kernel runs; its variables stay.",
            arguments=OneKernel,
            result=KernelDone,
            run=self.interrupt,
            hints=CHANGES,
        )
        yield Tool(
            name="restart",
            title="Restart a kernel",
            description="End a kernel's process and start another under the same id, without "
            "variables.",
            arguments=OneKernel,
            result=KernelState,
            run=self.restart,
            hints=DESTROYS,
        )
        yield Tool(
            name="stop_kernel",
            title="Stop a kernel",
            description="Stop a kernel for good.",
            arguments=OneKernel,
            result=KernelDone,
            run=self.stop_kernel,
            hints=DESTROYS,
        )

    # --- code ---

    async def run_code(self, caller: Caller, arguments: RunCode) -> ToolResult:
        """
        ``run_code``. Cancelling it takes the code out of the queue, or interrupts it.
        """
        request = CodeRequest(
            code=arguments.code,
            timeout=check_timeout(arguments.timeout, self._settings.max_execute_timeout),
            outputs=OutputOptions(strip_ansi=True, max_text_bytes=arguments.max_text_bytes),
        )
        kernel, is_new = await self._choice.make(caller, arguments.kernel_id)
        with self._sessions.using(self._sessions.owner_of(kernel.kernel_id)):
            queue = self._queues.of(kernel)
            submitted = queue.submit(request)
            stop_following = (
                submitted.events.follow(0, caller.reporter.received)
                if caller.reporter is not None
                else lambda: None
            )
            try:
                await submitted.when_done()
            except CancelledError:
                if is_new and caller.session is None:
                    # Nobody knows its id.
                    self._sessions.end_owner_of(kernel.kernel_id)
                elif not submitted.status:
                    queue.cancel(submitted)
                raise
            finally:
                stop_following()
        return code_result(submitted, kernel.kernel_id, new_kernel=is_new)

    # --- kernels ---

    async def start_kernel(self, caller: Caller, arguments: StartKernel) -> ToolResult:
        """
        ``start_kernel``.
        """
        request = StartRequest(name=arguments.name, path=arguments.path, env=arguments.env)
        return _kernel_result(await self._sessions.start_kernel(caller.session, request))

    async def list_kernels(self, caller: Caller, arguments: NoArguments) -> ToolResult:
        """
        ``list_kernels``.
        """
        kernels = self._kernels.list()
        if not self._settings.list_kernels:
            if caller.session is None:
                raise ToolFailure(
                    "This gateway does not list kernels; use the kernel_id that run_code or "
                    "start_kernel has returned, or ask the gateway's operator for --list-kernels"
                )
            own = caller.session.kernel_ids
            kernels = [kernel for kernel in kernels if kernel.kernel_id in own]
        states = KernelStates([_state(kernel) for kernel in kernels])
        return plain_result(states)

    async def interrupt(self, caller: Caller, arguments: OneKernel) -> ToolResult:
        """
        ``interrupt``.
        """
        kernel = self._choice.find(caller, arguments.kernel_id)
        await self._kernels.interrupt(kernel.kernel_id)
        return _done_result(kernel.kernel_id, "interrupted")

    async def restart(self, caller: Caller, arguments: OneKernel) -> ToolResult:
        """
        ``restart``.
        """
        kernel = self._choice.find(caller, arguments.kernel_id)
        with self._sessions.using(self._sessions.owner_of(kernel.kernel_id)):
            await self._kernels.restart(kernel.kernel_id)
        return _kernel_result(self._kernels.get(kernel.kernel_id))

    async def stop_kernel(self, caller: Caller, arguments: OneKernel) -> ToolResult:
        """
        ``stop_kernel``.
        """
        kernel = self._choice.find(caller, arguments.kernel_id)
        await self._kernels.stop(kernel.kernel_id)
        self._sessions.forget_kernel(kernel.kernel_id)
        return _done_result(kernel.kernel_id, "stopped")


def _state(kernel: IKernel) -> KernelState:
    return KernelState(
        kernel.kernel_id, kernel.name, kernel.execution_state, timestamp(kernel.last_activity)
    )


def _kernel_result(kernel: IKernel) -> ToolResult:
    return plain_result(_state(kernel))


def _done_result(kernel_id: str, done: str) -> ToolResult:
    return plain_result(KernelDone(kernel_id, done))
