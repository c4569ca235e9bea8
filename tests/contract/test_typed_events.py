"""Typed events over a connection and over a lease: who hears of what could not be decoded."""

import json
from typing import Any

import pytest

from sansio_sse import ConnectionClosed, ConnectionState, EventDecodeError
from sansio_sse.typed import typed

from .common import pooled, stay
from .face import Face
from .server import Server

SERVED = stay('{"n": 1}', "s3cr3t", '{"n": 2}')


def number(data: str) -> int:
    found: int = json.loads(data)["n"]
    return found


async def test_a_connection_hears_of_it_and_the_stream_goes_on(sse: Face) -> None:
    reported: list[Any] = []
    with Server(SERVED) as server:
        async with sse.connect(
            f"{server.url}?token=s3cr3t", on_error=lambda _, error: reported.append(error)
        ) as connection:
            watcher = connection.errors()
            numbers = typed(connection, number)
            assert [await anext(numbers), await anext(numbers)] == [1, 2]
            assert numbers.failures == 1
            assert connection.state is ConnectionState.CONNECTED
            assert connection.last_event_id == "3"
            error = await anext(watcher)
            assert reported == [error]
            assert isinstance(error, EventDecodeError)
            assert error.event.data == "s3cr3t"
            assert error.accepted
            assert connection.metrics.errors == {"protocol": 1}
            assert "s3cr3t" not in f"{error} {error!r} {error.url}"
    assert len(server.requests) == 1


async def test_who_gives_a_report_hears_of_it_alone(sse: Face) -> None:
    reported: list[EventDecodeError] = []
    with Server(SERVED) as server:
        async with sse.connect(server.url) as connection:
            numbers = typed(connection, number, on_error=reported.append)
            assert [await anext(numbers), await anext(numbers)] == [1, 2]
            assert len(reported) == 1
            assert connection.metrics.errors == {}


async def test_it_ends_as_the_stream_does(sse: Face) -> None:
    with Server(SERVED) as server:
        async with sse.connect(server.url, until=lambda event: event.id == "3") as connection:
            assert [n async for n in typed(connection, number)] == [1, 2]
            with pytest.raises(ConnectionClosed):
                await connection.receive()


@pytest.mark.needs("groups")
async def test_a_lease_hears_of_it(sse: Face) -> None:
    with Server(SERVED) as server:
        async with sse.pool(pooled(server.url)) as pool, pool.acquire() as lease:
            watcher = lease.errors()
            numbers = typed(lease, number)
            assert [await anext(numbers), await anext(numbers)] == [1, 2]
            assert isinstance(await anext(watcher), EventDecodeError)
            assert lease.metrics.errors == {"protocol": 1}


def test_plain_calls_have_a_plain_iterator(sync_sse: Face) -> None:
    with Server(SERVED) as server, sync_sse.connect(server.url).plain as connection:
        watcher = connection.errors()
        numbers = typed(connection, number)
        assert [next(numbers), next(numbers)] == [1, 2]
        assert isinstance(next(watcher), EventDecodeError)
