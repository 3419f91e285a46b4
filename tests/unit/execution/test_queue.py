"""
Code that clients submit over HTTP, on one kernel.
"""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from kgd.errors import ExecutionConflict, InvalidRequest, NoSuchExecution, Unavailable
from kgd.execution.queue import ExecutionQueue, QueueLimits, check_timeout
from kgd.execution.submitted import CodeRequest, Event, SubmittedExecution
from kgd.interfaces import IClient, StartRequest
from kgd.protocol.messages import make_execute_request
from kgd.testing.kernels import FakeClient, MemoryKernel, MemoryKernels
from tests.support.scripted import Script


class QueueTests(SynchronousTestCase):
    """
    One kernel, whose part the test plays.
    """

    def setUp(self) -> None:
        kernels = MemoryKernels()
        kernel = self.successResultOf(kernels.start(StartRequest()))
        assert isinstance(kernel, MemoryKernel)
        self.kernel = kernel
        self.clock = Clock()
        self.done: list[str] = []
        self.make()
        self.script = Script(kernel)

    def make(self, **limits: Any) -> None:
        """
        Begin with a queue that has these limits.
        """
        self.kernel.channels.attachments.clear()
        self.queue = ExecutionQueue(
            self.clock,
            self.kernel.channels,
            interrupt=lambda: self.done.append("interrupt"),
            restart=lambda: self.done.append("restart"),
            gone=lambda: self.done.append("gone"),
            limits=QueueLimits(**limits),
        )

    def submit(self, code: str = "a", **more: Any) -> SubmittedExecution:
        """
        Submit some code.
        """
        return self.queue.submit(CodeRequest(code=code, **more))

    def test_interface(self) -> None:
        """
        It is a client, which does not keep the kernel from being culled.
        """
        verifyObject(IClient, self.queue)
        self.assertEqual(self.queue.take_undelivered(), ())
        self.queue.pause_requests()
        self.queue.resume_requests()
        self.assertEqual(self.kernel.channels.connections, 0)

    def test_run(self) -> None:
        """
        Code runs as the client wants it, and what came of it is kept.
        """
        submitted = self.submit("1 + 1", user_expressions={"x": "y"}, silent=True, timeout=10.0)
        done = submitted.when_done()
        request = self.script.take()
        content = msgspec.json.decode(request.parts[3])
        self.assertEqual(
            content,
            {
                "code": "1 + 1",
                "silent": True,
                "store_history": False,
                "user_expressions": {"x": "y"},
                "allow_stdin": False,
                "stop_on_error": False,
            },
        )
        self.assertEqual((submitted.state, submitted.status), ("running", ""))
        self.clock.advance(2.5)
        self.script.begin(request)
        self.script.say(request, "execute_result", data={"text/plain": "2"}, execution_count=7)
        self.script.end(request, execution_count=7, user_expressions={"x": {"status": "ok"}})
        self.successResultOf(done)
        self.successResultOf(submitted.when_done())
        self.assertEqual((submitted.state, submitted.status), ("done", "ok"))
        self.assertEqual((submitted.execution_count, submitted.duration), (7, 2.5))
        self.assertEqual(submitted.user_expressions, {"x": {"status": "ok"}})
        self.assertEqual(submitted.outputs.shown()[0]["data"], {"text/plain": "2"})
        self.assertIsNone(submitted.error)
        self.assertIs(self.queue.get(submitted.execution_id), submitted)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_error(self) -> None:
        """
        Code that fails has the error, prepared like its outputs.
        """
        submitted = self.submit()
        request = self.script.take()
        self.script.say(request, "error", ename="E", evalue="v", traceback=["t"])
        self.script.end(request, "error", ename="E", evalue="v", traceback=["t", 5])
        self.assertEqual(submitted.status, "error")
        self.assertEqual(submitted.error, {"ename": "E", "evalue": "v", "traceback": ["t", "5"]})

    def test_order(self) -> None:
        """
        Executions run one after the other, also among requests of WebSockets.
        """
        client = self.kernel.channels.attach("s", FakeClient())
        first, second = self.submit("first"), self.submit("second")
        self.assertEqual((first.state, second.state), ("running", "queued"))
        queue = next(iter(self.kernel.channels.attachments.values()))
        self.assertEqual(len(queue.requests), 1)
        self.script.end(queue.requests[0])
        self.assertEqual((first.state, second.state), ("done", "running"))
        self.script.end(queue.requests[1])
        request = make_execute_request("theirs", "s", 0.0)
        client.send(request)
        third = self.submit("third")
        self.assertEqual(third.state, "queued")
        self.script.end(request)
        self.assertEqual(third.state, "running")

    def test_reject(self) -> None:
        """
        Code that may not wait is refused while anything runs.
        """
        self.kernel.channels.pending_executions = 1
        code = CodeRequest(code="a")
        self.assertRaises(ExecutionConflict, self.queue.submit, code, wait=False)
        self.assertEqual(list(self.queue), [])
        self.kernel.channels.pending_executions = 0
        self.queue.submit(code, wait=False)

    def test_bounded(self) -> None:
        """
        So many may wait or run.
        """
        self.make(queued=2)
        self.submit()
        self.submit()
        self.assertRaises(Unavailable, self.submit)

    def test_timeout(self) -> None:
        """
        Code that takes too long is interrupted; its own end is then a timeout.
        """
        submitted = self.submit(timeout=3.0)
        self.clock.advance(2.9)
        self.assertEqual(self.done, [])
        self.clock.advance(0.1)
        self.assertEqual((self.done, submitted.status), (["interrupt"], ""))
        self.script.fail(self.script.take(), "KeyboardInterrupt", "")
        self.assertEqual((submitted.status, submitted.ended_by), ("timeout", "interrupt"))
        assert submitted.error is not None
        self.assertIn("3 s", submitted.error["evalue"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stubborn(self) -> None:
        """
        Code that does not end after an interrupt loses its kernel's process.
        """
        submitted = self.submit(timeout=3.0)
        self.clock.advance(3.0)
        self.clock.advance(5.0)
        self.assertEqual(self.done, ["interrupt", "restart"])
        self.script.fail(self.script.take(), "KernelRestarted", "restarted")
        self.assertEqual((submitted.status, submitted.ended_by), ("timeout", "restart"))

    def test_waiting_takes_too_long(self) -> None:
        """
        Nothing waits for its turn without a limit, unless the operator allows it.
        """
        self.make(longest_wait=10.0)
        running, waiting = self.submit("a"), self.submit("b")
        self.clock.advance(10.0)
        self.assertEqual((running.state, waiting.status), ("running", "timeout"))
        assert waiting.error is not None
        self.assertIn("turn", waiting.error["evalue"])
        self.assertEqual((waiting.started, waiting.duration, self.done), (None, None, []))

    def test_cancel(self) -> None:
        """
        What waits is taken out of the queue, what runs is interrupted, what has ended cannot be
        cancelled.
        """
        running, waiting, last = self.submit("a"), self.submit("b"), self.submit("c")
        self.queue.cancel(waiting)
        self.assertEqual((waiting.status, self.done), ("interrupted", []))
        self.queue.cancel(running)
        self.queue.cancel(running)
        self.assertEqual((running.status, self.done), ("", ["interrupt"]))
        self.script.fail(self.script.take(), "KeyboardInterrupt", "")
        self.assertEqual((running.status, running.ended_by), ("interrupted", "interrupt"))
        self.assertEqual(self.script.codes, ["c"])
        self.script.end(self.script.take())
        self.assertEqual(last.status, "ok")
        for each in (running, waiting, last):
            self.assertRaises(ExecutionConflict, self.queue.cancel, each)

    def test_interrupted_by_others(self) -> None:
        """
        An interrupt from elsewhere is one, too.
        """
        submitted = self.submit()
        self.script.fail(self.script.take(), "KeyboardInterrupt", "")
        self.assertEqual((submitted.status, submitted.ended_by), ("interrupted", ""))

    def test_abort_following(self) -> None:
        """
        If it is to be so, what waits behind code that fails is not run.
        """
        for abort, statuses in ((True, ["error", "error"]), (False, ["", ""])):
            self.make()
            self.submit("a", abort_following=abort)
            waiting = [self.submit("b"), self.submit("c")]
            self.script.fail(self.script.take())
            self.assertEqual([each.status for each in waiting], statuses)
            self.assertEqual(self.script.codes, [] if abort else ["b"])

    def test_too_much_output(self) -> None:
        """
        Code that prints too much is interrupted, unless a client reads it as it comes; then not all
        of it is kept.
        """
        self.make(output_size=100, event_size=200)
        submitted = self.submit()
        request = self.script.take()
        for _ in range(5):
            self.script.say(request, "stream", name="stdout", text="x" * 50)
        self.assertEqual(self.done, ["interrupt"])
        self.script.fail(request, "KeyboardInterrupt", "")
        assert submitted.error is not None
        self.assertEqual((submitted.status, submitted.error["ename"]), ("error", "OutputTooLarge"))
        self.assertIn("--max-response-size", submitted.error["evalue"])
        streamed = self.submit(is_streamed=True)
        request = self.script.take()
        for _ in range(5):
            self.script.say(request, "stream", name="stdout", text="x" * 50)
        self.script.end(request)
        self.assertEqual((streamed.status, streamed.outputs.is_complete), ("ok", False))

    def test_died(self) -> None:
        """
        When the process dies, that is the end; when the kernel is gone, so is everything.
        """
        first = self.submit("a")
        self.script.fail(self.script.take(), "KernelDied", "signal 9")
        assert first.error is not None
        self.assertEqual((first.status, first.error["evalue"]), ("died", "signal 9"))
        running, waiting = self.submit("b"), self.submit("c")
        timed_out = self.submit("d", timeout=1.0)
        self.script.die()
        statuses = [each.status for each in (running, waiting, timed_out)]
        self.assertEqual(statuses, ["died"] * 3)
        self.assertEqual(self.done, ["gone"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_history(self) -> None:
        """
        The latest executions are remembered, up to a number and a size of their outputs.
        """
        self.make(history=3, history_size=10_000)
        submitted = [self.submit(str(number)) for number in range(6)]
        for _ in range(5):
            self.script.end(self.script.take())
        self.assertEqual(list(self.queue), submitted[2:])
        self.assertRaises(NoSuchExecution, self.queue.get, submitted[0].execution_id)
        request = self.script.take()
        self.script.say(request, "stream", name="stdout", text="x" * 20_000)
        self.script.end(request)
        self.assertEqual(list(self.queue), submitted[5:])

    def test_input(self) -> None:
        """
        Input is asked for, and answered once.
        """
        submitted = self.submit(allow_stdin=True)
        self.assertRaises(ExecutionConflict, self.queue.send_input, submitted, "x")
        request = self.script.take()
        self.script.say(request, "input_request", "stdin", prompt="name: ", password=False)
        self.assertEqual(submitted.input_request, {"prompt": "name: ", "password": False})
        self.queue.send_input(submitted, "Jane")
        reply = self.script.take()
        self.assertEqual((reply.channel, reply.msg_type), ("stdin", "input_reply"))
        self.assertEqual(msgspec.json.decode(reply.parts[3])["value"], "Jane")
        self.assertRaises(ExecutionConflict, self.queue.send_input, submitted, "x")
        self.script.end(request)
        self.assertEqual(submitted.status, "ok")

    def test_events(self) -> None:
        """
        Who follows an execution is told what has happened and what happens, in order; of old
        events, some are kept.
        """
        self.make(event_size=200)
        submitted = self.submit()
        early: list[Event] = []
        stop = submitted.events.follow(0, early.append)
        request = self.script.take()
        for number in range(5):
            self.script.say(request, "stream", name="stdout", text=f"{number}" * 30)
        late: list[Event] = []
        submitted.events.follow(5, late.append)
        self.script.end(request)
        kinds = ["accepted", "started", *["output"] * 5, "result"]
        self.assertEqual([each.kind for each in early], kinds)
        self.assertEqual([each.number for each in early], list(range(1, 9)))
        self.assertEqual([each.number for each in late], [6, 7, 8])
        self.assertGreater(submitted.events.first, 1)
        again: list[Event] = []
        submitted.events.follow(0, again.append)
        self.assertEqual(again, early[submitted.events.first - 1 :])
        stop()
        stop()

    def test_timeouts_that_are_allowed(self) -> None:
        """
        A client may ask for any time up to the operator's; none is the longest.
        """
        self.assertEqual([check_timeout(*each) for each in ((None, 9.0), (2.0, 9.0))], [9.0, 2.0])
        self.assertEqual([check_timeout(*each) for each in ((None, 0.0), (99.0, 0.0))], [0.0, 99.0])
        for timeout in (0.0, -1.0, 9.1, float("nan"), float("inf")):
            self.assertRaises(InvalidRequest, check_timeout, timeout, 9.0)
