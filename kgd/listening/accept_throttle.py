"""
Pauses accepting connections while almost all file descriptors are in use.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IListeningPort
from twisted.internet.tcp import Port

from kgd.errors import RAISE_LIMIT
from kgd.observability.logs import make_logger
from kgd.observability.throttle import Throttle
from kgd.open_files import count_open_files, file_limit, reserve_of

# mypy: allow-untyped-calls
# (the methods that reactors call have no types)

_log = make_logger()


class AcceptThrottle:
    """
    Reserves some descriptors: while few are free, new connections wait in the system's queue, and
    connections that are open can use the reserve.

    Without it, a reactor that cannot accept a connection would try again in a busy loop.

    :param reactor: An ``IReactorTime``.
    :param count: Returns the number of open descriptors.
    :ivar on_paused: Called when it begins to pause; may close connections that nobody needs.
    """

    # Seconds between two looks at whether descriptors have become free.
    RETRY_DELAY = 0.25

    def __init__(
        self,
        reactor: Any,
        count: Callable[[int], int] = count_open_files,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reactor = reactor
        self._count = count
        self._warning = Throttle(monotonic)
        self._ports: list[Port] = []
        self.on_paused: Callable[[], object] = lambda: None
        self._budget = 0
        self._resume_call: IDelayedCall | None = None
        self._warned = False

    def add_port(self, port: IListeningPort) -> None:
        """
        :param port: One of Twisted's own ports; others are ignored.
        """
        if not isinstance(port, Port):
            return
        accept = port.doRead

        def do_read() -> None:
            limit = self._accept_limit()
            if limit <= 0:
                self._pause_accepting()
                return
            before = port.sessionno
            port.numberAccepts = min(port.numberAccepts, limit)
            accept()
            self._budget -= max(1, port.sessionno - before)

        port.doRead = do_read  # type: ignore[method-assign]
        self._ports.append(port)

    def stop(self) -> None:
        """
        Forget all ports.
        """
        self._ports = []
        resume_call, self._resume_call = self._resume_call, None
        if resume_call is not None:
            resume_call.cancel()

    def _accept_limit(self) -> int:
        """
        :return: How many connections may be accepted now.
        """
        if self._budget <= 0:
            # Counting thousands takes a while, so it is not done for each connection: no client
            # needs 16 descriptors at once.
            free = self._free_files()
            self._budget = max(1, free // 16) if free > 0 else 0
        return self._budget

    def _free_files(self) -> int:
        """
        :return: How many descriptors are free, without the reserve.
        """
        limit = file_limit()
        return limit - reserve_of(limit) - self._count(limit)

    def _pause_accepting(self) -> None:
        for port in self._ports:
            port.stopReading()
        self._resume_call = self._reactor.callLater(self.RETRY_DELAY, self._resume_accepting)
        self.on_paused()
        if self._warning.passes():
            self._warned = True
            limit = file_limit()
            _log.warn(
                "almost all of the {limit} files that may be open are open, so new connections "
                "wait; {advice}, or lower --max-kernels",
                limit=limit,
                advice=RAISE_LIMIT,
            )

    def _resume_accepting(self) -> None:
        self._resume_call = None
        if self._free_files() <= 0:
            self._resume_call = self._reactor.callLater(self.RETRY_DELAY, self._resume_accepting)
            return
        for port in self._ports:
            port.startReading()
        if self._warned:
            self._warned = False
            _log.info("new connections are accepted again")
