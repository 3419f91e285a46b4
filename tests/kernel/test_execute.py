"""
Code over HTTP, in real kernels.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import Factory

from tests.support.gateway import GatewayTestCase, http, stdout, until
from tests.support.notebook_gateway import Connection

PYTHON = "--default-kernel-name=python3"


class ExecuteTests(GatewayTestCase):
    """
    One gateway with ipykernel.
    """

    async def begin(self, *options: str) -> None:
        """
        Start a gateway and a kernel.
        """
        self.port = (await self.gateway(PYTHON, "--interrupt-grace=0.5", *options)).port
        self.kernel_id = await self.start_kernel(self.port)
        self.path = f"/api/kernels/{self.kernel_id}"

    async def execute(self, code: str, **more: Any) -> Any:
        """
        Run code, and wait for its end.
        """
        response = await http(self.port, "POST", f"{self.path}/execute", {"code": code, **more})
        self.assertEqual(response.code, 200, response.body)
        return response.json

    async def test_outcomes(self) -> None:
        """
        Each way to end has its status, and the kernel goes on after all of them.
        """
        await self.begin()
        result = await self.execute("print('a')\n1 + 1", user_expressions={"x": "2 + 2"})
        self.assertEqual(result["status"], "ok")
        self.assertEqual(
            [each["output_type"] for each in result["outputs"]], ["stream", "execute_result"]
        )
        self.assertEqual(result["user_expressions"]["x"]["data"]["text/plain"], "4")
        result = await self.execute("1/0", outputs={"ansi": "strip"})
        self.assertEqual(
            (result["status"], result["error"]["ename"]), ("error", "ZeroDivisionError")
        )
        self.assertNotIn("\x1b", json.dumps(result["error"]["traceback"]))
        result = await self.execute("import time; time.sleep(600)", timeout=0.2)
        self.assertEqual((result["status"], result["ended_by"]), ("timeout", "interrupt"))
        stubborn = (
            "import time\nwhile True:\n    try: time.sleep(600)\n    except KeyboardInterrupt: pass"
        )
        result = await self.execute(stubborn, timeout=0.2)
        self.assertEqual((result["status"], result["ended_by"]), ("timeout", "restart"))
        result = await self.execute("import os; os._exit(3)")
        self.assertEqual((result["status"], result["error"]["ename"]), ("died", "KernelDied"))
        self.assertIn("exit code 3", result["error"]["evalue"])
        result = await self.execute("input()")
        self.assertEqual(result["error"]["ename"], "StdinNotImplementedError")
        result = await self.execute("print('still here')")
        self.assertEqual(result["outputs"][0]["text"], "still here\n")

    async def test_among_websockets(self) -> None:
        """
        Code runs in the order in which it was sent, over HTTP and over WebSockets.
        """
        await self.begin()
        client = await self.connect(self.port, self.kernel_id, v1=True)
        await client.execute("seen = []")
        valve = self.valve()
        first = client.request("execute_request", {"code": valve.wait, "silent": False})
        await until(lambda: client.of(first, "execute_input"), "the first one runs")
        second = ensureDeferred(self.execute("seen.append('http')"))
        listed: list[Any] = []
        while not listed:
            listed = (await http(self.port, "GET", f"{self.path}/executions")).json
        self.assertEqual(listed[0]["state"], "queued")
        third = client.request("execute_request", {"code": "print(seen)", "silent": False})
        valve.open()
        self.assertEqual((await second)["status"], "ok")
        self.assertEqual(stdout(await client.answered(third)), "['http']\n")

    async def test_caller_that_hangs_up(self) -> None:
        """
        Its code is interrupted, and the kernel is idle again.
        """
        await self.begin()
        body = json.dumps({"code": "import time; print('on', flush=True); time.sleep(600)"})
        head = (
            f"POST {self.path}/execute HTTP/1.1\r\nHost: localhost\r\n"
            f"Accept: application/x-ndjson\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        )
        connection = Connection()
        endpoint = HostnameEndpoint(reactor, "127.0.0.1", self.port)
        await endpoint.connect(Factory.forProtocol(lambda: connection))
        connection.transport.write(head.encode())  # type: ignore[union-attr]
        await until(lambda: b'"on' in connection.received, "it runs")
        connection.transport.abortConnection()  # type: ignore[union-attr]
        (execution,) = (await http(self.port, "GET", f"{self.path}/executions")).json
        path = f"{self.path}/executions/{execution['execution_id']}"
        result = (await http(self.port, "GET", f"{path}?wait=30")).json
        self.assertEqual((result["state"], result["status"]), ("done", "interrupted"))
        self.assertEqual((await self.execute("print(1)"))["status"], "ok")
