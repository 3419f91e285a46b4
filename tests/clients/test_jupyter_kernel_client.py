"""
Datalayer's ``jupyter-kernel-client``: a Bearer token, and the subprotocol v1 only.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.clients.programs import PYTHON, TOKEN, ClientTestCase


class JupyterKernelClientTests(ClientTestCase):
    """
    What it offers, in a process of its own, because it blocks.
    """

    SCRIPT = Path(__file__).with_name("datalayer.py")

    async def test_everything(self) -> None:
        """
        Executing, interrupting, restarting and shutting down work, with and without a token.
        """
        for gateway, token in await self.gateways():
            printed = await self.run_program(sys.executable, str(self.SCRIPT), gateway.url, token)
            self.assertTrue(printed.endswith("All is well.\n"), printed)
            self.assertEqual(await self.listed(gateway, token), [])
            self.assert_no_traceback(gateway)

    async def test_shutdown_request(self) -> None:
        """
        A shutdown by a message, for which the client then waits, ends with the kernel gone.
        """
        gateway = await self.gateway(PYTHON)
        await self.run_program(sys.executable, str(self.SCRIPT), gateway.url, "", "gently")
        self.assertEqual(await self.listed(gateway), [])

    async def test_wrong_token(self) -> None:
        """
        A wrong token is refused, so that the client says 401.
        """
        gateway = await self.gateway(PYTHON, env={"KGD_AUTH_TOKEN": TOKEN})
        program = self.start_program(sys.executable, str(self.SCRIPT), gateway.url, "wrong")
        await program.prints("401")
        self.assertEqual(await program.ended(), 1)
        self.assertEqual(await self.listed(gateway, TOKEN), [])
