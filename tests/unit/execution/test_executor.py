"""
Code that the gateway runs itself.
"""

from __future__ import annotations

import time

import msgspec
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from kgd.execution.executor import CodeCell, ExecutionBatch, Executor
from kgd.interfaces import IClient, StartRequest
from kgd.protocol.messages import make_kernel_message
from kgd.protocol.outputs import RESPONSE_TYPE, Failed, Outputs
from kgd.testing.kernels import MemoryKernel, MemoryKernels
from tests.support.scripted import Script


class ExecutorTests(SynchronousTestCase):
    """
    One kernel.
    """

    def setUp(self) -> None:
        kernels = MemoryKernels()
        kernel = self.successResultOf(kernels.start(StartRequest()))
        assert isinstance(kernel, MemoryKernel)
        self.gone = 0
        self.executor = Executor(kernel.channels, self._gone)
        self.script = Script(kernel)
        self.too_much = 0

    def _gone(self) -> None:
        self.gone += 1

    def _output_exceeded(self) -> None:
        self.too_much += 1

    def run_code(self, *sources: str, limit: int = 1000) -> ExecutionBatch:
        """
        Run code.
        """
        cells = [CodeCell(source) for source in sources]
        return self.executor.run(cells, limit, self._output_exceeded)

    def outputs(self, run: ExecutionBatch) -> list[Outputs]:
        """
        What came of it; it has ended.
        """
        return self.successResultOf(run.answered)

    def test_interface(self) -> None:
        """
        It is a client.
        """
        verifyObject(IClient, self.executor)
        self.assertEqual(self.executor.take_undelivered(), ())

    def test_all_at_once(self) -> None:
        """
        All pieces are sent at once. The answer is there when the last has ended.
        """
        run = self.run_code("a", "b")
        self.assertEqual(self.script.codes, ["a", "b"])
        first, second = self.script.take(), self.script.take()
        content = msgspec.json.decode(first.parts[3])
        self.assertEqual(
            (content["allow_stdin"], content["stop_on_error"], content["store_history"]),
            (False, True, False),
        )
        self.script.say(first, "status", execution_state="busy")
        self.script.end(first)
        self.assertNoResult(run.answered)
        self.script.say(second, "stream", name="stdout", text="x")
        self.script.say(second, "stream", name="stderr", text="not this")
        self.script.say(second, "stream", text="y")
        self.script.say(second, "execute_reply", "shell", status="ok")
        self.assertNoResult(run.answered)
        self.script.say(second, "status", execution_state="idle")
        self.assertEqual(self.outputs(run), [Outputs(), Outputs(stdout="xy")])
        self.successResultOf(run.settled)
        self.assertEqual((run.loss_reason, run.is_settled), ("", True))

    def test_bundles(self) -> None:
        """
        The last of each kind counts; what tells how to answer is kept apart.
        """
        run = self.run_code("a")
        request = self.script.take()
        self.script.say(request, "display_data", data={"text/plain": "1"})
        self.script.say(request, "update_display_data", data={"text/plain": "2"})
        self.script.say(request, "execute_result", data={"text/plain": "3"})
        self.script.say(request, "display_data", data={RESPONSE_TYPE: {"status": 201}})
        self.script.end(request)
        self.assertEqual(
            self.outputs(run),
            [
                Outputs(
                    result={"text/plain": "3"},
                    displayed={"text/plain": "2"},
                    response={"status": 201},
                )
            ],
        )

    def test_not_a_number(self) -> None:
        """
        What Python writes as JSON is read even if it is none; what cannot be read is nothing.
        """
        for raw, expected in (
            (b'{"data": {"application/json": NaN}}', "application/json"),
            (b'{"data": {"application/json": ', None),
            (b'{"data": 1}', None),
        ):
            run = self.run_code("a")
            request = self.script.take()
            client = self.script.attachment.client
            assert client is not None
            client.deliver(
                make_kernel_message("execute_result", raw, "k", time.time(), request.parts[0])
            )
            client.deliver(make_kernel_message("stream", b"{", "k", time.time(), request.parts[0]))
            self.script.end(request)
            (outputs,) = self.outputs(run)
            self.assertEqual(list(outputs.result or {}), [expected] if expected else [])

    def test_failure(self) -> None:
        """
        With a failure there is an answer at once; what follows is thrown away by the kernel.
        """
        run = self.run_code("a", "b", "c")
        first, second, third = self.script.take(), self.script.take(), self.script.take()
        self.script.end(first)
        self.script.fail(second)
        error = Outputs(error=Failed(ename="E", evalue="v"))
        self.assertEqual(self.outputs(run), [Outputs(), error])
        self.assertFalse(run.is_settled)
        self.script.end(third, "aborted")
        self.successResultOf(run.settled)

    def test_failure_without_a_word(self) -> None:
        """
        A kernel may report a failure in its reply only.
        """
        run = self.run_code("a")
        self.script.end(self.script.take(), "error", ename="E", evalue="v")
        self.assertEqual(self.outputs(run), [Outputs(error=Failed(ename="E", evalue="v"))])

    def test_thrown_away(self) -> None:
        """
        Code that was thrown away because of what came before it is sent again.
        """
        run = self.run_code("a", "b")
        for _ in range(2):
            self.script.end(self.script.take(), "aborted")
            self.assertNoResult(run.answered)
        self.assertEqual(self.script.codes, ["a", "b"])
        self.script.answer("x")
        self.assertEqual(self.outputs(run), [Outputs(), Outputs(stdout="x")])

    def test_thrown_away_for_ever(self) -> None:
        """
        But not for ever.
        """
        run = self.run_code("a")
        while self.script.codes:
            self.script.end(self.script.take(), "aborted")
        (outputs,) = self.outputs(run)
        assert outputs.error is not None
        self.assertEqual(outputs.error.ename, "Aborted")
        self.assertIn("aborts every request", run.loss_reason)

    def test_too_much(self) -> None:
        """
        Output beyond the limit is reported once.
        """
        run = self.run_code("a", "b", limit=100)
        first, second = self.script.take(), self.script.take()
        for _ in range(3):
            self.script.say(second, "stream", name="stdout", text="x" * 60)
        self.assertEqual(self.too_much, 1)
        self.script.end(first)
        self.script.end(second)
        self.successResultOf(run.settled)

    def test_printed(self) -> None:
        """
        What a piece prints may be had as it comes, and is not kept then. Its request may have
        metadata.
        """
        seen: list[str] = []
        cells = (CodeCell("a"), CodeCell("b", b'{"x":1}', seen.append))
        run = self.executor.run(cells, 50, self._output_exceeded)
        first, second = self.script.take(), self.script.take()
        self.assertEqual((first.parts[2], second.parts[2]), (b"{}", b'{"x":1}'))
        self.script.say(first, "stream", name="stdout", text="no")
        self.script.say(second, "stream", name="stdout", text="x" * 100)
        self.assertEqual((seen, self.too_much), (["x" * 100], 0))
        self.script.end(first)
        self.script.end(second)
        self.assertEqual(self.outputs(run)[1], Outputs())

    def test_lost(self) -> None:
        """
        A kernel that dies answers nothing more, and says why.
        """
        run = self.run_code("a", "b")
        first, second = self.script.take(), self.script.take()
        self.script.end(first)
        self.script.fail(second, "KernelDied", "the kernel died: signal 9")
        self.outputs(run)
        self.assertEqual((run.loss_reason, run.is_settled), ("the kernel died: signal 9", True))
        other = self.run_code("c", "d")
        self.script.die()
        self.assertEqual(len(self.outputs(other)), 1)
        self.assertIn("signal 9", other.loss_reason)
        self.successResultOf(other.settled)
        self.assertEqual(self.gone, 1)

    def test_not_ours(self) -> None:
        """
        What belongs to others is left alone; after leaving, everything is.
        """
        run = self.run_code("a")
        request = self.script.take()
        attachment = self.script.attachment
        self.executor.deliver(make_kernel_message("stream", b'{"text":"x"}', "k", time.time()))
        self.assertNoResult(run.settled)
        self.executor.detach()
        self.assertIsNone(attachment.client)
        for msg_type, channel, content in (
            ("execute_reply", "shell", b'{"status":"ok"}'),
            ("status", "iopub", b'{"execution_state":"idle"}'),
        ):
            parent = request.parts[0]
            self.executor.deliver(
                make_kernel_message(msg_type, content, "k", time.time(), parent, channel)
            )
        self.assertNoResult(run.answered)
        self.successResultOf(run.settled)
