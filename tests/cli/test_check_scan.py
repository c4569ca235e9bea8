"""What is noticed in the bytes of a stream, and what is kept of a reception."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_sse import ConnectionLost, EventStreamParser, Request, ServerSentEvent
from sansio_sse_cli.checking.reception import PAUSE, Reception
from sansio_sse_cli.checking.scan import MAX_LINE, MAX_LINES, Place, StreamScan

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CLOSE = HEAD + b"\r\n"
REQUEST = Request("GET", "http://example.com/events")


def scanned(*pieces: bytes) -> StreamScan:
    scan = StreamScan()
    for piece in pieces:
        scan.feed(piece)
    return scan


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (b"", Place.BETWEEN),
        (b": hello\n", Place.BETWEEN),
        (b"data: x\n\n", Place.BETWEEN),
        (b"data: x\r\n\r\n", Place.BETWEEN),
        (b"data: x\r\n\r", Place.BETWEEN),
        (b"data: x\n", Place.LINES),
        (b"data: x\n: hello\n", Place.LINES),
        (b"data: x\n\ndata", Place.WITHIN),
        (b"\xef\xbb", Place.WITHIN),
    ],
)
def test_it_knows_where_a_stream_stands(data: bytes, place: Place) -> None:
    assert scanned(data).place is place


def test_line_ends_are_counted_also_where_a_read_ends_between_cr_and_lf() -> None:
    scan = scanned(b"data: x\r", b"\n\r\n", b": a\n", b": b\r", b": c\n")
    assert scan.line_ends == {"CRLF": 2, "LF": 2, "CR": 1}


def test_a_byte_order_mark_is_no_part_of_a_field() -> None:
    scan = scanned(b"\xef\xbb", b"\xbfdata: x\n\n")
    assert scan.bom
    assert not scan.unknown


def test_what_is_not_as_it_should_be_is_counted() -> None:
    scan = scanned(b"id: a\0b\nretry: soon\nretry:5\ndata: \xff\nDATA: x\ncolour\n\n")
    assert (scan.ids_with_nul, scan.bad_retries, scan.not_utf8) == (1, 1, 1)
    assert scan.unknown == {"DATA": 1, "colour": 1}
    assert scan.retry == 5


def test_the_names_of_unknown_fields_are_few_and_short() -> None:
    scan = scanned(b"".join(b"%d%s: x\n" % (n, b"x" * 1000) for n in range(100)))
    assert len(scan.unknown) == 10
    assert max(map(len, scan.unknown)) == 100


def test_of_an_endless_line_only_the_beginning_is_kept() -> None:
    scan = StreamScan()
    for _ in range(64):
        scan.feed(b"x" * 65536)
    assert scan.longest_line == 4 * MAX_LINE
    assert len(scan._line) == MAX_LINE
    scan.feed(b"x\n")
    assert scan.too_large


def test_heartbeats_in_a_row_are_the_same_but_for_digits() -> None:
    scan = scanned(b": ping 12:00:01\n\n: ping 12:00:16\n\n: hello\n\n: ping 12:00:31\n\n")
    assert scan.heartbeats_at_once == 2
    scan.new_lump()
    assert scan.heartbeats_at_once == 0


LINES = st.sampled_from(
    [
        b"data: x",
        b"data: \xff",
        b"id: 1",
        b"id: a\0",
        b": c",
        b"",
        b"",
        b"odd: 1",
        b"retry: 7",
        b"data",
    ]
)
ENDS = st.sampled_from([b"\n", b"\r", b"\r\n"])


@given(st.lists(st.tuples(LINES, ENDS)), st.booleans(), st.data())
def test_a_stream_is_the_same_however_it_is_cut(
    lines: list[tuple[bytes, bytes]], bom: bool, data: st.DataObject
) -> None:
    stream = b"\xef\xbb\xbf" * bom + b"".join(line + end for line, end in lines)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=8).map(sorted))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    whole, cut, events = StreamScan(), StreamScan(), list[ServerSentEvent]()
    expected = whole.feed(stream)
    for piece in pieces:
        events += cut.feed(piece)
    assert events == expected == list(EventStreamParser().feed(stream))
    for name in ("size", "bom", "not_utf8", "ids_with_nul", "bad_retries", "unknown"):
        assert getattr(cut, name) == getattr(whole, name)
    for name in ("longest_line", "heartbeats_at_once", "place", "retry", "comments"):
        assert getattr(cut, name) == getattr(whole, name)
    assert +cut.line_ends == +whole.line_ends


# --- Receptions --------------------------------------------------------------------------------


def received(*news: tuple[float, bytes], enough: int | None = None) -> Reception:
    reception = Reception(REQUEST, began=0.0, enough=enough)
    reception.opened(0.01)
    for at, data in news:
        reception.receive(at, data)
    return reception


def test_what_comes_without_a_pause_is_one_lump() -> None:
    reception = received(
        (1.0, CLOSE), (2.0, b"data: 1\n"), (2.0 + PAUSE / 2, b"\n"), (3.0, b": c\n\ndata: 2\n\nda")
    )
    first, second = reception.lumps
    assert (first.size, first.events, first.comments, first.place) == (9, 1, 0, Place.BETWEEN)
    assert (second.size, second.events, second.comments, second.place) == (16, 1, 1, Place.WITHIN)
    assert reception.longest_silence == pytest.approx(1.0, abs=0.1)


def test_it_is_over_where_http_says_so() -> None:
    reception = received((1.0, HEAD + b"Content-Length: 9\r\n\r\n"), (1.5, b"data: x\n\n"))
    assert reception.done
    assert reception.ended
    assert reception.framing == "length"


def test_it_is_over_when_there_is_enough() -> None:
    reception = received((1.0, CLOSE + b"data: 1\n\ndata: 2\n\ndata: 3\n\n"), enough=2)
    assert reception.left
    assert not reception.full


def test_a_cut_is_no_end() -> None:
    reception = received((1.0, HEAD + b"Transfer-Encoding: chunked\r\n\r\n9\r\ndata"))
    reception.end(2.0)
    assert not reception.ended
    assert reception.error is not None


def test_news_after_the_end_is_ignored() -> None:
    reception = received((1.0, CLOSE))
    reception.end(2.0)
    reception.receive(3.0, b"data: x\n\n")
    reception.fail(3.0, ConnectionLost("late"))
    reception.leave(3.0)
    reception.end(3.0)
    assert (reception.over_at, reception.events, reception.error) == (2.0, [], None)


def test_what_is_no_stream_is_not_listened_to() -> None:
    reception = received((1.0, b"HTTP/1.1 404 Not Found\r\n\r\n<html>"))
    assert reception.done
    assert not reception.streams


def test_compression_is_undone_and_a_bomb_is_not() -> None:
    head = HEAD + b"Content-Encoding: gzip\r\n\r\n"
    packer = zlib.compressobj(wbits=31)
    data = packer.compress(b"data: x\n\n") + packer.flush(zlib.Z_SYNC_FLUSH)
    assert len(received((1.0, head), (2.0, data)).events) == 1
    bomb = zlib.compress(bytes(64 * 1024 * 1024), wbits=31)
    reception = received((1.0, head), (2.0, bomb))
    assert reception.error is not None
    assert reception.scan.size < 17 * 1024 * 1024


def test_an_unknown_compression_is_an_error() -> None:
    assert received((1.0, HEAD + b"Content-Encoding: br\r\n\r\n")).error is not None


def test_what_is_held_is_bounded() -> None:
    reception = received((1.0, CLOSE))
    many = b"data: x\n\n" * 1000
    at = 1.0
    while not reception.done:
        at += 1.0
        reception.receive(at, many)
    assert reception.full
    assert len(reception.events) < 22_000


def test_a_flood_of_lines_is_not_looked_at_to_its_end() -> None:
    reception = received((1.0, CLOSE), (2.0, b"\n" * 1_000_000))
    assert reception.full
    assert reception.scan.line_ends["LF"] == MAX_LINES
