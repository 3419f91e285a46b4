"""
Loggers of kgd's modules, with one level for all of them that ``--log-level`` sets.

Only kgd's own messages go through here; an application that embeds a gateway handles all others in
its own way.
"""

from __future__ import annotations

import sys

from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    Logger,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogPublisher,
)
from zope.interface import implementer

from kgd.observability.request_context import CURRENT_REQUEST

LEVELS = ("debug", "info", "warn", "error", "critical")


@implementer(ILogObserver)
def _publish(event: LogEvent) -> None:
    """
    Publish an event with the id of the request that it belongs to.
    """
    request = CURRENT_REQUEST.get()
    if request is not None:
        event.setdefault("request_id", request.request_id)
    globalLogPublisher(event)


_threshold = LogLevelFilterPredicate(LogLevel.info)
_observer = FilteringLogObserver(_publish, [_threshold])


def make_logger() -> Logger:
    """
    :return: A logger named after the calling module, for a class attribute or a module.
    """
    return Logger(sys._getframe(1).f_globals["__name__"], observer=_observer)


def set_level(name: str) -> None:
    """
    :param name: One of :py:data:`LEVELS`; messages below it are dropped.
    """
    _threshold.setLogLevelForNamespace("", LogLevel.levelWithName(name))


def is_logged(name: str) -> bool:
    """
    Whether messages of this level are logged; ask before making an expensive one.
    """
    return bool(LogLevel.levelWithName(name) >= _threshold.logLevelForNamespace(""))
