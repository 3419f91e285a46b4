"""
The client for Twisted, on treq.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, Unpack

import treq
from treq.client import HTTPClient
from twisted.internet import defer
from twisted.internet import error as network_errors
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.web.client import (
    Agent,
    HTTPConnectionPool,
    RequestTransmissionFailed,
    ResponseDone,
    ResponseFailed,
    ResponseNeverReceived,
)
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent

from kgd.client import calls
from kgd.client.calls import Call, Request, Response
from kgd.client.retries import Attempts, RetryPolicy
from kgd.client.streams import ExecutionStream
from kgd.client.values import (
    Event,
    ExecuteOptions,
    ExecutionResult,
    GatewayUnreachable,
    KernelInfo,
    NotebookOptions,
    StreamOptions,
)

T = TypeVar("T")

#: Before the request was written.
_NOT_SENT = (network_errors.ConnectError, network_errors.DNSLookupError)
#: When it may have been.
_LOST = (
    network_errors.ConnectionClosed,
    RequestTransmissionFailed,
    ResponseFailed,
    ResponseNeverReceived,
)


class DeferredClient:
    """
    A client of one gateway, whose methods return Deferreds, which can be cancelled.

    :param url: The gateway's URL, such as ``http://127.0.0.1:8888``, with its base path if it has
        one.
    :param token: The gateway's token, if it wants one.
    :param timeout: Seconds that the gateway may take to answer, and that it may be silent in a
        stream. Running code and starting kernels may take as long as the gateway lets them.
    :param retries: How often to try.
    :param agent: What sends requests; one of Twisted's that keeps connections, if there is none.
        One's own can have other trust roots.
    :param reactor: The global one, if there is none.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout: float = 30.0,
        retries: RetryPolicy = RetryPolicy(),  # noqa: B008
        agent: IAgent | None = None,
        reactor: Any = None,
    ) -> None:
        self.url = calls.base_of(url)
        if reactor is None:
            from twisted.internet import reactor
        self._reactor: IReactorTime = reactor
        self._headers = calls.authorization(token)
        self._timeout = timeout
        self._retries = retries
        self._pool: HTTPConnectionPool | None = None
        if agent is None:
            self._pool = HTTPConnectionPool(reactor)  # type: ignore[no-untyped-call]
            # It would send again by itself what has no key.
            self._pool.retryAutomatically = False
            agent = Agent(  # type: ignore[no-untyped-call]
                reactor, connectTimeout=timeout, pool=self._pool
            )
        self._http = HTTPClient(agent)

    def close(self) -> Deferred[None]:
        """
        :return: Fires when the connections are closed.
        """
        return ensureDeferred(self._close())

    async def _close(self) -> None:
        if self._pool is not None:
            await self._pool.closeCachedConnections()  # type: ignore[no-untyped-call]

    def start_kernel(
        self,
        name: str | None = None,
        *,
        env: Mapping[str, str] | None = None,
        path: str | None = None,
    ) -> Deferred[DeferredKernel]:
        """
        Start a kernel; see :py:meth:`Client.start_kernel`.
        """
        started = self.send(calls.start_kernel(name, env, path))
        return started.addCallback(lambda info: DeferredKernel(self, info))

    def kernels(self) -> Deferred[list[KernelInfo]]:
        """
        :return: The running kernels; the gateway has to allow that, with ``--list-kernels``.
        """
        return self.send(calls.list_kernels())

    def kernel(self, kernel_id: str) -> Deferred[DeferredKernel]:
        """
        :return: A kernel that runs already.
        """
        shown = self.send(calls.show_kernel(kernel_id))
        return shown.addCallback(lambda info: DeferredKernel(self, info))

    def run_once(
        self,
        code: str,
        kernel_name: str | None = None,
        *,
        env: Mapping[str, str] | None = None,
        path: str | None = None,
        **options: Unpack[ExecuteOptions],
    ) -> Deferred[ExecutionResult]:
        """
        Run code in a kernel of its own, which is stopped afterwards. The parameters are those of
        :py:meth:`start_kernel` and of a kernel's ``execute``.
        """
        kernel = {"name": kernel_name, "env": env, "path": path}
        return self.send(calls.run_once(kernel, code, options))

    def run_notebook(
        self, notebook: Mapping[str, Any], **options: Unpack[NotebookOptions]
    ) -> Deferred[dict[str, Any]]:
        """
        Run a notebook in a kernel of its own.

        :param notebook: What is in its file.
        :param options: See :py:class:`kgd.client.values.NotebookOptions`.
        :return: The notebook with its outputs; ``metadata.kgd`` says how it has ended.
        """
        return self.send(calls.run_notebook(notebook, options))

    def send(self, call: Call[T]) -> Deferred[T]:
        """
        Make a request, more than once if need be.

        :return: Fails with :py:exc:`Refused` or :py:exc:`GatewayUnreachable`.
        """
        return ensureDeferred(self._send(call))

    async def _send(self, call: Call[T]) -> T:
        attempts = Attempts(self._retries)
        request = self._retries.prepared(call.request)
        while True:
            patience = max(self._timeout, request.patience or 0.0)
            try:
                response = await self._within(patience, self._answer(request, attempts))
            except (*_NOT_SENT, *_LOST) as error:
                await self._pause_after_loss(attempts, request, error)
                continue
            pause = attempts.pause_after(response)
            if pause is None:
                return call.parse(response)
            await deferLater(self._reactor, pause)

    async def _answer(self, request: Request, attempts: Attempts) -> Response:
        answered = await self._begin(request)
        return await _response_of(answered, attempts)

    def events(
        self, stream: ExecutionStream, on_event: Callable[[Event], object]
    ) -> Deferred[ExecutionResult]:
        """
        Read the events of an execution. To cancel the Deferred closes the connection.

        :param on_event: Called with each event.
        """
        return ensureDeferred(self._events(stream, on_event))

    async def _events(
        self, stream: ExecutionStream, on_event: Callable[[Event], object]
    ) -> ExecutionResult:
        attempts = Attempts(self._retries)

        def received(data: bytes) -> None:
            for event in stream.feed(data):
                attempts.begin_anew()
                on_event(event)

        while stream.result is None:
            request = self._retries.prepared(stream.request())
            try:
                answered = await self._within(self._timeout, self._begin(request))
                if answered.code == 200:
                    await _Body.read(answered, received, self._reactor, self._timeout)
                    if stream.result is None:
                        raise network_errors.ConnectionLost("it ended before the last event")
                    break
                response = await self._within(self._timeout, _response_of(answered, attempts))
            except (*_NOT_SENT, *_LOST) as error:
                await self._pause_after_loss(attempts, request, error)
                continue
            pause = attempts.pause_after(response)
            if pause is None:
                raise calls.refusal(response)
            await deferLater(self._reactor, pause)
        assert stream.result is not None
        return stream.result

    async def _begin(self, request: Request) -> Any:
        headers = Headers()
        for name, value in {**self._headers, **request.headers}.items():
            headers.addRawHeader(name, value)
        return await self._http.request(
            request.method,
            self.url + request.path,
            data=request.body or None,
            headers=headers,
            allow_redirects=False,
            unbuffered=True,
        )

    async def _within(self, seconds: float, working: Any) -> Any:
        done = ensureDeferred(working)
        try:
            return await done.addTimeout(seconds, self._reactor)
        except defer.TimeoutError:
            raise GatewayUnreachable(f"the gateway at {self.url} did not answer in time") from None

    async def _pause_after_loss(
        self, attempts: Attempts, request: Request, error: Exception
    ) -> None:
        was_sent = not isinstance(error, _NOT_SENT)
        pause = attempts.pause_after_loss(request, was_sent=was_sent)
        if pause is None:
            raise GatewayUnreachable(
                f"the gateway at {self.url} cannot be reached: {error}"
            ) from error
        await deferLater(self._reactor, pause)


async def _response_of(answered: Any, attempts: Attempts) -> Response:
    (retry_after,) = answered.headers.getRawHeaders("retry-after", [None])[:1]
    return Response(
        status=answered.code,
        reason=answered.phrase.decode("latin-1"),
        body=await treq.content(answered),
        retry_after=calls.seconds_of(retry_after),
        is_retry=not attempts.is_first,
    )


class _Body(Protocol):
    """
    A response that is read as it comes.
    """

    def __init__(
        self,
        received: Callable[[bytes], None],
        reactor: IReactorTime,
        longest_silence: float,
    ) -> None:
        self._received = received
        self._silence = reactor.callLater(longest_silence, self._fell_silent)
        self._longest_silence = longest_silence
        self._failure: Failure | None = None
        self.done: Deferred[None] = Deferred(lambda _: self._cancelled())

    @classmethod
    async def read(
        cls,
        answered: Any,
        received: Callable[[bytes], None],
        reactor: IReactorTime,
        longest_silence: float,
    ) -> None:
        """
        Read a response to its end.

        :param longest_silence: Seconds in which something has to come.
        """
        body = cls(received, reactor, longest_silence)
        answered.deliverBody(body)
        await body.done

    def dataReceived(self, data: bytes) -> None:
        """
        Something came.
        """
        if self._failure is not None:
            return
        self._silence.reset(self._longest_silence)
        try:
            self._received(data)
        except Exception:
            # It is the caller's, or an event that cannot be read.
            self._failure = Failure()  # type: ignore[no-untyped-call]
            self._abort()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """
        Nothing more comes.
        """
        if self._silence.active():
            self._silence.cancel()
        if self.done.called:
            return
        if self._failure is not None:
            self.done.errback(self._failure)
        elif reason.check(ResponseDone, PotentialDataLoss):  # type: ignore[no-untyped-call]
            # The events tell whether it is complete.
            self.done.callback(None)
        else:
            self.done.errback(reason)

    def _cancelled(self) -> None:
        # It may be that the connection is lost at once.
        self._failure = Failure(defer.CancelledError())  # type: ignore[no-untyped-call]
        self._abort()

    def _fell_silent(self) -> None:
        silence = network_errors.ConnectionLost("the gateway fell silent")
        self._failure = Failure(ResponseFailed([Failure(silence)]))  # type: ignore[no-untyped-call]
        self._abort()

    def _abort(self) -> None:
        transport: Any = self.transport
        if transport is not None:
            # Nothing waits to be sent, so that this is at once.
            transport.loseConnection()


class DeferredKernel:
    """
    A running kernel.

    :ivar info: What the gateway has last said about it.
    """

    def __init__(self, client: DeferredClient, info: KernelInfo) -> None:
        self._client = client
        self.info = info

    @property
    def id(self) -> str:
        """
        The kernel's id.
        """
        return self.info.id

    def execute(self, code: str, **options: Unpack[ExecuteOptions]) -> Deferred[ExecutionResult]:
        """
        Run code, and wait for its end.

        :param options: See :py:class:`kgd.client.values.ExecuteOptions`.
        :return: Fires with how it has ended, whether well or not.
        """
        return self._client.send(calls.execute(self.id, code, options))

    def stream(
        self, code: str, on_event: Callable[[Event], object], **options: Unpack[StreamOptions]
    ) -> Deferred[ExecutionResult]:
        """
        Run code, and get its outputs as they come.

        :param on_event: Called with each event.
        :param options: See :py:class:`kgd.client.values.StreamOptions`.
        :return: Fires with how it has ended. To cancel it interrupts the code, unless
            ``on_disconnect`` says otherwise.
        """
        return self._client.events(ExecutionStream(self.id, code, options), on_event)

    def send_input(self, execution_id: str, value: str) -> Deferred[None]:
        """
        Answer an input request.
        """
        return self._client.send(calls.send_input(self.id, execution_id, value))

    def executions(self) -> Deferred[list[ExecutionResult]]:
        """
        :return: The latest executions, without their outputs.
        """
        return self._client.send(calls.list_executions(self.id))

    def execution(self, execution_id: str, wait: float = 0.0) -> Deferred[ExecutionResult]:
        """
        :param wait: Seconds to wait for its end, at most 60.
        :return: An execution, as far as it has come.
        """
        return self._client.send(calls.show_execution(self.id, execution_id, wait))

    def cancel(self, execution_id: str) -> Deferred[None]:
        """
        Take an execution out of the queue, or interrupt it.
        """
        return self._client.send(calls.cancel_execution(self.id, execution_id))

    def interrupt(self) -> Deferred[None]:
        """
        Interrupt whatever it runs.
        """
        return self._client.send(calls.interrupt_kernel(self.id))

    def restart(self) -> Deferred[None]:
        """
        Replace its process. What it ran ends with the status ``died``.
        """
        return self._client.send(calls.restart_kernel(self.id)).addCallback(self._is_now)

    def refresh(self) -> Deferred[KernelInfo]:
        """
        :return: What the gateway says about it now.
        """
        shown = self._client.send(calls.show_kernel(self.id))

        def note(info: KernelInfo) -> KernelInfo:
            self._is_now(info)
            return info

        return shown.addCallback(note)

    def stop(self) -> Deferred[None]:
        """
        Stop it.
        """
        return self._client.send(calls.stop_kernel(self.id))

    def _is_now(self, info: KernelInfo) -> None:
        self.info = info
