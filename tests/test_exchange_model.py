"""The exchange machine in any history, and against the wire machine.

Over an HTTP client a stream is the same as over bytes: told the same, both machines say the same.
"""

import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from machine_play import STREAM, configured
from sansio_sse import (
    Carrier,
    CloseTransport,
    ConnectionMachine,
    ErrorOccurred,
    ExchangeMachine,
    OpenTransport,
    PauseTransport,
    PostAnswered,
    PrepareRequest,
    RemoteProtocolError,
    Request,
    RequestAdmission,
    Response,
    ResumeTransport,
    ScheduleReconnect,
    SendBytes,
    SSEError,
    StartExchange,
    StateChanged,
    WireMachine,
    request_fields,
)
from test_exchange import EVENT, OK, STOP, URL, S

# --- Any history -------------------------------------------------------------------------------

RESPONSES = [
    STREAM,
    Response(200, (*STREAM.headers, ("Content-Encoding", "gzip"))),
    OK,
    Response(204),
    Response(302, (("Location", "/moved"),)),
    Response(307, (("Location", "https://elsewhere.example/"),)),
    Response(404),
    Response(503, (("Retry-After", "1"),)),
]
DATA = [b"", b"id: 7\n" + EVENT, STOP, b"data: ", b"x" * 70, b"y" * 40000]
COMMANDS = ["connect", "disconnect", "restart", "close", "pause", "resume"]
MOVES = ["go on", "go on", "go on", "tick", "post", "abandon", *COMMANDS]
NEWS: dict[str, Sequence[Any]] = {
    "transport_opened": [()],
    "exchange_begun": [()],
    "request_sent": [()],
    "response_received": [(response,) for response in RESPONSES],
    "bytes_received": [(data,) for data in DATA],
    "end_received": [()],
    "exchange_failed": [(OSError("no"),), (RemoteProtocolError("no"),)],
    "admitted": [(Request("GET", URL),)],
    "request_prepared": [(Request("GET", URL),)],
    "prepare_failed": [(OSError("no"),)],
}
STEPS = st.lists(
    st.tuples(st.sampled_from([*MOVES, *NEWS, *NEWS]), st.integers(0, 99), st.integers(0, 99)),
    min_size=25,
    max_size=60,
)


class History:
    """A machine that is told anything in any order, and what it has asked for so far."""

    def __init__(self, **options: Any) -> None:
        config = configured(
            pings=True, interval=5, event=60, post_body=100, max_attempts=3, error_body=50
        )
        connection = ConnectionMachine(Request("GET", URL), config, **options)
        self.machine = ExchangeMachine(connection)
        self.now = 0.0
        self.asked: set[int] = set()  # for admission, or to be prepared
        self.live: set[int] = set()  # exchanges
        self.known: list[int] = [0, -1, 999]
        self.posts = 0

    def step(self, what: str, one: int, other: int) -> None:
        if what in NEWS:
            choices = NEWS[what]
            numbers = [*self.known, *[n for n in self.known if n in self.live] * 3]
            self.news(what, numbers[one % len(numbers)], *choices[other % len(choices)])
        elif what == "go on":
            self.go_on(DATA[one % len(DATA)])
        elif what == "tick":
            self.now += other / 10
            self.note(self.machine.tick(self.now))
        elif what == "post":
            if self.machine.state is not S.CLOSED:
                self.posts += 1
                self.note(self.machine.post(self.posts, "/up", self.now))
        elif what == "abandon":
            self.note(self.machine.abandon_post(1 + one % (self.posts + 1), self.now))
        elif self.possible(what):
            self.note(getattr(self.machine, what)(self.now))

    def go_on(self, data: bytes) -> None:
        """Let all go well with the newest number."""
        if self.machine.state in (S.DISCONNECTED, S.ERROR):
            self.note(self.machine.connect(self.now))
        number = self.known[-1]
        for what in ("admitted", "request_prepared"):
            if number in self.asked:
                self.news(what, number, Request("GET", URL))
        for what, *args in (
            ("transport_opened",),
            ("request_sent",),
            ("response_received", STREAM),
            ("bytes_received", data),
        ):
            if number in self.live:
                self.news(what, number, *args)

    def possible(self, command: str) -> bool:
        if command == "connect":
            return self.machine.state in (S.DISCONNECTED, S.ERROR)
        return command != "restart" or self.machine.state is not S.CLOSED

    def news(self, what: str, number: int, *args: Any) -> None:
        before = self.look()
        answer = getattr(self.machine, what)(number, *args, self.now)
        if number not in (self.asked if what in ("admitted", *PREPARED) else self.live):
            assert not answer
            assert self.look() == before
            return
        if what == "exchange_failed":
            self.live.discard(number)  # and it needs no closing
        self.note(answer)
        if what == "admitted":
            self.asked &= {number}  # if it is to be prepared

    def note(self, answer: Sequence[Any]) -> None:
        for action in answer:
            match action:
                case RequestAdmission(number) | PrepareRequest(_, number):
                    self.asked.add(number)
                    self.known.append(number)
                case StartExchange(number):
                    assert number in self.asked or number not in self.known
                    self.asked.discard(number)
                    self.live.add(number)
                    self.known.append(number)
                case CloseTransport(number):
                    assert number in self.live | self.asked
                    self.live.discard(number)
                    self.asked.discard(number)
                case PauseTransport(number) | ResumeTransport(number):
                    assert number in self.live
                case OpenTransport() | SendBytes():
                    pytest.fail("an HTTP client has no use for these")
                case _:
                    pass
        assert self.machine.state is not S.CLOSED or not self.live

    def look(self) -> Any:
        machine, connection = self.machine, self.machine.connection
        return (
            (machine.state, machine.deadline, machine.deadline_reason),
            (connection.error, connection.retries, connection.received_event_id),
            (connection.paused, connection.draining, connection.snapshot(self.now)),
        )


PREPARED = ("request_prepared", "prepare_failed")


@settings(max_examples=200)
@given(
    STEPS,
    st.fixed_dictionaries(
        {
            "admission": st.booleans(),
            "prepare": st.booleans(),
            "reuse": st.booleans(),
            "until": st.sampled_from([None, "stop"]),
        }
    ),
)
def test_whatever_order_news_come_in_stale_numbers_are_ignored(
    steps: list[tuple[str, int, int]], options: dict[str, Any]
) -> None:
    history = History(**options)
    for step in [("connect", 0, 0), *steps]:
        history.step(*step)
    history.note(history.machine.close(history.now))
    assert not history.live | history.asked, "what was begun was ended"
    assert history.machine.deadline is None


# --- Against the wire machine ------------------------------------------------------------------


class Answer:
    """One response: what is in it, and how HTTP/1.1 writes it."""

    def __init__(self, status: int, how: str, body: bytes, *headers: tuple[str, str]) -> None:
        self.how = how
        self.rest = body
        self.headed = False
        framing = {
            "sized": ("Content-Length", str(len(body))),
            "chunked": ("Transfer-Encoding", "chunked"),
        }.get(how)
        self.response = Response(status, headers if framing is None else (*headers, framing))

    @property
    def head(self) -> bytes:
        lines = "".join(f"{name}: {value}\r\n" for name, value in self.response.headers)
        return f"HTTP/1.1 {self.response.status} X\r\n{lines}\r\n".encode()

    def next(self, size: int) -> tuple[bytes, bytes]:
        """Take a piece of the body; return it as it is, and as it is written."""
        piece, self.rest = self.rest[:size], self.rest[size:]
        chunked = self.how == "chunked" and piece
        return piece, b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece

    @property
    def over(self) -> bool:
        """HTTP says that the body ends here, without another byte."""
        return self.headed and self.how == "sized" and not self.rest


TEXT = (
    b"id: 1\ndata: one\n\n: a comment\n\nretry: 250\ndata: two\n\n"
    b"id: 2\nevent: x\ndata: \xc3\xa9\n\nid: 3\n\ndata: stop\n\ndata: beyond\n\n"
    b"data: " + b"z" * 200 + b"\n\n"
)
KINDS: list[tuple[int, bytes, list[tuple[str, str]]]] = [
    *[(200, TEXT, [("Content-Type", "text/event-stream")])] * 4,
    (
        200,
        zlib.compress(TEXT, wbits=31),
        [("Content-Type", "text/event-stream"), ("Content-Encoding", "gzip")],
    ),
    (200, b"<p>no stream</p>", [("Content-Type", "text/html")]),
    (200, b"", [("Content-Type", "text/event-stream")]),
    (204, b"", []),
    (302, b"moved", [("Location", "/moved")]),
    (308, b"moved", [("Location", "https://elsewhere.example/")]),
    (404, b"nobody is here", []),
    (503, b"busy", [("Retry-After", "2")]),
]
FRAMINGS = ["sized", "chunked", "chunked", "close"]
SIDES = ["200", "500", "large"]


class Twins:
    """A stream over bytes, and the same stream over exchanges: told the same, they are the same."""

    def __init__(self, method: str, config: dict[str, Any], options: dict[str, Any]) -> None:
        def machine() -> ConnectionMachine:
            content = b"question" if method == "POST" else None
            headers = (("Authorization", "Bearer s3cr3t"),)
            return ConnectionMachine(
                Request(method, URL, headers, content), configured(**config), **options
            )

        self.wire = WireMachine(machine())
        self.exchange = ExchangeMachine(machine())
        self.now = 0.0
        self.requests: dict[int, Request] = {}  # of the exchanges under way
        self.opened: set[int] = set()
        self.answers: dict[int, Answer] = {}
        self.posts = 0

    # --- What happens to both ------------------------------------------------------------------

    def both(self, command: str, *args: Any) -> None:
        self.compare(
            getattr(self.wire, command)(*args, self.now),
            getattr(self.exchange, command)(*args, self.now),
        )

    def step(self, what: str, one: int, other: int, cuts: list[int]) -> None:
        if what == "tick":
            self.now += one / 10
            self.both("tick")
            self.both("tick")  # a late one does not count
        elif what == "post":
            if self.wire.state is not S.CLOSED:
                self.posts += 1
                self.both("post", self.posts, "/up")
        elif what == "connect":
            if self.wire.state in (S.DISCONNECTED, S.ERROR):
                self.both("connect")
        elif what in COMMANDS:
            if what != "restart" or self.wire.state is not S.CLOSED:
                self.both(what)
        elif self.requests:
            numbers = sorted(self.requests)
            number = numbers[0 if one % 3 else one % len(numbers)]
            if number not in self.opened:
                self.open(number, refused=what == "break")
            elif what == "break":
                self.broken(number, other)
            elif number not in self.answers:
                self.answer(number, one, other, cuts)
            else:
                self.go_on(number, self.answers[number], other, cuts)

    def open(self, number: int, *, refused: bool) -> None:
        if refused:
            error = ConnectionRefusedError(111, "refused")
            self.failed(number, "transport_failed", error, error)
            return
        self.opened.add(number)
        send, *more = self.wire.transport_opened(number, self.now)
        assert isinstance(send, SendBytes)
        request = self.requests[number]
        start, *lines = send.data.partition(b"\r\n\r\n")[0].split(b"\r\n")
        assert start == f"{request.method} {request.target} HTTP/1.1".encode()
        assert lines == [name + b": " + value for name, value in request_fields(request)]
        self.compare(more, self.exchange.transport_opened(number, self.now))
        self.compare(
            self.wire.bytes_sent(number, self.now), self.exchange.request_sent(number, self.now)
        )

    def answer(self, number: int, one: int, other: int, cuts: list[int]) -> None:
        """The head comes, in pieces."""
        how = FRAMINGS[other % len(FRAMINGS)]
        if self.requests[number].target == "/events" or "moved" in self.requests[number].url:
            status, body, headers = KINDS[one % len(KINDS)]
            answer = Answer(status, "sized" if status == 204 else how, body, *headers)
        else:
            kind = SIDES[one % len(SIDES)]
            answer = Answer(500 if kind == "500" else 200, how, b"x" * 300 * (kind == "large"))
        self.answers[number] = answer
        written: list[Any] = []
        for piece in cut(answer.head, cuts):
            written += self.wire.bytes_received(number, piece, self.now)
        answer.headed = True
        read = [*self.exchange.response_received(number, answer.response, self.now)]
        if answer.over:
            read += self.exchange.end_received(number, self.now)
        self.compare(written, read)

    def go_on(self, number: int, answer: Answer, size: int, cuts: list[int]) -> None:
        """More of the body comes, or its end."""
        piece, written = answer.next(1 + size)
        wire: list[Any] = []
        exchange: list[Any] = []
        if piece:
            for part in cut(written, cuts):
                wire += self.wire.bytes_received(number, part, self.now)
            exchange += self.exchange.bytes_received(number, piece, self.now)
        elif answer.how == "chunked":
            for part in cut(b"0\r\n\r\n", cuts):
                wire += self.wire.bytes_received(number, part, self.now)
        elif answer.how == "close":
            wire += self.wire.end_received(number, self.now)
        if answer.over or not piece:
            exchange += self.exchange.end_received(number, self.now)
        self.compare(wire, exchange)

    def broken(self, number: int, how: int) -> None:
        """It breaks: by a reset, or by an end or bytes that HTTP does not allow here."""
        answer = self.answers.get(number)
        kind = ["reset", "eof", "garbage"][how % 3]
        if kind == "garbage" and answer is not None and answer.how != "chunked":
            kind = "eof"
        if kind == "eof" and answer is not None and answer.how == "close":
            kind = "reset"
        if kind == "reset":
            reset = ConnectionResetError(104, "reset")
            self.failed(number, "transport_failed", reset, reset)
            return
        malformed = RemoteProtocolError("what an HTTP client says of it")
        if kind == "eof":
            self.failed(number, "end_received", None, malformed)
        else:
            self.failed(number, "bytes_received", b"\0garbage\r\n\r\n", malformed)

    def failed(self, number: int, news: str, argument: Any, error: BaseException) -> None:
        arguments = () if argument is None else (argument,)
        written = getattr(self.wire, news)(number, *arguments, self.now)
        read = self.exchange.exchange_failed(number, error, self.now)
        assert CloseTransport(number) not in read
        # Bytes that are no HTTP do not close a transport, but a failure means that it is closed.
        self.compare([one for one in written if one != CloseTransport(number)], read)
        self.forget(number)

    # --- What has to be the same ---------------------------------------------------------------

    def compare(self, wire: Sequence[Any], exchange: Sequence[Any]) -> None:
        assert [shown(action) for action in wire] == [shown(action) for action in exchange]
        for action in exchange:
            if isinstance(action, StartExchange):
                self.requests[action.exchange] = action.request
            elif isinstance(action, CloseTransport):
                self.forget(action.transport)
        assert self.look(self.wire) == self.look(self.exchange)

    def forget(self, number: int) -> None:
        self.requests.pop(number, None)
        self.opened.discard(number)
        self.answers.pop(number, None)

    def look(self, machine: Carrier) -> Any:
        connection = machine.connection
        metrics = connection.snapshot(self.now)
        return (
            (machine.state, machine.deadline, machine.deadline_reason),
            (type(connection.error), connection.retries, connection.received_event_id),
            # Of what comes with the terminal event, cut finely, less may be looked at.
            replace(metrics, bytes_received=0),
        )


def shown(action: Any) -> Any:
    """Show an action. The two ways to ask for an exchange are one; of errors the kind counts."""
    match action:
        case OpenTransport(number) | StartExchange(number):
            return "start", number
        case ErrorOccurred(error):
            return "error", told_of(error)
        case StateChanged(old, new, at, error):
            return "state", old, new, at, type(error)
        case ScheduleReconnect(at, delay, attempt, error):
            return "reconnect", at, delay, attempt, type(error)
        case PostAnswered(token, response, content, error):
            return "post", token, response, content, error and told_of(error)
        case _:
            return action


def told_of(error: SSEError) -> Any:
    return (
        (type(error), type(error.cause), error.category, error.retryable),
        (error.url, error.attempt, error.elapsed, error.events_received),
        (error.request_sent, error.accepted, error.response, getattr(error, "body", None)),
    )


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Cut bytes at some of these places."""
    marks = sorted({place % (len(data) + 1) for place in places})
    pieces = [data[i:j] for i, j in zip([0, *marks], [*marks, len(data)], strict=True)]
    return [piece for piece in pieces if piece]


PLAYS = st.lists(
    st.tuples(
        st.sampled_from([*["go on"] * 12, "break", "tick", "post", *COMMANDS]),
        st.integers(0, 99),
        st.integers(0, 99),
        st.lists(st.integers(0, 200), max_size=4),
    ),
    min_size=20,
    max_size=50,
)


@settings(max_examples=150)
@given(
    PLAYS,
    st.sampled_from(["GET", "GET", "POST"]),
    st.fixed_dictionaries(
        {
            "pings": st.booleans(),
            "on_end": st.sampled_from([None, "finish", "reconnect"]),
            "replay": st.sampled_from(["safe", "always"]),
        }
    ),
    st.fixed_dictionaries(
        {
            "until": st.sampled_from([None, None, "stop"]),
            "include": st.sampled_from([[], ["connected", "comments", "ids"]]),
        }
    ),
)
def test_over_exchanges_a_stream_is_what_it_is_over_bytes(
    plays: list[tuple[str, int, int, list[int]]],
    method: str,
    config: dict[str, Any],
    options: dict[str, Any],
) -> None:
    limits = {"event": 150, "error_body": 8, "post_body": 100, "max_attempts": 3}
    twins = Twins(method, {"interval": 3.0, "idle": 20.0, **limits, **config}, options)
    twins.both("connect")
    for play in plays:
        twins.step(*play)
    twins.both("close")
    assert not twins.requests
