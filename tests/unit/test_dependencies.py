"""
What kgd says it works with, and what it is tried with.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENT = re.compile(r"([\w.-]+)(?:\[[\w,]+\])?>=([\d.]+)")


def keywords() -> dict[str, Any]:
    """
    :return: What ``setup.py`` passes to ``setup``, as far as it is literal.
    """
    tree = ast.parse((ROOT / "setup.py").read_text())
    (call,) = (
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "setup"
    )
    wanted = ("install_requires", "extras_require", "python_requires")
    return {
        keyword.arg: ast.literal_eval(keyword.value)
        for keyword in call.keywords
        if keyword.arg in wanted
    }


class DependenciesTests(SynchronousTestCase):
    """
    The bounds in ``setup.py``.
    """

    def setUp(self) -> None:
        found = keywords()
        self.python = found["python_requires"]
        self.requirements = [
            *found["install_requires"],
            *(each for extra in found["extras_require"].values() for each in extra),
        ]

    def test_oldest(self) -> None:
        """
        ``tests/oldest.txt`` pins each dependency to its lower bound, and nothing else.
        """
        bounds = []
        for requirement in self.requirements:
            matched = REQUIREMENT.fullmatch(requirement)
            assert matched is not None, requirement
            bounds.append(f"{matched[1]}=={matched[2]}")
        lines = (ROOT / "tests" / "oldest.txt").read_text().splitlines()
        self.assertEqual([line for line in lines if not line.startswith("#")], bounds)

    def test_oldest_python(self) -> None:
        """
        They are tried on the oldest Python that kgd runs on.
        """
        matched = re.fullmatch(r">=(3\.\d+)", self.python)
        assert matched is not None, self.python
        (section,) = re.findall(
            r"(?m)^\[testenv:oldest\]\n((?:.+\n)+)", (ROOT / "tox.ini").read_text()
        )
        self.assertIn(f"base_python = python{matched[1]}\n", section)
        self.assertIn(" -c tests/oldest.txt ", section)

    def test_reasons(self) -> None:
        """
        Each dependency has its reason in ``docs/dependencies.md``.
        """
        page = (ROOT / "docs" / "dependencies.md").read_text("utf-8")
        explained = set(re.findall(r"(?m)^\| ([\w.-]+)(?:\[\w+\])? \|", page)) - {"package"}
        named = {re.split(r"[\[>]", each)[0] for each in keywords()["install_requires"]}
        self.assertEqual(explained, named)
