"""A slow, literal reading of the standard, for the parser to be compared with.

Nothing here is shared with the parser, not even Python's UTF-8 decoder: the decoder is the one of
the WHATWG Encoding standard (section 8.1.1, "UTF-8 decoder"), one byte at a time; the lines are
those of the grammar in WHATWG HTML 9.2.5; their interpretation is that of 9.2.6, step by step.
Speed does not matter.

A long comparison on random streams::

    python -m tests.event_stream_reference 50000
"""

import random
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

MAX_RETRY = 2**63 - 1
DIGITS = "0123456789"

# A block with its blank line, or what there is at the end.
BLOCK = re.compile(rb"(?s).*?(?:\n\n|\r\n\r\n|\r\r)|.+")


@dataclass
class Reading:
    """What a stream says, in terms of its own."""

    events: list[tuple[str, str, str, int | None, bool]] = field(default_factory=list)
    items: list[object] = field(default_factory=list)  # events, ("comment", text), ("id", id)
    last_event_id: str = ""
    gave_id: bool = False
    retry: int | None = None
    comments: int = 0


def decode(data: bytes) -> str:
    """Decode as "UTF-8 decode" does: BOM off, then the UTF-8 decoder with replacement."""
    if data[:3] == b"\xef\xbb\xbf":
        data = data[3:]
    out: list[str] = []
    code_point = needed = seen = 0
    lower, upper = 0x80, 0xBF
    position = 0
    while position < len(data):
        byte = data[position]
        position += 1
        if needed == 0:
            if byte <= 0x7F:
                out.append(chr(byte))
            elif 0xC2 <= byte <= 0xDF:
                needed, code_point = 1, byte & 0x1F
            elif 0xE0 <= byte <= 0xEF:
                if byte == 0xE0:
                    lower = 0xA0
                if byte == 0xED:
                    upper = 0x9F
                needed, code_point = 2, byte & 0xF
            elif 0xF0 <= byte <= 0xF4:
                if byte == 0xF0:
                    lower = 0x90
                if byte == 0xF4:
                    upper = 0x8F
                needed, code_point = 3, byte & 0x7
            else:
                out.append("\N{REPLACEMENT CHARACTER}")
            continue
        if not lower <= byte <= upper:
            code_point = needed = seen = 0
            lower, upper = 0x80, 0xBF
            position -= 1  # "restore byte to ioQueue"
            out.append("\N{REPLACEMENT CHARACTER}")
            continue
        lower, upper = 0x80, 0xBF
        code_point = (code_point << 6) | (byte & 0x3F)
        seen += 1
        if seen == needed:
            out.append(chr(code_point))
            code_point = needed = seen = 0
    if needed:
        out.append("\N{REPLACEMENT CHARACTER}")
    return "".join(out)


def split_lines(text: str) -> Iterator[str]:
    """Yield the lines that have an end; the rest of the stream is no line yet."""
    line: list[str] = []
    after_cr = False
    for character in text:
        if character == "\n" and after_cr:
            after_cr = False
            continue
        after_cr = character == "\r"
        if character in ("\r", "\n"):
            yield "".join(line)
            line.clear()
        else:
            line.append(character)


def read(data: bytes, last_event_id: str = "") -> Reading:
    """Interpret a stream by the letter of 9.2.6."""
    reading = Reading(last_event_id=last_event_id)
    data_buffer = ""
    event_type_buffer = ""
    last_event_id_buffer = last_event_id
    own_id = False
    own_retry: int | None = None
    for line in split_lines(decode(data)):
        if line == "":
            # "Dispatch the event".
            if own_id:
                reading.gave_id = True
                if reading.last_event_id != last_event_id_buffer:
                    reading.items.append(("id", last_event_id_buffer))
            reading.last_event_id = last_event_id_buffer
            if data_buffer != "":
                if data_buffer[-1] == "\n":
                    data_buffer = data_buffer[:-1]
                event = (
                    event_type_buffer if event_type_buffer != "" else "message",
                    data_buffer,
                    reading.last_event_id,
                    own_retry,
                    own_id,
                )
                reading.events.append(event)
                reading.items.append(event)
            data_buffer = event_type_buffer = ""
            own_id, own_retry = False, None
            continue
        if line[0] == ":":
            reading.comments += 1
            text = line[1:]
            if text != "" and text[0] == " ":
                text = text[1:]
            reading.items.append(("comment", text))
            continue
        name, value = line, ""
        if ":" in line:
            name, value = line[: line.index(":")], line[line.index(":") + 1 :]
            if value != "" and value[0] == " ":
                value = value[1:]
        if name == "event":
            event_type_buffer = value
        elif name == "data":
            data_buffer += value
            data_buffer += "\n"
        elif name == "id" and "\0" not in value:
            last_event_id_buffer = value
            own_id = True
        elif name == "retry" and value != "" and all(digit in DIGITS for digit in value):
            number = 0
            for digit in value:
                number = min(number * 10 + DIGITS.index(digit), MAX_RETRY)
            own_retry = reading.retry = number
    return reading


# A random stream, out of the pieces in which parsers differ.

_NAMES = [
    "data",
    "event",
    "id",
    "retry",
    "",
    "Data",
    "data ",
    "foo",
    "\N{ZERO WIDTH NO-BREAK SPACE}data",
]
_VALUES = [
    "",
    "x",
    "7",
    "a b",
    "tick",
    "\0",
    "0005",
    "12",
    "99999999999999999999",
    "-1",
    "\uff11",
    "ünï",
    "事件",
    "🙂",
    "x" * 40,
    "a:b",
    ": c",
    "\u2028",
    "\x85",
    "\x0b",
    "\x0c",
    "\x1e",
    "\N{ZERO WIDTH NO-BREAK SPACE}",
]
_JUNK = [
    b"\xff",
    b"\xc3",
    b"\xe4\xba",
    b"\xf0\x9f\x99",
    b"\xed\xa0\x80",
    b"\xc0\xaf",
    b"\xf4\x90\x80\x80",
    b"\x80",
]
_ENDS = [b"\n", b"\r", b"\r\n"]


def random_stream(draw: random.Random) -> bytes:
    """Make a stream of a few hundred bytes, regular in one part and wild in another."""
    pieces: list[bytes] = []
    if draw.random() < 0.2:
        pieces.append(
            draw.choice([b"\xef\xbb\xbf", b"\xef\xbb", b"\xef", b"\xef\xbb\xbf\xef\xbb\xbf"])
        )
    ends = draw.choice([[b"\n"], [b"\n"], [b"\r\n"], [b"\r"], _ENDS])
    for _ in range(draw.randrange(1, 5)):
        if draw.random() < 0.5:
            pieces += _regular(draw, ends)
        else:
            pieces += _wild(draw, ends)
    return b"".join(pieces)


def _regular(draw: random.Random, ends: list[bytes]) -> Iterable[bytes]:
    headers = [
        line
        for line in draw.sample(
            [b"event: tick", b"event:tock", b"id: %d", b"retry: 12", b": hm"], 5
        )
        if draw.random() < 0.3
    ]
    long = b"y" * draw.choice([0, 0, 0, 600])
    for number in range(draw.randrange(1, 12)):
        lines = [line % number if b"%" in line else line for line in headers]
        lines += [
            b"data: " + _value(draw) + long for _ in range(draw.choice([1, 1, 1, 1, 0, 2, 5]))
        ]
        if draw.random() < 0.1:
            lines.insert(draw.randrange(len(lines) + 1), b"id: " + _value(draw))
        for line in [*lines, b""]:
            yield line + draw.choice(ends)


def _wild(draw: random.Random, ends: list[bytes]) -> Iterable[bytes]:
    for _ in range(draw.randrange(12)):
        if draw.random() < 0.75:
            yield draw.choice(_NAMES).encode()
            if draw.random() < 0.9:
                yield draw.choice([b":", b": ", b":", b": ", b":  ", b" :"])
            yield _value(draw)
        if draw.random() < 0.9:
            yield draw.choice(ends)
        if draw.random() < 0.3:
            yield draw.choice(ends)


def _value(draw: random.Random) -> bytes:
    value = draw.choice(_VALUES).encode()
    if draw.random() < 0.1:
        junk = draw.choice(_JUNK)
        return draw.choice([value + junk, junk + value, junk])
    return value


def random_cuts(draw: random.Random, data: bytes) -> list[bytes]:
    """Cut a stream into chunks, at random or where blocks end."""
    if draw.random() < 0.3:
        return BLOCK.findall(data)
    count = draw.choice([0, 1, 2, 5, len(data) // 3, len(data)])
    cuts = sorted(draw.randrange(len(data) + 1) for _ in range(count))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def parse(chunks: Iterable[bytes], last_event_id: str = "") -> Reading:
    """What the parser says of a stream, in the terms of this module."""
    from sansio_sse.event_stream import Comment, EventStreamParser, LastEventIdChanged

    parser = EventStreamParser(last_event_id=last_event_id, comments=True, ids=True)
    plain = EventStreamParser(last_event_id=last_event_id)
    reading = Reading()
    events: list[object] = []
    for chunk in chunks:
        for item in parser.feed(chunk):
            if isinstance(item, Comment):
                reading.items.append(("comment", item.text))
            elif isinstance(item, LastEventIdChanged):
                reading.items.append(("id", item.id))
            else:
                event = (item.event, item.data, item.id, item.retry, item.has_id)
                reading.items.append(event)
                reading.events.append(event)
        events += plain.feed(chunk)
    reading.last_event_id = parser.last_event_id
    reading.gave_id = parser.gave_id
    reading.retry = parser.retry
    reading.comments = parser.comment_count
    # Without the extra items the parser takes other ways, to the same end.
    assert events == reading.events
    assert plain.last_event_id == parser.last_event_id
    assert plain.gave_id == parser.gave_id
    assert plain.retry == parser.retry
    assert plain.comment_count == parser.comment_count
    return reading


def difference(chunks: Iterable[bytes], expected: Reading, found: Reading) -> str:
    """Say where two readings part, in a few lines."""
    lines = [f"chunks {repr(list(chunks))[:2000]}"]
    for name in ("last_event_id", "gave_id", "retry", "comments", "items"):
        one, other = getattr(expected, name), getattr(found, name)
        if one == other:
            continue
        if name == "items":
            same = 0
            while one[same : same + 1] == other[same : same + 1]:
                same += 1
            one, other = one[same : same + 2], other[same : same + 2]
            name = f"items from {same}"
        lines.append(f"{name}: expected {repr(one)[:500]}, found {repr(other)[:500]}")
    return "\n".join(lines)


def compare(count: int, seed: int = 0) -> int:
    """Compare parser and reference on so many random streams; return how many events there were."""
    draw = random.Random(seed)
    events = 0
    for _ in range(count):
        data = random_stream(draw)
        last_event_id = draw.choice(["", "before"])
        expected = read(data, last_event_id)
        events += len(expected.events)
        chunks = random_cuts(draw, data)
        for way in ([data], chunks, [data[i : i + 1] for i in range(len(data))]):
            found = parse(way, last_event_id)
            if found != expected:
                raise AssertionError(difference(way, expected, found))
    return events


if __name__ == "__main__":
    streams = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    seen = compare(streams)
    sys.stdout.write(
        f"{streams} random streams, {seen} events, each whole, cut and bytewise: no difference\n"
    )
