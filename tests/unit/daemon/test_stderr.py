"""
The log on a pipe that may have no reader.
"""

from __future__ import annotations

import fcntl
import os

from twisted.trial.unittest import SynchronousTestCase

from kgd.daemon.stderr import NonBlockingStream


class UnblockedStreamTests(SynchronousTestCase):
    """
    Writing never waits.
    """

    def setUp(self) -> None:
        self.reader, writer = os.pipe()
        self.writer = writer
        self.addCleanup(os.close, writer)
        self.addCleanup(lambda: os.close(self.reader))
        self.stream = NonBlockingStream(writer)

    def read(self) -> str:
        """
        Read everything that is in the pipe.
        """
        os.set_blocking(self.reader, False)
        found = b""
        try:
            while data := os.read(self.reader, 1 << 20):
                found += data
        except BlockingIOError:
            pass
        return found.decode()

    def test_text(self) -> None:
        """
        What is written can be read, also if it is long.
        """
        text = "ä" * 10_000 + "\n"
        self.stream.write(text)
        self.stream.flush()
        self.assertEqual(self.read(), text)

    def test_full(self) -> None:
        """
        A full pipe takes no more lines, and waits for nobody; the next that fits says how many are
        missing.
        """
        size = fcntl.fcntl(self.writer, fcntl.F_GETPIPE_SZ)
        line = "x" * 99 + "\n"
        written = size // len(line) + 100
        for _ in range(written):
            self.stream.write(line)
        came = self.read().count("\n")
        self.assertLess(came, written)
        self.stream.write("last\n")
        self.assertEqual(
            self.read(),
            f"kgd: {written - came} messages are missing here, because the pipe was full\nlast\n",
        )

    def test_gone(self) -> None:
        """
        When the reader is gone, writing does nothing, and a later reader is told nothing of it.
        """
        os.close(self.reader)
        self.reader, writer = os.pipe()
        with self.assertRaises(BrokenPipeError):
            os.write(self.writer, b"x")
        self.stream.write("x\n")
        os.dup2(writer, self.writer)
        os.close(writer)
        self.stream.write("y\n")
        self.assertEqual(self.read(), "y\n")
