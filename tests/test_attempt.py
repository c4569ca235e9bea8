"""Judging a response head, following a redirect, and what may be sent twice."""

from typing import Any

import pytest

from machine_play import configured
from sansio_sse import (
    Accept,
    Attempt,
    ContentEncodingError,
    ContentTypeError,
    HTTPStatusError,
    InsecureRedirect,
    LocalProtocolError,
    Request,
    Response,
    Retry,
    Stop,
    TooManyRedirects,
)
from sansio_sse.attempt import (
    Accepted,
    AttemptInProgress,
    Decide,
    Redirected,
    Refused,
    follow,
    judge,
    may_replay,
)

GET = Request("GET", "http://a.example/x")
SSE = ("Content-Type", "text/event-stream")


def judged(
    status: int,
    *headers: tuple[str, str],
    attempt: AttemptInProgress | None = None,
    decide: Decide | None = None,
    **config: Any,
) -> Any:
    attempt = attempt or AttemptInProgress(Attempt(0))
    return judge(Response(status, headers), GET, attempt, configured(**config), decide)


def test_the_table() -> None:
    assert isinstance(judged(200, SSE), Accepted)
    assert isinstance(judged(204), Stop)
    assert isinstance(judged(302, ("Location", "/y")), Redirected)
    for status, retryable in ((408, True), (404, False), (206, False), (304, False), (599, False)):
        refused = judged(status, SSE)
        assert isinstance(refused, Refused)
        assert isinstance(refused.error, HTTPStatusError)
        assert refused.error.retryable is retryable
        assert refused.error.response is not None
    assert isinstance(judged(200, ("Content-Type", "text/html")).error, ContentTypeError)
    coded = judged(200, SSE, ("Content-Encoding", "zstd"))
    assert isinstance(coded.error, ContentEncodingError)
    assert coded.error.response is not None


def test_the_message_names_the_status_if_it_has_a_name() -> None:
    assert str(judged(503).error) == "the server answered 503 Service Unavailable"
    assert str(judged(799).error) == "the server answered 799"


def test_a_content_type_is_shown_up_to_a_bound() -> None:
    assert len(str(judged(200, ("Content-Type", "x" * 10_000)).error)) < 200


def test_only_what_may_be_a_body_is_waited_for() -> None:
    def junk(response: Response, attempt: Attempt) -> Any:
        return "junk"

    assert judged(404).keeps_body
    assert judged(200, ("Content-Type", "text/html")).keeps_body
    assert judged(401, decide=lambda response, attempt: Retry()).keeps_body
    for refused in (
        judged(200, SSE, ("Content-Encoding", "br")),
        judged(302, ("Location", "file:///")),
        judged(404, decide=junk),
    ):
        assert not refused.keeps_body


def test_redirects_are_counted_and_remembered_as_permanent_while_they_are() -> None:
    attempt = AttemptInProgress(Attempt(0))
    for status, permanent in ((301, True), (308, True), (307, False), (301, False)):
        judged(status, ("Location", "/y"), attempt=attempt, redirects=4)
        assert attempt.permanent is permanent
    refused = judged(301, ("Location", "/y"), attempt=attempt, redirects=4)
    assert isinstance(refused.error, TooManyRedirects)
    assert "more than 4 redirects" in str(refused.error)


def test_decide_overrules_the_table_or_leaves_it() -> None:
    assert isinstance(judged(404, decide=lambda response, attempt: Accept()), Accepted)
    assert isinstance(judged(404, decide=lambda response, attempt: None), Refused)

    def decide(response: Response, attempt: Attempt) -> None:
        raise ZeroDivisionError

    error = judged(200, SSE, decide=decide).error
    assert isinstance(error, LocalProtocolError)
    assert isinstance(error.cause, ZeroDivisionError)
    assert str(error) == "decide raised ZeroDivisionError"


def test_what_a_baseexception_means_is_not_ours_to_say() -> None:
    def decide(response: Response, attempt: Attempt) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        judged(200, SSE, decide=decide)


@pytest.mark.parametrize(
    ("location", "kind", "words"),
    [
        ("FILE:///x", InsecureRedirect, "scheme 'FILE'"),
        ("data:,x", InsecureRedirect, "scheme 'data'"),
        ("about:blank", InsecureRedirect, "scheme"),
        ("http://[", HTTPStatusError, "unusable Location"),
        ("//me@:80/", HTTPStatusError, "unusable Location"),
        ("https:]", HTTPStatusError, "unusable Location .* has no host"),
        (" a:]", HTTPStatusError, "unusable Location .* the scheme"),
        ("x" * 70 + ":y", InsecureRedirect, "scheme"),
    ],
)
def test_where_following_would_be_wrong(location: str, kind: type, words: str) -> None:
    with pytest.raises(kind, match=words) as caught:
        follow(GET, 302, location)
    assert len(str(caught.value)) < 250


def test_a_path_with_a_colon_is_no_scheme() -> None:
    assert follow(GET, 302, "/a:b").url == "http://a.example/a:b"
    assert follow(GET, 302, "?a:b").url == "http://a.example/x?a:b"


def test_a_redirect_upwards_is_fine_and_downwards_is_not() -> None:
    assert follow(GET, 301, "https://a.example/").origin.secure
    with pytest.raises(InsecureRedirect, match="https to http"):
        follow(Request("GET", "https://a.example/"), 301, "http://a.example/")


def test_the_cursor_goes_along_once() -> None:
    request = GET.with_header("Last-Event-ID", "7")
    for location in ("/y", "http://b.example/"):
        followed = follow(request, 302, location)
        assert [pair for pair in followed.headers if pair[0] == "Last-Event-ID"] == [
            ("Last-Event-ID", "7")
        ]


@pytest.mark.parametrize(
    ("acted", "gave_id", "cursor", "replay", "expected"),
    [
        (False, False, "", "safe", False),
        (False, True, "7", "safe", True),
        (False, True, "", "safe", False),
        (False, False, "7", "safe", False),
        (False, False, "7", "with_id", True),
        (False, False, "", "with_id", False),
        (False, False, "", "always", True),
        (True, True, "7", "safe", True),
        (True, False, "", "always", True),
    ],
)
def test_a_post_may_be_sent_twice_only_if_it_says_where_to_go_on(
    acted: bool, gave_id: bool, cursor: str, replay: Any, expected: bool
) -> None:
    post = Request("POST", "http://a.example/")
    error = HTTPStatusError("no", status=500)
    config = configured(replay=replay)
    assert may_replay(post, error, config, acted=acted, gave_id=gave_id, cursor=cursor) is expected


@pytest.mark.parametrize("acted", [False, True])
def test_a_get_and_a_declined_post_may_be_sent_twice_unless_something_has_been_done(
    acted: bool,
) -> None:
    config = configured()
    declined = HTTPStatusError("later", status=503)
    failed = HTTPStatusError("oh", status=500)
    post = Request("POST", "http://a.example/")
    for request, error in ((GET, failed), (post, declined)):
        allowed = may_replay(request, error, config, acted=acted, gave_id=False, cursor="")
        assert allowed is not acted
