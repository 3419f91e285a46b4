"""
kgd, a kernel gateway daemon: Jupyter kernels over HTTP and WebSocket.

An application can embed a :py:class:`Gateway` with :py:class:`Settings`; ``docs/embedding.md`` says
how.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kgd.config.plugin_options import settings_from
    from kgd.gateway.service import Gateway
    from kgd.settings import Settings

__all__ = ["Gateway", "Settings", "__version__", "settings_from"]

__version__ = "0.1.0"

# Imported on first use, because all other modules import this one first.
_HOMES = {
    "Gateway": "kgd.gateway.service",
    "Settings": "kgd.settings",
    "settings_from": "kgd.config.plugin_options",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


# Modules that documents promise under an older name, and their names now.
_RENAMED = {
    "kgd.descriptors": "kgd.daemon.limits",
    "kgd.logs": "kgd.observability.logs",
    "kgd.web.base": "kgd.web.mounted",
    "kgd.web.respond": "kgd.web.responses",
}


class _RenamedModules(MetaPathFinder, Loader):
    """
    Imports a module under its older name, so that both names give the same module.
    """

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(name, self) if name in _RENAMED else None

    def exec_module(self, module: ModuleType) -> None:
        # The import system uses the entry in sys.modules afterwards.
        sys.modules[module.__name__] = import_module(_RENAMED[module.__name__])


sys.meta_path.append(_RenamedModules())
