"""
The daemon: a gateway that is a process of its own, with signals, limits, an exit status and a log.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, MutableMapping
from types import FrameType
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import ILogObserver
from twisted.python.components import Componentized
from twisted.python.failure import Failure
from twisted.python.logfile import LogFile

from kgd import __version__
from kgd.config.resolve import with_origins
from kgd.daemon.limits import complaint, raise_limit
from kgd.daemon.parent import ParentProcess
from kgd.daemon.signals import hear_the_rest
from kgd.daemon.systemd import Systemd
from kgd.errors import ConfigurationError
from kgd.gateway.service import AVAILABLE, Gateway
from kgd.observability.log_format import LogWriter
from kgd.observability.logs import make_logger
from kgd.observability.scrubbing import Scrubber
from kgd.settings import Settings

if TYPE_CHECKING:
    pass

_log = make_logger()


class Daemon(Service):
    """
    A gateway that is the whole process: it has the signals, and the exit status.

    twistd would end with the status of the signal that stopped it; for whoever supervises the
    daemon, being told to stop is no failure.

    :param max_kernels: For which there ought to be enough descriptors.
    :param awaited: Who has started it.
    :param where: By option, where it was set.
    :param announce: Writes the lines that say where the gateway is. Somebody may wait for them who
        has silenced the log that they are in.
    """

    _log = make_logger()

    def __init__(
        self,
        reactor: Any,
        gateway: Gateway,
        systemd: Systemd,
        log_writer: LogWriter | None,
        *,
        awaited: ParentProcess,
        where: Mapping[str, str],
        max_kernels: int | None = None,
        announce: Callable[[str], object] | None = None,
    ) -> None:
        self._reactor = reactor
        self._gateway = gateway
        self._systemd = systemd
        self._log_writer = log_writer
        self._max_kernels = max_kernels
        self._awaited = awaited
        self._where = where
        self._announce = announce
        self._uid = os.geteuid()
        self._is_stopping = False

    def setServiceParent(self, parent: Any) -> None:
        """
        Become part of an application; twistd looks there for somebody who writes the log.
        """
        if self._log_writer is not None and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self._log_writer)  # type: ignore[no-untyped-call]
        super().setServiceParent(parent)  # type: ignore[no-untyped-call]

    def privilegedStartService(self) -> None:
        """
        Twistd is about to change the user, if it has been told to.
        """
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        self._gateway.privilegedStartService()

    def startService(self) -> None:
        """
        Start the gateway, and stop the process when that fails.
        """
        super().startService()  # type: ignore[no-untyped-call]
        self._awaited.keep()
        if self._is_another_user():
            try:
                become_at_home(os.environ)
            except ImportError:
                self._failed(Failure())  # type: ignore[no-untyped-call]
                return
        too_few = complaint(raise_limit(), self._max_kernels)
        if too_few:
            self._log.warn("{too_few}", too_few=too_few)
        keep_freed_memory()
        # What has been imported stays for ever; the garbage collector need not look at it again.
        gc.collect()
        gc.freeze()
        gc.enable()
        # Signals may come as soon as it is said that the gateway answers; but the reactor installs
        # its own handlers when it begins to run.
        self._handle_signals()
        self._reactor.callWhenRunning(self._handle_signals)
        self._systemd.started()
        ready = self._gateway.when_ready()
        ready.addCallbacks(self._is_ready, self._failed)
        self._gateway.when_drained().addCallback(lambda _: self._stop_reactor())
        # Not before there are handlers: who hears that it answers may tell it to stop.
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
        self._awaited.tell()
        if self._announce is not None:
            for url in self._gateway.urls():
                self._announce(AVAILABLE.format(version=__version__, url=url) + "\n")

    def _handle_signals(self) -> None:
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, self._asked_to_stop)
        signal.signal(signal.SIGHUP, self._asked_to_reload)
        # twistd, if it writes a file, would begin another one.
        signal.signal(signal.SIGUSR1, self._asked_to_drain)
        hear_the_rest()

    def _asked_to_stop(self, signum: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(self._stop_reactor)

    def _asked_to_reload(self, signum: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(self._reload_when_ready)

    def _asked_to_drain(self, signum: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(self._gateway.drain)

    def _reload_when_ready(self) -> None:
        # Until then there is nothing to reload, and systemd would be told that it is ready.
        if self.running:
            self._gateway.when_ready().addCallbacks(lambda _: self._reload(), lambda _: None)

    def _reload(self) -> None:
        self._systemd.reloading()
        reloading = self._gateway.reload()
        reloading.addErrback(lambda failure: self._log.failure("cannot reload", failure))
        reloading.addCallback(lambda _: self._systemd.ready())

    def _stop_reactor(self) -> None:
        if self.running and self._reactor.running and not self._is_stopping:
            # Until its next turn the reactor looks as if it could be stopped once more.
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
                f"the user of --uid cannot read what kgd needs ({failure.getErrorMessage()}); "
                f"let it read kgd's own directory and {sys.prefix}"
            )
        if reason:
            self._log.critical("cannot start: {reason}", reason=reason)
            self._awaited.tell(reason)
        else:
            self._log.failure("cannot start", failure)
            self._awaited.tell("an error in the gateway")
        # twistd cannot be told that this was a failure; by now it has removed its pid file.
        atexit.register(_exit_with_failure)
        self._reactor.callWhenRunning(self._stop_reactor)


def _exit_with_failure() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


def become_at_home(environment: MutableMapping[str, str]) -> None:
    """
    After ``twistd --uid``: what says who we are, and where our own files are, shall be true again,
    for us and for the kernels.
    """
    from kgd.kernels.local.environment import as_user
    from kgd.kernels.local.users import own_environment

    changed = as_user(environment, own_environment())
    for name in set(environment) - set(changed):
        del environment[name]
    environment.update(changed)


# Of glibc's malloc.h.
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
KEPT = 16 * 1024 * 1024  # bytes


def keep_freed_memory() -> None:
    """
    Let the allocator keep some memory instead of giving it back after each large message, which
    would cost more than all the rest of relaying it: fresh memory comes a page fault at a time.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, KEPT)
        mallopt(M_MMAP_THRESHOLD, KEPT)


def log_writer(
    reactor: Any, settings: Settings, of_twistd: Mapping[str, Any], terminal: Any, scrub: Scrubber
) -> LogWriter | None:
    """
    :param of_twistd: The options of twistd.
    :param terminal: Where to write as long as those do not say otherwise.
    :param scrub: Takes secrets out of what is written.
    :return: What writes the log to where twistd would; ``None`` if that has a writer of its own.
    """
    if of_twistd.get("syslog") or of_twistd.get("logger"):
        return None
    name = of_twistd.get("logfile")
    if not name and not of_twistd.get("nodaemon", True):
        name = "twistd.log"
    file = terminal
    if name and name != "-":
        # What clients ask for is nobody else's business. A file that is there keeps its mode.
        is_ours = of_twistd.get("umask") is None and not os.path.exists(name)
        mode = 0o600 if is_ours else None
        try:
            file = LogFile.fromFullPath(name, defaultMode=mode)  # type: ignore[no-untyped-call]
        except OSError as error:
            sys.exit(f"--logfile={name} cannot be written: {error.strerror}")
    elif not of_twistd.get("nodaemon", True):
        sys.exit("a daemon cannot log to stdout; name a file with --logfile")
    return LogWriter(file, settings.log_format, scrub, time.monotonic, reactor.callLater)
