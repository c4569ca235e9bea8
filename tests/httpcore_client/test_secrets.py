"""What h11, h2 and httpcore quote of headers does not come out: not in errors, nor in logs."""

import logging
import traceback
from typing import Any

import pytest

from contract.common import quick, stay
from contract.fixtures import Certificates
from contract.server import Peer, Seen, Server
from sansio_sse import (
    ConfigError,
    ConnectionState,
    ReconnectExhausted,
    RemoteProtocolError,
    SSEError,
)

from .h2_server import H2Server, H2Stream

SECRET = "s3cr3t"


def everything_of(error: BaseException) -> str:
    """Return all that could be shown of an error, in a log or in a report."""
    shown = [repr(error), *traceback.format_exception(error)]
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            shown += [repr(one), str(one), repr(one.args), repr(getattr(one, "cause", None))]
            cause = getattr(one, "cause", None)
            waiting += [one.__cause__, None if one.__suppress_context__ else one.__context__]
            waiting += [cause if isinstance(cause, BaseException) else None]
    return "\n".join(shown)


async def failure_of(sse: Any, url: str, **options: Any) -> SSEError:
    """Connect in vain; return the error, and find no secret in anything."""
    errors: list[BaseException] = []
    connection = sse.connect(url, on_error=lambda _, error: errors.append(error), **options)

    async def read() -> None:
        async with connection:
            while True:
                await connection.receive(5)

    with pytest.raises(SSEError) as caught:
        await read()
    for error in [caught.value, *errors]:
        assert SECRET not in everything_of(error)
    assert SECRET not in f"{connection!r} {connection.info()}"
    return caught.value


ILLEGAL = {
    "a line without a colon": b"HTTP/1.1 200 OK\r\nX-Token s3cr3t\r\n\r\n",
    "a blank in a name": b"HTTP/1.1 200 OK\r\nX Token: s3cr3t\r\n\r\n",
    "a control character": b"HTTP/1.1 200 OK\r\nSet-Cookie: s3cr3t\x00\r\n\r\n",
    "no status": b"HTTP/1.1 s3cr3t\r\n\r\n",
    "no HTTP at all": b"s3cr3t\r\n\r\n",
    "another version": b"HTTP/s3cr3t 200 OK\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: s3cr3t\r\n\r\n",
    "an unknown coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: s3cr3t\r\n\r\n",
    "a head that is too long": b"HTTP/1.1 200 OK\r\nX: s3cr3t" + b"x" * 200_000,
    "a chunk that is none": (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
        b"Transfer-Encoding: chunked\r\n\r\ns3cr3t\r\n"
    ),
    "an upgrade": b"HTTP/1.1 101 s3cr3t\r\nUpgrade: s3cr3t\r\nConnection: upgrade\r\n\r\n",
    "nothing": b"",
}


@pytest.mark.parametrize("head", ILLEGAL.values(), ids=ILLEGAL)
async def test_what_is_not_valid_is_not_quoted(sse: Any, head: bytes) -> None:
    def script(peer: Peer, seen: Seen) -> None:
        peer.send(head)
        peer.close()

    with Server(script) as server:
        error = await failure_of(
            sse,
            server.url,
            headers={"Authorization": f"Bearer {SECRET}"},
            config=quick(max_attempts=1),
        )
    assert isinstance(error, ReconnectExhausted)
    assert isinstance(error.cause, RemoteProtocolError)
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer s3cr3t\x01"},
        {"Authorization": "Bearer s3cr3t\ud800"},
        {"Transfer-Encoding": "s3cr3t"},
        {"Content-Length": "s3cr3t"},
    ],
)
async def test_a_header_that_cannot_be_sent_is_not_shown(sse: Any, headers: Any) -> None:
    with Server(stay("hello")) as server:
        error = await failure_of(sse, server.url, headers=headers)
        assert isinstance(error, ConfigError)
    assert server.requests == []


async def test_an_id_that_h11_does_not_write_ends_the_stream_unshown(sse: Any) -> None:
    """Other drivers send it; it would have to go past h11, which is the client's to ask."""

    def script(peer: Peer, seen: Seen) -> None:
        peer.stream()
        peer.body(b"id: s3cr3t\x0b\ndata: hello\n\n")
        peer.end()

    with Server(script) as server:
        error = await failure_of(sse, server.url, config=quick())
        assert isinstance(error, ConfigError)
        assert not error.retryable
        assert len(server.requests) == 1


def by_path(stream: H2Stream) -> None:
    match stream.path:
        case "/go-away":
            stream.go_away(b"s3cr3t")
        case "/garbage":
            stream.send_garbage(b"\0\0\6\6\0\0\0\0\0s3cr3t")  # a PING has eight bytes
        case "/reset":
            stream.reset()
        case _:
            stream.respond(200, ("x-token", SECRET), ("content-type", "text/html"))
            stream.end()


@pytest.mark.parametrize("path", ["/go-away", "/garbage", "/reset", "/html"])
async def test_over_http2_it_is_the_same(sse: Any, certificates: Certificates, path: str) -> None:
    with H2Server(certificates, by_path) as server:
        error = await failure_of(
            sse,
            f"{server.origin}{path}",
            http2=True,
            ssl_context=certificates.client(),
            headers={"Authorization": f"Bearer {SECRET}", "X-Upper": "ÄÖ"},
            config=quick(max_attempts=1),
        )
    if path == "/html":
        assert error.response is not None
        assert SECRET not in repr(error.response)
    else:
        # What the server sends is its own fault, and may be better the next time.
        assert isinstance(error, ReconnectExhausted)
        assert isinstance(error.cause, RemoteProtocolError)


async def test_nothing_that_was_given_in_confidence_is_logged(
    sse: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with Server(stay("hello")) as server:
        url = server.url.replace("://", f"://me:{SECRET}@")
        async with sse.connect(f"{url}?token={SECRET}", headers={"X-Token": SECRET}) as connection:
            assert (await connection.receive(5)).data == "hello"
            assert connection.state is ConnectionState.CONNECTED
    ours = {record.name for record in caplog.records if record.name.startswith("sansio")}
    assert ours == {"sansio_sse_exchanges.connection", "sansio_sse_exchanges.transport"}
    assert SECRET not in caplog.text
