"""
Code without a kernel, in memory.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from kgd.errors import KernelStartFailed
from kgd.interfaces import IKernel, StartRequest
from tests.support.running_code import CodeTestCase, PendingRequest


class OnceTests(CodeTestCase):
    """
    ``POST /api/execute``.
    """

    def once(self, body: Any = None, **headers: str) -> PendingRequest:
        """
        Send a request.
        """
        return self.post("/api/execute", {"code": "1", **(body or {})}, **headers)

    def assertNoKernel(self) -> None:
        """
        No kernel is left.
        """
        self.assertEqual(list(self.kernels.list()), [])

    def test_answer(self) -> None:
        """
        It answers as for a kernel that there is, and stops its own.
        """
        pending = self.once({"code": "print(1)"})
        self.assertEqual(self.code(), ["print(1)"])
        self.finish("1\n")
        response = pending.response
        self.assertEqual((response.code, response.json["status"]), (200, "ok"))
        self.assertEqual(response.json["outputs"][0]["text"], "1\n")
        self.assertIsNone(response.json["kernel_id"])
        self.assertNotIn("location", response.headers)
        self.assertNoKernel()

    def test_kernel(self) -> None:
        """
        The client chooses the kernel as one who starts it.
        """
        self.once({"kernel": {"name": "python3", "path": "a", "env": {"KERNEL_X": "1"}}})
        self.assertEqual(
            self.kernel().request, StartRequest(name="python3", path="a", env={"KERNEL_X": "1"})
        )

    def test_keep(self) -> None:
        """
        A kernel that is kept is in the answer, and has the execution; also one whose code failed.
        """
        errors: list[dict[str, Any]] = [{}, {"ename": "ValueError", "evalue": "no"}]
        for error in errors:
            pending = self.once({"keep": True})
            kernel = self.kernel()
            self.finish(**error)
            answer = pending.response.json
            self.assertEqual(answer["kernel_id"], kernel.kernel_id)
            self.assertEqual(answer["status"], "error" if error else "ok")
            location = pending.response.headers["location"]
            found = self.request("GET", location).json
            self.assertEqual(found["execution_id"], answer["execution_id"])
            self.request("DELETE", f"/api/kernels/{kernel.kernel_id}")

    def test_stream(self) -> None:
        """
        Events are sent as they come; the last one has the kernel that is kept.
        """
        for keep in (False, True):
            pending = self.once({"keep": keep}, accept="application/x-ndjson")
            self.assertIn(b'"accepted"', pending.received)
            kernel_id = self.kernel().kernel_id
            self.finish("a")
            kinds = [event["event"] for event in pending.events]
            self.assertEqual(kinds, ["accepted", "started", "output", "result"])
            self.assertEqual(pending.events[-1]["kernel_id"], kernel_id if keep else None)
            self.assertEqual(len(self.kernels.list()), int(keep))

    def test_failures(self) -> None:
        """
        Whatever becomes of the code, the kernel is stopped.
        """
        pending = self.once()
        self.finish(ename="ValueError", evalue="no")
        self.assertEqual(pending.response.json["status"], "error")
        self.assertNoKernel()
        pending = self.once({"timeout": 2})
        self.advance(2)
        self.assertEqual(self.kernels.interrupted[-1], self.kernel().kernel_id)
        self.finish(ename="KeyboardInterrupt", evalue="")
        self.assertEqual(pending.response.json["status"], "timeout")
        self.assertNoKernel()
        pending = self.once()
        self.kernel().channels.disconnect("KernelDied", "it was killed")
        answer = pending.response.json
        self.assertEqual((answer["status"], answer["error"]["evalue"]), ("died", "it was killed"))
        self.assertNoKernel()
        pending = self.once()
        self.kernels.crash(self.kernel().kernel_id)
        self.assertEqual(pending.response.json["status"], "died")
        self.assertNoKernel()

    def test_hang_up(self) -> None:
        """
        A client that leaves ends everything, unless it asked for something else.
        """
        for accept in ("application/json", "text/event-stream"):
            for keep in (False, True):
                pending = self.once({"keep": keep}, accept=accept)
                pending.hang_up()
                self.assertNoKernel()
        pending = self.once({"on_disconnect": "continue"})
        pending.hang_up()
        self.finish()
        self.assertNoKernel()
        pending = self.once({"on_disconnect": "continue", "keep": True})
        pending.hang_up()
        self.finish()
        self.assertEqual(len(self.kernels.list()), 1)

    def test_hang_up_while_it_starts(self) -> None:
        """
        A kernel whose client has left is stopped as soon as it has started.
        """
        start = self.kernels.start
        for timeout, statuses in ((None, []), (3, [504])):
            starting: Deferred[None] = Deferred()

            def start_later(request: StartRequest) -> Deferred[IKernel]:
                return starting.addCallback(lambda _: start(request))  # noqa: B023

            self.patch(self.kernels, "start", start_later)
            pending = self.once({"timeout": timeout, "keep": True})
            if timeout:
                self.advance(timeout)
                self.assertError(
                    pending.response, 504, "No kernel started within 3 s; send a longer timeout"
                )
            else:
                pending.hang_up()
            starting.callback(None)
            self.assertNoKernel()
            self.assertEqual(len(self.parts.reactor.getDelayedCalls()), 0, statuses)

    def test_failed_start(self) -> None:
        """
        A kernel that does not start is an error; also one that fails after its client has left.
        """
        self.kernels.error = KernelStartFailed("it cannot")
        self.assertError(self.once().response, 500, "it cannot")
        starting: Deferred[IKernel] = Deferred()
        self.patch(self.kernels, "start", lambda _: starting)
        self.once().hang_up()
        starting.errback(KernelStartFailed("it cannot"))
        self.assertNoKernel()

    def test_limit(self) -> None:
        """
        At the limit of kernels it is refused, unless one of those that it has used is just ending.
        """
        self.serve(max_kernels=1)
        kernel_id = self.start()
        self.assertError(self.once().response, 403, "Resource Limit")
        self.request("DELETE", f"/api/kernels/{kernel_id}")
        stop = self.kernels.stop
        stopping: Deferred[None] = Deferred()
        self.patch(self.kernels, "stop", lambda each: stopping.addCallback(lambda _: stop(each)))
        first = self.once()
        self.finish()
        self.assertEqual(first.response.json["status"], "ok")
        second, third = self.once({"code": "2"}), self.once({"code": "3", "timeout": 1})
        self.assertEqual(second.received, b"")
        self.advance(1)
        self.assertError(third.response, 504)
        stopping.callback(None)
        self.assertEqual(self.code(), ["2"])

    def test_draining(self) -> None:
        """
        A gateway that drains says so.
        """
        self.kernels.drain()
        self.assertError(self.once().response, 503)

    def test_wrong_use(self) -> None:
        """
        What is wrong is refused before a kernel starts.
        """
        for body, code, named in (
            (b"", 400, "JSON body"),
            (b"null", 400, "JSON body"),
            (b"[]", 400, "JSON body"),
            ({}, 400, "code"),
            ({"code": 1}, 400, "code"),
            ({"code": "1", "kernel": "python3"}, 400, "kernel"),
            ({"code": "1", "kernel": {"spec": "python3"}}, 400, "spec"),
            ({"code": "1", "kernel": {"env": {"A": 1}}}, 400, "kernel.env"),
            ({"code": "1", "kernel": {"env": {"A=B": "x"}}}, 400, "A=B"),
            ({"code": "1", "kernel": {"name": "cobol"}}, 404, "cobol"),
            ({"code": "1", "keep": 1}, 400, "keep"),
            ({"code": "1", "kernel_id": "x"}, 400, "kernel_id"),
            ({"code": "1", "timeout": 601}, 400, "timeout"),
            ({"code": "1", "timeout": 0}, 400, "timeout"),
            ({"code": "1", "timeout": "1"}, 400, "timeout"),
        ):
            response = self.request("POST", "/api/execute", body)
            self.assertError(response, code)
            self.assertIn(named, response.json["message"])
        both = "application/x-ndjson, text/event-stream"
        self.assertError(self.once(accept=both).response, 400)
        self.assertError(self.once(accept="image/png").response, 406)
        self.assertError(self.request("GET", "/api/execute"), 405)
        self.assertNoKernel()
