"""
Sessions of agents, and the kernels that belong to them.

A revision of the protocol without sessions has only the kernels: each one that a client starts then
is in a session of its own that no client can name, so that it ends in the same ways.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from kgd.deferreds import Waiters
from kgd.errors import GatewayError, NoSuchKernel, Unavailable
from kgd.interfaces import IKernel, IKernels, StartRequest
from kgd.mcp.json_rpc import RequestId
from kgd.observability.logs import make_logger

_RETRY_AFTER = 10

_log = make_logger()


class Session:
    """
    What one client does, until it says that it has finished or is silent for too long.

    :ivar revision: The revision of the protocol that it speaks.
    :ivar is_named: Whether clients can name it.
    :ivar kernel_id: The kernel in which its code runs that names none; ``None`` if it has none.
    :ivar kernel_ids: All kernels that end with it.
    :ivar cancellations: What cancels each of its requests.
    :ivar has_ended: Whether it is over.
    """

    def __init__(self, revision: str, *, is_named: bool) -> None:
        self.session_id = os.urandom(16).hex()
        self.revision = revision
        self.is_named = is_named
        self.kernel_id: str | None = None
        self.kernel_ids: dict[str, None] = {}
        self.cancellations: dict[RequestId, Callable[[], None]] = {}
        self.has_ended = False
        self.is_starting = False
        self.starts: Waiters[IKernel] = Waiters()
        self._ended: Waiters[None] = Waiters()
        # How often it is used at present, and when it ends if it is not.
        self.uses = 0
        self.expiry: IDelayedCall | None = None

    def when_ended(self) -> Deferred[None]:
        """
        :return: Fires when it ends.
        """
        return self._ended.wait()

    def announce_end(self) -> None:
        """
        Cancel what it does, and tell everybody who waits for its end.
        """
        self.has_ended = True
        for cancel in tuple(self.cancellations.values()):
            cancel()
        self._ended.fire(None)


class Sessions:
    """
    All sessions.

    :param limit: How many there may be.
    :param timeout: After how many seconds without a request one ends; 0 is never.
    :param keeps_kernels: Whether kernels outlast their session.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        kernels: IKernels,
        *,
        limit: int,
        timeout: float,
        keeps_kernels: bool,
    ) -> None:
        self._reactor = reactor
        self._kernels = kernels
        self._limit = limit
        self._timeout = timeout
        self._keeps_kernels = keeps_kernels
        self._sessions: dict[str, Session] = {}
        self._owners: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def open(self, revision: str, *, is_named: bool = True) -> Session:
        """
        :raises kgd.errors.Unavailable: when there are too many.
        """
        if len(self._sessions) >= self._limit:
            self._end_empty()
        if len(self._sessions) >= self._limit:
            raise Unavailable(
                f"{self._limit} sessions are open already; end one, try again later, or ask the "
                "gateway's operator to raise --mcp-max-sessions",
                _RETRY_AFTER,
            )
        session = Session(revision, is_named=is_named)
        self._sessions[session.session_id] = session
        self._schedule_expiry(session)
        return session

    def _end_empty(self) -> None:
        """
        End those that no client can name and whose kernel is gone.
        """
        for session in tuple(self._sessions.values()):
            if not session.is_named and not session.uses:
                alive = [each for each in session.kernel_ids if self._find(each) is not None]
                if not alive:
                    self.end(session)

    def get(self, session_id: str) -> Session | None:
        """
        :return: The session of this name, if there is one.
        """
        session = self._sessions.get(session_id)
        return session if session is not None and session.is_named else None

    def end(self, session: Session) -> None:
        """
        Cancel what a session does, and stop its kernels.
        """
        if self._sessions.pop(session.session_id, None) is None:
            return
        self._cancel_expiry(session)
        session.announce_end()
        for kernel_id in tuple(session.kernel_ids):
            self.forget_kernel(kernel_id)
            if not self._keeps_kernels:
                self._stop_kernel(kernel_id)

    def close(self) -> None:
        """
        End all sessions, but leave their kernels to the gateway.
        """
        sessions, self._sessions = self._sessions, {}
        self._owners.clear()
        for session in sessions.values():
            self._cancel_expiry(session)
            session.announce_end()

    def _stop_kernel(self, kernel_id: str) -> None:
        def trap(failure: Failure) -> None:
            failure.trap(NoSuchKernel)  # type: ignore[no-untyped-call]

        self._kernels.stop(kernel_id).addErrback(trap)

    # --- use and expiry ---

    @contextmanager
    def using(self, *sessions: Session | None) -> Iterator[None]:
        """
        Sessions do not expire meanwhile.
        """
        used = [each for each in sessions if each is not None]
        for session in used:
            session.uses += 1
            self._cancel_expiry(session)
        try:
            yield
        finally:
            for session in used:
                session.uses -= 1
                if not session.uses and not session.has_ended:
                    self._schedule_expiry(session)

    def _schedule_expiry(self, session: Session) -> None:
        if self._timeout:
            session.expiry = self._reactor.callLater(self._timeout, self._expired, session)

    def _cancel_expiry(self, session: Session) -> None:
        expiry, session.expiry = session.expiry, None
        if expiry is not None:
            expiry.cancel()

    def _expired(self, session: Session) -> None:
        session.expiry = None
        _log.info("a session of an agent has expired", session=session.session_id[:8])
        self.end(session)

    # --- kernels ---

    def owner_of(self, kernel_id: str) -> Session | None:
        """
        :return: The session with which a kernel ends, if there is one.
        """
        return self._owners.get(kernel_id)

    def end_owner_of(self, kernel_id: str) -> None:
        """
        End the session with which a kernel ends.
        """
        owner = self._owners.get(kernel_id)
        if owner is not None:
            self.end(owner)

    def forget_kernel(self, kernel_id: str) -> None:
        """
        A kernel is gone, or no session's any more.
        """
        owner = self._owners.pop(kernel_id, None)
        if owner is not None:
            owner.kernel_ids.pop(kernel_id, None)
            if owner.kernel_id == kernel_id:
                owner.kernel_id = None

    def _find(self, kernel_id: str) -> IKernel | None:
        try:
            return self._kernels.get(kernel_id)
        except NoSuchKernel:
            return None

    def kernel_of(self, session: Session) -> IKernel | None:
        """
        :return: The kernel in which a session's code runs that names none, if it has one.
        """
        if session.kernel_id is None:
            return None
        kernel = self._find(session.kernel_id)
        if kernel is None or kernel.stopping:
            self.forget_kernel(session.kernel_id)
            return None
        return kernel

    def start_kernel(self, session: Session | None, request: StartRequest) -> Deferred[IKernel]:
        """
        Start a kernel that ends with a session, or else with one that no client can name.

        :return: As :py:meth:`kgd.interfaces.IKernels.start`; also fails with
            :py:exc:`kgd.errors.Unavailable`. Who cancels it does not wait for the kernel any more,
            but the kernel starts, and ends with the session; at once, if nobody will know its id.
        """
        owner = self.open("", is_named=False) if session is None else session
        # Without a canceller, it takes the kernel that comes after it has been cancelled.
        waiting: Deferred[IKernel] = Deferred()

        def started(kernel: IKernel) -> None:
            if owner.has_ended and not self._keeps_kernels:
                self._stop_kernel(kernel.kernel_id)
            elif not owner.has_ended:
                owner.kernel_ids[kernel.kernel_id] = None
                self._owners[kernel.kernel_id] = owner
                if waiting.called and session is None:
                    self.end(owner)
            waiting.callback(kernel)

        def failed(failure: Failure) -> None:
            if session is None:
                self.end(owner)
            waiting.errback(failure)

        self._kernels.start(request).addCallbacks(started, failed)
        return waiting

    async def default_kernel(self, session: Session) -> tuple[IKernel, bool]:
        """
        :return: The kernel in which a session's code runs that names none, which is started if need
            be, and whether it was.
        """
        present = self.kernel_of(session)
        if present is not None:
            return present, False
        waiting = session.starts.wait()
        if not session.is_starting:
            session.is_starting = True
            self.start_kernel(session, StartRequest()).addCallbacks(
                self._default_started,
                self._default_failed,
                callbackArgs=(session,),
                errbackArgs=(session,),
            )
        return await waiting, True

    def _default_started(self, kernel: IKernel, session: Session) -> None:
        session.is_starting = False
        if not session.has_ended:
            session.kernel_id = kernel.kernel_id
        session.starts.fire(kernel)

    def _default_failed(self, failure: Failure, session: Session) -> None:
        session.is_starting = False
        error = failure.value
        if not isinstance(error, GatewayError):
            _log.failure("cannot start a kernel for an agent", failure)
        session.starts.fail(lambda: error if isinstance(error, Exception) else GatewayError())
