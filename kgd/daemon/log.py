"""
Where the daemon's log goes, and which of Twisted's own messages it has.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Mapping
from typing import Any

from twisted.logger import (
    FilteringLogObserver,
    ILogFilterPredicate,
    ILogObserver,
    LogEvent,
    PredicateResult,
)
from twisted.python.logfile import LogFile
from zope.interface import implementer

from kgd.observability.log_format import LogWriter
from kgd.observability.logs import is_logged
from kgd.observability.scrubbing import Scrubber
from kgd.settings import Settings

# Messages of Twisted's, in its newer and in its older style, about what kgd says in its own words.
_FORMATS = frozenset(
    {
        "twistd {version} ({exe} {pyVersion}) starting up.",
        "reactor class: {reactor}.",
        "Starting factory {factory!r}",
        "Stopping factory {factory!r}",
        "Main loop terminated.",
    }
)
_LEGACY = re.compile(r"GatewaySite( \(TLS\))? starting on .+|\((TCP|TLS|UNIX) Port .+ Closed\)")


def log_writer(
    reactor: Any, settings: Settings, of_twistd: Mapping[str, Any], terminal: Any, scrub: Scrubber
) -> ILogObserver | None:
    """
    :param of_twistd: The options of twistd.
    :param terminal: The file to write to if those name no other.
    :param scrub: Takes secrets out of what is written.
    :return: Writes the log to where twistd would; ``None`` if twistd's options choose another
        observer.
    """
    if of_twistd.get("syslog") or of_twistd.get("logger"):
        return None
    name = of_twistd.get("logfile")
    if not name and not of_twistd.get("nodaemon", True):
        name = "twistd.log"
    file = terminal
    if name and name != "-":
        # The requests of clients are private. An existing file keeps its mode.
        is_ours = of_twistd.get("umask") is None and not os.path.exists(name)
        mode = 0o600 if is_ours else None
        try:
            file = LogFile.fromFullPath(name, defaultMode=mode)  # type: ignore[no-untyped-call]
        except OSError as error:
            sys.exit(f"--logfile={name} cannot be written: {error.strerror}")
    elif not of_twistd.get("nodaemon", True):
        sys.exit("a daemon cannot log to stdout; name a file with --logfile")
    writer = LogWriter(file, settings.log_format, scrub, time.monotonic, reactor.callLater)
    return FilteringLogObserver(writer, [is_wanted])


@implementer(ILogFilterPredicate)
def is_wanted(event: LogEvent) -> Any:
    """
    Leave out what Twisted says about the process, its ports and its factories, unless the log has
    messages for debugging.
    """
    if is_logged("debug"):
        return PredicateResult.maybe
    text = event.get("log_format") or ""
    if event.get("log_namespace") == "log_legacy":
        text = event.get("log_text") or ""
        return PredicateResult.no if _LEGACY.fullmatch(text) else PredicateResult.maybe
    return PredicateResult.no if text in _FORMATS else PredicateResult.maybe
