"""Proxies: HTTP and SOCKS 5, with and without credentials, and all that can go wrong with them."""

import logging
from typing import Any

import pytest

from contract.common import go_on, pooled, quick, resume, stay
from contract.fixtures import Certificates
from contract.server import Peer, Seen, Server
from sansio_sse import (
    ConfigError,
    ConnectError,
    ConnectionState,
    HTTPStatusError,
    ReconnectExhausted,
    SSEError,
    StreamTruncated,
)

from .h2_server import H2Server
from .proxies import Proxy

NAME, PASSWORD = "mé", "s3cr3t:/@ü"
ENCODED = "m%C3%A9:s3cr3t%3A%2F%40%C3%BC"
RECONNECTING = ConnectionState.RECONNECTING

kinds = pytest.mark.parametrize("kind", ["http", "socks5"])


@pytest.fixture(params=["plain", "secure"])
def target(request: pytest.FixtureRequest, certificates: Certificates) -> dict[str, Any]:
    """Where the proxy is to lead: what the server and the client need for it."""
    if request.param == "plain":
        return {"server": None, "client": None}
    return {"server": certificates.good, "client": certificates.client()}


def way(kind: str, target: Server) -> str:
    """How a proxy of this kind is asked for this target."""
    if kind == "socks5":
        return f"SOCKS 127.0.0.1:{target.port}"
    return f"GET {target.url}" if target.tls is None else f"CONNECT 127.0.0.1:{target.port}"


@kinds
async def test_a_stream_through_a_proxy(sse: Any, kind: str, target: dict[str, Any]) -> None:
    with Server(stay("hello"), tls=target["server"]) as server, Proxy() as proxy:
        async with sse.connect(
            server.url,
            proxy=f"{kind}://{proxy.authority}",
            ssl_context=target["client"],
            headers={"Authorization": "Bearer of the target"},
        ) as connection:
            assert (await connection.receive(5)).data == "hello"
        assert proxy.asked == [way(kind, server)]
        [request] = server.requests
        assert request.header("Host") == f"127.0.0.1:{server.port}"
        assert request.header("Authorization") == "Bearer of the target"
        through_tunnel = kind == "socks5" or target["server"] is not None
        assert (b"of the target" in b"".join(proxy.heard)) is not through_tunnel


@kinds
async def test_its_credentials_reach_the_proxy_and_nobody_else(
    sse: Any, kind: str, target: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with (
        Server(stay("hello"), tls=target["server"]) as server,
        Proxy((NAME, PASSWORD)) as proxy,
    ):
        async with sse.connect(
            server.url,
            proxy=f"{kind}://{ENCODED}@{proxy.authority}",
            ssl_context=target["client"],
        ) as connection:
            assert (await connection.receive(5)).data == "hello"
            shown = f"{connection!r} {connection.info()} {connection.response}"
        assert proxy.asked == [way(kind, server)]
        [request] = server.requests
        assert "proxy" not in str(request.headers).lower()
    logged = f"{shown} {caplog.text}"
    assert "s3cr3t" not in logged
    assert "bcOpOnMzY3Iz" not in logged  # the same in Basic


@kinds
@pytest.mark.parametrize("given", ["", "m%C3%A9:wrong@"])
async def test_without_its_credentials_a_proxy_leads_nowhere(
    sse: Any, kind: str, given: str, target: dict[str, Any]
) -> None:
    with (
        Server(stay("hello"), tls=target["server"]) as server,
        Proxy((NAME, PASSWORD)) as proxy,
    ):
        connection = sse.connect(
            server.url,
            proxy=f"{kind}://{given}{proxy.authority}",
            ssl_context=target["client"],
            config=quick(max_attempts=1),
        )
        with pytest.raises((ReconnectExhausted, HTTPStatusError)) as caught:
            async with connection:
                pytest.fail("entered")
        if kind == "http" and target["server"] is None:
            # It is the proxy that answers, in the target's place.
            assert isinstance(caught.value, HTTPStatusError)
            assert caught.value.status == 407
        else:
            assert type(caught.value.cause) is ConnectError
            assert caught.value.cause.request_sent is False
            assert not connection.metrics.bytes_sent
        shown = f"{caught.value} {caught.value!r} {caught.value.cause!r} {connection!r}"
        assert "s3cr3t" not in shown
        assert "wrong" not in shown
    assert server.visits == []


@pytest.mark.parametrize(("kind", "status"), [("http", 403), ("http", 502), ("socks5", 2)])
async def test_a_proxy_may_refuse_a_tunnel(
    sse: Any, kind: str, status: int, certificates: Certificates
) -> None:
    with Server(stay("hello"), tls=certificates.good) as server, Proxy(refuses=status) as proxy:
        config = quick(max_attempts=1)
        with pytest.raises(ReconnectExhausted) as caught:
            async with sse.connect(
                server.url,
                proxy=f"{kind}://{proxy.authority}",
                ssl_context=certificates.client(),
                config=config,
            ):
                pytest.fail("entered")
        assert len(proxy.asked) == 2, "it may be in a better mood soon"
    error = caught.value.cause
    assert type(error) is ConnectError
    assert ("not allowed" if kind == "socks5" else str(status)) in str(error).lower()
    assert error.request_sent is False
    assert server.visits == []


@kinds
async def test_a_proxy_that_is_not_there_could_not_be_connected_to(
    sse: Any, kind: str, target: dict[str, Any]
) -> None:
    with Server() as gone:
        nobody = f"127.0.0.1:{gone.port}"
    with Server(stay("hello"), tls=target["server"]) as server:
        with pytest.raises(ReconnectExhausted, match="could not connect") as caught:
            async with sse.connect(
                server.url,
                proxy=f"{kind}://me:s3cr3t@{nobody}",
                ssl_context=target["client"],
                config=quick(max_attempts=1),
            ):
                pytest.fail("entered")
        assert type(caught.value.cause) is ConnectError
        assert caught.value.cause.request_sent is False
        assert "s3cr3t" not in f"{caught.value} {caught.value.cause!r}"
    assert server.visits == []


@kinds
@pytest.mark.parametrize("when", ["at once", "in the middle of its words"])
async def test_a_proxy_that_hangs_up_is_tried_again(
    sse: Any, kind: str, when: str, certificates: Certificates
) -> None:
    def hang_up(peer: Peer) -> None:
        peer.recv()
        if when != "at once":
            peer.send(b"HTTP/1.1 2" if kind == "http" else b"\5")
        peer.close()

    with Server(stay("hello"), tls=certificates.good) as server, Server(welcome=hang_up) as proxy:
        with pytest.raises(ReconnectExhausted) as caught:
            async with sse.connect(
                server.url,
                proxy=f"{kind}://{proxy.host}:{proxy.port}",
                ssl_context=certificates.client(),
                config=quick(max_attempts=1),
            ):
                pytest.fail("entered")
        error = caught.value.cause
        assert isinstance(error, SSEError)
        assert error.request_sent is False
        assert len(proxy.visits) == 2
    assert server.visits == []


@kinds
async def test_when_a_proxy_dies_the_stream_goes_on_from_its_cursor(
    sse: Any, kind: str, target: dict[str, Any]
) -> None:
    scripts = [go_on("1", then="never"), resume(3)]
    with Server(scripts, tls=target["server"]) as server, Proxy() as proxy:
        async with sse.connect(
            server.url,
            proxy=f"{kind}://{proxy.authority}",
            ssl_context=target["client"],
            config=quick(),
        ) as connection:
            changes = connection.state_changes()
            assert (await connection.receive(5)).data == "1"
            proxy.cut()
            assert [(await connection.receive(5)).data for _ in range(2)] == ["2", "3"]
            await anext(changes)
            assert (await anext(changes)).new is RECONNECTING
        assert [request.cursor for request in server.requests] == [None, "1"]
        assert proxy.asked == [way(kind, server)] * 2


async def test_a_post_is_not_repeated_because_a_proxy_died(sse: Any) -> None:
    def once(peer: Peer, seen: Seen) -> None:
        peer.stream()
        peer.event("1")
        peer.stall()

    with Server(once) as server, Proxy() as proxy:
        async with sse.connect(
            server.url,
            method="POST",
            content=b"once",
            until="end",
            proxy=f"http://{proxy.authority}",
            config=quick(),
        ) as connection:
            assert (await connection.receive(5)).data == "1"
            proxy.cut()
            with pytest.raises(StreamTruncated):
                await connection.receive(5)
    assert [request.body for request in server.requests] == [b"once"]


@kinds
async def test_http2_through_a_tunnel(
    sse: Any, kind: str, h2_server: H2Server, certificates: Certificates
) -> None:
    with Proxy() as proxy:
        context = certificates.client()
        options = {"proxy": f"{kind}://{proxy.authority}", "ssl_context": context}
        async with sse.connect(h2_server.url, http2=True, **options) as connection:
            assert connection.response.http_version == "2"
            h2_server.streams[0].event("hello")
            assert (await connection.receive(5)).data == "hello"
        assert len(proxy.asked) == 1


@kinds
async def test_pings_and_posts_take_the_same_way(sse: Any, kind: str) -> None:
    with (
        Server(stay("hello")).at(
            "/up", lambda peer, _: peer.respond(200, body=b"got it")
        ) as server,
        Proxy() as proxy,
    ):
        async with sse.connect(server.url, proxy=f"{kind}://{proxy.authority}") as connection:
            assert (await connection.post("/up")).content == b"got it"
        assert len(proxy.asked) == 2
    assert len(server.visits) == 2


async def test_a_pool_and_a_set_have_a_proxy_too(sse: Any) -> None:
    with Server(stay("hello")) as server, Proxy() as proxy:
        url = f"http://{proxy.authority}"
        async with sse.pool(pooled(server.url), proxy=url) as pool, pool.acquire() as lease:
            assert (await lease.receive(5)).data == "hello"
        async with sse.streams(proxy=url, config=quick()) as streams:
            streams.add("one", server.url)
            tagged = await anext(aiter(streams.events()))
            assert tagged is not None
        assert proxy.asked == [f"GET {server.url}"] * 2


async def test_the_packages_own_proxy_will_do(sse: Any) -> None:
    with Server(stay("hello")) as server, Proxy(("me", "s3cr3t")) as proxy:
        own = sse.package.Proxy(f"http://{proxy.authority}", auth=("me", "s3cr3t"))
        async with sse.connect(server.url, proxy=own) as connection:
            assert (await connection.receive(5)).data == "hello"


@pytest.mark.parametrize("speaks", ["1.1", "2"])
async def test_a_proxy_may_be_spoken_to_in_secret(
    sse: Any, speaks: str, h2_server: H2Server, certificates: Certificates
) -> None:
    """TLS within TLS. The proxy's own context comes with the package's own ``Proxy``."""
    with (
        Server(stay("hello"), tls=certificates.good) as server,
        Proxy(("me", PASSWORD), tls=certificates.good) as proxy,
    ):
        own = sse.package.Proxy(
            f"https://{proxy.authority}",
            auth=("me", PASSWORD.encode()),
            ssl_context=certificates.client(),
        )
        async with sse.connect(
            server.url if speaks == "1.1" else h2_server.url,
            proxy=own,
            http2=speaks == "2",
            ssl_context=certificates.client(),
        ) as connection:
            if speaks == "2":
                h2_server.streams[0].event("hello")
            assert (await connection.receive(5)).data == "hello"
            assert connection.response.http_version == speaks
        assert len(proxy.asked) == 1


# --- Mistakes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        "127.0.0.1:3128",
        "ftp://me:s3cr3t@127.0.0.1:3128",
        "socks4://me:s3cr3t@127.0.0.1:3128",
        "http:///s3cr3t",
        "http://",
        "http://me:s3cr3t/@127.0.0.1:3128",
        "http://me:s3cr3t@127.0.0.1:port",
        "http://me:s3cr3t@127.0.0.1:99999",
        "http://[::1/s3cr3t",
        "http://me:s3cr3t@exämple.com:3128/",
    ],
)
async def test_a_proxy_that_cannot_be_is_refused_and_not_shown(sse: Any, wrong: str) -> None:
    with pytest.raises(ConfigError, match="proxy") as caught:
        sse.connect("http://127.0.0.1:1/", proxy=wrong)
    error: BaseException | None = caught.value
    while error is not None:
        assert "s3cr3t" not in f"{error} {error!r}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
