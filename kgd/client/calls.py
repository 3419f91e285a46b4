"""
The gateway's HTTP API as values: what to send, and what an answer means. Nothing here does I/O.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import attrs

from kgd.client.values import (
    ClientError,
    ExecuteOptions,
    ExecutionError,
    ExecutionResult,
    KernelInfo,
    NotebookOptions,
    Refused,
)

T = TypeVar("T")

NDJSON = "application/x-ndjson"
_KEY = "Idempotency-Key"
#: Seconds that code may run by a gateway's default, and may wait for its turn before that.
_DEFAULT_TIMEOUT = 600.0
# The time to interrupt it, to kill its kernel and to start it again.
_ENDING = 120.0


@attrs.frozen(kw_only=True)
class Request:
    """
    A request.

    :ivar path: From the gateway's base URL on, with its query.
    :ivar patience: Seconds that the answer may take; ``None`` for what is usual.
    :ivar is_repeatable: Whether it does no harm to send it again when it may have arrived.
    """

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = attrs.field(factory=dict)
    patience: float | None = None
    is_repeatable: bool = True


@attrs.frozen(kw_only=True)
class Response:
    """
    A response.

    :ivar retry_after: The seconds in ``Retry-After``, if it has a number.
    :ivar is_retry: Whether the request was sent more than once.
    """

    status: int
    reason: str = ""
    body: bytes = b""
    retry_after: float | None = None
    is_retry: bool = False


@attrs.frozen
class Call(Generic[T]):
    """
    A request, and what becomes of its response.
    """

    request: Request
    parse: Callable[[Response], T]


def seconds_of(retry_after: str | None) -> float | None:
    """
    :return: The seconds in a header ``Retry-After``; ``None`` without one, and for a date.
    """
    return (
        float(retry_after)
        if retry_after and retry_after.isascii() and retry_after.isdigit()
        else None
    )


def base_of(url: str) -> str:
    """
    :param url: A gateway's URL, with its base path if it has one.
    :return: The same without a slash at the end.
    :raises ValueError: for what is no such URL.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is not the URL of a gateway, such as http://127.0.0.1:8888")
    if parts.query or parts.fragment or parts.username is not None:
        raise ValueError(
            "the URL of a gateway has no query, no fragment and no user; pass its token as token"
        )
    return url.rstrip("/")


def authorization(token: str | None) -> dict[str, str]:
    """
    :return: The headers that present a token.
    """
    return {"Authorization": f"token {token}"} if token else {}


def refusal(response: Response) -> Refused:
    """
    :return: The error that a response is.
    """
    try:
        body = json.loads(response.body)
        reason, message = str(body["reason"]), str(body["message"])
    except (ValueError, TypeError, KeyError):
        # It is not from a gateway, but from something before it.
        reason, message = response.reason, response.body[:200].decode("utf-8", "replace").strip()
    return Refused(response.status, reason, message, response.retry_after)


def without_key(request: Request) -> Request:
    """
    :return: The request for a gateway that takes no ``Idempotency-Key``.
    """
    headers = {name: value for name, value in request.headers.items() if name != _KEY}
    is_repeatable = request.is_repeatable and request.method != "POST"
    return attrs.evolve(request, headers=headers, is_repeatable=is_repeatable)


# --- the calls ------------------------------------------------------------------------------------


def start_kernel(
    name: str | None, env: Mapping[str, str] | None, path: str | None
) -> Call[KernelInfo]:
    """
    Start a kernel.
    """
    given = {"name": name, "env": env, "path": path}
    body = {key: value for key, value in given.items() if value is not None}
    # A kernel with a seed notebook answers when that has run.
    return Call(_post("/api/kernels", body, patience=_DEFAULT_TIMEOUT), _json(_kernel, 200, 201))


def list_kernels() -> Call[list[KernelInfo]]:
    """
    List the kernels.
    """
    return Call(_get("/api/kernels"), _json(_list_of(_kernel)))


def show_kernel(kernel_id: str) -> Call[KernelInfo]:
    """
    Show a kernel.
    """
    return Call(_get(_kernel_path(kernel_id)), _json(_kernel))


def stop_kernel(kernel_id: str, *, may_be_gone: bool = False) -> Call[None]:
    """
    Stop a kernel.

    :param may_be_gone: Whether it is no error that there is none.
    """

    def parse(response: Response) -> None:
        if not (may_be_gone and response.status == 404):
            _nothing(response)

    return Call(_delete(_kernel_path(kernel_id)), parse)


def interrupt_kernel(kernel_id: str) -> Call[None]:
    """
    Interrupt whatever a kernel runs.
    """
    return Call(_post(f"{_kernel_path(kernel_id)}/interrupt", None), _nothing)


def restart_kernel(kernel_id: str) -> Call[KernelInfo]:
    """
    Replace a kernel's process.
    """
    path = f"{_kernel_path(kernel_id)}/restart"
    return Call(_post(path, None, patience=_DEFAULT_TIMEOUT), _json(_kernel))


def execute(kernel_id: str, code: str, options: ExecuteOptions) -> Call[ExecutionResult]:
    """
    Run code, and wait for its end.
    """
    path = f"{_kernel_path(kernel_id)}/execute"
    patience = _DEFAULT_TIMEOUT + (options.get("timeout") or _DEFAULT_TIMEOUT) + _ENDING
    return Call(_post(path, {"code": code, **options}, patience=patience), _json(execution))


def run_once(
    kernel: Mapping[str, Any], code: str, options: ExecuteOptions
) -> Call[ExecutionResult]:
    """
    Run code in a kernel of its own.

    :param kernel: ``name``, ``env`` and ``path``, of which any can be ``None``.
    """
    wanted = {key: value for key, value in kernel.items() if value is not None}
    timeout = options.get("timeout") or _DEFAULT_TIMEOUT
    body = {"code": code, "kernel": wanted, **options}
    # The kernel may take as long to start as the code may run.
    patience = 2 * timeout + _ENDING
    return Call(_post("/api/execute", body, patience=patience), _json(execution))


def run_notebook(notebook: Mapping[str, Any], options: NotebookOptions) -> Call[dict[str, Any]]:
    """
    Run a notebook in a kernel of its own.
    """
    request = _post("/api/notebooks/run", {"notebook": notebook, **options})
    timeout = options.get("timeout") or _DEFAULT_TIMEOUT
    # Each cell, and the start, may take so long.
    patience = timeout * (len(notebook.get("cells", ())) + 1) + _ENDING
    headers = {**request.headers, "Accept": "application/json"}
    return Call(attrs.evolve(request, headers=headers, patience=patience), _json(_notebook))


def stream(kernel_id: str, code: str, options: ExecuteOptions) -> Request:
    """
    :return: A request whose response has events (see :py:mod:`kgd.client.streams`).
    """
    request = _post(f"{_kernel_path(kernel_id)}/execute", {"code": code, **options})
    return attrs.evolve(request, headers={**request.headers, "Accept": NDJSON})


def resume(kernel_id: str, execution_id: str, after: int) -> Request:
    """
    :param after: The number of the last event that came.
    :return: A request for the events after it.
    """
    path = _execution_path(kernel_id, execution_id)
    headers = {"Accept": NDJSON, "Last-Event-ID": str(after)}
    return Request(method="GET", path=path, headers=headers)


def list_executions(kernel_id: str) -> Call[list[ExecutionResult]]:
    """
    List the latest executions of a kernel, without their outputs.
    """
    return Call(_get(f"{_kernel_path(kernel_id)}/executions"), _json(_list_of(execution)))


def show_execution(kernel_id: str, execution_id: str, wait: float) -> Call[ExecutionResult]:
    """
    Show an execution.

    :param wait: Seconds to wait for its end.
    """
    query = "?" + urlencode({"wait": f"{wait:g}"}) if wait else ""
    request = _get(_execution_path(kernel_id, execution_id) + query)
    return Call(attrs.evolve(request, patience=wait + 30 if wait else None), _json(execution))


def cancel_execution(kernel_id: str, execution_id: str) -> Call[None]:
    """
    Take an execution out of the queue, or interrupt it.
    """
    return Call(_delete(_execution_path(kernel_id, execution_id)), _nothing)


def send_input(kernel_id: str, execution_id: str, value: str) -> Call[None]:
    """
    Answer an input request.
    """
    request = _post(f"{_execution_path(kernel_id, execution_id)}/input", {"value": value})
    # It could answer the next request, too.
    return Call(attrs.evolve(request, is_repeatable=False), _nothing)


# --- their parts ----------------------------------------------------------------------------------


def _kernel_path(kernel_id: str) -> str:
    return f"/api/kernels/{quote(kernel_id, safe='')}"


def _execution_path(kernel_id: str, execution_id: str) -> str:
    return f"{_kernel_path(kernel_id)}/executions/{quote(execution_id, safe='')}"


def _get(path: str) -> Request:
    return Request(method="GET", path=path)


def _delete(path: str) -> Request:
    return Request(method="DELETE", path=path, patience=_ENDING)


def _post(path: str, body: Any, patience: float | None = None) -> Request:
    headers = {_KEY: os.urandom(16).hex()}
    data = b""
    if body is not None:
        headers["Content-Type"] = "application/json"
        try:
            data = json.dumps(body, allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            raise ClientError(f"the request cannot be written as JSON: {error}") from None
    return Request(method="POST", path=path, body=data, headers=headers, patience=patience)


def _nothing(response: Response) -> None:
    # What is gone at the second attempt, or has ended, was so because of the first.
    if response.status >= 300 and not (response.is_retry and response.status in (404, 409)):
        raise refusal(response)


def _json(read: Callable[[Any], T], *expected: int) -> Callable[[Response], T]:
    def parse(response: Response) -> T:
        if response.status not in (expected or (200,)):
            raise refusal(response)
        try:
            return read(json.loads(response.body))
        except (ValueError, TypeError, KeyError) as error:
            raise ClientError(
                f"this is not the answer of a kernel gateway ({type(error).__name__}: {error}); "
                "check its URL, and whether its version runs code over HTTP"
            ) from None

    return parse


def _list_of(read: Callable[[Any], T]) -> Callable[[Any], list[T]]:
    return lambda values: [read(value) for value in values]


def _kernel(value: Any) -> KernelInfo:
    return KernelInfo(
        id=str(value["id"]),
        name=str(value["name"]),
        execution_state=str(value["execution_state"]),
        connections=int(value["connections"]),
        last_activity=datetime.fromisoformat(value["last_activity"]),
        reason=str(value.get("reason") or ""),
    )


def _notebook(value: Any) -> dict[str, Any]:
    return {**value, "cells": value["cells"]}


def execution(value: Any) -> ExecutionResult:
    """
    :param value: An execution as JSON.
    :return: The same as a value.
    """
    error = value.get("error")
    return ExecutionResult(
        execution_id=str(value["execution_id"]),
        state=str(value["state"]),
        status=value["status"],
        execution_count=value.get("execution_count"),
        outputs=value.get("outputs", ()),
        outputs_complete=bool(value.get("outputs_complete", True)),
        error=error and ExecutionError(error["ename"], error["evalue"], error["traceback"]),
        user_expressions=value.get("user_expressions", {}),
        created=_time(value.get("created")),
        started=_time(value.get("started")),
        duration=value.get("duration"),
        ended_by=value.get("ended_by"),
    )


def _time(value: Any) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value)
