"""Sums that never go down, whatever comes and goes, and of which nothing is lost."""

import gc
import weakref
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from sansio_sse import ConnectionConfig, ConnectionMetrics, PoolConfig, ReconnectionPolicy, SSEError
from sansio_sse.testing import (
    Cut,
    End,
    IncomingRequest,
    Respond,
    Send,
    SimulatedConnection,
    Simulation,
    Stall,
    Step,
    send_event,
)
from sansio_sse_metrics.prometheus import SSECollector

from .exposed import Exposed, expose
from .test_prometheus_export import assert_connections_equal, never_down

HOSTS = ("http://a.example", "http://b.example")
CONFIG = ConnectionConfig(
    reconnection=ReconnectionPolicy(initial_delay=0.5, max_attempts=2, max_delay=1.0)
)


class History:
    """Connections and a pool, of which any may be shown or not, and what is seen of them."""

    def __init__(self, seed: int) -> None:
        self.simulation = Simulation(seed, traced=False)
        steps: list[Step] = [Respond(), send_event("one", id="1"), Send(b": hm\n\n", after=0.7)]
        for host in HOSTS:
            self.simulation.network.server(
                host,
                [*steps, Cut()],
                [Respond(503)],
                [*steps, send_event("two", after=0.3), End()],
                [*steps, Stall()],
            )
        self.registry = CollectorRegistry()
        self.collector = SSECollector(registry=self.registry)
        self.connections: list[SimulatedConnection] = []
        self.pool = self.simulation.pool(PoolConfig(list(HOSTS), connection=CONFIG), name="p")
        self.pool.open()
        self.shown: dict[int, Any] = {}  # once at least
        self.seen: Exposed | None = None

    def do(self, what: str, number: int) -> None:
        if what == "open":
            host = HOSTS[number % 2]
            self.connections.append(self.simulation.connect(f"{host}/events", config=CONFIG))
        elif what == "add":
            for source in self._one(number):
                if id(source) not in self.shown:
                    self.shown[id(source)] = source
                    self.collector.add(source)
        elif what == "again":  # those that are shown, or were
            for source in self.shown.values():
                if source is self.pool or source.state != "closed":
                    self.collector.add(source)
        elif what == "remove":
            self.collector.remove(*self._one(number))
        elif what == "close":
            for connection in self.connections[number : number + 1]:
                connection.close()
        elif what == "stream":
            with self.pool.stream("/events", until="one") as stream:
                assert stream.receive().data == "one"
        elif what == "pass":
            self.simulation.run(until=self.simulation.clock.now + number / 2)
        else:
            self.look()

    def _one(self, number: int) -> list[Any]:
        return self.connections[number : number + 1] or [self.pool]

    def look(self) -> Exposed:
        seen = expose(self.registry)
        never_down(self.seen, seen)
        self.seen = seen
        return seen

    def end(self) -> None:
        for connection in self.connections:
            connection.close()
        self.pool.close()
        self.simulation.run(until=self.simulation.clock.now + 1.0)


STEPS = ["open", "add", "again", "remove", "close", "stream", "pass", "look"]


def histories(steps: list[str]) -> st.SearchStrategy[list[tuple[str, int]]]:
    return st.lists(st.tuples(st.sampled_from(steps), st.integers(0, 4)), max_size=25)


@given(st.integers(0, 3), histories(STEPS))
@settings(deadline=None, max_examples=60)
def test_counters_never_go_down(seed: int, steps: list[tuple[str, int]]) -> None:
    history = History(seed)
    for what, number in steps:
        history.do(what, number)
    history.look()
    history.end()
    history.look()


@given(st.integers(0, 3), histories([step for step in STEPS if step != "remove"]))
@settings(deadline=None, max_examples=60)
def test_nothing_is_lost_or_counted_twice(seed: int, steps: list[tuple[str, int]]) -> None:
    history = History(seed)
    for what, number in steps:
        history.do(what, number)
    history.end()
    seen = history.look()
    alone = [source.metrics for source in history.shown.values() if source is not history.pool]
    if alone:
        assert_connections_equal(seen, "", ConnectionMetrics.total(alone))
    if id(history.pool) in history.shown and history.pool.metrics.connect_attempts:
        assert_connections_equal(seen, "p", history.pool.metrics)


def test_what_was_counted_stays_when_a_source_is_removed() -> None:
    history = History(1)
    history.do("open", 0)
    history.do("pass", 2)
    (connection,) = history.connections
    connection.restart()
    history.do("pass", 1)
    history.collector.add(connection)
    added = connection.metrics.bytes_received
    history.do("pass", 1)  # bytes come, but no news
    before = connection.metrics
    assert before.bytes_received > added
    history.collector.remove(connection, connection, history.pool)  # also what is not there
    history.do("pass", 4)
    assert connection.metrics.bytes_received > before.bytes_received
    connection.restart()
    history.do("pass", 4)
    seen = history.look()
    assert_connections_equal(seen, "", before)
    assert seen.total("sse_client_connections") == 0
    history.end()


def test_members_that_were_gone_before_a_pool_was_added_are_counted_as_of_other_origins() -> None:
    history = History(1)
    history.do("stream", 0)
    history.do("stream", 0)
    lease = history.pool.acquire()
    history.collector.add(history.pool)
    seen = history.look()
    assert_connections_equal(seen, "p", history.pool.metrics)
    gone = seen.total("sse_client_connect_attempts_total", origin="other")
    assert gone == history.pool.metrics.connect_attempts - 1
    history.pool.release(lease)
    history.end()
    assert_connections_equal(history.look(), "p", history.pool.metrics)


def test_a_reading_that_comes_too_late_takes_nothing_back(monkeypatch: pytest.MonkeyPatch) -> None:
    history = History(1)
    history.do("open", 0)
    (connection,) = history.connections
    history.collector.add(connection)
    history.do("pass", 1)
    old = connection.info()
    history.do("pass", 3)
    assert connection.metrics.bytes_received > old.metrics.bytes_received
    history.look()
    with monkeypatch.context() as patch:
        patch.setattr(type(connection), "info", lambda self: old)
        history.look()
    assert_connections_equal(history.look(), "", connection.metrics)
    history.end()


def test_what_a_member_tells_after_its_end_does_not_count_it_again() -> None:
    history = History(1)
    history.collector.add(history.pool)
    lease = history.pool.acquire()
    (member,) = history.pool.members()
    history.pool.release(lease, "close")
    history.do("pass", 1)
    history.look()
    before = history.look()
    member.event_failed(SSEError("too late"))
    assert history.look().samples == before.samples
    history.end()


class Owner:
    """Somebody whom a connection holds, by its callback."""

    def changed(self, connection: object, change: object) -> None:
        pass


def finished(history: History, owners: list["weakref.ref[Owner]"]) -> SimulatedConnection:
    """A connection that is closed by its server, with an event that nobody has read."""

    def answer(request: IncomingRequest) -> list[Step]:
        return [Respond(204)] if request.last_event_id else [Respond(), send_event("one", id="1")]

    history.simulation.network.server("http://ends.example", answer)
    owner = Owner()
    owners.append(weakref.ref(owner))
    connection = history.simulation.connect(
        "http://ends.example/", reading=False, config=CONFIG, on_change=owner.changed
    )
    history.collector.add(connection)
    history.do("pass", 4)
    assert connection.state == "closed"
    return connection


def living(owners: list["weakref.ref[Owner]"]) -> int:
    gc.collect()
    return sum(owner() is not None for owner in owners)


def test_a_closed_connection_is_let_go_of_when_it_has_been_read_twice() -> None:
    history, owners = History(1), list[weakref.ref[Owner]]()
    connection = finished(history, owners)
    history.look()
    connection.close()  # which drops the event
    history.do("pass", 1)
    metrics = connection.metrics
    assert metrics.events_dropped == 1
    history.simulation.connections.clear()
    del connection
    assert living(owners) == 1  # its last numbers have not been seen
    history.look()
    assert living(owners) == 0
    assert_connections_equal(history.look(), "", metrics)
    history.end()


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked for what is closed with every few connections."""
    monkeypatch.setattr("sansio_sse_metrics.census._SWEEP", 32)


@pytest.mark.usefixtures("soon")
def test_where_nobody_looks_what_is_closed_is_not_hoarded() -> None:
    history, owners = History(1), list[weakref.ref[Owner]]()

    def come_and_go() -> ConnectionMetrics:
        connection = finished(history, owners)
        connection.close()
        history.do("pass", 1)
        history.simulation.connections.clear()
        return connection.metrics

    total = ConnectionMetrics.total(come_and_go() for _ in range(150))
    assert living(owners) < 75
    assert_connections_equal(history.look(), "", total)
    history.end()


@pytest.mark.usefixtures("soon")
def test_nor_are_members_that_are_gone() -> None:
    history, owners = History(1), list[weakref.ref[Owner]]()
    history.collector.add(history.pool)
    for _ in range(150):
        owner = Owner()
        owners.append(weakref.ref(owner))
        held = owner.changed  # a hook that the member holds, and nobody else

        def prepare(request: Any, attempt: int, held: Any = held) -> Any:
            return request

        with history.pool.stream("/events", until="one", prepare_request=prepare) as stream:
            assert stream.receive().data == "one"
        del owner, held, prepare, stream
    assert living(owners) < 75
    assert_connections_equal(history.look(), "p", history.pool.metrics)
    history.end()
