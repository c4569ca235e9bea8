"""Bytes of an event stream in, events out: sections 9.2.5 and 9.2.6 of the WHATWG HTML standard.

This module knows nothing of HTTP, of time, or of connections. It never raises for anything a peer may
send: input that is not UTF-8 becomes U+FFFD, fields nobody knows are ignored, and an event that is
larger than the limit ends the parsing with :attr:`EventStreamParser.error`.

How the parser is built, and why
--------------------------------

The unit of work is the *block*: the lines up to a blank line. While a block is incomplete it is kept as
the bytes that were received, and nothing else: an event in the making has no effect anybody could see,
except for its comments and its ``retry`` lines, which are looked at as their lines end. That leaves a
single buffer to bound, costs nothing per line of an incomplete event, and needs no incremental decoder
(a line end is always a boundary of UTF-8: no byte of a longer sequence is below 0x80).

Complete blocks are decoded together and cut apart together. Streams repeat themselves: the header lines
of an event ("event: delta", then "data: ") are those of the event before, over and over. So the parser
remembers the *shape* of the last event, splits at "blank line + shape", and what lies between two
separators is an event's data, with no look at its lines at all. Anything else takes the slower ways:
:meth:`EventStreamParser._parse_blocks` for the usual fields in any order, one block at a time, and
:meth:`EventStreamParser._parse_lines`, which is the standard read aloud, for the rest.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import repeat
from typing import Any, Final, NamedTuple, TypeAlias

from .errors import EventTooLarge

__all__ = ["Comment", "EventStreamParser", "LastEventIdChanged", "ServerSentEvent"]


class ServerSentEvent(NamedTuple):
    r"""One event, as a message of an ``EventSource`` would show it.

    Attributes:
        event: The event type, ``"message"`` unless the server named another.
        data: The data; lines are joined by a line feed.
        id: The last event ID in force, which an earlier event may have set.
        retry: The reconnection time in milliseconds, if this event's block carried a valid one.
        has_id: Whether this event's own block carried an ID.

    >>> parser = EventStreamParser()
    >>> event, = parser.feed(b'event: price\nid: 7\ndata: {"EUR": 1.07}\n\n')
    >>> event
    ServerSentEvent(event='price', data='{"EUR": 1.07}', id='7', retry=None, has_id=True)
    >>> event.json()
    {'EUR': 1.07}
    """

    event: str = "message"
    data: str = ""
    id: str = ""
    retry: int | None = None
    has_id: bool = False

    def json(self) -> Any:
        """Decode the data as JSON.

        Raises:
            json.JSONDecodeError: The data is not JSON.

        >>> ServerSentEvent(data="[1, 2]").json()
        [1, 2]
        """
        return json.loads(self.data)


@dataclass(frozen=True, slots=True)
class Comment:
    r"""A comment line, which servers send to show that they are alive.

    Attributes:
        text: What follows the colon, one leading space removed.

    >>> EventStreamParser(comments=True).feed(b": still here\n")
    [Comment(text='still here')]
    """

    text: str


@dataclass(frozen=True, slots=True)
class LastEventIdChanged:
    r"""The last event ID became another one.

    It stands before the event whose block carried the ID. A block without data changes the ID too.

    Attributes:
        id: The ID a reconnect sends from now on; empty if the server took it back.

    >>> EventStreamParser(ids=True).feed(b"id: 7\n\n")
    [LastEventIdChanged(id='7')]
    """

    id: str


ParsedItem: TypeAlias = ServerSentEvent | Comment | LastEventIdChanged

_NOTHING: Final[Sequence[ParsedItem]] = ()
_BOM: Final = b"\xef\xbb\xbf"
_new = tuple.__new__

# Reconnection times above this are taken as this. The standard knows no bound; 2**63 - 1 milliseconds
# are 292 million years, and what every language we know of can still hold.
MAX_RETRY: Final = 2**63 - 1

# A read of up to this many bytes is parsed in one go. Larger ones are cut, so that what the parser makes
# beside the events (decoded text, lists of lines) stays small, and in the processor's cache.
_LARGE: Final = 1024 * 1024


class _Shape(NamedTuple):
    """How the events of a stream look: header lines, perhaps an ID, one data line."""

    prefix: str  # up to the data; if the events have IDs, up to the ID
    blank: str  # the end of a line, and a blank line
    event: str
    middle: str  # from the end of the ID up to the data; empty if the events have no IDs


@lru_cache(maxsize=256)  # ten thousand parsers of similar streams share their shapes
def _shape(line_end: str, event: str, before: str, ids: bool, after: str) -> _Shape:
    """Make the shape of events with the lines ``before``, perhaps an ID, ``after``, data."""
    prefix = before + line_end if before else ""
    blank = line_end * 2
    if not ids:
        return _Shape(prefix + "data: ", blank, event, "")
    return _Shape(
        prefix + "id: ", blank, event, line_end + (after + line_end if after else "") + "data: "
    )


_PLAIN: Final = _shape("\n", "message", "", False, "")

# Up to this size, a read is taken for a single event first, and looked at again if that was wrong.
_SMALL: Final = 4 * 1024

# Events longer than this are found one at a time.
_LONG: Final = 500


def _decode(data: bytes | bytearray) -> str:
    # Python's "replace" is the standard's decoder: one U+FFFD per maximal subpart of a sequence.
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace")


def _unify_line_ends(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _is_one_line(text: str) -> bool:
    return "\n" not in text and "\r" not in text


def _unify(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _reconnection_time(value: str) -> int | None:
    # str.isdigit alone would let digits of other scripts through.
    if not (value.isascii() and value.isdigit()):
        return None
    digits = value.lstrip("0")
    # int() refuses more than 4,300 digits.
    return min(int(digits or "0"), MAX_RETRY) if len(digits) < 20 else MAX_RETRY


class EventStreamParser:
    r"""Parses one event stream: feed it the body as it comes, get events as they complete.

    Args:
        last_event_id: The ID this stream was resumed from. It stays in force until the stream gives
            another.
        max_event_size: The most bytes the parser may hold: the lines received of an incomplete event,
            field names and line ends included and comments not, and the last event ID the stream gave.
        comments: Whether :class:`Comment` objects are among the results, in their place.
        ids: Whether :class:`LastEventIdChanged` objects are, before the event whose ID it is.

    What is held while an event is incomplete is bytes. The event itself, once complete, is a ``str``, for which
    Python needs up to four bytes a character.

    Rules: WHATWG HTML 9.2.5 (the format) and 9.2.6 (its interpretation).

    >>> parser = EventStreamParser()
    >>> parser.feed(b"data: first\n\ndata: sec")
    [ServerSentEvent(event='message', data='first', id='', retry=None, has_id=False)]
    >>> parser.feed(b"ond\n\n")
    [ServerSentEvent(event='message', data='second', id='', retry=None, has_id=False)]
    """

    __slots__ = (
        "_comments",
        "_held",
        "_ids",
        "_last",
        "_line",
        "_limit",
        "_quick",
        "_room",
        "_shape",
        "_special",
        "comment_count",
        "error",
        "gave_id",
        "last_event_id",
        "retry",
    )

    last_event_id: str
    """The last event ID in force: what a reconnect sends. An incomplete block has not set it yet."""

    retry: int | None
    """The latest valid reconnection time in milliseconds; it takes effect as its line ends."""

    gave_id: bool
    """Whether this stream has carried an ID in a complete block."""

    comment_count: int
    """How many comments there were, included among the results or not."""

    error: EventTooLarge | None
    """Why parsing has stopped, or None."""

    def __init__(
        self,
        *,
        last_event_id: str = "",
        max_event_size: int = 32 * 1024 * 1024,
        comments: bool = False,
        ids: bool = False,
    ) -> None:
        self.last_event_id = last_event_id
        self.retry = None
        self.gave_id = False
        self.comment_count = 0
        self.error = None
        self._comments = comments
        self._ids = ids
        self._limit = max_event_size
        # What is left of the limit beside the last event ID, and how much of that needs no closer look.
        self._room = max_event_size
        self._quick = min(max_event_size, _SMALL)
        # The incomplete block; immutable as long as it is short. Where its incomplete line begins.
        self._held: bytes | bytearray = b""
        self._line = 0
        self._shape = _PLAIN
        self._last = ("message", False)
        # Set at the very start (a BOM may come), after a CR (an LF may come), and after an error.
        self._special: bytes | None = b""

    def feed(self, data: bytes) -> Sequence[ParsedItem]:
        """Take the next bytes of the stream; return what they completed, in order.

        Never raises for anything the peer may send. The result must not be changed by the caller: a
        chunk that completes nothing gives a shared empty one. After :attr:`error` is set the result is
        always empty.
        """
        # One event per read is what a stream in good health looks like, so an event of the known shape
        # is made right here. removeprefix and removesuffix are twice as fast as startswith and endswith
        # (which parse an argument tuple), the slices included.
        if not self._held and self._special is None and len(data) <= self._quick:
            try:
                text = data.decode()
            except UnicodeDecodeError:
                return self._feed_any(data)
            shape = self._shape
            block = text.removesuffix(shape[1])
            rest = block.removeprefix(shape[0])
            if (
                "\n" not in rest
                and "\r" not in rest
                and rest != block
                and block != text
                and not shape[3]
            ):
                return [_new(ServerSentEvent, (shape[2], rest, self.last_event_id, None, False))]
        return self._feed_any(data)

    # Between the bytes and the blocks.

    def _feed_any(self, data: bytes) -> Sequence[ParsedItem]:
        """Take bytes, whatever they are."""
        if self._special is not None:
            data = self._begin(data)
        if 13 in data:  # eight times faster than b"\r" in data
            return self._feed_cr(data)
        return self._feed_lf(data)

    def _begin(self, data: bytes) -> bytes:
        """Skip a BOM at the start and an LF after a CR; swallow everything after an error."""
        start = self._special
        if start is None or self.error is not None or not data:
            return b""
        if start == b"\r":
            self._special = None
            return data[1:] if data[0] == 10 else data
        data = start + data
        if len(data) < 3 and _BOM.startswith(data):
            self._special = data
            return b""
        self._special = None
        return data[3:] if data.startswith(_BOM) else data

    def _feed_cr(self, data: bytes) -> Sequence[ParsedItem]:
        """Take bytes with a CR among them."""
        if data[-1] == 13:  # A line end at once, or an event would be held back.
            self._special = b"\r"
        held = self._held
        end = data.rfind(b"\r\n\r\n")
        start = data.find(b"\r\n\r\n") + 4 if held else 0
        if end < start or len(held) + len(data) > min(self._room, _LARGE):
            return self._feed_lf(_unify_line_ends(data))
        # To replace line ends costs as much as all the rest of parsing. Whole blocks do without.
        shape = self._shape
        result = list(self._advance(_unify_line_ends(data[:start]))) if start else []
        if start < end:
            self._shape = shape  # not the one with LF, which the lines before may have given
            self._parse(_decode(data[start:end]), result)
            shape = self._shape
        if len(data) > end + 4:
            result += self._advance(_unify_line_ends(data[end + 4 :]))
        self._shape = shape
        return result

    def _feed_lf(self, data: bytes) -> Sequence[ParsedItem]:
        """Take bytes whose line ends are LF."""
        if len(data) + len(self._held) > min(self._room, _LARGE):
            return self._feed_large(data)
        return self._advance(data)

    def _advance(self, data: bytes) -> Sequence[ParsedItem]:
        """Take bytes whose line ends are LF and for which there is room."""
        if 10 not in data:  # fifty times faster than to look for a blank line
            return self._hold(data)
        held = self._held
        if held:
            if not (b"\n\n" in data or (data[0] == 10 and self._line == len(held))):
                return self._hold(data)
            if len(held) > _LARGE:
                return self._complete_large(data)
            data = b"".join((held, data))
            self._held = b""
        end = data.rfind(b"\n\n")
        if end < 0:
            return self._hold(data[1:] if data[0] == 10 else data)
        result: list[ParsedItem] = []
        self._parse(_decode(data[:end]), result)
        if len(data) > end + 2:
            result += self._hold(data[end + 2 :])
        return result

    def _hold(self, data: bytes) -> Sequence[ParsedItem]:
        """Keep bytes in which no block ends; look at the lines that do."""
        held = self._held
        if held:
            if type(held) is bytes:
                held = self._held = bytearray(held)
            held += data
        else:
            held = self._held = data
            self._line = 0
        start = self._line
        end = data.rfind(b"\n")
        if end < 0:
            return _NOTHING
        self._line = len(held) - len(data) + end + 1
        if held.startswith((b":", b"retry"), start) or b"\n:" in data or b"\nretry" in data:
            return self._look_at_lines(start)
        return _NOTHING

    def _look_at_lines(self, start: int) -> Sequence[ParsedItem]:
        """Let the comments and retry lines which have just ended take effect; drop the comments."""
        held = self._held
        if type(held) is bytes:
            held = self._held = bytearray(held)
        result: list[ParsedItem] = []
        kept: list[bytes | bytearray] = []
        for line in held[start : self._line - 1].split(b"\n"):
            if line[0] == 58:
                self._take_comment(_decode(line[1:]), result)
                continue
            kept += line, b"\n"
            if line.startswith(b"retry"):
                name, _, value = _decode(line).partition(":")
                if name == "retry":
                    self._take_retry(value.removeprefix(" "))
        lines = b"".join(kept)
        # In place, or comments between the lines of a large event would copy it each time.
        held[start : self._line] = lines
        self._line = start + len(lines)
        return result

    # Blocks. Here everything is text, complete, and all line ends are LF.

    def _parse(self, text: str, result: list[ParsedItem]) -> None:
        """Parse blocks: text at whose end a block ends, without the last two line ends."""
        prefix, blank, _, middle = self._shape
        if not text.startswith(prefix):
            self._parse_lines(text, result)
        elif middle or blank not in text[: len(prefix) + _LONG]:
            self._walk(text, result)
        else:
            self._split(text, result)

    def _walk(self, text: str, result: list[ParsedItem]) -> None:
        """Parse events of the known shape one by one: fastest where they are long or have IDs."""
        prefix, blank, event, middle = self._shape
        has_id = bool(middle)
        if has_id and (self._ids or "\0" in text):
            self._parse_lines(text, result)
            return
        # To look for one character is by far the fastest search there is.
        find = text.find
        line_end = blank[0]
        to_data = len(prefix)
        to_next = len(blank)
        last_id = self.last_event_id
        start = 0
        while text[start : (data_start := start + to_data)] == prefix:
            if has_id:
                id_end = find(line_end, data_start)
                own_id = text[data_start:id_end]
                data_start = id_end + len(middle)
                if text[id_end:data_start] != middle or "\n" in own_id:
                    break
            end = find(line_end, data_start)
            if end < 0:
                end = len(text)
            elif text[end : end + to_next] != blank:
                break
            data = text[data_start:end]
            if "\n" in data:
                break
            if has_id:
                last_id = own_id
            result.append(_new(ServerSentEvent, (event, data, last_id, None, has_id)))
            start = end + to_next
        if has_id and start:
            self._take_id(last_id)
        if start < len(text):
            self._parse_lines(text[start:], result)

    def _split(self, text: str, result: list[ParsedItem]) -> None:
        """Parse events of the known shape all at once: fastest where they are many and short."""
        shape = self._shape
        prefix, blank, event, _ = shape
        parts = text[len(prefix) :].split(blank + prefix)
        last_id = self.last_event_id
        if _is_one_line("".join(parts)):
            values = zip(repeat(event), parts, repeat(last_id), repeat(None), repeat(False))
            result += map(_new, repeat(ServerSentEvent), values)
            return
        crlf = "\r" in text
        for part in parts:
            if "\n" not in part and not (crlf and "\r" in part):
                result.append(_new(ServerSentEvent, (event, part, last_id, None, False)))
                continue
            if crlf:
                part = _unify(part)
            joined = part.replace("\ndata: ", "\n")
            if len(part) - len(joined) == 6 * part.count("\n"):
                result.append(_new(ServerSentEvent, (event, joined, last_id, None, False)))
                continue
            # Other fields, or behind this event blocks of other shapes.
            self._parse_lines(prefix + part, result)
            last_id = self.last_event_id
            if 2 * len(part) < len(text):
                self._shape = shape

    def _parse_lines(self, text: str, result: list[ParsedItem]) -> None:
        """Parse blocks line by line, whatever they are; learn the shape of the last event."""
        line_end = "\n"
        if "\r" in text:
            line_end = "\r\n"
            lines = text.split("\r\n")
            if not _is_one_line("".join(lines)):
                lines = _unify(text).split("\n")
        else:
            lines = text.split("\n")
        lines.append("")
        last_id = self.last_event_id
        event = event_value = event_before = "message"
        event_line = ""
        last = event, False
        data: str | None = None
        rows: list[str] = []
        new_id: str | None = None
        retry: int | None = None
        for line in lines:
            if line[:6] == "data: ":
                if data is None:
                    data = line[6:]
                else:
                    rows.append(line[6:])
            elif not line:  # the end of a block
                if new_id is not None:
                    if new_id != last_id and self._ids:
                        result.append(LastEventIdChanged(new_id))
                    last_id = new_id
                    self.gave_id = True
                if data is not None:
                    if rows:
                        data = "\n".join([data, *rows])
                        rows = []
                    has_id = new_id is not None
                    last = event, has_id
                    result.append(_new(ServerSentEvent, (event, data, last_id, retry, has_id)))
                event = "message"
                data = new_id = retry = None
            elif line == event_line:
                event = event_value
            elif line[:7] == "event: ":
                event_line = line
                event = event_value = line[7:] or "message"
            elif line[:4] == "id: ":
                if "\0" not in line:
                    new_id = line[4:]
                    event_before = event
            elif line[0] == ":":
                self._take_comment(line[1:], result)
            else:
                name, _, value = line.partition(":")
                value = value.removeprefix(" ")
                if name == "data":
                    if data is None:
                        data = value
                    else:
                        rows.append(value)
                elif name == "event":
                    event = value or "message"
                elif name == "id":
                    if "\0" not in value:
                        new_id = value
                elif name == "retry":
                    retry = self._take_retry(value, retry)
        self._take_id(last_id)
        event, has_id = last
        if event == "message" != event_value:
            event_line, event_value = "", event
        # Only the second time: streams that alternate have no shape.
        if last == self._last and event == event_value:
            if has_id and event_before != event:
                self._shape = _shape(line_end, event, "", True, event_line)
            else:
                self._shape = _shape(line_end, event, event_line, has_id, "")
        self._last = last

    def _take_comment(self, text: str, result: list[ParsedItem]) -> None:
        self.comment_count += 1
        if self._comments:
            result.append(Comment(text.removeprefix(" ")))

    def _take_retry(self, value: str, otherwise: int | None = None) -> int | None:
        valid = _reconnection_time(value)
        if valid is None:
            return otherwise
        self.retry = valid
        return valid

    def _take_id(self, new_id: str) -> None:
        self.last_event_id = new_id
        # A character counts as a byte: replaced bytes must not count more than those received.
        self._room = self._limit - len(new_id)
        self._quick = min(self._room, _SMALL)

    # Large reads, large events, and the limit.

    def _feed_large(self, data: bytes) -> Sequence[ParsedItem]:
        """Take a read that is large, that adds to much, or that may go beyond the limit."""
        result: list[ParsedItem] = []
        if len(data) + len(self._held) <= self._room:
            for start in range(0, len(data), _LARGE):
                result += self._advance(data[start : start + _LARGE])
                if self.error is not None:
                    break
            return result
        # One line at a time finds the same end whatever the reads were.
        start = 0
        while start < len(data):
            end = data.find(b"\n", start) + 1
            size = end - 1 - start if end else len(data) - start
            if len(self._held) + size > self._room:
                self._stop()
                break
            end = end or len(data)
            result += self._advance(data[start:end])
            if self.error is not None:
                break
            start = end
        return result

    def _stop(self) -> None:
        self.error = EventTooLarge(f"an event is larger than {self._limit} bytes")
        self._held = b""
        self._special = b""

    def _complete_large(self, data: bytes) -> Sequence[ParsedItem]:
        """Complete a large block. No more of it than twice its size is ever in memory."""
        # The blank line is at the start if a line end came right before it.
        blank = 0 if self._line == len(self._held) and data[0] == 10 else data.find(b"\n\n") + 1
        result = list(self._hold(data[:blank]))
        if self._too_wide():
            self._stop()
            return result
        self._parse_large(result)
        result += self._advance(data[blank + 1 :])
        return result

    def _too_wide(self) -> bool:
        """Whether the text of the held block would need too much memory.

        Python stores a text at the width of its widest character: a single emoji makes a text of
        one-byte characters four times as large.
        """
        held = self._held
        if len(held) <= 2 * _LARGE or held.isascii():  # smaller ones may come here or not
            return False
        width = 4 if max(held) >= 0xF0 else 2
        return width * len(_CONTINUATION.sub(b"", held)) + len(held) > 2 * self._limit

    def _parse_large(self, result: list[ParsedItem]) -> None:
        """Parse the held block line by line, as bytes, and release it before its data is decoded."""
        held = self._held
        self._held = b""
        data = bytearray()
        has_data = False
        headers: dict[bytes, bytes] = {}
        start = 0
        while start < len(held):
            end = held.find(b"\n", start)
            if held.startswith((b"data:", b"data\n"), start):
                has_data = True
                start += 5
                if start < end and held[start] == 32:
                    start += 1
                with memoryview(held) as view:
                    data += view[start:end]
                data += b"\n"
            else:
                line = bytes(held[start:end])
                name, _, value = line.partition(b":")
                if name == b"event" or (name == b"id" and b"\0" not in value) or name == b"retry":
                    headers[name] = line
            start = end + 1
        del held
        if has_data:
            headers[b"data"] = b"data"
        self._parse_lines(_decode(b"\n".join(headers.values())), result)
        if has_data:
            del data[-1:]
            event = result[-1]
            result[-1] = event._replace(data=_decode(data))
