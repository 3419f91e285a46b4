"""
A gateway that answers clients what a test says, without a network.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import attrs
import httpx
from twisted.internet import error
from twisted.internet.defer import Deferred, ensureDeferred, fail, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone, ResponseFailed
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IAgent, IResponse
from zope.interface import implementer

from kgd.client import AsyncClient, Client, DeferredClient, Event, ExecutionResult, KernelInfo
from kgd.client.retries import RetryPolicy

URL = "http://gateway.example:8888/base"
KERNEL: dict[str, Any] = {
    "id": "1-2-3-4-5",
    "name": "python3",
    "last_activity": "2026-01-02T03:04:05.000006Z",
    "execution_state": "idle",
    "connections": 0,
}
EXECUTION: dict[str, Any] = {
    "execution_id": "e1",
    "state": "done",
    "status": "ok",
    "created": "2026-01-02T03:04:05.000006Z",
    "started": "2026-01-02T03:04:06.000000Z",
    "duration": 0.5,
    "execution_count": 3,
    "outputs": [{"output_type": "stream", "name": "stdout", "text": "42\n"}],
    "outputs_complete": True,
    "error": None,
    "user_expressions": {},
    "ended_by": None,
    "input_request": None,
}


@attrs.frozen
class Answer:
    """
    What the gateway does with a request.

    :ivar chunks: The body.
    :ivar refuses: Whether there is no connection at all.
    :ivar breaks: Whether the connection is lost after the chunks, or at once if there are none.
    """

    status: int = 200
    chunks: Sequence[bytes] = ()
    headers: dict[str, str] = attrs.field(factory=dict)
    refuses: bool = False
    breaks: bool = False


def answer(value: Any, status: int = 200, **headers: str) -> Answer:
    """
    :return: An answer in JSON.
    """
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Answer(status, [json.dumps(value).encode()], named)


def events(*values: dict[str, Any], breaks: bool = False) -> Answer:
    """
    :return: A stream, one chunk for each event.
    """
    return Answer(chunks=[json.dumps(value).encode() + b"\n" for value in values], breaks=breaks)


REFUSES = Answer(refuses=True)
BREAKS = Answer(breaks=True)


@attrs.frozen
class Asked:
    """
    A request that came.
    """

    method: str
    url: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """
        The body.
        """
        return json.loads(self.body)


@attrs.define
class ScriptedGateway:
    """
    :ivar script: The answers, in order.
    :ivar asked: The requests that came.
    :ivar pauses: The pauses that the client has made.
    """

    script: list[Answer] = attrs.field(factory=list)
    asked: list[Asked] = attrs.field(factory=list)
    pauses: list[float] = attrs.field(factory=list)

    def take(self, method: str, url: str, headers: dict[str, str], body: bytes) -> Answer:
        """
        :return: The answer to a request.
        """
        self.asked.append(Asked(method, url, headers, body))
        return self.script.pop(0)


class Driver:
    """
    One of the clients, used as if it were a blocking one.

    :param gateway: Who answers it.
    """

    def __init__(self, gateway: ScriptedGateway, retries: RetryPolicy, token: str | None) -> None:
        self.gateway = gateway
        self.setUp(retries, token)

    def setUp(self, retries: RetryPolicy, token: str | None) -> None:
        """
        Make the client.
        """
        raise NotImplementedError

    def start_kernel(self, *arguments: Any, **more: Any) -> KernelInfo:
        """
        Start a kernel.
        """
        raise NotImplementedError

    def kernels(self) -> list[KernelInfo]:
        """
        List the kernels.
        """
        raise NotImplementedError

    def kernel(self, method: str, *arguments: Any, **more: Any) -> Any:
        """
        Call a method of the kernel whose description is :py:data:`KERNEL`.
        """
        raise NotImplementedError

    def stream(self, code: str, **options: Any) -> list[Event]:
        """
        :return: All events of an execution.
        """
        raise NotImplementedError

    def run_once(self, *arguments: Any, **options: Any) -> ExecutionResult:
        """
        Run code in a kernel of its own.
        """
        raise NotImplementedError

    def run_notebook(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        """
        Run a notebook.
        """
        raise NotImplementedError


class _Chunks(httpx.SyncByteStream, httpx.AsyncByteStream):
    def __init__(self, given: Answer) -> None:
        self._given = given

    def __iter__(self) -> Iterator[bytes]:
        yield from self._given.chunks
        if self._given.breaks:
            raise httpx.ReadError("broken")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self:
            yield chunk


def _httpx_transport(gateway: ScriptedGateway) -> httpx.MockTransport:
    def handle(request: httpx.Request) -> httpx.Response:
        given = gateway.take(
            request.method, str(request.url), dict(request.headers), request.content
        )
        if given.refuses:
            raise httpx.ConnectError("refused")
        if given.breaks and not given.chunks:
            raise httpx.ReadError("broken")
        return httpx.Response(given.status, headers=given.headers, stream=_Chunks(given))

    return httpx.MockTransport(handle)


class BlockingDriver(Driver):
    """
    ``Client``.
    """

    def setUp(self, retries: RetryPolicy, token: str | None) -> None:
        self.client = Client(
            URL,
            token=token,
            retries=retries,
            transport=_httpx_transport(self.gateway),
            sleep=self.gateway.pauses.append,
        )

    def start_kernel(self, *arguments: Any, **more: Any) -> KernelInfo:
        return self.client.start_kernel(*arguments, **more).info

    def kernels(self) -> list[KernelInfo]:
        return self.client.kernels()

    def kernel(self, method: str, *arguments: Any, **more: Any) -> Any:
        self.gateway.script.insert(0, answer(KERNEL))
        kernel = self.client.kernel(KERNEL["id"])
        self.gateway.asked.pop()
        return getattr(kernel, method)(*arguments, **more)

    def stream(self, code: str, **options: Any) -> list[Event]:
        return list(self.kernel("stream", code, **options))

    def run_once(self, *arguments: Any, **options: Any) -> ExecutionResult:
        return self.client.run_once(*arguments, **options)

    def run_notebook(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        return self.client.run_notebook(*arguments, **options)


class AsyncDriver(Driver):
    """
    ``AsyncClient``.
    """

    def setUp(self, retries: RetryPolicy, token: str | None) -> None:
        async def sleep(seconds: float) -> None:
            self.gateway.pauses.append(seconds)

        self.client = AsyncClient(
            URL,
            token=token,
            retries=retries,
            transport=_httpx_transport(self.gateway),
            sleep=sleep,
        )

    def start_kernel(self, *arguments: Any, **more: Any) -> KernelInfo:
        return asyncio.run(self.client.start_kernel(*arguments, **more)).info

    def kernels(self) -> list[KernelInfo]:
        return asyncio.run(self.client.kernels())

    def kernel(self, method: str, *arguments: Any, **more: Any) -> Any:
        async def call() -> Any:
            self.gateway.script.insert(0, answer(KERNEL))
            kernel = await self.client.kernel(KERNEL["id"])
            self.gateway.asked.pop()
            called = getattr(kernel, method)(*arguments, **more)
            return [each async for each in called] if method == "stream" else await called

        return asyncio.run(call())

    def stream(self, code: str, **options: Any) -> list[Event]:
        found: list[Event] = self.kernel("stream", code, **options)
        return found

    def run_once(self, *arguments: Any, **options: Any) -> ExecutionResult:
        return asyncio.run(self.client.run_once(*arguments, **options))

    def run_notebook(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        return asyncio.run(self.client.run_notebook(*arguments, **options))


@implementer(IResponse)
class _Response:
    version = (b"HTTP", 1, 1)
    length = UNKNOWN_LENGTH
    request = None
    previousResponse = None

    def __init__(self, given: Answer) -> None:
        self._given = given
        self.code = given.status
        self.phrase = b"A Phrase"
        self.headers = Headers({name: [value] for name, value in given.headers.items()})

    def deliverBody(self, protocol: Any) -> None:
        protocol.makeConnection(self)
        for chunk in self._given.chunks:
            protocol.dataReceived(chunk)
        reason: Exception = ResponseDone()
        if self._given.breaks:
            reason = ResponseFailed([Failure(error.ConnectionLost())])
        protocol.connectionLost(Failure(reason))

    def loseConnection(self) -> None:
        pass

    def setPreviousResponse(self, response: Any) -> None:
        pass


@implementer(IAgent)
class _Agent:
    def __init__(self, gateway: ScriptedGateway) -> None:
        self._gateway = gateway

    def request(
        self, method: bytes, uri: bytes, headers: Any = None, bodyProducer: Any = None
    ) -> Deferred[Any]:
        body: list[bytes] = []
        if bodyProducer is not None:
            body.append(bodyProducer._inputFile.read())
        named = {
            name.decode().lower(): values[0].decode() for name, values in headers.getAllRawHeaders()
        }
        given = self._gateway.take(method.decode(), uri.decode(), named, b"".join(body))
        if given.refuses:
            return fail(error.ConnectionRefusedError())
        if given.breaks and not given.chunks:
            return fail(ResponseFailed([Failure(error.ConnectionLost())]))
        return succeed(_Response(given))


class DeferredDriver(Driver):
    """
    ``DeferredClient``.
    """

    def setUp(self, retries: RetryPolicy, token: str | None) -> None:
        self.clock = Clock()
        self.client = DeferredClient(
            URL, token=token, retries=retries, agent=_Agent(self.gateway), reactor=self.clock
        )

    def _result(self, begin: Callable[[], Deferred[Any]]) -> Any:
        results: list[Any] = []
        begin().addBoth(results.append)
        while not results:
            # It pauses.
            calls = self.clock.getDelayedCalls()
            assert calls, "it waits for nothing"
            pause = min(call.getTime() for call in calls) - self.clock.seconds()
            self.gateway.pauses.append(pause)
            self.clock.advance(pause)
        assert not self.clock.getDelayedCalls(), "nothing is left"
        if isinstance(results[0], Failure):
            results[0].raiseException()
        return results[0]

    def start_kernel(self, *arguments: Any, **more: Any) -> KernelInfo:
        info: KernelInfo = self._result(lambda: self.client.start_kernel(*arguments, **more)).info
        return info

    def kernels(self) -> list[KernelInfo]:
        found: list[KernelInfo] = self._result(self.client.kernels)
        return found

    def kernel(self, method: str, *arguments: Any, **more: Any) -> Any:
        async def call() -> Any:
            self.gateway.script.insert(0, answer(KERNEL))
            kernel = await self.client.kernel(KERNEL["id"])
            self.gateway.asked.pop()
            return await getattr(kernel, method)(*arguments, **more)

        return self._result(lambda: ensureDeferred(call()))

    def stream(self, code: str, **options: Any) -> list[Event]:
        found: list[Event] = []
        self.kernel("stream", code, found.append, **options)
        return found

    def run_once(self, *arguments: Any, **options: Any) -> ExecutionResult:
        result: ExecutionResult = self._result(lambda: self.client.run_once(*arguments, **options))
        return result

    def run_notebook(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        result: dict[str, Any] = self._result(
            lambda: self.client.run_notebook(*arguments, **options)
        )
        return result
