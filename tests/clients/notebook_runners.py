"""
nbclient and papermill, which run a whole notebook in a kernel behind a gateway, with Jupyter
Server's kernel manager for gateways.

Argument: the gateway's URL.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
import papermill
from jupyter_server.gateway.gateway_client import GatewayClient
from jupyter_server.gateway.managers import GatewayKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook
from papermill.exceptions import PapermillExecutionError

#: Characters, in one message.
BIG = 1_500_000
LINES = 500
#: Seconds in which output arrives, on a machine that has other things to do.
PATIENCE = 60
SPEC = {"name": "python3", "display_name": "Python 3", "language": "python"}

OUTPUTS = (
    "import sys\nprint('out'); print('err', file=sys.stderr)",
    "6 * 7",
    "from IPython.display import *\nhandle = display(HTML('<b>before</b>'), display_id=True)",
    "handle.update(HTML('<b>after</b>'))",
    "print('gone'); clear_output(); print('stays')",
    f"print('x' * {BIG})",
    f"for number in range({LINES}): print(number, flush=True)",
)


class Manager(GatewayKernelManager):
    """
    Asks the gateway whether a kernel lives.

    jupyter_client asks for a local process instead. Without this, neither cells with a time limit
    nor kernels that need more than a second to start work, whatever the gateway is.
    """

    _async_is_alive = GatewayKernelManager.is_alive


def notebook(*sources: str) -> NotebookNode:
    """
    :return: A notebook with these cells.
    """
    return new_notebook(
        cells=[new_code_cell(source) for source in sources], metadata={"kernelspec": SPEC}
    )


def client_of(nb: NotebookNode, **options: object) -> NotebookClient:
    """
    :return: What runs a notebook behind the gateway.
    """
    options = {"kernel_manager_class": Manager, "iopub_timeout": PATIENCE, **options}
    return NotebookClient(nb, **options)


def text_of(cell: NotebookNode, name: str = "stdout") -> str:
    """
    :return: What a cell printed.
    """
    return "".join(
        output.text
        for output in cell.outputs
        if output.output_type == "stream" and output.name == name
    )


def check_outputs(cells: list[NotebookNode]) -> None:
    """
    All outputs of the notebook are there.
    """
    printing, result, displayed, updating, cleared, big, lines = cells
    assert text_of(printing) == "out\n", printing.outputs
    assert text_of(printing, "stderr") == "err\n", printing.outputs
    assert result.outputs[0].data["text/plain"] == "42", result.outputs
    # An update reaches the output of the cell before.
    assert displayed.outputs[0].data["text/html"] == "<b>after</b>", displayed.outputs
    assert updating.outputs == [], updating.outputs
    assert text_of(cleared) == "stays\n", cleared.outputs
    assert text_of(big) == "x" * BIG + "\n", len(text_of(big))
    assert text_of(lines) == "".join(f"{number}\n" for number in range(LINES))
    counts = [cell.execution_count for cell in cells]
    assert counts == list(range(counts[0], counts[0] + len(cells))), counts


@contextmanager
def fails(kind: type[Exception]) -> Iterator[None]:
    """
    A division by zero stops a notebook.
    """
    try:
        yield
    except kind as error:
        name = error.ename
    else:
        name = "nothing"
    assert name == "ZeroDivisionError", name


def run_nbclient() -> None:
    """
    Outputs, and a cell that is interrupted when it has had its time; then an error that stops the
    notebook.
    """
    nb = notebook(
        *OUTPUTS, "x = 6\nprint('go', flush=True)\nwhile True: pass", "1 / 0", "print(x * 7)"
    )
    client_of(
        nb,
        allow_errors=True,
        interrupt_on_timeout=True,
        timeout_func=lambda cell: 1 if "while" in cell.source else None,
    ).execute()
    *outputs, looping, failing, last = nb.cells
    check_outputs(outputs)
    assert nb.metadata.language_info.name == "python", nb.metadata
    assert text_of(looping) == "go\n", looping.outputs
    assert looping.outputs[-1].ename == "KeyboardInterrupt", looping.outputs
    assert failing.outputs[-1].ename == "ZeroDivisionError", failing.outputs
    # It goes on in the same kernel.
    assert text_of(last) == "42\n", last.outputs

    nb = notebook("1 / 0", "x = 2")
    with fails(CellExecutionError):
        client_of(nb).execute()
    assert nb.cells[0].outputs[-1].ename == "ZeroDivisionError", nb.cells[0].outputs
    assert nb.cells[1].execution_count is None, nb.cells[1]


def run_papermill() -> None:
    """
    Parameters, outputs, and an error, which the written notebook has, too.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "source.ipynb"), Path(folder, "target.ipynb")
        nb = notebook("x = 1", *OUTPUTS, "print(x * 7)", "1 / 0", "x = 2")
        nb.cells[0].metadata.tags = ["parameters"]
        nbformat.write(nb, source)
        with fails(PapermillExecutionError):
            papermill.execute_notebook(
                source,
                target,
                parameters={"x": 6},
                kernel_manager_class=Manager,
                iopub_timeout=PATIENCE,
                progress_bar=False,
            )
        # Before the cell that failed there is a line that says so.
        cells = [cell for cell in nbformat.read(target, 4).cells if cell.cell_type == "code"]
        _, injected, *outputs, printing, failing, last = cells
        assert "x = 6" in injected.source, injected
        check_outputs(outputs)
        assert text_of(printing) == "42\n", printing
        assert failing.outputs[-1].ename == "ZeroDivisionError", failing
        assert last.execution_count is None, last


if __name__ == "__main__":
    # Theirs waits busily in one thread, and reads in another, which gets its turn too seldom.
    sys.setswitchinterval(1e-4)
    GatewayClient.instance().url = sys.argv[1]
    run_nbclient()
    run_papermill()
    print("All is well.")
