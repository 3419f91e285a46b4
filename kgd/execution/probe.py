"""
Finds out when a kernel's process answers, and its output arrives.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall

from kgd.execution.execution import Execution, ExecutionTracker
from kgd.protocol.messages import USERNAME, ClientMessage, KernelMessage, make_client_message

# Seconds between a reply without an idle status and another request.
RETRY_DELAY = 0.1


class Probe:
    """
    Sends ``kernel_info_request`` until one has both its reply and, on iopub, its idle status. After
    that no output can be missed, and no output of the probe is still under way.

    :param succeeded: Called then, once.
    """

    def __init__(
        self,
        reactor: Any,
        session: str,
        send: Callable[[ClientMessage], None],
        succeeded: Callable[[], None],
        username: str = USERNAME,
        retry_delay: float = RETRY_DELAY,
    ) -> None:
        self._username = username
        self._reactor = reactor
        self._session = session
        self._succeeded = succeeded
        self._retry_delay = retry_delay
        self._tracker = ExecutionTracker(send)
        self._latest: Execution | None = None
        self._retry: IDelayedCall | None = None

    def start(self) -> None:
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
        self._latest = Execution(request, self._changed)
        self._tracker.start(self._latest)

    def hides(self, message: KernelMessage) -> bool:
        """
        :return: ``False``: clients may see what belongs to the probe.
        """
        return False

    def received(self, message: KernelMessage) -> None:
        """
        Take a message of the kernel.
        """
        self._tracker.received(message)

    def _changed(self, execution: Execution) -> None:
        if execution.is_done:
            self.cancel()
            self._succeeded()
        elif execution is self._latest and execution.reply is not None and self._retry is None:
            # The kernel answered before it saw our subscription.
            self._retry = self._reactor.callLater(self._retry_delay, self.start)

    def cancel(self) -> None:
        """
        Stop, and expect nothing more.
        """
        self._tracker.take_all()
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
