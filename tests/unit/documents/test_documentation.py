"""
What is to become of each code block in the documents.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import nbformat
from twisted.internet.task import Clock
from twisted.python.reflect import namedAny
from twisted.trial.unittest import SynchronousTestCase

from kgd.gateway.context import GatewayContext
from kgd.personalities.jupyter_websocket import JupyterWebsocket
from kgd.personalities.notebook_http.personality import NotebookHTTP
from kgd.settings import Settings
from kgd.testing.kernels import FakeKernelSpecs, MemoryKernels
from tests.support.documents import (
    COMMANDS,
    PAGES,
    ROOT,
    RUNNABLE,
    agrees,
    blocks_of,
    console,
    starts_gateway,
)
from tests.support.notebooks import python_notebook

BLOCKS = [block for page in PAGES for block in blocks_of(page)]
KINDS = {"", "not run", "fails", "output", "file", "from", "tested"}


class BlocksTests(SynchronousTestCase):
    """
    All blocks of all pages.
    """

    def test_decided(self) -> None:
        """
        What could be run is run, or says why not.
        """
        for block in BLOCKS:
            self.assertIn(block.kind, KINDS, str(block))
            if block.kind not in ("", "fails", "output"):
                self.assertTrue(block.detail, f"{block}: {block.kind} needs more")
            if block.language in COMMANDS and block.kind in ("", "fails"):
                self.assertIn(
                    block.language,
                    RUNNABLE,
                    f"{block} is neither run nor marked; tests/support/documents.py tells how",
                )

    def test_most_are_run(self) -> None:
        """
        Only few commands are shown without being tried.
        """
        kinds = Counter(block.kind for block in BLOCKS if block.language in COMMANDS)
        tried = kinds.total() - kinds["not run"]
        self.assertGreater(tried / kinds.total(), 0.7, str(kinds))

    def test_parts(self) -> None:
        """
        What is shown of a file is in that file.
        """
        for block in BLOCKS:
            if block.kind == "from":
                path = ROOT / block.detail
                texts = [path.read_text("utf-8")]
                if path.suffix == ".ipynb":
                    texts = [cell.source + "\n" for cell in nbformat.read(path, 4).cells]
                flat = [_flat(text) for text in texts]
                self.assertTrue(any(_flat(block.text) in text for text in flat), str(block))

    def test_tested(self) -> None:
        """
        Tests that are named are there.
        """
        for block in BLOCKS:
            if block.kind == "tested":
                self.assertTrue(callable(namedAny(f"tests.{block.detail}")), str(block))

    def test_data(self) -> None:
        """
        JSON and TOML can be read, unless something is left out.
        """
        for block in BLOCKS:
            if "..." not in block.text:
                if block.language == "json":
                    json.loads(block.text)
                elif block.language == "toml":
                    tomllib.loads(block.text)


class ContributingTests(SynchronousTestCase):
    """
    What a newcomer is told to do.
    """

    def test_dependencies(self) -> None:
        """
        What the tests import is installed before they are run.
        """
        (wanted,) = re.findall(
            r"(?m)^\[testenv\]\n(?:.+\n)*?deps =\n((?: +.+\n)+)", (ROOT / "tox.ini").read_text()
        )
        names = re.findall(r"(?m)^ +([\w-]+)", wanted)
        self.assertIn("hypothesis", names)
        (told,) = re.findall(r"pip install -e (.+)", (ROOT / "CONTRIBUTING.md").read_text())
        self.assertLessEqual(set(names), set(told.split()))


class RoutesTests(SynchronousTestCase):
    """
    The HTTP reference.
    """

    def routes(self, kind: Any) -> set[tuple[str, str]]:
        """
        :return: The method and the path of everything that a personality serves.
        """
        notebook = Path(self.mktemp()).resolve()
        notebook.write_bytes(python_notebook("# GET /hello\nx"))
        settings = Settings(
            seed_uri=(str(notebook),),
            static_path=str(ROOT),
            allow_notebook_download=True,
            drain_endpoint=True,
        )
        specs = FakeKernelSpecs()
        parts = GatewayContext(Clock(), settings, MemoryKernels(settings, specs), specs, None)
        personality = kind(parts)
        self.successResultOf(personality.start())
        self.addCleanup(personality.stop)
        return {
            (method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", route.rule))
            for route in (*personality._table.routes, *parts.operations.routes)
            for method in route.methods
        }

    def test_routes(self) -> None:
        """
        It has a section for each route, and for nothing else.
        """
        text = (ROOT / "docs" / "http-api.md").read_text("utf-8")
        sections = re.findall(r"^### `([A-Z]+) (?:\{prefix\})?(/\S*)`$", text, re.MULTILINE)
        self.assertEqual(len(sections), len(set(sections)))
        self.assertEqual(set(sections), self.routes(JupyterWebsocket) | self.routes(NotebookHTTP))


def _flat(text: str) -> str:
    return "\n".join(line.strip() for line in text.splitlines())


class ReadingTests(SynchronousTestCase):
    """
    How blocks are read.
    """

    def test_console(self) -> None:
        """
        Commands are told from what they print.
        """
        text = "$ cat <<END\n> a\n> END\na\n\nb\n$ true\n"
        expected = [("cat <<END\na\nEND", "a\n\nb\n"), ("true", "")]
        self.assertEqual(list(console(text)), expected)

    def test_agrees(self) -> None:
        """
        Three dots stand for anything, also over lines; everything else has to be the same.
        """
        self.assertTrue(agrees('{"id": "...",...}', '{"id": "x",\n "a": [1]}\n'))
        self.assertTrue(agrees("a\nb\n", "a  \nb\n\n"))
        self.assertTrue(agrees("{\n...\n  b\n...", "{\n  a\n  b\n}"))
        self.assertTrue(agrees("{\n...\n  b\n...", "{\n  b\n}"))
        self.assertFalse(agrees("{\n...\n  b\n...", "{\n  ab\n}"))
        self.assertFalse(agrees("a.b", "axb"))
        self.assertFalse(agrees("a...", "ba"))
        self.assertFalse(agrees("", "a"))

    def test_starts_gateway(self) -> None:
        """
        A gateway runs on, unless it only says something.
        """
        for command in ("kgd", "KG_API=x kgd --port=0", "jupyter kgd --a=b"):
            self.assertTrue(starts_gateway(command), command)
        for command in (
            "kgd --help", "kgd --show-config | head", "twistd kgd", "curl kgd", "kgd run x",
            "kgd kernels",
        ):  # fmt: skip
            self.assertFalse(starts_gateway(command), command)

    def test_blocks(self) -> None:
        """
        A remark belongs to the block right after it; directives are no blocks.
        """
        page = Path(self.mktemp())
        page.write_text(
            "<!-- fails -->\n```sh\nfalse\n```\n<!-- file: x -->\nText\n````\n```sh\n````\n"
            "```{include} a\n```\n"
            ":::{only} html\n<!-- output -->\n\n  ```text\n  b\n  ```\n:::\n"
        )
        found = [(block.line, block.language, block.remark) for block in blocks_of(page)]
        self.assertEqual(found, [(2, "sh", "fails"), (7, "", ""), (15, "text", "output")])
