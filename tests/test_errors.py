"""The tree of errors, what each one says, and that none of them says too much."""

import pickle
import ssl
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sansio_sse
from sansio_sse import (
    BufferOverflow,
    ConfigError,
    ConnectError,
    ConnectionClosed,
    ConnectionLost,
    ConnectTimeout,
    ContentTypeError,
    EventTooLarge,
    HeartbeatTimeout,
    HTTPStatusError,
    IdleTimeout,
    LocalProtocolError,
    NoEndpoint,
    PoolTimeout,
    ReconnectExhausted,
    RemoteProtocolError,
    Response,
    ResponseTimeout,
    SSEError,
    StreamTruncated,
    TLSError,
    is_connection_error,
    is_streaming_error,
)
from sansio_sse.errors import describe, from_transport, redact_text, redact_url

CLASSES = [
    thing
    for name in sansio_sse.__all__
    if isinstance(thing := getattr(sansio_sse, name), type) and issubclass(thing, SSEError)
]
RESPONSE = Response(503, (("Set-Cookie", "s3cr3t"),))


def made(kind: type[SSEError], **options: Any) -> SSEError:
    if kind is HTTPStatusError:
        options = {"status": 503, "body": b"why", **options}
    return kind("what happened", **options)


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_has_a_category_and_a_message(kind: type[SSEError]) -> None:
    error = made(kind)
    assert error.category in ("network", "timeout", "protocol", "usage")
    assert isinstance(error.retryable, bool)
    assert str(error) == error.message == "what happened"
    assert kind.__name__ in sansio_sse.errors.__all__


def test_what_trying_again_cannot_mend() -> None:
    words = """ContentTypeError ContentEncodingError TooManyRedirects InsecureRedirect LimitExceeded
        EventDecodeError EventTooLarge BufferOverflow ReconnectExhausted PoolClosed ConnectionClosed
        LocalProtocolError ConfigError"""
    assert {kind.__name__ for kind in CLASSES if not kind.retryable} == set(words.split())


def test_an_instance_may_say_otherwise() -> None:
    assert not SSEError("no", retryable=False).retryable
    assert made(HTTPStatusError).retryable
    assert not made(HTTPStatusError, retryable=False).retryable


def test_a_config_error_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="impossible"):
        raise ConfigError("impossible")


CONTEXT: dict[str, Any] = {
    "url": "http://example.com/",
    "attempt": 2,
    "elapsed": 1.5,
    "events_received": 7,
    "request_sent": True,
    "accepted": False,
}


def context(error: SSEError) -> dict[str, Any]:
    return {name: getattr(error, name) for name in CONTEXT}


def test_context_is_filled_in_once() -> None:
    error = SSEError("no")
    assert set(context(error).values()) == {None}
    assert error.with_context(**CONTEXT) is error
    assert context(error) == CONTEXT
    other: dict[str, Any] = {**CONTEXT, "attempt": 9, "url": "http://other.example/"}
    error.with_context(**other)
    assert context(error) == CONTEXT
    assert context(ReconnectExhausted("gave up").with_context_of(error)) == CONTEXT


# --- Pickling ----------------------------------------------------------------------------------


def pickled(error: SSEError) -> Any:
    return pickle.loads(pickle.dumps(error))


class Unpicklable(Exception):
    def __init__(self, callback: Any) -> None:
        super().__init__("at http://me:s3cr3t@example.com/?token=s3cr3t")
        self.callback = callback


@pytest.mark.parametrize(
    ("cause", "kept"),
    [
        (None, None),
        ("words", "words"),
        (ValueError("x", 1, 2.0, b"b", None, True), ValueError),
        (OSError(111, "refused"), ConnectionRefusedError),
        (ConnectError("ours"), ConnectError),
        (Unpicklable(lambda: None), "Unpicklable: at http://example.com/?token=…"),
        (ValueError(object()), None),
        (ssl.SSLError(1, "handshake"), "SSLError: handshake"),
    ],
)
@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_pickles_whatever_its_cause(
    kind: type[SSEError], cause: Any, kept: Any
) -> None:
    error = made(kind)
    error.cause = cause
    error.response = RESPONSE
    error.with_context(**CONTEXT)
    again = pickled(error)
    assert type(again).__name__ == kind.__name__
    assert again.args == error.args
    assert str(again) == str(error)
    assert again.response == RESPONSE
    assert again.retryable == error.retryable
    assert context(again) == CONTEXT
    if isinstance(kept, type):
        assert again.cause.args == cause.args
        assert type(again.cause) is kept
        assert again.__cause__ is again.cause
    elif kept is not None:
        assert again.cause == kept
    if kind is HTTPStatusError:
        assert (again.status, again.body) == (503, b"why")


def test_the_cause_is_chained() -> None:
    cause = ValueError("why")
    assert SSEError("no", cause=cause).__cause__ is cause
    assert SSEError("no", cause="why").__cause__ is None


def test_chains_of_our_own_pickle() -> None:
    last = ConnectionLost("gone", cause=Unpicklable(print))
    again = pickle.loads(pickle.dumps(ReconnectExhausted("gave up", cause=last)))
    assert isinstance(again.cause, ConnectionLost)
    assert isinstance(again.cause.cause, str)
    assert "s3cr3t" not in again.cause.cause


# --- Redaction ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://example.com/a?b=c", "http://example.com/a?b=…"),
        ("http://example.com/a?b=c&d=e&f", "http://example.com/a?b=…&d=…&…"),
        ("http://example.com/a?token", "http://example.com/a?…"),
        ("http://example.com/a?", "http://example.com/a?…"),
        ("http://me@example.com", "http://example.com"),
        ("http://me:pw@example.com:8080/x", "http://example.com:8080/x"),
        ("http://me:p@w@example.com/", "http://example.com/"),
        ("http://example.com/#access_token=x", "http://example.com/"),
        ("http://example.com?a=http://b/c", "http://example.com?a=…"),
        ("/path?a=b", "/path?a=…"),
        ("example.com/a=b", "example.com/a=b"),
        ("", ""),
    ],
)
def test_urls_are_shown_without_credentials(url: str, shown: str) -> None:
    assert redact_url(url) == shown


@given(st.text(alphabet="abcdef0123456789", min_size=6), st.sampled_from(["user", "", "u:v"]))
def test_no_password_or_query_value_survives(secret: str, user: str) -> None:
    url = f"https://{user}:{secret}@host.example:1/path?key={secret}&x={secret}#{secret}"
    assert f":{secret}" not in redact_url(url)
    assert f"={secret}" not in redact_url(url)
    assert secret not in redact_text(f"failed at {url} again")


def test_texts_are_kept_on_one_line_and_short() -> None:
    assert redact_text("a\r\nb\x1b[31mc\u2028d") == "a  b [31mc d"
    assert len(redact_text("x" * 10_000)) == 501
    assert redact_text("fetching http://me:pw@h/?t=x, twice") == "fetching http://h/?t=… twice"


def test_a_foreign_exception_is_shown_by_type_and_text() -> None:
    assert describe(ValueError("why")) == "ValueError: why"
    assert describe(ValueError()) == "ValueError"
    assert "s3cr3t" not in describe(Unpicklable(None))


# --- From transports ---------------------------------------------------------------------------


class Refused(OSError):
    verify_code = 20
    verify_message = "unable to get local issuer certificate"


def test_a_refusal_while_opening_is_a_connect_error() -> None:
    cause = ConnectionRefusedError(111, "Connection refused")
    error = from_transport(cause, opening=True, where="a:80")
    assert type(error) is ConnectError
    assert str(error) == "could not connect to a:80: Connection refused"
    assert error.cause is cause


def test_a_break_later_is_a_lost_connection() -> None:
    error = from_transport(ConnectionResetError("reset by peer"), opening=False)
    assert type(error) is ConnectionLost
    assert str(error) == "the connection was lost: reset by peer"


def test_an_exception_without_words_is_shown_by_its_type() -> None:
    assert "EOFError" in str(from_transport(EOFError(), opening=False, where="a:80"))


def test_ours_stay_as_they_are() -> None:
    error = IdleTimeout("silent")
    assert from_transport(error, opening=True) is error


@pytest.mark.parametrize(
    ("where", "words"), [("a:443", " for a:443: unable"), ("", "verify: unable")]
)
def test_a_certificate_that_does_not_verify_is_final(where: str, words: str) -> None:
    error = from_transport(Refused(), opening=True, where=where)
    assert type(error) is TLSError
    assert not error.retryable
    assert words in str(error)


def test_any_other_tls_error_may_be_tried_again() -> None:
    error = from_transport(ssl.SSLError(1, "wrong version"), opening=True, where="a:443")
    assert type(error) is TLSError
    assert error.retryable
    assert "TLS failed to a:443" in str(error)


def test_what_a_transport_says_is_redacted() -> None:
    error = from_transport(OSError("at http://me:s3cr3t@proxy/?a=s3cr3t"), opening=True)
    assert "s3cr3t" not in str(error)


# --- Before or after acceptance ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "before", "after"),
    [
        (ConnectError("x"), True, False),
        (ConnectTimeout("x"), True, False),
        (TLSError("x"), True, False),
        (ResponseTimeout("x"), True, False),
        (made(HTTPStatusError), True, False),
        (ContentTypeError("x"), True, False),
        (RemoteProtocolError("x"), True, False),
        (ConnectionLost("x"), False, True),
        (IdleTimeout("x"), False, True),
        (HeartbeatTimeout("x"), False, True),
        (StreamTruncated("x"), False, True),
        (EventTooLarge("x"), False, True),
        (BufferOverflow("x"), False, True),
        (ReconnectExhausted("x", cause=ConnectError("x")), True, False),
        (ReconnectExhausted("x", cause=IdleTimeout("x")), False, True),
        (ReconnectExhausted("x", cause="pickled"), True, False),
        (PoolTimeout("x"), False, False),
        (NoEndpoint("x"), False, False),
        (ConnectionClosed("x"), False, False),
        (LocalProtocolError("x"), False, False),
        (ConfigError("x"), False, False),
        (ValueError("x"), False, False),
    ],
)
def test_failures_before_acceptance_are_told_from_those_after(
    error: BaseException, before: bool, after: bool
) -> None:
    assert is_connection_error(error) is before
    assert is_streaming_error(error) is after


def test_what_the_machine_knows_counts_more_than_the_kind() -> None:
    error = ConnectionLost("x").with_context(**CONTEXT)
    assert is_connection_error(error)
    assert not is_streaming_error(error)
