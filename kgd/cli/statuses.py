"""
The exit statuses of ``kgd run`` and ``kgd kernels``.
"""

from __future__ import annotations

from collections.abc import Mapping

OK = 0
#: The code has failed.
FAILED = 1
#: The command line cannot be understood, or a file not be read.
USAGE = 2
#: The gateway cannot be reached, or refuses.
UNAVAILABLE = 69
#: The kernel has died.
DIED = 70
TIMEOUT = 124
INTERRUPTED = 130

#: By the status of an execution.
OF_EXECUTIONS: Mapping[str | None, int] = {
    "ok": OK,
    "error": FAILED,
    "timeout": TIMEOUT,
    "interrupted": INTERRUPTED,
    "died": DIED,
}
