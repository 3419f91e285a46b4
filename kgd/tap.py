"""
The entry points of ``twistd kgd``: its options, and the service made of them.

Making the service opens nothing except the log.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.application.service import IService

from kgd.auth.token import with_token_credential
from kgd.config.plugin_options import options_with
from kgd.daemon.log import log_writer
from kgd.daemon.parent import ParentProcess
from kgd.daemon.service import Daemon, keep_freed_memory
from kgd.daemon.stderr import STDERR_FD, NonBlockingStream
from kgd.daemon.systemd import SystemdNotifier
from kgd.daemon.welcome import how_to_try, is_announced
from kgd.fetching.notebooks import split_prefix
from kgd.gateway.service import Gateway
from kgd.observability.logs import make_logger, set_level
from kgd.observability.scrubbing import Scrubber, passwords_in
from kgd.personalities.loader import plugin_makers

if TYPE_CHECKING:
    from kgd.config.command_line import Options as CommandLine

# The last one for applications that embed the gateway.
__all__ = ["Options", "keep_freed_memory", "makeService"]

_log = make_logger()


def Options() -> CommandLine:
    """
    :return: The options after ``twistd kgd``.
    """
    return options_with(plugin_makers())


def makeService(options: CommandLine) -> IService:
    """
    :return: The service for ``twistd``.
    """
    from twisted.internet import reactor

    # Twisted uses the wall clock. When that is set back, no timer fires until it has caught up;
    # when it is set forward, all timers fire at once.
    reactor.seconds = time.monotonic  # type: ignore[method-assign]
    settings = with_token_credential(options.settings, os.environ)
    set_level(settings.log_level)
    for remark in options.remarks:
        _log.warn("{remark}", remark=remark)
    twistd_options: Mapping[str, Any] = options.parent or {}
    stderr = NonBlockingStream(STDERR_FD) if options.drop_in else None
    scrub = Scrubber(
        [
            settings.auth_token,
            *passwords_in(split_prefix(uri)[1] for uri in settings.seed_uri),
            *options.secrets,
        ]
    )
    daemon: IService = Daemon(
        reactor,
        Gateway(reactor, settings, listens=True, on_secret=scrub.add),
        SystemdNotifier(reactor, os.environ),
        log_writer(reactor, settings, twistd_options, stderr or sys.stdout, scrub),
        parent=ParentProcess({} if options.parent is None else options.parent),
        where=options.where,
        settings=settings,
        # Programs that start a Jupyter Kernel Gateway know its output.
        hint=None if options.drop_in else partial(how_to_try, settings),
        announce=stderr.write if stderr and not is_announced(settings, twistd_options) else None,
    )
    return daemon
