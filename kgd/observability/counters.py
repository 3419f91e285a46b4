"""
What happened, counted with plain integers: metrics are made of them when somebody asks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

# Upper bounds, in seconds. Those of requests are those of Jupyter's own server.
OF_REQUESTS = (
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip
OF_STARTS = (0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0)
OF_LAG = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
# Endpoints of notebooks come and go, and choose their status themselves.
MOST_KINDS_OF_REQUESTS = 2000
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER = "other"


class Histogram:
    """
    How many values were in which range, and their sum.

    :ivar bounds: The upper bounds of the ranges; after the last one there is another range.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """
        There was this value.
        """
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Traffic:
    """
    Messages that passed somewhere. Where many do, the two are added to from outside.

    :ivar size: In bytes.
    """

    __slots__ = ("messages", "size")

    def __init__(self) -> None:
        self.messages = 0
        self.size = 0

    def add(self, size: int) -> None:
        """
        There was another one.
        """
        self.messages += 1
        self.size += size


class Counters:
    """
    What happened in one gateway since it was made.

    :ivar to_clients: Over WebSockets, in frames as they were written; ``from_clients`` likewise.
    :ivar to_kernels: Over ZeroMQ, with requests of the gateway's own; ``from_kernels`` likewise.
    :ivar slow: Output that was dropped because a client did not read in time.
    :ivar away: The same because too much came while a client was away, or it did not come back.
    :ivar too_fast: The same because of the limits to rates.
    :ivar starts: By kernelspec, the time from a kernel's start until it could be used.
    :ivar failed_starts: By kernelspec, kernels that could never be used.
    :ivar deaths: By kernelspec, kernels that died for good without anybody's wanting it.
    :ivar revivals: By kernelspec, how often a kernel that had died was started again.
    :ivar requests: By method, route and status.
    :ivar lag: How late the reactor called what was due.
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
        self.lag = Histogram(OF_LAG)

    def started(self, name: str, duration: float) -> None:
        """
        A kernel can be used.

        :param name: Its kernelspec.
        """
        found = self.starts.get(name)
        if found is None:
            found = self.starts[name] = Histogram(OF_STARTS)
        found.observe(duration)

    def answered(self, method: str, route: str, code: int, duration: float) -> None:
        """
        A request has been answered.

        :param route: The pattern that its path fits, not the path.
        """
        key = (method if method in METHODS else OTHER, route, code)
        found = self.requests.get(key)
        if found is None:
            if len(self.requests) >= MOST_KINDS_OF_REQUESTS:
                key = (OTHER, OTHER, 0)
            found = self.requests.setdefault(key, Histogram(OF_REQUESTS))
        found.observe(duration)
