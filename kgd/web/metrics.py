"""
``/metrics`` and ``/healthz``: for those who watch the gateway.

Format: https://prometheus.io/docs/instrumenting/exposition_formats/; names are those of Jupyter's
own server where it has the same thing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from kgd import __version__
from kgd.interfaces import Access, IKernels
from kgd.web.respond import encoded_answer
from kgd.web.routes import Route
from kgd.web.status import StatusAPI


class MetricsAPI:
    """
    Counts when it is asked to, so that nothing has to be counted while nobody asks.
    """

    def __init__(self, kernels: IKernels, status: StatusAPI) -> None:
        self._kernels = kernels
        self._status = status
        self._registry: Any = None

    def routes(self) -> list[Route]:
        """
        :return: The routes of this part of the API. Whether the gateway lives is no secret.
        """
        return [
            Route("/metrics", ("GET",), self.show, summary="Metrics for Prometheus"),
            Route("/healthz", ("GET",), self.health, Access.PUBLIC, "Whether the gateway lives"),
        ]

    def health(self, request: Any) -> bytes:
        """
        ``GET /healthz``.
        """
        return encoded_answer(request, b"ok\n", b"text/plain; charset=utf-8")

    def show(self, request: Any) -> bytes:
        """
        ``GET /metrics``.
        """
        # Imported when somebody scrapes for the first time; it takes memory.
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
        :return: Nothing: what there is depends on what runs.
        """
        return []

    def collect(self) -> Iterator[Any]:
        """
        :return: What runs at the moment.
        """
        from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily

        kernels = self._kernels.list()
        running = GaugeMetricFamily(
            "kernel_currently_running_total", "Kernels that run, by kernelspec", labels=["type"]
        )
        for name, count in sorted(Counter(kernel.name for kernel in kernels).items()):
            running.add_metric([name], count)
        yield running
        states = GaugeMetricFamily("kgd_kernels", "Kernels, by state", labels=["execution_state"])
        for state, count in sorted(Counter(each.execution_state for each in kernels).items()):
            states.add_metric([state], count)
        yield states
        yield InfoMetricFamily("jupyter_server", "The gateway", {"version": f"kgd {__version__}"})
        yield GaugeMetricFamily(
            "kgd_websocket_connections",
            "WebSockets that are open",
            sum(kernel.connections for kernel in kernels),
        )
        for name, text, value in (
            ("last_activity_timestamp", "When it was last used", self._status.last_activity()),
            ("started_timestamp", "When it was started", self._status.started),
            ("active_duration", "How long it was in use", self._status.active_duration()),
        ):
            yield GaugeMetricFamily(f"jupyter_server_{name}_seconds", text, value)
