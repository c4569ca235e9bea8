"""``post()``: the way up beside a one-way stream."""

from typing import Any

import pytest

from sansio_sse import (
    ConfigError,
    ConnectionLost,
    ConnectionState,
    LimitExceeded,
    Limits,
    LocalProtocolError,
    RemoteProtocolError,
    ResponseTimeout,
    SSEError,
    Timeouts,
)

from .common import quick, stay
from .face import Face
from .server import Peer, Seen, Server


def echo(peer: Peer, seen: Seen) -> None:
    status = int(seen.target.partition("status=")[2] or 200)
    peer.respond(status, ("X-Method", seen.method), body=seen.body)


async def test_a_post_carries_the_credentials_of_the_stream_and_returns_the_answer(
    sse: Face, tls: dict[str, Any]
) -> None:
    with Server(stay("hello"), tls=tls["server"]).at("/say", echo) as server:
        headers = {"Authorization": "Bearer secret", "X-Both": "stream"}
        options = {"headers": headers, "ssl_context": tls["client"]}
        async with sse.connect(server.url, **options) as connection:
            answer = await connection.post("/say", json={"é": 1}, headers={"X-Both": "post"})
            assert (answer.status, answer.json()) == (200, {"é": 1})
            assert dict(answer.headers)["X-Method"] == "POST"
            answer = await connection.post(
                f"{server.origin}/say?status=418", method="PUT", content="text"
            )
            assert (answer.status, answer.content) == (418, b"text")
            assert connection.metrics.events_sent == 1
            assert connection.metrics.bytes_sent == len('{"é":1}'.encode()) + len("text")
            assert (await connection.receive(5)).data == "hello"
    first, second = server.to("/say")
    assert first.header("Authorization") == second.header("Authorization") == "Bearer secret"
    assert first.header("X-Both") == "post"
    assert first.header("Content-Type") == "application/json"
    assert (second.method, second.header("X-Both")) == ("PUT", "stream")


async def test_a_post_goes_to_the_stream_s_own_origin(sse: Face) -> None:
    with Server(stay()) as server, Server(echo) as other:
        async with sse.connect(server.url) as connection:
            with pytest.raises(ConfigError, match="own origin"):
                await connection.post(other.url)
    assert other.visits == []


async def test_posts_beside_each_other(sse: Face) -> None:
    with Server(stay()).at("/say", echo) as server:
        async with sse.connect(server.url) as connection:
            bodies = [str(number).encode() for number in range(5)]
            if sse.asynchronous:
                async with sse.beside(connection.post, "/say") as job:
                    answers = [await connection.post("/say", content=body) for body in bodies]
                    assert (await job.result()).content == b""
            else:
                answers = [await connection.post("/say", content=body) for body in bodies]
            assert [answer.content for answer in answers] == bodies


def _cut(peer: Peer, seen: Seen) -> None:
    peer.reset()


def _truncated(peer: Peer, seen: Seen) -> None:
    peer.respond(200, body=b"half", length=8)
    peer.close()


def _silent(peer: Peer, seen: Seen) -> None:
    peer.stall()


def _huge(peer: Peer, seen: Seen) -> None:
    peer.respond(200, body=b"x" * 100_000)


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (_cut, ConnectionLost),
        (_truncated, RemoteProtocolError),
        (_silent, ResponseTimeout),
        (_huge, LimitExceeded),
    ],
)
async def test_a_post_that_fails_raises_and_the_stream_lives(
    sse: Face, script: Any, kind: type[SSEError]
) -> None:
    config = quick(timeouts=Timeouts(connect=0.2, response=0.2), limits=Limits(post_body=50_000))
    with Server(stay("hello")).at("/say", script) as server:
        async with sse.connect(server.url, config=config) as connection:
            with pytest.raises(kind):
                await connection.post("/say", content=b"x")
            assert connection.state is ConnectionState.CONNECTED
            assert (await connection.receive(5)).data == "hello"
    assert len(server.to("/say")) == 1


async def test_a_post_needs_a_connection_that_is_not_closed(sse: Face) -> None:
    with Server(stay()) as server:
        async with sse.connect(server.url) as connection:
            pass
        with pytest.raises(LocalProtocolError):
            await connection.post("/say")


async def test_a_post_is_possible_while_the_stream_is_disconnected(sse: Face) -> None:
    with Server(stay()).at("/say", echo) as server:
        async with sse.connect(server.url) as connection:
            connection.disconnect()
            await sse.one_turn()
            assert (await connection.post("/say", content=b"hi")).content == b"hi"
            assert connection.state is ConnectionState.DISCONNECTED
