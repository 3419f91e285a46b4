"""
The gateway as a service: what is begun and ended, in which order.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.interfaces import IProtocolFactory
from zope.interface import implementer

from kgd import __version__
from kgd.auth import AuthToken
from kgd.errors import ConfigurationError
from kgd.interfaces import IGateway, IKernels, IKernelSpecs, IPersonality, IRelay
from kgd.listening import Listeners
from kgd.logs import make_logger
from kgd.port_file import PortFile
from kgd.settings import Settings

GOING_AWAY = 1001
# A personality that does not stop keeps nobody from stopping.
PATIENCE = 5.0


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
    token: AuthToken = attrs.Factory(lambda self: AuthToken(self.settings), takes_self=True)

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
        self._listeners = Listeners(parts.reactor, parts.settings)
        self._port_file = PortFile(parts.settings.port_file)
        self._personality: IPersonality | None = None
        self._starting: Deferred[None] = succeed(None)
        self._ready: list[Deferred[None]] = []

    def when_ready(self) -> Deferred[None]:
        """
        :return: Fires when the gateway listens, or fails with the reason why it does not; then
            it has undone what it had begun.
        """
        ready: Deferred[None] = Deferred()
        self._ready.append(ready)
        return ready

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
            self._parts.token.load()
            self._listeners.prepare(has_token=self._parts.token.is_needed)
            self._port_file.clear()
            self._parts.runtime.open()
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
            await self._listeners.open(self._serve(self._personality))
            self._port_file.write(self._listeners.places())
        except BaseException:
            await self._stop()
            raise
        for port in self._listeners.opened:
            self._log.info(
                "Jupyter Kernel Gateway kgd {version} is available at {url}",
                version=__version__,
                url=port.url(settings.base_url),
            )

    def reload(self) -> Deferred[None]:
        """
        Read again what may have changed: certificates, the token, what the personality has read.
        What is wrong is said in the log, and stays as it is.

        :return: Fires when that is done.
        """
        self._listeners.reload()
        try:
            if self._parts.token.load():
                self._log.info("the token has changed; clients with the old one are turned away")
        except ConfigurationError as error:
            self._log.error("the token stays as it is: {reason}", reason=str(error))
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
        ports, self._listeners.opened = self._listeners.opened, []
        personality, self._personality = self._personality, None
        await self._bounded("removing the port file", self._port_file.remove)
        for port in ports:
            await self._bounded("closing a port", port.port.stopListening)
        for kernel in self._parts.kernels.list():
            kernel.channels.dismiss(GOING_AWAY, "The gateway is shutting down")
        if personality is not None:
            await self._bounded("stopping the personality", personality.stop)
        await self._bounded("stopping the kernels", self._parts.kernels.stop_all)
        await self._bounded("stopping the relay", self._relay.stop)
        await self._bounded("removing the runtime directory", self._parts.runtime.close)

    async def _bounded(self, what: str, action: Callable[[], Any]) -> None:
        stopping = maybeDeferred(action)
        stopping.addTimeout(PATIENCE, self._parts.reactor)
        try:
            await stopping
        except TookTooLong:
            self._log.error("{what} takes too long; going on without", what=what)
        except Exception:
            self._log.failure("{what} failed; going on", what=what)
