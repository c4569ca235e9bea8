"""Messages and tool calls while they grow; what is given out is a message of ``ag_ui.core``.

A draft is what a message was at first and what has come since. The message is put together when
somebody looks, and then is a new one: those that were given out stay as they were.
"""

from io import StringIO
from typing import Any

from ag_ui.core import (
    ActivityMessage,
    AssistantMessage,
    DeveloperMessage,
    Message,
    Metadata,
    ReasoningMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
    UserMessage,
)

from .budget import Budget, weight
from .chunks import Lane
from .documents import Document

__all__ = ["CallDraft", "MessageDraft"]


class _Draft:
    __slots__ = ("_budget", "_built", "_changes", "_gone", "_metadata", "_size", "_text")

    def __init__(self, budget: Budget, metadata: Metadata | None) -> None:
        self._budget = budget
        self._size = 0
        self._gone = False
        self._text: StringIO | None = None
        self._metadata = dict(metadata or {})
        self._changes: dict[str, Any] = {}
        self._built: Any = None

    def _grow(self, more: int) -> None:
        self._budget.take(more)
        self._size += more
        self._built = None

    def append(self, delta: str) -> None:
        """Append to the text."""
        if self._gone:
            return
        self._grow(len(delta))
        if self._text is None:
            # Not a string that grows: each time all of it would be copied.
            self._text = StringIO()
            self._text.write(self._first_text())
        self._text.write(delta)

    def merge(self, metadata: Metadata | None) -> None:
        """Merge an event's metadata, key by key; the last one wins."""
        if metadata and not self._gone:
            mine = self._metadata
            lost = {key: mine[key] for key in metadata if key in mine}
            self._grow(weight(metadata) - weight(lost))
            mine.update(metadata)

    def encrypt(self, value: str) -> None:
        """Keep what a provider wants back, and nobody else can read."""
        old = self._changes.get("encrypted_value")
        self._grow(weight(value) - (0 if old is None else weight(old)))
        self._changes["encrypted_value"] = value

    def forget(self) -> None:
        """Count for nothing any more; somebody else has given back what it took.

        It may still be open, but of what comes now nobody will see anything.
        """
        self._size = 0
        self._gone = True

    @property
    def size(self) -> int:
        """What all of it counts."""
        return self._size

    def _first_text(self) -> str:
        raise NotImplementedError

    def _changed(self, text_field: str) -> dict[str, Any]:
        changes = dict(self._changes)
        if self._metadata:
            changes["metadata"] = dict(self._metadata)
        if self._text is not None:
            changes[text_field] = self._text.getvalue()
        return changes


class CallDraft(_Draft):
    """A tool call of an assistant's message."""

    __slots__ = ("_base", "message")

    def __init__(self, base: ToolCall, message: "MessageDraft", budget: Budget) -> None:
        super().__init__(budget, base.metadata)
        self._base = base
        self.message: MessageDraft = message

    @property
    def name(self) -> str:
        """Its id."""
        return self._base.id

    @property
    def owner(self) -> Lane:
        """Whose it is: whoever's the message is."""
        return self.message.owner

    def built(self) -> ToolCall:
        """Return the call as it is now."""
        if self._built is None:
            changes = self._changed("arguments")
            arguments = changes.pop("arguments", None)
            if arguments is not None:
                changes["function"] = self._base.function.model_copy(
                    update={"arguments": arguments}
                )
            self._built = self._base.model_copy(update=changes)
        call: ToolCall = self._built
        return call

    def _grow(self, more: int) -> None:
        super()._grow(more)
        self.message.touch()

    def _first_text(self) -> str:
        return self._base.function.arguments


class MessageDraft(_Draft):
    """A message of any role; raises :class:`~sansio_sse.errors.LimitExceeded` where it grows.

    ``activity``: the content of an activity, None for any other message. ``behind``: the message
    that it belongs behind, wherever that is; None: it is where it came.
    """

    __slots__ = ("activity", "base", "behind", "calls")

    def __init__(self, base: Message, budget: Budget) -> None:
        super().__init__(budget, base.metadata)
        self.activity: Document | None = None
        self.behind: MessageDraft | None = None
        self.calls: list[CallDraft] = []
        if isinstance(base, ActivityMessage):
            self.activity = Document(base.content, budget, dict)
            base = base.model_copy(update={"content": {}})
        elif isinstance(base, AssistantMessage):
            self.calls = [CallDraft(call, self, budget) for call in base.tool_calls or ()]
        self.base: Message = base
        self._grow(weight(base))

    @property
    def size(self) -> int:
        """What all of it counts."""
        content = 0 if self.activity is None else self.activity.size
        return self._size + content + sum(call.size for call in self.calls)

    @property
    def owner(self) -> Lane:
        """The subagent whose message it is, or None."""
        return self.base.subagent_run_id

    def takes_text(self, *, reasoning: bool) -> bool:
        """Tell whether text can be appended: as reasoning, or as what is said."""
        match self.base:
            case ReasoningMessage():
                return reasoning
            case AssistantMessage() | DeveloperMessage() | SystemMessage():
                return not reasoning
            case UserMessage(content=content):
                return isinstance(content, str) and not reasoning
            case ToolMessage() | ActivityMessage():
                return False

    def call(self, call: ToolCall) -> CallDraft:
        """Add a tool call."""
        self._grow(weight(call))
        draft = CallDraft(call, self, self._budget)
        self.calls.append(draft)
        return draft

    def touch(self) -> None:
        """Something in it has changed."""
        self._built = None

    def retype(self, activity_type: str, owner: Lane) -> None:
        """Say what kind of activity this is now, and whose."""
        update = {"activity_type": activity_type, "subagent_run_id": owner}
        changed = self.base.model_copy(update=update)
        self._grow(weight(changed) - weight(self.base))
        self.base = changed

    def built(self) -> Message:
        """Return the message as it is now."""
        if self._built is None:
            changes = self._changed("content")
            if self.calls:
                changes["tool_calls"] = [call.built() for call in self.calls]
            if self.activity is not None:
                changes["content"] = self.activity.value
            self._built = self.base.model_copy(update=changes)
        message: Message = self._built
        return message

    def forget(self) -> None:
        """Count for nothing any more; somebody else has given back what it took."""
        super().forget()
        for call in self.calls:
            call.forget()
        if self.activity is not None:
            self.activity.forget()

    def _first_text(self) -> str:
        content = self.base.content
        return content if isinstance(content, str) else ""
