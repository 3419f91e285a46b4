"""
What ``twistd kgd`` runs: the options, and the service made of them.

This is the only module that knows every concrete class. Making the service opens nothing.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import os
import resource
import signal
import sys
from types import FrameType
from typing import Any

from twisted.application.service import IService, Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from kgd.auth import AuthToken, with_credential
from kgd.errors import ConfigurationError
from kgd.logs import make_logger, set_level
from kgd.options import Options
from kgd.service import Gateway, Parts
from kgd.settings import Settings

__all__ = ["Options", "makeService"]


def make_gateway(reactor: Any, settings: Settings) -> Gateway:
    """
    Join the pieces.
    """
    # Importing txZMQ chooses a reactor, so it has to wait until ours has been chosen.
    import txaio

    from kgd.kernels.process import LocalLauncher
    from kgd.kernels.registry import KernelRegistry
    from kgd.kernels.runtime import RuntimeDirectory
    from kgd.kernels.specs import InstalledKernelSpecs
    from kgd.personalities.loader import load
    from kgd.relay.relay import Relay
    from kgd.web.gateway import GatewayResource
    from kgd.web.site import GatewaySite

    # Autobahn's timers.
    txaio.use_twisted()  # type: ignore[no-untyped-call]
    txaio.config.loop = reactor  # type: ignore[attr-defined]
    settings = with_credential(settings, os.environ)
    specs = InstalledKernelSpecs(allowed=settings.allowed_kernelspecs)
    relay = Relay(reactor, settings)
    runtime = RuntimeDirectory()
    token = AuthToken(settings, os.environ)
    kernels = KernelRegistry(
        reactor, settings, specs, LocalLauncher(reactor), relay, runtime, os.environ
    )
    return Gateway(
        Parts(reactor, settings, kernels, specs, runtime, token),
        relay,
        lambda gateway: load(settings.api, gateway),
        lambda personality: GatewaySite(
            settings, GatewayResource(settings, personality, token), reactor
        ),
    )


class Daemon(Service):
    """
    A gateway that is the whole process: it has the signals, and the exit status.

    twistd would end with the status of the signal that stopped it; for whoever supervises the
    daemon, being told to stop is no failure.
    """

    _log = make_logger()

    def __init__(self, reactor: Any, gateway: Gateway) -> None:
        self._reactor = reactor
        self._gateway = gateway

    def startService(self) -> None:
        """
        Start the gateway, and stop the process when that fails.
        """
        super().startService()  # type: ignore[no-untyped-call]
        raise_descriptor_limit()
        keep_freed_memory()
        # What has been imported stays for ever; the garbage collector need not look at it again.
        gc.collect()
        gc.freeze()
        # The reactor installs its own handlers first.
        self._reactor.callWhenRunning(self._handle_signals)
        ready = self._gateway.when_ready()
        ready.addErrback(self._failed)
        self._gateway.startService()

    def stopService(self) -> Deferred[None]:
        """
        Stop the gateway.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        return self._gateway.stopService()

    def _handle_signals(self) -> None:
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, self._asked_to_stop)
        signal.signal(signal.SIGHUP, self._asked_to_reload)

    def _asked_to_stop(self, signum: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(self._stop_reactor)

    def _asked_to_reload(self, signum: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(self._reload)

    def _reload(self) -> None:
        reloading = self._gateway.reload()
        reloading.addErrback(lambda failure: self._log.failure("cannot reload", failure))

    def _stop_reactor(self) -> None:
        if self.running and self._reactor.running:
            self._reactor.stop()

    def _failed(self, failure: Failure) -> None:
        if failure.check(CancelledError):  # type: ignore[no-untyped-call]
            return
        if failure.check(ConfigurationError):  # type: ignore[no-untyped-call]
            self._log.critical("cannot start: {reason}", reason=failure.getErrorMessage())
        else:
            self._log.failure("cannot start", failure)
        # twistd cannot be told that this was a failure; by now it has removed its pid file.
        atexit.register(_exit_with_failure)
        self._reactor.callWhenRunning(self._stop_reactor)


def _exit_with_failure() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


def raise_descriptor_limit() -> None:
    """
    Every client takes several descriptors, and every kernel some more: allow as many as we may.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


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


def makeService(options: Options) -> IService:
    """
    :return: The service for ``twistd``.
    """
    from twisted.internet import reactor

    settings: Settings = options.settings
    set_level(settings.log_level)
    daemon: IService = Daemon(reactor, make_gateway(reactor, settings))
    return daemon
