"""One attempt at getting a stream: where it was redirected, what came back, and what that means.

The table of BEHAVIOUR ("what comes back, and what follows") is :func:`judge`; a caller's ``decide``
may overrule it, answer by answer. An :class:`AttemptInProgress` holds what only matters until a
response is accepted, so that a connected stream does not carry it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from http import HTTPStatus
from math import inf
from typing import TypeAlias

from .config import ConnectionConfig
from .content_coding import ContentDecoder, make_decoder
from .errors import (
    ConfigError,
    ContentEncodingError,
    ContentTypeError,
    HTTPStatusError,
    InsecureRedirect,
    LocalProtocolError,
    SSEError,
    TooManyRedirects,
    describe,
)
from .http import (
    PERMANENT_REDIRECTS,
    REDIRECTS,
    Request,
    Response,
    is_event_stream,
    is_idempotent,
    redirect_request,
    retry_after,
)

__all__ = ["Accept", "Attempt", "Decide", "Fail", "Retry", "Stop", "Verdict", "follow", "judge"]

# --- What a caller's `decide` sees and says ----------------------------------------------------


@dataclass(frozen=True, slots=True)
class Attempt:
    """What ``decide`` may know about the attempt whose response it judges.

    ``number`` counts retries since the last progress, 0 for the first attempt; ``previous_status``
    and ``previous_error`` are those of the attempt before, ``endpoint`` is the origin that
    answered.
    """

    number: int
    previous_status: int | None = None
    previous_error: SSEError | None = None
    endpoint: str = ""


@dataclass(frozen=True, slots=True)
class Accept:
    """Read this response's body as an event stream."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again, after ``delay`` seconds or (None) as the policy says, perhaps without the cursor.

    The caller takes the responsibility: a request is sent again even where it is not safe by
    itself.
    """

    delay: float | None = None
    reset_cursor: bool = False

    def __post_init__(self) -> None:
        delay = self.delay
        if delay is not None and not (isinstance(delay, int | float) and 0 <= delay < inf):
            raise ConfigError(f"Retry.delay must be a number of seconds or None, not {delay!r}")


@dataclass(frozen=True, slots=True)
class Fail:
    """Go to ERROR."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Close without an error, as a 204 does."""


Verdict: TypeAlias = Accept | Retry | Fail | Stop
"""What ``decide`` may say; None leaves it to the table."""

Decide: TypeAlias = Callable[[Response, Attempt], Verdict | None]
"""``decide(response, attempt)``: a pure function that may overrule what a response means."""

# --- What the machine is told ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Accepted:
    """Connected; the body goes through ``decoder`` first if there is one."""

    decoder: ContentDecoder | None


@dataclass(frozen=True, slots=True)
class Redirected:
    """Go on with another request, inside the same attempt."""

    request: Request


@dataclass(slots=True)
class Refused:
    """Not a stream: ``error`` follows, once the first bytes of the body are in it."""

    error: SSEError
    retry_after: float = 0.0
    verdict: Retry | None = None  # what `decide` said, if it said so
    decoder: ContentDecoder | None = None

    @property
    def keeps_body(self) -> bool:
        """Whether the error has a place for the body: what would not be kept is not waited for."""
        return isinstance(self.error, HTTPStatusError | ContentTypeError)


Judgement: TypeAlias = Accepted | Redirected | Refused | Stop


class AttemptInProgress:
    """What one attempt has to remember until a response is accepted."""

    __slots__ = ("body", "facts", "permanent", "redirects", "refused", "start")

    def __init__(self, facts: Attempt) -> None:
        self.facts: Attempt = facts
        self.start: str = ""  # the url of the first request
        self.redirects: int = 0
        self.permanent: bool = True  # no temporary redirect so far
        self.refused: Refused | None = None
        self.body: bytes = b""

    def capture(self, data: bytes, limit: int) -> bool:
        """Keep the first bytes of a refusing response's body; return whether there are enough."""
        refused = self.refused
        assert refused is not None
        decoder = refused.decoder
        if decoder is not None:
            data = decoder.feed(data)
        self.body = (self.body + data)[:limit]
        return len(self.body) >= limit or (decoder is not None and decoder.error is not None)

    def refusal(self) -> SSEError:
        """Return the error, with what was captured of the body."""
        refused = self.refused
        assert refused is not None
        error = refused.error
        if isinstance(error, HTTPStatusError | ContentTypeError):
            error.body = self.body
        return error


def judge(
    response: Response,
    request: Request,
    attempt: AttemptInProgress,
    config: ConnectionConfig,
    decide: Decide | None,
) -> Judgement:
    """Say what a response head means for the attempt it answers."""
    if decide is not None:
        try:
            verdict = decide(response, replace(attempt.facts, endpoint=str(request.origin)))
        except Exception as raised:
            text = f"decide raised {describe(raised)}"
            return Refused(LocalProtocolError(text, cause=raised, response=response))
        match verdict:
            case None:
                pass
            case Accept():
                return _accept(response, config)
            case Stop():
                return verdict
            case Retry():
                error = _status_error(_status_text(response), response, retryable=True)
                floor = retry_after(response) or 0.0
                return Refused(error, floor, verdict, _error_body_decoder(response, config))
            case Fail():
                error = _status_error(_status_text(response), response, retryable=False)
                return Refused(error, decoder=_error_body_decoder(response, config))
            case _:
                text = "decide must return Accept, Retry, Fail, Stop or None"
                return Refused(LocalProtocolError(text, response=response))
    status = response.status
    if status == 204:
        return Stop()
    if status in REDIRECTS:
        return _redirect(response, request, attempt, config)
    decoder = _error_body_decoder(response, config)
    if status != 200:
        retryable = status in config.retry_statuses
        error = _status_error(_status_text(response), response, retryable=retryable)
        return Refused(error, retry_after(response) or 0.0, decoder=decoder)
    if not is_event_stream(response):
        shown = (response.header("content-type") or "no content type")[:100]
        text = f"expected text/event-stream, got {shown!r}"
        return Refused(ContentTypeError(text, response=response), decoder=decoder)
    return _accept(response, config)


def _accept(response: Response, config: ConnectionConfig) -> Accepted | Refused:
    limits = config.limits
    try:
        return Accepted(
            make_decoder(
                response.header_values("content-encoding"),
                max_ratio=limits.decompressed_ratio,
                max_size=limits.decompressed_read,
            )
        )
    except ContentEncodingError as error:
        error.response = response
        return Refused(error)


def _error_body_decoder(response: Response, config: ConnectionConfig) -> ContentDecoder | None:
    judgement = _accept(response, config)
    return judgement.decoder if isinstance(judgement, Accepted) else None


def _status_text(response: Response) -> str:
    try:
        phrase = f" {HTTPStatus(response.status).phrase}"
    except ValueError:
        phrase = ""
    return f"the server answered {response.status}{phrase}"


def _status_error(text: str, response: Response, *, retryable: bool) -> HTTPStatusError:
    return HTTPStatusError(text, status=response.status, retryable=retryable, response=response)


def _redirect(
    response: Response, request: Request, attempt: AttemptInProgress, config: ConnectionConfig
) -> Redirected | Refused:
    attempt.redirects += 1
    if attempt.redirects > config.limits.redirects:
        text = f"more than {config.limits.redirects} redirects"
        return Refused(TooManyRedirects(text, response=response))
    attempt.permanent = attempt.permanent and response.status in PERMANENT_REDIRECTS
    location = response.header("location")
    if location is None:
        text = f"{_status_text(response)}, a redirect without a Location"
        return Refused(_status_error(text, response, retryable=False))
    # Header values are read as Latin-1; a raw non-ASCII Location is UTF-8 in practice.
    location = location.encode("latin-1", "replace").decode("utf-8", "replace")
    try:
        return Redirected(follow(request, response.status, location))
    except SSEError as error:
        error.response = response
        return Refused(error)


_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")


def follow(request: Request, status: int, location: str) -> Request:
    """Return the request that a redirect leads to; raise where following it would be wrong.

    Raises :class:`InsecureRedirect` from https to http, to a scheme that is not HTTP, and to
    another origin with a body; :class:`HTTPStatusError` if ``location`` is no url at all.

    >>> follow(Request("GET", "https://a.example/x"), 307, "http://a.example/x")
    Traceback (most recent call last):
    sansio_sse.errors.InsecureRedirect: refused a redirect from https to http
    """
    scheme = _SCHEME.match(location)
    if scheme and scheme[1].lower() not in ("http", "https"):
        raise InsecureRedirect(f"refused a redirect to the scheme {scheme[1][:20]!r}")
    try:
        followed = redirect_request(request, status, location)
    except ConfigError as error:
        text = f"the server answered {status} with an unusable Location ({error.message})"
        raise HTTPStatusError(text, status=status, retryable=False) from None
    if request.origin.secure and not followed.origin.secure:
        raise InsecureRedirect("refused a redirect from https to http")
    if followed.content is not None and followed.origin != request.origin:
        raise InsecureRedirect("refused to send the request's body to another origin")
    if followed.header("last-event-id") is None:
        cursor = request.header("last-event-id")
        if cursor is not None:  # ours, not the caller's: the stream goes on at the other place
            followed = followed.with_header("Last-Event-ID", cursor)
    return followed


def may_replay(
    request: Request,
    error: SSEError,
    config: ConnectionConfig,
    *,
    acted: bool,
    gave_id: bool,
    cursor: str,
) -> bool:
    """Tell whether a request whose bytes were sent may be sent again after ``error``.

    425, 429 and 503 mean that the server declined to act. Otherwise a method that is not idempotent
    may have had its effect, unless the stream gave an id: then the request says where to go on, not
    what to do again. ``acted``: this is what a redirect made of a request that had its effect.
    """
    if not acted:
        if isinstance(error, HTTPStatusError) and error.status in (425, 429, 503):
            return True
        if is_idempotent(request):
            return True
    if config.replay == "always":
        return True
    return (gave_id or config.replay == "with_id") and cursor != ""
