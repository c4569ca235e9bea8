"""Event streams and what they say: every clause of WHATWG HTML 9.2.5 and 9.2.6, each by a name.

The vectors know the parser's interface and nothing of its inside. :func:`first_failure` feeds each
of them whole, byte by byte, event by event, in every cut in two, and in random cuts.
"""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from event_stream_reference import BLOCK

Event = tuple[str, str, str, int | None, bool]


def event(
    data: str = "",
    kind: str = "message",
    id: str = "",
    retry: int | None = None,
    has_id: bool = False,
) -> Event:
    """Make an expected event."""
    return (kind, data, id, retry, has_id)


@dataclass(frozen=True)
class Vector:
    """A stream, and all that is to be seen of it."""

    name: str
    stream: bytes
    events: tuple[Event, ...]
    last_event_id: str = ""
    gave_id: bool = False
    retry: int | None = None
    comments: tuple[str, ...] = ()
    id_changes: tuple[str, ...] = ()
    resumed_from: str = ""
    # What is there before the last byte has come, for streams in which it must not be waited for.
    early: tuple[Event, ...] | None = None


def _v(name: str, stream: bytes, *events: Event, **more: Any) -> Vector:
    if more.get("id_changes"):
        more.setdefault("last_event_id", more["id_changes"][-1])
        more.setdefault("gave_id", True)
    return Vector(name, stream, events, **more)


LONG = "v" * 700  # longer than what is short to any parser

VECTORS: tuple[Vector, ...] = (
    # 9.2.5: the stream, its encoding and its lines.
    _v("nothing", b""),
    _v("blank lines are nothing", b"\n\n\n\n\n"),
    _v("blank lines of every kind are nothing", b"\r\r\n\n\r\r\n\r\n\n\r"),
    _v("lf ends lines", b"data: a\ndata: b\n\n", event("a\nb")),
    _v("cr ends lines", b"data: a\rdata: b\r\r", event("a\nb")),
    _v("crlf ends lines", b"data: a\r\ndata: b\r\n\r\n", event("a\nb")),
    _v("line ends may be mixed", b"data: a\rdata: b\n\r\ndata: c\r\n\n", event("a\nb"), event("c")),
    _v("crlf is one line end, not two", b"data: a\r\ndata: b\r\n\r\n", event("a\nb")),
    _v("lf cr is two line ends", b"data: a\n\rdata: b\n\r", event("a"), event("b")),
    _v("cr cr lf is two line ends", b"data: a\r\r\ndata: b\r\r\n", event("a"), event("b")),
    _v("cr crlf crlf", b"data: a\r\r\n\r\ndata: b\r\n\r\n", event("a"), event("b")),
    _v("a cr dispatches at once", b"data: a\n\r\n", event("a"), early=(event("a"),)),
    _v("a cr after crlf dispatches at once", b"data: a\r\n\r\n", event("a"), early=(event("a"),)),
    _v("a cr after cr dispatches at once", b"data: a\r\r\n", event("a"), early=(event("a"),)),
    _v("a cr ends a stream", b"data: a\r\n\r", event("a")),
    _v("after a cr only one lf is skipped", b"data: a\r\n\ndata: b\r\n\n", event("a"), event("b")),
    _v("crlf events in a row", b"data: a\r\n\r\n" * 9, *[event("a")] * 9),
    _v("cr events in a row", b"data: a\r\r" * 9, *[event("a")] * 9),
    _v(
        "crlf events, a lone cr in one",
        b"data: a\r\n\r\n" * 5 + b"data: b\rdata: c\r\n\r\n",
        *[event("a")] * 5,
        event("b\nc"),
    ),
    _v(
        "crlf events, a lone lf in one",
        b"data: a\r\n\r\n" * 5 + b"data: b\ndata: c\r\n\r\n",
        *[event("a")] * 5,
        event("b\nc"),
    ),
    _v(
        "crlf events, a lone lf and no field",
        b"data: a\r\n\r\n" * 5 + b"data: b\nc\r\n\r\n" * 3,
        *[event("a")] * 5,
        *[event("b")] * 3,
    ),
    _v(
        "lf events, then crlf events",
        b"data: a\n\n" * 4 + b"data: b\r\n\r\n" * 4,
        *[event("a")] * 4,
        *[event("b")] * 4,
    ),
    _v(
        "crlf events, then lf events",
        b"data: a\r\n\r\n" * 4 + b"data: b\n\n" * 4,
        *[event("a")] * 4,
        *[event("b")] * 4,
    ),
    _v(
        "lf events, a lone cr in one",
        b"data: a\n\n" * 4 + b"data: b\rdata: c\n\n",
        *[event("a")] * 4,
        event("b\nc"),
    ),
    _v("a bom is skipped", b"\xef\xbb\xbfdata: a\n\n", event("a")),
    _v("a bom, then a line end", b"\xef\xbb\xbf\ndata: a\n\n", event("a")),
    _v("a bom, then a cr", b"\xef\xbb\xbf\r\ndata: a\n\n", event("a")),
    _v("a bom, then a comment", b"\xef\xbb\xbf: a\n\n", comments=("a",)),
    _v("a bom alone", b"\xef\xbb\xbf"),
    _v("only one bom is skipped", b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\ndata: b\n\n", event("b")),
    _v("a bom later belongs to the name", b"data: a\n\n\xef\xbb\xbfdata: b\n\n", event("a")),
    _v("a bom in a value stays", b"data: \xef\xbb\xbfa\n\n", event("\ufeffa")),
    _v("half a bom is no bom", b"\xef\xbb\ndata: a\n\n", event("a")),
    _v("half a bom belongs to the name", b"\xef\xbbdata: a\n\ndata: b\n\n", event("b")),
    _v("a bom after a line end is no bom", b"\n\xef\xbb\xbfdata: a\n\ndata: b\n\n", event("b")),
    _v("utf-8 of every length", "data: aé事🙂\n\n".encode(), event("aé事🙂")),
    _v("utf-8 in a row", "data: 事件🙂\n\n".encode() * 6, *[event("事件🙂")] * 6),
    _v("a byte that is never utf-8", b"data: a\xffb\n\n", event("a\ufffdb")),
    _v("a continuation byte alone", b"data: a\x80b\n\n", event("a\ufffdb")),
    _v(
        "a sequence cut short by a line end",
        b"data: a\xe4\xba\n\ndata: b\n\n",
        event("a\ufffd"),
        event("b"),
    ),
    _v("a sequence cut short by ascii", b"data: \xf0\x9f\x99x\n\n", event("\ufffdx")),
    _v("a sequence cut short by a sequence", b"data: \xe4\xba\xe4\xba\x8b\n\n", event("\ufffd事")),
    _v("an overlong sequence", b"data: \xc0\xaf\n\n", event("\ufffd\ufffd")),
    _v("an overlong sequence of three", b"data: \xe0\x80\xaf\n\n", event("\ufffd\ufffd\ufffd")),
    _v("a surrogate", b"data: \xed\xa0\x80\n\n", event("\ufffd\ufffd\ufffd")),
    _v("beyond unicode", b"data: \xf4\x90\x80\x80\n\n", event("\ufffd\ufffd\ufffd\ufffd")),
    _v("a broken name is another name", b"dat\xffa: a\ndata: b\n\n", event("b")),
    _v(
        "the stream lives after a broken event",
        b"data: \xff\n\n" + b"data: a\n\n" * 3,
        event("\ufffd"),
        *[event("a")] * 3,
    ),
    _v(
        "a broken event between good ones",
        b"data: a\n\n" * 3 + b"data: \xff\n\n" + b"data: a\n\n" * 3,
        *[event("a")] * 3,
        event("\ufffd"),
        *[event("a")] * 3,
    ),
    _v(
        "what other splitters take for line ends",
        "data: a\x0bb\x0cc\x1cd\x1de\x1ef\x85g\u2028h\u2029i\n\n".encode(),
        event("a\x0bb\x0cc\x1cd\x1de\x1ef\x85g\u2028h\u2029i"),
    ),
    _v(
        "the same in names, ids and types",
        "event: a\u2028b\nid: c\x85d\ndata\x0b: x\ndata: y\n\n".encode(),
        event("y", "a\u2028b", "c\x85d", has_id=True),
        id_changes=("c\x85d",),
    ),
    _v("nul in data and type", b"event: a\0\ndata: b\0\n\n", event("b\0", "a\0")),
    # 9.2.6: fields.
    _v("one space after the colon is dropped", b"data: a\n\n", event("a")),
    _v("no space after the colon", b"data:a\n\n", event("a")),
    _v("no space after the colon, in a row", b"data:a\n\n" * 5, *[event("a")] * 5),
    _v("only one space is dropped", b"data:  a\n\n" * 4, *[event(" a")] * 4),
    _v("no space after the colon may end in spaces", b"data:a  \n\n", event("a  ")),
    _v("a tab is not a space", b"data:\ta\n\n", event("\ta")),
    _v(
        "with and without space in a row",
        b"data: a\n\ndata:b\n\ndata: c\n\ndata:d\n\n",
        event("a"),
        event("b"),
        event("c"),
        event("d"),
    ),
    _v("the first colon counts", b"data: a: b:c\n\n", event("a: b:c")),
    _v("names are case-sensitive", b"Data: a\nDATA: b\ndata: c\n\n", event("c")),
    _v("a space before the colon belongs to the name", b"data : a\ndata: b\n\n", event("b")),
    _v("a space before the name belongs to it", b" data: a\ndata: b\n\n", event("b")),
    _v("unknown fields are ignored", b"foo: a\ndata: b\nbar\n\n", event("b")),
    _v(
        "names that begin like others",
        b"datax: a\ndata-: b\nidx: 1\nretryx: 1\neventx: c\ndata: d\n\n",
        event("d"),
    ),
    _v("names that others begin with", b"dat: a\ni: 1\nretr: 1\nevent\ndata: d\n\n", event("d")),
    _v("comments are ignored", b": a\ndata: b\n:c\n\n", event("b"), comments=("a", "c")),
    _v("a comment alone is no event", b": a\n\n", comments=("a",)),
    _v("comments are seen as their lines end", b"data: b\n: a\n: c\n", comments=("a", "c")),
    _v("an empty comment", b":\n\n:\n", comments=("", "")),
    _v("a comment drops one space", b":  a\n", comments=(" a",)),
    _v("a comment that looks like a field", b":data: a\n\n", comments=("data: a",)),
    _v(
        "comments between events",
        b"data: a\n\n: x\n\ndata: b\n\n: y\n\n" * 3,
        *[event("a"), event("b")] * 3,
        comments=("x", "y") * 3,
    ),
    _v(
        "comments inside events",
        b"data: a\n: x\ndata: b\n\n" * 3,
        *[event("a\nb")] * 3,
        comments=("x",) * 3,
    ),
    _v(
        "comments before a block ends",
        b"data: a\n\nid: 1\n: x\nevent: e\n: y\ndata: b\n\n",
        event("a"),
        event("b", "e", "1", has_id=True),
        comments=("x", "y"),
        id_changes=("1",),
    ),
    _v("an incomplete comment is none", b"data: a\n\n: x", event("a")),
    # data
    _v("an event", b"data: a\n\n", event("a")),
    _v("data lines are joined by lf", b"data: a\ndata: b\ndata: c\n\n", event("a\nb\nc")),
    _v("data lines in a row", b"data: a\ndata: b\n\n" * 5, *[event("a\nb")] * 5),
    _v("data lines without space", b"data:a\ndata:b\n\n" * 5, *[event("a\nb")] * 5),
    _v(
        "data lines, some without space",
        b"data: a\ndata:b\ndata: c\n\n" * 4,
        *[event("a\nb\nc")] * 4,
    ),
    _v("data lines with two spaces", b"data: a\ndata:  b\n\n" * 4, *[event("a\n b")] * 4),
    _v("data lines with crlf", b"data: a\r\ndata: b\r\n\r\n" * 5, *[event("a\nb")] * 5),
    _v("empty data is an event", b"data:\n\n", event("")),
    _v("empty data with a space is an event", b"data: \n\n" * 3, *[event("")] * 3),
    _v("data without colon is an event", b"data\n\n" * 3, *[event("")] * 3),
    _v("two empty data lines are a line feed", b"data\ndata:\n\n", event("\n")),
    _v(
        "empty data lines count",
        b"data: a\ndata\ndata: \ndata: b\n\n" * 3,
        *[event("a\n\n\nb")] * 3,
    ),
    _v("an empty data line at the end counts", b"data: a\ndata:\n\n", event("a\n")),
    _v("no data, no event", b"event: a\n\ndata: b\n\n", event("b")),
    _v(
        "data with other fields between",
        b"data: a\nevent: e\ndata: b\n\n" * 3,
        *[event("a\nb", "e")] * 3,
    ),
    _v(
        "data that looks like a field",
        b"data: data: a\n\ndata: event: b\n\n",
        event("data: a"),
        event("event: b"),
    ),
    _v("an incomplete event is none", b"data: a\n\ndata: b\n", event("a")),
    _v("an incomplete line is none", b"data: a\n\ndata: b", event("a")),
    _v("long data", f"data: {LONG}\n\n".encode() * 4, *[event(LONG)] * 4),
    _v(
        "long data of several lines",
        f"data: {LONG}\ndata: x\n\n".encode() * 3,
        *[event(LONG + "\nx")] * 3,
    ),
    _v(
        "long data, crlf, a lone lf",
        f"data: {LONG}\r\n\r\n".encode() * 3 + f"data: {LONG}\nfoo\r\n\r\n".encode(),
        *[event(LONG)] * 4,
    ),
    _v(
        "long data, lf, a lone cr",
        f"data: {LONG}\n\n".encode() * 3 + f"data: {LONG}\rfoo\n\n\r\n\r\n".encode(),
        *[event(LONG)] * 4,
    ),
    # event
    _v("a type", b"event: e\ndata: a\n\n", event("a", "e")),
    _v("a type in a row", b"event: e\ndata: a\n\n" * 6, *[event("a", "e")] * 6),
    _v("a type without space", b"event:e\ndata: a\n\n" * 4, *[event("a", "e")] * 4),
    _v("a type is for one event", b"event: e\ndata: a\n\ndata: b\n\n", event("a", "e"), event("b")),
    _v("a type does not outlive an empty event", b"event: e\n\ndata: b\n\n", event("b")),
    _v(
        "a type after a run of it",
        b"event: e\ndata: a\n\n" * 5 + b"data: b\n\n",
        *[event("a", "e")] * 5,
        event("b"),
    ),
    _v(
        "a type without space, then none",
        b"event:e\ndata: a\n\nevent:e\ndata: a\n\ndata: b\n\ndata: b\n\n",
        event("a", "e"),
        event("a", "e"),
        event("b"),
        event("b"),
    ),
    _v("the last type counts", b"event: e\nevent: f\ndata: a\n\n" * 3, *[event("a", "f")] * 3),
    _v(
        "an empty type is a message",
        b"event:\ndata: a\n\nevent: \ndata: b\n\nevent\ndata: c\n\n",
        event("a"),
        event("b"),
        event("c"),
    ),
    _v("an empty type takes back another", b"event: e\nevent\ndata: a\n\n" * 3, *[event("a")] * 3),
    _v("a type after the data", b"data: a\nevent: e\n\n" * 4, *[event("a", "e")] * 4),
    _v(
        "types that alternate",
        b"event: e\ndata: a\n\nevent: f\ndata: b\n\n" * 4,
        *[event("a", "e"), event("b", "f")] * 4,
    ),
    _v(
        "types and none that alternate",
        b"event: e\ndata: a\n\ndata: b\n\n" * 4,
        *[event("a", "e"), event("b")] * 4,
    ),
    _v("the type message", b"event: message\ndata: a\n\n" * 4, *[event("a")] * 4),
    _v("a type with spaces", b"event:  e \ndata: a\n\n" * 4, *[event("a", " e ")] * 4),
    _v("a type with crlf", b"event: e\r\ndata: a\r\n\r\n" * 6, *[event("a", "e")] * 6),
    # id
    _v("an id", b"id: 1\ndata: a\n\n", event("a", id="1", has_id=True), id_changes=("1",)),
    _v(
        "an id stays",
        b"id: 1\ndata: a\n\ndata: b\n\n",
        event("a", id="1", has_id=True),
        event("b", id="1"),
        id_changes=("1",),
    ),
    _v(
        "an id stays in a run",
        b"data: a\n\n" * 4 + b"id: 1\ndata: b\n\n" + b"data: c\n\n" * 4,
        *[event("a")] * 4,
        event("b", id="1", has_id=True),
        *[event("c", id="1")] * 4,
        id_changes=("1",),
    ),
    _v(
        "ids in a row",
        b"".join(b"id: %d\ndata: a\n\n" % i for i in range(6)),
        *[event("a", id=str(i), has_id=True) for i in range(6)],
        id_changes=tuple("012345"),
    ),
    _v(
        "ids and types in a row",
        b"".join(b"event: e\nid: %d\ndata: a\n\n" % i for i in range(6)),
        *[event("a", "e", str(i), has_id=True) for i in range(6)],
        id_changes=tuple("012345"),
    ),
    _v(
        "ids before types in a row",
        b"".join(b"id: %d\nevent: e\ndata: a\n\n" % i for i in range(6)),
        *[event("a", "e", str(i), has_id=True) for i in range(6)],
        id_changes=tuple("012345"),
    ),
    _v(
        "ids with crlf in a row",
        b"".join(b"id: %d\r\nevent: e\r\ndata: a\r\n\r\n" % i for i in range(6)),
        *[event("a", "e", str(i), has_id=True) for i in range(6)],
        id_changes=tuple("012345"),
    ),
    _v(
        "ids with crlf, a lone lf in one",
        b"id: 1\r\ndata: a\r\n\r\nid: 2\r\ndata: a\r\n\r\n"
        b"id: 3\nfoo\r\ndata: a\r\n\r\nid: 4\r\ndata: b\nc\r\n\r\n",
        *[event("a", id=i, has_id=True) for i in "123"],
        event("b", id="4", has_id=True),
        id_changes=tuple("1234"),
    ),
    _v(
        "ids in a row, then other events",
        b"id: 1\ndata: a\n\n" * 4 + b"data: b\n\nevent: e\ndata: c\n\n",
        *[event("a", id="1", has_id=True)] * 4,
        event("b", id="1"),
        event("c", "e", "1"),
        id_changes=("1",),
    ),
    _v(
        "ids in a row, one event of two lines",
        b"id: 1\ndata: a\n\n" * 3 + b"id: 2\ndata: b\ndata: c\n\n",
        *[event("a", id="1", has_id=True)] * 3,
        event("b\nc", id="2", has_id=True),
        id_changes=("1", "2"),
    ),
    _v(
        "the same id again",
        b"id: 1\ndata: a\n\n" * 2,
        *[event("a", id="1", has_id=True)] * 2,
        id_changes=("1",),
    ),
    _v("an id without data counts", b"id: 1\n\n", id_changes=("1",)),
    _v(
        "an id without data counts for what follows",
        b"id: 1\n\ndata: a\n\n",
        event("a", id="1"),
        id_changes=("1",),
    ),
    _v(
        "an id without data among ids",
        b"id: 1\ndata: a\n\n" * 3 + b"id: 2\n\n",
        *[event("a", id="1", has_id=True)] * 3,
        id_changes=("1", "2"),
    ),
    _v(
        "an id in an incomplete block does not count",
        b"id: 1\ndata: a\n\nid: 2\ndata: b\n",
        event("a", id="1", has_id=True),
        id_changes=("1",),
    ),
    _v(
        "an id after the data",
        b"data: a\nid: 1\n\n" * 3,
        *[event("a", id="1", has_id=True)] * 3,
        id_changes=("1",),
    ),
    _v(
        "the last id counts",
        b"id: 1\nid: 2\ndata: a\n\n" * 3,
        *[event("a", id="2", has_id=True)] * 3,
        id_changes=("2",),
    ),
    _v(
        "an empty id takes it back",
        b"id: 1\ndata: a\n\nid\ndata: b\n\n",
        event("a", id="1", has_id=True),
        event("b", id="", has_id=True),
        id_changes=("1", ""),
    ),
    _v(
        "an empty id with a space",
        b"id: 1\ndata: a\n\n" * 3 + b"id: \ndata: b\n\n",
        *[event("a", id="1", has_id=True)] * 3,
        event("b", id="", has_id=True),
        id_changes=("1", ""),
    ),
    _v(
        "an empty id where there was none",
        b"id:\ndata: a\n\n",
        event("a", has_id=True),
        gave_id=True,
    ),
    _v(
        "an id without space",
        b"id:1\ndata: a\n\n" * 3,
        *[event("a", id="1", has_id=True)] * 3,
        id_changes=("1",),
    ),
    _v(
        "an id keeps its spaces",
        b"id:  1 \ndata: a\n\n",
        event("a", id=" 1 ", has_id=True),
        id_changes=(" 1 ",),
    ),
    _v("an id with nul is ignored", b"id: a\0b\ndata: a\n\n", event("a")),
    _v("an id without space with nul is ignored", b"id:a\0b\ndata: a\n\n", event("a")),
    _v(
        "an id with nul takes nothing back",
        b"id: 1\nid: a\0b\ndata: a\n\n",
        event("a", id="1", has_id=True),
        id_changes=("1",),
    ),
    _v(
        "an id with nul in a row of ids",
        b"id: 1\ndata: a\n\n" * 3 + b"id: \0\ndata: b\n\nid: 2\ndata: c\n\n",
        *[event("a", id="1", has_id=True)] * 3,
        event("b", id="1"),
        event("c", id="2", has_id=True),
        id_changes=("1", "2"),
    ),
    _v(
        "an id that is not ascii",
        "id: 事🙂\ndata: a\n\n".encode(),
        event("a", id="事🙂", has_id=True),
        id_changes=("事🙂",),
    ),
    _v(
        "a resumed stream keeps its id",
        b"data: a\n\n",
        event("a", id="r"),
        resumed_from="r",
        last_event_id="r",
    ),
    _v(
        "a resumed stream keeps its id until another",
        b"data: a\n\nid: 1\ndata: b\n\n",
        event("a", id="r"),
        event("b", id="1", has_id=True),
        resumed_from="r",
        id_changes=("1",),
    ),
    _v(
        "a resumed stream that repeats its id",
        b"id: r\ndata: a\n\n",
        event("a", id="r", has_id=True),
        resumed_from="r",
        last_event_id="r",
        gave_id=True,
    ),
    _v(
        "long ids",
        f"id: {LONG}\ndata: a\n\n".encode() * 3,
        *[event("a", id=LONG, has_id=True)] * 3,
        id_changes=(LONG,),
    ),
    # retry
    _v("a reconnection time", b"retry: 10\ndata: a\n\n", event("a", retry=10), retry=10),
    _v("a reconnection time without space", b"retry:10\n\n", retry=10),
    _v("a reconnection time takes effect at its line", b"retry: 10\n", retry=10),
    _v(
        "a reconnection time takes effect inside an event",
        b"data: a\nretry: 10\ndata: b\n",
        retry=10,
    ),
    _v("a reconnection time of an incomplete line is none", b"retry: 10"),
    _v(
        "a reconnection time is for one event",
        b"retry: 10\ndata: a\n\ndata: b\n\n",
        event("a", retry=10),
        event("b"),
        retry=10,
    ),
    _v(
        "a reconnection time does not outlive an empty event",
        b"retry: 10\n\ndata: b\n\n",
        event("b"),
        retry=10,
    ),
    _v(
        "the last reconnection time counts",
        b"retry: 10\nretry: 20\ndata: a\n\n",
        event("a", retry=20),
        retry=20,
    ),
    _v(
        "an invalid reconnection time takes nothing back",
        b"retry: 10\nretry: x\ndata: a\n\n",
        event("a", retry=10),
        retry=10,
    ),
    _v("no reconnection time at all", b"retry:\nretry\nretry: \ndata: a\n\n", event("a")),
    _v(
        "a reconnection time has digits only",
        b"retry: -1\nretry: +1\nretry: 1.5\nretry: 1e3\nretry: 0x1\n"
        b"retry: 1_0\nretry: 1 \nretry:  1\nretry: 1\0\n\n",
    ),
    _v(
        "a reconnection time has ascii digits only",
        "retry: \uff11\uff12\nretry: ٣\nretry: ²\n\n".encode(),
    ),
    _v("a reconnection time of zero", b"retry: 0\ndata: a\n\n", event("a", retry=0), retry=0),
    _v(
        "a reconnection time with zeros in front",
        b"retry: 0010\ndata: a\n\n",
        event("a", retry=10),
        retry=10,
    ),
    _v("a reconnection time beyond all bounds", b"retry: 9" + b"9" * 30 + b"\n\n", retry=2**63 - 1),
    _v(
        "a reconnection time just beyond bounds", b"retry: 9223372036854775808\n\n", retry=2**63 - 1
    ),
    _v(
        "a reconnection time of very many digits",
        b"retry: " + b"9" * 5000 + b"\n\n",
        retry=2**63 - 1,
    ),
    _v(
        "a reconnection time just within bounds", b"retry: 9223372036854775807\n\n", retry=2**63 - 1
    ),
    _v("a reconnection time with very many zeros", b"retry: " + b"0" * 5000 + b"7\n\n", retry=7),
    _v(
        "a reconnection time in a run of events",
        b"data: a\n\n" * 3 + b"retry: 5\ndata: b\n\n" + b"data: a\n\n" * 3,
        *[event("a")] * 3,
        event("b", retry=5),
        *[event("a")] * 3,
        retry=5,
    ),
    # What can only go wrong in a run of events that look alike.
    _v(
        "a run that is interrupted",
        b"event: e\ndata: a\n\n" * 40 + b"event: f\ndata: b\n\n" + b"event: e\ndata: c\n\n" * 40,
        *[event("a", "e")] * 40,
        event("b", "f"),
        *[event("c", "e")] * 40,
    ),
    _v(
        "a run with blank lines between",
        b"data: a\n\n\n" * 4 + b"data: b\n\n\n\n" * 3,
        *[event("a")] * 4,
        *[event("b")] * 3,
    ),
    _v(
        "a run with other fields behind the data",
        b"data: a\n\n" * 4 + b"data: b\nevent: e\n\ndata: c\nfoo\n\n",
        *[event("a")] * 4,
        event("b", "e"),
        event("c"),
    ),
    _v(
        "data that looks like the end of a run",
        b"event: e\ndata: a\n\n" * 3 + b"event: e\ndata: event: e\ndata: data: x\n\n",
        *[event("a", "e")] * 3,
        event("event: e\ndata: x", "e"),
    ),
    _v(
        "long events with ids",
        f"event: e\nid: 1\ndata: {LONG}\n\n".encode() * 4,
        *[event(LONG, "e", "1", has_id=True)] * 4,
        id_changes=("1",),
    ),
    _v(
        "a block of many kinds",
        b"retry: 7\n: c\nid: 1\nevent: e\ndata: a\nfoo\ndata\n\n" * 3,
        *[event("a\n", "e", "1", 7, True)] * 3,
        retry=7,
        comments=("c",) * 3,
        id_changes=("1",),
    ),
)


def ways(stream: bytes) -> Iterator[list[bytes]]:
    """Whole, byte by byte, event by event, cut in two everywhere, and cut at random."""
    yield [stream]
    yield BLOCK.findall(stream)
    yield [stream[i : i + 1] for i in range(len(stream))]
    if len(stream) < 1500:
        for i in range(1, len(stream)):
            yield [stream[:i], stream[i:]]
    draw = random.Random(len(stream))
    for count in (1, 2, 3, 5, 8, 13):
        cuts = sorted(draw.randrange(len(stream) + 1) for _ in range(count))
        yield [stream[i:j] for i, j in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


def failure(module: ModuleType, vector: Vector, chunks: Iterable[bytes]) -> str | None:
    """Feed one vector in one way; say what is wrong, or None."""
    make = module.EventStreamParser
    full = make(last_event_id=vector.resumed_from, comments=True, ids=True)
    plain = make(last_event_id=vector.resumed_from)
    items: list[Any] = []
    plain_events: list[Event] = []
    for chunk in chunks:
        items += full.feed(chunk)
        plain_events += [tuple(item) for item in plain.feed(chunk)]
    events = tuple(tuple(i) for i in items if isinstance(i, module.ServerSentEvent))
    if events != vector.events:
        return f"events {events!r}"
    if tuple(plain_events) != vector.events:
        return f"events without comments and ids {plain_events!r}"
    for parser in (full, plain):
        seen = (
            parser.last_event_id,
            parser.gave_id,
            parser.retry,
            parser.comment_count,
            parser.error,
        )
        if seen != (vector.last_event_id, vector.gave_id, vector.retry, len(vector.comments), None):
            return f"last id, gave id, retry, comments, error {seen!r}"
    comments = tuple(i.text for i in items if isinstance(i, module.Comment))
    if comments != vector.comments:
        return f"comments {comments!r}"
    changes = tuple(i.id for i in items if isinstance(i, module.LastEventIdChanged))
    if changes != vector.id_changes:
        return f"id changes {changes!r}"
    return None


def first_failure(module: ModuleType, vectors: Iterable[Vector] = VECTORS) -> str | None:
    """Feed the vectors in all ways; say what is the first to go wrong, or None."""
    for vector in vectors:
        for chunks in ways(vector.stream):
            try:
                problem = failure(module, vector, chunks)
            except Exception as error:
                problem = repr(error)
            if problem is not None:
                return f"{vector.name}: fed {chunks!r}, {problem}"[:2000]
        if vector.early is not None:
            parser = module.EventStreamParser()
            found = tuple(tuple(item) for item in parser.feed(vector.stream[:-1]))
            if found != vector.early:
                return f"{vector.name}: before the last byte {found!r}"
    return None
