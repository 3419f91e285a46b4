"""
Spyder's kernel, and what its consoles ask of a remote server.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.clients.programs import TOKEN, ClientTestCase

SPYDER = Path(__file__).with_name("spyder")


class SpyderTests(ClientTestCase):
    """
    A console, with a part of Spyder's own code, in a process of its own.
    """

    async def install(self) -> str:
        """
        :return: A folder with Spyder's kernel and what goes with it.
        """
        folder = self.home / "packages"
        await self.run_program(
            sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--no-deps",
            f"--target={folder}", f"--requirement={SPYDER / 'requirements.txt'}",
        )  # fmt: skip
        return str(folder)

    async def test_console(self) -> None:
        """
        The kernel calls the console and is called by it, also on the control channel while code
        runs, while it debugs, and after a restart.
        """
        packages = await self.install()
        argv = [sys.executable, "-m", "spyder_kernels.console", "-f", "{connection_file}"]
        self.add_spec("spyder", argv, env={"PYTHONPATH": packages}, metadata={"debugger": True})
        gateway = await self.gateway(env={"KGD_AUTH_TOKEN": TOKEN})
        printed = await self.run_program(
            sys.executable, str(SPYDER / "console.py"), gateway.url, TOKEN,
            PYTHONPATH=os.pathsep.join([packages, os.environ.get("PYTHONPATH", "")]),
        )  # fmt: skip
        self.assertEqual(printed, "All is well.\n")
        self.assertEqual(await self.listed(gateway, TOKEN), [])
        self.assert_no_traceback(gateway)
