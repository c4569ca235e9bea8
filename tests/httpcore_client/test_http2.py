"""HTTP/2: many streams on one connection, none of which is in another's way."""

import asyncio
import subprocess
import sys
import textwrap
import threading
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from contract.common import quick, stay
from contract.fixtures import Certificates
from contract.server import Server
from sansio_sse import (
    ConnectionLost,
    ConnectionState,
    ConnectTimeout,
    HeartbeatConfig,
    IdleTimeout,
    RemoteProtocolError,
    Timeouts,
)
from sansio_sse_httpcore.duplex import Duplex
from sansio_sse_httpcore.multiplex import mend

from .clients import OnAsyncio, Way
from .h2_server import H2Server, H2Stream

MANY = 20
CONNECTED = ConnectionState.CONNECTED
RECONNECTING = ConnectionState.RECONNECTING


async def opened(
    stack: AsyncExitStack, sse: Any, server: H2Server, pool: Any, count: int, **options: Any
) -> list[Any]:
    """Open some streams, one after the other."""
    return [
        await stack.enter_async_context(sse.connect(f"{server.url}?{number}", pool=pool, **options))
        for number in range(count)
    ]


def numbered(server: H2Server) -> list[H2Stream]:
    """The streams in the order of the connections' numbers."""
    return sorted(server.streams, key=lambda stream: int(stream.path.partition("?")[2]))


async def test_many_streams_share_one_connection(
    sse: Any, h2_server: H2Server, certificates: Certificates
) -> None:
    context = certificates.client()
    async with sse.transports(http2=True, ssl_context=context) as pool, AsyncExitStack() as stack:
        connections = await opened(stack, sse, h2_server, pool, MANY)
        for connection in connections:
            assert connection.response.http_version == "2"
        # One after the other, in any order: nobody has to wait for what is said to others.
        for number in (7, 0, MANY - 1, 7, 3):
            numbered(h2_server)[number].event(f"only {number}")
            assert (await connections[number].receive(5)).data == f"only {number}"
        for stream in h2_server.streams:
            stream.event("all", id="1")
        for connection in connections:
            assert (await connection.receive(5)).data == "all"
        assert len(h2_server.visits) == 1
        [shared] = pool.connections
        # What one thread writes does not disturb another that reads.
        assert isinstance(shared._connection._network_stream, Duplex) is not sse.asynchronous
    assert len(h2_server.streams) == MANY


async def test_a_stream_that_is_closed_is_reset_and_the_others_live_on(
    async_sse: Any, h2_server: H2Server, certificates: Certificates
) -> None:
    sse, context = async_sse, certificates.client()
    async with sse.transports(http2=True, ssl_context=context) as pool, AsyncExitStack() as stack:
        connections = await opened(stack, sse, h2_server, pool, 4)
        streams = numbered(h2_server)
        await connections[1].aclose()
        await sse.until(streams[1].told.is_set)
        connections[2].disconnect()
        await sse.until(streams[2].told.is_set)
        for number in (0, 3):
            streams[number].event("still here")
            assert (await connections[number].receive(5)).data == "still here"
            assert not streams[number].told.is_set()
        assert len(h2_server.visits) == 1


async def test_a_task_that_is_cancelled_takes_its_stream_along_and_no_other(
    async_sse: Any, h2_server: H2Server, certificates: Certificates
) -> None:
    sse, context = async_sse, certificates.client()

    async def follow(connection: Any) -> None:
        async with connection:
            await connection.receive()

    async with sse.transports(http2=True, ssl_context=context) as pool:
        # The first to come is the one that reads for all.
        async with sse.beside(follow, sse.connect(f"{h2_server.url}?0", pool=pool)) as cancelled:
            await sse.until(lambda: h2_server.streams)
            async with AsyncExitStack() as stack:
                [other] = await opened(stack, sse, h2_server, pool, 1)
                cancelled.cancel()
                await sse.until(h2_server.streams[0].told.is_set)
                h2_server.streams[1].event("still here")
                assert (await other.receive(5)).data == "still here"
        assert len(h2_server.visits) == 1


async def test_more_streams_come_and_go_on_one_connection_than_it_may_have_at_once(
    async_sse: Any, certificates: Certificates
) -> None:
    sse, context = async_sse, certificates.client()
    with H2Server(certificates, streams_at_once=5) as server:
        async with sse.transports(http2=True, ssl_context=context) as pool:
            for _ in range(25):
                async with sse.connect(server.url, pool=pool):
                    pass
        assert len(server.visits) == 1
        assert len(server.streams) == 25


# It takes more bytes than the others, and it is the same for all.
@pytest.mark.parametrize("async_sse", [OnAsyncio], ids=["once"], indirect=True)
async def test_what_comes_for_a_stream_that_is_closed_takes_no_room_from_the_others(
    async_sse: Any, h2_server: H2Server, certificates: Certificates
) -> None:
    sse, context = async_sse, certificates.client()
    flood = b"data: " + b"x" * 100_000 + b"\n\n"
    config = quick(buffer_size=1)  # who does not read is paused
    async with sse.transports(http2=True, ssl_context=context) as pool, AsyncExitStack() as stack:
        [quiet] = await opened(stack, sse, h2_server, pool, 1)
        for _ in range(3):
            async with sse.connect(h2_server.url, pool=pool, config=config) as connection:
                stream = h2_server.streams[-1]
                for _ in range(80):  # of the window of 16 MiB that all share
                    stream.data(flood)
                await connection.receive(5)
            await sse.until(stream.told.is_set)
        h2_server.streams[0].data(flood * 20)
        for _ in range(20):
            await quiet.receive(5)
        assert len(h2_server.visits) == 1


async def test_a_paused_stream_does_not_hold_up_the_others(
    sse: Any, h2_server: H2Server, certificates: Certificates
) -> None:
    context = certificates.client()
    async with sse.transports(http2=True, ssl_context=context) as pool, AsyncExitStack() as stack:
        config = quick(buffer_size=2)
        slow, quick_one = await opened(stack, sse, h2_server, pool, 2, config=config)
        for number in range(10):
            h2_server.streams[0].event(f"slow {number}")
        await sse.until(lambda: slow.metrics.events_received >= 2, slow)
        for number in range(10):
            h2_server.streams[1].event(f"quick {number}")
            assert (await quick_one.receive(5)).data == f"quick {number}"
        for number in range(10):
            assert (await slow.receive(5)).data == f"slow {number}"


async def test_a_broken_stream_goes_on_from_its_cursor_on_the_same_connection(
    sse: Any, h2_server: H2Server, certificates: Certificates
) -> None:
    context = certificates.client()
    async with sse.transports(http2=True, ssl_context=context) as pool, AsyncExitStack() as stack:
        broken, other = await opened(stack, sse, h2_server, pool, 2, config=quick())
        first, second = h2_server.streams
        first.event("one", id="é1")
        first.reset()
        assert (await broken.receive(5)).data == "one"
        await sse.until(lambda: len(h2_server.streams) == 3, broken)
        again = h2_server.streams[2]
        assert again.headers["last-event-id"] == "é1"
        again.event("two")
        assert (await broken.receive(5)).data == "two"
        assert broken.metrics.errors == {"protocol": 1}
        second.event("still here")
        assert (await other.receive(5)).data == "still here"
        assert other.metrics.reconnect_attempts == 0
        assert len(h2_server.visits) == 1


async def test_a_clean_end_is_an_end(
    sse: Any, h2_server: H2Server, certificates: Certificates
) -> None:
    context = certificates.client()
    async with sse.connect(
        h2_server.url, http2=True, ssl_context=context, config=quick(on_end="finish")
    ) as connection:
        h2_server.streams[0].event("one")
        h2_server.streams[0].end()
        assert [event.data async for event in connection] == ["one"]
        assert connection.metrics.errors == {}


@pytest.mark.parametrize("how", ["go_away", "send_garbage"])
async def test_when_the_connection_ends_all_its_streams_come_back_on_another(
    sse: Any, h2_server: H2Server, certificates: Certificates, how: str
) -> None:
    context = certificates.client()
    errors: list[BaseException] = []
    async with sse.transports(http2=True, ssl_context=context) as pool, AsyncExitStack() as stack:
        options: dict[str, Any] = {"on_error": lambda _, error: errors.append(error)}
        connections = await opened(stack, sse, h2_server, pool, 3, config=quick(), **options)
        if how == "go_away":
            h2_server.streams[0].go_away()
        else:
            h2_server.streams[0].send_garbage(b"\x00\x00\x04\x08\x00\x00\x00\x00\x00" + bytes(4))
        for connection in connections:
            await sse.until(lambda c=connection: c.metrics.reconnect_successes == 1, connection)
        for stream in h2_server.streams[3:]:
            stream.event("back")
        for connection in connections:
            assert (await connection.receive(5)).data == "back"
    assert {type(error) for error in errors} <= {RemoteProtocolError, ConnectionLost}
    assert len(errors) == 3


async def test_pings_and_posts_share_the_connection(sse: Any, certificates: Certificates) -> None:
    def answer(stream: H2Stream) -> None:
        if stream.path == "/ping":
            stream.respond(204, end=True)
        elif stream.path == "/up":
            stream.respond(200)
            stream.data(b"got " + stream.body)
            stream.end()
        else:
            stream.stream()

    beat = HeartbeatConfig(enabled=True, interval=0.03, timeout=5)
    with H2Server(certificates, answer) as server:
        context = certificates.client()
        async with sse.connect(
            server.url, http2=True, ssl_context=context, config=quick(heartbeat=beat)
        ) as connection:
            assert connection.response.http_version == "2"
            await sse.until(lambda: connection.metrics.heartbeats_succeeded >= 2, connection)
            answered = await connection.post("/up", content="hello")
            assert answered.content == b"got hello"
            server.streams[0].event("hello")
            assert (await connection.receive(5)).data == "hello"
        assert len(server.visits) == 1


async def test_a_large_post_finds_its_way_between_quiet_streams(
    sse: Any, certificates: Certificates
) -> None:
    """The window of the server is 64 KiB: what opens it is read by whoever reads for all."""
    content = bytes(400_000)

    def answer(stream: H2Stream) -> None:
        if stream.path == "/up":
            stream.respond(200)
            stream.data(str(len(stream.body)).encode())
            stream.end()
        else:
            stream.stream()

    with H2Server(certificates, answer) as server:
        context = certificates.client()
        async with (
            sse.transports(http2=True, ssl_context=context) as pool,
            AsyncExitStack() as stack,
        ):
            connections = await opened(stack, sse, server, pool, 3)
            answered = await connections[1].post("/up", content=content)
            assert answered.content == b"400000"
            assert len(server.visits) == 1


async def test_a_stream_beyond_the_limit_of_the_server_waits_no_longer_than_to_connect(
    async_sse: Any, certificates: Certificates
) -> None:
    sse, context = async_sse, certificates.client()
    errors: list[BaseException] = []
    with H2Server(certificates, streams_at_once=1) as server:
        async with (
            sse.transports(http2=True, ssl_context=context) as pool,
            sse.connect(server.url, pool=pool) as first,
        ):
            waiting = sse.connect(
                server.url,
                pool=pool,
                config=quick(timeouts=Timeouts(connect=0.1)),
                wait=False,
                on_error=lambda _, error: errors.append(error),
            )
            async with waiting:
                await sse.until(lambda: errors, waiting)
                assert isinstance(errors[0], ConnectTimeout)
                assert errors[0].request_sent is False
                server.streams[0].event("still here")
                assert (await first.receive(5)).data == "still here"
        assert len(server.streams) == 1


async def test_a_silent_stream_is_given_up_and_asked_for_again(
    async_sse: Any, h2_server: H2Server, certificates: Certificates
) -> None:
    sse, context = async_sse, certificates.client()
    config = quick(timeouts=Timeouts(idle=0.1))
    async with sse.transports(http2=True, ssl_context=context) as pool:
        async with sse.connect(h2_server.url, pool=pool, config=config) as connection:
            await sse.until(lambda: len(h2_server.streams) >= 2, connection)
            await sse.until(h2_server.streams[0].told.is_set)
            assert isinstance(await anext(connection.errors()), IdleTimeout)
        assert len(h2_server.visits) == 1


async def test_where_the_server_does_not_speak_it_it_is_not_spoken(
    sse: Any, certificates: Certificates
) -> None:
    with Server(stay("hello"), tls=certificates.good) as server:
        async with sse.connect(
            server.url, http2=True, ssl_context=certificates.client()
        ) as connection:
            assert (await connection.receive(5)).data == "hello"
            assert connection.response.http_version == "1.1"


# --- Whose turn it is to read, without a network -------------------------------------------------


class Frames:
    """A connection, as far as it is mended; a test says what arrives."""

    def __init__(self, *streams: int) -> None:
        self._events: dict[int, list[str]] = {number: [] for number in streams}
        self._arriving: asyncio.Queue[tuple[int, str] | Exception] = asyncio.Queue()
        self._connection_error = False
        self._read_exception: BaseException | None = None
        self._network_stream = self._h2_state = None
        self.connections = [self]  # and the pool of it
        self.reads = 0
        self.written: list[str] = []

    def arrive(self, stream: int, event: str) -> None:
        self._arriving.put_nowait((stream, event))

    async def _receive_stream_event(self, request: Any, stream_id: int) -> str:
        while not self._events[stream_id]:
            await self._receive_events(request, stream_id)
        return self._events[stream_id].pop(0)

    async def _receive_events(self, request: Any, stream_id: int | None = None) -> None:
        self.reads += 1
        assert self.reads == 1, "one reads for all"
        try:
            arrived = await self._arriving.get()
        finally:
            self.reads -= 1
        if isinstance(arrived, Exception):
            raise arrived
        self._events[arrived[0]].append(arrived[1])

    async def _response_closed(self, stream_id: int) -> None:
        pass

    async def _write_outgoing_data(self, request: Any) -> None:
        self.written.append("half")
        await asyncio.sleep(0.01)
        self.written.append("whole")

    async def _wait_for_outgoing_flow(self, request: Any, stream_id: int) -> int:
        return 0


async def turns(frames: Frames) -> list[asyncio.Task[str]]:
    """Let all streams wait, in their order."""
    mend(frames, asynchronous=True)
    tasks = [
        asyncio.create_task(frames._receive_stream_event(None, number)) for number in frames._events
    ]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


def test_whoever_has_something_takes_it_whoever_reads() -> None:
    async def play() -> None:
        frames = Frames(1, 3, 5, 7)
        tasks = await turns(frames)
        for number, task in ((7, tasks[3]), (3, tasks[1]), (1, tasks[0]), (5, tasks[2])):
            frames.arrive(number, f"for {number}")
            assert await asyncio.wait_for(task, 5) == f"for {number}"

    asyncio.run(play())


def test_a_turn_is_passed_on_by_whoever_is_cancelled() -> None:
    async def play() -> None:
        frames = Frames(1, 3, 5, 7)
        tasks = await turns(frames)
        tasks[0].cancel()  # it reads
        await asyncio.sleep(0)
        tasks[1].cancel()  # it was to read next, and does not know it yet
        frames.arrive(7, "last")
        assert await asyncio.wait_for(tasks[3], 5) == "last"
        frames.arrive(5, "behind it")
        assert await asyncio.wait_for(tasks[2], 5) == "behind it"
        assert [task.cancelled() for task in tasks] == [True, True, False, False]

    asyncio.run(play())


def test_what_is_begun_is_written_whoever_is_cancelled() -> None:
    async def play() -> None:
        frames = Frames(1)
        mend(frames, asynchronous=True)
        writer = asyncio.create_task(frames._write_outgoing_data(None))
        await asyncio.sleep(0.001)
        with anyio.CancelScope() as scope:  # as a driver cancels
            async with anyio.create_task_group() as group:
                group.start_soon(frames._write_outgoing_data, None)
                await asyncio.sleep(0.001)
                scope.cancel()
        await writer
        assert sorted(frames.written) == ["half", "half", "whole", "whole"]
        with anyio.CancelScope() as scope:
            scope.cancel()
            await frames._write_outgoing_data(None)
        assert len(frames.written) == 4, "what is not begun is left"

    asyncio.run(play())


def test_what_is_not_as_expected_is_left_as_it_is() -> None:
    other = SimpleNamespace(_events={}, _connection=SimpleNamespace(_h2_state=None))
    for asynchronous in (True, False):
        mend(SimpleNamespace(connections=[other]), asynchronous=asynchronous)
        mend(object(), asynchronous=asynchronous)
    assert vars(other).keys() == {"_events", "_connection"}
    assert vars(other._connection).keys() == {"_h2_state"}


# --- Threads -----------------------------------------------------------------------------------


def exchanges() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == "sansio-sse-exchange"]


async def test_in_threads_a_closed_stream_ends_with_the_next_frame_of_any_other(
    sync_sse: Any, h2_server: H2Server, certificates: Certificates
) -> None:
    sse, context = sync_sse, certificates.client()
    async with sse.transports(http2=True, ssl_context=context) as pool, AsyncExitStack() as stack:
        connections = await opened(stack, sse, h2_server, pool, 4)
        streams = numbered(h2_server)
        for number in (0, 2):  # among them whoever reads for all
            connections[number].close()
            await connections[number].wait_closed()
        assert len(exchanges()) == 4
        streams[3].event("still here")
        assert (await connections[3].receive(5)).data == "still here"
        await sse.until(lambda: len(exchanges()) == 2)
        await sse.until(lambda: streams[0].told.is_set() and streams[2].told.is_set())
        streams[1].event("and here")
        assert (await connections[1].receive(5)).data == "and here"
        assert len(h2_server.visits) == 1


async def test_in_threads_nothing_is_left_of_a_connection_of_its_own(
    sync_sse: Any, h2_server: H2Server, certificates: Certificates
) -> None:
    context = certificates.client()
    async with sync_sse.connect(h2_server.url, http2=True, ssl_context=context) as connection:
        assert connection.response.http_version == "2"
    await sync_sse.until(lambda: not exchanges())
    await sync_sse.until(lambda: h2_server.open_visits == 0)


def test_in_threads_nothing_holds_up_the_exit(
    sync_sse: Way, h2_server: H2Server, certificates: Certificates
) -> None:
    program = f"""
        import ssl, sys
        import {sync_sse.package.__name__} as package
        from sansio_sse_httpcore.sync import connect

        context = ssl.create_default_context(cafile={str(certificates.ca_file)!r})
        pool = package.ConnectionPool(http2=True, ssl_context=context)
        connections = [connect({h2_server.url!r}, pool=pool).open() for _ in range(3)]
        connections[0].close()
        print(connections[1].response.http_version)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={"PYTHONPATH": ":".join(path for path in sys.path if path)},
        capture_output=True,
        timeout=20,
        check=True,
    )
    assert done.stdout.strip() == b"2"
