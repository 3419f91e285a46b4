"""
Telling systemd how the process is.

Format: sd_notify(3), a datagram of lines like ``READY=1`` to the socket that ``NOTIFY_SOCKET``
names.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping
from typing import Any

from twisted.internet.task import LoopingCall

from kgd.observability.logs import make_logger


class Systemd:
    """
    What has started the process, if it wants to be told about it.

    :param environ: The environment. What is for this process alone is taken out, so that no other
        speaks in its name.
    """

    _log = make_logger()

    def __init__(self, reactor: Any, environ: MutableMapping[str, str]) -> None:
        self._address = environ.pop("NOTIFY_SOCKET", "")
        self._has_failed = False
        self._watchdog_pid = environ.pop("WATCHDOG_PID", "")
        microseconds = environ.pop("WATCHDOG_USEC", "")
        self._timeout = int(microseconds) / 1e6 if microseconds.isdecimal() else 0.0
        # It is the reactor that calls, so a reactor that hangs is found out.
        self._watching = LoopingCall(self._tell, "WATCHDOG=1")
        self._watching.clock = reactor

    def started(self) -> None:
        """
        The process runs; from now on tell again and again that it is alive.
        """
        if self._timeout and self._watchdog_pid in ("", str(os.getpid())):
            self._watching.start(self._timeout / 2)

    def ready(self) -> None:
        """
        The gateway answers, after its start or after a reload.
        """
        self._tell("READY=1")

    def reloading(self) -> None:
        """
        Settings are being read again.
        """
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """
        The gateway has begun to stop. That it is alive is told until it ends.
        """
        self._tell("STOPPING=1")

    def stopped(self) -> None:
        """
        Tell nothing more.
        """
        if self._watching.running:
            self._watching.stop()

    def _tell(self, state: str) -> None:
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
                        "systemd cannot be told {state}: {error}",
                        state=state,
                        error=error.strerror,
                    )
                # It would be the same again and again.
                self._has_failed = True
