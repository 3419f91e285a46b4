"""
The table of cases tells the truth.
"""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

from twisted.python.reflect import namedAny
from twisted.trial.unittest import SynchronousTestCase

TABLE = Path(__file__).resolve().parents[2] / "cases.md"
CASES = (
    (1, 19), (20, 44), (50, 64), (70, 115), (120, 131), (140, 166), (170, 178), (190, 245),
    (250, 258), (270, 320), (330, 348), (360, 372),
)  # fmt: skip
DEFECTS = ((1, 24),)


def numbers(ranges: tuple[tuple[int, int], ...]) -> list[int]:
    """
    All of them.
    """
    return [number for first, last in ranges for number in range(first, last + 1)]


def rows_of(section: str) -> list[tuple[list[int], list[str]]]:
    """
    :return: The numbers and the tests of each row.
    """
    rows = []
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 3 and re.match(r"D?\d", cells[0]):
            found: list[int] = []
            for part in cells[0].replace("D", "").split(","):
                first, _, last = part.strip().partition("-")
                found += range(int(first), int(last or first) + 1)
            rows.append((found, re.findall(r"`([\w.]+)`", cells[1])))
    return rows


class TableTests(SynchronousTestCase):
    """
    ``tests/cases.md``.
    """

    def setUp(self) -> None:
        _, self.cases, self.defects = TABLE.read_text("utf-8").split("\n## ")

    def test_complete(self) -> None:
        """
        Every row is there, once.
        """
        for section, expected in ((self.cases, CASES), (self.defects, DEFECTS)):
            found = [number for row, _ in rows_of(section) for number in row]
            self.assertEqual(sorted(found), numbers(expected))

    def test_tests_exist(self) -> None:
        """
        Every test that is named is there.
        """
        for section in (self.cases, self.defects):
            for _, names in rows_of(section):
                for name in names:
                    module, case, method = f"tests.{name}".rsplit(".", 2)
                    self.assertTrue(
                        callable(getattr(getattr(import_module(module), case), method)), name
                    )


class SecurityTests(SynchronousTestCase):
    """
    The table at the end of ``docs/security.md``.
    """

    def test_tests_exist(self) -> None:
        """
        Every module, class and test that is named is there.
        """
        table = (TABLE.parents[1] / "docs" / "security.md").read_text("utf-8").split("\n## ")[-1]
        names = re.findall(r"`((?:unit|wire|kernel|daemon|pace|clients)\.[\w.]+)`", table)
        self.assertGreater(len(names), 20)
        for name in names:
            namedAny(f"tests.{name}")
