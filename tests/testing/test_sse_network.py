"""Unchanged applications over a scripted network, on all three drivers: hours without waiting.

Each application is spelled twice, with ``await`` and without. What is asserted about it is asserted
once, and the times are those of the network's clock, the same in every driver.
"""

import asyncio
import contextlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Any

import pytest
import trio

import sansio_sse_asyncio
import sansio_sse_asyncio.testing
import sansio_sse_sockets
import sansio_sse_sockets.testing
import sansio_sse_trio
import sansio_sse_trio.testing
from sansio_sse import (
    ConnectError,
    ConnectionConfig,
    ConnectionLost,
    ConnectionMetrics,
    ConnectTimeout,
    HeartbeatConfig,
    HeartbeatTimeout,
    IdleTimeout,
    Origin,
    ReconnectionPolicy,
    Timeouts,
    TLSError,
    WriteTimeout,
)
from sansio_sse.testing import (
    Accept,
    ApplicationNetwork,
    Behaviour,
    Cut,
    DeadlockError,
    End,
    EventLog,
    IncomingRequest,
    Refuse,
    Reset,
    Respond,
    Send,
    Simulation,
    Stall,
    Step,
    record,
    send_event,
)

URL = "https://api.example.com/events"
HOUR = 3600.0
ONCE = ConnectionConfig(reconnection=ReconnectionPolicy(enabled=False))
PATIENT = ConnectionConfig(timeouts=Timeouts(idle=0))
PINGING = HeartbeatConfig(enabled=True, interval=30, timeout=5, max_missed=3)

# Fixtures work where they are imported, under the name they are imported by.
on_asyncio = sansio_sse_asyncio.testing.sse_network
on_trio = sansio_sse_trio.testing.sse_network
on_sockets = sansio_sse_sockets.testing.sse_network

Seen = list[tuple[float, str]]


class Lab:
    """A driver, a network of its own, and the applications."""

    def __init__(self, module: ModuleType, network: Any, sleep: Callable[[float], Any]) -> None:
        self.connect = module.connect
        self.network = network
        self.sleep = sleep
        self.spell: Any = PlainApplications if module is sansio_sse_sockets else Applications

    def now(self) -> float:
        now: float = self.network.clock.now
        return now

    def run(
        self, application: str, *args: Any, limit: float | None = 86400.0, **options: Any
    ) -> Any:
        """Run an application, in the driver's spelling, with ``connect`` and its options."""
        connect = partial(self.connect, options.pop("url", URL), **options)
        return self.network.run(getattr(self.spell, application)(connect, *args), limit=limit)

    def ticker(self) -> Seen:
        seen: Seen = self.run("ticker", self.now)
        return seen

    def receive(self, count: int, pause: float = 0.0, **options: Any) -> list[Any]:
        received: list[Any] = self.run("receive", count, pause, self.sleep, **options)
        return received

    def stay(self, seconds: float, **options: Any) -> ConnectionMetrics:
        metrics: ConnectionMetrics = self.run("stay", seconds, **options)
        return metrics


App = Callable[[], Any]


class Applications:
    """As asyncio and trio have them."""

    @staticmethod
    def ticker(connect: Any, now: Callable[[], float]) -> App:
        """The sample application: ten lines that know nothing of tests."""

        async def app() -> Seen:
            prices: Seen = []
            async with connect() as connection:
                async for event in connection:
                    prices.append((now(), event.data))
                    if event.data == "10":
                        break
            return prices

        return app

    @staticmethod
    def receive(connect: Any, count: int, pause: float, sleep: Callable[[float], Any]) -> App:
        async def app() -> list[Any]:
            async with connect() as connection:
                await sleep(pause)
                return [await connection.receive() for _ in range(count)]

        return app

    @staticmethod
    def stay(connect: Any, seconds: float) -> App:
        """Wait for an event that long."""

        async def app() -> ConnectionMetrics:
            async with connect() as connection:
                with pytest.raises(TimeoutError):
                    await connection.receive(timeout=seconds)
                metrics: ConnectionMetrics = connection.metrics
                return metrics

        return app

    @staticmethod
    def post(connect: Any, path: str, value: Any) -> App:
        async def app() -> tuple[int, Any]:
            async with connect() as connection:
                answer = await connection.post(path, json=value)
                return answer.status, answer.json()

        return app

    @staticmethod
    def record(connect: Any) -> App:
        """Return the recording of ten events."""

        async def app() -> str:
            connection = connect()
            recording = record(connection)
            async with connection:
                for _ in range(10):
                    await connection.receive()
            return recording.dumps()

        return app

    @staticmethod
    def spin(connect: Any) -> App:
        """Look whether there is an event, without ever waiting for one."""

        async def app() -> None:
            async with connect() as connection:
                while True:
                    with contextlib.suppress(TimeoutError):
                        await connection.receive(timeout=0)

        return app

    @staticmethod
    def insist(connect: Any) -> App:
        """Try again, whatever happens."""

        async def app() -> None:
            while True:
                with contextlib.suppress(Exception):
                    async with connect() as connection:
                        await connection.receive()

        return app

    @staticmethod
    def wait(connect: Any) -> App:
        async def app() -> None:
            async with connect() as connection:
                await connection.wait_closed()

        return app


class PlainApplications:
    """The same without ``async`` and ``await``."""

    @staticmethod
    def ticker(connect: Any, now: Callable[[], float]) -> App:
        def app() -> Seen:
            prices: Seen = []
            with connect() as connection:
                for event in connection:
                    prices.append((now(), event.data))
                    if event.data == "10":
                        break
            return prices

        return app

    @staticmethod
    def receive(connect: Any, count: int, pause: float, sleep: Callable[[float], Any]) -> App:
        def app() -> list[Any]:
            with connect() as connection:
                sleep(pause)
                return [connection.receive() for _ in range(count)]

        return app

    @staticmethod
    def stay(connect: Any, seconds: float) -> App:
        def app() -> ConnectionMetrics:
            with connect() as connection:
                with pytest.raises(TimeoutError):
                    connection.receive(timeout=seconds)
                metrics: ConnectionMetrics = connection.metrics
                return metrics

        return app

    @staticmethod
    def post(connect: Any, path: str, value: Any) -> App:
        def app() -> tuple[int, Any]:
            with connect() as connection:
                answer = connection.post(path, json=value)
                return answer.status, answer.json()

        return app

    @staticmethod
    def record(connect: Any) -> App:
        def app() -> str:
            connection = connect()
            recording = record(connection)
            with connection:
                for _ in range(10):
                    connection.receive()
            return recording.dumps()

        return app

    @staticmethod
    def spin(connect: Any) -> App:
        def app() -> None:
            with connect() as connection:
                while True:
                    with contextlib.suppress(TimeoutError):
                        connection.receive(timeout=0)

        return app

    @staticmethod
    def insist(connect: Any) -> App:
        def app() -> None:
            while True:
                with contextlib.suppress(Exception), connect() as connection:
                    connection.receive()

        return app

    @staticmethod
    def wait(connect: Any) -> App:
        def app() -> None:
            with connect() as connection:
                connection.wait_closed()

        return app


def make_lab(driver: str, network: Any) -> Lab:
    if driver == "asyncio":
        return Lab(sansio_sse_asyncio, network, asyncio.sleep)
    if driver == "trio":
        return Lab(sansio_sse_trio, network, trio.sleep)
    return Lab(sansio_sse_sockets, network, network.sleep)


DRIVERS = {
    "asyncio": sansio_sse_asyncio.testing.SSENetwork,
    "trio": sansio_sse_trio.testing.SSENetwork,
    "sockets": sansio_sse_sockets.testing.SSENetwork,
}


@pytest.fixture(params=DRIVERS)
def lab(request: pytest.FixtureRequest) -> Lab:
    return make_lab(request.param, request.getfixturevalue(f"on_{request.param}"))


@pytest.fixture
def labs(on_asyncio: Any, on_trio: Any, on_sockets: Any) -> list[Lab]:
    return [
        make_lab("asyncio", on_asyncio),
        make_lab("trio", on_trio),
        make_lab("sockets", on_sockets),
    ]


def ten_events(network: ApplicationNetwork, every: float = 5.0, latency: float = 0.0) -> Any:
    log = EventLog()
    log.add_many(10, start=every, every=every)
    return network.server(URL, log, latency=latency)


def test_an_outage_of_thirty_seconds(lab: Lab) -> None:
    server = ten_events(lab.network)
    lab.network.outage(12.0, 42.0)
    prices = lab.ticker()
    assert [data for _, data in prices] == [str(number) for number in range(1, 11)]
    times = [at for at, _ in prices]
    assert times[:2] == [5.0, 10.0]
    assert 42.0 < times[2] < 42.0 + 30.0  # as soon as the backoff allows
    assert server.refusals > 3
    assert [request.last_event_id for request in server.requests] == ["", "2"]
    assert lab.now() == max(50.0, times[-1])


def untold(lines: list[str]) -> list[dict[str, Any]]:
    """A recording without the numbers that were drawn."""
    return [{**json.loads(line), "drawn": None} for line in lines]


def test_the_machine_is_told_the_same_and_answers_the_same_everywhere(labs: list[Lab]) -> None:
    def script(network: Any) -> None:
        ten_events(network, latency=0.25)
        network.outage(12.0, 42.0)

    # With chance, which is the drivers' own; then without it, to compare with the simulation.
    for jitter in (0.5, 0.0):
        config = ConnectionConfig(reconnection=ReconnectionPolicy(jitter_factor=jitter))
        recordings: list[list[str]] = []
        for lab in labs:
            lab.network = type(lab.network)(seed=1)
            script(lab.network)
            recordings.append(lab.run("record", config=config).splitlines())
        assert recordings[0] == recordings[1] == recordings[2]
    simulation = Simulation()
    script(simulation.network)
    simulated = simulation.connection(URL, config=config)
    recording = record(simulated)
    with simulated:
        for _ in range(10):
            simulated.receive()
    assert untold(recording.dumps().splitlines()) == untold(recordings[0])


def test_chance_is_that_of_the_seed(lab: Lab) -> None:
    def outcome(seed: int) -> Seen:
        lab.network = type(lab.network)(seed)
        ten_events(lab.network, 1.0)
        lab.network.outage(3.5, 8.5)
        return lab.ticker()

    before = random.getstate()
    assert outcome(1) == outcome(1) != outcome(2)
    assert random.getstate() == before


def test_a_week_takes_no_time(lab: Lab) -> None:
    log = EventLog()
    log.add_many(7 * 24, start=HOUR, every=HOUR)
    lab.network.server(URL, log)
    began = time.monotonic()
    config = ConnectionConfig(timeouts=Timeouts(idle=2 * HOUR))
    received = lab.receive(7 * 24, limit=None, config=config)
    assert [event.id for event in received] == [str(number) for number in range(1, 169)]
    assert lab.now() == 7 * 24 * HOUR
    assert time.monotonic() - began < 60


@pytest.mark.parametrize(
    ("behaviour", "kind", "at"),
    [
        ([Refuse()], ConnectError, 0.0),
        ([Refuse("certificate", after=1)], TLSError, 1.0),
        ([Refuse("tls")], TLSError, 0.0),
        ([Refuse("dns")], ConnectError, 0.0),
        ([Accept(after=11)], ConnectTimeout, 10.0),
        ([Accept(reading=False)], WriteTimeout, 30.0),
        ([Respond(), Stall()], IdleTimeout, 300.0),
        ([Respond(), Stall(1.0), Reset()], ConnectionLost, 1.0),
        ([Respond(), Reset(error=lambda: ArithmeticError("odd"))], ConnectionLost, 0.0),
        ([Respond(framing="close"), Stall(2.0), Cut()], ConnectionLost, 2.0),
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_how_it_ends(
    lab: Lab, scheme: str, behaviour: Behaviour, kind: type[Exception], at: float
) -> None:
    url = URL.replace("https", scheme)
    server = lab.network.server(url, behaviour)
    with pytest.raises(kind):
        lab.receive(1, url=url, config=ONCE)
    assert lab.now() == at
    assert lab.network.transports == 0
    assert server.connections == 1


def test_an_origin_without_a_server_fails_at_once(lab: Lab) -> None:
    with pytest.raises(ConnectError, match="no server is scripted"):
        lab.ticker()
    assert lab.now() == 0


def test_heartbeats_answered_keep_a_silent_stream(lab: Lab) -> None:
    server = lab.network.server(URL, [Respond(), Stall()], latency=0.125)
    server.route("/ping", [Respond(content=b"pong")])
    config = ConnectionConfig(timeouts=Timeouts(idle=0), heartbeat=PINGING)
    metrics = lab.stay(6 * HOUR + 10, config=config, headers={"Authorization": "t"})
    assert metrics.heartbeats_succeeded == metrics.heartbeats_sent > 600
    assert {request.header("authorization") for request in server.requests} == {"t"}
    assert metrics.reconnect_attempts == 0
    assert lab.now() == 6 * HOUR + 10.5  # there and back to open, and again to be accepted


def test_heartbeats_missed_are_the_end(lab: Lab) -> None:
    server = lab.network.server(URL, [Respond(), Stall()])
    server.route("/ping", [Stall()])
    config = ConnectionConfig(reconnection=ONCE.reconnection, heartbeat=PINGING)
    with pytest.raises(HeartbeatTimeout):
        lab.receive(1, config=config)
    assert lab.now() == 95.0  # three times 30, and then 5 without an answer
    assert len(server.requests) == 4


def test_a_post_is_answered(lab: Lab) -> None:
    server = lab.network.server(URL, [Respond(), Stall()], latency=1.0)
    server.route("/say", [Respond(201, content=b"{}")])
    assert lab.run("post", "/say", {"a": 1}) == (201, {})
    assert server.requests[-1].content == b'{"a":1}'
    assert lab.now() == 8.0


def test_a_deadlock_is_an_error(lab: Lab) -> None:
    lab.network.server(URL, [Respond(), Stall()])
    with pytest.raises(DeadlockError, match="nothing will ever happen any more, and"):
        lab.receive(1, config=PATIENT)
    assert lab.now() == 0
    assert lab.network.transports == 0


def test_an_application_that_catches_everything_ends_all_the_same(lab: Lab) -> None:
    lab.network.server(URL, [Respond(), Stall()])
    with pytest.raises(DeadlockError):
        lab.run("insist", config=PATIENT, limit=None)
    lab.network.server(URL, [Respond(), Stall(7.0)])
    with pytest.raises(TimeoutError, match="not done after 3600 virtual seconds"):
        lab.run("insist", config=PATIENT, limit=HOUR)
    assert lab.now() == HOUR
    with pytest.raises(TimeoutError, match="not done after 1800 virtual seconds"):
        lab.run("insist", config=PATIENT, limit=HOUR / 2)
    assert lab.now() == HOUR * 1.5


def test_a_script_that_raises_ends_the_run(lab: Lab) -> None:
    def handler(request: IncomingRequest) -> Iterator[Step]:
        yield Respond()
        raise ZeroDivisionError

    lab.network.server(URL, handler)
    with pytest.raises(ZeroDivisionError):
        lab.run("insist", config=PATIENT, limit=None)


def test_time_that_stands_still_is_an_error(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sansio_sse.testing.application._TURNS", 1000)
    lab.network.server(URL, [Respond(), Stall()])
    with pytest.raises(RuntimeError, match="1000 turns, and it is still 0 s: time does not pass"):
        lab.run("spin")


def test_a_slow_reader_holds_the_server_back(lab: Lab) -> None:
    sent = 0
    seen: list[int] = []

    def handler(request: IncomingRequest) -> Iterator[Step]:
        nonlocal sent
        yield Respond(framing="close")
        while True:
            sent += 1
            yield Send(b"data: %d\n\n" % sent * 10_000)

    lab.network.server(URL, handler)
    lab.network.clock.call_at(1000.0, lambda: seen.append(sent))
    received = lab.receive(100_000, pause=1000.0, config=ConnectionConfig(buffer_size=10))
    assert seen[0] < 5
    assert [event.data for event in received] == [
        str(number) for number in range(1, 11) for _ in range(10_000)
    ]


def test_it_is_cut_in_every_way_and_loses_nothing(lab: Lab) -> None:
    def handler(request: IncomingRequest) -> Iterator[Step]:
        position = int(request.last_event_id or 0)
        yield Respond()
        yield send_event(str(position + 1), id=str(position + 1), after=1)
        yield Send(b"data: never whole\n")
        yield (Cut(), Reset(), End(), Stall(400))[request.number % 4]

    lab.network.server(URL, handler)
    assert [data for _, data in lab.ticker()] == [str(number) for number in range(1, 11)]


def test_every_byte_may_be_a_read_of_its_own(lab: Lab) -> None:
    log = b"".join(b"id: %d\ndata: %d\n\n" % (number, number) for number in range(1, 11))
    lab.network.server(URL, [Respond(framing="close"), Send(log, splits=1, every=0.25), Stall()])
    prices = lab.ticker()
    assert [data for _, data in prices] == [str(number) for number in range(1, 11)]
    assert prices[-1][0] == lab.now() == (len(log) - 1) * 0.25


def test_callbacks_and_closing_from_them(lab: Lab) -> None:
    def endless(request: IncomingRequest) -> Iterator[Step]:
        yield Respond()
        while True:
            yield send_event("x")

    lab.network.server(URL, endless)
    seen: list[Any] = []

    def on_event(connection: Any, event: object) -> None:
        seen.append(event)
        if len(seen) == 5:
            connection.close()

    lab.run("wait", on_event=on_event, wait=False)
    assert len(seen) == 5
    assert lab.now() == 0


@pytest.mark.parametrize("at", [0.0, 0.5, 1.5, 2.0, 2.5, 5.0])
def test_leaving_at_any_moment_leaves_nothing(lab: Lab, at: float) -> None:
    lab.network.server(URL, [Accept(after=1), Respond(after=1), Stall()], latency=0.25)
    lab.stay(at, wait=False)
    assert lab.now() == at
    assert lab.network.transports == 0


def test_a_unix_socket_is_scripted_by_its_url(lab: Lab) -> None:
    lab.network.server("http://localhost", [Respond(), send_event("x"), Stall()])
    assert [event.data for event in lab.receive(1, url="http://localhost/x", uds="/nowhere")] == [
        "x"
    ]


def test_time_goes_on_from_run_to_run(lab: Lab) -> None:
    lab.network.server(URL, [Respond(), Stall()])
    lab.stay(10.0)
    lab.stay(5.0)
    assert lab.now() == 15.0


@pytest.mark.parametrize("name", DRIVERS)
def test_without_pytest_there_is_no_fixture_but_the_rest(name: str) -> None:
    program = (
        "import sys; sys.modules['pytest'] = None\n"
        f"from sansio_sse_{name}.testing import SSENetwork, sse_network\n"
        "print(type(next(sse_network())) is SSENetwork)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "True\n"


@pytest.mark.parametrize("name", DRIVERS)
def test_the_fixture_reports_what_was_left_open(name: str) -> None:
    class Nobody:
        def transport_opened(self) -> None:
            pass

        def transport_failed(self, error: BaseException) -> None:
            pass

        def bytes_received(self, data: bytes) -> None:
            pass

        def end_received(self) -> None:
            pass

    def left_open(after: type[Exception] | None) -> Iterator[ApplicationNetwork]:
        fixture: Iterator[ApplicationNetwork] = DRIVERS[name].fixture(None)()
        network = next(fixture)
        network.server(URL, [Respond(), Stall()])
        network.open(Origin.of(URL), Nobody())
        with contextlib.suppress(ZeroDivisionError), network.running():
            if after is not None:
                raise after
        return fixture

    with pytest.raises(AssertionError, match="1 transports were left open"):
        next(left_open(None))
    # What failed has been reported already.
    assert next(left_open(ZeroDivisionError), None) is None
