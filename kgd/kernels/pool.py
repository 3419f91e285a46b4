"""
Spare kernels: started and seeded before anybody asks for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from twisted.internet.defer import Deferred, FirstError, gatherResults, maybeDeferred, succeed
from twisted.internet.interfaces import IDelayedCall

from kgd.errors import ConfigurationError, GatewayError
from kgd.kernels.kernel import Kernel
from kgd.kernels.supervisor import LaunchSpec
from kgd.observability.logs import make_logger

# Whoever has just been given a spare kernel shall have the processor for themselves at first.
REFILL_AFTER = 0.2
# After a failure to refill.
SHORTEST_PAUSE = 5.0
LONGEST_PAUSE = 300.0


class WarmPool:
    """
    Keeps so many kernels of each kernelspec spare.

    :param make: Makes a kernel of a kernelspec, not yet started.
    :param room: How many more kernels there may be; ``None`` is no limit.
    """

    _log = make_logger()

    def __init__(
        self, reactor: Any, make: Callable[[str], Kernel], room: Callable[[], int | None]
    ) -> None:
        self._reactor = reactor
        self._make = make
        self._room = room
        self._wanted: Mapping[str, int] = {}
        self._spare: list[Kernel] = []
        self._leaving: list[Kernel] = []
        self._refill: IDelayedCall | None = None
        self._pause = SHORTEST_PAUSE

    def __iter__(self) -> Iterator[Kernel]:
        """
        All that are there, also those that are being stopped.
        """
        return iter((*self._spare, *self._leaving))

    def __len__(self) -> int:
        return len(self._spare) + len(self._leaving)

    async def fill(self, wanted: Mapping[str, int]) -> None:
        """
        Start this many kernels of each kernelspec, and wait until they can be used.

        :param wanted: Canonical name to number.
        :raises kgd.errors.ConfigurationError: when one cannot.
        """
        self._wanted = wanted
        try:
            await gatherResults(
                [maybeDeferred(self._add, name) for name in self._missing()], consumeErrors=True
            )
        except FirstError as first:
            error = first.subFailure.value
            raise ConfigurationError(f"A kernel could not be prespawned: {error}") from None

    def _missing(self) -> list[str]:
        """
        :return: A kernelspec's name for each kernel to be started, as far as there is room.
        """
        names = [kernel.name for kernel in self._spare]
        missing = [
            name for name, count in self._wanted.items() for _ in range(count - names.count(name))
        ]
        room = self._room()
        return missing if room is None else missing[: max(0, room)]

    def _add(self, name: str) -> Deferred[None]:
        kernel = self._make(name)
        self._spare.append(kernel)
        ready = kernel.when_ready()
        kernel.start().addErrback(lambda _: None)
        return ready

    def take(self, plan: LaunchSpec) -> Kernel | None:
        """
        :return: A kernel that is as good as one made by this plan, or ``None`` when there is none.
        """
        for kernel in tuple(self._spare):
            if kernel.name == plan.spec.name and kernel.plan.spec != plan.spec:
                # Its kernelspec has been changed since.
                self._dismiss(kernel)
            elif kernel.is_ready and kernel.plan.is_like(plan):
                self._spare.remove(kernel)
                self.refill_soon()
                return kernel
        return None

    def give_way(self) -> Deferred[None]:
        """
        Stop one spare kernel, if there is any, to make room for somebody's.

        :return: Fires when its process is gone.
        """
        if self._spare:
            return self._dismiss(self._spare[-1])
        return self._leaving[0].stop() if self._leaving else succeed(None)

    def _dismiss(self, kernel: Kernel) -> Deferred[None]:
        self._spare.remove(kernel)
        self._leaving.append(kernel)
        return kernel.stop()

    def forget(self, kernel: Kernel) -> None:
        """
        A kernel is gone; maybe a spare one that has died.
        """
        if kernel in self._spare:
            self._spare.remove(kernel)
            self._try_later()
            return
        if kernel in self._leaving:
            self._leaving.remove(kernel)
        self.refill_soon()

    def refill_soon(self) -> None:
        """
        Start what is missing, in a moment.
        """
        if self._wanted and self._refill is None:
            self._refill = self._reactor.callLater(REFILL_AFTER, self._refill_now)

    def _refill_now(self) -> None:
        self._refill = None
        for name in self._missing():
            try:
                ready = self._add(name)
            except GatewayError as error:
                self._failed(error)
                return
            ready.addCallbacks(lambda _: self._succeeded(), lambda failure: None)

    def _succeeded(self) -> None:
        self._pause = SHORTEST_PAUSE

    def _failed(self, error: object) -> None:
        self._log.error("a spare kernel could not be started: {error}", error=str(error))
        self._try_later()

    def _try_later(self) -> None:
        if self._wanted and self._refill is None:
            self._refill = self._reactor.callLater(self._pause, self._refill_now)
            self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def close(self) -> list[Kernel]:
        """
        Keep none any more.

        :return: Those that have to be stopped.
        """
        self._wanted = {}
        refill, self._refill = self._refill, None
        if refill is not None:
            refill.cancel()
        return list(self)
