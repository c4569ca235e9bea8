"""Whatever order events come in: the right texts, chunks that are no different, and bounds."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ag_ui.core import (
    ActivityMessage,
    ActivitySnapshotEvent,
    AssistantMessage,
    Event,
    MessagesSnapshotEvent,
    ReasoningEncryptedValueEvent,
    ReasoningMessage,
    ReasoningMessageChunkEvent,
    ReasoningMessageContentEvent,
    ReasoningMessageEndEvent,
    ReasoningMessageStartEvent,
    RunErrorEvent,
    StateSnapshotEvent,
    StepStartedEvent,
    SubagentStartedEvent,
    TextMessageChunkEvent,
    TextMessageContentEvent,
    TextMessageEndEvent,
    TextMessageStartEvent,
    ToolCallArgsEvent,
    ToolCallChunkEvent,
    ToolCallEndEvent,
    ToolCallResultEvent,
    ToolCallStartEvent,
)
from hypothesis import given
from hypothesis import strategies as st

from sansio_sse import LimitExceeded
from sansio_sse_agui import PatchFailed, ProtocolViolation, RunEvent, RunState
from sansio_sse_agui.budget import weight

from .support import EVERY, FINISHED, STARTED, delta, through_the_wire

T = TypeVar("T")

CHUNKS = (TextMessageChunkEvent, ToolCallChunkEvent, ReasoningMessageChunkEvent)


@dataclass(frozen=True)
class Item:
    """A text message, tool call or reasoning message, and what it is made of."""

    kind: str
    name: str
    deltas: tuple[str, ...]
    owner: str | None = None

    def events(self) -> list[Event]:
        own: dict[str, Any] = {"subagent_run_id": self.owner}
        match self.kind:
            case "text":
                return [
                    TextMessageStartEvent(message_id=self.name, **own),
                    *(TextMessageContentEvent(message_id=self.name, delta=d) for d in self.deltas),
                    TextMessageEndEvent(message_id=self.name),
                ]
            case "reasoning":
                return [
                    ReasoningMessageStartEvent(message_id=self.name, **own),
                    *(
                        ReasoningMessageContentEvent(message_id=self.name, delta=d)
                        for d in self.deltas
                    ),
                    ReasoningMessageEndEvent(message_id=self.name),
                ]
            case _:
                return [
                    ToolCallStartEvent(tool_call_id=self.name, tool_call_name="look", **own),
                    *(ToolCallArgsEvent(tool_call_id=self.name, delta=d) for d in self.deltas),
                    ToolCallEndEvent(tool_call_id=self.name),
                ]

    def chunks(self, named: Callable[[], bool]) -> list[Event]:
        """The same in chunks, of which later ones carry the name, or the owner alone."""
        made: list[Event] = []
        for position, text in enumerate(self.deltas or ("",)):
            name = self.name if position == 0 or named() else None
            more: dict[str, Any] = {"delta": text, "subagent_run_id": self.owner}
            match self.kind:
                case "text":
                    made.append(TextMessageChunkEvent(message_id=name, **more))
                case "reasoning":
                    made.append(ReasoningMessageChunkEvent(message_id=name, **more))
                case _:
                    tool = None if position else "look"
                    made.append(ToolCallChunkEvent(tool_call_id=name, tool_call_name=tool, **more))
        return made

    def found_in(self, run: RunState) -> str:
        if self.kind == "call":
            return run.tool_call(self.name).function.arguments
        content = run.message(self.name).content
        assert isinstance(content, str)
        return content


@st.composite
def items(draw: st.DrawFn, owners: tuple[str | None, ...] = (None,)) -> list[Item]:
    kinds = draw(st.lists(st.sampled_from(["text", "reasoning", "call"]), min_size=1, max_size=6))
    deltas = st.lists(st.text(max_size=3), max_size=4).map(tuple)
    return [
        Item(kind, f"{kind}-{number}", draw(deltas), draw(st.sampled_from(owners)))
        for number, kind in enumerate(kinds)
    ]


def interleaved(draw: Callable[[st.SearchStrategy[Any]], Any], lines: list[list[T]]) -> list[T]:
    """All things of all lines, those of each line in their order."""
    left = [list(line) for line in lines if line]
    merged: list[T] = []
    while left:
        line = draw(st.sampled_from(left))
        merged.append(line.pop(0))
        left = [line for line in left if line]
    return merged


@given(st.data(), items())
def test_any_interleaving_assembles_the_right_texts(data: st.DataObject, parts: list[Item]) -> None:
    run = RunState()
    run.feed(STARTED)
    for event in interleaved(data.draw, [part.events() for part in parts]):
        run.feed(through_the_wire(event))
        if data.draw(st.booleans()):
            assert run.messages  # to look changes nothing
    run.feed(FINISHED)
    assert [part.found_in(run) for part in parts] == ["".join(part.deltas) for part in parts]
    assert len(run.messages) == len(parts)
    assert {call.id for call in run.pending_tool_calls} == {
        part.name for part in parts if part.kind == "call"
    }


@given(st.data(), items(owners=(None, "s", "u")))
def test_chunks_of_several_subagents_are_no_different(
    data: st.DataObject, parts: list[Item]
) -> None:
    lanes: defaultdict[str | None, list[Event]] = defaultdict(list)
    for part in parts:
        lanes[part.owner] += part.chunks(lambda: data.draw(st.booleans()))
    run, again, plain = RunState(), RunState(), RunState()
    for event in [STARTED, *interleaved(data.draw, [*lanes.values()]), FINISHED]:
        for each in run.feed(event):
            assert not isinstance(each, CHUNKS)
            again.feed(each)  # would raise if it were not well-formed
    for event in [STARTED, *(event for part in parts for event in part.events()), FINISHED]:
        plain.feed(event)
    for part in parts:
        assert part.found_in(run) == "".join(part.deltas)
    assert again.messages == run.messages
    assert sorted(run.messages, key=lambda m: m.id) == sorted(plain.messages, key=lambda m: m.id)


# --- Anything at all ---------------------------------------------------------------------------

names = st.sampled_from("ab")
owners = st.sampled_from([None, None, "s"])
metadata = st.none() | st.dictionaries(names, st.integers() | st.text(max_size=3), max_size=2)
SOME: list[Event] = [
    *EVERY.values(),
    StateSnapshotEvent(snapshot={"places": []}),
    StepStartedEvent(step_name="other"),
    SubagentStartedEvent(subagent_run_id="u", name="helper"),
    delta({"op": "add", "path": "/x", "value": {"y": [1]}}),
    delta({"op": "remove", "path": "/x"}),
    MessagesSnapshotEvent(messages=[]),
    MessagesSnapshotEvent(
        messages=[
            AssistantMessage(id="a", content="x"),
            ReasoningMessage(id="b", content="y", metadata={"a": 1}),
            ActivityMessage(id="c", activity_type="z", content={"d": []}),
        ]
    ),
]
anything: st.SearchStrategy[Event] = st.sampled_from(SOME) | st.one_of(
    st.builds(TextMessageStartEvent, message_id=names, subagent_run_id=owners, metadata=metadata),
    st.builds(TextMessageContentEvent, message_id=names, delta=st.text(), metadata=metadata),
    st.builds(TextMessageEndEvent, message_id=names, metadata=metadata),
    st.builds(TextMessageChunkEvent, message_id=names, delta=st.text(), subagent_run_id=owners),
    st.builds(TextMessageChunkEvent, delta=st.text(), subagent_run_id=owners),
    st.builds(ReasoningMessageStartEvent, message_id=names),
    st.builds(ReasoningMessageContentEvent, message_id=names, delta=st.text()),
    st.builds(ReasoningMessageEndEvent, message_id=names),
    st.builds(ToolCallStartEvent, tool_call_id=names, tool_call_name=names, metadata=metadata),
    st.builds(
        ToolCallStartEvent, tool_call_id=names, tool_call_name=names, parent_message_id=names
    ),
    st.builds(ToolCallArgsEvent, tool_call_id=names, delta=st.text(), metadata=metadata),
    st.builds(ToolCallEndEvent, tool_call_id=names),
    st.builds(ToolCallResultEvent, message_id=names, tool_call_id=names, content=st.text()),
    st.builds(
        ActivitySnapshotEvent,
        message_id=names,
        activity_type=names,
        content=st.dictionaries(names, st.text()),
        replace=st.sampled_from([None, True, False]),
        metadata=metadata,
    ),
    st.builds(
        ReasoningEncryptedValueEvent,
        subtype=st.sampled_from(["message", "tool-call"]),
        entity_id=names,
        encrypted_value=st.text(),
    ),
)
CLEAN: list[Event] = [
    STARTED,
    StateSnapshotEvent(snapshot={}),
    MessagesSnapshotEvent(
        messages=[
            ActivityMessage(id="activity", activity_type="", content={}),
            ReasoningMessage(id="thought", content=""),
        ]
    ),
    RunErrorEvent(message=""),
]
"""What leaves as good as nothing."""


@dataclass
class Fed:
    """A run to which anything has been fed, in spite of its protests."""

    run: RunState
    taken: list[RunEvent] = field(default_factory=list)
    refused: int = 0

    def feed(self, event: Event) -> None:
        try:
            self.taken += self.run.feed(event)
        except (ProtocolViolation, PatchFailed, LimitExceeded):
            self.refused += 1


@given(st.lists(anything, max_size=60), st.sampled_from([2_000, 5_000, 10**6]))
def test_whatever_comes_is_taken_or_refused_and_never_too_much(
    events: list[Event], limit: int
) -> None:
    fed = Fed(RunState(limit=limit))
    fed.feed(STARTED)
    for event in events:
        fed.feed(event)
        messages, state = fed.run.messages, fed.run.state
        assert fed.run._budget.used <= limit
        assert weight(*messages, state) <= 2 * fed.run._budget.used
        assert len({(type(message), message.id) for message in messages}) == len(messages)
    assert not any(isinstance(event, CHUNKS) for event in fed.taken)


@given(st.lists(anything, max_size=60))
def test_what_is_given_up_does_not_count_any_more(events: list[Event]) -> None:
    fed, fresh = Fed(RunState()), RunState()
    without_copies = [event for event in events if event != EVERY[delta().type]]
    for event in [STARTED, *without_copies, RunErrorEvent(message="")]:
        fed.feed(event)
    for event in CLEAN:
        fed.run.feed(event)
        fresh.feed(event)
    assert fed.run.messages == fresh.messages
    assert fed.run._budget.used == fresh._budget.used
