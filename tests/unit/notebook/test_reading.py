"""
Reading notebooks, and files that are nearly notebooks.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from kgd.errors import InvalidNotebook
from kgd.notebook.reading import Notebook, read_notebook
from kgd.protocol.json import read_json_document
from tests.support.notebooks import mutations, notebook

CODE = {"cell_type": "code", "metadata": {}, "outputs": [], "source": "x = 1"}
METADATA = {"kernelspec": {"name": "python3"}, "language_info": {"name": "python"}}


def book(**changes: Any) -> dict[str, Any]:
    """
    :return: A notebook with these fields; ``...`` removes one.
    """
    fields = {"nbformat": 4, "nbformat_minor": 5, "metadata": METADATA, "cells": [CODE], **changes}
    return {key: value for key, value in fields.items() if value is not ...}


def cell(**changes: Any) -> dict[str, Any]:
    """
    :return: A notebook whose second cell differs from a good one in these fields.
    """
    changed = {key: value for key, value in (CODE | changes).items() if value is not ...}
    return book(cells=[CODE, changed])


def read(value: Any) -> Notebook:
    """
    Read something that is JSON.
    """
    return read_notebook(json.dumps(value).encode(), "n.ipynb")


class RefusedTests(SynchronousTestCase):
    """
    What cannot be served.
    """

    def assert_refused(self, raw: bytes, words: str) -> None:
        """
        The error is one line, which names the file and has these words.
        """
        error = str(self.assertRaises(InvalidNotebook, self.read_all, raw))
        self.assertIn(words, error)
        self.assertTrue(error.startswith("n.ipynb"), error)
        self.assertTrue(error.isprintable() and error.isascii(), error)
        self.assertIn("; ", error, "what to do about it")

    def read_all(self, raw: bytes) -> None:
        """
        Read a file and all that is used of it.
        """
        found = read_notebook(raw, "n.ipynb")
        found.kernel_name()
        found.language()

    def test_fields(self) -> None:
        """
        The error names the cell and the field.
        """
        for value, words in (
            (5, "is not a notebook: it is a number"),
            (None, "is not a notebook: it is null"),
            ("x", "is not a notebook: it is the text 'x'"),
            ([CODE], "is not a notebook: it is a list"),
            (book(nbformat=...), "is not a notebook: it has no nbformat"),
            ({}, "is not a notebook: it has no nbformat"),
            (book(nbformat="4"), "nbformat is the text '4', and has to be the number 4"),
            (book(nbformat=True), "nbformat is true"),
            (book(nbformat={}), "nbformat is an object"),
            (book(nbformat=5), "has the format 5, and kgd reads 4, 3, 2"),
            (book(nbformat=1), "has the format 1"),
            (book(cells=...), "cells is missing, and has to be a list"),
            (book(cells=None), "cells is null"),
            (book(cells={}), "cells is an object"),
            (book(cells=[CODE, "x"]), "cell 2 is the text 'x', and has to be an object"),
            (book(cells=["x" * 100]), "cell 1 is a long text"),
            (book(cells=[None]), "cell 1 is null"),
            (book(cells=[[CODE]]), "cell 1 is a list"),
            (cell(cell_type=...), "cell 2: cell_type is missing"),
            (cell(cell_type=None), "cell 2: cell_type is null"),
            (cell(cell_type=["code"]), "cell 2: cell_type is a list"),
            (cell(source=...), "cell 2: source is missing, and has to be text, or a list of texts"),
            (cell(source=None), "cell 2: source is null"),
            (cell(source=5), "cell 2: source is a number"),
            (cell(source=False), "cell 2: source is false"),
            (cell(source=["a", 1, None]), "cell 2: source[1] is a number, and has to be text"),
            (cell(source=[["a"]]), "cell 2: source[0] is a list"),
            (cell(source="x = '\ud800'"), r"cell 2: source has \ud800, which is half of a char"),
            (cell(source=["\udc00"]), r"cell 2: source has \udc00"),
            (book(metadata=[]), "metadata is a list, and has to be an object"),
            (book(metadata="x"), "metadata is the text 'x'"),
            (book(metadata={"kernelspec": "python3"}), "metadata.kernelspec is the text 'python3'"),
            (book(metadata={"kernelspec": {"name": 3}}), "metadata.kernelspec.name is a number"),
            (
                book(metadata={"kernelspec": {"name": "a\nb"}}),
                r"kernelspec.name is the text 'a\nb'",
            ),
            (book(metadata={"kernelspec": {"name": "\ud800"}}), r"is the text '\ud800'"),
            (book(metadata={"language_info": "r"}), "metadata.language_info is the text 'r'"),
            (book(metadata={"language_info": {"name": {}}}), "language_info.name is an object"),
        ):
            self.assert_refused(json.dumps(value).encode(), words)

    def test_files(self) -> None:
        """
        What is no JSON, or none that can be read, is named as that.
        """
        for raw, words in (
            (b"", "is not a notebook: the file is empty"),
            (b"\xef\xbb\xbf \n", "the file is empty"),
            (b"{", "is not a notebook: it is not JSON: "),
            (b'{\n "cells": [,]}', "in line 2, column"),
            (b"<html>", "it is not JSON"),
            (json.dumps(book()).encode("utf-16"), "line 1 is not UTF-8"),
            ('{\n"nbformat": "\u00e9"}'.encode("latin-1"), "line 2 is not UTF-8; save it in this"),
            (b"[" * 100_000, "it is nested too deeply"),
            (b'{"a":' * 100_000, "it is nested too deeply"),
            (b'{"nbformat": ' + b"9" * 10_000 + b"}", "nbformat is a number"),
        ):
            self.assert_refused(raw, words)

    def test_worksheets(self) -> None:
        """
        Older formats have the cells elsewhere; they are counted over all worksheets.
        """
        good = {"cell_type": "code", "input": "x"}
        for worksheets, words in (
            (..., "worksheets is missing"),
            ({}, "worksheets is an object"),
            ([None], "a worksheet is null"),
            ([{}], "a worksheet: cells is missing"),
            ([{"cells": [good]}, {"cells": [{"cell_type": "code"}]}], "cell 2: input is missing"),
            ([{"cells": [good, {"input": "x"}]}], "cell 2: cell_type is missing"),
            ([{"cells": [CODE]}], "cell 1: input is missing"),
        ):
            for version in (2, 3):
                old = book(nbformat=version, cells=..., worksheets=worksheets)
                self.assert_refused(json.dumps(old).encode(), words)

    def test_every_mutation(self) -> None:
        """
        Whatever else is done to a good notebook, it is read, or refused in one line.
        """
        content = json.loads(notebook(("markdown", "# A"), ("code", "# GET /x"), language="python"))

        @given(mutations(content), st.sampled_from([2, 3, 4]))
        def check(mutated: Any, version: int) -> None:
            if isinstance(mutated, dict) and version < 4 and mutated.get("nbformat") == 4:
                mutated = mutated | {
                    "nbformat": version, "worksheets": [{"cells": mutated.get("cells")}]
                }  # fmt: skip
            raw = json.dumps(mutated).encode()
            try:
                self.read_all(raw)
            except InvalidNotebook:
                self.assert_refused(raw, "")

        check()


class ReadTests(SynchronousTestCase):
    """
    What is read.
    """

    def test_tolerated(self) -> None:
        """
        What kgd does not need may be missing or wrong.
        """
        for value in (
            book(nbformat_minor=...),
            book(nbformat_minor="x"),
            book(nbformat=4.0),
            cell(outputs=..., metadata=..., execution_count="x", id=5),
            cell(outputs=None, attachments=3),
            cell(outputs=[None, {"output_type": "stream", "text": 7}, {"data": [1]}]),
            book(cells=[CODE, {"cell_type": "code", "source": ""}, {"cell_type": "sql"}]),
            book(cells=[CODE, {"cell_type": "markdown"}, {"cell_type": "raw", "source": 5}]),
            book(cells=[CODE, {"cell_type": "", "source": None}]),
            book(orig_nbformat=7, signature=None),
        ):
            found = read(value)
            self.assertEqual(found.code_cells()[0], (1, "x = 1"), value)
            self.assertEqual((found.kernel_name(), found.language()), ("python3", "python"))

    def test_no_metadata(self) -> None:
        """
        What names neither kernelspec nor language has none.
        """
        cases: tuple[Any, ...] = (
            ...,
            None,
            {},
            {"kernelspec": None, "language_info": None},
            {"kernelspec": {}, "language_info": {}},
            {"kernelspec": {"name": None}, "language_info": {"name": None}},
            {"kernelspec": {"name": ""}, "language_info": {"name": ""}},
        )
        for metadata in cases:
            found = read(book(metadata=metadata))
            self.assertEqual((found.kernel_name(), found.language()), (None, ""), metadata)

    def test_cells(self) -> None:
        """
        Cells keep their numbers; lines may be items of a list; other cells have text or none.
        """
        found = read(
            book(
                cells=[
                    {"cell_type": "markdown", "source": ["# A\n", "b"]},
                    {"cell_type": "code", "source": ["a\n", "b"]},
                    {"cell_type": "raw", "source": "\ud800r"},
                    {"cell_type": "code", "source": []},
                    {"cell_type": "sql", "source": 3},
                    {"cell_type": "code", "source": "\U0001f40e"},
                ]
            )
        )
        self.assertEqual(
            [(each.number, each.kind, each.source) for each in found.cells],
            [
                (1, "markdown", "# A\nb"),
                (2, "code", "a\nb"),
                (3, "raw", "?r"),
                (4, "code", ""),
                (5, "sql", ""),
                (6, "code", "\U0001f40e"),
            ],
        )
        self.assertEqual(found.code_cells(), ((2, "a\nb"), (6, "\U0001f40e")))

    def test_files(self) -> None:
        """
        A byte order mark, Python's NaN, large numbers and repeated keys are taken; of repeated
        keys, the last one counts.
        """
        raw = json.dumps(cell(outputs=[{"data": {"application/json": float("nan")}}])).encode()
        self.assertEqual(len(read_notebook(b"\xef\xbb\xbf" + raw, "n").cells), 2)
        large = raw.replace(b"NaN", b"7" * 10_000)
        self.assertEqual(len(read_notebook(large, "n").cells), 2)
        twice = b'{"cells": null, "nbformat": 3, ' + raw[1:]
        self.assertEqual(len(read_notebook(twice, "n").cells), 2)

    def test_worksheets(self) -> None:
        """
        Formats 2 and 3 have worksheets, and headings of their own.
        """
        worksheets = [
            {
                "cells": [
                    {"cell_type": "heading", "level": 2, "source": ["A\n", "b"]},
                    {"cell_type": "heading", "level": "x", "source": "C"},
                    {"cell_type": "code", "language": "python", "input": ["a\n", "b"]},
                ]
            },
            {"cells": [{"cell_type": "html", "source": "<b>"}, {"cell_type": "code", "input": ""}]},
        ]
        for version in (2, 3):
            found = read(book(nbformat=version, cells=..., worksheets=worksheets))
            self.assertEqual(
                [(each.kind, each.source) for each in found.cells],
                [
                    ("markdown", "## A b"),
                    ("markdown", "# C"),
                    ("code", "a\nb"),
                    ("markdown", "<b>"),
                    ("code", ""),
                ],
            )
            self.assertEqual(found.code_cells(), ((3, "a\nb"),))


class DocumentTests(SynchronousTestCase):
    """
    JSON in a notebook's markdown, which the gateway's own documents quote.
    """

    def test_written_again(self) -> None:
        """
        What is read can be written.
        """
        for text in (
            '{"a": [1, "\\u00e9", {"b": null}]}',
            "[" * 100 + "]" * 100,
            "1",
            "[1e3]",
            f"[{2**999}]",
        ):
            self.assertEqual(read_json_document(text), json.loads(text))

    def test_refused(self) -> None:
        """
        What cannot be written is not read.
        """
        for text, words in (
            ("{", "Expecting"),
            ("[" * 101 + "]" * 101, "too deep"),
            ('{"a":' * 101 + "1" + "}" * 101, "too deep"),
            ("[" * 100_000, "too deep"),
            ('["\\ud800"]', "half of a character"),
            ('{"\\ud800": 1}', "half of a character"),
            ("[" + "7" * 10_000 + "]", ""),
            ("[NaN]", "NaN"),
        ):
            error = self.assertRaises(ValueError, read_json_document, text)
            self.assertIn(words, str(error))
