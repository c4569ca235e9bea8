"""The connection machine by example: what comes back, what follows, and everything else."""

import pickle
import zlib
from typing import Any

import pytest

from machine_play import STREAM, URL, Play, S
from sansio_sse import (
    Accept,
    Attempt,
    BufferOverflow,
    Comment,
    ConfigError,
    Connect,
    Connected,
    ConnectError,
    ConnectionClosed,
    ConnectionLost,
    ConnectionMachine,
    ConnectTimeout,
    ContentEncodingError,
    ContentTypeError,
    Disconnect,
    ErrorOccurred,
    EventTooLarge,
    Fail,
    HeartbeatTimeout,
    HTTPStatusError,
    IdleTimeout,
    InsecureRedirect,
    LastEventIdChanged,
    LimitExceeded,
    LocalProtocolError,
    PauseReading,
    PostAnswered,
    PrepareRequest,
    ReconnectExhausted,
    RemoteProtocolError,
    Request,
    Response,
    ResponseTimeout,
    ResumeReading,
    Retry,
    ScheduleReconnect,
    SendPing,
    SendPost,
    ServerSentEvent,
    SSEError,
    StateChanged,
    Stop,
    StreamTruncated,
    TLSError,
    TooManyRedirects,
    WriteTimeout,
    is_connection_error,
    is_streaming_error,
)

SECRET = ("Authorization", "Bearer s3cr3t")
EVENT = b"data: hello\n\n"


def event(data: str, **fields: Any) -> ServerSentEvent:
    return ServerSentEvent(data=data, **fields)


# --- Beginning ---------------------------------------------------------------------------------


def test_a_new_machine_waits_for_nothing() -> None:
    play = Play()
    assert (play.state, play.machine.deadline, play.machine.deadline_reason) == (
        S.DISCONNECTED,
        None,
        None,
    )
    assert play.machine.request.url == URL
    assert play.machine.response is None
    assert play.machine.error is None
    assert not play.tell("tick")


def test_connect_asks_for_an_event_stream_and_no_compression() -> None:
    play = Play()
    changed, connect = play.connect()
    assert changed == StateChanged(S.DISCONNECTED, S.CONNECTING, 100.0)
    assert connect == Connect(play.request, 1)
    assert {name.lower(): value for name, value in play.request.headers} == {
        "accept": "text/event-stream",
        "cache-control": "no-store",
        "accept-encoding": "identity",
        "user-agent": "sansio-sse",
    }


def test_headers_of_the_caller_win_over_the_defaults() -> None:
    play = Play(headers=(("user-agent", "mine"), SECRET, ("Accept", "*/*")))
    play.connect()
    names = [name.lower() for name, _ in play.request.headers]
    assert len(names) == len(set(names)) == 5
    assert play.request.header("User-Agent") == "mine"
    assert play.request.header("Accept") == "*/*"


def test_a_full_set_of_headers_is_left_alone() -> None:
    headers = tuple((name, "x") for name in ("Accept", "Cache-Control", "Accept-Encoding"))
    play = Play(headers=(*headers, ("User-Agent", "x")))
    play.connect()
    assert play.request.headers == (*headers, ("User-Agent", "x"))


@pytest.mark.parametrize(
    ("header", "argument", "sent"),
    [
        ("7", "", "7"),
        ("7", "8", "8"),
        ("", "9", "9"),
        ("", "ü 9", "ü 9"),
        ("", " 9\t", "9"),
        ("", "  ", None),
        ("", "", None),
    ],
)
def test_the_cursor_comes_from_the_argument_or_the_header(
    header: str, argument: str, sent: str | None
) -> None:
    headers = (("Last-Event-ID", header),) if header else ()
    play = Play(headers=headers, machine={"last_event_id": argument})
    assert play.machine.received_event_id == (argument or header)
    play.connect()
    assert play.request.header("last-event-id") == sent
    assert len([name for name, _ in play.request.headers if name.lower() == "last-event-id"]) == (
        sent is not None
    )


@pytest.mark.parametrize("bad", ["1\r", "1\n2", "\0"])
def test_cursors_that_cannot_be_a_header_are_refused(bad: str) -> None:
    with pytest.raises(ConfigError):
        Play(machine={"last_event_id": bad})
    play = Play()
    with pytest.raises(ConfigError):
        play.tell("restart", last_event_id=bad)
    assert play.state is S.DISCONNECTED


def test_unknown_includes_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="pings"):
        Play(machine={"include": ["pings"]})


def test_a_ping_endpoint_that_cannot_be_is_refused_at_once() -> None:
    with pytest.raises(ConfigError):
        Play(pings=True, ping_endpoint="ftp://x/")


@pytest.mark.parametrize("state", [S.CONNECTING, S.CONNECTED, S.RECONNECTING, S.CLOSED])
def test_connect_is_refused_where_something_is_under_way_or_over(state: S) -> None:
    play = in_state(state)
    with pytest.raises(LocalProtocolError, match=state.value):
        play.connect()
    assert play.state is state


def in_state(state: S, **options: Any) -> Play:
    play = Play(**options)
    if state is not S.DISCONNECTED:
        play.connect()
    if state is S.CONNECTED:
        play.accepted()
    elif state is S.RECONNECTING:
        play.failed()
    elif state is S.ERROR:
        play.refused(404)
    elif state is S.CLOSED:
        play.tell("close")
    assert play.state is state
    play.answer = ()
    return play


# --- What comes back, and what follows ---------------------------------------------------------


@pytest.mark.parametrize(
    "content_type",
    [
        "text/event-stream",
        "Text/Event-STREAM",
        "text/event-stream; charset=utf-8;x=y",
        " text/event-stream ;a",
    ],
)
def test_an_event_stream_is_accepted(content_type: str) -> None:
    play = Play()
    play.connect()
    play.now += 0.25
    [changed] = play.respond(200, ("content-type", content_type))
    assert changed == StateChanged(S.CONNECTING, S.CONNECTED, 100.25)
    assert play.machine.response is not None
    assert play.waits_for == ("IDLE", 300.0)
    assert play.machine.uptime(101.25) == 1.0
    assert list(play.body(EVENT)) == [event("hello")]


@pytest.mark.parametrize(
    "content_type", ["text/html", "text/event-stream2", "", "text/plain; text/event-stream"]
)
def test_another_content_type_is_an_error_that_shows_the_body(content_type: str) -> None:
    play = Play()
    play.connect()
    assert not play.respond(200, ("Content-Type", content_type))
    assert play.state is S.CONNECTING
    play.body(b"<h1>Log in</h1>")
    play.end()
    assert play.changes == [S.ERROR]
    error = play.error
    assert isinstance(error, ContentTypeError)
    assert error.body == b"<h1>Log in</h1>"
    assert play.machine.error is error
    assert is_connection_error(error)
    assert play.machine.deadline is None


def test_no_content_type_at_all_is_an_error() -> None:
    play = Play()
    play.connect()
    play.refused(200)
    assert "no content type" in str(play.error)


@pytest.mark.parametrize(
    "status", [201, 203, 206, 300, 304, 305, 400, 401, 403, 404, 410, 418, 501, 505, 799]
)
def test_a_status_that_is_not_retryable_is_final(status: int) -> None:
    play = Play()
    play.connect()
    play.refused(status, body=b"because")
    error = play.error
    assert isinstance(error, HTTPStatusError)
    assert (error.status, error.body, error.retryable) == (status, b"because", False)
    assert str(status) in str(error)
    assert play.changes == [S.ERROR]
    assert isinstance(play.answer[0], Disconnect)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_retryable_status_is_retried(status: int) -> None:
    play = Play()
    play.connect()
    play.refused(status)
    assert play.changes == [S.RECONNECTING]
    assert play.delay == 0.1
    assert play.waits_for == ("RECONNECT", 0.1)
    [connect] = play.due()
    assert connect.attempt == 2


def test_which_statuses_are_retried_can_be_configured() -> None:
    play = Play(retry_statuses={404})
    play.connect()
    play.refused(404)
    assert play.changes == [S.RECONNECTING]
    play.due()
    play.refused(503)
    assert play.changes == [S.ERROR]


def test_204_closes_without_an_error() -> None:
    play = Play()
    play.connect()
    disconnect, changed = play.respond(204)
    assert disconnect == Disconnect(1)
    assert changed == StateChanged(S.CONNECTING, S.CLOSED, 100.0)
    assert play.machine.error is None
    assert play.metrics.connect_success_rate == 100.0


def test_204_after_a_retry_closes_too() -> None:
    play = in_state(S.RECONNECTING)
    play.due()
    play.respond(204)
    assert play.changes == [S.CLOSED]
    assert play.metrics.reconnect_successes == 1


@pytest.mark.parametrize(
    "error",
    [ConnectionRefusedError(111, "Connection refused"), OSError("no such host"), TimeoutError()],
)
def test_a_failed_connect_is_retried(error: Exception) -> None:
    play = Play()
    play.connect()
    play.failed(error)
    assert play.changes == [S.RECONNECTING]
    assert isinstance(play.error, ConnectError)
    assert play.error.request_sent is False
    assert play.error.cause is error
    assert "example.com:80" in str(play.error)
    assert is_connection_error(play.error)


def test_a_reset_before_the_response_is_retried() -> None:
    play = Play()
    play.connect()
    play.tell("request_sent", 1)
    play.lost()
    assert play.changes == [S.RECONNECTING]
    assert type(play.error) is ConnectionLost
    assert is_connection_error(play.error)
    assert play.error.request_sent is True


def test_a_reset_of_the_stream_is_retried() -> None:
    play = Play().accepted(body=EVENT)
    play.now += 5
    play.lost()
    assert play.changes == [S.RECONNECTING]
    error = play.error
    assert is_streaming_error(error)
    assert (error.url, error.attempt, error.elapsed, error.events_received) == (URL, 0, 5.0, 1)
    assert error.response == STREAM


def test_a_certificate_that_does_not_verify_is_final() -> None:
    class Refused(OSError):
        verify_code = 10
        verify_message = "certificate has expired"

    play = Play()
    play.connect()
    play.failed(Refused())
    assert play.changes == [S.ERROR]
    assert isinstance(play.error, TLSError)
    assert "expired" in str(play.error)


def test_malformed_http_is_retried() -> None:
    play = Play()
    play.connect()
    play.lost(RemoteProtocolError("malformed"))
    assert play.changes == [S.RECONNECTING]


def test_a_truncated_body_is_retried() -> None:
    play = Play().accepted()
    play.lost(RemoteProtocolError("3 bytes missing"))
    assert play.changes == [S.RECONNECTING]


def test_the_clean_end_of_an_endless_stream_is_retried() -> None:
    play = Play().accepted()
    play.end()
    assert play.changes == [S.RECONNECTING]
    assert isinstance(play.error, ConnectionLost)


@pytest.mark.parametrize(
    ("method", "on_end"), [("GET", "finish"), ("POST", None), ("POST", "finish")]
)
def test_the_clean_end_of_a_finite_stream_is_its_end(method: str, on_end: Any) -> None:
    play = Play(method=method, on_end=on_end).accepted(body=EVENT)
    disconnect, changed = play.end()
    assert disconnect == Disconnect(1)
    assert changed == StateChanged(S.CONNECTED, S.DISCONNECTED, 100.0)
    assert play.machine.deadline is None
    assert play.connect()


def test_a_post_may_be_told_to_reconnect() -> None:
    play = Play(method="POST", on_end="reconnect").accepted(body=b"id: 1\ndata: x\n\n")
    play.end()
    assert play.changes == [S.RECONNECTING]


def test_an_exchange_that_ends_without_a_response_is_lost() -> None:
    play = Play()
    play.connect()
    play.end()
    assert play.changes == [S.RECONNECTING]
    assert isinstance(play.error, ConnectionLost)


def test_an_event_over_the_limit_is_final_and_the_ones_before_it_count() -> None:
    play = Play(event=100).accepted()
    play.body(EVENT + b"data: " + b"x" * 200)
    assert play.events == ["hello"]
    assert play.changes == [S.ERROR]
    assert isinstance(play.error, EventTooLarge)
    assert is_streaming_error(play.error)
    assert [type(action) for action in play.answer] == [
        ServerSentEvent,
        Disconnect,
        ErrorOccurred,
        StateChanged,
    ]


def test_a_refused_buffer_is_final_and_gives_the_cursor_back() -> None:
    play = Play().accepted(body=b"id: 1\ndata: a\n\nid: 2\ndata: b\n\n")
    play.tell("events_refused", "1")
    assert play.changes == [S.ERROR]
    assert isinstance(play.error, BufferOverflow)
    assert play.machine.received_event_id == "1"
    play.connect()
    assert play.request.header("Last-Event-ID") == "1"


def test_events_refused_out_of_the_last_read_of_a_lost_stream_are_not_skipped() -> None:
    play = Play().accepted(body=b"id: 1\ndata: a\n\nid: 2\ndata: b\n\n")
    play.lost()
    assert play.state is S.RECONNECTING
    play.tell("events_refused", "1")
    assert play.changes == [S.ERROR]
    assert isinstance(play.error, BufferOverflow)
    assert play.machine.received_event_id == "1"


def test_events_refused_out_of_the_last_read_of_a_finished_stream_are_told() -> None:
    play = Play(on_end="finish").accepted(body=b"id: 1\ndata: a\n\nid: 2\ndata: b\n\n")
    play.end()
    [told] = play.tell("events_refused", "1")
    assert isinstance(told.error, BufferOverflow)
    assert told.error.accepted
    assert play.state is S.DISCONNECTED
    assert play.machine.received_event_id == "1"
    assert play.metrics.errors == {"usage": 1}


def test_events_refused_after_the_close_change_nothing() -> None:
    play = in_state(S.CLOSED)
    assert not play.tell("events_refused", "1")


# --- Redirects ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "method", "followed"),
    [
        (301, "GET", "GET"),
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "POST", "GET"),
        (303, "PUT", "GET"),
        (301, "PUT", "PUT"),
        (302, "PUT", "PUT"),
        (307, "POST", "POST"),
        (308, "POST", "POST"),
        (307, "GET", "GET"),
    ],
)
def test_redirects_follow_the_method_rules_inside_the_attempt(
    status: int, method: str, followed: str
) -> None:
    content = None if method == "GET" else b"{}"
    play = Play(method=method, content=content, headers=(SECRET, ("Content-Type", "a/b")))
    play.connect()
    assert list(play.respond(status, ("Location", "../moved?x=1"))) == [
        Disconnect(1),
        Connect(play.request, 2),
    ]
    assert play.state is S.CONNECTING
    assert (play.request.method, play.request.url) == (followed, "http://example.com/moved?x=1")
    assert play.request.header("Authorization") == "Bearer s3cr3t"
    kept = followed != "GET"
    assert play.request.content == (content if kept else None)
    assert (play.request.header("Content-Type") is not None) is (kept or method == "GET")
    assert play.metrics.connect_attempts == 1
    assert play.waits_for == ("CONNECT", 10.0)


def test_a_redirect_has_its_own_connect_timeout() -> None:
    play = Play()
    play.connect()
    play.now += 8
    play.respond(302, ("Location", "/a"))
    play.now += 9
    assert not play.tell("tick")
    play.now += 1
    play.tell("tick")
    assert isinstance(play.error, ConnectTimeout)


def test_redirects_are_followed_up_to_the_limit() -> None:
    play = Play(redirects=3)
    play.connect()
    for number in range(3):
        play.respond(302, ("Location", f"/{number}"))
        assert play.state is S.CONNECTING
    play.refused(302, ("Location", "/3"))
    assert isinstance(play.error, TooManyRedirects)
    assert play.changes == [S.ERROR]


def test_no_redirect_at_all_may_be_allowed() -> None:
    play = Play(redirects=0)
    play.connect()
    play.refused(301, ("Location", "/"))
    assert isinstance(play.error, TooManyRedirects)


@pytest.mark.parametrize(
    ("location", "kind"),
    [
        (None, HTTPStatusError),
        ("http://[", HTTPStatusError),
        ("https:]", HTTPStatusError),
        ("https:example.com", HTTPStatusError),
        ("//exa mple.com/", HTTPStatusError),
        ("http://example.com:99999/", HTTPStatusError),
        ("file:///etc/passwd", InsecureRedirect),
        ("javascript:alert(1)", InsecureRedirect),
        ("ftp://example.com/", InsecureRedirect),
    ],
)
def test_a_location_that_cannot_be_followed_is_an_error(location: str | None, kind: type) -> None:
    play = Play()
    play.connect()
    play.refused(302, *([("Location", location)] if location is not None else []))
    assert type(play.error) is kind
    assert play.changes == [S.ERROR]
    assert play.error.response is not None


def test_https_to_http_is_refused() -> None:
    play = Play(url="https://example.com/")
    play.connect()
    play.refused(301, ("Location", "http://example.com/"))
    assert isinstance(play.error, InsecureRedirect)


def test_a_body_is_not_sent_to_another_origin() -> None:
    play = Play(method="POST", content=b"secret")
    play.connect()
    play.refused(307, ("Location", "http://other.example/"))
    assert isinstance(play.error, InsecureRedirect)
    assert play.changes == [S.ERROR]


def test_a_location_in_utf8_is_read_as_utf8() -> None:
    play = Play()
    play.connect()
    play.respond(302, ("Location", "/é".encode().decode("latin-1")))
    assert play.request.url == "http://example.com/%C3%A9"


@pytest.mark.parametrize("prepare", [False, True])
def test_another_origin_gets_no_credentials_and_nothing_returns_later(prepare: bool) -> None:
    headers = (SECRET, ("X-API-Key", "s3cr3t"), ("Cookie", "s3cr3t"), ("Accept-Language", "cy"))
    play = Play(headers=headers, machine={"prepare": prepare})
    for _ in range(2):  # the next attempt repeats the permanent hops by the same rules
        play.connect() if play.state is S.DISCONNECTED else play.due()
        if prepare:
            play.tell("request_prepared", play.stream, play.request)
        first_time = play.request.url == URL
        if first_time:
            play.respond(301, ("Location", "http://other.example/a"))
        assert play.request.url == "http://other.example/a"
        stripped = [name for name, _ in play.request.headers]
        assert set(stripped) == {
            "Accept",
            "Accept-Encoding",
            "Cache-Control",
            "User-Agent",
            "Accept-Language",
        }
        play.respond(302, ("Location", URL))  # back home
        assert "s3cr3t" not in repr(play.request.headers)
        play.failed()


def test_permanent_redirects_are_remembered_and_temporary_ones_are_not() -> None:
    play = Play()
    play.connect()
    play.respond(301, ("Location", "/a"))
    play.respond(308, ("Location", "/b"))
    play.respond(302, ("Location", "/c"))
    play.respond(301, ("Location", "/d"))  # behind a temporary one: not for ever
    play.failed()
    play.due()
    assert play.request.url == "http://example.com/b"
    play.respond(301, ("Location", "/e"))
    play.failed()
    play.due()
    assert play.request.url == "http://example.com/e"
    play.tell("disconnect")
    play.connect()
    assert play.request.url == URL


def test_a_post_that_became_a_get_for_good_stays_one() -> None:
    play = Play(method="POST", content=b"{}", on_end="reconnect")
    play.connect()
    play.respond(301, ("Location", "/a"))
    play.accepted()
    play.lost()
    assert play.state is S.RECONNECTING  # only the GET is repeated
    play.due()
    assert (play.request.method, play.request.content) == ("GET", None)


def test_a_server_that_moves_for_ever_does_not_make_us_remember_for_ever() -> None:
    play = Play(redirects=3, max_attempts=0)
    play.connect()
    urls = []
    for number in range(5):
        play.respond(308, ("Location", f"/{number}"))
        play.failed()
        play.due()
        urls.append(play.request.url.removeprefix("http://example.com"))
    assert urls == ["/0", "/1", "/2", "/events", "/4"]


def test_remembered_redirects_belong_to_the_url_they_were_given_for() -> None:
    play = Play(machine={"prepare": True})
    play.connect()
    play.tell("request_prepared", 1, Request("GET", "http://example.com/one"))
    play.respond(301, ("Location", "/moved"))
    play.failed()
    play.due()
    play.tell("request_prepared", play.stream, Request("GET", "http://example.com/two"))
    assert play.request.url == "http://example.com/two"
    play.respond(308, ("Location", "/other"))
    play.failed()
    play.due()
    play.tell("request_prepared", play.stream, Request("GET", "http://example.com/one"))
    assert play.request.url == "http://example.com/one"


def test_a_remembered_redirect_is_refused_when_the_prepared_request_may_not_follow_it() -> None:
    play = Play(machine={"prepare": True})
    play.connect()
    play.tell("request_prepared", 1, Request("POST", URL))
    play.respond(308, ("Location", "http://other.example/"))
    play.failed()
    play.due()
    play.tell("request_prepared", play.stream, Request("POST", URL, (), b"now with a body"))
    assert isinstance(play.error, InsecureRedirect)
    assert play.changes == [S.ERROR]


def test_the_cursor_goes_along_to_another_origin() -> None:
    play = Play(machine={"last_event_id": "7"})
    play.connect()
    play.respond(307, ("Location", "http://other.example/"))
    assert play.request.header("Last-Event-ID") == "7"


# --- Refusing responses and their bodies -------------------------------------------------------


def test_an_error_body_is_kept_up_to_the_limit() -> None:
    play = Play(error_body=10)
    play.connect()
    play.respond(500)
    assert play.waits_for == ("RESPONSE", 60.0)
    assert not play.body(b"12345")
    play.body(b"67890 and more")
    assert isinstance(play.error, HTTPStatusError)
    assert play.error.body == b"1234567890"
    assert play.state is S.RECONNECTING


def test_no_error_body_need_be_waited_for() -> None:
    play = Play(error_body=0)
    play.connect()
    play.respond(404)
    assert play.changes == [S.ERROR]


@pytest.mark.parametrize("how", ["end", "lost", "failed", "time"])
def test_an_error_body_may_end_in_any_way(how: str) -> None:
    play = Play()
    play.connect()
    play.tell("request_sent", 1)
    play.respond(404)
    play.body(b"no")
    play.due() if how == "time" else getattr(play, how)()
    assert isinstance(play.error, HTTPStatusError)
    assert play.error.body == b"no"
    assert play.changes == [S.ERROR]


def test_the_body_of_a_refusal_before_the_request_was_written_is_bounded_in_time() -> None:
    play = Play()
    play.connect()
    play.tell("transport_opened", 1)
    play.respond(413)
    assert play.waits_for == ("RESPONSE", 60.0)
    assert not play.tell("request_sent", 1)
    play.due()
    assert play.state is S.ERROR


def test_an_error_body_in_gzip_is_shown_decoded() -> None:
    play = Play()
    play.connect()
    text = zlib.compress(b"plain words", wbits=31)
    play.refused(404, ("Content-Encoding", "gzip"), body=text)
    assert isinstance(play.error, HTTPStatusError)
    assert play.error.body == b"plain words"


def test_an_error_body_that_lies_about_its_coding_ends_there() -> None:
    play = Play()
    play.connect()
    play.respond(404, ("Content-Encoding", "gzip"))
    play.body(b"not gzip at all")
    assert isinstance(play.error, HTTPStatusError)
    assert play.error.body == b""


def test_a_body_without_a_head_is_ignored() -> None:
    play = Play()
    play.connect()
    assert not play.body(b"data: x\n\n")


def test_a_second_response_is_ignored() -> None:
    play = Play()
    play.connect()
    play.respond(404)
    assert not play.respond(200, ("Content-Type", "text/event-stream"))
    play = Play().accepted()
    assert not play.respond(404)


# --- Content coding ----------------------------------------------------------------------------


def test_gzip_is_decoded_although_nobody_asked() -> None:
    play = Play().accepted(("Content-Encoding", "gzip"))
    data = zlib.compress(EVENT * 3, wbits=31)
    play.body(data[:20])
    play.body(data[20:])
    received = [a for a in play.history if isinstance(a, ServerSentEvent)]
    assert len(received) == 3
    assert play.metrics.bytes_received == len(data)
    play.end()
    assert isinstance(play.error, ConnectionLost)


def test_another_coding_is_refused() -> None:
    play = Play()
    play.connect()
    play.refused(200, ("Content-Type", "text/event-stream"), ("Content-Encoding", "br"))
    assert isinstance(play.error, ContentEncodingError)
    assert play.error.response is not None
    assert play.changes == [S.ERROR]


@pytest.mark.parametrize("how", ["end", "lost"])
def test_truncated_gzip_is_retried(how: str) -> None:
    play = Play().accepted(("Content-Encoding", "gzip"))
    play.body(zlib.compress(EVENT, wbits=31)[:-3])
    getattr(play, how)()
    assert play.changes == [S.RECONNECTING]
    kind = RemoteProtocolError if how == "end" else ConnectionLost
    assert isinstance(play.error, kind)


def test_corrupt_gzip_is_retried_at_once() -> None:
    play = Play().accepted(("Content-Encoding", "gzip"))
    play.body(b"no gzip")
    assert play.changes == [S.RECONNECTING]
    assert isinstance(play.error, RemoteProtocolError)


def test_a_gzip_bomb_is_final() -> None:
    play = Play(decompressed_read=10_000).accepted(("Content-Encoding", "gzip"))
    play.body(zlib.compress(b"data: " + b"x" * 100_000, wbits=31))
    assert play.changes == [S.ERROR]
    assert isinstance(play.error, LimitExceeded)


# --- Timers ------------------------------------------------------------------------------------


def test_each_phase_of_an_attempt_has_its_timer() -> None:
    play = Play(connect=10, write=30, response=60, idle=5, machine={"prepare": True})
    play.connect()
    assert play.waits_for == ("PREPARE", 10.0)
    play.now += 1
    play.tell("request_prepared", 1, play.request)
    assert play.waits_for == ("CONNECT", 10.0)
    play.now += 1
    assert not play.tell("transport_opened", 1)
    assert play.waits_for == ("WRITE", 30.0)
    play.now += 1
    assert not play.tell("request_sent", 1)
    assert play.waits_for == ("RESPONSE", 60.0)
    play.now += 1
    play.accepted()
    assert play.waits_for == ("IDLE", 5.0)


@pytest.mark.parametrize(
    ("news", "kind", "words", "sent"),
    [
        ([], ConnectTimeout, "within 10 s", False),
        (["transport_opened"], WriteTimeout, "within 30 s", True),
        (["transport_opened", "request_sent"], ResponseTimeout, "within 60 s", True),
        (["request_sent"], ResponseTimeout, "within 60 s", True),
    ],
)
def test_each_phase_has_its_own_timeout(
    news: list[str], kind: type[SSEError], words: str, sent: bool
) -> None:
    play = Play()
    play.connect()
    for name in news:
        play.tell(name, 1)
    play.due()
    assert type(play.error) is kind
    assert words in str(play.error)
    assert play.error.category == "timeout"
    assert play.error.request_sent is sent
    assert play.changes == [S.RECONNECTING]
    assert play.answer[0] == Disconnect(1)


def test_progress_of_the_request_is_told_in_one_direction_only() -> None:
    play = Play()
    play.connect()
    play.tell("request_sent", 1)
    play.now += 5
    assert not play.tell("transport_opened", 1)
    assert not play.tell("request_sent", 1)
    assert play.waits_for == ("RESPONSE", 55.0)


def test_a_dribbling_head_does_not_extend_the_response_timeout() -> None:
    play = Play()
    play.connect()
    play.tell("request_sent", 1)
    for _ in range(59):
        play.now += 1
        assert not play.tell("tick")
    play.now += 1
    play.tell("tick")
    assert isinstance(play.error, ResponseTimeout)


@pytest.mark.parametrize(
    ("method", "on_end", "idle", "seconds"),
    [
        ("GET", None, None, 300.0),
        ("POST", None, None, 600.0),
        ("GET", "finish", None, 600.0),
        ("POST", "reconnect", None, 300.0),
        ("GET", None, 7.0, 7.0),
    ],
)
def test_silence_is_death(method: str, on_end: Any, idle: Any, seconds: float) -> None:
    play = Play(method=method, on_end=on_end, idle=idle, replay="always").accepted()
    assert play.waits_for == ("IDLE", seconds)
    play.due()
    assert isinstance(play.error, IdleTimeout)
    assert f"{seconds:g} s" in str(play.error)
    assert play.changes == [S.RECONNECTING]


def test_silence_may_be_allowed_for_ever() -> None:
    play = Play(idle=0).accepted()
    assert play.machine.deadline is None
    play.after(1e9)
    assert play.state is S.CONNECTED


@pytest.mark.parametrize("data", [b"data: x\n\n", b":\n", b"da", b""])
def test_any_byte_is_life_even_one_of_framing(data: bytes) -> None:
    play = Play(idle=10).accepted()
    play.now += 9
    play.body(data)
    assert play.machine.deadline == 110.0, "a lower bound: data leaves it alone"
    play.now += 2
    assert not play.tell("tick")
    assert play.waits_for == ("IDLE", 8.0)
    play.due()
    assert isinstance(play.error, IdleTimeout)


def test_ticks_that_are_early_late_or_repeated_are_harmless() -> None:
    play = Play(idle=10).accepted()
    assert not play.tell("tick")
    play.now += 9.999
    assert not play.tell("tick")
    play.now += 1000
    assert not play.tell("tick"), "late ourselves: what has come meanwhile is read first"
    assert play.machine.deadline == 110.0, "in the past, so that we are asked again at once"
    assert play.tell("tick")
    assert play.delay == 0.1
    assert not play.tell("tick")
    assert not play.tell("tick")


def test_a_clock_that_goes_backwards_is_held() -> None:
    play = Play(idle=10).accepted()
    play.now -= 50
    play.body(EVENT)
    assert not play.tell("tick")
    play.lost()
    [change] = play.said(StateChanged)
    assert change.at == 100.0
    [scheduled] = play.said(ScheduleReconnect)
    assert scheduled.at == pytest.approx(100.1)
    assert play.metrics.last_event == 100.0


def test_at_equal_deadlines_death_comes_before_stability() -> None:
    play = Play(idle=300, reset_interval=300)
    play.connect()
    play.failed()
    play.accepted()
    play.due()
    assert isinstance(play.error, IdleTimeout)
    assert play.machine.retries == 2


# --- Reconnecting ------------------------------------------------------------------------------


def test_delays_grow_and_are_capped() -> None:
    play = Play(initial_delay=1, max_delay=5, max_attempts=0)
    play.connect()
    delays = []
    for _ in range(5):
        play.failed()
        delays.append(play.delay)
        play.due()
    assert delays == [1, 2, 4, 5, 5]
    assert play.machine.retries == 5


def test_jitter_is_taken_from_the_random_numbers_given() -> None:
    play = Play(initial_delay=1, jitter_factor=0.5, machine={"random": lambda: 0.5})
    play.connect()
    play.failed()
    assert play.delay == 0.75


def test_reconnecting_lasts_from_the_failure_to_the_acceptance() -> None:
    play = Play().accepted()
    play.lost()
    assert play.machine.reconnect_at == 100.1
    play.due()
    assert play.state is S.RECONNECTING
    assert play.machine.reconnect_at is None
    play.accepted()
    assert play.changes == [S.CONNECTED]


def test_attempts_are_used_up() -> None:
    play = Play(max_attempts=2, initial_delay=1)
    play.connect()
    play.failed()
    [scheduled] = play.said(ScheduleReconnect)
    assert scheduled.attempt == 1
    play.due()
    play.failed()
    play.due()
    play.failed()
    last, exhausted = play.said(ErrorOccurred)
    assert isinstance(last.error, ConnectError)
    error = exhausted.error
    assert isinstance(error, ReconnectExhausted)
    assert str(error).startswith("gave up after 2 reconnect attempts in 3.0 s; the last failure: ")
    assert error.cause is last.error
    assert error.url == URL
    assert play.changes == [S.ERROR]
    assert is_connection_error(error)
    assert pickle.loads(pickle.dumps(error)).cause.message == last.error.message


def test_one_attempt_is_not_attempts() -> None:
    play = Play(max_attempts=1)
    play.connect()
    play.failed()
    play.due()
    play.failed()
    assert "after 1 reconnect attempt in" in str(play.error)


def test_connect_begins_to_count_anew() -> None:
    play = Play(max_attempts=1)
    for _ in range(2):
        play.connect()
        play.failed()
        assert play.delay == 0.1
        play.due()
        play.failed()
        assert play.state is S.ERROR


def test_without_reconnection_the_first_failure_is_final() -> None:
    play = Play(retries=False)
    play.connect()
    play.failed()
    assert type(play.error) is ConnectError
    assert play.machine.error is play.error
    assert play.changes == [S.ERROR]


def test_an_error_that_is_no_use_to_retry_does_not_count_as_a_retry() -> None:
    play = Play(max_attempts=1)
    play.connect()
    play.refused(404)
    assert play.machine.retries == 0


def test_being_accepted_is_no_progress_but_an_event_is() -> None:
    play = Play(initial_delay=1).accepted()
    for expected in (1, 2):
        play.lost()
        assert play.delay == expected
        play.accepted(body=b": only a comment\n\n")
    play.body(EVENT)
    assert play.machine.retries == 0
    play.lost()
    assert play.delay == 1


def test_a_long_time_up_is_progress_without_an_event() -> None:
    play = Play(reset_interval=50, idle=0).accepted()
    play.lost()
    play.accepted()
    assert play.waits_for == ("STABILITY", 50.0)
    assert not play.due()
    assert play.machine.retries == 0
    assert play.waits_for is None


def test_progress_without_failures_has_nothing_to_forgive() -> None:
    play = Play(reset_interval=50, idle=0).accepted()
    assert play.waits_for is None


def test_accept_and_drop_storms_are_not_hammered_and_end() -> None:
    play = Play(max_attempts=5, initial_delay=1).accepted()
    delays = []
    while True:
        play.lost()
        if play.state is S.ERROR:
            break
        delays.append(play.delay)
        play.accepted()
    assert delays == [1, 2, 4, 8, 16]


def test_a_server_that_delivers_a_little_each_time_is_not_abandoned() -> None:
    play = Play(max_attempts=2).accepted()
    for _ in range(50):
        play.body(EVENT)
        play.lost()
        assert play.delay == 0.1
        play.accepted()


# --- What the server asks for ------------------------------------------------------------------

NOON = ("Date", "Sun, 06 Nov 1994 12:00:00 GMT")


@pytest.mark.parametrize(
    ("headers", "delay"),
    [
        ([("Retry-After", "7")], 7),
        ([("Retry-After", "0")], 0.1),
        ([("Retry-After", " 7 ")], 7),
        ([("Retry-After", "soon")], 0.1),
        ([("Retry-After", "-7")], 0.1),
        ([("Retry-After", "99999999999999999999")], 300),
        ([("Retry-After", "Sun, 06 Nov 1994 12:00:09 GMT"), NOON], 9),
        ([("Retry-After", "Sun, 06 Nov 1994 11:00:00 GMT"), NOON], 0.1),
        ([("Retry-After", "Sun, 06 Nov 1994 12:00:09 GMT")], 0.1),
        ([("Retry-After", "Tue, 06 Nov 2094 12:00:09 GMT"), NOON], 300),
    ],
)
@pytest.mark.parametrize("status", [429, 500, 503])
def test_retry_after_is_a_floor_and_capped(
    status: int, headers: list[tuple[str, str]], delay: float
) -> None:
    play = Play()
    play.connect()
    play.refused(status, *headers)
    assert play.delay == delay
    play.due()
    play.failed()
    assert play.delay == 0.2, "for the next attempt only"


def test_the_cap_can_be_configured_and_jitter_comes_on_top() -> None:
    play = Play(max_server_delay=50, jitter_factor=0.5, machine={"random": lambda: 0.5})
    play.connect()
    play.refused(503, ("Retry-After", "999"))
    assert play.delay == 62.5


def test_the_retry_field_is_a_floor_for_all_later_attempts() -> None:
    play = Play(max_attempts=0).accepted(body=b"retry: 5000\n")
    play.lost()
    assert play.delay == 5
    play.due()
    for _ in range(4):
        play.failed()
        assert play.delay == 5
        play.due()
    play.accepted(body=b"retry: 0\n")
    play.lost()
    assert play.delay == 3.2, "the server's floor is gone, our backoff is not"


def test_a_retry_storm_cannot_lower_our_own_delay() -> None:
    play = Play(initial_delay=1, max_attempts=0)
    play.connect()
    for expected in (1, 2, 4):
        play.accepted(body=b"retry: 0\n\n")
        play.lost()
        assert play.delay == expected


def test_an_absurd_retry_field_is_capped() -> None:
    play = Play().accepted(body=b"retry: 99999999999999999999999\n\n")
    play.lost()
    assert play.delay == 300


# --- decide ------------------------------------------------------------------------------------


def deciding(*verdicts: Any, **options: Any) -> tuple[Play, list[tuple[Response, Attempt]]]:
    asked: list[tuple[Response, Attempt]] = []

    def decide(response: Response, attempt: Attempt) -> Any:
        asked.append((response, attempt))
        verdict = verdicts[min(len(asked), len(verdicts)) - 1]
        if isinstance(verdict, Exception):
            raise verdict
        return verdict

    play = Play(machine={"decide": decide, **options.pop("machine", {})}, **options)
    play.connect()
    return play, asked


def test_decide_may_leave_it_to_the_table() -> None:
    play, asked = deciding(None)
    play.refused(404)
    assert play.state is S.ERROR
    [(response, attempt)] = asked
    assert response.status == 404
    assert attempt == Attempt(0, None, None, "http://example.com")


@pytest.mark.parametrize("status", [200, 204, 404, 302])
def test_decide_may_accept_anything(status: int) -> None:
    play, _ = deciding(Accept())
    play.respond(status)
    assert play.state is S.CONNECTED
    assert list(play.body(EVENT)) == [event("hello")]


def test_even_decide_cannot_accept_a_coding_nobody_decodes() -> None:
    play, _ = deciding(Accept())
    play.refused(200, ("Content-Encoding", "br"))
    assert isinstance(play.error, ContentEncodingError)


def test_decide_may_retry_what_the_table_would_not() -> None:
    play, _ = deciding(Retry())
    play.refused(401, ("Retry-After", "3"), body=b"expired")
    assert play.changes == [S.RECONNECTING]
    assert play.delay == 3
    assert isinstance(play.error, HTTPStatusError)
    assert play.error.body == b"expired"


@pytest.mark.parametrize("delay", [0, 0.0, 2.5, 1000])
def test_decide_may_choose_the_delay(delay: float) -> None:
    play, _ = deciding(Retry(delay=delay))
    play.refused(200, ("Retry-After", "3"))
    assert play.delay == delay


@pytest.mark.parametrize("delay", [-1, float("nan"), float("inf"), "5"])
def test_a_delay_that_cannot_be_is_a_mistake_of_decide(delay: Any) -> None:
    with pytest.raises(ConfigError, match=r"Retry\.delay"):
        Retry(delay)


def test_decide_may_begin_again_without_a_cursor() -> None:
    play, _ = deciding(Retry(reset_cursor=True), machine={"last_event_id": "7"})
    assert play.request.header("Last-Event-ID") == "7"
    play.refused(410)
    play.due()
    assert play.request.header("Last-Event-ID") is None
    assert play.machine.received_event_id == ""


def test_a_retry_keeps_the_cursor_unless_told() -> None:
    play, _ = deciding(Retry(), machine={"last_event_id": "7"})
    play.refused(410)
    play.due()
    assert play.request.header("Last-Event-ID") == "7"


def test_decided_retries_are_used_up_too() -> None:
    play, _ = deciding(Retry(delay=0), max_attempts=1)
    play.refused(401)
    play.due()
    play.refused(401)
    assert isinstance(play.error, ReconnectExhausted)


def test_a_decided_retry_is_the_callers_responsibility() -> None:
    play, _ = deciding(Retry(), method="POST")
    play.tell("request_sent", 1)
    play.refused(401)
    assert play.state is S.RECONNECTING


def test_decide_may_fail_what_the_table_would_retry() -> None:
    play, _ = deciding(Fail())
    play.refused(503, body=b"no")
    assert play.changes == [S.ERROR]
    assert isinstance(play.error, HTTPStatusError)
    assert play.error.body == b"no"


def test_decide_may_stop() -> None:
    play, _ = deciding(Stop())
    play.respond(404)
    assert play.changes == [S.CLOSED]
    assert not play.said(ErrorOccurred)


def test_what_decide_raises_ends_in_error() -> None:
    raised = ValueError("no idea about http://me:s3cr3t@example.com/")
    play, _ = deciding(raised)
    play.refused(200, ("Content-Type", "text/event-stream"))
    assert isinstance(play.error, LocalProtocolError)
    assert play.error.cause is raised
    assert "no idea" in str(play.error)
    assert "s3cr3t" not in str(play.error)
    assert play.changes == [S.ERROR]


@pytest.mark.parametrize("junk", ["retry", 503, True, Retry, Accept])
def test_junk_from_decide_ends_in_error(junk: Any) -> None:
    play, _ = deciding(junk)
    play.refused(200, ("Content-Type", "text/event-stream"))
    assert isinstance(play.error, LocalProtocolError)
    assert "decide must return" in str(play.error)


def test_decide_is_told_about_the_attempt_before_and_who_answers() -> None:
    play, asked = deciding(None)
    play.respond(302, ("Location", "http://other.example:81/"))
    play.refused(503)
    play.due()
    play.failed()
    play.due()
    play.refused(500)
    seen = [attempt for _, attempt in asked]
    assert [attempt.endpoint for attempt in seen] == [
        "http://example.com",
        "http://other.example:81",
        "http://example.com",
    ]
    assert [attempt.number for attempt in seen] == [0, 0, 2]
    assert seen[2].previous_status is None
    assert isinstance(seen[2].previous_error, ConnectError)
    play.due()
    play.refused(500)
    assert asked[-1][1].previous_status == 500


def test_a_stream_lost_is_the_previous_attempt_with_its_status() -> None:
    play, asked = deciding(None)
    play.accepted()
    play.lost()
    play.due()
    play.refused(500)
    assert asked[-1][1].previous_status == 200
    assert isinstance(asked[-1][1].previous_error, ConnectionLost)
    play.tell("disconnect")
    play.connect()
    play.refused(500)
    assert asked[-1][1] == Attempt(0, None, None, "http://example.com")


# --- prepare -----------------------------------------------------------------------------------


def preparing(**options: Any) -> Play:
    play = Play(machine={"prepare": True, **options.pop("machine", {})}, **options)
    play.connect()
    return play


def test_each_attempt_is_prepared_with_the_cursor_in_place() -> None:
    play = preparing(machine={"last_event_id": "7"})
    [_, prepare] = play.answer
    assert prepare == PrepareRequest(play.request, 1)
    assert prepare.request.header("Last-Event-ID") == "7"
    renewed = prepare.request.with_header("Authorization", "Bearer 2")
    [connect] = play.tell("request_prepared", 1, renewed)
    assert connect == Connect(renewed, 1)
    play.failed()
    [prepare] = play.due()
    assert prepare.attempt == 2
    assert prepare.request.header("Authorization") is None


def test_a_redirect_is_not_prepared_again() -> None:
    play = preparing()
    play.tell("request_prepared", 1, play.request)
    play.respond(302, ("Location", "/a"))
    assert isinstance(play.answer[-1], Connect)


def test_a_failed_prepare_is_a_failed_attempt() -> None:
    play = preparing()
    cause = ValueError("no token at http://me:s3cr3t@example.com/")
    play.tell("prepare_failed", 1, cause)
    assert play.changes == [S.RECONNECTING]
    assert isinstance(play.error, ConnectError)
    assert play.error.cause is cause
    assert "prepare_request failed: ValueError: no token" in str(play.error)
    assert "s3cr3t" not in str(play.error)
    assert play.error.request_sent is False
    assert play.metrics.connect_failures == 1


def test_an_error_of_ours_from_prepare_keeps_its_kind() -> None:
    play = preparing()
    play.tell("prepare_failed", 1, ConfigError("no such user"))
    assert play.changes == [S.ERROR]
    assert isinstance(play.error, ConfigError)


@pytest.mark.parametrize("junk", [None, "http://example.com/", STREAM])
def test_prepare_must_return_a_request(junk: object) -> None:
    play = preparing()
    play.tell("request_prepared", 1, junk)
    assert isinstance(play.error, LocalProtocolError)
    assert type(junk).__name__ in str(play.error)
    assert play.changes == [S.ERROR]


def test_prepare_is_bounded_in_time() -> None:
    play = preparing(connect=4)
    play.due()
    assert isinstance(play.error, ConnectTimeout)
    assert "prepare_request took longer than 4 s" in str(play.error)
    assert play.answer[0] == Disconnect(1)
    assert not play.tell("request_prepared", 1, play.request)
    assert not play.tell("prepare_failed", 1, OSError())


def test_a_prepare_that_could_not_be_interrupted_fails_when_it_returns_too_late() -> None:
    play = preparing(connect=4)
    play.now += 4
    play.tell("request_prepared", 1, play.request)
    assert isinstance(play.error, ConnectTimeout)
    assert play.changes == [S.RECONNECTING]
    assert not play.said(Connect)


def test_a_prepare_which_was_given_up_is_taken_back() -> None:
    play = preparing()
    play.tell("restart")
    assert play.answer == [Disconnect(1), PrepareRequest(play.request, 2)]
    play.tell("disconnect")
    assert play.answer[0] == Disconnect(2)


def test_a_post_during_prepare_has_a_number_of_its_own() -> None:
    play = preparing()
    play.post("token")
    [connect] = play.tell("request_prepared", 1, play.request)
    assert connect.attempt == 1
    assert play.posted == 2


# --- until -------------------------------------------------------------------------------------

DONE = b"data: one\n\ndata: [DONE]\n\ndata: after\n\n"


@pytest.mark.parametrize("on_end", ["reconnect", "finish"])
@pytest.mark.parametrize(
    "until", ["[DONE]", lambda event: event.data == "[DONE]", lambda event: event.data[0] == "["]
)
def test_the_terminal_event_is_given_and_then_it_is_over(until: Any, on_end: Any) -> None:
    play = Play(on_end=on_end, machine={"until": until}).accepted()
    play.body(DONE)
    assert play.events == ["one", "[DONE]"]
    assert play.changes == [S.DISCONNECTED]
    assert not play.said(ErrorOccurred)
    assert play.metrics.events_received == 2
    assert play.machine.deadline is None


def test_until_may_name_an_event_type() -> None:
    play = Play(machine={"until": "message_stop"}).accepted()
    play.body(b"event: message_stop\ndata: {}\n\n")
    assert play.changes == [S.DISCONNECTED]


def test_until_looks_at_every_read() -> None:
    play = Play(machine={"until": "[DONE]"}).accepted()
    for _ in range(3):
        assert play.body(EVENT) == [event("hello")]
    play.body(b"data: [DO")
    play.body(b"NE]\n\n")
    assert play.state is S.DISCONNECTED
    assert play.metrics.events_received == 4


def test_the_cursor_stays_at_the_terminal_event() -> None:
    play = Play(machine={"until": "stop"}).accepted()
    play.body(b"id: 1\ndata: stop\n\nid: 2\ndata: later\n\n")
    assert play.machine.received_event_id == "1"
    play.connect()
    assert play.request.header("Last-Event-ID") == "1"


def test_included_items_are_not_asked_whether_they_are_the_end() -> None:
    def until(event: ServerSentEvent) -> bool:
        assert type(event) is ServerSentEvent
        return event.data == "stop"

    play = Play(machine={"until": until, "include": ["comments", "ids"]}).accepted()
    play.body(b": a\nid: 1\ndata: stop\n\n: b\ndata: x\n\n")
    assert list(play.answer[:3]) == [
        Comment("a"),
        LastEventIdChanged("1"),
        event("stop", id="1", has_id=True),
    ]
    assert play.metrics.events_received == 1


def test_an_error_behind_the_terminal_event_is_nobodys_business() -> None:
    play = Play(event=50, machine={"until": "stop"}).accepted()
    play.body(b"data: stop\n\ndata: " + b"x" * 100)
    assert play.changes == [S.DISCONNECTED]
    assert not play.said(ErrorOccurred)


@pytest.mark.parametrize("how", ["end", "lost"])
@pytest.mark.parametrize("on_end", ["reconnect", "finish"])
def test_an_end_without_the_terminal_event_is_a_truncation(how: str, on_end: Any) -> None:
    play = Play(on_end=on_end, machine={"until": "stop"}).accepted(body=EVENT)
    getattr(play, how)()
    assert isinstance(play.error, StreamTruncated)
    assert play.changes == [S.RECONNECTING]
    assert (play.error.cause is not None) is (how == "lost")
    assert is_streaming_error(play.error)


def test_a_truncated_post_is_not_repeated_unless_that_is_safe() -> None:
    play = Play(method="POST", machine={"until": "stop"}).accepted(body=EVENT)
    play.end()
    assert isinstance(play.error, StreamTruncated)
    assert play.changes == [S.ERROR]


def test_a_failure_before_acceptance_is_no_truncation() -> None:
    play = Play(machine={"until": "stop"})
    play.connect()
    play.failed()
    assert type(play.error) is ConnectError


def test_a_final_error_is_no_truncation() -> None:
    play = Play(machine={"until": "stop"}).accepted()
    play.lost(LimitExceeded("too much"))
    assert type(play.error) is LimitExceeded


def test_what_until_raises_ends_in_error_behind_its_event() -> None:
    def until(event: ServerSentEvent) -> bool:
        raise ValueError("what is this")

    play = Play(machine={"until": until}).accepted()
    play.body(b"id: 1\ndata: a\n\nid: 2\ndata: b\n\n")
    assert play.events == ["a"]
    assert play.changes == [S.ERROR]
    assert isinstance(play.error, LocalProtocolError)
    assert "until raised ValueError: what is this" in str(play.error)
    assert play.machine.received_event_id == "1"


# --- include -----------------------------------------------------------------------------------


def test_included_items_come_in_their_place() -> None:
    include = ["connected", "comments", "ids"]
    play = Play(machine={"include": include}).accepted(body=b": hi\nid: 1\ndata: a\n\n")
    play.lost()
    play.due()
    play.respond(200, ("Content-Type", "text/event-stream"))
    play.body(b"id: 2\n\n")
    seen = [a for a in play.history if isinstance(a, Connected | Comment | LastEventIdChanged)]
    assert seen == [
        Connected(0, False, STREAM),
        Comment("hi"),
        LastEventIdChanged("1"),
        Connected(1, True, STREAM),
        LastEventIdChanged("2"),
    ]
    kinds = [type(action) for action in play.history if not isinstance(action, ScheduleReconnect)]
    assert kinds.index(Connected) == 3, "right behind the change of state"


def test_nothing_is_included_unless_asked_for() -> None:
    play = Play().accepted(body=b": hi\nid: 1\ndata: a\n\n")
    assert not [a for a in play.history if isinstance(a, Connected | Comment | LastEventIdChanged)]
    assert play.metrics.comments_received == 1


def test_included_items_are_no_events_in_the_metrics() -> None:
    play = Play(machine={"include": ["comments"]}).accepted()
    play.now += 1
    play.body(b": a\n: b\n")
    assert len(play.answer) == 2
    assert play.metrics.events_received == 0
    assert play.metrics.last_event is None
    play.body(EVENT)
    play.now += 1
    play.body(b": c\n")
    assert play.metrics.events_received == 1
    assert play.metrics.comments_received == 3
    assert play.metrics.last_event == 101.0


def test_only_connected_included_settles_like_nothing_included() -> None:
    play = Play(machine={"include": ["connected"]}).accepted(body=EVENT * 2)
    play.body(EVENT)
    assert play.metrics.events_received == 3


# --- The cursor --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "cursor"),
    [
        (b"id: 1\ndata: a\n\n", "1"),
        (b"id: 1\n\n", "1"),
        (b"id: 1\ndata: a\n", ""),
        (b"id: 1\ndata: a\n\nid: 2\n", "1"),
        (b"id: 1\ndata: a\n\nid\n\n", ""),
        (b"id: 1\ndata: a\n\nid: 2\0\ndata: b\n\n", "1"),
        (b"data: a\n\n", ""),
    ],
)
def test_what_a_reconnect_sends(body: bytes, cursor: str) -> None:
    play = Play().accepted(body=body)
    assert play.machine.received_event_id == cursor
    play.lost()
    assert play.machine.received_event_id == cursor
    play.due()
    assert play.request.header("Last-Event-ID") == (cursor or None)


def test_a_resumed_stream_keeps_its_cursor_until_it_sees_a_new_id() -> None:
    play = Play(machine={"last_event_id": "7"}).accepted(body=EVENT)
    assert play.answer == [event("hello", id="7")]
    play.lost()
    play.accepted(body=b"id: 8\n\n")
    assert play.machine.received_event_id == "8"


def test_the_cursor_outlives_error_and_disconnect() -> None:
    play = Play().accepted(body=b"id: 1\n\n")
    play.tell("disconnect")
    play.connect()
    assert play.request.header("Last-Event-ID") == "1"
    play.refused(404)
    play.connect()
    assert play.request.header("Last-Event-ID") == "1"


# --- Replay safety -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "headers", "replay", "cursor", "status", "retried"),
    [
        ("GET", (), "safe", "", None, True),
        ("PUT", (), "safe", "", None, True),
        ("DELETE", (), "safe", "", None, True),
        ("POST", (), "safe", "", None, False),
        ("PATCH", (), "safe", "", None, False),
        ("POST", (("Idempotency-Key", "k"),), "safe", "", None, True),
        ("POST", (), "always", "", None, True),
        ("POST", (), "with_id", "", None, False),
        ("POST", (), "with_id", "7", None, True),
        ("POST", (), "safe", "7", None, False),
        ("POST", (), "safe", "", 425, True),
        ("POST", (), "safe", "", 429, True),
        ("POST", (), "safe", "", 503, True),
        ("POST", (), "safe", "", 500, False),
        ("POST", (), "safe", "", 502, False),
        ("POST", (), "safe", "", 408, False),
    ],
)
def test_what_may_be_sent_twice(
    method: str,
    headers: tuple[tuple[str, str], ...],
    replay: Any,
    cursor: str,
    status: int | None,
    retried: bool,
) -> None:
    play = Play(method=method, headers=headers, replay=replay, machine={"last_event_id": cursor})
    play.connect()
    play.tell("request_sent", 1)
    play.lost() if status is None else play.refused(status)
    assert play.changes == [S.RECONNECTING if retried else S.ERROR]
    assert not isinstance(play.error, ReconnectExhausted)
    assert play.error.request_sent is True


def test_what_was_never_sent_may_be_sent_again() -> None:
    play = Play(method="POST")
    play.connect()
    play.failed()
    assert play.state is S.RECONNECTING
    play.due()
    play.due()
    assert isinstance(play.error, ConnectTimeout)
    assert play.state is S.RECONNECTING


def test_a_post_half_written_is_not_repeated() -> None:
    play = Play(method="POST")
    play.connect()
    play.tell("transport_opened", 1)
    play.due()
    assert isinstance(play.error, WriteTimeout)
    assert play.state is S.ERROR


def test_a_stream_that_gave_ids_says_where_to_go_on() -> None:
    play = Play(method="POST", on_end="reconnect").accepted(body=b"id: 1\ndata: x\n\n")
    play.lost()
    assert play.state is S.RECONNECTING
    play.due()
    assert play.request.header("Last-Event-ID") == "1"
    play.lost()
    assert play.state is S.RECONNECTING


@pytest.mark.parametrize("how", ["server", "caller"])
def test_a_cursor_that_was_taken_back_does_not_say_where_to_go_on(how: str) -> None:
    play = Play(method="POST", on_end="reconnect").accepted(body=b"id: 1\ndata: x\n\n")
    if how == "server":
        play.body(b"id\n\n")
    else:
        play.tell("restart", last_event_id="")
    play.lost()
    assert play.state is (S.ERROR if how == "server" else S.RECONNECTING)
    if how == "caller":
        play.due()
        play.tell("request_sent", play.stream)
        play.lost()
        assert play.state is S.ERROR


@pytest.mark.parametrize("status", [301, 302, 303])
@pytest.mark.parametrize("then", ["failed", "lost", "503", "stream"])
def test_a_post_answered_by_a_redirect_to_a_get_has_had_its_effect(status: int, then: str) -> None:
    play = Play(method="POST", content=b"{}")
    play.connect()
    if status == 301:
        play.respond(302, ("Location", "/between"))  # else the move would be remembered
    play.respond(status, ("Location", "/result"))
    assert play.request.method == "GET"
    if then == "503":
        play.refused(503)
    elif then == "stream":
        play.accepted(body=EVENT)
        play.lost()
    else:
        getattr(play, then)()
    assert play.changes == [S.ERROR], "a retry would send the POST a second time"
    assert play.error.request_sent is True


def test_a_remembered_move_is_none_where_the_url_may_be_another_by_then() -> None:
    play = Play(method="POST", content=b"{}", machine={"prepare": True})
    play.connect()
    play.tell("request_prepared", 1, play.request.replace(url=f"{URL}?nonce=1"))
    play.respond(301, ("Location", "/result"))
    play.accepted(body=EVENT).lost()
    assert play.changes == [S.ERROR], "to another url the POST would be sent a second time"


def test_a_redirect_that_keeps_the_method_has_declined() -> None:
    play = Play(method="POST", content=b"{}")
    play.connect()
    play.tell("request_sent", 1)
    play.respond(307, ("Location", "/there"))
    play.failed()
    assert play.state is S.RECONNECTING


def test_an_idempotent_request_may_be_repeated_whatever_it_became() -> None:
    play = Play(method="POST", headers=(("Idempotency-Key", "k"),))
    play.connect()
    play.respond(303, ("Location", "/result"))
    play.failed()
    assert play.state is S.RECONNECTING
    play.due()
    assert play.request.method == "POST"


# --- Heartbeats --------------------------------------------------------------------------------


def pinging(**options: Any) -> Play:
    options = {"interval": 30, "timeout": 5, "max_missed": 3, **options}
    return Play(pings=True, headers=(SECRET,), **options).accepted()


def test_silence_sends_a_ping_with_the_same_credentials() -> None:
    play = pinging()
    assert play.waits_for == ("PING", 30.0)
    [ping] = play.due()
    assert isinstance(ping, SendPing)
    assert (ping.request.method, ping.request.url) == ("GET", "http://example.com/ping")
    assert ping.request.header("Authorization") == "Bearer s3cr3t"
    assert ping.ping == 2
    assert play.waits_for == ("PING_ANSWER", 5.0)


def test_there_are_no_pings_unless_asked_for() -> None:
    play = Play(idle=1000).accepted()
    assert not play.after(999)


@pytest.mark.parametrize("status", [200, 204, 299])
def test_an_answer_in_time_clears_the_misses(status: int) -> None:
    play = pinging()
    play.due()
    play.tell("ping_failed", play.ping, OSError("refused"))
    assert play.machine.missed_heartbeats == 1
    play.due()
    play.now += 1
    assert not play.tell("ping_answered", play.ping, Response(status))
    assert play.machine.missed_heartbeats == 0
    assert play.waits_for == ("PING", 29.0), "an interval after the ping, not its answer"
    metrics = play.metrics
    assert (metrics.heartbeats_sent, metrics.heartbeats_succeeded, metrics.heartbeats_failed) == (
        2,
        1,
        1,
    )
    assert metrics.heartbeat_success_rate == 50.0
    assert metrics.last_heartbeat == 160.0


@pytest.mark.parametrize("how", ["timeout", "failure", "bad status", "redirect", "switching"])
def test_misses_in_a_row_are_death(how: str) -> None:
    play = pinging()
    for missed in (1, 2, 3):
        play.due()
        if how == "timeout":
            play.due()
            assert play.answer[0] == Disconnect(play.ping)
        elif how == "failure":
            play.tell("ping_failed", play.ping, OSError("refused"))
        else:
            status = {"bad status": 500, "redirect": 302, "switching": 199}[how]
            play.tell("ping_answered", play.ping, Response(status))
        if missed < 3:
            assert play.state is S.CONNECTED
            assert play.machine.missed_heartbeats == missed
    assert play.changes == [S.RECONNECTING]
    assert isinstance(play.error, HeartbeatTimeout)
    assert "3 pings" in str(play.error)
    assert play.machine.missed_heartbeats == 0


def test_bytes_clear_the_misses_before_during_and_after_a_ping() -> None:
    play = pinging(max_missed=2)
    play.due()
    play.body(b":\n")  # at the very moment
    play.now += 1
    play.body(b":\n")
    play.tell("ping_failed", play.ping, OSError())
    assert play.machine.missed_heartbeats == 0, "the stream proved itself during the ping"
    play.due()
    play.tell("ping_failed", play.ping, OSError())
    assert play.machine.missed_heartbeats == 1
    play.now += 1
    play.body(b":\n")
    assert play.machine.missed_heartbeats == 0, "and after it"
    play.due()
    play.tell("ping_failed", play.ping, OSError())
    assert play.machine.missed_heartbeats == 1
    assert play.state is S.CONNECTED


def test_bytes_put_the_next_ping_off() -> None:
    play = pinging()
    play.now += 20
    play.body(b":\n")
    play.now += 10
    assert not play.tell("tick")
    assert play.waits_for == ("PING", 20.0)


def test_a_half_open_stream_whose_server_answers_pings_dies_of_silence() -> None:
    play = pinging(idle=100)
    answered = 0
    while play.state is S.CONNECTED and play.now < 1000:
        play.due()
        if play.said(SendPing):
            play.tell("ping_answered", play.ping, Response(204))
            answered += 1
    assert answered == 3
    assert isinstance(play.error, IdleTimeout)
    assert play.now == 200.0


@pytest.mark.parametrize("how", ["lost", "end", "disconnect", "restart", "close", "pause"])
def test_a_ping_is_abandoned_when_nobody_needs_its_answer(how: str) -> None:
    play = pinging()
    play.due()
    ping = play.ping
    getattr(play, how)() if how in ("lost", "end") else play.tell(how)
    assert play.answer[0] == Disconnect(ping)
    assert not play.tell("ping_answered", ping, Response(200))
    assert not play.tell("ping_failed", ping, OSError())
    assert play.metrics.heartbeats_succeeded == 0


def test_a_new_stream_begins_without_misses() -> None:
    play = pinging()
    play.due()
    play.tell("ping_failed", play.ping, OSError())
    play.lost()
    play.accepted()
    assert play.machine.missed_heartbeats == 0
    assert play.waits_for == ("PING", 30.0)


def test_no_pings_while_connecting_or_paused() -> None:
    play = pinging(idle=0)
    play.tell("pause")
    assert not play.after(1000)
    play.tell("resume")
    assert play.waits_for == ("PING", 30.0)
    play.lost()
    play.due()
    assert play.waits_for == ("CONNECT", 10.0)


def test_a_pause_is_no_sign_of_life() -> None:
    play = pinging(max_missed=2, idle=0)
    play.due()
    play.tell("ping_failed", play.ping, OSError())
    play.tell("pause")
    play.now += 1000
    play.tell("resume")
    assert play.machine.missed_heartbeats == 1
    play.due()
    play.tell("ping_failed", play.ping, OSError())
    assert isinstance(play.error, HeartbeatTimeout)


def test_pings_follow_a_redirected_stream_without_its_credentials() -> None:
    play = Play(pings=True, headers=(SECRET,))
    play.connect()
    play.respond(302, ("Location", "https://other.example:444/deep/events"))
    play.accepted()
    [ping] = play.due()
    assert ping.request.url == "https://other.example:444/ping"
    assert ping.request.header("Authorization") is None


def test_a_ping_endpoint_elsewhere_gets_no_credentials() -> None:
    play = Play(pings=True, headers=(SECRET,), ping_endpoint="http://health.example/up").accepted()
    [ping] = play.due()
    assert ping.request.url == "http://health.example/up"
    assert ping.request.header("Authorization") is None


def test_a_tick_long_after_everything_was_due_ends_in_one_death() -> None:
    play = pinging(idle=100)
    play.now += 10_000
    play.tell("tick")
    play.tell("tick")
    assert [type(e.error) for e in play.said(ErrorOccurred)] == [IdleTimeout]
    assert play.answer[0] == Disconnect(play.ping), "the ping that came up at the same time"


# --- Pausing -----------------------------------------------------------------------------------


def test_pausing_stops_the_reading_and_the_clock_of_silence() -> None:
    play = Play(idle=10).accepted()
    play.now += 8
    assert play.tell("pause") == [PauseReading()]
    assert play.machine.paused
    assert play.machine.deadline is None
    play.now += 500
    assert not play.tell("tick")
    assert play.tell("resume") == [ResumeReading()]
    assert not play.machine.paused
    assert play.waits_for == ("IDLE", 2.0)


def test_what_was_on_its_way_into_a_pause_is_life() -> None:
    play = Play(idle=10).accepted()
    play.now += 8
    play.tell("pause")
    play.now += 1
    play.body(EVENT)
    play.now += 100
    play.tell("resume")
    assert play.waits_for == ("IDLE", 10.0)


def test_pauses_do_not_add_up_wrongly() -> None:
    play = Play(idle=10).accepted()
    for _ in range(3):
        play.now += 2
        play.tell("pause")
        play.now += 50
        play.tell("resume")
    assert play.waits_for == ("IDLE", 4.0)


def test_pause_and_resume_are_idempotent() -> None:
    play = Play().accepted()
    play.tell("pause")
    assert not play.tell("pause")
    play.tell("resume")
    assert not play.tell("resume")


def test_a_pause_lasts_over_attempts() -> None:
    play = Play(idle=10)
    assert not play.tell("pause")
    play.connect()
    play.now += 5
    play.accepted()
    assert [type(action) for action in play.answer] == [StateChanged, PauseReading]
    play.now += 100
    play.lost()
    play.due()
    play.accepted()
    assert play.said(PauseReading)
    play.now += 100
    play.tell("resume")
    assert play.waits_for == ("IDLE", 10.0)


def test_a_pause_between_attempts_may_end_there() -> None:
    play = Play(idle=10).accepted()
    play.tell("pause")
    play.lost()
    assert not play.tell("resume")
    play.accepted()
    assert not play.said(PauseReading)


def test_a_pause_does_not_stop_the_timers_of_an_attempt() -> None:
    play = Play()
    play.tell("pause")
    play.connect()
    play.due()
    assert isinstance(play.error, ConnectTimeout)


def test_stability_goes_on_in_a_pause() -> None:
    play = Play(reset_interval=50).accepted()
    play.lost()
    play.accepted()
    play.tell("pause")
    assert play.waits_for == ("STABILITY", 50.0)


# --- Commands ----------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [S.CONNECTING, S.CONNECTED, S.RECONNECTING])
def test_disconnect_ends_what_is_under_way(state: S) -> None:
    play = in_state(state)
    play.tell("disconnect")
    assert play.changes == [S.DISCONNECTED]
    assert bool(play.said(Disconnect)) is (state is not S.RECONNECTING)
    assert play.machine.deadline is None
    assert play.connect()


@pytest.mark.parametrize("state", [S.DISCONNECTED, S.ERROR, S.CLOSED])
def test_disconnect_where_nothing_is_under_way_does_nothing(state: S) -> None:
    play = in_state(state)
    assert not play.tell("disconnect")
    assert play.state is state


@pytest.mark.parametrize("state", list(S))
def test_close_closes_from_anywhere_once(state: S) -> None:
    play = in_state(state)
    play.tell("close")
    assert play.changes == ([S.CLOSED] if state is not S.CLOSED else [])
    assert play.machine.deadline is None
    assert play.machine.error is None
    assert not play.tell("close")
    assert not play.tell("pause")
    assert not play.tell("resume")
    assert not play.tell("tick")


def test_restart_of_a_stream_reconnects_at_once() -> None:
    play = Play().accepted(body=b"id: 3\ndata: x\n\n")
    disconnect, changed, connect = play.tell("restart")
    assert disconnect == Disconnect(1)
    assert changed == StateChanged(S.CONNECTED, S.RECONNECTING, 100.0)
    assert connect == Connect(play.request, 2)
    assert play.request.header("Last-Event-ID") == "3"


def test_restart_while_connecting_begins_again_without_a_change_of_state() -> None:
    play = in_state(S.CONNECTING)
    play.now += 9
    assert play.tell("restart") == [Disconnect(1), Connect(play.request, 2)]
    assert play.waits_for == ("CONNECT", 10.0)


def test_restart_while_waiting_does_not_wait() -> None:
    play = in_state(S.RECONNECTING)
    assert play.tell("restart") == [Connect(play.request, 2)]
    assert play.state is S.RECONNECTING


@pytest.mark.parametrize("state", [S.DISCONNECTED, S.ERROR])
def test_restart_of_nothing_is_connect(state: S) -> None:
    play = in_state(state)
    play.tell("restart", last_event_id="5")
    assert play.changes == [S.CONNECTING]
    assert play.request.header("Last-Event-ID") == "5"


def test_restart_of_nothing_keeps_the_cursor_too() -> None:
    play = Play(machine={"last_event_id": "4"})
    play.tell("restart")
    assert play.request.header("Last-Event-ID") == "4"


def test_restart_after_close_is_refused() -> None:
    play = in_state(S.CLOSED)
    with pytest.raises(LocalProtocolError, match="closed"):
        play.tell("restart")


@pytest.mark.parametrize(("cursor", "sent"), [("9", "9"), ("", None), (None, "3")])
def test_restart_may_replace_the_cursor(cursor: str | None, sent: str | None) -> None:
    play = Play().accepted(body=b"id: 3\ndata: x\n\n")
    play.tell("restart", last_event_id=cursor)
    assert play.request.header("Last-Event-ID") == sent
    assert play.machine.received_event_id == (sent or "")


# --- Posts -------------------------------------------------------------------------------------


def test_a_post_goes_beside_the_stream_with_its_credentials() -> None:
    play = Play(headers=(SECRET, ("Content-Type", "a/b"), ("Accept", "x")))
    play.accepted(body=b"id: 1\n\n")
    [send] = play.post("token", "/up?x=1", content=b"hi", headers=(("X-Mine", "1"),))
    assert isinstance(send, SendPost)
    request = send.request
    assert (request.method, request.url, request.content) == (
        "POST",
        "http://example.com/up?x=1",
        b"hi",
    )
    assert request.header("Authorization") == "Bearer s3cr3t"
    assert request.header("X-Mine") == "1"
    for name in ("Accept", "Last-Event-ID", "Content-Type"):
        assert request.header(name) is None
    [answered] = play.tell("post_answered", play.posted, Response(201), b"done")
    assert answered == PostAnswered("token", Response(201), b"done")
    assert play.metrics.events_sent == 1
    assert play.metrics.bytes_sent == 2
    assert play.state is S.CONNECTED


def test_headers_of_a_post_win_over_those_of_the_stream() -> None:
    play = Play(headers=(SECRET,))
    [send] = play.post(None, "/up", method="PUT", headers=(("authorization", "other"),))
    assert send.request.method == "PUT"
    assert send.request.header("Authorization") == "other"


def test_a_post_that_is_refused_is_answered_and_not_counted() -> None:
    play = Play().accepted()
    play.post("token")
    [answered] = play.tell("post_answered", play.posted, Response(403), b"no")
    assert (answered.response.status, answered.error) == (403, None)
    assert play.metrics.events_sent == 0


def test_a_post_to_another_origin_is_refused() -> None:
    play = Play().accepted()
    with pytest.raises(ConfigError, match="own origin"):
        play.post("token", "http://other.example/up")
    for url in ("http://[", "ftp://example.com/", "mailto:me"):
        with pytest.raises(ConfigError):
            play.post("token", url)
    with pytest.raises(ConfigError):
        play.post("token", "/up", headers=(("X", "a\nb"),))
    assert play.waits_for == ("IDLE", 300.0)


def test_a_post_that_fails_says_how_it_failed() -> None:
    play = Play().accepted()
    play.post("token")
    [answered] = play.tell("post_failed", play.posted, OSError("broken"))
    assert isinstance(answered.error, ConnectionLost)
    assert "broken" in str(answered.error)


@pytest.mark.parametrize("sent", [False, True])
@pytest.mark.parametrize("how", ["post_failed", "due", "close"])
def test_the_error_of_a_post_says_whether_it_may_have_arrived(how: str, sent: bool) -> None:
    play = Play(idle=0).accepted(body=EVENT)
    play.post("token", "/up?key=1", content=b"hi")
    play.now += 2
    if sent:
        play.tell("transport_opened", play.posted)
        play.tell("request_sent", play.posted)
    assert play.metrics.bytes_sent == (2 if sent else 0)
    if how == "post_failed":
        play.tell(how, play.posted, ConnectionResetError())
    else:
        getattr(play, how)() if how == "due" else play.tell(how)
    [answered] = play.said(PostAnswered)
    error = answered.error
    assert error is not None
    assert error.request_sent is sent
    assert error.url == "http://example.com/up?key=…"
    assert (error.attempt, error.events_received, error.accepted) == (0, 1, None)
    assert error.elapsed == (70.0 if how == "due" else 2.0)


def test_a_post_has_a_time_limit_of_its_own() -> None:
    play = Play(connect=1, response=2, idle=0).accepted()
    play.post("first")
    play.now += 1
    play.post("second")
    assert play.waits_for == ("POST", 2.0)
    disconnect, answered = play.due()
    assert isinstance(disconnect, Disconnect)
    assert answered.token == "first"
    assert isinstance(answered.error, ResponseTimeout)
    assert "within 3 s" in str(answered.error)
    assert play.waits_for == ("POST", 1.0)
    assert play.state is S.CONNECTED


@pytest.mark.parametrize("state", [S.DISCONNECTED, S.CONNECTING, S.RECONNECTING, S.ERROR])
def test_a_post_needs_no_stream(state: S) -> None:
    play = in_state(state)
    play.post("token")
    assert play.tell("post_answered", play.posted, Response(200), b"")


def test_a_post_outlives_the_stream_but_not_the_close() -> None:
    play = Play().accepted()
    play.post("token")
    play.lost()
    play.tell("disconnect")
    assert play.waits_for == ("POST", 70.0)
    play.tell("close")
    disconnect, answered, _ = play.answer
    assert disconnect == Disconnect(play.posted)
    assert isinstance(answered.error, ConnectionClosed)
    with pytest.raises(LocalProtocolError, match="closed"):
        play.post("late")


def test_a_post_may_be_given_up() -> None:
    play = Play().accepted()
    token = object()
    play.post(token)
    number = play.posted
    play.post("other")
    assert play.tell("abandon_post", token) == [Disconnect(number)]
    assert not play.tell("abandon_post", token)
    assert not play.tell("post_answered", number, Response(200), b"")
    assert not play.tell("post_failed", number, OSError())
    assert play.tell("post_answered", play.posted, Response(200), b"")
    assert not play.tell("abandon_post", "other")


# --- Stale news --------------------------------------------------------------------------------


def test_news_of_an_exchange_that_was_given_up_is_ignored() -> None:
    play = Play()
    play.connect()
    play.tell("restart")
    assert play.stream == 2
    for number in (0, 1, 3):
        for news, args in {
            "transport_opened": (),
            "request_sent": (),
            "response_received": (STREAM,),
            "body_received": (EVENT,),
            "body_ended": (),
            "connect_failed": (OSError(),),
            "connection_lost": (OSError(),),
            "request_prepared": (play.request,),
            "prepare_failed": (OSError(),),
            "ping_answered": (STREAM,),
            "ping_failed": (OSError(),),
            "post_answered": (STREAM, b""),
            "post_failed": (OSError(),),
        }.items():
            assert not play.tell(news, number, *args)
    assert play.waits_for == ("CONNECT", 10.0)


@pytest.mark.parametrize("state", [S.DISCONNECTED, S.RECONNECTING, S.ERROR, S.CLOSED])
def test_there_is_no_exchange_number_zero(state: S) -> None:
    play = in_state(state)
    assert not play.tell("body_ended", 0)
    assert not play.tell("connection_lost", 0, OSError())
    assert not play.tell("connect_failed", 0, OSError())


def test_there_is_no_ping_number_zero() -> None:
    play = pinging()
    assert not play.tell("ping_answered", 0, Response(200))
    assert not play.tell("ping_failed", 0, OSError())
    assert play.metrics.heartbeats_succeeded == 0


# --- Counting ----------------------------------------------------------------------------------


def test_the_metrics_equal_the_history() -> None:
    play = Play(content=b"123", replay="always", on_end="finish", method="POST")
    play.connect()
    play.now += 1
    play.failed()
    play.due()
    play.now += 0.2
    play.accepted(body=EVENT * 2)
    play.now += 30
    play.body(EVENT[:5])
    play.now += 3
    play.body(EVENT[5:] + b": comment\n")
    play.now += 7
    before = play.metrics
    assert before.uptime == pytest.approx(40.0)
    assert before.comments_received == 1
    play.end()
    metrics = play.metrics
    assert metrics.connect_attempts == metrics.connect_failures == 1
    assert metrics.reconnect_attempts == metrics.reconnect_successes == 1
    assert metrics.connect_successes == metrics.reconnect_failures == 0
    assert metrics.connect_success_rate == 50.0
    assert metrics.bytes_received == 3 * len(EVENT) + 10
    assert metrics.bytes_sent == 3, "the first attempt did not get as far as sending"
    assert metrics.events_received == 3
    assert metrics.comments_received == 1
    assert metrics.errors == {"network": 1}
    assert metrics.longest_silence == pytest.approx(30.0)
    assert metrics.last_connect == pytest.approx(101.3)
    assert metrics.last_event == pytest.approx(134.3)
    assert metrics.last_disconnect == pytest.approx(141.3)
    assert metrics.uptime == 0
    assert metrics.connect_durations.count == 1
    assert metrics.connect_durations.sum == pytest.approx(0.2)
    assert metrics.connect_durations.last == metrics.connect_durations.max


def test_a_restart_counts_as_a_reconnect_and_an_abandoned_attempt_as_nothing() -> None:
    play = Play().accepted()
    play.tell("restart")
    play.tell("restart")
    metrics = play.metrics
    assert metrics.reconnect_attempts == 2
    assert metrics.reconnect_failures == metrics.reconnect_successes == 0


# --- Secrets -----------------------------------------------------------------------------------


def test_no_answer_shows_a_credential() -> None:
    secret = "s3cr3t"
    play = Play(
        url=f"http://example.com/events?token={secret}",
        headers=(("Authorization", secret), ("X-API-Key", secret)),
        pings=True,
        machine={"include": ["connected"]},
    )
    play.accepted(("Set-Cookie", secret))
    play.due()
    play.post("token", content=secret.encode())
    play.tell(
        "post_answered", play.posted, Response(200, (("Set-Cookie", secret),)), secret.encode()
    )
    play.lost(OSError(f"http://me:{secret}@example.com/?token={secret}"))
    play.due()
    play.refused(404, ("Set-Cookie", secret))
    text = "".join(f"{action!r} {action}" for action in play.history)
    assert secret not in text
    assert secret not in str([str(e.error) for e in play.history if isinstance(e, ErrorOccurred)])


def test_what_was_waiting_to_be_read_while_we_were_late_is_life() -> None:
    play = Play(idle=10).accepted()
    play.now += 25
    assert not play.tell("tick")
    play.body(b":\n")
    assert not play.tell("tick")
    assert play.machine.state is S.CONNECTED
    assert play.machine.deadline == play.now + 10


def test_what_an_http_client_adds_goes_to_where_the_caller_wanted_alone() -> None:
    machine = ConnectionMachine(Request("GET", "https://a.example/events"))
    assert machine.trusts(Request("GET", "https://a.example/elsewhere"))
    assert not machine.trusts(Request("GET", "https://b.example/events"))
    assert not machine.trusts(Request("GET", "http://a.example/events"))
