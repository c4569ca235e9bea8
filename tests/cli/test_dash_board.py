"""What the page shows is what the connections went through, in virtual time; and it is bounded."""

import copy
import json
import tracemalloc
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_sse import (
    BreakerConfig,
    BreakerState,
    ConnectionConfig,
    EndpointChanged,
    IdleTimeout,
    PoolConfig,
    ReconnectionPolicy,
    ServerSentEvent,
    StateChanged,
    StateSpan,
)
from sansio_sse.testing import (
    Cut,
    EventLog,
    IncomingRequest,
    Respond,
    SimulatedConnection,
    Simulation,
    Stall,
    Step,
    send_event,
)
from sansio_sse_cli.live_page import Board
from sansio_sse_cli.live_page.board import WINDOW
from sansio_sse_cli.live_page.patches import difference

from .test_dash_patches import merged, written

URL = "http://a.example/events"
FOR_EVER = ConnectionConfig(reconnection=ReconnectionPolicy(max_attempts=0))

State = dict[str, Any]


class Watched:
    """A simulation whose connections have a board, which is told what an adapter would tell it."""

    def __init__(self, seed: int = 1, **options: Any) -> None:
        self.simulation = Simulation(seed)
        self.connections: list[SimulatedConnection] = []
        self.board = Board(lambda: self.connections, **options)

    @property
    def now(self) -> float:
        return self.simulation.clock.now

    def follow(self, url: str = URL, **options: Any) -> SimulatedConnection:
        listener: list[Callable[[ServerSentEvent, float], None]] = []

        def came(connection: SimulatedConnection, event: ServerSentEvent) -> None:
            listener[0](event, connection._wall_clock())

        options.setdefault("config", FOR_EVER)
        connection = self.simulation.connection(url, on_event=came, wait=False, **options)
        listener.append(self.board.events_of(connection))
        connection.observe(
            lambda source, news: self.board.news(source, news, connection._wall_clock())
        )
        self.connections.append(connection)
        connection.open()
        return connection

    def look(self) -> State:
        return self.board.look(self.connections[0]._wall_clock() if self.connections else 0.0)


def spans(state: State, key: str = "1") -> list[tuple[str, float, float | None, str]]:
    return [
        (span["state"], span["began"], span.get("ended"), span.get("cause", ""))
        for span in state["streams"][key]["spans"].values()
    ]


def lived(timeline: Iterable[StateSpan]) -> list[tuple[str, float, float | None, str]]:
    return [
        (
            span.state.value,
            round(span.began, 3),
            None if span.ended is None else round(span.ended, 3),
            span.cause,
        )
        for span in timeline
    ]


def events_every(seconds: float, count: int) -> EventLog:
    log = EventLog()
    log.add_many(count, start=1.0, every=seconds)
    return log


# --- What is shown -------------------------------------------------------------------------------


def test_spans_events_and_reconnects_are_the_connections_own() -> None:
    watched = Watched()
    watched.simulation.network.server("http://a.example", events_every(2.0, 100))
    watched.simulation.network.outage(10.0, 15.0)
    connection = watched.follow()
    for second in range(1, 40):
        watched.simulation.run(until=float(second))
        watched.look()
    state = watched.look()
    stream = state["streams"]["1"]
    assert spans(state) == lived(connection.timeline())
    assert [span[0] for span in spans(state)][-3:] == ["connected", "reconnecting", "connected"]
    assert stream["events"] == connection.metrics.events_received > 10
    assert stream["reconnects"] == connection.metrics.reconnect_successes == 1
    assert stream["state"] == "connected"
    assert sum(stream["rate"].values()) == stream["events"]
    assert stream["last"] == pytest.approx(connection.info().last_event, abs=0.1)


def test_rates_are_of_the_last_minute() -> None:
    watched = Watched()
    watched.simulation.network.server("http://a.example", events_every(0.5, 1000))
    watched.follow()
    for half in range(1, 400):
        watched.simulation.run(until=half / 2)
        watched.look()
    rate = watched.look()["streams"]["1"]["rate"]
    seconds = [int(second) for second in rate]
    assert len(rate) == WINDOW
    assert max(seconds) - min(seconds) == WINDOW - 1
    assert set(list(rate.values())[1:-1]) == {2}


def test_a_gap_is_the_time_between_two_events_and_belongs_to_the_second_it_ended_in() -> None:
    watched = Watched()
    connection = watched.follow()
    put = watched.board.events_of(connection)
    for at in (100.0, 100.25, 103.5, 103.75):
        put(ServerSentEvent(data="x"), at)
    assert watched.board.look(104.0)["streams"]["1"]["gaps"] == {"100": 0.25, "103": 3.25}


def test_a_clock_that_is_set_back_makes_no_gap_and_leaves_no_future() -> None:
    watched = Watched()
    connection = watched.follow()
    put = watched.board.events_of(connection)
    put(ServerSentEvent(data="x"), 1000.0)
    put(ServerSentEvent(data="x"), 990.0)
    assert watched.board.look(990.5)["streams"]["1"]["gaps"] == {"990": 0.0}


def test_durations_of_connects_are_the_metrics_own() -> None:
    watched = Watched()
    watched.simulation = Simulation(1, latency=0.05)
    watched.simulation.network.server("http://a.example", events_every(1.0, 50))
    connection = watched.follow()
    watched.simulation.run(until=5.0)
    connects = watched.look()["streams"]["1"]["connects"]
    assert connects == {"1": round(connection.metrics.connect_durations.last or 0, 6)}
    assert connects["1"] > 0.05


def kinds(state: State) -> list[str]:
    return [entry["kind"] for entry in state["feed"].values()]


def test_a_failure_is_told_once_with_its_cause_and_so_is_the_recovery() -> None:
    watched = Watched()
    watched.simulation.network.server(
        "http://a.example",
        [Respond(), send_event("x", id="1"), Cut()],
        [Respond(), send_event("x", id="2"), Stall()],
    )
    watched.follow()
    watched.simulation.run(until=20.0)
    state = watched.look()
    assert kinds(state) == ["retry", "recovered"]
    failure, recovery = state["feed"].values()
    assert failure["text"].startswith("retry 1 in ")
    assert failure["who"] == recovery["who"] == 1
    assert failure["error"] == "RemoteProtocolError"
    assert failure["cause"] == spans(state)[-2][3] != ""
    assert recovery["text"].startswith("connected after ")


def test_a_failure_that_repeats_itself_is_one_entry_that_counts() -> None:
    watched = Watched()
    watched.simulation.network.outage(0.0, 600.0)
    watched.simulation.network.server("http://a.example", broadcast)
    connection = watched.follow()
    watched.simulation.run(until=500.0)
    (entry,) = watched.look()["feed"].values()
    assert entry["kind"] == "retry"
    assert entry["times"] == connection.metrics.reconnect_attempts + 1 > 10
    assert entry["first"] == pytest.approx(spans(watched.look())[0][1], abs=0.01)
    watched.simulation.run(until=700.0)
    assert kinds(watched.look()) == ["retry", "recovered"]
    watched.simulation.network.outage(800.0, 800.01)
    watched.simulation.run(until=810.0)
    entries = list(watched.look()["feed"].values())
    assert len(entries) >= 3  # what comes after a success is another story
    assert "times" not in entries[2]


def test_what_fails_for_good_is_told_as_that() -> None:
    watched = Watched()
    watched.simulation.network.server("http://a.example", [Respond(404, content=b"no")])
    watched.follow()
    watched.simulation.run(until=5.0)
    state = watched.look()
    assert kinds(state) == ["failed"]
    (entry,) = state["feed"].values()
    assert "404" in entry["cause"]
    assert state["streams"]["1"]["state"] == "error"


def test_an_end_that_is_no_failure_is_told() -> None:
    watched = Watched()
    watched.simulation.network.server("http://a.example", [Respond(204)])
    watched.follow()
    watched.simulation.run(until=5.0)
    assert kinds(watched.look()) == ["ended"]


def test_a_wait_for_a_retry_says_until_when() -> None:
    watched = Watched()
    watched.simulation.network.outage(0.0, 1000.0)
    connection = watched.follow()
    watched.simulation.run(until=60.0)
    stream = watched.look()["streams"]["1"]
    assert stream["next"] == pytest.approx(connection.info().next_reconnect, abs=0.1)
    assert stream["attempt"] == connection.info().reconnect_attempts > 3


def broadcast(request: IncomingRequest) -> list[Step]:
    return [Respond(), send_event("hello", id="1"), Stall()]


def short(request: IncomingRequest) -> list[Step]:
    return [Respond(), send_event("hello", id="1"), Cut()]


def test_a_pool_shows_its_members_its_use_and_its_endpoints_breakers() -> None:
    simulation = Simulation(1)
    for host in "ab":
        simulation.network.server(f"http://{host}.example", *[broadcast] * 100)
    config = PoolConfig(
        ["http://a.example/events", "http://b.example/events"],
        connection=FOR_EVER,
        min_size=4,
        max_size=8,
        breaker=BreakerConfig(failures=1, open_for=300.0),
    )
    pool = simulation.pool(config)
    board = Board(pool.members, pool.stats)
    pool.observe(lambda source, news: board.news(source, news, simulation.clock.now))
    simulation.network.outage(10.0, 200.0, "http://b.example")
    with pool:
        simulation.run(until=5.0)
        lease = pool.acquire()
        before = board.look(simulation.clock.now)
        simulation.run(until=60.0)
        after = board.look(simulation.clock.now)
        stats = pool.stats()
        lease.release()
    assert len(before["streams"]) == len(after["streams"]) == 4
    assert before["pool"]["utilization"] == after["pool"]["utilization"] == 12.5
    assert [after["endpoints"][place]["breaker"] for place in "01"] == ["closed", "open"]
    for place, endpoint in enumerate(stats.endpoints):
        shown = after["endpoints"][str(place)]
        assert shown["failures"] == endpoint.failures
        assert shown["lost"] == endpoint.lost
        assert shown["url"] == endpoint.endpoint
    breaker = [entry for entry in after["feed"].values() if entry["kind"] == "breaker"]
    assert [entry["breaker"] for entry in breaker] == ["open"]
    assert breaker[0]["cause"]
    # All of them are at the endpoint that is left, and shown there.
    assert {stream["name"] for stream in after["streams"].values()} == {"http://a.example/events"}


def test_a_member_that_is_gone_is_no_row_any_more_and_its_number_is_not_used_again() -> None:
    watched = Watched()
    first = watched.follow()
    watched.look()
    watched.connections.clear()
    assert watched.board.look(1.0)["streams"] == {}
    second = watched.follow("http://b.example/events")
    assert list(watched.look()["streams"]) == ["2"]
    assert first is not second


# --- What a server says --------------------------------------------------------------------------


def test_text_stays_text_and_what_cannot_be_seen_is_made_visible() -> None:
    watched = Watched()
    put = watched.board.events_of(watched.follow())
    put(ServerSentEvent("a\x1bb", "<script>x</script>\u202e\0\nline", "i\x7f"), 1.0)
    (event,) = watched.board.look(2.0)["streams"]["1"]["latest"].values()
    assert event["data"] == "<script>x</script>\\u202e\\x00\nline"
    assert event["type"] == "a\\x1bb"
    assert event["id"] == "i\\x7f"


def test_secrets_are_taken_out_before_half_of_one_could_remain() -> None:
    secret = "tops3cret" * 5
    watched = Watched(hide=lambda text: text.replace(secret, "…"))
    put = watched.board.events_of(watched.follow())
    put(ServerSentEvent("message", "x" * 390 + secret + secret), 1.0)
    put(ServerSentEvent(secret, secret, secret), 1.0)
    state = watched.board.look(2.0)
    assert "tops3" not in json.dumps(state)


def test_an_observer_is_told_no_secret_either() -> None:
    watched = Watched(hide=lambda text: text.replace("hunter2", "…"))
    connection = watched.follow(name="hunter2")
    watched.board.news(
        connection,
        EndpointChanged(
            "http://a.example", BreakerState.CLOSED, BreakerState.OPEN, 1.0, IdleTimeout("hunter2")
        ),
        1.0,
    )
    state = watched.look()
    assert "hunter2" not in json.dumps(state)
    assert state["feed"]["1"]["cause"] == "…"


# --- Bounds --------------------------------------------------------------------------------------


def test_memory_is_bounded_whatever_comes() -> None:
    watched = Watched()
    connection = watched.follow()
    put = watched.board.events_of(connection)
    for number in range(5000):
        put(ServerSentEvent("t" * 1000, "d" * 100_000, "i" * 1000), number / 7)
    for number in range(1000):
        error = IdleTimeout("e" * 100_000)
        change = StateChanged(connection.state, connection.state, 0.0, error)
        watched.board.news(connection, EndpointChanged("u" * 9999, *_OPENED, 0.0, error), number)
        watched.board.news(connection, change, number)
    state = watched.board.look(720.0)
    stream = state["streams"]["1"]
    assert len(stream["latest"]) == 40
    assert list(stream["latest"])[-1] == "5000"
    assert len(stream["gaps"]) <= WINDOW
    assert len(state["feed"]) == 200
    assert len(json.dumps(state)) < 400_000


_OPENED = (BreakerState.CLOSED, BreakerState.OPEN)


def _event(field: str, text: str) -> ServerSentEvent:
    kind, data, id = (text if field == each else "" for each in ("event", "data", "id"))
    return ServerSentEvent(kind, data, id)


@pytest.mark.parametrize("field", ["event", "data", "id"])
def test_of_what_waits_to_be_looked_at_no_more_is_kept_than_can_be_shown(field: str) -> None:
    watched = Watched()
    puts = [watched.board.events_of(watched.follow(f"http://h{n}.example/")) for n in range(100)]
    watched.look()  # so many that each has room for few
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for put in puts:
            for number in range(40):
                put(_event(field, f"{number}" + "x" * 100_000), 1.0)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 10 << 20  # of 400 MB


def test_of_many_streams_each_has_a_few_latest_events() -> None:
    watched = Watched()
    puts = [
        watched.board.events_of(watched.follow(f"http://h{number}.example/"))
        for number in range(100)
    ]
    for put in puts:
        for number in range(20):
            put(ServerSentEvent(data=str(number)), 1.0)
    shown = watched.board.look(2.0)["streams"]
    assert {
        tuple(event["data"] for event in stream["latest"].values()) for stream in shown.values()
    } == {("16", "17", "18", "19")}


def test_a_timeline_keeps_its_numbers_while_its_oldest_spans_are_forgotten() -> None:
    watched = Watched()
    watched.simulation.network.server("http://a.example", *[short] * 200)
    connection = watched.follow()
    before: dict[str, Any] = {}
    for step in range(1, 300):
        watched.simulation.run(until=step / 10)
        now = watched.look()["streams"]["1"]["spans"]
        for number in before.keys() & now.keys():
            assert before[number]["state"] == now[number]["state"]
            assert before[number]["began"] == pytest.approx(now[number]["began"], abs=0.002)
        before = now
    assert len(before) == len(connection.timeline()) == 100
    assert int(next(iter(before))) > 1


# --- The whole of it -----------------------------------------------------------------------------

DOINGS = st.lists(
    st.tuples(
        st.sampled_from(["run", "run", "run", "look", "follow", "leave", "restart"]),
        st.floats(0.01, 30.0),
    ),
    min_size=1,
    max_size=25,
)


@given(DOINGS, st.integers(0, 1000))
def test_a_viewer_that_applies_patches_sees_what_is_there(
    doings: list[tuple[str, float]], seed: int
) -> None:
    watched = Watched(seed)
    server = watched.simulation.network.server("http://a.example", *[broadcast] * 5)
    server.then(*[short] * 40)
    watched.simulation.network.outage(20.0, 45.0)
    known = watched.look()
    mine = copy.deepcopy(known)
    for what, amount in doings:
        match what:
            case "run":
                watched.simulation.run(until=watched.now + amount)
            case "follow":
                watched.follow()
            case "leave" if watched.connections:
                watched.connections.pop(0).close()
            case "restart" if watched.connections:
                watched.connections[-1].restart()
            case _:
                pass
        before = written(known)
        state = watched.look()
        assert written(known) == before  # what was given out does not change
        merged(mine, json.loads(json.dumps(difference(known, state))))
        assert written(mine) == written(state)
        known = state
        for connection, key in zip(watched.connections, state["streams"], strict=True):
            stream = state["streams"][key]
            assert stream["state"] == connection.state.value
            assert stream["events"] == connection.metrics.events_received
            assert lived(connection.timeline()) == spans(state, key)
            assert sum(stream["rate"].values()) <= stream["events"]
