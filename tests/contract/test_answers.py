"""Every row of the table "what comes back, and what follows", over real sockets."""

from collections.abc import Callable
from typing import Any

import pytest

from sansio_sse import (
    BufferOverflow,
    ConnectError,
    ConnectionConfig,
    ConnectionLost,
    ConnectionState,
    ContentEncodingError,
    ContentTypeError,
    EventTooLarge,
    HTTPStatusError,
    InsecureRedirect,
    Limits,
    ReconnectExhausted,
    ReconnectionPolicy,
    RemoteProtocolError,
    ResponseTimeout,
    SSEError,
    StreamTruncated,
    Timeouts,
    TooManyRedirects,
)

from .common import drop, quick, read_all, stay, turn_away
from .face import Face
from .server import Peer, Script, Seen, Server

CLOSED = ConnectionState.CLOSED
CONNECTED = ConnectionState.CONNECTED
DISCONNECTED = ConnectionState.DISCONNECTED
ERROR = ConnectionState.ERROR
RECONNECTING = ConnectionState.RECONNECTING


class Watch:
    """Collects state changes and errors by callbacks."""

    def __init__(self) -> None:
        self.states: list[ConnectionState] = []
        self.errors: list[BaseException] = []

    def options(self) -> dict[str, Any]:
        return {
            "on_change": lambda _, change: self.states.append(change.new),
            "on_error": lambda _, error: self.errors.append(error),
        }


@pytest.mark.parametrize(
    "content_type",
    ["text/event-stream", "Text/Event-Stream; charset=UTF-8", "text/event-stream ;x=y"],
)
async def test_an_event_stream_is_accepted(sse: Face, content_type: str) -> None:
    with Server(stay("hello", content_type=content_type)) as server:
        async with sse.connect(server.url) as connection:
            assert connection.state is CONNECTED
            assert connection.response.status == 200
            event = await connection.receive(5)
            assert (event.event, event.data, event.id, event.has_id) == (
                "message",
                "hello",
                "1",
                True,
            )
        assert connection.state is CLOSED
    [seen] = server.requests
    assert (seen.method, seen.target) == ("GET", "/events")
    assert seen.header("Accept") == "text/event-stream"
    assert seen.header("Accept-Encoding") == "identity"
    assert seen.header("Cache-Control") == "no-store"
    assert seen.header("Last-Event-ID") is None


@pytest.mark.parametrize("status", [200, 201, 400, 401, 403, 404, 410, 505])
async def test_what_is_no_stream_and_not_worth_a_retry_is_an_error(sse: Face, status: int) -> None:
    refusal = turn_away(status, ("Content-Type", "text/html"), body=b"<p>" + b"x" * 10_000)
    with Server(refusal) as server:
        with pytest.raises(SSEError) as caught:
            async with sse.connect(server.url, config=quick()):
                pytest.fail("entered")
        error = caught.value
        assert type(error) is (ContentTypeError if status == 200 else HTTPStatusError)
        assert isinstance(error, ContentTypeError | HTTPStatusError)
        assert error.body == b"<p>" + b"x" * (4096 - 3)
        assert error.response is not None
        assert error.response.status == status
        assert not error.retryable
        assert error.request_sent
        assert error.accepted is False
    assert len(server.requests) == 1


async def test_a_204_closes_without_an_error(sse: Face) -> None:
    with Server(turn_away(204)) as server:
        async with sse.connect(server.url) as connection:
            assert connection.state is CLOSED
            assert await read_all(connection) == []
    assert len(server.requests) == 1


async def test_a_204_at_a_reconnect_ends_the_iteration(sse: Face) -> None:
    with Server([drop("one"), turn_away(204)]) as server:
        async with sse.connect(server.url, config=quick()) as connection:
            assert await read_all(connection) == ["one"]
            assert connection.state is CLOSED


@pytest.mark.parametrize(
    ("status", "method"),
    [(301, "GET"), (302, "GET"), (303, "GET"), (307, "POST"), (308, "POST")],
)
async def test_a_redirect_is_followed_inside_the_attempt(
    sse: Face, status: int, method: str
) -> None:
    watch = Watch()
    with Server(turn_away(status, ("Location", "/there?x=1"))) as server:
        server.at("/there", stay("hello"))
        options = {"method": "POST", "content": b"question", **watch.options()}
        async with sse.connect(server.url, **options) as connection:
            assert (await connection.receive(5)).data == "hello"
        _first, second = server.requests
        assert second.method == method
        assert second.body == (b"question" if method == "POST" else b"")
        assert second.target == "/there?x=1"
    assert watch.states == [ConnectionState.CONNECTING, CONNECTED, CLOSED]
    assert watch.errors == []


@pytest.mark.parametrize(
    ("status", "remembered"), [(301, True), (308, True), (302, False), (307, False)]
)
async def test_only_permanent_redirects_are_remembered(
    sse: Face, status: int, remembered: bool
) -> None:
    with Server(turn_away(status, ("Location", "/there"))) as server:
        server.at("/there", drop("one"), stay("two"))
        async with sse.connect(server.url, config=quick()) as connection:
            assert (await connection.receive(5)).data == "one"
            assert (await connection.receive(5)).data == "two"
    again = ["/there"] if remembered else ["/events", "/there"]
    assert [seen.path for seen in server.requests] == ["/events", "/there", *again]


REFUSED_REDIRECTS: list[tuple[str, type[SSEError]]] = [
    ("file:///etc/passwd", InsecureRedirect),
    ("ftp://127.0.0.1/", InsecureRedirect),
    ("http://[::1/", HTTPStatusError),
    ("http://two words/", HTTPStatusError),
    ("/loop", TooManyRedirects),
]


@pytest.mark.parametrize(("location", "kind"), REFUSED_REDIRECTS)
async def test_a_redirect_that_cannot_be_followed_is_an_error(
    sse: Face, location: str, kind: type[SSEError]
) -> None:
    config = quick(limits=Limits(redirects=3))
    with Server(turn_away(302, ("Location", location))) as server:
        with pytest.raises(kind) as caught:
            async with sse.connect(server.url, config=config):
                pytest.fail("entered")
        assert not caught.value.retryable
    assert len(server.requests) == (4 if kind is TooManyRedirects else 1)


async def test_a_redirect_without_a_location_is_an_error(sse: Face) -> None:
    with (
        Server(turn_away(302)) as server,
        pytest.raises(HTTPStatusError, match="without a Location"),
    ):
        async with sse.connect(server.url, config=quick()):
            pytest.fail("entered")


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_a_retryable_status_is_tried_again(sse: Face, status: int) -> None:
    watch = Watch()
    with Server([turn_away(status, body=b"busy"), stay("hello")]) as server:
        async with sse.connect(server.url, config=quick(), **watch.options()) as connection:
            assert (await connection.receive(5)).data == "hello"
    assert watch.states == [ConnectionState.CONNECTING, RECONNECTING, CONNECTED, CLOSED]
    [error] = watch.errors
    assert isinstance(error, HTTPStatusError)
    assert (error.status, error.body, error.retryable) == (status, b"busy", True)


async def test_the_statuses_worth_a_retry_can_be_chosen(sse: Face) -> None:
    with (
        Server([turn_away(418), turn_away(503)]) as server,
        pytest.raises(HTTPStatusError, match="503"),
    ):
        async with sse.connect(server.url, config=quick(retry_statuses={418})):
            pytest.fail("entered")


async def test_retry_after_is_a_floor_for_the_delay(sse: Face) -> None:
    later = (("Retry-After", "1"),)
    with Server([turn_away(503, *later), stay("hello")]) as server:
        async with sse.connect(server.url, config=quick()):
            pass
        first, second = server.requests
        assert second.at - first.at > 0.95


def _reset(peer: Peer, seen: Seen) -> None:
    peer.reset()


def _close(peer: Peer, seen: Seen) -> None:
    peer.close()


def _nonsense(peer: Peer, seen: Seen) -> None:
    peer.send(b"SSH-2.0-OpenSSH_9.7\r\n\r\n")
    peer.stall()


def _greeting(peer: Peer, seen: Seen) -> None:
    peer.send(b"SSH-2.0-OpenSSH_9.7\r\n")
    peer.stall()


def _silence(peer: Peer, seen: Seen) -> None:
    peer.stall()


def _half_a_head(peer: Peer, seen: Seen) -> None:
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/ev")
    peer.close()


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (_reset, ConnectionLost),
        (_close, RemoteProtocolError),
        (_nonsense, RemoteProtocolError),
        (_half_a_head, RemoteProtocolError),
        (_silence, ResponseTimeout),
    ],
)
async def test_a_failure_before_the_head_is_tried_again(
    sse: Face, script: Script, kind: type[SSEError]
) -> None:
    watch = Watch()
    config = quick(timeouts=Timeouts(response=0.2))
    with Server([script, stay("hello")]) as server:
        async with sse.connect(server.url, config=config, **watch.options()) as connection:
            assert (await connection.receive(5)).data == "hello"
    assert [type(error) for error in watch.errors] == [kind]
    assert RECONNECTING in watch.states


@pytest.mark.needs("early verdicts")
async def test_what_is_no_http_is_known_by_its_first_bytes(sse: Face) -> None:
    watch = Watch()
    with Server([_greeting, stay("hello")]) as server:
        async with sse.connect(server.url, config=quick(), **watch.options()) as connection:
            assert (await connection.receive(5)).data == "hello"
    assert [type(error) for error in watch.errors] == [RemoteProtocolError]


def _reset_in_the_body(peer: Peer, seen: Seen) -> None:
    peer.stream()
    peer.event("one", id="1")
    peer.wait()  # a reset overtakes data that has not been read
    peer.reset()


def _short_body(peer: Peer, seen: Seen) -> None:
    peer.stream(("Content-Length", "1000"))
    peer.event("one", id="1")
    peer.close()


def _cut_chunk(peer: Peer, seen: Seen) -> None:
    peer.stream(chunked=True)
    peer.event("one", id="1")
    peer.send(b"40\r\ndata: hal")
    peer.close()


def _bad_chunk(peer: Peer, seen: Seen) -> None:
    peer.stream(chunked=True)
    peer.event("one", id="1")
    peer.send(b"zz\r\n")
    peer.stall()


def _clean_end(peer: Peer, seen: Seen) -> None:
    peer.stream(chunked=True)
    peer.event("one", id="1")
    peer.end()


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (_reset_in_the_body, ConnectionLost),
        (_short_body, RemoteProtocolError),
        (_cut_chunk, RemoteProtocolError),
        (_bad_chunk, RemoteProtocolError),
        (_clean_end, ConnectionLost),
    ],
)
async def test_a_stream_that_ends_is_resumed(
    sse: Face, script: Script, kind: type[SSEError]
) -> None:
    watch = Watch()
    with Server([script, stay("hello")]) as server:
        async with sse.connect(server.url, config=quick(), **watch.options()) as connection:
            assert (await connection.receive(5)).data == "one"
            server.go.set()
            assert (await connection.receive(5)).data == "hello"
    assert [type(error) for error in watch.errors] == [kind]
    assert [seen.cursor for seen in server.requests] == [None, "1"]
    assert watch.states[1:4] == [CONNECTED, RECONNECTING, CONNECTED]


async def test_a_refused_connection_is_tried_again_and_given_up_in_the_end(sse: Face) -> None:
    with Server() as server:
        url = server.url
    watch = Watch()
    with pytest.raises(ReconnectExhausted, match="gave up after 3 reconnect attempts in") as caught:
        async with sse.connect(url, config=quick(max_attempts=3), **watch.options()):
            pytest.fail("entered")
    assert isinstance(caught.value.cause, ConnectError)
    assert [type(error) for error in watch.errors] == [ConnectError] * 4 + [ReconnectExhausted]
    assert isinstance(watch.errors[0], ConnectError)
    assert watch.errors[0].request_sent is False
    assert watch.states == [ConnectionState.CONNECTING, RECONNECTING, ERROR, CLOSED]


async def test_a_name_that_does_not_resolve_is_a_connect_error(sse: Face) -> None:
    config = ConnectionConfig(reconnection=ReconnectionPolicy(enabled=False))
    with pytest.raises(ConnectError):
        async with sse.connect("http://name.invalid/", config=config):
            pytest.fail("entered")


async def test_without_reconnection_the_first_failure_is_final(sse: Face) -> None:
    config = ConnectionConfig(reconnection=ReconnectionPolicy(enabled=False))
    with Server(turn_away(503)) as server, pytest.raises(HTTPStatusError, match="503"):
        async with sse.connect(server.url, config=config):
            pytest.fail("entered")
    assert len(server.requests) == 1


async def test_a_finite_stream_that_ends_well_is_disconnected(sse: Face) -> None:
    with Server(drop("one", "two", chunked=True)) as server:
        async with sse.connect(server.url, config=quick(on_end="finish")) as connection:
            assert await read_all(connection) == ["one", "two"]
            assert connection.state is DISCONNECTED
    assert len(server.requests) == 1


async def test_a_post_is_finite_by_default(sse: Face) -> None:
    with Server(drop("one")) as server:
        async with sse.connect(server.url, method="POST", json={"q": "é"}) as connection:
            assert await read_all(connection) == ["one"]
    [seen] = server.requests
    assert seen.body == '{"q":"é"}'.encode()
    assert seen.header("Content-Type") == "application/json"


async def test_a_post_whose_stream_is_cut_is_not_sent_again(sse: Face) -> None:
    def cut(peer: Peer, seen: Seen) -> None:
        peer.stream(chunked=True)
        peer.event("one")
        peer.send(b"ff\r\n")
        peer.close()

    with Server(cut) as server:
        async with sse.connect(server.url, method="POST", config=quick()) as connection:
            assert (await connection.receive(5)).data == "one"
            with pytest.raises(RemoteProtocolError) as caught:
                await connection.receive(5)
            assert connection.state is ERROR
            assert caught.value.request_sent
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [425, 429, 503])
async def test_a_post_that_was_declined_is_sent_again(sse: Face, status: int) -> None:
    with Server([turn_away(status), drop("one")]) as server:
        options = {"method": "POST", "content": b"question", "config": quick()}
        async with sse.connect(server.url, **options) as connection:
            assert await read_all(connection) == ["one"]
    assert [seen.body for seen in server.requests] == [b"question"] * 2


async def test_a_post_that_may_have_had_its_effect_is_not_sent_again(sse: Face) -> None:
    with (
        Server([turn_away(500), drop("one")]) as server,
        pytest.raises(HTTPStatusError, match="500"),
    ):
        async with sse.connect(server.url, method="POST", config=quick()):
            pytest.fail("entered")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "options",
    [
        {"headers": {"Idempotency-Key": "k1"}, "config": quick()},
        {"config": quick(replay="always")},
        {"config": quick(replay="with_id"), "last_event_id": "7"},
    ],
)
async def test_a_post_is_sent_again_where_that_is_safe(sse: Face, options: dict[str, Any]) -> None:
    with Server([turn_away(500), drop("one")]) as server:
        async with sse.connect(server.url, method="POST", **options) as connection:
            assert await read_all(connection) == ["one"]
    assert len(server.requests) == 2


async def test_a_post_whose_stream_gave_ids_is_resumed(sse: Face) -> None:
    def cut(peer: Peer, seen: Seen) -> None:
        peer.stream(("Content-Length", "1000"))
        peer.event("one", id="1")
        peer.close()

    with Server([cut, drop("two")]) as server:
        async with sse.connect(server.url, method="POST", config=quick()) as connection:
            assert await read_all(connection) == ["one", "two"]
    assert [seen.cursor for seen in server.requests] == [None, "1"]


UNTIL: list[tuple[str, Any]] = [
    ("data", "[DONE]"),
    ("type", "message_stop"),
    ("predicate", lambda event: event.data == "[DONE]"),
]


@pytest.mark.parametrize("until", [until for _, until in UNTIL], ids=[name for name, _ in UNTIL])
async def test_iteration_ends_after_the_terminal_event(
    sse: Face, until: str | Callable[[Any], bool]
) -> None:
    def script(peer: Peer, seen: Seen) -> None:
        peer.stream()
        peer.event("one")
        peer.event("[DONE]", event="message_stop")
        peer.event("too much")
        peer.stall()

    with Server(script) as server:
        async with sse.connect(server.url, until=until) as connection:
            assert await read_all(connection) == ["one", "[DONE]"]
            assert connection.state is DISCONNECTED


async def test_an_end_before_the_terminal_event_is_truncation(sse: Face) -> None:
    watch = Watch()
    with Server([drop("one"), drop("two", "[DONE]")]) as server:
        options = {"until": "[DONE]", "config": quick(), **watch.options()}
        async with sse.connect(server.url, **options) as connection:
            assert await read_all(connection) == ["one", "two", "[DONE]"]
        async with sse.connect(server.url, method="POST", until="[END]") as connection:
            with pytest.raises(StreamTruncated):
                await read_all(connection)
    assert [type(error) for error in watch.errors] == [StreamTruncated]


async def test_an_event_that_is_too_large_is_an_error(sse: Face) -> None:
    def script(peer: Peer, seen: Seen) -> None:
        peer.stream()
        peer.event("small")
        peer.event("x" * 2000)
        peer.stall()

    with Server(script) as server:
        config = quick(limits=Limits(event=1000))
        async with sse.connect(server.url, config=config) as connection:
            assert (await connection.receive(5)).data == "small"
            with pytest.raises(EventTooLarge):
                await connection.receive(5)
            assert connection.state is ERROR
    assert len(server.requests) == 1


async def test_a_content_coding_that_nobody_decodes_is_an_error(sse: Face) -> None:
    def script(peer: Peer, seen: Seen) -> None:
        peer.stream(("Content-Encoding", "br"))
        peer.stall()

    with Server(script) as server, pytest.raises(ContentEncodingError, match="br"):
        async with sse.connect(server.url, config=quick()):
            pytest.fail("entered")


async def test_overflow_can_be_an_error_and_the_cursor_stands_where_reading_goes_on(
    sse: Face,
) -> None:
    def script(peer: Peer, seen: Seen) -> None:
        peer.stream()
        number = 0
        while True:
            number += 1
            peer.event("x" * 1000, id=str(number))

    with Server(script) as server:
        config = quick(buffer_size=5, overflow="error")
        async with sse.connect(server.url, config=config) as connection:
            await sse.until(lambda: connection.state is ERROR, connection)
            ids: list[str] = []

            async def read() -> None:
                while True:
                    ids.append((await connection.receive(5)).id)

            with pytest.raises(BufferOverflow):
                await read()
            assert ids == [str(n) for n in range(1, len(ids) + 1)]
            assert len(ids) >= 5
            assert connection.last_event_id == connection.received_event_id == ids[-1]
            assert connection.metrics.events_dropped > 0
