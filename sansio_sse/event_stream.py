"""Bytes of an event stream in, events out: sections 9.2.5 and 9.2.6 of the WHATWG HTML standard.

This module knows nothing of HTTP, of time, or of connections. It never raises for anything a peer
may send: what is not UTF-8 becomes U+FFFD, fields nobody knows are ignored, and an event that is
larger than the limit ends the parsing with :attr:`EventStreamParser.error`.

How the parser is built, and why
--------------------------------

The unit of work is the *block*: the lines up to a blank line. While a block is incomplete it is
kept as the bytes that were received, because an event in the making has no effect that anybody
could see, except for its comments and its ``retry`` lines, which are looked at as their lines end.
That leaves one buffer to bound, costs nothing per line of an incomplete event, and needs no
incremental decoder: a block ends at a line end, and a line end always is a boundary of UTF-8.

Complete blocks are decoded together and cut apart together. Streams repeat themselves: the header
lines of an event ("event: delta", then "data: ") are those of the event before, over and over. So
the parser remembers the *shape* of recent events and takes its pick:

* a read that is exactly one event of the shape (``feed``): two affixes removed, one tuple made;
* many short events of the shape (``_split``): split at "blank line + header lines", and what lies
  between two separators is the data of an event, with no look at its lines;
* long events of the shape, and events with IDs (``_walk``): from one line end to the next, since
  ``str.find`` of one character is fifty times faster a character than ``str.split``;
* everything else (``_parse_lines``): line by line, by the letter of the standard.

Each way makes sure that what it takes is what it looks like, and leaves the rest to the last one,
so all of them give the same events. Measured on CPython 3.11: 0.3, 0.9 and 0.7 microseconds an
event on ``_split``, ``_walk`` (1.5 KB each) and ``_parse_lines``, of which 0.13 are the making of a
``ServerSentEvent``. Figures that explain a single line stand beside it.
"""

import json
from collections.abc import Callable, Iterable, Sequence
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
_Fields: TypeAlias = tuple[str, str, str, int | None, bool]

_NOTHING: Final[Sequence[ParsedItem]] = ()
_BOM: Final = b"\xef\xbb\xbf"

# tuple.__new__, with a type. The constructor of a NamedTuple is a Python function, 100 ns slower.
_new: Final[Callable[[type[ServerSentEvent], _Fields], ServerSentEvent]] = vars(tuple)["__new__"]

# Reconnection times above this are taken as this. The standard knows no bound; 2**63 - 1
# milliseconds are 292 million years, and what every language can still hold.
MAX_RETRY: Final = 2**63 - 1

# Up to this size, a read is first taken for a single event.
_SMALL: Final = 4 * 1024

# From this first line on, events are found one at a time.
_LONG: Final = 500

# In so many lines, the last event is taken to be like others before it.
_MANY: Final = 30

# Up to this size, a block is parsed as a part of the text that came with it. What is larger is
# taken in pieces of this size: beside the events, the parser makes texts and lists of what it is
# given.
_LARGE: Final = 256 * 1024

_CONTINUATION_BYTES: Final = bytes(range(0x80, 0xC0))
_FOUR_BYTE_LEADS: Final = bytes(range(0xF0, 0x100))


class _Shape(NamedTuple):
    """How the events of a stream look: header lines, perhaps an ID among them, one data line."""

    prefix: str  # up to the data; if the events have IDs, up to the ID
    blank: str  # the end of the last line, and the blank line
    event: str
    middle: str  # from the end of the ID up to the data; empty if the events have no IDs


@lru_cache(maxsize=256)  # ten thousand parsers of similar streams share their shapes
def _shape(line_end: str, event: str, before: str, has_id: bool, after: str) -> _Shape:
    """Make the shape of events with the lines ``before``, perhaps an ID, ``after``, and data."""
    prefix = before + line_end if before else ""
    blank = line_end * 2
    if not has_id:
        return _Shape(prefix + "data: ", blank, event, "")
    middle = line_end + (after + line_end if after else "") + "data: "
    return _Shape(prefix + "id: ", blank, event, middle)


_PLAIN: Final = _shape("\n", "message", "", False, "")
_NO_HEADERS: Final = ("message", False)


def _decode(data: bytes | bytearray | memoryview) -> str:
    # Python's "replace" is the standard's decoder: one U+FFFD per maximal subpart of a sequence.
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError:
        return str(data, "utf-8", "replace")


def _with_lf(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _is_one_line(text: str) -> bool:
    return "\n" not in text and "\r" not in text


def _joined(rows: str, line_end: str) -> str | None:
    """Join the values of data lines, or None if not all of the lines begin with "data: ".

    The first of them has lost its field name already.
    """
    joined = rows.replace(line_end + "data: ", "\n")
    lost = len(rows) - len(joined)
    usual = lost == (len(line_end) + 5) * joined.count("\n") and "\r" not in joined
    return joined if usual else None


def _reconnection_time(value: str) -> int | None:
    # str.isdigit alone would let digits of other scripts through.
    if not (value.isascii() and value.isdigit()):
        return None
    digits = value.lstrip("0")
    # int() refuses more than 4,300 digits.
    return min(int(digits or "0"), MAX_RETRY) if len(digits) < 20 else MAX_RETRY


class EventStreamParser:
    r"""Parses one event stream: feed it the body as it comes, get the events as they complete.

    Args:
        last_event_id: The ID this stream was resumed from. It stays in force until the stream gives
            another.
        max_event_size: The most bytes the parser may hold: of an incomplete event, all lines
            received so far, line ends included and comments not; and the last event ID which the
            stream gave.
        comments: Whether :class:`Comment` objects are among the results, in their place.
        ids: Whether :class:`LastEventIdChanged` objects are, each before the event whose ID it is.

    Raises:
        ValueError: ``max_event_size`` is not positive.

    What is held while an event is incomplete is bytes. A complete event is a ``str``, for which
    Python may need four bytes a character. One for which bytes and text together would need more
    than twice ``max_event_size`` counts as too large, too, unless it is small (512 KiB).

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
        "_limit",
        "_line",
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

    # Plain attributes, because a property costs 40 ns a look.

    last_event_id: str
    """The last event ID in force: what a reconnect sends. An incomplete block has not set it yet.

    Not for the caller to set.
    """

    retry: int | None
    """The latest valid reconnection time in milliseconds; it takes effect as its line ends.

    Values above 2**63 - 1 are taken as that.
    """

    gave_id: bool
    """Whether a complete block of this stream carried an ID."""

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
        if max_event_size < 1:
            raise ValueError(f"max_event_size must be positive, not {max_event_size}")
        self.last_event_id = last_event_id
        self.retry = None
        self.gave_id = False
        self.comment_count = 0
        self.error = None
        self._comments = comments
        self._ids = ids
        # What may be held, what of that the last event ID leaves, and what of that is a small read.
        self._limit = max_event_size
        self._room = max_event_size
        self._quick = min(max_event_size, _SMALL)
        # The incomplete block, and where its incomplete line begins.
        self._held: bytes | bytearray = b""
        self._line = 0
        # What the events look like, and what the headers of the last one parsed by lines were.
        self._shape = _PLAIN
        self._last = _NO_HEADERS
        # Not None at the very start (what may yet become a BOM), after a CR (which an LF may
        # follow), and after an error.
        self._special: bytes | None = b""

    def feed(self, data: bytes) -> Sequence[ParsedItem]:
        """Take the next bytes of the stream; return what they completed, in order.

        Never raises for anything the peer may send. The result must not be changed by the caller:
        it may be a shared empty one. After :attr:`error` is set it is always empty.
        """
        # One event per read is what a stream in good health looks like, so an event of the known
        # shape is made right here. removeprefix and removesuffix take half the time of startswith
        # and endswith, which must unpack an argument tuple, and leave nothing to slice.
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
            if "\r" not in text and text[-1:] == "\n":
                return self._feed_small(data, text)
        return self._feed_any(data)

    def _feed_small(self, data: bytes, text: str) -> Sequence[ParsedItem]:
        """Take what a live stream sends beside its usual event: one block, or one comment."""
        if data[0] == 58 and not self._comments and text[text.find("\n") :] in ("\n", "\n\n"):
            self.comment_count += 1
            return _NOTHING
        if text[-2:] != "\n\n":
            return self._feed_any(data)
        prefix, blank, event, middle = self._shape
        if text.startswith(prefix) and blank == "\n\n":
            rest = text[len(prefix) : -2]
            if not middle:
                joined = _joined(rest, "\n")
                if joined is not None:
                    values = (event, joined, self.last_event_id, None, False)
                    return [_new(ServerSentEvent, values)]
            elif not self._ids:
                own_id, found, value = rest.partition(middle)
                if found and "\n" not in own_id and "\n" not in value and "\0" not in own_id:
                    self._take_id(own_id)
                    return [_new(ServerSentEvent, (event, value, own_id, None, True))]
        block = text[:-2]
        # Thirty times slower than to look for one character, so it comes last.
        if "\n\n" in block:
            return self._feed_any(data)  # several, which are taken faster together
        result: list[ParsedItem] = []
        self._parse_split(block, "\n", block.split("\n"), result)
        return result

    # From bytes to blocks.

    def _feed_any(self, data: bytes) -> Sequence[ParsedItem]:
        """Take bytes, whatever they are."""
        if self._special is not None:
            data = self._begin(self._special, data)
        if 13 in data:  # eight times faster than b"\r" in data
            return self._feed_cr(data)
        if self._is_much(data):
            return self._feed_much(data)
        return self._advance(data)

    def _begin(self, before: bytes, data: bytes) -> bytes:
        """Skip a BOM at the start and an LF after a CR; swallow everything after an error."""
        if self.error is not None or not data:
            return b""
        if before == b"\r":
            self._special = None
            return data[1:] if data[0] == 10 else data
        data = before + data
        if len(data) < 3 and _BOM.startswith(data):
            self._special = data
            return b""
        self._special = None
        return data.removeprefix(_BOM)

    def _is_much(self, data: bytes) -> bool:
        """Whether these bytes may go beyond the limit, or must be taken in pieces."""
        size = len(data) + len(self._held)
        return size > self._quick and (size > self._room or size > _LARGE)

    def _feed_cr(self, data: bytes) -> Sequence[ParsedItem]:
        """Take bytes with a CR among them."""
        if data[-1] == 13:  # a line end at once, or an event would be held back
            self._special = b"\r"
        end = data.rfind(b"\r\n\r\n")
        start = data.find(b"\r\n\r\n") + 4 if self._held else 0
        if self._is_much(data):
            return self._feed_much(_with_lf(data))
        if end < start:
            return self._advance(_with_lf(data))
        # To replace the line ends costs as much as all the rest. Whole blocks are parsed as they
        # are, and their shape is not lost to the one with LF which the lines before and after have.
        shape = self._shape
        result = list(self._advance(_with_lf(data[:start]))) if start else []
        self._shape = shape
        self._parse(_decode(data[start:end]), result)
        shape = self._shape
        if len(data) > end + 4:
            result += self._advance(_with_lf(data[end + 4 :]))
            self._shape = shape
        return result

    def _advance(self, data: bytes) -> Sequence[ParsedItem]:
        """Take bytes whose line ends are LF, for which there is room."""
        if 10 not in data:  # fifty times faster than to look for a blank line
            return self._hold(data)
        held = self._held
        if held:
            if not (b"\n\n" in data or (data[0] == 10 and self._line == len(held))):
                return self._hold(data)
            if len(held) > _LARGE:
                del held  # which is to be released before its text is made
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
        """Let the comments and retry lines which have just ended take effect; drop the comments.

        The retry lines stay: they belong to their event, too.
        """
        held = self._held
        if type(held) is not bytearray:
            held = self._held = bytearray(held)
        lines = bytes(held[start : self._line]).split(b"\n")
        kept = [line for line in lines if line[:1] != b":"]
        self.comment_count += len(lines) - len(kept)
        for line in kept:
            if line[:5] == b"retry":
                name, _, value = _decode(line).partition(":")
                if name == "retry":
                    self._take_retry(value.removeprefix(" "), None)
        left = b"\n".join(kept)
        held[start : self._line] = left  # in place: a large block is not to be copied
        self._line = start + len(left)
        if not self._comments:
            return _NOTHING
        return [Comment(_decode(line[1:]).removeprefix(" ")) for line in lines if line[:1] == b":"]

    # From blocks to events. "Text" is whole blocks, without the last two line ends.

    def _parse(self, text: str, result: list[ParsedItem]) -> None:
        """Parse blocks the fastest way there is for them."""
        prefix, blank, _, middle = self._shape
        if blank == "\n\n" and "\r" in text:
            self._parse_lines(text, result)
        elif not text.startswith(prefix):
            self._parse_other(text, result)
        elif middle:
            # A NUL makes an ID invalid.
            if self._ids or "\0" in text:
                self._parse_lines(text, result)
            else:
                self._walk(text, result)
        elif blank[0] in text[len(prefix) : _LONG]:
            self._split(text, result)
        else:
            self._walk(text, result)

    def _parse_other(self, text: str, result: list[ParsedItem]) -> None:
        """Parse blocks of which the first has another shape than the known one."""
        if len(text) > 2 * _SMALL:
            # Behind it there may be a long run of the known one, or of one to be known.
            prefix, blank, _, _ = shape = self._shape
            first, found, rest = text.partition(blank + prefix)
            if found:
                self._parse_lines(first, result)
                self._shape = shape
                self._parse(prefix + rest, result)
                return
            end = text.find(blank, _SMALL)
            if end > 0:
                self._parse_lines(text[:end], result)
                text = text[end + len(blank) :]
                if text.startswith(self._shape.prefix):
                    self._parse(text, result)
                    return
        self._parse_lines(text, result)

    def _split(self, text: str, result: list[ParsedItem]) -> None:
        """Parse events of the known shape all at once."""
        shape = self._shape
        prefix, blank, event, _ = shape
        line_end = blank[: len(blank) // 2]
        parts = text[len(prefix) :].split(blank + prefix)
        # To look through all of them together is cheaper than to look into each.
        if _is_one_line("".join(parts)):
            result += self._events(event, parts)
            return
        cr = "\r" in text
        odd = [i for i, part in enumerate(parts) if "\n" in part or (cr and "\r" in part)]
        if 4 * len(odd) > len(parts) > 8 and _joined(parts[odd[0]], line_end) is None:
            self._parse_lines(text, result)  # the shape is one of many
            return
        start = 0
        for index in odd:
            if start < index:
                result += self._events(event, parts[start:index])
            start = index + 1
            data = _joined(parts[index], line_end)
            if data is not None:
                values = (event, data, self.last_event_id, None, False)
                result.append(_new(ServerSentEvent, values))
                continue
            # Other fields, or behind this event blocks of another shape.
            self._parse_lines(prefix + parts[index], result)
            if 2 * len(parts[index]) < len(text):
                self._shape = shape
        result += self._events(event, parts[start:])

    def _events(self, event: str, parts: list[str]) -> Iterable[ServerSentEvent]:
        """Make events of their data; a map over a zip is a fifth faster than a comprehension."""
        last_id = self.last_event_id
        values = zip(repeat(event), parts, repeat(last_id), repeat(None), repeat(False))
        return map(_new, repeat(ServerSentEvent), values)

    def _walk(self, text: str, result: list[ParsedItem]) -> None:
        """Parse events of the known shape one by one, as long as they come."""
        prefix, blank, event, middle = self._shape
        find = text.find
        line_end = blank[0]
        crlf = line_end == "\r"  # then there may be an LF in a line
        to_data, over_middle, over_blank = len(prefix), len(middle), len(blank)
        own_id = last_id = self.last_event_id
        has_id = bool(middle)
        start = 0
        while text[start : (data_start := start + to_data)] == prefix:
            if has_id:
                id_end = find(line_end, data_start)
                own_id = text[data_start:id_end]
                data_start = id_end + over_middle
                if text[id_end:data_start] != middle or (crlf and "\n" in own_id):
                    break
            end = find(line_end, data_start)
            if end < 0:
                end = len(text)
            elif text[end : end + over_blank] != blank:
                break
            data = text[data_start:end]
            if crlf and "\n" in data:
                break
            if has_id:
                last_id = own_id
            result.append(_new(ServerSentEvent, (event, data, last_id, None, has_id)))
            start = end + over_blank
        if has_id and start:
            self._take_id(last_id)
        if start < len(text):
            self._parse_lines(text[start:], result)

    def _parse_lines(self, text: str, result: list[ParsedItem]) -> None:
        """Parse blocks line by line, whatever they are."""
        self._parse_split(text, *self._lines(text), result)

    def _parse_split(
        self, text: str, line_end: str, lines: list[str], result: list[ParsedItem]
    ) -> None:
        """Parse blocks that are lines already."""
        if "\n:" in text and not self._comments:
            before = len(lines)
            lines = [line for line in lines if line[:1] != ":"]
            self.comment_count += before - len(lines)
        lines.append("")
        last_id = self.last_event_id
        event = event_value = event_before_id = "message"
        event_line = ""
        data: str | None = None
        rows: list[str] = []  # the data lines after the first
        new_id: str | None = None
        gave_id = False
        retry: int | None = None
        headers: tuple[str, bool] | None = None
        for line in lines:
            if line[:6] == "data: ":
                if data is None:
                    data = line[6:]
                else:
                    rows.append(line[6:])
            elif not line:  # "dispatch the event"
                if data is None and new_id is None:
                    event = "message"
                    retry = None
                    continue
                has_id = new_id is not None
                if new_id is not None:
                    if new_id != last_id and self._ids:
                        result.append(LastEventIdChanged(new_id))
                    last_id = new_id
                    gave_id = True
                if data is not None:
                    if rows:
                        data = "\n".join([data, *rows])
                        rows = []
                    headers = event, has_id
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
                    event_before_id = event
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
        if gave_id:
            self._take_id(last_id)
        if headers is None:
            return
        # A shape is learned the second time: streams whose events alternate have none. Only an
        # event without a type, or whose type came by the line that is still known here, gives one.
        event, has_id = headers
        if event == "message" != event_value:
            event_line, event_value = "", event
        if (headers == self._last or len(lines) > _MANY) and event == event_value:
            if has_id and event_before_id != event:
                self._shape = _shape(line_end, event, "", True, event_line)
            else:
                self._shape = _shape(line_end, event, event_line, has_id, "")
        self._last = headers

    def _lines(self, text: str) -> tuple[str, list[str]]:
        """Split a text into lines; tell which line ends it has."""
        if "\r" not in text:
            return "\n", text.split("\n")
        lines = text.split("\r\n")
        if _is_one_line("".join(lines)):
            return "\r\n", lines
        return "\r\n", text.replace("\r\n", "\n").replace("\r", "\n").split("\n")

    def _take_comment(self, text: str, result: list[ParsedItem]) -> None:
        self.comment_count += 1
        if self._comments:
            result.append(Comment(text.removeprefix(" ")))

    def _take_retry(self, value: str, otherwise: int | None) -> int | None:
        valid = _reconnection_time(value)
        if valid is None:
            return otherwise
        self.retry = valid
        return valid

    def _take_id(self, new_id: str) -> None:
        self.gave_id = True
        self.last_event_id = new_id
        # A character counts as a byte, so that an ID never counts for more than was received of it.
        self._room = self._limit - len(new_id)
        self._quick = min(self._room, _SMALL)

    # Much, and the limit.

    def _feed_much(self, data: bytes) -> Sequence[ParsedItem]:
        """Take bytes that may go beyond the limit, or many of them."""
        result: list[ParsedItem] = []
        start = 0
        while start < len(data) and self.error is None:
            if len(self._held) + len(data) - start <= self._room:
                end = start + _LARGE
            else:
                # Line by line, the limit is hit at the same place however the stream is cut.
                end = data.find(b"\n", start) + 1 or len(data)
                size = end - start - (data[end - 1] == 10)
                if len(self._held) + size > self._room:
                    self._stop()
                    break
            result += self._advance(data[start:end])
            start = end
        return result

    def _stop(self) -> None:
        self.error = EventTooLarge(f"an event is larger than the limit of {self._limit} bytes")
        self._held = b""
        self._special = b""

    def _complete_large(self, data: bytes) -> Sequence[ParsedItem]:
        """Complete a large block, the memory for it being twice its size and no more."""
        # The blank line stands at the start if it was a line end that came before.
        end = 0 if data[0] == 10 and self._line == len(self._held) else data.find(b"\n\n") + 1
        result = list(self._hold(data[:end]))
        self._parse_large(result)
        if self.error is None:
            result += self._advance(data[end + 1 :])
        return result

    def _parse_large(self, result: list[ParsedItem]) -> None:
        """Parse the held block as bytes, so that its text is made once, and of its data only."""
        held = self._held
        self._held = b""
        size = len(held)
        headers, data, row = _take_apart(held)
        del held  # which may not be what the data is in
        if self._is_too_wide(size, data):
            self._stop()
            return
        with memoryview(data) as view:
            text = _decode(view[row])
        block: list[ParsedItem] = []
        self._parse_lines(_decode(headers), block)
        for item in block:
            result.append(item._replace(data=text) if isinstance(item, ServerSentEvent) else item)

    def _is_too_wide(self, size: int, data: bytes | bytearray) -> bool:
        """Whether the text of a block of ``size`` would need too much memory beside ``data``.

        Python stores all characters of a text in the width of the widest: one emoji makes a text of
        ASCII four times as large.
        """
        # A block that is not twice as large comes this way or not, as the stream is cut.
        if size <= 2 * _LARGE or data.isascii():
            return False
        width = 4 if len(data.translate(None, _FOUR_BYTE_LEADS)) < len(data) else 2
        characters = len(data.translate(None, _CONTINUATION_BYTES))
        return len(data) + width * characters > 2 * self._limit


def _take_apart(block: bytes | bytearray) -> tuple[bytes, bytes | bytearray, slice]:
    """Take a large block apart, line by line, with as little memory as can be.

    Returns:
        A block of the same fields, in which all data lines are one that is empty; and what its data
        is: a buffer, and where in it.
    """
    if block.startswith(b"data: ") and b"\n" in block[:_LARGE]:
        # The usual large event has data lines only, and lots of them.
        joined = block.replace(b"\ndata: ", b"\n")
        if len(block) - len(joined) == 6 * (joined.count(b"\n") - 1):
            return b"data", joined, slice(6, -1)
        del joined
    headers: dict[bytes, bytes] = {}
    row: slice | None = None
    data: bytearray | None = None
    start = 0
    while start < len(block):
        end = block.find(b"\n", start)
        if block.startswith((b"data:", b"data\n"), start):
            start += 6 if block.startswith(b" ", start + 5) else 5
            this = slice(start, end)
            if row is None:
                row = this
            else:
                if data is None:
                    data = bytearray(block[row])
                data += b"\n"
                data += block[this]
        elif _counts(line := bytes(block[start:end])):
            headers[line.partition(b":")[0]] = line
        start = end + 1
    if row is not None:
        headers[b"data"] = b"data"
    kept = b"\n".join(headers.values())
    if data is not None:
        return kept, data, slice(None)
    return kept, block, row or slice(0)


def _counts(line: bytes) -> bool:
    """Whether a line is a valid header field, and so takes the place of another before it."""
    name, _, value = line.partition(b":")
    if name == b"id":
        return b"\0" not in value
    if name == b"retry":
        return _reconnection_time(_decode(value).removeprefix(" ")) is not None
    return name == b"event"
