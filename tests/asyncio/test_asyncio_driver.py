"""What is asyncio's own, on its loop and on uvloop."""

import asyncio
import gc
import logging
import socket
import threading
import tracemalloc
from contextlib import ExitStack
from typing import Any

import h11
import pytest

from contract.common import drop, quick, read_all, stay, turn_away
from contract.face import Face
from contract.fixtures import Certificates
from contract.phases import BlackHole, Resolver
from contract.server import Peer, Seen, Server, open_sockets
from sansio_sse import (
    ConnectError,
    ConnectionConfig,
    ConnectionState,
    ConnectTimeout,
    ReconnectionPolicy,
    Timeouts,
)
from sansio_sse_asyncio import Connection, connect, transport

CLOSED = ConnectionState.CLOSED
CONNECTED = ConnectionState.CONNECTED


def flood(letter: str, count: int = 400) -> Any:
    def script(peer: Peer, seen: Seen) -> None:
        peer.stream(chunked=True)
        for number in range(count):
            peer.event(f"{number} " + letter * 5000)
        peer.end()

    return script


# --- One buffer for all ------------------------------------------------------------------------


async def test_connections_that_share_a_buffer_do_not_mix(sse: Face, tls: dict[str, Any]) -> None:
    with ExitStack() as stack:
        servers = [
            stack.enter_context(Server(flood(letter), tls=tls["server"])) for letter in "abc"
        ]

        async def read(server: Server, letter: str) -> None:
            config = quick(on_end="finish")
            async with connect(server.url, config=config, ssl_context=tls["client"]) as connection:
                data = await read_all(connection)
            assert data == [f"{number} " + letter * 5000 for number in range(400)]

        async with asyncio.TaskGroup() as group:
            for server, letter in zip(servers, "abc", strict=True):
                group.create_task(read(server, letter))


async def test_the_end_of_a_burst_over_tls_is_not_lost(
    sse: Face, certificates: Certificates
) -> None:
    """More than one read holds, and the goodbye at once behind it."""
    text = "x" * 1_000_000

    def script(peer: Peer, seen: Seen) -> None:
        peer.stream()  # the body ends with the connection
        peer.event(text)
        peer.end()

    with Server(script, tls=certificates.good) as server:
        client, config = certificates.client(), quick(on_end="finish")
        for _ in range(5):
            async with connect(server.url, ssl_context=client, config=config) as connection:
                assert await read_all(connection) == [text]


async def test_body_reading_does_not_go_through_h11(
    sse: Face, monkeypatch: pytest.MonkeyPatch, tls: dict[str, Any]
) -> None:
    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("h11 reads a body")

    for reader in ("ContentLengthReader", "ChunkedReader", "Http10Reader"):
        monkeypatch.setattr(f"h11._readers.{reader}.__call__", never)
    theirs = h11.Connection(h11.CLIENT)
    theirs.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    theirs.receive_data(b"HTTP/1.1 200 OK\r\n\r\nbody")
    theirs.next_event()
    with pytest.raises(AssertionError, match="h11 reads a body"):
        theirs.next_event()
    scripts = [drop("one", chunked=True), drop("two"), stay("three")]
    with Server(scripts, tls=tls["server"]) as server:
        async with connect(server.url, config=quick(), ssl_context=tls["client"]) as connection:
            assert [(await connection.receive(5)).data for _ in range(3)] == ["one", "two", "three"]


# --- Names and addresses -----------------------------------------------------------------------


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> None:
    """Let the name ``many.invalid`` have these addresses, in this order."""
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *args: Any, **named: Any) -> Any:
        if host != "many.invalid":
            return real(host, port, *args, **named)
        if named.get("flags", 0) & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "not numeric")
        kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*kind, address) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def refused() -> tuple[str, int]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.2", 0))
        name: tuple[str, int] = sock.getsockname()
        return name


async def test_the_race_of_addresses_passes_by_what_is_refused_and_what_is_silent(
    sse: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(Server(stay("hello")))
        hole = BlackHole(stack)
        good = ("127.0.0.1", server.port)
        before = open_sockets()
        for addresses in ([hole.address, good], [refused(), good], [hole.address, refused(), good]):
            resolve_to(monkeypatch, *addresses)
            async with connect("http://many.invalid/", config=quick()) as connection:
                assert (await connection.receive(5)).data == "hello"
                # The losers are gone: there is one socket, and the loop's own were there before.
                assert len(open_sockets() - before) == 1
            assert open_sockets() == before
            assert connection.metrics.connect_failures == 0


async def test_a_race_that_nobody_wins_tells_the_first_reason(
    sse: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_to(monkeypatch, refused(), refused())
    once = ConnectionConfig(reconnection=ReconnectionPolicy(enabled=False))
    with pytest.raises(ConnectError) as caught:
        async with connect("http://many.invalid/", config=once):
            pytest.fail("entered")
    assert "refused" in str(caught.value)


async def test_a_race_is_bounded_by_the_connect_timeout_and_leaves_nothing(
    sse: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as stack:
        holes = [BlackHole(stack), BlackHole(stack)]
        resolve_to(monkeypatch, *(hole.address for hole in holes))
        policy = ReconnectionPolicy(enabled=False)
        config = ConnectionConfig(reconnection=policy, timeouts=Timeouts(connect=0.4))
        before = open_sockets()
        with pytest.raises(ConnectTimeout):
            async with connect("http://many.invalid/", config=config):
                pytest.fail("entered")
        assert open_sockets() == before


async def test_a_race_cancelled_at_any_step_leaks_no_socket(
    sse: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server(stay("hello")) as server:
        good = ("127.0.0.1", server.port)
        monkeypatch.setattr(transport, "_RACE_DELAY", 0)
        before = open_sockets()
        for steps in range(30):
            race = asyncio.create_task(transport._race([(socket.AF_INET, good)] * 3))
            for _ in range(steps):
                await asyncio.sleep(0)
            race.cancel()
            try:
                (await race).close()
            except asyncio.CancelledError:
                pass
            await asyncio.sleep(0)  # the losers' turn
            assert open_sockets() == before


async def test_the_answer_to_a_name_is_dropped_after_close(
    sse: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver = Resolver(monkeypatch)
    async with connect("http://slow.invalid/", wait=False) as connection:
        await sse.until(lambda: resolver.running)
        thread = next(t for t in threading.enumerate() if t.name == "sansio-sse-dns")
        assert thread.daemon
    assert connection.state is CLOSED
    resolver.release.set()
    thread.join(5)
    await asyncio.sleep(0.01)  # what came from the thread is run, and does nothing
    assert connection.state is CLOSED


def test_the_answer_to_a_name_may_come_after_the_end_of_the_loop(
    sse: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver = Resolver(monkeypatch)

    async def main() -> None:
        async with connect("http://slow.invalid/", wait=False):
            await sse.until(lambda: resolver.running)

    sse.run(main)
    resolver.release.set()
    for thread in threading.enumerate():
        if thread.name == "sansio-sse-dns":
            thread.join(5)


# --- Loops and tasks ---------------------------------------------------------------------------


def test_everything_is_harmless_after_the_end_of_the_loop(sse: Face) -> None:
    connections: list[Connection] = []

    async def main() -> None:
        with Server(stay("hello")) as server:
            async with connect(server.url) as connection:
                await connection.receive(5)
            connections.append(connection)

    sse.run(main)
    [connection] = connections
    for _ in range(2):
        connection.close()
        connection.disconnect()
    Face.in_thread(connection.close)
    assert connection.state is CLOSED
    assert connection.metrics.events_received == 1
    assert connection.info().state is CLOSED
    assert "closed" in repr(connection)


def test_a_disconnected_connection_may_go_on_in_another_loop(sse: Face) -> None:
    with Server(stay("hello")) as server:
        connection = connect(server.url)

        async def once() -> None:
            await connection.connect()
            assert (await connection.receive(5)).data == "hello"
            connection.disconnect()
            await sse.until(lambda: server.open_visits == 0)

        async def last() -> None:
            await once()
            await connection.aclose()

        sse.run(once)
        sse.run(last)
    assert [seen.cursor for seen in server.requests] == [None, "1"]


def test_a_connection_closed_before_any_loop(sse: Face) -> None:
    connection = connect("http://127.0.0.1:1/")
    connection.close()
    assert connection.state is CLOSED
    sse.run(connection.wait_closed)


async def test_a_task_group_that_is_cancelled_closes_everything(sse: Face) -> None:
    before = open_sockets()
    connections: list[Connection] = []

    async def follow(url: str) -> None:
        async with connect(url) as connection:
            connections.append(connection)
            async for _ in connection:
                pass

    async def fail() -> None:
        await sse.until(lambda: len(connections) == 5)
        raise ZeroDivisionError

    async def follow_all(url: str) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(5):
                group.create_task(follow(url))
            group.create_task(fail())

    with Server(stay("hello")) as server:
        with pytest.raises(ExceptionGroup) as caught:
            await follow_all(server.url)
        assert [type(error) for error in caught.value.exceptions] == [ZeroDivisionError]
        assert {connection.state for connection in connections} == {CLOSED}
        assert open_sockets() == before


async def test_a_timeout_around_a_receive_loses_nothing(sse: Face) -> None:
    go = threading.Event()

    def script(peer: Peer, seen: Seen) -> None:
        peer.stream()
        peer.wait(go)
        peer.event("hello")
        peer.stall()

    with Server(script) as server:
        async with connect(server.url) as connection:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await connection.receive()
            go.set()
            async with asyncio.timeout(5):
                assert (await connection.receive()).data == "hello"


async def test_an_exception_of_a_callback_reaches_the_loop_s_handler_with_its_origin(
    sse: Face,
) -> None:
    contexts: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: contexts.append(context))

    def fail(connection: Connection, event: Any) -> None:
        raise ZeroDivisionError

    with Server(stay("hello")) as server:
        async with connect(server.url, on_event=fail, name="prices") as connection:
            await sse.until(lambda: contexts)
            assert connection.state is CONNECTED
    [context] = contexts
    assert isinstance(context["exception"], ZeroDivisionError)
    assert "prices" in context["message"]
    assert server.origin in context["message"]


async def test_nothing_is_logged_when_connections_fail(
    sse: Face, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    """What fails is told by our errors; asyncio has nothing to add."""

    def reset(peer: Peer, seen: Seen) -> None:
        peer.stream()
        peer.event("one")
        peer.wait()
        peer.reset()

    def no_handshake(peer: Peer) -> None:
        peer.reset()

    caplog.set_level(logging.WARNING)
    client = certificates.client()
    with (
        Server([reset, turn_away(204)], tls=certificates.good) as server,
        Server(welcome=no_handshake, tls=certificates.good) as other,
        Server(tls=certificates.expired) as third,
    ):
        async with connect(server.url, ssl_context=client, config=quick()) as connection:
            assert (await connection.receive(5)).data == "one"
            server.go.set()
            assert await read_all(connection) == []
        for broken in (other, third):
            with pytest.raises(Exception, match=r"TLS|certificate|gave up"):
                async with connect(broken.url, ssl_context=client, config=quick(max_attempts=2)):
                    pytest.fail("entered")
    assert [record for record in caplog.records if not record.name.startswith("sansio_sse")] == []


async def test_many_connections_come_and_go_without_a_trace(sse: Face) -> None:
    with Server(stay("hello")) as server:

        async def once() -> None:
            async with connect(server.url) as connection:
                await connection.receive(5)

        await once()
        before = open_sockets()
        tracemalloc.start()
        try:
            for _ in range(50):
                await once()
            gc.collect()
            first = tracemalloc.get_traced_memory()[0]
            for _ in range(100):
                await once()
            gc.collect()
            grown = tracemalloc.get_traced_memory()[0] - first
        finally:
            tracemalloc.stop()
        assert open_sockets() == before
        # The server's log grows by some 2 KiB each time; a connection that stayed would be 10.
        assert grown < 100 * 4096
    assert len(server.requests) == 151
