"""What is logged: each thing that matters once, at its level, with fields and without secrets."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from sansio_sse import (
    BreakerConfig,
    BreakerState,
    CloseTransport,
    ConnectionConfig,
    ConnectionState,
    EndpointChanged,
    ErrorOccurred,
    EventDecodeError,
    HTTPStatusError,
    Log,
    MemberChanged,
    MemberState,
    OpenTransport,
    PoolConfig,
    ReconnectionPolicy,
    ScheduleReconnect,
    StartExchange,
    StateChanged,
    encode_event,
)
from sansio_sse.http import make_request
from sansio_sse.testing import (
    Cut,
    End,
    Refuse,
    Respond,
    Send,
    SimulatedConnection,
    SimulatedPool,
    Simulation,
    Stall,
    Step,
    send_event,
)

EVENTS = "text/event-stream"
URL = "https://api.example.com/events"
SECRETIVE = "https://me:hunter2@api.example.com/events?token=hunter3"


class Records(logging.Handler):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.all: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        record.getMessage()
        self.all.append(record)

    def lines(self, level: int = logging.INFO) -> list[str]:
        """What people read, of a level and above."""
        return [
            f"{record.levelname} {record.name.rpartition('.')[2]} {record.getMessage()}"
            for record in self.all
            if record.levelno >= level
        ]


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> Iterator[Records]:
    """What the simulation's connections and pools log, if they do: else a simulation is silent."""
    log = Log(logging.getLogger, "simulated")
    for cls in (SimulatedConnection, SimulatedPool):
        monkeypatch.setattr(cls, "_log", log)
    handler = Records()
    logger = logging.getLogger("simulated")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    try:
        yield handler
    finally:
        logger.removeHandler(handler)


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name.startswith("sse_")}


def test_a_stream_that_is_lost_and_comes_back_is_told_in_six_lines(records: Records) -> None:
    simulation = Simulation()
    head: list[Step] = [Respond(), send_event("one", id="1")]
    simulation.network.server(URL, [*head, Cut()], [*head, Stall()])
    connection = simulation.connect(URL, name="prices")
    simulation.run(until=1.0)
    connection.close()
    simulation.run(until=1.0)
    lost = "the server closed the connection within a chunked body"
    (delay,) = [vars(record)["sse_delay"] for record in records.all if hasattr(record, "sse_delay")]
    assert records.lines() == [
        "INFO connection prices: disconnected -> connecting",
        "INFO connection prices: connecting -> connected",
        f"INFO connection prices: connected -> reconnecting: {lost}",
        f"WARNING connection prices: retry 1 in {delay:.2f} s: {lost}",
        "INFO connection prices: reconnecting -> connected",
        "INFO connection prices: connected -> closed",
    ]


def test_a_record_that_is_kept_keeps_no_error_and_so_no_connection(records: Records) -> None:
    simulation = Simulation()
    simulation.network.server(URL, [Respond(), Cut()], [Respond(403)])
    simulation.connect(URL)
    simulation.run(until=5.0)
    kept = [value for record in records.all for value in vars(record).values()]
    kept += [arg for record in records.all for arg in record.args or ()]
    assert len(kept) > 100
    assert not [value for value in kept if isinstance(value, BaseException)]


def test_the_fields_say_what_the_words_say(records: Records) -> None:
    simulation = Simulation()
    simulation.network.server(URL, [Respond(), send_event("one"), Cut()], [Respond(503)])
    simulation.connect(URL, name="prices")
    simulation.run_until(lambda: len(records.lines(logging.WARNING)) == 1)
    (retry,) = [record for record in records.all if record.levelno == logging.WARNING]
    fields = fields_of(retry)
    assert 0 < fields.pop("sse_delay") <= 0.1
    assert fields.pop("sse_connection") > 0
    assert fields == {
        "sse_name": "prices",
        "sse_url": URL,
        "sse_error": "RemoteProtocolError",
        "sse_category": "protocol",
        "sse_attempt": 1,
    }


def test_what_is_final_is_an_error(records: Records) -> None:
    simulation = Simulation()
    simulation.network.server(URL, [Respond(403)])
    simulation.connect(URL)
    simulation.run(until=5.0)
    assert records.lines(logging.WARNING) == [
        f"ERROR connection {URL}: connecting -> error: the server answered 403 Forbidden"
    ]
    assert fields_of(records.all[-2])["sse_error"] == HTTPStatusError.__name__


def test_transports_are_for_debugging(records: Records) -> None:
    simulation = Simulation()
    simulation.network.server(URL, [Respond(), Stall()])
    connection = simulation.connect(URL)
    simulation.run(until=1.0)
    connection.close()
    simulation.run(until=1.0)
    ways = [line for line in records.lines(logging.DEBUG) if " transport " in line.split(":")[0]]
    assert ways == [
        f"DEBUG transport {URL}: transport 1 opens to https://api.example.com",
        f"DEBUG transport {URL}: transport 1 is closed",
    ]


def test_exchanges_of_an_http_client_are_for_debugging(records: Records) -> None:
    connection = Simulation().connection(URL)
    log = Log(logging.getLogger, "simulated")
    log.of_connection(connection, StartExchange(7, make_request("GET", SECRETIVE)))
    log.of_connection(connection, CloseTransport(7))
    assert records.lines(logging.DEBUG) == [
        f"DEBUG transport {URL}: exchange 7 begins with https://api.example.com",
        f"DEBUG transport {URL}: transport 7 is closed",
    ]
    assert [vars(record)["sse_transport"] for record in records.all] == [7, 7]
    assert vars(records.all[0])["sse_origin"] == "https://api.example.com"


@pytest.mark.parametrize(
    ("level", "wanted"),
    [
        (logging.DEBUG, {"DEBUG", "INFO", "WARNING"}),
        (logging.INFO, {"INFO", "WARNING"}),
        (logging.WARNING, {"WARNING"}),
        (logging.ERROR, set[str]()),
    ],
)
def test_a_pool_logs_what_is_wanted_and_no_more(
    records: Records, level: int, wanted: set[str]
) -> None:
    logging.getLogger("simulated").setLevel(level)
    connection, pool = Simulation().connection(URL), Simulation().pool(PoolConfig([URL]))
    log = Log(logging.getLogger, "simulated")
    log.of_pool(pool, EndpointChanged(URL, BreakerState.CLOSED, BreakerState.OPEN, 0.0))
    log.of_pool(pool, EndpointChanged(URL, BreakerState.OPEN, BreakerState.CLOSED, 0.0))
    log.of_pool(pool, MemberChanged(1, MemberState.IDLE, MemberState.CLOSED, 0.0, URL, "idle"))
    log.of_pool(pool, object())  # of which nothing is known
    log.of_connection(connection, object())
    assert {record.levelname for record in records.all} == wanted
    assert len(records.all) == len(wanted)
    if level == logging.DEBUG:
        assert [record.getMessage() for record in records.all] == [
            f"breaker of {URL}: closed -> open",
            f"breaker of {URL}: open -> closed",
            "member 1: idle -> closed (idle)",
        ]
        assert fields_of(records.all[-1]) == {
            "sse_pool": None,
            "sse_member": 1,
            "sse_old_state": "idle",
            "sse_state": "closed",
            "sse_endpoint": URL,
            "sse_reason": "idle",
        }


def test_events_that_are_dropped_are_a_warning(records: Records) -> None:
    simulation = Simulation()
    burst = b"".join(encode_event(str(number)) for number in range(4))
    simulation.network.server(URL, [Respond(), Send(burst), Send(burst, at=1.0), Stall()])
    config = ConnectionConfig(buffer_size=4, overflow="drop_oldest")
    simulation.connect(URL, reading=False, config=config)
    simulation.run(until=2.0)
    assert records.lines(logging.WARNING) == [
        f"WARNING connection {URL}: the buffer of 4 events was full: 4 events were dropped"
    ]


def test_an_event_that_was_of_no_use_is_a_warning_also_when_its_stream_has_ended(
    records: Records,
) -> None:
    simulation = Simulation()
    head: list[Step] = [Respond(), send_event("one")]
    simulation.network.server(URL, [*head, End()], [*head, Cut()], [Refuse()])
    connection = simulation.connect(URL, config=ConnectionConfig(on_end="finish"))
    simulation.run(until=1.0)
    connection.event_failed(EventDecodeError("bad"))
    connection.restart()
    simulation.run_until(lambda: connection.state is ConnectionState.RECONNECTING)
    connection.event_failed(EventDecodeError("worse"))
    warnings = [line for line in records.lines(logging.WARNING) if " retry " not in line]
    assert warnings == [f"WARNING connection {URL}: {what}" for what in ("bad", "worse")]


def test_an_event_that_was_of_no_use_to_a_holder_is_a_warning_of_the_member(
    records: Records,
) -> None:
    simulation = Simulation()
    simulation.network.server(URL, [Respond(), send_event("one", id="1"), Cut()], [Refuse()])
    with simulation.pool(PoolConfig([URL]), name="quotes") as pool, pool.acquire() as lease:
        assert lease.receive().data == "one"
        simulation.run_until(lambda: lease.state is ConnectionState.RECONNECTING)
        lease.event_failed(EventDecodeError("bad"))
        (bad,) = [record for record in records.all if record.getMessage().endswith(": bad")]
        assert bad.levelname == "WARNING"
        assert fields_of(bad)["sse_pool"] == "quotes"


def test_events_that_are_refused_behind_the_end_are_a_warning(records: Records) -> None:
    simulation = Simulation()
    burst = b"".join(encode_event(str(number)) for number in range(4))
    # The second read has the end in it too, so that the stream has ended by when it overflows.
    head = Respond(headers={"Content-Length": str(2 * len(burst)), "Content-Type": EVENTS})
    simulation.network.server(URL, [head, Send(burst), Send(burst, at=1.0)])
    config = ConnectionConfig(buffer_size=4, overflow="error", on_end="finish")
    connection = simulation.connect(URL, reading=False, config=config)
    simulation.run(until=2.0)
    assert connection.state is ConnectionState.DISCONNECTED
    assert records.lines(logging.WARNING) == [
        f"WARNING connection {URL}: the buffer of 4 events is full"
    ]


@pytest.mark.parametrize("reported", [True, False], ids=["reported", "reporting raises as well"])
def test_a_handler_that_raises_harms_no_stream_and_no_pool(
    records: Records, monkeypatch: pytest.MonkeyPatch, reported: bool
) -> None:
    raised: list[BaseException] = []

    def unhandled(self: object, error: BaseException) -> None:
        raised.append(error)
        if not reported:
            raise error

    def bad(record: logging.LogRecord) -> bool:
        raise ValueError(record.levelname)

    for cls in (SimulatedConnection, SimulatedPool):
        monkeypatch.setattr(cls, "_unhandled", unhandled)
    records.addFilter(bad)
    simulation = Simulation()
    simulation.network.server(URL, lambda request: [Respond(), send_event("one"), Stall()])
    connection = simulation.connect(URL)
    with simulation.pool(PoolConfig([URL], min_size=1)) as pool:
        simulation.run(until=1.0)
        assert pool.stats().healthy_count == 1
    connection.close()
    simulation.run(until=1.0)
    assert connection.state is ConnectionState.CLOSED
    assert connection.metrics.events_received == 1
    assert len(raised) > 8
    assert {type(error) for error in raised} == {ValueError}


def test_a_name_begins_no_line_of_its_own_and_gives_nothing_away(records: Records) -> None:
    simulation = Simulation()
    simulation.network.server(URL, [Respond(), Stall()])
    simulation.connect(URL, name=f"50 %s of\nERROR {SECRETIVE}")
    simulation.run(until=1.0)
    lines = records.lines(logging.DEBUG)
    shown = f"50 %s of ERROR {URL}?token=…"
    assert [line.count(f" {shown}: ") for line in lines] == [1] * len(lines) == [1] * 3
    assert "\n" not in "".join(lines)


@pytest.mark.parametrize("level", [logging.DEBUG, logging.CRITICAL])
def test_nothing_given_in_confidence_is_logged(records: Records, level: int) -> None:
    logging.getLogger("simulated").setLevel(level)
    simulation = Simulation()
    simulation.network.server(
        "https://api.example.com",
        [Respond(503, content=b"hunter2")],
        [Respond(), send_event("hunter2"), Cut()],
        [Refuse()],
    )
    simulation.connect(SECRETIVE, headers={"Authorization": "Bearer hunter4"})
    simulation.run(until=20.0)
    shown = "".join(
        f"{line}{fields_of(r)}" for line, r in zip(records.lines(0), records.all, strict=True)
    )
    assert "hunter" not in shown
    assert bool(shown) == (level == logging.DEBUG)


def test_a_breaker_that_opens_is_a_warning_and_members_are_for_debugging(
    records: Records,
) -> None:
    simulation = Simulation()
    simulation.network.server(URL, *[[Respond(503)]] * 20)
    pool = simulation.pool(
        PoolConfig(
            [URL],
            connection=ConnectionConfig(reconnection=ReconnectionPolicy(max_attempts=0)),
            min_size=1,
            max_size=1,
            breaker=BreakerConfig(failures=2),
        ),
        name="quotes",
    )
    with pool:
        simulation.run(until=2.0)
    (opened,) = [r for r in records.all if r.levelno == logging.WARNING and r.name.endswith("pool")]
    assert opened.getMessage() == (
        f"breaker of {URL}: closed -> open: the server answered 503 Service Unavailable"
    )
    assert fields_of(opened) == {
        "sse_pool": "quotes",
        "sse_endpoint": URL,
        "sse_old_breaker": "closed",
        "sse_breaker": "open",
        "sse_error": "HTTPStatusError",
        "sse_category": "protocol",
    }
    members = [r for r in records.all if hasattr(r, "sse_member") and r.name.endswith("pool")]
    assert members[0].getMessage() == "member 1: new -> connecting"
    assert members[-1].levelno == logging.DEBUG
    retries = [r for r in records.all if hasattr(r, "sse_delay")]
    assert all(fields_of(r)["sse_pool"] == "quotes" for r in retries)


def test_an_unwanted_line_costs_no_words() -> None:
    class Deaf:
        def __init__(self, name: str) -> None:
            self.told: list[object] = []

        def isEnabledFor(self, level: int, /) -> bool:
            return False

        def log(self, *args: object, **extra: object) -> None:
            self.told.append(args)

    class Busy:
        """Has a state, and must not be asked for more."""

        state = ConnectionState.CONNECTED
        name = URL

    made: list[Deaf] = []

    def get_logger(name: str) -> Deaf:
        made.append(Deaf(name))
        return made[-1]

    log, error = Log(get_logger, "deaf"), EventDecodeError("bad")
    request = make_request("GET", URL)
    for news in (
        StateChanged(ConnectionState.CONNECTED, ConnectionState.RECONNECTING, 1.0, error),
        StateChanged(ConnectionState.CONNECTED, ConnectionState.ERROR, 1.0, error),
        ScheduleReconnect(2.0, 1.0, 1, error),
        ErrorOccurred(error),
        OpenTransport(1, request.origin),
        StartExchange(1, request),
        CloseTransport(1),
    ):
        log.of_connection(Busy(), news)
    log.of_pool(Busy(), EndpointChanged(URL, BreakerState.CLOSED, BreakerState.OPEN, 0.0))
    log.of_pool(Busy(), MemberChanged(1, None, MemberState.CONNECTING, 0.0))
    assert [logger.told for logger in made] == [[], [], []]


def test_a_retry_without_an_error_says_just_when(records: Records) -> None:
    log = Log(logging.getLogger, "simulated")
    log.of_connection(Simulation().connection(URL), ScheduleReconnect(2.0, 0.5, 3, None))
    assert records.lines() == [f"WARNING connection {URL}: retry 3 in 0.50 s"]
    assert "sse_error" not in fields_of(records.all[0])
