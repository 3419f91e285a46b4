"""
Seed notebooks and spare kernels, with the real ipykernel.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.web.resource import Resource
from twisted.web.server import Site
from twisted.web.static import Data

from tests.support.gateway import GatewayProcess, GatewayTestCase, http, stdout
from tests.support.notebooks import notebook

PYTHON = "--default-kernel-name=python3"
ZEN = notebook(("markdown", "# The Zen"), ("code", "import this"), ("code", "x = 41"))


class SeedTests(GatewayTestCase):
    """
    A notebook in every kernel.
    """

    def seed(self, content: bytes) -> str:
        """
        :return: The path of a notebook.
        """
        path = self.home / "work" / "weirdly%20named#notebook.ipynb"
        path.write_bytes(content)
        return path.name

    async def assert_seeded(self, gateway: GatewayProcess, kernel_id: str) -> None:
        """
        What the notebook defined is there, and nothing that it printed is seen.
        """
        client = await self.connect(gateway.port, kernel_id)
        messages = await client.execute("print(x + 1, this.s[:10])")
        self.assertEqual(stdout(messages), "42 Gur Mra bs\n")
        self.assertEqual(stdout(client.messages), stdout(messages))

    async def test_path(self) -> None:
        """
        A kernel is seeded when it is started, however its kernelspec is named, and again after a
        restart and after a crash; a client that stays sees nothing of that.
        """
        gateway = await self.gateway(PYTHON, f"--seed-uri={self.seed(ZEN)}")
        port = gateway.port
        for name in (None, "python3", "python"):
            kernel_id = await self.start_kernel(port, **({"name": name} if name else {}))
            await self.assert_seeded(gateway, kernel_id)
        client = await self.connect(port, kernel_id)
        await client.execute("x = 0")
        response = await http(port, "POST", f"/api/kernels/{kernel_id}/restart")
        self.assertEqual(response.code, 200)
        self.assertEqual(stdout(await client.execute("print(x)")), "41\n")
        messages = await client.execute("import os; print(os.getpid())")
        os.kill(int(stdout(messages)), signal.SIGKILL)
        await client.status("restarting")
        self.assertEqual(stdout(await client.execute("print(x)")), "41\n")
        self.assertNotIn("Beautiful", stdout(client.messages))
        other = await self.start_kernel(port, name="tiny")
        self.assertTrue(other)

    async def test_http(self) -> None:
        """
        It may come from a server, even after a redirect.
        """
        from twisted.web.util import Redirect

        root = Resource()
        root.putChild(b"zen.ipynb", Data(ZEN, "application/json"))
        root.putChild(b"moved", Redirect(b"/zen.ipynb"))
        site = Site(root)
        site.noisy = False
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(site)
        self.addCleanup(port.stopListening)
        url = f"http://127.0.0.1:{port.getHost().port}"
        for path in ("zen.ipynb", "moved"):
            gateway = await self.gateway(PYTHON, f"--seed-uri={url}/{path}")
            await self.assert_seeded(gateway, await self.start_kernel(gateway.port))
        gateway = self.launch("--port=0", f"--seed-uri={url}/nothing?token=s3cret")
        self.assertEqual(await gateway.ended(), 1)
        self.assertIn("answers 404", gateway.output)
        self.assertNotIn("s3cret", gateway.output.replace("token=s3cret ", ""))

    async def test_failing_cell(self) -> None:
        """
        A cell that fails is a 500 that says which and why, without a traceback, and leaves nothing.
        """
        seed = self.seed(notebook(("code", "a = 1"), ("code", "def broken(:")))
        gateway = await self.gateway(PYTHON, f"--seed-uri={seed}")
        response = await http(gateway.port, "POST", "/api/kernels", {})
        self.assertEqual(response.code, 500)
        self.assertIn("cell 2 of the seed notebook failed: SyntaxError", response.json["message"])
        self.assertNotIn("Traceback", response.body.decode())
        self.assertEqual((await http(gateway.port, "GET", "/api/kernels")).json, [])

    async def test_failing_prespawn(self) -> None:
        """
        With spare kernels the gateway does not even start; it says why in a line.
        """
        seed = self.seed(notebook(("code", "1/0")))
        gateway = self.launch("--port=0", PYTHON, f"--seed-uri={seed}", "--prespawn-count=1")
        self.assertEqual(await gateway.ended(), 1)
        self.assertIn("cell 1 of the seed notebook failed: ZeroDivisionError", gateway.output)
        self.assertNotIn("Traceback", gateway.output)


class PoolTests(GatewayTestCase):
    """
    Spare kernels.
    """

    async def test_missing(self) -> None:
        """
        What cannot be prespawned is said in a line, and stops the gateway.
        """
        for options, words in (
            (("--prespawn=nope=1",), "nope"),
            (("--prespawn-count=2", "--max-kernels=1"), "--max-kernels"),
            ((f"--seed-uri={Path('/nowhere.ipynb')}",), "/nowhere.ipynb"),
        ):
            gateway = self.launch("--port=0", "--default-kernel-name=tiny", *options)
            self.assertEqual(await gateway.ended(), 1)
            self.assertIn(words, gateway.output)
            self.assertNotIn("Traceback", gateway.output)
