"""Runs on every driver, against an agent that writes as ag_ui's own encoder does."""

import json
from typing import Any

import pytest
from ag_ui.core import (
    ActivityMessage,
    Event,
    EventType,
    RunAgentInput,
    RunErrorEvent,
    RunStartedEvent,
    TextMessageContentEvent,
    TextMessageEndEvent,
    TextMessageStartEvent,
    UserMessage,
)

from contract.common import pooled, quick, turn_away
from contract.driver_asyncio import Asyncio
from contract.driver_sockets import Sockets
from contract.driver_trio import Trio
from contract.face import Face
from contract.server import Peer, Seen, Server
from sansio_sse import (
    AG_UI,
    ConnectionState,
    EventDecodeError,
    HTTPStatusError,
    LocalProtocolError,
    ServerSentEvent,
    StreamTruncated,
)
from sansio_sse_agui import UnknownEvent

from .support import EVERY, FINISHED, QUESTION, STARTED, agent, encoded, read, start

pytestmark = pytest.mark.timeout(30)

FAILED = RunErrorEvent(message="no more tokens", code="limit")
LAST: dict[EventType, Event] = {EventType.RUN_FINISHED: FINISHED, EventType.RUN_ERROR: FAILED}
MESSAGE: list[Event] = [
    STARTED,
    TextMessageStartEvent(message_id="m"),
    *(TextMessageContentEvent(message_id="m", delta=delta) for delta in ("one", "two", "three")),
    TextMessageEndEvent(message_id="m"),
    FINISHED,
]


def stall(peer: Peer, seen: Seen) -> None:
    peer.stall()


def test_there_is_a_sample_of_every_event_type() -> None:
    assert {*EVERY} == {*EventType}


@pytest.mark.parametrize("last", LAST, ids=lambda kind: kind.value)
async def test_every_event_arrives_as_it_was_sent_up_to_the_last(
    sse: Face, last: EventType
) -> None:
    sent = [*(event for kind, event in EVERY.items() if kind not in LAST), LAST[last]]
    with Server(agent(*sent, EVERY[EventType.CUSTOM], then=stall)) as server:
        async with start(sse, server.url) as events:
            received = await read(events)
            assert events.connection.state is ConnectionState.DISCONNECTED
    assert [type(event) for event in received] == [type(event) for event in sent]
    assert received == sent


async def test_the_input_is_posted_as_the_protocol_writes_it(sse: Face) -> None:
    asked = RunAgentInput(
        thread_id="thread",
        run_id="run",
        state={"draft": None},
        forwarded_props={"null": None},
        messages=[
            UserMessage(id="u", content="é"),
            ActivityMessage(id="a", activity_type="search", content={}),
        ],
    )
    with Server(agent(FINISHED)) as server:
        headers = {"Authorization": "Bearer secret"}
        async with start(sse, server.url, asked, headers=headers) as events:
            assert await read(events) == [FINISHED]
        [seen] = server.requests
    assert seen.method == "POST"
    assert seen.header("Accept") == "text/event-stream"
    assert seen.header("Content-Type") == "application/json"
    assert seen.header("Authorization") == "Bearer secret"
    assert json.loads(seen.body) == {
        "threadId": "thread",
        "runId": "run",
        "state": {"draft": None},
        "forwardedProps": {"null": None},
        "messages": [{"id": "u", "role": "user", "content": "é"}],
    }
    assert len(asked.messages) == 2


async def test_an_unknown_event_is_given_as_it_came(sse: Face) -> None:
    with Server(agent(STARTED, '{"type": "LAUGHTER", "volume": [11]}', FINISHED)) as server:
        async with start(sse, server.url) as events:
            assert await read(events) == [
                STARTED,
                UnknownEvent("LAUGHTER", {"type": "LAUGHTER", "volume": [11]}),
                FINISHED,
            ]
            assert events.connection.metrics.errors == {}


@pytest.mark.parametrize(
    "wrong",
    [
        '{"type": "TEXT_MESSAGE_CONTENT", "messageId": 5, "delta": ""}',
        '{"type": "TEXT_MESSAGE_CONTENT", "messageId": "m"}',
        '{"type": 5}',
        '{"kind": "CUSTOM"}',
        "[]",
        "not JSON",
    ],
)
async def test_an_event_that_is_wrong_is_reported_and_the_rest_is_given(
    sse: Face, wrong: str
) -> None:
    reported: list[BaseException] = []
    with Server(agent(STARTED, wrong, FINISHED)) as server:
        async with start(
            sse, server.url, on_error=lambda _, error: reported.append(error)
        ) as events:
            errors = events.connection.errors()
            assert await read(events) == [STARTED, FINISHED]
            error = await anext(errors)
    assert reported == [error]
    assert isinstance(error, EventDecodeError)
    assert error.event.data == wrong


async def test_the_last_event_is_raised_if_it_is_wrong(sse: Face) -> None:
    reported: list[BaseException] = []
    wrong = '{"type": "RUN_FINISHED", "threadId": "thread"}'
    with Server(agent(STARTED, wrong)) as server:
        async with start(
            sse, server.url, on_error=lambda _, error: reported.append(error)
        ) as events:
            assert await anext(events) == STARTED
            with pytest.raises(EventDecodeError) as caught:
                await anext(events)
            assert await read(events) == []
    assert reported == [caught.value]


def cut(peer: Peer, seen: Seen) -> None:
    peer.close()


@pytest.mark.parametrize("end", [None, cut], ids=["a good end", "a cut"])
async def test_an_end_before_the_run_s_is_an_error(sse: Face, end: Any) -> None:
    with Server(agent(STARTED, then=end)) as server:
        async with start(sse, server.url, config=quick()) as events:
            assert await anext(events) == STARTED
            with pytest.raises(StreamTruncated):
                await anext(events)
        assert len(server.requests) == 1  # what an agent does is not done twice


async def test_leaving_early_closes_the_stream(sse: Face) -> None:
    with Server(agent(STARTED, then=stall)) as server:
        async with start(sse, server.url) as events:
            async for event in events:
                assert event == STARTED
                break
        await sse.until(lambda: server.open_visits == 0)
        assert server.visits[0].left


async def test_a_run_that_was_cut_goes_on_where_it_was_if_the_server_gives_ids(sse: Face) -> None:
    def script(peer: Peer, seen: Seen) -> None:
        peer.stream(chunked=True)
        done = int(seen.cursor or 0)
        for number, event in enumerate(MESSAGE[done : done + 3], done + 1):
            peer.body(f"id: {number}\n{encoded(event)}".encode())
        if done + 3 < len(MESSAGE):
            peer.reset()  # perhaps with some of them under way
        else:
            peer.end()

    with Server(script) as server:
        async with start(sse, server.url, config=quick()) as events:
            assert await read(events) == MESSAGE
    first, *others = server.requests
    assert first.cursor is None
    assert others
    assert all(seen.cursor and seen.body == first.body for seen in others)


async def test_the_last_of_several_runs_can_be_waited_for(sse: Face) -> None:
    earlier: list[Event] = [
        RunStartedEvent(thread_id="thread", run_id="earlier"),
        FINISHED.model_copy(update={"run_id": "earlier"}),
    ]

    def is_ours(event: ServerSentEvent) -> bool:
        return AG_UI(event) and event.json().get("runId", "run") == QUESTION.run_id

    with Server(agent(*earlier, STARTED, FINISHED)) as server:
        async with start(sse, server.url, until=is_ours) as events:
            assert await read(events) == [*earlier, STARTED, FINISHED]


@pytest.fixture(params=[Asyncio, Trio, Sockets], ids=lambda driver: driver.name)
def pooling(request: pytest.FixtureRequest) -> Face:
    """A driver that has pools."""
    face: Face = request.param()
    return face


async def test_a_pool_opens_runs_over_one_transport(pooling: Face) -> None:
    def script(peer: Peer, seen: Seen) -> None:
        data = [encoded(event).removeprefix("data: ").rstrip() for event in (STARTED, FINISHED)]
        peer.reply(*data)

    with Server(script) as server:
        async with pooling.pool(pooled(server.origin)) as pool:
            stream = pool.stream if pooling.asynchronous else pool.plain.stream
            for _ in range(2):
                async with start(pooling, "/run", connect=stream) as events:
                    assert await read(events) == [STARTED, FINISHED]
        assert len(server.requests) == 2
        assert len(server.visits) == 1


async def test_an_agent_that_refuses_is_an_error_on_entering(sse: Face) -> None:
    with (
        Server(turn_away(401, body=b"who are you?")) as server,
        pytest.raises(HTTPStatusError) as caught,
    ):
        async with start(sse, server.url):
            pass
    assert caught.value.body == b"who are you?"


async def test_a_run_is_of_no_use_before_it_is_entered(sse: Face) -> None:
    events = start(sse, "http://127.0.0.1:9/")
    with pytest.raises(LocalProtocolError):
        await anext(events)
    with pytest.raises(LocalProtocolError):
        assert events.connection
