"""
One client's WebSocket, connected to its attachment in the relay.

Autobahn reads frames and handles pings and closing. Frames with kernel messages are written
straight to the transport: the relay has encoded them, once for all clients.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import txaio
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import SWITCHING as SWITCHING_PROTOCOLS
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from kgd import errors
from kgd.interfaces import IAttachment, IClient, IKernel
from kgd.observability.counters import Counters
from kgd.observability.logs import make_logger
from kgd.protocol.messages import ClientMessage, KernelMessage
from kgd.protocol.rfc6455 import (
    GOING_AWAY,
    INTERNAL_ERROR,
    INVALID_PAYLOAD,
    MESSAGE_TOO_BIG,
    UNSUPPORTED_DATA,
)
from kgd.protocol.websocket import Framing
from kgd.settings import Settings
from kgd.shutdown import OpenSockets
from kgd.web.access_log import request_log_of
from kgd.web.server.delivery import AcknowledgementSweep, Unacknowledged, unsent_size, write_now
from kgd.web.server.site import LINGER, GatewayHTTPChannel

MAX_CLOSE_REASON = 123  # bytes; a close frame has room for no more
# In seconds. A pong may take three intervals of pings, but at least this long.
MIN_PONG_TIMEOUT = 30.0
# Seconds for a client to read everything before a close frame, and to reply to it.
CLOSE_TIMEOUT = 2.0
# In bytes. Of smaller frames, a message may have --max-fragments.
SMALL_FRAME = 1024
# In bytes. Twisted's defaults suit many small streams; large messages are faster with these.
MAX_SEND_SIZE = 1024 * 1024
WRITE_BUFFER_SIZE = 256 * 1024


@implementer(IClient, IPushProducer)
class KernelWebSocketProtocol(WebSocketServerProtocol):
    """
    Connects one client's WebSocket to its attachment.

    :ivar disconnected: Called when the connection is lost.
    """

    _log = make_logger()
    # Autobahn's own logger repeats errors, and writes whole requests at level debug.
    log = txaio.make_logger(level="error")  # type: ignore[attr-defined]
    _attachment: IAttachment | None = None
    _undelivered: list[KernelMessage] | None = None
    transport: Any
    disconnected: Callable[[], object] = staticmethod(lambda: None)

    def prepare(
        self,
        kernel: IKernel,
        session_id: str | None,
        framing: Framing,
        headers: dict[str, str],
        audit: Callable[[ClientMessage], None] | None = None,
    ) -> None:
        """
        Set what the connection is for, before it is made.

        :param headers: To send with the handshake.
        :param audit: Called with each message from the client, if the audit log is on.
        """
        self._kernel = kernel
        self._session_id = session_id
        self.framing = framing
        self._encode = framing.encode
        self._headers = headers
        self._audit = audit
        self._from_client = self.factory.counters.from_clients
        self._to_client = self.factory.counters.to_clients
        self._frames: list[bytes] = []
        self._messages: list[tuple[KernelMessage, int]] = []
        self._unflushed = 0
        self._flushing: IDelayedCall | None = None
        self._pong: bytes | None = None
        self._is_paused = False
        self._requests_paused = False
        self._close_received = False
        self._abort_call: IDelayedCall | None = None
        self._fragments = 0
        self._message = BytesIO()

    def onConnect(self, request: object) -> tuple[str | None, dict[str, str]]:
        """
        Accept the handshake, which has been checked already.
        """
        return self.framing.subprotocol, self._headers

    def onOpen(self) -> None:
        """
        Attach the client to the kernel, after the handshake.
        """
        # Until now the HTTP channel is the transport's producer.
        self.transport.unregisterProducer()
        self.transport.SEND_LIMIT = MAX_SEND_SIZE
        self.transport.bufferSize = WRITE_BUFFER_SIZE
        self.transport.registerProducer(self, True)
        self._track_delivery()
        self.factory.open.add(self)
        self._attachment = self._kernel.channels.attach(self._session_id, self)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """
        Send a client's message to the kernel.
        """
        if self._attachment is None or self.state != self.STATE_OPEN:
            # Nothing counts after a close frame, also when it is ours.
            return
        self._from_client.messages += 1
        self._from_client.size += len(payload)
        try:
            request = self.framing.decode(payload, isBinary)
            if self._audit is not None:
                self._audit(request)
            self._attachment.send(request)
        except errors.MalformedMessage as error:
            text_in_v1 = self.framing.subprotocol is not None and not isBinary
            self.close(UNSUPPORTED_DATA if text_in_v1 else INVALID_PAYLOAD, error.reason)
        except Exception:
            self._log.failure("cannot relay a client's message")
            self.close(INTERNAL_ERROR, "the gateway failed to relay a message; see its log")

    def onMessageBegin(self, isBinary: bool) -> None:
        """
        Called before the first frame of a message.
        """
        super().onMessageBegin(isBinary)
        self._fragments = 0
        self._message = BytesIO()

    def onMessageFrameBegin(self, length: int) -> None:
        """
        Count the small frames of a message, which cost more than their bytes. Without this, empty
        frames would never reach a limit.
        """
        super().onMessageFrameBegin(length)
        self._fragments += length < SMALL_FRAME
        if self._fragments > self.factory.max_fragments and not self.failedByMe:
            self._fail_connection(
                MESSAGE_TOO_BIG,
                f"a message may have at most {self.factory.max_fragments} small frames",
            )

    def onMessageFrameData(self, payload: bytes) -> None:
        """
        Add a piece of a frame. Autobahn would keep each piece as an object of its own; here, many
        small pieces need no more memory than their bytes.
        """
        if not self.failedByMe:
            self._message.write(payload)

    def onMessageFrameEnd(self) -> None:
        """
        Do nothing: the pieces of the frame have been added.
        """

    def onMessageEnd(self) -> None:
        """
        Give Autobahn the complete message.
        """
        # getvalue copies nothing, and neither does joining one piece.
        self.message_data = [self._message.getvalue()]
        self._message = BytesIO()
        super().onMessageEnd()

    def _fail_connection(self, code: int = GOING_AWAY, reason: str = "") -> None:
        """
        Close because the client has violated the protocol.
        """
        self._log.info("closing a WebSocket ({code}): {reason}", code=code, reason=reason)
        super()._fail_connection(code, reason)

    def onPing(self, payload: bytes) -> None:
        """
        Reply to a ping. While the client does not read, only the last ping is remembered.
        """
        if self._is_paused:
            self._pong = payload
        else:
            super().onPing(payload)

    def onCloseFrame(self, code: Any, reasonRaw: Any) -> Any:
        """
        Detach a client that closes: nothing can be sent to it any longer.
        """
        self._detach()
        self._close_received = True
        return super().onCloseFrame(code, reasonRaw)

    def _closeConnection(self, abort: bool = False) -> None:
        """
        Close the connection. A client that has sent a close frame may read what was written, which
        aborting would discard, for at most :py:data:`LINGER` seconds.
        """
        if abort and not self._close_received:
            self.transport.abortConnection()
            return
        self.transport.loseConnection()
        if self._abort_call is None:
            self._abort_call = self.factory.reactor.callLater(
                LINGER, self.transport.abortConnection
            )

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """
        Detach the client.
        """
        self.factory.open.discard(self)
        self._detach()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Called when the connection is lost.
        """
        super().connectionLost(reason)
        if self._abort_call is not None and self._abort_call.active():
            self._abort_call.cancel()
        self.disconnected()

    def detach_and_close(self, code: int, reason: str) -> None:
        """
        Ignore the client from now on, and close. The kernel's messages are kept for it, as for any
        client that disconnects.
        """
        self._detach()
        self.close(code, reason)

    def _detach(self) -> None:
        attachment, self._attachment = self._attachment, None
        if attachment is not None:
            self.resume_requests()
            attachment.detach(self)

    # --- for the relay ---

    def deliver(self, message: KernelMessage) -> None:
        """
        Write a kernel's message in the client's framing.
        """
        if self.state != self.STATE_OPEN:
            return
        frame = message.encoded(self._encode)
        size = len(frame[0]) + len(frame[1])
        self._frames += frame
        self._messages.append((message, size))
        self._unflushed += size
        if self._unflushed > WRITE_BUFFER_SIZE:
            self._flush()
        elif self._flushing is None:
            # All messages of one turn of the reactor are written together.
            self._flushing = self.factory.reactor.callLater(0, self._flush_now)

    def _flush_now(self) -> None:
        self._flushing = None
        self._flush()

    def _flush(self) -> None:
        """
        Write the delivered messages.
        """
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        frames, self._frames = self._frames, []
        messages, self._messages = self._messages, []
        size, self._unflushed = self._unflushed, 0
        if frames and self.state == self.STATE_OPEN:
            self._to_client.messages += len(messages)
            self._to_client.size += size
            write_now(self.transport, frames)
            self._unacknowledged.add(messages)

    def pause_requests(self) -> None:
        """
        Do not read from the client. TCP makes it wait, as it makes us wait for a slow client.
        """
        self._requests_paused = True
        self.transport.pauseProducing()

    def resume_requests(self) -> None:
        """
        Read from the client again.
        """
        if self._requests_paused:
            self._requests_paused = False
            self.transport.resumeProducing()

    def onAutoPingTimeout(self) -> None:
        """
        Called when a pong is late. It may not have been read yet, behind requests that wait; but
        another ping shows whether the connection still exists.
        """
        if self._requests_paused:
            self._sendAutoPing()
        else:
            super().onAutoPingTimeout()

    def close(self, code: int, reason: str) -> None:
        """
        Send a close frame after all messages.
        """
        self._flush()
        self.resume_requests()
        if self.state == self.STATE_OPEN:
            text = reason.encode("utf-8")[:MAX_CLOSE_REASON].decode("utf-8", "ignore")
            self.sendCloseFrame(code=code, reasonUtf8=text.encode("utf-8"))

    @property
    def unsent(self) -> int:
        """
        The bytes that the client's system has not accepted.
        """
        return self._unflushed + unsent_size(self.transport)

    def take_undelivered(self) -> list[KernelMessage]:
        """
        Take the messages that have not arrived, and abort the connection if it is dead.
        """
        if self._undelivered is not None:
            return self._undelivered
        self._flush()
        undelivered = self._unacknowledged.undelivered_if_stale()
        if undelivered:
            self.transport.abortConnection()
        return undelivered

    # --- for the transport ---

    def _track_delivery(self) -> None:
        """
        Find out which messages have not arrived when the connection is lost. The system can be
        asked only until the transport closes its socket, which it does before it calls
        :py:meth:`connectionLost`.
        """
        self._unacknowledged = Unacknowledged(self.transport, self.factory.sweep)
        lost = self.transport.connectionLost

        def connection_lost(reason: Failure) -> None:
            # The last packet of the other side acknowledged what it had received, unless it was a
            # reset.
            orderly = reason.check(ConnectionDone) is not None  # type: ignore[no-untyped-call]
            unwritten = [message for message, _ in self._messages]
            self._undelivered = [
                *self._unacknowledged.undelivered_on_loss(orderly=orderly),
                *unwritten,
            ]
            lost(reason)

        self.transport.connectionLost = connection_lost

    def pauseProducing(self) -> None:
        """
        Called when the transport's buffer is full.
        """
        self._is_paused = True
        if self._attachment is not None:
            self._attachment.pause()

    def resumeProducing(self) -> None:
        """
        Called when the transport's buffer is empty again.
        """
        self._is_paused = False
        pong, self._pong = self._pong, None
        if pong is not None:
            self.sendPong(pong)  # type: ignore[no-untyped-call]
        if self._attachment is not None:
            self._attachment.resume()

    def stopProducing(self) -> None:
        """
        Do nothing: :py:meth:`connectionLost` is called, too.
        """


class KernelWebSocketFactory(WebSocketServerFactory):
    """
    Makes the WebSockets of all kernels, with the limits of the settings.

    :param open_sockets: The set of open WebSockets.
    """

    protocol = KernelWebSocketProtocol
    noisy = False

    def __init__(
        self,
        reactor: IReactorTime,
        settings: Settings,
        counters: Counters,
        open_sockets: OpenSockets,
    ) -> None:
        super().__init__(reactor=reactor, server="")  # type: ignore[no-untyped-call]
        self.counters = counters
        self.sweep = AcknowledgementSweep(reactor)
        self.open = open_sockets
        self.max_fragments = settings.max_fragments
        interval = settings.ws_ping_interval
        self.setProtocolOptions(  # type: ignore[no-untyped-call]
            versions=[13],
            webStatus=False,
            # Autobahn also applies these limits to what it sends, which are control frames only.
            maxFramePayloadSize=settings.max_frame_size or settings.max_message_size,
            maxMessagePayloadSize=settings.max_message_size,
            failByDrop=False,
            # Autobahn gets the handshake complete.
            openHandshakeTimeout=20,
            closeHandshakeTimeout=CLOSE_TIMEOUT,
            tcpNoDelay=True,
            autoPingInterval=interval,
            autoPingTimeout=max(3 * interval, MIN_PONG_TIMEOUT) if interval else 0,
        )

    def detach_and_close(self, code: int, reason: str) -> None:
        """
        Detach and close all connections.
        """
        for protocol in self.open:
            protocol.detach_and_close(code, reason)


class UpgradeResource(Resource):
    """
    Turns a request that has been checked into a WebSocket.
    """

    isLeaf = True

    def __init__(self, protocol: KernelWebSocketProtocol) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._protocol = protocol

    def render(self, request: Any) -> int:
        """
        Take over the connection from HTTP.

        Autobahn parses the handshake again. It gets only the headers that it needs, because it
        differs from Twisted about where a header ends.
        """
        # HTTP is not told about the end of this request.
        request_log_of(request).end(SWITCHING_PROTOCOLS)
        channel = request.channel
        transport, channel.transport = channel.transport, None
        if isinstance(channel, GatewayHTTPChannel):
            channel.upgraded()
            self._protocol.disconnected = channel.disconnected
        if hasattr(transport, "wrappedProtocol"):  # TLS, which is a protocol itself
            transport.wrappedProtocol = self._protocol
        else:
            transport.protocol = self._protocol
        self._protocol.makeConnection(transport)  # type: ignore[no-untyped-call]
        # The HTTP channel pauses it while it serves a request.
        transport.resumeProducing()
        lines = [
            b"GET / HTTP/1.1",
            b"Host: " + request.getHeader(b"host"),
            b"Upgrade: websocket",
            b"Connection: Upgrade",
            b"Sec-WebSocket-Version: 13",
            b"Sec-WebSocket-Key: " + request.getHeader(b"sec-websocket-key"),
        ]
        if self._protocol.framing.subprotocol:
            lines.append(b"Sec-WebSocket-Protocol: " + self._protocol.framing.subprotocol.encode())
        # Some clients send frames before they get the response.
        early = b"".join(channel._dataBuffer) + channel.clearLineBuffer()
        self._protocol.dataReceived(b"\r\n".join([*lines, b"", b""]) + early)
        return NOT_DONE_YET
