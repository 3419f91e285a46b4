"""
The three clients, each against the same answers.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from kgd.client import (
    Accepted,
    ClientError,
    ExecutionFailed,
    Finished,
    Gap,
    GatewayUnreachable,
    InputRequested,
    Output,
    Refused,
    RetryPolicy,
    Started,
)
from tests.support.clients import (
    BREAKS,
    EXECUTION,
    KERNEL,
    REFUSES,
    URL,
    Answer,
    AsyncDriver,
    BlockingDriver,
    DeferredDriver,
    Driver,
    ScriptedGateway,
    answer,
    events,
)

ACCEPTED = {"event": "accepted", "id": 1, "execution_id": "e1"}
STARTED = {"event": "started", "id": 2}
PRINTED: dict[str, Any] = {
    "event": "output",
    "id": 3,
    "output": {"output_type": "stream", "name": "stdout", "text": "a\n"},
}
RESULT = {"event": "result", "id": 4, **{k: v for k, v in EXECUTION.items() if k != "outputs"}}
KEY = "idempotency-key"
FEW = RetryPolicy(attempts=3, first_pause=1.0, longest_pause=10.0)


class ClientTests:
    """
    What every client does.
    """

    driver: type[Driver]

    def client(self, *script: Answer, retries: RetryPolicy = FEW, token: str | None = None) -> Any:
        """
        :return: The client of a gateway that gives these answers.
        """
        self.gateway = ScriptedGateway(list(script))
        return self.driver(self.gateway, retries, token)

    # --- calls ---

    def test_start_kernel(self: Any) -> None:
        """
        A kernel is started with what was asked for, and nothing else.
        """
        client = self.client(answer(KERNEL, 201), answer(KERNEL, 201), token="secret")
        info = client.start_kernel("python3", env={"KERNEL_A": "1"}, path="sub")
        self.assertEqual((info.id, info.name, info.reason), ("1-2-3-4-5", "python3", ""))
        self.assertEqual(info.last_activity, datetime(2026, 1, 2, 3, 4, 5, 6, UTC))
        client.start_kernel()
        first, second = self.gateway.asked
        self.assertEqual((first.method, first.url), ("POST", f"{URL}/api/kernels"))
        self.assertEqual(first.json, {"name": "python3", "env": {"KERNEL_A": "1"}, "path": "sub"})
        self.assertEqual(second.json, {})
        self.assertEqual(first.headers["authorization"], "token secret")
        self.assertNotEqual(first.headers[KEY], second.headers[KEY])

    def test_execute(self: Any) -> None:
        """
        Code is run with its options, and its result has everything.
        """
        client = self.client(answer(EXECUTION))
        result = client.kernel("execute", "6 * 7", timeout=5, outputs={"ansi": "strip"})
        (asked,) = self.gateway.asked
        self.assertEqual(asked.json, {"code": "6 * 7", "timeout": 5, "outputs": {"ansi": "strip"}})
        self.assertEqual(asked.url, f"{URL}/api/kernels/1-2-3-4-5/execute")
        self.assertEqual((result.status, result.text, result.duration), ("ok", "42\n", 0.5))
        self.assertEqual(result.started, datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC))
        self.assertIs(result.raise_for_status(), result)

    def test_failed(self: Any) -> None:
        """
        Code that fails is a result; it is an exception only if the program wants that.
        """
        error = {"ename": "E", "evalue": "v", "traceback": ["t"]}
        client = self.client(answer({**EXECUTION, "status": "error", "error": error}))
        result = client.kernel("execute", "x")
        self.assertEqual((result.error.ename, result.error.traceback), ("E", ["t"]))
        with self.assertRaisesRegex(ExecutionFailed, "status error: E: v"):
            result.raise_for_status()

    def test_run_once(self: Any) -> None:
        """
        Code runs in a kernel of its own with one request.
        """
        client = self.client(answer({**EXECUTION, "kernel_id": None}))
        self.assertEqual(client.run_once("6 * 7", "ir", timeout=3).text, "42\n")
        (asked,) = self.gateway.asked
        self.assertEqual(asked.url, f"{URL}/api/execute")
        self.assertEqual(asked.json, {"code": "6 * 7", "kernel": {"name": "ir"}, "timeout": 3})

    def test_run_notebook(self: Any) -> None:
        """
        A notebook is run with one request, and comes back.
        """
        given: dict[str, Any] = {"cells": [], "metadata": {}, "nbformat": 4}
        ran = {**given, "metadata": {"kgd": {"status": "ok"}}}
        client = self.client(answer(ran))
        self.assertEqual(client.run_notebook(given, parameters={"a": 1}), ran)
        (asked,) = self.gateway.asked
        self.assertEqual(asked.url, f"{URL}/api/notebooks/run")
        self.assertEqual(asked.json, {"notebook": given, "parameters": {"a": 1}})
        self.assertEqual(asked.headers["accept"], "application/json")

    def test_others(self: Any) -> None:
        """
        Each method makes its request.
        """
        kernel = f"{URL}/api/kernels/1-2-3-4-5"
        for method, arguments, asked, given in (
            ("interrupt", (), ("POST", f"{kernel}/interrupt"), Answer(204)),
            ("restart", (), ("POST", f"{kernel}/restart"), answer(KERNEL)),
            ("refresh", (), ("GET", kernel), answer(KERNEL)),
            ("stop", (), ("DELETE", kernel), Answer(204)),
            ("cancel", ("a/b",), ("DELETE", f"{kernel}/executions/a%2Fb"), Answer(204)),
            ("executions", (), ("GET", f"{kernel}/executions"), answer([EXECUTION])),
            ("execution", ("e1",), ("GET", f"{kernel}/executions/e1"), answer(EXECUTION)),
            (
                "execution",
                ("e1", 2.5),
                ("GET", f"{kernel}/executions/e1?wait=2.5"),
                answer(EXECUTION),
            ),
            ("send_input", ("e1", "yes"), ("POST", f"{kernel}/executions/e1/input"), Answer(204)),
        ):
            self.client(given).kernel(method, *arguments)
            (request,) = self.gateway.asked
            self.assertEqual((request.method, request.url), asked)
        self.assertEqual(request.json, {"value": "yes"})
        self.assertEqual([each.id for each in self.client(answer([KERNEL])).kernels()],
                         ["1-2-3-4-5"])  # fmt: skip

    # --- refusals ---

    def test_refused(self: Any) -> None:
        """
        A refusal is not tried again, and says what the gateway says.
        """
        refusal = {"reason": "Bad Request", "message": "timeout must be more than 0"}
        client = self.client(answer(refusal, 400))
        with self.assertRaises(Refused) as caught:
            client.kernel("execute", "x", timeout=-1)
        self.assertEqual(caught.exception.status, 400)
        self.assertEqual(str(caught.exception), "400 Bad Request: timeout must be more than 0")
        with self.assertRaisesRegex(Refused, "404 Not Found: gone"):
            self.client(answer({"reason": "Not Found", "message": "gone"}, 404)).stream("x")
        with self.assertRaisesRegex(Refused, "502 .*: <html>"):
            self.client(Answer(502, [b"<html>"])).kernels()

    def test_not_a_gateway(self: Any) -> None:
        """
        An answer that makes no sense is an error that says what to check.
        """
        for given in (Answer(200, [b"<html>"]), answer({"a": 1}), answer([1])):
            with self.assertRaisesRegex(ClientError, "not the answer of a kernel gateway"):
                self.client(given).kernels()

    # --- trying again ---

    def test_try_again(self: Any) -> None:
        """
        A lost connection, one that is refused, and 503 with Retry-After are tried again, with the
        same key and the same body.
        """
        busy = answer({"reason": "r", "message": "m"}, 503, Retry_After="2")
        for failure in (BREAKS, REFUSES, busy):
            client = self.client(failure, failure, answer(EXECUTION))
            self.assertEqual(client.kernel("execute", "x").status, "ok")
            self.assertEqual(len({each.headers[KEY] for each in self.gateway.asked}), 1)
            self.assertEqual(len({each.body for each in self.gateway.asked}), 1)
            first, second = self.gateway.pauses
            low, high = (2.0, 2.0) if failure is busy else (0.5, 1.0)
            self.assertTrue(low <= first <= high, first)
            self.assertTrue(max(low, 1.0) <= second <= 2.0, second)

    def test_bounded(self: Any) -> None:
        """
        It gives up after as many attempts as it may have.
        """
        for failure in (BREAKS, REFUSES):
            with self.assertRaisesRegex(GatewayUnreachable, "gateway.example"):
                self.client(*3 * [failure]).kernel("execute", "x")
            with self.assertRaisesRegex(GatewayUnreachable, "gateway.example"):
                self.client(*3 * [failure]).stream("x")
            self.assertEqual(len(self.gateway.asked), 3)
        busy = answer({"reason": "r", "message": "m"}, 503, Retry_After="0")
        for call in ("kernels", "stream"):
            client = self.client(*3 * [busy])
            with self.assertRaisesRegex(Refused, "503 r: m"):
                client.stream("x") if call == "stream" else client.kernels()
            self.assertEqual(len(self.gateway.asked), 3)

    def test_not_tried_again(self: Any) -> None:
        """
        503 without a time, or with one that is too long, is the answer.
        """
        for headers in ({}, {"Retry_After": "11"}, {"Retry_After": "soon"}):
            client = self.client(answer({"reason": "r", "message": "m"}, 503, **headers))
            with self.assertRaises(Refused) as caught:
                client.start_kernel()
            wanted = 11.0 if headers.get("Retry_After") == "11" else None
            self.assertEqual(caught.exception.retry_after, wanted)

    def test_input_is_sent_once(self: Any) -> None:
        """
        Input that may have arrived is not sent again; what cannot have arrived is.
        """
        with self.assertRaises(GatewayUnreachable):
            self.client(BREAKS).kernel("send_input", "e1", "x")
        self.client(REFUSES, Answer(204)).kernel("send_input", "e1", "x")

    def test_done_by_the_first(self: Any) -> None:
        """
        What is gone at the second attempt was so because of the first one.
        """
        gone = answer({"reason": "Not Found", "message": "m"}, 404)
        self.client(BREAKS, gone).kernel("stop")
        with self.assertRaises(Refused):
            self.client(gone).kernel("stop")

    def test_without_keys(self: Any) -> None:
        """
        For a gateway that takes no keys, there are none, and a POST that may have arrived is not
        sent again.
        """
        without = attrs.evolve(FEW, sends_keys=False)
        self.client(REFUSES, answer(EXECUTION), retries=without).kernel("execute", "x")
        self.assertFalse([each for each in self.gateway.asked if KEY in each.headers])
        for call in ("execute", "stream"):
            client = self.client(BREAKS, retries=without)
            with self.assertRaises(GatewayUnreachable):
                client.stream("x") if call == "stream" else client.kernel("execute", "x")
        self.client(BREAKS, answer([]), retries=without).kernels()

    # --- streams ---

    def test_stream(self: Any) -> None:
        """
        Events come as values, without keep-alives and what is not known.
        """
        asks = {"event": "input_request", "id": 3, "prompt": "p", "password": True, "url": "u"}
        client = self.client(
            events(
                ACCEPTED, STARTED, {"event": "keep-alive"}, PRINTED, {"event": "new", "id": 4},
                asks, {"event": "gap", "id": 5, "missing": 2}, RESULT,
            )
        )  # fmt: skip
        *others, last = client.stream("x", stdin=True)
        self.assertEqual(
            others,
            [
                Accepted(1, "e1"),
                Started(2),
                Output(3, PRINTED["output"]),
                InputRequested(3, "p", True),
                Gap(5, 2),
            ],
        )
        self.assertEqual(others[2].text, "a\n")
        self.assertIsInstance(last, Finished)
        self.assertEqual((last.result.status, last.result.outputs), ("ok", ()))
        (asked,) = self.gateway.asked
        self.assertEqual(asked.json, {"code": "x", "stdin": True})
        self.assertEqual(asked.headers["accept"], "application/x-ndjson")

    def test_resumed(self: Any) -> None:
        """
        A stream that breaks, or ends too early, is taken up after the last event.
        """
        for breaks in (True, False):
            client = self.client(
                events(ACCEPTED, STARTED, breaks=breaks), BREAKS, events(PRINTED, RESULT)
            )
            numbers = [event.number for event in client.stream("x")]
            self.assertEqual(numbers, [1, 2, 3, 4])
            _, *later = self.gateway.asked
            for asked in later:
                self.assertEqual(asked.method, "GET")
                self.assertTrue(asked.url.endswith("/executions/e1"), asked.url)
                self.assertEqual(asked.headers["last-event-id"], "2")

    def test_half_a_line(self: Any) -> None:
        """
        What has come of an event before the connection was lost is forgotten.
        """
        broken = attrs.evolve(events(ACCEPTED, breaks=True))
        broken = attrs.evolve(broken, chunks=[*broken.chunks, b'{"event":"sta'])
        client = self.client(broken, events(STARTED, RESULT))
        self.assertEqual([event.number for event in client.stream("x")], [1, 2, 4])

    def test_not_accepted(self: Any) -> None:
        """
        A stream that breaks before its first event is asked for again, under the same key.
        """
        client = self.client(BREAKS, Answer(200, [b"\n"]), events(ACCEPTED, RESULT))
        self.assertEqual(len(client.stream("x")), 2)
        self.assertEqual(len({asked.headers[KEY] for asked in self.gateway.asked}), 1)

    def test_lost_for_good(self: Any) -> None:
        """
        A stream that brings nothing new is given up.
        """
        for nothing in (BREAKS, Answer(200)):
            client = self.client(events(ACCEPTED, breaks=True), *2 * [nothing])
            with self.assertRaises(GatewayUnreachable):
                client.stream("x")
            self.assertEqual(len(self.gateway.pauses), 2)

    def test_no_events(self: Any) -> None:
        """
        A response that is not a stream of events is an error at once.
        """
        for body in (b"<html>\n", b"[]\n", b'{"event":"output"}\n'):
            with self.assertRaisesRegex(ClientError, "not an event"):
                self.client(Answer(200, [body])).stream("x")


class BlockingTests(ClientTests, SynchronousTestCase):
    """
    ``Client``.
    """

    driver = BlockingDriver


class AsyncTests(ClientTests, SynchronousTestCase):
    """
    ``AsyncClient``.
    """

    driver = AsyncDriver


class DeferredTests(ClientTests, SynchronousTestCase):
    """
    ``DeferredClient``.
    """

    driver = DeferredDriver
