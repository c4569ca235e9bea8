"""What operators see, on every driver: the timeline, observers, logs, and a pool's sums."""

import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest

from sansio_sse import ConnectionState, ScheduleReconnect, StateChanged

from .common import pooled, quick, read_all, stay, turn_away
from .face import Face
from .server import Server

S = ConnectionState


class Lines(logging.Handler):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        record.getMessage()
        self.records.append(record)


@pytest.fixture
def lines() -> Iterator[Lines]:
    """All that this project's loggers are told, whatever their driver."""
    handler = Lines()
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield handler
    finally:
        root.removeHandler(handler)
        root.setLevel(before)


async def test_the_timeline_is_in_wall_clock_time(sse: Face) -> None:
    before = time.time()
    with Server([turn_away(503), stay("hello")]) as server:
        connection = sse.connect(server.url, config=quick())
        async with connection:
            await connection.receive(5)
            first, last = connection.timeline()[0], connection.timeline()[-1]
            assert (first.state, last.state, last.ended) == (S.CONNECTING, S.CONNECTED, None)
            assert before - 1 < first.began <= last.began < time.time() + 1
        states = [span.state.value for span in connection.timeline()]
        causes = [span.cause for span in connection.timeline()]
    assert states == ["connecting", "reconnecting", "connected", "closed"]
    assert causes == ["", "the server answered 503 Service Unavailable", "", ""]


async def test_an_observer_is_told_on_every_driver(sse: Face) -> None:
    news: list[tuple[Any, object]] = []
    with Server([turn_away(503), stay("hello")]) as server:
        connection = sse.connect(server.url, config=quick())
        connection.observe(lambda source, what: news.append((source, what)))
        async with connection:
            await connection.receive(5)
    changes = [what.new for _, what in news if isinstance(what, StateChanged)]
    assert changes == [S.CONNECTING, S.RECONNECTING, S.CONNECTED, S.CLOSED]
    assert [what.attempt for _, what in news if isinstance(what, ScheduleReconnect)] == [1]


async def test_what_happens_is_logged_under_the_name_of_the_driver(sse: Face, lines: Lines) -> None:
    with Server([turn_away(503), stay("hello")]) as server:
        url = f"{server.url}?token=hunter2"
        connection = sse.connect(url, config=quick(), headers={"X-Key": "hunter3"}, name="prices")
        async with connection:
            await connection.receive(5)
    records = [record for record in lines.records if record.name.startswith("sansio_sse_")]
    (name,) = {record.name for record in records}
    package, _, layer = name.partition(".")
    assert layer == "connection"
    assert any(
        isinstance(handler, logging.NullHandler) for handler in logging.getLogger(package).handlers
    )
    assert [record.levelname for record in records] == ["INFO", "INFO", "WARNING", "INFO", "INFO"]
    states = [vars(record).get("sse_state") for record in records]
    assert states == ["connecting", "reconnecting", None, "connected", "closed"]
    assert {vars(record)["sse_name"] for record in records} == {"prices"}
    assert not any("hunter" in f"{record.getMessage()}{vars(record)}" for record in records)


@pytest.mark.needs("groups")
async def test_a_pool_adds_up_what_its_members_count_and_counted(sse: Face) -> None:
    with Server(stay("hello")) as server:
        async with sse.pool(pooled(server.url, max_size=2)) as pool:
            async with pool.acquire() as lease:
                await lease.receive(5)
                assert [member.state for member in pool.members()] == [S.CONNECTED]
                assert pool.metrics.events_received == 1
                lease.release(unread="close")
            async with pool.acquire() as lease:
                await lease.receive(5)
                assert lease.timeline()[-1].state is S.CONNECTED
        assert (pool.metrics.events_received, pool.metrics.connect_successes) == (2, 2)
        assert pool.members() == ()


@pytest.mark.needs("groups")
async def test_a_set_adds_up_what_its_streams_count_and_counted(sse: Face) -> None:
    with Server(stay("hello")) as server:
        async with sse.streams(config=quick()) as streams:
            streams.add("a", server.url)
            streams.add("b", server.url)
            events = streams.events()
            for _ in range(2):
                await events.__anext__()
            events.close()
            streams.remove("a")
            assert streams.metrics.events_received == streams.stats().events_received == 2
            assert len(streams.members()) == 1


async def test_reading_to_the_end_is_seen_by_the_observer_last(sse: Face) -> None:
    with Server([stay("hello")]) as server:
        connection = sse.connect(server.url, config=quick(), until="hello")
        last: list[object] = []
        connection.observe(lambda source, what: last.append(what))
        async with connection:
            assert len(await read_all(connection)) == 1
    assert isinstance(last[-1], StateChanged)
    assert last[-1].new is S.CLOSED


async def test_a_log_handler_that_raises_harms_no_stream(
    sse: Face, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bad(record: logging.LogRecord) -> None:
        raise ValueError("this handler is broken")

    monkeypatch.setattr(lines, "emit", bad)
    with Server([turn_away(503), stay("hello")]) as server:
        connection = sse.connect(server.url, config=quick())
        async with connection:
            assert (await connection.receive(5)).data == "hello"
    states = [span.state.value for span in connection.timeline()]
    assert states == ["connecting", "reconnecting", "connected", "closed"]
    assert len(sse.unhandled) == 5  # four states and a retry
    assert {type(error) for error in sse.unhandled} == {ValueError}
    sse.unhandled.clear()
