"""
The commands ``kgd`` and ``jupyter-kgd``: decides what is imported for them.
"""

from __future__ import annotations

import sys

from kgd.daemon.signals import exit_on_stop_signals

#: The first words that are not options of the gateway.
COMMANDS = ("run", "kernels")
_IS_COMMAND = sys.argv[1:2] in ([each] for each in COMMANDS)

if not _IS_COMMAND:
    # A signal may come at any time, also while the rest is imported.
    exit_on_stop_signals()


def main() -> None:
    """
    Run the gateway, or the command that the first word names.
    """
    if _IS_COMMAND:
        from kgd.cli.commands import main as run_command

        sys.exit(run_command(sys.argv[1:]))
    from kgd.cli.gateway import main as run_gateway

    run_gateway()


def jupyter_main() -> None:
    """
    Run the gateway in place of the Jupyter Kernel Gateway.
    """
    from kgd.cli.gateway import jupyter_main as run_gateway

    run_gateway()
