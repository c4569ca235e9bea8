"""The parser: what the standard says, whatever the cuts, within its limits."""

import json
import random
import tracemalloc
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

import event_stream_reference as reference
from event_stream_vectors import VECTORS, Vector, first_failure
from sansio_sse import event_stream
from sansio_sse.errors import EventTooLarge
from sansio_sse.event_stream import (
    Comment,
    EventStreamParser,
    LastEventIdChanged,
    ServerSentEvent,
)

MIB = 1024 * 1024


def bytewise(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def feed_all(parser: EventStreamParser, chunks: list[bytes]) -> list[object]:
    return [item for chunk in chunks for item in parser.feed(chunk)]


# The standard.


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_vector(vector: Vector) -> None:
    assert first_failure(event_stream, [vector]) is None


def test_vectors_agree_with_the_reference() -> None:
    for vector in VECTORS:
        reading = reference.read(vector.stream, vector.resumed_from)
        assert tuple(reading.events) == vector.events, vector.name
        assert reading.last_event_id == vector.last_event_id, vector.name
        assert (reading.retry, reading.gave_id) == (vector.retry, vector.gave_id), vector.name


def test_vector_names_are_unique() -> None:
    assert len({vector.name for vector in VECTORS}) == len(VECTORS)


@pytest.fixture
def everything_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small blocks take the way of large ones."""
    monkeypatch.setattr(event_stream, "_LARGE", 12)


@pytest.mark.usefixtures("everything_is_large")
def test_vectors_as_large_events() -> None:
    assert first_failure(event_stream) is None


@pytest.mark.usefixtures("everything_is_large")
def test_random_streams_as_large_events() -> None:
    reference.compare(150, seed=1)


def test_random_streams_equal_the_reference() -> None:
    reference.compare(200, seed=2)


FIELDS = st.sampled_from(["data", "event", "id", "retry", "", "foo", "dat", "data ", "\ufeffdata"])
VALUES = st.one_of(
    st.text(st.sampled_from("ab :0\0\u2028\x85\x0b\x0cé事🙂"), max_size=6),
    st.from_regex(r"[0-9]{1,25}", fullmatch=True),
    st.text(max_size=10).filter(lambda text: "\r" not in text and "\n" not in text),
)
LINES = st.one_of(
    st.builds(
        lambda name, colon, value: (name + colon + value).encode("utf-8", "replace"),
        FIELDS,
        st.sampled_from([":", ": ", ":", ": ", ""]),
        VALUES,
    ),
    st.just(b"data: same"),
    st.just(b"event: same\ndata: same"),
    st.just(b"id: 1\ndata: same"),
    st.just(b""),
    st.binary(max_size=8),
)
ENDS = st.sampled_from([b"\n", b"\r", b"\r\n", b"\n\n", b"\n\n", b"\r\n\r\n", b"\r\n\r\n", b""])
STREAMS = st.builds(
    lambda bom, parts: bom + b"".join(line + end for line, end in parts),
    st.sampled_from([b"", b"", b"\xef\xbb\xbf", b"\xef\xbb", b"\xef\xbb\xbf\n"]),
    st.lists(st.tuples(LINES, ENDS), max_size=25),
)


@given(STREAMS, st.sampled_from(["", "resumed"]), st.randoms(use_true_random=False))
def test_any_stream_in_any_cuts_equals_the_reference(
    stream: bytes, last_event_id: str, draw: random.Random
) -> None:
    expected = reference.read(stream, last_event_id)
    for chunks in ([stream], bytewise(stream), reference.random_cuts(draw, stream)):
        assert reference.parse(chunks, last_event_id) == expected


@given(STREAMS, st.integers(1, 80), st.randoms(use_true_random=False))
def test_the_limit_is_hit_at_the_same_place_however_the_stream_is_cut(
    stream: bytes, limit: int, draw: random.Random
) -> None:
    def outcome(chunks: list[bytes]) -> object:
        parser = EventStreamParser(max_event_size=limit, comments=True, ids=True)
        items = feed_all(parser, chunks)
        return items, parser.error is None, parser.last_event_id, parser.retry

    expected = outcome(bytewise(stream))
    assert outcome([stream]) == expected
    assert outcome(reference.random_cuts(draw, stream)) == expected


@given(st.binary(max_size=60))
def test_decoding_is_that_of_the_encoding_standard(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    assert reference.decode(data) == text.removeprefix("\ufeff")


# Interface.


def test_a_chunk_that_completes_nothing_gives_a_shared_empty_result() -> None:
    parser = EventStreamParser()
    assert parser.feed(b"data: ") is parser.feed(b"x")


def test_empty_chunks_are_harmless_anywhere() -> None:
    parser = EventStreamParser()
    chunks = [b"", b"\xef", b"", b"\xbb\xbf", b"", b"data: a\r", b"", b"\n", b"", b"\r", b"", b"\n"]
    assert feed_all(parser, chunks) == [ServerSentEvent(data="a")]


def test_items_stand_in_their_places() -> None:
    parser = EventStreamParser(comments=True, ids=True)
    stream = b": 1\ndata: a\n\n: 2\nid: x\n: 3\ndata: b\n\n: 4\n"
    expected = [
        Comment("1"),
        ServerSentEvent(data="a"),
        Comment("2"),
        Comment("3"),
        LastEventIdChanged("x"),
        ServerSentEvent(data="b", id="x", has_id=True),
        Comment("4"),
    ]
    assert list(parser.feed(stream)) == expected
    parser = EventStreamParser(comments=True, ids=True)
    assert feed_all(parser, bytewise(stream)) == expected


def test_comments_and_ids_are_left_out_unless_asked_for() -> None:
    parser = EventStreamParser()
    assert list(parser.feed(b": a\nid: 1\n\n: b\n\n")) == []
    assert (parser.comment_count, parser.last_event_id, parser.gave_id) == (2, "1", True)


def test_the_last_event_id_changes_as_the_block_completes() -> None:
    parser = EventStreamParser(last_event_id="before")
    parser.feed(b"id: after\ndata: x\n")
    assert (parser.last_event_id, parser.gave_id) == ("before", False)
    parser.feed(b"\n")
    assert (parser.last_event_id, parser.gave_id) == ("after", True)


def test_the_reconnection_time_changes_as_the_line_completes() -> None:
    parser = EventStreamParser()
    assert parser.retry is None
    parser.feed(b"data: x\nretry: 1")
    assert parser.retry is None
    parser.feed(b"0\n")
    assert parser.retry == 10
    assert parser.feed(b"\n") == [ServerSentEvent(data="x", retry=10)]


def test_an_event_is_immutable_and_hashable() -> None:
    one = ServerSentEvent(data="x")
    assert {one, ServerSentEvent(data="x")} == {one}
    with pytest.raises(AttributeError):
        setattr(one, one._fields[1], "y")


def test_json_of_an_event() -> None:
    assert ServerSentEvent(data='{"a": [1]}').json() == {"a": [1]}
    with pytest.raises(json.JSONDecodeError):
        ServerSentEvent(data="{").json()


def test_events_made_on_the_fast_ways_are_events() -> None:
    parser = EventStreamParser()
    for chunk in (
        b"data: a\n\n",
        b"data: a\n\n" * 3,
        b"data: a\n\n" * 300,
        b"data: a\ndata: b\n\n",
    ):
        assert all(type(item) is ServerSentEvent for item in parser.feed(chunk))


def test_a_limit_must_be_positive() -> None:
    with pytest.raises(ValueError, match="must be positive"):
        EventStreamParser(max_event_size=0)


# The limit.


def test_an_event_of_the_limit_passes_and_a_byte_more_does_not() -> None:
    for size in (1, 2, 50):
        line = b"data:" + b"x" * size
        limit = len(line) + 1
        for chunks in ([line + b"\n\n"], bytewise(line + b"\n\n"), [line, b"\n\n"]):
            parser = EventStreamParser(max_event_size=limit)
            assert len(feed_all(parser, chunks)) == 1
            parser = EventStreamParser(max_event_size=limit - 1)
            assert feed_all(parser, chunks) == []
            assert isinstance(parser.error, EventTooLarge)
            assert str(limit - 1) in str(parser.error)


def test_events_before_the_one_that_is_too_large_are_returned() -> None:
    parser = EventStreamParser(max_event_size=20)
    result = parser.feed(b"data: a\n\nid: 7\ndata: b\n\ndata: " + b"x" * 30 + b"\n\ndata: c\n\n")
    assert [item.data for item in result if isinstance(item, ServerSentEvent)] == ["a", "b"]
    assert parser.error is not None
    assert parser.last_event_id == "7"
    assert list(parser.feed(b"\r\ndata: d\n\n")) == []
    assert list(parser.feed(b"")) == []


def test_comments_do_not_count_and_their_lines_do() -> None:
    parser = EventStreamParser(max_event_size=20)
    for _ in range(100):
        parser.feed(b": keep-alive\n")
    assert parser.error is None
    parser.feed(b":" + b"x" * 25)
    assert parser.error is not None


def test_the_last_event_id_counts() -> None:
    parser = EventStreamParser(max_event_size=20)
    parser.feed(b"id: 0123456789\n\ndata: xxx\n\n")
    assert parser.error is None
    parser.feed(b"data: xxxx\n\n")
    assert parser.error is not None


def test_the_last_event_id_of_the_request_does_not_count() -> None:
    parser = EventStreamParser(last_event_id="x" * 100, max_event_size=20)
    assert len(parser.feed(b"data: x\n\n" * 20)) == 20
    assert len(parser.feed(b"data: x\ndata: y\n\n")) == 1
    assert parser.error is None


# Much.


def test_a_read_of_many_events() -> None:
    stream = b"event: e\ndata: abc\n\n" * 50_000
    parser = EventStreamParser()
    result = parser.feed(stream)
    assert len(result) == 50_000
    assert set(result) == {ServerSentEvent("e", "abc")}


@pytest.mark.parametrize("chunk", [65536, 3 * MIB])
def test_a_large_event_in_pieces(chunk: int) -> None:
    line = "0123456789abcdé" * 100
    stream = f"id: 1\nevent: big\nretry: 3\nretry: x\nid: \0\n: c\nfoo: {line}\n".encode()
    stream += f"data: {line}\ndata:{line}\ndata\ndata:  {line}\n".encode() * 150
    stream += b"\r\n: d\n\ndata: after\n\n"
    assert len(stream) > 700_000
    parser = EventStreamParser(comments=True)
    items = feed_all(parser, [stream[i : i + chunk] for i in range(0, len(stream), chunk)])
    data = "\n".join([line, line, "", " " + line] * 150)
    assert items == [
        Comment("c"),
        ServerSentEvent("big", data, "1", 3, True),
        Comment("d"),
        ServerSentEvent(data="after", id="1"),
    ]


@pytest.mark.parametrize("chunk", [65536, 3 * MIB])
def test_a_large_event_of_data_lines(chunk: int) -> None:
    stream = b"data: some line\n" * 30_000 + b"\ndata: after\n\n"
    parser = EventStreamParser()
    items = feed_all(parser, [stream[i : i + chunk] for i in range(0, len(stream), chunk)])
    assert items == [
        ServerSentEvent(data="\n".join(["some line"] * 30_000)),
        ServerSentEvent(data="after"),
    ]


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(b"event: e\ndata: a\n\n" * 1000, id="a run of another type"),
        pytest.param(b"event: e\ndata: a\n\ndata: b\n\n" * 500, id="two types in turn"),
        pytest.param(b"event: e\ndata: a\n\nevent: f\ndata: b\n\n" * 500, id="two other types"),
        pytest.param(b"event: e\ndata: a\n\n" + b"data: b\n\n" * 1500, id="one, then a run"),
        pytest.param(b"event: e\n" + b"data: aaaaaa\n" * 1000 + b"\n", id="one long event"),
        pytest.param(b"data: a\n\nid: 1\ndata: b\n\n" * 400, id="an id on every other"),
        pytest.param(b"id: 1\ndata: b\n\n: hm\n\n" * 400, id="comments between ids"),
        pytest.param(
            b"data: a\n\n" * 900 + b"event: e\ndata: b\n\n" * 900, id="a run, then another"
        ),
    ],
)
def test_a_long_read_of_events_of_several_kinds(stream: bytes) -> None:
    expected = reference.read(stream * 2)
    assert reference.parse([stream, stream]) == expected
    with_crlf = stream.replace(b"\n", b"\r\n")
    assert reference.parse([with_crlf, with_crlf]) == expected


def test_a_large_event_of_one_line() -> None:
    parser = EventStreamParser()
    chunks = [b"event: e\ndata: "] + [b"x" * 65536] * 40 + [b"\n", b"\nda", b"ta: y\n\n"]
    assert feed_all(parser, chunks) == [
        ServerSentEvent("e", "x" * 65536 * 40),
        ServerSentEvent(data="y"),
    ]


def test_a_large_block_without_data() -> None:
    parser = EventStreamParser(ids=True)
    chunks = [b"id: 5\nfoo: "] + [b"x" * 65536] * 20 + [b"\n\ndata: y\n\n"]
    assert feed_all(parser, chunks) == [LastEventIdChanged("5"), ServerSentEvent(data="y", id="5")]


def test_a_large_event_that_is_not_utf8() -> None:
    parser = EventStreamParser()
    chunks = [b"data: \xe4\xba"] + [b"x" * 65536] * 20 + [b"\n\n"]
    assert feed_all(parser, chunks) == [ServerSentEvent(data="\ufffd" + "x" * 65536 * 20)]


def test_a_text_that_would_be_too_wide_is_too_large() -> None:
    limit = 8 * MIB
    narrow = b"data: " + b"x" * (5 * MIB)
    wide = narrow + "🙂".encode()
    half_wide = narrow + "事".encode()
    for line, passes in ((narrow, True), (half_wide, True), (wide, False)):
        for chunk in (65536, 16 * MIB):
            parser = EventStreamParser(max_event_size=limit)
            stream = line + b"\n\ndata: y\n\n"
            events = feed_all(parser, [stream[i : i + chunk] for i in range(0, len(stream), chunk)])
            assert len(events) == (2 if passes else 0)
            assert (parser.error is None) is passes


# Memory. Peak memory, above what the test's own chunks need.


def peak_of(parser: EventStreamParser, chunks: Iterator[bytes]) -> int:
    tracemalloc.start()
    try:
        for chunk in chunks:
            parser.feed(chunk)
            if parser.error is not None:
                break
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def forever(*chunks: bytes, first: bytes = b"", size: int = 3 * MIB) -> Iterator[bytes]:
    yield first
    while size > 0:
        for chunk in chunks:
            yield chunk
            size -= len(chunk)


@pytest.mark.parametrize(
    ("stream", "stops"),
    [
        (lambda: forever(b"x" * 65536, first=b"data: "), True),
        (lambda: forever(b"data:x\n" * 9362), True),
        (lambda: forever(b"data:x\ndata: \n" * 4681), True),
        (lambda: forever(b"data\n" * 13107), True),
        (lambda: forever(b"event: x\n" * 7281), True),
        (lambda: forever(b"id: x\n" * 10922), True),
        (lambda: forever(b"retry: 1\n" * 7281), True),
        (lambda: forever(b"foo\n" * 16384), True),
        (lambda: forever("data: 🙂x\n".encode() * 5957), True),
        (lambda: forever(b"data: \xff\xff\xff\n" * 6553), True),
        (lambda: forever(b"x" * 65536, first=b":"), True),
        (lambda: forever(b":x\n" * 21845, size=MIB), False),
        (lambda: forever(b":\n" * 32768, b"data: x\n\n", size=MIB), False),
        (lambda: forever(b"\n" * 65536, size=MIB), False),
        (lambda: forever(b"\r\n" * 32768, size=MIB), False),
        (lambda: forever(b"\r" * 65536, size=MIB), False),
        (lambda: forever(b"data: x\n\n" * 7281), False),
    ],
)
def test_memory_is_bounded(stream: Callable[[], Iterator[bytes]], stops: bool) -> None:
    limit = MIB
    parser = EventStreamParser(max_event_size=limit)
    assert peak_of(parser, stream()) < 2 * limit + 2 * MIB
    assert (parser.error is not None) is stops


def test_memory_is_bounded_in_pieces_of_a_byte() -> None:
    limit = 50_000
    parser = EventStreamParser(max_event_size=limit)
    assert peak_of(parser, forever(*bytewise(b"data:x\n"), size=2 * limit)) < 2 * limit
    assert parser.error is not None


@pytest.mark.parametrize(
    "line", [b"data: " + b"x" * 1000, b"data:x", "data: 事".encode(), b"data: \xff"]
)
def test_memory_is_bounded_when_the_event_completes(line: bytes) -> None:
    limit = MIB
    count = (limit - 100) // (len(line) + 1)
    block = (line + b"\n") * (65536 // len(line))
    chunks = [block] * (count // (65536 // len(line))) + [b"\ndata: x\n\n"]
    parser = EventStreamParser(max_event_size=limit)
    assert peak_of(parser, iter(chunks)) < 2 * limit + MIB // 2
    assert parser.error is None


def test_memory_is_bounded_when_a_long_line_completes() -> None:
    limit = 32 * MIB
    parser = EventStreamParser(max_event_size=limit)
    chunks = forever(b"x" * 65536, first=b"data: ", size=31 * MIB)
    assert peak_of(parser, chunks) < 2 * limit
    assert peak_of(parser, iter([b"\n\n"])) < 2 * limit
    assert parser.error is None


def test_an_idle_parser_is_small() -> None:
    parsers = [EventStreamParser() for _ in range(1000)]
    for parser in parsers:
        parser.feed(b"event: e\ndata: a\n\n" * 3)
    tracemalloc.start()
    parsers = []
    for _ in range(1000):
        parser = EventStreamParser()
        for _ in range(4):
            parser.feed(b"event: e\ndata: a\n\n")
        parsers.append(parser)
    size = tracemalloc.get_traced_memory()[0] / 1000
    tracemalloc.stop()
    assert size < 400, size
