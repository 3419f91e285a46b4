"""
What is to become of the changelog.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parents[2]


class FragmentsTests(SynchronousTestCase):
    """
    The files in ``newsfragments``.
    """

    def setUp(self) -> None:
        settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["towncrier"]
        self.kinds = [kind["directory"] for kind in settings["type"]]
        self.directory = ROOT / settings["directory"]
        self.changelog = (ROOT / settings["filename"]).read_text("utf-8")
        self.start = settings["start_string"]

    def test_names(self) -> None:
        """
        Each is called after its subject, or its issue, and its kind.
        """
        name = re.compile(rf"(\+[a-z0-9-]+|\d+)\.({'|'.join(self.kinds)})\.md")
        for path in self.directory.iterdir():
            if path.name != "README.md":
                self.assertTrue(name.fullmatch(path.name), path.name)

    def test_content(self) -> None:
        """
        Each is one paragraph of whole sentences, as it becomes one entry of a list.
        """
        for path in self.directory.glob("*.*.md"):
            text = path.read_text("utf-8").strip()
            self.assertNotIn("\n\n", text, path.name)
            self.assertTrue(text.endswith("."), path.name)
            self.assertFalse(text.startswith(("-", "*", "#")), path.name)

    def test_kinds_are_explained(self) -> None:
        """
        The README of the directory names every kind.
        """
        told = (self.directory / "README.md").read_text("utf-8")
        for kind in self.kinds:
            self.assertIn(f"`{kind}`", told)

    def test_place(self) -> None:
        """
        The changelog has the line after which towncrier writes, once.
        """
        self.assertEqual(self.changelog.count(self.start), 1)
