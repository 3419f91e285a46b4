"""
kgd, a kernel gateway daemon: Jupyter kernels over HTTP and WebSocket.

An application of its own may have a :py:class:`Gateway` with :py:class:`Settings`;
``docs/embedding.md`` tells how.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kgd.plugin_options import settings_from
    from kgd.service import Gateway
    from kgd.settings import Settings

__all__ = ["Gateway", "Settings", "__version__", "settings_from"]

__version__ = "0.1.0"

# Imported when somebody asks for them: all other modules import this one first.
_HOMES = {
    "Gateway": "kgd.service",
    "Settings": "kgd.settings",
    "settings_from": "kgd.plugin_options",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
