"""
All ZeroMQ sockets of one kernel, and the clients that are attached to it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec
from twisted.internet.interfaces import IDelayedCall
from zope.interface import implementer

from kgd.errors import MalformedMessage, is_out_of_files
from kgd.execution.probe import Probe
from kgd.execution.seeding import SeedRun
from kgd.interfaces import (
    GATEWAY_SHUTDOWN_REASON,
    ClientStats,
    IAttachment,
    IClient,
    IKernelChannels,
    IKernelObserver,
)
from kgd.observability.counters import Counters
from kgd.observability.logs import make_logger
from kgd.observability.throttle import Throttle
from kgd.open_files import FILES_PER_KERNEL, FILES_PER_SOCKET
from kgd.protocol.connection_file import ConnectionInfo
from kgd.protocol.messages import Buffer, KernelMessage, make_client_message, read_execution_state
from kgd.protocol.rfc6455 import GOING_AWAY, NORMAL
from kgd.relay.attachment import Attachment
from kgd.relay.connection import ClientSockets, ProcessConnection, Shells, session_of
from kgd.relay.flow_control import IopubFlowControl
from kgd.relay.limits import RELAY_LIMITS, RelayLimits
from kgd.relay.missing_idle import substitute_idle
from kgd.relay.pending import KernelGone, substitute_replies
from kgd.relay.redaction import Redactor
from kgd.relay.sockets import KernelSocket, SocketFactory
from kgd.relay.turns import TurnQueue
from kgd.settings import Settings


@implementer(IKernelChannels)
class KernelChannels:
    """
    One subscription to iopub, whose messages go to all clients; shell, control and stdin for each.

    When a process ends, its final output may still be on its way. The sockets stay open for it for
    a moment, and what follows (statuses, close frames, the next process) waits for that.

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
        limits: RelayLimits = RELAY_LIMITS,
    ) -> None:
        self._reactor = reactor
        self._settings = settings
        self._sockets = sockets
        self._kernel_id = kernel_id
        self._observer = observer
        self._on_closed = closed
        self._counters = counters
        self._limits = limits
        self._gateway_session = os.urandom(16).hex()
        # In the order in which clients came or, if they are away, left.
        self._attachments: dict[str, Attachment] = {}
        # The same as a tuple, which is faster to go through for each message.
        self._recipients: tuple[Attachment, ...] = ()
        self._process: ProcessConnection | None = None
        self._closing_call: IDelayedCall | None = None
        self._closing_sockets: list[KernelSocket | ClientSockets] = []
        self._after_closing: list[Callable[[], None]] = []
        self._redactor = (
            None if settings.allow_tracebacks else Redactor(settings.traceback_replacement_message)
        )
        self._flow_control = IopubFlowControl(reactor, self._pause_iopub, lambda: self._recipients)
        self._turns: TurnQueue | None = None
        # The last status that the kernel could not send itself, and how it ended.
        self._last_status: dict[str, str] | None = None
        self._end: tuple[int, str] | None = None
        self._malformed = 0
        self._malformed_warnings = Throttle(reactor.seconds)

    @property
    def connections(self) -> int:
        return sum(each.is_present and each.is_connection for each in self._recipients)

    @property
    def pending_executions(self) -> int:
        return self._running() + len(self._turns or ())

    def _running(self) -> int:
        return sum(attachment.pending_requests.executions for attachment in self._recipients)

    @property
    def promised_files(self) -> int:
        sockets = sum(attachment.promised_sockets for attachment in self._recipients)
        own = FILES_PER_KERNEL if self._process is None else 0
        return own + FILES_PER_SOCKET * sockets

    def has_client(self, session_id: str | None) -> bool:
        return session_id in self._attachments

    def client_stats(self) -> ClientStats:
        clients = [attachment for attachment in self._recipients if not attachment.is_internal]
        return ClientStats(
            present=sum(each.is_present for each in clients),
            away=sum(not each.is_present for each in clients),
            messages=sum(each.queued for each in clients),
            size=sum(each.queued_size for each in clients),
        )

    # --- the kernel's process comes and goes ---

    def connect(self, connection: ConnectionInfo, seed: Sequence[str] = ()) -> None:
        if self._end is not None:
            return
        if self._process is not None:
            self.disconnect("KernelDied", "another process took its place")
        process = ProcessConnection(
            self._reactor,
            self._sockets,
            connection,
            iopub_received=self._iopub_received,
            reply_received=self._reply_received,
            idle_missing=self._idle_missing,
            limits=self._limits,
        )
        self._process = process
        process.startup = Probe(
            self._reactor,
            self._gateway_session,
            process.gateway_sockets.send,
            lambda: self._probe_succeeded(process, seed),
            self._settings.username,
        )
        process.startup.start()

    def _probe_succeeded(self, process: ProcessConnection, seed: Sequence[str]) -> None:
        if not seed:
            self._ready(process)
            return
        process.startup = SeedRun(
            seed,
            self._gateway_session,
            process.gateway_sockets.send,
            lambda: self._ready(process),
            self._observer.seeding_failed,
            self._settings.username,
        )
        self._observer.began_seeding()
        process.startup.start()

    def _ready(self, process: ProcessConnection) -> None:
        process.startup = None
        process.ready = True
        self._last_status = None
        # Requests to the last process get their replies before this one gets any.
        self._finish_closing()
        for attachment in self._recipients:
            self._connect_attachment(attachment, process)
        self._observer.became_ready()
        if self._turns:
            self._turns.send_next()

    def _connect_attachment(self, attachment: Attachment, process: ProcessConnection) -> None:
        def received(channel: str, frames: Sequence[Buffer]) -> None:
            message = self._read(process, channel, frames)
            if message is not None:
                process.missing_idle.replied(message)
                attachment.deliver_reply(message)

        attachment.connect(process.open_sockets(received, attachment.requests_taken))

    def disconnect(self, ename: str, evalue: str) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.startup is not None:
            process.startup.cancel()
            process.startup = None
        process.missing_idle.cancel()
        self._flow_control.lag_changed(False)
        self._finish_closing()
        self._kernel_gone = KernelGone(ename, evalue)
        self._closing_sockets = [process.iopub, process.gateway_sockets]
        for attachment in self._recipients:
            client_sockets = attachment.disconnect()
            if client_sockets is not None:
                self._closing_sockets.append(client_sockets)
        self._closing_call = self._reactor.callLater(
            self._limits.final_output_delay, self._close_sockets
        )

    def _close_sockets(self) -> None:
        self._closing_call = None
        closing, self._closing_sockets = self._closing_sockets, []
        for each in closing:
            each.drain()
            each.close(linger=False)
        self._reply_for_process(self._kernel_gone)
        actions, self._after_closing = self._after_closing, []
        for action in actions:
            action()

    def _reply_for_process(self, gone: KernelGone) -> None:
        for attachment in self._recipients:
            for request in attachment.pending_requests.take_all():
                for message in substitute_replies(
                    request, gone, attachment.session_id, self._settings.username
                ):
                    if message.channel == "iopub":
                        self._fan_out(message)
                    else:
                        attachment.deliver(message)

    def _finish_closing(self) -> None:
        if self._closing_call is not None:
            self._closing_call.cancel()
            self._close_sockets()

    def _when_sockets_closed(self, action: Callable[[], None]) -> None:
        if self._closing_call is None:
            action()
        else:
            self._after_closing.append(action)

    # --- messages from the kernel ---

    def _read(
        self, process: ProcessConnection, channel: str, frames: Sequence[Buffer]
    ) -> KernelMessage | None:
        try:
            message = process.verifier.read(channel, frames)
            return message if self._redactor is None else self._redactor.redacted(message)
        except MalformedMessage as error:
            self._warn_malformed(channel, error.reason)
            return None

    def _warn_malformed(self, channel: str, reason: str) -> None:
        # There may be thousands of them a second.
        self._malformed += 1
        if not self._malformed_warnings.passes():
            return
        self._log.warn(
            "kernel {kernel_id}: dropped a message on {channel}: {reason}; {count} such messages "
            "so far, and the next warning comes in a minute at the earliest",
            kernel_id=self._kernel_id,
            channel=channel,
            reason=reason,
            count=self._malformed,
        )

    def _iopub_received(self, process: ProcessConnection, frames: Sequence[Buffer]) -> None:
        message = self._read(process, "iopub", frames)
        if message is None:
            return
        if process is not self._process and not process.is_from_this_process(message):
            return
        msg_type = message.header.msg_type
        if msg_type == "iopub_welcome":
            # It greets our subscription, not a client's.
            return
        state = read_execution_state(message.parts[3]) if msg_type == "status" else None
        process.missing_idle.published(message, state)
        self._dispatch(process, message, state)

    def _dispatch(
        self, process: ProcessConnection, message: KernelMessage, state: str | None
    ) -> None:
        startup = process.startup
        if startup is not None and startup.hides(message):
            startup.received(message)
            return
        self._fan_out(message)
        parent = message.parent
        shell = process.shells.of(parent) if state is not None else Shells.MAIN
        self._observer.published(
            message.header.msg_type, parent.msg_type, state, shell, parent.msg_id
        )
        if process.startup is not None:
            process.startup.received(message)

    def _fan_out(self, message: KernelMessage) -> None:
        for attachment in self._recipients:
            attachment.publish(message)
        message.forget_frames()

    def _idle_missing(
        self, process: ProcessConnection, parent: bytes, output_missing: bool
    ) -> None:
        if output_missing:
            self._log.warn(
                "kernel {kernel_id}: it has replied to a request, and the idle status that follows "
                "is missing; it has probably printed faster than the output could be sent",
                kernel_id=self._kernel_id,
            )
        for message, state in substitute_idle(
            parent, output_missing, self._gateway_session, self._settings.username
        ):
            self._dispatch(process, message, state)

    def _reply_received(
        self, process: ProcessConnection, channel: str, frames: Sequence[Buffer]
    ) -> None:
        message = self._read(process, channel, frames)
        if message is None:
            return
        process.missing_idle.replied(message)
        if process.startup is not None:
            session = session_of(message)
            # Some kernels, like R's, repeat the session of each request, which tells nothing.
            is_own = session != msgspec.json.encode(self._gateway_session)
            process.kernel_session = session if is_own else None
            process.startup.received(message)

    # --- requests of the gateway's own ---

    def request_shutdown(self, restart: bool) -> None:
        self._send_control("shutdown_request", msgspec.json.encode({"restart": restart}))

    def request_interrupt(self) -> None:
        self._send_control("interrupt_request", b"{}")

    def _send_control(self, msg_type: str, content: bytes) -> None:
        if self._process is None:
            return
        request = make_client_message(
            "control",
            msg_type,
            content,
            self._gateway_session,
            time.time(),
            username=self._settings.username,
        )
        try:
            self._process.gateway_sockets.send(request)
        except Exception as error:
            # A kernel that is to end gets a signal next; that must not fail, too.
            if not is_out_of_files(error):
                raise
            self._log.warn(
                "kernel {kernel_id}: {msg_type} cannot be sent, there are too many open files",
                kernel_id=self._kernel_id,
                msg_type=msg_type,
            )

    # --- clients ---

    def attach(
        self,
        session_id: str | None,
        client: IClient,
        *,
        is_internal: bool = False,
        is_connection: bool = True,
    ) -> IAttachment:
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
            is_internal=is_internal,
            is_connection=is_connection,
            on_detached=self._attachment_detached,
            on_removed=self._attachment_removed,
            on_lag_changed=self._lag_changed,
            use_turns=self._use_turns,
            counters=self._counters,
            limits=self._limits,
        )
        attachment.turns = self._turns
        if self._end is not None and self._closing_call is None:
            if self._last_status is not None:
                attachment.deliver_from_gateway("status", self._last_status)
            attachment.close(*self._end)
            return attachment
        self._attachments[attachment.session_id] = attachment
        self._recipients = tuple(self._attachments.values())
        if self._process is not None and self._process.ready:
            self._connect_attachment(attachment, self._process)
        return attachment

    def _use_turns(self) -> TurnQueue:
        """
        :return: The queue of turns, which costs all clients a little as soon as it exists.
        """
        if self._turns is None:
            self._turns = TurnQueue(self._occupied)
            for attachment in self._recipients:
                attachment.turns = self._turns
        return self._turns

    def _occupied(self) -> int:
        """
        :return: How many requests to run code the kernel has, or will have as soon as it is ready.
        """
        is_ready = self._process is not None and self._process.ready
        return self._running() if is_ready else 1

    def _attachment_detached(self, attachment: Attachment) -> None:
        self._attachments[attachment.session_id] = self._attachments.pop(attachment.session_id)
        away = [each for each in self._attachments.values() if not each.is_present]
        if len(away) > self._limits.max_away_clients:
            away[0].close(NORMAL, "")
        self._lag_changed()

    def _attachment_removed(self, attachment: Attachment) -> None:
        if self._attachments.get(attachment.session_id) is not attachment:
            return
        del self._attachments[attachment.session_id]
        self._recipients = tuple(self._attachments.values())
        self._lag_changed()
        client_sockets = attachment.disconnect()
        if client_sockets is not None:
            client_sockets.close(linger=True)
        if self._turns is not None:
            self._turns.withdraw_all_of(attachment)

    def _lag_changed(self) -> None:
        # When every client lags, most of them only have to get their share of the processor.
        present = [attachment for attachment in self._recipients if attachment.is_present]
        all_lagging = bool(present) and all(attachment.is_lagging for attachment in present)
        self._flow_control.lag_changed(all_lagging)

    def _pause_iopub(self, pause: bool) -> None:
        if self._process is not None:
            if pause:
                self._process.iopub.pause()
            else:
                self._process.iopub.resume()

    def publish_status(self, execution_state: str, reason: str = "") -> None:
        content = {"execution_state": execution_state}
        if reason:
            content["reason"] = reason

        self._last_status = content

        def publish() -> None:
            for attachment in self._recipients:
                attachment.deliver_from_gateway("status", content)

        self._when_sockets_closed(publish)

    def close_clients(self, code: int, reason: str) -> None:
        def close_clients() -> None:
            for attachment in self._recipients:
                attachment.close(code, reason)

        self._when_sockets_closed(close_clients)

    def close(self, code: int, reason: str) -> None:
        if self._end is not None:
            return
        self._end = (code, reason)
        self.disconnect("KernelDied", reason)
        self.close_clients(code, reason)
        self._when_sockets_closed(partial(self._on_closed, self))

    def close_now(self) -> None:
        """
        Close everything, because the gateway ends, without waiting for final output.
        """
        self.close(GOING_AWAY, GATEWAY_SHUTDOWN_REASON)
        self._finish_closing()
