"""Connections over a scripted network: every step, outages, days in seconds, traces that repeat."""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from sansio_sse import (
    BufferOverflow,
    ConnectError,
    ConnectionClosed,
    ConnectionConfig,
    ConnectionLost,
    ConnectionState,
    ConnectTimeout,
    HeartbeatConfig,
    HTTPStatusError,
    IdleTimeout,
    ReconnectionPolicy,
    RemoteProtocolError,
    Request,
    ResponseTimeout,
    ServerSentEvent,
    SSEError,
    Timeouts,
    TLSError,
    WriteTimeout,
)
from sansio_sse.testing import (
    Accept,
    Behaviour,
    Cut,
    End,
    EventLog,
    IncomingRequest,
    Refuse,
    Reset,
    Respond,
    Send,
    SimulatedConnection,
    Simulation,
    Stall,
    Step,
    send_event,
)

URL = "https://api.example.com/events"
ONCE = ConnectionConfig(reconnection=ReconnectionPolicy(enabled=False))
FOR_EVER = ConnectionConfig(reconnection=ReconnectionPolicy(max_attempts=0))


def failure_of(*behaviours: Behaviour, config: ConnectionConfig = ONCE) -> tuple[SSEError, float]:
    """What a connection dies of that does not try again, and when."""
    simulation = Simulation()
    simulation.network.server(URL, *behaviours)
    connection = simulation.connect(URL, config=config)
    errors = connection.errors()
    simulation.run(until=3600)
    assert connection.state is ConnectionState.ERROR
    assert simulation.network.transports == 0
    last_change = [line for line in simulation.trace if " state " in line][-1]
    return next(errors), float(last_change.split()[0])


# --- The steps ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("why", "kind", "text"),
    [
        ("refused", ConnectError, "Connection refused"),
        ("unreachable", ConnectError, "Network is unreachable"),
        ("reset", ConnectError, "Connection reset by peer"),
        ("dns", ConnectError, "Name or service not known"),
        ("tls", TLSError, "handshake failure"),
        ("certificate", TLSError, "does not verify for api.example.com:443: self-signed"),
        (lambda: OSError(113, "No route to host"), ConnectError, "No route to host"),
    ],
)
def test_a_transport_that_does_not_open(why: Any, kind: type[SSEError], text: str) -> None:
    error, at = failure_of([Refuse(why, after=2.5)])
    assert type(error) is kind
    assert text in str(error)
    assert error.retryable is (why != "certificate")
    assert at == 2.5


def test_accepting_takes_the_time_it_takes() -> None:
    simulation = Simulation(latency=0.1)
    simulation.network.server(URL, [Accept(after=3), Respond(after=1), send_event("x"), Stall()])
    with simulation.connection(URL) as connection:
        # There and back for the opening, there and back for the request.
        assert simulation.clock.now == pytest.approx(4.4)
        assert connection.receive(timeout=0) == ServerSentEvent(data="x")


def test_a_transport_that_opens_too_late() -> None:
    assert failure_of([Accept(after=11), Respond()])[1] == 10.0
    assert isinstance(failure_of([Accept(after=11), Respond()])[0], ConnectTimeout)


def test_a_server_that_does_not_read() -> None:
    error, at = failure_of([Accept(reading=False)])
    assert (type(error), at) == (WriteTimeout, 30.0)


def test_a_server_that_does_not_answer() -> None:
    error, at = failure_of([Stall()])
    assert (type(error), at) == (ResponseTimeout, 60.0)
    error, at = failure_of([Send(b"HTTP/1.1 200 ", splits=1, every=30), Stall()])
    assert (type(error), at) == (ResponseTimeout, 60.0)


@pytest.mark.parametrize(
    ("script", "kind", "text"),
    [
        ([Respond(), Cut(after=1)], RemoteProtocolError, "closed"),
        ([Respond(framing="close"), Cut(after=1)], ConnectionLost, "the server ended the stream"),
        ([Respond(), End(after=1)], ConnectionLost, "the server ended the stream"),
        ([Respond(), Stall(1)], ConnectionLost, "the server ended the stream"),
        ([Respond(), Stall(until=1), End(), Reset()], ConnectionLost, "the server ended"),
        ([Respond(), Reset(after=1)], ConnectionLost, "reset by peer"),
        ([Respond(), Stall(1.0), Refuse()], ConnectionLost, "Connection refused"),
        ([Respond(), Send(b"no chunk\n", at=1, raw=True)], RemoteProtocolError, "chunk"),
        ([Send(b"SSH-2.0", at=1)], RemoteProtocolError, "does not begin with HTTP"),
        ([Stall(1)], RemoteProtocolError, "before a response head"),
        ([], RemoteProtocolError, "before a response head"),
        ([Respond(503, after=1, content=b"busy")], HTTPStatusError, "503"),
        ([Respond(404, {"Content-Length": "9"}, after=1), Cut()], HTTPStatusError, "404"),
    ],
)
def test_how_a_response_goes_wrong(script: list[Step], kind: type[SSEError], text: str) -> None:
    error, at = failure_of(script)
    assert type(error) is kind
    assert text in str(error)
    assert at == (1.0 if script else 0.0)


@pytest.mark.parametrize("splits", [1, 7, (3, 4, 20), ()])
@pytest.mark.parametrize("framing", ["chunked", "close"])
def test_bytes_come_in_the_pieces_that_were_asked_for(framing: Any, splits: Any) -> None:
    data = b"id: 1\ndata: one\n\n: comment\n\ndata: two\n\n"
    simulation = Simulation()
    step = Send(data, splits=splits, every=0.5)
    respond = Respond(framing=framing)
    simulation.network.server(URL, [respond, step, Stall()])
    connection = simulation.connect(URL)
    simulation.run(until=60)
    assert [event.data for event in connection.received if isinstance(event, ServerSentEvent)] == [
        "one",
        "two",
    ]
    assert b"".join(step.pieces()) == data
    received = [line for line in simulation.trace if " received " in line]
    assert len(received) == 1 + len(list(step.pieces()))
    assert float(received[-1].split()[0]) == 0.5 * (len(received) - 2)


def test_an_empty_piece_does_not_end_a_chunked_body() -> None:
    simulation = Simulation(latency=0.1)
    simulation.network.server(
        URL, [Respond(), Send(b""), Send(b"data: x\n\n", splits=(0,)), Stall()]
    )
    connection = simulation.connect(URL)
    simulation.run(until=60)
    assert len(connection.received) == 1
    assert connection.state is ConnectionState.CONNECTED


def test_a_204_and_a_head_of_ones_own() -> None:
    simulation = Simulation()
    simulation.network.server(
        URL,
        [
            Respond(200, {"Content-Type": "text/event-stream", "Content-Length": "10"}),
            Send(b"data: x\n\n\n"),
        ],
        [Respond(204)],
    )
    connection = simulation.connect(URL)
    simulation.run(until=60)
    assert len(connection.received) == 1
    assert connection.state is ConnectionState.CLOSED


def test_a_redirect_goes_to_the_other_server() -> None:
    simulation = Simulation()
    moved = simulation.network.server(URL, [Respond(307, {"Location": "https://b.example.com/x"})])
    simulation.network.server("https://b.example.com", [Respond(), send_event("moved"), Stall()])
    connection = simulation.connect(URL)
    simulation.run(until=60)
    assert [event.data for event in connection.received if isinstance(event, ServerSentEvent)] == [
        "moved"
    ]
    assert repr(moved.requests) == "[<IncomingRequest 1 GET /events at 0 s>]"


def test_an_origin_without_a_server_is_a_mistake_and_no_weather() -> None:
    simulation = Simulation()
    with pytest.raises(ConnectError, match=r"no server is scripted for .*; there are: none"):
        simulation.connection(URL).open()
    simulation.network.server("http://other.example.com", [Respond()])
    with pytest.raises(ConnectError, match=r"there are: http://other.example.com"):
        simulation.connection(URL).open()


# --- Servers -----------------------------------------------------------------------------------


def test_behaviours_stand_in_a_line_and_the_last_stays() -> None:
    simulation = Simulation()
    server = simulation.network.server(URL, [Refuse()], [Respond(), End()]).then([Respond(503)])
    connection = simulation.connect(URL, config=FOR_EVER)
    simulation.run(until=60)
    assert isinstance(connection.info().reconnect_attempts, int)
    assert server.refusals == 1
    assert server.connections == len(server.requests) + 1
    assert server.connections > 4
    assert repr(server) == "<ScriptedServer https://api.example.com>"
    with pytest.raises(ValueError, match="at least one behaviour"):
        simulation.network.server(URL)


def test_a_handler_sees_the_request() -> None:
    seen: list[IncomingRequest] = []

    def handler(request: IncomingRequest) -> Iterator[Step]:
        seen.append(request)
        yield Respond()
        yield send_event("x", id="é", after=1)
        yield Reset()

    simulation = Simulation()
    simulation.network.server(URL, handler)
    simulation.connect(URL + "?room=1", method="POST", json={"q": 1}, headers={"X-A": "1"})
    simulation.run(until=1.5)
    first, second = seen[:2]
    assert (first.method, first.target, first.path) == ("POST", "/events?room=1", "/events")
    assert (first.content, first.header("x-a"), first.header("X-B")) == (b'{"q":1}', "1", None)
    assert (first.number, first.at, first.last_event_id) == (1, 0.0, "")
    assert (second.number, second.last_event_id) == (2, "é")


def test_a_handler_that_is_a_generator_learns_that_the_client_left() -> None:
    left: list[float] = []
    simulation = Simulation()

    def handler(request: IncomingRequest) -> Iterator[Step]:
        try:
            yield Respond()
            yield Stall()
        finally:
            left.append(simulation.clock.now)

    simulation.network.server(URL, handler)
    connection = simulation.connect(URL)
    simulation.call_at(5, connection.close)
    simulation.run(until=10)
    assert left == [5.0]
    assert connection.state is ConnectionState.CLOSED


def test_the_log_goes_on_where_the_client_stopped() -> None:
    log = EventLog(retry=50, keep_alive=10.0)
    assert log.add("first", event="note") == "1"
    log.add_many(3, start=25.0, every=1.0)
    simulation = Simulation()
    server = simulation.network.server(URL, log)
    connection = simulation.connect(URL, include={"comments"})
    simulation.call_at(26.5, connection.restart)
    simulation.run(until=60)
    events = [event for event in connection.received if isinstance(event, ServerSentEvent)]
    assert events == log.events
    assert [request.last_event_id for request in server.requests] == ["", "3"]
    # A comment wherever ten seconds would have passed without a byte.
    comments = [float(line.split()[0]) for line in simulation.trace if " comment " in line]
    assert comments == [10.0, 20.0, 37.0, 47.0, 57.0]


def test_a_request_on_its_way_to_a_server_that_was_left_is_not_read() -> None:
    simulation = Simulation(latency=1.0)
    server = simulation.network.server(URL, [Respond(), Stall()])
    connection = simulation.connect(URL)
    simulation.call_at(2.5, connection.close)
    simulation.run(until=10)
    assert server.connections == 1
    assert server.requests == []


@pytest.mark.parametrize("cursor", ["nonsense", "99", "²"])
def test_the_log_begins_anew_for_a_cursor_it_does_not_know(cursor: str) -> None:
    log = EventLog()
    log.add_many(2)
    simulation = Simulation()
    simulation.network.server(URL, log)
    connection = simulation.connect(URL, last_event_id=cursor)
    simulation.run(until=1)
    assert connection.received == log.events


# --- Outages -----------------------------------------------------------------------------------


def test_an_outage_resets_what_is_open_and_refuses_what_comes() -> None:
    log = EventLog()
    log.add_many(100, every=1.0)
    simulation = Simulation(latency=0.01)
    down = simulation.network.server(URL, log)
    up = simulation.network.server("https://b.example.com", log)
    simulation.network.outage(20, 50, URL)
    ours = simulation.connect(URL, config=FOR_EVER)
    theirs = simulation.connect("https://b.example.com", name="other")
    simulation.run(until=49)
    assert ours.state is ConnectionState.RECONNECTING
    assert len(ours.received) == 20
    simulation.run(until=120)
    assert ours.received == theirs.received == log.events
    assert (up.connections, up.refusals) == (1, 0)
    assert down.refusals == down.connections - 2 > 3
    assert [line for line in simulation.trace if " other error" in line] == []


def test_an_outage_also_hits_what_is_being_opened_or_has_just_begun() -> None:
    simulation = Simulation(latency=1.0)
    server = simulation.network.server(URL, [Accept(after=5), Respond(), Stall()])
    simulation.network.outage(4, 4.5)
    simulation.network.outage(10, 10)
    connection = simulation.connect(URL, config=FOR_EVER)
    errors = connection.errors()
    simulation.run(until=60)
    assert "refused" in str(next(errors))
    assert connection.state is ConnectionState.CONNECTED
    assert server.refusals == 2
    with pytest.raises(ValueError, match="cannot end"):
        simulation.network.outage(5, 4)


# --- The connection ----------------------------------------------------------------------------


def test_waiting_is_letting_time_pass() -> None:
    simulation = Simulation()
    simulation.network.server(
        URL, [Refuse()], [Respond(), send_event("x", after=100), Stall()], [Respond(), Stall()]
    )
    connection = simulation.connection(URL, name="mine")
    changes = connection.state_changes()
    with connection:
        assert simulation.clock.now < 1
        with pytest.raises(TimeoutError):
            connection.receive(timeout=50)
        assert simulation.clock.now == pytest.approx(50, abs=1)
        assert [
            event.data for event in [connection.receive()] if isinstance(event, ServerSentEvent)
        ] == ["x"]
        info = connection.info()
        assert info.name == "mine"
        assert info.last_event == pytest.approx(1767225600 + 100, abs=1)
        simulation.call_at(450, connection.close)
        assert list(connection) == []
    assert simulation.clock.now == 450
    assert [change.new.value for change in changes] == [
        "disconnected",
        "connecting",
        "reconnecting",
        "connected",
        "reconnecting",
        "connected",
        "closed",
    ]


def test_waiting_for_what_cannot_come_is_an_error() -> None:
    simulation = Simulation()
    simulation.network.server(URL, [Respond(), Stall()])
    config = ConnectionConfig(timeouts=Timeouts(idle=0))
    with simulation.connection(URL, config=config) as connection:
        with pytest.raises(RuntimeError, match="nothing will ever happen"):
            connection.receive()
        with pytest.raises(TimeoutError):
            connection.receive(timeout=5)
        with pytest.raises(TimeoutError, match="it did not come true in 100 s"):
            simulation.run_until(lambda: False, limit=100)
        assert simulation.clock.now == 105
        simulation.call_at(150, lambda: None)
        with pytest.raises(RuntimeError, match="nothing will ever happen"):
            connection.receive()
        assert simulation.clock.now == 150
        simulation.call_at(200, connection.close)
        simulation.run_until(lambda: connection.state is ConnectionState.CLOSED)
        assert simulation.clock.now == 200
        with pytest.raises(ConnectionClosed):
            connection.receive()


def test_a_half_open_stream_dies_although_its_server_answers_pings() -> None:
    simulation = Simulation()
    server = simulation.network.server(URL, [Respond(), send_event("last"), Stall()])
    server.route("/ping", [Respond(200, content=b"pong")])
    config = ConnectionConfig(heartbeat=HeartbeatConfig(enabled=True), timeouts=Timeouts(idle=100))
    connection = simulation.connect(URL, config=config)
    errors = connection.errors()
    simulation.run(until=99)
    assert connection.state is ConnectionState.CONNECTED
    assert connection.metrics.heartbeats_succeeded == 3
    simulation.run(until=101)
    assert type(next(errors)) is IdleTimeout
    assert connection.state is ConnectionState.CONNECTED
    assert [request.path for request in server.requests] == ["/events", *["/ping"] * 3, "/events"]


def test_pings_that_are_not_answered() -> None:
    simulation = Simulation()
    server = simulation.network.server(URL, [Respond(), Stall()])
    server.route("/ping", [Respond(500, content=b"")], [Stall()])
    config = ConnectionConfig(heartbeat=HeartbeatConfig(enabled=True, interval=10, timeout=5))
    connection = simulation.connect(URL, config=config)
    changes = connection.state_changes()
    simulation.run(until=36)
    assert connection.metrics.heartbeats_failed == 3
    assert simulation.clock.now == 36
    assert [next(changes).new.value for _ in range(3)] == [
        "connecting",
        "connected",
        "reconnecting",
    ]
    assert next(changes).at == pytest.approx(35, abs=0.2)


def test_a_post_beside_the_stream() -> None:
    simulation = Simulation(latency=0.25)
    server = simulation.network.server(URL, [Respond(), Stall()])
    server.route(
        "/say", [Respond(201, {"X-A": "1"}, content=b"{}")], [Respond(), End()], [Refuse()]
    )
    with simulation.connection(URL) as connection:
        answer = connection.post("/say?x=1", json={"hello": "world"})
        assert (answer.status, answer.json()) == (201, {})
        assert simulation.clock.now == 2.0
        assert server.requests[-1].content == b'{"hello":"world"}'
        assert connection.post("/say").content == b""
        with pytest.raises(ConnectionLost, match="refused"):
            connection.post("/say")
    assert simulation.network.transports == 0


def test_a_slow_reader_holds_the_server_back() -> None:
    sent = 0

    def handler(request: IncomingRequest) -> Iterator[Step]:
        nonlocal sent
        yield Respond()
        while True:
            sent += 1
            yield send_event("x" * 1000, id=str(sent))

    simulation = Simulation()
    simulation.network.server(URL, handler)
    connection = simulation.connection(URL, config=ConnectionConfig(buffer_size=100), wait=False)
    connection.open()
    simulation.run(until=1000)
    # The buffer, and what fits into the window of a transport that is not read.
    assert 100 < sent < 200
    assert connection.state is ConnectionState.CONNECTED
    ids = [
        event.id
        for event in (connection.receive() for _ in range(5000))
        if isinstance(event, ServerSentEvent)
    ]
    assert ids == [str(number) for number in range(1, 5001)]
    connection.close()
    connection.wait_closed()


def test_the_end_also_waits_for_a_slow_reader() -> None:
    simulation = Simulation(latency=0.5)
    events = [send_event(str(number)) for number in range(10)]
    script: list[Step] = [Respond(), *events, End()]
    simulation.network.server(URL, script)
    config = ConnectionConfig(buffer_size=3, on_end="finish")
    connection = simulation.connection(URL, config=config).open()
    simulation.run(until=500)
    assert connection.state is ConnectionState.CONNECTED
    assert len(list(connection)) == 10
    assert connection.state.value == "disconnected"


def test_overflow_as_an_error() -> None:
    simulation = Simulation()
    simulation.network.server(URL, [Respond(), *(send_event("x") for _ in range(5)), Stall()])
    config = ConnectionConfig(buffer_size=3, overflow="error")
    connection = simulation.connection(URL, config=config, wait=False).open()
    simulation.run(until=1)
    with pytest.raises(BufferOverflow):
        list(connection)


def test_requests_are_prepared_and_taken_back() -> None:
    simulation = Simulation()
    server = simulation.network.server(URL, [Respond(), End()])

    def prepare(request: Request, attempt: int) -> Request:
        return request.with_header("Authorization", f"Bearer {attempt}")

    connection = simulation.connect(URL, prepare_request=prepare)
    simulation.run(until=0.3)
    connection.close()
    simulation.run(until=1)
    assert [request.header("authorization") for request in server.requests[:2]] == [
        "Bearer 0",
        "Bearer 1",
    ]

    async def prepare_later(request: Request, attempt: int) -> Request:
        return request

    failed = simulation.connect(URL, prepare_request=prepare_later, config=ONCE)
    assert failed.state is ConnectionState.ERROR


def test_a_connection_closed_while_it_prepares_has_nothing_to_drop() -> None:
    simulation = Simulation()
    simulation.network.server(URL, [Respond(), Stall()])

    def prepare(request: Request, attempt: int) -> Request:
        connection._close_now()
        return request

    connection: SimulatedConnection = simulation.connection(
        URL, prepare_request=prepare, wait=False
    )
    connection.open()
    simulation.run(until=1)
    assert connection.state is ConnectionState.CLOSED
    assert simulation.network.transports == 0


def test_what_a_callback_raises_comes_out_of_the_run() -> None:
    def fail(connection: SimulatedConnection, event: object) -> None:
        raise ZeroDivisionError

    simulation = Simulation()
    simulation.network.server(URL, [Respond(), send_event("x", after=5), Stall()])
    simulation.connect(URL, reading=False, on_event=fail)
    with pytest.raises(ZeroDivisionError):
        simulation.run(until=10)
    assert simulation.clock.now == 5


# --- The trace ---------------------------------------------------------------------------------


def test_the_trace_tells_what_happened() -> None:
    simulation = Simulation(seed=3)
    simulation.network.server(URL, [Respond(), send_event("hello", id="1", after=1), Reset()])
    connection = simulation.connect(URL, name="mine")
    simulation.call_at(1.01, connection.close)
    simulation.run(until=2)
    assert simulation.trace == [
        "     0.000000 mine state disconnected -> connecting",
        "     0.000000 mine open 1 https://api.example.com",
        "     0.000000 mine opened 1",
        "     0.000000 mine send 1 150 bytes",
        "     0.000000 mine received 1 78 bytes",
        "     0.000000 mine state connecting -> connected",
        "     1.000000 mine received 1 25 bytes",
        "     1.000000 mine event message id='1' 'hello'",
        "     1.000000 mine failed 1",
        "     1.000000 mine error ConnectionLost: the connection to api.example.com:443 was lost: "
        "Connection reset by peer",
        "     1.000000 mine state connected -> reconnecting",
        "     1.000000 mine reconnect 1 in 0.063124 s",
        "     1.010000 mine state reconnecting -> closed",
    ]


def test_no_trace_is_kept_where_none_is_wanted() -> None:
    simulation = Simulation(traced=False)
    simulation.network.server(URL, [Respond(), Stall()])
    simulation.connect(URL)
    simulation.run(until=10)
    assert simulation.trace == []


def test_one_connection_more_does_not_change_the_others() -> None:
    def delays(connections: int) -> list[str]:
        simulation = Simulation(seed=5)
        simulation.network.server(URL, [Refuse()])
        for _ in range(connections):
            simulation.connect(URL, config=FOR_EVER)
        simulation.run(until=60)
        return [line for line in simulation.trace if " #1 reconnect" in line]

    assert delays(1) == delays(3) != []


DAY = 86400.0
EVENTS = 100_000
OUTAGES = 1020


def simulated_day(seed: int) -> tuple[Simulation, SimulatedConnection, EventLog]:
    """A day with an outage in each of its many parts, one of ten minutes, and cuts by chance."""
    simulation = Simulation(seed, latency=0.01)
    network = simulation.network
    log = EventLog(cut=0.002, random=network.random.fork())
    log.add_many(EVENTS, start=0.5, every=0.86)
    network.server(URL, log)
    part = DAY / OUTAGES
    for number in range(OUTAGES):
        start = part * number + network.random.uniform(1, part - 20)
        lasting = 600 if number == OUTAGES // 2 else network.random.uniform(0.1, 15)
        network.outage(start, start + lasting)
    connection = simulation.connect(URL, config=FOR_EVER)
    simulation.run(until=DAY)
    return simulation, connection, log


def test_a_day_of_outages_twice_loses_nothing_and_doubles_nothing() -> None:
    simulation, connection, log = simulated_day(seed=1)
    assert connection.received == log.events
    assert len(connection.received) == EVENTS
    assert connection.state is ConnectionState.CONNECTED
    changes = [line.split() for line in simulation.trace if " state " in line]
    lost = [float(at) for at, _, _, old, _, _ in changes if old == "connected"]
    back = [float(at) for at, _, _, _, _, new in changes if new == "connected"][1:]
    # Those within the longest one broke nothing; a cut is not an outage.
    assert len(lost) - log.cuts >= 1000
    assert log.cuts > 100
    assert 600 < max(after - before for before, after in zip(lost, back, strict=True)) < 660
    again, _, _ = simulated_day(seed=1)
    assert again.trace == simulation.trace


SCRIPT = """
import hashlib
from sansio_sse.testing import EventLog, Simulation
simulation = Simulation(seed=7, latency=0.05)
log = EventLog(cut=0.1, random=simulation.network.random)
log.add_many(500, every=0.5)
simulation.network.server("https://a.example.com", log)
simulation.network.outage(30, 60)
for _ in range(3):
    simulation.connect("https://a.example.com/x")
simulation.run(until=300)
print(len(simulation.trace), hashlib.sha256("\\n".join(simulation.trace).encode()).hexdigest())
"""


def test_a_trace_is_the_same_in_any_process() -> None:
    def run(seed: str) -> str:
        environment = {
            **os.environ,
            "PYTHONHASHSEED": seed,
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    # Written down, so that every version of Python has to agree.
    assert (
        run("1")
        == run("2")
        == "4960 a2251a62fa975054165b3e8d160ab25172ca54c211d96516587c8e8255b4d359\n"
    )
