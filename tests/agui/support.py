"""An agent that says what it is told to, in ag_ui's own encoding, and a run in one face's words."""

from typing import Any

from ag_ui.core import (
    ActivityDeltaEvent,
    ActivitySnapshotEvent,
    AssistantMessage,
    CustomEvent,
    Event,
    EventType,
    MessagesSnapshotEvent,
    RawEvent,
    ReasoningEncryptedValueEvent,
    ReasoningEndEvent,
    ReasoningMessageChunkEvent,
    ReasoningMessageContentEvent,
    ReasoningMessageEndEvent,
    ReasoningMessageStartEvent,
    ReasoningStartEvent,
    RunAgentInput,
    RunErrorEvent,
    RunFinishedEvent,
    RunFinishedSuccessOutcome,
    RunStartedEvent,
    StateDeltaEvent,
    StateSnapshotEvent,
    StepFinishedEvent,
    StepStartedEvent,
    SubagentErrorEvent,
    SubagentFinishedEvent,
    SubagentStartedEvent,
    TextMessageChunkEvent,
    TextMessageContentEvent,
    TextMessageEndEvent,
    TextMessageStartEvent,
    TokenUsage,
    ToolCallArgsEvent,
    ToolCallChunkEvent,
    ToolCallEndEvent,
    ToolCallResultEvent,
    ToolCallStartEvent,
    UserMessage,
)
from ag_ui.encoder import EventEncoder

from contract.driver_sockets import Awaitables, Connection
from contract.face import Face
from contract.server import Peer, Script, Seen
from sansio_sse_agui import RunEvent, decode, run

__all__ = [
    "EVERY",
    "FINISHED",
    "QUESTION",
    "STARTED",
    "agent",
    "delta",
    "encoded",
    "read",
    "start",
    "through_the_wire",
]

QUESTION = RunAgentInput(
    thread_id="thread",
    run_id="run",
    messages=[UserMessage(id="u", content="What is the weather?")],
)
STARTED = RunStartedEvent(thread_id="thread", run_id="run", protocol_version="1.0")
FINISHED = RunFinishedEvent(
    thread_id="thread",
    run_id="run",
    result={"answer": None},
    outcome=RunFinishedSuccessOutcome(pending_tool_call_ids=["t"]),
    usage=[TokenUsage(provider="nobody", input_tokens=3)],
)


def delta(*operations: dict[str, Any]) -> StateDeltaEvent:
    """A change of the state, its operations as they are written in JSON."""
    return StateDeltaEvent.model_validate({"delta": operations})


EVERY: dict[EventType, Event] = {
    event.type: event
    for event in (
        STARTED,
        FINISHED,
        RunErrorEvent(message="no more tokens", code="limit"),
        TextMessageStartEvent(message_id="m", role="assistant", metadata={"a": None}),
        TextMessageContentEvent(message_id="m", delta="sunny,\nand 30 °C ☀", timestamp=1),
        TextMessageEndEvent(message_id="m", raw_event={"stop": True}),
        TextMessageChunkEvent(message_id="m", delta="", subagent_run_id="s"),
        ToolCallStartEvent(tool_call_id="t", tool_call_name="look", parent_message_id="m"),
        ToolCallArgsEvent(tool_call_id="t", delta='{"out'),
        ToolCallEndEvent(tool_call_id="t"),
        ToolCallChunkEvent(delta='of": 1}'),
        ToolCallResultEvent(message_id="r", tool_call_id="t", content="a window"),
        StateSnapshotEvent(snapshot={"places": [], "nothing": None}),
        delta(
            {"op": "add", "path": "/places/-", "value": {"é": None}},
            {"op": "copy", "from": "/places/0", "path": "/first"},
            {"op": "move", "from": "/first", "path": "/only"},
            {"op": "test", "path": "/only/é", "value": None},
            {"op": "replace", "path": "/nothing", "value": 0.5},
            {"op": "remove", "path": "/nothing", "left": "over"},
        ),
        MessagesSnapshotEvent(messages=[UserMessage(id="u", content=""), AssistantMessage(id="m")]),
        ActivitySnapshotEvent(message_id="a", activity_type="search", content={"found": 0}),
        ActivityDeltaEvent.model_validate(
            {
                "message_id": "a",
                "activity_type": "search",
                "patch": [{"op": "replace", "path": "/found", "value": 3}],
            }
        ),
        RawEvent(event={"of": "a model"}, source="model"),
        CustomEvent(name="laughter", value=None),
        StepStartedEvent(step_name="think"),
        StepFinishedEvent(step_name="think"),
        ReasoningStartEvent(message_id="s"),
        ReasoningMessageStartEvent(message_id="q"),
        ReasoningMessageContentEvent(message_id="q", delta="hm"),
        ReasoningMessageEndEvent(message_id="q"),
        ReasoningMessageChunkEvent(message_id="q", delta="hm"),
        ReasoningEndEvent(message_id="s"),
        ReasoningEncryptedValueEvent(subtype="message", entity_id="q", encrypted_value="x"),
        SubagentStartedEvent(subagent_run_id="s", name="helper"),
        SubagentFinishedEvent(subagent_run_id="s", result=[1]),
        SubagentErrorEvent(subagent_run_id="s", message="lost"),
    )
}
"""One event of each type."""


def encoded(event: Event) -> str:
    """The event as ag_ui's own servers send it."""
    return EventEncoder().encode(event)


def through_the_wire(event: Event) -> RunEvent:
    """The event as it is at the other end."""
    return decode(encoded(event).removeprefix("data: ").rstrip("\n"))


def agent(*events: Event | str, then: Script | None = None) -> Script:
    """Answer with events, or with what stands in for their JSON, and end the body well.

    ``then``: what is done in place of the end.
    """

    def script(peer: Peer, seen: Seen) -> None:
        peer.stream(chunked=True)
        for event in events:
            peer.body((f"data: {event}\n\n" if isinstance(event, str) else encoded(event)).encode())
        if then is None:
            peer.end()
        else:
            then(peer, seen)

    return script


class _Plain(Awaitables):
    """A plain run in the words of an async one."""

    @property
    def connection(self) -> Connection:
        return Connection(self.plain.connection)

    async def __aenter__(self) -> Any:
        self.plain.__enter__()
        return self

    async def __aexit__(self, *raised: object) -> None:
        self.plain.__exit__(*raised)


def start(
    sse: Face,
    url: str,
    run_input: RunAgentInput = QUESTION,
    *,
    connect: Any = None,
    **options: Any,
) -> Any:
    """Make a run by way of a driver; where that has no coroutines, behind something that has.

    ``connect``: what opens the stream, as the driver itself has it; its ``connect`` by default.
    """
    if sse.asynchronous:
        return run(connect or sse.connect, url, run_input, **options)

    def plain(*given: Any, **named: Any) -> Any:
        return sse.connect(*given, **named).plain

    return _Plain(run(connect or plain, url, run_input, **options))


async def read(events: Any) -> list[RunEvent]:
    """Return all events of a run."""
    return [event async for event in events]
