"""What is logged: each thing that matters once, at its level, with fields and without secrets."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from sansio_sse import (
    BreakerConfig,
    ConnectionConfig,
    HTTPStatusError,
    Log,
    PoolConfig,
    ReconnectionPolicy,
    encode_event,
)
from sansio_sse.testing import (
    Cut,
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
        def isEnabledFor(self, level: int, /) -> bool:
            return False

        def log(self, *args: object, **extra: object) -> None:
            raise AssertionError("nobody wants this")

    simulation = Simulation()
    simulation.network.server(URL, [Respond(), Cut()], [Respond(403)])
    connection = simulation.connection(URL, wait=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SimulatedConnection, "_log", Log(lambda name: Deaf(), "deaf"))
        with connection:
            simulation.run(until=5.0)
