"""
Counters and histograms of what the gateway has done, from which ``/metrics`` is made.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

# Upper bounds of histograms, in seconds. Those of requests are the same as Jupyter Server's.
REQUEST_BOUNDS = (
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip
START_BOUNDS = (0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0)
LAG_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
# Notebooks' endpoints come and go and choose their statuses, so the number needs a bound.
MOST_KINDS_OF_REQUESTS = 2000
COUNTED_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER = "other"


class Histogram:
    """
    The number of values in each range, and their sum.

    :ivar bounds: The upper bounds of the ranges; one more range is above the last bound.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """
        Count a value.
        """
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Traffic:
    """
    The number and the size of messages that passed one place.

    On the relay's path, callers add to both attributes themselves, once for each batch.

    :ivar size: In bytes.
    """

    __slots__ = ("messages", "size")

    def __init__(self) -> None:
        self.messages = 0
        self.size = 0

    def add(self, size: int) -> None:
        """
        Count a message.
        """
        self.messages += 1
        self.size += size


class Counters:
    """
    Everything that is counted in one gateway, since it was made.

    :ivar to_clients: WebSocket frames as they were written; ``from_clients`` likewise.
    :ivar to_kernels: ZeroMQ messages, with the gateway's own; ``from_kernels`` likewise.
    :ivar slow: Output that was dropped because a client did not read it in time.
    :ivar away: Output that was dropped because a client was away for too long, or too much came.
    :ivar too_fast: Output that was dropped because of a rate limit.
    :ivar starts: By kernelspec, the time from a kernel's start until it was ready.
    :ivar failed_starts: By kernelspec, kernels that were never ready.
    :ivar deaths: By kernelspec, kernels that died and were not started again.
    :ivar revivals: By kernelspec, restarts of kernels that had died.
    :ivar requests: By method, route and status, the time until the answer.
    :ivar lag: The reactor's delays.
    """

    def __init__(self) -> None:
        self.to_clients = Traffic()
        self.from_clients = Traffic()
        self.to_kernels = Traffic()
        self.from_kernels = Traffic()
        self.slow = Traffic()
        self.away = Traffic()
        self.too_fast = Traffic()
        self.starts: dict[str, Histogram] = {}
        self.failed_starts: Counter[str] = Counter()
        self.deaths: Counter[str] = Counter()
        self.revivals: Counter[str] = Counter()
        self.requests: dict[tuple[str, str, int], Histogram] = {}
        self.lag = Histogram(LAG_BOUNDS)

    def kernel_started(self, name: str, duration: float) -> None:
        """
        Count a kernel that is ready.

        :param name: Its kernelspec.
        :param duration: Seconds since its start.
        """
        found = self.starts.get(name)
        if found is None:
            found = self.starts[name] = Histogram(START_BOUNDS)
        found.observe(duration)

    def request_answered(self, method: str, route: str, code: int, duration: float) -> None:
        """
        Count a request that has been answered.

        :param route: The pattern that its path matches, not the path.
        :param duration: In seconds.
        """
        key = (method if method in COUNTED_METHODS else OTHER, route, code)
        found = self.requests.get(key)
        if found is None:
            if len(self.requests) >= MOST_KINDS_OF_REQUESTS:
                key = (OTHER, OTHER, 0)
            found = self.requests.setdefault(key, Histogram(REQUEST_BOUNDS))
        found.observe(duration)
