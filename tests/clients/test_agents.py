"""
The official SDKs of the Model Context Protocol, with and without sessions.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from twisted.internet import reactor

from tests.clients.programs import NODE_SCRIPTS, PYTHON, TOKEN, NodeTestCase
from tests.support.documents import ROOT, blocks_of
from tests.support.gateway import TIMEOUT, GatewayProcess, pause

AGENTS = Path(__file__).with_name("agents")
NODE_AGENTS = Path(__file__).with_name("node_agents")
GUIDE = ROOT / "docs" / "for-agents.md"


class AgentTests(NodeTestCase):
    """
    All tools, progress, cancellation and the end of a session.
    """

    async def agents_gateway(self) -> GatewayProcess:
        """
        Start a gateway for agents, which has a token.
        """
        root = self.home / "root"
        root.mkdir()
        options = ("--mcp", "--list-kernels", f"--root-dir={root}")
        return await self.gateway(PYTHON, *options, env={"KGD_AUTH_TOKEN": TOKEN})

    async def assert_no_kernels(self, gateway: GatewayProcess) -> None:
        """
        The kernels of an agent end with its session.
        """
        deadline = reactor.seconds() + TIMEOUT
        while (listed := await self.listed(gateway, TOKEN)) and reactor.seconds() < deadline:
            await pause()
        self.assertEqual(listed, [])
        self.assert_no_traceback(gateway)

    async def sdk_path(self) -> str:
        """
        :return: ``PYTHONPATH`` with the Python SDK.
        """
        packages = self.home / "packages"
        await self.run_program(
            sys.executable, "-m", "pip", "install", "--quiet", "--no-compile",
            f"--target={packages}", f"--requirement={AGENTS / 'requirements.txt'}",
        )  # fmt: skip
        return os.pathsep.join([str(packages), os.environ.get("PYTHONPATH", "")])

    async def test_python(self) -> None:
        """
        The Python SDK, in both kinds of revisions.
        """
        gateway = await self.agents_gateway()
        path = await self.sdk_path()
        for mode in ("legacy", "auto"):
            argv = (sys.executable, str(AGENTS / "sdk.py"), gateway.url, TOKEN, mode)
            printed = await self.run_program(*argv, PYTHONPATH=path)
            self.assertTrue(printed.endswith("All is well.\n"), printed)
            await self.assert_no_kernels(gateway)

    async def test_typescript(self) -> None:
        """
        The TypeScript SDK of the revisions with sessions, and its successor.
        """
        folder = await self.node_folder(NODE_AGENTS)
        gateway = await self.agents_gateway()
        for which in ("sdk", "client"):
            script = str(NODE_SCRIPTS / "agents.js")
            printed = await self.run_node(script, gateway.url, TOKEN, which, cwd=folder)
            self.assertTrue(printed.endswith("All is well.\n"), printed)
            await self.assert_no_kernels(gateway)

    async def test_guide(self) -> None:
        """
        The programs in the guide do what it says.
        """
        folder = await self.node_folder(NODE_AGENTS)
        gateway = await self.agents_gateway()
        programs = [block for block in blocks_of(GUIDE) if block.kind == "tested"]
        written = {}
        for block, name in zip(programs, ("guide.py", "guide.mjs"), strict=True):
            text = block.text.replace("127.0.0.1:8888", f"127.0.0.1:{gateway.port}")
            written[name] = folder / name
            written[name].write_text(text.replace("s3cret", TOKEN))
        path = await self.sdk_path()
        printed = await self.run_program(sys.executable, str(written["guide.py"]), PYTHONPATH=path)
        self.assertIn("42\n", printed)
        self.assertTrue(printed.endswith("\n43\n"), printed)
        printed = await self.run_node(str(written["guide.mjs"]), cwd=folder)
        self.assertEqual(printed, "42\n\n42\n\n")
