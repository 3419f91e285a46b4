"""
Keeps sessions in memory.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import attrs
from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure
from zope.interface import implementer

from kgd.deferreds import Waiters
from kgd.errors import (
    GatewayError,
    InvalidRequest,
    KernelStartFailed,
    NoSuchKernel,
    NoSuchKernelSpec,
    NoSuchSession,
    SessionKernelUnavailable,
)
from kgd.interfaces import IKernel, IKernels, ISessions, Session, SessionRequest, StartRequest
from kgd.observability.logs import make_logger
from kgd.settings import Settings
from kgd.shutdown import Draining

T = TypeVar("T")

_log = make_logger()


@implementer(ISessions)
class SessionStore:
    """
    Keeps sessions by id. Whether the kernel of a session still runs is looked up when the session
    is asked for. Listing and creating sessions also removes those without a kernel, so that these
    do not pile up.

    Each Deferred that it returns belongs to one caller; cancelling it stops nothing.
    """

    def __init__(
        self, settings: Settings, kernels: IKernels, draining: Draining | None = None
    ) -> None:
        self._settings = settings
        self._kernels = kernels
        self._draining = draining or Draining()
        self._sessions: dict[str, Session] = {}
        # Waiters for sessions that are being created, by path.
        self._creating: dict[str, Waiters[Session]] = {}

    def list(self) -> Sequence[Session]:
        for session in tuple(self._sessions.values()):
            if not self._is_running(session.kernel):
                del self._sessions[session.session_id]
        return tuple(self._sessions.values())

    def _is_running(self, kernel: IKernel) -> bool:
        try:
            # Another kernel may have its id by now.
            present = self._kernels.get(kernel.kernel_id) is kernel
        except NoSuchKernel:
            return False
        return present and not kernel.stopping

    def get(self, session_id: str) -> Session:
        session = self._sessions.get(session_id)
        if session is not None and not self._is_running(session.kernel):
            del self._sessions[session_id]
            session = None
        if session is None:
            raise NoSuchSession(f"Session not found: session_id={session_id!r}")
        return session

    # --- creating ---

    def create(self, request: SessionRequest) -> Deferred[Session]:
        path = request.path
        if path is None or request.type is None:
            return fail(InvalidRequest("A session needs a path and a type"))
        present = next((each for each in self.list() if each.path == path), None)
        if present is not None:
            return succeed(present)
        waiters = self._creating.get(path)
        if waiters is not None:
            return waiters.wait()
        waiters = self._creating[path] = Waiters()
        waiter = waiters.wait()

        def done(result: Session | Failure) -> None:
            del self._creating[path]
            _fire(waiters, result)

        Deferred.fromCoroutine(self._create(path, request.type, request)).addBoth(done)
        return waiter

    async def _create(self, path: str, kind: str, request: SessionRequest) -> Session:
        self._draining.check()
        try:
            # If a kernel of that id runs, this fires with it.
            kernel = await self._kernels.start(
                StartRequest(name=request.kernel_name, path=path, kernel_id=request.kernel_id)
            )
        except NoSuchKernelSpec:
            name = self._spec_name(request)
            raise SessionKernelUnavailable(
                f"The {name!r} kernel is not available. Please pick another suitable kernel "
                "instead, or install that kernel.",
                f"{name} not found",
            ) from None
        session = Session(
            session_id=str(uuid.uuid4()),
            path=path,
            name=request.name or "",
            type=kind,
            kernel=kernel,
        )
        self._sessions[session.session_id] = session
        return session

    def _spec_name(self, request: SessionRequest) -> str:
        settings = self._settings
        return settings.force_kernel_name or request.kernel_name or settings.default_kernel_name

    # --- changing ---

    def change(self, session_id: str, request: SessionRequest) -> Deferred[Session]:
        return _in_background(self._change(session_id, request))

    async def _change(self, session_id: str, request: SessionRequest) -> Session:
        before = self.get(session_id)
        kernel = before.kernel
        if request.kernel_id is not None:
            kernel = self._get_running(request.kernel_id)
        elif request.kernel_name is not None:
            kernel = await self._start_another(before, request)
            if session_id not in self._sessions:
                await self._stop_unless_used(kernel)
                raise NoSuchSession(f"Session not found: session_id={session_id!r}")
        # Another request may have changed it meanwhile.
        before = self._sessions[session_id]
        after = attrs.evolve(
            before,
            kernel=kernel,
            **{
                field: value
                for field in ("path", "name", "type")
                if (value := getattr(request, field)) is not None
            },
        )
        self._sessions[session_id] = after
        if before.kernel is not kernel:
            await self._stop_unless_used(before.kernel)
        return after

    def _get_running(self, kernel_id: str) -> IKernel:
        try:
            kernel = self._kernels.claim(kernel_id)
        except NoSuchKernel:
            kernel = None
        if kernel is None or kernel.stopping:
            raise InvalidRequest(f"No such kernel: {kernel_id}")
        return kernel

    async def _start_another(self, session: Session, request: SessionRequest) -> IKernel:
        path = session.path if request.path is None else request.path
        try:
            return await self._kernels.start(StartRequest(name=request.kernel_name, path=path))
        except (NoSuchKernelSpec, KernelStartFailed) as error:
            name = self._spec_name(request)
            raise SessionKernelUnavailable(
                f"The {name!r} kernel could not be started: {error}",
                f"Error starting kernel {name}",
            ) from None

    async def _stop_unless_used(self, kernel: IKernel) -> None:
        if not any(session.kernel is kernel for session in self._sessions.values()):
            await self._stop(kernel)

    async def _stop(self, kernel: IKernel) -> None:
        # It may have ended by itself a moment ago.
        with contextlib.suppress(NoSuchKernel):
            if self._kernels.get(kernel.kernel_id) is kernel:
                await self._kernels.stop(kernel.kernel_id)

    # --- deleting ---

    def delete(self, session_id: str) -> Deferred[None]:
        session = self._sessions.get(session_id)
        if session is None:
            return fail(NoSuchSession(f"Session not found: session_id={session_id!r}"))
        kernel = session.kernel
        # All sessions of the kernel go, and their paths are free from now on.
        self._sessions = {
            key: each for key, each in self._sessions.items() if each.kernel is not kernel
        }
        return _in_background(self._stop(kernel))


def _in_background(work: Coroutine[Deferred[Any], Any, T]) -> Deferred[T]:
    """
    :return: Fires with the result of the work, which goes on when this is cancelled.
    """
    waiters: Waiters[T] = Waiters()
    waiter = waiters.wait()
    Deferred.fromCoroutine(work).addBoth(lambda result: _fire(waiters, result))
    return waiter


def _fire(waiters: Waiters[T], result: T | Failure) -> None:
    if isinstance(result, Failure):
        error = result.value
        assert isinstance(error, Exception)
        if not waiters and not isinstance(error, GatewayError):
            # A defect of the gateway, of which no caller would ever know.
            _log.failure("a request failed that its client no longer waits for", result)
        waiters.fail(_raiser_of(error))
    else:
        waiters.fire(result)


def _raiser_of(error: Exception) -> Callable[[], Exception]:
    return lambda: error
