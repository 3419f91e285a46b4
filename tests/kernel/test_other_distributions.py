"""
The examples that are programs of their own: a personality in its distribution, and an application
with gateways in it. All with the real ipykernel.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from typing import Any
from urllib.parse import quote

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.utils import getProcessOutputAndValue

from tests.support.gateway import (
    DAEMONIZE,
    ROOT,
    GatewayProcess,
    GatewayTestCase,
    http,
    pause,
    stdout,
    until,
)

TOKEN = {"Authorization": "token tok"}


class PersonalityTests(GatewayTestCase):
    """
    ``etc/personality_example``, installed.
    """

    async def python(self, *argv: str, **more: Any) -> str:
        """
        Run Python; what it prints is returned.
        """
        out, err, code = await getProcessOutputAndValue(
            sys.executable, argv, reactor=reactor, **more
        )
        self.assertEqual(code, 0, (out + err).decode())
        return str((out + err).decode())

    async def test_installed(self) -> None:
        """
        It passes the contract, is found by its name, has its own options, and serves.
        """
        source = self.home / "source"
        shutil.copytree(ROOT / "etc" / "personality_example", source)
        site = self.home / "site"
        await self.python(
            "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index",
            "--no-deps", "--no-build-isolation", f"--target={site}", str(source),
            env=self.environment(),
        )  # fmt: skip
        path = os.pathsep.join([str(site), self.environment()["PYTHONPATH"]])
        environment = self.environment(PYTHONPATH=path)
        suite = ["-m", "twisted.trial", f"--temp-directory={self.home}/trial", "tests.test_hello"]
        # The checkout's own tests would be found first.
        alone = environment | {"PYTHONPATH": os.pathsep.join([str(source), path])}
        self.assertIn("PASSED", await self.python(*suite, env=alone, path=str(source)))
        self.assertIn(
            "--hello-greeting=", await self.python("-m", "kgd", "--help-all", env=environment)
        )
        gateway = self.launch(
            "--port=0", "--api=hello", "--hello-greeting=Moin", "--auth-token=tok",
            "--base-url=/b", "--drain-endpoint",
            env={"PYTHONPATH": path, "KGD_HELLO_LONGEST_CODE": "1KiB"},
        )  # fmt: skip
        await gateway.ready()
        port = gateway.port
        greeting = await http(port, "GET", "/b/")
        self.assertEqual(greeting.body, b"Moin! Try /b/run?code=6*7\n")
        self.assertEqual((await http(port, "GET", "/b/run?code=1")).code, 401)
        self.assertEqual((await http(port, "GET", "/b/api/kernels", headers=TOKEN)).code, 404)
        for code, expected in (
            ("x = 6*7; x", {"printed": "", "result": "42", "error": None}),
            ("print(x)", {"printed": "42\n", "result": None, "error": None}),
            ("1/0", {"printed": "", "result": None,
                     "error": "ZeroDivisionError: division by zero"}),
        ):  # fmt: skip
            answer = await http(port, "GET", f"/b/run?code={quote(code)}", headers=TOKEN)
            self.assertEqual((answer.code, answer.json), (200, expected))
        for code in ("", "x" * 1025):
            answer = await http(port, "GET", f"/b/run?code={code}", headers=TOKEN)
            self.assertEqual(answer.code, 400)
        self.assertIn("1024 bytes", answer.json["message"])
        # A kernel that ends is the gateway's business; whoever waits is told.
        answer = await http(
            port, "GET", f"/b/run?code={quote('import os; os._exit(1)')}", headers=TOKEN
        )
        self.assertEqual(answer.code, 502, answer.body)
        answer = await http(port, "GET", "/b/run?code=1%2b1", headers=TOKEN)
        self.assertEqual((answer.code, answer.json["result"]), (200, "2"))
        # Whoever runs the gateway has what every personality has.
        for below, headers, status in (
            ("/healthz", {}, 200), ("/readyz", {}, 200), ("/metrics", {}, 401),
            ("/metrics", TOKEN, 200), ("/api/drain", TOKEN, 405),
        ):  # fmt: skip
            answer = await http(port, "GET", f"/b{below}", headers=headers)
            self.assertEqual(answer.code, status, below)
        self.assertEqual((await http(port, "POST", "/b/api/drain")).code, 401)
        # It ends when what runs is done, although its kernel would be there for ever.
        valve, begun = self.valve(), self.home / "begun"
        code = f"open({str(begun)!r}, 'w').close()\n{valve.wait}\n'done'"
        last = Deferred.fromCoroutine(
            http(port, "GET", f"/b/run?code={quote(code)}", headers=TOKEN)
        )
        await until(begun.exists, "it runs")
        self.assertEqual((await http(port, "POST", "/b/api/drain", headers=TOKEN)).code, 202)
        for below in ("/readyz", "/run?code=1"):
            self.assertEqual((await http(port, "GET", f"/b{below}", headers=TOKEN)).code, 503)
        valve.open()
        self.assertEqual((await last).json["result"], "'done'")
        self.assertEqual(await gateway.ended(), 0)
        self.assertNotIn("Traceback", gateway.output)
        # Without the plug-in's own name, as a module that can be imported.
        dotted = self.launch("--port=0", "--api=kgd_hello", env={"PYTHONPATH": path})
        await dotted.ready()
        self.assertIn(b"Hello!", (await http(dotted.port, "GET", "/")).body)


class PortalTests(GatewayTestCase):
    """
    ``etc/embedding``.
    """

    def portal(self, *argv: str, **environment: str) -> GatewayProcess:
        """
        Start a program.
        """
        process = GatewayProcess()
        reactor.spawnProcess(
            process,
            sys.executable,
            [sys.executable, *argv],
            env=self.environment(**environment),
            path=str(self.home / "work"),
        )
        self.addCleanup(process.stop, 9)
        self.addCleanup(self._end_gently, process)
        return process

    async def port_of(self, process: GatewayProcess) -> int:
        """
        :return: Where it listens.
        """
        pattern = re.compile(r"Site starting on (\d+)")
        await until(
            lambda: pattern.search(process.output) or process.status is not None,
            lambda: f"the application listens; it said: {process.output}",
        )
        found = pattern.search(process.output)
        assert found is not None, process.output
        return int(found[1])

    async def visit(self, process: GatewayProcess) -> None:
        """
        Ask for everything that there is, then let it end.
        """
        port = await self.port_of(process)
        home = await http(port, "GET", "/")
        self.assertIn(b"Kernels are at /kernels", home.body)

        async def is_ready() -> bool:
            codes = [
                (await http(port, "GET", path)).code
                for path in ("/kernels/api/swagger.json", "/reports/sales/south")
            ]
            self.assertTrue(set(codes) <= {200, 503}, codes)
            return 503 not in codes

        while not await is_ready():
            self.assertIsNone(process.status, process.output)
            await pause()
        answer = await http(port, "GET", "/reports/sales/north")
        self.assertEqual(answer.json, {"region": "north", "sales": 12})
        document = await http(port, "GET", "/reports/_api/spec/openapi.json")
        self.assertEqual(document.json["servers"], [{"url": "/reports"}])
        page = await http(port, "GET", "/reports/_api/docs")
        self.assertIn(b'src="/reports/_api/docs/docs.js"', page.body)
        self.assertEqual((await http(port, "GET", "/reports/_api/docs/docs.js")).code, 200)
        self.assertEqual((await http(port, "POST", "/kernels/api/kernels", {})).code, 401)
        started = await http(port, "POST", "/kernels/api/kernels", {"name": "python3"}, TOKEN)
        self.assertEqual(started.code, 201, started.body)
        kernel_id = started.json["id"]
        listed = await http(port, "GET", "/kernels/api/kernels", headers=TOKEN)
        self.assertEqual([each["id"] for each in listed.json], [kernel_id])
        client = await self.connect(port, kernel_id, base="/kernels", query="?token=tok", v1=True)
        code = "import os; print(6 * 7, 'PORTAL_TOKEN' in os.environ)"
        self.assertEqual(stdout(await client.execute(code)), "42 False\n")
        process.kill(15)
        self.assertEqual((await client.when_closed())[0], 1001)
        await process.ended()
        self.assertEqual(self.leftovers(), [])
        self.assertNotIn("Traceback", process.output)

    async def test_program(self) -> None:
        """
        ``portal.py``.
        """
        file = ROOT / "etc" / "embedding" / "portal.py"
        await self.visit(self.portal(str(file), "--port=0", PORTAL_TOKEN="tok"))

    async def test_tac(self) -> None:
        """
        ``twistd -ny portal.tac``.
        """
        file = ROOT / "etc" / "embedding" / "portal.tac"
        twistd = ["-c", DAEMONIZE, "-n", "--pidfile=", "-y", str(file)]
        await self.visit(self.portal(*twistd, PORTAL_PORT="0", PORTAL_TOKEN="tok"))
