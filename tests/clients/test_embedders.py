"""
AutoGen and smolagents start the gateway themselves, with their own code: only the program that they
find under the name of the Jupyter Kernel Gateway is ours.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.clients.programs import ClientTestCase

HERE = Path(__file__).parent


class EmbeddersTests(ClientTestCase):
    """
    What they do, in processes of their own, because they block.
    """

    async def run_embedder(self, name: str) -> str:
        """
        :return: What it printed; everything that it has started has ended.
        """
        programs = self.home / "bin"
        programs.mkdir()
        for command in ("jupyter-kernelgateway", "jupyter-kgd"):
            script = programs / command
            script.write_text(
                f"#!{sys.executable}\nfrom kgd.cli.main import jupyter_main\njupyter_main()\n"
            )
            script.chmod(0o755)
        env = self.environment(HF_HUB_OFFLINE="1")
        path = [str(programs), str(Path(sys.executable).parent), os.environ["PATH"]]
        env["PATH"] = os.pathsep.join(path)
        env["PYTHONPATH"] = os.pathsep.join([str(HERE / "fake_docker"), env["PYTHONPATH"]])
        work = self.home / "work"
        printed = await self.run_program(
            sys.executable, str(HERE / "embedders.py"), name, cwd=work, **env
        )
        self.assertTrue(printed.endswith("All is well.\n"), printed)
        # No kernel, and nothing of one, is left either.
        self.assertEqual(self.leftovers(), [])
        return printed

    async def test_autogen(self) -> None:
        """
        AutoGen 0.2, as a process: it reads the port from stderr, and reads nothing after that.
        """
        await self.run_embedder("autogen")

    async def test_autogen_docker(self) -> None:
        """
        AutoGen 0.7, with the command of its own Dockerfile.
        """
        printed = await self.run_embedder("autogen-docker")
        self.assertIn("jupyter kernelgateway --KernelGatewayApp.ip=", printed)
        self.assertIn("ended with 0", printed)

    async def test_smolagents(self) -> None:
        """
        smolagents, with the command of its own Dockerfile.
        """
        printed = await self.run_embedder("smolagents")
        self.assertIn("jupyter kernelgateway --KernelGatewayApp.ip=", printed)
        self.assertIn("ended with 0", printed)
