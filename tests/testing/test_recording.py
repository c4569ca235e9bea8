"""What a driver told its machine, told again to a fresh one, gets the same answers."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

import sansio_sse_asyncio
from sansio_sse import (
    Comment,
    Connected,
    ConnectionConfig,
    ConnectionMachine,
    ConnectionState,
    HeartbeatConfig,
    LastEventIdChanged,
    LocalProtocolError,
    Request,
    Response,
    ServerSentEvent,
)
from sansio_sse.connection import DEFAULT_HEADERS
from sansio_sse.testing import (
    IncomingRequest,
    RecordedInput,
    Recording,
    Refuse,
    ReplayError,
    Reset,
    Respond,
    Send,
    SimulatedConnection,
    Simulation,
    Stall,
    Step,
    describe_action,
    record,
    send_event,
)
from sansio_sse_asyncio.testing import SSENetwork

URL = "https://api.example.com/events"
CONFIG = ConnectionConfig(heartbeat=HeartbeatConfig(enabled=True), buffer_size=5, overflow="error")
EVERYTHING: Any = {"connected", "comments", "ids"}


def fresh(random: Callable[[], float]) -> ConnectionMachine:
    request = Request("GET", URL)
    return ConnectionMachine(request, CONFIG, random=random, prepare=True, include=EVERYTHING)


def prepare(request: Request, attempt: int) -> Request:
    if attempt == 1:
        raise ValueError("no token")
    return request.with_header("Authorization", "Bearer x")


def eventful() -> tuple[Recording, SimulatedConnection]:
    """A recording with every kind of input in it."""
    simulation = Simulation(seed=9)

    def handler(request: IncomingRequest) -> Iterator[Step]:
        yield Respond()
        yield send_event("one", id=f"{request.number}-1")
        yield Send(b": comment\n\n", after=1)
        yield Reset(after=40)

    server = simulation.network.server(
        URL,
        [Refuse("certificate")],
        [Refuse("tls")],
        [Refuse()],
        handler,
        [Respond(), Stall()],
        [Respond(), *(send_event(str(n)) for n in range(7)), Stall()],
    )
    server.route("/ping", [Respond(200, content=b"")], [Respond(500, content=b"")])
    server.route("/say", [Respond(200, content=b"{}")], [Stall()])
    connection = simulation.connection(
        URL, config=CONFIG, prepare_request=prepare, include=EVERYTHING, wait=False
    )
    recording = record(connection)
    connection.open()
    simulation.run(until=5)
    assert connection.state is ConnectionState.ERROR
    connection._connect_now()
    simulation.run(until=20)
    with pytest.raises(LocalProtocolError):
        connection._connect_now()
    assert connection.post("/say", json={"a": 1}).status == 200
    posting = connection._posting("/say", "POST", None, None, None)
    next(posting)
    posting.close()
    simulation.run(until=100)
    while connection._buffer:
        connection.receive(timeout=0)
    connection.restart("9")
    connection.restart()
    simulation.run(until=200)
    assert connection.state is ConnectionState.ERROR
    connection.disconnect()
    connection.close()
    simulation.run(until=201)
    return recording, connection


def test_a_fresh_machine_gives_the_same_answers() -> None:
    recording, _ = eventful()
    actions = recording.replay(fresh)
    words = [line for told in recording.inputs for line in told.answer]
    assert [describe_action(action) for action in actions] == words
    assert {told.name for told in recording.inputs} == {
        "abandon_post",
        "bytes_received",
        "bytes_sent",
        "close",
        "connect",
        "disconnect",
        "events_refused",
        "post",
        "prepare_failed",
        "request_prepared",
        "restart",
        "tick",
        "transport_failed",
        "transport_opened",
    }


def test_a_recording_survives_being_written() -> None:
    recording, _ = eventful()
    text = recording.dumps()
    again = Recording.loads(text)
    assert again.dumps() == text
    again.replay(fresh)
    assert [told.answer for told in again.inputs] == [told.answer for told in recording.inputs]
    kinds = [type(told.arguments[-1]) for told in again.inputs if told.name == "transport_failed"]
    assert [kind.__name__ for kind in kinds][:2] == ["ScriptedCertificateError", "TLSError"]


def test_another_answer_is_an_error() -> None:
    recording, _ = eventful()
    first = recording.inputs[0]
    recording.inputs[0] = replace(first, answer=("close 1",))
    with pytest.raises(ReplayError, match=r"input 0 \(connect at 0.0\) was answered by .*close 1"):
        recording.replay(fresh)


def test_more_chance_than_recorded_is_an_error() -> None:
    recording, _ = eventful()
    recording.inputs = [replace(told, drawn=()) for told in recording.inputs]
    with pytest.raises(ReplayError, match="more random numbers"):
        recording.replay(fresh)


def test_an_application_is_recorded_as_it_is() -> None:
    async def app() -> Recording:
        connection = sansio_sse_asyncio.connect(URL)
        recording = record(connection)
        assert isinstance(connection, sansio_sse_asyncio.Connection)
        async with connection:
            async for event in connection:
                assert isinstance(event, ServerSentEvent)
                if event.data == "two":
                    break
            await asyncio.sleep(1)
        return recording

    network = SSENetwork(seed=4)
    network.server(
        URL,
        [Refuse()],
        [Respond(), send_event("one", id="1"), Reset(after=1)],
        [Respond(), send_event("two"), Stall()],
    )
    recording = Recording.loads(network.run(app).dumps())
    actions = recording.replay(lambda random: ConnectionMachine(Request("GET", URL), random=random))
    assert [action.data for action in actions if isinstance(action, ServerSentEvent)] == [
        "one",
        "two",
    ]


def test_a_request_without_content_and_one_with() -> None:
    for content in (None, b"\xff"):
        request = Request("POST", URL, (("A", "b"),), content)
        recording = Recording([RecordedInput("request_prepared", (1, request), 0.5)])
        assert Recording.loads(recording.dumps()).inputs == recording.inputs


def test_events_in_words() -> None:
    response = Response(200, (("Content-Type", "text/event-stream"),))
    assert describe_action(Connected(2, True, response)) == (
        "connected after 2 retries, resumed=True, 200"
    )
    assert describe_action(Comment("x")) == "comment 'x'"
    assert describe_action(LastEventIdChanged("7")) == "last event id '7'"
    with pytest.raises(TypeError, match="not an action of a wire machine"):
        describe_action(DEFAULT_HEADERS)


def test_a_slow_reader_in_words() -> None:
    simulation = Simulation()
    simulation.network.server(URL, [Respond(), *(send_event("x") for _ in range(9)), Stall()])
    config = ConnectionConfig(buffer_size=3)
    connection = simulation.connection(URL, config=config).open()
    simulation.run(until=1)
    for _ in range(9):
        connection.receive()
    words = [line.split(None, 2)[2] for line in simulation.trace]
    assert words.count("pause 1") == words.count("resume 1") > 0
