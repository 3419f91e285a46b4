"""
The command ``kgd``, which is ``twistd -n kgd`` without a pid file.
"""

from __future__ import annotations

import sys

from twisted.scripts.twistd import run


def main() -> None:
    """
    Run the gateway in the foreground.

    What stands before a lonely ``--`` is for twistd itself: ``kgd --reactor=asyncio -- --port=0``.
    """
    arguments = sys.argv[1:]
    for_twistd: list[str] = []
    if "--" in arguments:
        at = arguments.index("--")
        for_twistd, arguments = arguments[:at], arguments[at + 1 :]
    sys.argv = [sys.argv[0], "-n", "--pidfile=", *for_twistd, "kgd", *arguments]
    run()  # type: ignore[no-untyped-call]
