"""
``kgd run``: runs code, a script or a notebook.
"""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from kgd.cli import statuses
from kgd.cli.commands import UsageError, connect, read_token
from kgd.cli.interrupts import Interrupts
from kgd.cli.notebooks import NotebookRun
from kgd.cli.own_gateway import own_gateway
from kgd.cli.screen import Screen
from kgd.client.blocking import Client, Kernel
from kgd.client.values import (
    Accepted,
    ClientError,
    ExecuteOptions,
    ExecutionResult,
    Finished,
    Gap,
    InputRequested,
    Output,
    Refused,
    StreamOptions,
)
from kgd.errors import GatewayError

# It does not wait for input.
_CONFLICT = 409


def run(parsed: argparse.Namespace) -> int:
    """
    :return: The exit status.
    """
    if parsed.kernel_id and not parsed.url:
        raise UsageError("--kernel-id names a kernel of a gateway; name that with --url")
    if parsed.kernel_id and parsed.kernel:
        raise UsageError("--kernel-id and --kernel exclude each other")
    if (parsed.token_file or parsed.ca_file) and not parsed.url:
        raise UsageError("--token-file and --ca-file are for a gateway that --url names")
    is_notebook = parsed.what.endswith(".ipynb")
    if is_notebook and parsed.kernel_id:
        raise UsageError("a notebook runs in a kernel of its own, without --kernel-id")
    if not is_notebook and (parsed.output or parsed.parameter):
        raise UsageError("-o and -p are for notebooks, whose names end with .ipynb")
    if is_notebook:
        return _run_notebook(parsed)
    code = _read_code(parsed.what)
    screen = Screen(parsed.pictures or Path())
    interrupts = Interrupts(lambda: screen.progress("interrupting"))
    with _ending(screen), interrupts.handled(), _kernel(parsed, parsed.kernel) as kernel:
        screen.progress("running")
        result = _stream(kernel, code, parsed, screen, interrupts)
        screen.progress("ending")
        return statuses.OF_EXECUTIONS[result.status]


def _read_code(what: str) -> str:
    if what == "-":
        return sys.stdin.read()
    path = Path(what)
    # What has a line break is not meant to be a file.
    is_script = what.endswith(".py") and not any(each in what for each in "\n;()")
    try:
        if is_script or ("\n" not in what and len(what) < 256 and path.is_file()):
            return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"{what} cannot be read: {reason}") from None
    return what


@contextmanager
def _ending(screen: Screen) -> Iterator[None]:
    try:
        yield
    finally:
        screen.close()


@contextmanager
def _kernel(parsed: argparse.Namespace, name: str | None) -> Iterator[Kernel]:
    """
    :return: The kernel to run in, for as long as this lasts.
    """
    with ExitStack() as stack:
        if parsed.url:
            client: Client = connect(parsed.url, read_token(parsed), parsed.ca_file)
        else:
            client = connect(*stack.enter_context(own_gateway()))
        stack.enter_context(client)
        if parsed.kernel_id:
            yield client.kernel(parsed.kernel_id)
            return
        kernel = client.start_kernel(name)
        if parsed.url:
            stack.enter_context(kernel)
        # Otherwise it ends with the gateway.
        yield kernel


def _options(parsed: argparse.Namespace, screen: Screen) -> ExecuteOptions:
    options: ExecuteOptions = {}
    if parsed.timeout is not None:
        options["timeout"] = parsed.timeout
    # Colours stay in a notebook that is written: Jupyter shows them.
    if not screen.wants_colors and parsed.output is None:
        options["outputs"] = {"ansi": "strip"}
    return options


def _stream(
    kernel: Kernel,
    code: str,
    parsed: argparse.Namespace,
    screen: Screen,
    interrupts: Interrupts,
) -> ExecutionResult:
    options: StreamOptions = {**_options(parsed, screen), "stdin": sys.stdin.isatty()}
    execution_id = ""
    try:
        for event in kernel.stream(code, **options):
            match event:
                case Accepted():
                    execution_id = event.execution_id
                    interrupts.set_target(partial(kernel.cancel, execution_id))
                case Output():
                    screen.output(event.output)
                case InputRequested():
                    interrupts.set_target(None)
                    _answer(kernel, execution_id, event, screen)
                    interrupts.set_target(partial(kernel.cancel, execution_id))
                case Gap():
                    screen.note(f"kgd run: the connection was lost: {event.missing} outputs, too")
                case Finished():
                    return _told(event.result, screen)
    finally:
        interrupts.set_target(None)
    raise ClientError("the gateway did not say how the code has ended")


def _told(result: ExecutionResult, screen: Screen) -> ExecutionResult:
    error = result.error
    if error is not None:
        screen.failure(error.ename, error.evalue, error.traceback)
    if result.ended_by == "restart":
        screen.note("kgd run: the code did not end when interrupted; its kernel was restarted")
    return result


def _answer(kernel: Kernel, execution_id: str, event: InputRequested, screen: Screen) -> None:
    screen.pause()
    try:
        value = getpass.getpass(event.prompt) if event.is_password else input(event.prompt)
        kernel.send_input(execution_id, value)
    except (KeyboardInterrupt, EOFError):
        # What was typed, or not, has no end of line.
        screen.note("")
        kernel.cancel(execution_id)
    except Refused as error:
        if error.status != _CONFLICT:
            raise
        # It has been interrupted while it waited; its result tells.


# --- notebooks ------------------------------------------------------------------------------------


def _run_notebook(parsed: argparse.Namespace) -> int:
    path = Path(parsed.what)
    try:
        running = NotebookRun(path.read_bytes(), str(path), dict(parsed.parameter))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except GatewayError as error:
        raise UsageError(str(error)) from None
    if parsed.output is not None and not parsed.output.absolute().parent.is_dir():
        raise UsageError(f"{parsed.output} cannot be written: there is no such directory")
    cells = list(running.cells())
    screen = Screen(parsed.pictures or Path(), steps=len(cells))
    interrupts = Interrupts(lambda: screen.progress("interrupting"))
    status = statuses.OK
    with _ending(screen), interrupts.handled():
        try:
            with _kernel(parsed, parsed.kernel or running.kernel_name) as kernel:
                for number, (index, code) in enumerate(cells):
                    screen.progress(f"cell {number + 1}", number)
                    interrupts.set_target(partial(_cancel_all, kernel))
                    result = kernel.execute(code, **_options(parsed, screen))
                    interrupts.set_target(None)
                    goes_on = running.finish(index, result)
                    _show(result, parsed.output is None, goes_on, screen)
                    if not goes_on:
                        status = statuses.OF_EXECUTIONS[result.status]
                        break
                    if interrupts.was_interrupted:
                        status = statuses.INTERRUPTED
                        break
        finally:
            # Written also when the run ends early, for the cells that have run.
            if parsed.output is not None:
                _write(parsed.output, running, screen)
    return status


def _cancel_all(kernel: Kernel) -> None:
    for execution in kernel.executions():
        if execution.state != "done":
            kernel.cancel(execution.execution_id)


def _show(result: ExecutionResult, shows_all: bool, goes_on: bool, screen: Screen) -> None:
    """
    Print the outputs of a cell; if they go to a file, only how it has failed.
    """
    for output in result.outputs:
        if shows_all or (not goes_on and output["output_type"] == "error"):
            screen.output(output)
    if not goes_on:
        _told(result, screen)


def _write(path: Path, running: NotebookRun, screen: Screen) -> None:
    try:
        path.write_text(running.text(), "utf-8")
    except OSError as error:
        screen.note(f"kgd run: {path} cannot be written: {error.strerror}")
        raise SystemExit(statuses.USAGE) from None
