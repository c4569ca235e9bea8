"""A collector for prometheus_client, over any number of connections, pools and stream sets.

It is read by whatever exposes a registry, in whatever thread that does it; nothing is counted twice
and nothing here waits. The metrics and their labels are those of
:data:`~sansio_sse_metrics.INSTRUMENTS`.
"""

from collections.abc import Iterator
from itertools import accumulate

from sansio_sse import DURATION_BUCKETS

from .census import Census, Source, Survey
from .instruments import INSTRUMENTS, Instrument, Kind

try:
    from prometheus_client.metrics_core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
        Metric,
    )
    from prometheus_client.registry import Collector, CollectorRegistry
except ImportError as _error:
    _text = 'sansio_sse_metrics.prometheus needs: pip install "sansio-sse[prometheus]"'
    raise ImportError(_text) from _error

__all__ = ["SSECollector"]

_BOUNDS = (*map(str, DURATION_BUCKETS), "+Inf")


class SSECollector(Collector):
    """Shows what connections, pools and stream sets of any driver count.

    :param sources: what to show from the beginning; see :meth:`add`.
    :param registry: registers itself there; None: the caller does, or does not.

    One collector holds any number of sources, and there can be one in a registry.

    >>> from prometheus_client import CollectorRegistry, generate_latest
    >>> from sansio_sse_asyncio import connect
    >>> registry = CollectorRegistry()
    >>> collector = SSECollector(connect("https://example.com/events"), registry=registry)
    >>> exposed = generate_latest(registry).decode().splitlines()
    >>> [line for line in exposed if line.startswith("sse_client_connect_attempts")]
    ['sse_client_connect_attempts_total{origin="https://example.com",pool=""} 0.0']
    """

    def __init__(self, *sources: Source, registry: CollectorRegistry | None = None) -> None:
        self._census = Census()
        self._census.add(*sources)
        if registry is not None:
            registry.register(self)

    def add(self, *sources: Source) -> None:
        """Show these too, with what they have counted so far; from any thread.

        A connection is held until it is closed, a pool or a set until it is removed. Raises
        TypeError for anything else.
        """
        self._census.add(*sources)

    def remove(self, *sources: Source) -> None:
        """Let go of sources; what they have counted stays in the sums. From any thread.

        A source which is added again is counted again, from its beginning.
        """
        self._census.remove(*sources)

    def describe(self) -> Iterator[Metric]:
        """Yield the metrics without a value: what a registry compares names by."""
        return _families(Survey({}))

    def collect(self) -> Iterator[Metric]:
        """Read all sources, and yield the metrics."""
        return _families(self._census.survey())


def _families(survey: Survey) -> Iterator[Metric]:
    for row in INSTRUMENTS:
        if row.kind is Kind.HISTOGRAM:
            yield _histogram(row, survey)
        else:
            family = CounterMetricFamily if row.kind is Kind.COUNTER else GaugeMetricFamily
            metric = family(row.prometheus, row.help, labels=row.labels)
            for labels, numbers in survey.of(row):
                metric.add_metric(labels, numbers[0])
            yield metric


def _histogram(row: Instrument, survey: Survey) -> HistogramMetricFamily:
    metric = HistogramMetricFamily(row.prometheus, row.help, labels=row.labels)
    for labels, (*buckets, total) in survey.of(row):
        metric.add_metric(labels, list(zip(_BOUNDS, accumulate(buckets), strict=True)), total)
    return metric
