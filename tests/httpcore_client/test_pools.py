"""A connection pool of the application's own: it stays open, and its slots come back."""

import sys
import time
import zlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from contract.common import pooled, quick, resume, stay
from contract.fixtures import Certificates
from contract.phases import PHASES, hold
from contract.server import Peer, Seen, Server
from sansio_sse import (
    ConfigError,
    ConnectTimeout,
    HeartbeatConfig,
    HeartbeatTimeout,
    ReconnectExhausted,
    Timeouts,
    encode_event,
)

DONE = "[DONE]"


async def test_a_pool_that_is_given_stays_open(sse: Any) -> None:
    with Server(stay("hello")) as server:
        async with sse.transports() as pool:
            for _ in range(2):
                async with sse.connect(server.url, pool=pool) as connection:
                    assert (await connection.receive(5)).data == "hello"
            async with (
                sse.pool(pooled(server.url), pool=pool) as members,
                members.acquire() as lease,
            ):
                assert (await lease.receive(5)).data == "hello"
            async with sse.streams(pool=pool, config=quick()) as streams:
                streams.add("one", server.url)
                assert await anext(aiter(streams.events()))
            response = await _request(sse, pool, f"{server.origin}/missing")
            assert response.status == 200
    assert len(server.requests) == 5


async def _request(sse: Any, pool: Any, url: str) -> Any:
    """Use the pool as its owner does."""
    if sse.asynchronous:
        async with pool.stream("GET", url) as response:
            return response
    with pool.stream("GET", url) as response:
        return response


class Through:
    """A way on which all that is opened goes through one pool."""

    def __init__(self, sse: Any, pool: Any) -> None:
        self._sse = sse
        self._pool = pool

    def connect(self, url: str, **options: Any) -> Any:
        options.pop("ssl_context", None)
        return self._sse.connect(url, pool=self._pool, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sse, name)


@asynccontextmanager
async def narrow(sse: Any, certificates: Certificates, slots: int = 1) -> AsyncGenerator[Any]:
    """Make a pool with few slots."""
    options = {"ssl_context": certificates.client(), "max_connections": slots}
    async with sse.transports(**options) as pool:
        yield pool


UNINTERRUPTIBLE = ("resolving", "connecting")  # in a thread: see test_threads
ENDED_AT_ONCE = [phase for phase in PHASES if phase not in UNINTERRUPTIBLE]


@pytest.mark.parametrize("phase", [*ENDED_AT_ONCE, "waiting for a slot"])
async def test_a_slot_comes_back_whenever_a_connection_is_closed(
    sse: Any, phase: str, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _closed(sse, phase, certificates, monkeypatch)


@pytest.mark.parametrize("phase", UNINTERRUPTIBLE)
async def test_a_slot_comes_back_whenever_a_task_is_cancelled(
    async_sse: Any, phase: str, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _closed(async_sse, phase, certificates, monkeypatch)


async def _closed(
    sse: Any, phase: str, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A ping needs a slot of its own.
    async with narrow(sse, certificates, 1 + (phase == "pinging")) as pool:
        if phase == "waiting for a slot":
            await _closed_while_it_waits(sse, pool)
        else:
            through: Any = Through(sse, pool)
            async with hold(phase, through, certificates, monkeypatch) as held:
                held.connection.close()
                await held.connection.wait_closed()
        await sse.until(lambda: all(one.is_idle() for one in pool.connections))
        with Server(stay("hello")) as server:
            async with sse.connect(server.url, pool=pool) as connection:
                assert (await connection.receive(5)).data == "hello"


async def _closed_while_it_waits(sse: Any, pool: Any) -> None:
    with Server(stay("hello")) as server:
        async with sse.connect(server.url, pool=pool):
            waiting = sse.connect(server.url, pool=pool, wait=False)
            await waiting.open()
            await sse.let_run(waiting, 0.05)
            waiting.close()
            await waiting.wait_closed()
        await sse.until(lambda: server.open_visits == 0)
        assert len(server.requests) == 1


@pytest.mark.parametrize("first_ends", ["well", "badly"])
async def test_what_was_given_up_while_it_waited_is_never_sent(
    sse: Any, certificates: Certificates, first_ends: str
) -> None:
    """Also where its turn comes, on a new connection or on one that is kept."""

    def script(peer: Peer, seen: Seen) -> None:
        peer.stream(chunked=True)
        peer.event("hello")
        peer.wait()
        if first_ends == "well":
            peer.send(b"0\r\n\r\n")
            peer.again = True

    with Server(script) as server:
        async with narrow(sse, certificates) as pool:
            config = quick(on_end="finish", max_attempts=1)
            async with sse.connect(server.url, pool=pool, config=config) as first:
                options: dict[str, Any] = {"method": "POST", "content": b"once", "wait": False}
                second = sse.connect(f"{server.origin}/second", pool=pool, **options)
                await second.open()
                await sse.let_run(second, 0.05)
                second.close()
                await second.wait_closed()
                assert second.metrics.bytes_sent == 0
                server.go.set()
                assert (await first.receive(5)).data == "hello"
                await sse.let_run(first, 0.1)  # its slot is free, and whoever waited may have it
            await sse.until(lambda: all(one.is_idle() for one in pool.connections))
    assert server.to("/second") == []


async def test_a_stream_for_which_there_is_no_slot_could_not_be_connected(
    sse: Any, certificates: Certificates
) -> None:
    with Server(stay("hello")) as server:
        async with (
            narrow(sse, certificates) as pool,
            sse.connect(server.url, pool=pool) as first,
        ):
            config = quick(timeouts=Timeouts(connect=0.1), max_attempts=1)
            began = time.monotonic()
            with pytest.raises(ReconnectExhausted) as caught:
                async with sse.connect(server.url, pool=pool, config=config):
                    pytest.fail("entered")
            assert time.monotonic() - began < 5
            assert type(caught.value.cause) is ConnectTimeout
            assert caught.value.cause.request_sent is False
            assert (await first.receive(5)).data == "hello"
    assert len(server.requests) == 1


async def test_without_a_slot_pings_are_not_sent_and_count_as_missed(
    sse: Any, certificates: Certificates
) -> None:
    """A stream with heartbeats needs two slots; a pool that has one is a mistake that shows."""
    errors: list[BaseException] = []
    beat = HeartbeatConfig(enabled=True, interval=0.02, timeout=0.05, max_missed=2)
    with Server(resume(1)).at("/ping", stay()) as server:
        async with (
            narrow(sse, certificates) as pool,
            sse.connect(
                server.url,
                pool=pool,
                config=quick(heartbeat=beat),
                on_error=lambda _, error: errors.append(error),
            ) as connection,
        ):
            await sse.until(lambda: len(server.to("/events")) == 2, connection)
    assert isinstance(errors[0], HeartbeatTimeout)
    assert server.to("/ping") == []


async def test_with_a_second_slot_pings_are_sent(sse: Any, certificates: Certificates) -> None:
    def pong(peer: Peer, seen: Seen) -> None:
        peer.respond(204)

    beat = HeartbeatConfig(enabled=True, interval=0.02, timeout=5)
    with Server(stay("hello")).at("/ping", pong) as server:
        async with (
            narrow(sse, certificates, 2) as pool,
            sse.connect(server.url, pool=pool, config=quick(heartbeat=beat)) as connection,
        ):
            await sse.until(lambda: connection.metrics.heartbeats_succeeded >= 3, connection)
        assert len(server.to("/events")) == 1


# --- What the core does with what comes ----------------------------------------------------------


async def test_a_redirect_elsewhere_takes_no_secret_along(sse: Any) -> None:
    def away(peer: Peer, seen: Seen) -> None:
        peer.respond(307, ("Location", f"{elsewhere.origin}/there"))

    with Server(stay("hello")) as elsewhere, Server(away) as server:
        async with (
            sse.transports() as pool,
            sse.connect(
                server.url,
                pool=pool,
                headers={"Authorization": "s3cr3t", "X-Api-Key": "s3cr3t"},
                last_event_id="7",
            ) as connection,
        ):
            assert (await connection.receive(5)).data == "hello"
        [asked] = elsewhere.requests
        assert asked.path == "/there"
        assert asked.cursor == "7"
        assert "s3cr3t" not in str(asked.headers)
        assert server.requests[0].header("X-Api-Key") == "s3cr3t"


async def test_a_unix_socket_may_be_the_pool_s(sse: Any, tmp_path: Path) -> None:
    with Server(stay("hello"), family="unix", path=tmp_path / "s") as server:
        async with (
            sse.transports(uds=server.uds) as pool,
            sse.connect("http://localhost/events", pool=pool) as connection,
        ):
            assert (await connection.receive(5)).data == "hello"
        async with sse.connect("http://localhost/events", uds=server.uds) as connection:
            assert (await connection.receive(5)).data == "hello"


async def test_compressed_events_are_read_as_they_come(sse: Any) -> None:
    """The client below decodes nothing: the core does, with limits."""
    coder = zlib.compressobj(wbits=31)

    def script(peer: Peer, seen: Seen) -> None:
        peer.stream(("Content-Encoding", "gzip"), chunked=True)
        for data in ("one", "two"):
            piece = coder.compress(encode_event(data)) + coder.flush(zlib.Z_SYNC_FLUSH)
            peer.body(piece)
            peer.wait()
        peer.stall()

    with Server(script) as server:
        async with sse.connect(server.url) as connection:
            assert (await connection.receive(5)).data == "one"
            server.go.set()
            assert (await connection.receive(5)).data == "two"
        assert server.requests[0].header("Accept-Encoding") == "identity"


# --- Mistakes ----------------------------------------------------------------------------------


async def test_a_pool_of_the_other_kind_is_refused(sse: Any) -> None:
    kind = "ConnectionPool" if sse.asynchronous else "AsyncConnectionPool"
    right = r"sansio_sse_httpcore\.sync" if sse.asynchronous else "sansio_sse_httpcore$"
    pool = getattr(sse.package, kind)()
    with pytest.raises(ConfigError, match=right):
        sse.connect("http://127.0.0.1:1/", pool=pool)
    with pytest.raises(ConfigError, match=right):
        sse.pool(pooled("http://127.0.0.1:1/"), pool=pool)
    with pytest.raises(ConfigError, match=right):
        sse.streams(pool=pool)


@pytest.mark.parametrize(
    ("option", "missing"),
    [({"http2": True}, "h2"), ({"proxy": "socks5://me:s3cr3t@127.0.0.1:2"}, "socksio")],
    ids=["http2", "socks"],
)
async def test_what_httpcore_needs_and_is_not_there_is_said_at_once(
    sse: Any, option: Any, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ConfigError, match=f"install {missing}"):
        sse.connect("http://127.0.0.1:1/", **option)


@pytest.mark.parametrize(
    "other",
    [
        {"proxy": "http://me:s3cr3t@127.0.0.1:2/"},
        {"http2": True},
        {"uds": "/tmp/socket"},
        {"ssl_context": "a context"},
    ],
    ids=lambda other: next(iter(other)),
)
async def test_a_pool_that_is_given_has_its_own_settings(sse: Any, other: Any) -> None:
    async with sse.transports() as pool:
        with pytest.raises(ConfigError, match=next(iter(other))) as caught:
            sse.connect("http://127.0.0.1:1/", pool=pool, **other)
        assert "s3cr3t" not in str(caught.value)


async def test_without_either_package_it_is_said_what_is_missing(
    sse: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("httpcore", "httpcore2"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match="install httpcore2"):
        sse.connect("http://127.0.0.1:1/")


# --- Finite streams, one after the other -------------------------------------------------------


def answer(peer: Peer, seen: Seen) -> None:
    peer.reply("hello", DONE)


@pytest.mark.parametrize("how", ["terminal", "read to the end"])
async def test_finite_streams_in_a_row_share_a_connection(sse: Any, how: str) -> None:
    """Whether the last event is known or the body just ends: nobody waits for anything."""
    options: dict[str, Any] = {"until": DONE} if how == "terminal" else {}
    began = time.monotonic()
    with Server(answer) as server:
        async with sse.pool(pooled(server.url)) as pool:
            for _ in range(5):
                async with pool.stream(method="POST", json={}, **options) as stream:
                    assert [event.data async for event in stream] == ["hello", DONE]
    assert time.monotonic() - began < 3
    assert len(server.requests) == 5
    assert len(server.visits) == 1


async def test_a_stream_that_is_left_early_takes_its_connection_along(sse: Any) -> None:
    def more(peer: Peer, seen: Seen) -> None:
        peer.stream(chunked=True)
        peer.event("hello")
        peer.stall()

    with Server([answer, more, answer]) as server:
        async with sse.pool(pooled(server.url)) as pool:
            for number in range(3):
                async with pool.stream(method="POST", json={}, until=DONE) as stream:
                    assert (await stream.receive(5)).data == "hello"
                    if number != 1:
                        assert (await stream.receive(5)).data == DONE
    assert [request.visit.number for request in server.requests] == [0, 0, 1]


async def test_through_a_pool_that_is_given_connections_are_shared_with_all_else(
    sse: Any,
) -> None:
    with Server(answer) as server:
        async with sse.transports() as transports:
            assert (await _request(sse, transports, server.url)).status == 200
            config = quick(on_end="finish")
            async with sse.connect(server.url, pool=transports, config=config) as connection:
                assert [event.data async for event in connection] == ["hello", DONE]
            async with (
                sse.pool(pooled(server.url), pool=transports) as pool,
                pool.stream(until=DONE) as stream,
            ):
                assert [event.data async for event in stream] == ["hello", DONE]
    assert [request.visit.number for request in server.requests][1:] == [1, 1]


async def test_a_connection_that_the_server_has_closed_meanwhile_is_not_used(sse: Any) -> None:
    def once(peer: Peer, seen: Seen) -> None:
        peer.reply("hello", DONE)
        peer.again = False

    with Server(once) as server:
        async with sse.pool(pooled(server.url)) as pool:
            for _ in range(3):
                async with pool.stream(method="POST", json={}, until=DONE) as stream:
                    assert [event.data async for event in stream] == ["hello", DONE]
                await sse.until(lambda: server.open_visits == 0)
    assert len(server.visits) == 3
