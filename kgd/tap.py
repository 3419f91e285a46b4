"""
What ``twistd kgd`` runs: the options, and the service made of them.

What only a process of its own has is done here, and nowhere else: signals, the exit status, limits
of the system, the garbage collector, where the log goes. Making the service opens nothing but the
log.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from twisted.application.service import IService

from kgd.auth.token import with_credential
from kgd.config.plugin_options import options_with
from kgd.daemon.parent import ParentProcess
from kgd.daemon.service import Daemon, log_writer
from kgd.daemon.stderr import STDERR, UnblockedStream
from kgd.daemon.systemd import Systemd
from kgd.fetching.notebooks import split_prefix
from kgd.gateway.service import Gateway
from kgd.observability.logs import is_logged, make_logger, set_level
from kgd.observability.scrubbing import Scrubber, passwords
from kgd.personalities.loader import plugins
from kgd.settings import Settings

if TYPE_CHECKING:
    from kgd.config.command_line import Options as CommandLine

__all__ = ["Options", "makeService"]

_log = make_logger()


def Options() -> CommandLine:
    """
    :return: The options after ``twistd kgd``.
    """
    return options_with(plugins())


def makeService(options: CommandLine) -> IService:
    """
    :return: The service for ``twistd``.
    """
    from twisted.internet import reactor

    # Twisted measures with the wall clock: when that is put back, no timer fires until it has
    # caught up, and when it is put forward, all do at once.
    reactor.seconds = time.monotonic  # type: ignore[method-assign]
    settings = with_credential(options.settings, os.environ)
    set_level(settings.log_level)
    for remark in options.remarks:
        _log.warn("{remark}", remark=remark)
    of_twistd: Mapping[str, Any] = options.parent or {}
    stderr = UnblockedStream(STDERR) if options.drop_in else None
    scrub = Scrubber(
        [
            settings.auth_token,
            *passwords(split_prefix(uri)[1] for uri in settings.seed_uri),
            *options.secrets,
        ]
    )
    daemon: IService = Daemon(
        reactor,
        Gateway(reactor, settings, listens=True, on_secret=scrub.add),
        Systemd(reactor, os.environ),
        log_writer(reactor, settings, of_twistd, stderr or sys.stdout, scrub),
        awaited=ParentProcess({} if options.parent is None else options.parent),
        where=options.where,
        max_kernels=settings.max_kernels,
        announce=stderr.write if stderr and not _is_plain(settings, of_twistd) else None,
    )
    return daemon


def _is_plain(settings: Settings, of_twistd: Mapping[str, Any]) -> bool:
    """
    Whether the log, which is on the terminal, has the line that says where the gateway is.
    """
    elsewhere = any(of_twistd.get(name) for name in ("syslog", "logger", "logfile"))
    return is_logged("info") and settings.log_format == "text" and not elsewhere
