"""
Answers that are given when code has ended, or bit by bit as it runs. Several requests may get the
same one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from kgd.deferreds import Waiters
from kgd.interfaces import IKernels
from kgd.web.api.event_stream import EVENT_STREAM, NDJSON, EventSource, EventStream


class Running(EventSource, Protocol):
    """
    Something that runs code, and has events.
    """

    def when_done(self) -> Deferred[None]:
        """
        :return: Fires when it has ended.
        """


@attrs.define(eq=False, kw_only=True)
class RunAnswer:
    """
    The answer to requests that run code. It is left when the last request that waits for it has
    been given up by its client.

    :ivar kind: Its media type.
    :ivar running: What runs.
    :ivar whole: Makes the answer to a request that waits for the end.
    :ivar result: Makes the object that ends a stream.
    :ivar left: Called when it is left before the end.
    :ivar input_url: Where input requests are answered.
    :ivar kernel_id: The kernel that is suspended while the reader of a stream does not read.
    :ivar memory: Tells about how many bytes of memory it takes.
    """

    reactor: IReactorTime
    kernels: IKernels
    keep_alive_interval: float
    kind: str
    running: Running
    whole: Callable[[Any], bytes]
    result: Callable[[], object]
    left: Callable[[], object]
    input_url: str
    kernel_id: str
    memory: Callable[[], int]
    _waiting: int = 0
    # How many readers of streams do not read.
    _paused: int = 0

    def when_finished(self) -> Deferred[None]:
        """
        :return: Fires when nothing is added to it any more.
        """
        return self.running.when_done()

    @property
    def size(self) -> int:
        """
        About how many bytes of memory it takes.
        """
        return self.memory()

    async def send(self, request: Any, after: int = 0) -> bytes:
        """
        Give it to a request.

        :param after: Of a stream, the number of the last event that the client has.
        """
        self._waiting += 1
        try:
            if self.kind in (NDJSON, EVENT_STREAM):
                await self._stream(request, after)
                return b""
            if not self.running.status:
                await self.running.when_done()
            return self.whole(request)
        finally:
            self._waiting -= 1
            self.leave()

    def leave(self) -> None:
        """
        Have it end, if no request waits for it.
        """
        if not self._waiting and not self.running.status:
            self.left()

    async def _stream(self, request: Any, after: int) -> None:
        ended: Waiters[None] = Waiters()
        stream = EventStream(
            self.reactor,
            request,
            self.kind,
            self.running,
            self.keep_alive_interval,
            result=self.result,
            input_url=self.input_url,
            suspend=self._suspend,
            resume=self._resume,
            ended=lambda: ended.fire(None),
        )
        waiting = ended.wait()
        try:
            stream.begin(after)
            if not stream.is_over:
                await waiting
        finally:
            stream.close()

    def _suspend(self) -> None:
        self._paused += 1
        if self._paused == 1:
            self.kernels.suspend(self.kernel_id)

    def _resume(self) -> None:
        self._paused -= 1
        if not self._paused:
            self.kernels.resume(self.kernel_id)
