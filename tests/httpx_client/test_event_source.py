"""Code written for httpx-sse works with the import changed, on httpx and on httpx2.

What its documentation shows is run three times: with httpx-sse itself, and with ours on both
clients. Where the two are to differ, both sides are shown.
"""

import asyncio
import gzip
import inspect
import pickle
import zlib
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, assert_type, cast

import httpx
import httpx2
import httpx_sse
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from sse_starlette.sse import EventSourceResponse
from starlette.applications import Starlette
from starlette.routing import Route

import sansio_sse
import sansio_sse_httpx
from contract.server import Peer, Seen, Server
from sansio_sse import EventStreamParser, Limits, encode_comment, encode_event
from sansio_sse_httpx import EventSource, ServerSentEvent, SSEError, aconnect_sse, connect_sse

EVENT_STREAM = {"Content-Type": "text/event-stream"}
URL = "http://example.com/events"
Tuples = list[tuple[str, str, str, int | None]]


@dataclass(frozen=True)
class Pair:
    """A library for event streams, and the client that it is used with."""

    sse: Any
    http: Any

    def __str__(self) -> str:
        return f"{self.sse.__name__} on {self.http.__name__}"


OURS = [Pair(sansio_sse_httpx, httpx), Pair(sansio_sse_httpx, httpx2)]
ALL = [Pair(httpx_sse, httpx), *OURS]


@pytest.fixture(params=ALL, ids=str)
def pair(request: pytest.FixtureRequest) -> Pair:
    found: Pair = request.param
    return found


@pytest.fixture(params=[httpx, httpx2], ids=lambda module: module.__name__)
def library(request: pytest.FixtureRequest) -> Any:
    return request.param


def tuples(events: Iterable[Any]) -> Tuples:
    return [(sse.event, sse.data, sse.id, sse.retry) for sse in events]


def answering(library: Any, content: Any, headers: Any = EVENT_STREAM, **options: Any) -> Any:
    """A client of which every request is answered by this."""
    transport = library.MockTransport(
        lambda request: library.Response(200, headers=headers, content=content, **options)
    )
    return library.Client(transport=transport)


def response(library: Any, content: Any, headers: Any = EVENT_STREAM) -> Any:
    return library.Response(200, headers=headers, content=content)


async def ticking(chunks: Iterable[bytes]) -> AsyncGenerator[bytes, None]:
    for chunk in chunks:
        yield chunk


# --- What the documentation of httpx-sse shows -------------------------------------------------


def numbers(peer: Peer, seen: Seen) -> None:
    peer.stream(chunked=True)
    peer.event("1", event="number", id="a")
    peer.body(b"retry: 1000\ndata: 2\n\n")
    peer.body(b": a comment\ndata: \xc3\xa9\xe2\x80\xa8\r\ndata: 3\r\n\r\n")
    peer.end()


NUMBERS = [
    ("number", "1", "a", None),
    ("message", "2", "a", 1000),
    ("message", "é\u2028\n3", "a", None),
]


def test_the_quickstart(pair: Pair) -> None:
    with (
        Server(numbers) as server,
        pair.http.Client(trust_env=False) as client,
        pair.sse.connect_sse(client, "GET", server.url) as event_source,
    ):
        assert event_source.response.status_code == 200
        assert tuples(event_source.iter_sse()) == NUMBERS
    (seen,) = server.requests
    assert (seen.header("Accept"), seen.header("Cache-Control")) == (
        "text/event-stream",
        "no-store",
    )


@pytest.mark.parametrize("run", [asyncio.run, trio.run], ids=["asyncio", "trio"])
def test_the_quickstart_async(pair: Pair, run: Callable[..., None]) -> None:
    async def main(url: str) -> None:
        async with (
            pair.http.AsyncClient(trust_env=False) as client,
            pair.sse.aconnect_sse(client, "GET", url) as event_source,
        ):
            assert event_source.response.status_code == 200
            assert tuples([sse async for sse in event_source.aiter_sse()]) == NUMBERS

    with Server(numbers) as server:
        run(main, server.url) if run is trio.run else run(main(server.url))
    (seen,) = server.requests
    assert seen.header("Accept") == "text/event-stream"
    assert seen.header("Cache-Control") == "no-store"


def test_calling_into_a_web_application(pair: Pair) -> None:
    async def logins(request: object) -> EventSourceResponse:
        async def events() -> AsyncGenerator[dict[str, str], None]:
            yield {"event": "login", "data": '{"user_id": "4135"}'}

        return EventSourceResponse(events())

    async def main() -> None:
        app = Starlette(routes=[Route("/sse/auth/", endpoint=logins)])
        async with (
            pair.http.AsyncClient(transport=pair.http.ASGITransport(app)) as client,
            pair.sse.aconnect_sse(client, "GET", "http://testserver/sse/auth/") as event_source,
        ):
            (sse,) = [sse async for sse in event_source.aiter_sse()]
            assert sse.event == "login"
            assert sse.json() == {"user_id": "4135"}

    asyncio.run(main())


def test_a_post_with_all_that_a_client_takes(pair: Pair) -> None:
    with (
        Server(numbers) as server,
        pair.http.Client(trust_env=False, base_url=server.origin) as client,
        pair.sse.connect_sse(
            client,
            "POST",
            "/answers",
            params={"stream": "yes"},
            json={"prompt": "hello"},
            headers={"X-Token": "t"},
            timeout=20,
        ) as event_source,
    ):
        assert tuples(event_source.iter_sse()) == NUMBERS
    (seen,) = server.requests
    assert (seen.method, seen.target) == ("POST", "/answers?stream=yes")
    assert seen.header("X-Token") == "t"
    assert seen.body.replace(b" ", b"") == b'{"prompt":"hello"}'


def test_the_status_of_the_response(pair: Pair) -> None:
    with (
        Server(lambda peer, seen: peer.respond(503)) as server,
        pair.http.Client(trust_env=False) as client,
        pair.sse.connect_sse(client, "GET", server.url) as event_source,
        pytest.raises(pair.http.HTTPStatusError, match="503"),
    ):
        event_source.response.raise_for_status()


def test_a_loop_that_reconnects(pair: Pair) -> None:
    def breaks(peer: Peer, seen: Seen) -> None:
        peer.stream(chunked=True)
        peer.body(b"retry: 30\nid: 1\ndata: one\n\nid: 2\ndata: two\n\n")
        peer.wait()  # until they were read: a reset throws away what was not
        peer.reset()

    def ends(peer: Peer, seen: Seen) -> None:
        peer.stream(chunked=True)
        peer.event("three", id="3")
        peer.end()

    slept: list[float] = []

    def iter_sse_retrying(client: Any, method: str, url: str) -> Iterator[Any]:
        last_event_id = ""
        reconnection_delay = 0.0
        for _ in range(3):
            slept.append(reconnection_delay)
            headers = {"Accept": "text/event-stream"}
            if last_event_id:
                headers["Last-Event-ID"] = last_event_id
            try:
                with pair.sse.connect_sse(client, method, url, headers=headers) as event_source:
                    for sse in event_source.iter_sse():
                        last_event_id = sse.id
                        if sse.retry is not None:
                            reconnection_delay = sse.retry / 1000
                        yield sse
                    return
            except pair.http.ReadError:
                pass

    read: list[str] = []
    with Server([breaks, ends]) as server, pair.http.Client(trust_env=False) as client:
        for sse in iter_sse_retrying(client, "GET", server.url):
            read.append(sse.data)
            if sse.data == "two":
                server.go.set()
    assert read == ["one", "two", "three"]
    assert slept == [0.0, 0.03]
    assert [seen.cursor for seen in server.requests] == [None, "2"]


# --- The same results as httpx-sse's -----------------------------------------------------------


def test_every_public_name_of_httpx_sse_is_here() -> None:
    names = set(httpx_sse.__all__) - {"__version__"}
    assert names == set(sansio_sse_httpx.__all__) & names
    for name in ("connect_sse", "aconnect_sse"):
        theirs, ours = (
            inspect.signature(getattr(module, name)).parameters
            for module in (httpx_sse, sansio_sse_httpx)
        )
        assert [(p.name, p.kind) for p in theirs.values()] == [
            (p.name, p.kind) for p in ours.values()
        ]


TEXTS = st.text(max_size=20).filter(lambda text: "\0" not in text)
LINES = TEXTS.filter(lambda text: "\r" not in text and "\n" not in text)
USUAL = st.one_of(
    st.builds(
        encode_event,
        TEXTS,
        event=st.none() | LINES.filter(bool),
        id=st.none() | LINES,
        retry=st.none() | st.integers(0, 10**9),
    ),
    # A blank line after a comment is one of the differences below.
    LINES.map(lambda text: encode_comment(text).replace(b"\n\n", b"\n")),
)


def cut(data: bytes, random: Any) -> list[bytes]:
    places = sorted(random.choices(range(len(data) + 1), k=random.randrange(6)))
    ends = [*places, len(data)]
    return [data[start:end] for start, end in zip([0, *places], ends, strict=True)]


@given(st.lists(USUAL, max_size=8), st.randoms(use_true_random=False))
def test_what_servers_usually_send_is_the_same(blocks: list[bytes], random: Any) -> None:
    stream = b"".join(blocks)
    theirs = httpx_sse.EventSource(response(httpx, iter(cut(stream, random)))).iter_sse()
    ours = EventSource(response(httpx, iter(cut(stream, random)))).iter_sse()
    assert tuples(ours) == tuples(theirs)


def row(data: str, *, event: str = "message", id: str = "", retry: int | None = None) -> Any:
    return (event, data, id, retry)


@pytest.mark.parametrize(
    ("chunks", "content_type", "ours", "theirs"),
    [
        pytest.param(
            [b"id: 7\n\n", b"event: e\n\n", b"retry: 5\n\n", b"data: x\n\n"],
            "",
            [row("x", id="7")],
            [
                row("", id="7"),
                row("", id="7", event="e"),
                row("", id="7", retry=5),
                row("x", id="7"),
            ],
            id="blocks without data",
        ),
        pytest.param(
            [b"id: 7\ndata: x\n\n", b"\n", b": alive\n\n"],
            "",
            [row("x", id="7")],
            [row("x", id="7"), row("", id="7"), row("", id="7")],
            id="blank lines after an id",
        ),
        pytest.param([b"\xef\xbb\xbfdata: x\n\n"], "", [row("x")], [], id="a byte order mark"),
        pytest.param(
            [b"data: \xc3\xa9\n\n"], "; charset=iso-8859-1", [row("é")], [row("Ã©")], id="a charset"
        ),
        pytest.param(
            [b"retry: -5\ndata: x\n\n", b"retry: 1_0\ndata: x\n\n"],
            "",
            [row("x"), row("x")],
            [row("x", retry=-5), row("x", retry=10)],
            id="what int() takes",
        ),
    ],
)
def test_where_httpx_sse_differs_from_the_standard(
    chunks: list[bytes], content_type: str, ours: Tuples, theirs: Tuples
) -> None:
    headers = {"Content-Type": f"text/event-stream{content_type}"}
    content = b"".join(chunks)
    for library in (httpx, httpx2):
        assert tuples(EventSource(response(library, content, headers)).iter_sse()) == ours
    event_source = httpx_sse.EventSource(response(httpx, content, headers))
    assert tuples(event_source.iter_sse()) == theirs


def test_httpx_sse_waits_for_what_follows_a_cr() -> None:
    for kind, seen in ((EventSource, [b"1", b"2"]), (httpx_sse.EventSource, [b"2", b"2"])):
        sent: list[bytes] = []

        def chunks(sent: list[bytes] = sent) -> Iterator[bytes]:
            for number in (b"1", b"2"):
                sent.append(number)
                yield b"data: " + number + b"\r\r"

        source: Any = kind(response(httpx, chunks()))
        assert [sent[-1] for _ in source.iter_sse()] == seen


@pytest.mark.parametrize(
    ("content_type", "theirs", "ours"),
    [("Text/Event-Stream", False, True), ("text/event-stream-v2", True, False)],
)
def test_httpx_sse_takes_content_types_by_their_letters(
    content_type: str, theirs: bool, ours: bool
) -> None:
    for module, taken in ((httpx_sse, theirs), (sansio_sse_httpx, ours)):
        source = module.EventSource(response(httpx, b"data: x\n\n", {"Content-Type": content_type}))
        if taken:
            assert tuples(source.iter_sse()) == [row("x")]
        else:
            with pytest.raises(module.SSEError):
                tuples(source.iter_sse())


def test_what_blocks_without_data_set_can_be_asked_for(library: Any) -> None:
    source = EventSource(response(library, b"retry: 3000\n\nid: 7\ndata: x\n\nid: 8\n\n"))
    assert (source.last_event_id, source.retry) == ("", None)
    assert [sse.id for sse in source.iter_sse()] == ["7"]
    assert (source.last_event_id, source.retry) == ("8", 3000)


# --- Bytes in, events out ----------------------------------------------------------------------

PIECES = st.one_of(
    st.sampled_from([b"data", b"event", b"id", b"retry", b":", b": ", b"x", b"12", b"\0", b"\xff"]),
    st.sampled_from([b"\n", b"\r", b"\r\n", b"\n\n", b"\xef\xbb\xbf", "é\u2028\x85".encode()]),
    st.sampled_from([b"data: a\n\n", b"id: 1\ndata: b\r\r", b"event: c\r\ndata: d\r\n\r\n"]),
    st.binary(max_size=4),
)


@pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])
@given(st.lists(PIECES, max_size=30).map(b"".join), st.randoms(use_true_random=False))
def test_the_events_are_the_parsers(library: Any, stream: bytes, random: Any) -> None:
    expected = list(EventStreamParser().feed(stream))
    assert list(EventSource(response(library, iter(cut(stream, random)))).iter_sse()) == expected
    whole = EventSource(response(library, stream))
    assert list(whole.iter_sse()) == list(whole.iter_sse()) == expected

    async def read() -> list[ServerSentEvent]:
        source = EventSource(response(library, ticking(cut(stream, random))))
        return [sse async for sse in source.aiter_sse()]

    assert asyncio.run(read()) == expected


@pytest.mark.parametrize("end", [b"\n\n", b"\r\r", b"\r\n\r"])
def test_an_event_is_there_as_soon_as_its_blank_line_is(library: Any, end: bytes) -> None:
    sent: list[int] = []

    def chunks() -> Iterator[bytes]:
        for number in range(3):
            sent.append(number)
            yield b"data: %d" % number + end

    for number, sse in enumerate(EventSource(response(library, chunks())).iter_sse()):
        assert sse.data == str(number) == str(sent[-1])

    async def main() -> None:
        source = EventSource(response(library, ticking(chunks())))
        async for sse in source.aiter_sse():
            assert sse.data == str(sent[-1])

    sent.clear()
    asyncio.run(main())
    assert sent == [0, 1, 2]


def test_a_compressed_body_is_read_as_it_comes(library: Any) -> None:
    sent: list[int] = []

    def chunks() -> Iterator[bytes]:
        compressor = zlib.compressobj(wbits=31)
        for number in range(3):
            sent.append(number)
            data = compressor.compress(b"data: %d\n\n" % number)
            yield data + compressor.flush(zlib.Z_SYNC_FLUSH)
        yield compressor.flush()

    headers = {**EVENT_STREAM, "Content-Encoding": "gzip"}
    with answering(library, chunks(), headers) as client, connect_sse(client, "GET", URL) as source:
        assert [(sse.data, sent[-1]) for sse in source.iter_sse()] == [("0", 0), ("1", 1), ("2", 2)]


def test_a_compressed_body_in_one_piece(pair: Pair) -> None:
    headers = {**EVENT_STREAM, "Content-Encoding": "gzip"}
    body = gzip.compress(b"data: x\n\n" * 1000)
    with (
        answering(pair.http, body, headers) as client,
        pair.sse.connect_sse(client, "GET", URL) as source,
    ):
        assert tuples(source.iter_sse()) == [row("x")] * 1000


# --- Errors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type",
    ["text/event-stream", "Text/Event-Stream", "text/event-stream ; charset=utf-8"],
)
def test_an_event_stream_is_known_by_its_content_type(library: Any, content_type: str) -> None:
    source = EventSource(response(library, b"data: x\n\n", {"Content-Type": content_type}))
    assert [sse.data for sse in source.iter_sse()] == ["x"]


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({"Content-Type": "application/json"}, "'application/json'"),
        ({"Content-Type": "text/event-stream-v2; charset=utf-8"}, "'text/event-stream-v2'"),
        ({"Content-Type": "text/html, text/event-stream"}, "'text/html, text/event-stream'"),
        ({}, "''"),
    ],
)
def test_anything_else_is_an_error(library: Any, headers: dict[str, str], found: str) -> None:
    message = f"Expected response header Content-Type to contain 'text/event-stream', got {found}"

    request = library.Request("GET", "http://me:s3cr3t@example.com/events?token=s3cr3t")
    answer = library.Response(200, headers=headers, content=b"data: x\n\n", request=request)
    for read in (collect, collect_async):
        with pytest.raises(SSEError) as caught:
            read(EventSource(answer), [])
        error = caught.value
        assert str(error) == message
        assert isinstance(error, sansio_sse.ContentTypeError)
        assert isinstance(error, library.TransportError)
        assert error.request is request
        assert error.url == "http://example.com/events?token=…"
        assert error.response == sansio_sse.Response(200, tuple(answer.headers.multi_items()))
        assert (error.request_sent, error.accepted) == (True, False)
        assert not error.retryable
        assert type(pickle.loads(pickle.dumps(error))) is type(error)


def test_what_is_not_needed_in_a_message_is_not_in_it(library: Any) -> None:
    headers = {"Content-Type": "x" * 100_000}
    with pytest.raises(SSEError) as caught:
        next(EventSource(response(library, b"", headers)).iter_sse())
    assert len(str(caught.value)) < 700


def test_the_first_of_several_content_types_counts(library: Any) -> None:
    headers = [("Content-Type", "text/event-stream"), ("Content-Type", "text/event-stream")]
    source = EventSource(response(library, b"data: x\n\n", headers))
    assert [sse.data for sse in source.iter_sse()] == ["x"]


def errors_of(pair: Pair) -> list[Any]:
    """What code that was written for httpx-sse may catch."""
    return [pair.sse.SSEError, pair.http.TransportError, pair.http.HTTPError]


def test_the_error_is_caught_by_the_names_of_old(pair: Pair) -> None:
    with answering(pair.http, b"{}", {"Content-Type": "application/json"}) as client:
        for name in errors_of(pair):
            with (
                pytest.raises(name, match="to contain 'text/event-stream', got 'application/json'"),
                pair.sse.connect_sse(client, "GET", URL) as source,
            ):
                list(source.iter_sse())


def collect(source: Any, into: list[str]) -> None:
    for sse in source.iter_sse():
        into.append(sse.data)


def collect_async(source: Any, into: list[str]) -> None:
    async def main() -> None:
        async for sse in source.aiter_sse():
            into.append(sse.data)

    asyncio.run(main())


def test_an_event_may_be_large(library: Any) -> None:
    chunks = [b"data: ", *[b"x" * 9999] * 500, b"\n\ndata: y\n\n"]
    source = EventSource(response(library, iter(chunks)))
    assert [len(sse.data) for sse in source.iter_sse()] == [9999 * 500, 1]


@pytest.mark.parametrize("read", [collect, collect_async], ids=["sync", "async"])
def test_one_that_is_too_large_is_an_error_after_those_before_it(
    library: Any, read: Callable[[Any, list[str]], None]
) -> None:
    content = b"data: a\n\ndata: b\n\n" + b"data: " + b"x" * 200 + b"\n\ndata: c\n\n"
    seen: list[str] = []
    with pytest.raises(SSEError, match="limit of 100 bytes") as caught:
        read(EventSource(response(library, content), max_event_size=100), seen)
    assert seen == ["a", "b"]
    assert isinstance(caught.value, sansio_sse.EventTooLarge)
    assert isinstance(caught.value, library.TransportError)
    assert (caught.value.request_sent, caught.value.accepted) == (True, True)


def test_the_limit_is_that_of_the_other_backends(library: Any) -> None:
    limit = Limits().event
    fill = b"data: " + b"x" * (limit - 6)
    assert list(EventSource(response(library, fill)).iter_sse()) == []
    with pytest.raises(sansio_sse.EventTooLarge, match=str(limit)):
        list(EventSource(response(library, fill + b"x")).iter_sse())


def test_a_limit_has_to_be_positive(library: Any) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        EventSource(response(library, b""), max_event_size=0)


@pytest.mark.parametrize("read", [collect, collect_async], ids=["sync", "async"])
def test_when_the_body_breaks_the_clients_own_error_comes_after_the_events(
    pair: Pair, read: Callable[[Any, list[str]], None]
) -> None:
    broken = pair.http.ReadError("broken")

    def chunks() -> Iterator[bytes]:
        yield b"data: a\n\ndata: b\n\ndata: c\n"
        raise broken

    content = chunks() if read is collect else ticking(chunks())
    seen: list[str] = []
    with pytest.raises(pair.http.ReadError) as caught:
        read(pair.sse.EventSource(response(pair.http, content)), seen)
    assert caught.value is broken
    assert seen == ["a", "b"]


def test_a_body_that_is_cut_short(pair: Pair) -> None:
    def script(peer: Peer, seen: Seen) -> None:
        peer.stream(chunked=True)
        peer.event("a")
        peer.body(b"data: incomplete\n")
        peer.close()

    seen: list[str] = []
    with (
        Server(script) as server,
        pair.http.Client(trust_env=False) as client,
        pair.sse.connect_sse(client, "GET", server.url) as source,
        pytest.raises(pair.http.RemoteProtocolError),
    ):
        collect(source, seen)
    assert seen == ["a"]


# --- Leaving early -----------------------------------------------------------------------------


def endless(peer: Peer, seen: Seen) -> None:
    try:
        peer.stream(chunked=True)
        for number in range(10):
            peer.event(str(number))
        peer.stall()
    finally:
        peer.server.go.set()


def test_leaving_early_closes_the_response(pair: Pair) -> None:
    with Server(endless) as server, pair.http.Client(trust_env=False) as client:
        with pair.sse.connect_sse(client, "GET", server.url) as source:
            for sse in source.iter_sse():
                if sse.data == "3":
                    break
        assert source.response.is_closed
        assert server.go.wait(20)
        assert server.visits[0].left


def test_leaving_early_closes_the_response_async(pair: Pair) -> None:
    async def main(server: Server) -> None:
        async with pair.http.AsyncClient(trust_env=False) as client:
            async with pair.sse.aconnect_sse(client, "GET", server.url) as source:
                async for sse in source.aiter_sse():
                    if sse.data == "3":
                        break
            assert source.response.is_closed
            assert await asyncio.to_thread(server.go.wait, 20)
        assert server.visits[0].left

    with Server(endless) as server:
        asyncio.run(main(server))


def test_an_error_in_the_block_closes_the_response(pair: Pair) -> None:
    with (
        Server(endless) as server,
        pair.http.Client(trust_env=False) as client,
    ):
        with (
            pytest.raises(ZeroDivisionError),
            pair.sse.connect_sse(client, "GET", server.url) as source,
        ):
            raise ZeroDivisionError
        assert source.response.is_closed


def test_closing_the_iterator_closes_what_it_reads_from(library: Any) -> None:
    made: list[Any] = []  # nothing is closed because it was forgotten

    def iter_bytes(self: object) -> Generator[bytes, None, None]:
        made.append(chunk for chunk in [b"data: a\n\ndata: b\n\n"])
        return cast(Generator[bytes, None, None], made[-1])

    def aiter_bytes(self: object) -> AsyncGenerator[bytes, None]:
        made.append(ticking([b"data: a\n\ndata: b\n\n"]))
        return cast(AsyncGenerator[bytes, None], made[-1])

    names = {"iter_bytes": iter_bytes, "aiter_bytes": aiter_bytes}
    cls: Any = type("Keeping", (library.Response,), names)
    source = EventSource(cls(200, headers=EVENT_STREAM, content=iter(())))

    events = source.iter_sse()
    assert next(events).data == "a"
    assert made[0].gi_frame is not None
    events.close()
    assert made[0].gi_frame is None
    assert list(events) == []

    async def main() -> None:
        events = source.aiter_sse()
        assert (await anext(events)).data == "a"
        assert made[1].ag_frame is not None
        await events.aclose()
        assert made[1].ag_frame is None
        assert [sse async for sse in events] == []

    asyncio.run(main())


class Chunks:
    """An iterator that cannot be closed, which is all that the client promises."""

    def __init__(self, *chunks: bytes) -> None:
        self.chunks = list(chunks)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.chunks)

    def __aiter__(self) -> "Chunks":
        return self

    async def __anext__(self) -> bytes:
        if not self.chunks:
            raise StopAsyncIteration
        return self.chunks.pop(0)


def test_what_it_reads_from_may_be_any_iterator(library: Any) -> None:
    def chunks(self: object) -> Chunks:
        return Chunks(b"data: a\n", b"\n")

    names = {"iter_bytes": chunks, "aiter_bytes": chunks}
    cls: Any = type("Plain", (library.Response,), names)
    source = EventSource(cls(200, headers=EVENT_STREAM, content=iter(())))

    async def read() -> list[str]:
        return [sse.data async for sse in source.aiter_sse()]

    assert [sse.data for sse in source.iter_sse()] == asyncio.run(read()) == ["a"]


# --- Headers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda library: {"X-Token": "t", "accept": "text/html"},
        lambda library: {b"X-Token": b"t", b"Accept": b"text/html"},
        lambda library: [("X-Token", "t"), ("Accept", "a/b"), ("accept", "c/d")],
        lambda library: library.Headers({"X-Token": "t", "Cache-Control": "max-age=1"}),
    ],
    ids=["dict", "bytes", "pairs", "Headers"],
)
def test_headers_of_any_kind_are_sent_and_stay_as_they_are(
    library: Any, make: Callable[[Any], Any]
) -> None:
    seen: list[Any] = []

    def answer(request: Any) -> Any:
        seen.append(request)
        return library.Response(200, headers=EVENT_STREAM)

    headers, before = make(library), make(library)
    transport = library.MockTransport(answer)
    with (
        library.Client(transport=transport, trust_env=False) as client,
        connect_sse(client, "GET", URL, headers=headers),
    ):
        pass

    async def main() -> None:
        async with (
            library.AsyncClient(transport=transport, trust_env=False) as client,
            aconnect_sse(client, "GET", URL, headers=headers),
        ):
            pass

    asyncio.run(main())
    assert headers == before
    assert len(seen) == 2
    for request in seen:
        assert request.headers["X-Token"] == "t"
        assert request.headers.get_list("Accept") == ["text/event-stream"]
        assert request.headers.get_list("Cache-Control") == ["no-store"]


@pytest.mark.parametrize("options", [{}, {"headers": None}], ids=["left out", "None"])
def test_there_may_be_no_headers(library: Any, options: dict[str, Any]) -> None:
    with (
        answering(library, b"data: x\n\n") as client,
        connect_sse(client, "GET", library.URL(URL), **options) as source,
    ):
        assert source.response.request.headers["Accept"] == "text/event-stream"


# --- Types -------------------------------------------------------------------------------------


def test_type_checkers_know_whose_response_it_is() -> None:
    def synchronous(first: httpx.Client, second: httpx2.Client) -> None:
        with connect_sse(first, "GET", httpx.URL(URL)) as source:
            assert_type(source.response, httpx.Response)
            for sse in source.iter_sse():
                assert_type(sse, ServerSentEvent)
        with connect_sse(second, "GET", httpx2.URL(URL)) as source2:
            assert_type(source2.response, httpx2.Response)

    async def asynchronous(first: httpx.AsyncClient, second: httpx2.AsyncClient) -> None:
        async with aconnect_sse(first, "GET", URL) as source:
            assert_type(source.response, httpx.Response)
            async for sse in source.aiter_sse():
                assert_type(sse, ServerSentEvent)
        async with aconnect_sse(second, "GET", URL) as source2:
            assert_type(source2.response, httpx2.Response)

    def annotated(source: EventSource) -> list[str]:
        source.response.raise_for_status()
        return [sse.data for sse in source.iter_sse()]

    request = httpx.Request("GET", URL)
    answer = httpx.Response(200, headers=EVENT_STREAM, content=b"data: x\n\n", request=request)
    assert annotated(EventSource(answer)) == ["x"]
    assert inspect.isfunction(synchronous)
    assert inspect.iscoroutinefunction(asynchronous)
