"""Pings beside the stream: answered, missed, and never mistaken for life of the stream itself."""

import threading
from typing import Any

import pytest

from sansio_sse import (
    ConnectionState,
    HeartbeatConfig,
    HeartbeatTimeout,
    IdleTimeout,
    Timeouts,
)

from .common import quick, stay, turn_away
from .face import Face
from .server import Peer, Seen, Server

CONNECTED = ConnectionState.CONNECTED
RECONNECTING = ConnectionState.RECONNECTING

SECRET = {"Authorization": "Bearer secret"}


def beat(interval: float = 0.03, timeout: float = 5, max_missed: int = 3) -> HeartbeatConfig:
    return HeartbeatConfig(enabled=True, interval=interval, timeout=timeout, max_missed=max_missed)


def with_authorization(status: int) -> Any:
    def script(peer: Peer, seen: Seen) -> None:
        allowed = seen.header("Authorization") == SECRET["Authorization"]
        peer.respond(status if allowed else 401)

    return script


async def test_a_silent_stream_is_pinged_with_the_stream_s_own_credentials(
    sse: Face, tls: dict[str, Any]
) -> None:
    with Server(stay("hello"), tls=tls["server"]) as server:
        server.at("/ping", with_authorization(204))
        options = {
            "ssl_context": tls["client"],
            "headers": SECRET,
            "config": quick(heartbeat=beat()),
        }
        async with sse.connect(server.url, **options) as connection:
            await sse.until(lambda: connection.metrics.heartbeats_succeeded >= 3, connection)
            assert connection.state is CONNECTED
            assert connection.metrics.heartbeats_failed == 0
            assert connection.info().missed_heartbeats == 0
            assert connection.info().heartbeat_success_rate == 100.0
    assert len(server.to("/events")) == 1
    ping = server.to("/ping")[0]
    assert (ping.method, ping.body, ping.cursor) == ("GET", b"", None)


async def test_pings_that_are_refused_are_misses_and_enough_of_them_are_death(sse: Face) -> None:
    errors: list[BaseException] = []
    with Server(stay("hello")) as server:
        server.at("/ping", with_authorization(204))
        config = quick(heartbeat=beat(max_missed=2))
        async with sse.connect(
            server.url, config=config, on_error=lambda _, error: errors.append(error)
        ) as connection:
            await connection.wait_for(RECONNECTING, 5)
            await connection.wait_for(CONNECTED, 5)
    assert isinstance(errors[0], HeartbeatTimeout)
    assert [seen.cursor for seen in server.to("/events")][:2] == [None, "1"]
    second = server.to("/events")[1]
    assert sum(ping.at < second.at for ping in server.to("/ping")) == 2


async def test_pings_that_are_not_answered_are_misses(sse: Face) -> None:
    errors: list[BaseException] = []

    def silent(peer: Peer, seen: Seen) -> None:
        peer.stall()

    with Server(stay("hello")) as server:
        server.at("/ping", silent)
        config = quick(heartbeat=beat(timeout=0.05, max_missed=2))
        async with sse.connect(
            server.url, config=config, on_error=lambda _, error: errors.append(error)
        ) as connection:
            await connection.wait_for(RECONNECTING, 5)
    assert isinstance(errors[0], HeartbeatTimeout)


async def test_an_answered_ping_takes_earlier_misses_back(sse: Face) -> None:
    refuse, accept = turn_away(500), turn_away(200)
    with Server(stay("hello")) as server:
        server.at("/ping", *[refuse, accept] * 3, accept)
        async with sse.connect(
            server.url, config=quick(heartbeat=beat(max_missed=2))
        ) as connection:
            await sse.until(lambda: connection.metrics.heartbeats_succeeded == 4, connection)
            assert connection.metrics.heartbeats_failed == 3
    assert len(server.to("/events")) == 1


async def test_a_busy_stream_is_not_pinged(sse: Face) -> None:
    def busy(peer: Peer, seen: Seen) -> None:
        peer.stream()
        for _ in range(40):
            peer.body(b":\n")
            peer.sleep(0.01)
        peer.event("done")
        peer.stall()

    with Server(busy) as server:
        async with sse.connect(
            server.url, config=quick(heartbeat=beat(interval=0.3))
        ) as connection:
            assert (await connection.receive(5)).data == "done"
    assert server.to("/ping") == []


async def test_a_half_open_stream_with_answered_pings_dies_of_silence(sse: Face) -> None:
    errors: list[BaseException] = []
    with Server(stay("hello")) as server:
        server.at("/ping", turn_away(200))
        config = quick(heartbeat=beat(), timeouts=Timeouts(idle=0.3))
        async with sse.connect(
            server.url, config=config, on_error=lambda _, error: errors.append(error)
        ) as connection:
            await connection.wait_for(RECONNECTING, 5)
            assert connection.metrics.heartbeats_succeeded >= 2
            assert connection.metrics.heartbeats_failed == 0
    assert isinstance(errors[0], IdleTimeout)


async def test_a_paused_stream_is_not_pinged(sse: Face) -> None:
    def flood(peer: Peer, seen: Seen) -> None:
        peer.stream()
        for _ in range(100):
            peer.event("x" * 100_000)
        peer.stall()

    with Server(flood) as server:
        server.at("/ping", turn_away(200))
        config = quick(heartbeat=beat(), buffer_size=2)
        async with sse.connect(server.url, config=config) as connection:
            await sse.until(lambda: connection.metrics.events_received >= 2, connection)
            pings = len(server.to("/ping"))
            await sse.let_run(connection, 0.2)
            assert len(server.to("/ping")) == pings
            for _ in range(100):
                await connection.receive(5)
            await sse.until(lambda: len(server.to("/ping")) > pings, connection)


async def test_a_stream_that_is_lost_abandons_its_ping(sse: Face) -> None:
    pinged = threading.Event()

    def lost(peer: Peer, seen: Seen) -> None:
        peer.stream()
        peer.wait(pinged)
        peer.reset()

    def silent(peer: Peer, seen: Seen) -> None:
        pinged.set()
        peer.stall()

    with Server([lost, stay("hello")]) as server:
        server.at("/ping", silent, turn_away(200))
        async with sse.connect(server.url, config=quick(heartbeat=beat())) as connection:
            assert (await connection.receive(5)).data == "hello"
            first = server.to("/ping")[0]
            await sse.until(lambda: first.visit.left, connection)


@pytest.mark.parametrize("endpoint", ["/health", "health", "?check=1"])
async def test_the_ping_endpoint_is_resolved_against_the_origin(sse: Face, endpoint: str) -> None:
    config = quick(heartbeat=HeartbeatConfig(enabled=True, interval=0.02, ping_endpoint=endpoint))
    with Server(stay()) as server:
        server.at("/health", turn_away(200)).at("/", turn_away(200))
        async with sse.connect(server.url, config=config) as connection:
            await sse.until(lambda: connection.metrics.heartbeats_succeeded, connection)
