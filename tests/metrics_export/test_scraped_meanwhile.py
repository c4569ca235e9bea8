"""Scraping in one thread while streams come and go in others: no error, no deadlock."""

import asyncio
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

import sansio_sse_sockets
from sansio_sse import BreakerConfig, ConnectionConfig, PoolConfig, ReconnectionPolicy, SSEError
from sansio_sse_asyncio import ConnectionPool
from sansio_sse_metrics.prometheus import SSECollector

from .exposed import Exposed, expose
from .test_prometheus_export import assert_connections_equal, assert_pool_equal, never_down

STREAMS = 60


class Short(BaseHTTPRequestHandler):
    """Answers with one event, and now and then not at all."""

    protocol_version = "HTTP/1.1"
    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        self.close_connection = True
        if self.asked % 7 == 0:
            return
        body = b"data: hello\n\n"
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that its base class has
        pass


@contextmanager
def serving() -> Generator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Short) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/events"
        finally:
            server.shutdown()
            thread.join()


class Scraper(threading.Thread):
    """Scrapes without a pause until it is told to stop; raises what went wrong then."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(daemon=True)
        self.registry = registry
        self.over = threading.Event()
        self.error: BaseException | None = None
        self.scrapes = 0

    def run(self) -> None:
        last: Exposed | None = None
        try:
            while not self.over.is_set():
                seen = expose(self.registry)
                never_down(last, seen)
                last = seen
                self.scrapes += 1
        except BaseException as error:
            self.error = error

    def stop(self) -> None:
        self.over.set()
        self.join(30)
        assert not self.is_alive()
        if self.error is not None:
            raise self.error


def config_of(url: str) -> PoolConfig:
    policy = ReconnectionPolicy(initial_delay=0.001, max_delay=0.01)
    return PoolConfig(
        [url],
        connection=ConnectionConfig(reconnection=policy, on_end="finish"),
        max_size=3,
        breaker=BreakerConfig(failures=1000),
    )


def with_asyncio(url: str, show: Callable[[Any], None]) -> ConnectionPool:
    async def run() -> ConnectionPool:
        pool = ConnectionPool(config_of(url), name="p")
        show(pool)

        async def use() -> None:
            for _ in range(STREAMS // 3):
                async with pool.stream() as stream:
                    assert [event.data async for event in stream] == ["hello"]

        async with pool, asyncio.TaskGroup() as tasks:
            for _ in range(3):
                tasks.create_task(use())
        return pool

    return asyncio.run(run())


def with_sockets(url: str, show: Callable[[Any], None]) -> sansio_sse_sockets.ConnectionPool:
    pool = sansio_sse_sockets.ConnectionPool(config_of(url), name="p")
    show(pool)
    failed: list[SSEError | AssertionError] = []

    def use() -> None:
        try:
            for _ in range(STREAMS // 3):
                with pool.stream() as stream:
                    assert [event.data for event in stream] == ["hello"]
        except (SSEError, AssertionError) as error:
            failed.append(error)

    with pool:
        threads = [threading.Thread(target=use) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
    assert failed == []
    return pool


@pytest.mark.parametrize("use", [with_asyncio, with_sockets])
def test_a_pool_is_scraped_all_the_time_while_it_is_busy(
    use: Callable[[str, Callable[[Any], None]], Any],
) -> None:
    registry = CollectorRegistry()
    collector = SSECollector(registry=registry)
    scraper = Scraper(registry)

    def show(pool: Any) -> None:
        collector.add(pool)
        scraper.start()

    with serving() as url:
        try:
            pool = use(url, show)
        finally:
            scraper.stop()
    assert scraper.scrapes > 3
    seen = expose(registry)
    assert_connections_equal(seen, "p", pool.metrics)
    assert_pool_equal(seen, "p", pool.stats())
    assert seen.total("sse_client_events_received_total") == STREAMS
