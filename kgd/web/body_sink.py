"""
Takes the body of a request while it arrives, and writes it to a file in threads, so that it is
never in memory as a whole.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

from kgd.deferreds import Waiters
from kgd.errors import BodyTooLarge, GatewayError

# Bytes that wait to be written; a client that sends faster than that has to wait.
MAX_WAITING = 1024 * 1024


class UnfinishedFile(Protocol):
    """
    A file that is being written. Everything blocks.
    """

    def write(self, data: bytes) -> None:
        """
        Add to it.
        """

    def discard(self) -> None:
        """
        Remove it, unless it was finished.
        """


class BodySink:
    """
    One body, on its way to a file.

    :ivar size: How many bytes have arrived.
    :ivar limit: How many bytes there may be; 0 is no limit.
    :ivar refuse: Called with an error that makes all the rest useless; to be set.
    :ivar pause: Called when too much waits, and ``resume`` when that has been written; to be set.
    :param begin: Makes the file.
    :param option: The option that sets the limit.
    """

    def __init__(
        self, reactor: Any, begin: Callable[[], UnfinishedFile], limit: int, option: str
    ) -> None:
        self.size = 0
        self.limit = limit
        self.refuse: Callable[[GatewayError], object] = lambda error: None
        self.pause: Callable[[], object] = lambda: None
        self.resume: Callable[[], object] = lambda: None
        self._option = option
        self._reactor = reactor
        self._file: UnfinishedFile | None = None
        self._waiting: list[bytes] = []
        self._waiting_size = 0
        self._is_busy = False
        self._is_paused = False
        self._is_aborted = False
        self._error: Failure | None = None
        self._idle: Waiters[None] = Waiters()
        self._do(begin, self._began)

    def check_size(self, size: int) -> BodyTooLarge | None:
        """
        :return: The error for a body of this size, if it is too large.
        """
        if not self.limit or size <= self.limit:
            return None
        return BodyTooLarge(
            f"A file may have at most {self.limit} bytes; ask the gateway's operator to raise "
            f"{self._option}"
        )

    @property
    def error(self) -> GatewayError | None:
        """
        Why the file cannot be written, if that is known already.
        """
        value = None if self._error is None else self._error.value
        return value if isinstance(value, GatewayError) else None

    def received(self, data: bytes) -> None:
        """
        Take a piece of the body.
        """
        self.size += len(data)
        if self._error is None and not self._is_aborted:
            self._waiting.append(data)
            self._waiting_size += len(data)
            self._go_on()

    def _go_on(self) -> None:
        """
        Do what is to be done next, if nothing is being done.
        """
        if not self._is_busy and self._waiting and self._file is not None:
            data = b"".join(self._waiting)
            self._waiting.clear()
            self._waiting_size = 0
            self._do(partial(self._file.write, data), lambda _: None)
        if self._is_paused is not (self._waiting_size > MAX_WAITING):
            self._is_paused = not self._is_paused
            (self.pause if self._is_paused else self.resume)()
        if not self._is_busy:
            self._idle.fire(None)

    def _do(self, work: Callable[[], Any], done: Callable[[Any], None]) -> None:
        self._is_busy = True
        working: Deferred[Any] = deferToThreadPool(
            self._reactor, self._reactor.getThreadPool(), work
        )
        working.addCallbacks(done, self._failed)
        working.addCallback(lambda _: self._done())

    def _began(self, file: UnfinishedFile) -> None:
        self._file = file

    def _failed(self, failure: Failure) -> None:
        self._error = failure
        self._waiting.clear()
        self._waiting_size = 0
        if isinstance(failure.value, GatewayError) and not self._is_aborted:
            self.refuse(failure.value)

    def _done(self) -> None:
        self._is_busy = False
        if self._is_aborted:
            self._discard()
        self._go_on()

    async def finished(self) -> Any:
        """
        Wait until everything that has arrived is written.

        :return: The file.
        :raises kgd.errors.GatewayError: when that has failed.
        """
        while self._is_busy or self._waiting:
            await self._idle.wait()
        if self._error is not None:
            self._error.raiseException()
        return self._file

    def abort(self) -> None:
        """
        Remove the file, unless it has been finished, and take no more. May be called again.
        """
        if self._is_aborted:
            return
        self._is_aborted = True
        self._waiting.clear()
        self._waiting_size = 0
        if not self._is_busy:
            self._discard()
        self._go_on()

    def _discard(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            self._reactor.callInThread(file.discard)
