"""
Clients that others wrote, and the examples that use them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.clients.programs import NODE_CLIENT, NODE_SCRIPTS, ClientTestCase, NodeTestCase
from tests.support.gateway import ROOT


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
        A client that takes every message's parent for granted finds one, and sees its output, with
        and without a token. It looks no further than the reply, which may overtake the output where
        the WebSocket opens when the kernel answers already.
        """
        for gateway, token in await self.gateways("--ws-start-wait=0"):
            for _ in range(2):
                printed = await self.run_program(
                    sys.executable, str(self.SCRIPT), f"127.0.0.1:{gateway.port}",
                    *filter(None, [token]),
                )  # fmt: skip
                self.assertIn("Hello world!", json.loads(printed.splitlines()[-1]))


class NodeTests(NodeTestCase):
    """
    ``@jupyterlab/services``.
    """

    async def test_example(self) -> None:
        """
        The example prints what the code prints, with and without a token.
        """
        folder = await self.node_folder(NODE_CLIENT)
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
        folder = await self.node_folder(NODE_CLIENT)
        script = str(NODE_SCRIPTS / "everything.js")
        for gateway, token in await self.gateways():
            for framing in ("v1", "legacy"):
                await self.run_node(script, f"127.0.0.1:{gateway.port}", token, framing, cwd=folder)
            self.assert_no_traceback(gateway)
