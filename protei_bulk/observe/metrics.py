"""/metrics: figures of this node in the text format of Prometheus, read when asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

#: name, help, labels, and what reads (label values, figure) pairs
Figure = tuple[str, str, tuple[str, ...], Callable[[], Iterable[tuple[tuple[str, ...], float]]]]


class _Figures:
    def __init__(self, counters: list[Figure], gauges: list[Figure]) -> None:
        self._counters, self._gauges = counters, gauges

    def collect(self) -> Iterator[Metric]:
        for name, text, labels, read in self._counters:
            counter = CounterMetricFamily(name, text, labels=labels)
            for values, figure in read():
                counter.add_metric(values, figure)
            yield counter
        for name, text, labels, read in self._gauges:
            gauge = GaugeMetricFamily(name, text, labels=labels)
            for values, figure in read():
                gauge.add_metric(values, figure)
            yield gauge


class Metrics:
    """Counters are kept by the parts themselves as plain numbers: the hot path pays an addition a batch."""

    def __init__(self, counters: list[Figure], gauges: list[Figure]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Figures(counters, gauges))
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def text(self) -> bytes:
        """The exposition, `text/plain; version=0.0.4`."""
        return generate_latest(self._registry)


def one(read: Callable[[], float]) -> Callable[[], Iterable[tuple[tuple[str, ...], float]]]:
    """A figure without labels."""
    return lambda: [((), read())]
