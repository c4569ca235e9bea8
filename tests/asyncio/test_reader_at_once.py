"""A reader of asyncio goes on where its bytes are; what that must not change for anybody."""

import asyncio
import random
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest

from contract.common import go_on, quick, stay, turn_away
from contract.face import Face
from contract.server import Peer, Script, Seen, Server
from sansio_sse import ConnectionConfig, ConnectionState, HTTPStatusError, LocalProtocolError
from sansio_sse_asyncio import Connection, connect
from sansio_sse_asyncio.transport import Link

CLOSED = ConnectionState.CLOSED
COUNT = 60
EVENTS = list(map(str, range(COUNT)))
FINITE = quick(on_end="finish")


def one_by_one(peer: Peer, seen: Seen) -> None:
    """Each event comes in a read of its own, and finds its reader waiting."""
    peer.stream()
    for data in EVENTS:
        peer.event(data)
        peer.sleep(0.002)
    peer.end()


async def read(connection: Connection, found: list[str]) -> None:
    async for event in connection:
        found.append(event.data)


async def until_it_waits(connection: Connection) -> None:
    async with asyncio.timeout(5):
        while connection._reader is None or connection._reader.done():  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0)


async def test_the_reader_has_an_event_before_its_read_is_over(
    sse: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once: list[int] = []
    found: list[str] = []
    updated = Link.buffer_updated

    def buffer_updated(link: Link, nbytes: int) -> None:
        before = len(found)
        updated(link, nbytes)
        at_once.append(len(found) - before)
        assert asyncio.current_task() is None

    monkeypatch.setattr(Link, "buffer_updated", buffer_updated)
    with Server(one_by_one) as server:
        async with connect(server.url, config=FINITE) as connection:
            await read(connection, found)
    assert found == EVENTS
    # Not the first: the head has come with it, or the reader was not there yet.
    assert sum(at_once) >= COUNT - 3


async def test_readers_that_are_cancelled_again_and_again_lose_nothing(sse: Face) -> None:
    chance = random.Random(1)
    found: list[str] = []
    with Server(one_by_one) as server:
        async with connect(server.url, config=FINITE) as connection:
            for _ in range(10_000):
                if connection.state is not ConnectionState.CONNECTED:
                    break
                reader = asyncio.create_task(read(connection, found))
                await asyncio.sleep(chance.random() * 0.004)
                reader.cancel()
                await asyncio.wait([reader])
            await read(connection, found)
    assert found == EVENTS


async def test_readers_that_time_out_lose_nothing(sse: Face) -> None:
    found: list[str] = []
    with Server(one_by_one) as server:
        async with connect(server.url, config=FINITE) as connection:
            for turn in range(10_000):
                try:
                    if turn % 2:
                        found.append((await asyncio.wait_for(anext(connection), 0.0015)).data)
                    else:
                        async with asyncio.timeout(0.0015):
                            found.append((await anext(connection)).data)
                except TimeoutError:
                    pass
                except StopAsyncIteration:
                    break
    assert found == EVENTS


async def test_who_is_cancelled_as_an_event_comes_leaves_it_to_the_next(sse: Face) -> None:
    with Server(go_on(then="hello")) as server:
        async with connect(server.url, config=quick()) as connection:
            first = asyncio.create_task(anext(connection))
            await until_it_waits(connection)
            first.cancel()
            # Before its turn: it waits no more, and cannot be given anything.
            assert connection._reader is not None
            assert connection._reader.done()
            second = asyncio.create_task(anext(connection))
            await asyncio.wait([first])
            assert first.cancelled()
            server.go.set()
            assert (await second).data == "hello"


@pytest.mark.parametrize("way", ["async for", "receive"])
async def test_a_second_reader_is_told_and_the_first_goes_on(sse: Face, way: str) -> None:
    with Server(go_on("first", then="second")) as server:
        async with connect(server.url, config=quick()) as connection:
            assert (await anext(connection)).data == "first"
            reader = asyncio.create_task(anext(connection))
            await until_it_waits(connection)
            with pytest.raises(LocalProtocolError, match="somebody else is reading"):
                await (anext(connection) if way == "async for" else connection.receive())
            server.go.set()
            assert (await reader).data == "second"


VARIABLE: ContextVar[str] = ContextVar("VARIABLE", default="nobody's")


async def test_a_reader_goes_on_in_its_own_context(sse: Face) -> None:
    seen: list[str] = []

    async def reader(connection: Connection) -> None:
        VARIABLE.set("the reader's")
        async for event in connection:
            seen.append(VARIABLE.get())
            VARIABLE.set(event.data)

    def changed(connection: Any, change: Any) -> None:
        assert VARIABLE.get() == "nobody's"

    with Server(one_by_one) as server:
        async with connect(server.url, config=FINITE, on_change=changed) as connection:
            await asyncio.create_task(reader(connection))
    assert seen == ["the reader's", *EVENTS[:-1]]


async def test_what_a_reader_does_with_its_connection_is_done(sse: Face) -> None:
    """It is not in the middle of an input, as a callback is."""
    with Server(one_by_one).at("/up", turn_away(202)) as server:
        async with connect(server.url, config=FINITE) as connection:
            found = []
            async for event in connection:
                found.append(event.data)
                if event.data == "5":
                    assert (await connection.post("/up")).status == 202
                if event.data == "20":
                    break
            assert found == EVENTS[:21]
            connection.restart()
            found.clear()
            async for event in connection:
                found.append(event.data)
                if event.data == "10":
                    connection.close()
            assert found[-1] == "10"
            assert connection.last_event_id == ""
        assert connection.state is CLOSED


async def test_what_a_reader_raises_is_its_own(sse: Face) -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))

    async def divide(connection: Connection) -> None:
        async with connection:
            async for event in connection:
                assert 1 / (int(event.data) - 7)

    with Server(one_by_one) as server:
        connection = connect(server.url, config=FINITE)
        with pytest.raises(ZeroDivisionError):
            await divide(connection)
        assert connection.state is CLOSED
    assert told == []


async def test_whatever_ends_a_stream_wakes_its_reader(sse: Face) -> None:
    def told_to_end(peer: Peer, seen: Seen) -> None:
        peer.stream()
        peer.event("hello")
        peer.wait()
        peer.end()

    def go(connection: Connection) -> None:
        server.go.set()

    ends: list[tuple[Callable[[Connection], object], list[Script], ConnectionConfig, Any]] = [
        (Connection.close, [stay("hello")], FINITE, StopAsyncIteration),
        (Connection.disconnect, [stay("hello")], FINITE, StopAsyncIteration),
        (go, [told_to_end], FINITE, StopAsyncIteration),
        (go, [told_to_end, turn_away(401)], quick(), HTTPStatusError),
    ]
    for end, scripts, config, kind in ends:
        with Server(scripts) as server:
            async with connect(server.url, config=config) as connection:
                assert (await anext(connection)).data == "hello"
                reader = asyncio.create_task(anext(connection))
                await until_it_waits(connection)
                end(connection)
                async with asyncio.timeout(5):
                    await asyncio.wait([reader])
                assert isinstance(reader.exception(), kind)


async def test_who_waits_beside_the_reader_is_told_in_its_turn(sse: Face) -> None:
    told: list[str] = []
    with Server(go_on(then="hello")) as server:
        async with connect(server.url, config=quick()) as connection:
            reader = asyncio.create_task(anext(connection))
            await until_it_waits(connection)
            assert connection._reader is not None
            connection._reader.add_done_callback(lambda _: told.append("too"))
            server.go.set()
            assert (await reader).data == "hello"
            assert told == ["too"]


async def test_a_reader_that_no_task_drives_is_told_in_its_turn(sse: Face) -> None:
    with Server(go_on(then="hello")) as server:
        async with connect(server.url, config=quick()) as connection:
            reading = anext(connection)
            waited_for = reading.send(None)  # what a task would do, and then forget to wait
            server.go.set()
            async with asyncio.timeout(5):
                while not waited_for.done():  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.001)
            with pytest.raises(StopIteration) as stopped:
                reading.send(None)
            assert stopped.value.value.data == "hello"


def test_in_debug_mode_too() -> None:
    async def main(url: str) -> list[str]:
        found: list[str] = []
        async with connect(url, config=FINITE) as connection:
            await read(connection, found)
        return found

    with Server(one_by_one) as server:
        assert asyncio.run(main(server.url), debug=True) == EVENTS
