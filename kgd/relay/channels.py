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
from kgd.execution.probe import Probe
from kgd.execution.seeding import SeedRun
from kgd.interfaces import (
    GATEWAY_SHUTS_DOWN,
    ClientStats,
    IAttachment,
    IClient,
    IKernelChannels,
    IKernelObserver,
)
from kgd.observability.counters import Counters
from kgd.observability.logs import make_logger
from kgd.observability.throttle import Throttle
from kgd.protocol.connection_file import ConnectionInfo
from kgd.protocol.messages import Buffer, KernelMessage, own_request, read_state
from kgd.protocol.rfc6455 import GOING_AWAY, NORMAL
from kgd.relay.attachment import Attachment
from kgd.relay.connection import ClientSockets, ProcessConnection, sender
from kgd.relay.flow_control import IopubFlowControl
from kgd.relay.missing_idle import MissingIdle
from kgd.relay.pending import KernelGone, substitute_idle, substitutes
from kgd.relay.redaction import Redactor
from kgd.relay.sockets import KernelSocket, SocketFactory
from kgd.settings import Settings

# After a process has ended, its last words may still be on their way through ZeroMQ's thread.
LAST_WORDS = 0.025
# For how many clients of one kernel that are away messages are kept; the one that left first gives
# way. Somebody who opens a WebSocket under a new name for each request would collect them.
MOST_AWAY = 8


@implementer(IKernelChannels)
class KernelChannels:
    """
    One iopub subscription, fanned out; shell, control and stdin for each client.

    :param closed: Called once, when everything is closed.
    """

    _log = make_logger()

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        sockets: SocketFactory,
        kernel_id: str,
        observer: IKernelObserver,
        closed: Callable[[KernelChannels], None],
        counters: Counters,
    ) -> None:
        self._reactor = reactor
        self._settings = settings
        self._sockets = sockets
        self._kernel_id = kernel_id
        self._observer = observer
        self._on_closed = closed
        self._counters = counters
        self._session = os.urandom(16).hex()
        self._attachments: dict[str, Attachment] = {}
        # What iopub is fanned out to, so that nobody has to ask the dictionary for each message.
        self._audience: tuple[Attachment, ...] = ()
        self._line: ProcessConnection | None = None
        self._ending: IDelayedCall | None = None
        self._lingering: list[KernelSocket | ClientSockets] = []
        self._afterwards: list[Callable[[], None]] = []
        self._redactor = (
            None if settings.allow_tracebacks else Redactor(settings.traceback_replacement_message)
        )
        self._breather = IopubFlowControl(reactor, self._set_breath, lambda: self._audience)
        self._closed = False
        self._senseless = 0
        self._complaints = Throttle(reactor.seconds)

    @property
    def connections(self) -> int:
        """
        How many clients are there at the moment.
        """
        return sum(attachment.is_present for attachment in self._audience)

    @property
    def pending_executions(self) -> int:
        """
        How many requests of clients to run code the kernel has not answered.
        """
        return sum(attachment.outstanding.code for attachment in self._audience)

    def client_stats(self) -> ClientStats:
        """
        How many clients there are, and what waits for them.
        """
        clients = [attachment for attachment in self._audience if not attachment.is_ours]
        return ClientStats(
            present=sum(each.is_present for each in clients),
            away=sum(not each.is_present for each in clients),
            messages=sum(each.queued for each in clients),
            size=sum(each.queued_size for each in clients),
        )

    # --- the kernel's process comes and goes ---

    def connect(self, connection: ConnectionInfo, seed: Sequence[str] = ()) -> None:
        """
        Subscribe, then ask for the first answer, then run the seed.
        """
        if self._closed:
            return
        if self._line is not None:
            self.disconnect("KernelDied", "another process took its place")
        line = ProcessConnection(connection)
        line.iopub = self._sockets.subscribe(
            connection.url("iopub"),
            lambda frames: self._published(line, frames),
            connection.curve,
        )
        line.own = ClientSockets(
            self._sockets,
            connection,
            line.signer,
            lambda channel, frames: self._answered(line, channel, frames),
        )
        line.ends = MissingIdle(
            self._reactor, line.iopub.drain, lambda parent: self._end_lost(line, parent)
        )
        self._line = line
        line.probe = Probe(
            self._reactor,
            self._session,
            line.own.send,
            lambda: self._begins_to_answer(line, seed),
            self._settings.username,
        )
        line.probe.ask()

    def _begins_to_answer(self, line: ProcessConnection, seed: Sequence[str]) -> None:
        line.probe = None
        if not seed:
            self._ready(line)
            return
        line.seeding = SeedRun(
            seed,
            self._session,
            line.own.send,
            lambda: self._ready(line),
            self._observer.seeding_failed,
            self._settings.username,
        )
        self._observer.began_seeding()
        line.seeding.proceed()

    def _ready(self, line: ProcessConnection) -> None:
        line.seeding = None
        line.ready = True
        # Before anything is asked of this process, what was asked of the last one is settled.
        self._finish_ending()
        for attachment in self._audience:
            self._wire_up(attachment, line)
        self._observer.became_ready()

    def _wire_up(self, attachment: Attachment, line: ProcessConnection) -> None:
        def received(channel: str, frames: Sequence[Buffer]) -> None:
            message = self._read(line, channel, frames)
            if message is not None:
                line.ends.replied(message)
                attachment.answer(message)

        attachment.connect(ClientSockets(self._sockets, line.connection, line.signer, received))

    def disconnect(self, ename: str, evalue: str) -> None:
        """
        Send nothing more to the process, and close its sockets when its last words have come. What
        it has not answered until then is answered in its place.
        """
        line, self._line = self._line, None
        if line is None:
            return
        if line.probe is not None:
            line.probe.cancel()
        line.probe = line.seeding = None
        line.ends.cancel()
        self._breather.lag_changed(False)
        self._finish_ending()
        self._loss = KernelGone(ename, evalue)
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
        self._answer_for_the_dead(self._loss)
        afterwards, self._afterwards = self._afterwards, []
        for action in afterwards:
            action()

    def _answer_for_the_dead(self, loss: KernelGone) -> None:
        for attachment in self._audience:
            for request in attachment.outstanding.lose():
                for message in substitutes(
                    request, loss, attachment.session_id, self._settings.username
                ):
                    if message.channel == "iopub":
                        self._fan_out(message)
                    else:
                        attachment.deliver(message)

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

    def _read(
        self, line: ProcessConnection, channel: str, frames: Sequence[Buffer]
    ) -> KernelMessage | None:
        try:
            message = line.reader.read(channel, frames)
            return message if self._redactor is None else self._redactor.redacted(message)
        except MalformedMessage as error:
            self._complain(channel, error.reason)
            return None

    def _complain(self, channel: str, reason: str) -> None:
        """
        A message of the kernel makes no sense. There may be thousands of them a second.
        """
        self._senseless += 1
        if not self._complaints.passes():
            return
        self._log.warn(
            "kernel {kernel_id}: dropped a message on {channel}: {reason}; there have been {count} "
            "such messages, and nothing more is said of them for a minute",
            kernel_id=self._kernel_id,
            channel=channel,
            reason=reason,
            count=self._senseless,
        )

    def _published(self, line: ProcessConnection, frames: Sequence[Buffer]) -> None:
        message = self._read(line, "iopub", frames)
        if message is None:
            return
        if line is not self._line and not line.is_from_this_process(message):
            return
        msg_type = message.header.msg_type
        if msg_type == "iopub_welcome":
            # It greets our subscription, not a client's.
            return
        state = read_state(message.parts[3]) if msg_type == "status" else None
        line.ends.published(message, state)
        self._spread(line, message, state)

    def _spread(self, line: ProcessConnection, message: KernelMessage, state: str | None) -> None:
        seeding = line.seeding
        if seeding is not None and message.parent.msg_id in seeding.asked:
            # Not for clients, not even for those that were there before a restart.
            seeding.published(message, state)
            return
        self._fan_out(message)
        self._observer.published(message.header.msg_type, message.parent.msg_type, state)
        if line.probe is not None:
            line.probe.published(message, state)

    def _end_lost(self, line: ProcessConnection, parent: bytes) -> None:
        """
        Say in the kernel's place that a request has ended.
        """
        self._log.warn(
            "kernel {kernel_id}: it has answered a request, and its status after that is missing; "
            "it has probably printed faster than that could be sent",
            kernel_id=self._kernel_id,
        )
        for message, state in substitute_idle(parent, self._session, self._settings.username):
            self._spread(line, message, state)

    def _fan_out(self, message: KernelMessage) -> None:
        for attachment in self._audience:
            attachment.publish(message)
        message.forget_frames()

    def _answered(self, line: ProcessConnection, channel: str, frames: Sequence[Buffer]) -> None:
        """
        An answer to the gateway itself.
        """
        message = self._read(line, channel, frames)
        if message is None:
            return
        line.ends.replied(message)
        if line.probe is not None:
            line.session = sender(message)
            line.probe.replied(message)
        elif line.seeding is not None:
            line.seeding.replied(message)

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
                own_request(
                    "control",
                    msg_type,
                    content,
                    self._session,
                    time.time(),
                    username=self._settings.username,
                )
            )

    # --- clients ---

    def attach(
        self, session_id: str | None, client: IClient, *, is_ours: bool = False
    ) -> IAttachment:
        """
        Give a client its hold on the kernel, or the hold of the one it replaces.
        """
        present = self._attachments.get(session_id) if session_id is not None else None
        if present is not None:
            present.replace(client)
            self._lag_changed()
            return present
        attachment = Attachment(
            self._reactor,
            self._settings,
            session_id if session_id is not None else os.urandom(16).hex(),
            client,
            durable=session_id is not None,
            is_ours=is_ours,
            left=self._left,
            forget=self._forget,
            lag_changed=self._lag_changed,
            counters=self._counters,
        )
        self._attachments[attachment.session_id] = attachment
        self._audience = tuple(self._attachments.values())
        if self._line is not None and self._line.ready:
            self._wire_up(attachment, self._line)
        return attachment

    def _left(self, attachment: Attachment) -> None:
        # The dictionary is in the order of coming; whoever left last goes to its end.
        self._attachments[attachment.session_id] = self._attachments.pop(attachment.session_id)
        away = [each for each in self._attachments.values() if not each.is_present]
        if len(away) > MOST_AWAY:
            away[0].end(NORMAL, "")
        self._lag_changed()

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
        processor.
        """
        present = [attachment for attachment in self._audience if attachment.is_present]
        everyone_lags = bool(present) and all(attachment.lags for attachment in present)
        self._breather.lag_changed(everyone_lags)

    def _set_breath(self, pause: bool) -> None:
        if self._line is not None:
            if pause:
                self._line.iopub.pause()
            else:
                self._line.iopub.resume()

    def publish_status(self, execution_state: str) -> None:
        """
        Tell every client a state, after the last words of a process that has ended.
        """

        def publish() -> None:
            for attachment in self._audience:
                attachment.tell("status", {"execution_state": execution_state})

        self._after_last_words(publish)

    def close_clients(self, code: int, reason: str) -> None:
        """
        Close every client, after the last words of a process that has ended.
        """

        def close_clients() -> None:
            for attachment in self._audience:
                attachment.end(code, reason)

        self._after_last_words(close_clients)

    def close(self, code: int, reason: str) -> None:
        """
        Close every client, then all sockets.
        """
        if self._closed:
            return
        self._closed = True
        self.disconnect("KernelDied", reason)
        self.close_clients(code, reason)
        self._after_last_words(lambda: self._on_closed(self))

    def abandon(self) -> None:
        """
        The gateway ends: close everything without waiting for last words.
        """
        self.close(GOING_AWAY, GATEWAY_SHUTS_DOWN)
        self._finish_ending()
