"""
HTTP itself: limits, and TCP without Nagle's algorithm.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IHandshakeListener, ISSLTransport
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.server import Request, Site
from zope.interface import implementer

from kgd import errors
from kgd.settings import Settings
from kgd.web.errors import refuse
from kgd.web.gateway import GatewayResource

# After a body was refused the client gets this long, and may send this much more in vain, to read
# the answer; closing at once would make its system throw the answer away.
LINGER = 5.0
LINGER_BYTES = 64 * 1024 * 1024


class GatewayRequest(Request):
    """
    A request whose body stays in memory and within the limit.
    """

    defaultContentType = None
    channel: Any
    _refused = False
    _vain = 0

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
        if self._refused:
            self._vain += len(data)
            if self._vain > LINGER_BYTES:
                self.channel.transport.abortConnection()
            return
        assert self.content is not None
        if self.content.tell() + len(data) > self.channel.site.max_body_size:
            self._refuse_body()
        else:
            self.content.write(data)

    def _refuse_body(self) -> None:
        """
        Answer before the body has come, and read on only so that the answer arrives.
        """
        self._refused = True
        self.content = BytesIO()
        site = self.channel.site
        exchange = site.root.prepare(self)
        limit = site.max_body_size
        body = refuse(self, errors.BodyTooLarge(f"the body may have at most {limit} bytes"))
        self.setHeader(b"Connection", b"close")  # type: ignore[no-untyped-call]
        lines = [b"HTTP/1.1 %d %b" % (self.code, self.code_message)]
        for name, values in self.responseHeaders.getAllRawHeaders():
            lines += [name + b": " + value for value in values]
        transport = self.channel.transport
        transport.write(b"\r\n".join([*lines, b"", body]))
        exchange.end(self.code)
        call = site.reactor.callLater(LINGER, transport.abortConnection)
        self.notifyFinish().addErrback(lambda _: call.active() and call.cancel())

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """
        All of the request is there.
        """
        if self._refused:
            self.channel.transport.loseConnection()
        else:
            super().requestReceived(command, path, version)  # type: ignore[no-untyped-call]


@implementer(IHandshakeListener)
class GatewayChannel(HTTPChannel):
    """
    One HTTP/1.1 connection.
    """

    transport: Any
    site: Any
    _handshake: IDelayedCall | None = None

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
        self.handshakeCompleted()
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

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
            try:
                # Small frames would wait 40 ms for an acknowledgement.
                self.transport.setTcpNoDelay(True)
            except (AttributeError, OSError):
                # A Unix socket.
                return


class GatewaySite(Site):
    """
    The HTTP server of a gateway.
    """

    protocol = GatewayChannel  # type: ignore[assignment]
    displayTracebacks = False

    def __init__(self, settings: Settings, root: GatewayResource, reactor: Any) -> None:
        super().__init__(  # type: ignore[no-untyped-call]
            root,
            requestFactory=GatewayRequest,
            reactor=reactor,
            parsePOSTFormSubmission=False,
        )
        self.reactor = reactor
        self.root = root
        self.handshake_timeout = settings.tls_handshake_timeout
        self.max_body_size = settings.max_body_size

    def log(self, request: Any) -> None:
        """
        The root does that, wherever it is mounted.
        """
