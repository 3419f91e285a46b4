"""
Clients for programs that run code on a gateway: blocking, with asyncio, and with Deferreds.

All of them need the extra ``client`` (``pip install "kgd[client]"``); ``docs/client.md`` shows how
to use them. Importing this package imports neither an HTTP library nor a reactor; that happens
when a client is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from kgd.client.retries import RetryPolicy
from kgd.client.values import (
    Accepted,
    ClientError,
    Event,
    ExecutionError,
    ExecutionFailed,
    ExecutionResult,
    Finished,
    Gap,
    GatewayUnreachable,
    InputRequested,
    KernelInfo,
    Output,
    Refused,
    Started,
)

if TYPE_CHECKING:
    from kgd.client.asynchronous import AsyncClient, AsyncKernel
    from kgd.client.blocking import Client, Kernel
    from kgd.client.deferred import DeferredClient, DeferredKernel

__all__ = [
    "Accepted",
    "AsyncClient",
    "AsyncKernel",
    "Client",
    "ClientError",
    "DeferredClient",
    "DeferredKernel",
    "Event",
    "ExecutionError",
    "ExecutionFailed",
    "ExecutionResult",
    "Finished",
    "Gap",
    "GatewayUnreachable",
    "InputRequested",
    "Kernel",
    "KernelInfo",
    "Output",
    "Refused",
    "RetryPolicy",
    "Started",
]

# Imported on first use, because each needs a library of its own.
_HOMES = {
    "AsyncClient": "asynchronous",
    "AsyncKernel": "asynchronous",
    "Client": "blocking",
    "Kernel": "blocking",
    "DeferredClient": "deferred",
    "DeferredKernel": "deferred",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = import_module(f"{__name__}.{_HOMES[name]}")
    except ModuleNotFoundError as error:
        if error.name not in ("httpx", "treq"):
            raise
        raise ImportError(
            f"kgd.client.{name} needs {error.name}, which is not installed; "
            'pip install "kgd[client]" installs it',
            name=error.name,
        ) from None
    return getattr(module, name)
