"""
What the documents name is there.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from kgd.config.options import OPTIONS
from kgd.interfaces import ICellParser
from kgd.notebook.api import Cell, NotebookSource

ROOT = Path(__file__).resolve().parents[3]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("etc/*/*.md")]


def anchors(page: Path) -> set[str]:
    """
    :return: What links to the headings of a page end with.
    """
    titles = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in titles}


class PagesTests(SynchronousTestCase):
    """
    All of them.
    """

    def test_links(self) -> None:
        """
        Every link within the repository leads somewhere.
        """
        self.assertGreater(len(PAGES), 6)
        for page in PAGES:
            for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
                if re.match(r"\w+:", target):
                    continue
                path, _, anchor = target.partition("#")
                found = (page.parent / path).resolve() if path else page
                self.assertTrue(found.exists(), f"{page}: {target}")
                if anchor:
                    self.assertIn(anchor, anchors(found), f"{page}: {target}")

    def test_fences(self) -> None:
        """
        Every code block ends.
        """
        for page in PAGES:
            fences = re.findall(r"^```(?!`)", page.read_text("utf-8"), re.MULTILINE)
            self.assertEqual(len(fences) % 2, 0, page)


class GuideTests(SynchronousTestCase):
    """
    The guide to notebook_http.
    """

    def setUp(self) -> None:
        self.text = (ROOT / "docs" / "notebook-http.md").read_text("utf-8")

    def test_options(self) -> None:
        """
        Every option and variable that it names exists, and the defaults are right.
        """
        options = {f"--{option.name}": option for option in OPTIONS}
        self.assertLessEqual(set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", self.text)), set(options))
        variables = {name for option in OPTIONS for name in option.environment}
        self.assertLessEqual(set(re.findall(r"\bKGD?_[A-Z_]+\b", self.text)), variables)
        limits = re.findall(r"^\| `(--[a-z-]+)` \| ([\d]+)(?: (\w+))? \|", self.text, re.MULTILINE)
        self.assertEqual(len(limits), 5)
        for name, number, unit in limits:
            shown = options[name].shown_default
            self.assertEqual(shown, number + (unit if unit == "MiB" else ""), name)
        for row in re.findall(r"^\| `(--[a-z-]+)` \| (`KGD_.*)", self.text, re.MULTILINE):
            for name in options[row[0]].environment:
                self.assertIn(f"`{name}`", row[1])

    def test_parser(self) -> None:
        """
        The parser that it shows is one.
        """
        (code,) = re.findall(r"^```python\n(from zope.*?)^```", self.text, re.MULTILINE | re.DOTALL)
        space: dict[str, Any] = {}
        exec(code, space)
        parser = space["parser"]
        verifyObject(ICellParser, parser)
        sources = ("x = 1", "#/x/:y\nprint(x)")
        api = parser.parse(
            NotebookSource(
                title="t",
                language="python",
                comment_prefix="#",
                cells=tuple(
                    Cell(number=number, kind="code", source=source)
                    for number, source in enumerate(sources, 1)
                ),
            )
        )
        self.assertEqual([endpoint.path for endpoint in api.endpoints], ["/x/:y"])
        self.assertEqual(api.seed, ((1, "x = 1"),))

    def test_examples(self) -> None:
        """
        The notebooks that it names are there.
        """
        for name in re.findall(r"etc/api_examples/\w+\.ipynb", self.text):
            self.assertTrue((ROOT / name).exists(), name)
