"""
Reports to the process that waits for a daemon to start.
"""

from __future__ import annotations

import os
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from kgd.daemon.parent import ParentProcess


class ParentProcessTests(SynchronousTestCase):
    """
    What twistd's first process is told; it reads no more than 100 bytes.
    """

    def read(self, *said: str) -> bytes:
        """
        :return: What has been written for it.
        """
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        options: dict[str, Any] = {"statusPipe": writing}
        parent = ParentProcess(options)
        parent.take_pipe()
        self.assertIsNone(options.get("statusPipe"), "twistd has nothing to tell")
        for each in said:
            parent.report(each)
        return os.read(reading, 1000)

    def test_told(self) -> None:
        """
        The first thing that is said counts.
        """
        self.assertEqual(self.read("", "too late"), b"0")
        self.assertEqual(self.read("no such caf\u00e9", ""), b"1 no such caf?")
        self.assertEqual(len(self.read("x" * 1000)), 100)

    def test_nobody(self) -> None:
        """
        There may be none, or none any more.
        """
        alone = ParentProcess({})
        alone.take_pipe()
        alone.report()
        reading, writing = os.pipe()
        os.close(reading)
        left = ParentProcess({"statusPipe": writing})
        left.take_pipe()
        left.report("in vain")
        self.assertRaises(OSError, os.fstat, writing)
