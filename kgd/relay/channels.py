"""
A kernel's ZeroMQ side, and the clients that share it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from twisted.internet.interfaces import IDelayedCall
from zope.interface import implementer

from kgd.errors import MalformedMessage
from kgd.interfaces import IAttachment, IChannels, IChannelsObserver, IClient
from kgd.logs import make_logger
from kgd.protocol.connection import ConnectionInfo
from kgd.protocol.messages import Buffer, Outgoing, Signer, own_request
from kgd.relay.attachment import Attachment
from kgd.relay.incoming import Reader
from kgd.relay.readiness import Probe
from kgd.relay.sockets import KernelSocket, SocketFactory
from kgd.relay.wires import FOR_CLIENTS, FOR_OURSELVES, Wires

# After a process has ended, its last words may still be on their way through ZeroMQ's thread.
LAST_WORDS = 0.025
# How long output is left in ZeroMQ for clients that all lag. Longer would be at the expense of the
# kernel, which drops output by itself when we do not take it.
BREATH = 0.1
# With less than this in a breath a client is not worth waiting for.
PROGRESS = 1024 * 1024


class _Status(msgspec.Struct):
    execution_state: str


_decode_status: Callable[[Buffer], _Status] = msgspec.json.Decoder(_Status).decode


class _Line:
    """
    All that belongs to one process of the kernel.
    """

    def __init__(self, connection: ConnectionInfo) -> None:
        self.connection = connection
        self.signer = Signer(connection.key, connection.signature_scheme)
        self.reader = Reader(self.signer)
        self.iopub: KernelSocket
        self.own: Wires
        self.probe: Probe | None = None
        self.ready = False


@implementer(IChannels)
class KernelChannels:
    """
    One iopub subscription, fanned out; shell, control and stdin for each client.

    :param closed: Called once, when everything is closed.
    """

    _log = make_logger()

    def __init__(
        self,
        reactor: Any,
        sockets: SocketFactory,
        kernel_id: str,
        observer: IChannelsObserver,
        closed: Callable[[KernelChannels], None],
    ) -> None:
        self._reactor = reactor
        self._sockets = sockets
        self._kernel_id = kernel_id
        self._observer = observer
        self._on_closed = closed
        self._session = os.urandom(16).hex()
        self._attachments: dict[str, Attachment] = {}
        # What iopub is fanned out to, so that nobody has to ask the dictionary for each message.
        self._audience: tuple[Attachment, ...] = ()
        self._line: _Line | None = None
        self._ending: IDelayedCall | None = None
        self._lingering: list[KernelSocket | Wires] = []
        self._afterwards: list[Callable[[], None]] = []
        self._breath: IDelayedCall | None = None
        self._closed = False

    @property
    def connections(self) -> int:
        """
        How many clients are attached.
        """
        return len(self._attachments)

    @property
    def outstanding(self) -> int:
        """
        How many requests of clients the kernel has not answered.
        """
        return sum(attachment.outstanding for attachment in self._attachments.values())

    # --- the kernel's process comes and goes ---

    def connect(self, connection: ConnectionInfo) -> None:
        """
        Subscribe, then ask for the first answer.
        """
        if self._closed:
            return
        self.disconnect()
        line = _Line(connection)
        line.iopub = self._sockets.subscribe(
            connection.url("iopub"), lambda frames: self._published(line, frames)
        )
        line.own = Wires(
            self._sockets,
            connection,
            line.signer,
            FOR_OURSELVES,
            lambda channel, frames: self._answered(line, channel, frames),
        )
        self._line = line
        line.probe = Probe(self._reactor, self._session, line.own.send, lambda: self._ready(line))
        line.probe.ask()

    def _ready(self, line: _Line) -> None:
        line.probe = None
        line.ready = True
        for attachment in self._audience:
            self._wire_up(attachment, line)
        self._observer.became_ready()

    def _wire_up(self, attachment: Attachment, line: _Line) -> None:
        def received(channel: str, frames: Sequence[Buffer]) -> None:
            message = self._read(line, channel, frames)
            if message is not None:
                attachment.deliver(message)

        attachment.connect(
            Wires(self._sockets, line.connection, line.signer, FOR_CLIENTS, received)
        )

    def disconnect(self) -> None:
        """
        Send nothing more to the process, and close its sockets when its last words have come.
        """
        line, self._line = self._line, None
        if line is None:
            return
        if line.probe is not None:
            line.probe.cancel()
            line.probe = None
        if self._breath is not None:
            self._breath.cancel()
            self._breath = None
        self._finish_ending()
        self._lingering = [line.iopub, line.own]
        for attachment in self._audience:
            wires = attachment.disconnect()
            if wires is not None:
                self._lingering.append(wires)
        self._ending = self._reactor.callLater(LAST_WORDS, self._end)

    def _end(self) -> None:
        self._ending = None
        lingering, self._lingering = self._lingering, []
        for each in lingering:
            each.drain()
            each.close(linger=False)
        afterwards, self._afterwards = self._afterwards, []
        for action in afterwards:
            action()

    def _finish_ending(self) -> None:
        if self._ending is not None:
            self._ending.cancel()
            self._end()

    def _after_last_words(self, action: Callable[[], None]) -> None:
        if self._ending is None:
            action()
        else:
            self._afterwards.append(action)

    # --- messages from the kernel ---

    def _read(self, line: _Line, channel: str, frames: Sequence[Buffer]) -> Outgoing | None:
        try:
            return line.reader.read(channel, frames)
        except MalformedMessage as error:
            self._log.warn(
                "kernel {kernel_id}: dropped a message on {channel}: {reason}",
                kernel_id=self._kernel_id,
                channel=channel,
                reason=error.reason,
            )
            return None

    def _published(self, line: _Line, frames: Sequence[Buffer]) -> None:
        message = self._read(line, "iopub", frames)
        if message is None:
            return
        msg_type = message.header.msg_type
        if msg_type == "iopub_welcome":
            # It greets our subscription, not a client's.
            return
        state = self._state_of(message) if msg_type == "status" else None
        for attachment in self._audience:
            attachment.publish(message)
        self._observer.published(msg_type, message.parent.msg_type, state)
        if line.probe is not None:
            line.probe.published(message, state)

    def _state_of(self, message: Outgoing) -> str | None:
        try:
            return _decode_status(message.parts[3]).execution_state
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None

    def _answered(self, line: _Line, channel: str, frames: Sequence[Buffer]) -> None:
        """
        An answer to the gateway itself.
        """
        message = self._read(line, channel, frames)
        if message is not None and line.probe is not None:
            line.probe.replied(message)

    # --- requests of the gateway's own ---

    def request_shutdown(self, restart: bool) -> None:
        """
        Send ``shutdown_request`` on control.
        """
        self._request("shutdown_request", msgspec.json.encode({"restart": restart}))

    def request_interrupt(self) -> None:
        """
        Send ``interrupt_request`` on control.
        """
        self._request("interrupt_request", b"{}")

    def _request(self, msg_type: str, content: bytes) -> None:
        if self._line is not None:
            self._line.own.send(
                own_request("control", msg_type, content, self._session, time.time())
            )

    # --- clients ---

    def attach(self, session_id: str, client: IClient) -> IAttachment:
        """
        Give a client its hold on the kernel, or the hold of the one it replaces.
        """
        present = self._attachments.get(session_id)
        if present is not None:
            present.replace(client)
            return present
        attachment = Attachment(session_id, client, self._forget, self._lag_changed)
        self._attachments[session_id] = attachment
        self._audience = tuple(self._attachments.values())
        if self._line is not None and self._line.ready:
            self._wire_up(attachment, self._line)
        return attachment

    def _forget(self, attachment: Attachment) -> None:
        if self._attachments.get(attachment.session_id) is not attachment:
            return
        del self._attachments[attachment.session_id]
        self._audience = tuple(self._attachments.values())
        self._lag_changed()
        wires = attachment.disconnect()
        if wires is not None:
            wires.close(linger=True)

    def _lag_changed(self) -> None:
        """
        When every client lags, let them catch up: most of them only have to get their share of the
        processor. One that hardly reads is not waited for.
        """
        if self._line is None:
            return
        everyone_lags = all(attachment.lags for attachment in self._audience)
        if everyone_lags and self._breath is None:
            self._take_breath(self._line)
        elif not everyone_lags and self._breath is not None:
            self._breath.cancel()
            self._breath = None
            self._line.iopub.resume()

    def _take_breath(self, line: _Line) -> None:
        line.iopub.pause()
        before = {attachment: attachment.delivered for attachment in self._audience}

        def breathed() -> None:
            self._breath = None
            if any(
                attachment.delivered - before.get(attachment, 0) > PROGRESS
                for attachment in self._audience
            ):
                self._take_breath(line)
            else:
                line.iopub.resume()

        self._breath = self._reactor.callLater(BREATH, breathed)

    def publish_status(self, execution_state: str) -> None:
        """
        Tell every client a state, after the last words of a process that has ended.
        """
        content = msgspec.json.encode({"execution_state": execution_state})

        def publish() -> None:
            for attachment in self._audience:
                attachment.tell("status", content)

        self._after_last_words(publish)

    def dismiss(self, code: int, reason: str) -> None:
        """
        Close every client, after the last words of a process that has ended.
        """

        def dismiss() -> None:
            for attachment in self._audience:
                attachment.end(code, reason)

        self._after_last_words(dismiss)

    def close(self, code: int, reason: str) -> None:
        """
        Close every client, then all sockets.
        """
        if self._closed:
            return
        self._closed = True
        self.disconnect()
        self.dismiss(code, reason)
        self._after_last_words(lambda: self._on_closed(self))

    def abandon(self) -> None:
        """
        The gateway ends: close everything without waiting for last words.
        """
        self.close(1001, "The gateway is shutting down")
        self._finish_ending()
