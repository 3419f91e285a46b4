"""
Requests that are sent again, in memory.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from kgd.auth.identities import Identity
from kgd.errors import KernelStartFailed
from kgd.interfaces import IKernel, StartRequest
from tests.support.running_code import CodeTestCase, PendingRequest

KERNELS = "/api/kernels"


class KeyTests(CodeTestCase):
    """
    ``Idempotency-Key``.
    """

    def keyed(
        self, path: str = "/api/execute", body: Any = None, key: str = "a", **headers: str
    ) -> PendingRequest:
        """
        Send a request with a key.
        """
        body = {"code": "1"} if body is None else body
        return self.post(path, body, idempotency_key=key, **headers)

    def count(self) -> int:
        """
        :return: How many kernels there are.
        """
        return len(self.kernels.list())

    def test_kernels_and_sessions(self) -> None:
        """
        What has been started is answered again with status, headers and body, and not started.
        """
        for path, body in (
            (KERNELS, {}),
            ("/api/sessions", {"path": "a", "type": "b", "kernel": {"name": "python3"}}),
        ):
            before = self.count()
            first, second = self.keyed(path, body).response, self.keyed(path, body).response
            self.assertEqual((first.code, second.code), (201, 201))
            self.assertEqual(first.body, second.body)
            for name in ("location", "content-type", "content-length"):
                self.assertEqual(first.headers[name], second.headers[name])
            self.assertNotIn("idempotent-replayed", first.headers)
            self.assertEqual(second.headers["idempotent-replayed"], "true")
            self.assertNotEqual(first.headers["x-request-id"], second.headers["x-request-id"])
            self.assertEqual(self.count(), before + 1)

    def test_without_a_key(self) -> None:
        """
        Requests without a key, and those of other routes, have nothing to do with each other.
        """
        for _ in range(2):
            self.assertEqual(self.post(KERNELS, {}).response.code, 201)
        self.assertEqual(self.count(), 2)
        kernel_id = self.kernels.list()[0].kernel_id
        for _ in range(2):
            self.keyed(f"{KERNELS}/{kernel_id}/restart")
        self.assertEqual(len(self.kernels.restarted), 2)

    def test_different_requests(self) -> None:
        """
        Another key, path or identity is another request; another body is a mistake.
        """
        self.keyed(KERNELS, {})
        self.keyed(KERNELS, {}, key="b")
        self.keyed()
        self.assertEqual(self.count(), 3)
        for path, body in ((KERNELS, {"name": "python3"}), (KERNELS, b""), ("/api/execute", {})):
            self.assertError(
                self.keyed(path, body).response,
                422,
                "This Idempotency-Key was sent with another body; send another key",
            )
        self.assertEqual(self.count(), 3)
        self.patch(
            self.client._site.resource._token, "authenticate", lambda _: Identity("somebody")
        )
        self.keyed(KERNELS, {})
        self.assertEqual(self.count(), 4)

    def test_wrong_keys(self) -> None:
        """
        A key is one text that can be printed, and not too long.
        """
        for key in ("", " ", "x" * 256, "\t", "a\x00b", "\xe9"):
            pending = self.keyed(KERNELS, {}, key)
            self.assertError(pending.response, 400)
        two = PendingRequest(
            self.client, "POST", KERNELS, b"{}", {"Idempotency-Key": "a", "idempotency-key": "b"}
        )
        self.assertError(
            two.response,
            400,
            "Idempotency-Key must be one text of 1 to 255 printable ASCII characters, such as a "
            "UUID",
        )
        for key in ("x" * 255, '"a b"', "0"):
            self.assertEqual(self.keyed(KERNELS, {}, key).response.code, 201)
        self.assertEqual(self.count(), 3)
        self.serve(idempotency_keys=0)
        self.assertError(self.keyed(KERNELS, {}).response, 400)

    def test_while_it_runs(self) -> None:
        """
        The second request waits for the answer to the first one, which may leave.
        """
        first, second = self.keyed(), self.keyed()
        kernel = self.kernel()
        self.assertEqual(self.code(), ["1"])
        first.hang_up()
        self.assertEqual(self.kernels.interrupted, [])
        third = self.keyed()
        self.finish("done")
        late = self.keyed()
        for each in (second, third, late):
            self.assertEqual(each.response.json["outputs"][0]["text"], "done")
        self.assertEqual(len({each.response.body for each in (second, third, late)}), 1)
        self.assertEqual(self.count(), 0)
        self.assertTrue(kernel.stopping)

    def test_all_leave(self) -> None:
        """
        When all have left, the code is interrupted, and not run again.
        """
        first, second = self.keyed(), self.keyed()
        first.hang_up()
        self.assertEqual(self.count(), 1)
        second.hang_up()
        self.assertEqual(self.count(), 0)
        again = self.keyed().response
        self.assertEqual((again.code, again.json["status"]), (200, "interrupted"))
        self.assertEqual(self.count(), 0)
        body = {"code": "1", "on_disconnect": "continue"}
        self.keyed(body=body, key="b").hang_up()
        self.finish("done")
        again = self.keyed(body=body, key="b").response
        self.assertEqual(again.json["outputs"][0]["text"], "done")

    def test_a_kernel_that_is_there(self) -> None:
        """
        It is the same for code in a kernel that is there.
        """
        path = f"{KERNELS}/{self.start()}/execute"
        first, second = self.keyed(path), self.keyed(path)
        self.assertEqual(self.code(), ["1"])
        first.hang_up()
        self.finish("a")
        self.assertEqual(second.response.json["status"], "ok")
        self.assertEqual(self.keyed(path).response.body, second.response.body)
        self.assertIn("/executions/", self.keyed(path).response.headers["location"])
        self.keyed(path, key="b").hang_up()
        self.assertEqual(self.kernels.interrupted, [self.kernel().kernel_id])
        again = self.keyed(path, key="b")
        self.finish(ename="KeyboardInterrupt", evalue="")
        self.assertEqual(again.response.json["status"], "interrupted")

    def test_streams(self) -> None:
        """
        Each request gets the whole stream, in the form that the first one wanted.
        """
        first = self.keyed(accept="application/x-ndjson")
        self.publish(("stream", {"name": "stdout", "text": "a"}))
        second = self.keyed(accept="application/x-ndjson")
        self.assertIn(b'"text":"a"', second.received)
        first.hang_up()
        self.finish("b")
        last = self.keyed()
        self.assertEqual(last.events, second.events)
        kinds = [event["event"] for event in last.events]
        self.assertEqual(kinds, ["accepted", "started", "output", "output", "result"])
        self.assertEqual(last.response.headers["content-type"], "application/x-ndjson")
        self.assertEqual(self.count(), 0)

    def test_slow_readers(self) -> None:
        """
        The kernel is suspended as long as one of the readers does not read.
        """
        first, second = (self.keyed(accept="application/x-ndjson") for _ in range(2))
        first.pause()
        second.pause()
        self.assertEqual(len(self.kernels.suspended), 1)
        first.hang_up()
        self.assertEqual(len(self.kernels.suspended), 1)
        second.hang_up()
        self.assertEqual((self.count(), self.kernels.suspended), (0, set()))

    def test_before_the_kernel_has_started(self) -> None:
        """
        One kernel is started for all requests. When all have left, a kernel for code is stopped,
        and the next request is a first one; a kernel that was asked for itself is kept for it.
        """
        start = self.kernels.start
        for path, body, left in (("/api/execute", {"code": "1"}, 0), (KERNELS, {}, 1)):
            starting: Deferred[None] = Deferred()

            def start_later(request: StartRequest) -> Deferred[IKernel]:
                return starting.addCallback(lambda _: start(request))  # noqa: B023

            self.patch(self.kernels, "start", start_later)
            pending = [self.keyed(path, body) for _ in range(2)]
            for each in pending:
                self.assertEqual(each.received, b"")
                each.hang_up()
            starting.callback(None)
            self.patch(self.kernels, "start", start)
            self.assertEqual(self.count(), left)
            response = self.keyed(path, body)
            self.assertEqual(self.count(), 1)
            if path == KERNELS:
                self.assertEqual(response.response.json["id"], self.kernel().kernel_id)
            else:
                self.finish()

    def test_errors(self) -> None:
        """
        An error is given to all who wait, and not remembered; a defect is, as nobody knows how
        far it came.
        """
        starting: Deferred[IKernel] = Deferred()
        start = self.kernels.start
        self.patch(self.kernels, "start", lambda _: starting)
        pending = [self.keyed(KERNELS, {}) for _ in range(2)]
        starting.errback(KernelStartFailed("it cannot"))
        for each in pending:
            self.assertError(each.response, 500, "it cannot")
        self.patch(self.kernels, "start", start)
        self.assertEqual(self.keyed(KERNELS, {"name": "python3"}).response.code, 201)
        self.kernels.error = ZeroDivisionError()
        for _ in range(2):
            self.assertError(self.keyed(KERNELS, {}, "b").response, 500, "Unknown server error")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.count(), 1)

    def test_lifetime(self) -> None:
        """
        Answers are forgotten some time after they have been complete.
        """
        self.serve(idempotency_lifetime=10.0)
        pending = self.keyed()
        self.advance(11)
        self.finish("a")
        self.advance(9.5)
        self.assertEqual(self.keyed().response.body, pending.response.body)
        self.advance(0.5)
        self.assertEqual(self.keyed().received, b"")
        self.assertEqual(self.code(), ["1"])

    def test_number(self) -> None:
        """
        The oldest answers give way to new ones, and requests that run to none.
        """
        self.serve(idempotency_keys=2)
        for key in "abc":
            self.keyed(KERNELS, {}, key)
        for key, count in (("c", 3), ("b", 3), ("a", 4), ("c", 4)):
            self.keyed(KERNELS, {}, key)
            self.assertEqual(self.count(), count, key)
        running = [self.keyed(key=key) for key in "de"]
        refused = self.keyed(key="f").response
        self.assertError(refused, 503)
        self.assertEqual(refused.headers["retry-after"], "1")
        self.assertEqual([each.received for each in running], [b"", b""])
        self.assertEqual(self.keyed(key="d").received, b"")

    def test_size(self) -> None:
        """
        So they do when they have too many bytes together; the latest one is kept, however large.
        """
        self.serve(idempotency_size=3000)
        for key in "ab":
            self.keyed(key=key)
            self.finish("x" * 2000)
        self.assertEqual(self.keyed(key="b").response.code, 200)
        self.assertEqual(self.keyed(key="a").received, b"")
        self.finish("x" * 4000)
        self.assertEqual(self.keyed(key="a").response.code, 200)
