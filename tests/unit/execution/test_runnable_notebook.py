"""
Notebooks that are made ready to run.
"""

from __future__ import annotations

import copy
from typing import Any

import nbformat
from twisted.trial.unittest import SynchronousTestCase

from kgd.errors import InvalidNotebook
from kgd.execution.runnable_notebook import (
    cells_to_run,
    runnable_notebook,
    set_kernel,
    set_parameters,
    valid_outputs,
)


def notebook(*cells: dict[str, Any], minor: int = 4, **metadata: Any) -> dict[str, Any]:
    """
    :return: A notebook with these cells.
    """
    made = [{"cell_type": "code", "source": "", **cell} for cell in cells]
    return {"nbformat": 4, "nbformat_minor": minor, "metadata": metadata, "cells": made}


class RunnableTests(SynchronousTestCase):
    """
    What is made is valid.
    """

    def made(self, content: dict[str, Any]) -> dict[str, Any]:
        """
        :return: The runnable notebook, which is valid; the given one has not been changed.
        """
        before = copy.deepcopy(content)
        found = runnable_notebook(content)
        set_kernel(found, "python3", "Python 3", "python")
        self.assertEqual(content, before)
        nbformat.validate(nbformat.from_dict(found), relax_add_props=False)
        return found

    def test_kept(self) -> None:
        """
        What the format allows is kept, but for outputs and what was noted of the last run.
        """
        found = self.made(
            notebook(
                {
                    "id": "a-1",
                    "source": ["1\n", "2"],
                    "metadata": {"tags": ["x"], "mine": {"a": 1}, "execution": {"a": "b"}},
                    "outputs": [{"output_type": "stream", "name": "stdout", "text": "old"}],
                    "execution_count": 5,
                },
                {
                    "cell_type": "markdown",
                    "source": "![](attachment:a.png)",
                    "attachments": {"a.png": {"image/png": "AAAA"}},
                },
                {"cell_type": "raw", "source": "r", "metadata": {"format": "text/html"}},
                minor=5,
                title="t",
                mine=[1],
                language_info={"name": "python", "codemirror_mode": {"name": "ipython"}},
            )
        )
        code, text, raw = found["cells"]
        self.assertEqual((code["id"], code["source"]), ("a-1", "1\n2"))
        self.assertEqual(code["metadata"], {"tags": ["x"], "mine": {"a": 1}})
        self.assertEqual((code["outputs"], code["execution_count"]), ([], None))
        self.assertEqual(text["attachments"], {"a.png": {"image/png": "AAAA"}})
        self.assertEqual(raw["metadata"], {"format": "text/html"})
        metadata = found["metadata"]
        self.assertEqual((metadata["title"], metadata["mine"]), ("t", [1]))
        self.assertEqual(metadata["language_info"]["codemirror_mode"], {"name": "ipython"})
        self.assertEqual(
            metadata["kernelspec"],
            {"name": "python3", "display_name": "Python 3", "language": "python"},
        )

    def test_older(self) -> None:
        """
        Notebooks without ids get some, all different ones, and may have almost nothing else.
        """
        for minor in range(6):
            found = self.made(notebook({}, {}, {"cell_type": "markdown"}, minor=minor))
            self.assertEqual(len({cell["id"] for cell in found["cells"]}), 3)
        self.made({"nbformat": 4, "cells": []})
        self.made({"nbformat": 4, "cells": [], "metadata": None})

    def test_mended(self) -> None:
        """
        What the format does not allow is left out.
        """
        cells_metadata: tuple[Any, ...] = (
            {"tags": "x"}, {"tags": [1, "a,b", "", "a", "a"]}, {"name": 1}, {"name": ""},
            {"jupyter": 1}, {"jupyter": {"source_hidden": 1}}, {"collapsed": "x"},
            {"scrolled": "x"}, {"format": 1}, [], None, {"execution": 1},
        )  # fmt: skip
        for metadata in cells_metadata:
            for kind in ("code", "markdown", "raw"):
                self.made(notebook({"cell_type": kind, "metadata": metadata}))
        cells: tuple[Any, ...] = (
            {"id": ""}, {"id": "a b"}, {"id": "x" * 65}, {"id": 1}, {"outputs": 1}, {"more": 1},
            {"attachments": {}}, {"execution_count": "x"},
            {"cell_type": "markdown", "attachments": 1},
            {"cell_type": "raw", "attachments": {"a": 1, "b": {"image/png": {"c": 1}}}},
        )  # fmt: skip
        for cell in cells:
            self.made(notebook(cell, cell))
        notebooks_metadata: tuple[Any, ...] = (
            {"kernelspec": 1}, {"kernelspec": {"name": 1, "display_name": 2}},
            {"language_info": 1}, {"language_info": {}}, {"language_info": {"name": 1}},
            {"language_info": {"name": "python", "mimetype": 1, "codemirror_mode": 1}},
            {"title": 1}, {"authors": 1}, {"orig_nbformat": 0}, {"orig_nbformat": "3"},
            {"orig_nbformat": True}, {"title": None},
        )  # fmt: skip
        for metadata in notebooks_metadata:
            content = notebook({})
            content["metadata"] = metadata
            try:
                self.made(content)
            except InvalidNotebook as error:
                self.assertIn("metadata.kernelspec", str(error))

    def test_wrong(self) -> None:
        """
        What is not a notebook is refused, and the error says where it is wrong.
        """
        for content, text in (
            ([], "notebook is not a notebook"),
            ({}, "nbformat"),
            ({"nbformat": 3, "worksheets": []}, "format 3; save it in format 4"),
            ({"nbformat": 4}, "notebook: cells is missing"),
            (notebook({"source": 1}), "cell 1: source"),
            (notebook({}, {"cell_type": "heading"}), "cell 2: cell_type is 'heading'"),
            (notebook({"cell_type": 1}), "cell 1: cell_type"),
        ):
            with self.assertRaisesRegex(InvalidNotebook, text):
                runnable_notebook(content)

    def test_parameters(self) -> None:
        """
        The cell that is added is valid, and there is none without parameters.
        """
        content = notebook({"metadata": {"tags": ["parameters"]}, "source": "a = 1"}, {})
        found = runnable_notebook(content)
        set_parameters(found, "cobol", {})
        self.assertEqual(len(found["cells"]), 2)
        for a in (2, 3):
            set_parameters(found, "python", {"a": a})
            self.assertEqual(found["cells"][1]["source"], f"# Parameters\na = {a}")
            self.assertEqual(found["cells"][1]["metadata"], {"tags": ["injected-parameters"]})
            self.assertEqual(len(found["cells"]), 3)
        nbformat.validate(nbformat.from_dict(found))

    def test_cells_to_run(self) -> None:
        """
        Code that is not empty and not to be skipped.
        """
        content = notebook(
            {"source": "1"},
            {"source": " \n"},
            {"cell_type": "markdown", "source": "2"},
            {"source": "3", "metadata": {"tags": ["skip-execution"]}},
            {"source": "4"},
        )
        found = cells_to_run(runnable_notebook(content))
        self.assertEqual([(index, cell["source"]) for index, cell in found], [(0, "1"), (4, "4")])

    def test_outputs(self) -> None:
        """
        What a kernel displays is made valid.
        """
        outputs: list[dict[str, Any]] = [
            {"output_type": "stream", "name": "stdout", "text": "a"},
            {
                "output_type": "display_data",
                "metadata": {},
                "data": {
                    "text/plain": ["a", "b"],
                    "text/html": {"a": 1},
                    "text/x": None,
                    "application/json": {"a": [1]},
                    "application/x+json": 1,
                },
            },
        ]
        found = valid_outputs(outputs)
        data = found[1]["data"]
        self.assertEqual(data["text/plain"], ["a", "b"])
        self.assertEqual((data["text/html"], data["text/x"]), ('{"a":1}', "null"))
        self.assertEqual((data["application/json"], data["application/x+json"]), ({"a": [1]}, 1))
        content = runnable_notebook(notebook({}))
        content["cells"][0]["outputs"] = found
        nbformat.validate(nbformat.from_dict(content))
