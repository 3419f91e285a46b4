"""
``/api/notebooks/run``: run all cells of a notebook in a kernel that exists for it only.
"""

from __future__ import annotations

from typing import Any

import msgspec

from kgd import errors
from kgd.execution.notebook_run import NotebookRun, RunOptions
from kgd.execution.queue import check_timeout
from kgd.execution.runnable_notebook import runnable_notebook, set_kernel, set_parameters
from kgd.fetching.allowed import allowed_uri
from kgd.fetching.notebooks import fetch
from kgd.interfaces import IGateway, StartRequest
from kgd.kernels.temporary import TemporaryKernels
from kgd.notebook.media_types import JSON, media_type
from kgd.notebook.reading import read_json
from kgd.web.api.answers import RunAnswer
from kgd.web.api.event_stream import EVENT_STREAM, NDJSON
from kgd.web.api.executions import ExecutionsAPI, wanted_type
from kgd.web.bodies import check_size, read_body
from kgd.web.idempotency import answer_with
from kgd.web.models import RunNotebook
from kgd.web.responses import encoded_answer
from kgd.web.routes import Repeats, Route

#: The media type of notebooks.
IPYNB = "application/x-ipynb+json"


class NotebookRunsAPI:
    """
    Notebooks that are run for their outputs.
    """

    def __init__(
        self, gateway: IGateway, temporary: TemporaryKernels, executions: ExecutionsAPI
    ) -> None:
        self._gateway = gateway
        self._settings = gateway.settings
        self._temporary = temporary
        self._executions = executions

    def routes(self) -> list[Route]:
        """
        :return: The routes of this part of the API.
        """
        return [
            Route(
                "/api/notebooks/run",
                ("POST",),
                self.run,
                summary="Run a notebook in a new kernel",
                scope="kernels:write kernels:execute",
                repeats=Repeats.UNLESS_LEFT,
            )
        ]

    async def run(self, request: Any) -> bytes:
        """
        ``POST /api/notebooks/run``.
        """
        kind = wanted_type(request, (IPYNB, JSON, NDJSON, EVENT_STREAM))
        body = self._read(request)
        timeout = check_timeout(body.timeout, self._settings.max_execute_timeout)
        notebook = await self._notebook(body)
        name = body.kernel_name or notebook["metadata"].get("kernelspec", {}).get("name")
        settings = self._settings
        spec = self._gateway.kernel_specs.find(
            settings.force_kernel_name or name or settings.default_kernel_name
        )
        set_parameters(notebook, spec.language, body.parameters)
        set_kernel(notebook, spec.name, spec.display_name, spec.language)
        kernel = await self._temporary.start(StartRequest(name=spec.name), timeout)
        kernel_id = kernel.kernel_id
        run = NotebookRun(
            self._gateway.reactor,
            self._executions.queues.of(kernel),
            notebook,
            RunOptions(
                timeout=timeout,
                stops_on_error=body.on_error == "stop",
                parameters=body.parameters,
                max_output=settings.max_response_size,
            ),
        )
        run.when_done().addCallback(lambda _: self._temporary.stop(kernel_id))

        def left() -> None:
            if body.on_disconnect == "interrupt":
                run.cancel()
                self._temporary.stop(kernel_id)

        source_size = len(msgspec.json.encode(notebook))
        answer = RunAnswer(
            reactor=self._gateway.reactor,
            kernels=self._gateway.kernels,
            keep_alive_interval=settings.keep_alive_interval,
            kind=kind,
            running=run,
            whole=lambda request: encoded_answer(
                request, msgspec.json.encode(run.notebook), kind.encode("ascii")
            ),
            result=lambda: {**run.summary(), "notebook": run.notebook},
            left=left,
            input_url="",
            kernel_id=kernel_id,
            memory=lambda: source_size + run.size,
        )
        return await answer_with(request, answer)

    def _read(self, request: Any) -> RunNotebook:
        limit = self._settings.max_seed_size
        if media_type((request.getHeader(b"content-type") or b"").decode("latin-1")) == IPYNB:
            check_size(request, limit)
            try:
                return RunNotebook(notebook=read_json(request.content.read(), "the body"))
            except errors.InvalidNotebook as error:
                raise errors.InvalidRequest(str(error)) from None
        body = read_body(request, RunNotebook, limit=limit)
        if body is None:
            raise errors.InvalidRequest('JSON body must be an object like {"notebook": {...}}')
        if (body.notebook is None) == (body.uri is None):
            raise errors.InvalidRequest("JSON body must have one of notebook and uri")
        return body

    async def _notebook(self, body: RunNotebook) -> dict[str, Any]:
        """
        :return: A notebook that can be run.
        :raises kgd.errors.InvalidRequest: when there is none.
        :raises kgd.errors.ResourceForbidden: when the operator does not allow it.
        """
        content, settings = body.notebook, self._settings
        try:
            if body.uri is not None:
                uri = allowed_uri(body.uri, settings.notebook_uris)
                if uri is None:
                    raise errors.ResourceForbidden(
                        "uri: the gateway may not read it; send the notebook itself, or ask the "
                        "gateway's operator to allow it with --notebook-uris"
                    )
                raw = await fetch(
                    self._gateway.reactor, uri, settings.max_seed_size, settings.seed_timeout
                )
                content = read_json(raw, "uri")
            return runnable_notebook(content)
        except (errors.InvalidNotebook, errors.NotebookUnavailable) as error:
            raise errors.InvalidRequest(str(error)) from None
