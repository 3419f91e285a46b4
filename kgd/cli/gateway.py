"""
Runs the gateway in the foreground: ``twistd -n kgd`` without a pid file.
"""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import Any

from kgd.daemon.signals import exit_on_stop_signals

# The imports below take a while, a sixth of it for a garbage collector that finds nothing. The
# daemon turns it on again.
exit_on_stop_signals()
gc.disable()

from twisted.python.usage import UsageError  # noqa: E402
from twisted.scripts import twistd  # noqa: E402


def main() -> None:
    """
    Run the gateway in the foreground.

    Options before a single ``--`` are for twistd itself: ``kgd --reactor=asyncio -- --port=0``.
    """
    _run([])


def jupyter_main() -> None:
    """
    Run the gateway in place of the Jupyter Kernel Gateway: ``jupyter kgd`` for
    ``jupyter kernelgateway``.
    """
    _run(["--drop-in"])


def _run(ours: list[str]) -> None:
    for_twistd: list[str] = []
    arguments = sys.argv[1:]
    if "--" in arguments:
        at = arguments.index("--")
        for_twistd, arguments = arguments[:at], arguments[at + 1 :]
    # twistd reads it again for its help.
    sys.argv[1:] = ["-n", "--pidfile=", *for_twistd, "kgd", *ours, *arguments]
    options: Any = twistd.ServerOptions()  # type: ignore[attr-defined,no-untyped-call]
    try:
        options.parseOptions(sys.argv[1:])
    except UsageError as error:
        # twistd itself would print its whole help before this one line.
        from kgd.config.command_line import command_name

        command = command_name() or Path(sys.argv[0]).name
        sys.stderr.write(f"{command}: {error}\n{command}: --help-all explains all options\n")
        sys.exit(1)
    except BrokenPipeError:
        # The reader of --help has stopped reading. Python must not fail when it flushes, either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    twistd.runApp(options)  # type: ignore[no-untyped-call]
