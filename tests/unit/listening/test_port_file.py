"""
The file that says where the gateway listens.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from kgd.errors import ConfigurationError
from kgd.listening.port_file import PortFile


class PortFileTests(SynchronousTestCase):
    """
    Coming and going.
    """

    def setUp(self) -> None:
        self.home = Path(self.mktemp()).resolve()
        self.home.mkdir()
        self.path = self.home / "port"

    def test_life(self) -> None:
        """
        What is left of another gateway goes; then it is there as a whole, for everybody; then gone,
        and nothing beside it is left.
        """
        self.path.write_text("1")
        file = PortFile(str(self.path))
        file.remove_stale()
        self.assertFalse(self.path.exists())
        file.write(["8888", "/run/s"])
        self.assertEqual(self.path.read_text(), "8888\n/run/s\n")
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o644)
        self.assertEqual(list(self.home.iterdir()), [self.path])
        file.remove()
        file.remove()
        self.assertEqual(list(self.home.iterdir()), [])

    def test_successor(self) -> None:
        """
        The file of a gateway that has come meanwhile stays.
        """
        first, second = PortFile(str(self.path)), PortFile(str(self.path))
        first.write(["1"])
        second.remove_stale()
        second.write(["2"])
        first.remove()
        self.assertEqual(self.path.read_text(), "2\n")

    def test_any_path(self) -> None:
        """
        The path of a socket may have any bytes in it.
        """
        PortFile(str(self.path)).write([os.fsdecode(b"/run/\xff")])
        self.assertEqual(self.path.read_bytes(), b"/run/\xff\n")

    def test_none(self) -> None:
        """
        Nobody has to want one.
        """
        file = PortFile("")
        file.remove_stale()
        file.write(["1"])
        file.remove()
        self.assertEqual(list(self.home.iterdir()), [])

    def test_impossible(self) -> None:
        """
        A place where there can be none is known before anything is started.
        """
        for path in (self.home / "no" / "port", self.home):
            file = PortFile(str(path))
            error = self.assertRaises(ConfigurationError, file.remove_stale)
            self.assertIn(f"--port-file={path}", str(error))
            self.assertRaises(ConfigurationError, file.write, ["1"])
