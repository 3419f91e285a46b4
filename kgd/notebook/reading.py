"""
Reads what kgd needs of a notebook file: its cells, its kernelspec and its language.

Nothing else is looked at, so nothing else can be wrong with a notebook: outputs, identifiers and
metadata may be anything.

Format 4: https://nbformat.readthedocs.io/en/stable/format_description.html; formats 2 and 3, in
which cells are in worksheets: https://github.com/jupyter/nbformat, in the folders v2 and v3.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from kgd.errors import InvalidNotebook
from kgd.notebook.api import Cell

_FORMATS = (4, 3, 2)
_REMEDY = "correct that, or open the notebook in Jupyter and save it again"
_MISSING = object()
# Integers with more digits are read as floats: Python refuses to read those with thousands.
_MAX_DIGITS = 100


@attrs.frozen
class Notebook:
    """
    A notebook that has been read.

    :ivar name: The file's name, for errors.
    :ivar cells: Every cell, also those of unknown kinds. Only the source of code is checked; other
        cells without text have an empty one.
    """

    name: str
    cells: tuple[Cell, ...] = attrs.field(repr=False)
    _metadata: Mapping[str, Any] = attrs.field(repr=False)

    def kernel_name(self) -> str | None:
        """
        :return: The name of the kernelspec in the notebook's metadata, if any.
        :raises kgd.errors.InvalidNotebook: when it is not a name.
        """
        return self._name_in("kernelspec") or None

    def language(self) -> str:
        """
        :return: The language in the notebook's metadata, or the empty string.
        :raises kgd.errors.InvalidNotebook: when it is not a name.
        """
        return self._name_in("language_info")

    def _name_in(self, key: str) -> str:
        owner = self._metadata.get(key)
        if owner is None:
            return ""
        if not isinstance(owner, dict):
            raise _wrong(self.name, f"metadata.{key}", owner, "an object with a name")
        value = owner.get("name")
        if value is None:
            return ""
        # Names are logged; unpaired surrogates cannot be, and line breaks could be misread.
        if not isinstance(value, str) or not value.isprintable():
            raise _wrong(self.name, f"metadata.{key}.name", value, "a name")
        return value

    def code_cells(self) -> tuple[tuple[int, str], ...]:
        """
        :return: Number, counted from 1 over all cells, and source of each code cell that is not
            empty.
        """
        return tuple(
            (cell.number, cell.source)
            for cell in self.cells
            if cell.kind == "code" and cell.source.strip()
        )


def read_notebook(raw: bytes, name: str) -> Notebook:
    """
    :param name: The file's name, for errors.
    :raises kgd.errors.InvalidNotebook: when the file is not a notebook, or something that kgd needs
        is missing or has a wrong type. The error names cell and field, and is one line.
    """
    return check_notebook(read_json(raw, name), name)


def check_notebook(content: Any, name: str) -> Notebook:
    """
    As :py:func:`read_notebook`, when the JSON has been read.
    """
    if not isinstance(content, dict):
        raise InvalidNotebook(
            f"{name} is not a notebook: it is {_describe(content)}, and not a JSON object; "
            "name another file"
        )
    version = content.get("nbformat", _MISSING)
    if version not in _FORMATS:
        raise _unknown_format(name, version)
    metadata = content.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise _wrong(name, "metadata", metadata, "an object")
    return Notebook(name, tuple(_read_cells(content, version, name)), metadata or {})


def read_json(raw: bytes, name: str) -> Any:
    """
    :param raw: A notebook's file.
    :raises kgd.errors.InvalidNotebook: when it is not JSON.
    """
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        why = f"line {line} is not UTF-8; save it in this encoding"
    else:
        if not text.strip():
            raise InvalidNotebook(
                f"{name} is not a notebook: the file is empty; save the notebook again"
            )
        try:
            return json.loads(text, parse_int=_read_integer)
        except json.JSONDecodeError as error:
            why = (
                f"it is not JSON: {error.msg} in line {error.lineno}, column {error.colno}; "
                "save the notebook again, or name another file"
            )
        except RecursionError:
            why = "it is nested too deeply; save it without its outputs"
    raise InvalidNotebook(f"{name} is not a notebook: {why}")


def _read_integer(text: str) -> float:
    return int(text) if len(text) <= _MAX_DIGITS else float(text)


def _unknown_format(name: str, version: Any) -> InvalidNotebook:
    if version is _MISSING:
        return InvalidNotebook(
            f"{name} is not a notebook: it has no nbformat; name another file, or open the "
            "notebook in Jupyter and save it again"
        )
    if isinstance(version, bool) or not isinstance(version, int):
        return _wrong(name, "nbformat", version, "the number 4")
    return InvalidNotebook(
        f"{name} has the format {version}, and kgd reads {', '.join(map(str, _FORMATS))}; "
        "save it in format 4"
    )


def _read_cells(content: Mapping[str, Any], version: int, name: str) -> Iterator[Cell]:
    if version == 4:
        cells = _list_at(content, "cells", name, "")
    else:
        cells = []
        for worksheet in _list_at(content, "worksheets", name, ""):
            if not isinstance(worksheet, dict):
                raise _wrong(name, "a worksheet", worksheet, "an object")
            cells += _list_at(worksheet, "cells", name, "a worksheet: ")
    for number, cell in enumerate(cells, 1):
        if not isinstance(cell, dict):
            raise _wrong(name, f"cell {number}", cell, "an object")
        yield _read_cell(cell, number, version, name)


def _list_at(owner: Mapping[str, Any], key: str, name: str, where: str) -> list[Any]:
    value = owner.get(key, _MISSING)
    if not isinstance(value, list):
        raise _wrong(name, f"{where}{key}", value, "a list")
    return value


def _read_cell(cell: Mapping[str, Any], number: int, version: int, name: str) -> Cell:
    kind = cell.get("cell_type", _MISSING)
    if not isinstance(kind, str):
        raise _wrong(name, f"cell {number}: cell_type", kind, 'text, such as "code"')
    if kind == "code":
        key = "source" if version == 4 else "input"
        where = f"cell {number}: {key}"
        value = cell.get(key, _MISSING)
        source = _join_lines(value)
        if source is None:
            if isinstance(value, list):
                index, value = next(
                    (index, line) for index, line in enumerate(value) if not isinstance(line, str)
                )
                raise _wrong(name, f"{where}[{index}]", value, "text")
            raise _wrong(name, where, value, "text, or a list of texts")
        try:
            source.encode("utf-8")
        except UnicodeEncodeError as error:
            half = ascii(source[error.start])[1:-1]
            raise InvalidNotebook(
                f"{name}: {where} has {half}, which is half of a character; remove or complete it"
            ) from None
        return Cell(number=number, kind=kind, source=source)
    # Descriptions are worth having, but a notebook does not fail for want of one.
    text = (_join_lines(cell.get("source")) or "").encode("utf-8", "replace").decode("utf-8")
    if version < 4 and kind in ("heading", "html"):
        level = cell.get("level")
        hashes = "#" * level if isinstance(level, int) and 0 < level < 7 else "#"
        text = f"{hashes} {' '.join(text.split())}" if kind == "heading" else text
        kind = "markdown"
    return Cell(number=number, kind=kind, source=text)


def _join_lines(value: Any) -> str | None:
    """
    :return: A text, which may be a list of lines in the file; ``None`` when it is neither.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "".join(value)
    return None


def _wrong(name: str, where: str, value: Any, wanted: str) -> InvalidNotebook:
    return InvalidNotebook(
        f"{name}: {where} is {_describe(value)}, and has to be {wanted}; {_REMEDY}"
    )


def _describe(value: Any) -> str:
    """
    :return: What a value of JSON is, in words; its type is enough, because it may be long.
    """
    if value is _MISSING:
        return "missing"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return "the text " + ascii(value) if len(value) <= 40 else "a long text"
    if isinstance(value, (list, dict)):
        return "a list" if isinstance(value, list) else "an object"
    return "a number"
