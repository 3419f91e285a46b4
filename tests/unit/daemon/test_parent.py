"""
Who waits for a daemon to have started.
"""

from __future__ import annotations

import os
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from kgd.daemon.parent import ParentProcess


class AwaitedTests(SynchronousTestCase):
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
        awaited = ParentProcess(options)
        awaited.keep()
        self.assertIsNone(options.get("statusPipe"), "twistd has nothing to tell")
        for each in said:
            awaited.tell(each)
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
        alone.keep()
        alone.tell()
        reading, writing = os.pipe()
        os.close(reading)
        left = ParentProcess({"statusPipe": writing})
        left.keep()
        left.tell("in vain")
        self.assertRaises(OSError, os.fstat, writing)
