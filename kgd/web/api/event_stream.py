"""
Sends the events of an execution as they come, as NDJSON or as server-sent events.

Formats: https://github.com/ndjson/ndjson-spec and
https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from zope.interface import implementer

from kgd.errors import InvalidRequest
from kgd.execution.submitted import Event, SubmittedExecution
from kgd.web.models import execution_model

NDJSON = "application/x-ndjson"
EVENT_STREAM = "text/event-stream"


def last_event_id(request: Any) -> int:
    """
    :return: The number of the last event that a client has, from ``Last-Event-ID``; 0 if it has
        none.
    :raises kgd.errors.InvalidRequest: when it is not a number.
    """
    value = request.getHeader(b"last-event-id")
    if value is None:
        return 0
    if not value.isdigit() or len(value) > 18:
        raise InvalidRequest("Last-Event-ID must be the id of an event, which is a number")
    return int(value)


@implementer(IPushProducer)
class EventStream:
    """
    One response. While its client does not read, the kernel is suspended, so that nothing is lost
    and little waits.

    :ivar is_over: Whether all events have been written.
    :param keep_alive_interval: Seconds of silence after which something without a meaning is sent.
    :param input_url: Where an input request can be answered.
    :param ended: Called when all events have been written.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        request: Any,
        kind: str,
        submitted: SubmittedExecution,
        keep_alive_interval: float,
        *,
        input_url: str,
        suspend: Callable[[], object],
        resume: Callable[[], object],
        ended: Callable[[], object],
    ) -> None:
        self._reactor = reactor
        self._request = request
        self._is_sse = kind == EVENT_STREAM
        self._kind = kind
        self._submitted = submitted
        self._interval = keep_alive_interval
        self._input_url = input_url
        self._suspend = suspend
        self._resume = resume
        self._ended = ended
        self._stop_following: Callable[[], None] = lambda: None
        self._keep_alive_call: IDelayedCall | None = None
        self._is_paused = False
        self.is_over = False

    def begin(self, after: int) -> None:
        """
        Send the events after one that the client has.

        :param after: Its number.
        """
        request = self._request
        request.setHeader(b"Content-Type", self._kind.encode("ascii"))
        request.setHeader(b"Cache-Control", b"no-cache")
        request.setHeader(b"X-Content-Type-Options", b"nosniff")
        # Otherwise proxies would buffer it.
        request.setHeader(b"X-Accel-Buffering", b"no")
        request.registerProducer(self, True)
        events = self._submitted.events
        if after + 1 < events.first:
            missing = msgspec.json.encode({"missing": events.first - after - 1})
            self._write(events.first - 1, "gap", missing)
        self._schedule_keep_alive()
        self._stop_following = events.follow(after, self._event)

    def _event(self, event: Event) -> None:
        data = event.data
        if event.kind == "input_request":
            data = data[:-1] + b',"url":' + msgspec.json.encode(self._input_url) + b"}"
        elif event.kind == "result":
            # The outputs have been sent.
            data = msgspec.json.encode(execution_model(self._submitted, with_outputs=False))
        elif event.kind == "output":
            data = b'{"output":' + data + b"}"
        self._write(event.number, event.kind, data)
        if event.kind == "result":
            self.is_over = True
            self._ended()
        elif self._keep_alive_call is not None:
            self._keep_alive_call.reset(self._interval)

    def _write(self, number: int, kind: str, data: bytes) -> None:
        if self._is_sse:
            self._request.write(b"id: %d\nevent: %s\ndata: %s\n\n" % (number, kind.encode(), data))
        else:
            separator = b"," if data != b"{}" else b""
            head = b'{"event":"%s","id":%d' % (kind.encode(), number)
            self._request.write(head + separator + data[1:] + b"\n")

    def _schedule_keep_alive(self) -> None:
        if self._interval:
            self._keep_alive_call = self._reactor.callLater(self._interval, self._keep_alive)

    def _keep_alive(self) -> None:
        if not self._is_paused:
            self._request.write(
                b": keep-alive\n\n" if self._is_sse else b'{"event":"keep-alive"}\n'
            )
        self._schedule_keep_alive()

    def close(self) -> None:
        """
        End, because everything has been sent or the client has left.
        """
        self._stop_following()
        if self._keep_alive_call is not None and self._keep_alive_call.active():
            self._keep_alive_call.cancel()
        self.resumeProducing()
        if self._request.channel is not None:
            # Otherwise the client has left, and there is nothing to unregister from.
            self._request.unregisterProducer()

    def pauseProducing(self) -> None:
        if not self._is_paused and not self._submitted.status:
            self._is_paused = True
            self._suspend()

    def resumeProducing(self) -> None:
        if self._is_paused:
            self._is_paused = False
            if not self._submitted.status:
                self._resume()

    def stopProducing(self) -> None:
        self.resumeProducing()
