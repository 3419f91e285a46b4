"""
Notifies systemd of the state of the process.

Format: sd_notify(3), a datagram of lines like ``READY=1`` to the socket named by ``NOTIFY_SOCKET``.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping
from typing import Any

from twisted.internet.task import LoopingCall

from kgd.observability.logs import make_logger


class SystemdNotifier:
    """
    Sends notifications, if systemd has started the process and wants them.

    :param environ: The environment. Variables for this process alone are removed, so that no child
        process uses them.
    """

    _log = make_logger()

    def __init__(self, reactor: Any, environ: MutableMapping[str, str]) -> None:
        self._address = environ.pop("NOTIFY_SOCKET", "")
        self._has_failed = False
        self._watchdog_pid = environ.pop("WATCHDOG_PID", "")
        microseconds = environ.pop("WATCHDOG_USEC", "")
        self._timeout = int(microseconds) / 1e6 if microseconds.isdecimal() else 0.0
        # The reactor calls, so systemd notices a reactor that hangs.
        self._keep_alive = LoopingCall(self._notify, "WATCHDOG=1")
        self._keep_alive.clock = reactor

    def started(self) -> None:
        """
        Begin to notify periodically that the process is alive.
        """
        if self._timeout and self._watchdog_pid in ("", str(os.getpid())):
            self._keep_alive.start(self._timeout / 2)

    def ready(self) -> None:
        """
        Notify that the gateway answers, after its start or a reload.
        """
        self._notify("READY=1")

    def reloading(self) -> None:
        """
        Notify that settings are being read again.
        """
        self._notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """
        Notify that the gateway has begun to stop. It goes on to notify that it is alive.
        """
        self._notify("STOPPING=1")

    def stopped(self) -> None:
        """
        End the periodic notifications.
        """
        if self._keep_alive.running:
            self._keep_alive.stop()

    def _notify(self, state: str) -> None:
        if not self._address.startswith(("/", "@")):
            return
        address = self._address.encode("utf-8", "surrogateescape")
        if address.startswith(b"@"):
            # In the abstract namespace.
            address = b"\0" + address[1:]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
            try:
                sender.sendto(state.encode(), address)
            except OSError as error:
                if not self._has_failed:
                    self._log.warn(
                        "cannot notify systemd of {state}: {error}",
                        state=state,
                        error=error.strerror,
                    )
                # The next ones would fail in the same way.
                self._has_failed = True
