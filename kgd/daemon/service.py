"""
The daemon: a gateway in its own process, with signals, an exit status and limits of the system.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import os
import signal
import sys
from collections.abc import Callable, Mapping, MutableMapping
from types import FrameType
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import ILogObserver
from twisted.python.components import Componentized
from twisted.python.failure import Failure

from kgd import __version__
from kgd.config.resolve import with_origins
from kgd.daemon.limits import open_files_warning, raise_limit
from kgd.daemon.parent import ParentProcess
from kgd.daemon.signals import deliver_blocked_signals
from kgd.daemon.systemd import SystemdNotifier
from kgd.errors import ConfigurationError
from kgd.gateway.service import AVAILABLE_MESSAGE, Gateway
from kgd.observability.logs import make_logger
from kgd.settings import Settings


class Daemon(Service):
    """
    Runs a gateway as the whole process: handles signals, and sets the exit status.

    twistd would end with the status of the signal that stopped it; for a supervisor, a stop on
    request is not a failure.

    :param log_writer: Writes the log, if twistd has no other observer for it.
    :param parent: The process that waits for the daemon to start.
    :param where: By option, the place where it is set.
    :param settings: The gateway's.
    :param hint: Says for a URL how to try the gateway.
    :param announce: Writes the lines that say where the gateway is available, for a program that
        waits for them while the log has none.
    """

    _log = make_logger()

    def __init__(
        self,
        reactor: Any,
        gateway: Gateway,
        systemd: SystemdNotifier,
        log_writer: ILogObserver | None,
        *,
        parent: ParentProcess,
        where: Mapping[str, str],
        settings: Settings,
        hint: Callable[[str], str] | None = None,
        announce: Callable[[str], object] | None = None,
    ) -> None:
        self._reactor = reactor
        self._gateway = gateway
        self._systemd = systemd
        self._log_writer = log_writer
        self._settings = settings
        self._parent_process = parent
        self._where = where
        self._hint = hint
        self._announce = announce
        self._uid = os.geteuid()
        self._is_stopping = False

    def setServiceParent(self, parent: Any) -> None:
        """
        Join an application, which is where twistd looks for the observer of the log.
        """
        if self._log_writer is not None and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self._log_writer)  # type: ignore[no-untyped-call]
        super().setServiceParent(parent)  # type: ignore[no-untyped-call]

    def privilegedStartService(self) -> None:
        """
        Do what needs the privileges that the process has until twistd changes its user.
        """
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        self._gateway.privilegedStartService()

    def startService(self) -> None:
        """
        Start the gateway, and stop the process when that fails.
        """
        super().startService()  # type: ignore[no-untyped-call]
        self._parent_process.take_pipe()
        if self._is_another_user():
            try:
                adopt_user_environment(os.environ)
            except ImportError:
                self._failed(Failure())  # type: ignore[no-untyped-call]
                return
        too_few = open_files_warning(raise_limit(), self._settings)
        if too_few:
            self._log.warn("{too_few}", too_few=too_few)
        keep_freed_memory()
        # Imported modules are never freed; the garbage collector need not visit them again.
        gc.collect()
        gc.freeze()
        gc.enable()
        # Signals may come as soon as the gateway announces itself; but the reactor installs its own
        # handlers when it begins to run.
        self._handle_signals()
        self._reactor.callWhenRunning(self._handle_signals)
        self._systemd.started()
        ready = self._gateway.when_ready()
        ready.addCallbacks(self._is_ready, self._failed)
        self._gateway.when_drained().addCallback(lambda _: self._stop_reactor())
        # Not before the handlers: the reader of the announcement may stop the gateway at once.
        self._reactor.callWhenRunning(self._gateway.startService)

    def stopService(self) -> Deferred[None]:
        """
        Stop the gateway.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        self._systemd.stopping()
        return self._gateway.stopService().addBoth(self._stopped)

    def _stopped(self, result: Any) -> Any:
        self._systemd.stopped()
        return result

    def _is_ready(self, _result: None) -> None:
        self._systemd.ready()
        self._parent_process.report()
        if self._announce is not None:
            for url in self._gateway.urls():
                self._announce(AVAILABLE_MESSAGE.format(version=__version__, url=url) + "\n")
        urls = self._gateway.urls()
        if self._hint is not None and urls:
            self._log.info("try it: {command}", command=self._hint(urls[0]))

    def _handle_signals(self) -> None:
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, self._asked_to_stop)
        signal.signal(signal.SIGHUP, self._asked_to_reload)
        # twistd would rotate its log file.
        signal.signal(signal.SIGUSR1, self._asked_to_drain)
        deliver_blocked_signals()

    def _asked_to_stop(self, signum: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(self._stop_reactor)

    def _asked_to_reload(self, signum: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(self._reload_when_ready)

    def _asked_to_drain(self, signum: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(self._gateway.drain)

    def _reload_when_ready(self) -> None:
        # Before that there is nothing to reload, and systemd must not be told that we are ready.
        if self.running:
            self._gateway.when_ready().addCallbacks(lambda _: self._reload(), lambda _: None)

    def _reload(self) -> None:
        self._systemd.reloading()
        reloading = self._gateway.reload()
        reloading.addErrback(lambda failure: self._log.failure("cannot reload", failure))
        reloading.addCallback(lambda _: self._systemd.ready())

    def _stop_reactor(self) -> None:
        if self.running and self._reactor.running and not self._is_stopping:
            # Until its next iteration the reactor looks as if it could be stopped again.
            self._is_stopping = True
            self._reactor.stop()

    def _is_another_user(self) -> bool:
        return os.geteuid() != self._uid

    def _failed(self, failure: Failure) -> None:
        if failure.check(CancelledError):  # type: ignore[no-untyped-call]
            return
        reason = ""
        if failure.check(ConfigurationError):  # type: ignore[no-untyped-call]
            reason = with_origins(failure.getErrorMessage(), self._where)
        elif failure.check(ImportError) and self._is_another_user():  # type: ignore[no-untyped-call]
            reason = (
                f"the user of --uid cannot read modules of kgd ({failure.getErrorMessage()}); "
                f"make kgd's directory and {sys.prefix} readable for this user"
            )
        if reason:
            self._log.critical("cannot start: {reason}", reason=reason)
            self._parent_process.report(reason)
        else:
            self._log.failure("cannot start", failure)
            self._parent_process.report("an error in the gateway")
        # twistd has no way to exit with a failure; when this runs, it has removed its pid file.
        atexit.register(_exit_with_failure)
        self._reactor.callWhenRunning(self._stop_reactor)


def _exit_with_failure() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


def adopt_user_environment(environment: MutableMapping[str, str]) -> None:
    """
    Correct the variables that name the user and its home, for the gateway and its kernels, after
    ``twistd --uid`` has changed the user.
    """
    from kgd.kernels.local.environment import adapt_to_user
    from kgd.kernels.local.users import gateway_user_environment

    changed = adapt_to_user(environment, gateway_user_environment())
    for name in set(environment) - set(changed):
        del environment[name]
    environment.update(changed)


# Of glibc's malloc.h.
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
KEPT_MEMORY = 16 * 1024 * 1024  # bytes


def keep_freed_memory() -> None:
    """
    Let the allocator keep some freed memory instead of returning it to the system after each large
    message. New memory costs a page fault per page, which is more than all other work of relaying
    a message.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, KEPT_MEMORY)
        mallopt(M_MMAP_THRESHOLD, KEPT_MEMORY)
