"""The wire machine by example, where bytes matter."""

import zlib
from collections.abc import Sequence
from typing import Any, TypeVar

import pytest

from machine_play import configured
from sansio_sse import (
    CloseTransport,
    ConfigError,
    ConnectError,
    ConnectionClosed,
    ConnectionLost,
    ConnectionMachine,
    ConnectionState,
    ErrorOccurred,
    HTTPStatusError,
    LimitExceeded,
    OpenTransport,
    Origin,
    PauseTransport,
    PostAnswered,
    PrepareRequest,
    RemoteProtocolError,
    Request,
    Response,
    ResponseTimeout,
    ResumeTransport,
    ScheduleReconnect,
    SendBytes,
    ServerSentEvent,
    SSEError,
    StateChanged,
    Timer,
    WireMachine,
    WriteTimeout,
)

URL = "http://example.com/events"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
OPEN_END = HEAD + b"\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
EVENT = b"data: hello\n\n"
S = ConnectionState
Action = TypeVar("Action")


class Wire:
    """Each call tells the machine one thing and keeps the answer."""

    def __init__(
        self,
        *,
        method: str = "GET",
        url: str = URL,
        headers: tuple[tuple[str, str], ...] = (),
        content: bytes | None = None,
        machine: dict[str, Any] | None = None,
        **config: Any,
    ) -> None:
        self.machine = WireMachine(
            ConnectionMachine(
                Request(method, url, headers, content), configured(**config), **(machine or {})
            )
        )
        self.now = 0.0
        self.transport = 0
        self.answer: Sequence[Any] = ()

    def tell(self, news: str, *args: Any, **options: Any) -> Sequence[Any]:
        self.answer = getattr(self.machine, news)(*args, self.now, **options)
        for action in self.answer:
            if isinstance(action, OpenTransport):
                self.transport = action.transport
        return self.answer

    def open(self) -> "Wire":
        """Connect if need be, open and write the request."""
        if self.machine.state in (S.DISCONNECTED, S.ERROR):
            self.tell("connect")
        self.sent = self.opened()
        self.tell("bytes_sent", self.transport)
        return self

    def opened(self) -> bytes:
        """The transport is open; return the request."""
        send = self.tell("transport_opened", self.transport)[0]
        assert isinstance(send, SendBytes)
        assert send.transport == self.transport
        return send.data

    def bytes(self, data: bytes) -> Sequence[Any]:
        return self.tell("bytes_received", self.transport, data)

    def end(self) -> Sequence[Any]:
        return self.tell("end_received", self.transport)

    def fails(self, error: Exception | None = None) -> Sequence[Any]:
        return self.tell("transport_failed", self.transport, error or ConnectionResetError("reset"))

    def due(self) -> Sequence[Any]:
        due = self.machine.connection._next_due()
        assert due is not None
        self.now = due[0]
        return self.tell("tick")

    @property
    def state(self) -> ConnectionState:
        assert self.machine.state is self.machine.connection.state
        return self.machine.state

    @property
    def reason(self) -> Any:
        return self.machine.deadline_reason

    def said(self, kind: type[Action]) -> list[Action]:
        return [action for action in self.answer if isinstance(action, kind)]

    @property
    def events(self) -> list[str]:
        return [event.data for event in self.said(ServerSentEvent)]

    @property
    def error(self) -> SSEError:
        return self.said(ErrorOccurred)[-1].error


# --- The request -------------------------------------------------------------------------------


def test_an_attempt_opens_a_transport_and_writes_its_request() -> None:
    wire = Wire(headers=(("X-Mine", "1"),), machine={"last_event_id": "7"})
    changed, opening = wire.tell("connect")
    assert changed.new is S.CONNECTING
    assert opening == OpenTransport(1, Origin("http", "example.com", 80))
    assert wire.machine.deadline == 10.0
    assert wire.reason == Timer.CONNECT
    sent = wire.opened()
    assert sent.startswith(b"GET /events HTTP/1.1\r\nHost: example.com\r\n")
    for line in (b"X-Mine: 1", b"Last-Event-ID: 7", b"Accept: text/event-stream"):
        assert b"\r\n" + line + b"\r\n" in sent
    assert sent.endswith(b"\r\n\r\n")
    assert wire.reason == Timer.WRITE
    assert not wire.tell("bytes_sent", 1)
    assert wire.machine.deadline_reason is Timer.RESPONSE


def test_a_body_is_written_with_its_head() -> None:
    wire = Wire(method="POST", content=b"{}").open()
    assert wire.sent.endswith(b"Content-Length: 2\r\n\r\n{}")


def test_an_open_transport_is_written_to_once() -> None:
    wire = Wire().open()
    assert not wire.tell("transport_opened", 1)


def test_what_cannot_be_written_fails_the_attempt_before_anything_is_opened() -> None:
    wire = Wire(headers=(("Content-Length", "5"),))
    wire.tell("connect")
    assert [type(action) for action in wire.answer] == [StateChanged, ErrorOccurred, StateChanged]
    assert isinstance(wire.error, ConfigError)
    assert wire.state is S.ERROR
    assert wire.error.request_sent is False


def test_a_redirect_may_lead_to_what_cannot_be_written() -> None:
    wire = Wire(headers=(("X", "\ud800"),), machine={"prepare": True})
    wire.tell("connect")
    wire.tell("request_prepared", 1, Request("GET", URL))
    wire.open()
    wire.bytes(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
    wire.due()
    wire.tell("request_prepared", 2, Request("GET", URL, (("TE", "x"),)))
    assert isinstance(wire.error, ConfigError)
    assert wire.state is S.ERROR


# --- Opening -----------------------------------------------------------------------------------


def test_a_transport_that_opens_after_it_was_given_up_is_closed() -> None:
    wire = Wire()
    wire.tell("connect")
    assert wire.tell("disconnect")[0] == CloseTransport(1)
    assert wire.tell("transport_opened", 1) == [CloseTransport(1)]
    wire.tell("connect")
    wire.tell("restart")
    assert wire.tell("transport_opened", 2) == [CloseTransport(2)]
    wire.tell("close")
    assert wire.tell("transport_opened", 3) == [CloseTransport(3)]


def test_a_transport_that_fails_late_is_ignored() -> None:
    wire = Wire()
    wire.tell("connect")
    wire.tell("restart")
    assert not wire.tell("transport_failed", 1, OSError("late"))
    assert wire.machine.deadline == 10.0


def test_a_transport_that_cannot_be_opened_needs_no_closing() -> None:
    wire = Wire()
    wire.tell("connect")
    wire.fails(ConnectionRefusedError("refused"))
    assert not wire.said(CloseTransport)
    assert isinstance(wire.error, ConnectError)
    assert wire.said(ScheduleReconnect)
    [opening] = wire.due()
    assert opening.transport == 2


def test_a_transport_that_breaks_after_it_was_open_is_lost() -> None:
    wire = Wire().open()
    wire.fails()
    assert not wire.said(CloseTransport)
    assert type(wire.error) is ConnectionLost
    assert wire.error.request_sent is True


def test_bytes_before_the_transport_is_open_are_ignored() -> None:
    wire = Wire()
    wire.tell("connect")
    assert not wire.bytes(OPEN_END)
    assert not wire.end()
    assert wire.state is S.CONNECTING


# --- The head ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_heads_and_bodies_may_be_split_anywhere(size: int) -> None:
    wire = Wire().open()
    data = CHUNKED + b"d\r\n" + EVENT + b"\r\n4;x=y\r\nid: \r\n3\r\n1\n\n\r\n"
    events = []
    for start in range(0, len(data), size):
        wire.bytes(data[start : start + size])
        events += wire.events
    assert events == ["hello"]
    assert wire.machine.connection.received_event_id == "1"


def test_head_body_and_end_may_come_in_one_read() -> None:
    wire = Wire(on_end="finish").open()
    wire.bytes(HEAD + b"Content-Length: 13\r\n\r\n" + EVENT + b"left over")
    assert [type(action) for action in wire.answer] == [
        StateChanged,
        ServerSentEvent,
        CloseTransport,
        StateChanged,
    ]
    assert wire.state is S.DISCONNECTED


def test_informational_responses_come_first() -> None:
    wire = Wire().open()
    assert not wire.bytes(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n")
    wire.bytes(OPEN_END)
    assert wire.state is S.CONNECTED


def test_a_response_may_come_before_the_request_is_written() -> None:
    wire = Wire(method="POST", content=b"x" * 100)
    wire.tell("connect")
    wire.opened()
    wire.bytes(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
    assert isinstance(wire.error, HTTPStatusError)
    assert (wire.error.status, wire.error.body) == (413, b"big")
    assert wire.said(CloseTransport) == [CloseTransport(1)]
    assert not wire.tell("bytes_sent", 1)


def test_a_stream_may_begin_before_the_request_is_written() -> None:
    wire = Wire()
    wire.tell("connect")
    wire.opened()
    wire.bytes(OPEN_END + EVENT)
    assert wire.state is S.CONNECTED
    assert not wire.tell("bytes_sent", 1)
    assert wire.machine.deadline_reason is Timer.IDLE


def test_an_end_before_the_head_is_malformed_http() -> None:
    wire = Wire().open()
    wire.end()
    assert wire.said(CloseTransport) == [CloseTransport(1)]
    assert isinstance(wire.error, RemoteProtocolError)
    assert wire.state is S.RECONNECTING


def test_an_end_within_the_head_is_malformed_http() -> None:
    wire = Wire().open()
    assert not wire.bytes(HEAD)
    wire.end()
    assert "within a response head" in str(wire.error)


@pytest.mark.parametrize(
    "head",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    ],
)
def test_a_malformed_head_is_retried(head: bytes) -> None:
    wire = Wire().open()
    wire.bytes(head)
    assert isinstance(wire.error, RemoteProtocolError)
    assert wire.said(CloseTransport) == [CloseTransport(1)]
    assert wire.state is S.RECONNECTING


def test_a_head_over_the_limit_is_final() -> None:
    wire = Wire(head=1000).open()
    wire.bytes(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2000)
    assert isinstance(wire.error, LimitExceeded)
    assert wire.state is S.ERROR


def test_a_head_that_dribbles_for_ever_runs_out_of_time() -> None:
    wire = Wire(response=60).open()
    wire.bytes(b"HTTP/1.1 200 OK\r\n")
    for number in range(59):
        wire.now += 1
        assert not wire.bytes(b"X-%d: 1\r\n" % number)
        assert not wire.tell("tick")
    wire.now += 1
    wire.tell("tick")
    assert isinstance(wire.error, ResponseTimeout)


def test_a_request_that_cannot_be_written_runs_out_of_time() -> None:
    wire = Wire(write=30)
    wire.tell("connect")
    wire.opened()
    wire.due()
    assert isinstance(wire.error, WriteTimeout)
    assert wire.said(CloseTransport)


def test_a_redirect_moves_to_another_transport_and_drops_the_rest() -> None:
    wire = Wire(headers=(("Authorization", "s3cr3t"),)).open()
    wire.bytes(b"HTTP/1.1 302 Found\r\nLocation: https://b.example/x\r\n\r\ndata: no\n\n")
    assert list(wire.answer) == [
        CloseTransport(1),
        OpenTransport(2, Origin("https", "b.example", 443)),
    ]
    assert not wire.tell("bytes_received", 1, EVENT)
    assert not wire.tell("transport_failed", 1, OSError())
    sent = wire.opened()
    assert sent.startswith(b"GET /x HTTP/1.1\r\nHost: b.example\r\n")
    assert b"s3cr3t" not in sent


def test_204_closes() -> None:
    wire = Wire().open()
    close, changed = wire.bytes(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert close == CloseTransport(1)
    assert changed.new is S.CLOSED


def test_an_error_body_is_read_to_its_end_in_the_same_or_later_reads() -> None:
    wire = Wire().open()
    assert not wire.bytes(b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nnot")
    assert wire.state is S.CONNECTING
    assert not wire.bytes(b" fo")
    wire.bytes(b"und")
    assert isinstance(wire.error, HTTPStatusError)
    assert wire.error.body == b"not found"


@pytest.mark.parametrize("how", ["end", "fails", "bytes"])
def test_an_error_body_may_break_off(how: str) -> None:
    wire = Wire().open()
    wire.bytes(b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n")
    wire.bytes(b"zz\r\n") if how == "bytes" else getattr(wire, how)()
    assert isinstance(wire.error, HTTPStatusError)
    assert wire.error.body == b"no"


# --- The body ----------------------------------------------------------------------------------


def test_an_eof_is_the_end_of_a_body_without_a_length() -> None:
    wire = Wire(on_end="finish").open()
    wire.bytes(OPEN_END + EVENT)
    close, changed = wire.end()
    assert close == CloseTransport(1)
    assert changed.new is S.DISCONNECTED


@pytest.mark.parametrize("framing", [b"Content-Length: 100", b"Transfer-Encoding: chunked"])
def test_an_eof_is_a_truncation_of_a_body_with_a_length(framing: bytes) -> None:
    wire = Wire(on_end="finish").open()
    wire.bytes(HEAD + framing + b"\r\n\r\n")
    wire.end()
    assert isinstance(wire.error, RemoteProtocolError)
    assert wire.state is S.RECONNECTING
    assert wire.said(CloseTransport) == [CloseTransport(1)]


def test_a_malformed_chunk_is_an_error_behind_the_events_before_it() -> None:
    wire = Wire().open()
    wire.bytes(CHUNKED)
    wire.bytes(b"d\r\n" + EVENT + b"\r\nnonsense\r\n")
    assert [type(action) for action in wire.answer] == [
        ServerSentEvent,
        CloseTransport,
        ErrorOccurred,
        StateChanged,
        ScheduleReconnect,
    ]
    assert isinstance(wire.error, RemoteProtocolError)


def test_a_malformed_chunk_in_the_read_of_the_head_is_an_error_too() -> None:
    wire = Wire().open()
    wire.bytes(CHUNKED + b"d\r\n" + EVENT + b"\r\nnonsense\r\n")
    assert wire.events == ["hello"]
    assert isinstance(wire.error, RemoteProtocolError)


def test_the_last_chunk_is_the_end() -> None:
    wire = Wire().open()
    wire.bytes(CHUNKED)
    wire.bytes(b"d\r\n" + EVENT + b"\r\n0\r\n\r\n")
    assert wire.events == ["hello"]
    assert isinstance(wire.error, ConnectionLost)
    assert wire.said(CloseTransport) == [CloseTransport(1)]
    assert not wire.bytes(b"more")
    assert not wire.end()


def test_a_body_of_no_bytes_ends_at_once() -> None:
    wire = Wire(on_end="finish").open()
    wire.bytes(HEAD + b"Content-Length: 0\r\n\r\n")
    assert [change.new for change in wire.said(StateChanged)] == [S.CONNECTED, S.DISCONNECTED]


def test_while_the_body_goes_on_the_parsers_list_is_passed_through() -> None:
    wire = Wire().open()
    wire.bytes(CHUNKED)
    wire.bytes(b"d\r\n" + EVENT + b"\r\n")  # the first events are looked at
    answer = wire.bytes(b"d\r\n" + EVENT + b"\r\n")
    assert type(answer) is list
    assert [type(action) for action in answer] == [ServerSentEvent]


def test_the_bytes_of_framing_are_life() -> None:
    wire = Wire(idle=10).open()
    wire.bytes(CHUNKED)
    wire.now += 9
    assert not wire.bytes(b"1000\r\n")
    wire.now += 9
    assert not wire.tell("tick")
    assert wire.state is S.CONNECTED


def test_an_event_over_the_limit_closes_the_transport() -> None:
    wire = Wire(event=50).open()
    wire.bytes(OPEN_END)
    wire.bytes(b"data: " + b"x" * 100)
    assert wire.said(CloseTransport) == [CloseTransport(1)]
    assert wire.state is S.ERROR


def test_gzip_over_chunks_is_decoded() -> None:
    wire = Wire().open()
    wire.bytes(HEAD + b"Content-Encoding: gzip\r\n\r\n")
    wire.bytes(zlib.compress(EVENT, wbits=31))
    assert wire.events == ["hello"]


def test_the_terminal_event_closes_the_transport_before_the_body_ends() -> None:
    wire = Wire(machine={"until": "hello"}).open()
    wire.bytes(CHUNKED)
    wire.bytes(b"d\r\n" + EVENT + b"\r\n")
    assert [type(action) for action in wire.answer] == [
        ServerSentEvent,
        CloseTransport,
        StateChanged,
    ]
    assert wire.state is S.DISCONNECTED


def test_the_terminal_event_wins_over_an_end_in_the_same_read() -> None:
    wire = Wire(machine={"until": "hello"}).open()
    wire.bytes(CHUNKED + b"d\r\n" + EVENT + b"\r\nnonsense")
    assert not wire.said(ErrorOccurred)
    assert wire.state is S.DISCONNECTED


def test_bytes_after_the_close_are_ignored() -> None:
    wire = Wire().open()
    wire.bytes(OPEN_END)
    wire.tell("close")
    assert not wire.bytes(EVENT)
    assert not wire.end()
    assert not wire.fails()
    assert not wire.tell("bytes_sent", 1)


# --- Commands ----------------------------------------------------------------------------------


def test_pauses_are_acts_on_the_transport() -> None:
    wire = Wire().open()
    wire.bytes(OPEN_END)
    assert list(wire.tell("pause")) == [PauseTransport(1)]
    assert list(wire.tell("resume")) == [ResumeTransport(1)]
    wire.tell("pause")
    wire.tell("restart")
    wire.open()
    wire.bytes(OPEN_END)
    assert wire.said(PauseTransport) == [PauseTransport(2)]


def test_preparing_comes_before_the_transport() -> None:
    wire = Wire(machine={"prepare": True})
    _, prepare = wire.tell("connect")
    assert isinstance(prepare, PrepareRequest)
    assert not wire.tell("transport_failed", 1, OSError())
    assert list(wire.tell("request_prepared", 1, prepare.request)) == [
        OpenTransport(1, Origin("http", "example.com", 80))
    ]


def test_a_prepare_is_taken_back_like_a_transport() -> None:
    wire = Wire(machine={"prepare": True})
    wire.tell("connect")
    assert wire.tell("close")[0] == CloseTransport(1)


def test_a_failed_prepare_is_told() -> None:
    wire = Wire(machine={"prepare": True})
    wire.tell("connect")
    wire.tell("prepare_failed", 1, ValueError("no"))
    assert wire.state is S.RECONNECTING


def test_refused_events_close_the_transport() -> None:
    wire = Wire().open()
    wire.bytes(OPEN_END + EVENT)
    wire.tell("events_refused", "")
    assert wire.said(CloseTransport) == [CloseTransport(1)]
    assert wire.state is S.ERROR


# --- Pings -------------------------------------------------------------------------------------


def pinging(**options: Any) -> Wire:
    options = {"interval": 30, "timeout": 5, "max_missed": 2, "idle": 0, **options}
    wire = Wire(pings=True, headers=(("Authorization", "token"),), **options).open()
    wire.bytes(OPEN_END)
    assert list(wire.due()) == [OpenTransport(2, Origin("http", "example.com", 80))]
    return wire


def missed(wire: Wire) -> int:
    return wire.machine.connection.missed_heartbeats


def test_a_ping_is_an_exchange_of_its_own() -> None:
    wire = pinging()
    sent = wire.opened()
    assert sent.startswith(b"GET /ping HTTP/1.1\r\nHost: example.com\r\n")
    assert b"Authorization: token" in sent
    assert b"event-stream" not in sent
    assert not wire.tell("bytes_sent", 2)
    assert not wire.tell("transport_opened", 2)
    assert not wire.bytes(b"HTTP/1.1 200 ")
    assert list(wire.bytes(b"OK\r\nContent-Length: 1000\r\n\r\npo")) == [CloseTransport(2)]
    assert missed(wire) == 0
    assert wire.machine.connection.metrics.heartbeats is not None
    assert wire.machine.connection.metrics.heartbeats.succeeded == 1


@pytest.mark.parametrize("how", ["500", "garbage", "eof", "broken", "refused", "late"])
def test_whatever_else_happens_to_a_ping_is_a_miss(how: str) -> None:
    wire = pinging()
    if how == "refused":
        assert not wire.fails(ConnectionRefusedError())
    else:
        wire.opened()
        if how == "500":
            wire.bytes(b"HTTP/1.1 500 Oh\r\n\r\n")
        elif how == "garbage":
            wire.bytes(b"nonsense")
        elif how == "eof":
            wire.end()
        elif how == "broken":
            assert not wire.fails()
        elif how == "late":
            wire.due()
        if how != "broken":
            assert list(wire.answer) == [CloseTransport(2)]
    assert missed(wire) == 1
    assert wire.state is S.CONNECTED
    assert not wire.tell("bytes_received", 2, b"HTTP/1.1 200 OK\r\n\r\n")
    assert missed(wire) == 1


def test_a_good_head_is_enough_even_if_the_body_is_nonsense() -> None:
    wire = pinging()
    wire.opened()
    wire.bytes(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
    assert missed(wire) == 0


def test_the_ping_that_is_one_miss_too_many_ends_the_stream() -> None:
    wire = pinging()
    wire.fails()
    wire.due()
    wire.fails()
    assert wire.said(CloseTransport) == [CloseTransport(1)]
    assert wire.state is S.RECONNECTING


def test_a_ping_opening_late_is_closed() -> None:
    wire = pinging()
    wire.due()
    assert wire.tell("transport_opened", 2) == [CloseTransport(2)]


def test_the_end_of_a_ping_that_is_not_open_is_ignored() -> None:
    wire = pinging()
    assert not wire.end()
    assert not wire.bytes(b"HTTP/1.1 200 OK\r\n\r\n")
    wire.opened()
    wire.bytes(b"HTTP/1.1 200 OK\r\n\r\n")
    assert missed(wire) == 0


def test_a_lost_stream_closes_its_ping() -> None:
    wire = pinging()
    wire.tell("transport_failed", 1, ConnectionResetError())
    assert wire.said(CloseTransport) == [CloseTransport(2)]


def test_a_ping_that_cannot_be_written_is_a_miss() -> None:
    wire = Wire(pings=True, interval=30, machine={"prepare": True})
    wire.tell("connect")
    wire.tell("request_prepared", 1, Request("GET", URL))
    wire.open()
    wire.bytes(OPEN_END)
    # A request that could be written once can be written again; so break one by hand.
    wire.machine.connection._request = Request("GET", URL, (("TE", "x"),))
    assert not wire.due()
    assert missed(wire) == 1


# --- Posts -------------------------------------------------------------------------------------


def posting(**options: Any) -> tuple[Wire, object]:
    wire = Wire(**options).open()
    wire.bytes(OPEN_END)
    token = object()
    wire.answer = wire.machine.post(
        token, "/up", wire.now, headers=(("X-Mine", "1"),), content=b"hi"
    )
    assert list(wire.answer) == [OpenTransport(2, Origin("http", "example.com", 80))]
    wire.transport = 2
    return wire, token


def test_a_post_is_an_exchange_of_its_own() -> None:
    wire, token = posting()
    sent = wire.opened()
    assert sent.startswith(b"POST /up HTTP/1.1\r\n")
    assert sent.endswith(b"Content-Length: 2\r\n\r\nhi")
    assert b"X-Mine: 1\r\n" in sent
    assert not wire.bytes(b"HTTP/1.1 201 Created\r\nContent-Length: 4\r\n\r\ndo")
    close, answered = wire.bytes(b"ne and more")
    assert close == CloseTransport(2)
    assert answered.token is token
    assert answered.response == Response(201, (("Content-Length", "4"),))
    assert answered.content == b"done"
    assert wire.state is S.CONNECTED


def test_a_post_may_be_answered_until_eof() -> None:
    wire, _ = posting()
    wire.opened()
    assert not wire.bytes(b"HTTP/1.1 200 OK\r\n\r\ndo")
    assert not wire.bytes(b"ne")
    _, answered = wire.end()
    assert answered.content == b"done"


@pytest.mark.parametrize(
    ("how", "kind"),
    [
        ("refused", ConnectError),
        ("broken", ConnectionLost),
        ("eof", RemoteProtocolError),
        ("cut", RemoteProtocolError),
        ("garbage", RemoteProtocolError),
        ("large", LimitExceeded),
    ],
)
def test_a_post_fails_with_a_reason(how: str, kind: type[SSEError]) -> None:
    wire, token = posting(post_body=10)
    if how == "refused":
        wire.fails(ConnectionRefusedError())
    else:
        wire.opened()
        if how == "broken":
            wire.fails()
        elif how == "eof":
            wire.end()
        elif how == "garbage":
            wire.bytes(b"nonsense")
        elif how == "cut":
            wire.bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndo")
            wire.end()
        else:
            wire.bytes(b"HTTP/1.1 200 OK\r\n\r\n12345")
            wire.bytes(b"678901")
    [answered] = wire.said(PostAnswered)
    assert answered.token is token
    assert type(answered.error) is kind
    assert bool(wire.said(CloseTransport)) is (how not in ("refused", "broken"))
    assert wire.state is S.CONNECTED


@pytest.mark.parametrize("opened", [False, True])
def test_a_post_that_fails_says_whether_a_byte_of_it_was_sent(opened: bool) -> None:
    wire, _ = posting()
    if opened:
        wire.opened()
    wire.fails()
    [answered] = wire.said(PostAnswered)
    assert answered.error is not None
    assert answered.error.request_sent is opened
    assert wire.machine.connection.metrics.bytes_sent == (2 if opened else 0)


def test_an_answer_at_the_limit_is_not_over_it() -> None:
    wire, _ = posting(post_body=10)
    wire.opened()
    wire.bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n1234567890")
    [answered] = wire.said(PostAnswered)
    assert answered.error is None


def test_a_post_that_cannot_be_written_is_answered_at_once() -> None:
    wire = Wire().open()
    wire.answer = wire.machine.post("token", "/up", 0.0, headers=(("TE", "x"),))
    [answered] = wire.said(PostAnswered)
    assert isinstance(answered.error, ConfigError)


def test_a_post_may_be_given_up() -> None:
    wire, token = posting()
    assert list(wire.tell("abandon_post", token)) == [CloseTransport(2)]
    assert wire.tell("transport_opened", 2) == [CloseTransport(2)]
    assert not wire.tell("abandon_post", token)


def test_close_answers_the_posts() -> None:
    wire, token = posting()
    wire.tell("close")
    [answered] = wire.said(PostAnswered)
    assert answered.token is token
    assert isinstance(answered.error, ConnectionClosed)
    assert sorted(close.transport for close in wire.said(CloseTransport)) == [1, 2]


def test_several_posts_are_told_apart() -> None:
    wire, _ = posting()
    wire.opened()
    wire.machine.post("second", "/up", wire.now)
    [send] = wire.machine.transport_opened(3, wire.now)
    assert isinstance(send, SendBytes)
    assert send.transport == 3
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    _, answered = wire.tell("bytes_received", 3, answer)
    assert answered.token == "second"
    assert wire.tell("bytes_received", 2, answer)
    assert not wire.tell("bytes_received", 2, answer)
