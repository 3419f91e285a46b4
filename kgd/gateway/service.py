"""
The gateway as a Twisted service: starts and stops its components in order.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    DeferredLock,
    fail,
    maybeDeferred,
    succeed,
)
from twisted.internet.defer import TimeoutError as ExecutionTimedOut
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.web.resource import IResource

from kgd import __version__
from kgd.auth.token import AuthToken
from kgd.deferreds import Waiters
from kgd.errors import ConfigurationError
from kgd.gateway.context import StartupEnvironment
from kgd.interfaces import GATEWAY_SHUTDOWN_REASON, IDrainable, IPersonality
from kgd.listening.accept_throttle import AcceptThrottle
from kgd.listening.listeners import Listeners
from kgd.listening.port_file import PortFile
from kgd.observability.counters import Counters
from kgd.observability.logs import make_logger
from kgd.personalities.loader import load_personality
from kgd.protocol.rfc6455 import GOING_AWAY
from kgd.settings import Settings
from kgd.web.mounted import MountedResource
from kgd.web.root import RootResource
from kgd.web.server.site import GatewaySite

if TYPE_CHECKING:
    from kgd.gateway.assembly import Components
    from kgd.gateway.context import GatewayContext

# Seconds that each step of a stop may take.
STOP_TIMEOUT = 5.0
# Programs that start a gateway wait for this line, and take the port from its end.
AVAILABLE_MESSAGE = "Jupyter Kernel Gateway kgd {version} is available at {url}"
# Seconds that the last responses may take to be sent.
FLUSH_TIME = 0.25


class Gateway(Service):
    """
    A gateway, as one of an application's services or as a process of its own.

    Nothing is opened, and no thread is started, before :py:meth:`startService`: ``twistd`` forks
    between making the service and starting it. A process may have several gateways, and one that
    has been stopped can be started again.

    :ivar resource: A resource to mount in a tree of Twisted resources. It answers 503 while the
        gateway is not ready. The path where it is mounted is the base URL.
    :param listens: Whether the gateway opens ports of its own, as the settings say.
    :param environ: Variables from which kernels' environments are made; by default the process's.
    :param on_secret: Called with every token that the gateway reads, so that a log can hide it.
    """

    _log = make_logger()

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        *,
        listens: bool = False,
        environ: Mapping[str, str] | None = None,
        on_secret: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._reactor = reactor
        self._settings = settings
        self._listens = listens
        self._startup = StartupEnvironment.capture(environ)
        self._on_secret = on_secret
        self._token: AuthToken | None = None
        self._prepare_error: Exception | None = None
        self._counters = Counters()
        self._mounted = MountedResource(settings, self._counters)
        self.resource: IResource = self._mounted
        self._components: Components | None = None
        self._listeners = Listeners(reactor, settings)
        self._port_file = PortFile(settings.port_file if listens else "")
        self._accept_throttle = AcceptThrottle(reactor)
        self._personality: IPersonality | None = None
        # A start waits for the end of the stop before it, and the other way round.
        self._start_stop_lock = DeferredLock()
        self._starting: Deferred[None] = succeed(None)
        self._is_rolling_back = False
        self._start_result: Failure | bool | None = None
        self._ready_waiters: Waiters[None] = Waiters()
        self._draining: Deferred[None] = succeed(None)
        self._drained_waiters: Waiters[None] = Waiters()

    def when_ready(self) -> Deferred[None]:
        """
        :return: Fires when the gateway is ready, or fails with the reason why it could not start,
            after everything that it had started is stopped again.
        """
        if self._start_result is None:
            return self._ready_waiters.wait()
        return (
            fail(self._start_result) if isinstance(self._start_result, Failure) else succeed(None)
        )

    @property
    def ports(self) -> list[Any]:
        """
        The ``IListeningPort`` of each of the gateway's own ports.
        """
        return [open_port.port for open_port in self._listeners.opened]

    def when_drained(self) -> Deferred[None]:
        """
        :return: Fires when a drain has been asked for and the gateway's work is done, or its time
            is over. Then stop the gateway.
        """
        return self._drained_waiters.wait()

    def drain(self) -> None:
        """
        Refuse new work from now on; does nothing unless the gateway has been started.
        """
        if self._components is not None:
            self._components.context.draining.ask()

    def privilegedStartService(self) -> None:
        """
        Read secrets and bind ports while the process may still be root's.
        """
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        try:
            self._prepare()
        except Exception as error:
            # startService reports it.
            self._prepare_error = error

    def _prepare(self) -> AuthToken:
        """
        Check what could go wrong before anything is started: read the token and the certificates,
        and bind the ports.
        """
        token = AuthToken(self._settings, os.environ, self._on_secret)
        token.load()
        if self._listens:
            self._listeners.prepare(has_token=token.is_needed)
        self._token = token
        return token

    def startService(self) -> None:
        """
        Begin to start; :py:meth:`when_ready` tells the outcome.
        """
        super().startService()  # type: ignore[no-untyped-call]
        self._start_result = None
        self._mounted.reason = "the gateway is starting; try again"
        self._starting = starting = self._start_stop_lock.run(
            lambda: Deferred.fromCoroutine(self._start())
        )
        starting.addCallbacks(self._started, self._failed, errbackArgs=(starting,))

    def _started(self, _: None) -> None:
        self._start_result = True
        self._ready_waiters.fire(None)

    def _failed(self, failure: Failure, starting: Deferred[None]) -> None:
        error = failure.value
        assert isinstance(error, Exception)
        if starting is not self._starting:
            # It has been stopped, and is being started again.
            return
        if not self.running:
            # It is being stopped, which fails the start with one error or another.
            self._ready_waiters.fail(CancelledError)
            return
        self._start_result = failure
        self._mounted.reason = "the gateway could not be started; its log says why"
        if self._ready_waiters:
            self._ready_waiters.fail(lambda: error)
        elif failure.check(ConfigurationError):  # type: ignore[no-untyped-call]
            self._log.critical("cannot start: {reason}", reason=failure.getErrorMessage())
        else:
            self._log.failure("cannot start", failure)

    async def _start(self) -> None:
        # Importing this chooses a reactor, if none has been chosen.
        from kgd.gateway.assembly import assemble

        settings = self._settings
        prepare_error, self._prepare_error = self._prepare_error, None
        try:
            if prepare_error is not None:
                raise prepare_error
            token = self._token or self._prepare()
            self._components = components = assemble(
                self._reactor, settings, self._startup, token, self._counters
            )
            context = components.context
            self._port_file.remove_stale()
            context.runtime.open()
            context.audit.open()
            components.relay.start()
            self._personality = load_personality(settings.api, context)
            await maybeDeferred(self._personality.start)
            root = RootResource(
                settings,
                self._personality,
                context.counters,
                context.audit,
                context.token,
                context.operations,
            )
            forced = settings.force_kernel_name
            name = forced or settings.default_kernel_name
            if not context.kernel_specs.has(name):
                self._log.warn(
                    "the kernel {name!r} is not installed; install it, or choose another with "
                    "--{option}-kernel-name",
                    name=name,
                    option="force" if forced else "default",
                )
            if self._listens:
                site = GatewaySite(settings, root, self._reactor)
                self._accept_throttle.on_paused = site.connections.close_idle
                await self._listeners.open(site)
                for open_port in self._listeners.opened:
                    self._accept_throttle.add_port(open_port.port)
                self._port_file.write(self._listeners.ports_and_paths())
            self._mounted.root = root
        except BaseException:
            self._is_rolling_back = True
            try:
                await self._stop()
            finally:
                self._is_rolling_back = False
            raise
        for url in self.urls():
            self._log.info(AVAILABLE_MESSAGE, version=__version__, url=url)
        if settings.metrics:
            components.lag.start()
        self._draining = context.draining.when_asked()
        self._draining.addCallback(lambda _: Deferred.fromCoroutine(self._drain(context)))
        self._draining.addErrback(self._drain_failed)

    def urls(self) -> list[str]:
        """
        :return: The URLs that the gateway serves.
        """
        return [port.url(self._settings.base_url) for port in self._listeners.opened]

    def _drain_failed(self, failure: Failure) -> None:
        if not failure.check(CancelledError):  # type: ignore[no-untyped-call]
            self._log.failure("cannot drain", failure)

    def _drain_kernels(self, failure: Failure, context: GatewayContext) -> Deferred[None]:
        """
        Wait for the kernels instead, when the personality cannot drain.
        """
        if failure.check(CancelledError):  # type: ignore[no-untyped-call]
            failure.raiseException()
        self._log.failure("the personality cannot drain; waiting for its kernels", failure)
        return context.kernels.drain()

    async def _drain(self, context: GatewayContext) -> None:
        timeout = self._settings.drain_timeout
        self._log.info("draining: new work is refused, and present work goes on")
        personality = self._personality
        if IDrainable.providedBy(personality):
            drained = maybeDeferred(personality.drain)
            drained.addErrback(self._drain_kernels, context)
        else:
            drained = context.kernels.drain()
        if timeout:
            drained.addTimeout(timeout, self._reactor)
        try:
            await drained
        except ExecutionTimedOut:
            self._log.warn(
                "draining took longer than {timeout:g} s; stopping what is left", timeout=timeout
            )
        else:
            self._log.info("drained: no work is left")
        # The last responses are being sent.
        await deferLater(self._reactor, FLUSH_TIME)
        # Those who wait stop the gateway, which would cancel this.
        self._draining = succeed(None)
        self._drained_waiters.fire(None)

    def reload(self) -> Deferred[None]:
        """
        Read certificates, the token and the personality's files again, and reopen the audit log.
        What cannot be read is logged, and keeps its present value.

        :return: Fires when that is done.
        """
        if self._components is None or self._personality is None:
            return succeed(None)
        context = self._components.context
        self._listeners.reload()
        try:
            if context.token.load():
                self._log.info("the token has changed; clients with the old one are refused")
        except ConfigurationError as error:
            self._log.error("the token stays as it is: {reason}", reason=str(error))
        try:
            context.audit.open()
        except ConfigurationError as error:
            self._log.error("{reason}; the file that was open stays so", reason=str(error))
        return maybeDeferred(self._personality.reload)

    def stopService(self) -> Deferred[None]:
        """
        :return: Fires when all kernels, files and sockets are gone.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        self._start_result = None
        self._mounted.reason = "the gateway is shutting down"
        if not self._is_rolling_back:
            self._starting.cancel()
        return self._start_stop_lock.run(lambda: Deferred.fromCoroutine(self._stop()))

    async def _stop(self) -> None:
        """
        Stop everything, even if some steps fail.
        """
        self._mounted.root = None
        self._draining.cancel()
        # The next start reads it again.
        self._token = None
        self._listeners.release()
        ports, self._listeners.opened = self._listeners.opened, []
        personality, self._personality = self._personality, None
        components, self._components = self._components, None
        self._accept_throttle.stop()
        await self._stop_part("removing the port file", self._port_file.remove)
        for port in ports:
            await self._stop_part("closing a port", port.port.stopListening)
        if components is None:
            return
        components.lag.stop()
        context = components.context
        for kernel in context.kernels.list():
            kernel.channels.close_clients(GOING_AWAY, GATEWAY_SHUTDOWN_REASON)
        if personality is not None:
            await self._stop_part("stopping the personality", personality.stop)
        await self._stop_part("stopping the kernels", context.kernels.stop_all)
        # Slow clients have not read their close frames yet.
        await self._stop_part("closing the WebSockets", context.open_sockets.when_all_closed)
        await self._stop_part("stopping the relay", components.relay.stop)
        await self._stop_part("removing the runtime directory", context.runtime.close)
        context.audit.close()

    async def _stop_part(self, what: str, action: Callable[[], Any]) -> None:
        stopping = maybeDeferred(action)
        stopping.addTimeout(STOP_TIMEOUT, self._reactor)
        try:
            await stopping
        except ExecutionTimedOut:
            self._log.error("{what} takes too long; continuing without it", what=what)
        except Exception:
            self._log.failure("{what} failed; continuing", what=what)
