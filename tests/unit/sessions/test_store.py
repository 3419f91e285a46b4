"""
The store of sessions, while kernels take their time.
"""

from __future__ import annotations

import gc
import weakref
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from kgd import errors
from kgd.interfaces import (
    SHUT_DOWN_REASON,
    IKernel,
    ISessions,
    Session,
    SessionRequest,
    StartRequest,
)
from kgd.sessions.store import SessionStore
from kgd.settings import Settings
from kgd.testing.kernels import MemoryKernels

KERNEL_ID = "1-2-3-4-5"


class SlowKernels(MemoryKernels):
    """
    Kernels that start when a test wants it, and stop when it wants it if it says so.

    :ivar stop_slowly: Whether it says so.
    """

    def __init__(self) -> None:
        super().__init__()
        self.starting: list[tuple[StartRequest, Deferred[IKernel]]] = []
        self.ending: list[tuple[str, Deferred[None]]] = []
        self.stop_slowly = False

    def start(self, request: StartRequest) -> Deferred[IKernel]:
        """
        Wait.
        """
        started: Deferred[IKernel] = Deferred()
        self.starting.append((request, started))
        return started

    def stop(self, kernel_id: str, reason: str = SHUT_DOWN_REASON) -> Deferred[None]:
        """
        Wait, or not.
        """
        if not self.stop_slowly:
            return super().stop(kernel_id, reason)
        self.get(kernel_id).stopping = True
        stopped: Deferred[None] = Deferred()
        self.ending.append((kernel_id, stopped))
        return stopped

    def proceed(self) -> None:
        """
        Start and stop what waits.
        """
        starting, self.starting = self.starting, []
        ending, self.ending = self.ending, []
        for request, started in starting:
            super().start(request).chainDeferred(started)
        for kernel_id, stopped in ending:
            super().stop(kernel_id).chainDeferred(stopped)


class StoreTestCase(SynchronousTestCase):
    """
    Tests against a store and slow kernels.
    """

    def setUp(self) -> None:
        self.kernels = SlowKernels()
        self.store = SessionStore(Settings(), self.kernels)
        self.request = SessionRequest(path="a", type="notebook")

    def create(self, path: str = "a", **fields: Any) -> Session:
        """
        :return: A session whose kernel has started.
        """
        creating = self.store.create(SessionRequest(path=path, type="notebook", **fields))
        self.kernels.proceed()
        return self.successResultOf(creating)

    def kernel_ids(self) -> list[str]:
        """
        Of all kernels.
        """
        return [kernel.kernel_id for kernel in self.kernels.list()]

    def give_up(self, waiting: Deferred[Any]) -> None:
        """
        Do what happens when a client hangs up.
        """
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)


class CreateTests(StoreTestCase):
    """
    Creating sessions.
    """

    def test_interface(self) -> None:
        """
        It provides what it promises.
        """
        verifyObject(ISessions, self.store)

    def test_incomplete(self) -> None:
        """
        Without a path or a type there is no session.
        """
        for request in (SessionRequest(path="a"), SessionRequest(type="b")):
            self.failureResultOf(self.store.create(request), errors.InvalidRequest)

    def test_many_at_once(self) -> None:
        """
        All that want the same path get the same session, and one kernel.
        """
        waiting = [self.store.create(self.request) for _ in range(2000)]
        self.assertEqual(len(self.kernels.starting), 1)
        self.kernels.proceed()
        self.assertEqual(len({self.successResultOf(each).session_id for each in waiting}), 1)
        self.assertEqual(len(self.kernel_ids()), 1)

    def test_same_kernel_id_at_once(self) -> None:
        """
        Two that want a kernel under the same id, which is free, share it.
        """
        waiting = [
            self.store.create(SessionRequest(path=path, type="x", kernel_id=KERNEL_ID))
            for path in ("a", "b")
        ]
        self.kernels.proceed()
        first, second = map(self.successResultOf, waiting)
        self.assertNotEqual(first.session_id, second.session_id)
        self.assertIs(first.kernel, second.kernel)
        self.assertEqual(self.kernel_ids(), [KERNEL_ID])

    def test_impatient(self) -> None:
        """
        One that does not wait any longer leaves a session behind, and no kernel without one. Others
        that wait for it get it.
        """
        impatient, patient = self.store.create(self.request), self.store.create(self.request)
        self.give_up(impatient)
        self.kernels.proceed()
        (session,) = self.store.list()
        self.assertEqual(self.successResultOf(patient), session)
        self.assertEqual(self.kernel_ids(), [session.kernel.kernel_id])

    def test_failure(self) -> None:
        """
        When the kernel does not start, all waiters fail, and the path is free.
        """
        waiting = [self.store.create(self.request) for _ in range(3)]
        self.give_up(waiting.pop())
        self.kernels.error = errors.KernelStartFailed("no")
        self.kernels.proceed()
        for each in waiting:
            self.failureResultOf(each, errors.KernelStartFailed)
        self.create()

    def test_defects(self) -> None:
        """
        An unexpected error goes to the waiters, and to the log if there are none.
        """
        for is_patient in (True, False):
            waiting = self.store.create(self.request)
            if not is_patient:
                self.give_up(waiting)
            self.kernels.error = ZeroDivisionError()
            self.kernels.proceed()
            if is_patient:
                self.failureResultOf(waiting, ZeroDivisionError)
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), int(not is_patient))

    def test_starting_kernel(self) -> None:
        """
        A session whose kernel does not answer yet is there.
        """
        session = self.create()
        self.assertEqual(session.kernel.execution_state, "starting")
        self.assertEqual(list(self.store.list()), [session])


class KernelGoneTests(StoreTestCase):
    """
    Sessions go with their kernels.
    """

    def test_stopping(self) -> None:
        """
        When its kernel is being stopped, a session is gone, and its path is free.
        """
        session = self.create()
        self.kernels.stop_slowly = True
        self.kernels.stop(session.kernel.kernel_id)
        self.assertEqual(list(self.store.list()), [])
        self.assertRaises(errors.NoSuchSession, self.store.get, session.session_id)
        again = self.create()
        self.assertNotEqual(again.session_id, session.session_id)
        self.assertIsNot(again.kernel, session.kernel)

    def test_successor(self) -> None:
        """
        A session does not come back with another kernel of the same id, and leaves that alone.
        """
        session = self.create(kernel_id=KERNEL_ID)
        self.kernels.crash(KERNEL_ID)
        successor = self.create("b", kernel_id=KERNEL_ID)
        self.assertEqual(list(self.store.list()), [successor])
        self.assertRaises(errors.NoSuchSession, self.store.get, session.session_id)

    def test_successor_is_not_stopped(self) -> None:
        """
        Deleting a session whose kernel is gone does not stop another one of the same id.
        """
        session = self.create(kernel_id=KERNEL_ID)
        self.kernels.crash(KERNEL_ID)
        starting = self.kernels.start(StartRequest(kernel_id=KERNEL_ID))
        self.kernels.proceed()
        self.successResultOf(starting)
        self.successResultOf(self.store.delete(session.session_id))
        self.assertEqual(self.kernel_ids(), [KERNEL_ID])

    def test_nothing_is_kept(self) -> None:
        """
        Creating sessions removes those whose kernels are gone, even if they are never asked for.
        """
        kernel = weakref.ref(self.create().kernel)
        for kernel_id in self.kernel_ids():
            self.kernels.crash(kernel_id)
        self.create("b")
        gc.collect()
        self.assertIsNone(kernel())


class ChangeTests(StoreTestCase):
    """
    Sessions that get another kernel.
    """

    def change(self, session: Session, **fields: Any) -> Deferred[Session]:
        """
        Begin to change a session.
        """
        return self.store.change(session.session_id, SessionRequest(**fields))

    def test_deleted_meanwhile(self) -> None:
        """
        A session that is deleted while it gets another kernel leaves none behind.
        """
        session = self.create()
        changing = self.change(session, kernel_name="python3")
        self.successResultOf(self.store.delete(session.session_id))
        self.kernels.proceed()
        self.failureResultOf(changing, errors.NoSuchSession)
        self.assertEqual(self.kernel_ids(), [])

    def test_changed_meanwhile(self) -> None:
        """
        What changes while a kernel starts is not lost, and of two new kernels one is stopped.
        """
        session = self.create()
        changes = [
            self.change(session, kernel_name="python3", path="b"),
            self.change(session, kernel_name="python3", name="n"),
        ]
        self.successResultOf(self.change(session, type="console"))
        self.kernels.proceed()
        for change in changes:
            self.successResultOf(change)
        (after,) = self.store.list()
        self.assertEqual((after.path, after.name, after.type), ("b", "n", "console"))
        self.assertEqual(self.kernel_ids(), [after.kernel.kernel_id])

    def test_old_kernel_gone_meanwhile(self) -> None:
        """
        A session that gets another kernel outlives the old one.
        """
        session = self.create()
        changing = self.change(session, kernel_name="python3")
        self.kernels.crash(session.kernel.kernel_id)
        self.kernels.proceed()
        after = self.successResultOf(changing)
        self.assertEqual(list(self.store.list()), [after])
        self.assertEqual(self.kernel_ids(), [after.kernel.kernel_id])

    def test_impatient(self) -> None:
        """
        The change is made for one that does not wait any longer, too.
        """
        session = self.create()
        self.give_up(self.change(session, kernel_name="python3"))
        self.kernels.proceed()
        (after,) = self.store.list()
        self.assertIsNot(after.kernel, session.kernel)
        self.assertEqual(self.kernel_ids(), [after.kernel.kernel_id])

    def test_waits_for_the_end(self) -> None:
        """
        A change is done when the old kernel is gone.
        """
        session = self.create()
        self.kernels.stop_slowly = True
        changing = self.change(session, kernel_name="python3")
        self.kernels.proceed()
        self.assertNoResult(changing)
        self.kernels.proceed()
        self.successResultOf(changing)

    def test_kernel_that_is_being_stopped(self) -> None:
        """
        A kernel that is about to go is no kernel to change to.
        """
        session, other = self.create(), self.create("b")
        self.kernels.stop_slowly = True
        self.kernels.stop(other.kernel.kernel_id)
        changing = self.change(session, kernel_id=other.kernel.kernel_id)
        failure = self.failureResultOf(changing, errors.InvalidRequest)
        self.assertEqual(str(failure.value), f"No such kernel: {other.kernel.kernel_id}")


class DeleteTests(StoreTestCase):
    """
    Deleting sessions.
    """

    def test_shared_kernel(self) -> None:
        """
        The session and those that share its kernel are gone at once, and their paths are free; it
        is done when the kernel is gone.
        """
        first = self.create(kernel_id=KERNEL_ID)
        second = self.create("b", kernel_id=KERNEL_ID)
        other = self.create("c")
        self.kernels.stop_slowly = True
        deleting = self.store.delete(first.session_id)
        self.assertEqual(list(self.store.list()), [other])
        again = self.store.create(SessionRequest(path="b", type="notebook"))
        self.assertNoResult(again)
        self.assertNoResult(deleting)
        self.kernels.proceed()
        self.successResultOf(deleting)
        self.assertNotEqual(self.successResultOf(again).session_id, second.session_id)
        self.failureResultOf(self.store.delete(second.session_id), errors.NoSuchSession)

    def test_impatient(self) -> None:
        """
        The kernel is stopped for one that does not wait any longer, too.
        """
        session = self.create()
        self.kernels.stop_slowly = True
        self.give_up(self.store.delete(session.session_id))
        self.kernels.proceed()
        self.assertEqual(self.kernel_ids(), [])
