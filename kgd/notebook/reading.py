"""
Notebooks as files: format 4, and older ones brought up to it.

Format: https://nbformat.readthedocs.io/en/stable/format_description.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kgd.errors import InvalidNotebook
from kgd.notebook.api import Cell

if TYPE_CHECKING:
    from nbformat import NotebookNode


def read_notebook(raw: bytes, name: str) -> NotebookNode:
    """
    :param name: What to call the notebook in an error.
    :raises kgd.errors.InvalidNotebook: when it is none.
    """
    # Its schemas take megabytes that a gateway without notebooks can do without.
    import nbformat

    try:
        notebook: NotebookNode = nbformat.reads(raw.decode("utf-8"), as_version=4)  # type: ignore[no-untyped-call]
    except Exception as error:
        # Whatever is in the file, and whatever nbformat makes of it.
        text = str(error).strip().partition("\n")[0]
        raise InvalidNotebook(f"{name} is not a notebook: {text or type(error).__name__}") from None
    return notebook


def kernel_name(notebook: Any) -> str | None:
    """
    :return: The kernelspec that a notebook was written for, if it says so.
    """
    name = notebook.metadata.get("kernelspec", {}).get("name")
    return name if isinstance(name, str) and name else None


def code_cells(notebook: Any) -> tuple[tuple[int, str], ...]:
    """
    :return: Number, counted from 1 over all cells, and source of each code cell that holds any.
    """
    return tuple(
        (number, cell.source)
        for number, cell in enumerate(notebook.cells, 1)
        if cell.cell_type == "code" and cell.source.strip()
    )


def language(notebook: Any) -> str:
    """
    :return: The language that a notebook says it is written in, or the empty string.
    """
    name = notebook.metadata.get("language_info", {}).get("name")
    return name if isinstance(name, str) else ""


def all_cells(notebook: Any) -> tuple[Cell, ...]:
    """
    :return: Every cell.
    """
    return tuple(
        Cell(number=number, kind=cell.cell_type, source=cell.source)
        for number, cell in enumerate(notebook.cells, 1)
    )
