"""
The Jupyter extension of VS Code: what it asks of a server, with the library that it uses.
"""

from __future__ import annotations

from tests.clients.programs import NODE_CLIENT, NODE_SCRIPTS, NodeTestCase


class VSCodeTests(NodeTestCase):
    """
    An existing Jupyter server, as the extension calls it.
    """

    async def test_everything(self) -> None:
        """
        The server is known for what it is, kernels are listed and started, cells run, and a window
        that is opened anew goes on with the session of the last, its running cell included.
        """
        folder = await self.node_folder(NODE_CLIENT)
        for gateway, token in await self.gateways():
            await self.run_node(
                str(NODE_SCRIPTS / "vscode.js"), f"127.0.0.1:{gateway.port}", token, cwd=folder
            )
            self.assert_no_traceback(gateway)
            self.assertEqual(await self.listed(gateway, token), [])
