"""What an OpenTelemetry reader collects, by name and attributes."""

from typing import Any

from opentelemetry.sdk.metrics.export import (
    HistogramDataPoint,
    InMemoryMetricReader,
    Metric,
    NumberDataPoint,
)

__all__ = ["Collected", "collect"]

Attributes = frozenset[tuple[str, Any]]


class Collected:
    """Numbers by name and attributes; the durations of requests apart."""

    def __init__(self, metrics: list[Metric]) -> None:
        self.metrics = {metric.name: metric for metric in metrics}
        self.numbers: dict[tuple[str, Attributes], float] = {}
        self.durations: dict[Attributes, HistogramDataPoint] = {}
        for metric in metrics:
            for point in metric.data.data_points:
                attributes = frozenset((point.attributes or {}).items())
                if isinstance(point, NumberDataPoint):
                    self.numbers[metric.name, attributes] = point.value
                elif isinstance(point, HistogramDataPoint):
                    assert metric.name == "http.client.request.duration"
                    self.durations[attributes] = point

    def total(self, name: str, **attributes: Any) -> float:
        """The sum of the points which have these attributes, of which there must be one."""
        found = [
            value
            for (metric, having), value in self.numbers.items()
            if metric == name and set(attributes.items()) <= having
        ]
        assert found, f"no point of {name} with {attributes}"
        return sum(found)


def collect(reader: InMemoryMetricReader) -> Collected:
    data = reader.get_metrics_data()
    if data is None:
        return Collected([])
    (resource,) = data.resource_metrics
    (scope,) = resource.scope_metrics
    assert scope.scope.name == "sansio_sse"
    return Collected(list(scope.metrics))
