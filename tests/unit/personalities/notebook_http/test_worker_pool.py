"""
The kernels of a notebook, on kernels without processes.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from kgd.errors import KernelStartFailed, Unavailable
from kgd.execution.executor import CodeCell, ExecutionBatch
from kgd.interfaces import Seed
from kgd.personalities.notebook_http.worker_pool import (
    INTERRUPT_GRACE,
    MAX_BACKOFF,
    MAX_CALLERS,
    MIN_BACKOFF,
    Worker,
    WorkerOptions,
    WorkerPool,
)
from kgd.settings import Settings
from kgd.testing.kernels import MemoryKernel, MemoryKernels
from tests.support.scripted import Script

SEED = Seed(kernel_name="python3", cells=((1, "x"),))


class WorkersTests(SynchronousTestCase):
    """
    Lending and giving back.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.kernels = MemoryKernels()

    def make_workers(self, count: int = 2, **more: Any) -> WorkerPool:
        """
        :return: Workers, ready.
        """
        usual = {
            "reset": False,
            "queue_limit": 3,
            "queue_size": 100,
            "queue_timeout": 60.0,
            "response_limit": 1000,
        }
        options = WorkerOptions(kernel_name="python3", seed=SEED, count=count, **(usual | more))
        self.pool = WorkerPool(self.clock, self.kernels, options)
        self.starting = Deferred.fromCoroutine(self.pool.start())
        return self.pool

    def lent(self, caller: str | None = None) -> Worker:
        """
        :return: One that is free.
        """
        return self.successResultOf(self.pool.acquire(caller))

    def run_on(self, worker: Worker) -> ExecutionBatch:
        """
        Run something.
        """
        return worker.run((CodeCell("a"), CodeCell("b")), lambda: None)

    def script(self, worker: Worker) -> Script:
        """
        :return: What speaks for its kernel.
        """
        return Script(self.kernels.get(worker.kernel_id))

    def refusal(self, waiting: Deferred[Worker]) -> Unavailable:
        """
        :return: Why nobody was lent.
        """
        error = self.failureResultOf(waiting, Unavailable).value
        assert isinstance(error, Unavailable)
        return error

    def test_start(self) -> None:
        """
        All kernels are started, seeded, and not to be started again when they die.
        """
        self.make_workers(3)
        self.successResultOf(self.starting)
        for kernel in self.kernels.list():
            assert isinstance(kernel, MemoryKernel)
            self.assertEqual((kernel.request.seed, kernel.request.revive), (SEED, False))
        self.assertEqual(len(self.kernels.list()), 3)

    def test_start_fails(self) -> None:
        """
        When one kernel cannot be started, there are none.
        """
        self.kernels.error = KernelStartFailed("no")
        self.make_workers(3)
        self.failureResultOf(self.starting, KernelStartFailed)
        self.assertEqual(self.kernels.list(), ())

    def test_what_a_kernel_printed(self) -> None:
        """
        Callers of a notebook may not use its kernels, and do not read what those print.
        """
        self.make_workers(1)
        worker = self.lent()
        self.kernels.error = KernelStartFailed("exit code 1\nTraceback: s3cret")
        self.kernels.crash(worker.kernel_id)
        worker.release(None)
        self.clock.advance(0)
        error = self.assertRaises(Unavailable, self.pool.acquire)
        self.assertEqual(str(error), "a kernel could not be started: exit code 1")

    def test_least_recently_used(self) -> None:
        """
        Each goes to the end of the line.
        """
        self.make_workers(2)
        first, second = self.lent(), self.lent()
        self.assertIsNot(first, second)
        second.release(None)
        first.release(None)
        self.assertIs(self.lent(), second)
        self.assertIs(self.lent(), first)

    def test_queue(self) -> None:
        """
        Who comes first is served first; who does not wait any more is forgotten; there is a limit,
        and a hint when to come again.
        """
        self.make_workers(1)
        worker = self.lent()
        waiting = [self.pool.acquire() for _ in range(3)]
        self.assertEqual(self.pool.queue_length, 3)
        error = self.assertRaises(Unavailable, self.pool.acquire)
        self.assertGreaterEqual(error.retry_after, 1)
        waiting[0].cancel()
        self.failureResultOf(waiting[0], CancelledError)
        worker.release(None)
        self.assertIs(self.successResultOf(waiting[1]), worker)
        self.assertNoResult(waiting[2])
        self.clock.advance(61)
        self.assertIn("within 60 s", str(self.refusal(waiting[2])))
        self.assertEqual(self.pool.queue_length, 0)

    def test_large_requests(self) -> None:
        """
        Those that wait have room for so many bytes together; who does not have to wait needs none.
        """
        self.make_workers(1)
        worker = self.successResultOf(self.pool.acquire(size=1000))
        # One alone may have any size.
        large = self.pool.acquire(size=1000)
        self.assertRaises(Unavailable, self.pool.acquire, size=1)
        large.addErrback(lambda _: None)
        large.cancel()
        first = self.pool.acquire(size=60)
        self.assertRaises(Unavailable, self.pool.acquire, size=41)
        second = self.pool.acquire(size=40)
        worker.release(None)
        self.successResultOf(first)
        self.pool.acquire(size=60).addErrback(lambda _: None)
        self.assertNoResult(second)
        self.pool.shut_down()
        self.refusal(second)

    def test_patient(self) -> None:
        """
        Without a limit they wait for ever.
        """
        self.make_workers(1, queue_timeout=0.0)
        worker = self.lent()
        waiting = self.pool.acquire()
        self.clock.advance(1e6)
        worker.release(None)
        self.successResultOf(waiting)

    def test_hint_follows_the_work(self) -> None:
        """
        The longer requests take, the later one should come again.
        """
        for seconds, hint in ((0, 1), (10, 10), (1000, 60)):
            self.make_workers(1, queue_limit=0)
            for _ in range(100):
                worker = self.lent()
                self.clock.advance(seconds)
                worker.release(None)
            self.lent()
            error = self.assertRaises(Unavailable, self.pool.acquire)
            self.assertEqual(error.retry_after, hint)

    def test_death(self) -> None:
        """
        A kernel that dies while it works is replaced before anybody gets it.
        """
        self.make_workers(1)
        worker = self.lent()
        run = self.run_on(worker)
        script = self.script(worker)
        waiting = self.pool.acquire()
        script.take()
        script.die()
        self.assertIn("signal 9", run.loss_reason)
        worker.release(run)
        self.assertNoResult(waiting)
        self.clock.advance(0)
        self.assertIs(self.successResultOf(waiting), worker)
        self.assertIsNot(self.script(worker).kernel, script.kernel)

    def test_death_at_rest(self) -> None:
        """
        One that dies while nobody has it is replaced, too, and is not lent meanwhile.
        """
        self.make_workers(1)
        worker = self.lent()
        worker.release(None)
        self.script(worker).die()
        waiting = self.pool.acquire()
        self.assertNoResult(waiting)
        self.clock.advance(0)
        self.successResultOf(waiting)

    def test_announced_end(self) -> None:
        """
        A kernel that announces its end is not lent again, however often that happens; another one
        is started at once.
        """
        self.make_workers(1)
        for _ in range(10):
            worker = self.lent()
            run = self.run_on(worker)
            script = self.script(worker)
            script.end(script.take())
            script.end(script.take(), payload=[{"source": "ask_exit", "keepkernel": False}])
            self.assertTrue(run.is_settled)
            waiting = self.pool.acquire()
            worker.release(run)
            self.assertNoResult(waiting)
            self.assertNotIn(script.kernel, self.kernels.list())
            self.clock.advance(0)
            self.assertIs(self.successResultOf(waiting), worker)
            self.assertEqual(worker.reason, "")
            worker.release(None)

    def test_kept_kernel(self) -> None:
        """
        A client that leaves without ending the kernel is what every client does.
        """
        self.make_workers(1)
        worker = self.lent()
        run = self.run_on(worker)
        script = self.script(worker)
        script.end(script.take())
        script.end(script.take(), payload=[{"source": "ask_exit", "keepkernel": True}])
        worker.release(run)
        self.assertIs(self.script(self.lent()).kernel, script.kernel)

    def test_ended_process(self) -> None:
        """
        A kernel whose process has ended is not lent while its last output is still being read: not
        by a worker that is free, nor by one that has just become free.
        """
        for caller in (None, "one"):
            self.make_workers(1)
            worker = self.lent(caller)
            kernel = self.script(worker).kernel
            worker.release(None)
            kernel.execution_state = "dead"
            waiting = self.pool.acquire(caller)
            self.assertNoResult(waiting)
            self.kernels.crash(kernel.kernel_id)
            self.clock.advance(0)
            self.assertIs(self.successResultOf(waiting), worker)
            self.make_workers(1)
            worker = self.lent(caller)
            kernel = self.script(worker).kernel
            kernel.execution_state = "dead"
            waiting = self.pool.acquire(caller)
            worker.release(None)
            self.assertNoResult(waiting)
            self.clock.advance(0)
            self.assertIs(self.successResultOf(waiting), worker)
            self.assertIsNot(self.script(worker).kernel, kernel)

    def test_others_serve(self) -> None:
        """
        While one kernel has just ended, another is lent.
        """
        self.make_workers(2)
        one, two = self.lent(), self.lent()
        one.release(None)
        two.release(None)
        self.script(one).kernel.execution_state = "dead"
        self.assertIs(self.lent(), two)

    def test_early_ends(self) -> None:
        """
        Kernels that end before they have served anything are replaced after pauses that grow, in
        which nobody waits for them. One that serves or lives long is replaced at once.
        """
        self.make_workers(1)
        worker = self.lent()
        worker.release(None)
        self.script(worker).die()
        self.clock.advance(0)
        for pause in (0.5, 1.0, 2.0, 4.0):
            self.script(worker).die()
            error = self.assertRaises(Unavailable, self.pool.acquire)
            self.assertIn("end before they serve a request", str(error))
            self.assertTrue(self.pool.has_failed)
            self.clock.advance(pause - 0.01)
            self.assertRaises(Unavailable, self.pool.acquire)
            self.clock.advance(0.01)
            self.assertFalse(self.pool.has_failed)
        self.lent()
        run = self.run_on(worker)
        self.script(worker).answer("x")
        worker.release(run)
        for _ in range(2):
            self.script(worker).die()
            self.clock.advance(0)
            self.clock.advance(10)
        self.lent()

    def test_again(self) -> None:
        """
        A request whose kernel has ended before it began waits ahead of the others, and no limit of
        the queue refuses it.
        """
        self.make_workers(1, queue_limit=1)
        worker = self.lent()
        other = self.pool.acquire()
        again = self.pool.acquire(size=1000, again=True)
        worker.release(None)
        self.successResultOf(again)
        self.assertNoResult(other)
        self.pool.close()
        again = self.pool.acquire(again=True)
        worker.release(None)
        self.successResultOf(again)
        self.pool.shut_down()
        self.assertRaises(Unavailable, self.pool.acquire, again=True)
        self.refusal(other)

    def test_pretended_death(self) -> None:
        """
        Code that only says that its kernel has died gets what it asked for.
        """
        self.make_workers(1)
        worker = self.lent()
        run = self.run_on(worker)
        script = self.script(worker)
        script.end(script.take())
        script.fail(script.take(), "KernelDied", "gotcha")
        worker.release(run)
        self.clock.advance(0)
        self.assertIs(self.lent(), worker)
        self.assertEqual(len(self.kernels.list()), 1)
        self.assertIsNot(self.script(worker).kernel, script.kernel)

    def test_cannot_be_replaced(self) -> None:
        """
        While kernels do not start, nobody waits for one; it is tried again and again.
        """
        self.make_workers(1)
        worker = self.lent()
        run = self.run_on(worker)
        waiting = self.pool.acquire()
        self.script(worker).die()
        worker.release(run)
        pause = MIN_BACKOFF
        self.kernels.error = KernelStartFailed("no room on the disk")
        self.clock.advance(0)
        self.assertIn("no room on the disk", str(self.refusal(waiting)))
        for _ in range(8):
            self.assertRaises(Unavailable, self.pool.acquire)
            self.kernels.error = KernelStartFailed("no")
            self.clock.advance(pause)
            self.assertIsNone(self.kernels.error)
            pause = min(2 * pause, MAX_BACKOFF)
        self.clock.advance(pause)
        self.lent()

    def test_does_not_end(self) -> None:
        """
        Code that goes on after it should have ended loses its kernel.
        """
        self.make_workers(1)
        worker = self.lent()
        run = self.run_on(worker)
        kernel = self.script(worker).kernel
        worker.interrupt()
        self.assertEqual(self.kernels.interrupted, [kernel.kernel_id])
        worker.release(run)
        waiting = self.pool.acquire()
        self.clock.advance(INTERRUPT_GRACE)
        self.clock.advance(0)
        self.assertIs(self.successResultOf(waiting), worker)
        self.assertNotIn(kernel, self.kernels.list())

    def test_ends_late(self) -> None:
        """
        Code that ends soon keeps its kernel.
        """
        self.make_workers(1)
        worker = self.lent()
        run = self.run_on(worker)
        script = self.script(worker)
        worker.release(run)
        waiting = self.pool.acquire()
        script.answer("x")
        self.assertIs(self.successResultOf(waiting), worker)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertIn(script.kernel, self.kernels.list())

    def test_no_room_for_both(self) -> None:
        """
        When there is room for one only, the old kernel goes first.
        """
        self.kernels = MemoryKernels(Settings(max_kernels=1))
        self.make_workers(1)
        worker = self.lent()
        run = self.run_on(worker)
        worker.release(run)
        self.clock.advance(INTERRUPT_GRACE)
        self.clock.advance(0)
        self.assertIs(self.lent(), worker)

    def test_reset(self) -> None:
        """
        A kernel that has worked is not lent again; one that has not, is.
        """
        self.make_workers(1, reset=True)
        worker = self.lent()
        kernel = self.script(worker).kernel
        worker.release(None)
        self.assertIs(self.script(self.lent()).kernel, kernel)
        run = self.run_on(worker)
        self.script(worker).answer("x")
        worker.release(run)
        self.clock.advance(0)
        self.assertIsNot(self.script(self.lent()).kernel, kernel)

    def test_sticky(self) -> None:
        """
        A caller comes to the same place; callers spread over all of them, and are forgotten one
        day.
        """
        self.make_workers(2)
        one = self.lent("one")
        waiting = self.pool.acquire("one")
        two = self.lent("two")
        self.assertIsNot(one, two)
        two.release(None)
        self.assertNoResult(waiting)
        one.release(None)
        self.assertIs(self.successResultOf(waiting), one)
        one.release(None)
        self.assertIs(self.lent("two"), two)
        two.release(None)
        for number in range(MAX_CALLERS + 10):
            self.lent(str(number)).release(None)
        self.assertEqual(len(self.pool._sticky_workers), MAX_CALLERS)

    def test_many_callers(self) -> None:
        """
        They are spread evenly, and it takes no longer to find a place for one more.
        """
        self.make_workers(20)
        started = time.monotonic()
        for number in range(MAX_CALLERS + 2000):
            self.lent(str(number)).release(None)
        self.assertLess(time.monotonic() - started, 8)
        taken = Counter(self.pool._sticky_workers.values()).values()
        self.assertEqual(set(taken), {MAX_CALLERS // 20})

    def test_close(self) -> None:
        """
        Workers that nobody has go at once, the others when they are given back; those who wait are
        served first.
        """
        self.make_workers(2)
        one, _two = self.lent(), self.lent()
        waiting = self.pool.acquire()
        self.pool.close()
        self.assertEqual(len(self.kernels.list()), 2)
        self.assertRaises(Unavailable, self.pool.acquire)
        one.release(None)
        self.assertIs(self.successResultOf(waiting), one)
        _two.release(None)
        self.assertEqual(len(self.kernels.list()), 1)
        one.release(None)
        self.assertEqual(self.kernels.list(), ())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_close_while_others_wait(self) -> None:
        """
        Nor of those that nobody waits for, while somebody waits for another one.
        """
        self.make_workers(2)
        one = self.lent("one")
        waiting = self.pool.acquire("one")
        self.pool.close()
        self.assertEqual(len(self.kernels.list()), 1)
        one.release(None)
        self.assertIs(self.successResultOf(waiting), one)
        one.release(None)
        self.assertEqual(self.kernels.list(), ())

    def test_close_while_expected(self) -> None:
        """
        Whoever is about to ask for a worker gets one; then they go.
        """
        self.make_workers(2)
        with self.pool.expect_request():
            self.pool.close()
            worker = self.lent()
            self.assertEqual(len(self.kernels.list()), 2)
        self.assertEqual(len(self.kernels.list()), 1)
        worker.release(None)
        self.assertEqual(self.kernels.list(), ())
        self.assertRaises(Unavailable, self.pool.acquire)

    def test_close_while_idle(self) -> None:
        """
        Nothing is left of workers that have nothing to do.
        """
        self.make_workers(2)
        self.pool.close()
        self.assertEqual(self.kernels.list(), ())

    def test_abandon(self) -> None:
        """
        When the gateway ends nobody waits any more, and nothing is started.
        """
        self.make_workers(1)
        worker = self.lent()
        run = self.run_on(worker)
        waiting = self.pool.acquire()
        self.script(worker).die()
        self.pool.shut_down()
        self.refusal(waiting)
        with self.pool.expect_request():
            self.assertRaises(Unavailable, self.pool.acquire)
        worker.release(run)
        self.clock.advance(1000)
        self.assertEqual(len(self.kernels.list()), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_suspend(self) -> None:
        """
        A kernel may be told to stand still, until it is given back at the latest.
        """
        self.make_workers(1)
        worker = self.lent()
        worker.suspend()
        self.assertEqual(self.kernels.suspended, {worker.kernel_id})
        worker.resume()
        self.assertEqual(self.kernels.suspended, set())
        worker.suspend()
        worker.release(None)
        self.assertEqual(self.kernels.suspended, set())
