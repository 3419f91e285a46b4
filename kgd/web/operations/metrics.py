"""
``/metrics``: metrics for Prometheus.

Format: https://prometheus.io/docs/instrumenting/exposition_formats/. Metrics of Jupyter Server keep
its names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

from kgd import __version__
from kgd.interfaces import Access, IGateway, IKernel
from kgd.observability.counters import Histogram, Traffic
from kgd.web.operations.status import StatusAPI
from kgd.web.responses import encoded_answer
from kgd.web.routes import Route

Families = Iterator[Any]
# By the values of the labels.
Values = Mapping[tuple[str, ...], float]


class MetricsAPI:
    """
    Makes metrics from the present state and the counters, for each request.

    :param more: Gives the personality's own metrics.
    """

    def __init__(
        self, gateway: IGateway, status: StatusAPI, more: Callable[[], Iterable[Any]] = tuple
    ) -> None:
        self._gateway = gateway
        self._status = status
        self._more = more
        self._registry: Any = None
        settings = gateway.settings
        self._spare = {*settings.prespawn}
        if settings.prespawn_count:
            self._spare.add(settings.default_kernel_name)

    def routes(self) -> list[Route]:
        """
        :return: The routes of this part of the API.
        """
        settings = self._gateway.settings
        if not settings.metrics:
            return []
        access = Access.PUBLIC if settings.metrics_public else Access.GUARDED
        return [
            Route("/metrics", ("GET",), self.show, access, "Metrics for Prometheus", "metrics:read")
        ]

    def show(self, request: Any) -> bytes:
        """
        ``GET /metrics``.
        """
        # Imported for the first scrape, because it takes memory.
        from prometheus_client import (
            CollectorRegistry,
            PlatformCollector,
            ProcessCollector,
            generate_latest,
        )

        if self._registry is None:
            self._registry = CollectorRegistry()
            ProcessCollector(registry=self._registry)
            PlatformCollector(registry=self._registry)
            self._registry.register(self)
        return encoded_answer(
            request,
            generate_latest(self._registry),
            b"text/plain; version=0.0.4; charset=utf-8",
        )

    def describe(self) -> list[Any]:
        """
        Called by Prometheus's registry.

        :return: Nothing: which metrics there are depends on what runs.
        """
        return []

    def collect(self) -> Families:
        """
        :return: All metrics except those of the process.
        """
        yield from self._of_server()
        yield from self._of_kernels()
        yield from self._of_clients()
        yield from self._of_traffic()
        yield from self._of_time()
        yield from self._more()

    def _of_server(self) -> Families:
        from prometheus_client.core import InfoMetricFamily

        status = self._status
        yield InfoMetricFamily("jupyter_server", "The gateway", {"version": f"kgd {__version__}"})
        for name, text, value in (
            ("last_activity_timestamp", "When the gateway was last used", status.last_activity()),
            ("started_timestamp", "When the gateway was started", status.started),
            (
                "active_duration",
                "The time from start to last use",
                status.active_duration(),
            ),
        ):
            yield gauge(f"jupyter_server_{name}_seconds", text, {(): value})
        is_on = self._gateway.draining.is_on
        yield gauge("kgd_draining", "Whether the gateway refuses new work", {(): int(is_on)})

    def _of_kernels(self) -> Families:
        kernels, counters = self._gateway.kernels, self._gateway.counters
        running = kernels.list()
        by_name: Counter[tuple[str, ...]] = Counter({(name,): 0 for name in counters.starts})
        by_name.update((kernel.name,) for kernel in running)
        text = "Running kernels, by kernelspec"
        yield gauge("kernel_currently_running_total", text, by_name, ["type"])
        labels = ["kernel_name", "execution_state"]
        text = "Kernels, by kernelspec and state"
        yield gauge("kgd_kernels", text, _by_state(running, counters.starts), labels)
        text = "Kernels that are kept ready for clients"
        yield gauge("kgd_spare_kernels", text, _by_state(kernels.spare(), self._spare), labels)
        by_spec = ["kernel_name"]
        yield histogram(
            "kgd_kernel_start_seconds",
            "The time from a kernel's start until it could be used",
            {(name,): found for name, found in counters.starts.items()},
            by_spec,
        )
        for name, text, counts in (
            (
                "kgd_kernel_failed_starts",
                "Kernels that could never be used",
                counters.failed_starts,
            ),
            ("kgd_kernel_restarts", "Kernels that died and were started again", counters.revivals),
            (
                "kgd_kernel_deaths",
                "Kernels that ended without being stopped",
                counters.deaths,
            ),
        ):
            # Counters begin with 0, because Prometheus sees no increase in one that begins with 1.
            values: Values = {(spec,): counts[spec] for spec in {*counters.starts, *counts}}
            yield counter(name, text, values, by_spec)

    def _of_clients(self) -> Families:
        stats = [kernel.channels.client_stats() for kernel in self._gateway.kernels.list()]
        present = sum(each.present for each in stats)
        yield gauge("kgd_websocket_connections", "Open WebSockets", {(): present})
        yield gauge(
            "kgd_attachments",
            "Clients of kernels: connected ones, and those that may come back",
            {("present",): present, ("away",): sum(each.away for each in stats)},
            ["state"],
        )
        for name, text, count in (
            ("messages", "Messages that wait for clients", sum(each.messages for each in stats)),
            ("bytes", "Bytes that wait for clients", sum(each.size for each in stats)),
        ):
            yield gauge(f"kgd_queued_{name}", text, {(): count})

    def _of_traffic(self) -> Families:
        counters = self._gateway.counters
        yield from _traffic(
            "websocket",
            "over WebSockets",
            {"to_clients": counters.to_clients, "from_clients": counters.from_clients},
            "direction",
        )
        yield from _traffic(
            "kernel",
            "over ZeroMQ, including those of the gateway itself",
            {"to_kernels": counters.to_kernels, "from_kernels": counters.from_kernels},
            "direction",
        )
        yield from _traffic(
            "dropped",
            "of output that clients did not get: they were slow or away, or a rate limit applied",
            {"slow": counters.slow, "away": counters.away, "rate": counters.too_fast},
            "reason",
        )

    def _of_time(self) -> Families:
        counters = self._gateway.counters
        yield histogram(
            "http_request_duration_seconds",
            "The time from a request to the end of its response",
            {
                (method, route, str(code)): found
                for (method, route, code), found in counters.requests.items()
            },
            ["method", "handler", "status_code"],
        )
        text = "How late the reactor runs its timers"
        yield histogram("kgd_reactor_lag_seconds", text, {(): counters.lag}, ())


def gauge(name: str, text: str, values: Values, labels: Sequence[str] = ()) -> Any:
    """
    :param values: By the values of the labels.
    :return: A metric family for values that rise and fall.
    """
    from prometheus_client.core import GaugeMetricFamily

    return _family(GaugeMetricFamily(name, text, labels=labels), values)


def counter(name: str, text: str, values: Values, labels: Sequence[str]) -> Any:
    """
    :return: A metric family for values that only grow. ``_total`` is added to its name.
    """
    from prometheus_client.core import CounterMetricFamily

    return _family(CounterMetricFamily(name, text, labels=labels), values)


def _family(family: Any, values: Values) -> Any:
    for key, value in sorted(values.items()):
        family.add_metric(key, value)
    return family


def histogram(
    name: str, text: str, values: Mapping[tuple[str, ...], Histogram], labels: Sequence[str]
) -> Any:
    """
    :return: A metric family for counts of values by range.
    """
    from prometheus_client.core import HistogramMetricFamily

    family = HistogramMetricFamily(name, text, labels=labels)
    for key, found in sorted(values.items()):
        bounds = [str(bound) for bound in found.bounds] + ["+Inf"]
        buckets = list(zip(bounds, accumulate(found.counts), strict=True))
        family.add_metric(key, buckets, found.total)
    return family


def _by_state(kernels: Iterable[IKernel], names: Iterable[str]) -> Mapping[tuple[str, ...], int]:
    """
    :param names: Kernelspecs that are included even without kernels, so that an empty pool can be
        seen.
    """
    found: Counter[tuple[str, ...]] = Counter({(name, "idle"): 0 for name in names})
    found.update((kernel.name, kernel.execution_state) for kernel in kernels)
    return found


def _traffic(what: str, text: str, flows: Mapping[str, Traffic], label: str) -> Families:
    for unit, shown, field in (("messages", "Messages", "messages"), ("bytes", "Bytes", "size")):
        values: Values = {(name,): getattr(flow, field) for name, flow in flows.items()}
        yield counter(f"kgd_{what}_{unit}", f"{shown} {text}", values, [label])
