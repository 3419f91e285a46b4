"""
How Sphinx builds these pages: ``tox run -e docs``.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

# What generates parts of pages is beside them.
sys.path.insert(0, str(Path(__file__).parent))

from generated import interfaces, man_page_options

from kgd import __version__

project = "kgd"
author = "The kgd authors"
copyright = "the kgd authors"  # noqa: A001
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
nitpicky = True

myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "deflist"]

html_theme = "furo"
html_title = f"kgd {release}"
html_copy_source = False

man_pages: list[tuple[str, str, str, list[str], int]] = [
    ("manual", "kgd", "kernel gateway daemon", [], 1)
]

autodoc_member_order = "bysource"
# What belongs to others, or is no part of what these pages promise.
nitpick_ignore_regex = [
    ("py:.*", r"(?!kgd\b).*"),
    ("py:.*", r"kgd\.(auth|gateway|kernels|notebook|observability|personalities)\..*"),
    ("py:.*", r"kgd\.(open_files|protocol|relay|sessions|shutdown|testing|web)\..*"),
]
suppress_warnings = [
    # JSON with "..." in it, for what is left out.
    "misc.highlighting_failure",
]

_NOT_RUN = re.compile(r"^( *)<!-- not run: (.*) -->$", re.MULTILINE)


def _show_reasons(app: Any, page: str, source: list[str]) -> None:
    """
    Let readers see which examples are not tried by the tests, and why.
    """
    source[0] = _NOT_RUN.sub(r"\1*The tests do not run this: \2.*\n", source[0])


def _generate(app: Any, page: str, source: list[str]) -> None:
    """
    Fill in what follows from the program itself.
    """
    source[0] = re.sub(
        r"^<!-- interfaces: (.*) -->$",
        lambda found: interfaces(found[1].split()),
        source[0],
        flags=re.MULTILINE,
    )
    source[0] = source[0].replace("<!-- all options -->", man_page_options())


def setup(app: Any) -> None:
    """
    Called by Sphinx.
    """
    app.connect("source-read", _show_reasons)
    app.connect("source-read", _generate)
