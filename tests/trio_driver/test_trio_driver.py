"""What is trio's own."""

import asyncio
import signal
from typing import Any

import pytest
import trio

from contract.common import stay
from contract.face import Face
from contract.server import Server, open_sockets
from sansio_sse import ConnectionClosed, ConnectionState, LocalProtocolError
from sansio_sse_trio import Connection, connect

CLOSED = ConnectionState.CLOSED
PATIENCE = 10.0


def test_guest_mode(sse: Face) -> None:
    async def follow(url: str) -> list[str]:
        with trio.fail_after(PATIENCE):
            async with connect(url) as connection:
                seen = [(await connection.receive()).data for _ in range(2)]
                with pytest.raises(TimeoutError):
                    await connection.receive(timeout=0.01)
                await trio.to_thread.run_sync(connection.disconnect)
                seen += [event.data async for event in connection]
            seen.append(connection.state.value)
        return seen

    async def host(url: str) -> Any:
        loop = asyncio.get_running_loop()
        over: asyncio.Future[Any] = loop.create_future()
        trio.lowlevel.start_guest_run(
            follow,
            url,
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            done_callback=over.set_result,
        )
        return (await over).unwrap()

    with Server(stay("one", "two")) as server:
        assert asyncio.run(host(server.url)) == ["one", "two", "closed"]


async def test_a_context_that_is_left_cancelled_does_not_swallow_the_body_s_exception(
    sse: Face,
) -> None:
    async def follow(url: str) -> None:
        with trio.CancelScope() as scope:
            async with connect(url):
                scope.cancel()
                try:
                    await trio.sleep_forever()
                finally:
                    raise ZeroDivisionError

    with Server(stay("hello")) as server, pytest.raises(ZeroDivisionError):
        await follow(server.url)


async def test_cancelling_the_body_is_caught_by_its_own_scope(sse: Face) -> None:
    before = open_sockets()
    with Server(stay("hello")) as server:
        connection = connect(server.url)
        with trio.CancelScope() as scope:
            async with connection:
                scope.cancel()
                await connection.wait_for(CLOSED)
        assert scope.cancelled_caught
        await sse.released(connection, before)


async def test_entering_twice_leaves_the_stream_alone(sse: Face) -> None:
    with Server(stay("hello")) as server:
        async with connect(server.url) as connection:
            with pytest.raises(LocalProtocolError, match="entered"):
                await connection.__aenter__()
            assert (await connection.receive(PATIENCE)).data == "hello"


async def test_the_end_of_the_nursery_is_the_end_of_the_connection(sse: Face) -> None:
    before = open_sockets()

    async def read(connection: Connection) -> None:
        with pytest.raises(ConnectionClosed):
            await connection.receive(PATIENCE)

    with Server(stay()) as server:
        async with trio.open_nursery() as nursery:
            connection = await connect(server.url).open(nursery)
            async with sse.beside(read, connection):
                nursery.cancel_scope.cancel()
        await sse.released(connection, before)
        assert connection.state is CLOSED
        for command in (connection.close, connection.disconnect):
            command()
        with pytest.raises(LocalProtocolError):
            connection.restart()
        for call in (connection.connect, lambda: connection.post("/")):
            with pytest.raises(LocalProtocolError):
                await call()


def test_an_interrupt_leaves_the_context_bare(sse: Face) -> None:
    connections: list[Connection] = []

    async def follow(url: str) -> None:
        with trio.fail_after(PATIENCE):
            async with connect(url) as connection:
                connections.append(connection)
                await connection.receive()
                signal.raise_signal(signal.SIGINT)
                await connection.receive()

    before = open_sockets()
    with Server(stay("hello")) as server:
        with pytest.raises(KeyboardInterrupt):
            trio.run(follow, server.url)
        assert connections[0].state is CLOSED
        server.close()
    assert open_sockets() == before
