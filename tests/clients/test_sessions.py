"""
``@jupyterlab/services`` and its sessions.
"""

from __future__ import annotations

from tests.clients.programs import NODE_CLIENT, NODE_SCRIPTS, NodeTestCase


class SessionTests(NodeTestCase):
    """
    What JupyterLab does with ``/api/sessions``.
    """

    async def test_everything(self) -> None:
        """
        Starting, renaming, listing, sharing and changing kernels, and shutting down work, and
        nothing that the library validates is refused.
        """
        folder = await self.node_folder(NODE_CLIENT)
        for gateway, token in await self.gateways():
            await self.run_node(
                str(NODE_SCRIPTS / "sessions.js"), f"127.0.0.1:{gateway.port}", token, cwd=folder
            )
            self.assert_no_traceback(gateway)
            self.assertEqual(await self.listed(gateway, token), [])
