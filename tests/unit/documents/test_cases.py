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


def rows_of(text: str) -> list[tuple[str, list[str], str]]:
    """
    :return: The behavior, the names of the tests and the remark of each row, in order.
    """
    rows = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) == 3 and cells[0] != "behavior" and set(cells[0]) != {"-"}:
            rows.append((cells[0], re.findall(r"`([\w.]+)`", cells[1]), cells[2]))
    return rows


class TableTests(SynchronousTestCase):
    """
    ``tests/cases.md``.
    """

    def setUp(self) -> None:
        self.text = TABLE.read_text("utf-8")
        self.rows = rows_of(self.text)

    def test_complete(self) -> None:
        """
        Each section has rows. Each behavior is described once, in words, and has tests or the
        reason why not.
        """
        _, *sections = self.text.split("\n## ")
        self.assertEqual(sum(len(rows_of(section)) for section in sections), len(self.rows))
        for section in sections:
            self.assertTrue(rows_of(section), section)
        # So that none gets lost.
        self.assertGreaterEqual(len(self.rows), 240)
        self.assertEqual(len({behavior for behavior, _, _ in self.rows}), len(self.rows))
        for behavior, names, remark in self.rows:
            self.assertGreater(len(behavior.split()), 3, behavior)
            self.assertTrue(names or remark, behavior)

    def test_tests_exist(self) -> None:
        """
        Every test that is named is there.
        """
        for behavior, names, _ in self.rows:
            for name in names:
                module, case, method = f"tests.{name}".rsplit(".", 2)
                found = getattr(getattr(import_module(module), case), method)
                self.assertTrue(callable(found), f"{behavior}: {name}")


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
