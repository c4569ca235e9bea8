"""What only drivers with tasks have: cancellation, and hooks that are awaited."""

import threading
from typing import Any

import pytest

from sansio_sse import (
    ConnectError,
    ConnectionConfig,
    ConnectionState,
    ConnectTimeout,
    ReconnectionPolicy,
    Request,
    SSEError,
    Timeouts,
)

from .common import drop, quick, stay, turn_away
from .face import Face
from .server import Peer, Seen, Server, open_sockets

ONCE = ReconnectionPolicy(enabled=False)


async def test_receive_cancelled_in_the_turn_in_which_an_event_arrives_loses_nothing(
    async_sse: Face,
) -> None:
    """Sixty races; in some the event is first, in some the cancellation."""
    sse = async_sse
    go = threading.Semaphore(0)

    def script(peer: Peer, seen: Seen) -> None:
        peer.stream()
        for number in range(60):
            while not go.acquire(timeout=0.05):
                peer.server.check()
            peer.event(str(number))
        peer.stall()

    with Server(script) as server:
        async with sse.connect(server.url) as connection:
            outcomes = set()
            for number in range(60):
                received: list[str] = []

                async def read(into: list[str] = received) -> None:
                    into.append((await connection.receive()).data)

                async with sse.beside(read) as job:
                    before = connection.metrics.events_received
                    go.release()
                    if number % 3 == 0:
                        job.cancel()  # surely before
                    else:
                        # In the very turn in which it came, before the reader has run.
                        while connection.metrics.events_received == before:
                            await sse.one_turn()
                        if number % 3 == 1:
                            job.cancel()
                outcomes.add((number % 3, bool(received)))
                if not received:
                    received.append((await connection.receive(5)).data)
                assert received == [str(number)]
    assert (0, False) in outcomes
    assert (2, True) in outcomes


async def test_entering_cancelled_leaves_nothing(async_sse: Face) -> None:
    sse = async_sse
    before = open_sockets()

    def silent(peer: Peer, seen: Seen) -> None:
        peer.stall()

    with Server(silent) as server:
        connection = sse.connect(server.url)
        async with sse.beside(connection.open) as job:
            await sse.until(lambda: server.requests)
            job.cancel()
        assert connection.state is ConnectionState.CLOSED
        await sse.released(connection, before)


async def test_entering_cancelled_at_any_step_leaves_nothing(
    async_sse: Face, tls: dict[str, Any]
) -> None:
    sse = async_sse
    before = open_sockets()
    with Server(stay("hello"), tls=tls["server"]) as server:
        for step in [*range(16)] * 2:
            connection = sse.connect(server.url, ssl_context=tls["client"])
            async with sse.beside(connection.open) as job:
                for _ in range(step):
                    await sse.one_turn()
                job.cancel()
            await connection.aclose()
            await sse.released(connection, before)


async def test_wait_for_and_post_cancelled_leave_nothing(async_sse: Face) -> None:
    sse = async_sse

    def silent(peer: Peer, seen: Seen) -> None:
        peer.stall()

    with Server(stay("hello")).at("/say", silent) as server:
        async with sse.connect(server.url) as connection:
            async with sse.beside(connection.post, "/say") as job:
                await sse.until(lambda: server.to("/say"))
                job.cancel()
            await sse.until(lambda: server.to("/say")[0].visit.left)
            async with sse.beside(connection.wait_for, ConnectionState.ERROR) as job:
                await sse.one_turn()
                job.cancel()
            assert not connection._watchers
            assert (await connection.receive(5)).data == "hello"


# --- prepare_request, awaited ------------------------------------------------------------------


async def test_prepare_request_may_be_async(async_sse: Face) -> None:
    sse = async_sse
    attempts: list[int] = []

    async def prepare(request: Request, attempt: int) -> Request:
        attempts.append(attempt)
        await sse.sleep(0.01)
        return request.with_header("Authorization", f"Bearer {attempt}")

    with Server([drop(), turn_away(503), stay("hello")]) as server:
        options = {"prepare_request": prepare, "config": quick()}
        async with sse.connect(server.url, **options) as connection:
            assert (await connection.receive(5)).data == "hello"
    assert attempts == [0, 1, 2]
    tokens = [seen.header("Authorization") for seen in server.requests]
    assert tokens == ["Bearer 0", "Bearer 1", "Bearer 2"]


async def test_an_async_prepare_request_that_raises_is_a_failed_attempt(async_sse: Face) -> None:
    sse = async_sse
    errors: list[SSEError] = []
    failures = iter([ZeroDivisionError("no token"), OSError("no route"), None])

    async def prepare(request: Request, attempt: int) -> Request:
        await sse.sleep(0)
        failure = next(failures)
        if failure is not None:
            raise failure
        return request

    with Server(stay("hello")) as server:
        async with sse.connect(
            server.url,
            prepare_request=prepare,
            config=quick(),
            on_error=lambda _, error: errors.append(error),
        ) as connection:
            assert (await connection.receive(5)).data == "hello"
    assert [type(error) for error in errors] == [ConnectError] * 2
    assert [type(error.cause) for error in errors] == [ZeroDivisionError, OSError]
    assert len(server.visits) == 1


async def test_an_async_prepare_request_is_bounded_by_the_connect_timeout(async_sse: Face) -> None:
    sse = async_sse
    ended: list[bool] = []

    async def prepare(request: Request, attempt: int) -> Request:
        try:
            await sse.sleep(20)
        finally:
            ended.append(True)
        return request

    with Server(stay("hello")) as server:
        config = ConnectionConfig(reconnection=ONCE, timeouts=Timeouts(connect=0.1))
        with pytest.raises(ConnectTimeout, match="prepare_request"):
            async with sse.connect(server.url, prepare_request=prepare, config=config):
                pytest.fail("entered")
    assert ended == [True]
    assert server.visits == []


@pytest.mark.parametrize("command", ["close", "disconnect", "restart"])
async def test_commands_while_an_async_prepare_request_is_running(
    async_sse: Face, command: str
) -> None:
    sse = async_sse
    began: list[int] = []
    ended: list[int] = []

    async def prepare(request: Request, attempt: int) -> Request:
        began.append(attempt)
        try:
            if len(began) == 1:
                await sse.sleep(20)
        finally:
            ended.append(attempt)
        return request

    before = open_sockets()
    with Server(stay("hello")) as server:
        connection = sse.connect(server.url, prepare_request=prepare, wait=False)
        async with connection:
            await sse.until(lambda: began)
            getattr(connection, command)()
            await sse.one_turn()
            if command == "restart":
                assert connection.state is ConnectionState.CONNECTING
                assert (await connection.receive(5)).data == "hello"
                assert len(began) == 2
            else:
                over = {"close": "closed", "disconnect": "disconnected"}
                assert connection.state == over[command]
                await sse.until(lambda: ended)
        await sse.released(connection, before)
    assert len(ended) == len(began)


async def test_an_async_prepare_request_must_return_a_request(async_sse: Face) -> None:
    async def prepare(request: Request, attempt: int) -> Any:
        return "http://elsewhere.example/"

    with (
        Server(stay("hello")) as server,
        pytest.raises(SSEError, match="must return a Request, not str"),
    ):
        async with async_sse.connect(server.url, prepare_request=prepare, config=quick()):
            pytest.fail("entered")
    assert server.visits == []
