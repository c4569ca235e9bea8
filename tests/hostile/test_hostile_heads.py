"""Response heads that are huge, slow or false, redirects that lead astray, and storms."""

import itertools
import time
from email.utils import formatdate
from typing import Any

import pytest

from contract.common import drop, quick, read_all, stay, turn_away
from contract.face import Face
from contract.fixtures import Certificates
from contract.server import Peer, Seen, Server
from sansio_sse import (
    ConfigError,
    ConnectionConfig,
    ConnectionState,
    HTTPStatusError,
    InsecureRedirect,
    LimitExceeded,
    Limits,
    ReconnectExhausted,
    ReconnectionPolicy,
    RemoteProtocolError,
    ResponseTimeout,
    SSEError,
    Timeouts,
    TooManyRedirects,
)

from .memory import MIB, bounded

ONCE = ReconnectionPolicy(enabled=False)


async def entering_fails(sse: Face, url: str, **options: Any) -> SSEError:
    options = {"config": quick(), **options}
    with pytest.raises(SSEError) as caught:
        async with sse.connect(url, **options):
            pytest.fail("entered")
    return caught.value


# --- Heads -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [65 * 1024, 64 * MIB])
@pytest.mark.parametrize("line", [b"X-Header: xxxxxxxxxxxxxxxx\r\n", b"x"])
async def test_a_head_that_is_too_large(sse: Face, size: int, line: bytes) -> None:
    def script(peer: Peer, seen: Seen) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\nX-First: ")
        block = line * (65536 // len(line))
        for _ in range(size // len(block) + 1):
            peer.send(block)
        peer.stall()

    with Server(script) as server, bounded(Limits().head):
        error = await entering_fails(sse, server.url)
    assert type(error) is LimitExceeded
    assert "head is longer than 65536 bytes" in str(error)
    assert len(server.requests) == 1


async def test_a_head_just_within_the_limit_is_read(sse: Face) -> None:
    def script(peer: Peer, seen: Seen) -> None:
        peer.stream(*[(f"X-Header-{number}", "x" * 1000) for number in range(60)])
        peer.event("hello")
        peer.stall()

    with Server(script) as server:
        async with sse.connect(server.url, config=quick()) as connection:
            assert (await connection.receive(5)).data == "hello"
            assert len(connection.response.headers) == 61


async def test_endless_informational_responses(sse: Face) -> None:
    def script(peer: Peer, seen: Seen) -> None:
        while True:
            peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 100)

    with Server(script) as server, bounded(Limits().head):
        error = await entering_fails(sse, server.url)
    assert type(error) is LimitExceeded


async def test_a_head_that_dribbles_is_stopped_by_a_total_timeout(sse: Face) -> None:
    def script(peer: Peer, seen: Seen) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            peer.send(b"X")
            peer.sleep(0.02)

    with Server(script) as server:
        config = ConnectionConfig(reconnection=ONCE, timeouts=Timeouts(response=0.3))
        began = time.monotonic()
        error = await entering_fails(sse, server.url, config=config)
        assert time.monotonic() - began < 5
    assert type(error) is ResponseTimeout


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nBad Header: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/1.1 9 OK\r\n\r\n",
        b"HTTP/3.0 two hundred\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"\r\n\r\n",
    ],
)
async def test_a_head_that_is_malformed_is_a_protocol_error(sse: Face, head: bytes) -> None:
    def script(peer: Peer, seen: Seen) -> None:
        peer.send(head)
        peer.stall()

    with Server(script) as server:
        config = ConnectionConfig(reconnection=ONCE)
        error = await entering_fails(sse, server.url, config=config)
    assert type(error) is RemoteProtocolError


async def test_errors_do_not_show_what_the_peer_may_have_echoed(sse: Face) -> None:
    def script(peer: Peer, seen: Seen) -> None:
        secret = seen.header("Authorization")
        peer.send(f"HTTP/1.1 200 OK\r\nEcho {secret}: {secret}\r\n\r\n".encode())
        peer.stall()

    with Server(script) as server:
        config = ConnectionConfig(reconnection=ONCE)
        headers = {"Authorization": "Bearer hunter2"}
        error = await entering_fails(
            sse, f"{server.url}?key=hunter2", headers=headers, config=config
        )
    assert "hunter2" not in f"{error} {error!r} {error.url} {error.response!r}"


# --- Redirects ---------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_loop(sse: Face, status: int) -> None:
    with Server(turn_away(status, ("Location", "/events"))) as server, bounded(MIB):
        error = await entering_fails(sse, server.url)
    assert type(error) is TooManyRedirects
    assert "more than 10 redirects" in str(error)
    assert len(server.requests) == 11


async def test_a_permanent_redirect_chain_that_never_ends_is_not_remembered_for_ever(
    sse: Face,
) -> None:
    def further(peer: Peer, seen: Seen) -> None:
        number = int(seen.path.rpartition("/")[2])
        if number % 5 == 4 and not seen.target.endswith("?go"):
            peer.stream()
            peer.end()
        else:
            peer.respond(308, ("Location", f"/{number + 1}"))

    with Server(further) as server:
        config = quick(max_attempts=8, initial_delay=0, max_delay=0)
        async with sse.connect(f"{server.origin}/0", config=config) as connection:
            with pytest.raises(ReconnectExhausted):
                await connection.receive(10)
    assert max(int(seen.path[1:]) for seen in server.requests) <= 20


async def test_a_redirect_without_a_location(sse: Face) -> None:
    with Server(turn_away(302)) as server:
        error = await entering_fails(sse, server.url)
    assert type(error) is HTTPStatusError
    assert "without a Location" in str(error)


@pytest.mark.parametrize("scheme", ["file", "ftp", "javascript", "data", "ws", "unix"])
async def test_a_redirect_to_another_scheme(sse: Face, scheme: str) -> None:
    with Server(turn_away(302, ("Location", f"{scheme}:///etc/passwd"))) as server:
        error = await entering_fails(sse, server.url)
    assert type(error) is InsecureRedirect
    assert scheme in str(error)


async def test_a_redirect_from_https_to_http(sse: Face, certificates: Certificates) -> None:
    with Server(stay()) as other:
        away = turn_away(302, ("Location", other.url))
        with Server(away, tls=certificates.good) as server:
            error = await entering_fails(sse, server.url, ssl_context=certificates.client())
    assert type(error) is InsecureRedirect
    assert other.visits == []


SECRETS = {
    "Authorization": "Bearer secret",
    "Cookie": "session=secret",
    "X-API-Key": "secret",
    "Api-Token": "secret",
    "Proxy-Authorization": "secret",
}


async def test_a_redirect_to_another_origin_carries_no_credentials(sse: Face) -> None:
    headers = {**SECRETS, "Accept-Language": "cy", "User-Agent": "mine/1"}
    with Server() as back, Server() as other, Server() as first:
        first.at("/events", turn_away(307, ("Location", f"{other.origin}/there")))
        other.at("/there", turn_away(307, ("Location", f"{first.origin}/again")))
        first.at("/again", stay("hello"))
        async with sse.connect(first.url, headers=headers, last_event_id="7") as connection:
            assert (await connection.receive(5)).data == "hello"
        assert back.visits == []
    [seen] = other.requests
    for name in SECRETS:
        assert seen.header(name) is None
        assert first.requests[0].header(name) == SECRETS[name]
        # Nothing returns on a later hop, not even at home.
        assert first.requests[1].header(name) is None
    names = {name.lower() for name, _ in seen.headers}
    assert names == {
        "host",
        "accept",
        "accept-encoding",
        "accept-language",
        "cache-control",
        "user-agent",
        "last-event-id",
    }
    assert seen.header("User-Agent") == "mine/1"


async def test_credentials_in_a_location_are_not_used(sse: Face) -> None:
    with Server() as server:
        away = f"http://evil:pass@127.0.0.1:{server.port}/there"
        server.at("/events", turn_away(302, ("Location", away)))
        server.at("/there", stay("hello"))
        async with sse.connect(server.url) as connection:
            assert (await connection.receive(5)).data == "hello"
    assert server.requests[1].header("Authorization") is None


@pytest.mark.parametrize("status", [307, 308])
async def test_a_post_is_not_redirected_to_another_origin(sse: Face, status: int) -> None:
    with Server(stay()) as other, Server(turn_away(status, ("Location", other.url))) as server:
        error = await entering_fails(
            sse, server.url, method="POST", content=b"secret", headers=SECRETS
        )
    assert type(error) is InsecureRedirect
    assert other.visits == []


async def test_a_post_that_becomes_a_get_goes_to_another_origin_without_its_body(sse: Face) -> None:
    with Server(drop("hello")) as other, Server() as server:
        server.at("/events", turn_away(303, ("Location", other.url)))
        options = {"method": "POST", "json": {"secret": 1}, "headers": SECRETS}
        async with sse.connect(server.url, **options) as connection:
            assert await read_all(connection) == ["hello"]
    [seen] = other.requests
    assert (seen.method, seen.body, seen.header("Content-Type")) == ("GET", b"", None)
    assert not any("secret" in value for _, value in seen.headers)


# --- What a caller must not be able to smuggle -------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"url": "http://127.0.0.1:1/a\r\nX: y"},
        {"url": "http://127.0.0.1:1/a\nb"},
        {"url": "http://127.0.0.1\r\n:1/"},
        {"method": "GET / HTTP/1.1\r\nX: y\r\n\r\nGET"},
        {"method": "GE\nT"},
        {"headers": {"X-Name\r\nX-Other": "y"}},
        {"headers": {"X-Name": "y\r\nX-Other: z"}},
        {"headers": {"X-Name": "y\nz"}},
        {"headers": {"X-Name": "y\0z"}},
        {"last_event_id": "1\r\nX: y"},
        {"last_event_id": "1\n2"},
        {"headers": {"Last-Event-ID": "1\n2"}},
    ],
)
async def test_line_ends_never_get_into_a_request(sse: Face, options: dict[str, Any]) -> None:
    options = {"url": "http://127.0.0.1:1/", **options}
    with pytest.raises(ConfigError):
        sse.connect(**options)


@pytest.mark.parametrize("name", ["Content-Length", "Transfer-Encoding", "Connection", "Upgrade"])
async def test_framing_is_not_the_caller_s(sse: Face, name: str) -> None:
    with Server(stay()) as server:
        error = await entering_fails(sse, server.url, headers={name: "5"})
    assert name in str(error)
    assert server.requests == []


async def test_an_id_never_ends_a_header_line(sse: Face) -> None:
    def script(peer: Peer, seen: Seen) -> None:
        peer.stream()
        peer.body(b"id: good\ndata: one\n\nid: ba\0d\ndata: two\n\n")
        peer.end()

    def further(peer: Peer, seen: Seen) -> None:
        peer.stream()
        # What is left of it, a header may hold; U+2028 and U+0085 are no line ends to HTTP.
        peer.body("id: \u2028\x85\x0b\x01é\ndata: three\n\n".encode())
        peer.end()

    with Server([script, further, stay("four")]) as server:
        async with sse.connect(server.url, config=quick()) as connection:
            for expected in ("one", "two", "three", "four"):
                assert (await connection.receive(5)).data == expected
    cursors = [seen.cursor for seen in server.requests]
    assert cursors == [None, "good", "\u2028\x85\x0b\x01é"]


# --- Storms ------------------------------------------------------------------------------------


async def test_an_accept_then_reset_storm_is_bounded_by_backoff(sse: Face) -> None:
    def reset(peer: Peer) -> None:
        peer.reset()

    with Server(welcome=reset) as server:
        error = await entering_fails(
            sse, server.url, config=quick(max_attempts=6, initial_delay=0.02, max_delay=1)
        )
        gaps = [b.began - a.began for a, b in zip(server.visits, server.visits[1:], strict=False)]
    assert type(error) is ReconnectExhausted
    assert len(gaps) == 6
    # Each delay is at least half of 0.02 * 2**n.
    assert all(gap > 0.5 * 0.02 * 2**n - 0.005 for n, gap in enumerate(gaps))


async def test_a_server_that_accepts_and_ends_is_not_hammered(sse: Face) -> None:
    with Server(drop()) as server:
        config = quick(max_attempts=5, initial_delay=0.02, max_delay=1)
        async with sse.connect(server.url, config=config) as connection:
            with pytest.raises(ReconnectExhausted):
                await connection.receive(10)
        times = [seen.at for seen in server.requests]
    assert len(times) == 6
    assert all(
        later - earlier > 0.5 * 0.02 * 2**n - 0.005
        for n, (earlier, later) in enumerate(itertools.pairwise(times))
    )


async def test_a_retry_0_storm_lowers_the_server_s_floor_but_not_ours(sse: Face) -> None:
    def script(peer: Peer, seen: Seen) -> None:
        peer.stream()
        peer.body(b"retry: 0\ndata: x\n\n")
        peer.end()

    with Server(script) as server:
        config = quick(initial_delay=0.1, max_delay=1)
        async with sse.connect(server.url, config=config) as connection:
            for _ in range(6):
                await connection.receive(5)
        times = [seen.at for seen in server.requests]
    assert all(b - a > 0.045 for a, b in itertools.pairwise(times))


def capped(seconds: float) -> ConnectionConfig:
    policy = ReconnectionPolicy(
        initial_delay=0.01, max_delay=0.01, max_server_delay=seconds, jitter_factor=0
    )
    return ConnectionConfig(reconnection=policy)


RETRY_AFTER = [
    (lambda: [("Retry-After", "1")], 30.0, 1.0),
    (lambda: [("Retry-After", "9" * 400)], 0.3, 0.3),
    (lambda: [("Retry-After", "-5")], 0.3, 0.01),
    (lambda: [("Retry-After", "soon")], 0.3, 0.01),
    (lambda: [("Retry-After", "Fri, 31 Dec 9999 23:59:59 GMT")], 0.3, 0.01),
    (
        lambda: [
            ("Date", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("Retry-After", "Sun, 06 Nov 1994 08:49:38 GMT"),
        ],
        30.0,
        1.0,
    ),
    (
        lambda: [
            ("Date", formatdate(usegmt=True)),
            ("Retry-After", formatdate(time.time() + 1e6, usegmt=True)),
        ],
        0.3,
        0.3,
    ),
]


@pytest.mark.parametrize(
    ("headers", "cap", "delay"),
    RETRY_AFTER,
    ids=["seconds", "absurd", "negative", "words", "no Date", "a date", "an absurd date"],
)
async def test_retry_after_of_all_kinds(sse: Face, headers: Any, cap: float, delay: float) -> None:
    with Server([turn_away(503, *headers()), stay("hello")]) as server:
        async with sse.connect(server.url, config=capped(cap)) as connection:
            assert connection.state is ConnectionState.CONNECTED
        first, second = server.requests
    assert delay - 0.05 < second.at - first.at < delay + 3


async def test_a_retry_field_that_is_absurd_is_capped(sse: Face) -> None:
    def script(peer: Peer, seen: Seen) -> None:
        peer.stream()
        peer.body(b"retry: " + b"9" * 5000 + b"\ndata: x\n\n")
        peer.end()

    with Server([script, stay("hello")]) as server:
        async with sse.connect(server.url, config=capped(0.2)) as connection:
            assert (await connection.receive(5)).data == "x"
            assert (await connection.receive(5)).data == "hello"
