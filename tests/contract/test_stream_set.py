"""Many different streams in one set: what they share, and what they do not."""

import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from sansio_sse import (
    ConfigError,
    ConnectionState,
    HTTPStatusError,
    LocalProtocolError,
    Request,
    SSEError,
)

from .common import drop, quick, resume, stay, turn_away
from .face import Face
from .server import Peer, Seen, Server, open_sockets

pytestmark = pytest.mark.needs("groups")


def by_path(peer: Peer, seen: Seen) -> None:
    """Send what the path says, and stay."""
    peer.stream()
    peer.event(seen.path, id="1")
    peer.stall()


def silent(peer: Peer, seen: Seen) -> None:
    """Answer nothing."""
    peer.stall()


async def next_events(streams: Any, count: int) -> dict[Any, list[str]]:
    """Return the data of the next events, by key."""
    found: dict[Any, list[str]] = {}
    events = streams.events()
    for _ in range(count):
        key, event = await anext(events)
        found.setdefault(key, []).append(event.data)
    return found


# --- Coming and going --------------------------------------------------------------------------


async def test_streams_come_and_go_while_it_runs(sse: Face) -> None:
    with Server(by_path) as server:
        async with sse.streams(config=quick()) as streams:
            for key in range(3):
                streams.add(key, f"{server.origin}/{key}")
            assert await next_events(streams, 3) == {key: [f"/{key}"] for key in range(3)}
            assert len(streams) == 3
            assert list(streams) == [0, 1, 2]
            assert 1 in streams
            streams.remove(1)
            assert 1 not in streams
            await sse.until(lambda: server.open_visits == 2, streams)
            streams.add("late", f"{server.origin}/late")
            streams.add(1, f"{server.origin}/again")
            assert await next_events(streams, 2) == {"late": ["/late"], 1: ["/again"]}
            stats = streams.stats()
            assert (stats.total, stats.added, stats.removed) == (4, 5, 1)
            assert stats.states == {"connected": 4}
            assert stats.connected == 4
            assert stats.events_received == 5
            assert stats.connect_attempts == stats.connect_successes == 5
            assert stats.bytes_received > 0
            assert (stats.admission_waiters, stats.attempts_under_way) == (0, 0)
        assert len(streams) == 0
        assert streams.stats().removed == 5
        assert streams.stats().events_received == 5


async def test_events_go_to_a_callback_with_their_key(sse: Face) -> None:
    got: list[Any] = []
    with Server(by_path) as server:
        options = {"on_event": lambda streams, key, event: got.append((streams, key, event.data))}
        async with sse.streams(config=quick(), **options) as streams:
            for key in ("a", "b"):
                streams.add(key, f"{server.origin}/{key}")
            await sse.until(lambda: len(got) == 2, streams)
            with pytest.raises(LocalProtocolError, match="events go to on_event"):
                await anext(streams.events())
        plain = getattr(streams, "plain", streams)
        assert sorted((key, data) for _, key, data in got) == [("a", "/a"), ("b", "/b")]
        assert all(its is plain for its, _, _ in got)


async def test_changes_and_errors_are_told_with_their_key(sse: Face) -> None:
    changes: list[Any] = []
    errors: list[Any] = []
    with Server(by_path).at("/bad", turn_away(403)) as server:
        options = {
            "on_change": lambda streams, key, change: changes.append((key, change.new.value)),
            "on_error": lambda streams, key, error: errors.append((key, error.status)),
        }
        async with sse.streams(config=quick(), **options) as streams:
            streams.add("good", f"{server.origin}/good")
            streams.add("bad", f"{server.origin}/bad")
            await sse.until(lambda: streams["bad"].state is ConnectionState.ERROR, streams)
            await sse.until(lambda: streams["good"].state is ConnectionState.CONNECTED, streams)
        assert errors == [("bad", 403)]
        for key, last in (("good", "connected"), ("bad", "error")):
            assert [new for its, new in changes if its == key] == ["connecting", last, "closed"]


async def test_the_request_of_a_stream_is_its_own(sse: Face) -> None:
    with Server(by_path) as server:
        config = quick(headers={"X-Config": "1", "X-Set": "1"})
        async with sse.streams(config=config, headers={"X-Set": "2", "X-Add": "2"}) as streams:
            streams.add(
                "a",
                f"{server.origin}/a",
                method="POST",
                json=[1],
                headers={"X-Add": "3"},
                last_event_id="9",
            )
            streams.add("b", f"{server.origin}/b", config=quick(headers={"X-Config": "4"}))
            await next_events(streams, 2)
        [first], [second] = server.to("/a"), server.to("/b")
        assert (first.method, first.body, first.cursor) == ("POST", b"[1]", "9")
        names = ("X-Config", "X-Set", "X-Add")
        assert [first.header(name) for name in names] == ["1", "2", "3"]
        assert [second.header(name) for name in names] == ["4", "2", "2"]


async def test_a_finite_stream_ends_and_the_others_do_not(sse: Face) -> None:
    with Server(by_path).at("/end", drop("a", "[DONE]")) as server:
        async with sse.streams(config=quick()) as streams:
            streams.add("end", f"{server.origin}/end", until="[DONE]")
            streams.add("go on", f"{server.origin}/go")
            assert await next_events(streams, 3) == {"end": ["a", "[DONE]"], "go on": ["/go"]}
            await sse.until(lambda: streams["end"].state is ConnectionState.DISCONNECTED, streams)
            assert streams["go on"].state is ConnectionState.CONNECTED
            assert streams.stats().states == {"disconnected": 1, "connected": 1}


async def test_streams_over_a_unix_socket(sse: Face, tmp_path: Any) -> None:
    with Server(by_path, family="unix", path=tmp_path / "s") as server:
        async with sse.streams(config=quick(), uds=server.uds) as streams:
            streams.add("a", "http://somewhere.example/a")
            assert await next_events(streams, 1) == {"a": ["/a"]}


# --- What one does to the others ---------------------------------------------------------------


async def test_a_stream_in_error_does_not_disturb_the_others(sse: Face) -> None:
    with Server(resume(20, cut=4)).at("/bad", turn_away(403)) as server:
        async with sse.streams(config=quick()) as streams:
            streams.add("bad", f"{server.origin}/bad")
            streams.add("good", f"{server.origin}/good")
            found = await next_events(streams, 20)
            assert found == {"good": [str(number) for number in range(1, 21)]}
            assert streams["bad"].state is ConnectionState.ERROR
            with pytest.raises(HTTPStatusError):
                await streams["bad"].wait_for(ConnectionState.CONNECTED, 1)


async def test_a_full_buffer_pauses_its_own_stream_alone(sse: Face) -> None:
    total, size = 2000, 4000
    sent: list[int] = []

    def busy(peer: Peer, seen: Seen) -> None:
        peer.stream()
        for number in range(total):
            peer.event(f"{number}" + " " * size)
            sent.append(number)
        peer.stall()

    with Server(by_path).at("/busy", busy) as server:
        async with sse.streams(config=quick(buffer_size=10)) as streams:
            streams.add("busy", f"{server.origin}/busy")
            await sse.until(lambda: streams["busy"].metrics.events_received >= 10, streams)
            await sse.let_run(streams, 0.05)
            assert streams["busy"].metrics.events_received <= 10 + 2 * 65536 // size
            streams.add("quiet", f"{server.origin}/quiet")
            await sse.until(lambda: streams["quiet"].metrics.events_received == 1, streams)
            first = await next_events(streams, 3)
            assert first["quiet"] == ["/quiet"]
            assert len(sent) < total
            rest = await next_events(streams, total - 2)
            read = [data.strip() for data in first["busy"] + rest["busy"]]
            assert read == [str(number) for number in range(total)]


class Doorkeeper:
    """Lets streams in slowly, and counts how many stand at the door."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.here = self.most = 0

    def __call__(self, peer: Peer, seen: Seen) -> None:
        with self.lock:
            self.here += 1
            self.most = max(self.most, self.here)
        peer.sleep(0.005)
        with self.lock:
            self.here -= 1
        by_path(peer, seen)


async def test_only_so_many_connect_at_a_time(sse: Face) -> None:
    door = Doorkeeper()
    with Server(door) as server:
        async with sse.streams(config=quick(), max_connecting=4) as streams:
            for key in range(40):
                streams.add(key, f"{server.origin}/{key}")
            stats = streams.stats()
            assert stats.attempts_under_way == 4
            assert stats.admission_waiters == 36
            assert len(await next_events(streams, 40)) == 40
            assert streams.stats().peak_connecting == 4
    assert 2 <= door.most <= 4


async def test_only_so_many_connect_at_a_time_again_when_all_are_lost(sse: Face) -> None:
    door = Doorkeeper()
    cut = threading.Event()

    def script(peer: Peer, seen: Seen) -> None:
        if seen.cursor is None:
            peer.stream()
            peer.event(seen.path, id="1")
            peer.wait(cut)
            peer.close()
        else:
            door(peer, seen)

    with Server(script) as server:
        async with sse.streams(config=quick(), max_connecting=3) as streams:
            for key in range(20):
                streams.add(key, f"{server.origin}/{key}")
            await next_events(streams, 20)
            cut.set()
            assert len(await next_events(streams, 20)) == 20
            assert streams.stats().peak_connecting == 3
    assert 2 <= door.most <= 3


async def test_only_so_many_connect_to_one_origin_at_a_time(sse: Face) -> None:
    slow, fast = Doorkeeper(), Doorkeeper()
    with Server(slow) as one, Server(fast) as two:
        options = {"max_connecting": 6, "max_connecting_per_origin": 2}
        async with sse.streams(config=quick(), **options) as streams:
            for key in range(12):
                streams.add((1, key), f"{one.origin}/{key}")
                streams.add((2, key), f"{two.origin}/{key}")
            assert len(await next_events(streams, 24)) == 24
            assert streams.stats().peak_connecting == 4
    assert slow.most <= 2
    assert fast.most <= 2


async def test_a_dead_origin_does_not_hold_up_the_others(sse: Face) -> None:
    with Server(silent) as dead, Server(by_path) as alive:
        options = {"max_connecting": 3, "max_connecting_per_origin": 2}
        async with sse.streams(config=quick(), **options) as streams:
            for key in range(5):
                streams.add(("dead", key), f"{dead.origin}/{key}")
            for key in range(5):
                streams.add(("alive", key), f"{alive.origin}/{key}")
            found = await next_events(streams, 5)
            assert {key[0] for key in found} == {"alive"}
            streams.remove(("dead", 0))
            await sse.until(lambda: len(dead.requests) == 3, streams)


async def test_one_hook_gives_every_attempt_its_token(sse: Face) -> None:
    tokens: list[str] = []

    def prepare(request: Request, attempt: int) -> Request:
        tokens.append(f"token {len(tokens)}")
        return request.with_header("Authorization", tokens[-1])

    with Server(resume(6, cut=3)) as server:
        async with sse.streams(config=quick(), prepare_request=prepare) as streams:
            for key in range(3):
                streams.add(key, f"{server.origin}/{key}")
            await next_events(streams, 18)
    sent = [seen.header("authorization") for seen in server.requests]
    assert sorted(map(str, sent[:6])) == tokens[:6]
    assert len(set(sent)) == len(sent)


async def test_a_stream_of_the_set_can_be_looked_at_restarted_and_posted_to(sse: Face) -> None:
    def post(peer: Peer, seen: Seen) -> None:
        peer.respond(200, body=seen.body)

    with Server(resume(3)).at("/up", post) as server:
        async with sse.streams(config=quick()) as streams:
            streams.add("a", f"{server.origin}/a")
            await next_events(streams, 3)
            stream = streams["a"]
            assert stream.last_event_id == "3"
            assert stream.info().metrics.events_received == 3
            answer = await stream.post("/up", content=b"hi")
            assert answer.content == b"hi"
            stream.restart("1")
            assert await next_events(streams, 2) == {"a": ["2", "3"]}
            assert streams.stats().peak_connecting == 1


# --- Callbacks ---------------------------------------------------------------------------------


async def test_callbacks_that_raise_do_no_harm(sse: Face) -> None:
    def fail(*anything: object) -> None:
        raise ZeroDivisionError

    told: list[Any] = []
    with Server(stay("a", "b")) as server:
        options: dict[str, Any] = {"on_event": fail, "on_change": fail}
        on_error = {"on_error": lambda streams, key, error: told.append((key, type(error)))}
        async with sse.streams(config=quick(), **options, **on_error) as streams:
            streams.add("key", server.url)
            await sse.until(lambda: len(told) == 4, streams)
            assert streams["key"].state is ConnectionState.CONNECTED
        assert told == [("key", ZeroDivisionError)] * 5

        async with sse.streams(config=quick(), **options) as streams:
            streams.add("key", server.url)
            await sse.until(lambda: len(sse.unhandled) == 4, streams)
        assert {type(error) for error in sse.unhandled} == {ZeroDivisionError}
        sse.unhandled.clear()

        options["on_error"] = fail
        async with sse.streams(config=quick(), **options) as streams:
            streams.add("key", server.url)
            await sse.until(lambda: len(sse.unhandled) == 4, streams)
        assert {type(error) for error in sse.unhandled} == {ZeroDivisionError}
        sse.unhandled.clear()


async def test_a_stream_removed_in_its_own_callback_is_heard_of_no_more(sse: Face) -> None:
    got: list[Any] = []

    def on_event(streams: Any, key: str, event: Any) -> None:
        got.append((key, event.data))
        if key == "a" and event.data == "1":
            streams.remove("a")
            streams.add("b", server.url)

    def all_at_once(peer: Peer, seen: Seen) -> None:
        peer.stream()
        peer.body(b"data: 1\n\ndata: 2\n\n")
        peer.stall()

    with Server(all_at_once) as server:
        async with sse.streams(config=quick(), on_event=on_event) as streams:
            streams.add("a", server.url)
            await sse.until(lambda: len(got) == 3, streams)
            assert got == [("a", "1"), ("b", "1"), ("b", "2")]
            assert list(streams) == ["b"]
            await sse.until(lambda: server.open_visits == 1, streams)


async def test_closing_in_a_callback(sse: Face) -> None:
    with Server(stay("a", "b")) as server:
        before = open_sockets()
        got: list[Any] = []

        def on_event(streams: Any, key: str, event: Any) -> None:
            got.append(event.data)
            streams.close()

        async with sse.streams(config=quick(), on_event=on_event) as streams:
            streams.add("a", server.url)
            await sse.released(streams, before)
        assert got == ["a"]


# --- Bad use, and the end ----------------------------------------------------------------------


async def test_keys_that_are_there_and_keys_that_are_not(sse: Face) -> None:
    with Server(by_path) as server:
        async with sse.streams(config=quick()) as streams:
            streams.add("a", f"{server.origin}/a")
            with pytest.raises(LocalProtocolError, match="with the key 'a' already"):
                streams.add("a", f"{server.origin}/b")
            with pytest.raises(LocalProtocolError, match="no stream with the key 'b'"):
                streams.remove("b")
            with pytest.raises(KeyError):
                streams["b"]
            with pytest.raises(ConfigError):
                streams.add("b", "gopher://example.com/")
            assert list(streams) == ["a"]
            assert await next_events(streams, 1) == {"a": ["/a"]}


async def test_a_set_that_is_not_open_or_closed(sse: Face) -> None:
    streams = sse.streams()
    with pytest.raises(LocalProtocolError, match="not open"):
        streams.add("a", "http://127.0.0.1:1/")
    with pytest.raises(LocalProtocolError, match="not open"):
        await anext(streams.events())
    await streams.open()
    with pytest.raises(LocalProtocolError, match="open already"):
        await streams.open()
    await streams.aclose()
    with pytest.raises(LocalProtocolError, match="closed"):
        streams.add("a", "http://127.0.0.1:1/")
    with pytest.raises(LocalProtocolError, match="closed"):
        await streams.open()
    assert [event async for event in streams.events()] == []
    streams.close()
    await streams.wait_closed()
    never = sse.streams()
    never.close()
    await never.wait_closed()


async def test_what_a_set_is_not_made_of(sse: Face) -> None:
    for wrong in ({"max_connecting": 0}, {"max_connecting_per_origin": 0}):
        with pytest.raises(ConfigError):
            sse.streams(**wrong)


async def test_only_one_reads_a_set_at_a_time(sse: Face) -> None:
    async def read() -> Any:
        return await anext(streams.events())

    async with sse.streams(config=quick()) as streams, sse.beside(read) as job:
        plain = getattr(streams, "plain", streams)
        await sse.until(lambda: plain._reading)
        with pytest.raises(LocalProtocolError, match="somebody else is reading"):
            await anext(streams.events())
        with Server(by_path) as server:
            streams.add("a", f"{server.origin}/a")
            key, event = await job.result()
            assert (key, event.data) == ("a", "/a")
            streams.remove("a")


def _by_signal(function: Callable[[], Any]) -> None:
    previous = signal.signal(signal.SIGTERM, lambda *_: function())
    try:
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, previous)


CALLERS = {"here": lambda call: call(), "thread": Face.in_thread, "signal handler": _by_signal}


@pytest.mark.parametrize("call", CALLERS.values(), ids=CALLERS)
async def test_closing_ends_all_streams_and_leaves_nothing(
    sse: Face, call: Callable[[Callable[[], Any]], None]
) -> None:
    async def read() -> int:
        return len([event async for event in streams.events()])

    with Server(by_path).at("/bad", turn_away(403)).at("/slow", silent) as server:
        before = open_sockets()
        async with sse.streams(config=quick()) as streams:
            for key in ("a", "b", "bad", "slow"):
                streams.add(key, f"{server.origin}/{key}")
            async with sse.beside(read) as job:
                await sse.until(lambda: streams.stats().events_received == 2)
                await sse.until(lambda: server.to("/slow"))
                began = time.monotonic()
                call(streams.close)
                assert await job.result() <= 2
            await sse.released(streams, before)
            assert time.monotonic() - began < 5
            assert len(streams) == 0


async def test_what_the_body_raises_leaves_bare(sse: Face) -> None:
    with Server(by_path) as server:

        async def fail() -> None:
            async with sse.streams(config=quick()) as streams:
                streams.add("a", server.url)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError) as caught:
            await fail()
        assert caught.value.__context__ is None


async def test_a_cancelled_reader_of_a_set_loses_nothing(async_sse: Face) -> None:
    sse = async_sse
    got: list[str] = []

    async def read() -> None:
        async for _, event in streams.events():
            got.append(event.data)

    def script(peer: Peer, seen: Seen) -> None:
        peer.stream()
        for number in range(200):
            peer.event(str(number))
            peer.sleep(0.0005)
        peer.stall()

    with Server(script) as server:
        async with sse.streams(config=quick()) as streams:
            streams.add("a", server.url)
            while len(got) < 200:
                async with sse.beside(read) as job:
                    await sse.sleep(0.001)
                    job.cancel()
            assert got == [str(number) for number in range(200)]


async def test_an_error_of_a_stream_says_what_went_wrong(sse: Face) -> None:
    told: list[Any] = []
    with Server(turn_away(503)) as server:
        options = {"on_error": lambda streams, key, error: told.append(error)}
        async with sse.streams(config=quick(max_attempts=1), **options) as streams:
            streams.add("a", server.url)
            await sse.until(lambda: streams["a"].state is ConnectionState.ERROR, streams)
        assert [type(error).__name__ for error in told] == [
            "HTTPStatusError",
            "HTTPStatusError",
            "ReconnectExhausted",
        ]
        assert all(isinstance(error, SSEError) for error in told)
