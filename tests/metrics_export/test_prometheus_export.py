"""What Prometheus scrapes is what the machines counted."""

import asyncio
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.request import urlopen

import pytest
from prometheus_client import CollectorRegistry, start_http_server

from sansio_sse import (
    DURATION_BUCKETS,
    ConnectionConfig,
    ConnectionMetrics,
    DurationSummary,
    EndpointStats,
    HeartbeatConfig,
    PoolConfig,
    PoolStats,
    ReconnectionPolicy,
    ServerSentEvent,
    Timeouts,
)
from sansio_sse.testing import Respond, Simulation, Stall, Step, send_event
from sansio_sse_asyncio import ConnectionPool
from sansio_sse_cli.faulty_server import Fault, FaultyServer, make_events
from sansio_sse_metrics.prometheus import SSECollector

from .exposed import Exposed, expose
from .faulty_day import FaultyDay

# By the names that the docs give, independent of the table that the exporter reads.
CONNECTION_COUNTERS = {
    "sse_client_connect_attempts_total": "connect_attempts",
    "sse_client_connect_successes_total": "connect_successes",
    "sse_client_connect_failures_total": "connect_failures",
    "sse_client_reconnect_attempts_total": "reconnect_attempts",
    "sse_client_reconnect_successes_total": "reconnect_successes",
    "sse_client_reconnect_failures_total": "reconnect_failures",
    "sse_client_heartbeats_sent_total": "heartbeats_sent",
    "sse_client_received_bytes_total": "bytes_received",
    "sse_client_sent_bytes_total": "bytes_sent",
    "sse_client_events_received_total": "events_received",
    "sse_client_events_sent_total": "events_sent",
    "sse_client_events_dropped_total": "events_dropped",
    "sse_client_comments_received_total": "comments_received",
}
POOL_NUMBERS = {
    "sse_client_pool_max_size": "max_size",
    "sse_client_pool_healthy_members": "healthy_count",
    "sse_client_pool_waiters": "waiters",
    "sse_client_pool_admission_waiters": "admission_waiters",
    "sse_client_pool_attempts_under_way": "attempts_under_way",
    "sse_client_pool_kept_transports": "kept_transports",
    "sse_client_pool_acquire_requests_total": "acquire_requests",
    "sse_client_pool_opens_total": "opens",
    "sse_client_pool_reuses_total": "reuses",
    "sse_client_pool_handshakes_total": "handshakes",
    "sse_client_pool_unread_dropped_total": "unread_dropped",
    "sse_client_pool_moves_total": "moves",
}
ENDPOINT_NUMBERS = {
    "sse_client_endpoint_healthy": "healthy",
    "sse_client_endpoint_streams": "streams",
    "sse_client_endpoint_attempts_total": "attempts",
    "sse_client_endpoint_successes_total": "successes",
    "sse_client_endpoint_failures_total": "failures",
    "sse_client_endpoint_lost_total": "lost",
    "sse_client_endpoint_breaker_changes_total": "breaker_changes",
}


def assert_connections_equal(seen: Exposed, pool: str, metrics: ConnectionMetrics) -> None:
    for name, field in CONNECTION_COUNTERS.items():
        assert seen.total(name, pool=pool) == getattr(metrics, field), name
    assert_labelled(seen, "sse_client_errors_total", "category", metrics.errors, pool)
    beats = {"succeeded": metrics.heartbeats_succeeded, "failed": metrics.heartbeats_failed}
    assert_labelled(seen, "sse_client_heartbeats_total", "result", beats, pool)
    assert_histogram(seen, "sse_client_connect_duration_seconds", metrics.connect_durations, pool)


def assert_labelled(
    seen: Exposed, name: str, label: str, numbers: Mapping[str, float], pool: str
) -> None:
    for value, number in numbers.items():
        assert seen.total(name, pool=pool, **{label: value}) == number, (name, value)
    assert seen.total(name, pool=pool) == sum(numbers.values()), name


def assert_histogram(seen: Exposed, name: str, durations: DurationSummary, pool: str) -> None:
    below = 0
    for bound, number in zip([*DURATION_BUCKETS, "+Inf"], durations.buckets, strict=True):
        below += number
        assert seen.total(f"{name}_bucket", pool=pool, le=str(bound)) == below, (name, bound)
    assert seen.total(f"{name}_count", pool=pool) == durations.count == below
    assert seen.total(f"{name}_sum", pool=pool) == pytest.approx(durations.sum)


def assert_pool_equal(seen: Exposed, pool: str, stats: PoolStats) -> None:
    for name, field in POOL_NUMBERS.items():
        assert seen.total(name, pool=pool) == getattr(stats, field), name
    members = {
        "leased": stats.active,
        "idle": stats.idle,
        "connecting": stats.connecting,
        "failed": stats.failed,
    }
    assert_labelled(seen, "sse_client_pool_members", "state", members, pool)
    outcomes = {
        "success": stats.acquire_successes,
        "timeout": stats.acquire_timeouts,
        "rejection": stats.acquire_rejections,
        "cancellation": stats.acquire_cancellations,
    }
    assert_labelled(seen, "sse_client_pool_acquires_total", "outcome", outcomes, pool)
    assert_labelled(seen, "sse_client_pool_closes_total", "reason", stats.closes, pool)
    assert_histogram(seen, "sse_client_pool_wait_seconds", stats.waits, pool)
    assert_histogram(seen, "sse_client_pool_hold_seconds", stats.holds, pool)
    ratio = seen.total("sse_client_pool_utilization_ratio", pool=pool)
    assert ratio == pytest.approx(stats.utilization / 100)
    assert_endpoints_equal(seen, pool, stats.endpoints)


def assert_endpoints_equal(seen: Exposed, pool: str, endpoints: Sequence[EndpointStats]) -> None:
    for endpoint in endpoints:
        origin = "/".join(endpoint.endpoint.split("/")[:3])
        for name, field in ENDPOINT_NUMBERS.items():
            assert seen.total(name, pool=pool, origin=origin) == getattr(endpoint, field), name
        breaker = {endpoint.breaker.value: 1}
        for state in ("closed", "open", "half_open"):
            found = seen.total(
                "sse_client_endpoint_breakers", pool=pool, origin=origin, breaker=state
            )
            assert found == breaker.get(state, 0)


def never_down(before: Exposed | None, now: Exposed) -> None:
    if before is not None:
        for key, value in before.samples.items():
            if key[0].endswith(("_total", "_bucket", "_count", "_sum")):
                assert now.samples[key] >= value, key


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_scrape_equals_what_pool_set_and_connection_counted_under_faults(seed: int) -> None:
    day = FaultyDay(seed)
    registry = CollectorRegistry()
    SSECollector(day.pool, day.streams, day.connection, registry=registry)
    scrapes: list[Exposed] = []

    def scrape() -> None:
        seen = expose(registry)
        assert_connections_equal(seen, "orders", day.pool.metrics)
        assert_connections_equal(seen, "devices", day.streams.metrics)
        assert_connections_equal(seen, "", day.connection.metrics)
        assert_pool_equal(seen, "orders", day.pool.stats())
        assert_endpoints_equal(seen, "", day.connection.info().endpoints)
        never_down(scrapes[-1] if scrapes else None, seen)
        scrapes.append(seen)

    day.run(scrape)
    metrics = day.pool.metrics
    assert set(metrics.errors) >= {"network", "timeout"}
    assert min(metrics.heartbeats_failed, metrics.reconnect_failures, metrics.events_dropped) > 0
    day.close()
    scrape()


def test_what_happens_at_an_origin_is_counted_there_also_when_a_stream_fails_over() -> None:
    day = FaultyDay()
    registry = CollectorRegistry()
    SSECollector(day.pool, day.connection, registry=registry)
    day.run()  # and nobody looks before the end
    seen = expose(registry)
    for endpoint in day.pool.stats().endpoints:
        origin = "/".join(endpoint.endpoint.split("/")[:3])
        failed = sum(
            seen.total(f"sse_client_{kind}_failures_total", origin=origin, pool="orders")
            for kind in ("connect", "reconnect")
        )
        accepted = sum(
            seen.total(f"sse_client_{kind}_successes_total", origin=origin, pool="orders")
            for kind in ("connect", "reconnect")
        )
        assert accepted == endpoint.successes, origin
        assert failed == endpoint.failures, origin
    assert seen.total("sse_client_reconnect_failures_total", origin="http://a.example") > 0


def test_gauges_tell_how_it_is_now() -> None:
    simulation = Simulation(seed=1)
    script: list[Step] = [Respond(), send_event("one", after=1.0), Stall()]
    simulation.network.server("http://a.example", script)
    registry = CollectorRegistry()
    config = ConnectionConfig(timeouts=Timeouts(idle=0))
    connection = simulation.connect("http://a.example/events", config=config)
    collector = SSECollector(connection, registry=registry)
    simulation.run(until=0.5)
    assert expose(registry).total("sse_client_oldest_event_age_seconds") == 0.5
    simulation.run(until=41.0)
    seen = expose(registry)
    assert seen.total("sse_client_oldest_event_age_seconds") == 40.0
    younger = simulation.connect("http://a.example/events", config=config)
    collector.add(younger)
    simulation.run(until=41.5)
    seen = expose(registry)
    assert seen.total("sse_client_oldest_event_age_seconds") == 40.5  # not the sum of both
    assert seen.total("sse_client_connections", state="connected") == 2
    assert seen.total("sse_client_events_buffered") == 0
    lazy = simulation.connect("http://a.example/events", config=config, reading=False)
    collector.add(lazy)
    simulation.run(until=43.0)
    assert expose(registry).total("sse_client_events_buffered") == 1
    lazy.close()
    younger.close()
    simulation.run(until=44.0)
    seen = expose(registry)
    assert seen.total("sse_client_connections", state="connected") == 1
    simulation.network.outage(45.0, 60.0)
    simulation.run(until=48.0)
    seen = expose(registry)
    assert seen.total("sse_client_connections", state="reconnecting") == 1
    assert seen.total("sse_client_connections") == 1
    assert seen.total("sse_client_retries") == connection.info().reconnect_attempts > 1
    assert seen.total("sse_client_longest_silence_seconds") == connection.metrics.longest_silence
    assert seen.total("sse_client_oldest_event_age_seconds") == 0  # there is no stream


def test_a_real_pool_is_scraped_over_http_while_it_lives_through_faults() -> None:
    async def run() -> None:
        faults = [Fault.CUT_EVENT, Fault.BUSY, Fault.RESET, Fault.STALL, Fault.CUT_CHUNK]
        config = ConnectionConfig(
            reconnection=ReconnectionPolicy(initial_delay=0.001, max_server_delay=0.01),
            timeouts=Timeouts(idle=0.2),
            heartbeat=HeartbeatConfig(enabled=True, interval=0.05, timeout=0.1),
        )
        registry = CollectorRegistry()
        served, thread = start_http_server(0, "127.0.0.1", registry)
        url = f"http://127.0.0.1:{served.server_port}/metrics"
        try:
            async with FaultyServer(make_events(20, seed=1), faults, seed=1) as server:
                pool = ConnectionPool(
                    PoolConfig([server.url], connection=config, max_size=2), name="real"
                )
                SSECollector(pool, registry=registry)
                async with pool, pool.acquire() as lease:
                    received = 0
                    async for event in lease:
                        received += isinstance(event, ServerSentEvent)
                        if received == 20:
                            break
                    text = await asyncio.to_thread(fetch, url)
                seen = Exposed(await asyncio.to_thread(fetch, url))
                assert_connections_equal(seen, "real", pool.metrics)
                assert_pool_equal(seen, "real", pool.stats())
                never_down(Exposed(text), seen)
                assert seen.total("sse_client_events_received_total") == 20
                assert seen.total("sse_client_errors_total", category="network") >= 3
                assert seen.total("sse_client_errors_total", category="protocol") >= 1
        finally:
            served.shutdown()
            served.server_close()
            thread.join()

    asyncio.run(run())


def fetch(url: str) -> str:
    with urlopen(url, timeout=10) as response:
        text: str = response.read().decode()
        return text


def test_a_registry_takes_one_collector_and_no_other_source() -> None:
    registry = CollectorRegistry()
    collector = SSECollector(registry=registry)
    stranger: Any = "https://example.com/"
    with pytest.raises(ValueError, match="sse_client_connect_attempts"):
        SSECollector(registry=registry)
    with pytest.raises(TypeError, match="not a connection, pool or stream set: str"):
        collector.add(stranger)


@pytest.mark.parametrize("module", ["prometheus", "opentelemetry"])
def test_the_package_imports_no_library_and_an_exporter_says_what_it_needs(module: str) -> None:
    library = {"prometheus": "prometheus_client", "opentelemetry": "opentelemetry"}[module]
    program = f"""
import sys
import sansio_sse_metrics
assert not {{"prometheus_client", "opentelemetry"}} & set(sys.modules)
sys.modules[{library!r}] = None
try:
    import sansio_sse_metrics.{module}
except ImportError as error:
    print(error)
"""
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert run.stdout.strip().endswith(f'needs: pip install "sansio-sse[{module}]"')
