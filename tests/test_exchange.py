"""The exchange machine by example: what an HTTP client is asked for, and what becomes of it."""

import zlib
from collections.abc import Sequence
from typing import Any, TypeVar

import pytest

from machine_play import STREAM, configured
from sansio_sse import (
    Carrier,
    CloseTransport,
    ConnectError,
    ConnectionClosed,
    ConnectionLost,
    ConnectionMachine,
    ConnectionState,
    ErrorOccurred,
    ExchangeMachine,
    HTTPStatusError,
    LimitExceeded,
    PauseTransport,
    PostAnswered,
    PrepareRequest,
    Request,
    RequestAdmission,
    Response,
    ResponseTimeout,
    ResumeTransport,
    ServerSentEvent,
    SSEError,
    StartExchange,
    StreamTruncated,
    Timer,
    WriteTimeout,
)

URL = "http://example.com/events"
EVENT = b"data: hello\n\n"
STOP = b"data: stop\n\n"
OK = Response(200, (("Content-Length", "0"),))
S = ConnectionState
Action = TypeVar("Action")


class Exchange:
    """Each call tells the machine one thing and keeps the answer."""

    def __init__(
        self,
        *,
        method: str = "GET",
        headers: tuple[tuple[str, str], ...] = (),
        content: bytes | None = None,
        machine: dict[str, Any] | None = None,
        **config: Any,
    ) -> None:
        request = Request(method, URL, headers, content)
        connection = ConnectionMachine(request, configured(**config), **(machine or {}))
        self.machine = ExchangeMachine(connection)
        self.now = 0.0
        self.number = 0  # of the newest exchange
        self.request = request
        self.answer: Sequence[Any] = ()

    def tell(self, news: str, *args: Any, **options: Any) -> Sequence[Any]:
        self.answer = getattr(self.machine, news)(*args, self.now, **options)
        for action in self.answer:
            if isinstance(action, StartExchange):
                self.number, self.request = action.exchange, action.request
        return self.answer

    def sent(self) -> "Exchange":
        """Connect if need be, and send the request."""
        if self.state in (S.DISCONNECTED, S.ERROR):
            self.tell("connect")
        self.tell("transport_opened", self.number)
        self.tell("request_sent", self.number)
        return self

    def accepted(self, *pieces: bytes) -> "Exchange":
        self.sent().tell("response_received", self.number, STREAM)
        assert self.state is S.CONNECTED
        for piece in pieces:
            self.body(piece)
        return self

    def body(self, data: bytes) -> Sequence[Any]:
        return self.tell("bytes_received", self.number, data)

    def end(self) -> Sequence[Any]:
        return self.tell("end_received", self.number)

    def fails(self, error: Exception | None = None) -> Sequence[Any]:
        return self.tell("exchange_failed", self.number, error or ConnectionResetError("reset"))

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


# --- An attempt --------------------------------------------------------------------------------


def test_an_attempt_is_an_exchange_with_the_whole_request() -> None:
    exchange = Exchange(headers=(("X-Mine", "1"),), machine={"last_event_id": "7"})
    changed, start = exchange.tell("connect")
    assert changed.new is S.CONNECTING
    assert (start.exchange, start.request.url) == (1, URL)
    for name, value in (
        ("X-Mine", "1"),
        ("Last-Event-ID", "7"),
        ("Accept", "text/event-stream"),
    ):
        assert start.request.header(name) == value
    assert (exchange.machine.deadline, exchange.reason) == (10.0, Timer.CONNECT)
    exchange.now = 1.0
    assert not exchange.tell("transport_opened", 1)
    assert (exchange.machine.deadline, exchange.reason) == (31.0, Timer.WRITE)
    assert not exchange.tell("request_sent", 1)
    assert (exchange.machine.deadline, exchange.reason) == (61.0, Timer.RESPONSE)
    [changed] = exchange.tell("response_received", 1, STREAM)
    assert changed.new is S.CONNECTED


def test_what_was_never_opened_could_not_be_connected() -> None:
    exchange = Exchange(method="POST")
    exchange.tell("connect")
    exchange.fails(ConnectionRefusedError("refused"))
    assert type(exchange.error) is ConnectError
    assert exchange.error.request_sent is False
    assert exchange.state is S.RECONNECTING, "no byte was sent: even a POST is tried again"
    assert not exchange.said(CloseTransport), "what failed by itself needs no closing"
    [start] = exchange.due()
    assert start.exchange == 2


@pytest.mark.parametrize("news", [["transport_opened"], ["transport_opened", "request_sent"]])
def test_what_breaks_after_it_was_opened_was_lost(news: list[str]) -> None:
    exchange = Exchange(method="POST", content=b"x" * 10)
    exchange.tell("connect")
    for one in news:
        exchange.tell(one, 1)
    exchange.fails()
    assert type(exchange.error) is ConnectionLost
    assert exchange.error.request_sent is True
    assert exchange.state is S.ERROR, "a POST that may have had its effect is not repeated"
    assert exchange.machine.connection.metrics.bytes_sent == 10


def test_what_breaks_after_its_head_was_lost_however_little_was_told() -> None:
    exchange = Exchange()
    exchange.tell("connect")
    exchange.tell("response_received", 1, STREAM)
    exchange.fails()
    assert type(exchange.error) is ConnectionLost
    assert exchange.error.request_sent is True


def test_a_client_that_cannot_tell_has_one_time_for_all() -> None:
    exchange = Exchange(response=60)
    exchange.tell("connect")
    assert not exchange.tell("exchange_begun", 1)
    assert (exchange.machine.deadline, exchange.reason) == (60.0, Timer.RESPONSE)
    exchange.due()
    assert type(exchange.error) is ResponseTimeout
    assert exchange.error.request_sent is False
    assert exchange.said(CloseTransport) == [CloseTransport(1)]


def test_a_client_that_cannot_tell_may_say_so_afterwards() -> None:
    exchange = Exchange(method="POST")
    exchange.tell("connect")
    exchange.tell("exchange_begun", 1)
    deadline = exchange.machine.deadline
    assert not exchange.tell("transport_opened", 1)
    assert exchange.machine.deadline == deadline
    exchange.fails()
    assert exchange.error.request_sent is True
    assert exchange.state is S.ERROR


def test_each_phase_has_its_time() -> None:
    exchange = Exchange(connect=1, write=2, response=3, retries=False)
    for news, kind in (
        ([], ConnectError),
        (["transport_opened"], WriteTimeout),
        (["transport_opened", "request_sent"], ResponseTimeout),
    ):
        exchange.tell("connect")
        for one in news:
            exchange.tell(one, exchange.number)
        exchange.due()
        assert isinstance(exchange.error, kind)
        assert exchange.said(CloseTransport) == [CloseTransport(exchange.number)]
    assert exchange.now == 6.0


def test_a_redirect_is_another_exchange() -> None:
    exchange = Exchange(headers=(("Authorization", "s3cr3t"),)).sent()
    close, start = exchange.tell(
        "response_received", 1, Response(302, (("Location", "https://b.example/x"),))
    )
    assert close == CloseTransport(1)
    assert (start.exchange, start.request.url) == (2, "https://b.example/x")
    assert start.request.header("Authorization") is None
    exchange.sent()
    exchange.fails()
    assert type(exchange.error) is ConnectionLost


def test_what_is_not_known_of_a_redirect_is_not_taken_from_the_first_hop() -> None:
    exchange = Exchange().sent()
    exchange.tell("response_received", 1, Response(302, (("Location", "/x"),)))
    exchange.fails(ConnectionRefusedError("refused"))
    assert type(exchange.error) is ConnectError


def test_204_closes() -> None:
    exchange = Exchange().sent()
    close, changed = exchange.tell("response_received", 1, Response(204))
    assert close == CloseTransport(1)
    assert changed.new is S.CLOSED


@pytest.mark.parametrize("how", ["end", "fails", "due"])
def test_the_body_of_a_refusal_is_read_until_it_ends_somehow(how: str) -> None:
    exchange = Exchange().sent()
    assert not exchange.tell("response_received", 1, Response(404))
    assert not exchange.body(b"no")
    getattr(exchange, how)()
    assert isinstance(exchange.error, HTTPStatusError)
    assert exchange.error.body == b"no"
    assert exchange.said(CloseTransport) == ([] if how == "fails" else [CloseTransport(1)])


def test_the_body_of_a_refusal_is_read_no_further_than_its_limit() -> None:
    exchange = Exchange(error_body=3).sent()
    exchange.tell("response_received", 1, Response(404))
    exchange.body(b"nobody")
    assert isinstance(exchange.error, HTTPStatusError)
    assert exchange.error.body == b"nob"
    assert not exchange.body(b"more")


def test_an_end_without_a_head_is_a_lost_exchange() -> None:
    exchange = Exchange().sent()
    exchange.end()
    assert type(exchange.error) is ConnectionLost


# --- The stream --------------------------------------------------------------------------------


def test_while_the_body_goes_on_the_parsers_list_is_passed_through() -> None:
    exchange = Exchange().accepted(EVENT)
    answer = exchange.body(EVENT)
    assert type(answer) is list
    assert [type(action) for action in answer] == [ServerSentEvent]
    assert not exchange.body(b"data: hal")
    exchange.body(b"f\n\n")
    assert exchange.events == ["half"]


def test_the_end_of_the_body_is_the_end_of_the_stream() -> None:
    exchange = Exchange(on_end="finish").accepted(EVENT)
    close, changed = exchange.end()
    assert close == CloseTransport(1)
    assert changed.new is S.DISCONNECTED
    assert not exchange.end()


def test_a_stream_that_goes_on_is_asked_for_again() -> None:
    exchange = Exchange().accepted(b"id: 7\n" + EVENT)
    exchange.end()
    assert type(exchange.error) is ConnectionLost
    [start] = exchange.due()
    assert start.request.header("Last-Event-ID") == "7"


def test_a_stream_that_breaks_is_asked_for_again() -> None:
    exchange = Exchange(machine={"until": "stop"}).accepted(b"id: 7\n" + EVENT)
    exchange.fails()
    assert type(exchange.error) is StreamTruncated
    assert not exchange.said(CloseTransport)
    [start] = exchange.due()
    assert start.request.header("Last-Event-ID") == "7"


def test_the_terminal_event_drops_the_exchange() -> None:
    exchange = Exchange(machine={"until": "stop"}).accepted()
    exchange.body(EVENT + STOP + EVENT)
    assert exchange.events == ["hello", "stop"]
    assert exchange.answer[2] == CloseTransport(1)
    assert exchange.state is S.DISCONNECTED
    assert not exchange.body(EVENT)


def test_an_event_over_the_limit_drops_the_exchange() -> None:
    exchange = Exchange(event=50).accepted()
    exchange.body(b"data: " + b"x" * 100)
    assert exchange.said(CloseTransport) == [CloseTransport(1)]
    assert exchange.state is S.ERROR


def test_content_codings_are_undone() -> None:
    exchange = Exchange().sent()
    gzip = Response(200, (*STREAM.headers, ("Content-Encoding", "gzip")))
    exchange.tell("response_received", 1, gzip)
    exchange.body(zlib.compress(EVENT, wbits=31))
    assert exchange.events == ["hello"]


def test_pauses_are_of_the_exchange() -> None:
    exchange = Exchange().accepted()
    assert exchange.tell("pause") == [PauseTransport(1)]
    assert exchange.tell("resume") == [ResumeTransport(1)]
    exchange.tell("pause")
    exchange.tell("restart")
    exchange.sent().tell("response_received", 2, STREAM)
    assert exchange.said(PauseTransport) == [PauseTransport(2)]


@pytest.mark.parametrize("command", ["close", "disconnect", "restart"])
@pytest.mark.parametrize("phase", ["connecting", "accepted"])
def test_a_command_drops_what_is_under_way(phase: str, command: str) -> None:
    exchange = Exchange()
    exchange.tell("connect")
    if phase == "accepted":
        exchange.accepted()
    exchange.tell(command)
    assert exchange.said(CloseTransport) == [CloseTransport(1)]
    assert [start.exchange for start in exchange.said(StartExchange)] == (
        [2] if command == "restart" else []
    )
    for news in (("transport_opened",), ("response_received", STREAM), ("bytes_received", EVENT)):
        assert not exchange.tell(news[0], 1, *news[1:])


def test_nothing_is_carried_by_what_carries_exchanges_in_general() -> None:
    machine = Carrier(ConnectionMachine(Request("GET", URL)))
    with pytest.raises(NotImplementedError):
        machine.connect(0.0)


def test_refused_events_drop_the_exchange() -> None:
    exchange = Exchange().accepted(EVENT)
    exchange.tell("events_refused", "")
    assert exchange.said(CloseTransport) == [CloseTransport(1)]
    assert exchange.state is S.ERROR


# --- Asked beforehand --------------------------------------------------------------------------


def test_preparing_comes_before_the_exchange() -> None:
    exchange = Exchange(machine={"prepare": True})
    _, prepare = exchange.tell("connect")
    assert isinstance(prepare, PrepareRequest)
    [start] = exchange.tell("request_prepared", 1, prepare.request.with_header("X", "1"))
    assert start.request.header("X") == "1"
    assert start.exchange == 1


def test_a_prepare_is_taken_back_like_an_exchange() -> None:
    exchange = Exchange(machine={"prepare": True})
    exchange.tell("connect")
    assert exchange.tell("close")[0] == CloseTransport(1)


def test_a_prepare_that_fails_is_a_failed_attempt() -> None:
    exchange = Exchange(machine={"prepare": True})
    exchange.tell("connect")
    exchange.tell("prepare_failed", 1, ValueError("no"))
    assert exchange.state is S.RECONNECTING


def test_admission_comes_before_the_exchange() -> None:
    elsewhere = Request("GET", "http://elsewhere.example/events")
    exchange = Exchange(machine={"admission": True})
    exchange.tell("connect")
    exchange.tell("restart")
    assert exchange.answer == [CloseTransport(1), RequestAdmission(2)]
    [start] = exchange.tell("admitted", 2, elsewhere, keep_cursor=False)
    assert (start.exchange, start.request.url) == (2, elsewhere.url)


# --- What is left of a body --------------------------------------------------------------------


def finite(**options: Any) -> Exchange:
    machine = {"reuse": True, "until": "stop"} | options.pop("machine", {})
    return Exchange(machine=machine, **options)


def test_what_ended_well_is_read_to_its_end() -> None:
    exchange = finite().accepted(EVENT + STOP)
    assert exchange.state is S.DISCONNECTED
    assert not exchange.said(CloseTransport)
    assert exchange.machine.connection.draining
    assert not exchange.body(b": and so on\n\n")
    assert exchange.end() == [CloseTransport(1)]
    assert not exchange.machine.connection.draining
    assert not exchange.end()
    assert exchange.machine.deadline is None


def test_what_has_ended_already_is_not_waited_for() -> None:
    exchange = Exchange(machine={"reuse": True}, on_end="finish").accepted(EVENT)
    exchange.end()
    assert exchange.said(CloseTransport) == [CloseTransport(1)]
    assert exchange.state is S.DISCONNECTED
    assert not exchange.machine.connection.draining
    assert exchange.machine.deadline is None


def test_the_rest_may_break() -> None:
    exchange = finite().accepted(STOP)
    assert not exchange.fails()
    assert not exchange.machine.connection.draining
    assert not exchange.end()


def test_the_rest_may_be_too_long() -> None:
    exchange = finite().accepted(STOP)
    assert not exchange.body(b"x" * 65536)
    assert exchange.body(b"x") == [CloseTransport(1)]
    assert not exchange.machine.connection.draining
    assert not exchange.body(b"x")


def test_the_rest_may_take_too_long() -> None:
    exchange = finite().accepted(STOP)
    assert exchange.due() == [CloseTransport(1)]
    assert exchange.now == 1.0
    assert not exchange.machine.connection.draining
    assert not exchange.end()


def test_what_is_paused_cannot_be_read_to_its_end() -> None:
    exchange = finite().accepted()
    exchange.tell("pause")
    exchange.body(STOP)
    assert exchange.said(CloseTransport) == [CloseTransport(1)]
    assert not exchange.machine.connection.draining


def test_the_next_stream_does_not_wait_for_the_rest() -> None:
    exchange = finite().accepted(STOP)
    exchange.accepted(EVENT)
    assert exchange.number == 2
    assert not exchange.tell("bytes_received", 1, EVENT)
    exchange.body(STOP)
    assert exchange.said(CloseTransport) == [CloseTransport(1)], "one rest at a time"
    assert exchange.end() == [CloseTransport(2)]


def test_a_command_drops_the_rest() -> None:
    exchange = finite().accepted(STOP)
    exchange.tell("close")
    assert exchange.said(CloseTransport) == [CloseTransport(1)]
    assert not exchange.body(EVENT)


# --- Pings -------------------------------------------------------------------------------------


def pinging(**options: Any) -> Exchange:
    options = {"interval": 30, "timeout": 5, "max_missed": 2, "idle": 0, **options}
    exchange = Exchange(pings=True, headers=(("Authorization", "token"),), **options).accepted()
    [start] = exchange.due()
    assert (start.exchange, start.request.url) == (2, "http://example.com/ping")
    assert start.request.header("Authorization") == "token"
    return exchange


def missed(exchange: Exchange) -> int:
    return exchange.machine.connection.missed_heartbeats


def test_the_head_is_answer_enough_to_a_ping() -> None:
    exchange = pinging().sent()
    assert exchange.tell("response_received", 2, OK) == [CloseTransport(2)]
    assert missed(exchange) == 0
    assert not exchange.body(b"pong")
    assert not exchange.end()


@pytest.mark.parametrize("how", ["500", "broken", "refused", "late"])
def test_whatever_else_happens_to_a_ping_is_a_miss(how: str) -> None:
    exchange = pinging()
    if how == "500":
        assert exchange.tell("response_received", 2, Response(500)) == [CloseTransport(2)]
    elif how == "late":
        assert exchange.due() == [CloseTransport(2)]
    else:
        if how == "broken":
            exchange.sent()
        assert not exchange.fails()
    assert missed(exchange) == 1
    assert exchange.state is S.CONNECTED
    assert not exchange.tell("response_received", 2, OK)
    assert missed(exchange) == 1


def test_the_ping_that_is_one_miss_too_many_drops_the_stream() -> None:
    exchange = pinging()
    exchange.fails()
    exchange.due()
    exchange.fails()
    assert exchange.said(CloseTransport) == [CloseTransport(1)]
    assert exchange.state is S.RECONNECTING


def test_a_lost_stream_drops_its_ping() -> None:
    exchange = pinging()
    exchange.tell("exchange_failed", 1, ConnectionResetError())
    assert exchange.said(CloseTransport) == [CloseTransport(2)]


# --- Posts -------------------------------------------------------------------------------------


def posting(**options: Any) -> Exchange:
    exchange = Exchange(**options).accepted()
    exchange.tell("post", "token", "/up", headers=(("X-Mine", "1"),), content=b"hi")
    [start] = exchange.said(StartExchange)
    assert (start.exchange, start.request.url) == (2, "http://example.com/up")
    assert (start.request.method, start.request.content) == ("POST", b"hi")
    assert start.request.header("X-Mine") == "1"
    return exchange


# The time comes last but one in `post`, so it has a way of its own.
def post(exchange: Exchange, token: object) -> None:
    exchange.answer = exchange.machine.post(token, "/up", exchange.now)


def test_a_post_is_answered_with_its_whole_body() -> None:
    exchange = posting().sent()
    assert not exchange.tell("response_received", 2, Response(201))
    assert not exchange.body(b"do")
    assert not exchange.body(b"ne")
    close, answered = exchange.end()
    assert close == CloseTransport(2)
    assert answered == PostAnswered("token", Response(201), b"done")
    assert not exchange.end()
    assert exchange.machine.connection.metrics.bytes_sent == 2
    assert exchange.state is S.CONNECTED


def test_a_post_that_is_unknown_cannot_fail() -> None:
    exchange = posting()
    assert not exchange.tell("exchange_failed", 3, OSError("late"))
    assert not exchange.tell("bytes_received", 3, b"late")
    assert exchange.sent().tell("abandon_post", "token") == [CloseTransport(2)]
    assert not exchange.fails()


def test_an_end_of_a_post_without_a_head_is_ignored() -> None:
    exchange = posting().sent()
    assert not exchange.end()
    assert not exchange.tell("response_received", 2, OK)
    assert exchange.end()


@pytest.mark.parametrize(
    ("how", "kind", "sent"),
    [("refused", ConnectError, False), ("broken", ConnectionLost, True), ("cut", None, True)],
)
def test_a_post_that_fails_says_why_and_whether_it_was_sent(
    how: str, kind: type[SSEError] | None, sent: bool
) -> None:
    exchange = posting()
    if how == "broken":
        exchange.sent()
    if how == "cut":
        exchange.tell("response_received", 2, OK)
    exchange.fails()
    [answered] = exchange.answer
    assert isinstance(answered.error, kind or ConnectionLost)
    if how != "cut":
        assert answered.error.request_sent is sent
    assert exchange.state is S.CONNECTED


@pytest.mark.parametrize("size", [10, 11])
def test_the_answer_to_a_post_has_a_limit(size: int) -> None:
    exchange = posting(post_body=10).sent()
    exchange.tell("response_received", 2, OK)
    exchange.body(b"x" * 5)
    exchange.body(b"x" * (size - 5))
    if size == 10:
        exchange.end()
    [close, answered] = exchange.answer
    assert close == CloseTransport(2)
    assert (answered.error is None) is (size == 10)
    assert isinstance(answered.error, LimitExceeded | None)


def test_a_post_may_be_given_up() -> None:
    exchange = posting()
    assert exchange.tell("abandon_post", "token") == [CloseTransport(2)]
    assert not exchange.tell("abandon_post", "token")
    assert not exchange.tell("response_received", 2, OK)


def test_close_answers_the_posts() -> None:
    exchange = posting()
    exchange.tell("close")
    [answered] = exchange.said(PostAnswered)
    assert isinstance(answered.error, ConnectionClosed)
    assert sorted(close.transport for close in exchange.said(CloseTransport)) == [1, 2]


def test_several_posts_are_told_apart() -> None:
    exchange = posting()
    post(exchange, "second")
    for number in (3, 2):
        assert not exchange.tell("response_received", number, OK)
    _, answered = exchange.tell("end_received", 3)
    assert answered.token == "second"
    _, answered = exchange.tell("end_received", 2)
    assert answered.token == "token"
