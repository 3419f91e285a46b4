"""
A notebook that is run cell by cell, and what is written of it. Nothing here does I/O.

Format: https://nbformat.readthedocs.io/en/latest/format_description.html; parameters are injected
as papermill does, https://papermill.readthedocs.io/en/latest/usage-parameterize.html
"""

from __future__ import annotations

import copy
import json
import keyword
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from kgd.client.values import ClientError, ExecutionResult

_PARAMETERS = "parameters"
_INJECTED = "injected-parameters"
_MAY_FAIL = "raises-exception"


def read_notebook(text: bytes) -> dict[str, Any]:
    """
    :param text: A file's content.
    :raises ClientError: for what is not a notebook of nbformat 4.
    """
    try:
        notebook = json.loads(text)
    except ValueError as error:
        raise ClientError(f"it is not JSON: {error}") from None
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        raise ClientError(
            "it has no list of cells; convert a notebook of an old format with "
            "jupyter nbconvert --to notebook"
        )
    if notebook.get("nbformat") != 4:
        raise ClientError(f"its nbformat is {notebook.get('nbformat')!r}; only 4 can be run")
    for number, cell in enumerate(notebook["cells"], 1):
        if not isinstance(cell, dict) or not isinstance(cell.get("metadata", {}), dict):
            raise ClientError(f"cell {number} is not an object with metadata")
        source = cell.get("source")
        if not isinstance(source, str) and not (
            isinstance(source, list) and all(isinstance(line, str) for line in source)
        ):
            raise ClientError(f"cell {number} has no source")
    return notebook


class NotebookRun:
    """
    A notebook, its parameters, and what has come of its cells.

    :ivar notebook: The notebook as far as it has been run.
    :ivar kernel_name: The kernelspec that it names, or ``None``.
    :param notebook: From :py:func:`read_notebook`; it is not changed.
    :param parameters: Values that JSON can have, by name.
    :raises ClientError: for parameters that cannot be passed on.
    """

    def __init__(self, notebook: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
        self.notebook: dict[str, Any] = copy.deepcopy(dict(notebook))
        metadata = self.notebook.setdefault("metadata", {})
        spec = metadata.get("kernelspec")
        name = spec.get("name") if isinstance(spec, dict) else None
        self.kernel_name: str | None = name if isinstance(name, str) and name else None
        self._forget_outputs()
        if parameters:
            self._inject(parameters)

    def _forget_outputs(self) -> None:
        for cell in self.notebook["cells"]:
            if cell.get("cell_type") == "code":
                cell["outputs"], cell["execution_count"] = [], None
                cell.setdefault("metadata", {}).pop("execution", None)

    def _inject(self, parameters: Mapping[str, Any]) -> None:
        cells = self.notebook["cells"]
        source = "# Parameters\n" + "\n".join(
            f"{name} = {value!r}" for name, value in parameters.items()
        )
        language = self._language()
        if language != "python":
            raise ClientError(
                f"parameters can be passed to notebooks in Python only, not in {language}"
            )
        for name in parameters:
            if not name.isidentifier() or keyword.iskeyword(name):
                raise ClientError(f"{name!r} cannot be the name of a parameter")
        injected: dict[str, Any] = {
            "cell_type": "code",
            "execution_count": None,
            "metadata": {"tags": [_INJECTED]},
            "outputs": [],
            "source": source,
        }
        if self.notebook.get("nbformat_minor", 0) >= 5:
            injected["id"] = os.urandom(4).hex()
        for at, cell in enumerate(cells):
            if _INJECTED in _tags(cell):
                cells[at] = {**injected, **({"id": cell["id"]} if "id" in cell else {})}
                return
        declared = [at for at, cell in enumerate(cells) if _PARAMETERS in _tags(cell)]
        cells.insert(declared[0] + 1 if declared else 0, injected)

    def _language(self) -> str:
        metadata = self.notebook["metadata"]
        for key, field in (("kernelspec", "language"), ("language_info", "name")):
            value = metadata.get(key)
            if isinstance(value, dict) and isinstance(value.get(field), str):
                return str(value[field]).lower()
        return "python"

    def cells(self) -> Iterator[tuple[int, str]]:
        """
        :return: The indexes and the code of all cells that are to be run.
        """
        for index, cell in enumerate(self.notebook["cells"]):
            code = "".join(cell["source"])
            if cell.get("cell_type") == "code" and code.strip():
                yield index, code

    def finish(self, index: int, result: ExecutionResult) -> bool:
        """
        Take what has come of a cell.

        :return: Whether to go on with the next one.
        """
        cell = self.notebook["cells"][index]
        cell["outputs"] = [dict(output) for output in result.outputs]
        cell["execution_count"] = result.execution_count
        error = result.error
        if error is not None and not any(
            output["output_type"] == "error" for output in cell["outputs"]
        ):
            cell["outputs"].append(
                {
                    "output_type": "error",
                    "ename": error.ename,
                    "evalue": error.evalue,
                    "traceback": list(error.traceback),
                }
            )
        if result.started is not None:
            ended = result.started + timedelta(seconds=result.duration or 0.0)
            # As JupyterLab writes them.
            cell["metadata"]["execution"] = {
                "iopub.execute_input": _text(result.started),
                "iopub.status.busy": _text(result.started),
                "iopub.status.idle": _text(ended),
                "shell.execute_reply": _text(ended),
            }
        return result.status == "ok" or (result.status == "error" and _MAY_FAIL in _tags(cell))

    def text(self) -> str:
        """
        :return: The notebook as a file's content.
        """
        return json.dumps(self.notebook, indent=1, ensure_ascii=False) + "\n"


def _tags(cell: Mapping[str, Any]) -> list[Any]:
    tags = cell.get("metadata", {}).get("tags")
    return tags if isinstance(tags, list) else []


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
