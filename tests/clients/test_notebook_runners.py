"""
nbclient and papermill, by way of Jupyter Server's ``GatewayKernelManager``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.clients.programs import PYTHON, ClientTestCase


class NotebookRunnerTests(ClientTestCase):
    """
    Whole notebooks, in processes of their own, because they block.
    """

    SCRIPT = Path(__file__).with_name("notebook_runners.py")

    async def test_everything(self) -> None:
        """
        All outputs are in the notebook, parameters are in its kernel, errors stop it, and a cell
        that takes too long is interrupted.
        """
        gateway = await self.gateway(PYTHON)
        printed = await self.run_program(
            sys.executable, str(self.SCRIPT), gateway.url, cwd=self.home / "work",
            **self.environment(),
        )  # fmt: skip
        self.assertTrue(printed.endswith("All is well.\n"), printed)
        # Each notebook's kernel has ended with it.
        self.assertEqual(await self.listed(gateway), [])
        self.assert_no_traceback(gateway)
