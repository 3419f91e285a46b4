"""
A kernel's channels over one WebSocket: the bridge between Autobahn and an attachment.

Autobahn reads frames, pings and closes. Frames with kernel messages are written straight to the
transport: the relay has encoded them, once for all clients.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import txaio
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IDelayedCall, IPushProducer
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
from kgd.web.server.delivery import Sweep, Unacknowledged, unsent, write_at_once
from kgd.web.server.site import LINGER, GatewayChannel

LONGEST_REASON = 123  # bytes, after which a close frame would be too long
# A pong may take three pings' time, and half a minute at least.
LEAST_PATIENCE = 30.0
# How long a client has to read what stands before a close frame, and to answer that, in seconds.
FAREWELL = 2.0
# Twisted's own are made for many small streams: with more at a time, large messages flow freely.
SEND_AT_ONCE = 1024 * 1024
WRITE_BUFFER = 256 * 1024


@implementer(IClient, IPushProducer)
class ChannelsProtocol(WebSocketServerProtocol):
    """
    One client's WebSocket: the bridge between Autobahn and an attachment.
    """

    _log = make_logger()
    # Autobahn's own says everything twice, and would write whole requests to a log for debugging.
    log = txaio.make_logger(level="error")  # type: ignore[attr-defined]
    _attachment: IAttachment | None = None
    _lost: list[KernelMessage] | None = None
    transport: Any
    # Called when the connection is lost.
    gone: Callable[[], object] = staticmethod(lambda: None)

    def prepare(
        self,
        kernel: IKernel,
        session_id: str | None,
        framing: Framing,
        headers: dict[str, str],
        audit: Callable[[ClientMessage], None] | None = None,
    ) -> None:
        """
        Say what this connection is for, before it is made.

        :param headers: To send with the handshake.
        :param audit: Called with each request, if it is to be written down.
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
        self._is_full = False
        self._is_left = False
        self._cutting: IDelayedCall | None = None
        self._fragments = 0
        self._message = BytesIO()

    def onConnect(self, request: object) -> tuple[str | None, dict[str, str]]:
        """
        Everything has been checked.
        """
        return self.framing.subprotocol, self._headers

    def onOpen(self) -> None:
        """
        The handshake is done.
        """
        # Until now the HTTP channel, whose connection this was, is the transport's producer.
        self.transport.unregisterProducer()
        self.transport.SEND_LIMIT = SEND_AT_ONCE
        self.transport.bufferSize = WRITE_BUFFER
        self.transport.registerProducer(self, True)
        self._watch_loss()
        self.factory.open.add(self)
        self._attachment = self._kernel.channels.attach(self._session_id, self)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """
        A frame from the client.
        """
        if self._attachment is None:
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
            self._log.failure("a client's message could not be passed on")
            self.close(INTERNAL_ERROR, "the gateway failed to pass a message on; see its log")

    def onMessageBegin(self, isBinary: bool) -> None:
        """
        The first frame of a message.
        """
        super().onMessageBegin(isBinary)
        self._fragments = 0
        self._message = BytesIO()

    def onMessageFrameBegin(self, length: int) -> None:
        """
        A frame of a message. Empty ones would never get to the limit for the message's size.
        """
        super().onMessageFrameBegin(length)
        self._fragments += 1
        if self._fragments > self.factory.max_fragments and not self.failedByMe:
            self._fail_connection(
                MESSAGE_TOO_BIG,
                f"a message may have at most {self.factory.max_fragments} frames",
            )

    def onMessageFrameData(self, payload: bytes) -> None:
        """
        A piece of a frame. Autobahn would keep them all, and then join them: however small they
        are, and in how many frames, they need no more room here than what is in them.
        """
        if not self.failedByMe:
            self._message.write(payload)

    def onMessageFrameEnd(self) -> None:
        """
        A whole frame.
        """

    def onMessageEnd(self) -> None:
        """
        A whole message.
        """
        # This copies nothing, nor does joining what is one piece.
        self.message_data = [self._message.getvalue()]
        self._message = BytesIO()
        super().onMessageEnd()

    def _fail_connection(self, code: int = GOING_AWAY, reason: str = "") -> None:
        """
        The client has broken the protocol; Autobahn's name for it.
        """
        self._log.info("closing a WebSocket ({code}): {reason}", code=code, reason=reason)
        super()._fail_connection(code, reason)

    def onPing(self, payload: bytes) -> None:
        """
        A ping. A client that does not read is answered when it does, and then only the last one.
        """
        if self._is_full:
            self._pong = payload
        else:
            super().onPing(payload)

    def onCloseFrame(self, code: Any, reasonRaw: Any) -> Any:
        """
        The client goes. From now on nothing can be sent, until it comes back.
        """
        self._leave()
        self._is_left = True
        return super().onCloseFrame(code, reasonRaw)

    def _closeConnection(self, abort: bool = False) -> None:
        """
        Close; Autobahn's name for it. A client whose close frame has come shall get what has been
        written, which cutting the connection would throw away, but not wait for it for ever.
        """
        if abort and not self._is_left:
            self.transport.abortConnection()
            return
        self.transport.loseConnection()
        if self._cutting is None:
            self._cutting = self.factory.reactor.callLater(LINGER, self.transport.abortConnection)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """
        The connection has gone, cleanly or not.
        """
        self.factory.open.discard(self)
        self._leave()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The same, as the transport says it.
        """
        super().connectionLost(reason)
        if self._cutting is not None and self._cutting.active():
            self._cutting.cancel()
        self.gone()

    def turn_away(self, code: int, reason: str) -> None:
        """
        Take nothing more from the client, and close. What the kernel sends is kept for it, as for
        any client that goes.
        """
        self._leave()
        self.close(code, reason)

    def _leave(self) -> None:
        attachment, self._attachment = self._attachment, None
        if attachment is not None:
            attachment.detach(self)

    # --- for the relay ---

    def deliver(self, message: KernelMessage) -> None:
        """
        Write a message, in this client's framing.
        """
        if self.state != self.STATE_OPEN:
            return
        frame = message.encoded(self._encode)
        size = len(frame[0]) + len(frame[1])
        self._frames += frame
        self._messages.append((message, size))
        self._unflushed += size
        if self._unflushed > WRITE_BUFFER:
            self._flush()
        elif self._flushing is None:
            # What comes in one turn of the reactor leaves together.
            self._flushing = self.factory.reactor.callLater(0, self._flush_now)

    def _flush_now(self) -> None:
        self._flushing = None
        self._flush()

    def _flush(self) -> None:
        """
        Write what has been delivered.
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
            write_at_once(self.transport, frames)
            self._sent.wrote(messages)

    def close(self, code: int, reason: str) -> None:
        """
        Send a close frame, behind all that has been written.
        """
        self._flush()
        if self.state == self.STATE_OPEN:
            text = reason.encode("utf-8")[:LONGEST_REASON].decode("utf-8", "ignore")
            self.sendCloseFrame(code=code, reasonUtf8=text.encode("utf-8"))

    @property
    def unsent(self) -> int:
        """
        How many bytes wait for the client's system to take them.
        """
        return self._unflushed + unsent(self.transport)

    def take_undelivered(self) -> list[KernelMessage]:
        """
        Give back what has not arrived, and cut the connection if it is dead.
        """
        if self._lost is not None:
            return self._lost
        self._flush()
        undelivered = self._sent.of_dead()
        if undelivered:
            self.transport.abortConnection()
        return undelivered

    # --- for the transport ---

    def _watch_loss(self) -> None:
        """
        How much has arrived can be learned until the transport closes its socket, which it has done
        before it tells us that the connection is lost.
        """
        self._sent = Unacknowledged(self.transport, self.factory.sweep)
        lost = self.transport.connectionLost

        def before(reason: Failure) -> None:
            # The last thing that came from the other side also said what it had got, unless that
            # was a reset.
            orderly = reason.check(ConnectionDone) is not None  # type: ignore[no-untyped-call]
            unwritten = [message for message, _ in self._messages]
            self._lost = [*self._sent.of_lost(orderly=orderly), *unwritten]
            lost(reason)

        self.transport.connectionLost = before

    def pauseProducing(self) -> None:
        """
        The client's TCP window is full.
        """
        self._is_full = True
        if self._attachment is not None:
            self._attachment.pause()

    def resumeProducing(self) -> None:
        """
        The client has read.
        """
        self._is_full = False
        pong, self._pong = self._pong, None
        if pong is not None:
            self.sendPong(pong)  # type: ignore[no-untyped-call]
        if self._attachment is not None:
            self._attachment.resume()

    def stopProducing(self) -> None:
        """
        The connection is lost; Autobahn says so, too.
        """


class ChannelsFactory(WebSocketServerFactory):
    """
    Makes the connections, with the limits of the settings.

    :param open_sockets: Where those are kept that are open.
    """

    protocol = ChannelsProtocol
    noisy = False

    def __init__(
        self, reactor: Any, settings: Settings, counters: Counters, open_sockets: OpenSockets
    ) -> None:
        super().__init__(reactor=reactor, server="")  # type: ignore[no-untyped-call]
        self.counters = counters
        self.sweep = Sweep(reactor)
        self.open = open_sockets
        self.max_fragments = settings.max_fragments
        interval = settings.ws_ping_interval
        self.setProtocolOptions(  # type: ignore[no-untyped-call]
            versions=[13],
            webStatus=False,
            # Autobahn checks what it sends against the limit, too: only Autobahn's own frames.
            maxFramePayloadSize=settings.max_frame_size,
            maxMessagePayloadSize=settings.max_message_size,
            failByDrop=False,
            # All of the handshake is there when Autobahn gets it.
            openHandshakeTimeout=20,
            closeHandshakeTimeout=FAREWELL,
            tcpNoDelay=True,
            autoPingInterval=interval,
            autoPingTimeout=max(3 * interval, LEAST_PATIENCE) if interval else 0,
        )

    def turn_away(self, code: int, reason: str) -> None:
        """
        Close all connections.
        """
        for protocol in self.open:
            protocol.turn_away(code, reason)


class UpgradeResource(Resource):
    """
    Turns one checked request into a WebSocket.
    """

    isLeaf = True

    def __init__(self, protocol: ChannelsProtocol) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._protocol = protocol

    def render(self, request: Any) -> int:
        """
        Take the connection over from HTTP.

        Autobahn reads the handshake once more. It gets only the headers that it needs, because its
        idea of where a header ends differs from Twisted's.
        """
        # HTTP will hear no more of it.
        request_log_of(request).end(SWITCHING_PROTOCOLS)
        channel = request.channel
        transport, channel.transport = channel.transport, None
        if isinstance(channel, GatewayChannel):
            channel.handed_over()
            self._protocol.gone = channel.gone
        if hasattr(transport, "wrappedProtocol"):  # TLS, which is a protocol itself
            transport.wrappedProtocol = self._protocol
        else:
            transport.protocol = self._protocol
        self._protocol.makeConnection(transport)  # type: ignore[no-untyped-call]
        # It is paused while the HTTP channel serves a request.
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
        # Some clients do not wait for the answer.
        early = b"".join(channel._dataBuffer) + channel.clearLineBuffer()
        self._protocol.dataReceived(b"\r\n".join([*lines, b"", b""]) + early)
        return NOT_DONE_YET
