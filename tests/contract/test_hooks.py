"""``decide`` and a plain ``prepare_request``: what a caller may overrule."""

from typing import Any

import pytest

from sansio_sse import (
    Accept,
    Attempt,
    ConnectError,
    ConnectionState,
    Fail,
    HTTPStatusError,
    LocalProtocolError,
    Request,
    Response,
    Retry,
    SSEError,
    Stop,
    Verdict,
)

from .common import drop, quick, read_all, stay, turn_away
from .face import Face
from .server import Peer, Seen, Server


async def test_decide_that_says_nothing_leaves_it_to_the_table(sse: Face) -> None:
    seen: list[tuple[int, Attempt]] = []

    def decide(response: Response, attempt: Attempt) -> Verdict | None:
        seen.append((response.status, attempt))
        return None

    with Server([turn_away(503), drop("one"), turn_away(204)]) as server:
        async with sse.connect(server.url, decide=decide, config=quick()) as connection:
            assert await read_all(connection) == ["one"]
    assert [status for status, _ in seen] == [503, 200, 204]
    first, second, third = (attempt for _, attempt in seen)
    assert (first.number, first.previous_status, first.previous_error) == (0, None, None)
    assert (second.number, second.previous_status) == (1, 503)
    assert isinstance(second.previous_error, HTTPStatusError)
    assert (third.number, third.previous_status) == (1, 200)
    assert first.endpoint == server.origin


async def test_a_401_can_be_tried_once_more_with_a_fresh_token(sse: Face) -> None:
    tokens = iter(["old", "new"])

    def prepare(request: Request, attempt: int) -> Request:
        return request.with_header("Authorization", next(tokens))

    def decide(response: Response, attempt: Attempt) -> Verdict | None:
        if response.status == 401 and attempt.previous_status != 401:
            return Retry(delay=0)
        return None

    def script(peer: Peer, seen: Seen) -> None:
        if seen.header("Authorization") == "new":
            stay("hello")(peer, seen)
        peer.respond(401)

    with Server(script) as server:
        options = {"decide": decide, "prepare_request": prepare, "config": quick()}
        async with sse.connect(server.url, **options) as connection:
            assert (await connection.receive(5)).data == "hello"
        tokens = iter(["old", "older"])
        with pytest.raises(HTTPStatusError, match="401"):
            async with sse.connect(server.url, **options):
                pytest.fail("entered")


async def test_a_410_can_begin_again_without_a_cursor(sse: Face) -> None:
    def decide(response: Response, attempt: Attempt) -> Verdict | None:
        return Retry(delay=0, reset_cursor=True) if response.status == 410 else None

    def script(peer: Peer, seen: Seen) -> None:
        if seen.cursor is not None:
            peer.respond(410)
        else:
            stay("hello")(peer, seen)

    with Server(script) as server:
        options = {"decide": decide, "last_event_id": "7", "config": quick()}
        async with sse.connect(server.url, **options) as connection:
            assert (await connection.receive(5)).data == "hello"
    assert [seen.cursor for seen in server.requests] == ["7", None]


async def test_decide_may_retry_what_may_not_be_replayed_by_itself(sse: Face) -> None:
    with Server([turn_away(500), drop("one")]) as server:
        options = {"method": "POST", "content": b"x", "config": quick()}
        async with sse.connect(
            server.url, decide=lambda r, _: Retry() if r.status == 500 else None, **options
        ) as connection:
            assert await read_all(connection) == ["one"]
    assert len(server.requests) == 2


async def test_decide_may_accept_another_content_type(sse: Face) -> None:
    with Server(stay("hello", content_type="text/plain", status=201)) as server:
        async with sse.connect(server.url, decide=lambda *_: Accept()) as connection:
            assert (await connection.receive(5)).data == "hello"


async def test_decide_may_stop(sse: Face) -> None:
    with Server([drop("one"), stay("two")]) as server:

        def decide(response: Response, attempt: Attempt) -> Verdict | None:
            return Stop() if attempt.number else None

        async with sse.connect(server.url, decide=decide, config=quick()) as connection:
            assert await read_all(connection) == ["one"]
            assert connection.state is ConnectionState.CLOSED


async def test_decide_may_fail(sse: Face) -> None:
    with Server(turn_away(503, body=b"go away")) as server:
        with pytest.raises(HTTPStatusError) as caught:
            async with sse.connect(server.url, decide=lambda *_: Fail(), config=quick()):
                pytest.fail("entered")
        assert (caught.value.status, caught.value.body) == (503, b"go away")
    assert len(server.requests) == 1


@pytest.mark.parametrize("verdict", ["raises", "nonsense"])
async def test_decide_that_fails_ends_in_error(sse: Face, verdict: str) -> None:
    def decide(response: Response, attempt: Attempt) -> Any:
        if verdict == "raises":
            raise ZeroDivisionError
        return 42

    with Server(stay("hello")) as server:
        with pytest.raises(LocalProtocolError, match="decide") as caught:
            async with sse.connect(server.url, decide=decide, config=quick()):
                pytest.fail("entered")
        assert (verdict == "raises") == isinstance(caught.value.cause, ZeroDivisionError)


async def test_prepare_request_runs_before_every_attempt(sse: Face) -> None:
    attempts: list[int] = []

    def prepare(request: Request, attempt: int) -> Request:
        attempts.append(attempt)
        return request.with_header("X-Attempt", str(attempt))

    with Server([turn_away(503), drop("one"), stay("two")]) as server:
        options = {"prepare_request": prepare, "config": quick()}
        async with sse.connect(server.url, **options) as connection:
            assert (await connection.receive(5)).data == "one"
            assert (await connection.receive(5)).data == "two"
    assert attempts == [0, 1, 1]
    assert [seen.header("X-Attempt") for seen in server.requests] == ["0", "1", "1"]


async def test_prepare_request_may_choose_another_url(sse: Face) -> None:
    with Server(stay("hello")) as other, Server() as server:

        def prepare(request: Request, attempt: int) -> Request:
            return request.replace(url=other.url)

        async with sse.connect(server.url, prepare_request=prepare) as connection:
            assert (await connection.receive(5)).data == "hello"
        assert server.visits == []


async def test_a_prepare_request_that_raises_is_a_failed_attempt(sse: Face) -> None:
    errors: list[SSEError] = []
    failures = iter([ZeroDivisionError("no token"), None])

    def prepare(request: Request, attempt: int) -> Request:
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
    assert [type(error) for error in errors] == [ConnectError]
    assert isinstance(errors[0].cause, ZeroDivisionError)


async def test_prepare_request_must_return_a_request(sse: Face) -> None:
    with (
        Server(stay("hello")) as server,
        pytest.raises(LocalProtocolError, match="must return a Request, not NoneType"),
    ):
        async with sse.connect(server.url, prepare_request=lambda *_: None, config=quick()):
            pytest.fail("entered")
    assert server.visits == []
