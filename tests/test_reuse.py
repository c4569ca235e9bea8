"""Admission before an attempt, and what becomes of a transport after a stream that ended well."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from machine_play import STREAM, Play, S
from sansio_sse import (
    BufferOverflow,
    CloseTransport,
    Connect,
    Connected,
    Disconnect,
    KeepTransport,
    OpenTransport,
    Origin,
    PrepareRequest,
    Release,
    Request,
    RequestAdmission,
    ScheduleReconnect,
    SendPing,
    StateChanged,
)
from test_http1_body import cut_anywhere, cuts
from test_wire import EVENT, HEAD, Wire

URL = "http://example.com/events"
ELSEWHERE = Request("GET", "http://elsewhere.example/events", (("X-Mine", "1"),))
STOP = b"data: stop\n\n"

# --- Admission ---------------------------------------------------------------------------------


def asking(**options: Any) -> Play:
    """A machine that has asked whether its first attempt may begin."""
    machine = {"admission": True} | options.pop("machine", {})
    play = Play(machine=machine, **options)
    play.connect()
    return play


def test_each_attempt_is_asked_for_and_goes_where_the_answer_says() -> None:
    play = asking()
    assert play.answer[-1] == RequestAdmission(play.asked)
    assert play.state is S.CONNECTING
    assert play.metrics.connect_attempts == 0, "nothing has been tried"
    [connect] = play.tell("admitted", play.asked, ELSEWHERE)
    assert connect == Connect(play.machine.request, play.asked)
    assert connect.request.url == ELSEWHERE.url
    assert connect.request.header("X-Mine") == "1"
    assert connect.request.header("Accept") == "text/event-stream"
    assert play.metrics.connect_attempts == 1
    assert play.waits_for == ("CONNECT", 10.0)
    first = play.asked
    play.failed()
    assert not play.said(RequestAdmission), "the delay comes first, the question then"
    play.due()
    assert play.answer == [RequestAdmission(play.asked)]
    assert play.asked > first
    assert play.metrics.reconnect_attempts == 0


def test_an_answer_that_never_comes_leaves_no_deadline() -> None:
    play = asking()
    assert play.machine.deadline is None
    assert play.machine.reconnect_at is None
    play.now += 1e6
    assert not play.tell("tick")
    play.tell("admitted", play.asked, ELSEWHERE)
    play.respond(200, ("Content-Type", "text/event-stream"))
    assert play.metrics.connect_durations.max == 0, "the wait is not the server's"


def test_only_the_latest_question_has_an_answer_and_only_one() -> None:
    play = asking()
    stale = play.asked
    play.tell("restart")
    assert play.answer == [Disconnect(stale), RequestAdmission(play.asked)]
    for number in (0, stale, 99):
        assert not play.tell("admitted", number, ELSEWHERE)
    assert play.tell("admitted", play.asked, ELSEWHERE)
    for happens in ("transport_opened", "request_sent", None):
        assert not play.tell("admitted", play.asked, ELSEWHERE)
        if happens:
            play.tell(happens, play.asked)
    play.tell("response_received", play.stream, STREAM)
    assert not play.tell("admitted", play.asked, ELSEWHERE)
    play.lost()
    assert not play.tell("admitted", play.asked, ELSEWHERE)


@pytest.mark.parametrize("end", ["close", "disconnect"])
def test_what_ends_takes_its_question_back(end: str) -> None:
    play = asking()
    play.tell(end)
    assert play.answer[0] == Disconnect(play.asked)
    assert len(play.answer) == 2
    assert not play.tell("admitted", play.asked, ELSEWHERE)
    assert play.metrics.connect_attempts == 0


def test_who_does_not_want_to_be_asked_is_not() -> None:
    play = Play().accepted()
    play.lost()
    play.due()
    assert not [action for action in play.history if isinstance(action, RequestAdmission)]
    assert not play.tell("admitted", play.stream, ELSEWHERE)


def test_nothing_is_under_way_while_it_is_waited_for() -> None:
    play = asking(machine={"prepare": True, "until": "stop"})
    number = play.asked
    for news, *arguments in (
        ("response_received", STREAM),
        ("body_received", EVENT),
        ("body_ended",),
        ("connect_failed", OSError("no")),
        ("connection_lost", OSError("no")),
        ("request_prepared", ELSEWHERE),
        ("prepare_failed", OSError("no")),
    ):
        assert not play.tell(news, number, *arguments)
    assert play.state is S.CONNECTING
    [prepare] = play.tell("admitted", number, ELSEWHERE)
    assert isinstance(prepare, PrepareRequest)
    assert prepare.request.url == ELSEWHERE.url


def test_the_cursor_is_kept_unless_nobody_knows_it_there() -> None:
    play = asking(machine={"include": ["connected"]})
    play.tell("admitted", play.asked, ELSEWHERE)
    play.tell("response_received", play.stream, STREAM)
    play.body(b"id: 7\n" + EVENT)
    for keep, cursor in ((True, "7"), (False, None), (True, None)):
        play.lost()
        play.due()
        play.tell("admitted", play.asked, ELSEWHERE, keep_cursor=keep)
        assert play.request.header("Last-Event-ID") == cursor
        play.tell("response_received", play.stream, STREAM)
        [connected] = play.said(Connected)
        assert connected.resumed is (cursor is not None)


def test_ids_of_another_place_do_not_make_a_post_safe_to_repeat() -> None:
    post = Request("POST", ELSEWHERE.url)
    for keep in (True, False):
        play = asking(method="POST", on_end="reconnect")
        play.tell("admitted", play.asked, post)
        play.tell("response_received", play.stream, STREAM)
        play.body(b"id: 7\n" + EVENT)
        play.lost()
        assert play.state is S.RECONNECTING
        play.due()
        play.tell("admitted", play.asked, post, keep_cursor=keep)
        play.tell("request_sent", play.stream)
        play.lost()
        assert play.state is (S.RECONNECTING if keep else S.ERROR)


def test_a_redirected_post_is_not_repeated_because_another_place_may_be_named() -> None:
    play = asking(method="POST")
    play.tell("admitted", play.asked, Request("POST", URL))
    play.tell("request_sent", play.stream)
    play.respond(301, ("Location", "/result"))
    assert play.request.method == "GET"
    play.lost()
    assert play.state is S.ERROR


def test_what_is_refused_while_it_waits_is_no_failed_attempt() -> None:
    play = asking()
    play.tell("events_refused", "5")
    assert play.state is S.ERROR
    assert isinstance(play.machine.error, BufferOverflow)
    assert play.answer[0] == Disconnect(play.asked)
    assert play.metrics.connect_failures == 0
    assert play.machine.received_event_id == "5"


def test_a_post_may_be_sent_while_it_waits() -> None:
    play = asking()
    play.post()
    assert play.posted > play.asked
    [connect] = play.tell("admitted", play.asked, ELSEWHERE)
    assert connect.attempt == play.asked
    play.tell("response_received", play.stream, STREAM)
    assert play.state is S.CONNECTED


def test_pings_go_where_the_answer_said() -> None:
    play = asking(pings=True, interval=5)
    play.tell("admitted", play.asked, ELSEWHERE)
    play.tell("response_received", play.stream, STREAM)
    play.due()
    [ping] = play.said(SendPing)
    assert ping.request.url == "http://elsewhere.example/ping"


def test_in_bytes_it_is_the_same() -> None:
    wire = Wire(machine={"admission": True})
    wire.tell("connect")
    [asked] = wire.said(RequestAdmission)
    wire.tell("restart")
    assert wire.answer == [CloseTransport(asked.attempt), RequestAdmission(asked.attempt + 1)]
    [opening] = wire.tell("admitted", asked.attempt + 1, ELSEWHERE, keep_cursor=False)
    origin = Origin("http", "elsewhere.example", 80)
    assert opening == OpenTransport(asked.attempt + 1, origin)


# --- A stream that ends well, at the level of HTTP ---------------------------------------------


def finite(**machine: Any) -> Play:
    return Play(machine={"reuse": True, "until": "stop"} | machine)


def test_the_terminal_event_releases_the_exchange() -> None:
    play = finite().accepted()
    number = play.stream
    play.body(EVENT + STOP + b"data: more\n\n")
    assert play.events == ["hello", "stop"]
    assert play.answer[2] == Release(number)
    assert play.changes == [S.DISCONNECTED]
    assert not play.said(Disconnect)
    assert play.machine.draining
    assert play.waits_for == ("DRAIN", 1.0)
    assert not play.tell("drained", number + 1)
    assert play.machine.draining
    assert not play.tell("drained", number)
    assert not play.machine.draining
    assert play.machine.deadline is None


def test_the_end_of_a_finite_body_releases_it_too() -> None:
    play = Play(machine={"reuse": True}, on_end="finish").accepted(body=EVENT)
    play.end()
    assert play.answer[0] == Release(play.stream)


@pytest.mark.parametrize("late", [0.0, 100.0])
def test_draining_takes_no_longer_than_a_second(late: float) -> None:
    play = finite().accepted(body=STOP)
    play.now += 0.9
    assert not play.tell("tick")
    play.now += 0.1 + late
    assert play.tell("tick") == [Disconnect(play.stream)]
    assert not play.machine.draining
    assert play.machine.deadline is None
    assert not play.tell("drained", play.stream)


@pytest.mark.parametrize("how", ["truncated", "lost", "disconnect", "restart", "refused", "silent"])
def test_what_did_not_end_well_is_cut(how: str) -> None:
    play = finite().accepted(body=EVENT)
    match how:
        case "truncated":
            play.end()
        case "lost":
            play.lost()
        case "refused":
            play.tell("events_refused", "")
        case "silent":
            play.due()
        case _:
            play.tell(how)
    assert Disconnect(1) in play.answer
    assert not play.said(Release)
    assert not play.machine.draining


def test_a_predicate_that_raises_ends_nothing_well() -> None:
    def until(event: Any) -> bool:
        raise ValueError(event)

    play = finite(until=until).accepted(body=EVENT)
    assert play.state is S.ERROR
    assert play.said(Disconnect)
    assert not play.machine.draining


def test_without_reuse_nothing_is_released() -> None:
    play = finite(reuse=False).accepted(body=STOP)
    assert play.said(Disconnect)
    assert not play.said(Release)
    assert not play.machine.draining
    assert play.machine.deadline is None


def test_the_next_stream_does_not_wait_for_the_rest_of_the_last() -> None:
    play = finite().accepted(body=STOP)
    first = play.stream
    assert not play.tell("disconnect"), "there is nothing to end"
    play.connect()
    assert play.machine.draining
    assert play.waits_for == ("DRAIN", 1.0)
    play.tell("response_received", play.stream, STREAM)
    play.now += 0.5
    play.body(STOP)
    # One at a time: the older gives way.
    assert [action for action in play.answer if not isinstance(action, StateChanged)][1:] == [
        Disconnect(first),
        Release(play.stream),
    ]
    assert play.waits_for == ("DRAIN", 1.0)


def test_the_rest_of_the_last_stream_does_not_disturb_the_next() -> None:
    play = finite().accepted(body=STOP)
    first = play.stream
    play.connect()
    play.tell("response_received", play.stream, STREAM)
    play.now += 1.0
    assert play.tell("tick") == [Disconnect(first)]
    assert play.state is S.CONNECTED
    play.body(STOP)
    assert play.said(Release) == [Release(play.stream)]


@pytest.mark.parametrize("command", ["close", "restart"])
def test_who_ends_for_good_or_begins_anew_waits_for_no_rest(command: str) -> None:
    play = finite().accepted(body=STOP)
    first = play.stream
    play.tell(command)
    if command == "close":
        assert play.answer[0] == Disconnect(first)
        assert not play.machine.draining
        assert play.machine.deadline is None
    else:
        assert play.state is S.CONNECTING
        play.tell("disconnect")
        assert set(play.said(Disconnect)) == {Disconnect(first), Disconnect(play.stream)}


def test_posts_and_the_rest_of_a_body_have_their_own_times() -> None:
    play = finite().accepted()
    play.post()
    play.body(STOP)
    assert play.waits_for == ("DRAIN", 1.0)
    play.due()
    assert play.machine.deadline_reason is not None
    assert play.machine.deadline_reason.name == "POST"


# --- And of bytes ------------------------------------------------------------------------------

KEPT = [KeepTransport(1, Origin("http", "example.com", 80), 4.0)]
CUT = [CloseTransport(1)]
CLOSING = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"


def framed(how: str, body: bytes) -> bytes:
    if how == "sized":
        return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
    if how == "close":
        return HEAD + b"\r\n" + body
    chunks = [body[i : i + 7] for i in range(0, len(body), 7)]
    coded = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + coded + b"0\r\n\r\n"


def opened(**options: Any) -> Wire:
    machine = {"reuse": True, "until": "stop"} | options.pop("machine", {})
    return Wire(machine=machine, **options).open()


def verdict(answers: Sequence[Any]) -> list[Any]:
    return [one for one in answers if isinstance(one, KeepTransport | CloseTransport)]


def fate(wire: Wire, pieces: Sequence[bytes]) -> list[Any]:
    """What becomes of the transport, if nothing comes after these pieces."""
    answers: list[Any] = []
    for piece in pieces:
        answers += wire.bytes(piece)
    if wire.machine.connection.draining:
        assert wire.reason is not None
        wire.now += 1.0
        answers += wire.tell("tick")
    assert wire.state is S.DISCONNECTED
    assert not wire.machine.connection.draining
    assert wire.machine.deadline is None
    assert [a.data for a in answers if hasattr(a, "data")] == ["hello", "stop"]
    return verdict(answers)


RESTS = [b"", b": and so on\n\n", b"data: nobody reads this\n\n" * 3]


@pytest.mark.parametrize("rest", RESTS, ids=["nothing", "a comment", "events"])
@pytest.mark.parametrize("how", ["sized", "chunked", "close"])
def test_what_becomes_of_a_transport_does_not_depend_on_the_cuts(how: str, rest: bytes) -> None:
    data = framed(how, EVENT + STOP + rest)
    for pieces in cuts(data):
        assert fate(opened(), pieces) == (CUT if how == "close" else KEPT)


@given(st.data())
def test_any_cuts(data: st.DataObject) -> None:
    how = data.draw(st.sampled_from(["sized", "chunked", "close"]))
    rest = data.draw(st.binary(max_size=300))
    version = data.draw(st.sampled_from([b"1.1", b"1.0"]))
    extra = data.draw(
        st.sampled_from([b"", b"Connection: close\r\n", b"Keep-Alive: timeout=9\r\n"])
    )
    response = framed(how, EVENT + STOP + rest)
    response = response.replace(b"HTTP/1.1", b"HTTP/" + version).replace(HEAD[8:], HEAD[8:] + extra)
    missing = data.draw(st.sampled_from([0, 0, 0, 1, 3]))
    missing = min(missing, len(rest))
    response = response[: len(response) - missing]
    kept = how != "close" and version == b"1.1" and b"close" not in extra and not missing
    expected: list[Any] = CUT
    if kept:
        expected = [KeepTransport(1, Origin("http", "example.com", 80), 8.0 if extra else 4.0)]
    assert fate(opened(), data.draw(cut_anywhere(response))) == expected
    assert fate(opened(), [response]) == expected


def test_the_end_of_a_finite_body_keeps_its_transport() -> None:
    for pieces in cuts(framed("chunked", EVENT + STOP)):
        assert fate(opened(machine={"until": None}, on_end="finish"), pieces) == KEPT


def test_it_is_read_on_until_the_end_and_nothing_of_it_is_given() -> None:
    wire = opened()
    response = framed("sized", EVENT + STOP + b"data: more\n\n")
    wire.bytes(response[:-5])
    assert wire.events == ["hello", "stop"]
    assert not verdict(wire.answer)
    assert wire.machine.connection.draining
    assert not wire.tell("bytes_sent", 1)
    assert not wire.tell("transport_opened", 1), "it has been open for long"
    assert not wire.bytes(response[-5:-1])
    assert wire.bytes(response[-1:]) == KEPT
    assert not wire.bytes(b"more")
    assert wire.tell("transport_opened", 1) == CUT, "it is nobody's now"


@pytest.mark.parametrize("how", ["sized", "chunked"])
def test_bytes_after_the_end_spoil_a_transport(how: str) -> None:
    response = framed(how, EVENT + STOP + RESTS[1])
    assert fate(opened(), [response + b"HTTP/1.1 200"]) == CUT
    assert fate(opened(), [response[:-3], response[-3:] + b"H"]) == CUT
    # What comes later comes to whoever keeps it.
    assert fate(opened(), [response, b"H"]) == KEPT


@pytest.mark.parametrize(
    ("head", "kept"),
    [
        (b"HTTP/1.1 200 OK\r\n", True),
        (CLOSING, False),
        (b"HTTP/1.1 200 OK\r\nConnection: Foo, CLOSE\r\n", False),
        (b"HTTP/1.0 200 OK\r\n", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n", True),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n", True),
    ],
)
def test_what_the_head_allows(head: bytes, kept: bool) -> None:
    response = framed("sized", EVENT + STOP + RESTS[1]).replace(b"HTTP/1.1 200 OK\r\n", head)
    assert fate(opened(), [response]) == (KEPT if kept else CUT)
    # Where it cannot be kept, nobody waits for the rest.
    wire = opened()
    assert bool(verdict(wire.bytes(response[:-1]))) is not kept


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("timeout=30", 29.0),
        ("timeout=30, max=100", 29.0),
        ("max=100 ,\tTimeout = 5", 4.0),
        ("timeout=1", None),
        ("timeout=0", None),
        ("timeout=999999999", 3599.0),
        ("timeout=99999999999999999999", 4.0),
        ("timeout=1e9", 4.0),
        ("timeout=-5", 4.0),
        ("timeout=inf", 4.0),
        ("timeout=", 4.0),
        ("timeout", 4.0),
        ('timeout="5"', 4.0),
        ("timeout=5 5", 4.0),
        ("", 4.0),
        ("timeout=x, timeout=3", 2.0),
    ],
)
def test_for_how_long_it_may_be_kept(value: str, seconds: float | None) -> None:
    response = framed("sized", EVENT + STOP + RESTS[1])
    response = response.replace(HEAD, HEAD + b"Keep-Alive: " + value.encode() + b"\r\n")
    wire = opened()
    answers = [*wire.bytes(response[:-1])]
    # What could not be kept for any time is not worth the reading.
    assert wire.machine.connection.draining is (seconds is not None)
    answers += wire.bytes(response[-1:])
    if seconds is None:
        assert verdict(answers) == CUT
    else:
        assert verdict(answers) == [KeepTransport(1, Origin("http", "example.com", 80), seconds)]


def test_the_origin_is_the_one_that_answered() -> None:
    wire = opened()
    wire.bytes(b"HTTP/1.1 307 There\r\nLocation: http://there.example:81/x\r\n\r\n")
    wire.open()
    assert wire.transport == 2
    wire.bytes(framed("sized", EVENT + STOP))
    [kept] = wire.said(KeepTransport)
    assert kept == KeepTransport(2, Origin("http", "there.example", 81), 4.0)


def early() -> Wire:
    """The whole answer is here before all of the request is known to have left."""
    wire = Wire(method="POST", content=b"x" * 10, machine={"reuse": True, "until": "stop"})
    wire.tell("connect")
    wire.opened()
    wire.bytes(framed("sized", EVENT + STOP))
    assert wire.events == ["hello", "stop"]
    assert wire.state is S.DISCONNECTED
    assert not verdict(wire.answer)
    return wire


def test_a_transport_is_not_kept_before_the_request_has_been_written() -> None:
    assert early().tell("bytes_sent", 1) == KEPT
    wire = early()
    wire.due()
    assert wire.answer == CUT
    assert wire.now == 1.0
    assert early().bytes(b"H") == CUT
    assert early().end() == CUT


def test_a_request_may_be_written_while_the_rest_is_read() -> None:
    wire = Wire(machine={"reuse": True, "until": "stop"})
    wire.tell("connect")
    wire.opened()
    response = framed("sized", EVENT + STOP + RESTS[1])
    wire.bytes(response[:-5])
    assert wire.state is S.DISCONNECTED
    assert not wire.tell("bytes_sent", 1)
    assert wire.bytes(response[-5:]) == KEPT


def test_who_reads_no_more_keeps_nothing() -> None:
    """A transport whose reading is paused is not read to its end, and of no use to others."""
    wire = opened()
    response = framed("sized", EVENT + STOP)
    wire.bytes(response[:-5])
    wire.tell("pause")
    assert verdict(wire.bytes(response[-5:])) == CUT


@pytest.mark.parametrize("size", [65536, 65537])
@pytest.mark.parametrize("step", [1000, 65536])
def test_so_much_is_read_and_no_more(size: int, step: int) -> None:
    wire = opened()
    rest = b"x" * size
    response = framed("sized", EVENT + STOP + rest)
    wire.bytes(response[:-size])
    answers: list[Any] = []
    for start in range(0, size - 1, step):
        answers += wire.bytes(rest[start : min(start + step, size - 1)])
    assert not verdict(answers)
    # The last byte completes the body; up to the limit it is waited for.
    answers += wire.bytes(rest[-1:])
    assert verdict(answers) == KEPT
    # Without an end it is given up there.
    wire = opened()
    wire.bytes(HEAD + b"Content-Length: 9999999\r\n\r\n" + EVENT + STOP)
    assert not wire.bytes(b"x" * 65536)
    assert wire.bytes(b"x") == CUT
    assert not wire.machine.connection.draining


def test_the_size_of_chunks_counts_as_it_costs() -> None:
    wire = opened()
    wire.bytes(HEAD + b"Transfer-Encoding: chunked\r\n\r\n18\r\n" + b": " + b"x\n" * 4 + b"\n")
    wire.bytes(b"\n" + STOP + b"\r\n")
    assert wire.state is S.DISCONNECTED
    line = b"1;" + b"x" * 995 + b"\r\nx\r\n"
    sent = 0
    while wire.machine.connection.draining:
        wire.bytes(line)
        sent += len(line)
    assert 65536 < sent <= 65536 + len(line)
    assert wire.answer == CUT


@pytest.mark.parametrize("how", ["eof", "failure", "nonsense", "time", "close"])
def test_what_goes_wrong_with_the_rest_is_nobodys_error(how: str) -> None:
    wire = opened()
    wire.bytes(HEAD + b"Transfer-Encoding: chunked\r\n\r\n19\r\n" + EVENT + STOP)
    assert wire.state is S.DISCONNECTED
    assert wire.machine.connection.draining
    match how:
        case "eof":
            assert wire.end() == CUT
        case "failure":
            assert not wire.fails(), "what broke by itself is not closed"
        case "nonsense":
            assert wire.bytes(b"\r\nnonsense\r\n") == CUT
        case "time":
            wire.due()
            assert wire.answer == CUT
            assert wire.now == 1.0
        case _:
            wire.tell("close")
            assert verdict(wire.answer) == CUT
    assert not wire.machine.connection.draining
    assert wire.machine.deadline is None
    assert not wire.bytes(b"more")
    assert not wire.end()
    assert not wire.fails()


def test_nonsense_in_the_read_of_the_terminal_event_spoils_the_transport() -> None:
    chunk = EVENT + STOP
    response = HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(chunk) + chunk
    for pieces in ([response + b"\r\nnonsense"], [response, b"\r\nnonsense"]):
        assert fate(opened(), pieces) == CUT


def test_the_next_stream_has_a_transport_of_its_own() -> None:
    wire = opened()
    response = framed("sized", EVENT + STOP + RESTS[1])
    wire.bytes(response[:-1])
    wire.open()
    assert wire.transport == 2
    assert wire.tell("bytes_received", 1, response[-1:]) == KEPT
    wire.bytes(response[:-1])
    assert wire.state is S.DISCONNECTED
    wire.open()
    # The older of two rests gives way.
    wire.bytes(response[:-1])
    assert verdict(wire.answer) == [CloseTransport(2)]
    assert wire.tell("bytes_received", 3, response[-1:])[0] == KeepTransport(3, KEPT[0].origin, 4.0)


def test_a_stream_that_is_cut_keeps_nothing() -> None:
    wire = opened()
    wire.bytes(framed("chunked", EVENT))
    assert verdict(wire.answer) == CUT
    assert wire.said(ScheduleReconnect)


@given(st.data())
def test_without_reuse_nothing_is_kept_or_waited_for(data: st.DataObject) -> None:
    how = data.draw(st.sampled_from(["sized", "chunked", "close"]))
    response = framed(how, EVENT + STOP + data.draw(st.sampled_from(RESTS)))
    wire = opened(machine={"reuse": False})
    answers: list[Any] = []
    for piece in data.draw(cut_anywhere(response)):
        answers += wire.bytes(piece)
        assert not wire.machine.connection.draining
    assert verdict(answers) == CUT
