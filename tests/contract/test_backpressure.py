"""A reader slower than its server: memory is bounded, nothing is lost, no silence imputed."""

import time
import tracemalloc
from typing import Any

import pytest

from sansio_sse import ConnectionState, ServerSentEvent, Timeouts

from .common import quick
from .face import Face
from .server import Peer, Seen, Server

TEXT = "x" * 200


def flood(peer: Peer, seen: Seen) -> None:
    peer.stream()
    step = 500
    for start in range(0, int(seen.target.partition("?")[2]), step):
        numbers = range(start, start + step)
        peer.body(b"".join(b"id: %d\ndata: %s\n\n" % (n, TEXT.encode()) for n in numbers))
    peer.end()


@pytest.mark.needs("speed")
async def test_a_slow_reader_of_100_000_events_loses_nothing_in_bounded_memory(
    sse: Face, tls: dict[str, Any]
) -> None:
    errors: list[BaseException] = []
    events = 100_000 if tls["server"] is None else 20_000
    with Server(flood, tls=tls["server"]) as server:
        config = quick(buffer_size=100, timeouts=Timeouts(idle=0.5), on_end="finish")
        async with sse.connect(
            f"{server.url}?{events}",
            config=config,
            ssl_context=tls["client"],
            on_error=lambda _, error: errors.append(error),
        ) as connection:
            tracemalloc.start()
            try:
                count = 0
                async for event in connection:
                    assert event.id == str(count)
                    count += 1
                    if count == 10:
                        # Longer than the idle timeout: we did not read, so it was not silence.
                        await sse.let_run(connection, 0.8)
                        assert connection.state is ConnectionState.CONNECTED
                    elif count % 20_000 == 0:
                        await sse.sleep(0.05)
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            assert count == events
            assert connection.metrics.events_received == events
            assert connection.metrics.events_dropped == 0
            # Hundreds of events and a few reads of 64 KiB; all of them would be many MiB.
            assert peak < 4 * 1024 * 1024
    assert errors == []
    assert len(server.requests) == 1


@pytest.mark.parametrize("way", ["read", "on_event"])
async def test_a_program_that_is_busy_for_longer_than_the_idle_timeout_kills_no_stream(
    sse: Face, way: str
) -> None:
    """What came meanwhile is read before the time is looked at."""
    errors: list[BaseException] = []
    data: list[str] = []

    def script(peer: Peer, seen: Seen) -> None:
        peer.stream()
        for number in range(60):
            peer.event(str(number))
            peer.sleep(0.02)
        peer.event("done")
        peer.end()

    def take(event: ServerSentEvent) -> None:
        data.append(event.data)
        if event.data == "1":
            time.sleep(0.7)  # blocking the loop is the point

    with Server(script) as server:
        async with sse.connect(
            server.url,
            config=quick(timeouts=Timeouts(idle=0.4), on_end="finish"),
            on_event=(lambda _, event: take(event)) if way == "on_event" else None,
            on_error=lambda _, error: errors.append(error),
        ) as connection:
            if way == "on_event":
                await connection.wait_for(ConnectionState.DISCONNECTED)
            else:
                async for event in connection:
                    take(event)
    assert data == [*map(str, range(60)), "done"]
    assert errors == []


async def test_a_reader_that_stops_reading_stops_the_server(sse: Face) -> None:
    sent = 0

    def endless(peer: Peer, seen: Seen) -> None:
        nonlocal sent
        peer.stream()
        while True:
            peer.event("x" * 10_000)
            sent += 1

    with Server(endless) as server:
        async with sse.connect(server.url, config=quick(buffer_size=10)) as connection:
            await sse.until(lambda: connection.metrics.events_received >= 10, connection)
            before = -1
            for _ in range(50):
                before = sent
                await sse.let_run(connection, 0.1)
                if sent == before:
                    break
            assert sent == before
            # The buffer holds at most its size plus one read.
            assert connection.metrics.events_received <= 10 + 65536 / 10_000 + 1
            # And it goes on as soon as the reader does.
            for _ in range(sent + 10):
                await connection.receive(5)
            assert sent > before


async def test_the_oldest_can_be_dropped_and_are_counted(sse: Face) -> None:
    def script(peer: Peer, seen: Seen) -> None:
        peer.stream()
        for number in range(1000):
            peer.event(str(number), id=str(number))
            if number % 10 == 0:
                peer.sleep(0.0005)
        peer.end()

    with Server(script) as server:
        config = quick(buffer_size=10, overflow="drop_oldest", on_end="finish")
        async with sse.connect(server.url, config=config) as connection:
            await connection.wait_for(ConnectionState.DISCONNECTED, 10)
            data = [int(event.data) async for event in connection]
            metrics = connection.metrics
    assert data == list(range(data[0], 1000))
    assert metrics.events_received == 1000
    assert metrics.events_dropped == 1000 - len(data) > 0


@pytest.mark.parametrize("size", [1, 2, 3])
async def test_the_smallest_buffers_work(sse: Face, size: int, tls: dict[str, Any]) -> None:
    def script(peer: Peer, seen: Seen) -> None:
        peer.stream(chunked=True)
        for number in range(200):
            peer.event(str(number))
        peer.end()

    with Server(script, tls=tls["server"]) as server:
        options = {"ssl_context": tls["client"]}
        config = quick(buffer_size=size, on_end="finish")
        async with sse.connect(server.url, config=config, **options) as connection:
            data = []
            async for event in connection:
                data.append(int(event.data))
                if event.data in ("1", "50"):
                    await sse.let_run(connection, 0.01)
            assert data == list(range(200))
