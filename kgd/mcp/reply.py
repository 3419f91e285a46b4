"""
The HTTP response to one message: JSON if the answer comes soon, else server-sent events.

Format: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from zope.interface import implementer

from kgd.mcp.json_rpc import encode_notification
from kgd.web.responses import encoded_answer

JSON = "application/json"
EVENT_STREAM = "text/event-stream"


@implementer(IPushProducer)
class Reply:
    """
    Becomes a stream with the first notification, or when nothing has been sent for a while.

    :ivar is_paused: Whether the client does not read.
    :ivar resumed: Called when it reads again.
    :param accepted: Which of the two media types the client takes.
    :param keep_alive_interval: Seconds of silence; 0 is for ever.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        request: Any,
        accepted: frozenset[str],
        keep_alive_interval: float,
    ) -> None:
        self._reactor = reactor
        self._request = request
        self._accepted = accepted
        self._interval = keep_alive_interval
        self._keep_alive_call: IDelayedCall | None = None
        self._is_stream = False
        self._is_over = False
        self.is_paused = False
        self.resumed: Callable[[], None] = lambda: None
        if EVENT_STREAM in accepted:
            self._schedule_keep_alive()

    @property
    def can_notify(self) -> bool:
        """
        Whether notifications reach the client.
        """
        return EVENT_STREAM in self._accepted and not self._is_over

    def begin_stream(self) -> None:
        """
        Send the headers of a stream, if that has not been done.
        """
        if self._is_stream or self._is_over:
            return
        self._is_stream = True
        request = self._request
        request.setHeader(b"Content-Type", EVENT_STREAM.encode("ascii"))
        request.setHeader(b"Cache-Control", b"no-cache, no-transform")
        request.setHeader(b"X-Content-Type-Options", b"nosniff")
        # Otherwise proxies would buffer it.
        request.setHeader(b"X-Accel-Buffering", b"no")
        request.registerProducer(self, True)

    def notify(self, method: str, params: Mapping[str, Any]) -> None:
        """
        Send a notification, unless the client takes none.
        """
        if self.can_notify:
            self.begin_stream()
            self._write(encode_notification(method, params))
            if self._keep_alive_call is not None:
                self._keep_alive_call.reset(self._interval)

    def _write(self, message: bytes) -> None:
        # JSON in one line has no line breaks.
        self._request.write(b"event: message\ndata: %s\n\n" % message)

    def _schedule_keep_alive(self) -> None:
        if self._interval:
            self._keep_alive_call = self._reactor.callLater(self._interval, self._keep_alive)

    def _keep_alive(self) -> None:
        self.begin_stream()
        if not self.is_paused:
            self._request.write(b": keep-alive\n\n")
        self._schedule_keep_alive()

    def finish(self, message: bytes, status: int = 200) -> bytes:
        """
        Send the answer.

        :param message: A JSON-RPC response; empty for a request that needs none any more.
        :return: What is left to write.
        """
        if not self._is_stream and JSON in self._accepted and message:
            self.close()
            return encoded_answer(self._request, message, JSON.encode("ascii"), status)
        self.begin_stream()
        if message:
            self._write(message)
        self.close()
        return b""

    def close(self) -> None:
        """
        End, because everything has been sent or the client has left.
        """
        if self._is_over:
            return
        self._is_over = True
        if self._keep_alive_call is not None and self._keep_alive_call.active():
            self._keep_alive_call.cancel()
        # A client that has left has no channel any more.
        if self._is_stream and self._request.channel is not None:
            self._request.unregisterProducer()

    def pauseProducing(self) -> None:
        self.is_paused = True

    def resumeProducing(self) -> None:
        self.is_paused = False
        self.resumed()

    def stopProducing(self) -> None:
        pass
