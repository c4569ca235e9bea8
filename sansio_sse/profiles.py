"""What is known of the event streams of others, as data: where they end, fail, and go on.

The answer of a language model or an agent is a *finite* stream: it has an event that ends it, and
without that event it was cut off. Which event that is, which events report a failure, and how one
asks for the rest of a stream differ from one API to the next; a :class:`Profile` says it. It stands
where ``until=`` is wanted::

    connect(url, json=question, method="POST", until=OPENAI)

A profile is data alone: another API is another :class:`Profile`, written by whoever needs it.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Literal, cast
from urllib.parse import parse_qsl, quote, urlsplit

from .errors import ConfigError
from .event_stream import ServerSentEvent
from .http import Request

__all__ = ["AG_UI", "ANTHROPIC", "MCP", "OPENAI", "PLAIN", "Profile", "ResumeCursor"]

_HEADER = "Last-Event-ID"
# A lone surrogate can be written in JSON, and nowhere else.
_UNSENDABLE = re.compile("[\0\r\n\ud800-\udfff]")
_NUMBER = re.compile("0|-?[1-9][0-9]{0,17}")  # what is longer, or begins with 0, is no count


@dataclass(frozen=True, slots=True)
class ResumeCursor:
    """Where the cursor of a stream is read, and where it goes in the request for the rest.

    Raises :class:`~sansio_sse.errors.ConfigError` for what cannot be.

    >>> cursor = ResumeCursor(field="sequence_number", place="query", name="starting_after")
    >>> cursor.read(ServerSentEvent(data='{"sequence_number": 41}'))
    '41'
    >>> cursor.resume(Request("GET", "https://api.example/v1/responses/1?stream=true"), "41").url
    'https://api.example/v1/responses/1?stream=true&starting_after=41'
    """

    field: str | None = None
    """The field of the data, a JSON object, that holds it; None: it is the last event ID."""
    place: Literal["header", "query", "body"] = "header"
    """Where it goes: a header, a parameter of the query, or a field of the body's JSON object.

    A cursor in the body says that the same POST may be sent again: with it, it is no repetition. An
    ``id:`` says so too. A parameter does not: it goes with requests that are safe to repeat."""
    name: str = _HEADER
    """The name it has there."""
    method: str | None = None
    """The method of the request for the rest, which then has no body; None: as it was."""

    def __post_init__(self) -> None:
        if self.place not in ("header", "query", "body"):
            raise ConfigError(f"place: 'header', 'query' or 'body', not {self.place!r}")
        if not self.name:
            raise ConfigError("name: a cursor has one where it goes")
        if self.place == "body" and self.method is not None:
            raise ConfigError("place: a request with another method has no body to put a cursor in")
        # What cannot be sent is found out now, not in an hour.
        headers = ((self.name, ""),) if self.place == "header" else ()
        Request("GET" if self.method is None else self.method, "http://checked.invalid/", headers)

    @property
    def promises(self) -> bool:
        """Whether a request with the cursor asks for the rest alone, whatever its method."""
        return self.place == "body" or self.method in ("GET", "HEAD")

    def read(self, event: ServerSentEvent) -> str | None:
        """Return the cursor that an event holds in its data, None if it holds none."""
        if self.field is None or f'"{self.field}"' not in event.data:
            return None
        value = _object(event.data).get(self.field)
        if isinstance(value, bool) or not isinstance(value, str | int):
            return None
        cursor = str(value)
        return None if _UNSENDABLE.search(cursor) else cursor

    def resume(self, request: Request, cursor: str) -> Request:
        """Return the request for what comes behind ``cursor``; empty: the request as it is."""
        if not cursor:
            return request
        if self.method is not None and self.method != request.method:
            headers = tuple(p for p in request.headers if not p[0].lower().startswith("content-"))
            request = Request(self.method, request.url, headers)
        if self.place == "header":
            # Blanks around it cannot be part of a field value (RFC 9110 5.5), and Fetch strips
            # them.
            value = cursor.strip(" \t")
            return request.with_header(self.name, value) if value else request
        if self.place == "query":
            return request.replace(url=_with_parameter(request.url, self.name, cursor))
        body: dict[str, Any] = _object((request.content or b"{}").decode("utf-8", "replace"))
        number = self.field is not None and _NUMBER.fullmatch(cursor)
        body[self.name] = int(cursor) if number else cursor
        content = json.dumps(body, separators=(",", ":")).encode()
        return request.replace(content=content)


@dataclass(frozen=True, slots=True)
class Profile:
    """One kind of finite event stream; called with an event, it says whether that one is the last.

    >>> OPENAI(ServerSentEvent(data="[DONE]"))
    True
    >>> ANTHROPIC.is_error(ServerSentEvent("error", '{"type":"error"}'))
    True
    >>> mine = Profile("mine", terminal=("finished",))
    >>> mine(ServerSentEvent("finished"))
    True
    """

    name: str
    """For people."""
    done: tuple[str, ...] = ()
    """Data that, as a whole, is the end: ``[DONE]``."""
    terminal: tuple[str, ...] = ()
    """Event types that are the end: of the event, or the field ``type`` of its data."""
    errors: tuple[str, ...] = ()
    """Event types that report a failure; nothing comes behind one."""
    terminal_fields: tuple[str, ...] = ()
    """Fields of the data that only the last event has."""
    error_fields: tuple[str, ...] = ()
    """Fields of the data that only the report of a failure has (and where they are not null)."""
    cursor: ResumeCursor = ResumeCursor()  # it is frozen
    """How to ask for the rest."""

    def __call__(self, event: ServerSentEvent) -> bool:
        """Tell whether nothing comes behind this event: the end, or the report of a failure."""
        return self.is_terminal(event) or self.is_error(event)

    @property
    def has_end(self) -> bool:
        """Whether a stream of this kind has a last event, so that one without it was cut."""
        return bool(self.done or self.terminal or self.terminal_fields)

    def is_terminal(self, event: ServerSentEvent) -> bool:
        """Tell whether this event is the end."""
        return event.data in self.done or _has(event, self.terminal, self.terminal_fields)

    def is_error(self, event: ServerSentEvent) -> bool:
        """Tell whether this event reports a failure. It is given to the reader like any other."""
        return _has(event, self.errors, self.error_fields)


PLAIN = Profile("plain")
"""Nothing is known: a stream ends where HTTP says that its body ends."""

OPENAI = Profile(
    "openai",
    done=("[DONE]",),
    terminal=("response.completed", "response.incomplete"),
    errors=("error", "response.failed"),
    error_fields=("error",),
    cursor=ResumeCursor(),
)
"""OpenAI's chat completions, assistants and responses, and what is made like them."""

ANTHROPIC = Profile("anthropic", terminal=("message_stop",), errors=("error",))
"""Anthropic's messages. A ``ping`` is an event like any other: the reader ignores it."""

AG_UI = Profile("ag-ui", terminal=("RUN_FINISHED",), errors=("RUN_ERROR",))
"""The Agent-User Interaction protocol."""

MCP = Profile("mcp", terminal_fields=("result", "error"), cursor=ResumeCursor(method="GET"))
"""The Model Context Protocol over HTTP: a response ends its stream; GET asks for the rest."""


def _has(event: ServerSentEvent, types: tuple[str, ...], fields: tuple[str, ...]) -> bool:
    if event.event in types:
        return True
    data = event.data
    # Most events are none of these, and to see that needs no JSON.
    likely = any(f'"{name}"' in data for name in (*types, *fields))
    if not likely:
        return False
    found = _object(data)
    kind = found.get("type")
    return (isinstance(kind, str) and kind in types) or any(
        found.get(name) is not None for name in fields
    )


def _object(text: str) -> dict[str, Any]:
    """Return a JSON object, an empty one for what is none."""
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _with_parameter(url: str, name: str, value: str) -> str:
    """Return the url in which a parameter of the query has this one value."""
    parts = urlsplit(url)
    kept = [
        part
        for part in parts.query.split("&")
        if part and dict(parse_qsl(part, keep_blank_values=True)).keys() != {name}
    ]
    query = "&".join([*kept, f"{quote(name, safe='')}={quote(value, safe='')}"])
    return parts._replace(query=query).geturl()
