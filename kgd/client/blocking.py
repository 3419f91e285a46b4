"""
The blocking client, on httpx.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator, Mapping
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


class Client:
    """
    A client of one gateway. It keeps connections open, so that it should be closed, or used as a
    context manager. Several threads may use it.

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
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.url = calls.base_of(url)
        self._timeout = timeout
        self._retries = retries
        self._sleep = sleep
        self._http = httpx.Client(
            headers=calls.authorization(token), verify=verify, transport=transport
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """
        Close the connections.
        """
        self._http.close()

    def start_kernel(
        self,
        name: str | None = None,
        *,
        env: Mapping[str, str] | None = None,
        path: str | None = None,
    ) -> Kernel:
        """
        Start a kernel.

        :param name: Its kernelspec; without one the gateway's default.
        :param env: Environment variables, as far as the gateway allows them.
        :param path: The working directory, below the gateway's ``--root-dir``.
        :return: The kernel. As a context manager, it is stopped at the end.
        """
        return Kernel(self, self.send(calls.start_kernel(name, env, path)))

    def kernels(self) -> list[KernelInfo]:
        """
        :return: The running kernels; the gateway has to allow that, with ``--list-kernels``.
        """
        return self.send(calls.list_kernels())

    def kernel(self, kernel_id: str) -> Kernel:
        """
        :return: A kernel that runs already.
        """
        return Kernel(self, self.send(calls.show_kernel(kernel_id)))

    def run_once(
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
        return self.send(calls.run_once(kernel, code, options))

    def run_notebook(
        self, notebook: Mapping[str, Any], **options: Unpack[NotebookOptions]
    ) -> dict[str, Any]:
        """
        Run a notebook in a kernel of its own.

        :param notebook: What is in its file.
        :param options: See :py:class:`kgd.client.values.NotebookOptions`.
        :return: The notebook with its outputs; ``metadata.kgd`` says how it has ended.
        """
        return self.send(calls.run_notebook(notebook, options))

    def send(self, call: Call[T]) -> T:
        """
        Make a request, more than once if need be.

        :raises Refused: when the gateway refuses.
        :raises GatewayUnreachable: when it does not answer.
        """
        attempts = Attempts(self._retries)
        request = self._retries.prepared(call.request)
        while True:
            try:
                answered = self._http.send(self._made(request))
            except httpx.TransportError as error:
                self._pause_after_loss(attempts, request, error)
                continue
            response = response_of(answered, answered.content, attempts)
            pause = attempts.pause_after(response)
            if pause is None:
                return call.parse(response)
            self._sleep(pause)

    def events(self, stream: ExecutionStream) -> Iterator[Event]:
        """
        :return: The events of an execution as they come. To stop reading closes the connection.
        """
        attempts = Attempts(self._retries)
        while stream.result is None:
            request = self._retries.prepared(stream.request())
            try:
                answered = self._http.send(self._made(request), stream=True)
                try:
                    if answered.status_code == 200:
                        for data in answered.iter_bytes():
                            for event in stream.feed(data):
                                attempts.begin_anew()
                                yield event
                        if stream.result is None:
                            raise httpx.ReadError("the stream ended before its last event")
                        return
                    response = response_of(answered, answered.read(), attempts)
                finally:
                    answered.close()
            except httpx.TransportError as error:
                self._pause_after_loss(attempts, request, error)
                continue
            pause = attempts.pause_after(response)
            if pause is None:
                raise calls.refusal(response)
            self._sleep(pause)

    def _made(self, request: Request) -> httpx.Request:
        return self._http.build_request(
            request.method,
            self.url + request.path,
            content=request.body,
            headers=request.headers,
            timeout=timeouts(self._timeout, request.patience),
        )

    def _pause_after_loss(
        self, attempts: Attempts, request: Request, error: httpx.TransportError
    ) -> None:
        pause = None
        if not is_final(error):
            pause = attempts.pause_after_loss(request, was_sent=was_sent(error))
        if pause is None:
            raise cannot_reach(self.url, error) from error
        self._sleep(pause)


class Kernel:
    """
    A running kernel. As a context manager, it is stopped at the end.

    :ivar info: What the gateway has last said about it.
    """

    def __init__(self, client: Client, info: KernelInfo) -> None:
        self._client = client
        self.info = info

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.send(calls.stop_kernel(self.id, may_be_gone=True))

    @property
    def id(self) -> str:
        """
        The kernel's id.
        """
        return self.info.id

    def execute(self, code: str, **options: Unpack[ExecuteOptions]) -> ExecutionResult:
        """
        Run code, and wait for its end.

        :param options: See :py:class:`kgd.client.values.ExecuteOptions`.
        :return: How it has ended, whether well or not.
        """
        return self._client.send(calls.execute(self.id, code, options))

    def stream(self, code: str, **options: Unpack[StreamOptions]) -> Iterator[Event]:
        """
        Run code, and get its outputs as they come.

        :param options: See :py:class:`kgd.client.values.StreamOptions`.
        :return: Events, of which the last is :py:class:`Finished`. To stop reading them interrupts
            the code, unless ``on_disconnect`` says otherwise.
        """
        return self._client.events(ExecutionStream(self.id, code, options))

    def send_input(self, execution_id: str, value: str) -> None:
        """
        Answer an input request.
        """
        self._client.send(calls.send_input(self.id, execution_id, value))

    def executions(self) -> list[ExecutionResult]:
        """
        :return: The latest executions, without their outputs.
        """
        return self._client.send(calls.list_executions(self.id))

    def execution(self, execution_id: str, wait: float = 0.0) -> ExecutionResult:
        """
        :param wait: Seconds to wait for its end, at most 60.
        :return: An execution, as far as it has come.
        """
        return self._client.send(calls.show_execution(self.id, execution_id, wait))

    def cancel(self, execution_id: str) -> None:
        """
        Take an execution out of the queue, or interrupt it.
        """
        self._client.send(calls.cancel_execution(self.id, execution_id))

    def interrupt(self) -> None:
        """
        Interrupt whatever it runs.
        """
        self._client.send(calls.interrupt_kernel(self.id))

    def restart(self) -> None:
        """
        Replace its process. What it ran ends with the status ``died``.
        """
        self.info = self._client.send(calls.restart_kernel(self.id))

    def refresh(self) -> KernelInfo:
        """
        :return: What the gateway says about it now.
        """
        self.info = self._client.send(calls.show_kernel(self.id))
        return self.info

    def stop(self) -> None:
        """
        Stop it.
        """
        self._client.send(calls.stop_kernel(self.id))
