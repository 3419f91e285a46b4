"""
Sessions, status and identity over HTTP.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from kgd import errors
from kgd.interfaces import IKernel, StartRequest
from kgd.testing.kernel_channels import FakeClient
from tests.support.api import UNKNOWN, APITestCase

NOTEBOOK = {"path": "a/b.ipynb", "type": "notebook", "name": "b"}
KEYS = ["id", "kernel", "name", "notebook", "path", "type"]


class SessionsAPITests(APITestCase):
    """
    ``/api/sessions``.
    """

    def setUp(self) -> None:
        super().setUp()
        self.serve(list_kernels=True)

    def create(self, **changes: Any) -> Any:
        """
        :return: The model of a new session.
        """
        response = self.request("POST", "/api/sessions", NOTEBOOK | changes)
        self.assertEqual(response.code, 201, response.body)
        return response.json

    def sessions(self) -> Any:
        """
        The listing.
        """
        return self.request("GET", "/api/sessions").json

    def kernel_ids(self) -> list[str]:
        """
        Of all kernels.
        """
        return [kernel.kernel_id for kernel in self.kernels.list()]

    def test_empty(self) -> None:
        """
        At first there is none.
        """
        self.assertEqual(self.sessions(), [])

    def test_listing_forbidden(self) -> None:
        """
        Sessions are listed when kernels are; everything else is allowed.
        """
        self.serve()
        self.assertError(self.request("GET", "/api/sessions"), 403, "Forbidden")
        session = self.create()
        self.assertEqual(self.request("GET", f"/api/sessions/{session['id']}").code, 200)

    def test_create(self) -> None:
        """
        A session comes with a kernel in its directory, is listed, and can be had alone.
        """
        self.serve(list_kernels=True, base_url="/b")
        response = self.request(
            "POST", "/b/api/sessions", NOTEBOOK | {"kernel": {"name": "Python"}}
        )
        self.assertEqual(response.code, 201)
        session = response.json
        self.assertEqual(response.headers["location"], f"/b/api/sessions/{session['id']}")
        self.assertEqual(sorted(session), KEYS)
        self.assertEqual(
            (session["path"], session["type"], session["name"]), ("a/b.ipynb", "notebook", "b")
        )
        self.assertEqual(session["notebook"], {"path": "a/b.ipynb", "name": "b"})
        self.assertEqual(session["kernel"]["name"], "python3")
        (kernel,) = self.kernels.list()
        self.assertEqual(self.kernels.get(kernel.kernel_id).request.path, "a/b.ipynb")
        self.assertEqual(self.request("GET", "/b/api/sessions").json, [session])
        self.assertEqual(self.request("GET", f"/b/api/sessions/{session['id']}").json, session)
        self.assertEqual(len(session["kernel"]["id"]), 36)
        self.assertEqual(session["kernel"]["id"].count("-"), 4)

    def test_other_types(self) -> None:
        """
        Type and path are kept as they are; a name that is missing is an empty one.
        """
        for kind in ("file", "console"):
            body = {"path": f"x {kind}", "type": kind}
            session = self.request("POST", "/api/sessions", body).json
            self.assertEqual(sorted(session), KEYS)
            self.assertEqual(
                (session["type"], session["path"], session["name"]), (kind, f"x {kind}", "")
            )

    def test_legacy_form(self) -> None:
        """
        In the old form a session is a notebook's; an id in the body is of no matter.
        """
        for notebook in ({"path": "anywhere"}, {"path": "x", "name": "anywhere"}):
            body = {"id": "any", "notebook": notebook, "kernel": {"name": "python"}}
            session = self.request("POST", "/api/sessions", body).json
            self.assertNotEqual(session["id"], "any")
            self.assertEqual((session["path"], session["type"]), ("anywhere", "notebook"))
            self.assertEqual(session["notebook"]["path"], "anywhere")
            self.assertEqual(self.request("DELETE", f"/api/sessions/{session['id']}").code, 204)

    def test_both_forms(self) -> None:
        """
        What is said in today's form counts; a client may send back a model that it has changed.
        """
        body = {"path": "new", "notebook": {"path": "old"}}
        session = self.request("POST", "/api/sessions", body).json
        self.assertEqual((session["path"], session["type"]), ("new", "notebook"))
        session["path"] = "newer"
        path = f"/api/sessions/{session['id']}"
        self.assertEqual(self.request("PATCH", path, session).json["path"], "newer")

    def test_known_path(self) -> None:
        """
        For a path that has a session, that is the answer, and no kernel is started.
        """
        first = self.create()
        again = self.create(type="console", kernel={"name": "python3"})
        self.assertEqual(again["id"], first["id"])
        self.assertEqual(again["type"], "notebook")
        self.assertEqual(len(self.kernels.list()), 1)

    def test_running_kernel(self) -> None:
        """
        Several sessions may share a kernel that runs already.
        """
        kernel_id = self.start()
        for path in ("a", "b"):
            session = self.create(path=path, kernel={"id": kernel_id, "name": "nonsense"})
            self.assertEqual(session["kernel"]["id"], kernel_id)
        self.assertEqual(self.kernel_ids(), [kernel_id])
        self.assertEqual(len(self.sessions()), 2)

    def test_free_kernel_id(self) -> None:
        """
        A kernel that does not run is started under the id.
        """
        session = self.create(kernel={"id": UNKNOWN, "name": "python3"})
        self.assertEqual(session["kernel"]["id"], UNKNOWN)
        self.assertEqual(self.request("GET", f"/api/kernels/{UNKNOWN}").code, 200)

    def test_no_room(self) -> None:
        """
        The limit holds for the kernels of sessions, too.
        """
        self.serve(max_kernels=1)
        self.create()
        response = self.request("POST", "/api/sessions", NOTEBOOK | {"path": "x"})
        self.assertError(response, 403, "Resource Limit")

    def test_forced_kernel(self) -> None:
        """
        A kernelspec that is forced upon clients is forced upon sessions.
        """
        self.serve(force_kernel_name="python3")
        self.assertEqual(self.create(kernel={"name": "fake"})["kernel"]["name"], "python3")

    def test_unknown_kernelspec(self) -> None:
        """
        A kernelspec that is not installed is a 501 that names it, in short, too; nothing is left.
        """
        response = self.request("POST", "/api/sessions", NOTEBOOK | {"kernel": {"name": "nope"}})
        self.assertEqual(response.code, 501)
        self.assertEqual(sorted(response.json), ["message", "reason", "short_message"])
        self.assertIn("'nope'", response.json["message"])
        self.assertEqual(response.json["short_message"], "nope not found")
        self.assertEqual((self.sessions(), self.kernel_ids()), ([], []))

    def test_kernel_that_does_not_start(self) -> None:
        """
        A kernel that cannot be started is a 500 with the reason; nothing is left.
        """
        self.kernels.error = errors.KernelStartFailed("no such file")
        response = self.request("POST", "/api/sessions", NOTEBOOK)
        self.assertError(response, 500, "no such file")
        self.assertEqual(self.sessions(), [])
        self.create()

    def test_unknown_default(self) -> None:
        """
        The kernelspec that is not installed is named also if the client did not name it.
        """
        for setting in ("default_kernel_name", "force_kernel_name"):
            self.serve(**{setting: "cobol"})
            response = self.request("POST", "/api/sessions", NOTEBOOK)
            self.assertEqual(response.code, 501)
            self.assertIn("'cobol'", response.json["message"])
            self.assertEqual(response.json["short_message"], "cobol not found")

    def test_bad_kernel_id(self) -> None:
        """
        A kernel is not started under an id that could not be asked for.
        """
        body = NOTEBOOK | {"kernel": {"id": "../x"}}
        response = self.request("POST", "/api/sessions", body)
        self.assertError(response, 400)
        self.assertIn("must look like a UUID", response.json["message"])

    def test_a_client_that_hangs_up(self) -> None:
        """
        What it asked for is done, so that its kernel has a session, and whoever asks for the path
        finds both.
        """
        started: Deferred[IKernel] = Deferred()
        start = self.kernels.start
        self.patch(self.kernels, "start", lambda request: started)
        body = b'{"path": "a", "type": "notebook"}'
        protocol = self.client.connect()
        protocol.dataReceived(b"POST /api/sessions HTTP/1.1\r\nHost: x\r\n")
        protocol.dataReceived(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        protocol.connectionLost(Failure(ConnectionLost()))
        self.assertFalse(started.called)
        start(StartRequest()).chainDeferred(started)
        (session,) = self.sessions()
        self.assertEqual(self.kernel_ids(), [session["kernel"]["id"]])
        self.assertEqual(self.create(path="a")["id"], session["id"])
        self.assertEqual(self.client.transport.value().count(b"HTTP/1.1"), 1)

    def test_incomplete(self) -> None:
        """
        What is missing is named.
        """
        post = ("POST", "/api/sessions")
        self.assertError(self.request(*post), 400, "No JSON data provided")
        self.assertError(self.request(*post, b"null"), 400, "No JSON data provided")
        self.assertError(self.request(*post, {}), 400, "Missing field in JSON data: path")
        self.assertError(
            self.request(*post, {"path": "a"}), 400, "Missing field in JSON data: type"
        )
        self.assertError(self.request(*post, b"{"), 400, "Invalid JSON in body of request")
        self.assertError(self.request(*post, []), 400)
        wrong: tuple[tuple[dict[str, Any], str], ...] = (
            ({"path": 1}, "path must be a string"),
            ({"type": []}, "type must be a string"),
            ({"name": {}}, "name must be a string"),
            ({"kernel": "x"}, "kernel must be an object"),
            ({"kernel": {"id": 1}}, "kernel.id must be a string"),
            ({"kernel": {"name": 1}}, "kernel.name must be a string"),
            ({"path": None, "notebook": "x"}, "notebook must be an object"),
        )
        for fields, text in wrong:
            self.assertError(self.request(*post, NOTEBOOK | fields), 400, text)
        self.assertEqual(self.kernel_ids(), [])

    def test_change(self) -> None:
        """
        Path, name and type can be changed, in the old form, too; an empty change changes nothing.
        """
        session = self.create()
        path = f"/api/sessions/{session['id']}"
        for body, expected in (
            ({}, {}),
            ({"path": "new"}, {"path": "new"}),
            ({"notebook": {"path": "old"}}, {"path": "old"}),
            ({"name": "n"}, {"name": "n"}),
            ({"type": "console"}, {"type": "console"}),
            ({"notebook": {}}, {}),
            ({"notebook": {"name": "x"}}, {}),
            ({"notebook": {"path": "p", "name": "x"}}, {"path": "p", "type": "notebook"}),
            ({"kernel": {}}, {}),
            ({"kernel": None}, {}),
        ):
            response = self.request("PATCH", path, body)
            self.assertEqual(response.code, 200, response.body)
            session |= expected
            session["notebook"] = {"path": session["path"], "name": session["name"]}
            self.assertEqual(response.json, session)
        self.assertEqual(self.sessions(), [session])

    def test_change_kernel_by_name(self) -> None:
        """
        With the name of a kernelspec, even of the same, the session gets a new kernel, and its old
        one is gone.
        """
        session = self.create()
        response = self.request(
            "PATCH", f"/api/sessions/{session['id']}", {"kernel": {"name": "python3"}}
        )
        self.assertEqual(response.code, 200)
        self.assertNotEqual(response.json["kernel"]["id"], session["kernel"]["id"])
        self.assertEqual(response.json["path"], session["path"])
        self.assertEqual(self.kernel_ids(), [response.json["kernel"]["id"]])

    def test_change_kernel_by_id(self) -> None:
        """
        With the id of a kernel that runs, that is the session's, and its old one is gone; the name
        of a kernelspec beside it is of no matter.
        """
        session = self.create()
        kernel_id = self.start()
        body = {"kernel": {"id": kernel_id, "name": "nope"}}
        response = self.request("PATCH", f"/api/sessions/{session['id']}", body)
        self.assertEqual(response.json["kernel"]["id"], kernel_id)
        self.assertEqual(self.kernel_ids(), [kernel_id])
        again = self.request("PATCH", f"/api/sessions/{session['id']}", body)
        self.assertEqual(again.json["kernel"]["id"], kernel_id)
        self.assertEqual(self.kernel_ids(), [kernel_id])

    def test_shared_kernel_stays(self) -> None:
        """
        A kernel that another session uses is not stopped when one gets another.
        """
        kernel_id = self.start()
        first = self.create(path="a", kernel={"id": kernel_id})
        self.create(path="b", kernel={"id": kernel_id})
        self.request("PATCH", f"/api/sessions/{first['id']}", {"kernel": {"name": "python3"}})
        self.assertIn(kernel_id, self.kernel_ids())
        self.assertEqual(len(self.kernel_ids()), 2)

    def test_change_refused(self) -> None:
        """
        What cannot be done is refused, and nothing changes.
        """
        session = self.create()
        path = f"/api/sessions/{session['id']}"
        self.assertError(self.request("PATCH", path), 400, "No JSON data provided")
        self.assertError(
            self.request("PATCH", path, {"kernel": {"id": UNKNOWN}}),
            400,
            f"No such kernel: {UNKNOWN}",
        )
        response = self.request("PATCH", path, {"kernel": {"name": "nope"}})
        self.assertEqual(response.code, 501)
        self.assertEqual(response.json["short_message"], "Error starting kernel nope")
        self.assertEqual(self.sessions(), [session])
        unknown = self.request("PATCH", f"/api/sessions/{UNKNOWN}", {"path": "x"})
        self.assertError(unknown, 404)

    def test_delete(self) -> None:
        """
        With a session its kernel goes, even when others share it; then these go, too.
        """
        kernel_id = self.start()
        first = self.create(path="a", kernel={"id": kernel_id})
        second = self.create(path="b", kernel={"id": kernel_id})
        response = self.request("DELETE", f"/api/sessions/{first['id']}")
        self.assertEqual((response.code, response.body), (204, b""))
        self.assertEqual((self.sessions(), self.kernel_ids()), ([], []))
        for session in (first, second):
            response = self.request("GET", f"/api/sessions/{session['id']}")
            self.assertError(response, 404)
            self.assertIn("Session not found", response.json["message"])

    def test_unknown(self) -> None:
        """
        A session that there is not is a 404; an id of another form is no route.
        """
        self.assertError(self.request("GET", f"/api/sessions/{UNKNOWN}"), 404)
        self.assertError(self.request("DELETE", f"/api/sessions/{UNKNOWN}"), 404)
        self.assertError(self.request("GET", "/api/sessions/nonsense"), 404, "")

    def test_kernel_gone(self) -> None:
        """
        A session goes with its kernel, however that goes; its path is free again.
        """
        session = self.create()
        self.request("DELETE", f"/api/kernels/{session['kernel']['id']}")
        self.assertEqual(self.sessions(), [])
        self.assertError(self.request("GET", f"/api/sessions/{session['id']}"), 404)
        again = self.create()
        self.assertNotEqual(again["id"], session["id"])
        self.kernels.crash(again["kernel"]["id"])
        self.assertError(self.request("GET", f"/api/sessions/{again['id']}"), 404)
        third = self.create()
        self.kernels.crash(third["kernel"]["id"])
        self.assertEqual(self.request("DELETE", f"/api/sessions/{third['id']}").code, 204)
        self.assertError(self.request("DELETE", f"/api/sessions/{third['id']}"), 404)

    def test_restart_keeps_the_session(self) -> None:
        """
        A restart is nothing to a session.
        """
        session = self.create()
        kernel_id = session["kernel"]["id"]
        channels = self.kernels.get(kernel_id).channels
        client = FakeClient()
        attachment = channels.attach("a", client)
        self.assertEqual(self.sessions()[0]["kernel"]["connections"], 1)
        self.request("POST", f"/api/kernels/{kernel_id}/restart")
        attachment.detach(client)
        self.assertEqual(self.sessions()[0]["kernel"]["connections"], 0)
        channels.attach("a", client)
        (after,) = self.sessions()
        self.assertEqual(after["kernel"]["connections"], 1)
        self.assertEqual((after["id"], after["kernel"]["id"]), (session["id"], kernel_id))


class StatusTests(APITestCase):
    """
    ``/api/status``.
    """

    def test_fresh(self) -> None:
        """
        At first nothing is going on.
        """
        response = self.request("GET", "/api/status")
        self.assertEqual(response.code, 200)
        self.assertEqual(
            sorted(response.json), ["connections", "kernels", "last_activity", "started"]
        )
        self.assertEqual((response.json["connections"], response.json["kernels"]), (0, 0))
        for stamp in ("last_activity", "started"):
            self.assertRegex(response.json[stamp], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")

    def test_counts(self) -> None:
        """
        Kernels and WebSockets are counted.
        """
        kernel_id = self.start()
        for name in ("a", "b"):
            client: Any = object()
            self.kernels.get(kernel_id).channels.attach(name, client)
        status = self.request("GET", "/api/status").json
        self.assertEqual((status["kernels"], status["connections"]), (1, 2))

    def test_activity(self) -> None:
        """
        Requests count as activity, but for those that only look whether the gateway is there, and
        those that say that they do not; what kernels do counts, too.
        """

        def last() -> str:
            return str(self.request("GET", "/api/status").json["last_activity"])

        before = last()
        for path in (
            "/api", "/api/swagger.json", "/api/swagger.yaml", "/healthz", "/readyz", "/metrics",
            "/api/openapi.json", "/api/docs", "/api/docs/docs.js", "/nope",
            "/api/kernelspecs?no_track_activity=1", "/api/kernelspecs?x=1&no_track_activity=true",
            f"/api/kernels/{UNKNOWN}?no_track_activity=",
        ):  # fmt: skip
            self.request("GET", path)
            self.request("OPTIONS", path)
            self.assertEqual(last(), before, path)
        self.request("GET", "/api/kernelspecs")
        after = last()
        self.assertGreater(after, before)
        kernel_id = self.start()
        self.kernels.get(kernel_id).last_activity = 4_000_000_000.0
        self.assertTrue(last().startswith("2096-10-02T"))
        self.kernels.crash(kernel_id)
        self.assertTrue(last().startswith("2096-10-02T"), "it does not go back")

    def test_refused_requests_are_no_activity(self) -> None:
        """
        Who has no token cannot keep a gateway from looking unused.
        """
        self.serve(auth_token="t")
        before = self.request("GET", "/api/status?token=t").json["last_activity"]
        self.request("GET", "/api/kernelspecs")
        after = self.request("GET", "/api/status?token=t").json["last_activity"]
        self.assertEqual(after, before)


class MeTests(APITestCase):
    """
    ``/api/me``.
    """

    def test_identity(self) -> None:
        """
        Everybody is the same, and may do everything.
        """
        answer = self.request("GET", "/api/me").json
        self.assertEqual(sorted(answer), ["identity", "permissions"])
        self.assertEqual(
            sorted(answer["identity"]),
            ["avatar_url", "color", "display_name", "initials", "name", "username"],
        )
        self.assertEqual(answer["identity"]["username"], "anonymous")
        asked = "%7B%22kernels%22:[%22read%22,%22write%22]%7D"
        permissions = self.request("GET", f"/api/me?permissions={asked}").json["permissions"]
        self.assertEqual(permissions, {"kernels": ["read", "write"], "updatable_fields": []})

    def test_nonsense(self) -> None:
        """
        Permissions of another form are refused.
        """
        for asked in ("", "[]", "%22abc%22", "%7B%22a%22:1%7D", "%7B%22a%22:[1]%7D", "%FF"):
            response = self.request("GET", f"/api/me?permissions={asked}")
            self.assertError(response, 400)
            self.assertIn("permissions should be a JSON dict", response.json["message"])

    def test_change(self) -> None:
        """
        Nobody can change who they are.
        """
        self.assertError(self.request("PATCH", "/api/me", {"name": "x"}), 501)


class MetricsTests(APITestCase):
    """
    ``/metrics`` and ``/healthz``.
    """

    def metrics(self) -> dict[str, float]:
        """
        :return: Name and labels to value.
        """
        response = self.request("GET", "/metrics")
        self.assertEqual(response.code, 200)
        self.assertEqual(
            response.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8"
        )
        lines = response.body.decode().splitlines()
        pairs = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
        return {name: float(value) for name, value in pairs}

    def test_kernels(self) -> None:
        """
        The kernels that run are counted, whatever became of others.
        """
        for _ in range(3):
            self.start()
        first, second, _ = self.kernels.list()
        self.request("DELETE", f"/api/kernels/{first.kernel_id}")
        self.kernels.crash(second.kernel_id)
        metrics = self.metrics()
        self.assertEqual(metrics['kernel_currently_running_total{type="python3"}'], 1)
        self.assertEqual(
            metrics['kgd_kernels{execution_state="starting",kernel_name="python3"}'], 1
        )
        self.assertEqual(metrics["kgd_websocket_connections"], 0)
        self.assertGreater(metrics["jupyter_server_started_timestamp_seconds"], 1e9)
        self.assertGreaterEqual(metrics["jupyter_server_active_duration_seconds"], 0)
        self.assertIn("process_resident_memory_bytes", metrics)
        # But for the requests with which they were asked for.
        self.assertLessEqual(metrics.keys(), self.metrics().keys())

    def test_token(self) -> None:
        """
        Metrics need the token, health does not.
        """
        self.serve(auth_token="t")
        self.assertError(self.request("GET", "/metrics"), 401)
        self.assertEqual(self.request("GET", "/metrics?token=t").code, 200)
        self.assertEqual(self.request("GET", "/healthz").body, b"ok\n")
