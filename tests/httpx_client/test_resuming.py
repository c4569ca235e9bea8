"""Resumed event streams, over transports that play a server: sync and async, httpx and httpx2.

The requests and responses are the client's own. No sockets here; those, and real SDKs, are in
``test_sdks.py``.
"""

import gzip
import logging
import math
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import anyio
import httpx
import httpx2
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

import sansio_sse_httpx
from contract.common import quick
from contract.server import Peer, Seen, Server
from event_stream_vectors import VECTORS, Vector, ways
from sansio_sse import (
    MCP,
    OPENAI,
    PLAIN,
    ConfigError,
    ConnectError,
    ConnectionConfig,
    ConnectionLost,
    ContentEncodingError,
    ContentTypeError,
    EventStreamParser,
    EventTooLarge,
    HeartbeatConfig,
    HTTPStatusError,
    IdleTimeout,
    InsecureRedirect,
    Limits,
    Profile,
    ReconnectExhausted,
    ResumeCursor,
    ServerSentEvent,
    StreamTruncated,
    Timeouts,
    encode_event,
)
from sansio_sse_httpx.resuming import AsyncResumingTransport, ResumingTransport
from sansio_sse_httpx.resumption import Read, Resumption, Shut

URL = "http://example.com/v1/answers?tenant=7"
DONE = encode_event("[DONE]")
A, B, C = (encode_event(text) for text in "abc")
A1, B2, C3 = (encode_event(text, id=str(number)) for number, text in enumerate("abc", 1))
NO_WAIT = quick(initial_delay=0, max_delay=0, max_attempts=3)


# --- A transport that plays a server -----------------------------------------------------------


@dataclass
class Ask:
    """A request as the server saw it, and the timeouts at that moment."""

    method: str
    url: str
    headers: Any
    content: bytes
    timeout: dict[str, float | None]

    @property
    def cursor(self) -> str | None:
        found: str | None = self.headers.get("last-event-id")
        return found


@dataclass
class Answer:
    """A response: its body in pieces, and how that ends."""

    pieces: tuple[bytes, ...] = ()
    cut: Callable[[Any], BaseException] | None = None
    """Makes what is raised in place of the end, from the client's module."""
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "text/event-stream"})
    silent: bool = False
    """Nothing comes after the pieces, and no end."""
    fails: Callable[[Any], BaseException] | None = None
    """The same in place of a response."""
    pause: float = 0
    """Seconds before each piece, by a clock that jumps."""


def whole(*pieces: bytes, **options: Any) -> Answer:
    return Answer(pieces, **options)


def torn(*pieces: bytes, **options: Any) -> Answer:
    """A body that breaks off, as httpx says it."""
    return Answer(pieces, cut=lambda module: module.RemoteProtocolError("cut"), **options)


def status(code: int, body: bytes = b"", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer((body,), status=code, headers=named)


class Inner:
    """Answers requests in turn, the last answer over and over, and knows what is still open."""

    def __init__(self, module: Any, *answers: Answer) -> None:
        self.module = module
        self.answers = list(answers)
        self.asked: list[Ask] = []
        self.open = 0
        self.taken = 0
        """How many pieces of bodies were asked for."""
        self.began: list[dict[str, float | None]] = []
        """The timeouts in force at each first read of a body."""
        self.calls: list[str] = []

    def _answer(self, request: Any, content: bytes) -> Any:
        timeout = dict(request.extensions["timeout"])
        self.asked.append(Ask(request.method, str(request.url), request.headers, content, timeout))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer.fails is not None:
            raise answer.fails(self.module)
        self.open += 1
        stream = _body(self.module)(self, answer, request.extensions)
        extensions = {"http_version": b"HTTP/1.1", "network_stream": self}
        return self.module.Response(
            answer.status, headers=answer.headers, stream=stream, extensions=extensions
        )

    def handle_request(self, request: Any) -> Any:
        return self._answer(request, b"".join(request.stream))

    async def handle_async_request(self, request: Any) -> Any:
        return self._answer(request, b"".join([part async for part in request.stream]))

    def close(self) -> None:
        self.calls.append("close")

    async def aclose(self) -> None:
        self.calls.append("close")

    def __enter__(self) -> None:
        self.calls.append("enter")

    def __exit__(self, *args: object) -> None:
        self.calls.append("exit")

    async def __aenter__(self) -> None:
        self.calls.append("enter")

    async def __aexit__(self, *args: object) -> None:
        self.calls.append("exit")


class Body:
    def __init__(self, inner: Inner, answer: Answer, extensions: Any) -> None:
        self.inner = inner
        self.answer = answer
        self.extensions = extensions
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        timeouts = dict(self.extensions["timeout"])
        self.inner.began.append(timeouts)
        for piece in self.answer.pieces:
            if self.answer.pause:
                time.sleep(self.answer.pause)
            self.inner.taken += 1
            yield piece
        if self.answer.silent:
            assert timeouts["read"] is not None
            time.sleep(timeouts["read"])
            raise self.inner.module.ReadTimeout("silent")
        if self.answer.cut is not None:
            raise self.answer.cut(self.inner.module)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.inner.began.append(dict(self.extensions["timeout"]))
        for piece in self.answer.pieces:
            if self.answer.pause:
                await anyio.sleep(self.answer.pause)
            self.inner.taken += 1
            yield piece
        if self.answer.silent:
            await anyio.sleep(math.inf)
        if self.answer.cut is not None:
            raise self.answer.cut(self.inner.module)

    def close(self) -> None:
        self.inner.open -= not self.closed
        self.closed = True

    async def aclose(self) -> None:
        self.close()


@cache
def _body(module: Any) -> Any:
    return type("Body", (Body, module.SyncByteStream, module.AsyncByteStream), {})


# --- The six ways to read ----------------------------------------------------------------------


@dataclass
class Outcome:
    """What the reader of a response got."""

    head: Any = None
    parts: list[bytes] = field(default_factory=list)
    error: Any = None

    @property
    def data(self) -> bytes:
        return b"".join(self.parts)


@dataclass(frozen=True)
class Way:
    """A client: its module, and where it runs; sync if ``loop`` is empty."""

    module: Any
    loop: str

    def __str__(self) -> str:
        return f"{self.module.__name__}-{self.loop or 'sync'}"

    @property
    def kind(self) -> Any:
        return AsyncResumingTransport if self.loop else ResumingTransport

    def inner(self, *answers: Answer) -> Inner:
        return Inner(self.module, *answers)

    def ask(
        self,
        inner: Any,
        *,
        profile: Profile = OPENAI,
        config: ConnectionConfig | None = NO_WAIT,
        method: str = "POST",
        url: str = URL,
        leave_after: int = 0,
        clock: Any = None,
        timeout: Any = 5.0,
        **options: Any,
    ) -> Outcome:
        """Send a request and read its response; ``leave_after``: leave after so many parts."""
        outcome = Outcome()
        if method == "POST":
            options.setdefault("content", b'{"question":1}')

        def sync() -> None:
            transport = ResumingTransport(inner, profile=profile, config=config)
            with (
                self.module.Client(transport=transport, timeout=timeout) as client,
                client.stream(method, url, **options) as outcome.head,
            ):
                for part in outcome.head.iter_bytes():
                    outcome.parts.append(part)
                    if len(outcome.parts) == leave_after:
                        break

        async def asynchronous() -> None:
            transport = AsyncResumingTransport(inner, profile=profile, config=config)
            async with (
                self.module.AsyncClient(transport=transport, timeout=timeout) as client,
                client.stream(method, url, **options) as outcome.head,
                aclosing(outcome.head.aiter_bytes()) as parts,
            ):
                async for part in parts:
                    outcome.parts.append(part)
                    if len(outcome.parts) == leave_after:
                        break

        try:
            if not self.loop:
                sync()
            elif clock is not None:
                trio.run(asynchronous, clock=clock)
            else:
                anyio.run(asynchronous, backend=self.loop)
        except self.module.TransportError as error:
            outcome.error = error
        return outcome


WAYS = [Way(module, loop) for module in (httpx, httpx2) for loop in ("", "asyncio", "trio")]


@pytest.fixture(params=WAYS, ids=str)
def way(request: pytest.FixtureRequest) -> Way:
    found: Way = request.param
    return found


def content_of(way: Way, *parts: bytes) -> Any:
    """Content that a client can make once only."""

    def sync() -> Iterator[bytes]:
        yield from parts

    async def asynchronous() -> AsyncIterator[bytes]:
        for part in parts:
            yield part

    return asynchronous() if way.loop else sync()


def events_of(parser: EventStreamParser, data: bytes) -> list[ServerSentEvent]:
    return [item for item in parser.feed(data) if isinstance(item, ServerSentEvent)]


def root(error: BaseException) -> BaseException:
    """Return the error behind all others."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


# --- What passes untouched ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        whole(b'{"choices":[]}', headers={"Content-Type": "application/json"}),
        whole(A, status=201),
        whole(A, status=429),
        whole(b"data", headers={}),
    ],
    ids=["json", "status 201", "status 429", "no type"],
)
def test_what_is_no_event_stream_is_returned_as_it_is(way: Way, answer: Answer) -> None:
    inner = way.inner(answer)
    outcome = way.ask(inner)
    assert outcome.error is None
    assert outcome.data == b"".join(answer.pieces)
    assert outcome.head.status_code == answer.status
    assert len(inner.asked) == 1
    assert inner.open == 0


def test_what_is_no_event_stream_is_the_very_response(way: Way) -> None:
    made: list[Any] = []

    class Noting(Inner):
        def _answer(self, request: Any, content: bytes) -> Any:
            made.append(super()._answer(request, content))
            return made[-1]

    request = way.module.Request("POST", URL, content=b"1")
    transport = way.kind(Noting(way.module, status(503)), profile=OPENAI)
    if way.loop:
        response = anyio.run(transport.handle_async_request, request, backend=way.loop)
    else:
        response = transport.handle_request(request)
    assert made == [response]


def test_a_head_request_has_no_stream(way: Way) -> None:
    outcome = way.ask(way.inner(whole()), method="HEAD")
    assert outcome.error is None


def test_an_error_before_the_response_is_the_clients(way: Way) -> None:
    inner = way.inner(Answer(fails=lambda module: module.ConnectTimeout("slow")))
    outcome = way.ask(inner)
    assert type(outcome.error) is way.module.ConnectTimeout
    assert len(inner.asked) == 1


def test_a_redirect_before_the_response_is_the_clients(way: Way) -> None:
    inner = way.inner(status(307, location="/elsewhere"), torn(A1), whole(B2, DONE))
    outcome = way.ask(inner, follow_redirects=True)
    assert outcome.data == A1 + B2 + DONE
    assert [ask.url for ask in inner.asked] == [URL, *["http://example.com/elsewhere"] * 2]
    assert [ask.content for ask in inner.asked] == [b'{"question":1}'] * 3


def test_the_first_request_is_the_callers(way: Way) -> None:
    inner = way.inner(whole(DONE))
    content = content_of(way, b"one ", b"two")
    headers = [("X-Twice", "1"), ("X-Twice", "2"), ("X-Latin", "caf\xe9".encode("latin-1"))]
    way.ask(inner, content=content, headers=headers)
    (ask,) = inner.asked
    assert ask.content == b"one two"
    assert ask.headers.get_list("x-twice") == ["1", "2"]
    assert (b"X-Latin", b"caf\xe9") in ask.headers.raw
    assert ask.headers["transfer-encoding"] == "chunked"


def test_a_response_keeps_its_head(way: Way) -> None:
    headers = {"Content-Type": "text/event-stream; charset=utf-8", "X-Request-Id": "r1"}
    inner = way.inner(whole(A, DONE, headers={**headers, "Content-Length": "99"}))
    outcome = way.ask(inner)
    assert isinstance(outcome.head, way.module.Response)
    assert dict(outcome.head.headers) == {name.lower(): text for name, text in headers.items()}
    assert outcome.head.extensions["network_stream"] is inner
    assert outcome.head.request.url == URL
    assert outcome.data == A + DONE


# --- What the reader is given ------------------------------------------------------------------


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_events_are_what_the_standard_makes_of_a_stream(vector: Vector) -> None:
    expected = [(kind, data, id, retry) for kind, data, id, retry, _ in vector.events]
    headers = {"Last-Event-ID": vector.resumed_from} if vector.resumed_from else {}
    for pieces in list(ways(vector.stream))[:6]:
        inner = Inner(httpx2, whole(*pieces))
        outcome = Way(httpx2, "").ask(inner, profile=PLAIN, headers=headers)
        assert outcome.error is None
        parser = EventStreamParser(last_event_id=vector.resumed_from)
        assert [tuple(event)[:4] for event in events_of(parser, outcome.data)] == expected


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (
            b"event: x\r\nid: 1\r\nretry: 5\r\ndata: a\r\rdata: b\n\n",
            b"event: x\nid: 1\nretry: 5\ndata: a\n\ndata: b\n\n",
        ),
        (b": hello\n\ndata: a\n\n: still here\n", b": hello\ndata: a\n\n: still here\n"),
        (b"data: a\n: in it\ndata: b\n\n", b": in it\ndata: a\ndata: b\n\n"),
        (b"id: 1\n\ndata: a\n\ndata: b\n\n", b"id: 1\ndata: a\n\ndata: b\n\n"),
        (b"id: 1\ndata: a\n\nid\n\ndata: b\n\n", b"id: 1\ndata: a\n\nid: \ndata: b\n\n"),
        (b"id: 1\ndata:\n\n", b"id: 1\ndata: \n\n"),
        (b"event: ping\n\nretry: 10\n\nfoo: bar\n\ndata: a\n\n", b"data: a\n\n"),
        (b"\xef\xbb\xbfdata: \xff\n\n", "data: \ufffd\n\n".encode()),
        (b"data: a\n\ndata: half", b"data: a\n\n"),
    ],
    ids=[
        "fields",
        "comments",
        "comment in an event",
        "id alone",
        "id taken back",
        "priming",
        "no data",
        "bom",
        "half an event",
    ],
)
def test_events_are_written_anew(way: Way, stream: bytes, expected: bytes) -> None:
    outcome = way.ask(way.inner(whole(stream)), profile=PLAIN)
    assert outcome.data == expected
    assert outcome.error is None


def test_events_are_given_as_soon_as_they_are_whole(way: Way) -> None:
    outcome = way.ask(way.inner(whole(A + B[:4], B[4:], C + DONE)))
    assert outcome.parts == [A, B, C + DONE]


def test_nothing_is_given_behind_the_event_that_ends_a_stream(way: Way) -> None:
    inner = way.inner(whole(A, DONE + B, C))
    assert way.ask(inner).data == A + DONE
    assert inner.open == 0


CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "identity": bytes,
}


@pytest.mark.parametrize("coding", CODINGS)
def test_codings_are_decoded(way: Way, coding: str) -> None:
    body = CODINGS[coding](A + DONE)
    headers = {"Content-Type": "text/event-stream", "Content-Encoding": coding}
    outcome = way.ask(way.inner(whole(body[:5], body[5:], headers=headers)))
    assert outcome.data == A + DONE
    assert "content-encoding" not in outcome.head.headers


def test_only_codings_are_asked_for_that_can_be_decoded(way: Way) -> None:
    inner = way.inner(torn(A1), whole(DONE))
    way.ask(inner, headers={"Accept-Encoding": "br, gzip;q=0.5, zstd, deflate"})
    way.ask(inner, headers={"Accept-Encoding": "br"})
    accepted = [ask.headers["accept-encoding"] for ask in inner.asked]
    assert accepted == ["gzip;q=0.5, deflate"] * 2 + ["identity"]


def test_a_coding_that_nobody_asked_for_fails_the_stream_and_not_the_request(way: Way) -> None:
    # An SDK would send a request again whose response it never saw.
    headers = {"Content-Type": "text/event-stream", "Content-Encoding": "br"}
    inner = way.inner(whole(b"?", headers=headers))
    outcome = way.ask(inner)
    assert outcome.head.status_code == 200
    assert isinstance(outcome.error, ContentEncodingError)
    assert len(inner.asked) == 1
    assert inner.open == 0


# --- Cut, and resumed --------------------------------------------------------------------------

CUTS: dict[str, Callable[..., Answer]] = {
    "torn": torn,
    "ended": whole,
    "reset": lambda *pieces: Answer(pieces, cut=lambda module: module.ReadError("reset")),
    "untranslated": lambda *pieces: Answer(pieces, cut=lambda module: anyio.EndOfStream()),
}


@pytest.fixture(params=CUTS)
def cut(request: pytest.FixtureRequest) -> Callable[..., Answer]:
    return CUTS[request.param]


def test_a_stream_with_ids_goes_on_behind_the_last_whole_event(
    way: Way, cut: Callable[..., Answer]
) -> None:
    inner = way.inner(cut(A1 + B2[:9]), cut(B2), whole(C3, DONE))
    outcome = way.ask(inner, headers={"Authorization": "Bearer token"})
    assert outcome.data == A1 + B2 + C3 + DONE
    assert outcome.error is None
    assert [ask.cursor for ask in inner.asked] == [None, "1", "2"]
    assert {ask.content for ask in inner.asked} == {b'{"question":1}'}
    assert {ask.url for ask in inner.asked} == {URL}
    assert {ask.headers["authorization"] for ask in inner.asked} == {"Bearer token"}
    assert {ask.headers["content-length"] for ask in inner.asked} == {"14"}
    assert inner.open == 0


def test_what_happens_below_a_client_is_logged(way: Way, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "sansio_sse_httpx")
    inner = way.inner(torn(A1 + B2[:9]), torn(B2), whole(C3, DONE))
    way.ask(inner, url="http://example.com/v1/answers?key=hunter2")
    records = [record for record in caplog.records if record.name.startswith("sansio_sse")]
    retries = [record for record in records if record.levelname == "WARNING"]
    assert [vars(record)["sse_attempt"] for record in retries] == [1, 1]
    assert {record.name for record in records} == {"sansio_sse_httpx.connection"}
    assert vars(records[-1])["sse_state"] in ("disconnected", "closed")
    shown = "".join(f"{record.getMessage()}{vars(record)}" for record in records)
    assert "http://example.com/v1/answers?key=…" in shown
    assert "hunter2" not in shown


def test_what_cannot_be_resumed_is_not_logged_as_a_retry(
    way: Way, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "sansio_sse_httpx")
    # The machine would replay this one; it is the reader who must not have its events twice.
    way.ask(way.inner(torn(A + B + C[:5])), config=replace(NO_WAIT, replay="always"))
    records = [record for record in caplog.records if record.name == "sansio_sse_httpx.connection"]
    assert not [record for record in records if record.levelname == "WARNING"]
    states = [vars(record)["sse_state"] for record in records]
    assert states[:4] == ["connecting", "connected", "reconnecting", "disconnected"]


def test_a_stream_without_ids_is_truncated_after_its_whole_events(
    way: Way, cut: Callable[..., Answer]
) -> None:
    inner = way.inner(cut(A + B + C[:5]))
    outcome = way.ask(inner)
    assert outcome.data == A + B
    assert isinstance(outcome.error, StreamTruncated)
    assert len(inner.asked) == 1
    assert inner.open == 0


def test_an_idempotency_key_does_not_make_the_reader_see_events_twice(
    way: Way, cut: Callable[..., Answer]
) -> None:
    inner = way.inner(cut(A), whole(A, DONE))
    outcome = way.ask(inner, headers={"Idempotency-Key": "k"})
    assert outcome.data == A
    assert isinstance(outcome.error, StreamTruncated)
    assert len(inner.asked) == 1


def test_nor_does_a_get(way: Way, cut: Callable[..., Answer]) -> None:
    inner = way.inner(cut(A), whole(A, DONE))
    outcome = way.ask(inner, method="GET")
    assert outcome.data == A
    assert isinstance(outcome.error, StreamTruncated)
    assert len(inner.asked) == 1


def test_nor_does_a_configuration(way: Way, cut: Callable[..., Answer]) -> None:
    inner = way.inner(cut(A), whole(A, DONE))
    outcome = way.ask(inner, config=replace(NO_WAIT, replay="always"))
    assert outcome.data == A
    assert isinstance(outcome.error, StreamTruncated)
    assert len(inner.asked) == 1


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_request_that_may_be_repeated_begins_anew_before_the_first_event(
    way: Way, cut: Callable[..., Answer], method: str
) -> None:
    inner = way.inner(cut(b": hello\n\n" + A[:5]), whole(A, DONE))
    headers = {"Idempotency-Key": "k"} if method == "POST" else {}
    outcome = way.ask(inner, method=method, headers=headers)
    assert outcome.data == b": hello\n" + A + DONE
    assert [ask.cursor for ask in inner.asked] == [None, None]
    assert outcome.error is None


def test_any_other_request_does_not(way: Way, cut: Callable[..., Answer]) -> None:
    inner = way.inner(cut(A[:5]), whole(A, DONE))
    outcome = way.ask(inner)
    assert outcome.data == b""
    assert isinstance(outcome.error, StreamTruncated)
    assert len(inner.asked) == 1


def test_the_callers_cursor_says_nothing_of_a_stream_that_gives_none(way: Way) -> None:
    inner = way.inner(torn(B), whole(B, DONE))
    outcome = way.ask(inner, method="GET", headers={"Last-Event-ID": "1"})
    assert outcome.data == B
    assert isinstance(outcome.error, StreamTruncated)
    assert [ask.cursor for ask in inner.asked] == ["1"]


def test_the_callers_cursor_is_where_a_stream_begins_anew(way: Way) -> None:
    inner = way.inner(torn(), torn(B2), whole(C3, DONE))
    outcome = way.ask(inner, method="GET", headers={"Last-Event-ID": "1"})
    assert outcome.data == B2 + C3 + DONE
    assert [ask.cursor for ask in inner.asked] == ["1", "1", "2"]


@pytest.mark.parametrize("given", [{}, {"Last-Event-ID": "0"}], ids=["from none", "from one"])
def test_a_cursor_that_was_taken_back_is_none(way: Way, given: dict[str, str]) -> None:
    inner = way.inner(torn(A1, b"id:\ndata: b\n\n"), whole(C, DONE))
    outcome = way.ask(inner, method="GET", headers=given)
    assert isinstance(outcome.error, StreamTruncated)
    assert len(inner.asked) == 1


def test_an_event_without_an_id_stands_behind_the_id_before_it(way: Way) -> None:
    ping = encode_event("", event="ping")
    inner = way.inner(torn(A1, ping), torn(ping), whole(B2, DONE))
    outcome = way.ask(inner)
    assert outcome.data == A1 + ping + ping + B2 + DONE
    assert [ask.cursor for ask in inner.asked] == [None, "1", "1"]


@pytest.mark.parametrize(
    "again",
    [whole(A1, B2, C3, DONE), whole(A1 + B2 + C3 + DONE), torn(A1 + B2), whole(b": hi\n", A1)],
    ids=["in pieces", "at once", "and is cut again", "behind a comment"],
)
def test_a_server_that_does_not_heed_its_own_ids_is_believed_once(way: Way, again: Answer) -> None:
    inner = way.inner(torn(A1, B2), again)
    outcome = way.ask(inner)
    assert outcome.data.replace(b": hi\n", b"") == A1 + B2
    assert isinstance(outcome.error, StreamTruncated)
    assert "began it anew" in str(outcome.error)
    assert isinstance(root(outcome.error), way.module.RemoteProtocolError)
    assert outcome.error.events_received == 2
    assert len(inner.asked) == 2
    assert inner.open == 0


def test_nor_is_one_whose_ids_are_all_the_same(way: Way) -> None:
    same = [encode_event(text, id="chat-1") for text in "abc"]
    inner = way.inner(torn(same[0], same[1]), whole(*same, DONE))
    outcome = way.ask(inner)
    assert outcome.data == same[0] + same[1]
    assert isinstance(outcome.error, StreamTruncated)
    assert len(inner.asked) == 2


def test_nor_is_one_that_does_not_heed_a_cursor_in_the_data(way: Way) -> None:
    cursor = ResumeCursor(field="n", place="query", name="after")
    profile = Profile("numbered", terminal=("end",), cursor=cursor)
    events = [encode_event(f'{{"n":{number}}}') for number in range(3)]
    inner = way.inner(torn(*events[:2]), whole(*events))
    outcome = way.ask(inner, profile=profile, method="GET")
    assert outcome.data == events[0] + events[1]
    assert isinstance(outcome.error, StreamTruncated)
    assert [ask.url for ask in inner.asked] == [URL, URL + "&after=1"]


def test_ids_that_are_not_ascii_arrive_as_they_are(way: Way) -> None:
    inner = way.inner(torn(encode_event("a", id="é→")), whole(DONE))
    assert way.ask(inner).error is None
    assert (b"Last-Event-ID", "é→".encode()) in inner.asked[1].headers.raw


def test_headers_of_the_caller_come_through_a_resume_byte_for_byte(way: Way) -> None:
    inner = way.inner(torn(A1), whole(DONE))
    headers = [("X-Twice", "1"), ("X-Twice", "2"), ("X-Latin", "caf\xe9".encode("latin-1"))]
    way.ask(inner, headers=headers)
    first, second = ({*ask.headers.raw} for ask in inner.asked)
    assert {(name.lower(), value) for name, value in first} <= {
        (name.lower(), value) for name, value in second
    }


def test_credentials_in_the_url_are_no_hindrance(way: Way) -> None:
    inner = way.inner(torn(A1), whole(DONE))
    outcome = way.ask(inner, url="http://me:secret@example.com/x#part")
    assert outcome.error is None
    assert [ask.headers["authorization"] for ask in inner.asked] == ["Basic bWU6c2VjcmV0"] * 2
    assert inner.asked[1].url == "http://example.com/x"


def test_content_that_can_be_made_once_is_not_sent_again(way: Way) -> None:
    inner = way.inner(torn(A1), whole(B2, DONE))
    outcome = way.ask(inner, content=content_of(way, b"question"))
    assert outcome.data == A1
    assert isinstance(outcome.error, StreamTruncated)
    assert [ask.content for ask in inner.asked] == [b"question"]


@pytest.mark.parametrize("profile", [OPENAI, MCP], ids=["openai", "mcp"])
def test_nor_sent_as_nothing(way: Way, profile: Profile) -> None:
    inner = way.inner(torn(), whole(B2, DONE))
    content = content_of(way, b"question")
    headers = {"Idempotency-Key": "k"}
    outcome = way.ask(inner, profile=profile, content=content, headers=headers)
    assert isinstance(outcome.error, StreamTruncated)
    assert len(inner.asked) == 1


@pytest.mark.parametrize("once", [True, False], ids=["content made once", "content kept"])
def test_mcp_asks_for_the_rest_by_a_get(way: Way, once: bool) -> None:
    priming = encode_event("", id="0")
    result = encode_event('{"jsonrpc":"2.0","id":1,"result":{}}', id="2")
    inner = way.inner(torn(priming + A1), whole(result))
    content: Any = content_of(way, b"call") if once else b"call"
    outcome = way.ask(inner, profile=MCP, content=content, headers={"Mcp-Session-Id": "s"})
    assert outcome.data == priming + A1 + result
    assert [(ask.method, ask.cursor, ask.content) for ask in inner.asked] == [
        ("POST", None, b"call"),
        ("GET", "1", b""),
    ]
    assert "content-length" not in inner.asked[1].headers
    assert inner.asked[1].headers["mcp-session-id"] == "s"


def test_a_get_of_mcp_listens_to_a_stream_without_an_end(way: Way) -> None:
    note = encode_event('{"jsonrpc":"2.0","method":"notifications/message"}')
    inner = way.inner(whole(note))
    outcome = way.ask(inner, profile=MCP, method="GET")
    assert outcome.data == note
    assert outcome.error is None
    assert len(inner.asked) == 1


def test_a_get_of_mcp_that_is_cut_goes_on(way: Way) -> None:
    inner = way.inner(torn(A1), whole(B2))
    outcome = way.ask(inner, profile=MCP, method="GET")
    assert outcome.data == A1 + B2
    assert [ask.cursor for ask in inner.asked] == [None, "1"]


def test_a_cursor_in_the_data_goes_where_the_profile_says(way: Way) -> None:
    cursor = ResumeCursor(
        field="sequence_number", place="query", name="starting_after", method="GET"
    )
    profile = Profile("numbered", terminal=("completed",), cursor=cursor)
    first = encode_event('{"sequence_number":4}')
    last = encode_event('{"sequence_number":5,"type":"completed"}')
    inner = way.inner(torn(first), whole(last))
    outcome = way.ask(inner, profile=profile)
    assert outcome.data == first + last
    assert inner.asked[1].url == URL + "&starting_after=4"
    assert inner.asked[1].method == "GET"


def test_a_cursor_in_the_body_makes_another_body(way: Way) -> None:
    cursor = ResumeCursor(place="body", name="after")
    profile = Profile("body", terminal=("end",), cursor=cursor)
    inner = way.inner(torn(A1), whole(encode_event("", event="end")))
    assert way.ask(inner, profile=profile).error is None
    assert inner.asked[1].content == b'{"question":1,"after":"1"}'
    assert inner.asked[1].headers["content-length"] == "26"


def test_nothing_is_known_of_a_plain_stream_that_ends(way: Way) -> None:
    inner = way.inner(whole(A, B + C[:5]))
    outcome = way.ask(inner, profile=PLAIN)
    assert outcome.data == A + B
    assert outcome.error is None
    assert len(inner.asked) == 1


def test_a_plain_stream_that_is_cut_fails(way: Way) -> None:
    inner = way.inner(torn(A, B[:5]))
    outcome = way.ask(inner, profile=PLAIN)
    assert outcome.data == A
    assert isinstance(outcome.error, ConnectionLost)
    assert len(inner.asked) == 1


def test_a_plain_stream_with_ids_goes_on(way: Way) -> None:
    inner = way.inner(torn(A1, B2[:5]), whole(B2))
    outcome = way.ask(inner, profile=PLAIN)
    assert outcome.data == A1 + B2
    assert outcome.error is None


# --- What a resume may come to -----------------------------------------------------------------


def test_without_reconnection_there_is_no_resume(way: Way) -> None:
    policy = replace(NO_WAIT.reconnection, enabled=False)
    inner = way.inner(torn(A1), whole(DONE))
    outcome = way.ask(inner, config=replace(NO_WAIT, reconnection=policy))
    assert isinstance(outcome.error, StreamTruncated)
    assert len(inner.asked) == 1


def test_what_is_worth_a_retry_is_retried(way: Way) -> None:
    refused = Answer(fails=lambda module: module.ConnectError("refused"))
    late = Answer(fails=lambda module: module.ReadTimeout("no head"))
    inner = way.inner(torn(A1), refused, late, torn(B2), status(503, b"busy"), whole(DONE))
    outcome = way.ask(inner)
    assert outcome.data == A1 + B2 + DONE
    assert outcome.error is None
    assert [ask.cursor for ask in inner.asked] == [None, "1", "1", "1", "2", "2"]
    assert inner.open == 0


def test_retries_without_progress_are_numbered(way: Way) -> None:
    inner = way.inner(torn(A1), torn())
    outcome = way.ask(inner)
    assert outcome.data == A1
    assert isinstance(outcome.error, ReconnectExhausted)
    assert isinstance(outcome.error.cause, StreamTruncated)
    assert len(inner.asked) == 1 + 3
    assert inner.open == 0


@pytest.mark.parametrize(
    ("fails", "cause"),
    [
        (lambda module: module.ConnectError("refused"), ConnectError),
        (lambda module: module.ConnectTimeout("slow"), ConnectError),
        (lambda module: module.ReadError("reset"), ConnectionLost),
    ],
    ids=["refused", "slow", "reset"],
)
def test_the_last_failure_is_told(way: Way, fails: Any, cause: type[Exception]) -> None:
    outcome = way.ask(way.inner(torn(A1), Answer(fails=fails)))
    assert isinstance(outcome.error, ReconnectExhausted)
    assert type(outcome.error.cause) is cause
    assert type(root(outcome.error)) is type(fails(way.module))


def test_an_event_is_progress(way: Way) -> None:
    events = [encode_event(str(number), id=str(number)) for number in range(1, 11)]
    inner = way.inner(*map(torn, events), whole(DONE))
    assert way.ask(inner).data == b"".join([*events, DONE])


def test_a_refusal_is_shown_with_its_body(way: Way) -> None:
    inner = way.inner(torn(A1), status(410, b"gone for good"))
    outcome = way.ask(inner)
    assert outcome.data == A1
    assert isinstance(outcome.error, HTTPStatusError)
    assert (outcome.error.status, outcome.error.body) == (410, b"gone for good")
    assert len(inner.asked) == 2
    assert inner.open == 0


def test_what_is_no_stream_is_refused(way: Way) -> None:
    page = whole(b"<html>", headers={"Content-Type": "text/html"})
    outcome = way.ask(way.inner(torn(A1), page))
    assert isinstance(outcome.error, ContentTypeError)


def test_no_rest_is_no_end(way: Way) -> None:
    outcome = way.ask(way.inner(torn(A1), status(204)))
    assert outcome.data == A1
    assert isinstance(outcome.error, StreamTruncated)


def test_no_rest_is_the_end_of_a_plain_stream(way: Way) -> None:
    outcome = way.ask(way.inner(torn(A1), status(204)), profile=PLAIN)
    assert outcome.data == A1
    assert outcome.error is None


def test_a_resume_follows_redirects(way: Way) -> None:
    inner = way.inner(torn(A1), status(307, location="/rest"), whole(DONE))
    outcome = way.ask(inner)
    assert outcome.data == A1 + DONE
    last = inner.asked[-1]
    assert (last.method, last.url, last.cursor) == ("POST", "http://example.com/rest", "1")
    assert last.content == b'{"question":1}'
    assert inner.open == 0


def test_no_question_goes_to_another_origin(way: Way) -> None:
    inner = way.inner(torn(A1), status(307, location="http://elsewhere.example/"), whole(DONE))
    outcome = way.ask(inner, headers={"Authorization": "Bearer token"})
    assert isinstance(outcome.error, InsecureRedirect)
    assert len(inner.asked) == 2


def test_no_credentials_go_to_another_origin(way: Way) -> None:
    inner = way.inner(torn(A1), status(307, location="http://elsewhere.example/"), whole(DONE))
    outcome = way.ask(inner, method="GET", headers={"Authorization": "Bearer token"})
    assert outcome.data == A1 + DONE
    last = inner.asked[-1]
    assert "authorization" not in last.headers
    assert last.headers["host"] == "elsewhere.example"
    assert last.cursor == "1"


def test_an_event_has_a_limit(way: Way) -> None:
    config = replace(NO_WAIT, limits=Limits(event=100))
    pieces = [b"data: "] + [b"x" * 50] * 10
    outcome = way.ask(way.inner(whole(A1, *pieces)), config=config)
    assert outcome.data == A1
    assert isinstance(outcome.error, EventTooLarge)


def test_errors_belong_to_the_client_and_to_us(way: Way) -> None:
    outcome = way.ask(way.inner(torn(A)))
    error = outcome.error
    assert isinstance(error, StreamTruncated)
    assert isinstance(error, sansio_sse_httpx.SSEError)
    assert isinstance(error, way.module.TransportError)
    assert error.request is outcome.head.request
    assert isinstance(root(error), way.module.RemoteProtocolError)
    assert (error.events_received, error.accepted, error.request_sent) == (1, True, True)


def test_errors_hold_no_credentials(way: Way) -> None:
    inner = way.inner(torn(A))
    outcome = way.ask(
        inner, url="http://me:secret@example.com/?key=secret", headers={"X-Key": "secret"}
    )
    error: BaseException | None = outcome.error
    while error is not None:
        assert "secret" not in f"{error} {error!r} {error.args}"
        assert "secret" not in str(getattr(error, "url", ""))
        error = error.__cause__


def test_an_error_stays(way: Way) -> None:
    request = way.module.Request("POST", URL, content=b"1")
    transport = way.kind(way.inner(torn()), profile=OPENAI)

    def sync() -> None:
        stream = iter(transport.handle_request(request).stream)
        for _ in range(2):
            with pytest.raises(StreamTruncated) as caught:
                next(stream)
            found: Any = caught.value
            assert found.request is request

    async def asynchronous() -> None:
        response = await transport.handle_async_request(request)
        stream = aiter(response.stream)
        for _ in range(2):
            with pytest.raises(StreamTruncated) as caught:
                await anext(stream)
            found: Any = caught.value
            assert found.request is request

    if way.loop:
        anyio.run(asynchronous, backend=way.loop)
    else:
        sync()


# --- Time --------------------------------------------------------------------------------------


def idle(seconds: float, **options: Any) -> ConnectionConfig:
    return replace(NO_WAIT, timeouts=Timeouts(idle=seconds, **options))


def test_a_silent_stream_is_resumed(way: Way) -> None:
    inner = way.inner(whole(A1, B2[:5], silent=True), whole(B2, DONE))
    outcome = way.ask(inner, config=idle(0.02))
    assert outcome.data == A1 + B2 + DONE
    assert [ask.cursor for ask in inner.asked] == [None, "1"]
    assert inner.open == 0


def test_or_truncated(way: Way) -> None:
    inner = way.inner(whole(A, silent=True))
    outcome = way.ask(inner, config=idle(0.02))
    assert outcome.data == A
    assert isinstance(outcome.error, StreamTruncated)
    assert isinstance(outcome.error.cause, IdleTimeout)
    assert inner.open == 0


def test_a_plain_stream_that_is_silent_says_so(way: Way) -> None:
    outcome = way.ask(way.inner(whole(A, silent=True)), profile=PLAIN, config=idle(0.02))
    assert isinstance(outcome.error, IdleTimeout)


def test_a_reader_who_takes_his_time_is_not_the_servers_silence(way: Way) -> None:
    inner = way.inner(whole(A, B, DONE))
    request = way.module.Request("POST", URL, content=b"1")
    transport = way.kind(inner, profile=OPENAI, config=idle(0.01))

    def sync() -> list[bytes]:
        found = []
        for data in transport.handle_request(request).stream:
            found.append(data)
            time.sleep(0.02)
        return found

    async def asynchronous() -> list[bytes]:
        found = []
        async for data in (await transport.handle_async_request(request)).stream:
            found.append(data)
            await anyio.sleep(0.02)
        return found

    assert (anyio.run(asynchronous, backend=way.loop) if way.loop else sync()) == [A, B, DONE]


@pytest.mark.parametrize("library", [httpx, httpx2], ids=lambda module: module.__name__)
@pytest.mark.parametrize(
    ("given", "configured", "read"),
    [(5.0, None, 5.0), (None, None, 600.0), (5.0, 2.0, 2.0), (5.0, 9.0, 5.0), (None, 0, None)],
)
def test_a_read_of_a_sync_client_lasts_no_longer_than_both_want(
    library: Any, given: float | None, configured: float | None, read: float | None
) -> None:
    timeouts = Timeouts(idle=configured, response=3.0)
    inner = Inner(library, torn(A1), whole(DONE))
    timeout = library.Timeout(1.0, read=given)
    Way(library, "").ask(inner, config=replace(NO_WAIT, timeouts=timeouts), timeout=timeout)
    first, second = (ask.timeout["read"] for ask in inner.asked)
    assert first == given  # it is not known yet what it will be
    assert second == pytest.approx(min(3.0, given or 3.0), abs=0.5)
    assert {ask.timeout["connect"] for ask in inner.asked} == {1.0}
    for body in inner.began:
        assert body["read"] == (None if read is None else pytest.approx(read, abs=0.5))


def test_the_requests_own_timeouts_are_not_changed(way: Way) -> None:
    extensions = {"timeout": {"read": 7.0, "connect": 1.0}, "sni_hostname": "other"}
    request = way.module.Request("POST", URL, content=b"1", extensions=extensions)
    transport = way.kind(way.inner(whole(DONE)), profile=OPENAI, config=idle(1.0))

    async def asynchronous() -> None:
        response = await transport.handle_async_request(request)
        assert [data async for data in response.stream] == [DONE]

    if way.loop:
        anyio.run(asynchronous, backend=way.loop)
    else:
        assert list(transport.handle_request(request).stream) == [DONE]
    assert request.extensions == extensions
    assert extensions["timeout"] == {"read": 7.0, "connect": 1.0}


def test_a_read_timeout_of_the_clients_own_is_a_cut(way: Way) -> None:
    cut = Answer((A1,), cut=lambda module: module.ReadTimeout("slow"))
    inner = way.inner(cut, whole(DONE))
    assert way.ask(inner).data == A1 + DONE
    outcome = way.ask(way.inner(replace(cut, pieces=(A,))))
    assert isinstance(outcome.error, StreamTruncated)
    assert isinstance(root(outcome.error), way.module.ReadTimeout)


class Clock:
    """Trio's clock, which jumps to the next thing that happens."""

    def __new__(cls) -> Any:
        return trio.testing.MockClock(autojump_threshold=0)


@pytest.mark.parametrize("library", [httpx, httpx2], ids=lambda module: module.__name__)
def test_delays_are_the_policys(library: Any) -> None:
    config = ConnectionConfig()
    policy = replace(config.reconnection, initial_delay=10, jitter_factor=0, max_delay=1000)
    clock = Clock()
    began = clock.current_time()
    inner = Inner(library, torn(A1), torn(), torn(), whole(DONE))
    way = Way(library, "trio")
    outcome = way.ask(inner, config=replace(config, reconnection=policy), clock=clock)
    assert outcome.data == A1 + DONE
    assert clock.current_time() - began == pytest.approx(10 + 20 + 40)


@dataclass
class SyncClock:
    """Stands for the module ``time``: who sleeps has slept."""

    now: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def sync_clock(monkeypatch: pytest.MonkeyPatch) -> SyncClock:
    clock = SyncClock()
    monkeypatch.setattr("sansio_sse_httpx.streams.time", clock)
    monkeypatch.setattr("sansio_sse_httpx.resuming.time", clock)
    monkeypatch.setitem(globals(), "time", clock)
    return clock


@pytest.mark.parametrize("library", [httpx, httpx2], ids=lambda module: module.__name__)
def test_a_sync_client_sleeps_through_a_delay(library: Any, sync_clock: SyncClock) -> None:
    policy = replace(NO_WAIT.reconnection, initial_delay=10, jitter_factor=0, max_delay=1000)
    config = replace(NO_WAIT, reconnection=policy, timeouts=Timeouts(idle=2.0))
    inner = Inner(library, torn(A1), torn(), whole(DONE))
    outcome = Way(library, "").ask(inner, config=config)
    assert outcome.data == A1 + DONE
    assert sync_clock.slept == [10, 20]
    # The end of a read that took too long is never before the end of the server's time.
    assert all(2.0 < (body["read"] or 0) < 2.01 for body in inner.began)


@pytest.mark.parametrize("library", [httpx, httpx2], ids=lambda module: module.__name__)
def test_a_stream_that_is_up_for_long_forgives_earlier_failures(library: Any) -> None:
    # Six cuts without an event, and three may come in a row; each comes after ten minutes.
    still = [b": still here\n\n"] * 10
    cuts = [torn(*still, pause=60) for _ in range(6)]
    inner = Inner(library, torn(A1), *cuts, whole(DONE))
    outcome = Way(library, "trio").ask(inner, clock=Clock())
    assert outcome.error is None
    assert outcome.data.replace(b": still here\n", b"") == A1 + DONE


@pytest.mark.parametrize("library", [httpx, httpx2], ids=lambda module: module.__name__)
def test_a_response_that_does_not_come_is_a_failed_attempt(library: Any) -> None:
    class Late(Inner):
        async def handle_async_request(self, request: Any) -> Any:
            if len(self.asked) == 1:
                self.asked.append(self.asked[0])
                await anyio.sleep(math.inf)
            return await super().handle_async_request(request)

    clock = Clock()
    began = clock.current_time()
    inner = Late(library, torn(A1), whole(DONE))
    config = replace(NO_WAIT, timeouts=Timeouts(response=7))
    outcome = Way(library, "trio").ask(inner, config=config, clock=clock)
    assert outcome.data == A1 + DONE
    assert len(inner.asked) == 3
    assert clock.current_time() - began == pytest.approx(7)


@pytest.mark.parametrize("library", [httpx, httpx2], ids=lambda module: module.__name__)
def test_a_body_that_stays_open_delays_the_end_by_a_second(library: Any) -> None:
    clock = Clock()
    began = clock.current_time()
    headers = {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"}
    inner = Inner(library, whole(A, DONE, silent=True, headers=headers))
    outcome = Way(library, "trio").ask(inner, clock=clock)
    assert outcome.data == A + DONE
    assert outcome.error is None
    assert clock.current_time() - began == pytest.approx(1)
    assert inner.open == 0


@pytest.mark.parametrize("loop", ["", "trio"], ids=["sync", "trio"])
@pytest.mark.parametrize("library", [httpx, httpx2], ids=lambda module: module.__name__)
def test_and_by_no_more_if_it_goes_on_and_on(
    library: Any, loop: str, sync_clock: SyncClock
) -> None:
    headers = {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"}
    more = [b": and another thing\n"] * 100
    inner = Inner(library, whole(DONE, *more, pause=0.3, headers=headers))
    outcome = Way(library, loop).ask(inner, clock=Clock())
    assert outcome.data == DONE
    assert inner.taken < 8
    assert inner.open == 0


@pytest.mark.parametrize("loop", ["", "trio"], ids=["sync", "trio"])
@pytest.mark.parametrize("library", [httpx, httpx2], ids=lambda module: module.__name__)
def test_a_refusal_is_not_listened_to_for_ever(
    library: Any, loop: str, sync_clock: SyncClock
) -> None:
    drip = Answer((b"no",) * 100, status=404, headers={}, pause=1)
    config = replace(NO_WAIT, timeouts=Timeouts(response=7))
    inner = Inner(library, torn(A1), drip)
    outcome = Way(library, loop).ask(inner, config=config, clock=Clock())
    assert isinstance(outcome.error, HTTPStatusError)
    assert outcome.error.body.startswith(b"nono")
    assert inner.taken < 12
    assert inner.open == 0


@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "up to the close"])
def test_the_rest_of_a_body_is_read_where_that_saves_the_connection(
    way: Way, chunked: bool
) -> None:
    headers = {"Content-Type": "text/event-stream"}
    if chunked:
        headers["Transfer-Encoding"] = "chunked"
    inner = way.inner(whole(A, DONE, B, C, headers=headers))
    outcome = way.ask(inner)
    assert outcome.data == A + DONE
    assert inner.taken == (4 if chunked else 2)
    assert inner.open == 0


@pytest.mark.parametrize("library", [httpx, httpx2], ids=lambda module: module.__name__)
def test_the_end_of_a_body_is_the_end_of_waiting_for_it(library: Any) -> None:
    headers = {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"}
    request = library.Request("POST", URL, extensions={"timeout": {}})
    response = library.Response(200, headers=headers)
    resumption = Resumption(
        library, request, request, response, profile=OPENAI, config=NO_WAIT, now=0.0
    )
    assert isinstance(resumption.next(0.0), Read)
    resumption.received(DONE, 0.0)
    assert resumption.next(0.0) == DONE
    assert resumption.next(0.0) == Read(until=1.0)
    resumption.ended(0.5)
    assert resumption.next(0.5) == Shut()
    assert resumption.next(0.5) is None


# --- Leaving and closing -----------------------------------------------------------------------


@pytest.mark.parametrize(
    # On trio httpx itself leaves generators behind, with any transport.
    "way",
    [way for way in WAYS if not (way.module is httpx and way.loop == "trio")],
    ids=str,
)
def test_who_leaves_early_leaves_nothing_behind(way: Way) -> None:
    inner = way.inner(whole(A1, B2, C3, DONE))
    outcome = way.ask(inner, leave_after=2)
    assert outcome.data == A1 + B2
    assert outcome.head.is_closed
    assert inner.open == 0
    assert len(inner.asked) == 1


def test_closing_is_harmless_when_repeated_and_ends_the_stream(way: Way) -> None:
    inner = way.inner(whole(A, B, DONE))
    request = way.module.Request("POST", URL, content=b"1")
    transport = way.kind(inner, profile=OPENAI)

    def sync() -> None:
        stream = transport.handle_request(request).stream
        assert next(stream) == A
        stream.close()
        stream.close()
        assert list(stream) == []

    async def asynchronous() -> None:
        stream = (await transport.handle_async_request(request)).stream
        assert await anext(stream) == A
        await stream.aclose()
        await stream.aclose()
        assert [data async for data in stream] == []

    if way.loop:
        anyio.run(asynchronous, backend=way.loop)
    else:
        sync()
    assert inner.open == 0


def test_a_transport_opens_and_closes_with_its_client(way: Way) -> None:
    inner = way.inner(whole(DONE))
    way.ask(inner)
    assert inner.calls == ["enter", "exit"]


def test_a_client_without_a_context_closes_its_transport(way: Way) -> None:
    inner = way.inner(whole(DONE))
    transport = way.kind(inner, profile=OPENAI)

    async def asynchronous() -> None:
        await way.module.AsyncClient(transport=transport).aclose()

    if way.loop:
        anyio.run(asynchronous, backend=way.loop)
    else:
        way.module.Client(transport=transport).close()
    assert inner.calls == ["close"]


def test_a_transport_that_was_never_used_has_nothing_to_close(way: Way) -> None:
    async def asynchronous() -> None:
        client = way.module.AsyncClient(transport=AsyncResumingTransport(profile=OPENAI))
        async with client:
            pass
        await client.aclose()
        await AsyncResumingTransport(profile=OPENAI).aclose()

    if way.loop:
        anyio.run(asynchronous, backend=way.loop)
    else:
        with way.module.Client(transport=ResumingTransport(profile=OPENAI)):
            pass
        ResumingTransport(profile=OPENAI).close()


ASYNC_WAYS = [way for way in WAYS if way.loop]


ANY_PROFILE = pytest.mark.parametrize("profile", [OPENAI, PLAIN], ids=["openai", "plain"])


@ANY_PROFILE
@pytest.mark.parametrize("way", ASYNC_WAYS, ids=str)
def test_a_read_that_is_cancelled_can_be_made_again(way: Way, profile: Profile) -> None:
    inner = way.inner(whole(A1, B2[:5], silent=True), whole(B2, DONE))
    request = way.module.Request("POST", URL, content=b"1")
    transport = AsyncResumingTransport(inner, profile=profile, config=NO_WAIT)

    async def main() -> None:
        stream = (await transport.handle_async_request(request)).stream
        assert await anext(stream) == A1
        with anyio.move_on_after(0.01):
            await anext(stream)
        assert [data async for data in stream] == [B2, DONE]

    anyio.run(main, backend=way.loop)
    assert [ask.cursor for ask in inner.asked] == [None, "1"]
    assert inner.open == 0


@pytest.mark.parametrize("way", ASYNC_WAYS, ids=str)
def test_a_reader_who_is_cancelled_leaves_nothing_behind(way: Way) -> None:
    inner = way.inner(whole(A1, silent=True))
    transport = AsyncResumingTransport(inner, profile=OPENAI, config=NO_WAIT)

    async def read(found: list[bytes]) -> None:
        async with (
            way.module.AsyncClient(transport=transport) as client,
            client.stream("POST", URL) as response,
        ):
            async for data in response.aiter_bytes():
                found.append(data)

    async def main() -> None:
        found: list[bytes] = []
        with anyio.move_on_after(0.02):
            await read(found)
        assert found == [A1]

    anyio.run(main, backend=way.loop)
    assert inner.open == 0


@ANY_PROFILE
@pytest.mark.parametrize("library", [httpx, httpx2], ids=lambda module: module.__name__)
def test_an_interrupted_read_can_be_made_again(library: Any, profile: Profile) -> None:
    interrupted = Answer((A1,), cut=lambda module: KeyboardInterrupt())
    inner = Inner(library, interrupted, whole(B2, DONE))
    request = library.Request("POST", URL, content=b"1")
    transport = ResumingTransport(inner, profile=profile, config=NO_WAIT)
    stream = transport.handle_request(request).stream
    assert next(stream) == A1
    with pytest.raises(KeyboardInterrupt):
        next(stream)
    assert list(stream) == [B2, DONE]
    assert inner.open == 0


# --- What cannot be had ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [ResumingTransport, AsyncResumingTransport])
def test_what_cannot_be_had_is_refused_at_once(kind: Any) -> None:
    with pytest.raises(ConfigError, match="heartbeat"):
        kind(profile=OPENAI, config=ConnectionConfig(heartbeat=HeartbeatConfig(enabled=True)))
    with pytest.raises(ConfigError, match="on_end"):
        kind(profile=OPENAI, config=ConnectionConfig(on_end="reconnect"))
    with pytest.raises(ConfigError, match="profile"):
        kind(profile="[DONE]")
    with pytest.raises(TypeError):
        kind()


# --- Any events, any chunks, any cuts ----------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), max_size=6)
LINE = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"), min_size=1, max_size=4
)
CUT = st.tuples(st.integers(0, 200), st.booleans())


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[bytes], list[bytes]]:
    """Ids of their own, and the blocks of events that have them; comments stand between."""
    ids = draw(
        st.lists(LINE, unique=True, min_size=1, max_size=5).map(
            lambda ids: [id for id in ids if id.strip(" \t") == id]
        )
    )
    blocks = []
    for id in ids:
        comment = draw(st.sampled_from([b"", b": x\n", b":\n\n"]))
        kind = draw(st.none() | LINE)
        blocks.append(comment + encode_event(draw(TEXT), event=kind, id=id))
    return [id.encode() for id in ids], blocks


def in_pieces(data: bytes, size: int) -> tuple[bytes, ...]:
    return tuple(data[start : start + size] for start in range(0, len(data), size))


class Store(Inner):
    """A server that keeps its events: each request gets what is behind its cursor, up to a cut."""

    def __init__(
        self, module: Any, ids: list[bytes], blocks: list[bytes], cuts: Any, size: int
    ) -> None:
        super().__init__(module, whole())
        self.ids, self.blocks, self.cuts, self.size = ids, [*blocks, DONE], list(cuts), size

    def _answer(self, request: Any, content: bytes) -> Any:
        raw = {name.lower(): value for name, value in request.headers.raw}
        cursor = raw.get(b"last-event-id")
        begin = 0 if cursor is None else self.ids.index(cursor) + 1
        body = b"".join(self.blocks[begin:])
        at, well = self.cuts.pop(0) if self.cuts else (len(body), True)
        # A cut falls somewhere before the end, where there is one to come.
        body = body[: at % len(body)] if self.cuts or at < len(body) else body
        make = whole if well else torn
        self.answers = [make(*in_pieces(body, self.size))]
        return super()._answer(request, content)


@pytest.mark.parametrize("way", WAYS, ids=str)
@given(stream=streams(), cuts=st.lists(CUT, max_size=4), size=st.sampled_from([1, 3, 20, 1000]))
def test_whatever_is_cut_wherever_the_reader_has_each_event_once(
    way: Way, stream: tuple[list[bytes], list[bytes]], cuts: Any, size: int
) -> None:
    ids, blocks = stream
    inner = Store(way.module, ids, blocks, cuts, size)
    config = quick(initial_delay=0, max_delay=0, max_attempts=10)
    outcome = way.ask(inner, config=config, headers={"Idempotency-Key": "k"})
    expected = EventStreamParser().feed(b"".join([*blocks, DONE]))
    assert outcome.error is None
    assert EventStreamParser().feed(outcome.data) == expected
    assert inner.open == 0


@pytest.mark.parametrize("way", WAYS, ids=str)
@given(
    texts=st.lists(TEXT, min_size=1, max_size=4),
    at=st.integers(0, 500),
    well=st.booleans(),
    size=st.sampled_from([1, 3, 20, 1000]),
)
def test_or_whole_events_and_an_error(
    way: Way, texts: list[str], at: int, well: bool, size: int
) -> None:
    body = b"".join([*map(encode_event, texts), DONE])
    left = body[: at % len(body)]
    inner = way.inner((whole if well else torn)(*in_pieces(left, size)))
    outcome = way.ask(inner)
    assert isinstance(outcome.error, StreamTruncated)
    assert EventStreamParser().feed(outcome.data) == EventStreamParser().feed(left)
    assert outcome.data == b"" or body.startswith(outcome.data)
    assert len(inner.asked) == 1


# --- Over sockets ------------------------------------------------------------------------------


def test_a_connection_is_used_again_after_a_stream_that_was_read_to_its_end(way: Way) -> None:
    def script(peer: Peer, seen: Seen) -> None:
        peer.reply("a", "[DONE]")

    def sync() -> None:
        with way.module.Client(transport=ResumingTransport(profile=OPENAI)) as client:
            for _ in range(3):
                with client.stream("POST", server.url) as response:
                    assert b"".join(response.iter_bytes()) == A + DONE

    async def asynchronous() -> None:
        transport = AsyncResumingTransport(profile=OPENAI)
        async with way.module.AsyncClient(transport=transport) as client:
            for _ in range(3):
                async with client.stream("POST", server.url) as response:
                    assert b"".join([data async for data in response.aiter_bytes()]) == A + DONE

    with Server(script) as server:
        if way.loop:
            anyio.run(asynchronous, backend=way.loop)
        else:
            sync()
    assert len(server.requests) == 3
    assert len(server.visits) == 1


def test_a_cut_connection_is_replaced(way: Way) -> None:
    def script(peer: Peer, seen: Seen) -> None:
        peer.stream(chunked=True)
        if seen.cursor is None:
            peer.body(A1 + B2[:5])
            peer.close()
        elif seen.cursor == "1":
            peer.body(B2 + C3[:5])
            peer.reset()
        else:
            peer.body(C3 + DONE)
            peer.end()

    with Server(script) as server:
        outcome = way.ask(None, url=server.url)
    assert outcome.data == A1 + B2 + C3 + DONE
    assert outcome.error is None


def test_a_silent_connection_is_replaced(way: Way) -> None:
    def script(peer: Peer, seen: Seen) -> None:
        peer.stream(chunked=True)
        if seen.cursor is None:
            peer.body(A1 + B2[:5])
            peer.stall()
        peer.body(B2 + DONE)
        peer.end()

    with Server(script) as server:
        outcome = way.ask(None, url=server.url, config=idle(0.05))
        assert outcome.data == A1 + B2 + DONE
        assert outcome.error is None
