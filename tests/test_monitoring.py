"""What is there for monitoring: observers, members, and sums that never go back."""

import itertools
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sansio_sse import (
    CloseTransport,
    ConnectionClosed,
    ConnectionConfig,
    ConnectionMetrics,
    ConnectionState,
    EndpointChanged,
    EndpointStats,
    ErrorOccurred,
    ExchangeMachine,
    MemberChanged,
    OpenTransport,
    PoolConfig,
    PoolStats,
    ReconnectionPolicy,
    ScheduleReconnect,
    StartExchange,
    StateChanged,
)
from sansio_sse.driver import ConnectionDriver
from sansio_sse.endpoints import BreakerState
from sansio_sse.testing import (
    Cut,
    Respond,
    Send,
    SimulatedConnection,
    SimulatedPool,
    SimulatedStreamSet,
    Simulation,
    Stall,
    Step,
    send_event,
)

URL = "https://api.example.com/events"
HEAD: list[Step] = [Respond(), send_event("one", id="1"), Send(b": comment\n")]
PATIENT = ConnectionConfig(reconnection=ReconnectionPolicy(max_attempts=0))


# --- Observers ---------------------------------------------------------------------------------


def test_an_observer_is_told_of_all_but_events_and_data() -> None:
    simulation = Simulation()
    simulation.network.server(URL, [*HEAD, Cut()], [*HEAD, Stall()])
    connection = simulation.connection(URL, wait=False)
    news: list[tuple[object, object]] = []

    def observer(source: object, what: object) -> None:
        news.append((source, what))

    connection.observe(observer)
    connection.open()
    simulation.run(until=5.0)
    connection.unobserve(observer)
    connection.unobserve(observer)
    connection.close()
    simulation.run(until=5.0)
    assert {source for source, _ in news} == {connection}
    assert [type(what) for _, what in news] == [
        StateChanged,
        OpenTransport,
        StateChanged,
        CloseTransport,
        ErrorOccurred,
        StateChanged,
        ScheduleReconnect,
        OpenTransport,
        StateChanged,
    ]


def test_what_an_observer_sees_is_so_already() -> None:
    simulation = Simulation()
    simulation.network.server(URL, [*HEAD, Stall()])
    connection = simulation.connection(URL, wait=False)
    seen: list[tuple[ConnectionState, ConnectionState]] = []

    def observer(source: ConnectionDriver, news: object) -> None:
        if isinstance(news, StateChanged):
            assert source.state is news.new
            assert source.timeline()[-1].state is news.new
            seen.append((news.old, news.new))

    connection.observe(observer)
    with connection:
        simulation.run(until=1.0)
    assert len(seen) == 3


def test_an_observer_is_told_before_anything_follows_from_it() -> None:
    simulation = Simulation()
    simulation.network.server(URL, [*HEAD, Stall()])
    told: list[tuple[str, object]] = []
    connection = simulation.connection(
        URL, wait=False, on_change=lambda _, change: told.append(("callback", change.new))
    )

    def observer(source: object, news: object) -> None:
        if isinstance(news, StateChanged):
            told.append(("observer", news.new))

    connection.observe(observer)
    with connection:
        simulation.run(until=1.0)
    states = (ConnectionState.CONNECTING, ConnectionState.CONNECTED, ConnectionState.CLOSED)
    assert told == [(who, state) for state in states for who in ("observer", "callback")]


def test_observers_are_told_in_their_order_and_one_that_goes_leaves_the_others() -> None:
    simulation = Simulation()
    simulation.network.server(URL, lambda request: [*HEAD, Stall()])
    connection = simulation.connection(URL, wait=False)
    told: list[str] = []

    def observer_of(name: str) -> Callable[[object, object], None]:
        def observer(source: object, news: object) -> None:
            told.append(name)
            if name == "b":
                connection.unobserve(observer)  # not before the next piece of news

        return observer

    for name in "abc":
        connection.observe(observer_of(name))
    with connection:
        simulation.run(until=1.0)
    assert told[:5] == ["a", "b", "c", "a", "c"]
    assert told.count("b") == 1
    assert told.count("a") == told.count("c") > 3


def test_exchanges_of_an_http_client_are_news_as_transports_are() -> None:
    class ByExchange(SimulatedConnection):
        _carrier = ExchangeMachine

        def _act(self, action: object) -> None:
            """There is no client to do it."""

    connection = ByExchange(Simulation(), "client", URL, wait=False, reading=True)
    news: list[object] = []
    connection.observe(lambda source, what: news.append(what))
    connection.open()
    assert [type(what) for what in news] == [StateChanged, StartExchange]


def test_an_observer_that_raises_harms_nobody_and_the_others_are_told() -> None:
    simulation = Simulation()
    simulation.network.server(URL, [*HEAD, Stall()])
    connection = simulation.connection(URL, wait=False)
    raised: list[BaseException] = []
    told: list[object] = []

    def bad(source: object, news: object) -> None:
        raise ValueError("bad")

    connection.observe(bad)
    connection.observe(lambda source, news: told.append(news))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(connection), "_unhandled", lambda self, error: raised.append(error))
        connection.open()
        simulation.run(until=1.0)
    assert connection.state is ConnectionState.CONNECTED
    assert len(told) == len(raised) == 3


@pytest.mark.parametrize("position", range(11))
def test_an_interrupt_within_an_observer_comes_through_when_all_is_done(
    position: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SimulatedConnection, "_unhandled", lambda self, error: None)  # not there
    simulation = Simulation()
    simulation.network.server(URL, [*HEAD, Cut()], [*HEAD, Stall()])
    connection = simulation.connection(URL, wait=False)
    told: list[object] = []

    def observer(source: object, news: object) -> None:
        told.append(news)
        if len(told) == position + 1:
            raise KeyboardInterrupt

    connection.observe(observer)
    interrupts = 0
    for step in (
        connection._connect_now,
        lambda: simulation.run(until=1.0),
        lambda: simulation.run(until=5.0),
        connection._close_now,
    ):
        try:
            step()
        except KeyboardInterrupt:
            interrupts += 1
    simulation.run(until=10.0)
    assert interrupts == 1
    assert [type(news) for news in told[-2:]] == [CloseTransport, StateChanged]
    assert connection.state is ConnectionState.CLOSED
    assert connection._released()


def test_a_pool_tells_its_own_news_and_that_of_its_members() -> None:
    simulation = Simulation()
    simulation.network.server(URL, *[[Respond(503)]] * 9, [*HEAD, Stall()])
    pool = simulation.pool(PoolConfig([URL], connection=PATIENT, min_size=1))
    news: list[tuple[Any, object]] = []
    pool.observe(lambda source, what: news.append((source, what)))
    with pool:
        simulation.run(until=300.0)
    own = [type(what) for source, what in news if source is pool]
    assert set(own) == {MemberChanged, EndpointChanged}
    of_members = [(source, what) for source, what in news if source is not pool]
    assert {type(what) for _, what in of_members} >= {StateChanged, ScheduleReconnect}
    assert all(source.timeline() for source, _ in of_members)


def test_an_interrupt_within_an_observer_of_a_pool_costs_the_pool_nothing() -> None:
    simulation = Simulation()
    simulation.network.server(URL, lambda request: [*HEAD, Stall()])
    pool = simulation.pool(PoolConfig([URL], connection=PATIENT, min_size=2))
    interrupts: list[object] = []

    def interrupted(source: object, news: object) -> None:
        if source is pool and not interrupts:
            interrupts.append(news)
            raise KeyboardInterrupt

    pool.observe(interrupted)
    with pytest.raises(KeyboardInterrupt):
        pool.open()
    simulation.run(until=5.0)
    assert isinstance(interrupts[0], MemberChanged)
    assert pool.healthy_count == 2
    pool.close()
    pool.wait_closed()


# --- Members and their sums --------------------------------------------------------------------


def check_sum(group: SimulatedPool | SimulatedStreamSet, before: ConnectionMetrics) -> None:
    after = group.metrics
    for name in ("events_received", "bytes_received", "comments_received", "connect_attempts"):
        assert getattr(after, name) >= getattr(before, name), name


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(["acquire", "release", "drop", "wait"]), max_size=12))
def test_what_a_pool_has_counted_never_goes_back_and_is_what_its_members_counted(
    steps: list[str],
) -> None:
    simulation = Simulation(traced=False)
    simulation.network.server(URL, lambda request: [*HEAD, Stall()])
    pool = simulation.pool(PoolConfig([URL], connection=PATIENT, max_size=3, max_idle=5.0))
    seen: dict[object, ConnectionDriver] = {}
    leases: list[Any] = []
    with pool:
        for step in steps:
            before = pool.metrics
            match step:
                case "acquire" if len(leases) < 3:
                    leases.append(pool.acquire())
                case "release" if leases:
                    leases.pop().release()
                case "drop" if leases:
                    leases.pop().release(unread="close")
                case _:
                    simulation.run(until=simulation.clock.now + 3.0)
            seen |= {id(member): member for member in pool.members()}
            check_sum(pool, before)
        for lease in leases:
            lease.release()
    total = ConnectionMetrics.total(member.metrics for member in seen.values())
    assert pool.members() == ()
    assert pool.metrics == total
    assert total.connect_successes == len(seen)
    assert total.comments_received == total.events_received == len(seen)


def comments_and_more(metrics: ConnectionMetrics) -> tuple[int, ...]:
    """What must be the same before and after a member has left."""
    return (
        metrics.comments_received,
        metrics.events_received,
        metrics.bytes_received,
        metrics.connect_attempts,
        metrics.connect_durations.count,
    )


def at_each_line(action: Callable[[], object], look: Callable[[], object]) -> int:
    """Call ``look`` before each line of the core that ``action`` runs, as another thread may.

    Return how many lines there were.
    """
    before, lines = sys.gettrace(), 0

    def in_function(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal lines
        if event == "line":
            lines += 1
            sys.settrace(None)
            try:
                look()
            finally:
                sys.settrace(trace)
        return in_function

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        return in_function if frame.f_globals["__name__"].startswith("sansio_sse.") else None

    sys.settrace(trace)
    try:
        action()
    finally:
        sys.settrace(before)
    return lines


def two_streams() -> tuple[Simulation, SimulatedStreamSet]:
    simulation = Simulation(traced=False)
    simulation.network.server(URL, lambda request: [*HEAD, Stall()])
    streams = simulation.stream_set()
    streams.open()
    for key in "ab":
        streams.add(key, URL)
    simulation.run(until=1.0)
    return simulation, streams


def test_a_reader_in_another_thread_counts_nothing_twice_while_a_member_leaves() -> None:
    simulation, streams = two_streams()
    seen: list[ConnectionMetrics] = []

    def leave() -> None:
        streams.remove("a")
        simulation.run(until=2.0)

    lines = at_each_line(leave, lambda: seen.append(streams.metrics))
    assert len(seen) == lines > 100
    assert len(streams.members()) == 1
    assert {comments_and_more(metrics) for metrics in seen} == {comments_and_more(streams.metrics)}


def test_a_member_that_leaves_while_a_reader_adds_up_is_counted_once() -> None:
    place, lines = 0, 1
    while place < lines:
        simulation, streams = two_streams()
        before, passed = comments_and_more(streams.metrics), itertools.count()
        seen: list[ConnectionMetrics] = []

        def leave(
            passed: Any = passed,
            streams: SimulatedStreamSet = streams,
            simulation: Simulation = simulation,
            here: int = place,
        ) -> None:
            if next(passed) == here:
                streams.remove("a")
                simulation.run(until=2.0)

        def look(
            seen: list[ConnectionMetrics] = seen, streams: SimulatedStreamSet = streams
        ) -> None:
            seen.append(streams.metrics)

        lines = at_each_line(look, leave)
        assert comments_and_more(seen[0]) == before, f"line {place} of {lines}"
        place += 1
    assert place > 20


def test_who_was_seen_before_it_left_is_counted_once_also_a_hundred_departures_later() -> None:
    simulation, streams = two_streams()
    (number, member), *_ = streams._connections.items()
    for key in range(99):
        streams.add(key, URL)
    simulation.run(until=60.0)
    streams.remove("a")
    for key in range(99):
        streams.remove(key)
    simulation.run(until=61.0)
    before = comments_and_more(streams.metrics)
    assert before[0] == 101
    streams._connections[number] = member  # as a reader would have it that began before all that
    assert comments_and_more(streams.metrics) == before


def test_what_was_forgotten_of_the_departed_is_bounded() -> None:
    simulation, streams = two_streams()
    for key in range(300):
        streams.add(key, URL)
        streams.remove(key)
    simulation.run(until=61.0)
    assert len(streams._departed[1]) <= 101


def test_comments_do_not_go_back_for_a_reader_in_another_thread_while_a_stream_is_replaced() -> (
    None
):
    simulation = Simulation(traced=False)
    simulation.network.server(URL, lambda request: [*HEAD, Stall()])
    connection = simulation.connect(URL)
    simulation.run(until=1.0)
    seen: list[int] = []

    def replace() -> None:
        connection.restart()
        simulation.run(until=2.0)

    at_each_line(replace, lambda: seen.append(connection.metrics.comments_received))
    assert seen == sorted(seen)
    assert set(seen) == {1, 2}


def test_who_is_on_its_way_out_is_no_member_any_more() -> None:
    simulation, streams = two_streams()
    present: list[bool] = []

    def observer(source: Any, news: object) -> None:
        if isinstance(news, CloseTransport):
            present.append(source in streams.members())

    streams.observe(observer)
    streams.remove("a")
    simulation.run(until=2.0)
    assert present == [False]


def test_a_set_counts_those_that_were_removed() -> None:
    simulation = Simulation()
    simulation.network.server(URL, lambda request: [*HEAD, Stall()])
    with simulation.stream_set() as streams:
        streams.add("a", URL)
        streams.add("b", URL)
        simulation.run(until=1.0)
        assert [member.state.value for member in streams.members()] == ["connected"] * 2
        assert streams.metrics.uptime == 1.0
        streams.remove("a")
        simulation.run(until=2.0)
        metrics, stats = streams.metrics, streams.stats()
        assert (metrics.events_received, metrics.comments_received) == (2, 2)
        assert metrics.connect_durations.count == 2
        assert (stats.events_received, stats.connect_successes) == (2, 2)
        assert repr(stats) == "<StreamSetStats 1 stream, 1 connected, 2 events>"


def test_a_set_counts_first_attempts_and_retries_as_attempts() -> None:
    simulation = Simulation()
    simulation.network.server(URL, [*HEAD, Cut()], [Respond(503)], [*HEAD, Stall()])
    with simulation.stream_set() as streams:
        streams.add("a", URL)
        simulation.run(until=5.0)
        stats = streams.stats()
    assert (stats.connect_attempts, stats.connect_successes) == (3, 2)


# --- What a log shows --------------------------------------------------------------------------


def test_a_connection_reads_well_in_a_log() -> None:
    simulation = Simulation()
    simulation.network.server(URL, [*HEAD, Cut()], [*HEAD, Stall()], [Respond(403)])
    connection = simulation.connect(f"{URL}?key=hunter2", name="prices")
    where = f"'prices' {{}} {URL}?key=…"
    simulation.run(until=1.0)
    shown = f"<SimulatedConnection {where.format('connected')}, 2 events, 1 reconnect>"
    assert repr(connection) == shown
    connection.restart()
    simulation.run(until=1.0)
    assert repr(connection) == (
        f"<SimulatedConnection {where.format('error')}, 2 events, 1 reconnect,"
        " HTTPStatusError: the server answered 403 Forbidden>"
    )


def test_a_connection_that_waits_says_for_which_retry() -> None:
    simulation = Simulation()
    simulation.network.server(URL, [Cut()])
    connection = simulation.connect(URL, config=PATIENT)
    simulation.run_until(lambda: connection.info().reconnect_attempts == 2)
    assert repr(connection) == f"<SimulatedConnection reconnecting {URL}, retry 2>"


def test_a_lease_that_has_ended_tells_no_timeline() -> None:
    simulation = Simulation()
    simulation.network.server(URL, [*HEAD, Stall()])
    with simulation.pool(PoolConfig([URL])) as pool:
        lease = pool.acquire()
        assert lease.timeline()[-1].state is ConnectionState.CONNECTED
        lease.release()
        with pytest.raises(ConnectionClosed, match="lease"):
            lease.timeline()


def test_a_pool_reads_well_in_a_log() -> None:
    endpoint = EndpointStats(URL, BreakerState.OPEN, False, 0, 0, 2, 1, 1, 0, 1, None)
    stats = PoolStats(max_size=9, total=2, active=1, failed=1, waiters=3, endpoints=[endpoint] * 6)
    assert repr(stats).startswith(
        f"<PoolStats 1 in use of 2, at most 9, 0 healthy, 1 failed, 3 waiting, {URL} open"
    )
    assert repr(stats).endswith(", 1 more endpoints>")
    assert repr(PoolStats(max_size=9)) == "<PoolStats 0 in use of 0, at most 9, 0 healthy>"
    assert repr(endpoint) == f"<EndpointStats {URL} open, 0 streams, 1 of 2 attempts, 0 lost>"
