"""
Waiting for child processes on the real reactor.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

T = TypeVar("T")
LONG = 10.0


def within(what: str, deferred: Deferred[T]) -> Deferred[T]:
    """
    Wait for something, with a limit that names it.
    """
    return deferred.addTimeout(LONG, reactor, onTimeoutCancel=lambda *_: _never_came(what))


def running_reactor() -> Deferred[None]:
    """
    To be returned by ``setUp``: let the reactor run before there are processes. One that ends while
    trial starts the reactor makes trial forget SIGCHLD for the next test.
    """
    return deferLater(reactor, 0)


def _never_came(what: str) -> Any:
    raise AssertionError(f"{what} did not come within {LONG} seconds")


async def until(what: str, condition: Callable[[], object]) -> None:
    """
    Let the reactor run until a condition holds; for what tells nobody when it changes.
    """
    for _ in range(int(LONG / 0.01)):
        if condition():
            return
        await deferLater(reactor, 0.01)
    _never_came(what)


def is_alive(pid: int) -> bool:
    """
    Whether a process exists and is no zombie.
    """
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
