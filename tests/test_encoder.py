"""The encoder: what it makes, the parser reads back; what cannot be made is refused."""

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_sse.encoder import encode_comment, encode_event, encode_retry
from sansio_sse.event_stream import Comment, EventStreamParser, ServerSentEvent

MAX_RETRY = 2**63 - 1

# Lone surrogates are no text: they have a test of their own.
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
ONE_LINE = TEXT.filter(lambda text: "\r" not in text and "\n" not in text)
IDS = ONE_LINE.filter(lambda text: "\0" not in text)


def parse(stream: bytes) -> list[object]:
    return list(EventStreamParser(comments=True).feed(stream))


def test_data_alone() -> None:
    assert encode_event("hello") == b"data: hello\n\n"


def test_no_data_is_an_event_with_empty_data() -> None:
    assert encode_event() == b"data: \n\n"
    assert parse(encode_event()) == [ServerSentEvent()]


def test_all_fields() -> None:
    stream = encode_event("a", event="e", id="7", retry=10)
    assert stream == b"event: e\nid: 7\nretry: 10\ndata: a\n\n"
    assert parse(stream) == [ServerSentEvent("e", "a", "7", 10, True)]


@pytest.mark.parametrize("data", ["a\nb", "a\rb", "a\r\nb"])
def test_every_line_end_in_data_arrives_as_lf(data: str) -> None:
    assert encode_event(data) == b"data: a\ndata: b\n\n"


@pytest.mark.parametrize("data", ["", "\n", "a\n", "\na", " a", "a\n b", ": a", "\n\n\n", "\ufeff"])
def test_data_keeps_its_edges(data: str) -> None:
    assert parse(encode_event(data)) == [ServerSentEvent(data=data)]


@pytest.mark.parametrize(
    "text", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e"]
)
def test_what_other_splitters_take_for_line_ends_is_text(text: str) -> None:
    event = ServerSentEvent(f"e{text}f", f"a{text}b", f"c{text}d", None, True)
    assert parse(encode_event(event)) == [event]
    assert parse(encode_comment(text)) == [Comment(text)]


def test_the_default_type_is_not_written() -> None:
    assert encode_event("a", event="message") == encode_event("a", event="") == b"data: a\n\n"


def test_an_empty_id_is_written_and_none_is_not() -> None:
    assert encode_event("a", id="") == b"id: \ndata: a\n\n"
    assert parse(encode_event("a", id="")) == [ServerSentEvent(data="a", has_id=True)]


def test_an_event_is_written_without_an_id_it_inherited() -> None:
    assert encode_event(ServerSentEvent(data="a", id="7")) == b"data: a\n\n"
    assert encode_event(ServerSentEvent(data="a", id="7", has_id=True)) == b"id: 7\ndata: a\n\n"


@given(
    event=st.builds(
        ServerSentEvent,
        event=ONE_LINE.filter(bool),
        data=TEXT.filter(lambda text: "\r" not in text),
        id=IDS,
        retry=st.none() | st.integers(0, MAX_RETRY),
        has_id=st.just(True),
    )
)
def test_events_make_the_round_trip(event: ServerSentEvent) -> None:
    assert parse(encode_event(event)) == [event]


@given(TEXT)
def test_any_data_makes_the_round_trip_up_to_its_line_ends(data: str) -> None:
    expected = re.sub("\r\n|\r", "\n", data)
    assert parse(encode_event(data)) == [ServerSentEvent(data=expected)]


@given(TEXT)
def test_comments_make_the_round_trip_line_by_line(text: str) -> None:
    expected = re.split("\r\n|\r|\n", text)
    assert parse(encode_comment(text)) == [Comment(line) for line in expected]


@given(st.integers(0, MAX_RETRY))
def test_reconnection_times_make_the_round_trip(milliseconds: int) -> None:
    parser = EventStreamParser()
    assert list(parser.feed(encode_retry(milliseconds))) == []
    assert parser.retry == milliseconds


def test_a_comment() -> None:
    assert encode_comment() == b": \n\n"
    assert encode_comment("a\r\nb") == b": a\n: b\n\n"


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_line_ends_in_types_and_ids_are_refused(end: str) -> None:
    with pytest.raises(ValueError, match="event type must not contain a line end"):
        encode_event("a", event=f"x{end}data: smuggled")
    with pytest.raises(ValueError, match="id must not contain a line end"):
        encode_event("a", id=f"x{end}data: smuggled")


def test_nul_in_an_id_is_refused_and_elsewhere_it_is_not() -> None:
    with pytest.raises(ValueError, match="must not contain NUL"):
        encode_event("a", id="x\0")
    event = ServerSentEvent("e\0", "a\0")
    assert parse(encode_event(event)) == [event]


@pytest.mark.parametrize("milliseconds", [-1, MAX_RETRY + 1, 10**5000], ids=["-1", "2**63", "huge"])
def test_reconnection_times_out_of_range_are_refused(milliseconds: int) -> None:
    with pytest.raises(ValueError, match=re.escape("from 0 to 2**63 - 1 milliseconds")):
        encode_retry(milliseconds)
    with pytest.raises(ValueError, match=re.escape("from 0 to 2**63 - 1 milliseconds")):
        encode_event("a", retry=milliseconds)


def test_lone_surrogates_are_refused() -> None:
    makers: list[Callable[[], bytes]] = [
        lambda: encode_event("\ud800"),
        lambda: encode_event("a", event="\udfff"),
        lambda: encode_event("a", id="\ud800"),
        lambda: encode_comment("\ud800"),
    ]
    for make in makers:
        with pytest.raises(ValueError, match="lone surrogate") as caught:
            make()
        assert type(caught.value) is ValueError


def test_further_arguments_beside_an_event_are_refused() -> None:
    makers: list[Callable[[], bytes]] = [
        lambda: encode_event(ServerSentEvent(), event="e"),
        lambda: encode_event(ServerSentEvent(), id=""),
        lambda: encode_event(ServerSentEvent(), retry=0),
    ]
    for make in makers:
        with pytest.raises(ValueError, match="already has"):
            make()
