"""``RunState``: what the events of a run add up to. Pure: events in, messages and state out.

It keeps to the rules of AG-UI for consumers: what opens is closed, content belongs to what is open,
snapshots replace, deltas amend. What breaks them is an error, and so is what is too much.
"""

from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Any, Literal, TypeAlias

from ag_ui.core import (
    ActivityDeltaEvent,
    ActivityMessage,
    ActivitySnapshotEvent,
    AssistantMessage,
    DeveloperMessage,
    Event,
    FunctionCall,
    Message,
    MessagesSnapshotEvent,
    ReasoningEncryptedValueEvent,
    ReasoningEndEvent,
    ReasoningMessage,
    ReasoningMessageContentEvent,
    ReasoningMessageEndEvent,
    ReasoningMessageStartEvent,
    ReasoningStartEvent,
    RunAgentInput,
    RunErrorEvent,
    RunFinishedEvent,
    RunStartedEvent,
    StateDeltaEvent,
    StateSnapshotEvent,
    StepFinishedEvent,
    StepStartedEvent,
    SubagentErrorEvent,
    SubagentFinishedEvent,
    SubagentStartedEvent,
    SystemMessage,
    TextMessageContentEvent,
    TextMessageEndEvent,
    TextMessageStartEvent,
    ToolCall,
    ToolCallArgsEvent,
    ToolCallEndEvent,
    ToolCallResultEvent,
    ToolCallStartEvent,
    ToolMessage,
    UserMessage,
)

from .budget import Budget, weight
from .chunks import ChunkStreams, Lane
from .documents import Document
from .drafts import CallDraft, MessageDraft
from .errors import PatchFailed, ProtocolViolation, quoted
from .events import RunEvent, UnknownEvent

__all__ = ["RunState", "RunStatus"]

MIB = 1024 * 1024

Kind: TypeAlias = Literal["message", "reasoning message", "tool call"]
Key: TypeAlias = tuple[Literal["message", "result"], str]

_ROLES: dict[str, type[AssistantMessage | DeveloperMessage | SystemMessage | UserMessage]] = {
    "assistant": AssistantMessage,
    "developer": DeveloperMessage,
    "system": SystemMessage,
    "user": UserMessage,
}


class RunStatus(Enum):
    """How far a run has come."""

    WAITING = "waiting"
    """No run has been started."""
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    """By a RUN_ERROR."""


class RunState:
    """What the events of a run add up to; feed it each of them.

    :param run_input: what the run begins with: its messages and its state.
    :param limit: how much may be kept of what the server sends, in characters, with 64 more for
        each thing that there is. What patches copy counts for good, and a document that is patched
        may count for up to twice its size.

    What is given out (``messages``, ``state`` and so on) stays as it was when more events come. It
    is not to be changed: copy it for that.

    >>> from ag_ui.core import *
    >>> run = RunState()
    >>> for event in [
    ...     RunStartedEvent(thread_id="t", run_id="r"),
    ...     TextMessageStartEvent(message_id="m"),
    ...     TextMessageContentEvent(message_id="m", delta="Hello, "),
    ...     TextMessageContentEvent(message_id="m", delta="world"),
    ...     TextMessageEndEvent(message_id="m"),
    ...     StateSnapshotEvent(snapshot={"greeted": True}),
    ...     RunFinishedEvent(thread_id="t", run_id="r"),
    ... ]:
    ...     _ = run.feed(event)
    >>> run.messages[0].content, run.state, run.status.value
    ('Hello, world', {'greeted': True}, 'finished')
    """

    def __init__(self, run_input: RunAgentInput | None = None, *, limit: int = 64 * MIB) -> None:
        self._budget = Budget(limit)
        self._chunks = ChunkStreams()
        self._drafts: dict[Key, MessageDraft] = {}
        self._calls: dict[str, CallDraft] = {}
        self._status = RunStatus.WAITING
        self._ended_by: RunFinishedEvent | RunErrorEvent | None = None
        # Of the present run alone.
        self._open: dict[tuple[Kind, str], MessageDraft | CallDraft] = {}
        self._spans = _Names("reasoning", self._budget)
        self._steps = _Names("step", self._budget)
        self._subagents = _Names("subagent", self._budget)
        self._former_subagents = _Names("subagent", self._budget)
        state: Any = {}
        if run_input is not None:
            state = {} if run_input.state is None else run_input.state
            self._reconcile(run_input.messages)
        self._state = Document(state, self._budget)

    # --- Look ----------------------------------------------------------------------------------

    @property
    def status(self) -> RunStatus:
        """How far the run has come."""
        return self._status

    @property
    def ended_by(self) -> RunFinishedEvent | RunErrorEvent | None:
        """The event that has ended the run, None before."""
        return self._ended_by

    @property
    def state(self) -> Any:
        """The state that agent and application share; at first that of the input, or ``{}``."""
        return self._state.value

    @property
    def messages(self) -> list[Message]:
        """The conversation, with what is not complete yet.

        A tool's result stands behind the message that calls for it: that is where models want it.
        """
        return [draft.built() for draft in self._in_order()]

    @property
    def pending_tool_calls(self) -> list[ToolCall]:
        """The complete tool calls that nobody has answered: they are the application's to make.

        Their answers are ToolMessages in the input of the next run. Their arguments are what a
        model made up: check them.
        """
        answered = {
            draft.base.tool_call_id
            for draft in self._drafts.values()
            if isinstance(draft.base, ToolMessage)
        }
        return [
            call.built()
            for name, call in self._calls.items()
            if name not in answered and ("tool call", name) not in self._open
        ]

    @property
    def steps(self) -> list[str]:
        """The names of the steps that are under way, in the order of their beginnings."""
        return [*self._steps]

    def message(self, message_id: str) -> Message:
        """Return one message as it is now; raises KeyError if there is none."""
        draft = self._drafts.get(("message", message_id)) or self._drafts["result", message_id]
        return draft.built()

    def tool_call(self, tool_call_id: str) -> ToolCall:
        """Return one tool call as it is now; raises KeyError if there is none.

        Before its TOOL_CALL_END the arguments are the beginning of something.
        """
        return self._calls[tool_call_id].built()

    def _in_order(self) -> list[MessageDraft]:
        behind: dict[int, list[MessageDraft]] = {}
        first: list[MessageDraft] = []
        for draft in self._drafts.values():
            if draft.behind is None:
                first.append(draft)
            else:
                behind.setdefault(id(draft.behind), []).append(draft)
        return [each for draft in first for each in (draft, *behind.get(id(draft), ()))]

    # --- What happened -------------------------------------------------------------------------

    def feed(self, event: RunEvent) -> list[RunEvent]:
        """Take an event in, and return what it stands for.

        That is the event itself, and for a chunk the start, content and end events which it is
        short for: whoever acts on what is returned need not know of chunks.

        Raises :class:`ProtocolViolation`, after which the run is not to be trusted;
        :class:`~sansio_sse.errors.LimitExceeded`; and :class:`PatchFailed`, after which one may go
        on, since it leaves what was to be patched as it was.
        """
        if isinstance(event, UnknownEvent):
            return [event]
        self._check_turn(event)
        done: list[RunEvent] = []
        for each in self._chunks.expand(event, self._lane_of(event)):
            try:
                self._take(each)
            except PatchFailed as failure:
                failure.events = done
                raise
            done.append(each)
        return done

    def _check_turn(self, event: Event) -> None:
        if self._status is RunStatus.RUNNING:
            if isinstance(event, RunStartedEvent):
                raise ProtocolViolation("RUN_STARTED in the middle of a run")
            return
        late = isinstance(event, RunErrorEvent) and self._status is not RunStatus.FAILED
        if not (late or isinstance(event, RunStartedEvent)):
            raise ProtocolViolation(f"{event.type.value} while no run is under way")

    def _lane_of(self, event: Event) -> Lane:
        """Return whose event it is; what goes on without saying so is the opener's."""
        tag: Lane = getattr(event, "subagent_run_id", None)
        if tag is not None:
            return tag
        item: MessageDraft | CallDraft | None = None
        match event:
            case TextMessageContentEvent() | TextMessageEndEvent():
                item = self._open.get(("message", event.message_id))
            case ReasoningMessageContentEvent() | ReasoningMessageEndEvent():
                item = self._open.get(("reasoning message", event.message_id))
            case ToolCallArgsEvent() | ToolCallEndEvent():
                item = self._open.get(("tool call", event.tool_call_id))
            case _:
                pass
        return None if item is None else item.owner

    def _take(self, event: Event) -> None:
        match event:
            case TextMessageStartEvent() | ReasoningMessageStartEvent():
                self._start_message(event)
            case TextMessageContentEvent():
                self._item("message", event.message_id, event).append(event.delta)
            case TextMessageEndEvent():
                self._close("message", event.message_id, event)
            case ReasoningMessageContentEvent():
                self._item("reasoning message", event.message_id, event).append(event.delta)
            case ReasoningMessageEndEvent():
                self._close("reasoning message", event.message_id, event)
            case ToolCallStartEvent():
                self._start_call(event)
            case ToolCallArgsEvent():
                self._item("tool call", event.tool_call_id, event).append(event.delta)
            case ToolCallEndEvent():
                self._close("tool call", event.tool_call_id, event)
            case ToolCallResultEvent():
                self._put_result(event)
            case StateSnapshotEvent():
                self._state.replace(event.snapshot)
            case StateDeltaEvent():
                self._state.patch(event.delta)
            case MessagesSnapshotEvent():
                self._reconcile(event.messages)
            case ActivitySnapshotEvent():
                self._put_activity(event)
            case ActivityDeltaEvent():
                self._patch_activity(event)
            case ReasoningEncryptedValueEvent():
                self._keep_encrypted(event)
            case ReasoningStartEvent():
                self._spans.open(event.message_id)
            case ReasoningEndEvent():
                self._spans.close(event.message_id)
            case StepStartedEvent():
                self._steps.open(event.step_name, event.subagent_run_id)
            case StepFinishedEvent():
                self._steps.close(event.step_name, event.subagent_run_id)
            case SubagentStartedEvent():
                self._start_subagent(event)
            case SubagentFinishedEvent() | SubagentErrorEvent():
                self._subagents.close(event.subagent_run_id)
                self._former_subagents.open(event.subagent_run_id)
            case RunStartedEvent():
                self._status, self._ended_by = RunStatus.RUNNING, None
            case RunFinishedEvent():
                self._check_all_closed()
                self._end(RunStatus.FINISHED, event)
            case RunErrorEvent():
                self._end(RunStatus.FAILED, event)
            case _:
                pass  # RAW and CUSTOM, and what ag_ui.core learns later, are not kept

    # --- Runs ----------------------------------------------------------------------------------

    def _end(self, status: RunStatus, event: RunFinishedEvent | RunErrorEvent) -> None:
        self._status, self._ended_by = status, event
        self._open.clear()
        for names in (self._spans, self._steps, self._subagents, self._former_subagents):
            names.clear()

    def _check_all_closed(self) -> None:
        left = [f"{kind} {quoted(name)}" for kind, name in self._open]
        left += [
            f"{names} {quoted(name)}"
            for names in (self._spans, self._steps, self._subagents)
            for name in names
        ]
        if left:
            shown = ", ".join(left[:3]) + (", ..." if len(left) > 3 else "")
            raise ProtocolViolation(f"the run has finished and left open: {shown}")

    def _start_subagent(self, event: SubagentStartedEvent) -> None:
        name, parent = event.subagent_run_id, event.parent_subagent_run_id
        if name in self._former_subagents:
            raise ProtocolViolation(f"subagent {quoted(name)} has ended, and is started again")
        if parent is not None and not (
            parent in self._subagents or parent in self._former_subagents
        ):
            raise ProtocolViolation(f"subagent {quoted(name)} has a parent that was never started")
        self._subagents.open(name)

    # --- What comes piece by piece -------------------------------------------------------------

    def _item(
        self,
        kind: Kind,
        name: str,
        event: TextMessageContentEvent
        | TextMessageEndEvent
        | ReasoningMessageContentEvent
        | ReasoningMessageEndEvent
        | ToolCallArgsEvent
        | ToolCallEndEvent,
    ) -> MessageDraft | CallDraft:
        """Return what is open, with the event's metadata merged into it."""
        item = self._open.get((kind, name))
        if item is None:
            raise ProtocolViolation(
                f"{event.type.value} for {kind} {quoted(name)}, which is not open"
            )
        _check_owner(event.subagent_run_id, item.owner, f"{kind} {quoted(name)}")
        item.merge(event.metadata)
        return item

    def _close(
        self,
        kind: Kind,
        name: str,
        event: TextMessageEndEvent | ReasoningMessageEndEvent | ToolCallEndEvent,
    ) -> None:
        self._item(kind, name, event)
        del self._open[kind, name]

    def _check_closed(self, kind: Kind, name: str) -> None:
        if (kind, name) in self._open:
            raise ProtocolViolation(f"{kind} {quoted(name)} is started, and is open already")

    def _start_message(self, event: TextMessageStartEvent | ReasoningMessageStartEvent) -> None:
        name = event.message_id
        reasoning = isinstance(event, ReasoningMessageStartEvent)
        kind: Kind = "reasoning message" if reasoning else "message"
        self._check_closed(kind, name)
        role = event.role or "assistant"
        draft = self._drafts.get(("message", name))
        if draft is None:
            draft = self._add(_new_message(event))
        else:  # closed is not sealed: it goes on
            _check_owner(event.subagent_run_id, draft.owner, f"{kind} {quoted(name)}")
            if draft.base.role != role or not draft.takes_text(reasoning=reasoning):
                raise ProtocolViolation(f"{kind} {quoted(name)} was something else before")
        draft.merge(event.metadata)
        self._open[kind, name] = draft

    def _start_call(self, event: ToolCallStartEvent) -> None:
        name = event.tool_call_id
        self._check_closed("tool call", name)
        draft = self._calls.get(name)
        if draft is None:
            message = self._caller(event)
            function = FunctionCall(name=event.tool_call_name, arguments="")
            draft = message.call(ToolCall(id=name, function=function))
            self._calls[name] = draft
        _check_owner(event.subagent_run_id, draft.owner, f"tool call {quoted(name)}")
        draft.merge(event.metadata)
        self._open["tool call", name] = draft

    def _caller(self, event: ToolCallStartEvent) -> MessageDraft:
        """Return the message that holds a new call; without one, an empty one is made for it."""
        parent = event.parent_message_id
        owner = event.subagent_run_id
        held = None if parent is None else self._drafts.get(("message", parent))
        if parent is None or (held is not None and held.base.role != "assistant"):
            parent = event.tool_call_id
            held = self._drafts.get(("message", parent))
        if held is None:
            return self._add(AssistantMessage(id=parent, subagent_run_id=owner))
        if held.base.role != "assistant":
            raise ProtocolViolation(f"tool call {quoted(parent)} has the id of a message")
        _check_owner(owner, held.owner, f"message {quoted(parent)}")
        return held

    def _put_result(self, event: ToolCallResultEvent) -> None:
        result = ToolMessage(
            id=event.message_id,
            tool_call_id=event.tool_call_id,
            content=event.content,
            metadata=event.metadata,
            subagent_run_id=event.subagent_run_id,
        )
        draft = self._add(result)
        call = self._calls.get(event.tool_call_id)
        if call is not None:
            draft.behind = call.message

    def _keep_encrypted(self, event: ReasoningEncryptedValueEvent) -> None:
        """Keep it with what it belongs to; one that belongs to nothing known is of no use."""
        name = event.entity_id
        item: MessageDraft | CallDraft | None
        if event.subtype == "tool-call":
            item = self._calls.get(name)
        else:
            item = self._drafts.get(("message", name)) or self._drafts.get(("result", name))
            if item is not None and isinstance(item.base, ActivityMessage):
                item = None
        if item is not None:
            item.encrypt(event.encrypted_value)

    # --- What comes whole ----------------------------------------------------------------------

    def _add(self, message: Message) -> MessageDraft:
        """Keep a message, in the place of the one with its id if there is one."""
        key = _key(message)
        old = self._drafts.get(key)
        self._make_room([message], [] if old is None else [old])
        draft = self._drafts[key] = MessageDraft(message, self._budget)
        return draft

    def _make_room(self, messages: Iterable[Message], old: Iterable[MessageDraft]) -> None:
        """Give up the old ones, if there is room for the new ones then."""
        coming = sum(map(weight, messages))
        self._budget.take(coming, instead_of=sum(draft.size for draft in old))
        self._budget.give(coming)  # they count for themselves
        for draft in old:
            draft.forget()

    def _reconcile(self, messages: list[Message]) -> None:
        """Take over the messages that there are, where those stay that only clients have.

        What was held stays in its place, what is new comes last.
        """
        given = {_key(message): message for message in messages}
        ours = {"activity", "reasoning"} - {message.role for message in messages}
        held = [(_key(draft.base), draft) for draft in self._in_order()]
        gone = [draft for key, draft in held if key in given or draft.base.role not in ours]
        self._make_room(given.values(), gone)
        fresh = {key: MessageDraft(message, self._budget) for key, message in given.items()}
        self._drafts = {}
        for key, draft in held:
            if key in fresh:
                self._drafts[key] = fresh[key]
            elif draft.base.role in ours:
                self._drafts[key] = draft
        self._drafts.update(fresh)
        self._calls = {call.name: call for draft in self._drafts.values() for call in draft.calls}
        self._rebind()

    def _rebind(self) -> None:
        """Let what is open go on in what has taken its place; of what is gone nobody sees more."""
        for kind, name in self._open:
            if kind == "tool call":
                call = self._calls.get(name)
                if call is not None:
                    self._open[kind, name] = call
                continue
            draft = self._drafts.get(("message", name))
            if draft is not None and draft.takes_text(reasoning=kind == "reasoning message"):
                self._open[kind, name] = draft

    def _put_activity(self, event: ActivitySnapshotEvent) -> None:
        name, kind, owner = event.message_id, event.activity_type, event.subagent_run_id
        draft = self._drafts.get(("message", name))
        if draft is None:
            draft = self._add(
                ActivityMessage(
                    id=name, activity_type=kind, content=event.content, subagent_run_id=owner
                )
            )
        elif draft.activity is None:
            raise ProtocolViolation(f"activity {quoted(name)} has the id of a message")
        elif event.replace is not False:
            draft.activity.replace(event.content)
            draft.retype(kind, owner)
        draft.merge(event.metadata)

    def _patch_activity(self, event: ActivityDeltaEvent) -> None:
        name = event.message_id
        draft = self._drafts.get(("message", name))
        if draft is None or draft.activity is None:
            raise PatchFailed(f"there is no activity {quoted(name)} to be patched")
        draft.activity.patch(event.patch)
        draft.retype(event.activity_type, draft.owner)
        draft.merge(event.metadata)


class _Names:
    """What is open of one kind and has no content: names, which subagents may share."""

    def __init__(self, kind: str, budget: Budget) -> None:
        self._kind = kind
        self._budget = budget
        self._names: dict[tuple[Lane, str], int] = {}

    def open(self, name: str, owner: Lane = None) -> None:
        if (owner, name) in self._names:
            raise ProtocolViolation(f"{self._kind} {quoted(name)} is started, and is open already")
        size = weight(name)
        self._budget.take(size)
        self._names[owner, name] = size

    def close(self, name: str, owner: Lane = None) -> None:
        size = self._names.pop((owner, name), None)
        if size is None:
            raise ProtocolViolation(f"{self._kind} {quoted(name)} ends, and is not open")
        self._budget.give(size)

    def clear(self) -> None:
        self._budget.give(sum(self._names.values()))
        self._names.clear()

    def __contains__(self, name: str) -> bool:
        return (None, name) in self._names

    def __iter__(self) -> Iterator[str]:
        return (name for _, name in self._names)

    def __str__(self) -> str:
        return self._kind


def _key(message: Message) -> Key:
    # A result may have the id of the message that was made up to hold its call.
    return ("result" if isinstance(message, ToolMessage) else "message"), message.id


def _new_message(event: TextMessageStartEvent | ReasoningMessageStartEvent) -> Message:
    name, owner = event.message_id, event.subagent_run_id
    if isinstance(event, ReasoningMessageStartEvent):
        return ReasoningMessage(id=name, content="", subagent_run_id=owner)
    made = _ROLES[event.role or "assistant"]
    return made(id=name, content="", name=event.name, subagent_run_id=owner)


def _check_owner(tag: Lane, owner: Lane, what: str) -> None:
    """Whoever goes on with something and says nothing is its owner."""
    if tag is not None and tag != owner:
        raise ProtocolViolation(f"{what} is not of subagent {quoted(tag)}")
