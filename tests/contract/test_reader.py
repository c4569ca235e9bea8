"""What a reader may rely on, item by item."""

import gc
import threading
import time
from typing import Any

import pytest

from sansio_sse import (
    BufferOverflow,
    Comment,
    ConfigError,
    Connected,
    ConnectionClosed,
    ConnectionState,
    HTTPStatusError,
    LastEventIdChanged,
    LocalProtocolError,
    SSEError,
    StateChanged,
)

from .common import drop, pooled, quick, read_all, stay, turn_away
from .face import Face
from .server import Peer, Seen, Server

CLOSED = ConnectionState.CLOSED
CONNECTED = ConnectionState.CONNECTED
CONNECTING = ConnectionState.CONNECTING
DISCONNECTED = ConnectionState.DISCONNECTED
ERROR = ConnectionState.ERROR
RECONNECTING = ConnectionState.RECONNECTING

# --- Entering ----------------------------------------------------------------------------------


async def test_entering_waits_until_the_stream_is_accepted_retrying_by_policy(sse: Face) -> None:
    with Server([turn_away(503), turn_away(502), stay("hello")]) as server:
        async with sse.connect(server.url, config=quick()) as connection:
            assert connection.state is CONNECTED
    assert len(server.requests) == 3


async def test_entering_is_latched_when_head_body_and_end_come_in_one_read(sse: Face) -> None:
    def all_at_once(peer: Peer, seen: Seen) -> None:
        content = b"Content-Type: text/event-stream\r\nContent-Length: 10\r\n"
        peer.send(b"HTTP/1.1 200 OK\r\n" + content + b"\r\ndata: hi\n\n")
        peer.close()

    with Server(all_at_once) as server:
        options = {"config": quick(on_end="finish")}
        async with sse.connect(server.url, **options) as connection:
            assert await read_all(connection) == ["hi"]


async def test_entering_raises_the_error_of_the_error_state_and_closes(sse: Face) -> None:
    with Server(turn_away(403)) as server:
        connection = sse.connect(server.url)
        with pytest.raises(HTTPStatusError) as caught:
            await connection.open()
        assert caught.value.status == 403
        assert connection.state is CLOSED


async def test_entering_without_waiting_returns_at_once(sse: Face) -> None:
    go = threading.Event()

    def later(peer: Peer, seen: Seen) -> None:
        peer.wait(go)
        stay("hello")(peer, seen)

    with Server(later) as server:
        async with sse.connect(server.url, wait=False) as connection:
            assert connection.state is CONNECTING
            go.set()
            assert (await connection.receive(5)).data == "hello"


async def test_without_waiting_the_error_comes_to_the_reader(sse: Face) -> None:
    with Server(turn_away(403)) as server:
        async with sse.connect(server.url, wait=False) as connection:
            with pytest.raises(HTTPStatusError):
                await connection.receive(5)


async def test_open_serves_those_who_want_no_block(sse: Face) -> None:
    with Server(stay("hello")) as server:
        connection = await sse.connect(server.url).open()
        assert (await connection.receive(5)).data == "hello"
        with pytest.raises(LocalProtocolError):
            await connection.open()
        connection.close()
        await connection.wait_closed()


async def test_entering_twice_is_out_of_order(sse: Face) -> None:
    with Server(stay("hello")) as server:
        connection = sse.connect(server.url)
        async with connection:
            with pytest.raises(LocalProtocolError):
                async with connection:
                    pytest.fail("entered")
            assert (await connection.receive(5)).data == "hello", "the stream is none the worse"
        with pytest.raises(LocalProtocolError):
            async with connection:
                pytest.fail("entered")
        assert connection.state is ConnectionState.CLOSED


async def test_waiting_before_the_context_is_entered(sse: Face) -> None:
    connection = sse.connect("http://127.0.0.1:1/")
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        await connection.wait_for(ConnectionState.CONNECTED, timeout=0.05)
    assert time.monotonic() - began > 0.04
    changes = connection.state_changes()
    assert (await anext(changes)).new is ConnectionState.DISCONNECTED
    async with sse.beside(connection.wait_closed):
        connection.close()
    assert [change.new async for change in changes] == [ConnectionState.CLOSED]


async def test_leaving_the_block_closes_and_the_exception_of_the_body_leaves_bare(
    sse: Face,
) -> None:
    with Server(stay("hello")) as server:
        connection = sse.connect(server.url)
        with pytest.raises(ZeroDivisionError) as caught:
            async with connection:
                raise ZeroDivisionError
        assert caught.value.__context__ is None
        assert connection.state is CLOSED


async def test_a_closed_connection_can_be_left_again_and_again(sse: Face) -> None:
    with Server(stay("hello")) as server:
        async with sse.connect(server.url) as connection:
            connection.close()
            await connection.wait_closed()
        await connection.wait_closed()
        connection.close()
        connection.disconnect()
        await sse.one_turn()
        assert connection.state is CLOSED


# --- Reading -----------------------------------------------------------------------------------


async def test_receive_times_out_and_loses_nothing(sse: Face) -> None:
    go = threading.Event()

    def script(peer: Peer, seen: Seen) -> None:
        peer.stream()
        peer.wait(go)
        peer.event("hello")
        peer.stall()

    with Server(script) as server:
        async with sse.connect(server.url) as connection:
            for timeout in (0, 0.01):
                with pytest.raises(TimeoutError):
                    await connection.receive(timeout)
            go.set()
            assert (await connection.receive(timeout=5)).data == "hello"


async def test_a_timeout_comes_although_the_stream_is_busy_with_something_else(sse: Face) -> None:
    def chatter(peer: Peer, seen: Seen) -> None:
        peer.stream()
        while True:
            peer.body(b": still here\n" * 5000)

    with Server(chatter) as server:
        async with sse.connect(server.url) as connection:
            began = time.monotonic()
            with pytest.raises(TimeoutError):
                await connection.receive(timeout=0.05)
            with pytest.raises(TimeoutError):
                await connection.wait_for(ConnectionState.ERROR, timeout=0.05)
            assert time.monotonic() - began < 2


async def test_timeouts_that_race_with_events_lose_nothing(sse: Face) -> None:
    def script(peer: Peer, seen: Seen) -> None:
        peer.stream()
        for number in range(100):
            peer.event(str(number))
            peer.sleep(0.001)
        peer.end()

    with Server(script) as server:
        async with sse.connect(server.url, config=quick(on_end="finish")) as connection:
            data = []
            while True:
                try:
                    data.append((await connection.receive(0.001)).data)
                except TimeoutError:
                    continue
                except ConnectionClosed:
                    break
            assert data == [str(number) for number in range(100)]


async def test_a_second_reader_is_out_of_order(sse: Face) -> None:
    go = threading.Event()

    def script(peer: Peer, seen: Seen) -> None:
        peer.stream()
        peer.wait(go)
        peer.event("hello")
        peer.stall()

    with Server(script) as server:
        async with (
            sse.connect(server.url) as connection,
            sse.beside(connection.receive, 5) as job,
        ):
            await sse.until(lambda: connection._reading_now)
            with pytest.raises(LocalProtocolError):
                await connection.receive(1)
            with pytest.raises(LocalProtocolError):
                await anext(connection)
            go.set()
            assert (await job.result()).data == "hello"


async def test_iteration_before_connect_is_an_error(sse: Face) -> None:
    connection = sse.connect("http://127.0.0.1:1/")
    with pytest.raises(LocalProtocolError, match="not connected"):
        await connection.receive()
    with pytest.raises(LocalProtocolError, match="not connected"):
        await anext(connection)


async def test_after_error_the_same_error_comes_again(sse: Face) -> None:
    with Server([drop("one"), turn_away(403)]) as server:
        async with sse.connect(server.url, config=quick()) as connection:
            assert (await connection.receive(5)).data == "one"
            with pytest.raises(HTTPStatusError) as first:
                await connection.receive(5)
            with pytest.raises(HTTPStatusError) as second:
                await connection.receive(5)
            with pytest.raises(HTTPStatusError) as third:
                await anext(connection)
            assert first.value is second.value is third.value
            assert connection.state is ERROR


async def test_an_error_can_be_connected_again(sse: Face) -> None:
    with Server([turn_away(403), stay("hello")]) as server:
        async with sse.connect(server.url, wait=False) as connection:
            with pytest.raises(HTTPStatusError):
                await connection.wait_for(CONNECTED, 5)
            await connection.connect()
            assert (await connection.receive(5)).data == "hello"
            with pytest.raises(LocalProtocolError, match="cannot connect"):
                await connection.connect()
            assert connection.state is CONNECTED


ENDS: list[tuple[str, Any, type[Exception]]] = [
    ("disconnect", {}, ConnectionClosed),
    ("a clean end", {"config": quick(on_end="finish")}, ConnectionClosed),
    ("a 204", {"config": quick()}, ConnectionClosed),
    ("an error", {"config": quick()}, HTTPStatusError),
    ("overflow", {"config": quick(buffer_size=1, overflow="error")}, BufferOverflow),
]


@pytest.mark.parametrize(("how", "options", "kind"), ENDS, ids=[name for name, _, _ in ENDS])
async def test_buffered_events_come_before_the_end(
    sse: Face, how: str, options: dict[str, Any], kind: type[Exception]
) -> None:
    def first(peer: Peer, seen: Seen) -> None:
        peer.stream()
        peer.body(b"data: one\n\ndata: two\n\n")
        if how == "overflow":
            peer.wait(go)
            peer.event("too much")
        if how in ("disconnect", "overflow"):
            peer.stall()
        peer.end()

    go = threading.Event()
    status = {"a 204": 204, "an error": 403}.get(how, 404)
    with Server([first, turn_away(status)]) as server:
        async with sse.connect(server.url, **options) as connection:
            await sse.until(lambda: connection.metrics.events_received == 2, connection)
            go.set()
            if how == "disconnect":
                connection.disconnect()
            over = (DISCONNECTED, CLOSED, ERROR)
            await sse.until(lambda: connection.state in over, connection)
            assert [(await connection.receive(5)).data for _ in range(2)] == ["one", "two"]
            with pytest.raises(kind):
                await connection.receive(5)
            if kind is ConnectionClosed:
                assert await read_all(connection) == []


async def test_close_discards_and_counts_what_is_buffered(sse: Face) -> None:
    with Server(stay("one", "two", "three")) as server:
        async with sse.connect(server.url) as connection:
            assert (await connection.receive(5)).data == "one"
            await sse.until(lambda: connection.metrics.events_received == 3, connection)
            assert (connection.last_event_id, connection.received_event_id) == ("1", "3")
            connection.close()
            with pytest.raises(ConnectionClosed):
                await connection.receive()
            with pytest.raises(StopAsyncIteration):
                await anext(connection)
            assert connection.last_event_id == "1"
            await connection.wait_closed()
            assert connection.metrics.events_dropped == 2
            assert connection.last_event_id == "1"


async def test_include_puts_more_into_the_iteration_each_in_its_place(sse: Face) -> None:
    def first(peer: Peer, seen: Seen) -> None:
        peer.stream()
        peer.body(b": hello\nid: 1\ndata: one\n\nid: 2\n\n: bye\n")
        peer.end()

    def second(peer: Peer, seen: Seen) -> None:
        peer.stream()
        peer.body(b"data: two\n\n")
        peer.stall()

    with Server([first, second]) as server:
        include = {"connected", "comments", "ids"}
        async with sse.connect(server.url, include=include, config=quick()) as connection:
            items = [await connection.receive(5) for _ in range(8)]
    kinds = [type(item).__name__ for item in items]
    assert kinds == [
        "Connected",
        "Comment",
        "LastEventIdChanged",
        "ServerSentEvent",
        "LastEventIdChanged",
        "Comment",
        "Connected",
        "ServerSentEvent",
    ]
    assert items[0] == Connected(0, False, items[0].response)
    assert items[1] == Comment("hello")
    assert items[2] == LastEventIdChanged("1")
    assert items[3].data == "one"
    assert items[4] == LastEventIdChanged("2")
    assert items[6] == Connected(1, True, items[6].response)
    assert (items[7].data, items[7].id, items[7].has_id) == ("two", "2", False)
    assert connection.metrics.events_received == 2
    assert connection.metrics.comments_received == 2


# --- Waiting and watching ----------------------------------------------------------------------


async def test_wait_for_sees_states_however_brief(sse: Face) -> None:
    go = threading.Event()

    def first(peer: Peer, seen: Seen) -> None:
        peer.stream()
        peer.wait(go)
        peer.end()

    with Server([first, stay()]) as server:
        async with sse.connect(server.url, config=quick()) as connection:
            await connection.wait_for(CONNECTED)
            async with sse.beside(connection.wait_for, RECONNECTING, 5):
                go.set()
            await connection.wait_for(CONNECTED, 5)
            with pytest.raises(TimeoutError):
                await connection.wait_for(DISCONNECTED, 0.02)
            await connection.wait_for("connected")


async def test_wait_for_raises_when_the_state_can_no_longer_come(sse: Face) -> None:
    with Server(turn_away(403)) as server:
        async with sse.connect(server.url, wait=False) as connection:
            with pytest.raises(HTTPStatusError):
                await connection.wait_for(CONNECTED, 5)
            await connection.wait_for(ERROR, 5)
            connection.close()
            await sse.one_turn()
            with pytest.raises(ConnectionClosed):
                await connection.wait_for(CONNECTED, 5)
            await connection.wait_for(CLOSED, 5)


async def test_state_changes_begin_with_the_present_and_end_with_closed(sse: Face) -> None:
    with Server([drop("one"), stay("two")]) as server:
        connection = sse.connect(server.url, config=quick())
        early = connection.state_changes()
        async with connection:
            assert (await connection.receive(5)).data == "one"
            assert (await connection.receive(5)).data == "two"
            late = connection.state_changes()
        changes = [change async for change in early]
        assert all(isinstance(change, StateChanged) for change in changes)
        assert [(change.old, change.new) for change in changes] == [
            (DISCONNECTED, DISCONNECTED),
            (DISCONNECTED, CONNECTING),
            (CONNECTING, CONNECTED),
            (CONNECTED, RECONNECTING),
            (RECONNECTING, CONNECTED),
            (CONNECTED, CLOSED),
        ]
        times = [change.at for change in changes[1:]]  # the first was before there was a loop
        assert times == sorted(times)
        assert isinstance(changes[3].error, SSEError)
        found = [(change.old, change.new) async for change in late]
        assert found == [(CONNECTED, CONNECTED), (CONNECTED, CLOSED)]
        assert [change.new async for change in connection.state_changes()] == [CLOSED]


async def test_errors_yields_every_error(sse: Face) -> None:
    with Server([turn_away(503), turn_away(502), stay("hello")]) as server:
        connection = sse.connect(server.url, config=quick())
        errors = connection.errors()
        async with connection:
            pass
        assert [error.status async for error in errors] == [503, 502]


@pytest.mark.needs("speed")
async def test_iterators_that_nobody_reads_are_bounded(sse: Face) -> None:
    with Server(turn_away(503)) as server:
        config = quick(max_attempts=0, initial_delay=0, max_delay=0)
        async with sse.connect(server.url, config=config, wait=False) as connection:
            errors = connection.errors()
            await sse.until(lambda: errors.dropped >= 10, connection)
            connection.close()
            await connection.wait_closed()
            kept = [error async for error in errors]
            assert len(kept) == 1000
    assert len(server.requests) >= 1010


async def test_an_iterator_that_was_left_collects_no_more(sse: Face) -> None:
    with Server(stay("hello")) as server:
        async with sse.connect(server.url) as connection:
            async for change in connection.state_changes():
                assert change.new is CONNECTED
                break
            gc.collect()
            assert not connection._watchers


async def test_callbacks_see_changes_and_events_in_their_order(sse: Face) -> None:
    log: list[Any] = []
    with Server([drop("one", "two"), stay("three")]) as server:
        connection = sse.connect(
            server.url,
            config=quick(),
            on_event=lambda _, event: log.append(event.data),
            on_change=lambda _, change: log.append(change.new),
            on_error=lambda _, error: log.append(type(error).__name__),
        )
        async with connection:
            await sse.until(lambda: "three" in log, connection)
            with pytest.raises(LocalProtocolError, match="on_event"):
                await connection.receive()
    assert log == [
        CONNECTING,
        CONNECTED,
        "one",
        "two",
        "ConnectionLost",
        RECONNECTING,
        CONNECTED,
        "three",
        CLOSED,
    ]


async def test_an_exception_of_a_callback_goes_to_on_error_and_the_stream_lives(sse: Face) -> None:
    errors: list[BaseException] = []
    seen: list[str] = []

    def on_event(_: Any, event: Any) -> None:
        seen.append(event.data)
        if event.data == "one":
            raise ZeroDivisionError

    with Server(stay("one", "two")) as server:
        connection = sse.connect(
            server.url, on_event=on_event, on_error=lambda _, error: errors.append(error)
        )
        async with connection:
            await sse.until(lambda: seen == ["one", "two"], connection)
            assert connection.state is CONNECTED
    assert [type(error) for error in errors] == [ZeroDivisionError]


@pytest.mark.parametrize("with_on_error", [False, True])
async def test_an_exception_that_nobody_takes_goes_to_the_handler_of_the_loop(
    sse: Face, with_on_error: bool
) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    options = {"on_error": fail} if with_on_error else {}
    with Server(stay("one", "two")) as server:
        connection = sse.connect(server.url, on_event=fail, on_change=fail, **options)
        async with connection:
            await sse.until(lambda: connection.metrics.events_received == 2, connection)
            assert connection.state is CONNECTED
    assert [type(error) for error in sse.unhandled] == [ZeroDivisionError] * 5
    sse.unhandled.clear()


# --- Looking -----------------------------------------------------------------------------------


async def test_metrics_may_be_read_from_another_thread(sse: Face) -> None:
    stop = threading.Event()
    failures: list[BaseException] = []
    readings: list[int] = []

    def flood(peer: Peer, seen: Seen) -> None:
        peer.stream()
        for number in range(5_000):
            peer.event(str(number), id=str(number))
        peer.end()

    with Server(flood) as server:
        async with sse.connect(server.url, config=quick(on_end="finish")) as connection:

            def look() -> None:
                try:
                    # A breath: three threads that never pause would only wait for each other.
                    while not stop.wait(0.0005):
                        readings.append(connection.metrics.events_received)
                        connection.info()
                        repr(connection)
                except BaseException as error:
                    failures.append(error)

            thread = threading.Thread(target=look)
            thread.start()
            try:
                count = len(await read_all(connection))
            finally:
                stop.set()
                thread.join()
            assert connection.metrics.events_received == count == 5_000
    assert failures == []
    assert readings == sorted(readings)


async def test_info_tells_the_connection_at_a_glance_in_wall_clock_times(sse: Face) -> None:
    before = time.time()
    with Server([turn_away(503), stay("hello")]) as server:
        url = f"{server.url}?token=secret"
        connection = sse.connect(url, config=quick(), name="prices")
        async with connection:
            await connection.receive(5)
            info = connection.info()
    assert (info.name, info.state, info.reconnect_attempts) == ("prices", CONNECTED, 0)
    assert "secret" not in info.url + repr(connection)
    assert before - 1 < info.last_connect <= info.last_event < time.time() + 1
    assert info.connect_success_rate == 50.0
    assert info.metrics.events_received == 1
    assert (info.metrics.connect_attempts, info.metrics.connect_failures) == (1, 1)
    assert (info.metrics.reconnect_attempts, info.metrics.reconnect_successes) == (1, 1)
    assert "prices" in repr(connection)


async def test_userinfo_becomes_basic_auth_and_headers_of_the_config_are_defaults(
    sse: Face,
) -> None:
    with Server(stay()) as server:
        url = server.url.replace("://", "://me:pass@")
        config = quick(headers={"X-One": "config", "X-Two": "config"})
        async with sse.connect(url, headers={"x-one": "call"}, config=config):
            pass
    [seen] = server.requests
    assert seen.header("Authorization") == "Basic bWU6cGFzcw=="
    assert (seen.header("X-One"), seen.header("X-Two")) == ("call", "config")


async def test_a_url_is_joined_to_the_base_url(sse: Face) -> None:
    with Server(stay()) as server:
        config = quick(base_url=f"{server.origin}/api/v1/")
        async with sse.connect("events?room=é", config=config):
            pass
    assert server.requests[0].target == "/api/v1/events?room=%C3%A9"


@pytest.mark.needs("no proxies")
async def test_a_proxy_is_refused_with_a_hint(sse: Face) -> None:
    with pytest.raises(ConfigError, match="proxies"):
        sse.connect("http://127.0.0.1:1/", proxy="http://127.0.0.1:2/")
    with pytest.raises(ConfigError, match="sansio_sse_httpcore"):
        sse.pool(pooled("http://127.0.0.1:1/"), proxy="http://127.0.0.1:2/")
    with pytest.raises(ConfigError, match="sansio_sse_httpcore"):
        sse.streams(proxy="http://127.0.0.1:2/")
