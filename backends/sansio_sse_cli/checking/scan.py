r"""The bytes of one event stream, looked at for what a parser rightly forgives.

A client ignores unknown fields, replaces what is not UTF-8 and takes any line end. Whoever looks
after the server wants to know of them. Events are the parser's business; here are lines. No time,
no network, and memory that is bounded whatever comes.
"""

import enum
import re
from collections import Counter

from sansio_sse import EventStreamParser, ServerSentEvent

__all__ = ["MAX_EVENT", "MAX_LINE", "MAX_LINES", "Place", "StreamScan"]

MAX_LINE = 1024 * 1024
"""Bytes of one line that are kept; of a longer one only the length is looked at."""
MAX_EVENT = 4 * 1024 * 1024
"""Bytes of one event beyond which the stream is not read further."""
MAX_LINES = 200_000
"""Lines that are looked at."""
_MOST_NAMES = 10  # unknown fields told by name

_LINE_END = re.compile(rb"\r\n|\r|\n")
_BOM = b"\xef\xbb\xbf"
_KNOWN = frozenset((b"event", b"data", b"id", b"retry"))
_NAMES = {b"\n": "LF", b"\r": "CR", b"\r\n": "CRLF"}


class Place(enum.Enum):
    """Where in the stream a piece of it ends."""

    BETWEEN = "between events"
    LINES = "between lines of an event"
    WITHIN = "in the middle of a line"


class StreamScan:
    r"""Looks at one stream; feed it the body as it comes.

    >>> scan = StreamScan()
    >>> scan.feed(b"id: 7\ncolour: red\ndata: x\n\ndata: y")
    [ServerSentEvent(event='message', data='x', id='7', retry=None, has_id=True)]
    >>> scan.place, scan.unknown, scan.line_ends
    (<Place.WITHIN: 'in the middle of a line'>, Counter({'colour': 1}), Counter({'LF': 4}))
    """

    def __init__(self) -> None:
        self.size: int = 0
        """Bytes so far."""
        self.bom: bool = False
        """Whether it begins with a byte order mark."""
        self.line_ends: Counter[str] = Counter()
        """How often each kind of line end came: ``LF``, ``CR``, ``CRLF``."""
        self.not_utf8: int = 0
        """Lines that are not UTF-8."""
        self.ids_with_nul: int = 0
        """``id`` lines which are ignored because of a NUL in them."""
        self.bad_retries: int = 0
        """``retry`` lines that are no number."""
        self.unknown: Counter[str] = Counter()
        """Names of fields that the standard does not know, the first ten of them."""
        self.longest_line: int = 0
        """Bytes of the longest line so far."""
        self.heartbeats_at_once: int = 0
        """Most comments in a row that differ in digits at most; reset by :meth:`new_lump`."""
        self.place: Place = Place.BETWEEN
        """Where the stream stands."""
        self._parser = EventStreamParser(max_event_size=MAX_EVENT)
        self._line = bytearray()
        self._length = 0  # of the unfinished line, kept or not
        self._after_cr = False
        self._lines = 0
        self._first = True
        self._in_event = False
        self._comment = b""
        self._in_a_row = 0

    @property
    def comments(self) -> int:
        """How many comments came."""
        return self._parser.comment_count

    @property
    def retry(self) -> int | None:
        """The latest valid reconnection time in milliseconds."""
        return self._parser.retry

    @property
    def too_large(self) -> bool:
        """Whether an event is larger than what is read."""
        return self._parser.error is not None

    @property
    def full(self) -> bool:
        """Whether as much was looked at as will be."""
        return self.too_large or self._lines >= MAX_LINES

    def new_lump(self) -> None:
        """Begin to count comments in a row anew: there was a pause."""
        self._comment = b""
        self._in_a_row = self.heartbeats_at_once = 0

    def feed(self, data: bytes) -> list[ServerSentEvent]:
        """Take bytes of the body; return the events that they complete."""
        events = [item for item in self._parser.feed(data) if isinstance(item, ServerSentEvent)]
        self.size += len(data)
        self._look(data)
        return events

    def _look(self, data: bytes) -> None:
        start = 0
        if self._after_cr and data:
            self._after_cr = False
            if data[0] == 10:
                self.line_ends["CR"] -= 1
                self.line_ends["CRLF"] += 1
                start = 1
        for match in _LINE_END.finditer(data, start):
            if self._lines >= MAX_LINES:
                return
            self._lines += 1
            self._extend(data[start : match.start()])
            self.line_ends[_NAMES[match[0]]] += 1
            self._end_line()
            start = match.end()
        self._after_cr = data[-1:] == b"\r"
        self._extend(data[start:])
        if self._length:
            self.place = Place.WITHIN

    def _extend(self, data: bytes) -> None:
        self._length += len(data)
        self._line += data[: max(0, MAX_LINE - len(self._line))]
        self.longest_line = max(self.longest_line, self._length)

    def _end_line(self) -> None:
        line = bytes(self._line)
        if self._first:
            self._first = False
            self.bom = line.startswith(_BOM)
            line = line.removeprefix(_BOM)
        if line:
            self._judge(line)
        if not line or line.startswith(b":"):
            # A comment belongs to no event; behind one within an event, the event goes on.
            self._in_event = self._in_event and bool(line)
        else:
            self._in_event = True
        self.place = Place.LINES if self._in_event else Place.BETWEEN
        self._line.clear()
        self._length = 0

    def _judge(self, line: bytes) -> None:
        if not line.isascii() and self._length <= MAX_LINE and not _is_utf8(line):
            self.not_utf8 += 1
        name, _, value = line.partition(b":")
        if not name:
            self._count_comment(line)
            return
        self._comment = b""
        if name == b"id":
            self.ids_with_nul += b"\0" in value
        elif name == b"retry":
            digits = value.removeprefix(b" ")
            self.bad_retries += not digits.isdigit()
        elif name not in _KNOWN:
            shown = name[:100].decode("utf-8", "replace")
            if shown in self.unknown or len(self.unknown) < _MOST_NAMES:
                self.unknown[shown] += 1

    def _count_comment(self, comment: bytes) -> None:
        """Count how many of the same came in a row; a heartbeat may carry the time."""
        same = re.sub(rb"[0-9]+", b"0", comment[:200])
        self._in_a_row = self._in_a_row + 1 if same == self._comment else 1
        self._comment = same
        self.heartbeats_at_once = max(self.heartbeats_at_once, self._in_a_row)


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True
