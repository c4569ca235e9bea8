"""What becomes of the exceptions of httpcore, and of a network stream that threads share."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import h2.exceptions
import httpcore
import httpcore2
import pytest

from contract.server import open_sockets
from sansio_sse import (
    ConfigError,
    ConnectError,
    ConnectionLost,
    ConnectTimeout,
    RemoteProtocolError,
    ResponseTimeout,
    SSEError,
    StreamTruncated,
    Timeouts,
    WriteTimeout,
)
from sansio_sse_exchanges import failure_of
from sansio_sse_httpcore.duplex import Duplex

PACKAGES = pytest.mark.parametrize("package", [httpcore2, httpcore], ids=lambda one: one.__name__)
TIMEOUTS = Timeouts(connect=1, write=2, response=3)


@PACKAGES
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ConnectTimeout", ConnectTimeout),
        ("PoolTimeout", ConnectTimeout),
        ("ReadTimeout", ResponseTimeout),
        ("WriteTimeout", WriteTimeout),
        ("ProxyError", ConnectError),
        ("RemoteProtocolError", RemoteProtocolError),
        ("LocalProtocolError", ConfigError),
    ],
)
def test_an_exception_of_theirs_becomes_one_of_ours(
    package: Any, name: str, kind: type[SSEError]
) -> None:
    assert type(failure_of(getattr(package, name)("s3cr3t"), TIMEOUTS)) is kind


@PACKAGES
def test_why_is_what_the_system_said(package: Any) -> None:
    refused = ConnectionRefusedError(111, "refused")
    error = package.ConnectError(refused)
    error.__cause__ = refused
    assert failure_of(error, TIMEOUTS) is refused


@PACKAGES
def test_that_something_was_cancelled_meanwhile_is_not_why(package: Any) -> None:
    broken = BrokenPipeError("broken")
    broken.__context__ = asyncio.CancelledError("cancelled")
    error = package.ReadError(broken)
    error.__cause__ = broken
    assert failure_of(error, TIMEOUTS) is broken


def test_ours_are_left_as_they_are() -> None:
    error = StreamTruncated("cut")
    assert failure_of(error, TIMEOUTS) is error


@PACKAGES
@pytest.mark.parametrize("refusal", ["TooManyStreamsError", "StreamIDTooLowError"])
def test_a_connection_that_is_crowded_is_no_fault_of_the_request(
    package: Any, refusal: str
) -> None:
    kind = getattr(h2.exceptions, refusal)
    behind = kind(1, 2) if refusal == "StreamIDTooLowError" else kind("s3cr3t")
    failure = failure_of(package.LocalProtocolError(behind), TIMEOUTS)
    assert type(failure) is ConnectionLost
    assert failure.retryable


@PACKAGES
def test_a_request_that_has_left_is_not_what_is_wrong(package: Any) -> None:
    error = package.LocalProtocolError(h2.exceptions.ProtocolError("s3cr3t"))
    assert type(failure_of(error, TIMEOUTS)) is ConfigError
    failure = failure_of(error, TIMEOUTS, sent=True)
    assert type(failure) is RemoteProtocolError
    assert failure.retryable


def test_what_h2_itself_raises_is_the_server_s_fault() -> None:
    failure = failure_of(h2.exceptions.FrameTooLargeError("s3cr3t"), TIMEOUTS)
    assert type(failure) is RemoteProtocolError
    assert "s3cr3t" not in repr(failure)


# --- A network stream that threads share -------------------------------------------------------


@pytest.fixture(params=["httpcore2", "httpcore"])
def both_ends(request: pytest.FixtureRequest) -> Iterator[tuple[Duplex, socket.socket, Any]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Duplex(None, ours, request.param), theirs, __import__(request.param)


def beside(function: Any, *args: Any) -> threading.Thread:
    thread = threading.Thread(target=function, args=args, name="test-beside", daemon=True)
    thread.start()
    return thread


def test_one_may_read_while_another_writes(both_ends: Any) -> None:
    stream, theirs, _ = both_ends
    read: list[bytes] = []
    reader = beside(lambda: read.append(stream.read(100)))
    large = b"x" * 3_000_000
    writer = beside(stream.write, large, 5.0)
    received = b""
    while len(received) < len(large):
        received += theirs.recv(1_000_000)
    writer.join(5)
    theirs.sendall(b"hello")
    reader.join(5)
    assert received == large
    assert read == [b"hello"]


def test_each_has_its_own_time(both_ends: Any) -> None:
    stream, _, package = both_ends
    with pytest.raises(package.ReadTimeout):
        stream.read(100, 0.01)
    with pytest.raises(package.WriteTimeout):
        stream.write(b"x" * 10_000_000, 0.01)
    with pytest.raises(package.ReadTimeout):
        stream.read(100, -1.0)


def test_an_end_is_an_end(both_ends: Any) -> None:
    stream, theirs, _ = both_ends
    theirs.close()
    assert stream.read(100, 5) == b""


def test_a_break_is_an_error(both_ends: Any) -> None:
    stream, theirs, package = both_ends
    theirs.close()
    with pytest.raises(package.WriteError):
        stream.write(b"x" * 10_000_000, 5)


def test_whoever_reads_is_told_when_it_is_closed(both_ends: Any) -> None:
    stream, _, package = both_ends
    ends: list[Any] = []

    def read() -> None:
        try:
            ends.append(stream.read(100))
        except package.ReadError as error:
            ends.append(error)

    reader = beside(read)
    stream.close()
    reader.join(5)
    assert len(ends) == 1
    assert not ends[0] or isinstance(ends[0], package.ReadError)
    with pytest.raises(package.ReadError):
        stream.read(100)
    with pytest.raises(package.WriteError):
        stream.write(b"x")
    stream.close()


def test_it_says_what_the_stream_says() -> None:
    before = open_sockets()
    ours, theirs = socket.socketpair()

    class Stream:
        def get_extra_info(self, info: str) -> str:
            return info.upper()

    with ours, theirs:
        assert Duplex(Stream(), ours, "httpcore2").get_extra_info("socket") == "SOCKET"
    assert open_sockets() == before
