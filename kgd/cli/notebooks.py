"""
A notebook that ``kgd run`` runs cell by cell, so that it is written however it ends.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from kgd.client.values import ExecutionResult
from kgd.errors import InvalidNotebook
from kgd.execution.runnable_notebook import (
    RAISES_TAG,
    cells_to_run,
    runnable_notebook,
    set_parameters,
    valid_outputs,
)
from kgd.notebook.parameters import tags_of


class NotebookRun:
    """
    A notebook, its parameters, and what has come of its cells.

    :ivar notebook: The notebook as far as it has been run.
    :ivar kernel_name: The kernelspec that it names, or ``None``.
    :param content: What is in the file.
    :param name: What errors call it.
    :param parameters: Values that JSON can have, by name.
    :raises kgd.errors.InvalidNotebook: for what is not a notebook.
    :raises kgd.errors.InvalidRequest: for parameters that cannot be passed on.
    """

    def __init__(self, content: bytes, name: str, parameters: Mapping[str, Any]) -> None:
        try:
            decoded = json.loads(content)
        except ValueError as error:
            raise InvalidNotebook(f"{name} is not JSON: {error}") from None
        except RecursionError:
            raise InvalidNotebook(f"{name} is nested too deeply") from None
        self.notebook = runnable_notebook(decoded, name)
        metadata = self.notebook["metadata"]
        spec = metadata.get("kernelspec", {})
        self.kernel_name: str | None = spec.get("name") or None
        language = spec.get("language") or metadata.get("language_info", {}).get("name")
        set_parameters(self.notebook, str(language or "python"), parameters)

    def cells(self) -> Iterator[tuple[int, str]]:
        """
        :return: The indexes and the code of all cells that are to be run.
        """
        for index, cell in cells_to_run(self.notebook):
            yield index, cell["source"]

    def finish(self, index: int, result: ExecutionResult) -> bool:
        """
        Take what has come of a cell.

        :return: Whether to go on with the next one.
        """
        cell = self.notebook["cells"][index]
        cell["outputs"] = valid_outputs([dict(output) for output in result.outputs])
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
        return result.status == "ok" or (result.status == "error" and RAISES_TAG in tags_of(cell))

    def text(self) -> str:
        """
        :return: The notebook as a file's content.
        """
        return json.dumps(self.notebook, indent=1, ensure_ascii=False) + "\n"


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
