"""
The command lines of ``kgd run`` and ``kgd kernels``.
"""

from __future__ import annotations

import argparse
import json
import os
import ssl
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from kgd.cli import statuses
from kgd.client.values import ClientError

_DEFAULT_URL = "http://127.0.0.1:8888"
_RUN = """\
Run code, a script or a notebook in a kernel, and show what comes of it.
Without --url, a gateway is started for it, and ended with it.
"""
_RUN_MORE = """\
Ctrl-C interrupts the code; a second one ends the command.

Exit status: 0 the code has ended well; 1 with an error; 2 the command line is
wrong; 69 the gateway cannot be reached or refuses; 70 the kernel has died;
124 the time was up; 130 the code was interrupted.
"""
_KERNELS_MORE = """\
An ID may be shortened as long as it is clear which kernel is meant.
"""


class UsageError(Exception):
    """
    The command line asks for what is not possible.
    """


def main(arguments: Sequence[str]) -> int:
    """
    Run one of the commands.

    :param arguments: Its name, and what follows.
    :return: The exit status.
    """
    parsed = parser().parse_args(arguments)
    command = f"kgd {parsed.command}"
    try:
        _need_extra()
        if parsed.command == "run":
            from kgd.cli.run import run

            return run(parsed)
        from kgd.cli.kernels import kernels

        return kernels(parsed)
    except UsageError as error:
        sys.stderr.write(f"{command}: {error}\n")
        return statuses.USAGE
    except ClientError as error:
        sys.stderr.write(f"{command}: {error}\n")
        return statuses.UNAVAILABLE
    except BrokenPipeError:
        # The reader has stopped reading. Python must not fail when it flushes, either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return statuses.FAILED
    except KeyboardInterrupt:
        return statuses.INTERRUPTED


def parser() -> argparse.ArgumentParser:
    """
    :return: What reads the command lines.
    """
    top = argparse.ArgumentParser("kgd", allow_abbrev=False)
    commands = top.add_subparsers(dest="command", required=True)
    run = commands.add_parser(
        "run",
        description=_RUN,
        epilog=_RUN_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    run.add_argument(
        "what",
        metavar="CODE|FILE",
        help="code; or a script, a notebook (.ipynb), or - for code on stdin",
    )
    _add_connection(run, "a gateway that runs already, such as http://127.0.0.1:8888")
    run.add_argument("--kernel", metavar="NAME", help="the kernelspec [default: the gateway's]")
    run.add_argument(
        "--kernel-id", metavar="ID", help="run it in this kernel of --url, which is kept"
    )
    run.add_argument(
        "--timeout",
        type=_seconds,
        metavar="SECONDS",
        help="how long the code, or each cell, may run [default: 600]",
    )
    run.add_argument(
        "--pictures",
        type=Path,
        metavar="DIRECTORY",
        help="where to write pictures, in files named kgd-1.png and so on [default: here]",
    )
    run.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="where to write the executed notebook"
    )
    run.add_argument(
        "-p",
        "--parameter",
        action="append",
        type=_parameter,
        default=[],
        metavar="NAME=VALUE",
        help="a parameter of the notebook, JSON or text; can be repeated",
    )
    kernels = commands.add_parser(
        "kernels",
        description="List and control the kernels of a gateway.",
        epilog=_KERNELS_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    kernels.add_argument(
        "action",
        nargs="?",
        default="list",
        choices=("list", "stop", "interrupt", "restart", "logs"),
        help="logs shows what has been run over HTTP of late, and its outputs [default: list]",
    )
    kernels.add_argument("kernel_id", nargs="?", metavar="ID", help="a kernel, for all but list")
    _add_connection(kernels, f"the gateway [default: {_DEFAULT_URL}]", _DEFAULT_URL)
    return top


def _add_connection(to: argparse.ArgumentParser, help_of_url: str, url: str | None = None) -> None:
    to.add_argument("--url", default=url, help=help_of_url)
    to.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="a file with the gateway's token; or set KGD_AUTH_TOKEN",
    )
    to.add_argument("--ca-file", type=Path, metavar="FILE", help="certificates to trust, for https")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return seconds


def _parameter(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    words: dict[str, Any] = {"True": True, "False": False, "None": None}
    if value in words:
        return name, words[value]
    try:
        return name, json.loads(value, parse_constant=_no_constant)
    except ValueError:
        return name, value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is text")


def _need_extra() -> None:
    try:
        import httpx
        import rich

        del httpx, rich
    except ModuleNotFoundError as error:
        raise UsageError(
            f'this needs {error.name}, which is not installed; pip install "kgd[client]" '
            "installs it"
        ) from None


def read_token(parsed: argparse.Namespace) -> str | None:
    """
    :return: The token for ``--url``.
    """
    if parsed.token_file is None:
        return os.environ.get("KGD_AUTH_TOKEN") or None
    try:
        token: str = parsed.token_file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the token cannot be read: {error}") from None
    if not token:
        raise UsageError(f"{parsed.token_file} is empty; write the gateway's token into it")
    return token


def connect(url: str, token: str | None, ca_file: Path | None = None) -> Any:
    """
    :return: A client of the gateway.
    """
    from kgd.client import Client

    try:
        verify = True if ca_file is None else ssl.create_default_context(cafile=str(ca_file))
        return Client(url, token=token, verify=verify)
    except OSError as error:
        raise UsageError(f"{ca_file} cannot be used: {error}") from None
    except ValueError as error:
        raise UsageError(str(error)) from None
