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

from kgd.cli.notebooks import NotebookRun
from kgd.client.values import ExecutionError, ExecutionResult
from kgd.errors import GatewayError

PRINTED = {"output_type": "stream", "name": "stdout", "text": "1\n"}


def cell(code: str, *tags: str) -> Any:
    """
    :return: A cell with code.
    """
    return new_code_cell(code, metadata={"tags": list(tags)} if tags else {})


def run_of(*cells: Any, parameters: Any = None, **metadata: Any) -> NotebookRun:
    """
    :return: A notebook that is to be run.
    """
    content = nbformat.writes(new_notebook(cells=list(cells), metadata=metadata)).encode()
    return NotebookRun(content, "n.ipynb", parameters or {})


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
        run = run_of(new_markdown_cell("# t"), first, cell(" \n"), cell("2"))
        self.assertEqual(list(run.cells()), [(1, "1"), (3, "2")])
        self.assertNotIn("old", run.text())

    def test_parameters(self) -> None:
        """
        Parameters are set in the language of the notebook.
        """
        spec = {"name": "ir", "display_name": "R", "language": "R"}
        for metadata, code in (
            ({}, "a = 0.1\nb = None"),
            ({"kernelspec": spec}, "a = 0.1\nb = NULL"),
            ({"language_info": {"name": "julia"}}, "a = 0.1\nb = nothing"),
        ):
            run = run_of(
                cell("a = 2", "parameters"), cell("3"), parameters={"a": 0.1, "b": None}, **metadata
            )
            self.assertEqual(self.sources(run), ["a = 2", f"# Parameters\n{code}", "3"])

    def test_wrong_parameters(self) -> None:
        """
        What cannot be passed is refused.
        """
        with self.assertRaisesRegex(GatewayError, "'class' cannot be the name"):
            run_of(cell("1"), parameters={"class": 1})
        with self.assertRaisesRegex(GatewayError, "cannot be set in cobol"):
            run_of(cell("1"), parameters={"a": 1}, language_info={"name": "cobol"})

    def test_kernel_name(self) -> None:
        """
        The kernelspec is the notebook's, if it names one.
        """
        spec = {"name": "ir", "display_name": "R"}
        self.assertEqual(run_of(kernelspec=spec).kernel_name, "ir")
        self.assertIsNone(run_of().kernel_name)

    def test_finish(self) -> None:
        """
        A cell gets its outputs, its count and its times, and the notebook stays valid.
        """
        run = run_of(cell("print(1)"))
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
            run = run_of(cell("x", *tags))
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
            (b"{", "n.ipynb is not JSON"),
            (b"[" * 100_000, "n.ipynb is nested too deeply"),
            (b"[]", "n.ipynb"),
            (b'{"worksheets": [], "nbformat": 3}', "n.ipynb"),
            (b'{"cells": [1], "nbformat": 4}', "n.ipynb"),
        ):
            with self.assertRaisesRegex(GatewayError, reason):
                NotebookRun(text, "n.ipynb", {})
