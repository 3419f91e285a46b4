"""
What is installed, rather than what lies in the checkout.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase

from kgd import __version__
from tests.support.gateway import DAEMONIZE


class InstalledTests(TestCase):
    """
    The distribution.
    """

    async def run_isolated(self, *argv: str) -> str:
        """
        Run Python so that it finds only what is installed.
        """
        out, err, code = await getProcessOutputAndValue(
            sys.executable, ["-I", *argv], path="/", reactor=reactor
        )
        self.assertEqual(code, 0, err)
        return str(out.decode())

    async def test_plugin(self) -> None:
        """
        ``twistd --help`` lists kgd.
        """
        printed = await self.run_isolated("-c", DAEMONIZE, "--help")
        self.assertTrue(re.search(r"^ +kgd +Jupyter kernels", printed, re.MULTILINE), printed)

    async def test_version(self) -> None:
        """
        The distribution's version is the package's.
        """
        code = "from importlib.metadata import version; print(version('kgd'))"
        self.assertEqual((await self.run_isolated("-c", code)).strip(), __version__)

    async def test_command(self) -> None:
        """
        The commands ``kgd`` and ``jupyter-kgd`` are there, and show their options.
        """
        for name in ("kgd", "jupyter-kgd"):
            command = shutil.which(name, path=str(Path(sys.executable).parent))
            assert command is not None, name
            out, err, code = await getProcessOutputAndValue(command, ["--help"], reactor=reactor)
            self.assertEqual(code, 0, err)
            self.assertIn(b"--max-kernels=", out)

    async def test_no_reactor_too_early(self) -> None:
        """
        Reading the options chooses no reactor; nor does naming the plug-in.
        """
        code = (
            "import sys, kgd.config.options, kgd.tap, twisted.plugins.kgd_plugin;"
            "print('twisted.internet.reactor' in sys.modules)"
        )
        self.assertEqual((await self.run_isolated("-c", code)).strip(), "False")
