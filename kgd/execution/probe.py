"""
Finding out when a kernel's process answers.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall

from kgd.protocol.messages import USERNAME, ClientMessage, KernelMessage, make_client_message

RETRY_DELAY = 0.1  # seconds between the reply and another try


class Probe:
    """
    Asks ``kernel_info_request`` until the reply *and*, on iopub, the idle status of such a request
    have come: from then on no output can be missed, and nothing that was published on behalf of the
    probe is still under way.
    """

    def __init__(
        self,
        reactor: Any,
        session: str,
        send: Callable[[ClientMessage], None],
        succeeded: Callable[[], None],
        username: str = USERNAME,
    ) -> None:
        self._username = username
        self._reactor = reactor
        self._session = session
        self._send = send
        self._succeeded = succeeded
        self._msg_ids: set[str] = set()
        self._replied = False
        self._idle = False
        self._retry: IDelayedCall | None = None

    def ask(self) -> None:
        """
        Send a request; it leaves as soon as the kernel has opened its port.
        """
        self._retry = None
        request = make_client_message(
            "shell",
            "kernel_info_request",
            b"{}",
            self._session,
            time.time(),
            username=self._username,
        )
        self._msg_ids.add(request.msg_id)
        self._send(request)

    def replied(self, message: KernelMessage) -> None:
        """
        A message came on shell.
        """
        if message.parent.msg_id not in self._msg_ids:
            return
        self._replied = True
        if not self._finished() and self._retry is None:
            # The kernel answered before it saw our subscription.
            self._retry = self._reactor.callLater(RETRY_DELAY, self.ask)

    def published(self, message: KernelMessage, execution_state: str | None) -> None:
        """
        A message came on iopub.
        """
        if execution_state == "idle" and message.parent.msg_id in self._msg_ids:
            self._idle = True
            self._finished()

    def _finished(self) -> bool:
        if not (self._replied and self._idle):
            return False
        self.cancel()
        self._succeeded()
        return True

    def cancel(self) -> None:
        """
        Stop asking.
        """
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
