"""
Opens the channels of kernels, and closes all of them when the gateway ends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zope.interface import implementer

from kgd.errors import ConfigurationError
from kgd.interfaces import IKernelChannels, IKernelObserver, IRelay
from kgd.observability.counters import Counters
from kgd.protocol.connection_file import CurveKeys
from kgd.relay.channels import KernelChannels
from kgd.relay.limits import RELAY_LIMITS, RelayLimits
from kgd.relay.sockets import SocketFactory, can_encrypt, new_curve_keys
from kgd.settings import Settings


@implementer(IRelay)
class Relay:
    """
    Owns the ZeroMQ context between :py:meth:`start` and :py:meth:`stop`.

    :param counters: Counts the messages; by default nothing reads the counts.
    :param is_encryption_possible: Whether ZeroMQ can encrypt.
    """

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        counters: Counters | None = None,
        limits: RelayLimits = RELAY_LIMITS,
        is_encryption_possible: Callable[[], bool] = can_encrypt,
    ) -> None:
        self._reactor = reactor
        self._settings = settings
        self._counters = counters or Counters()
        self._limits = limits
        self._is_encryption_possible = is_encryption_possible
        self._sockets: SocketFactory | None = None
        self._open: set[KernelChannels] = set()

    def start(self) -> None:
        wanted = self._settings.transport_encryption
        if wanted != "disabled" and not self._is_encryption_possible():
            raise ConfigurationError(
                f"--transport-encryption={wanted} is not possible, because ZeroMQ was built "
                "without CurveZMQ; install another build of pyzmq, or leave encryption disabled"
            )
        self._sockets = SocketFactory(self._reactor, self._counters)

    def open(self, kernel_id: str, observer: IKernelObserver) -> IKernelChannels:
        if self._sockets is None:
            raise RuntimeError("the relay is not running; call start() first")
        channels = KernelChannels(
            self._reactor,
            self._settings,
            self._sockets,
            kernel_id,
            observer,
            self._open.discard,
            self._counters,
            self._limits,
        )
        self._open.add(channels)
        return channels

    def new_curve_keys(self) -> CurveKeys:
        return new_curve_keys()

    def stop(self) -> None:
        for channels in tuple(self._open):
            channels.close_now()
        if self._sockets is not None:
            sockets, self._sockets = self._sockets, None
            sockets.shutdown()
