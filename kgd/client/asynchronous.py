"""
The client for asyncio, on httpx.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Self, TypeVar, Unpack

import httpx

from kgd.client import calls
from kgd.client.calls import Call, Request
from kgd.client.httpx_values import (
    cannot_reach,
    is_final,
    response_of,
    timeouts,
    was_sent,
)
from kgd.client.retries import Attempts, RetryPolicy
from kgd.client.streams import ExecutionStream
from kgd.client.values import (
    Event,
    ExecuteOptions,
    ExecutionResult,
    KernelInfo,
    NotebookOptions,
    StreamOptions,
)

T = TypeVar("T")


class AsyncClient:
    """
    A client of one gateway. It keeps connections open, so that it should be closed, or used as a
    context manager. It belongs to one event loop.

    :param url: The gateway's URL, such as ``http://127.0.0.1:8888``, with its base path if it has
        one.
    :param token: The gateway's token, if it wants one.
    :param timeout: Seconds that the gateway may take to answer, and that it may be silent in a
        stream. Running code and starting kernels may take as long as the gateway lets them.
    :param retries: How often to try.
    :param verify: How to verify a gateway's certificate: a context of one's own, or ``False`` for
        not at all.
    :param transport: What httpx sends requests with, if it is not to be the network.
    :param sleep: Waits before another attempt.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout: float = 30.0,
        retries: RetryPolicy = RetryPolicy(),  # noqa: B008
        verify: ssl.SSLContext | bool = True,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.url = calls.base_of(url)
        self._timeout = timeout
        self._retries = retries
        self._sleep = sleep
        self._http = httpx.AsyncClient(
            headers=calls.authorization(token), verify=verify, transport=transport
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """
        Close the connections.
        """
        await self._http.aclose()

    async def start_kernel(
        self,
        name: str | None = None,
        *,
        env: Mapping[str, str] | None = None,
        path: str | None = None,
    ) -> AsyncKernel:
        """
        Start a kernel.

        :param name: Its kernelspec; without one the gateway's default.
        :param env: Environment variables, as far as the gateway allows them.
        :param path: The working directory, below the gateway's ``--root-dir``.
        :return: The kernel. As a context manager, it is stopped at the end.
        """
        return AsyncKernel(self, await self.send(calls.start_kernel(name, env, path)))

    async def kernels(self) -> list[KernelInfo]:
        """
        :return: The running kernels; the gateway has to allow that, with ``--list-kernels``.
        """
        return await self.send(calls.list_kernels())

    async def kernel(self, kernel_id: str) -> AsyncKernel:
        """
        :return: A kernel that runs already.
        """
        return AsyncKernel(self, await self.send(calls.show_kernel(kernel_id)))

    async def run_once(
        self,
        code: str,
        kernel_name: str | None = None,
        *,
        env: Mapping[str, str] | None = None,
        path: str | None = None,
        **options: Unpack[ExecuteOptions],
    ) -> ExecutionResult:
        """
        Run code in a kernel of its own, which is stopped afterwards. The parameters are those of
        :py:meth:`start_kernel` and of a kernel's ``execute``.
        """
        kernel = {"name": kernel_name, "env": env, "path": path}
        return await self.send(calls.run_once(kernel, code, options))

    async def run_notebook(
        self, notebook: Mapping[str, Any], **options: Unpack[NotebookOptions]
    ) -> dict[str, Any]:
        """
        Run a notebook in a kernel of its own.

        :param notebook: What is in its file.
        :param options: See :py:class:`kgd.client.values.NotebookOptions`.
        :return: The notebook with its outputs; ``metadata.kgd`` says how it has ended.
        """
        return await self.send(calls.run_notebook(notebook, options))

    async def send(self, call: Call[T]) -> T:
        """
        Make a request, more than once if need be.

        :raises Refused: when the gateway refuses.
        :raises GatewayUnreachable: when it does not answer.
        """
        attempts = Attempts(self._retries)
        request = self._retries.prepared(call.request)
        while True:
            try:
                answered = await self._http.send(self._made(request))
            except httpx.TransportError as error:
                await self._pause_after_loss(attempts, request, error)
                continue
            response = response_of(answered, answered.content, attempts)
            pause = attempts.pause_after(response)
            if pause is None:
                return call.parse(response)
            await self._sleep(pause)

    async def events(self, stream: ExecutionStream) -> AsyncIterator[Event]:
        """
        :return: The events of an execution as they come. To stop reading closes the connection.
        """
        attempts = Attempts(self._retries)
        while stream.result is None:
            request = self._retries.prepared(stream.request())
            try:
                answered = await self._http.send(self._made(request), stream=True)
                try:
                    if answered.status_code == 200:
                        async for data in answered.aiter_bytes():
                            for event in stream.feed(data):
                                attempts.begin_anew()
                                yield event
                        if stream.result is None:
                            raise httpx.ReadError("the stream ended before its last event")
                        return
                    response = response_of(answered, await answered.aread(), attempts)
                finally:
                    await answered.aclose()
            except httpx.TransportError as error:
                await self._pause_after_loss(attempts, request, error)
                continue
            pause = attempts.pause_after(response)
            if pause is None:
                raise calls.refusal(response)
            await self._sleep(pause)

    def _made(self, request: Request) -> httpx.Request:
        return self._http.build_request(
            request.method,
            self.url + request.path,
            content=request.body,
            headers=request.headers,
            timeout=timeouts(self._timeout, request.patience),
        )

    async def _pause_after_loss(
        self, attempts: Attempts, request: Request, error: httpx.TransportError
    ) -> None:
        pause = None
        if not is_final(error):
            pause = attempts.pause_after_loss(request, was_sent=was_sent(error))
        if pause is None:
            raise cannot_reach(self.url, error) from error
        await self._sleep(pause)


class AsyncKernel:
    """
    A running kernel. As a context manager, it is stopped at the end.

    :ivar info: What the gateway has last said about it.
    """

    def __init__(self, client: AsyncClient, info: KernelInfo) -> None:
        self._client = client
        self.info = info

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.send(calls.stop_kernel(self.id, may_be_gone=True))

    @property
    def id(self) -> str:
        """
        The kernel's id.
        """
        return self.info.id

    async def execute(self, code: str, **options: Unpack[ExecuteOptions]) -> ExecutionResult:
        """
        Run code, and wait for its end.

        :param options: See :py:class:`kgd.client.values.ExecuteOptions`.
        :return: How it has ended, whether well or not.
        """
        return await self._client.send(calls.execute(self.id, code, options))

    def stream(self, code: str, **options: Unpack[StreamOptions]) -> AsyncIterator[Event]:
        """
        Run code, and get its outputs as they come.

        :param options: See :py:class:`kgd.client.values.StreamOptions`.
        :return: Events, of which the last is :py:class:`Finished`. To stop reading them interrupts
            the code, unless ``on_disconnect`` says otherwise.
        """
        return self._client.events(ExecutionStream(self.id, code, options))

    async def send_input(self, execution_id: str, value: str) -> None:
        """
        Answer an input request.
        """
        await self._client.send(calls.send_input(self.id, execution_id, value))

    async def executions(self) -> list[ExecutionResult]:
        """
        :return: The latest executions, without their outputs.
        """
        return await self._client.send(calls.list_executions(self.id))

    async def execution(self, execution_id: str, wait: float = 0.0) -> ExecutionResult:
        """
        :param wait: Seconds to wait for its end, at most 60.
        :return: An execution, as far as it has come.
        """
        return await self._client.send(calls.show_execution(self.id, execution_id, wait))

    async def cancel(self, execution_id: str) -> None:
        """
        Take an execution out of the queue, or interrupt it.
        """
        await self._client.send(calls.cancel_execution(self.id, execution_id))

    async def interrupt(self) -> None:
        """
        Interrupt whatever it runs.
        """
        await self._client.send(calls.interrupt_kernel(self.id))

    async def restart(self) -> None:
        """
        Replace its process. What it ran ends with the status ``died``.
        """
        self.info = await self._client.send(calls.restart_kernel(self.id))

    async def refresh(self) -> KernelInfo:
        """
        :return: What the gateway says about it now.
        """
        self.info = await self._client.send(calls.show_kernel(self.id))
        return self.info

    async def stop(self) -> None:
        """
        Stop it.
        """
        await self._client.send(calls.stop_kernel(self.id))
