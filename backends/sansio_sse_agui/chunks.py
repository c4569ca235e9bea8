"""Chunks become what they stand for: a start, content, and an end that nobody sends.

A producer that does not know where its messages begin sends chunks; each belongs to an item (a
text message, a tool call, a reasoning message), and the item ends where something else begins. The
parent agent and each subagent have a *lane* of their own, in which one item at a time comes in
chunks. The rules are those of AG-UI's "Streaming Messages", "the chunked form".
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from ag_ui.core import (
    Event,
    EventType,
    ReasoningMessageChunkEvent,
    ReasoningMessageContentEvent,
    ReasoningMessageEndEvent,
    ReasoningMessageStartEvent,
    SubagentErrorEvent,
    SubagentFinishedEvent,
    TextMessageChunkEvent,
    TextMessageContentEvent,
    TextMessageEndEvent,
    TextMessageStartEvent,
    ToolCallArgsEvent,
    ToolCallChunkEvent,
    ToolCallEndEvent,
    ToolCallStartEvent,
)

from .errors import ProtocolViolation, quoted

__all__ = ["ChunkStreams", "Lane"]

Chunk: TypeAlias = TextMessageChunkEvent | ToolCallChunkEvent | ReasoningMessageChunkEvent
Lane: TypeAlias = str | None
"""A subagent's run, or None: the parent agent."""

_ASIDE = frozenset(
    {
        EventType.RAW,
        EventType.ACTIVITY_SNAPSHOT,
        EventType.ACTIVITY_DELTA,
        EventType.REASONING_ENCRYPTED_VALUE,
        EventType.SUBAGENT_STARTED,
    }
)
_OF_THE_RUN = frozenset(
    {
        EventType.RUN_STARTED,
        EventType.RUN_FINISHED,
        EventType.RUN_ERROR,
        EventType.MESSAGES_SNAPSHOT,
    }
)


@dataclass(frozen=True, slots=True)
class _Stream:
    """An item that comes in chunks."""

    kind: type[Chunk]
    id: str
    lane: Lane
    said: dict[str, str | None]
    """What its first chunk said of it; what it left out it said as well."""


class ChunkStreams:
    """All items that come in chunks at the moment."""

    __slots__ = ("_by_id", "_by_kind", "_by_lane")

    def __init__(self) -> None:
        self._by_lane: dict[Lane, _Stream] = {}
        self._by_id: dict[tuple[type[Chunk], str], _Stream] = {}
        self._by_kind: defaultdict[type[Chunk], dict[Lane, _Stream]] = defaultdict(dict)

    def expand(self, event: Event, lane: Lane) -> Iterator[Event]:
        """Yield what an event in a lane stands for: ends that it brings about, and it.

        Whoever takes a start that is yielded and does not come back for more has refused it, and
        the item is not begun. Raises :class:`ProtocolViolation` for a chunk that belongs to
        nothing, or contradicts what it belongs to.
        """
        match event:
            case TextMessageChunkEvent() | ToolCallChunkEvent() | ReasoningMessageChunkEvent():
                yield from self._chunk(event)
                return
            case SubagentFinishedEvent() | SubagentErrorEvent():
                yield from self._end(event.subagent_run_id)
            case _ if event.type in _ASIDE:
                pass
            case _ if event.type in _OF_THE_RUN:
                for each in [*self._by_lane]:
                    yield from self._end(each)
            case _:
                yield from self._end(lane)
        yield event

    def _chunk(self, chunk: Chunk) -> Iterator[Event]:
        lane = self._lane_of(chunk)
        stream = self._by_lane.get(lane)
        item = _id_of(chunk)
        if stream is None or stream.kind is not type(chunk) or item not in (None, stream.id):
            start = _start(chunk, lane)
            yield from self._end(lane)
            yield start
            stream = self._begin(chunk, lane)
            if chunk.delta is not None:
                yield _content(chunk, stream)
            return
        for field, value in _said(chunk).items():
            if value not in (None, stream.said[field]):
                raise ProtocolViolation(
                    f"a chunk of {quoted(stream.id)} says another {field} than its first one"
                )
        yield _content(chunk, stream)

    def _lane_of(self, chunk: Chunk) -> Lane:
        kind, item, tag = type(chunk), _id_of(chunk), chunk.subagent_run_id
        if item is not None:
            stream = self._by_id.get((kind, item))
            if stream is None:
                return tag
            if tag not in (None, stream.lane):
                raise ProtocolViolation(f"a chunk of {quoted(item)} names another owner")
            return stream.lane
        lanes = self._by_kind[kind]
        if tag is not None or None in lanes or not lanes:
            return tag
        if len(lanes) > 1:
            raise ProtocolViolation("a chunk may belong to several items: it names neither")
        return next(iter(lanes))

    def _begin(self, chunk: Chunk, lane: Lane) -> _Stream:
        item = _id_of(chunk)
        assert item is not None
        said = _said(chunk)
        if isinstance(chunk, TextMessageChunkEvent):
            said["role"] = chunk.role or "assistant"
        stream = _Stream(type(chunk), item, lane, said)
        self._by_lane[lane] = self._by_kind[stream.kind][lane] = stream
        self._by_id[stream.kind, item] = stream
        return stream

    def _end(self, lane: Lane) -> Iterator[Event]:
        stream = self._by_lane.pop(lane, None)
        if stream is None:
            return
        del self._by_kind[stream.kind][lane], self._by_id[stream.kind, stream.id]
        if stream.kind is TextMessageChunkEvent:
            yield TextMessageEndEvent(message_id=stream.id, subagent_run_id=lane)
        elif stream.kind is ToolCallChunkEvent:
            yield ToolCallEndEvent(tool_call_id=stream.id, subagent_run_id=lane)
        else:
            yield ReasoningMessageEndEvent(message_id=stream.id, subagent_run_id=lane)


def _id_of(chunk: Chunk) -> str | None:
    return chunk.tool_call_id if isinstance(chunk, ToolCallChunkEvent) else chunk.message_id


def _said(chunk: Chunk) -> dict[str, str | None]:
    """Return what a chunk says of its item, and may repeat."""
    match chunk:
        case TextMessageChunkEvent():
            return {"role": chunk.role, "name": chunk.name}
        case ToolCallChunkEvent():
            return {
                "tool_call_name": chunk.tool_call_name,
                "parent_message_id": chunk.parent_message_id,
            }
        case ReasoningMessageChunkEvent():
            return {}


def _rest(chunk: Chunk, lane: Lane) -> dict[str, Any]:
    """Return what goes with each event that a chunk stands for."""
    return {
        "subagent_run_id": lane,
        "metadata": chunk.metadata,
        "raw_event": chunk.raw_event,
    }


def _start(chunk: Chunk, lane: Lane) -> Event:
    rest = _rest(chunk, lane)
    match chunk:
        case TextMessageChunkEvent(message_id=str(item)):
            return TextMessageStartEvent(message_id=item, role=chunk.role, name=chunk.name, **rest)
        case ReasoningMessageChunkEvent(message_id=str(item)):
            return ReasoningMessageStartEvent(message_id=item, **rest)
        case ToolCallChunkEvent(tool_call_id=str(item), tool_call_name=str(name)):
            parent = chunk.parent_message_id
            return ToolCallStartEvent(
                tool_call_id=item, tool_call_name=name, parent_message_id=parent, **rest
            )
        case _:
            raise ProtocolViolation(f"a {chunk.type.value} begins an item and does not say which")


def _content(chunk: Chunk, stream: _Stream) -> Event:
    delta = chunk.delta or ""
    rest = _rest(chunk, stream.lane)
    match chunk:
        case TextMessageChunkEvent():
            return TextMessageContentEvent(message_id=stream.id, delta=delta, **rest)
        case ReasoningMessageChunkEvent():
            return ReasoningMessageContentEvent(message_id=stream.id, delta=delta, **rest)
        case ToolCallChunkEvent():
            return ToolCallArgsEvent(tool_call_id=stream.id, delta=delta, **rest)
