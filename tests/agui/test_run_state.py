"""What the events of a run add up to, and what must not be in one."""

from collections.abc import Sequence
from typing import Any

import pytest
from ag_ui.core import (
    ActivityDeltaEvent,
    ActivityMessage,
    ActivitySnapshotEvent,
    AssistantMessage,
    ContentPart,
    CustomEvent,
    DeveloperMessage,
    Event,
    EventType,
    FunctionCall,
    ImagePart,
    Message,
    MessagesSnapshotEvent,
    RawEvent,
    ReasoningEncryptedValueEvent,
    ReasoningEndEvent,
    ReasoningMessage,
    ReasoningMessageChunkEvent,
    ReasoningMessageContentEvent,
    ReasoningMessageEndEvent,
    ReasoningMessageStartEvent,
    ReasoningStartEvent,
    RunAgentInput,
    RunErrorEvent,
    RunFinishedEvent,
    RunStartedEvent,
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
    TextPart,
    ToolCall,
    ToolCallArgsEvent,
    ToolCallChunkEvent,
    ToolCallEndEvent,
    ToolCallResultEvent,
    ToolCallStartEvent,
    ToolMessage,
    UrlSource,
    UserMessage,
)

from sansio_sse_agui import PatchFailed, ProtocolViolation, RunState, RunStatus, UnknownEvent

from .support import EVERY, FINISHED, QUESTION, STARTED, delta

FAILED = RunErrorEvent(message="no more tokens")


def begin(message_id: str = "m", **more: Any) -> Event:
    return TextMessageStartEvent(message_id=message_id, **more)


def say(text: str, message_id: str = "m", **more: Any) -> Event:
    return TextMessageContentEvent(message_id=message_id, delta=text, **more)


def end(message_id: str = "m", **more: Any) -> Event:
    return TextMessageEndEvent(message_id=message_id, **more)


def chunk(text: str | None = None, **more: Any) -> Event:
    return TextMessageChunkEvent(delta=text, **more)


def call(tool_call_id: str = "t", **more: Any) -> Event:
    return ToolCallStartEvent(tool_call_id=tool_call_id, tool_call_name="look", **more)


def args(text: str, tool_call_id: str = "t", **more: Any) -> Event:
    return ToolCallArgsEvent(tool_call_id=tool_call_id, delta=text, **more)


def called(tool_call_id: str = "t", **more: Any) -> Event:
    return ToolCallEndEvent(tool_call_id=tool_call_id, **more)


def result(message_id: str = "r", tool_call_id: str = "t", content: Any = "rain") -> Event:
    return ToolCallResultEvent(message_id=message_id, tool_call_id=tool_call_id, content=content)


def activity(**content: Any) -> Event:
    return ActivitySnapshotEvent(message_id="a", activity_type="search", content=content)


def activity_delta(*patch: dict[str, Any], message_id: str = "a", kind: str = "search") -> Event:
    return ActivityDeltaEvent.model_validate(
        {"message_id": message_id, "activity_type": kind, "patch": patch}
    )


def snapshot(*messages: Message) -> Event:
    return MessagesSnapshotEvent(messages=[*messages])


def fed(*events: Event, asked: RunAgentInput | None = None) -> RunState:
    """A run that has been started, and what has come since."""
    run = RunState(asked)
    for event in (STARTED, *events):
        run.feed(event)
    return run


def contents(run: RunState) -> list[Any]:
    return [message.content for message in run.messages]


def ids(run: RunState) -> list[str]:
    return [message.id for message in run.messages]


def tool_call(arguments: str, **more: Any) -> ToolCall:
    return ToolCall(id="t", function=FunctionCall(name="look", arguments=arguments), **more)


# --- Messages ----------------------------------------------------------------------------------


def test_text_messages_are_assembled_side_by_side() -> None:
    run = fed(begin("a"), begin("b"), say("one ", "a"), say("zwei", "b"), end("b"), say("two", "a"))
    assert run.messages == [
        AssistantMessage(id="a", content="one two"),
        AssistantMessage(id="b", content="zwei"),
    ]
    assert run.message("a").content == "one two"


@pytest.mark.parametrize(
    ("role", "kind"),
    [("developer", DeveloperMessage), ("user", UserMessage), ("assistant", AssistantMessage)],
)
def test_a_message_is_of_its_role(role: Any, kind: type[UserMessage]) -> None:
    run = fed(begin(role=role, name="me"), say("x"), end())
    assert run.messages == [kind(id="m", content="x", name="me")]


def test_what_was_there_before_comes_first() -> None:
    run = fed(begin(), say("sunny"), end(), asked=QUESTION)
    assert run.messages == [*QUESTION.messages, AssistantMessage(id="m", content="sunny")]


def test_a_closed_message_can_go_on() -> None:
    run = fed(begin(), say("one"), end(), begin(), say("two"), end(), FINISHED)
    assert contents(run) == ["onetwo"]


def test_a_message_of_the_input_can_go_on() -> None:
    run = fed(begin("u", role="user"), say("!", "u"), end("u"), asked=QUESTION)
    assert contents(run) == ["What is the weather?!"]
    assert QUESTION.messages[0].content == "What is the weather?"


def test_what_was_given_out_stays_as_it_was() -> None:
    run = fed(begin(metadata={"n": 1}), say("one"), call(parent_message_id="m"), args("{"))
    before = run.messages
    copies = [message.model_copy(deep=True) for message in before]
    for event in (say("two", metadata={"n": 2}), args("}"), called(), end()):
        run.feed(event)
    assert before == copies
    assert run.messages != before


def test_what_has_not_changed_is_the_same_object() -> None:
    run = fed(begin("a"), say("x", "a"), end("a"), begin("b"))
    first = run.messages[0]
    run.feed(say("y", "b"))
    assert run.messages[0] is first


def test_whoever_looks_sees_what_has_come_since() -> None:
    run = fed(begin(), call(parent_message_id="m"), args("1"))
    assert run.messages == [AssistantMessage(id="m", content="", tool_calls=[tool_call("1")])]
    run.feed(args("2"))
    assert run.messages == [AssistantMessage(id="m", content="", tool_calls=[tool_call("12")])]
    run.feed(say("x"))
    assert contents(run) == ["x"]


def test_metadata_is_merged_key_by_key() -> None:
    run = fed(
        begin(metadata={"a": [1, 2], "b": 1}),
        say("x", metadata={"a": [3]}),
        end(metadata={"c": None}),
    )
    assert run.messages[0].metadata == {"a": [3], "b": 1, "c": None}


def test_reasoning_is_assembled_apart() -> None:
    run = fed(
        ReasoningStartEvent(message_id="q"),
        ReasoningMessageStartEvent(message_id="q"),
        ReasoningMessageContentEvent(message_id="q", delta="h"),
        begin(),
        ReasoningMessageContentEvent(message_id="q", delta="m", metadata={"a": 1}),
        ReasoningMessageEndEvent(message_id="q"),
        ReasoningEncryptedValueEvent(subtype="message", entity_id="q", encrypted_value="x"),
        ReasoningEncryptedValueEvent(subtype="message", entity_id="q", encrypted_value="y"),
        ReasoningEndEvent(message_id="q"),
        end(),
        FINISHED,
    )
    assert run.messages == [
        ReasoningMessage(id="q", content="hm", encrypted_value="y", metadata={"a": 1}),
        AssistantMessage(id="m", content=""),
    ]


# --- Tool calls --------------------------------------------------------------------------------


def test_tool_calls_are_assembled_in_their_message() -> None:
    run = fed(
        begin(),
        call("t", parent_message_id="m", metadata={"a": 1}),
        call("v", parent_message_id="m"),
        args('{"x":', "t"),
        args("{}", "v"),
        args(" 1}", "t", metadata={"a": 2}),
        called("v"),
        called("t"),
        ReasoningEncryptedValueEvent(subtype="tool-call", entity_id="t", encrypted_value="x"),
        end(),
    )
    first = tool_call('{"x": 1}', metadata={"a": 2}, encrypted_value="x")
    second = ToolCall(id="v", function=FunctionCall(name="look", arguments="{}"))
    assert run.messages == [AssistantMessage(id="m", content="", tool_calls=[first, second])]
    assert run.tool_call("t") == first
    assert run.pending_tool_calls == [first, second]


def test_a_tool_call_makes_the_message_that_it_names_or_one_of_its_own() -> None:
    run = fed(call("t", parent_message_id="m"), called("t"), begin(), say("x"), end(), call("v"))
    assert ids(run) == ["m", "v"]
    assert contents(run) == ["x", None]


def test_a_tool_call_does_not_go_into_the_user_s_message() -> None:
    run = fed(call(parent_message_id="u"), called(), asked=QUESTION)
    assert ids(run) == ["u", "t"]


def test_a_closed_tool_call_can_go_on() -> None:
    run = fed(call(), args("1"), called(), call(), args("2"), called())
    assert run.tool_call("t").function.arguments == "12"


def test_a_tool_call_is_pending_when_it_is_complete_and_nobody_has_answered() -> None:
    run = fed(call())
    assert run.pending_tool_calls == []
    run.feed(called())
    assert run.pending_tool_calls == [tool_call("")]
    run.feed(result())
    assert run.pending_tool_calls == []


def test_a_result_stands_behind_the_message_that_calls_for_it() -> None:
    run = fed(
        call("t", parent_message_id="m"),
        called("t"),
        call("v", parent_message_id="m"),
        called("v"),
        begin("later"),
        end("later"),
        result("r", "v"),
        result("s", "t"),
        result("alone", "nobody"),
    )
    assert ids(run) == ["m", "r", "s", "later", "alone"]
    run.feed(snapshot(*run.messages))
    assert ids(run) == ["m", "r", "s", "later", "alone"]


def test_a_result_may_have_parts_and_the_id_of_its_call() -> None:
    parts: list[ContentPart] = [
        TextPart(text="look"),
        ImagePart(source=UrlSource(value="http://a/b.png")),
    ]
    run = fed(call("t"), called("t"), result("t", "t", parts))
    assert run.messages[1] == ToolMessage(id="t", tool_call_id="t", content=parts)
    assert run.message("t") == run.messages[0]
    run.feed(result("t", "t", "in short"))
    assert contents(run) == [None, "in short"]


def test_what_does_not_exist_cannot_be_looked_at() -> None:
    run = fed(result())
    assert run.message("r").content == "rain"
    with pytest.raises(KeyError):
        run.message("m")
    with pytest.raises(KeyError):
        run.tool_call("t")


# --- Chunks ------------------------------------------------------------------------------------


def types(events: Sequence[Any]) -> list[str]:
    return [event.type.value for event in events]


def test_chunks_become_what_they_stand_for() -> None:
    run = fed()
    first = run.feed(chunk("He", message_id="m", role="user", name="me", metadata={"a": 1}))
    assert first == [
        begin(role="user", name="me", metadata={"a": 1}),
        say("He", metadata={"a": 1}),
    ]
    assert run.feed(chunk("y", role="user", name="me")) == [say("y")]
    assert run.feed(chunk(metadata={"b": 2}, raw_event=3)) == [
        say("", metadata={"b": 2}, raw_event=3)
    ]
    more = run.feed(ToolCallChunkEvent(tool_call_id="t", tool_call_name="look", delta="{"))
    assert more == [end(), call(), args("{")]
    assert run.feed(ToolCallChunkEvent(delta="}", tool_call_name="look")) == [args("}")]
    opened = run.feed(ReasoningMessageChunkEvent(message_id="q"))
    assert opened == [called(), ReasoningMessageStartEvent(message_id="q")]
    thought = ReasoningMessageContentEvent(message_id="q", delta="hm")
    assert run.feed(ReasoningMessageChunkEvent(message_id="q", delta="hm")) == [thought]
    assert run.feed(FINISHED) == [ReasoningMessageEndEvent(message_id="q"), FINISHED]
    assert run.messages == [
        UserMessage(id="m", content="Hey", name="me", metadata={"a": 1, "b": 2}),
        AssistantMessage(id="t", tool_calls=[tool_call("{}")]),
        ReasoningMessage(id="q", content="hm"),
    ]


def test_a_chunk_of_another_message_ends_the_one_before() -> None:
    run = fed(chunk("one", message_id="a"))
    assert run.feed(chunk("two", message_id="b")) == [end("a"), begin("b"), say("two", "b")]
    assert run.feed(chunk("more", message_id="a")) == [end("b"), begin("a"), say("more", "a")]
    assert contents(run) == ["onemore", "two"]


ASIDE = {
    EventType.RAW,
    EventType.ACTIVITY_SNAPSHOT,
    EventType.ACTIVITY_DELTA,
    EventType.REASONING_ENCRYPTED_VALUE,
    EventType.SUBAGENT_STARTED,
}
# What needs something else to be open first.
BEFORE: dict[EventType, list[Event]] = {
    EventType.TEXT_MESSAGE_CONTENT: [begin()],
    EventType.TEXT_MESSAGE_END: [begin()],
    EventType.TOOL_CALL_ARGS: [call()],
    EventType.TOOL_CALL_END: [call()],
    EventType.TOOL_CALL_CHUNK: [],
    EventType.STATE_DELTA: [StateSnapshotEvent(snapshot={"places": [], "nothing": 0})],
    EventType.ACTIVITY_DELTA: [activity(found=0)],
    EventType.STEP_FINISHED: [StepStartedEvent(step_name="think")],
    EventType.REASONING_MESSAGE_CONTENT: [ReasoningMessageStartEvent(message_id="q")],
    EventType.REASONING_MESSAGE_END: [ReasoningMessageStartEvent(message_id="q")],
    EventType.REASONING_END: [ReasoningStartEvent(message_id="s")],
    EventType.SUBAGENT_FINISHED: [SubagentStartedEvent(subagent_run_id="s", name="helper")],
    EventType.SUBAGENT_ERROR: [SubagentStartedEvent(subagent_run_id="s", name="helper")],
}
OTHERS = [
    kind
    for kind in EventType
    if kind not in {EventType.RUN_STARTED, EventType.RUN_FINISHED, EventType.TOOL_CALL_CHUNK}
]


@pytest.mark.parametrize("kind", OTHERS, ids=lambda kind: kind.value)
def test_what_ends_a_message_in_chunks(kind: EventType) -> None:
    run = fed(*BEFORE.get(kind, []), chunk("x", message_id="chunked"))
    ends = [] if kind in ASIDE or kind.value.startswith("SUBAGENT") else [end("chunked")]
    event = EVERY[kind]
    if kind is EventType.TEXT_MESSAGE_CHUNK:  # of a subagent, in another lane
        ends = []
    fed_back = run.feed(event)
    assert fed_back[: len(ends)] == ends
    assert end("chunked") not in fed_back[len(ends) :]


def test_subagents_have_chunks_of_their_own() -> None:
    mine: dict[str, Any] = {"subagent_run_id": "s"}
    run = fed(
        SubagentStartedEvent(subagent_run_id="s", name="helper"),
        chunk("one", message_id="a"),
        chunk("eins", message_id="b", **mine),
        chunk("two"),
        chunk("zwei", message_id="b"),
        chunk("drei", **mine),
        StepStartedEvent(step_name="think"),
        chunk("vier"),
    )
    assert run.messages == [
        AssistantMessage(id="a", content="onetwo"),
        AssistantMessage(id="b", content="einszweidreivier", subagent_run_id="s"),
    ]
    finished = SubagentFinishedEvent(subagent_run_id="s")
    assert run.feed(finished) == [end("b", **mine), finished]
    with pytest.raises(ProtocolViolation, match="begins an item"):
        run.feed(chunk("fünf"))


def test_the_assistant_need_not_be_named_in_chunks() -> None:
    run = fed(chunk("x", message_id="m"), chunk("y", role="assistant"))
    assert contents(run) == ["xy"]


def test_what_concerns_the_run_ends_the_chunks_of_all() -> None:
    event = snapshot()
    run = fed(chunk("x", message_id="a"), chunk("y", message_id="b", subagent_run_id="s"))
    assert run.feed(event) == [end("a"), end("b", subagent_run_id="s"), event]


def test_a_subagent_that_is_announced_late_ends_nothing() -> None:
    event = SubagentStartedEvent(subagent_run_id="s", name="helper")
    assert fed(chunk("x", message_id="m", subagent_run_id="s")).feed(event) == [event]


@pytest.mark.parametrize(
    "events",
    [
        [chunk("x")],
        [chunk("x", subagent_run_id="s")],
        [ReasoningMessageChunkEvent(delta="x")],
        [ToolCallChunkEvent(delta="x", tool_call_name="look")],
        [ToolCallChunkEvent(delta="x", tool_call_id="t")],
        [chunk("x", message_id="m"), ReasoningMessageChunkEvent(delta="x")],
        [chunk("x", message_id="m"), chunk("y", role="user")],
        [chunk("x", message_id="m"), chunk("y", message_id="m", name="me")],
        [chunk("x", message_id="m", role="user"), chunk("y", role="assistant")],
        [
            ToolCallChunkEvent(tool_call_id="t", tool_call_name="look"),
            ToolCallChunkEvent(tool_call_name="listen"),
        ],
        [
            ToolCallChunkEvent(tool_call_id="t", tool_call_name="look"),
            ToolCallChunkEvent(parent_message_id="m"),
        ],
        [
            chunk("x", message_id="m", subagent_run_id="s"),
            chunk("y", message_id="m", subagent_run_id="u"),
        ],
        [
            chunk("x", message_id="m", subagent_run_id="s"),
            chunk("y", message_id="n", subagent_run_id="u"),
            chunk("z"),
        ],
        [chunk("x", message_id="m"), say("y")],
        [chunk("x", message_id="m"), end()],
        [begin(), chunk("x", message_id="m")],
    ],
)
def test_a_chunk_that_contradicts_is_a_violation(events: list[Event]) -> None:
    run = fed(*events[:-1])
    with pytest.raises(ProtocolViolation):
        run.feed(events[-1])


# --- State and activities ----------------------------------------------------------------------


def test_the_state_begins_with_the_input_s_or_empty() -> None:
    assert RunState().state == {}
    assert RunState(QUESTION).state == {}
    assert RunState(QUESTION.model_copy(update={"state": [1]})).state == [1]


@pytest.mark.parametrize("value", [{"a": 1}, [], "", 0, False, None], ids=repr)
def test_a_snapshot_is_the_state(value: Any) -> None:
    asked = QUESTION.model_copy(update={"state": {"b": 2}})
    assert fed(StateSnapshotEvent(snapshot=value), asked=asked).state == value


def test_deltas_amend_the_state() -> None:
    asked = QUESTION.model_copy(update={"state": {"a": []}})
    run = fed(delta({"op": "add", "path": "/a/-", "value": 1}), asked=asked)
    run.feed(delta({"op": "copy", "from": "/a", "path": "/b"}))
    assert run.state == {"a": [1], "b": [1]}
    assert asked.state == {"a": []}


def test_a_delta_that_does_not_apply_leaves_the_state_and_the_run_goes_on() -> None:
    run = fed(StateSnapshotEvent(snapshot={"a": 1}), chunk("x", message_id="m"))
    with pytest.raises(PatchFailed) as caught:
        run.feed(
            delta(
                {"op": "replace", "path": "/a", "value": 2},
                {"op": "remove", "path": "/secret/nowhere"},
            )
        )
    assert run.state == {"a": 1}
    assert str(caught.value).startswith("operation 2 of the patch, remove '/secret/nowhere',")
    assert caught.value.events == [end()]
    run.feed(delta({"op": "replace", "path": "/a", "value": 3}))
    run.feed(FINISHED)
    assert run.state == {"a": 3}


def test_an_activity_is_created_amended_and_replaced() -> None:
    run = fed(activity(found=0))
    run.feed(activity_delta({"op": "replace", "path": "/found", "value": 3}, kind="deep search"))
    assert run.messages == [
        ActivityMessage(id="a", activity_type="deep search", content={"found": 3})
    ]
    run.feed(
        ActivitySnapshotEvent(
            message_id="a", activity_type="kept out", content={}, replace=False, metadata={"n": 1}
        )
    )
    assert contents(run) == [{"found": 3}]
    run.feed(
        ActivitySnapshotEvent(
            message_id="a", activity_type="list", content={"items": []}, subagent_run_id="s"
        )
    )
    assert run.messages == [
        ActivityMessage(
            id="a",
            activity_type="list",
            content={"items": []},
            metadata={"n": 1},
            subagent_run_id="s",
        )
    ]


@pytest.mark.parametrize(
    "event",
    [
        activity_delta(message_id="nobody"),
        activity_delta(message_id="u"),
        activity_delta({"op": "remove", "path": "/nothing"}),
        activity_delta({"op": "replace", "path": "", "value": []}),
    ],
)
def test_an_activity_s_delta_that_does_not_apply_changes_nothing(event: Event) -> None:
    run = fed(activity(found=0), asked=QUESTION)
    before = run.messages
    with pytest.raises(PatchFailed):
        run.feed(event)
    assert run.messages == before


# --- Snapshots of messages ---------------------------------------------------------------------


def test_a_snapshot_of_messages_replaces_adds_and_drops() -> None:
    run = fed(
        *(event for name in "abc" for event in (begin(name), say(name, name), end(name))),
        snapshot(
            UserMessage(id="new", content="n"),
            AssistantMessage(id="c", content="C"),
            AssistantMessage(id="a", content="A", tool_calls=[tool_call("1")]),
        ),
    )
    assert list(zip(ids(run), contents(run), strict=True)) == [("a", "A"), ("c", "C"), ("new", "n")]
    run.feed(call())
    run.feed(args("2"))
    assert run.tool_call("t").function.arguments == "12"


def test_a_snapshot_leaves_what_only_clients_have() -> None:
    thought: list[Event] = [
        ReasoningMessageStartEvent(message_id="q"),
        ReasoningMessageEndEvent(message_id="q"),
    ]
    run = fed(begin(), end(), activity(), *thought)
    run.feed(snapshot(UserMessage(id="u", content="")))
    assert ids(run) == ["a", "q", "u"]
    run.feed(snapshot(ReasoningMessage(id="other", content="")))
    assert ids(run) == ["a", "other"]
    run.feed(snapshot(ActivityMessage(id="b", activity_type="x", content={})))
    assert ids(run) == ["other", "b"]
    run.feed(activity_delta({"op": "add", "path": "/n", "value": 1}, message_id="b"))
    assert contents(run) == ["", {"n": 1}]


def test_what_is_open_goes_on_in_what_the_snapshot_has_of_it() -> None:
    run = fed(begin(), say("draft"), call(parent_message_id="m"), args("dra"))
    run.feed(snapshot(AssistantMessage(id="m", content="text", tool_calls=[tool_call("arg")])))
    for event in (say(" and more"), args("uments"), called(), end(), FINISHED):
        run.feed(event)
    [message] = run.messages
    assert isinstance(message, AssistantMessage)
    assert (message.content, message.tool_calls) == ("text and more", [tool_call("arguments")])


@pytest.mark.parametrize(
    "kept",
    [
        [],
        [UserMessage(id="m", content=[TextPart(text="x")])],
        [ReasoningMessage(id="m", content="x")],
    ],
    ids=["nothing", "parts", "reasoning"],
)
def test_what_is_open_and_gone_ends_unseen(kept: list[Message]) -> None:
    run = fed(begin(), call(parent_message_id="m"), snapshot(*kept))
    for event in (say("more"), args("more"), called(), end(), FINISHED):
        run.feed(event)
    assert run.messages == kept


# --- Runs, steps, subagents --------------------------------------------------------------------


def test_a_run_is_followed_from_its_start_to_its_end() -> None:
    run = RunState()
    assert (run.status, run.ended_by) == (RunStatus.WAITING, None)
    run.feed(STARTED)
    assert (run.status, run.ended_by) == (RunStatus.RUNNING, None)
    run.feed(FINISHED)
    assert (run.status, run.ended_by) == (RunStatus.FINISHED, FINISHED)
    run.feed(FAILED)  # it turns out that it has not
    assert (run.status, run.ended_by) == (RunStatus.FAILED, FAILED)
    run.feed(STARTED)
    assert (run.status, run.ended_by) == (RunStatus.RUNNING, None)


def test_a_run_can_fail_before_it_begins() -> None:
    run = RunState()
    run.feed(FAILED)
    assert run.status is RunStatus.FAILED


def test_a_failed_run_leaves_what_it_has_said_and_ends_what_was_open() -> None:
    run = fed(
        SubagentStartedEvent(subagent_run_id="s", name="helper"),
        StepStartedEvent(step_name="think"),
        ReasoningStartEvent(message_id="q"),
        begin(),
        say("one"),
        FAILED,
    )
    assert contents(run) == ["one"]
    assert run.steps == []
    for event in (STARTED, begin(), say("two"), end(), FINISHED):
        run.feed(event)
    assert contents(run) == ["onetwo"]


def test_steps_are_of_their_owners() -> None:
    run = fed(
        StepStartedEvent(step_name="think"),
        StepStartedEvent(step_name="think", subagent_run_id="s"),
        StepStartedEvent(step_name="act"),
    )
    assert run.steps == ["think", "think", "act"]
    run.feed(StepFinishedEvent(step_name="think"))
    assert run.steps == ["think", "act"]


def test_subagents_come_and_go() -> None:
    fed(
        SubagentStartedEvent(subagent_run_id="s", name="helper"),
        SubagentStartedEvent(subagent_run_id="u", name="helper", parent_subagent_run_id="s"),
        SubagentFinishedEvent(subagent_run_id="s"),
        SubagentStartedEvent(subagent_run_id="v", name="helper", parent_subagent_run_id="s"),
        SubagentErrorEvent(subagent_run_id="u", message="lost"),
        SubagentFinishedEvent(subagent_run_id="v"),
        FINISHED,
        STARTED,
        SubagentStartedEvent(subagent_run_id="s", name="helper"),
    )


def test_who_goes_on_need_not_say_whose_it_is() -> None:
    run = fed(
        begin(subagent_run_id="s"),
        say("x"),
        call(parent_message_id="m"),
        args("1"),
        args("2", subagent_run_id="s"),
        called(),
        end(),
    )
    assert run.messages == [
        AssistantMessage(id="m", content="x", tool_calls=[tool_call("12")], subagent_run_id="s")
    ]


def test_what_is_not_kept_is_given_back() -> None:
    run = fed()
    unknown = UnknownEvent("NEWER", {"type": "NEWER"})
    for event in (unknown, RawEvent(event=1), CustomEvent(name="x", value=1)):
        assert run.feed(event) == [event]
    assert run.messages == []


def test_an_encrypted_value_of_nothing_is_of_no_use() -> None:
    run = fed(activity(), result())
    for name in ("a", "r", "nobody"):
        run.feed(
            ReasoningEncryptedValueEvent(subtype="message", entity_id=name, encrypted_value="x")
        )
    run.feed(ReasoningEncryptedValueEvent(subtype="tool-call", entity_id="?", encrypted_value="x"))
    assert run.messages == [
        ActivityMessage(id="a", activity_type="search", content={}),
        ToolMessage(id="r", tool_call_id="t", content="rain", encrypted_value="x"),
    ]


# --- What must not be --------------------------------------------------------------------------

SUBAGENT = SubagentStartedEvent(subagent_run_id="s", name="helper")


@pytest.mark.parametrize(
    ("before", "event"),
    [
        ([], say("x")),
        ([], end()),
        ([], args("x")),
        ([], called()),
        ([], ReasoningMessageContentEvent(message_id="m", delta="x")),
        ([], ReasoningMessageEndEvent(message_id="m")),
        ([], ReasoningEndEvent(message_id="m")),
        ([], StepFinishedEvent(step_name="think")),
        ([], SubagentFinishedEvent(subagent_run_id="s")),
        ([], SubagentErrorEvent(subagent_run_id="s", message="lost")),
        ([begin()], begin()),
        ([call()], call()),
        ([ReasoningMessageStartEvent(message_id="q")], ReasoningMessageStartEvent(message_id="q")),
        ([ReasoningStartEvent(message_id="q")], ReasoningStartEvent(message_id="q")),
        ([StepStartedEvent(step_name="think")], StepStartedEvent(step_name="think")),
        ([SUBAGENT], SUBAGENT),
        ([SUBAGENT, SubagentFinishedEvent(subagent_run_id="s")], SUBAGENT),
        ([], SubagentStartedEvent(subagent_run_id="u", name="x", parent_subagent_run_id="?")),
        ([begin(), end()], say("x")),
        ([begin(), end()], end()),
        ([call(), called()], args("x")),
        ([begin()], ReasoningMessageContentEvent(message_id="m", delta="x")),
        ([ReasoningStartEvent(message_id="q")], ReasoningMessageEndEvent(message_id="q")),
        ([begin(), end()], begin(role="user")),
        ([begin(), end()], ReasoningMessageStartEvent(message_id="m")),
        ([activity()], begin("a")),
        ([begin(), end()], ActivitySnapshotEvent(message_id="m", activity_type="x", content={})),
        ([snapshot(UserMessage(id="m", content=[]))], begin(role="user")),
        ([activity()], call("a")),
        ([begin(subagent_run_id="s")], say("x", subagent_run_id="u")),
        ([begin()], end(subagent_run_id="u")),
        ([begin(), end()], begin(subagent_run_id="u")),
        ([begin(), end()], call(parent_message_id="m", subagent_run_id="u")),
        ([call(subagent_run_id="s")], args("x", subagent_run_id="u")),
        ([call(subagent_run_id="s"), called()], call(subagent_run_id="u")),
        ([], STARTED),
        ([begin()], FINISHED),
        ([call()], FINISHED),
        ([StepStartedEvent(step_name="think")], FINISHED),
        ([ReasoningStartEvent(message_id="q")], FINISHED),
        ([ReasoningMessageStartEvent(message_id="q")], FINISHED),
        ([SUBAGENT], FINISHED),
        ([FINISHED], FINISHED),
        ([FINISHED], RawEvent(event=1)),
        ([FAILED], FAILED),
        ([FAILED], say("x")),
    ],
)
def test_what_must_not_be_is_a_violation(before: list[Event], event: Event) -> None:
    run = fed(*before)
    with pytest.raises(ProtocolViolation) as caught:
        run.feed(event)
    assert not caught.value.retryable


@pytest.mark.parametrize(
    "event", [begin(), FINISHED, RawEvent(event=1)], ids=lambda e: e.type.value
)
def test_nothing_comes_before_the_run(event: Event) -> None:
    with pytest.raises(ProtocolViolation, match="no run is under way"):
        RunState().feed(event)


def test_a_violation_names_what_it_is_about_and_not_more_of_it_than_fits() -> None:
    run = fed(begin("m" * 1_000_000), *(begin(f"{n}\n") for n in range(9)))
    with pytest.raises(ProtocolViolation) as caught:
        run.feed(FINISHED)
    assert "message '0\\n', message '1\\n', ..." in str(caught.value)
    assert len(str(caught.value)) < 200


def test_another_run_may_follow_with_everything_that_was() -> None:
    run = fed(begin(), say("x"), end(), StateSnapshotEvent(snapshot=[1]), FINISHED)
    run.feed(RunStartedEvent(thread_id="thread", run_id="two"))
    run.feed(delta({"op": "add", "path": "/-", "value": 2}))
    run.feed(RunFinishedEvent(thread_id="thread", run_id="two"))
    assert (contents(run), run.state) == (["x"], [1, 2])
