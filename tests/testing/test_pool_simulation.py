"""A day in the life of a large pool: one of three endpoints dies for a minute and comes back.

``pytest tests/testing/test_pool_simulation.py -s`` prints the timeline: at each second in which
something changed, how many members have a stream, how many are at each endpoint, what the breakers
say, how many connects the servers saw in that second, and how many attempts were under way.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from sansio_sse import (
    BreakerState,
    ConnectionConfig,
    EndpointChanged,
    MemberChanged,
    MemberState,
    PoolConfig,
    PoolStats,
    PoolTimeout,
)
from sansio_sse.testing import (
    IncomingRequest,
    Refuse,
    Respond,
    Send,
    Simulation,
    Stall,
    Step,
    describe_change,
    send_event,
)

HOSTS = ("http://a.example", "http://b.example", "http://c.example")
LIMIT = 100  # attempts at a time
LATENCY = 0.02
CONFIG = ConnectionConfig(buffer_size=100_000)  # nobody reads in this test


def broadcast(request: IncomingRequest) -> Iterator[Step]:
    yield Respond()
    yield send_event("hello", id="1")
    yield Send(b": still here\n\n", at=150.0)
    yield Stall()


@dataclass(frozen=True)
class Second:
    at: int
    healthy: int
    streams: tuple[int, ...]
    breakers: tuple[str, ...]
    connects: int
    under_way: int

    def __str__(self) -> str:
        streams = " ".join(f"{number:5d}" for number in self.streams)
        breakers = " ".join(f"{breaker:9}" for breaker in self.breakers)
        return (
            f"{self.at:4d} s  {self.healthy:6d} healthy  at a b c: {streams}  {breakers}"
            f"  {self.connects:5d} connects  {self.under_way:3d} under way"
        )


def outage(
    members: int, seed: int, trace: list[str] | None = None
) -> tuple[list[Second], PoolStats, int]:
    """Run 200 seconds, of which the first endpoint is down from 60 to 120; return what was seen."""
    simulation = Simulation(seed, latency=LATENCY, traced=trace is not None)
    servers = [simulation.network.server(host, broadcast) for host in HOSTS]
    simulation.network.outage(60.0, 120.0, HOSTS[0])
    config = PoolConfig(
        [f"{host}/events" for host in HOSTS],
        connection=CONFIG,
        min_size=members,
        max_size=members,
        max_connecting=LIMIT,
    )
    timeline: list[Second] = []
    stats = PoolStats()
    with simulation.pool(config) as pool:
        before = 0
        for at in range(1, 201):
            simulation.run(until=float(at))
            stats = pool.stats()
            connects = sum(server.connections for server in servers)
            places = stats.endpoints
            timeline.append(
                Second(
                    at,
                    stats.healthy_count,
                    tuple(place.streams for place in places),
                    tuple(place.breaker.value for place in places),
                    connects - before,
                    stats.attempts_under_way,
                )
            )
            before = connects
    if trace is not None:
        trace += simulation.trace
    return timeline, stats, simulation.network.transports


def changes(timeline: list[Second]) -> Iterator[Second]:
    last = None
    for second in timeline:
        seen = (second.healthy, second.streams, second.breakers, second.connects)
        if seen != last:
            yield second
        last = seen


@pytest.fixture(scope="module")
def ten_thousand() -> tuple[list[Second], PoolStats, int]:
    return outage(10_000, seed=1)


def test_ten_thousand_members_outlive_an_endpoint(
    ten_thousand: tuple[list[Second], PoolStats, int],
) -> None:
    timeline, stats, left = ten_thousand
    peak = max(second.connects for second in timeline)
    lines = [
        "",
        *map(str, changes(timeline)),
        f"peak {peak} connects a second, {stats.peak_connecting} at a time, {stats.moves} moves",
        "",
    ]
    sys.stdout.write("\n".join(lines))
    # The admission limit: never more at a time, and so no more a second than fit into their time.
    assert stats.peak_connecting == LIMIT
    assert peak <= LIMIT / (4 * LATENCY) * 1.05
    at = {second.at: second for second in timeline}
    assert at[59].healthy == 10_000
    assert at[60].healthy < 7_000  # a third is lost in one instant
    assert at[70].healthy == 10_000
    assert at[70].streams[0] == 0  # at the two others
    assert at[70].breakers[0] == BreakerState.OPEN
    assert at[125].breakers[0] == BreakerState.HALF_OPEN
    assert at[125].streams[0] == 1  # one has gone ahead
    last = timeline[-1]
    assert last.healthy == 10_000
    assert last.breakers == (BreakerState.CLOSED,) * 3
    assert min(last.streams) > 0.9 * max(last.streams)  # each has its share again
    assert left == 0  # the pool is closed, and no transport is open


def test_the_same_seed_gives_the_same_trace_and_another_seed_another() -> None:
    traces: list[list[str]] = [[], [], []]
    for seed, trace in zip((1, 1, 2), traces, strict=True):
        outage(300, seed, trace)
    first, second, other = traces
    assert len(first) > 5_000
    assert first == second
    assert first != other


def test_a_simulated_set_follows_many_urls() -> None:
    simulation = Simulation(seed=1)
    for host in HOSTS:
        simulation.network.server(host, broadcast)
    heard: list[str] = []
    streams = simulation.stream_set(
        on_event=lambda streams, key, event: heard.append(key), max_connecting=1, name="devices"
    )
    with streams:
        for host in HOSTS:
            streams.add(host, f"{host}/events")
        simulation.run(until=1.0)
        assert sorted(heard) == sorted(HOSTS)
        assert streams.stats().connected == 3
    assert simulation.network.transports == 0


def test_waiting_in_a_simulated_pool_lets_time_pass() -> None:
    simulation = Simulation(seed=1)
    simulation.network.server(HOSTS[0], [Refuse()])
    with simulation.pool(PoolConfig([HOSTS[0]], acquire_timeout=5.0)) as pool:
        changes = pool.changes()
        with pytest.raises(PoolTimeout, match="refused"):
            pool.acquire()
        assert simulation.clock.now == 5.0
        assert describe_change(next(changes)) == "member 1 new -> connecting"
        with pytest.raises(TimeoutError):
            pool.subscribe().receive(timeout=2.0)
        assert simulation.clock.now == 7.0


def test_what_a_callback_raises_comes_out_of_the_run_and_a_lost_lease_is_an_error() -> None:
    simulation = Simulation(seed=1)
    simulation.network.server(HOSTS[0], broadcast)

    def fail(pool: object, change: object) -> None:
        raise ValueError("a callback")

    with pytest.raises(ValueError, match="a callback"):
        simulation.pool(PoolConfig([HOSTS[0]], min_size=1), on_change=fail).open()
    with simulation.pool(PoolConfig([HOSTS[0]])) as pool:
        lease = pool.acquire()
        assert lease.receive().data == "hello"
        del lease
        with pytest.raises(AssertionError, match="never released"):
            simulation.run(until=simulation.clock.now + 1.0)


def test_changes_in_words() -> None:
    opened = EndpointChanged("http://a/", BreakerState.CLOSED, BreakerState.OPEN, 1.0)
    assert describe_change(opened) == "breaker http://a/ closed -> open"
    closed = MemberChanged(3, MemberState.IDLE, MemberState.CLOSED, 1.0, "http://a/", "idle")
    assert describe_change(closed) == "member 3 idle -> closed at http://a/, idle"


def test_a_transport_that_could_be_used_again_is_closed_in_a_simulation() -> None:
    simulation = Simulation(seed=1)
    simulation.network.server(HOSTS[0], [Respond(), send_event("[DONE]")])
    with simulation.pool(PoolConfig([HOSTS[0]])) as pool:
        with pool.stream(until="[DONE]") as stream:
            assert [event.data for event in stream] == ["[DONE]"]
        assert (pool.stats().handshakes, pool.stats().kept_transports) == (1, 0)
    assert simulation.network.transports == 0
