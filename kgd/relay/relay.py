"""
Where kernels' channels are opened.
"""

from __future__ import annotations

from typing import Any

from zope.interface import implementer

from kgd.errors import ConfigurationError
from kgd.interfaces import IKernelChannels, IKernelObserver, IRelay
from kgd.observability.counters import Counters
from kgd.protocol.connection_file import CurveKeys
from kgd.relay.channels import KernelChannels
from kgd.relay.sockets import SocketFactory, can_encrypt, new_curve_keys
from kgd.settings import Settings


@implementer(IRelay)
class Relay:
    """
    Owns the ZeroMQ context between :py:meth:`start` and :py:meth:`stop`.

    :param tally: Where to count what passes; by default where nobody looks.
    """

    def __init__(self, reactor: Any, settings: Settings, counters: Counters | None = None) -> None:
        self._reactor = reactor
        self._settings = settings
        self._counters = counters or Counters()
        self._sockets: SocketFactory | None = None
        self._open: set[KernelChannels] = set()

    def start(self) -> None:
        """
        Create the context.

        :raises kgd.errors.ConfigurationError: when ZeroMQ cannot do what the settings ask for.
        """
        wanted = self._settings.transport_encryption
        if wanted != "disabled" and not can_encrypt():
            raise ConfigurationError(
                f"--transport-encryption={wanted} is not possible, because ZeroMQ was built "
                "without CurveZMQ; install another build of pyzmq, or leave encryption disabled"
            )
        self._sockets = SocketFactory(self._reactor, self._counters)

    def open(self, kernel_id: str, observer: IKernelObserver) -> IKernelChannels:
        """
        Make the channels of a new kernel.
        """
        if self._sockets is None:
            raise RuntimeError("the relay has not been started")
        channels = KernelChannels(
            self._reactor,
            self._settings,
            self._sockets,
            kernel_id,
            observer,
            self._open.discard,
            self._counters,
        )
        self._open.add(channels)
        return channels

    def new_curve_keys(self) -> CurveKeys:
        """
        Make keys for a kernel.
        """
        return new_curve_keys()

    def stop(self) -> None:
        """
        Close everything that is open, and the context.
        """
        for channels in tuple(self._open):
            channels.close_now()
        if self._sockets is not None:
            sockets, self._sockets = self._sockets, None
            sockets.shutdown()
