"""
The gateway as a service: what is begun and ended, in which order.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred, succeed
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from zope.interface import implementer

from kgd import __version__
from kgd.audit import Audit
from kgd.draining import Draining
from kgd.errors import ConfigurationError
from kgd.interfaces import (
    IDrainable,
    IGateway,
    IKernels,
    IKernelSpecs,
    IPersonality,
    IRelay,
)
from kgd.lag import LagMeter
from kgd.listening import Listening, listen
from kgd.logs import make_logger
from kgd.settings import Settings
from kgd.tally import Tally
from kgd.waiters import Waiters

GOING_AWAY = 1001
# A personality that does not stop keeps nobody from stopping.
PATIENCE = 5.0
# Programs that start a gateway wait for this line, and take the port from its end.
AVAILABLE = "Jupyter Kernel Gateway kgd {version} is available at {url}"
# How long what has just been answered may take to leave.
LAST_ANSWERS = 0.25


@implementer(IGateway)
@attrs.frozen
class Parts:
    """
    The pieces of a gateway, for its personality.

    :ivar runtime: Something with ``open()``, ``close()`` and ``directory(name)`` for files that go
        with the gateway.
    """

    reactor: Any
    settings: Settings
    kernels: IKernels
    kernel_specs: IKernelSpecs
    runtime: Any
    draining: Draining = attrs.field(factory=Draining)
    tally: Tally = attrs.field(factory=Tally)
    audit: Audit = attrs.field(factory=Audit)

    def private_directory(self, name: str) -> Path:
        """
        Make a directory in the runtime directory.
        """
        return self.runtime.directory(name)  # type: ignore[no-any-return]


class Gateway(Service):
    """
    A gateway.

    Nothing is opened before :py:meth:`startService`: ``twistd`` forks between making the service
    and starting it.

    :param load: Makes the personality.
    :param serve: Makes the HTTP server around the personality.
    """

    _log = make_logger()

    def __init__(
        self,
        parts: Parts,
        relay: IRelay,
        load: Callable[[IGateway], IPersonality],
        serve: Callable[[IPersonality], IProtocolFactory],
    ) -> None:
        self._parts = parts
        self._relay = relay
        self._load = load
        self._serve = serve
        self._ports: list[Listening] = []
        self._personality: IPersonality | None = None
        self._starting: Deferred[None] = succeed(None)
        self._ready: list[Deferred[None]] = []
        self._drained: Waiters[None] = Waiters()
        self._draining: Deferred[None] = succeed(None)
        self._lag = LagMeter(parts.reactor, parts.tally)

    def when_ready(self) -> Deferred[None]:
        """
        :return: Fires when the gateway listens, or fails with the reason why it does not; then
            it has undone what it had begun.
        """
        ready: Deferred[None] = Deferred()
        self._ready.append(ready)
        return ready

    def when_drained(self) -> Deferred[None]:
        """
        :return: Fires when somebody has asked for the gateway to be drained, and what it had begun
            is done, or has had enough time. Then it is to be stopped.
        """
        return self._drained.wait()

    def drain(self) -> None:
        """
        Begin nothing new from now on.
        """
        self._parts.draining.ask()

    def startService(self) -> None:
        """
        Begin to start; what comes of it is said by :py:meth:`when_ready`.
        """
        super().startService()  # type: ignore[no-untyped-call]
        self._starting = Deferred.fromCoroutine(self._start())
        self._starting.addBoth(self._started)

    def _started(self, result: Any) -> None:
        waiting, self._ready = self._ready, []
        for ready in waiting:
            ready.callback(result)

    async def _start(self) -> None:
        try:
            self._parts.runtime.open()
            self._parts.audit.open()
            self._relay.start()
            self._personality = self._load(self._parts)
            await self._personality.start()
            settings = self._parts.settings
            if not self._parts.kernel_specs.has(settings.default_kernel_name):
                self._log.warn(
                    "the default kernel {name!r} is not installed; install it, or choose another "
                    "with --default-kernel-name",
                    name=settings.default_kernel_name,
                )
            self._ports = await listen(
                self._parts.reactor, settings, self._serve(self._personality)
            )
        except BaseException:
            await self._stop()
            raise
        for url in self.urls():
            self._log.info(AVAILABLE, version=__version__, url=url)
        if settings.metrics:
            self._lag.start()
        self._draining = self._parts.draining.when_asked()
        self._draining.addCallback(lambda _: Deferred.fromCoroutine(self._drain()))
        self._draining.addErrback(self._drain_failed)

    def urls(self) -> list[str]:
        """
        :return: Where the gateway answers.
        """
        return [port.url(self._parts.settings.base_url) for port in self._ports]

    def _drain_failed(self, failure: Failure) -> None:
        if not failure.check(CancelledError):  # type: ignore[no-untyped-call]
            self._log.failure("cannot drain", failure)

    async def _drain(self) -> None:
        timeout = self._parts.settings.drain_timeout
        self._log.info("draining: nothing new is begun, and what there is may go on")
        personality = self._personality
        if IDrainable.providedBy(personality):
            drained = personality.drain()
        else:
            drained = self._parts.kernels.drain()
        if timeout:
            drained.addTimeout(timeout, self._parts.reactor)
        try:
            await drained
        except TookTooLong:
            self._log.warn(
                "draining took longer than {timeout:g} s; stopping what is left", timeout=timeout
            )
        else:
            self._log.info("drained: there is nothing left to do")
        # The last answers are on their way.
        await deferLater(self._parts.reactor, LAST_ANSWERS)
        # Whoever is told stops us, which must not stop this.
        self._draining = succeed(None)
        self._drained.fire(None)

    def reload(self) -> Deferred[None]:
        """
        :return: Fires when the personality has read again what may have changed, and the audit log
            has been opened again.
        """
        try:
            self._parts.audit.open()
        except ConfigurationError as error:
            self._log.error("{reason}; the file that was open stays so", reason=str(error))
        if self._personality is None:
            return succeed(None)
        return maybeDeferred(self._personality.reload)

    def stopService(self) -> Deferred[None]:
        """
        :return: Fires when no kernel, no file and no socket is left.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        self._starting.cancel()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        """
        Everything is stopped, whatever goes wrong with the rest.
        """
        self._lag.stop()
        self._draining.cancel()
        ports, self._ports = self._ports, []
        personality, self._personality = self._personality, None
        for port in ports:
            await self._bounded("closing a port", port.port.stopListening)
        for kernel in self._parts.kernels.list():
            kernel.channels.dismiss(GOING_AWAY, "The gateway is shutting down")
        if personality is not None:
            await self._bounded("stopping the personality", personality.stop)
        await self._bounded("stopping the kernels", self._parts.kernels.stop_all)
        await self._bounded("stopping the relay", self._relay.stop)
        await self._bounded("removing the runtime directory", self._parts.runtime.close)
        self._parts.audit.close()

    async def _bounded(self, what: str, action: Callable[[], Any]) -> None:
        stopping = maybeDeferred(action)
        stopping.addTimeout(PATIENCE, self._parts.reactor)
        try:
            await stopping
        except TookTooLong:
            self._log.error("{what} takes too long; going on without", what=what)
        except Exception:
            self._log.failure("{what} failed; going on", what=what)
