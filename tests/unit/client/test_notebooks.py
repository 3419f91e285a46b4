"""
Running notebooks cell by cell.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from twisted.trial.unittest import SynchronousTestCase

from kgd.client.notebooks import NotebookRun, read_notebook
from kgd.client.values import ClientError, ExecutionError, ExecutionResult

PRINTED = {"output_type": "stream", "name": "stdout", "text": "1\n"}


def cell(code: str, *tags: str) -> Any:
    """
    :return: A cell with code.
    """
    return new_code_cell(code, metadata={"tags": list(tags)} if tags else {})


def notebook(*cells: Any, **metadata: Any) -> dict[str, Any]:
    """
    :return: A notebook as it is read.
    """
    return read_notebook(
        nbformat.writes(new_notebook(cells=list(cells), metadata=metadata)).encode()
    )


def result(status: Any = "ok", **more: Any) -> ExecutionResult:
    """
    :return: What has come of a cell.
    """
    started = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    values: dict[str, Any] = {"outputs": [PRINTED], "execution_count": 2, **more}
    return ExecutionResult(
        execution_id="e", status=status, started=started, duration=0.25, **values
    )


class NotebookRunTests(SynchronousTestCase):
    """
    ``NotebookRun``.
    """

    def sources(self, run: NotebookRun) -> list[str]:
        """
        :return: What is to be run; the notebook is valid.
        """
        nbformat.validate(nbformat.reads(run.text(), 4))
        return [code for _, code in run.cells()]

    def test_cells(self) -> None:
        """
        Cells with code are run, in order, and old outputs are gone.
        """
        first = new_code_cell("1", outputs=[nbformat.v4.new_output("stream", text="old")])
        run = NotebookRun(notebook(new_markdown_cell("# t"), first, cell(" \n"), cell("2")), {})
        self.assertEqual(list(run.cells()), [(1, "1"), (3, "2")])
        self.assertNotIn("old", run.text())

    def test_lines(self) -> None:
        """
        A source may be a list of lines, as it is in files.
        """
        given = notebook(cell("a\nb"))
        given["cells"][0]["source"] = ["a\n", "b"]
        self.assertEqual(self.sources(NotebookRun(given, {})), ["a\nb"])

    def test_parameters(self) -> None:
        """
        Parameters come after the cell that declares them, in place of others, or first.
        """
        code = "# Parameters\na = 0.1\nb = 'x'\nc = [1, None]"
        values = {"a": 0.1, "b": "x", "c": [1, None]}
        for cells, expected in (
            ([cell("1"), cell("a = 2", "parameters"), cell("3")], ["1", "a = 2", code, "3"]),
            (
                [cell("a = 2", "parameters"), cell("a = 5", "injected-parameters"), cell("3")],
                ["a = 2", code, "3"],
            ),
            ([cell("1")], [code, "1"]),
        ):
            run = NotebookRun(notebook(*cells), values)
            self.assertEqual(self.sources(run), expected)
        old = notebook(cell("1"))
        old["nbformat_minor"] = 4
        del old["cells"][0]["id"]
        self.assertEqual(self.sources(NotebookRun(old, {"a": 1})), ["# Parameters\na = 1", "1"])

    def test_wrong_parameters(self) -> None:
        """
        What cannot be passed is refused.
        """
        for name in ("class", "a b", ""):
            with self.assertRaisesRegex(ClientError, "name of a parameter"):
                NotebookRun(notebook(cell("1")), {name: 1})
        for metadata in (
            {"kernelspec": {"name": "ir", "display_name": "R", "language": "R"}},
            {"language_info": {"name": "r"}},
        ):
            with self.assertRaisesRegex(ClientError, "in Python only, not in r"):
                NotebookRun(notebook(cell("1"), **metadata), {"a": 1})

    def test_kernel_name(self) -> None:
        """
        The kernelspec is the notebook's, if it names one.
        """
        spec = {"name": "ir", "display_name": "R"}
        self.assertEqual(NotebookRun(notebook(kernelspec=spec), {}).kernel_name, "ir")
        self.assertIsNone(NotebookRun(notebook(), {}).kernel_name)

    def test_finish(self) -> None:
        """
        A cell gets its outputs, its count and its times, and the notebook stays valid.
        """
        run = NotebookRun(notebook(cell("print(1)")), {})
        self.assertTrue(run.finish(0, result()))
        written = nbformat.reads(run.text(), 4)
        nbformat.validate(written)
        (done,) = written.cells
        self.assertEqual((done.outputs, done.execution_count), ([PRINTED], 2))
        self.assertEqual(done.metadata.execution["iopub.execute_input"], "2026-01-02T03:04:05Z")
        self.assertEqual(
            done.metadata.execution["shell.execute_reply"], "2026-01-02T03:04:05.250000Z"
        )

    def test_going_on(self) -> None:
        """
        It stops at the first cell that fails, unless that is expected of it.
        """
        error = ExecutionError("E", "v", ["t"])
        for tags, status, goes_on in (
            ((), "error", False),
            (("raises-exception",), "error", True),
            (("raises-exception",), "died", False),
            (("raises-exception",), "timeout", False),
            (("raises-exception",), "interrupted", False),
        ):
            run = NotebookRun(notebook(cell("x", *tags)), {})
            self.assertEqual(run.finish(0, result(status, error=error)), goes_on)
            # It says why.
            (_, shown) = json.loads(run.text())["cells"][0]["outputs"]
            self.assertEqual((shown["ename"], shown["traceback"]), ("E", ["t"]))
            self.sources(run)

    def test_not_a_notebook(self) -> None:
        """
        Files that are no notebooks are refused, with the reason.
        """
        for text, reason in (
            (b"{", "not JSON"),
            (b"[]", "no list of cells"),
            (b'{"worksheets": [], "nbformat": 3}', "nbconvert"),
            (b'{"cells": [], "nbformat": 5}', "nbformat is 5"),
            (b'{"cells": [1], "nbformat": 4}', "cell 1 is not"),
            (b'{"cells": [{"cell_type": "code"}], "nbformat": 4}', "cell 1 has no source"),
            (b'{"cells": [{"source": [1]}], "nbformat": 4}', "cell 1 has no source"),
        ):
            with self.assertRaisesRegex(ClientError, reason):
                read_notebook(text)
