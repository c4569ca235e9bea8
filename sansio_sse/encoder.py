"""Events to bytes: the server's half of section 9.2.5 of the WHATWG HTML standard.

Whatever this module produces, :class:`~sansio_sse.event_stream.EventStreamParser` reads back as it
was; what the format cannot express is refused. It frames events and does nothing else: no
connections, no keep-alive, no history of past events.
"""

import re
from typing import Final

from .event_stream import MAX_RETRY, ServerSentEvent

__all__ = ["encode_comment", "encode_event", "encode_retry"]

# Not str.splitlines: it would also split at U+2028 and a few more, which are text here.
_LINE_END: Final = re.compile("\r\n|\r|\n")


def encode_event(
    data: str | ServerSentEvent = "",
    *,
    event: str | None = None,
    id: str | None = None,
    retry: int | None = None,
) -> bytes:
    r"""Encode one event, blank line included.

    Args:
        data: The data. CRLF, CR and LF in it all arrive as LF: the format has lines, not line ends.
            A :class:`ServerSentEvent` may stand here instead of all arguments; its ``id`` is
            written if ``has_id`` is true, since otherwise it belongs to an earlier event.
        event: The event type. None or empty: a ``"message"``.
        id: The ID to resume from. Empty: the receiver forgets the one it has. None: it keeps it.
        retry: The reconnection time in milliseconds.

    Raises:
        ValueError: A value has no representation: a line end in ``event`` or ``id``, NUL in ``id``,
            a lone surrogate, a ``retry`` that is negative or beyond 2**63 - 1. Or there are further
            arguments beside a :class:`ServerSentEvent`.

    Rules: WHATWG HTML 9.2.5 and 9.2.6.

    >>> encode_event("two\nlines", event="note", id="7")
    b'event: note\nid: 7\ndata: two\ndata: lines\n\n'
    >>> encode_event(ServerSentEvent(data="hello"))
    b'data: hello\n\n'
    """
    if isinstance(data, ServerSentEvent):
        if (event, id, retry) != (None, None, None):
            raise ValueError("a ServerSentEvent already has an event type, an id and a retry")
        event, retry = data.event, data.retry
        id = data.id if data.has_id else None
        data = data.data
    lines: list[str] = []
    if event and event != "message":
        lines.append(f"event: {_one_line(event, 'event type')}")
    if id is not None:
        if "\0" in id:
            raise ValueError("an id must not contain NUL: the receiver would ignore it")
        lines.append(f"id: {_one_line(id, 'id')}")
    if retry is not None:
        lines.append(_retry_line(retry))
    lines += [f"data: {line}" for line in _LINE_END.split(data)]
    return _to_bytes("\n".join(lines) + "\n\n")


def encode_comment(text: str = "") -> bytes:
    r"""Encode a comment, which keeps a connection alive and is no event.

    Args:
        text: The text; each line of it becomes a comment. Line ends as in :func:`encode_event`.

    Raises:
        ValueError: The text has a lone surrogate.

    >>> encode_comment("still here")
    b': still here\n\n'
    """
    return _to_bytes("".join(f": {line}\n" for line in _LINE_END.split(text)) + "\n")


def encode_retry(milliseconds: int) -> bytes:
    r"""Encode a reconnection time that belongs to no event.

    Args:
        milliseconds: How long the receiver waits before it reconnects.

    Raises:
        ValueError: It is negative or beyond 2**63 - 1.

    >>> encode_retry(3000)
    b'retry: 3000\n\n'
    """
    return _to_bytes(_retry_line(milliseconds) + "\n\n")


def _one_line(value: str, what: str) -> str:
    if "\n" in value or "\r" in value:
        raise ValueError(f"an {what} must not contain a line end: {value[:80]!r}")
    return value


def _retry_line(milliseconds: int) -> str:
    if not 0 <= milliseconds <= MAX_RETRY:
        raise ValueError("retry must be from 0 to 2**63 - 1 milliseconds")
    return f"retry: {milliseconds:d}"


def _to_bytes(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        found = text[error.start]
        raise ValueError(f"a lone surrogate has no UTF-8: {found!r}") from error
