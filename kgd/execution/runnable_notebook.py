"""
Makes of a notebook one that can be run, and that is valid whatever it was before.

Format: https://nbformat.readthedocs.io/en/latest/format_description.html
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from kgd.errors import InvalidNotebook
from kgd.notebook.media_types import is_json, media_type
from kgd.notebook.parameters import INJECTED_TAG, inject, parameters_cell, tags_of
from kgd.notebook.reading import check_notebook

Json = dict[str, Any]

#: The tag of cells whose errors are expected.
RAISES_TAG = "raises-exception"
#: The tag of cells that are not run.
SKIP_TAG = "skip-execution"
_CELL_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_KINDS = ("code", "markdown", "raw")


def runnable_notebook(content: Any, name: str = "notebook") -> Json:
    """
    :param content: What the notebook's JSON stands for.
    :param name: What errors call it.
    :return: A copy in format 4.5, without outputs. What the format does not allow is left out.
    :raises kgd.errors.InvalidNotebook: when it is not a notebook of format 4.
    """
    read = check_notebook(content, name)
    version = content["nbformat"]
    if version != 4:
        raise InvalidNotebook(f"{name} has the format {version}; save it in format 4")
    # It has to be a name, if there is one.
    read.kernel_name()
    seen: set[str] = set()
    cells = []
    for number, (cell, checked) in enumerate(zip(content["cells"], read.cells, strict=True), 1):
        if checked.kind not in _KINDS:
            raise InvalidNotebook(
                f"{name}: cell {number}: cell_type is {checked.kind[:40]!a}, and has to be "
                f"{', '.join(_KINDS[:-1])} or {_KINDS[-1]}"
            )
        cells.append(_runnable_cell(cell, checked.kind, checked.source, seen))
    return {
        "cells": cells,
        "metadata": _metadata_of(content),
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def set_kernel(notebook: Json, name: str, display_name: str, language: str) -> None:
    """
    Have the metadata of a notebook name the kernelspec that runs it.
    """
    metadata = notebook["metadata"]
    metadata["kernelspec"] = {
        **metadata.get("kernelspec", {}),
        "name": name,
        "display_name": display_name,
        "language": language,
    }
    if language and metadata.get("language_info", {}).get("name") != language:
        metadata["language_info"] = {"name": language}


def set_parameters(notebook: Json, language: str, parameters: Mapping[str, Any]) -> None:
    """
    Add the cell that sets parameters, if there are any.

    :raises kgd.errors.InvalidRequest: when they cannot be set in this language.
    """
    if parameters:
        seen = {cell["id"] for cell in notebook["cells"]}
        source = parameters_cell(language, parameters)
        cell = _runnable_cell({"metadata": {"tags": [INJECTED_TAG]}}, "code", source, seen)
        notebook["cells"] = inject(notebook["cells"], cell)


def cells_to_run(notebook: Json) -> list[tuple[int, Json]]:
    """
    :return: Index and cell of those that have code, and are not to be skipped.
    """
    return [
        (index, cell)
        for index, cell in enumerate(notebook["cells"])
        if cell["cell_type"] == "code" and cell["source"].strip() and SKIP_TAG not in tags_of(cell)
    ]


def valid_outputs(outputs: Iterable[Json]) -> list[Json]:
    """
    :param outputs: What a kernel has published.
    :return: Outputs that the format allows: what is not JSON is a text.
    """
    return [
        {
            **output,
            "data": {kind: _valid_data(kind, output["data"][kind]) for kind in output["data"]},
        }
        if "data" in output
        else output
        for output in outputs
    ]


def _valid_data(kind: str, value: Any) -> Any:
    if is_json(media_type(kind)) or isinstance(value, str) or _are_texts(value):
        return value
    return msgspec.json.encode(value).decode()


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _runnable_cell(cell: Mapping[str, Any], kind: str, source: str, seen: set[str]) -> Json:
    cell_id = cell.get("id")
    if not isinstance(cell_id, str) or not _CELL_ID.fullmatch(cell_id) or cell_id in seen:
        cell_id = os.urandom(4).hex()
    seen.add(cell_id)
    made: Json = {
        "id": cell_id,
        "cell_type": kind,
        "metadata": _cell_metadata(cell.get("metadata")),
        "source": source,
    }
    if kind == "code":
        made.update(execution_count=None, outputs=[])
    elif isinstance(cell.get("attachments"), dict):
        made["attachments"] = {
            name: {each: _valid_data(each, data) for each, data in bundle.items()}
            for name, bundle in cell["attachments"].items()
            if isinstance(bundle, dict)
        }
    return made


def _cell_metadata(metadata: Any) -> Json:
    if not isinstance(metadata, dict):
        return {}
    # What it was when it ran the last time is over.
    kept = {key: value for key, value in metadata.items() if key != "execution"}
    tags = [tag for tag in tags_of({"metadata": metadata}) if isinstance(tag, str)]
    if "tags" in kept:
        kept["tags"] = [tag for tag in dict.fromkeys(tags) if tag and "," not in tag]
    _keep_if(kept, "name", isinstance(kept.get("name"), str) and bool(kept.get("name")))
    _keep_if(kept, "jupyter", isinstance(kept.get("jupyter"), dict))
    jupyter = kept.get("jupyter", {})
    if not all(
        isinstance(jupyter.get(key, True), bool) for key in ("source_hidden", "outputs_hidden")
    ):
        del kept["jupyter"]
    _keep_if(kept, "collapsed", isinstance(kept.get("collapsed"), bool))
    scrolled = kept.get("scrolled")
    _keep_if(kept, "scrolled", isinstance(scrolled, bool) or scrolled == "auto")
    _keep_if(kept, "format", isinstance(kept.get("format"), str))
    return kept


def _metadata_of(content: Mapping[str, Any]) -> Json:
    kept = dict(content.get("metadata") or {})
    _keep_if(kept, "kernelspec", isinstance(kept.get("kernelspec"), dict))
    info = kept.get("language_info")
    _keep_if(kept, "language_info", isinstance(info, dict) and isinstance(info.get("name"), str))
    if "language_info" in kept:
        kept["language_info"] = {
            key: value
            for key, value in kept["language_info"].items()
            if isinstance(value, str)
            or key not in ("file_extension", "mimetype", "pygments_lexer", "codemirror_mode")
            or (key == "codemirror_mode" and isinstance(value, dict))
        }
    _keep_if(kept, "title", isinstance(kept.get("title"), str))
    _keep_if(kept, "authors", isinstance(kept.get("authors"), list))
    original = kept.get("orig_nbformat")
    _keep_if(kept, "orig_nbformat", type(original) is int and original >= 1)
    return kept


def _keep_if(metadata: Json, key: str, is_valid: bool) -> None:
    if not is_valid:
        metadata.pop(key, None)
