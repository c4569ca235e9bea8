"""Labels are few, short and harmless, whatever a server, a url or a name has in it."""

from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry

from sansio_sse import ConnectionConfig, PoolConfig, ReconnectionPolicy, SSEError
from sansio_sse.testing import Respond, Simulation, Stall, send_event
from sansio_sse_metrics import INSTRUMENTS
from sansio_sse_metrics.opentelemetry import instrument
from sansio_sse_metrics.prometheus import SSECollector

from .collected import collect
from .exposed import Exposed, expose
from .faulty_day import SECRET, FaultyDay

LABELS = {"origin", "pool", "state", "category", "result", "breaker", "outcome", "reason", "le"}


def series(seen: Exposed, name: str) -> int:
    return sum(sample == name for sample, _ in seen.samples)


def test_labels_are_of_the_table_and_no_secret_is_shown() -> None:
    day, registry, reader = FaultyDay(), CollectorRegistry(), InMemoryMetricReader()
    sources = day.pool, day.streams, day.connection
    SSECollector(*sources, registry=registry)
    instrument(*sources, meter_provider=MeterProvider([reader], shutdown_on_exit=False))
    day.run()
    seen, told = expose(registry), collect(reader)
    labels = {name for _, pairs in seen.samples for name, _ in pairs}
    assert labels == LABELS
    assert seen.values("origin") == {
        "http://a.example",
        "https://b.example",
        "http://c.example:8080",
        "http://gone.example",
    }
    assert seen.values("pool") == {"", "orders", "devices"}
    for row in INSTRUMENTS:
        if row.label:
            shown = {
                value
                for (name, pairs) in seen.samples
                if name == row.prometheus
                for label, value in pairs
                if label == row.label
            }
            assert shown == set(row.values), row.name
    for text in (seen.text, repr(told.numbers), repr(told.durations)):
        for forbidden in (SECRET, "token", "events?", "/say", "Bearer"):
            assert forbidden not in text


def test_a_thousand_connections_to_one_origin_are_one_series() -> None:
    simulation = Simulation(seed=1, traced=False)
    simulation.network.server("http://a.example", [Respond(), send_event("hi", id="1"), Stall()])
    registry = CollectorRegistry()
    collector = SSECollector(registry=registry)
    for number in range(1_000):
        collector.add(
            simulation.connect(f"http://a.example/{number}?id={number}", name=f"{number}")
        )
    simulation.run(until=1.0)
    seen = expose(registry)
    assert series(seen, "sse_client_events_received_total") == 1
    assert seen.total("sse_client_events_received_total") == 1_000
    assert seen.total("sse_client_connections", state="connected") == 1_000
    assert len(seen.samples) < 60


def test_origins_beyond_a_hundred_are_other_ones_and_none_is_lost() -> None:
    simulation = Simulation(seed=1, traced=False)
    registry, reader = CollectorRegistry(), InMemoryMetricReader()
    collector = SSECollector(registry=registry)
    instrumentation = instrument(meter_provider=MeterProvider([reader], shutdown_on_exit=False))
    for number in range(300):
        host = f"http://host-{number}.example"
        simulation.network.server(host, [Respond(), send_event("hi", id="1"), Stall()])
        connection = simulation.connect(f"{host}/events")
        collector.add(connection)
        instrumentation.add(connection)
    simulation.run(until=1.0)
    seen, told = expose(registry), collect(reader)
    assert series(seen, "sse_client_events_received_total") == 101
    assert seen.total("sse_client_events_received_total") == 300
    assert seen.total("sse_client_events_received_total", origin="other") == 200
    assert seen.total("sse_client_connections", state="connected") == 300
    assert told.total("sse.client.events.received", **{"server.address": "other"}) == 200
    assert len(told.durations) == 101


def test_a_server_cannot_make_series_by_redirects() -> None:
    simulation = Simulation(seed=1, traced=False)
    hosts = [f"http://evil-{number}.example" for number in range(400)]
    for host in hosts:
        simulation.network.server(host, [Respond(503)])
    targets = [[Respond(307, {"Location": f"{host}/?{SECRET}"})] for host in hosts]
    simulation.network.server("http://a.example", *targets)
    registry = CollectorRegistry()
    policy = ReconnectionPolicy(max_attempts=0, initial_delay=0.1, max_delay=0.1)
    connection = simulation.connect(
        "http://a.example/", config=ConnectionConfig(reconnection=policy)
    )
    SSECollector(connection, registry=registry)
    simulation.run(until=60.0)
    assert connection.metrics.reconnect_attempts > 300
    seen = expose(registry)
    assert len(seen.values("origin")) <= 101
    assert SECRET not in seen.text
    failures = seen.total("sse_client_reconnect_failures_total")
    assert failures == connection.metrics.reconnect_failures


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ('a "quoted"\nname\\', 'a "quoted" name\\'),
        ("x" * 5_000, "x" * 60),
        (f"https://me:{SECRET}@host.example/?token={SECRET}", "https://host.example/?token=…"),
        ("naïve 川 \u202e\x00", "naïve 川   "),
        ("", ""),
    ],
    ids=["quotes", "long", "url", "unprintable", "empty"],
)
def test_a_pools_name_is_bounded_escaped_and_redacted(name: str, shown: str) -> None:
    pool = Simulation(seed=1).pool(PoolConfig(["http://a.example/"]), name=name)
    registry = CollectorRegistry()
    SSECollector(pool, registry=registry)
    seen = expose(registry)
    assert seen.values("pool") == {shown}
    assert SECRET not in seen.text


def test_pools_beyond_a_hundred_are_other_ones() -> None:
    simulation = Simulation(seed=1)
    registry = CollectorRegistry()
    config = PoolConfig(["http://a.example/"], max_size=7)
    pools = [simulation.pool(config, name=f"pool {number}") for number in range(300)]
    SSECollector(*pools, registry=registry)
    seen = expose(registry)
    assert len(seen.values("pool")) == 101
    assert seen.total("sse_client_pool_max_size", pool="other") == 200 * 7
    assert seen.total("sse_client_endpoint_healthy") == seen.total(
        "sse_client_endpoint_breakers", breaker="closed"
    )


class Surprise(SSEError):
    """An error of the program's own, with a category of its own."""

    category: Any = f"per-request-{SECRET}"


def test_a_category_that_is_none_of_ours_is_other() -> None:
    simulation = Simulation(seed=1)
    connection = simulation.connection("http://a.example/")
    registry = CollectorRegistry()
    SSECollector(connection, registry=registry)
    connection.event_failed(Surprise("no"))  # as typed() does
    seen = expose(registry)
    assert seen.total("sse_client_errors_total", category="other") == 1
    assert SECRET not in seen.text


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        (f"https://me:{SECRET}@host.example:444/x?y={SECRET}#z", "https://host.example:444"),
        ("http://[::1]:8080/events", "http://[::1]:8080"),
        ("HTTP://Host.Example:80", "http://host.example"),
        (f"http://{'a' * 400}.example/", "other"),
    ],
    ids=["userinfo", "ipv6", "case", "long"],
)
def test_an_origin_is_scheme_host_and_port_alone(url: str, origin: str) -> None:
    connection = Simulation(seed=1).connection(url)
    registry = CollectorRegistry()
    SSECollector(connection, registry=registry)
    seen = expose(registry)
    assert seen.values("origin") == {origin}
    assert SECRET not in seen.text
