"""
What can be seen of notebook_http from outside, and its end in good order.
"""

from __future__ import annotations

import json
import signal
from pathlib import Path

from tests.support.gateway import children_of, http, until
from tests.support.metrics import read_metrics
from tests.support.notebook_gateway import HI, SETUP, NotebookTestCase
from tests.support.notebooks import python_notebook

WAIT = "# GET /wait\nwait()\nprint('waited')"


class DrainTests(NotebookTestCase):
    """
    Draining.
    """

    async def test_drain(self) -> None:
        """
        Requests that run, and those that wait for a kernel, are answered; new ones are refused, and
        the gateway ends with 0 after the last answer.
        """
        gateway = await self.serve(WAIT, HI)
        self.assertEqual((await self.get("/readyz")).body, b"ok\n")
        valve = self.valve()
        running = await self.running(valve)
        queued = self.asking("/hi")
        metrics = await self.queued()
        self.assertEqual(metrics['kgd_notebook_workers{notebook="/",state="busy"}'], 1)
        self.assertEqual(metrics['kgd_notebook_workers{notebook="/",state="free"}'], 0)
        gateway.kill(signal.SIGUSR1)
        await until(lambda: "draining: " in gateway.output, "it is drained")
        # That is for the operator only, unless it is switched on.
        self.assertEqual((await http(gateway.port, "POST", "/api/drain")).code, 404)
        ready = await self.get("/readyz")
        self.assertEqual((ready.code, ready.body), (503, b"not ready\n"))
        self.assertEqual((await self.get("/healthz")).code, 200)
        refused = await self.get("/hi")
        self.assertEqual(refused.code, 503)
        self.assertIn("is draining", refused.json["message"])
        self.assertIn("retry-after", refused.headers)
        valve.open()
        for answer, body in ((running, b"waited\n"), (queued, b"hi\n")):
            response = await answer
            self.assertEqual((response.code, response.body), (200, body))
        self.assertEqual(await gateway.ended(), 0, gateway.output)
        self.assertNotIn("Traceback", gateway.output)

    async def test_own_paths(self) -> None:
        """
        A notebook may have the gateway's paths to itself.
        """
        await self.serve("# GET /readyz\nprint('mine')", "# GET /metrics\nprint('mine, too')")
        self.assertEqual((await self.get("/readyz")).body, b"mine\n")
        self.assertEqual((await self.get("/metrics")).body, b"mine, too\n")
        self.assertEqual((await self.get("/healthz")).body, b"ok\n")


class WatchTests(NotebookTestCase):
    """
    Metrics, ids, the audit log, and no secrets in any of them.
    """

    async def test_seen(self) -> None:
        """
        Requests are counted by endpoint and status, not by path; they have ids, and are written
        down, with code if that is wanted. The token is nowhere, neither for the notebook's code.
        """
        token = "right-s3cret+token"
        audit = self.home / "audit.log"
        cells = (
            "# GET /say/:what\nprint(REQUEST)",
            "# GET /env/:what\nprint(dict(os.environ))",
            "# GET /fail\n1 / 0",
        )
        path = self.write(python_notebook(SETUP, *cells))
        gateway = await self.gateway(
            "--api=notebook_http",
            f"--seed-uri={path}",
            f"--audit-log={audit}",
            "--audit-code",
            "--access-log",
            "--log-level=debug",
            env={"KG_AUTH_TOKEN": token},
        )
        self.port = gateway.port
        auth = {"Authorization": f"token {token}", "X-Request-Id": "mine-1"}
        self.assertEqual((await self.get("/metrics")).code, 401)
        quoted = token.replace("+", "%2B")
        bodies = []
        for target, headers, code in (
            ("/say/a", auth, 200),
            ("/say/b", {"X-Request-Id": "mine-1"}, 401),
            (f"/say/c?token={quoted}", {"Referer": f"http://x/?token={quoted}"}, 200),
            ("/say/d?token=wrong-s3cret", {}, 401),
            ("/env/x", auth, 200),
            ("/fail", auth, 500),
        ):
            response = await self.get(target, headers=headers)
            self.assertEqual(response.code, code, target)
            if "X-Request-Id" in headers:
                self.assertEqual(response.headers["x-request-id"], "mine-1")
            bodies.append(response.body.decode())
        served = (await self.get("/metrics", headers=auth)).body.decode()
        metrics = read_metrics(served)
        for handler, code, count in (
            ("/say/:what", 200, 2),
            ("/env/:what", 200, 1),
            ("/fail", 500, 1),
            ("unknown", 401, 3),
        ):
            labels = f'handler="{handler}",method="GET",status_code="{code}"'
            self.assertEqual(metrics[f"http_request_duration_seconds_count{{{labels}}}"], count)
        self.assertEqual(metrics['kgd_kernel_start_seconds_count{kernel_name="python3"}'], 1)
        self.assertGreater(metrics['kgd_kernel_bytes_total{direction="to_kernels"}'], 500)
        self.assertEqual(metrics['kgd_attachments{state="present"}'], 0, "they are our own")
        (kernel,) = children_of(gateway.transport.pid)  # type: ignore[union-attr]
        seen = [Path(f"/proc/{kernel}/{name}").read_text() for name in ("environ", "cmdline")]
        await gateway.stop()
        events = [json.loads(line) for line in audit.read_text().splitlines()]
        self.assertEqual((events[0]["event"], events[0]["by"]), ("kernel_started", "gateway"))
        executed = [each for each in events if each["event"] == "executed"]
        self.assertEqual(
            [(each["endpoint"], each["code"].rstrip()) for each in executed],
            [
                ("/say/:what", cells[0]),
                ("/say/:what", cells[0]),
                ("/env/:what", cells[1]),
                ("/fail", cells[2]),
            ],
        )
        self.assertEqual((executed[0]["request_id"], executed[0]["peer"]), ("mine-1", "127.0.0.1"))
        self.assertEqual({each["kernel_id"] for each in executed}, {events[0]["kernel_id"]})
        self.assertIn("[request mine-1]", gateway.output)
        for text in (*bodies, *seen, served, audit.read_text(), gateway.output):
            self.assertNotIn("s3cret", text)
