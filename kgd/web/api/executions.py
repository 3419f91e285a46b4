"""
``/api/kernels/<kernel_id>/execute`` and ``.../executions``: run code without a WebSocket.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
from twisted.internet.defer import CancelledError

from kgd import errors
from kgd.execution.artifacts import ArtifactLinks, ArtifactStores
from kgd.execution.notebook_outputs import OutputOptions
from kgd.execution.queue import check_timeout
from kgd.execution.queues import ExecutionQueues
from kgd.execution.submitted import CodeRequest, SubmittedExecution
from kgd.interfaces import IGateway
from kgd.notebook.media_types import JSON, negotiate
from kgd.web.api.answers import RunAnswer
from kgd.web.api.artifacts import ArtifactsAPI
from kgd.web.api.event_stream import EVENT_STREAM, NDJSON, last_event_id
from kgd.web.bodies import read_body
from kgd.web.idempotency import answer_with
from kgd.web.models import (
    ExecuteCode,
    Execution,
    InputValue,
    execution_model,
    execution_summary,
)
from kgd.web.mounted import base_url
from kgd.web.responses import empty_answer, json_answer
from kgd.web.routes import Repeats, Route

# Seconds that a request may wait for the end of an execution.
MAX_WAIT = 60.0


class ExecutionsAPI:
    """
    Executions as resources, whose outputs can be waited for or read as a stream.

    :param queues: Where code runs, whoever asks for it.
    :param artifacts: Where outputs are kept that clients get as URLs.
    """

    def __init__(
        self, gateway: IGateway, queues: ExecutionQueues, artifacts: ArtifactStores
    ) -> None:
        self._reactor = gateway.reactor
        self._settings = gateway.settings
        self._kernels = gateway.kernels
        self._artifacts = artifacts
        self.queues = queues

    def routes(self) -> list[Route]:
        """
        :return: The routes of this part of the API.
        """
        kernel = "/api/kernels/<kernel_id>"
        one = f"{kernel}/executions/<execution_id>"
        read, execute = "kernels:read", "kernels:execute"
        return [
            Route(
                f"{kernel}/execute",
                ("POST",),
                self.execute,
                summary="Run code, and wait for its outputs or read them as they come",
                scope=execute,
                repeats=Repeats.UNLESS_LEFT,
            ),
            Route(
                f"{kernel}/executions",
                ("GET",),
                self.list,
                summary="List the latest executions of a kernel",
                scope=read,
            ),
            Route(one, ("GET",), self.show, summary="Show an execution", scope=read),
            Route(one, ("DELETE",), self.cancel, summary="Cancel an execution", scope=execute),
            Route(
                f"{one}/input",
                ("POST",),
                self.send_input,
                summary="Answer the input request of an execution",
                scope=execute,
            ),
            *ArtifactsAPI(self._reactor, self._kernels, self._artifacts).routes(),
        ]

    # --- handlers ---

    async def execute(self, request: Any, kernel_id: str) -> bytes:
        """
        ``POST /api/kernels/<kernel_id>/execute``.
        """
        self._kernels.get(kernel_id)
        kind = wanted_type(request)
        body = read_body(request, ExecuteCode)
        if body is None:
            raise errors.InvalidRequest('JSON body must be an object like {"code": "print(1)"}')
        code = self.code_request(body, is_streamed=kind != JSON)
        # A request that is refused does not use a spare kernel.
        kernel = self._kernels.claim(kernel_id)
        code = self.with_artifacts(request, kernel_id, body, code)
        queue = self.queues.of(kernel)
        submitted = queue.submit(code, wait=body.queue == "wait")
        request.setHeader(b"Location", self.location(request, kernel_id, submitted))

        def left() -> None:
            if body.on_disconnect == "interrupt":
                queue.cancel(submitted)

        answer = self.answer(request, kernel_id, submitted, kind, left)
        return await answer_with(request, answer)

    def list(self, request: Any, kernel_id: str) -> bytes:
        """
        ``GET /api/kernels/<kernel_id>/executions``.
        """
        queue = self.queues.of(self._kernels.get(kernel_id))
        return json_answer(request, [execution_summary(each) for each in queue])

    async def show(self, request: Any, kernel_id: str, execution_id: str) -> bytes:
        """
        ``GET /api/kernels/<kernel_id>/executions/<execution_id>``, with ``wait`` as the seconds to
        wait for its end.
        """
        kernel = self._kernels.get(kernel_id)
        submitted = self.queues.of(kernel).get(execution_id)
        kind, after = wanted_type(request), last_event_id(request)
        if kind != JSON:
            answer = self.answer(request, kernel_id, submitted, kind, lambda: None)
            return await answer.send(request, after)
        seconds = _seconds_to_wait(request)
        if seconds and not submitted.status:
            done = submitted.when_done()
            timeout = self._reactor.callLater(seconds, done.cancel)
            try:
                await done
            except CancelledError:
                if timeout.active():
                    # It is the client that has left.
                    timeout.cancel()
                    raise
            else:
                timeout.cancel()
        return json_answer(request, execution_model(submitted))

    def cancel(self, request: Any, kernel_id: str, execution_id: str) -> bytes:
        """
        ``DELETE /api/kernels/<kernel_id>/executions/<execution_id>``.
        """
        queue = self.queues.of(self._kernels.get(kernel_id))
        queue.cancel(queue.get(execution_id))
        return empty_answer(request)

    def send_input(self, request: Any, kernel_id: str, execution_id: str) -> bytes:
        """
        ``POST /api/kernels/<kernel_id>/executions/<execution_id>/input``.
        """
        queue = self.queues.of(self._kernels.get(kernel_id))
        submitted = queue.get(execution_id)
        body = read_body(request, InputValue)
        if body is None:
            raise errors.InvalidRequest('JSON body must be an object like {"value": "yes"}')
        queue.send_input(submitted, body.value)
        return empty_answer(request)

    # --- their parts ---

    def code_request(
        self, body: ExecuteCode, *, is_streamed: bool, waits_as_long: bool = False
    ) -> CodeRequest:
        """
        :param waits_as_long: Whether its timeout also bounds how long it may wait.
        :raises kgd.errors.InvalidRequest: when the timeout is out of range.
        """
        options = body.outputs
        timeout = check_timeout(body.timeout, self._settings.max_execute_timeout)
        return CodeRequest(
            code=body.code,
            timeout=timeout,
            longest_wait=timeout if waits_as_long else 0.0,
            allow_stdin=body.stdin,
            store_history=body.store_history,
            silent=body.silent,
            user_expressions=body.user_expressions,
            outputs=OutputOptions(
                strip_ansi=options.ansi == "strip",
                max_text_bytes=options.max_text_bytes or 0,
                mime=tuple(options.mime),
            ),
            abort_following=body.on_error == "abort",
            is_streamed=is_streamed,
        )

    def with_artifacts(
        self, request: Any, kernel_id: str, body: ExecuteCode, code: CodeRequest
    ) -> CodeRequest:
        """
        :return: The same for this kernel, with URLs for outputs if the client wants them.
        """
        if body.outputs.artifacts != "url":
            return code
        url = f"{base_url(request)}/api/kernels/{kernel_id}/artifacts"
        links = ArtifactLinks(self._artifacts.of(kernel_id), url)
        return attrs.evolve(code, outputs=attrs.evolve(code.outputs, artifacts=links))

    def location(self, request: Any, kernel_id: str, submitted: SubmittedExecution) -> bytes:
        """
        :return: The path of an execution.
        """
        return (
            f"{base_url(request)}/api/kernels/{kernel_id}/executions/{submitted.execution_id}"
        ).encode()

    def answer(
        self,
        request: Any,
        kernel_id: str,
        submitted: SubmittedExecution,
        kind: str,
        left: Callable[[], object],
        model: Callable[..., Execution] = execution_model,
    ) -> RunAnswer:
        """
        :param kind: The media type.
        :param left: Called when all clients have left before the end.
        :param model: Makes what clients get of the execution.
        :return: The answer to requests for an execution.
        """
        return RunAnswer(
            reactor=self._reactor,
            kernels=self._kernels,
            keep_alive_interval=self._settings.keep_alive_interval,
            kind=kind,
            running=submitted,
            whole=lambda request: json_answer(request, model(submitted)),
            # The outputs have been sent.
            result=lambda: model(submitted, with_outputs=False),
            left=left,
            input_url=self.location(request, kernel_id, submitted).decode() + "/input",
            kernel_id=kernel_id,
            memory=lambda: submitted.outputs.size,
        )


def wanted_type(request: Any, offers: Sequence[str] = (JSON, NDJSON, EVENT_STREAM)) -> str:
    """
    :param offers: The media types that the response may have.
    :return: That of the response.
    :raises kgd.errors.InvalidRequest: for both kinds of streams at once.
    :raises kgd.errors.NotAcceptable: for none of what there is.
    """
    values = request.requestHeaders.getRawHeaders(b"accept", ())
    accept = ",".join(value.decode("latin-1") for value in values)
    if NDJSON in accept.lower() and EVENT_STREAM in accept.lower():
        raise errors.InvalidRequest(
            f"Accept names both {NDJSON} and {EVENT_STREAM}; ask for one of them"
        )
    kind = negotiate(offers, accept or None)
    if kind is None:
        *most, last = offers
        raise errors.NotAcceptable(f"Accept must allow {', '.join(most)} or {last}")
    return kind


def _seconds_to_wait(request: Any) -> float:
    """
    :return: The seconds that the query asks for.
    :raises kgd.errors.InvalidRequest: when that is not a number from 0 to :py:data:`MAX_WAIT`.
    """
    (text,) = request.args.get(b"wait", [b"0"])[-1:]
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= MAX_WAIT:
        raise errors.InvalidRequest(f"wait must be a number of seconds from 0 to {MAX_WAIT:g}")
    return seconds
