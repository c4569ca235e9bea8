"""TCP over both families, Unix sockets, and TLS with everything that can be wrong with it."""

import socket
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from sansio_sse import (
    ConnectError,
    ConnectionConfig,
    ConnectionState,
    ConnectTimeout,
    ReconnectionPolicy,
    Timeouts,
    TLSError,
    WriteTimeout,
)

from .common import drop, quick, read_all, stay
from .face import Face
from .fixtures import Certificates
from .phases import BlackHole
from .server import Peer, Server

ONCE = ReconnectionPolicy(enabled=False)


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


async def test_a_stream_over_plain_tcp_and_over_tls(sse: Face, tls: dict[str, Any]) -> None:
    with Server([drop("one"), stay("two")], tls=tls["server"]) as server:
        options = {"ssl_context": tls["client"], "config": quick()}
        async with sse.connect(server.url, **options) as connection:
            assert (await connection.receive(5)).data == "one"
            assert (await connection.receive(5)).data == "two"


async def test_a_large_event_over_plain_tcp_and_over_tls(sse: Face, tls: dict[str, Any]) -> None:
    large = "é" * 2_000_000
    with Server(drop(large, chunked=True), tls=tls["server"]) as server:
        options = {"ssl_context": tls["client"], "config": quick(on_end="finish")}
        async with sse.connect(server.url, **options) as connection:
            assert await read_all(connection) == [large]


async def test_a_large_request_over_plain_tcp_and_over_tls(sse: Face, tls: dict[str, Any]) -> None:
    content = bytes(range(256)) * 8192
    with Server(drop("one"), tls=tls["server"]) as server:
        options = {"ssl_context": tls["client"], "content": content, "method": "POST"}
        async with sse.connect(server.url, **options) as connection:
            assert await read_all(connection) == ["one"]
    assert server.requests[0].body == content


async def test_a_host_is_resolved(sse: Face, tls: dict[str, Any]) -> None:
    with Server(stay("hello"), tls=tls["server"]) as server:
        url = f"{server.url}".replace("127.0.0.1", "localhost")
        async with sse.connect(url, ssl_context=tls["client"]) as connection:
            assert (await connection.receive(5)).data == "hello"
    assert server.requests[0].header("Host") == f"localhost:{server.port}"


@pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6 loopback")
async def test_ipv6(sse: Face, tls: dict[str, Any]) -> None:
    with Server(stay("hello"), family="ipv6", tls=tls["server"]) as server:
        async with sse.connect(server.url, ssl_context=tls["client"]) as connection:
            assert (await connection.receive(5)).data == "hello"
    assert server.requests[0].header("Host") == f"[::1]:{server.port}"


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has no Unix sockets")
async def test_a_unix_socket(sse: Face, tls: dict[str, Any], tmp_path: Path) -> None:
    scripts = [drop("one"), stay("two")]
    with Server(scripts, family="unix", path=tmp_path / "s", tls=tls["server"]) as server:
        options = {"uds": server.uds, "ssl_context": tls["client"], "config": quick()}
        scheme = "http" if tls["server"] is None else "https"
        async with sse.connect(f"{scheme}://localhost/events", **options) as connection:
            assert (await connection.receive(5)).data == "one"
            assert (await connection.receive(5)).data == "two"
    assert server.requests[0].header("Host") == "localhost"


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has no Unix sockets")
@pytest.mark.needs("tidy refusals")
@pytest.mark.parametrize("name", ["none", "too long" * 30, "nu\0l"])
async def test_a_unix_socket_that_is_not_there(sse: Face, tmp_path: Path, name: str) -> None:
    config = ConnectionConfig(reconnection=ONCE)
    with pytest.raises(ConnectError):
        async with sse.connect("http://localhost/", uds=str(tmp_path / name), config=config):
            pytest.fail("entered")


# --- Certificates ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("other_host", "does not verify.*(mismatch|not valid for)"),
        ("expired", "does not verify.*expired"),
        ("self_signed", "does not verify.*self.signed"),
    ],
)
async def test_a_certificate_that_does_not_verify_is_final(
    sse: Face, certificates: Certificates, fault: str, words: str
) -> None:
    with Server(stay("hello"), tls=getattr(certificates, fault)) as server:
        with pytest.raises(TLSError, match=words) as caught:
            async with sse.connect(server.url, config=quick(), ssl_context=certificates.client()):
                pytest.fail("entered")
        assert f"127.0.0.1:{server.port}" in str(caught.value)
        assert not caught.value.retryable
        assert caught.value.request_sent is False
    assert len(server.visits) == 1
    assert server.requests == []


async def test_by_default_certificates_are_verified(
    sse: Face, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    with Server(stay("hello"), tls=certificates.good) as server, pytest.raises(TLSError):
        async with sse.connect(server.url):
            pytest.fail("entered")


async def test_ssl_cert_file_is_honoured(
    sse: Face, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca_file))
    with Server(stay("hello"), tls=certificates.good) as server:
        async with sse.connect(server.url) as connection:
            assert (await connection.receive(5)).data == "hello"


async def test_tls_to_a_server_that_does_not_speak_it_is_tried_again(
    sse: Face, certificates: Certificates
) -> None:
    errors: list[BaseException] = []

    def plain(peer: Peer) -> None:
        peer.recv()
        peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        peer.close()

    def secure(peer: Peer) -> None:
        server.start_tls(peer)
        stay("hello")(peer, peer.request())

    with Server(welcome=[plain, secure], tls=certificates.good) as server:
        async with sse.connect(
            server.url,
            config=quick(),
            ssl_context=certificates.client(),
            on_error=lambda _, error: errors.append(error),
        ) as connection:
            assert (await connection.receive(5)).data == "hello"
    [error] = errors
    assert isinstance(error, TLSError)
    assert error.retryable
    assert error.request_sent is False


# --- Waiting for a transport -------------------------------------------------------------------


async def test_a_handshake_that_stalls_is_a_connect_timeout(
    sse: Face, certificates: Certificates
) -> None:
    def stall(peer: Peer) -> None:
        peer.stall()

    with Server(welcome=stall, tls=certificates.good) as server:
        config = ConnectionConfig(reconnection=ONCE, timeouts=Timeouts(connect=0.2))
        with pytest.raises(ConnectTimeout, match=r"within 0\.2 s") as caught:
            async with sse.connect(server.url, config=config, ssl_context=certificates.client()):
                pytest.fail("entered")
        assert caught.value.request_sent is False


@pytest.mark.needs("connecting")
async def test_an_address_that_does_not_answer_is_a_connect_timeout(sse: Face) -> None:
    with ExitStack() as stack:
        hole = BlackHole(stack)
        config = ConnectionConfig(reconnection=ONCE, timeouts=Timeouts(connect=0.2))
        with pytest.raises(ConnectTimeout):
            async with sse.connect(f"http://127.0.0.1:{hole.address[1]}/", config=config):
                pytest.fail("entered")


async def test_a_server_that_does_not_read_the_request_is_a_write_timeout(
    sse: Face, tls: dict[str, Any]
) -> None:
    done = threading.Event()

    def deaf(peer: Peer) -> None:
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        server.start_tls(peer)
        peer.wait(done)

    with Server(welcome=deaf, tls=tls["server"]) as server:
        config = ConnectionConfig(reconnection=ONCE, timeouts=Timeouts(write=0.3, response=5))
        options = {"ssl_context": tls["client"], "method": "POST", "content": b"x" * 16_000_000}
        with pytest.raises(WriteTimeout) as caught:
            async with sse.connect(server.url, config=config, **options):
                pytest.fail("entered")
        done.set()
        assert caught.value.request_sent


@pytest.mark.needs("early answers")
async def test_an_answer_may_come_before_the_request_was_read(sse: Face) -> None:
    done = threading.Event()

    def too_large(peer: Peer) -> None:
        peer.respond(413, body=b"too large")
        peer.wait(done)

    with Server(welcome=too_large) as server:
        connection = sse.connect(
            server.url, method="POST", content=b"x" * 16_000_000, config=quick(), wait=False
        )
        async with connection:
            with pytest.raises(Exception, match="413") as caught:
                await connection.receive(5)
            done.set()
            assert connection.state is ConnectionState.ERROR
    assert getattr(caught.value, "body", None) == b"too large"
