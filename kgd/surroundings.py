"""
What a gateway finds around it when it is made, before its process changes any of it.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Mapping
from pathlib import Path

import attrs

_RUNTIME = "JUPYTER_RUNTIME_DIR"


@attrs.frozen
class Surroundings:
    """
    What is to stay as it was, although the gateway starts later: as another user, elsewhere, with
    more open files.

    :ivar environ: What kernels find in their environment.
    :ivar open_files: The soft limit of open files, which kernels get.
    :ivar runtime: Where runtime directories are, if the environment says so.
    """

    environ: Mapping[str, str]
    open_files: int
    runtime: Path | None

    @classmethod
    def found(cls, environ: Mapping[str, str] | None) -> Surroundings:
        """
        :param environ: What kernels shall find in their environment, if not that of the process.
        """
        runtime = os.environ.get(_RUNTIME)
        return cls(
            os.environ if environ is None else environ,
            resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            Path(runtime).absolute() if runtime else None,
        )
