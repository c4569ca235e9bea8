"""Finite streams by ``pool.stream()``: one request each, and transports that serve again."""

import random
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sansio_sse import (
    ConnectionClosed,
    ConnectionState,
    ContentTypeError,
    HTTPStatusError,
    PoolTimeout,
    Request,
    SSEError,
)

from .common import drop, pooled, quick, read_all, stay, turn_away
from .face import Face
from .fixtures import Certificates
from .server import Peer, Seen, Server

DONE = "[DONE]"
MANY = 1000
HOLDERS = 10

pytestmark = pytest.mark.needs("own transports", "groups")


def answer(*events: str, **options: Any) -> Any:
    """Answer with a finite stream, and keep the transport open."""

    def script(peer: Peer, seen: Seen) -> None:
        peer.reply(*events, **options)

    return script


def echo(peer: Peer, seen: Seen) -> None:
    """Answer with what was asked."""
    peer.reply(seen.body.decode(), DONE)


async def read_till_done(stream: Any) -> list[str]:
    """Return the data of all events before the last, and leave there."""
    data: list[str] = []
    async for event in stream:
        if event.data == DONE:
            break
        data.append(event.data)
    else:
        pytest.fail("there was no last event")
    return data


# --- One stream --------------------------------------------------------------------------------


async def test_a_stream_has_its_own_request(sse: Face) -> None:
    with Server(echo) as server:
        config = pooled(server.url, connection=quick(headers={"X-Config": "1", "X-Pool": "1"}))
        async with sse.pool(config, headers={"X-Pool": "2", "X-Call": "2"}) as pool:
            async with pool.stream(
                "/v1/chat", method="POST", json={"ask": 1}, headers={"X-Call": "3"}, until=DONE
            ) as stream:
                assert await read_till_done(stream) == ['{"ask":1}']
            async with pool.stream(
                method="PUT",
                content="hi",
                last_event_id="7",
                until=DONE,
                config=quick(headers={"X-Config": "4"}),
            ) as stream:
                assert await read_till_done(stream) == ["hi"]
    first, second = server.requests
    assert (first.method, first.path, first.header("content-type")) == (
        "POST",
        "/v1/chat",
        "application/json",
    )
    assert [first.header(f"X-{name}") for name in ("Config", "Pool", "Call")] == ["1", "2", "3"]
    assert (second.method, second.path, second.cursor) == ("PUT", "/events", "7")
    assert [second.header(f"X-{name}") for name in ("Config", "Pool", "Call")] == ["4", "2", "2"]


async def test_a_stream_has_its_own_hooks(sse: Face) -> None:
    def prepare(request: Request, attempt: int) -> Request:
        return request.with_header("Authorization", f"Bearer {attempt}")

    def decide(response: Any, attempt: Any) -> Any:
        seen.append((response.status, attempt.number))

    seen: list[Any] = []
    with Server(answer("hello", DONE)) as server:
        async with (
            sse.pool(pooled(server.url)) as pool,
            pool.stream(prepare_request=prepare, decide=decide, include={"connected"}) as stream,
        ):
            first = await stream.receive(5)
            assert type(first).__name__ == "Connected"
            assert (await stream.receive(5)).data == "hello"
    assert server.requests[0].header("authorization") == "Bearer 0"
    assert seen == [(200, 0)]


async def test_a_stream_that_is_read_to_its_end_leaves_its_transport_to_the_next(
    sse: Face, tls: dict[str, Any]
) -> None:
    with Server(answer("a", "b"), tls=tls["server"]) as server:
        async with sse.pool(pooled(server.url, max_size=1), ssl_context=tls["client"]) as pool:
            for _ in range(3):
                async with pool.stream(method="POST") as stream:
                    assert await read_all(stream) == ["a", "b"]
                    with pytest.raises(ConnectionClosed):
                        await stream.receive(1)
                    assert stream.state is ConnectionState.DISCONNECTED
            stats = pool.stats()
            assert (stats.reuses, stats.handshakes, stats.kept_transports) == (2, 1, 1)
            assert stats.closes == {"released": 3}
        assert len(server.visits) == 1
        await sse.until(lambda: server.open_visits == 0)


async def test_streams_over_a_unix_socket_reuse_it(sse: Face, tmp_path: Path) -> None:
    with Server(echo, family="unix", path=tmp_path / "s") as server:
        async with sse.pool(pooled(server.url, max_size=2), uds=server.uds) as pool:
            for number in range(5):
                async with pool.stream(method="POST", content=str(number), until=DONE) as stream:
                    assert await read_till_done(stream) == [str(number)]
        assert len(server.visits) == 1


async def test_the_rest_after_the_last_event_is_read_for_the_transports_sake(sse: Face) -> None:
    def script(peer: Peer, seen: Seen) -> None:
        peer.stream(chunked=True)
        peer.event("a")
        peer.event(DONE)
        peer.sleep(0.02)
        peer.body(b": goodbye\n\n" * 100)
        peer.sleep(0.02)
        peer.send(b"0\r\n\r\n")
        peer.again = True

    with Server(script) as server:
        async with sse.pool(pooled(server.url, max_size=1)) as pool:
            for _ in range(2):
                async with pool.stream(method="POST", until=DONE) as stream:
                    assert await read_till_done(stream) == ["a"]
        assert len(server.visits) == 1


@pytest.mark.parametrize("rest", ["endless", "silent"])
async def test_a_rest_that_is_too_much_closes_the_transport(sse: Face, rest: str) -> None:
    def script(peer: Peer, seen: Seen) -> None:
        peer.stream(chunked=True)
        peer.event(DONE)
        while rest == "endless":
            peer.body(b": more and more\n" * 1000)
        peer.stall()

    with Server([script, answer(DONE)]) as server:
        async with sse.pool(pooled(server.url, max_size=1)) as pool:
            began = time.monotonic()
            for _ in range(2):
                async with pool.stream(method="POST", until=DONE) as stream:
                    assert await read_till_done(stream) == []
            assert time.monotonic() - began < 5
        assert len(server.visits) == 2
        await sse.until(lambda: server.visits[0].left)


async def test_leaving_a_stream_early_closes_its_transport(sse: Face, tls: dict[str, Any]) -> None:
    with Server(stay("a", "b", chunked=True), tls=tls["server"]) as server:
        async with sse.pool(pooled(server.url, max_size=1), ssl_context=tls["client"]) as pool:
            for number in range(1, 4):
                async with pool.stream(method="POST", until=DONE) as stream:
                    assert (await stream.receive(5)).data == "a"
                await sse.until(lambda: all(visit.left for visit in server.visits), pool)
                assert len(server.visits) == number
            assert pool.stats().kept_transports == 0


async def test_an_error_status_is_raised_and_its_place_is_free(sse: Face) -> None:
    def html(peer: Peer, seen: Seen) -> None:
        peer.respond(200, ("Content-Type", "text/html"), body=b"hello")

    with Server([turn_away(401, body=b"who are you?"), html, answer("a")]) as server:
        async with sse.pool(pooled(server.url, max_size=1)) as pool:
            with pytest.raises(HTTPStatusError) as caught:
                async with pool.stream(method="POST"):
                    pytest.fail("entered")
            assert caught.value.status == 401
            with pytest.raises(ContentTypeError):
                await pool.stream(method="POST")
            assert pool.stats().total == 0
            async with pool.stream(method="POST") as stream:
                assert await read_all(stream) == ["a"]


async def test_a_204_is_an_empty_stream(sse: Face) -> None:
    with Server([turn_away(204), answer("a")]) as server:
        async with sse.pool(pooled(server.url, max_size=1)) as pool:
            async with pool.stream(method="POST") as stream:
                assert await read_all(stream) == []
            async with pool.stream(method="POST") as stream:
                assert await read_all(stream) == ["a"]


async def test_a_stream_waits_for_its_place(sse: Face) -> None:
    with Server(answer("a", DONE)) as server:
        async with sse.pool(pooled(server.url, max_size=1)) as pool:
            async with pool.stream(method="POST", until=DONE):
                with pytest.raises(PoolTimeout):
                    await pool.stream(method="POST", timeout=0.02)
            assert len(server.requests) == 1


async def test_a_stream_takes_the_place_of_an_idle_member(sse: Face) -> None:
    with Server(stay("hello")).at("/finite", answer("a")) as server:
        async with sse.pool(pooled(server.url, max_size=1)) as pool:
            async with pool.acquire():
                pass
            async with pool.stream("/finite", method="POST") as stream:
                assert await read_all(stream) == ["a"]
            assert pool.stats().closes == {"room": 1, "released": 1}


async def test_a_transport_that_the_server_has_closed_is_not_used_again(
    sse: Face, tls: dict[str, Any]
) -> None:
    def script(peer: Peer, seen: Seen) -> None:
        peer.reply("a")
        peer.again = False
        peer.sleep(0.02)
        peer.close()

    with Server(script, tls=tls["server"]) as server:
        async with sse.pool(pooled(server.url, max_size=1), ssl_context=tls["client"]) as pool:
            for _ in range(1, 4):
                async with pool.stream(method="POST") as stream:
                    assert await read_all(stream) == ["a"]
                await sse.until(lambda: server.open_visits == 0)
                await sse.sleep(0.005)
        assert len(server.visits) == len(server.requests) == 3


@pytest.mark.parametrize("asked", ["timeout=0", "close"])
async def test_a_transport_that_must_not_be_kept_is_not(sse: Face, asked: str) -> None:
    header = ("Connection", "close") if asked == "close" else ("Keep-Alive", asked)
    with Server(answer("a", headers=[header])) as server:
        async with sse.pool(pooled(server.url)) as pool:
            for _ in range(2):
                async with pool.stream(method="POST") as stream:
                    assert await read_all(stream) == ["a"]
        assert len(server.visits) == 2


async def test_a_transport_is_kept_no_longer_than_the_server_says(sse: Face) -> None:
    with Server(answer("a", headers=[("Keep-Alive", "timeout=1")])) as server:
        async with sse.pool(pooled(server.url)) as pool:
            async with pool.stream(method="POST") as stream:
                assert await read_all(stream) == ["a"]
            began = time.monotonic()
            await sse.until(lambda: server.open_visits == 0, pool)
            assert time.monotonic() - began < 3
            assert pool.stats().kept_transports == 0


# --- What may have happened --------------------------------------------------------------------


async def test_a_post_that_dies_before_its_response_is_reported_and_not_repeated(
    sse: Face,
) -> None:
    def die(peer: Peer, seen: Seen) -> None:
        peer.close()

    with Server([answer("a"), die, answer("b")]) as server:
        async with sse.pool(pooled(server.url, max_size=1)) as pool:
            async with pool.stream(method="POST") as stream:
                assert await read_all(stream) == ["a"]
            with pytest.raises(SSEError) as caught:
                await pool.stream(method="POST")
            assert caught.value.request_sent is True
            assert len(server.requests) == 2
            async with pool.stream(method="POST") as stream:
                assert await read_all(stream) == ["b"]


async def test_a_post_that_dies_at_one_endpoint_is_not_sent_to_another(sse: Face) -> None:
    def die(peer: Peer, seen: Seen) -> None:
        peer.close()

    with Server(die) as first, Server(die) as second:
        async with sse.pool(pooled(first.url, second.url, max_size=1)) as pool:
            with pytest.raises(SSEError) as caught:
                await pool.stream(method="POST", content="pay")
            assert caught.value.request_sent is True
    assert len(first.requests) + len(second.requests) == 1


async def test_a_post_that_was_never_sent_goes_to_the_next_endpoint(sse: Face) -> None:
    with Server(echo) as gone:
        url = gone.url
    with Server(echo) as server:
        config = pooled(url, server.url, max_size=1, connection=quick(max_attempts=0))
        async with sse.pool(config) as pool:
            for number in range(3):
                async with pool.stream(
                    method="POST", content=str(number), until=DONE, timeout=5
                ) as stream:
                    assert await read_till_done(stream) == [str(number)]


async def test_many_streams_over_tls_need_no_more_handshakes_than_holders(
    sse: Face, certificates: Certificates
) -> None:
    async def ask(first: int) -> None:
        for number in range(first, MANY, HOLDERS):
            async with pool.stream(method="POST", content=str(number), until=DONE) as stream:
                assert await read_till_done(stream) == [str(number)]

    with Server(echo, tls=certificates.good) as server:
        config = pooled(server.url, max_size=HOLDERS)
        async with sse.pool(config, ssl_context=certificates.client()) as pool:
            await sse.together(ask, range(HOLDERS))
            stats = pool.stats()
        bodies = Counter(seen.body for seen in server.requests)
        assert bodies == {str(number).encode(): 1 for number in range(MANY)}
        assert len(server.visits) <= HOLDERS
        assert stats.reuses == MANY - len(server.visits)
        assert stats.handshakes == len(server.visits)


async def test_no_post_is_lost_or_doubled_where_the_server_closes_what_is_kept(
    sse: Face, certificates: Certificates
) -> None:
    chance = random.Random(7)
    many = 300
    reported: list[str] = []
    closings: list[bytes] = []
    said: set[tuple[bool | None, bool | None]] = set()

    def script(peer: Peer, seen: Seen) -> None:
        peer.reply(seen.body.decode(), DONE)
        with lock:
            impatient = chance.random() < 0.2
            patience = chance.random() * 0.003
        if impatient:
            closings.append(seen.body)
            peer.again = False
            peer.sleep(patience)
            if patience < 0.001:
                peer.reset()
            else:
                peer.close()

    async def ask(first: int) -> None:
        for number in range(first, many, HOLDERS):
            try:
                async with pool.stream(method="POST", content=str(number), until=DONE) as stream:
                    assert await read_till_done(stream) == [str(number)]
            except SSEError as error:
                reported.append(str(number))
                said.add((error.request_sent, error.accepted))

    lock = threading.Lock()
    with Server(script, tls=certificates.good) as server:
        config = pooled(server.url, max_size=HOLDERS)
        async with sse.pool(config, ssl_context=certificates.client()) as pool:
            await sse.together(ask, range(HOLDERS))
            assert pool.stats().total == 0
        bodies = [seen.body.decode() for seen in server.requests]
        assert len(bodies) == len(set(bodies)), "a POST came twice"
        missing = {str(number) for number in range(many)} - set(bodies)
        assert missing <= set(reported), "a POST was lost, and nobody was told"
        assert len(reported) <= len(closings) < many / 3
        assert said <= {(True, False)}
        assert pool.stats().reuses > 0


async def test_streams_side_by_side_keep_apart(sse: Face) -> None:
    """Each reader gets his own stream, whatever transports they share."""

    def script(peer: Peer, seen: Seen) -> None:
        name = seen.body.decode()
        peer.reply(*(f"{name}.{number}" for number in range(20)), DONE)

    async def ask(first: int) -> None:
        for number in range(first, 60, 6):
            name = str(number)
            async with pool.stream(method="POST", content=name, until=DONE) as stream:
                expected = [f"{name}.{number}" for number in range(20)]
                if number % 5 == 4:
                    assert (await stream.receive(5)).data == f"{name}.0"  # and leaves
                else:
                    assert await read_till_done(stream) == expected

    with Server(script) as server:
        async with sse.pool(pooled(server.url, max_size=3)) as pool:
            await sse.together(ask, range(6))
            assert pool.stats().peak_connecting <= 3


async def test_a_stream_cut_off_in_the_middle_is_an_error(sse: Face) -> None:
    def cut(peer: Peer, seen: Seen) -> None:
        peer.stream(chunked=True)
        peer.event("a")
        peer.close()

    with Server([cut, drop("b")]) as server:
        async with sse.pool(pooled(server.url, max_size=1)) as pool:
            async with pool.stream(method="POST") as stream:
                assert (await stream.receive(5)).data == "a"
                with pytest.raises(SSEError) as caught:
                    await stream.receive(5)
                assert caught.value.accepted is True
            assert len(server.requests) == 1
            async with pool.stream(method="POST") as stream:
                assert await read_all(stream) == ["b"]
