"""
Clients that others wrote, and the examples that use them.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.utils import getProcessOutputAndValue

from tests.support.gateway import ROOT, GatewayProcess, GatewayTestCase

TOKEN = "a-token"
NODE_CLIENT = ROOT / "etc" / "node_client"


class ClientTestCase(GatewayTestCase):
    """
    Tests that run other programs against a gateway.
    """

    timeout = 300

    async def run_program(self, *argv: str, cwd: Path = ROOT, **env: str) -> str:
        """
        Run a program, which has to succeed.

        :return: What it printed.
        """
        out, err, code = await getProcessOutputAndValue(
            argv[0], argv[1:], env={**os.environ, **env}, path=str(cwd), reactor=reactor
        )
        self.assertEqual(code, 0, f"{argv}\n{out.decode()}\n{err.decode()}")
        return str(out.decode())

    async def gateways(self) -> list[tuple[GatewayProcess, str]]:
        """
        One without a token, one with.
        """
        python = "--default-kernel-name=python3"
        return [
            (await self.gateway(python), ""),
            (await self.gateway(python, env={"KGD_AUTH_TOKEN": TOKEN}), TOKEN),
        ]


class PythonTests(ClientTestCase):
    """
    Tornado.
    """

    async def test_example(self) -> None:
        """
        The example prints what the code prints, with and without a token.
        """
        for gateway, token in await self.gateways():
            printed = await self.run_program(
                sys.executable,
                str(ROOT / "etc" / "python_client" / "client.py"),
                "print('from the kernel'); 6 * 7",
                GATEWAY_HOST=f"127.0.0.1:{gateway.port}",
                GATEWAY_TOKEN=token,
            )
            self.assertEqual(printed, "from the kernel\n42\n")


class ClassicTornadoTests(ClientTestCase):
    """
    The manner of the Jupyter Kernel Gateway's own example.
    """

    SCRIPT = Path(__file__).with_name("classic_tornado.py")

    async def test_classic(self) -> None:
        """
        A client that takes every message's parent for granted finds one, and sees its output.
        """
        gateway = await self.gateway("--default-kernel-name=python3")
        for _ in range(3):
            printed = await self.run_program(
                sys.executable, str(self.SCRIPT), f"127.0.0.1:{gateway.port}"
            )
            self.assertIn("Hello world!", json.loads(printed.splitlines()[-1]))


class NodeTests(ClientTestCase):
    """
    ``@jupyterlab/services``.
    """

    async def node_client(self) -> Path:
        """
        :return: A copy of the example with its packages; installed once for all tests.
        """
        folder = Path(os.environ.get("KGD_NODE_CLIENT") or self.mktemp()).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "client.js"):
            shutil.copy(NODE_CLIENT / name, folder)
        if not (folder / "node_modules" / "ws").is_dir():
            npm = shutil.which("npm")
            assert npm is not None, "npm is missing; the tox environment installs it"
            await self.run_program(
                npm, "install", "--no-audit", "--no-fund", "--no-package-lock", cwd=folder
            )
        return folder

    async def run_node(self, *argv: str, cwd: Path, **env: str) -> str:
        """
        Run a script with Node.
        """
        node = shutil.which("node")
        assert node is not None, "node is missing; the tox environment installs it"
        return await self.run_program(node, *argv, cwd=cwd, **env)

    async def test_example(self) -> None:
        """
        The example prints what the code prints, with and without a token.
        """
        folder = await self.node_client()
        for gateway, token in await self.gateways():
            printed = await self.run_node(
                "client.js",
                "print('from the kernel'); 6 * 7",
                cwd=folder,
                GATEWAY_HOST=f"127.0.0.1:{gateway.port}",
                GATEWAY_TOKEN=token,
            )
            self.assertIn("from the kernel\n42\n", printed)

    async def test_everything(self) -> None:
        """
        Starting, outputs, input, interrupts, restarts, a kernel that dies and shutting down work in
        both framings, and nothing that the library validates is refused.
        """
        folder = await self.node_client()
        script = str(Path(__file__).parent / "node" / "everything.js")
        for gateway, token in await self.gateways():
            for framing in ("v1", "legacy"):
                await self.run_node(script, f"127.0.0.1:{gateway.port}", token, framing, cwd=folder)
            self.assertNotIn("Traceback", gateway.output)
