"""A server that does not stop: whatever it sends, what is kept of it is bounded."""

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

import pytest
from ag_ui.core import (
    ActivityDeltaEvent,
    ActivitySnapshotEvent,
    AssistantMessage,
    CustomEvent,
    Event,
    MessagesSnapshotEvent,
    RawEvent,
    ReasoningEncryptedValueEvent,
    ReasoningMessageContentEvent,
    ReasoningMessageStartEvent,
    ReasoningStartEvent,
    RunAgentInput,
    StateSnapshotEvent,
    StepFinishedEvent,
    StepStartedEvent,
    SubagentFinishedEvent,
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
    UserMessage,
)

from sansio_sse import LimitExceeded
from sansio_sse_agui import RunState
from sansio_sse_agui.budget import weight

from .support import FINISHED, STARTED, delta

LIMIT = 20_000
MANY = 5_000  # far more than fit


def repeat(*events: Event) -> Iterable[Event]:
    return chain.from_iterable(events for _ in range(MANY))


def numbered(make: Callable[[str], Event]) -> Iterable[Event]:
    return (make(str(number)) for number in range(MANY))


def begin(name: str = "m", **more: Any) -> Event:
    return TextMessageStartEvent(message_id=name, **more)


def end(name: str = "m") -> Event:
    return TextMessageEndEvent(message_id=name)


def patch_activity(number: str) -> Event:
    return ActivityDeltaEvent.model_validate(
        {
            "message_id": "a",
            "activity_type": "x",
            "patch": [{"op": "add", "path": f"/{number}", "value": 1}],
        }
    )


def finish_subagents() -> Iterable[Event]:
    for number in range(MANY):
        yield SubagentStartedEvent(subagent_run_id=str(number), name="x")
        yield SubagentFinishedEvent(subagent_run_id=str(number))


def call_and_go_on(text: str) -> Iterable[Event]:
    return repeat(
        ToolCallStartEvent(tool_call_id="t", tool_call_name="x"),
        ToolCallArgsEvent(tool_call_id="t", delta=text),
        ToolCallEndEvent(tool_call_id="t"),
    )


ENDLESS: dict[str, Callable[[], Iterable[Event]]] = {
    "text": lambda: [begin(), *repeat(TextMessageContentEvent(message_id="m", delta="xxxx"))],
    "text again and again": lambda: repeat(
        begin(), TextMessageContentEvent(message_id="m", delta="xxxx"), end()
    ),
    "thoughts": lambda: [
        ReasoningMessageStartEvent(message_id="m"),
        *repeat(ReasoningMessageContentEvent(message_id="m", delta="xxxx")),
    ],
    "arguments": lambda: call_and_go_on("xxxx"),
    "chunks": lambda: [
        TextMessageChunkEvent(message_id="m"),
        *repeat(TextMessageChunkEvent(delta="xxxx")),
    ],
    "chunks of many": lambda: numbered(lambda name: TextMessageChunkEvent(message_id=name)),
    "calls in chunks": lambda: numbered(
        lambda name: ToolCallChunkEvent(tool_call_id=name, tool_call_name="x")
    ),
    "chunks of many subagents": lambda: numbered(
        lambda name: TextMessageChunkEvent(message_id=name, subagent_run_id=name)
    ),
    "messages": lambda: numbered(begin),
    "messages of one character": lambda: chain.from_iterable(
        (begin(str(number)), end(str(number))) for number in range(MANY)
    ),
    "calls": lambda: numbered(
        lambda name: ToolCallStartEvent(
            tool_call_id=name, tool_call_name="x", parent_message_id="m"
        )
    ),
    "results": lambda: numbered(
        lambda name: ToolCallResultEvent(message_id=name, tool_call_id="t", content="")
    ),
    "spans": lambda: numbered(lambda name: ReasoningStartEvent(message_id=name)),
    "steps": lambda: numbered(lambda name: StepStartedEvent(step_name=name)),
    "subagents": lambda: numbered(
        lambda name: SubagentStartedEvent(subagent_run_id=name, name="x")
    ),
    "subagents that have ended": finish_subagents,
    "metadata": lambda: [
        begin(),
        *numbered(
            lambda name: TextMessageContentEvent(message_id="m", delta="", metadata={name: None})
        ),
    ],
    "activities": lambda: numbered(
        lambda name: ActivitySnapshotEvent(message_id=name, activity_type="x", content={})
    ),
    "what an activity has found": lambda: [
        ActivitySnapshotEvent(message_id="a", activity_type="x", content={}),
        *numbered(patch_activity),
    ],
    "state": lambda: numbered(lambda name: delta({"op": "add", "path": f"/{name}", "value": None})),
}


@pytest.mark.parametrize("what", ENDLESS)
def test_what_does_not_end_is_stopped(what: str) -> None:
    run = RunState(limit=LIMIT)
    run.feed(STARTED)
    taken = 0

    def feed_all() -> None:
        nonlocal taken
        for event in ENDLESS[what]():
            run.feed(event)
            taken += 1

    with pytest.raises(LimitExceeded, match=f"the limit of {LIMIT}"):
        feed_all()
    assert taken > 20
    assert weight(*run.messages, run.state) <= 2 * LIMIT


HUGE = "x" * LIMIT
EMPTY = {"id": "m", "content": ""}


@pytest.mark.parametrize(
    "event",
    [
        begin(HUGE),
        begin(name=HUGE),
        begin(metadata={HUGE: 1}),
        begin(metadata={"a": [[HUGE]]}),
        TextMessageChunkEvent(message_id="m", delta=HUGE),
        ToolCallStartEvent(tool_call_id="t", tool_call_name=HUGE),
        ToolCallResultEvent(message_id="m", tool_call_id="t", content=HUGE),
        StateSnapshotEvent(snapshot=HUGE),
        StateSnapshotEvent(snapshot={HUGE: 0}),
        StateSnapshotEvent(snapshot=[10 ** (4 * LIMIT)]),
        StateSnapshotEvent(snapshot=[[]] * (LIMIT // 10)),
        delta({"op": "add", "path": "/a", "value": HUGE}),
        MessagesSnapshotEvent(messages=[UserMessage(id="m", content=HUGE)]),
        MessagesSnapshotEvent(
            messages=[UserMessage.model_validate({"id": "m", "content": "", "x": HUGE})]
        ),
        ActivitySnapshotEvent(message_id="a", activity_type="x", content={"a": HUGE}),
        ReasoningEncryptedValueEvent(subtype="message", entity_id="held", encrypted_value=HUGE),
        StepStartedEvent(step_name=HUGE),
        SubagentStartedEvent(subagent_run_id=HUGE, name="x"),
    ],
)
def test_what_is_too_large_is_refused(event: Event) -> None:
    run = RunState(limit=LIMIT)
    for before in (STARTED, begin("held"), end("held")):
        run.feed(before)
    held = run.messages[0]
    with pytest.raises(LimitExceeded):
        run.feed(event)
    assert run.message("held") == held
    assert run.state == {}


def test_what_is_restated_does_not_count_twice() -> None:
    run = RunState(limit=LIMIT)
    run.feed(STARTED)
    most = "x" * (LIMIT // 3)
    for number in range(10):
        run.feed(MessagesSnapshotEvent(messages=[AssistantMessage(id="m", content=most)]))
        run.feed(StateSnapshotEvent(snapshot=f"{most}{number}"))
    assert run.message("m").content == most


def test_metadata_that_is_replaced_does_not_count_twice() -> None:
    run = RunState(limit=LIMIT)
    run.feed(STARTED)
    run.feed(begin())
    for tokens in range(MANY):
        usage = {"tokens": tokens}
        run.feed(TextMessageContentEvent(message_id="m", delta="", metadata=usage))
    assert run.message("m").metadata == {"tokens": MANY - 1}


def test_what_is_not_kept_may_go_on_for_ever() -> None:
    run = RunState(limit=LIMIT)
    run.feed(STARTED)
    run.feed(begin())
    run.feed(MessagesSnapshotEvent(messages=[]))
    nothing: list[Event] = [
        RawEvent(event=HUGE),
        CustomEvent(name="x", value=HUGE),
        TextMessageContentEvent(message_id="m", delta=HUGE, metadata={"a": HUGE}),  # it is gone
        StepStartedEvent(step_name="s"),
        StepFinishedEvent(step_name="s"),
    ]
    for event in nothing * 100:
        run.feed(event)
    run.feed(end())
    run.feed(FINISHED)
    assert run.messages == []


def test_what_is_asked_counts_as_well() -> None:
    asked = RunAgentInput(
        thread_id="t", run_id="r", messages=[UserMessage(id="u", content=HUGE)], state={}
    )
    with pytest.raises(LimitExceeded):
        RunState(asked, limit=LIMIT)
    assert RunState(asked).messages == asked.messages
