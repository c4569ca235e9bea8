"""Unchanged applications over a scripted network: asyncio without waiting, https included."""

import asyncio
import os
import random
import subprocess
import sys
from collections.abc import Iterator

import pytest

from sansio_sse import (
    ConnectError,
    ConnectionClosed,
    ConnectionConfig,
    ConnectionState,
    ConnectTimeout,
    HeartbeatConfig,
    IdleTimeout,
    ReconnectionPolicy,
    Request,
    ServerSentEvent,
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
    Simulation,
    Stall,
    Step,
    send_event,
)
from sansio_sse_asyncio import Connection, connect
from sansio_sse_asyncio.testing import SSENetwork, _sse_network, sse_network
from sansio_sse_asyncio.transport import open_link, opener_for

__all__ = ["sse_network"]  # a fixture works where it is imported

URL = "https://api.example.com/events"
ONCE = ConnectionConfig(reconnection=ReconnectionPolicy(enabled=False))


def now() -> float:
    return asyncio.get_running_loop().time()


async def ticker() -> list[tuple[float, str]]:
    """The sample application: ten lines that know nothing of tests."""
    prices: list[tuple[float, str]] = []
    async with connect(URL) as connection:
        async for event in connection:
            assert isinstance(event, ServerSentEvent)
            prices.append((now(), event.data))
            if event.data == "10":
                break
    return prices


def test_an_outage_of_thirty_seconds(sse_network: SSENetwork) -> None:
    log = EventLog()
    log.add_many(10, start=5.0, every=5.0)
    server = sse_network.server(URL, log)
    sse_network.outage(12.0, 42.0)
    prices = sse_network.run(ticker)
    assert [data for _, data in prices] == [str(number) for number in range(1, 11)]
    times = [at for at, _ in prices]
    assert times[:2] == [5.0, 10.0]
    assert 42.0 < times[2] < 42.0 + 30.0  # as soon as the backoff allows
    assert server.refusals > 3
    assert [request.last_event_id for request in server.requests] == ["", "2"]
    assert sse_network.clock.now == max(50.0, times[-1])


def test_chance_is_that_of_the_seed() -> None:
    def outcome(seed: int) -> list[tuple[float, str]]:
        network = SSENetwork(seed)
        log = EventLog()
        log.add_many(10, every=1.0)
        network.outage(3.5, 8.5)
        network.server(URL, log)
        return network.run(ticker)

    before = random.getstate()
    assert outcome(1) == outcome(1) != outcome(2)
    assert random.getstate() == before


def test_a_coroutine_will_do_and_time_goes_on(sse_network: SSENetwork) -> None:
    assert sse_network.run(asyncio.sleep(10, "slept")) == "slept"
    sse_network.run(asyncio.sleep(5))
    assert sse_network.clock.now == 15.0


def test_an_application_that_takes_for_ever(sse_network: SSENetwork) -> None:
    sse_network.server(URL, [Refuse()])
    config = ConnectionConfig(reconnection=ReconnectionPolicy(max_attempts=0))

    async def app() -> None:
        async with connect(URL, config=config):
            pytest.fail("nobody answers")

    with pytest.raises(TimeoutError, match="not done after 3600 virtual seconds"):
        sse_network.run(app, limit=3600)
    assert sse_network.clock.now == 3600

    async def impatient() -> None:
        await asyncio.wait_for(asyncio.Event().wait(), 1)

    with pytest.raises(TimeoutError, match=r"^$"):
        sse_network.run(impatient)
    assert sse_network.run(asyncio.sleep(10**6, "no limit"), limit=None) == "no limit"


@pytest.mark.parametrize(
    ("behaviour", "kind", "at"),
    [
        ([Refuse()], ConnectError, 0.0),
        ([Refuse("certificate", after=1)], TLSError, 1.0),
        ([Accept(after=11)], ConnectTimeout, 10.0),
        ([Accept(reading=False)], WriteTimeout, 30.0),
        ([Respond(), Stall()], IdleTimeout, 300.0),
    ],
)
def test_how_it_ends(
    sse_network: SSENetwork, behaviour: Behaviour, kind: type[Exception], at: float
) -> None:
    sse_network.server(URL, behaviour)

    async def app() -> None:
        async with connect(URL, config=ONCE) as connection:
            await connection.receive()

    with pytest.raises(kind):
        sse_network.run(app)
    assert sse_network.clock.now == at
    assert sse_network.transports == 0


def test_an_origin_without_a_server_fails_at_once(sse_network: SSENetwork) -> None:
    with pytest.raises(ConnectError, match="no server is scripted"):
        sse_network.run(ticker)
    assert sse_network.clock.now == 0


def test_timeouts_tasks_and_several_connections(sse_network: SSENetwork) -> None:
    sse_network.server(URL, [Respond(), send_event("slow", after=100), Stall()])
    sse_network.server("http://b.example.com", [Respond(), send_event("fast", after=1), Stall()])

    async def first(url: str) -> tuple[float, str]:
        async with connect(url) as connection:
            async for event in connection:
                assert isinstance(event, ServerSentEvent)
                return now(), event.data
        raise AssertionError

    async def app() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(50):
                await first(URL)
        assert now() == 50
        results = await asyncio.gather(first("http://b.example.com"), first(URL))
        assert list(results) == [
            (51.0, "fast"),
            (150.0, "slow"),
        ]
        async with connect(URL) as connection:
            with pytest.raises(TimeoutError):
                await connection.receive(timeout=5)
            await connection.wait_for(ConnectionState.CONNECTED, timeout=1)

    sse_network.run(app)
    assert sse_network.clock.now == 155.0


def test_pings_and_posts(sse_network: SSENetwork) -> None:
    server = sse_network.server(URL, [Respond(), Stall()], latency=0.125)
    server.route("/ping", [Respond(200, content=b"pong")])
    server.route("/say", [Respond(201, content=b"{}")])
    config = ConnectionConfig(heartbeat=HeartbeatConfig(enabled=True, interval=10))

    async def app() -> None:
        async with connect(URL, config=config, headers={"Authorization": "t"}) as connection:
            answer = await connection.post("/say", json={"a": 1})
            assert (answer.status, answer.json(), now()) == (201, {}, 1.0)
            await asyncio.sleep(35)
            assert connection.metrics.heartbeats_succeeded == 3

    sse_network.run(app)
    assert {request.header("authorization") for request in server.requests} == {"t"}


def test_a_slow_reader_holds_the_server_back(sse_network: SSENetwork) -> None:
    sent = 0

    def handler(request: IncomingRequest) -> Iterator[Step]:
        nonlocal sent
        yield Respond(framing="close")
        while True:
            sent += 1
            yield Send(b"data: %d\n\n" % sent * 10_000)

    sse_network.server(URL, handler)

    async def app() -> None:
        config = ConnectionConfig(buffer_size=10)
        async with connect(URL, config=config) as connection:
            await asyncio.sleep(1000)
            assert sent < 5
            received = [await connection.receive() for _ in range(100_000)]
            assert [event.data for event in received if isinstance(event, ServerSentEvent)] == [
                str(number) for number in range(1, 11) for _ in range(10_000)
            ]

    sse_network.run(app)


def test_it_is_cut_in_every_way_and_loses_nothing(sse_network: SSENetwork) -> None:
    def handler(request: IncomingRequest) -> Iterator[Step]:
        position = int(request.last_event_id or 0)
        yield Respond()
        yield send_event(str(position + 1), id=str(position + 1), after=1)
        yield Send(b"data: never whole\n")
        yield (Cut(), Reset(), End(), Stall(400))[request.number % 4]

    sse_network.server(URL, handler)
    assert [data for _, data in sse_network.run(ticker)] == [str(n) for n in range(1, 11)]


def test_callbacks_and_closing_from_them(sse_network: SSENetwork) -> None:
    def endless(request: IncomingRequest) -> Iterator[Step]:
        yield Respond()
        while True:
            yield send_event("x")

    sse_network.server(URL, endless)
    seen: list[object] = []

    def on_event(connection: Connection, event: object) -> None:
        seen.append(event)
        if len(seen) == 5:
            connection.close()

    async def app() -> None:
        connection = await connect(URL, on_event=on_event, wait=False).open()
        await connection.wait_closed()

    sse_network.run(app)
    assert len(seen) == 5
    assert sse_network.clock.now == 0


@pytest.mark.parametrize("at", [0.0, 0.5, 1.5, 2.0, 2.5, 5.0])
def test_closing_at_any_moment_leaves_nothing(sse_network: SSENetwork, at: float) -> None:
    sse_network.server(URL, [Accept(after=1), Respond(after=1), Stall()], latency=0.25)

    async def app() -> None:
        connection = await connect(URL, wait=False).open()
        await asyncio.sleep(at)
        connection.close()
        await connection.wait_closed()
        with pytest.raises(ConnectionClosed):
            await connection.receive()

    sse_network.run(app)
    assert sse_network.clock.now == at
    assert sse_network.transports == 0


def test_an_async_prepare_request_takes_its_time(sse_network: SSENetwork) -> None:
    server = sse_network.server(URL, [Respond(), Stall()])

    async def prepare(request: Request, attempt: int) -> Request:
        await asyncio.sleep(3)
        return request.with_header("Authorization", "fresh")

    async def app() -> float:
        async with connect(URL, prepare_request=prepare):
            return now()

    assert sse_network.run(app) == 3.0
    assert server.requests[0].header("authorization") == "fresh"


def test_a_unix_socket_is_scripted_by_its_url(sse_network: SSENetwork) -> None:
    sse_network.server("http://localhost", [Respond(), send_event("x"), Stall()])

    async def app() -> None:
        async with connect("http://localhost/x", uds="/nowhere") as connection:
            await connection.receive()

    sse_network.run(app)


def test_the_same_script_is_the_same_in_the_simulation(sse_network: SSENetwork) -> None:
    def script(network: SSENetwork | Simulation) -> EventLog:
        scripted = network.network if isinstance(network, Simulation) else network
        log = EventLog()
        log.add_many(10, every=3.0)
        scripted.server(URL, log, latency=0.5)
        scripted.outage(5, 20)
        return log

    policy = ReconnectionPolicy(jitter_factor=0.0)
    config = ConnectionConfig(reconnection=policy)
    simulation = Simulation()
    script(simulation)
    simulated = simulation.connection(URL, config=config).open()
    changes = simulated.state_changes()
    next(changes)
    expected: list[tuple[float, str]] = []
    for _ in range(10):
        event = simulated.receive()
        assert isinstance(event, ServerSentEvent)
        expected.append((simulation.clock.now, event.data))

    async def app() -> list[tuple[float, str]]:
        got: list[tuple[float, str]] = []
        async with connect(URL, config=config) as connection:
            async for event in connection:
                assert isinstance(event, ServerSentEvent)
                got.append((now(), event.data))
                if len(got) == 10:
                    break
        return got

    script(sse_network)
    assert sse_network.run(app) == expected


def test_other_loops_open_real_transports() -> None:
    with asyncio.Runner() as runner:
        assert opener_for(runner.get_loop()) is open_link


def test_the_fixture_reports_what_was_left_open() -> None:
    async def forgetful() -> None:
        await connect(URL).open()

    async def failing() -> None:
        await forgetful()
        raise ZeroDivisionError

    fixture = _sse_network()
    network = next(fixture)
    network.server(URL, [Respond(), Stall()])
    network.run(forgetful)
    with pytest.raises(AssertionError, match="1 transports were left open"):
        next(fixture)
    # What failed has been reported already.
    fixture = _sse_network()
    network = next(fixture)
    network.server(URL, [Respond(), Stall()])
    with pytest.raises(ZeroDivisionError):
        network.run(failing)
    assert next(fixture, "over") == "over"


def test_without_pytest_there_is_no_fixture_but_the_rest() -> None:
    program = (
        "import sys; sys.modules['pytest'] = None\n"
        "from sansio_sse_asyncio.testing import SSENetwork, sse_network\n"
        "import asyncio\n"
        "print(next(sse_network()).run(asyncio.sleep(5, 'slept')))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "slept\n"
