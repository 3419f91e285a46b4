"""
Serves one request: reads it, waits for a worker, runs the cell, and sends the response.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

from kgd import errors
from kgd.execution.executor import CodeCell, ExecutionBatch
from kgd.notebook.api import Handler, StoredFile
from kgd.notebook.assignment import REQUEST_VARIABLE, assign_from_metadata, assign_request
from kgd.notebook.media_types import is_acceptable
from kgd.notebook.request_body import RequestBody, read_body
from kgd.notebook.request_json import request_json
from kgd.notebook.response import make_response
from kgd.notebook.routing import EndpointMatch
from kgd.observability.audit import AuditLog
from kgd.observability.logs import make_logger
from kgd.personalities.notebook_http.sticky import identify_caller
from kgd.personalities.notebook_http.streaming import StreamedResponse, write_response
from kgd.personalities.notebook_http.uploads import UploadDirectory
from kgd.personalities.notebook_http.worker_pool import Worker, WorkerPool
from kgd.protocol.outputs import Outputs
from kgd.settings import Settings
from kgd.web.access import check_single_headers
from kgd.web.errors import refuse
from kgd.web.mounted import base_url


@attrs.frozen(kw_only=True)
class CallContext:
    """
    The parts that all calls of one notebook share.

    :ivar language: The notebook's programming language.
    :ivar reads_metadata: Whether code can read the metadata of the message that runs it.
    :ivar prefix: The path that precedes all of its endpoints, below the base URL.
    """

    reactor: Any
    settings: Settings
    language: str
    reads_metadata: bool
    prefix: str
    pool: WorkerPool
    uploads: UploadDirectory
    audit: AuditLog


class Call:
    """
    One request to an endpoint of a notebook.
    """

    _log = make_logger()

    def __init__(self, context: CallContext, request: Any, match: EndpointMatch) -> None:
        self._context = context
        self._settings = context.settings
        self._request = request
        self._match = match
        self._worker: Worker | None = None
        self._acquiring: Deferred[Worker] | None = None
        self._outputs: Deferred[Sequence[Outputs]] = Deferred()
        self._deadline: IDelayedCall | None = None
        self._stream: StreamedResponse | None = None
        # The index of the cell among the pieces of code.
        self._cell_index = 0
        self._is_disconnected = False

    async def serve(self) -> None:
        """
        Send a response, whatever happens.
        """
        request = self._request
        request.notifyFinish().addErrback(self._client_disconnected)
        try:
            await self._serve(self._find_handler())
        except Exception as error:
            if self._is_disconnected:
                return
            if self._stream is not None and self._stream.has_begun:
                self._stream.abort()
                return
            request.write(refuse(request, error))
            request.finish()

    def _find_handler(self) -> Handler:
        handlers = self._match.endpoint.handlers
        method = self._request.method.decode("latin-1")
        handler = handlers.get("GET" if method == "HEAD" else method)
        if handler is None:
            raise errors.NoSuchMethod([*handlers, *(["HEAD"] if "GET" in handlers else [])])
        if not is_acceptable(handler.produces, self._accept):
            raise errors.NotAcceptable(
                f"the response is {' or '.join(handler.produces)}; allow that in Accept"
            )
        return handler

    @property
    def _accept(self) -> str | None:
        # A list, which several headers may hold.
        return self._header(b"accept")

    def _header(self, name: bytes) -> str | None:
        # Clients may send any bytes, and Twisted itself would insist on UTF-8.
        values = self._request.requestHeaders.getRawHeaders(name)
        return b", ".join(values).decode("latin-1") if values is not None else None

    async def _serve(self, handler: Handler) -> None:
        with self._context.pool.expect_request():
            text, directory = await self._read_request()
            try:
                worker = await self._acquire_worker(len(text))
            except BaseException:
                self._remove_uploads(directory)
                raise
        outputs = await self._run(worker, self._codes(handler, text), directory, handler)
        self._answer(handler, outputs)

    async def _read_request(self) -> tuple[str, Path | None]:
        """
        :return: The value of ``REQUEST``, and the directory of the body's files. Nothing else of
            the request stays in memory, because many requests may wait for a kernel.
        """
        request = self._request
        body = await self._read_body()
        directory: Path | None = None
        files: list[StoredFile] = []
        if body.uploads:
            directory, files = await self._context.uploads.store(body.uploads)
        try:
            return request_json(
                method=request.method.decode("latin-1"),
                url=request.uri,
                headers=[
                    (name, value)
                    for name, values in request.requestHeaders.getAllRawHeaders()
                    for value in values
                ],
                parameters=self._match.parameters,
                body=body,
                files=files,
                hide_token=self._settings.needs_token,
            ), directory
        except BaseException:
            self._remove_uploads(directory)
            raise

    def _codes(self, handler: Handler, text: str) -> list[CodeCell]:
        """
        :param text: The value of ``REQUEST``.
        :return: The assignment to ``REQUEST``, unless the cell makes it itself; the cell; and its
            ResponseInfo cells.
        """
        context = self._context
        on_stdout: Callable[[str], None] | None = None
        if handler.streams:
            self._stream = StreamedResponse(self._request, handler.produces[0], self._set_suspended)
            on_stdout = self._on_stdout
        source = assign_from_metadata(handler.source) if context.reads_metadata else None
        if source is not None:
            metadata = msgspec.json.encode({REQUEST_VARIABLE: text})
            cells = [CodeCell(source, metadata, on_stdout)]
        else:
            cells = [
                CodeCell(assign_request(context.language, text)),
                CodeCell(handler.source, on_stdout=on_stdout),
            ]
        self._cell_index = len(cells) - 1
        if handler.response is not None:
            cells.append(CodeCell(handler.response))
        return cells

    async def _read_body(self) -> RequestBody:
        check_single_headers(self._request, {b"content-type"})
        raw = self._request.content.read()
        self._request.content.close()
        reading = partial(
            read_body,
            self._header(b"content-type"),
            raw,
            max_parts=self._settings.max_parts,
        )
        if len(raw) <= self._context.uploads.max_inline_size:
            return reading()
        reactor = self._context.reactor
        return await deferToThreadPool(reactor, reactor.getThreadPool(), reading)

    def _remove_uploads(self, directory: Path | None) -> None:
        if directory is not None:
            self._context.uploads.remove(directory)

    async def _acquire_worker(self, size: int) -> Worker:
        if self._is_disconnected:
            raise CancelledError
        caller = identify_caller(self._request, self._settings.sticky, self._notebook_url() or "/")
        self._acquiring = self._context.pool.acquire(caller, size)
        try:
            return await self._acquiring
        finally:
            self._acquiring = None

    async def _run(
        self, worker: Worker, cells: Sequence[CodeCell], directory: Path | None, handler: Handler
    ) -> Sequence[Outputs]:
        """
        :return: The outputs of all pieces of code, or of those up to the one that failed.
        :raises errors.GatewayError: when the code did not finish.
        """
        self._worker = worker
        run: ExecutionBatch | None = None
        timeout = self._settings.request_timeout
        if timeout:
            self._deadline = self._context.reactor.callLater(timeout, self._time_out)
        try:
            run = worker.run(cells, self._output_exceeded)
            self._record_audit(worker, run, handler)
            run.answered.addCallback(self._finish)
            outputs = await self._outputs
            if run.loss_reason:
                raise errors.KernelLost(
                    f"the kernel ended before it had answered: {run.loss_reason}"
                )
            return outputs
        finally:
            if self._deadline is not None and self._deadline.active():
                self._deadline.cancel()
            self._worker = None
            if run is None:
                self._remove_uploads(directory)
            elif directory is not None:
                run.settled.addCallback(lambda _: self._remove_uploads(directory))
            worker.release(run)

    def _notebook_url(self) -> str:
        """
        :return: The notebook's path as the client sees it.
        """
        return base_url(self._request) + self._context.prefix

    def _record_audit(self, worker: Worker, run: ExecutionBatch, handler: Handler) -> None:
        audit = self._context.audit
        if audit.is_on:
            audit.record(
                "executed",
                kernel_id=worker.kernel_id,
                method=self._request.method.decode("latin-1"),
                endpoint=self._notebook_url() + self._match.endpoint.path,
                msg_type="execute_request",
                msg_id=run.executions[self._cell_index].msg_id,
                size=sum(len(code.source.encode()) + len(code.metadata) for code in run.cells),
                code=handler.source if audit.with_code else None,
            )

    def _finish(self, result: Any) -> None:
        if not self._outputs.called:
            self._outputs.callback(result)

    def _abort(self, error: Exception) -> None:
        """
        Interrupt the code, and do not wait until it has ended.
        """
        if self._worker is not None and not self._outputs.called:
            self._worker.interrupt()
            self._finish(Failure(error))  # type: ignore[no-untyped-call]

    def _time_out(self) -> None:
        self._abort(
            errors.ExecutionTimedOut(
                f"the code did not end within {self._settings.request_timeout:g} s and was "
                "interrupted; if it needs longer, raise --request-timeout"
            )
        )

    def _output_exceeded(self) -> None:
        self._abort(
            errors.ResponseTooLarge(
                f"the code gave more than {self._settings.max_response_size} bytes of output and "
                "was interrupted; if it needs that much, raise --max-response-size"
            )
        )

    def _client_disconnected(self, _: Failure) -> None:
        self._is_disconnected = True
        if self._acquiring is not None:
            self._acquiring.cancel()
        elif self._settings.interrupt_on_disconnect or self._stream is not None:
            self._abort(CancelledError())

    # --- streamed responses ---

    def _on_stdout(self, text: str) -> None:
        if self._stream is None or self._outputs.called:
            return
        if self._deadline is not None:
            # Each output starts the time limit anew.
            self._deadline.reset(self._settings.request_timeout)
        self._stream.write(text)

    def _set_suspended(self, is_suspended: bool) -> None:
        if self._worker is not None:
            (self._worker.suspend if is_suspended else self._worker.resume)()

    # --- complete responses ---

    def _answer(self, handler: Handler, outputs: Sequence[Outputs]) -> None:
        if self._is_disconnected:
            return
        # Code that failed comes last.
        last = outputs[-1]
        if self._stream is not None and last.error is None:
            self._stream.end()
            return
        if self._stream is not None and self._stream.has_begun:
            self._stream.abort()
            return
        if last.error is not None:
            main, info = last, None
        else:
            main = outputs[self._cell_index]
            info = last if last is not main else None
        response = make_response(
            main, info, handler=handler, accept=self._accept, rich=self._settings.rich_responses
        )
        if response.author_error:
            self._log.warn(
                "{prefix}{path}: {fault}",
                prefix=self._context.prefix,
                path=self._match.endpoint.path,
                fault=response.author_error,
            )
        write_response(self._request, response)
