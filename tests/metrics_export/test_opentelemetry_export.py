"""What OpenTelemetry collects is what the machines counted, by its own conventions."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, ClassVar

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    Gauge,
    Histogram,
    InMemoryMetricReader,
    PeriodicExportingMetricReader,
    Sum,
)

from sansio_sse import ConnectionConfig, PoolConfig, ReconnectionPolicy, Timeouts
from sansio_sse.testing import Accept, Cut, Refuse, Respond, Simulation, Stall, send_event
from sansio_sse_metrics import INSTRUMENTS, Kind
from sansio_sse_metrics.opentelemetry import REQUEST_DURATION, instrument

from .collected import Collected, collect
from .faulty_day import FaultyDay

SUMS = {
    "sse.client.connect.attempts": "connect_attempts",
    "sse.client.connect.successes": "connect_successes",
    "sse.client.connect.failures": "connect_failures",
    "sse.client.reconnect.attempts": "reconnect_attempts",
    "sse.client.reconnect.successes": "reconnect_successes",
    "sse.client.reconnect.failures": "reconnect_failures",
    "sse.client.heartbeats.sent": "heartbeats_sent",
    "sse.client.received": "bytes_received",
    "sse.client.sent": "bytes_sent",
    "sse.client.events.received": "events_received",
    "sse.client.events.sent": "events_sent",
    "sse.client.events.dropped": "events_dropped",
    "sse.client.comments.received": "comments_received",
}


def test_what_is_collected_equals_what_was_counted_under_faults() -> None:
    day, reader = FaultyDay(), InMemoryMetricReader()
    instrument(
        day.pool, day.streams, meter_provider=MeterProvider([reader], shutdown_on_exit=False)
    )
    last: list[Collected] = []

    def look() -> None:
        told = collect(reader)
        for pool, metrics in (("orders", day.pool.metrics), ("devices", day.streams.metrics)):
            for name, field in SUMS.items():
                assert told.total(name, **{"sse.pool": pool}) == getattr(metrics, field), name
            for category, number in metrics.errors.items():
                labels = {"sse.pool": pool, "sse.category": category}
                assert told.total("sse.client.errors", **labels) == number
            durations, where = metrics.connect_durations, {"sse.pool": pool}
            assert told.total("sse.client.connect.duration.count", **where) == durations.count
            total = told.total("sse.client.connect.duration.time", **where)
            assert total == pytest.approx(durations.sum)
        stats = day.pool.stats()
        assert told.total("sse.client.pool.wait.count") == stats.waits.count
        assert told.total("sse.client.pool.wait.time") == pytest.approx(stats.waits.sum)
        assert told.total("sse.client.pool.waiters") == stats.waiters
        assert told.total("sse.client.pool.members", **{"sse.state": "idle"}) == stats.idle
        utilization = told.total("sse.client.pool.utilization")
        assert utilization == pytest.approx(stats.utilization / 100)
        for endpoint in stats.endpoints:
            where = {"sse.pool": "orders", "server.address": endpoint.endpoint.split("/")[2]}
            assert told.total("sse.client.endpoint.failures", **where) == endpoint.failures
            state = told.total(
                "sse.client.endpoint.breakers", **where, **{"sse.breaker": endpoint.breaker.value}
            )
            assert state == 1
        for key, before in last[-1].numbers.items() if last else ():
            if isinstance(told.metrics[key[0]].data, Sum) and is_counter(key[0]):
                assert told.numbers[key] >= before
        last.append(told)

    day.run(look)
    day.close()
    look()


def is_counter(name: str) -> bool:
    return any(row.cumulative and name in row.opentelemetry for row in INSTRUMENTS)


def test_instruments_are_of_their_kind_and_have_a_unit() -> None:
    day, reader = FaultyDay(), InMemoryMetricReader()
    instrument(
        day.pool,
        day.streams,
        day.connection,
        meter_provider=MeterProvider([reader], shutdown_on_exit=False),
    )
    day.run()
    told = collect(reader)
    names = {name for row in INSTRUMENTS for name in row.opentelemetry}
    assert set(told.metrics) == names | {REQUEST_DURATION}
    for row in INSTRUMENTS:
        for name in row.opentelemetry:
            metric = told.metrics[name]
            if row.kind is Kind.HIGHEST:
                assert isinstance(metric.data, Gauge), name
            else:
                assert isinstance(metric.data, Sum), name
                assert metric.data.is_monotonic is row.cumulative
            if row.kind is not Kind.HISTOGRAM:
                assert metric.unit == row.unit
    duration = told.metrics[REQUEST_DURATION]
    assert isinstance(duration.data, Histogram)
    assert duration.unit == "s"


def test_each_attempt_is_a_request_that_ends_at_the_head_of_its_response() -> None:
    day, reader = FaultyDay(), InMemoryMetricReader()
    instrument(
        day.pool,
        day.streams,
        day.connection,
        meter_provider=MeterProvider([reader], shutdown_on_exit=False),
    )
    day.run()
    counted = [day.pool.metrics, day.streams.metrics, day.connection.metrics]
    points = collect(reader).durations
    accepted = [point for key, point in points.items() if "error.type" not in dict(key)]
    failed = [point for key, point in points.items() if "error.type" in dict(key)]
    assert sum(point.count for point in accepted) == sum(
        metrics.connect_successes + metrics.reconnect_successes for metrics in counted
    )
    assert sum(point.sum for point in accepted) == pytest.approx(
        sum(metrics.connect_durations.sum for metrics in counted)
    )
    assert sum(point.count for point in failed) == sum(
        metrics.connect_failures + metrics.reconnect_failures for metrics in counted
    )


LATENCY = 0.1
METHOD = "GET"
OUTCOMES: list[tuple[list[Any], dict[str, Any], float]] = [
    (
        [Respond(), send_event("hi"), Stall()],
        {"http.response.status_code": 200, "network.protocol.version": "1.1"},
        4 * LATENCY,  # there and back, twice
    ),
    (
        [Respond(503, after=0.5)],
        {
            "http.response.status_code": 503,
            "network.protocol.version": "1.1",
            "error.type": "503",
        },
        4 * LATENCY + 0.5,
    ),
    (
        [Respond(200, {"Content-Type": "text/html"}, content=b"<p>no")],
        {
            "http.response.status_code": 200,
            "network.protocol.version": "1.1",
            "error.type": "ContentTypeError",
        },
        4 * LATENCY,
    ),
    ([Refuse()], {"error.type": "ConnectError"}, 2 * LATENCY),
    ([Accept(after=9.0)], {"error.type": "ConnectTimeout"}, 3.0),
    ([Stall()], {"error.type": "ResponseTimeout"}, 2 * LATENCY + 5.0),
    ([Cut()], {"error.type": "RemoteProtocolError"}, 4 * LATENCY),
]


@pytest.mark.parametrize(
    ("steps", "attributes", "seconds"),
    OUTCOMES,
    ids=["accepted", "status", "content type", "refused", "connect", "response", "lost"],
)
def test_a_request_has_the_attributes_of_the_conventions(
    steps: list[Any], attributes: dict[str, Any], seconds: float
) -> None:
    simulation, reader = Simulation(seed=1, latency=LATENCY), InMemoryMetricReader()
    instrumentation = instrument(meter_provider=MeterProvider([reader], shutdown_on_exit=False))
    simulation.network.server("https://a.example:8443", steps)
    config = ConnectionConfig(
        reconnection=ReconnectionPolicy(enabled=False), timeouts=Timeouts(connect=3.0, response=5.0)
    )
    connection = simulation.connection("https://a.example:8443/events", config=config, wait=False)
    instrumentation.add(connection)
    connection.open()
    simulation.run(until=20.0)
    ((found, point),) = collect(reader).durations.items()
    where = {"url.scheme": "https", "server.address": "a.example", "server.port": 8443}
    assert dict(found) == {"http.request.method": METHOD, **where, **attributes}
    assert point.count == 1
    assert point.sum == pytest.approx(seconds)
    bounds = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
    assert tuple(point.explicit_bounds) == bounds


def test_giving_up_is_no_request_of_its_own() -> None:
    simulation, reader = Simulation(seed=1), InMemoryMetricReader()
    simulation.network.server("http://a.example", [Refuse()])
    policy = ReconnectionPolicy(max_attempts=2, initial_delay=0.1)
    connection = simulation.connect(
        "http://a.example/", config=ConnectionConfig(reconnection=policy)
    )
    instrument(connection, meter_provider=MeterProvider([reader], shutdown_on_exit=False))
    simulation.run(until=5.0)
    assert connection.state == "error"
    (point,) = collect(reader).durations.values()
    assert point.count == 3


def test_one_survey_serves_a_collection_and_the_next_one_sees_what_is_new() -> None:
    simulation, reader = Simulation(seed=1), InMemoryMetricReader()
    simulation.network.server("http://a.example", [Respond(), Stall()])
    pool = simulation.pool(PoolConfig(["http://a.example/"]))
    instrument(pool, meter_provider=MeterProvider([reader], shutdown_on_exit=False))
    looks: list[None] = []
    stats = pool.stats
    pool_class = type(pool)
    with pytest.MonkeyPatch.context() as patch:

        def counted(self: Any) -> Any:
            looks.append(None)
            return stats()

        patch.setattr(pool_class, "stats", counted)
        collect(reader)
        assert len(looks) == 1
        with pool:
            lease = pool.acquire()
            assert collect(reader).total("sse.client.pool.members", **{"sse.state": "leased"}) == 1
            pool.release(lease)
        assert len(looks) == 2


def test_after_close_nothing_is_shown_or_recorded_and_sources_are_left_alone() -> None:
    simulation, reader = Simulation(seed=1), InMemoryMetricReader()
    simulation.network.server("http://a.example", [Respond(), Stall()])
    connection = simulation.connection("http://a.example/", wait=False)
    instrumentation = instrument(
        connection, meter_provider=MeterProvider([reader], shutdown_on_exit=False)
    )
    instrumentation.close()
    instrumentation.close()
    connection.open()
    simulation.run(until=1.0)
    assert collect(reader).metrics == {}


def test_a_source_can_be_removed() -> None:
    simulation, reader = Simulation(seed=1), InMemoryMetricReader()
    simulation.network.server("http://a.example", [Respond(), Stall()])
    connection = simulation.connect("http://a.example/")
    instrumentation = instrument(
        connection, meter_provider=MeterProvider([reader], shutdown_on_exit=False)
    )
    simulation.run(until=1.0)
    instrumentation.remove(connection)
    connection.restart()
    simulation.run(until=2.0)
    told = collect(reader)
    assert told.total("sse.client.reconnect.attempts") == 0
    assert told.total("sse.client.connect.attempts") == 1
    assert told.total("sse.client.connections") == 0
    assert [point.count for point in told.durations.values()] == [1]


# --- Over the wire -----------------------------------------------------------------------------


class Receiver(BaseHTTPRequestHandler):
    """Takes what an exporter posts."""

    posted: ClassVar[list[tuple[str, bytes]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.posted.append((self.path, body))
        answer = ExportMetricsServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that its base class has
        pass


@contextmanager
def receiving() -> Generator[str]:
    Receiver.posted.clear()
    server = HTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_an_export_over_http_brings_the_same_numbers() -> None:
    with receiving() as url:
        exporter = OTLPMetricExporter(endpoint=url, timeout=10)
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
        provider = MeterProvider([reader], shutdown_on_exit=False)
        day = FaultyDay()
        instrument(day.pool, day.streams, day.connection, meter_provider=provider)
        day.run()
        provider.shutdown()  # which exports once
        ((path, body),) = Receiver.posted
    assert path == "/v1/metrics"
    request = ExportMetricsServiceRequest.FromString(body)
    (scope,) = request.resource_metrics[0].scope_metrics
    assert scope.scope.name == "sansio_sse"
    sums = {
        metric.name: sum(
            point.as_int or point.as_double
            for point in metric.sum.data_points
            if any(
                pair.key == "sse.pool" and pair.value.string_value == "orders"
                for pair in point.attributes
            )
        )
        for metric in scope.metrics
        if metric.HasField("sum")
    }
    for name, field in SUMS.items():
        assert sums[name] == getattr(day.pool.metrics, field), name
    (histogram,) = (metric for metric in scope.metrics if metric.HasField("histogram"))
    assert histogram.name == REQUEST_DURATION
    counted = [day.pool.metrics, day.streams.metrics, day.connection.metrics]
    assert sum(point.count for point in histogram.histogram.data_points) == sum(
        metrics.connect_attempts + metrics.reconnect_attempts for metrics in counted
    )
