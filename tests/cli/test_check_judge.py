"""From what came, and when, to findings: by examples and properties, in virtual time."""

import json
import random
import re
import time
import zlib
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_sse import ConnectError, InsecureRedirect, Request, TLSError
from sansio_sse_cli.checking.findings import CHECKS, Finding, Severity, by_severity
from sansio_sse_cli.checking.judge import Facts, judge, unreachable
from sansio_sse_cli.checking.lumps import judge_buffering
from sansio_sse_cli.checking.reception import Reception, TLSFacts
from sansio_sse_cli.checking.report import Report
from sansio_sse_cli.checking.resumption import choose_cursor
from sansio_sse_cli.terminal import Paint, escape
from tree import ROOT

OK, INFO, UNKNOWN = Severity.OK, Severity.INFO, Severity.UNKNOWN
WARNING, PROBLEM = Severity.WARNING, Severity.PROBLEM

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/event-stream\r\n"
GOOD = CHUNKED + b"Cache-Control: no-store\r\n\r\n"
DAY = 86400.0

PAGE = ROOT / "docs" / "howto" / "check-a-server.md"

Timed = tuple[float, bytes]


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data) if data else b""


def heard(
    pieces: Iterable[Timed] = (),
    *,
    head: bytes = GOOD,
    head_at: float = 0.1,
    until: float | None = 10.0,
    url: str = "http://example.com/events",
    tls: TLSFacts | None = None,
    opening: float = 0.001,
    cut: bool = False,
) -> Reception:
    """A reception of a body in chunks: left at a time, or ended by the server if there is none.

    ``cut``: or cut where it is.
    """
    reception = Reception(Request("GET", url), began=0.0)
    reception.opened(opening, tls)
    reception.receive(head_at, head)
    at = head_at
    for at, data in pieces:
        reception.receive(at, chunk(data))
    if cut:
        reception.end(at)
    elif until is None:
        reception.receive(at, b"0\r\n\r\n")
    else:
        reception.leave(until)
    return reception


def event(number: int, data: str = "x") -> bytes:
    return f"id: {number}\ndata: {data}\n\n".encode()


def steady(first: int = 1, last: int = 9, pace: float = 1.0) -> list[Timed]:
    return [(1.0 + pace * (n - first), event(n)) for n in range(first, last + 1)]


def findings(reception: Reception, **more: object) -> dict[str, Finding]:
    facts = Facts(duration=10.0, now=0.0, heard=reception)
    for name, value in more.items():
        setattr(facts, name, value)
    found = judge(facts)
    assert len({finding.id for finding in found}) == len(found)  # nothing is said twice
    return {finding.id: finding for finding in found}


def severity(reception: Reception, check: str, **more: object) -> Severity:
    return findings(reception, **more)[check].severity


def answer(status: str, *headers: str) -> Reception:
    head = "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode()
    return heard(head=head)


# --- Buffering ---------------------------------------------------------------------------------


def buffered(written: Iterable[Timed], size: int) -> list[Timed]:
    """What a buffer of a size makes of what is written: it is passed on when it is full."""
    passed, held = list[Timed](), b""
    for at, data in written:
        held += data
        while len(held) >= size:
            passed.append((at, held[:size]))
            held = held[size:]
    return passed


def test_a_buffer_is_a_problem() -> None:
    written = [(0.03 * n, event(n, "x" * 200)) for n in range(1, 300)]
    finding = judge_buffering(heard(buffered(written, 4096)))
    assert finding.severity is PROBLEM
    assert "all of 4096 bytes" in finding.seen


@given(
    size=st.sampled_from([1024, 2048, 4096, 8192, 16384]),
    length=st.integers(15, 300).map(lambda half: 2 * half + 1),
    pause=st.floats(0.3, 60.0),
)
def test_any_buffer_is_noticed(size: int, length: int, pause: float) -> None:
    # Of an odd length, so that events and buffers do not end together.
    one = b"data: " + b"x" * (length - 8) + b"\n\n"
    stream = one * (7 * size // length + 1)
    passed = [(1.0 + pause * n, stream[n * size : (n + 1) * size]) for n in range(7)]
    reception = heard(passed, until=1.0 + 7 * pause)
    assert judge_buffering(reception).severity is PROBLEM


@given(
    st.lists(
        st.tuples(
            st.floats(0.0, 20.0),  # seconds before a batch
            st.integers(1, 40),  # events in it
            st.integers(0, 3000),  # letters in each
            st.lists(st.floats(0.0, 1.0), max_size=4),  # where the network cuts it
        ),
        max_size=20,
    )
)
def test_whoever_writes_whole_events_is_not_accused(
    batches: list[tuple[float, int, int, list[float]]],
) -> None:
    pieces, at = list[Timed](), 1.0
    for pause, count, letters, cuts in batches:
        at += pause
        data = b"".join(event(n, "x" * letters) for n in range(count))
        places = [0, *sorted(int(cut * len(data)) for cut in cuts), len(data)]
        for start, stop in pairwise(places):
            at += 0.005  # the pieces of one write follow each other closely
            pieces.append((at, data[start:stop]))
    found = judge_buffering(heard(pieces, until=at + 1.0))
    assert found.severity in (OK, INFO, UNKNOWN)


def test_batches_of_the_same_size_are_no_buffer() -> None:
    batch = b"".join(event(100 + n) for n in range(50))
    finding = judge_buffering(heard([(float(n), batch) for n in range(1, 9)]))
    assert finding.severity is INFO
    assert "8 batches of whole events" in finding.seen


def test_an_event_that_is_written_bit_by_bit_is_no_buffer() -> None:
    bits = [(0.5 * n, b"data: " if n == 1 else b"word ") for n in range(1, 15)]
    assert judge_buffering(heard(bits)).severity is not PROBLEM
    assert judge_buffering(heard(bits)).severity is not WARNING


def test_a_slow_network_is_no_buffer() -> None:
    # A window a round trip: torn writes, and a silence of one round trip behind each.
    stream = b"".join(event(n, "x" * 200) for n in range(400))
    pieces = [(1.0 + 0.24 * n, stream[n * 14_000 : (n + 1) * 14_000]) for n in range(6)]
    finding = judge_buffering(heard(pieces, opening=0.24))
    assert finding.severity is OK
    assert "they end anywhere" in finding.seen


@pytest.mark.parametrize("trip", [0.001, 0.03, 0.1, 0.6])
def test_a_network_that_loses_packets_is_no_buffer(trip: float) -> None:
    # What was lost comes 0.2 s and two round trips later, and what is behind it is held until then.
    pieces = list[Timed]()
    for n in range(1, 8):
        batch = b"".join(event(10 * n + i, "x" * 900) for i in range(5))
        pieces += [(3.0 * n, batch[:3072]), (3.0 * n + 0.2 + 2 * trip, batch[3072:])]
    assert judge_buffering(heard(pieces, opening=trip, until=24.0)).severity in (OK, INFO)


def test_one_torn_lump_is_a_warning() -> None:
    pieces = [(1.0, event(1) + event(2) + b"data"), (2.0, b": x\n\n"), (3.0, event(4))]
    assert judge_buffering(heard(pieces)).severity is WARNING
    chance = [(1.0, event(1) + b"data: " + b"x" * 1003), (2.0, b"x\n\n")]  # of 1 KiB
    assert heard(chance).lumps[0].size == 1024
    assert judge_buffering(heard(chance)).severity is WARNING


def test_heartbeats_that_come_together_were_held_back() -> None:
    beats = b": ping 12:00\n\n: ping 12:15\n\n"
    pieces = [(1.0, event(1)), (30.0, event(2) + beats), (60.0, event(3) + beats)]
    assert judge_buffering(heard(pieces, until=61.0)).severity is PROBLEM
    assert judge_buffering(heard(pieces[:2], until=61.0)).severity is WARNING
    # At the beginning they may be there to fill somebody's buffer.
    assert judge_buffering(heard([(0.2, beats * 20), *steady()])).severity is OK


def test_heartbeats_that_are_sent_all_the_time_were_not_held_back() -> None:
    # Now and then there is a pause between two of them, and they are another lump.
    often = [(1.0 + 0.3 * n + 0.015 * i, b": ping\n\n") for n in range(9) for i in range(18)]
    assert judge_buffering(heard(often)).severity not in (PROBLEM, WARNING)


def test_a_response_that_comes_at_its_end_is_a_warning() -> None:
    all_at_once = b"".join(map(event, range(5)))
    assert judge_buffering(heard([(3.0, all_at_once)], until=None)).severity is WARNING
    assert judge_buffering(heard([(0.2, all_at_once)], until=None)).severity is UNKNOWN


def test_a_flow_without_pauses_is_no_buffer() -> None:
    flow = [(1.0 + 0.01 * n, event(n)) for n in range(500)]
    finding = judge_buffering(heard(flow))
    assert finding.severity is OK
    assert "in a flow" in finding.seen


def test_who_is_on_the_way_is_told_with_a_buffer() -> None:
    head = CHUNKED + b"Server: nginx/1.2\r\nVia: 1.1 x\r\nX-Accel-Buffering: yes\r\n\r\n"
    written = [(0.03 * n, event(n, "x" * 200)) for n in range(1, 300)]
    seen = judge_buffering(heard(buffered(written, 4096), head=head)).seen
    assert "on the way: nginx, a proxy that adds Via, X-Accel-Buffering sent" in seen


@pytest.mark.parametrize("pieces", [[], steady(1, 2), [(1.0, b": c\n\n"), (2.0, b": c\n\n")]])
def test_too_little_is_too_little(pieces: list[Timed]) -> None:
    assert judge_buffering(heard(pieces)).severity is UNKNOWN


# --- Resumption --------------------------------------------------------------------------------


def resumption(
    resumed: Reception | None, control: Reception | None = None, before: Reception | None = None
) -> Finding:
    first = heard(steady()) if before is None else before
    return findings(first, resumed=resumed, control=control)["resumption"]


def test_the_cursor_is_near_the_end_and_something_known_follows() -> None:
    assert choose_cursor(heard(steady(1, 9))) == "6"
    assert choose_cursor(heard(steady(1, 2))) == "1"
    assert choose_cursor(heard(steady(1, 1))) is None
    assert choose_cursor(heard([(1.0, event(1) * 3)])) is None


def test_what_followed_comes_again() -> None:
    finding = resumption(heard(steady(7, 12)), heard(steady(13, 14)))
    assert finding.severity is OK
    assert "the 3 events that had followed" in finding.seen


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [(1, 5, PROBLEM), (6, 9, WARNING), (8, 12, PROBLEM), (20, 25, PROBLEM)],
    ids=["from the start", "one too early", "a gap", "from now on"],
)
def test_anything_else_that_comes_is_wrong(first: int, last: int, expected: Severity) -> None:
    assert resumption(heard(steady(first, last))).severity is expected


def test_a_gap_further_on_and_other_data_are_wrong() -> None:
    assert resumption(heard([(1.0, event(7) + event(9))])).severity is PROBLEM
    assert resumption(heard([(1.0, event(7, "y"))])).severity is PROBLEM


def test_what_comes_without_a_cursor_too_shows_nothing() -> None:
    assert resumption(heard(steady(7, 9)), heard(steady(7, 9))).severity is UNKNOWN


@pytest.mark.parametrize("names", [(0, 0, 0), (901, 902, 903)], ids=["one id", "an id each time"])
def test_a_greeting_is_no_event_that_came_twice(names: tuple[int, int, int]) -> None:
    def greeted(name: int, first: int, last: int) -> Reception:
        return heard([(0.5, event(name, "hello")), *steady(first, last)])

    one, two, three = names
    before = greeted(one, 1, 9)
    finding = resumption(greeted(two, 7, 9), greeted(three, 12, 14), before)
    assert finding.severity is OK
    assert "the 3 events that had followed" in finding.seen
    assert resumption(greeted(two, 7, 9), greeted(three, 7, 9), before).severity is UNKNOWN
    for first in (5, 6, 8, 20):
        assert resumption(greeted(two, first, first + 2), None, before).severity is PROBLEM


def test_a_stream_that_ends_without_what_is_owed_is_wrong() -> None:
    assert resumption(heard([(1.0, b": bye\n")], until=None)).severity is PROBLEM
    assert resumption(answer("204 No Content")).severity is PROBLEM


def test_silence_and_refusals_show_nothing() -> None:
    assert resumption(None).severity is UNKNOWN
    assert resumption(heard()).severity is UNKNOWN
    refused = answer("503 Busy", "Retry-After: 7", "Content-Length: 0")
    assert resumption(refused).severity is UNKNOWN
    assert "503" in resumption(refused).seen


def test_without_ids_there_is_nothing_to_go_on_after() -> None:
    nameless = heard([(float(n), b"data: x\n\n") for n in range(1, 9)])
    assert resumption(None, before=nameless).severity is UNKNOWN
    assert severity(nameless, "ids") is WARNING


def test_a_request_with_an_effect_is_not_repeated() -> None:
    assert severity(heard(steady()), "resumption", repeatable=False) is UNKNOWN


# --- Each of the others ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("check", "good", "bad", "expected"),
    [
        ("line-ends", b"data: x\r\n\r\n", b"data: x\r\r", WARNING),
        ("line-ends", b"data: x\n\n", b"data: x\n\r\n", WARNING),
        ("fields", b"data: x\n\n", b"Data: x\n\n", WARNING),
        ("text", "data: é\n\n".encode(), "data: é\n\n".encode("latin-1"), PROBLEM),
        ("text", b"id: a\n\n", b"id: a\0\n\n", WARNING),
        ("text", b"data: x\n\n", b"\xef\xbb\xbfdata: x\n\n", INFO),
        ("retry", b"retry: 3000\n\n", b"retry: 3s\n\n", WARNING),
        ("retry", b"retry: 3000\n\n", b"retry: 0\n\n", WARNING),
        ("retry", b"retry: 3000\n\n", b"retry: 3600000\n\n", WARNING),
        ("retry", b"retry: 3000\n\n", b": none\n\n", INFO),
        ("event-size", event(1), event(1, "x" * 70_000), WARNING),
        ("event-size", event(1), b"data: %s\n" % (b"x" * 4000) * 1100, PROBLEM),
        ("ids", event(1) + event(2), event(1) + event(1), PROBLEM),
        ("ids", event(1) + event(2), event(1) + b"data: x\n\n", WARNING),
        ("ids", event(1) + event(2), event(1) + "id: é\ndata: x\n\n".encode(), WARNING),
        ("ids", event(1) + event(2), b": nothing\n\n", UNKNOWN),
        ("events", b"", b"", UNKNOWN),
    ],
)
def test_the_stream(check: str, good: bytes, bad: bytes, expected: Severity) -> None:
    assert severity(heard([(1.0, bad)]), check) is expected
    if good:
        assert severity(heard([(1.0, good)]), check) is OK


def test_more_lines_than_are_looked_at_are_a_large_event_only_within_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sansio_sse_cli.checking.scan.MAX_LINES", 100)
    comments, lines = (heard([(1.0, line * 101)]) for line in (b":\n", b"a\n"))
    assert comments.full
    assert severity(comments, "event-size") is UNKNOWN
    assert severity(lines, "event-size") is PROBLEM


@pytest.mark.parametrize(
    ("check", "good", "bad", "expected"),
    [
        ("content-type", "text/event-stream; charset=UTF-8", "text/html", PROBLEM),
        ("content-type", "Text/Event-Stream", "text/event-stream; charset=latin-1", WARNING),
        ("content-type", "text/event-stream", "", PROBLEM),
    ],
)
def test_the_content_type(check: str, good: str, bad: str, expected: Severity) -> None:
    assert severity(answer("200 OK", f"Content-Type: {good}"), check) is OK
    assert severity(answer("200 OK", *([f"Content-Type: {bad}"] if bad else [])), check) is expected


def test_caching_and_other_origins() -> None:
    assert severity(heard(), "caching") is OK
    assert severity(heard(head=CHUNKED + b"\r\n"), "caching") is WARNING
    aged = CHUNKED + b"Cache-Control: max-age=9\r\nAccess-Control-Allow-Origin: *\r\n\r\n"
    assert severity(heard(head=aged), "caching") is WARNING
    assert "“*”" in findings(heard(head=aged))["cors"].seen


def test_framing() -> None:
    assert severity(heard(), "framing") is OK
    stream = "Content-Type: text/event-stream"
    assert severity(answer("200 OK", stream), "framing") is WARNING
    assert severity(answer("200 OK", stream, "Content-Length: 9"), "framing") is WARNING


@pytest.mark.parametrize("status", ["204 No", "302 Found", "401 No", "404 No", "503 Busy"])
def test_a_status_that_is_no_stream(status: str) -> None:
    found = findings(answer(status, "Retry-After: 7", "Location: /x?key=abcdef"))
    assert found["status"].severity is PROBLEM
    assert status[:3] in found["status"].seen
    assert "abcdef" not in found["status"].seen
    assert "buffering" not in found


def test_a_head_that_comes_late_or_never() -> None:
    assert severity(heard(steady()), "head") is OK
    assert severity(heard(head_at=4.0), "head") is WARNING
    assert "together with" not in findings(heard([(5.0, event(1))], head_at=4.0))["head"].seen
    assert "together with" in findings(heard([(4.0, event(1))], head_at=4.0))["head"].seen
    never = heard(head=b"")
    assert severity(never, "head") is PROBLEM
    assert severity(never, "buffering") is UNKNOWN
    for duration in (2.0, 10.0):  # too short to tell, or interrupted
        soon = heard(head=b"", until=2.1)
        assert severity(soon, "head", duration=duration) is UNKNOWN


@pytest.mark.parametrize(
    ("pieces", "until", "expected"),
    [
        ([], 10.0, UNKNOWN),
        (steady(), 10.0, UNKNOWN),
        (steady(), None, OK),
        ([], 35.0, WARNING),
        ([], 65.0, PROBLEM),
        ([(1.0, event(1)), (62.0, event(2))], 63.0, PROBLEM),
        ([(15.0 * n, b": ping\n\n") for n in range(1, 3)], 35.0, OK),
        ([(15.0 * n, event(n)) for n in range(1, 6)], 80.0, OK),
        ([*steady(), (5.5, b": ping\n\n"), (8.0, b": ping\n\n")], 10.0, OK),
        # With every event, a comment says nothing about what comes without one.
        ([(at, b": price\n" + data) for at, data in steady()], 10.0, UNKNOWN),
    ],
)
def test_the_heartbeat(pieces: list[Timed], until: float | None, expected: Severity) -> None:
    assert severity(heard(pieces, until=until), "heartbeat") is expected


def test_the_end() -> None:
    assert severity(heard(steady()), "ending") is INFO
    assert severity(heard(steady(), until=None), "ending") is INFO
    half = heard([*steady(1, 3), (4.0, b"data: hal")], until=None)
    assert severity(half, "ending") is PROBLEM
    cut = heard(steady(), cut=True)
    assert severity(cut, "ending") is PROBLEM
    assert severity(cut, "heartbeat") is UNKNOWN


def test_tls_and_the_certificate() -> None:
    def over(version: str, days: float | None, of: float | None = 365) -> dict[str, Finding]:
        expires, lifetime = (None if each is None else each * DAY for each in (days, of))
        tls = TLSFacts(version, "CIPHER", expires, lifetime)
        return findings(heard(url="https://example.com/", tls=tls))

    assert over("TLSv1.3", 90)["tls"].severity is OK
    assert over("TLSv1.1", 90)["tls"].severity is PROBLEM
    assert over("TLSv1.3", 90)["certificate"].severity is OK
    assert over("TLSv1.3", 10)["certificate"].severity is WARNING
    assert over("TLSv1.3", 1)["certificate"].severity is PROBLEM
    assert over("TLSv1.3", 1, None)["certificate"].severity is PROBLEM
    assert over("TLSv1.3", None)["certificate"].severity is UNKNOWN
    assert severity(heard(), "tls") is INFO
    # One that lives for a day is renewed every day.
    assert over("TLSv1.3", 0.9, 1)["certificate"].severity is OK
    assert over("TLSv1.3", 0.1, 1)["certificate"].severity is PROBLEM
    assert over("TLSv1.3", 2.5, 6)["certificate"].seen == "verified; expires in 2 days"
    assert "expires in 22 hours" in over("TLSv1.3", 0.9, 1)["certificate"].seen


def test_http_versions() -> None:
    assert severity(heard(), "http") is OK
    assert severity(heard(), "http", alpn="h2") is OK
    assert severity(heard(), "http", alpn="") is INFO
    old = b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    assert severity(heard(head=old), "http") is WARNING
    assert severity(heard(head=b"SSH-2.0-OpenSSH\r\n"), "http") is PROBLEM


def test_redirects() -> None:
    hop = answer("302 Found", "Location: /events")
    assert severity(heard(), "redirects", hops=[hop]) is INFO
    assert severity(heard(), "redirects", hops=[hop, hop]) is WARNING
    elsewhere = heard(url="http://other.example/events")
    assert severity(elsewhere, "redirects", hops=[hop]) is WARNING
    insecure = answer("302 Found", "Location: http://example.com/")
    insecure.error = InsecureRedirect("from https to http")
    assert severity(insecure, "redirects") is PROBLEM


def test_no_connection() -> None:
    reception = Reception(Request("GET", "http://example.com/"), began=0.0)
    reception.fail(1.0, ConnectError("refused"))
    assert findings(reception).keys() == {"connect"}
    assert severity(reception, "connect") is PROBLEM
    assert unreachable(Facts(duration=1.0, now=0.0, heard=reception))


def test_a_certificate_that_does_not_verify_is_the_servers_fault() -> None:
    reception = Reception(Request("GET", "https://example.com/"), began=0.0)
    reception.fail(1.0, TLSError("it does not verify", retryable=False))
    assert findings(reception)["tls"].severity is PROBLEM
    assert not unreachable(Facts(duration=1.0, now=0.0, heard=reception))


def test_nothing_was_heard() -> None:
    assert judge(Facts(duration=1.0, now=0.0)) == []
    interrupted = Reception(Request("GET", "http://example.com/"), began=0.0)
    interrupted.leave(0.1)
    assert severity(interrupted, "connect") is UNKNOWN


def test_further_connections_may_be_refused() -> None:
    fine = heard(steady())
    assert severity(fine, "limits", control=heard()) is OK
    busy = answer("503 Busy", "Retry-After: 7")
    assert severity(fine, "limits", control=busy) is INFO
    assert severity(fine, "limits", control=answer("429 Many")) is WARNING
    lost = Reception(Request("GET", "http://example.com/"), began=0.0)
    lost.fail(1.0, ConnectError("refused"))
    assert severity(fine, "limits", control=lost) is WARNING
    assert "limits" not in findings(fine)


def test_a_further_connection_that_has_no_answer_yet_is_none_that_was_answered() -> None:
    found = findings(heard(steady()), resumed=heard(head=b"", until=5.0))
    assert found["limits"].severity is UNKNOWN
    assert found["limits"].seen == "1 of 1 not answered within 5.0 s"


# --- Compression -------------------------------------------------------------------------------


def gzipped(pieces: Iterable[tuple[float, bytes, bool]], until: float = 5.1) -> Reception:
    """What a compressor makes of pieces, flushed or not."""
    packer = zlib.compressobj(wbits=31)
    packed = [
        (at, packer.compress(data) + (packer.flush(zlib.Z_SYNC_FLUSH) if flushed else b""))
        for at, data, flushed in pieces
    ]
    head = CHUNKED + b"Content-Encoding: gzip\r\n\r\n"
    return heard(packed, head=head, until=until)


def test_compression() -> None:
    before = heard(steady())
    flushed = gzipped([(float(n), event(n), True) for n in range(1, 5)])
    held = gzipped([(float(n), event(n), False) for n in range(1, 5)])
    assert severity(before, "compression", compressed=heard(steady(1, 4))) is OK
    assert severity(before, "compression", compressed=flushed) is OK
    assert severity(before, "compression", compressed=held) is PROBLEM
    assert severity(heard(), "compression", compressed=held) is UNKNOWN
    # Where events come in bursts, there is a time as long without any.
    assert severity(heard(steady(pace=0.1)), "compression", compressed=held) is UNKNOWN
    assert severity(heard(steady(pace=0.1), until=None), "compression", compressed=held) is UNKNOWN
    assert severity(before, "compression", compressed=answer("503 Busy")) is UNKNOWN
    assert severity(before, "compression") is UNKNOWN
    assert severity(flushed, "compression") is WARNING


def test_a_large_event_that_takes_its_time_on_a_slow_network_is_flushed() -> None:
    packer, pieces, letters = zlib.compressobj(wbits=31), list[Timed](), random.Random(1)
    for number in range(1, 6):
        data = event(number, "".join(letters.choices("abcdefghijklmnop", k=60_000)))
        packed = packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)
        windows = range(0, len(packed), 14_000)  # one for each round trip
        pieces += [
            (number + 0.06 * trip, packed[start : start + 14_000])
            for trip, start in enumerate(windows)
        ]
    asked = heard(pieces, head=CHUNKED + b"Content-Encoding: gzip\r\n\r\n", opening=0.06)
    assert len(asked.events) == 5
    assert severity(heard(steady()), "compression", compressed=asked) is OK


def test_a_compressor_that_passes_on_a_block_when_it_is_full_is_not_flushed() -> None:
    letters = random.Random(1)
    pieces = [
        (0.5 * number, event(number, "".join(letters.choices("abcdefghijklmnop", k=20_000))), False)
        for number in range(1, 8)
    ]
    finding = findings(heard(steady()), compressed=gzipped(pieces))["compression"]
    assert finding.severity is PROBLEM
    assert "it is not flushed" in finding.seen
    # One lump that ends anywhere may have been torn on the way.
    assert severity(heard(steady()), "compression", compressed=gzipped(pieces[:5])) is UNKNOWN


def test_a_compression_that_nobody_knows() -> None:
    brotli = heard(head=CHUNKED + b"Content-Encoding: br\r\n\r\n")
    assert severity(heard(steady()), "compression", compressed=brotli) is PROBLEM
    assert severity(brotli, "ending") is PROBLEM


# --- Any stream, and the report ----------------------------------------------------------------

PIECES = st.lists(
    st.tuples(
        st.floats(0.0, 40.0),
        st.one_of(
            st.binary(max_size=40),
            st.sampled_from(
                [b"id: 1\ndata: x\n\n", b": c\n", b"\n", b"\r", b"retry: 1\n", b"id: "]
            ),
        ),
    ),
    max_size=12,
)


def timed(pieces: list[tuple[float, bytes]]) -> list[Timed]:
    at, result = 0.1, list[Timed]()
    for pause, data in pieces:
        at += pause
        result.append((at, data))
    return result


@given(PIECES, PIECES, PIECES, st.sampled_from([None, 600.0]))
def test_any_stream_is_judged(
    first: list[Timed], second: list[Timed], third: list[Timed], until: float | None
) -> None:
    facts = Facts(
        duration=10.0,
        now=0.0,
        heard=heard(timed(first), until=until),
        resumed=heard(timed(second), until=until),
        control=heard(timed(third), until=until),
        compressed=heard(timed(third), until=until),
    )
    found = judge(facts)
    assert [finding.id for finding in found] == [
        check for check in CHECKS if check in {finding.id for finding in found}
    ]
    for finding in found:
        assert finding.seen
        assert finding.why
        assert finding.do or finding.severity in (OK, INFO)
    report = Report("http://h/", found, 1, 1.0, True)
    text = report.text(Paint(on=False), verbose=True)
    assert escape(text, keep="\n") == text
    assert json.loads(report.json())["findings"]


def test_as_much_as_is_kept_is_judged_in_time() -> None:
    # Each lump is torn, each event has the id of another, and it is all compared with itself.
    tear = b"\n\nid: 1\ndata: x\n\nid: %d\ndata: x\n\ndata: "
    many = heard([(1.0 + 0.3 * n, tear % n) for n in range(9_000)], until=3_000.0)
    began = time.process_time()
    found = findings(many, resumed=many, control=many, compressed=many)
    assert time.process_time() - began < 3.0
    assert found["ids"].severity is PROBLEM
    assert found["buffering"].severity is PROBLEM


def test_what_a_server_says_is_shown_without_secrets_and_control_characters() -> None:
    head = CHUNKED + "Server: \x9b31m secret-key é\r\nVia: {}secret-key\r\n\r\n".format(
        "x" * 55
    ).encode("latin-1")
    reception = heard(
        [(1.0, b"\x1b[2Jsecret-key: x\nid: secret-key\nevent: secret-key\ndata:\n\n" * 2)],
        head=head,
    )
    facts = Facts(10.0, 0.0, lambda text: text.replace("secret-key", "…"), heard=reception)
    report = Report("http://h/", judge(facts), 1, 10.0, True)
    for text in (report.text(Paint(on=False), verbose=True), report.json()):
        assert "secret" not in text
        assert "\x1b" not in text
        assert "\x9b" not in text


def test_the_worst_comes_first() -> None:
    found = [Finding("retry", OK, "a"), Finding("ids", PROBLEM, "b"), Finding("text", OK, "c")]
    assert [finding.seen for finding in by_severity(found)] == ["b", "a", "c"]


def test_colours_are_for_those_who_want_them() -> None:
    report = Report("http://h/", [Finding("ids", PROBLEM, "none")], 1, 1.0, True)
    assert "\x1b[31mproblem \x1b[0m ids: none" in report.text(Paint(on=True))
    assert "\x1b" not in report.text(Paint(on=False))


def test_the_documentation_names_what_is_in_the_json() -> None:
    report = Report("http://h/", [Finding("ids", PROBLEM, "none")], 1, 1.0, True)
    content = json.loads(report.json())
    names = [*content, *(f"findings[].{name}" for name in content["findings"][0])]
    section = PAGE.read_text(encoding="utf-8").partition("## As JSON")[2]
    assert re.findall(r"^\| `(.*?)` \|", section, re.MULTILINE) == names


def test_the_documentation_has_all_checks_in_their_own_words() -> None:
    page = PAGE.read_text(encoding="utf-8")
    entries = re.findall(r"^- \*\*`(.*?)`\*\* (.*?)(?=\n(?:-|\n))", page, re.MULTILINE | re.DOTALL)
    assert [(id_, " ".join(text.split())) for id_, text in entries] == [
        (id_, f"({check.title}). {check.why} *What to do:* {check.do}")
        for id_, check in CHECKS.items()
    ]
