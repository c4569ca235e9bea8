"""What is there for monitoring: observers, members, and sums that never go back."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sansio_sse import (
    CloseTransport,
    ConnectionConfig,
    ConnectionMetrics,
    ConnectionState,
    EndpointChanged,
    EndpointStats,
    ErrorOccurred,
    MemberChanged,
    OpenTransport,
    PoolConfig,
    PoolStats,
    ReconnectionPolicy,
    ScheduleReconnect,
    StateChanged,
)
from sansio_sse.driver import ConnectionDriver
from sansio_sse.endpoints import BreakerState
from sansio_sse.testing import (
    Cut,
    Respond,
    Send,
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
        assert len(streams.members()) == 1
        metrics, stats = streams.metrics, streams.stats()
        assert (metrics.events_received, metrics.comments_received) == (2, 2)
        assert metrics.connect_durations.count == 2
        assert (stats.events_received, stats.connect_successes) == (2, 2)
        assert repr(stats) == "<StreamSetStats 1 stream, 1 connected, 2 events>"


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


def test_a_pool_reads_well_in_a_log() -> None:
    endpoint = EndpointStats(URL, BreakerState.OPEN, False, 0, 0, 2, 1, 1, 0, 1, None)
    stats = PoolStats(max_size=9, total=2, active=1, failed=1, endpoints=[endpoint] * 6)
    assert repr(stats).startswith(
        f"<PoolStats 1 in use of 2, at most 9, 0 healthy, 1 failed, {URL} open"
    )
    assert repr(stats).endswith(", 1 more endpoints>")
    assert repr(endpoint) == f"<EndpointStats {URL} open, 0 streams, 1 of 2 attempts, 0 lost>"
