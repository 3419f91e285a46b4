"""
The budget of open files, and warnings about limits that are too low for what is asked for.
"""

from __future__ import annotations

import os

from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from kgd.daemon.limits import open_files_warning
from kgd.errors import OutOfFiles
from kgd.open_files import FileBudget, count_open_files, file_limit
from kgd.settings import Settings


class FileBudgetTests(SynchronousTestCase):
    """
    A process that may have 256 files open, of which 64 are for requests.
    """

    def setUp(self) -> None:
        """
        Nothing is open yet.
        """
        self.open = 0
        self.counted = 0
        self.clock = Clock()
        self.budget = FileBudget(self.count, lambda: 256, self.clock.seconds)

    def count(self, limit: int) -> int:
        """
        How many are open.
        """
        self.counted += 1
        self.assertEqual(limit, 256)
        return self.open

    def test_until_there_are_none(self) -> None:
        """
        Whatever is opened in between, exactly as much is let in as fits beside the reserve.
        """
        for size, others in ((1, 0), (10, 0), (17, 0), (10, 50), (192, 0)):
            self.open, self.counted = others, 0
            self.clock.advance(10)
            admitted = 0
            while self.budget.has_room(size):
                self.open += size
                admitted += 1
            self.assertEqual(admitted, (192 - others) // size)
            self.assertLess(self.counted, 12)

    def test_freed(self) -> None:
        """
        What has been closed can be used at once, and what others have opened is seen in a second.
        """
        self.open = 192
        self.assertFalse(self.budget.has_room(10))
        self.open = 182
        self.assertTrue(self.budget.has_room(10))
        self.open = 0
        self.assertTrue(self.budget.has_room(10))
        self.open = 192
        self.clock.advance(1.1)
        self.assertFalse(self.budget.has_room(10))

    def test_a_kernel_that_makes_room(self) -> None:
        """
        At the limit, a kernel that has ended leaves its place to another one, even if it needed
        fewer files than are wanted for a new one.
        """
        self.open = 185
        self.assertFalse(self.budget.has_room_for_kernel())
        self.budget.kernel_ended()
        self.assertTrue(self.budget.has_room_for_kernel())
        self.assertFalse(self.budget.has_room_for_kernel())
        # Where there is room, no place is left for later.
        self.open = 100
        self.budget.kernel_ended()
        self.assertTrue(self.budget.has_room_for_kernel())
        self.open = 185
        self.clock.advance(1.1)
        self.assertFalse(self.budget.has_room_for_kernel())

    def test_promised(self) -> None:
        """
        Nobody gets the files of a kernel that is being restarted.
        """
        self.open = 100
        self.budget.promised = lambda: 92
        self.assertFalse(self.budget.has_room(1))
        self.budget.promised = lambda: 91
        self.assertTrue(self.budget.has_room(1))

    def test_refusal(self) -> None:
        """
        The error says when to try again and what to do, and the log says it once a minute.
        """
        self.open = 192
        with capturedLogs() as events:
            for _ in range(10):
                error = self.assertRaises(OutOfFiles, self.budget.check, 1)
                self.clock.advance(1)
        self.assertEqual(len(events), 1)
        self.assertEqual(error.retry_after, 10)
        for word in ("256 files", "stop kernels", "LimitNOFILE"):
            self.assertIn(word, str(error))
        self.open = 0
        self.budget.check(1)


class LimitTests(SynchronousTestCase):
    """
    Counting, and complaining.
    """

    def test_count(self) -> None:
        """
        Another open file is counted.
        """
        before = count_open_files(1000)
        file = os.open(os.devnull, os.O_RDONLY)
        self.addCleanup(os.close, file)
        self.assertEqual(count_open_files(1000), before + 1)
        self.assertGreater(file_limit(), before)

    def test_open_files_warning(self) -> None:
        """
        The line says what is needed, and how many kernels or connections there is room for.
        """
        for limit, kernels, connections, says in (
            (1024, None, 0, ""),
            (256, None, 0, "too few"),
            (256, 0, 0, ""),
            (1024, 54, 0, ""),
            (1024, 55, 0, "lower --max-kernels to 54"),
            (256, 10, 0, ""),
            (256, 11, 0, "lower --max-kernels to 10"),
            (1024, 54, 876, ""),
            (1024, None, 877, "lower --max-connections to 876"),
            (1024, 55, 877, "--max-kernels"),
        ):
            settings = Settings(max_kernels=kernels, max_connections=connections)
            found = open_files_warning(limit, settings)
            self.assertEqual(bool(found), bool(says), found)
            self.assertIn(says, found)
