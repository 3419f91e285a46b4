"""
Reads notebook files of format 4, and converts older ones to it.

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
    :param name: The notebook's name, for errors.
    :raises kgd.errors.InvalidNotebook: when the file is not a notebook.
    """
    # Its schemas take megabytes, which a gateway without notebooks does not need.
    import nbformat

    try:
        notebook: NotebookNode = nbformat.reads(raw.decode("utf-8"), as_version=4)  # type: ignore[no-untyped-call]
    except Exception as error:
        # nbformat may fail with any exception on arbitrary files.
        text = str(error).strip().partition("\n")[0]
        raise InvalidNotebook(f"{name} is not a notebook: {text or type(error).__name__}") from None
    return notebook


def kernel_name(notebook: Any) -> str | None:
    """
    :return: The name of the kernelspec in the notebook's metadata, if any.
    """
    name = notebook.metadata.get("kernelspec", {}).get("name")
    return name if isinstance(name, str) and name else None


def code_cells(notebook: Any) -> tuple[tuple[int, str], ...]:
    """
    :return: Number, counted from 1 over all cells, and source of each code cell that is not empty.
    """
    return tuple(
        (number, cell.source)
        for number, cell in enumerate(notebook.cells, 1)
        if cell.cell_type == "code" and cell.source.strip()
    )


def language(notebook: Any) -> str:
    """
    :return: The language in the notebook's metadata, or the empty string.
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
