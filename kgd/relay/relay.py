"""
Where kernels' channels are opened.
"""

from __future__ import annotations

from typing import Any

from zope.interface import implementer

from kgd.interfaces import IChannels, IChannelsObserver, IRelay
from kgd.relay.channels import KernelChannels
from kgd.relay.sockets import SocketFactory
from kgd.settings import Settings


@implementer(IRelay)
class Relay:
    """
    Owns the ZeroMQ context between :py:meth:`start` and :py:meth:`stop`.
    """

    def __init__(self, reactor: Any, settings: Settings) -> None:
        self._reactor = reactor
        self._settings = settings
        self._sockets: SocketFactory | None = None
        self._open: set[KernelChannels] = set()

    def start(self) -> None:
        """
        Create the context.
        """
        self._sockets = SocketFactory(self._reactor)

    def open(self, kernel_id: str, observer: IChannelsObserver) -> IChannels:
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
        )
        self._open.add(channels)
        return channels

    def stop(self) -> None:
        """
        Close everything that is open, and the context.
        """
        for channels in tuple(self._open):
            channels.abandon()
        if self._sockets is not None:
            sockets, self._sockets = self._sockets, None
            sockets.shutdown()
