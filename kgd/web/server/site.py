"""
The HTTP/1.1 server: Twisted's parser with limits, deadlines, strict checks, and without Nagle's
algorithm.

The checks are made where Twisted's parser hands over lines, headers and heads. Its timer is not
used, because every byte would set it again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto
from io import BytesIO
from typing import Any

from twisted.internet.interfaces import (
    IDelayedCall,
    IHandshakeListener,
    IReactorTime,
    ISSLTransport,
)
from twisted.internet.protocol import connectionDone
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, datetimeToString
from twisted.web.server import Request, Site
from zope.interface import implementer

from kgd import errors
from kgd.settings import Settings
from kgd.web.body_sink import BodySink
from kgd.web.embedded import fail_request
from kgd.web.errors import refuse
from kgd.web.root import RootResource
from kgd.web.server.deadlines import Connections, TooManyConnections, client_network
from kgd.web.server.delivery import unacknowledged_size, unsent_size_below_tls
from kgd.web.server.request_head import (
    check_body_headers,
    check_header_line,
    check_host,
    check_length_header,
    read_target,
)

# After a refusal, the client has this many seconds to read the response, and may send this many
# bytes that are discarded. Closing at once would make its system discard the response.
LINGER = 5.0
LINGER_BYTES = 64 * 1024 * 1024
# In bytes. Larger bodies are not read if the head alone is a reason to refuse the request.
LARGE_BODY = 64 * 1024
NEVER = float("inf")
_UNLIMITED = 1 << 62


class Phase(Enum):
    """
    What a connection is waiting for.
    """

    HEAD = auto()
    BODY = auto()
    RESPONSE = auto()
    KEEP_ALIVE = auto()
    CLOSING = auto()


class GatewayRequest(Request):
    """
    A request whose body stays in memory and within the limit, unless a sink takes it.

    :ivar sink: Takes the body.
    """

    defaultContentType = None
    channel: Any
    sink: BodySink | None = None

    def gotLength(self, length: int | None) -> None:
        """
        Called after the headers; ``length`` is ``None`` for a chunked body.
        """
        self.content = BytesIO()
        sink = self.sink
        if sink is not None:
            channel = self.channel
            sink.pause, sink.resume, sink.refuse = (
                channel.pause_reading,
                channel.resume_reading,
                channel.refuse_body,
            )
            error = sink.check_size(length or 0) or sink.error
            if error is not None:
                channel.refuse(error)
        elif length is not None and length > self.channel.site.max_body_size:
            self._refuse_body()

    def handleContentChunk(self, data: bytes) -> None:
        """
        Called with a piece of the body.
        """
        channel = self.channel
        if channel.is_refused:
            return
        if self.sink is not None:
            self._give_to(self.sink, data)
            return
        assert self.content is not None
        size = self.content.tell() + len(data)
        if size > channel.site.max_body_size:
            self._refuse_body()
        else:
            self.content.write(data)
            channel.body_received(size)

    def _give_to(self, sink: BodySink, data: bytes) -> None:
        error = sink.check_size(sink.size + len(data))
        if error is not None:
            self.channel.refuse(error)
            return
        sink.received(data)
        self.channel.body_received(sink.size)

    def finish(self) -> None:
        """
        Complete the response.
        """
        if self.sink is not None:
            self.sink.abort()
        super().finish()  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Failure) -> None:
        """
        Called when the connection is lost before the response is complete.
        """
        if self.sink is not None:
            self.sink.abort()
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

    def _refuse_body(self) -> None:
        self.content = BytesIO()
        limit = self.channel.site.max_body_size
        self.channel.refuse(errors.BodyTooLarge(f"the body may have at most {limit} bytes"))

    def process(self) -> None:
        """
        Render the complete request with the root, which also handles ``*``. Twisted would look for
        a child of the root.
        """
        self.site = self.channel.site
        self.setHeader(b"Date", datetimeToString())  # type: ignore[no-untyped-call]
        self.prepath, self.postpath = [], []
        try:
            self.render(self.channel.site.root)  # type: ignore[no-untyped-call]
        except Exception as error:
            # The root handles all errors of its own; Twisted would answer with HTML.
            self.write(refuse(self, error))  # type: ignore[no-untyped-call]
            self.finish()

    def processingFailed(self, reason: Failure) -> None:
        """
        Answer with an error, after the request was to be answered later.
        """
        fail_request(self, reason)


@implementer(IHandshakeListener)
class GatewayHTTPChannel(HTTPChannel):
    """
    One HTTP/1.1 connection.

    :ivar is_refused: Whether a request has been refused. Everything after it is discarded.
    """

    transport: Any
    site: Any
    # The site's own limits apply instead; exceeding them gives an error in JSON.
    MAX_LENGTH = totalHeadersSize = maxHeaders = _UNLIMITED
    is_refused = False
    _handshake: IDelayedCall | None = None
    _phase = Phase.HEAD
    _deadline = NEVER
    _client_network = ""
    # Before the first request, and between requests.
    _command = _path = b"-"
    _has_request_line = False
    _body_began = 0.0
    _discarded = 0
    _is_lost = False
    _written = 0
    _acknowledged = 0
    _progress_at = 0.0

    # --- the connection ---

    def connectionMade(self) -> None:
        """
        Called when a client has connected.
        """
        super().connectionMade()  # type: ignore[no-untyped-call]
        site = self.site
        if site.handshake_timeout and ISSLTransport.providedBy(self.transport):
            self._handshake = site.reactor.callLater(
                site.handshake_timeout, self.transport.abortConnection
            )
        if hasattr(self.transport, "setTcpNoDelay"):
            # Small frames would wait 40 ms for an acknowledgement. Unix sockets lack the method.
            with suppress(AttributeError, OSError):
                self.transport.setTcpNoDelay(True)
        self._set_deadline(Phase.HEAD, site.header_timeout)
        self._progress_at = site.connections.now()
        site.connections.watch(self)
        self._client_network = client_network(self.transport.getPeer())
        try:
            site.connections.add(self._client_network)
        except TooManyConnections as full:
            if full.is_explained:
                self.refuse(errors.Unavailable(str(full), 10))
            else:
                self.transport.abortConnection()

    def handshakeCompleted(self) -> None:
        """
        Called after the TLS handshake; HTTP's own deadlines apply from now on.
        """
        handshake, self._handshake = self._handshake, None
        if handshake is not None and handshake.active():
            handshake.cancel()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Called when the connection is lost.
        """
        self.upgraded()
        self.disconnected()
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

    def upgraded(self) -> None:
        """
        Called when the connection becomes a WebSocket. It counts until :py:meth:`disconnected`.
        """
        self.handshakeCompleted()
        self.site.connections.unwatch(self)

    def disconnected(self) -> None:
        """
        Called when the connection is lost, also as a WebSocket.
        """
        self._is_lost = True
        self.site.connections.remove(self._client_network)

    # --- time ---

    def _set_deadline(self, phase: Phase, timeout: float) -> None:
        """
        :param timeout: How long the phase may take, in seconds; 0 means no limit.
        """
        self._phase = phase
        self._deadline = self.site.connections.now() + timeout if timeout else NEVER

    def check_deadlines(self, now: float) -> None:
        unsent = unsent_size_below_tls(self.transport)
        # The system accepts more in large steps only.
        in_kernel = unacknowledged_size(self.transport) if unsent else 0
        acknowledged = self._written - unsent - in_kernel
        if acknowledged != self._acknowledged or not unsent:
            self._acknowledged, self._progress_at = acknowledged, now
        elif self.site.send_timeout and now - self._progress_at >= self.site.send_timeout:
            self.transport.abortConnection()
            return
        if now >= self._deadline and not unsent:
            self._time_out()

    def close_if_idle(self) -> None:
        if self._phase is Phase.KEEP_ALIVE:
            self.loseConnection()

    def _time_out(self) -> None:
        phase = self._phase
        if phase is Phase.CLOSING:
            self.transport.abortConnection()
        elif phase is Phase.BODY:
            self.refuse(
                errors.RequestTimedOut(
                    "The body did not arrive in time; send it faster, or ask the gateway's "
                    "operator to raise --body-timeout"
                )
            )
        elif phase is Phase.HEAD and (self._has_request_line or self._buffer):
            self.refuse(
                errors.RequestTimedOut("The request's headers did not arrive in time; try again")
            )
        elif phase is not Phase.RESPONSE:
            self.loseConnection()

    def body_received(self, size: int) -> None:
        """
        Extend the deadline of a body, by its rate.

        :param size: The bytes that have been received.
        """
        site = self.site
        if site.body_timeout and site.body_rate:
            self._deadline = self._body_began + site.body_timeout + size / site.body_rate

    def loseConnection(self) -> None:
        """
        Close when everything has been written, but at the latest after :py:data:`LINGER`.
        """
        self._set_deadline(Phase.CLOSING, LINGER)
        super().loseConnection()  # type: ignore[no-untyped-call]

    # --- reading ---

    def dataReceived(self, data: bytes) -> None:
        """
        Called with received bytes.
        """
        if self._phase is Phase.CLOSING:
            self._discarded += len(data)
            if self._discarded > LINGER_BYTES:
                self.transport.abortConnection()
            return
        if self._phase is Phase.KEEP_ALIVE:
            self._set_deadline(Phase.HEAD, self.site.header_timeout)
        LineReceiver.dataReceived(self, data)  # type: ignore[no-untyped-call]
        if self._buffer and self.line_mode and not self._busyReceiving and not self.paused:
            self._check_partial_line()

    def _check_partial_line(self) -> None:
        """
        Check the beginning of a line whose end has not been received.
        """
        if self._check_line_ending(self._buffer):
            self._check_size(self._buffer)

    def _check_line_ending(self, line: bytes) -> bool:
        """
        :return: Whether every parser sees one line here.
        """
        if b"\n" in line:
            self.refuse(errors.InvalidRequest("Each line of a request must end with CR and LF"))
        return not self.is_refused

    def _check_size(self, line: bytes) -> bool:
        """
        :return: Whether a line, or its beginning, is within the limits.
        """
        site = self.site
        if not self._has_request_line:
            if len(line) > site.max_request_line:
                self.refuse(
                    errors.TargetTooLong(
                        f"The request line may have at most {site.max_request_line} bytes; send "
                        "long arguments in the body"
                    )
                )
        elif self._receivedHeaderSize + len(line) > site.max_header_size:
            self.refuse(
                errors.HeadersTooLarge(
                    f"All headers together may have at most {site.max_header_size} bytes; send "
                    "fewer or shorter ones"
                )
            )
        return not self.is_refused

    def lineReceived(self, line: bytes) -> bool:
        """
        Called with a line of a head.

        :return: Whether to stop reading.
        """
        if not self._check_size(line) or not self._check_line_ending(line):
            return True
        if not self._has_request_line:
            self._has_request_line = bool(line)
        elif line.startswith((b" ", b"\t")):
            self.refuse(errors.InvalidRequest("A header must be on one line"))
            return True
        super().lineReceived(line)  # type: ignore[no-untyped-call]
        return self.is_refused

    def headerReceived(self, line: bytes) -> bool:
        """
        Called with a complete header.
        """
        if self.is_refused:
            return False
        if self._receivedHeaderCount >= self.site.max_headers:
            self.refuse(
                errors.HeadersTooLarge(f"There may be at most {self.site.max_headers} headers")
            )
            return False
        try:
            check_header_line(line)
        except errors.InvalidRequest as error:
            self.refuse(error)
            return False
        return bool(super().headerReceived(line))  # type: ignore[no-untyped-call]

    def _maybeChooseTransferDecoder(self, header: bytes, data: bytes) -> bool:
        if header in (b"Content-Length", b"Transfer-Encoding"):
            try:
                check_length_header(header, data, self._version)
            except errors.GatewayError as error:
                self.refuse(error)
                return False
        return bool(super()._maybeChooseTransferDecoder(header, data))  # type: ignore[no-untyped-call]

    def allHeadersReceived(self) -> None:
        """
        Called after a complete head.
        """
        self._has_request_line = False
        if self.is_refused:
            return
        request = self.requests[-1]
        self._set_request_line(request)
        try:
            self._check_head(request)
        except errors.GatewayError as error:
            self.refuse(error)
            return
        if self.length != 0:
            self._set_deadline(Phase.BODY, self.site.body_timeout)
            self._body_began = self.site.connections.now()
        super().allHeadersReceived()  # type: ignore[no-untyped-call]

    def _set_request_line(self, request: Any) -> None:
        """
        Set method and target of a request whose body may still be missing, so that it can be
        refused and logged.
        """
        request.method, request.uri = self._command, self._path
        request.path = self._path.partition(b"?")[0]
        request.prepath = []

    def _check_head(self, request: Any) -> None:
        """
        :raises errors.GatewayError: when the request is refused regardless of its body.
        """
        headers = request.requestHeaders
        check_host(headers.getRawHeaders(b"Host", ()), self._version)
        host, target = read_target(self._command, self._path)
        if host is not None:
            # It takes precedence over the header, also for later readers.
            check_host([host], self._version)
            headers.setRawHeaders(b"Host", [host])
        self._path = target
        if host is not None:
            self._set_request_line(request)
        check_body_headers(
            headers.getRawHeaders(b"Content-Encoding", ()) if self.length != 0 else (),
            headers.getRawHeaders(b"Expect", ()),
        )
        if self.length is None or self.length >= min(LARGE_BODY, self.site.max_body_size + 1):
            request.sink = self.site.root.check_before_body(request)

    def refuse_body(self, error: errors.GatewayError) -> None:
        """
        Refuse a request whose body is still being received; otherwise it gets an answer anyway.
        """
        if self._phase is Phase.BODY:
            self.refuse(error)

    def pause_reading(self) -> None:
        """
        Let the client wait, as too much of its body has not been written yet.
        """
        producer: Any = self._networkProducer
        producer.pauseProducing()

    def resume_reading(self) -> None:
        """
        Read again.
        """
        producer: Any = self._networkProducer
        if not self._is_lost:
            producer.resumeProducing()

    def _send100Continue(self) -> None:
        if not self.is_refused:
            super()._send100Continue()  # type: ignore[no-untyped-call]

    def rawDataReceived(self, data: bytes) -> bool:  # type: ignore[override]
        """
        Called with a piece of a body, or with bytes that arrive before the response is complete.

        :return: Whether to stop reading.
        """
        if len(self._dataBuffer) > 16:
            # Twisted sums up all pieces each time.
            self._dataBuffer[:] = [b"".join(self._dataBuffer)]
        super().rawDataReceived(data)
        return self.is_refused

    def allContentReceived(self) -> None:
        """
        Called after a complete request.
        """
        if self.is_refused:
            return
        self._phase, self._deadline = Phase.RESPONSE, NEVER
        super().allContentReceived()  # type: ignore[no-untyped-call]

    # --- writing ---

    def requestDone(self, request: Any) -> None:
        """
        Called when a request has been answered.
        """
        self._set_deadline(Phase.KEEP_ALIVE, self.site.keep_alive_timeout)
        if self._buffer or self._dataBuffer:
            # Other connections have their turn before the next request.
            self.paused = True
            if not self._waitingForTransport:
                self.site.reactor.callLater(0, self._resume_reading)
        super().requestDone(request)  # type: ignore[no-untyped-call]

    def _resume_reading(self) -> None:
        if self.paused and not self._is_lost:
            self.paused = False
            self.dataReceived(b"")

    def resumeProducing(self) -> None:
        """
        Called when the client has read.
        """
        super().resumeProducing()  # type: ignore[no-untyped-call]
        if self.paused:
            self.site.reactor.callLater(0, self._resume_reading)

    def write(self, data: bytes) -> None:
        """
        Write a piece of a response.
        """
        self._written += len(data)
        super().write(data)  # type: ignore[no-untyped-call]

    def writeSequence(self, iovec: Any) -> None:
        """
        Write several pieces of a response.
        """
        self._written += sum(map(len, iovec))
        super().writeSequence(iovec)  # type: ignore[no-untyped-call]

    def _respondToBadRequestAndDisconnect(self) -> None:
        self.refuse(errors.InvalidRequest("This is not a valid HTTP/1.1 request"))

    def refuse(self, error: errors.GatewayError) -> None:
        """
        Answer a request before all of it has been received, and close. Later bytes are read only so
        that the response arrives.
        """
        if self.is_refused:
            return
        self.is_refused = True
        self._has_request_line = False
        self.clearLineBuffer()  # type: ignore[no-untyped-call]
        request = self.requests[-1] if self.requests else self.requestFactory(self)
        self._set_request_line(request)
        request_log = self.site.root.prepare(request)
        request.setHeader(b"Date", datetimeToString())  # type: ignore[no-untyped-call]
        body = refuse(request, error)
        request.setHeader(b"Connection", b"close")
        lines = [b"HTTP/1.1 %d %b" % (request.code, request.code_message)]
        for name, values in request.responseHeaders.getAllRawHeaders():
            lines += [name + b": " + value for value in values]
        self.transport.write(b"\r\n".join([*lines, b"", body]))
        request_log.end(request.code)
        self._lingering_close()

    def _lingering_close(self) -> None:
        self._set_deadline(Phase.CLOSING, LINGER)
        producer: Any = self._networkProducer
        producer.unregisterProducer()
        producer.resumeProducing()
        if ISSLTransport.providedBy(self.transport) or not hasattr(
            self.transport, "loseWriteConnection"
        ):
            # TLS waits for the other side itself.
            self.transport.loseConnection()
        else:
            self.transport.loseWriteConnection()


class GatewaySite(Site):
    """
    The HTTP server of a gateway.

    :param monotonic: Seconds.
    """

    protocol = GatewayHTTPChannel  # type: ignore[assignment]
    displayTracebacks = False

    def __init__(
        self,
        settings: Settings,
        root: RootResource,
        reactor: IReactorTime,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(  # type: ignore[no-untyped-call]
            root,
            requestFactory=GatewayRequest,
            timeout=None,
            reactor=reactor,
            parsePOSTFormSubmission=False,
        )
        self.reactor = reactor
        self.root = root
        self.connections = Connections(settings, reactor, monotonic)
        self.handshake_timeout = settings.tls_handshake_timeout
        self.header_timeout = settings.header_timeout
        self.body_timeout = settings.body_timeout
        self.body_rate = settings.body_rate
        self.keep_alive_timeout = settings.keep_alive_timeout
        self.send_timeout = settings.send_timeout
        self.max_request_line = settings.max_request_line
        self.max_header_size = settings.max_header_size
        self.max_headers = settings.max_headers
        self.max_body_size = settings.max_body_size

    def acceptableProtocols(self) -> list[bytes]:
        """
        Offer no HTTP/2, even if ``h2`` is installed: WebSockets cannot be opened over it.
        """
        return [b"http/1.1"]

    def log(self, request: Any) -> None:
        """
        Do nothing: the root logs requests, wherever it is mounted.
        """
