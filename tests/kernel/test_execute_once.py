"""
Code and notebooks in real kernels that exist for them only.
"""

from __future__ import annotations

import json
from typing import Any

import nbformat
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import Factory

from tests.support.gateway import GatewayTestCase, http, until
from tests.support.notebook_gateway import Connection

PYTHON = "--default-kernel-name=python3"


class OnceTests(GatewayTestCase):
    """
    One gateway with ipykernel.
    """

    async def begin(self, *options: str) -> None:
        """
        Start a gateway.
        """
        gateway = await self.gateway(PYTHON, "--list-kernels", "--interrupt-grace=0.5", *options)
        self.port = gateway.port

    async def kernels(self) -> Any:
        """
        :return: The kernels that run.
        """
        return (await http(self.port, "GET", "/api/kernels")).json

    async def no_kernel(self) -> None:
        """
        Wait until no kernel runs.
        """
        while await self.kernels():
            pass

    async def test_one_after_the_other(self) -> None:
        """
        With room for one kernel, code runs in one fresh kernel after the other; one that is kept
        has what was run in it.
        """
        await self.begin("--max-kernels=1", "--prespawn-count=1")
        body = {"code": "try: x\nexcept NameError: x = 1; print('fresh')"}
        for _ in range(2):
            result = (await http(self.port, "POST", "/api/execute", body)).json
            self.assertEqual(result["outputs"][0]["text"], "fresh\n")
        body = {"code": "import os; os._exit(3)"}
        result = (await http(self.port, "POST", "/api/execute", body)).json
        self.assertEqual((result["status"], result["kernel_id"]), ("died", None))
        keep: dict[str, Any] = {"code": "x = 5", "keep": True, "kernel": {"env": {"KERNEL_X": "1"}}}
        kernel_id = (await http(self.port, "POST", "/api/execute", keep)).json["kernel_id"]
        body = {"code": "import os; print(x, os.environ['KERNEL_X'])"}
        path = f"/api/kernels/{kernel_id}/execute"
        result = (await http(self.port, "POST", path, body)).json
        self.assertEqual(result["outputs"][0]["text"], "5 1\n")
        refused = await http(self.port, "POST", "/api/execute", body)
        self.assertEqual((refused.code, refused.json["message"]), (403, "Resource Limit"))

    async def test_hang_up(self) -> None:
        """
        No kernel is left when its client is not.
        """
        await self.begin()
        body = json.dumps({"code": "print('on', flush=True)\nimport time; time.sleep(600)"})
        connection = Connection()
        endpoint = HostnameEndpoint(reactor, "127.0.0.1", self.port)
        await endpoint.connect(Factory.forProtocol(lambda: connection))
        connection.transport.write(  # type: ignore[union-attr]
            f"POST /api/execute HTTP/1.1\r\nHost: localhost\r\nAccept: application/x-ndjson\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        await until(lambda: b'"on' in connection.received, "it runs")
        self.assertEqual(len(await self.kernels()), 1)
        connection.transport.abortConnection()  # type: ignore[union-attr]
        await self.no_kernel()

    async def test_notebook(self) -> None:
        """
        A notebook is run with its parameters, once for two requests of the same key.
        """
        await self.begin()
        notebook = nbformat.v4.new_notebook(
            cells=[
                nbformat.v4.new_code_cell("a = 1", metadata={"tags": ["parameters"]}),
                nbformat.v4.new_markdown_cell("text"),
                nbformat.v4.new_code_cell("1/0", metadata={"tags": ["raises-exception"]}),
                nbformat.v4.new_code_cell("import os; print(a, os.getpid())\na"),
            ]
        )
        body = {"notebook": notebook, "parameters": {"a": "x"}}
        headers = {"Idempotency-Key": "k"}
        requests = [
            Deferred.fromCoroutine(
                http(self.port, "POST", "/api/notebooks/run", body, headers=headers)
            )
            for _ in range(2)
        ]
        first, second = await gatherResults(requests)
        self.assertEqual(first.body, second.body)
        found = nbformat.reads(first.body.decode(), as_version=4)
        nbformat.validate(found, relax_add_props=False)
        self.assertEqual(found.metadata.kgd.status, "ok")
        outputs = [cell.outputs for cell in found.cells if cell.cell_type == "code"]
        self.assertEqual(outputs[2][0].ename, "ZeroDivisionError")
        self.assertRegex(outputs[3][0].text, r"x \d+")
        self.assertEqual(outputs[3][1].data["text/plain"], "'x'")
        times = found.cells[-1].metadata.execution
        self.assertEqual(min(times.values()), times["iopub.status.busy"])
        self.assertEqual(len(times), 4)
        await self.no_kernel()
