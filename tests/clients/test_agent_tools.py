"""
The examples of tools for agents.
"""

from __future__ import annotations

import shutil
import sys
from typing import Any

from tests.clients.programs import ClientTestCase, NodeTestCase
from tests.support.gateway import ROOT, GatewayProcess

TOOL = ROOT / "etc" / "agent_tool"
CODE = ("x = 6 * 7", "print(x); x + 1", "x / 0")


def environment(gateway: GatewayProcess, token: str) -> dict[str, Any]:
    """
    :return: Where the gateway is.
    """
    return {"GATEWAY": gateway.url.rstrip("/"), "GATEWAY_TOKEN": token}


class PythonTests(ClientTestCase):
    """
    With ``kgd.client``.
    """

    async def test_example(self) -> None:
        """
        Variables stay, results and errors are text, and no kernel stays.
        """
        for gateway, token in await self.gateways():
            printed = await self.run_program(
                sys.executable, str(TOOL / "tool.py"), *CODE, **environment(gateway, token)
            )
            first, second, third, *rest = printed.splitlines()
            self.assertEqual((first, second, third), ("(no output)", "42", "43"))
            self.assertEqual(rest[-1], "ZeroDivisionError: division by zero")
            self.assertNotIn("\x1b", printed)
            self.assertEqual(await self.listed(gateway, token), [])


class NodeTests(NodeTestCase):
    """
    With TypeScript.
    """

    async def test_example(self) -> None:
        """
        The same.
        """
        folder = await self.node_folder(TOOL)
        shutil.copy(TOOL / "tool.ts", folder)
        await self.run_program(self.command("npm"), "run", "build", cwd=folder)
        for gateway, token in await self.gateways():
            printed = await self.run_node(
                "tool.js", *CODE, cwd=folder, **environment(gateway, token)
            )
            first, second, *rest = printed.splitlines()
            self.assertEqual((first, second), ("(no output)", "42"))
            self.assertIn("ZeroDivisionError: division by zero", rest[-1])
            self.assertNotIn("\x1b", printed)
            self.assertEqual(await self.listed(gateway, token), [])
