"""Bodies that never end, never begin, or are not what they say."""

import gzip
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from contract.common import quick, read_all
from contract.face import Face
from contract.server import Gone, Peer, Script, Seen, Server
from sansio_sse import (
    ConnectionState,
    EventTooLarge,
    LimitExceeded,
    Limits,
    ReconnectExhausted,
    RemoteProtocolError,
    ServerSentEvent,
    SSEError,
)

from .memory import MIB, bounded

LIMIT = MIB
PLENTY = 64 * MIB  # what a server sends before it gives up: far beyond every limit


def endless(piece: bytes, first: bytes = b"", *headers: tuple[str, str]) -> Script:
    """Send one piece again and again, until the client leaves or it was plenty."""

    def script(peer: Peer, seen: Seen) -> None:
        peer.stream(*headers)
        peer.body(first)
        block = piece * (65536 // len(piece) + 1)
        for _ in range(PLENTY // len(block)):
            peer.body(block)
        peer.event("survived")
        peer.stall()

    return script


async def first_error(sse: Face, server: Server, config: Any) -> SSEError:
    """Read until the stream is over; return why."""
    async with sse.connect(server.url, config=config) as connection:
        with pytest.raises(SSEError) as caught:
            assert "survived" not in await read_all(connection)
        assert connection.state is ConnectionState.ERROR
    return caught.value


@pytest.mark.parametrize(
    ("piece", "first"),
    [
        (b"x", b"data: "),
        (b"x", b"unknown: "),
        (b"x", b": "),
        (b"x", b"id: "),
        (b"x", b"event: "),
        (b"\xc3\xa9", b"data: "),
        (b"\xff", b"data: "),
    ],
    ids=["data", "unknown field", "comment", "id", "event type", "two-byte letters", "not UTF-8"],
)
async def test_an_endless_line(sse: Face, piece: bytes, first: bytes) -> None:
    with Server(endless(piece, first)) as server, bounded(LIMIT):
        error = await first_error(sse, server, quick(limits=Limits(event=LIMIT)))
    assert type(error) is EventTooLarge
    assert str(LIMIT) in str(error)
    assert not error.retryable
    assert len(server.requests) == 1


async def test_an_endless_line_at_the_default_limit(sse: Face) -> None:
    with Server(endless(b"x", b"data: ")) as server, bounded(Limits().event):
        error = await first_error(sse, server, quick())
    assert type(error) is EventTooLarge


@pytest.mark.parametrize(
    "line",
    [b"data\n", b"data:\r", b"data: x\r\n", b"data:xy\n", b"data: " + b"x" * 1000 + b"\n"],
)
async def test_an_endless_event_of_short_lines(sse: Face, line: bytes) -> None:
    with Server(endless(line)) as server, bounded(LIMIT):
        error = await first_error(sse, server, quick(limits=Limits(event=LIMIT)))
    assert type(error) is EventTooLarge
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "piece",
    [
        b"\n",
        b"\r",
        b"\r\n",
        b":\n",
        b": " + b"x" * 1000 + b"\n",
        b"unknown: x\n",
        b"id: 1\n",
        b"id: 1\n\n",
        b"event: x\n\n",
        b"retry: 1\n",
    ],
    ids=[
        "LF",
        "CR",
        "CRLF",
        "empty comments",
        "comments",
        "unknown fields",
        "ids",
        "id blocks",
        "event types",
        "retry",
    ],
)
async def test_a_flood_of_nothing_costs_nothing(sse: Face, piece: bytes) -> None:
    def script(peer: Peer, seen: Seen) -> None:
        peer.stream()
        block = piece * (65536 // len(piece))
        for _ in range(MIB // len(block)):
            peer.body(block)
        peer.body(b"\n\n")
        peer.event("survived")
        peer.stall()

    with Server(script) as server, bounded(0):
        async with sse.connect(server.url, config=quick()) as connection:
            assert (await connection.receive(20)).data == "survived"
            assert connection.state is ConnectionState.CONNECTED


async def test_a_flood_of_comments_that_are_included_is_bounded_by_the_buffer(sse: Face) -> None:
    with Server(endless(b": " + b"x" * 100 + b"\n")) as server, bounded(LIMIT):
        config = quick(buffer_size=10)
        async with sse.connect(server.url, config=config, include={"comments"}) as connection:
            for _ in range(1000):
                await connection.receive(5)
            await sse.sleep(0.2)
            assert connection.metrics.comments_received < 10_000


async def test_events_that_nobody_reads_are_bounded_by_the_buffer(sse: Face) -> None:
    with Server(endless(b"data: x\n\n")) as server, bounded(LIMIT):
        async with sse.connect(server.url, config=quick(buffer_size=1)) as connection:
            await sse.sleep(0.3)
            assert connection.metrics.events_received < 65536


async def test_a_flood_of_tiny_chunks_works(sse: Face) -> None:
    def script(peer: Peer, seen: Seen) -> None:
        peer.stream(chunked=True)
        event = b"data: hello\n\n"
        frames = b"".join(b"1;x=y\r\n%c\r\n" % byte for byte in event)
        for _ in range(20):
            peer.send(frames * 100)
        peer.event("done")
        peer.stall()

    with Server(script) as server, bounded(LIMIT):
        async with sse.connect(server.url, config=quick()) as connection:
            for _ in range(2000):
                assert (await connection.receive(5)).data == "hello"
            assert (await connection.receive(5)).data == "done"


@pytest.mark.parametrize(
    "tail",
    [b"f" * 21 + b"\r\n", b"-1\r\n", b"0x10\r\n", b"\n", b"G\r\n", b"1\r\nxx\r\n"],
)
async def test_a_bad_chunk_header_is_a_protocol_error(sse: Face, tail: bytes) -> None:
    errors: list[BaseException] = []

    def script(peer: Peer, seen: Seen) -> None:
        peer.stream(chunked=True)
        peer.event("one", id="1")
        peer.send(tail)
        peer.stall()

    def again(peer: Peer, seen: Seen) -> None:
        peer.stream()
        peer.event("two")
        peer.stall()

    with Server([script, again]) as server, bounded(LIMIT):
        async with sse.connect(
            server.url, config=quick(), on_error=lambda _, error: errors.append(error)
        ) as connection:
            assert [(await connection.receive(5)).data for _ in range(2)] == ["one", "two"]
    assert [type(error) for error in errors] == [RemoteProtocolError]


@pytest.mark.parametrize("first", [b"1;", b"0\r\n", b"0\r\nX-Trailer: "])
@pytest.mark.parametrize("piece", [b"x", b"X-Trailer: x\r\n"])
async def test_endless_framing(sse: Face, first: bytes, piece: bytes) -> None:
    """Chunk extensions and trailers are not events, but they could fill the memory as well."""

    def script(peer: Peer, seen: Seen) -> None:
        peer.stream(chunked=True)
        peer.send(first)
        for _ in range(PLENTY // 65536):
            peer.send(piece * (65536 // len(piece)))
        peer.stall()

    with Server(script) as server, bounded(16384):
        async with sse.connect(server.url, config=quick(max_attempts=1)) as connection:
            with pytest.raises((LimitExceeded, ReconnectExhausted)):
                await connection.receive(10)
    assert len(server.requests) <= 2


# --- Compression that nobody asked for ---------------------------------------------------------


def compressed(encoding: str, data: bytes, *, wbits: int) -> Script:
    def script(peer: Peer, seen: Seen) -> None:
        assert seen.header("Accept-Encoding") == "identity"
        peer.stream(("Content-Encoding", encoding))
        engine = zlib.compressobj(wbits=wbits)
        for line in data.splitlines(keepends=True):
            peer.body(engine.compress(line) + engine.flush(zlib.Z_SYNC_FLUSH))
        peer.stall()

    return script


@pytest.mark.parametrize(
    ("encoding", "wbits"), [("gzip", 31), ("x-gzip", 31), ("deflate", 15), ("deflate", -15)]
)
async def test_compression_that_was_not_asked_for_is_undone_event_by_event(
    sse: Face, encoding: str, wbits: int
) -> None:
    data = b"data: one\n\ndata: two\n\n"
    with Server(compressed(encoding, data, wbits=wbits)) as server:
        async with sse.connect(server.url, config=quick()) as connection:
            assert [(await connection.receive(5)).data for _ in range(2)] == ["one", "two"]


def bomb(layers: int) -> bytes:
    data = b"data: x\n\n" + b":" * (64 * MIB)
    for _ in range(layers):
        data = gzip.compress(data, 9)
    return data


@pytest.mark.parametrize("layers", [1, 2])
async def test_a_gzip_bomb(sse: Face, layers: int) -> None:
    boom = bomb(layers)

    def script(peer: Peer, seen: Seen) -> None:
        peer.stream(("Content-Encoding", ", ".join(["gzip"] * layers)))
        peer.body(boom)
        peer.stall()

    with Server(script) as server, bounded(Limits().decompressed_read):
        error = await first_error(sse, server, quick())
    assert type(error) is LimitExceeded
    assert "decompresses to more than" in str(error)
    assert len(server.requests) == 1


async def test_a_slow_gzip_bomb(sse: Face) -> None:
    """A little at a time: no read decompresses to much, all of them do."""

    def script(peer: Peer, seen: Seen) -> None:
        peer.stream(("Content-Encoding", "gzip"))
        engine = zlib.compressobj(9, wbits=31)
        for _ in range(1000):
            peer.body(engine.compress(b":" * 65535 + b"\n") + engine.flush(zlib.Z_SYNC_FLUSH))
            peer.sleep(0.0005)
        peer.stall()

    with Server(script) as server, bounded(LIMIT):
        error = await first_error(sse, server, quick())
    assert type(error) is LimitExceeded
    assert "times its size" in str(error)


async def test_more_codings_on_top_of_each_other_than_anybody_needs(sse: Face) -> None:
    def script(peer: Peer, seen: Seen) -> None:
        peer.stream(*[("Content-Encoding", "gzip")] * 100)
        peer.stall()

    with (
        Server(script) as server,
        pytest.raises(SSEError, match="content codings on top of each other"),
    ):
        async with sse.connect(server.url, config=quick()):
            pytest.fail("entered")


def truncated(peer: Peer) -> Iterator[bytes]:
    whole = gzip.compress(b"id: 1\ndata: one\n\n" + b"data: two\n\n" * 1000)
    engine = zlib.compressobj(wbits=31)
    yield engine.compress(b"id: 1\ndata: one\n\n") + engine.flush(zlib.Z_SYNC_FLUSH)
    yield whole[:0]


def corrupt(peer: Peer) -> Iterator[bytes]:
    yield from truncated(peer)
    yield b"\xff" * 100


def a_lie(peer: Peer) -> Iterator[bytes]:
    yield b"id: 1\ndata: one\n\n"


@pytest.mark.parametrize(
    ("pieces", "words"),
    [(truncated, "cut short"), (corrupt, "corrupt"), (a_lie, "is not gzip although")],
)
async def test_gzip_that_is_broken_is_a_protocol_error_and_tried_again(
    sse: Face, pieces: Any, words: str
) -> None:
    errors: list[SSEError] = []

    def script(peer: Peer, seen: Seen) -> None:
        peer.stream(("Content-Encoding", "gzip"))
        for piece in pieces(peer):
            peer.body(piece)
        peer.end()

    def again(peer: Peer, seen: Seen) -> None:
        peer.stream()
        peer.event("again")
        peer.stall()

    with Server([script, again]) as server:
        async with sse.connect(
            server.url, config=quick(), on_error=lambda _, error: errors.append(error)
        ) as connection:
            events: list[ServerSentEvent] = [await connection.receive(5)]
            if pieces is not a_lie:
                events.append(await connection.receive(5))
    assert events[-1].data == "again"
    assert isinstance(errors[0], RemoteProtocolError)
    assert words in str(errors[0])
    assert server.requests[1].cursor == (None if pieces is a_lie else "1")


async def test_an_error_body_without_end_is_cut(sse: Face) -> None:
    def script(peer: Peer, seen: Seen) -> None:
        peer.stream(status=500, content_type="text/plain")
        try:
            while True:
                peer.body(b"x" * 65536)
        except Gone:
            return

    with Server(script) as server, bounded(4096), pytest.raises(SSEError) as caught:
        async with sse.connect(server.url, config=quick(max_attempts=2)):
            pytest.fail("entered")
    cause = caught.value.cause
    assert getattr(cause, "body", None) == b"x" * 4096


async def test_an_error_body_that_is_a_bomb_is_cut(sse: Face) -> None:
    boom = bomb(1)

    def script(peer: Peer, seen: Seen) -> None:
        peer.respond(403, ("Content-Encoding", "gzip"), body=boom)

    with (
        Server(script) as server,
        bounded(Limits().decompressed_read),
        pytest.raises(SSEError) as caught,
    ):
        async with sse.connect(server.url, config=quick()):
            pytest.fail("entered")
    assert len(getattr(caught.value, "body", b"")) <= 4096
