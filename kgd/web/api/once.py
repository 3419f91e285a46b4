"""
``/api/execute``: run code in a kernel that exists for it only.
"""

from __future__ import annotations

from typing import Any

from kgd import errors
from kgd.execution.submitted import SubmittedExecution
from kgd.interfaces import StartRequest
from kgd.kernels.temporary import TemporaryKernels
from kgd.notebook.media_types import JSON
from kgd.web.api.executions import ExecutionsAPI, wanted_type
from kgd.web.bodies import read_body
from kgd.web.idempotency import answer_with
from kgd.web.models import ExecuteOnce, OnceExecution, execution_model
from kgd.web.routes import Repeats, Route


class OnceAPI:
    """
    Code without a kernel that its client knows.
    """

    def __init__(self, temporary: TemporaryKernels, executions: ExecutionsAPI) -> None:
        self._temporary = temporary
        self._executions = executions

    def routes(self) -> list[Route]:
        """
        :return: The routes of this part of the API.
        """
        return [
            Route(
                "/api/execute",
                ("POST",),
                self.execute,
                summary="Run code in a new kernel, and stop that",
                scope="kernels:write kernels:execute",
                repeats=Repeats.UNLESS_LEFT,
            )
        ]

    async def execute(self, request: Any) -> bytes:
        """
        ``POST /api/execute``.
        """
        kind = wanted_type(request)
        body = read_body(request, ExecuteOnce)
        if body is None:
            raise errors.InvalidRequest('JSON body must be an object like {"code": "print(1)"}')
        code = self._executions.code_request(body, is_streamed=kind != JSON, waits_as_long=True)
        if body.outputs.artifacts == "url" and not body.keep:
            raise errors.InvalidRequest(
                'outputs.artifacts may be "url" only with "keep": true, because artifacts go with '
                "their kernel"
            )
        choice = body.kernel
        wanted = StartRequest(name=choice.name or None, path=choice.path, env=choice.env)
        kernel = await self._temporary.start(wanted, code.timeout)
        kernel_id = kernel.kernel_id
        queue = self._executions.queues.of(kernel)
        code = self._executions.with_artifacts(request, kernel_id, body, code)
        submitted = queue.submit(code)
        is_kept = body.keep

        def ended(_: None) -> None:
            if not is_kept:
                self._temporary.stop(kernel_id)

        def left() -> None:
            nonlocal is_kept
            if body.on_disconnect == "interrupt":
                # Nobody would know of the kernel.
                is_kept = False
                queue.cancel(submitted)
                if not submitted.status:
                    self._temporary.stop(kernel_id)

        def model(submitted: SubmittedExecution, *, with_outputs: bool = True) -> OnceExecution:
            return execution_model(
                submitted,
                OnceExecution,
                with_outputs=with_outputs,
                kernel_id=kernel_id if is_kept else None,
            )

        submitted.when_done().addCallback(ended)
        if is_kept or kind != JSON:
            request.setHeader(b"Location", self._executions.location(request, kernel_id, submitted))
        answer = self._executions.answer(request, kernel_id, submitted, kind, left, model)
        return await answer_with(request, answer)
