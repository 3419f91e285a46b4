"""
The architecture page names what is there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = ROOT / "kgd"


class ArchitectureTests(SynchronousTestCase):
    """
    ``docs/architecture.md``, and the shape that it promises.
    """

    def modules(self) -> Iterator[Path]:
        """
        :return: Every module, without those that are a package's ``__init__``.
        """
        for path in PACKAGE.rglob("*.py"):
            if path.name != "__init__.py":
                yield path.relative_to(PACKAGE)

    def test_modules(self) -> None:
        """
        Every module and every folder that the page names exists.
        """
        text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
        known = {str(path) for path in self.modules()}
        named = re.findall(r"`([a-z_/]+\.py|[a-z_]+(?:/[a-z_]+)*/)`", text)
        self.assertGreater(len(named), 80)
        for name in named:
            if name.endswith("/"):
                self.assertTrue((PACKAGE / name).is_dir() or (ROOT / name).is_dir(), name)
            else:
                found = any(path == name or path.endswith(f"/{name}") for path in known)
                self.assertTrue(found or (ROOT / name).is_file(), name)

    def test_shape(self) -> None:
        """
        The top level has at most ten modules, and a folder about fifteen.
        """
        counts: dict[Path, int] = {}
        for path in self.modules():
            counts[path.parent] = counts.get(path.parent, 0) + 1
        # With its __init__.
        self.assertLessEqual(counts.pop(Path()) + 1, 10)
        for folder, count in counts.items():
            self.assertLessEqual(count, 17, folder)
