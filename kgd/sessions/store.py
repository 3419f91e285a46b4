"""
Sessions in memory.
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

from kgd.errors import (
    InvalidRequest,
    KernelStartFailed,
    NoSuchKernel,
    NoSuchKernelSpec,
    NoSuchSession,
    SessionKernelUnavailable,
)
from kgd.interfaces import IKernel, IKernels, ISessions, Session, SessionRequest, StartRequest
from kgd.waiters import Waiters

T = TypeVar("T")


@implementer(ISessions)
class SessionStore:
    """
    Knows who works on what. Whether a session's kernel is still there is looked up when somebody
    wants to know.

    Every Deferred that it gives away belongs to one caller: whoever does not want to wait any
    longer stops nothing.
    """

    def __init__(self, kernels: IKernels) -> None:
        self._kernels = kernels
        self._sessions: dict[str, Session] = {}
        # Those who wait for a session that is being created, by its path.
        self._creating: dict[str, Waiters[Session]] = {}

    def list(self) -> Sequence[Session]:
        """
        :return: Those whose kernels are there.
        """
        for session in tuple(self._sessions.values()):
            if not self._has_kernel(session):
                del self._sessions[session.session_id]
        return tuple(self._sessions.values())

    def _has_kernel(self, session: Session) -> bool:
        try:
            self._kernels.get(session.kernel_id)
        except NoSuchKernel:
            return False
        return True

    def get(self, session_id: str) -> Session:
        """
        One of them.
        """
        session = self._sessions.get(session_id)
        if session is not None and not self._has_kernel(session):
            del self._sessions[session_id]
            session = None
        if session is None:
            raise NoSuchSession(f"Session not found: session_id={session_id!r}")
        return session

    # --- creating ---

    def create(self, request: SessionRequest) -> Deferred[Session]:
        """
        Create one, or find the one that has the path.
        """
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
            _tell(waiters, result)

        Deferred.fromCoroutine(self._create(path, request.type, request)).addBoth(done)
        return waiter

    async def _create(self, path: str, kind: str, request: SessionRequest) -> Session:
        try:
            kernel = await self._kernel_for(request, path)
        except NoSuchKernelSpec:
            name = request.kernel_name or "default"
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
            kernel_id=kernel.kernel_id,
        )
        self._sessions[session.session_id] = session
        return session

    async def _kernel_for(self, request: SessionRequest, path: str) -> IKernel:
        if request.kernel_id is not None:
            try:
                return self._kernels.get(request.kernel_id)
            except NoSuchKernel:
                pass
        return await self._kernels.start(
            StartRequest(name=request.kernel_name, path=path, kernel_id=request.kernel_id)
        )

    # --- changing ---

    def change(self, session_id: str, request: SessionRequest) -> Deferred[Session]:
        """
        Change what the request mentions.
        """
        return _in_background(self._change(session_id, request))

    async def _change(self, session_id: str, request: SessionRequest) -> Session:
        before = self.get(session_id)
        kernel_id = before.kernel_id
        if request.kernel_id is not None:
            kernel_id = self._running(request.kernel_id)
        elif request.kernel_name is not None:
            kernel_id = await self._start_another(before, request)
            if session_id not in self._sessions:
                await self._stop(kernel_id)
                raise NoSuchSession(f"Session not found: session_id={session_id!r}")
        # Others may have changed it meanwhile.
        before = self._sessions[session_id]
        after = attrs.evolve(
            before,
            kernel_id=kernel_id,
            **{
                field: value
                for field in ("path", "name", "type")
                if (value := getattr(request, field)) is not None
            },
        )
        self._sessions[session_id] = after
        if before.kernel_id != kernel_id:
            await self._stop_unless_used(before.kernel_id)
        return after

    def _running(self, kernel_id: str) -> str:
        try:
            return self._kernels.get(kernel_id).kernel_id
        except NoSuchKernel:
            raise InvalidRequest(f"No such kernel: {kernel_id}") from None

    async def _start_another(self, session: Session, request: SessionRequest) -> str:
        name = request.kernel_name
        try:
            kernel = await self._kernels.start(
                StartRequest(name=name, path=request.path or session.path)
            )
        except (NoSuchKernelSpec, KernelStartFailed) as error:
            raise SessionKernelUnavailable(
                f"The {name!r} kernel could not be started: {error}",
                f"Error starting kernel {name}",
            ) from None
        return kernel.kernel_id

    async def _stop_unless_used(self, kernel_id: str) -> None:
        if any(session.kernel_id == kernel_id for session in self._sessions.values()):
            return
        await self._stop(kernel_id)

    async def _stop(self, kernel_id: str) -> None:
        # It may have gone by itself a moment ago.
        with contextlib.suppress(NoSuchKernel):
            await self._kernels.stop(kernel_id)

    # --- deleting ---

    def delete(self, session_id: str) -> Deferred[None]:
        """
        Delete one, and stop its kernel.
        """
        session = self._sessions.pop(session_id, None)
        if session is None:
            return fail(NoSuchSession(f"Session not found: session_id={session_id!r}"))
        return _in_background(self._stop(session.kernel_id))


def _in_background(work: Coroutine[Deferred[Any], Any, T]) -> Deferred[T]:
    """
    :return: What becomes of the work, which is not cancelled with it.
    """
    waiters: Waiters[T] = Waiters()
    waiter = waiters.wait()
    Deferred.fromCoroutine(work).addBoth(lambda result: _tell(waiters, result))
    return waiter


def _tell(waiters: Waiters[T], result: T | Failure) -> None:
    if isinstance(result, Failure):
        error = result.value
        assert isinstance(error, Exception)
        waiters.fail(_always(error))
    else:
        waiters.fire(result)


def _always(error: Exception) -> Callable[[], Exception]:
    return lambda: error
