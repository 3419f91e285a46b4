"""
The commands ``kgd`` and ``jupyter-kgd``: decides what is imported for them.
"""

from __future__ import annotations

import sys

#: The first words that are not options of the gateway.
COMMANDS = ("run", "kernels")


def main() -> None:
    """
    Run the gateway, or the command that the first word names.
    """
    if sys.argv[1:2] and sys.argv[1] in COMMANDS:
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
