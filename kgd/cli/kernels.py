"""
``kgd kernels``: lists and controls the kernels of a gateway.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

from kgd.cli import statuses
from kgd.cli.commands import UsageError, connect, read_token
from kgd.client.blocking import Client, Kernel
from kgd.client.values import ClientError, ExecutionResult, KernelInfo, Refused

_COLUMNS = ("id", "name", "state", "connections", "last activity")
_FORBIDDEN = 403


def kernels(parsed: argparse.Namespace) -> int:
    """
    :return: The exit status.
    """
    if parsed.action == "list":
        if parsed.kernel_id:
            raise UsageError("list takes no ID")
    elif not parsed.kernel_id:
        raise UsageError(f"{parsed.action} needs the ID of a kernel; list shows them")
    client: Client = connect(parsed.url, read_token(parsed), parsed.ca_file)
    with client:
        if parsed.action == "list":
            _print_table(_COLUMNS, map(_row, client.kernels()))
            return statuses.OK
        kernel = client.kernel(_whole_id(client, parsed.kernel_id))
        if parsed.action == "stop":
            kernel.stop()
        elif parsed.action == "interrupt":
            kernel.interrupt()
        elif parsed.action == "restart":
            kernel.restart()
        else:
            _print_executions(kernel)
    return statuses.OK


def _whole_id(client: Client, beginning: str) -> str:
    try:
        ids = [kernel.id for kernel in client.kernels()]
    except Refused as error:
        if error.status != _FORBIDDEN:
            raise
        # The gateway does not list them.
        return beginning
    found = [each for each in ids if each.startswith(beginning)]
    if not found:
        raise ClientError(f"no kernel has an id that begins with {beginning}; list shows them")
    if len(found) > 1 and beginning not in found:
        raise UsageError(f"several kernels have an id that begins with {beginning}")
    return beginning if beginning in found else found[0]


def _row(kernel: KernelInfo) -> tuple[str, ...]:
    return (
        kernel.id,
        kernel.name,
        kernel.execution_state,
        str(kernel.connections),
        f"{kernel.last_activity.astimezone():%Y-%m-%d %H:%M:%S}",
    )


def _print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """
    Print a table: for people on a terminal; with tabs, and without a heading, in a pipe.
    """
    if not sys.stdout.isatty():
        sys.stdout.writelines("\t".join(row) + "\n" for row in rows)
        return
    table = Table(*columns, box=None, header_style="bold")
    for row in rows:
        table.add_row(*row)
    Console(no_color=bool(os.environ.get("NO_COLOR"))).print(table)


def _print_executions(kernel: Kernel) -> None:
    """
    Print what a kernel has run over HTTP. The gateway keeps no other log of it for clients.
    """
    for summary in kernel.executions():
        _print_execution(kernel.execution(summary.execution_id))


def _print_execution(execution: ExecutionResult) -> None:
    took = "" if execution.duration is None else f" {execution.duration:.3f} s"
    began = execution.started or execution.created
    at = f" {began.astimezone():%Y-%m-%d %H:%M:%S}" if began else ""
    status = execution.status or execution.state
    print(f"--- {execution.execution_id}{at} {status}{took}")  # noqa: T201
    print(execution.text + execution.stderr, end="")  # noqa: T201
    if execution.error is not None:
        print(f"{execution.error.ename}: {execution.error.evalue}")  # noqa: T201
