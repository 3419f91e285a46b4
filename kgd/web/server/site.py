"""
HTTP itself: what is read of a connection, how much of it, and for how long; and TCP without Nagle's
algorithm.

Twisted's parser is kept. What it accepts and we do not is found in the places where it hands over
lines, headers and heads; its timer, which every byte would set again, is not used.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto
from io import BytesIO
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IHandshakeListener, ISSLTransport
from twisted.internet.protocol import connectionDone
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, datetimeToString
from twisted.web.server import Request, Site
from zope.interface import implementer

from kgd import errors
from kgd.settings import Settings
from kgd.web.embedded import fail
from kgd.web.errors import refuse
from kgd.web.root import RootResource
from kgd.web.server.deadlines import Connections, TooManyConnections, place_of
from kgd.web.server.delivery import in_system, unsent_below
from kgd.web.server.request_head import (
    check_body,
    check_field,
    check_framing,
    check_host,
    read_target,
)

# After a refusal the client gets this long, and may send this much more in vain, to read the
# answer; closing at once would make its system throw the answer away.
LINGER = 5.0
LINGER_BYTES = 64 * 1024 * 1024
# Bodies from this size on, in bytes, are not read if their head is reason enough to refuse.
LARGE_BODY = 64 * 1024
NEVER = float("inf")
_UNLIMITED = 1 << 62


class Phase(Enum):
    """
    What a connection waits for.
    """

    HEAD = auto()
    BODY = auto()
    ANSWER = auto()
    NEXT = auto()
    END = auto()


class GatewayRequest(Request):
    """
    A request whose body stays in memory and within the limit.
    """

    defaultContentType = None
    channel: Any

    def gotLength(self, length: int | None) -> None:
        """
        The headers are there; ``length`` is ``None`` for a body in chunks.
        """
        self.content = BytesIO()
        if length is not None and length > self.channel.site.max_body_size:
            self._refuse_body()

    def handleContentChunk(self, data: bytes) -> None:
        """
        A piece of the body.
        """
        channel = self.channel
        if channel.is_refused:
            return
        assert self.content is not None
        size = self.content.tell() + len(data)
        if size > channel.site.max_body_size:
            self._refuse_body()
        else:
            self.content.write(data)
            channel.body_grew(size)

    def _refuse_body(self) -> None:
        self.content = BytesIO()
        limit = self.channel.site.max_body_size
        self.channel.refuse(errors.BodyTooLarge(f"the body may have at most {limit} bytes"))

    def process(self) -> None:
        """
        All of the request is there.

        Twisted would look for a resource, and answer ``*`` itself.
        """
        self.site = self.channel.site
        self.setHeader(b"Date", datetimeToString())  # type: ignore[no-untyped-call]
        self.prepath, self.postpath = [], []
        try:
            self.render(self.channel.site.root)  # type: ignore[no-untyped-call]
        except Exception as error:
            # The root lets none pass; Twisted would answer with HTML.
            self.write(refuse(self, error))  # type: ignore[no-untyped-call]
            self.finish()  # type: ignore[no-untyped-call]

    def processingFailed(self, reason: Failure) -> None:
        """
        Whoever wanted to answer later cannot.
        """
        fail(self, reason)


@implementer(IHandshakeListener)
class GatewayChannel(HTTPChannel):
    """
    One HTTP/1.1 connection.

    :ivar is_refused: Whether there has been a refusal: nothing that still comes is read.
    """

    transport: Any
    site: Any
    # We have limits of our own, and answers for those who exceed them.
    MAX_LENGTH = totalHeadersSize = maxHeaders = _UNLIMITED
    is_refused = False
    _handshake: IDelayedCall | None = None
    _phase = Phase.HEAD
    _due = NEVER
    _place = ""
    # Until there is a request, and in between.
    _command = _path = b"-"
    _has_line = False
    _body_began = 0.0
    _vain = 0
    _is_gone = False
    _written = 0
    _taken = 0
    _progress = 0.0

    # --- the connection ---

    def connectionMade(self) -> None:
        """
        A client has connected.
        """
        super().connectionMade()  # type: ignore[no-untyped-call]
        site = self.site
        if site.handshake_timeout and ISSLTransport.providedBy(self.transport):
            self._handshake = site.reactor.callLater(
                site.handshake_timeout, self.transport.abortConnection
            )
        if hasattr(self.transport, "setTcpNoDelay"):
            # Small frames would wait 40 ms for an acknowledgement; a Unix socket has none.
            with suppress(AttributeError, OSError):
                self.transport.setTcpNoDelay(True)
        self._await(Phase.HEAD, site.header_timeout)
        self._progress = site.connections.now()
        site.connections.watch(self)
        self._place = place_of(self.transport.getPeer())
        try:
            site.connections.enter(self._place)
        except TooManyConnections as full:
            if full.is_told:
                self.refuse(errors.Unavailable(str(full), 10))
            else:
                self.transport.abortConnection()

    def handshakeCompleted(self) -> None:
        """
        What comes is HTTP from now on, which has limits of its own.
        """
        handshake, self._handshake = self._handshake, None
        if handshake is not None and handshake.active():
            handshake.cancel()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The client has gone.
        """
        self.handed_over()
        self.gone()
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

    def handed_over(self) -> None:
        """
        The connection is not HTTP any more. It counts until it is :py:meth:`gone`.
        """
        self.handshakeCompleted()
        self.site.connections.forget(self)

    def gone(self) -> None:
        """
        The connection is lost.
        """
        self._is_gone = True
        self.site.connections.leave(self._place)

    # --- time ---

    def _await(self, phase: Phase, patience: float) -> None:
        """
        :param patience: How long that may take, in seconds; 0 is for ever.
        """
        self._phase = phase
        self._due = self.site.connections.now() + patience if patience else NEVER

    def look(self, now: float) -> None:
        """
        End what takes too long.
        """
        unsent = unsent_below(self.transport)
        # The system takes more in large steps only.
        taken = self._written - unsent - (in_system(self.transport) if unsent else 0)
        if taken != self._taken or not unsent:
            self._taken, self._progress = taken, now
        elif self.site.send_timeout and now - self._progress >= self.site.send_timeout:
            self.transport.abortConnection()
            return
        if now >= self._due and not unsent:
            self._time_out()

    def _time_out(self) -> None:
        phase = self._phase
        if phase is Phase.END:
            self.transport.abortConnection()
        elif phase is Phase.BODY:
            self.refuse(
                errors.RequestTimedOut(
                    "The body did not arrive in time; send it faster, or ask the gateway's "
                    "operator to raise --body-timeout"
                )
            )
        elif phase is Phase.HEAD and (self._has_line or self._buffer):
            self.refuse(
                errors.RequestTimedOut("The request's headers did not arrive in time; try again")
            )
        elif phase is not Phase.ANSWER:
            self.loseConnection()

    def body_grew(self, size: int) -> None:
        """
        :param size: What there is of the body, in bytes.
        """
        site = self.site
        if site.body_timeout and site.body_rate:
            self._due = self._body_began + site.body_timeout + size / site.body_rate

    def loseConnection(self) -> None:
        """
        Close when everything has been written, and do not wait for the client for long.
        """
        self._await(Phase.END, LINGER)
        super().loseConnection()  # type: ignore[no-untyped-call]

    # --- what comes ---

    def dataReceived(self, data: bytes) -> None:
        """
        Some bytes.
        """
        if self._phase is Phase.END:
            self._vain += len(data)
            if self._vain > LINGER_BYTES:
                self.transport.abortConnection()
            return
        if self._phase is Phase.NEXT:
            self._await(Phase.HEAD, self.site.header_timeout)
        LineReceiver.dataReceived(self, data)  # type: ignore[no-untyped-call]
        if self._buffer and self.line_mode and not self._busyReceiving and not self.paused:
            self._check_rest()

    def _check_rest(self) -> None:
        """
        Look at the beginning of a line whose end has not come.
        """
        if self._check_ends(self._buffer):
            self._check_size(self._buffer)

    def _check_ends(self, line: bytes) -> bool:
        """
        :return: Whether this is one line only, for everybody.
        """
        if b"\n" in line:
            self.refuse(errors.InvalidRequest("Each line of a request has to end with CR and LF"))
        return not self.is_refused

    def _check_size(self, line: bytes) -> bool:
        """
        :return: Whether there is room for (the beginning of) a line.
        """
        site = self.site
        if not self._has_line:
            if len(line) > site.max_request_line:
                self.refuse(
                    errors.TargetTooLong(
                        f"The request's first line may have at most {site.max_request_line} bytes; "
                        "put into the body what is too long"
                    )
                )
        elif self._receivedHeaderSize + len(line) > site.max_header_size:
            self.refuse(
                errors.HeadersTooLarge(
                    f"The headers may have at most {site.max_header_size} bytes together; send "
                    "fewer, or shorter ones"
                )
            )
        return not self.is_refused

    def lineReceived(self, line: bytes) -> bool:
        """
        A line of a head.

        :return: Whether to read no more.
        """
        if not self._check_size(line) or not self._check_ends(line):
            return True
        if not self._has_line:
            self._has_line = bool(line)
        elif line.startswith((b" ", b"\t")):
            self.refuse(errors.InvalidRequest("A header has to be on one line"))
            return True
        super().lineReceived(line)  # type: ignore[no-untyped-call]
        return self.is_refused

    def headerReceived(self, line: bytes) -> bool:
        """
        A whole header.
        """
        if self.is_refused:
            return False
        if self._receivedHeaderCount >= self.site.max_headers:
            self.refuse(
                errors.HeadersTooLarge(f"There may be at most {self.site.max_headers} headers")
            )
            return False
        try:
            check_field(line)
        except errors.InvalidRequest as error:
            self.refuse(error)
            return False
        return bool(super().headerReceived(line))  # type: ignore[no-untyped-call]

    def _maybeChooseTransferDecoder(self, header: bytes, data: bytes) -> bool:
        if header in (b"Content-Length", b"Transfer-Encoding"):
            try:
                check_framing(header, data, self._version)
            except errors.GatewayError as error:
                self.refuse(error)
                return False
        return bool(super()._maybeChooseTransferDecoder(header, data))  # type: ignore[no-untyped-call]

    def allHeadersReceived(self) -> None:
        """
        A whole head.
        """
        self._has_line = False
        if self.is_refused:
            return
        request = self.requests[-1]
        self._announce(request)
        try:
            self._check_head(request)
        except errors.GatewayError as error:
            self.refuse(error)
            return
        if self.length != 0:
            self._await(Phase.BODY, self.site.body_timeout)
            self._body_began = self.site.connections.now()
        super().allHeadersReceived()  # type: ignore[no-untyped-call]

    def _announce(self, request: Any) -> None:
        """
        Let the request be known by what it asks for, though its body may still be missing.
        """
        request.method, request.uri = self._command, self._path
        request.path = self._path.partition(b"?")[0]
        request.prepath = []

    def _check_head(self, request: Any) -> None:
        """
        :raises errors.GatewayError: when the request is refused whatever its body may be.
        """
        headers = request.requestHeaders
        check_host(headers.getRawHeaders(b"Host", ()), self._version)
        host, target = read_target(self._command, self._path)
        if host is not None:
            # This is the one that counts, also for those who come later.
            check_host([host], self._version)
            headers.setRawHeaders(b"Host", [host])
        self._path = target
        if host is not None:
            self._announce(request)
        check_body(
            headers.getRawHeaders(b"Content-Encoding", ()) if self.length != 0 else (),
            headers.getRawHeaders(b"Expect", ()),
        )
        if self.length is None or self.length >= LARGE_BODY:
            self.site.root.check_before_body(request)

    def _send100Continue(self) -> None:
        if not self.is_refused:
            super()._send100Continue()  # type: ignore[no-untyped-call]

    def rawDataReceived(self, data: bytes) -> bool:  # type: ignore[override]
        """
        A piece of a body, or of what comes while a request is being answered.

        :return: Whether to read no more.
        """
        if len(self._dataBuffer) > 16:
            # All of it is looked at each time.
            self._dataBuffer[:] = [b"".join(self._dataBuffer)]
        super().rawDataReceived(data)
        return self.is_refused

    def allContentReceived(self) -> None:
        """
        A whole request.
        """
        if self.is_refused:
            return
        self._phase, self._due = Phase.ANSWER, NEVER
        super().allContentReceived()  # type: ignore[no-untyped-call]

    # --- what goes ---

    def requestDone(self, request: Any) -> None:
        """
        A request has been answered.
        """
        self._await(Phase.NEXT, self.site.keep_alive_timeout)
        if self._buffer or self._dataBuffer:
            # Others have their turn before the next one.
            self.paused = True
            if not self._waitingForTransport:
                self.site.reactor.callLater(0, self._go_on)
        super().requestDone(request)  # type: ignore[no-untyped-call]

    def _go_on(self) -> None:
        if self.paused and not self._is_gone:
            self.paused = False
            self.dataReceived(b"")

    def resumeProducing(self) -> None:
        """
        The client has read.
        """
        super().resumeProducing()  # type: ignore[no-untyped-call]
        if self.paused:
            self.site.reactor.callLater(0, self._go_on)

    def write(self, data: bytes) -> None:
        """
        A piece of an answer.
        """
        self._written += len(data)
        super().write(data)  # type: ignore[no-untyped-call]

    def writeSequence(self, iovec: Any) -> None:
        """
        The same in pieces.
        """
        self._written += sum(map(len, iovec))
        super().writeSequence(iovec)  # type: ignore[no-untyped-call]

    def _respondToBadRequestAndDisconnect(self) -> None:
        self.refuse(errors.InvalidRequest("This is no HTTP/1.1 request that could be understood"))

    def refuse(self, error: errors.GatewayError) -> None:
        """
        Answer the request that is being read before all of it is there, and close. What comes
        after it is read only so that the answer arrives.
        """
        if self.is_refused:
            return
        self.is_refused = True
        self._has_line = False
        self.clearLineBuffer()  # type: ignore[no-untyped-call]
        request = self.requests[-1] if self.requests else self.requestFactory(self)
        self._announce(request)
        exchange = self.site.root.prepare(request)
        request.setHeader(b"Date", datetimeToString())  # type: ignore[no-untyped-call]
        body = refuse(request, error)
        request.setHeader(b"Connection", b"close")
        lines = [b"HTTP/1.1 %d %b" % (request.code, request.code_message)]
        for name, values in request.responseHeaders.getAllRawHeaders():
            lines += [name + b": " + value for value in values]
        self.transport.write(b"\r\n".join([*lines, b"", body]))
        exchange.end(request.code)
        self._end_gently()

    def _end_gently(self) -> None:
        self._await(Phase.END, LINGER)
        producer: Any = self._networkProducer
        producer.unregisterProducer()
        producer.resumeProducing()
        if ISSLTransport.providedBy(self.transport) or not hasattr(
            self.transport, "loseWriteConnection"
        ):
            # TLS waits for the other side by itself.
            self.transport.loseConnection()
        else:
            self.transport.loseWriteConnection()


class GatewaySite(Site):
    """
    The HTTP server of a gateway.

    :param monotonic: Seconds.
    """

    protocol = GatewayChannel  # type: ignore[assignment]
    displayTracebacks = False

    def __init__(
        self,
        settings: Settings,
        root: RootResource,
        reactor: Any,
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
        There is no HTTP/2, whatever is installed: a WebSocket could not be opened over it.
        """
        return [b"http/1.1"]

    def log(self, request: Any) -> None:
        """
        The root does that, wherever it is mounted.
        """
