"""
What can be seen of a gateway from outside: health, draining, request ids, metrics, access log.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from kgd.errors import NoSuchKernel, Unavailable
from kgd.interfaces import CULLED_PREFIX, ExitStatus, StartRequest
from kgd.observability.counters import MOST_KINDS_OF_REQUESTS, OTHER, Counters, Histogram
from kgd.observability.logs import set_level
from kgd.observability.reactor_lag import INTERVAL, LagMeter
from kgd.personalities.notebook_http.notebook import metrics_of
from kgd.settings import Settings
from kgd.shutdown import Draining
from tests.support.api import UNKNOWN, APITestCase
from tests.support.kernel_rig import Case, Rig
from tests.support.metrics import read_metrics

DASHBOARD = Path(__file__).parents[4] / "etc" / "grafana" / "kgd.json"


class HealthTests(APITestCase):
    """
    ``/healthz`` and ``/readyz``.
    """

    def test_public(self) -> None:
        """
        Both are for everybody, with or without a token, and say no more than that.
        """
        self.serve(auth_token="t")
        for path in ("/healthz", "/readyz"):
            for query in ("", "?token=wrong"):
                response = self.request("GET", path + query, Origin="http://elsewhere")
                self.assertEqual((response.code, response.body), (200, b"ok\n"))
            self.assertEqual(self.request("HEAD", path).code, 200)
            self.assertError(self.request("POST", path, {}), 405)

    def test_draining(self) -> None:
        """
        A gateway that is drained is not ready, but lives. It begins no kernels or sessions, says so
        with a time after which to ask again, and serves those that there are.
        """
        self.serve(auth_token="t", max_kernels=2, drain_endpoint=True)
        kernel_id = self.start_with_token({})
        session = {"path": "a", "type": "notebook", "kernel": {"id": kernel_id}}
        self.assertEqual(self.request("POST", "/api/sessions?token=t", session).code, 201)
        self.assertError(self.request("POST", "/api/drain"), 401)
        self.assertEqual(self.request("GET", "/readyz").code, 200)
        response = self.request("POST", "/api/drain?token=t")
        self.assertEqual((response.code, response.json), (202, {"draining": True, "kernels": 1}))
        self.kernels.drain()
        ready = self.request("GET", "/readyz")
        self.assertEqual((ready.code, ready.body), (503, b"not ready\n"))
        self.assertEqual(self.request("GET", "/healthz").code, 200)
        bodies: list[tuple[str, Any]] = [
            ("/api/kernels", {}),
            ("/api/sessions", {"path": "b", "type": "notebook", "kernel": {"name": "python3"}}),
            ("/api/sessions", {"path": "b", "type": "notebook", "kernel": {"id": kernel_id}}),
        ]
        for path, body in bodies:
            response = self.request("POST", path + "?token=t", body)
            self.assertError(response, 503)
            self.assertIn("is draining", response.json["message"])
            self.assertGreater(int(response.headers["retry-after"]), 0)
        for method, path, content, code in (
            ("GET", f"/api/kernels/{kernel_id}", None, 200),
            ("POST", f"/api/kernels/{kernel_id}/restart", {}, 200),
            ("POST", "/api/kernels", {"kernel_id": kernel_id}, 201),
            ("POST", "/api/sessions", session, 201),
            ("DELETE", f"/api/kernels/{kernel_id}", None, 204),
        ):
            self.assertEqual(self.request(method, path + "?token=t", content).code, code, path)

    def test_draining_full(self) -> None:
        """
        A gateway without room says that it is drained, not that there is no room.
        """
        self.serve(max_kernels=0)
        self.assertError(self.request("POST", "/api/kernels", {}), 403)
        self.parts.draining.ask()
        self.kernels.drain()
        self.assertError(self.request("POST", "/api/kernels", {}), 503)

    def test_endpoint_is_off(self) -> None:
        """
        Unless the operator wants it, clients cannot drain the gateway, whatever they send; the path
        is that of nothing, and nothing describes it.
        """
        self.serve(auth_token="t")
        for method in ("POST", "GET", "PUT", "DELETE"):
            for query in ("", "?token=t"):
                self.assertError(self.request(method, f"/api/drain{query}", {}), 404)
        self.assertNotIn("allow", self.request("OPTIONS", "/api/drain").headers)
        self.assertFalse(self.parts.draining.is_on)
        for document in ("/api/swagger.json", "/api/swagger.yaml", "/api/openapi.json"):
            self.assertNotIn(b"drain", self.request("GET", document).body)

    def start_with_token(self, body: Any) -> str:
        """
        :return: The id of a new kernel.
        """
        return str(self.request("POST", "/api/kernels?token=t", body).json["id"])


class DrainingTests(SynchronousTestCase):
    """
    Draining the kernels themselves.
    """

    def test_ask(self) -> None:
        """
        Whoever waits is told once, whoever comes later at once.
        """
        draining = Draining()
        first = draining.when_asked()
        draining.check()
        draining.ask()
        draining.ask()
        self.successResultOf(first)
        self.successResultOf(draining.when_asked())
        self.assertRaises(Unavailable, draining.check)


class RegistryTests(Case):
    """
    What the registry has to do with all that.
    """

    def test_drain(self) -> None:
        """
        It refuses new kernels, lets those go on that there are, and is drained when the last one
        has gone. One that dies meanwhile is started again.
        """
        kernel = self.ready()
        drained = self.kernels.drain()
        self.failureResultOf(self.kernels.start(StartRequest()), Unavailable)
        again = self.kernels.start(StartRequest(kernel_id=kernel.kernel_id))
        self.assertIs(self.successResultOf(again), kernel)
        self.crash()
        self.rig.pass_time(0.1, 0.5)
        self.assertEqual(len(self.launcher.alive), 1)
        self.assertNoResult(drained)
        stopping = self.kernels.stop(kernel.kernel_id)
        self.rig.process.end()
        self.successResultOf(stopping)
        self.successResultOf(drained)
        self.successResultOf(self.kernels.drain())
        self.assert_nothing_left()

    def test_drain_spare(self) -> None:
        """
        Spare kernels, which nobody will get any more, are stopped, and not waited for.
        """
        rig = Rig(Settings(prespawn_count=1))
        rig.kernels.prespawn()
        (spare,) = rig.kernels.spare()
        rig.relay.opened[spare.kernel_id].answer()
        self.successResultOf(rig.kernels.drain())
        rig.process.end()
        rig.pass_time(5, 5)
        self.assertTrue(spare.stopping)
        self.assertEqual((rig.kernels.spare(), rig.launcher.alive), ((), []))

    def test_starts(self) -> None:
        """
        It measures how long kernels take to be of use, and counts those that never are, and those
        that are gone, unless somebody stopped them.
        """
        counters = self.rig.counters
        first = self.start()
        self.rig.pass_time(2)
        self.channels.answer()
        self.assertEqual(
            (sum(counters.starts["python3"].counts), counters.starts["python3"].total), (1, 2)
        )
        self.start()
        self.rig.pass_time(31, 31)
        self.assertEqual(
            (counters.failed_starts, counters.deaths), ({"python3": 1}, {"python3": 1})
        )
        third = self.start()
        self.assertEqual(counters.revivals, {})
        self.rig.process.end(ExitStatus(signal=9))
        self.assertEqual(counters.revivals, {"python3": 1})
        self.rig.pass_time(1)
        for kernel in (first, third):
            self.kernels.stop(kernel.kernel_id)
        for process in self.launcher.alive:
            process.end()
        self.assertEqual(
            (counters.failed_starts, counters.deaths), ({"python3": 1}, {"python3": 1})
        )

    def test_audit(self) -> None:
        """
        What somebody does to a kernel is written down once, and what is done to none is not.
        """
        ours = self.ready().kernel_id
        self.kernels.interrupt(ours)
        self.kernels.restart(ours)
        self.rig.process.end()
        self.kernels.start(StartRequest(kernel_id=ours))
        for method in (self.kernels.interrupt, self.kernels.restart, self.kernels.stop):
            self.failureResultOf(method(UNKNOWN), NoSuchKernel)
        self.kernels.stop(ours, f"{CULLED_PREFIX}: it is old")
        self.failureResultOf(self.kernels.stop(ours), NoSuchKernel)
        other = self.start().kernel_id
        self.kernels.stop_all()
        self.rig.process.end()
        self.assertEqual(
            self.rig.audit.records,
            [
                ("kernel_started", ours),
                ("kernel_interrupted", ours),
                ("kernel_restarted", ours),
                ("kernel_culled", ours),
                ("kernel_started", other),
                ("kernel_stopped", other),
            ],
        )


class RequestIdTests(APITestCase):
    """
    What a request is called.
    """

    def test_made(self) -> None:
        """
        Every answer has an id of its own, whatever became of the request.
        """
        self.serve(auth_token="t", max_body_size=10)
        ids = {
            self.request(method, path, body).headers["x-request-id"]
            for method, path, body in (
                ("GET", "/api?token=t", None),
                ("GET", "/api", None),
                ("GET", "/nope", None),
                ("OPTIONS", "/api", None),
                ("POST", "/api/kernels?token=t", b"x" * 11),
                ("DELETE", f"/api/kernels/{UNKNOWN}?token=t", None),
            )
        }
        self.assertEqual(len(ids), 6)

    def test_given(self) -> None:
        """
        A client's own is taken if it is short and harmless.
        """
        for given, is_taken in (
            ("abc-1.2_3:4/5", True),
            ("a" * 64, True),
            ("a" * 65, False),
            ("a b", False),
            ("<script>", False),
            ("\xe9", False),
            ("", False),
        ):
            response = self.request("GET", "/api", X_Request_Id=given)
            self.assertEqual(response.headers["x-request-id"] == given, is_taken, given)


class AccessLogTests(APITestCase):
    """
    A line for each request, if that is wanted.
    """

    def lines(self, level: str = "info", **settings: Any) -> list[tuple[str, int, bool]]:
        """
        :return: Level and status of what is logged, and whether it has the id of its request.
        """
        seen: list[Any] = []
        self.serve(**settings)
        set_level(level)
        self.addCleanup(set_level, "info")
        globalLogPublisher.addObserver(seen.append)  # type: ignore[arg-type]
        try:
            self.request("GET", "/api?token=abc", X_Request_Id="r1")
            self.request("GET", "/nope", X_Request_Id="r1")
            self.kernels.error = RuntimeError("a defect")
            self.request("POST", "/api/kernels", {}, X_Request_Id="r1")
        finally:
            globalLogPublisher.removeObserver(seen.append)  # type: ignore[arg-type]
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertNotIn("abc", str([each.get("uri") for each in seen]))
        failures = [each for each in seen if "log_failure" in each]
        self.assertEqual([each["request_id"] for each in failures], ["r1"])
        return [
            (each["log_level"].name, each["code"], each["request_id"] == "r1")
            for each in seen
            if "code" in each
        ]

    def test_default(self) -> None:
        """
        Without an option only what failed is logged, and the rest with --log-level=debug.
        """
        failed = [("info", 404, True), ("warn", 500, True)]
        self.assertEqual(self.lines(), failed)
        self.assertEqual(self.lines("debug"), [("debug", 200, True), *failed])

    def test_on(self) -> None:
        """
        With --access-log, everything is.
        """
        self.assertEqual(
            self.lines(access_log=True),
            [("info", 200, True), ("info", 404, True), ("warn", 500, True)],
        )

    def test_off(self) -> None:
        """
        With --no-access-log, nothing is.
        """
        self.assertEqual(self.lines("debug", access_log=False), [])

    def test_long(self) -> None:
        """
        Of a long URI, only the beginning is searched for secrets and shown.
        """
        self.serve()
        seen: list[Any] = []
        globalLogPublisher.addObserver(seen.append)  # type: ignore[arg-type]
        self.addCleanup(globalLogPublisher.removeObserver, seen.append)  # type: ignore[arg-type]
        self.request("GET", "/nope/" + "//a@" * 3000)
        self.request("GET", "/nope/" + "secret" * 1000)
        first, second = (each["uri"] for each in seen if "uri" in each)
        self.assertLess(len(first), 6000)
        self.assertEqual(second, "/nope/...")


class MetricsTests(APITestCase):
    """
    ``/metrics``, beyond what there is of kernels.
    """

    def metrics(self, query: str = "") -> dict[str, float]:
        """
        What is served.
        """
        response = self.request("GET", "/metrics" + query)
        self.assertEqual(response.code, 200, response.body)
        return read_metrics(response.body.decode())

    def test_requests(self) -> None:
        """
        Requests are counted by method, pattern and status, never by path; nobody who has no token
        can make up new kinds.
        """
        self.serve(auth_token="t")
        for number in range(20):
            self.request("GET", f"/api/kernels/{number}-2-3-4-5?token=t")
            self.request("GET", f"/api/kernels/{number}-2-3-4-5")
            self.request(f"M{number}", f"/nope/{number}")
        found = {name for name in self.metrics("?token=t") if "_seconds_count{" in name}
        self.assertEqual(
            {name for name in found if name.startswith("http_")},
            {
                f'http_request_duration_seconds_count{{handler="{handler}",method="{method}",'
                f'status_code="{code}"}}'
                for handler, method, code in (
                    ("/api/kernels/<kernel_id>", "GET", 404),
                    ("unknown", "GET", 401),
                    ("unknown", "other", 404),
                )
            },
        )

    def test_switched_off(self) -> None:
        """
        Without metrics there is nothing under the path.
        """
        self.serve(metrics=False)
        self.assertError(self.request("GET", "/metrics"), 404)

    def test_public(self) -> None:
        """
        They need no token if the operator says so.
        """
        self.serve(metrics_public=True, auth_token="t")
        self.assertIn("kgd_draining", self.metrics())
        self.assertError(self.request("GET", "/api/kernels"), 401)

    def test_counted(self) -> None:
        """
        What was counted is shown.
        """
        counters = self.parts.counters
        counters.to_clients.add(100)
        counters.slow.add(7)
        counters.kernel_started("python3", 0.3)
        counters.kernel_started("python3", 400.0)
        counters.failed_starts["python3"] += 1
        counters.lag.observe(0.004)
        self.parts.draining.ask()
        metrics = self.metrics()
        for name, value in (
            ('kgd_websocket_bytes_total{direction="to_clients"}', 100),
            ('kgd_websocket_messages_total{direction="to_clients"}', 1),
            ('kgd_dropped_bytes_total{reason="slow"}', 7),
            ('kgd_dropped_messages_total{reason="away"}', 0),
            ('kgd_kernel_start_seconds_bucket{kernel_name="python3",le="0.25"}', 0),
            ('kgd_kernel_start_seconds_bucket{kernel_name="python3",le="0.5"}', 1),
            ('kgd_kernel_start_seconds_bucket{kernel_name="python3",le="+Inf"}', 2),
            ('kgd_kernel_start_seconds_sum{kernel_name="python3"}', 400.3),
            ('kgd_kernel_failed_starts_total{kernel_name="python3"}', 1),
            ('kgd_kernel_restarts_total{kernel_name="python3"}', 0),
            ('kgd_kernel_deaths_total{kernel_name="python3"}', 0),
            ("kgd_reactor_lag_seconds_count", 1),
            ("kgd_draining", 1),
        ):
            self.assertEqual(metrics[name], value, name)

    def test_none(self) -> None:
        """
        Of kernelspecs that have been used, and of spare kernels that there should be, it is said
        that there is none.
        """
        self.serve(prespawn_count=1, prespawn={"other": 2})
        self.parts.counters.kernel_started("python3", 0.3)
        metrics = self.metrics()
        for name in (
            'kernel_currently_running_total{type="python3"}',
            'kgd_kernels{execution_state="idle",kernel_name="python3"}',
            'kgd_spare_kernels{execution_state="idle",kernel_name="python3"}',
            'kgd_spare_kernels{execution_state="idle",kernel_name="other"}',
        ):
            self.assertEqual(metrics[name], 0)
        self.start()
        metrics = self.metrics()
        self.assertEqual(metrics['kernel_currently_running_total{type="python3"}'], 1)

    def test_dashboard(self) -> None:
        """
        Every query of the dashboard asks for metrics that there are, with labels that they have,
        and every metric of ours is asked for.
        """
        self.start()
        self.parts.counters.kernel_started("python3", 1.0)
        self.request("GET", "/api")
        served = self.request("GET", "/metrics").body.decode()
        labels: dict[str, set[str]] = {}
        for name in read_metrics(served):
            base, _, rest = name.partition("{")
            labels.setdefault(base, set()).update(re.findall(r'(\w+)="', rest))
        # Those without values at the moment, and those of notebooks.
        labels["kgd_spare_kernels"] = labels["kgd_kernels"]
        for family in metrics_of([]):
            labels[family.name] = set(family._labelnames)
        dashboard = json.loads(DASHBOARD.read_text())
        queries = [
            target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())
        ]
        self.assertGreater(len(queries), 20)
        asked: set[str] = set()
        for query in queries:
            names = re.findall(r"\b(?:kgd|http|kernel|jupyter|process)_\w+(?=\{)", query)
            self.assertTrue(names, query)
            for name in names:
                self.assertIn(name, labels, query)
                wanted = set(re.findall(r"(\w+)=~?\"", query)) - {"job", "instance"}
                for by in re.findall(r"by \(([^)]*)\)", query):
                    wanted |= {label.strip() for label in by.split(",")}
                self.assertLessEqual(wanted, labels[name] | {"le"}, query)
            asked.update(re.sub("_(bucket|count|sum)$", "", name) for name in names)
        ours = {re.sub("_(bucket|count|sum)$", "", name) for name in labels}
        ours = {name for name in ours if name.startswith("kgd_")}
        self.assertEqual(ours - asked, set())
        identities = [panel["id"] for panel in dashboard["panels"]]
        self.assertEqual(len(identities), len(set(identities)))


class TallyTests(SynchronousTestCase):
    """
    Counting.
    """

    def test_histogram(self) -> None:
        """
        A bound belongs to the range below it.
        """
        histogram = Histogram((1.0, 2.0))
        for value in (0.5, 1.0, 1.5, 3.0):
            histogram.observe(value)
        self.assertEqual((histogram.counts, histogram.total), ([2, 1, 1], 6.0))

    def test_bounded(self) -> None:
        """
        However many endpoints and statuses notebooks make up, memory is not filled with them.
        """
        counters = Counters()
        for number in range(2 * MOST_KINDS_OF_REQUESTS):
            counters.request_answered("GET", f"/{number}", 200, 0.1)
        self.assertEqual(len(counters.requests), MOST_KINDS_OF_REQUESTS + 1)
        others = counters.requests[OTHER, OTHER, 0]
        self.assertEqual(sum(others.counts), MOST_KINDS_OF_REQUESTS)

    def test_lag(self) -> None:
        """
        What is measured is the time after that at which the reactor should have called.
        """
        clock, counters, late = Clock(), Counters(), [0.0]
        meter = LagMeter(clock, counters, lambda: clock.seconds() + late[0])
        meter.start()
        clock.advance(INTERVAL)
        late[0] = 0.3
        clock.advance(INTERVAL)
        meter.stop()
        meter.stop()
        self.assertEqual(clock.getDelayedCalls(), [])
        self.assertEqual(sum(counters.lag.counts), 2)
        self.assertAlmostEqual(counters.lag.total, 0.3)
