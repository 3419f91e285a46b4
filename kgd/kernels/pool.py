"""
A pool of spare kernels, which are started and seeded before a client asks for one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from twisted.internet.defer import Deferred, FirstError, gatherResults, maybeDeferred, succeed
from twisted.internet.interfaces import IDelayedCall

from kgd.errors import ConfigurationError, GatewayError
from kgd.interfaces import LaunchSpec
from kgd.kernels.kernel import Kernel
from kgd.observability.logs import make_logger

# Seconds after a spare kernel was handed out: its new user has the processor first.
REFILL_DELAY = 0.2
# Seconds after a failure to refill.
MIN_PAUSE = 5.0
MAX_PAUSE = 300.0


class WarmPool:
    """
    Keeps a number of spare kernels of each kernelspec.

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
        self._stopping: list[Kernel] = []
        self._refill_call: IDelayedCall | None = None
        self._pause = MIN_PAUSE

    def __iter__(self) -> Iterator[Kernel]:
        """
        All spare kernels, also those that are being stopped.
        """
        return iter((*self._spare, *self._stopping))

    def __len__(self) -> int:
        return len(self._spare) + len(self._stopping)

    @property
    def can_give_way(self) -> bool:
        """
        Whether there is a spare kernel that is not being stopped already.
        """
        return bool(self._spare)

    async def fill(self, wanted: Mapping[str, int]) -> None:
        """
        Start this many kernels of each kernelspec, and wait until they can be used.

        :param wanted: Canonical name to number.
        :raises kgd.errors.ConfigurationError: when one of them cannot be started.
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
        :return: The kernelspec of each kernel to start, as far as there is room.
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
        kernel.start()
        return ready

    def take(self, launch_spec: LaunchSpec) -> Kernel | None:
        """
        :return: A kernel as good as one made from this, or ``None``.
        """
        for kernel in tuple(self._spare):
            if kernel.name == launch_spec.spec.name and kernel.spec != launch_spec.spec:
                # Its kernelspec has been changed since.
                self._stop(kernel)
            elif kernel.is_ready and kernel.launch_spec.is_like(launch_spec):
                self.give(kernel)
                return kernel
        return None

    def find(self, kernel_id: str) -> Kernel | None:
        """
        :return: The spare kernel with this id that is not being stopped, or ``None``.
        """
        found = (each for each in self._spare if each.kernel_id == kernel_id and not each.stopping)
        return next(found, None)

    def give(self, kernel: Kernel) -> None:
        """
        Let go of a spare kernel, whether or not it can be used already: a client gets it.
        """
        self._spare.remove(kernel)
        self.refill_soon()

    def discard(self, kernel: Kernel) -> Deferred[None]:
        """
        Stop a spare kernel, and replace it soon.

        :return: Fires when its process is gone.
        """
        return self._stop(kernel)

    def evict(self) -> Deferred[None]:
        """
        Stop one spare kernel, if there is any, to make room for a client's.

        :return: Fires when its process is gone.
        """
        if self._spare:
            return self._stop(self._spare[-1])
        return self._stopping[0].stop() if self._stopping else succeed(None)

    def _stop(self, kernel: Kernel) -> Deferred[None]:
        self._spare.remove(kernel)
        self._stopping.append(kernel)
        return kernel.stop()

    def kernel_ended(self, kernel: Kernel) -> None:
        """
        Replace a kernel that is gone: a spare one that died, or one that makes room for another.
        """
        if kernel in self._spare:
            self._spare.remove(kernel)
            self._refill_later()
            return
        if kernel in self._stopping:
            self._stopping.remove(kernel)
        self.refill_soon()

    def refill_soon(self) -> None:
        """
        Start missing kernels in a moment.
        """
        if self._wanted and self._refill_call is None:
            self._refill_call = self._reactor.callLater(REFILL_DELAY, self._refill_now)

    def _refill_now(self) -> None:
        self._refill_call = None
        for name in self._missing():
            try:
                ready = self._add(name)
            except GatewayError as error:
                self._failed(error)
                return
            ready.addCallbacks(lambda _: self._reset_pause(), lambda failure: None)

    def _reset_pause(self) -> None:
        self._pause = MIN_PAUSE

    def _failed(self, error: object) -> None:
        self._log.error("a spare kernel could not be started: {error}", error=str(error))
        self._refill_later()

    def _refill_later(self) -> None:
        if self._wanted and self._refill_call is None:
            self._refill_call = self._reactor.callLater(self._pause, self._refill_now)
            self._pause = min(2 * self._pause, MAX_PAUSE)

    def close(self) -> list[Kernel]:
        """
        Keep no spare kernels from now on.

        :return: Those to be stopped.
        """
        self._wanted = {}
        refill, self._refill_call = self._refill_call, None
        if refill is not None:
            refill.cancel()
        return list(self)
