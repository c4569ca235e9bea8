"""Signals, pipes and slow readers: what a shell sees of the command."""

import asyncio
import errno
import signal
import socket
import threading
import time
from typing import Any

import pytest

from sansio_sse_cli.process import run_command

from .support import BOUND, HEAD, hold, serving, started

PROMPTLY = 2.0  # on a machine that is busy with something else


def line_of(stream: Any) -> bytes:
    line: bytes = stream.readline()
    return line


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"]
)
def test_a_signal_ends_it_at_once_and_in_order(number: signal.Signals, code: int) -> None:
    stream = hold(HEAD + b"id: 7\ndata: x\n\n")
    with serving(stream) as server, started("tail", server.address) as process:
        assert b'"data":"x"' in line_of(process.stdout)
        process.send_signal(number)
        sent = time.monotonic()
        _, err = process.communicate(timeout=BOUND)
        assert time.monotonic() - sent < PROMPTLY
    assert process.returncode == code
    assert b"Traceback" not in err
    assert err.splitlines()[-1].startswith(b"1 event, ")
    assert err.splitlines()[-1].endswith(b", last event id 7")


def test_a_signal_ends_it_while_it_waits_to_reconnect() -> None:
    with serving() as server:
        address = server.address
    with started("tail", address) as process:
        while b"retry" not in line_of(process.stderr):
            pass
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PROMPTLY)
    assert process.returncode == 130
    assert b"Traceback" not in err


def flood(blocked: threading.Event, sent: list[int]) -> Any:
    """Send numbered events until the client takes no more for a while, tell, and go on to the
    end."""

    def send(connection: socket.socket) -> None:
        connection.sendall(HEAD)
        connection.settimeout(0.5)
        pending = b""
        number = 0
        while number < 30_000 or pending:
            if not pending:
                pending = b"".join(
                    b"id: %d\ndata: %s\n\n" % (n, b"x" * 500) for n in range(number, number + 100)
                )
                number += 100
            try:
                count = connection.send(pending)
                sent.append(count)
                pending = pending[count:]
            except TimeoutError:
                if blocked.is_set():
                    raise
                blocked.set()
                connection.settimeout(BOUND)

    return send


def test_a_reader_that_does_not_read_stops_the_stream_not_the_program() -> None:
    blocked, sent = threading.Event(), list[int]()
    with serving(flood(blocked, sent)) as server, started("tail", server.address) as process:
        assert blocked.wait(BOUND)
        process.send_signal(signal.SIGINT)
        assert process.wait(PROMPTLY) == 130


def test_a_slow_reader_loses_nothing() -> None:
    blocked, sent = threading.Event(), list[int]()
    with serving(flood(blocked, sent)) as server, started("tail", server.address) as process:
        assert blocked.wait(BOUND)
        # Of 15: what the system's buffers hold, and a thousand events.
        assert sum(sent) < 12_000_000
        out, err = process.communicate(timeout=BOUND)
    assert process.returncode == 0
    ids = [line.partition(b'"id":"')[2].partition(b'"')[0] for line in out.splitlines()]
    assert ids == [b"%d" % number for number in range(30_000)]
    assert err.splitlines()[-1].startswith(b"30000 events, ")


def test_a_closed_pipe_ends_it_silently() -> None:
    body = b"".join(b"data: %d\n\n" % number for number in range(1000))
    with serving(hold(HEAD + body)) as server, started("tail", server.address) as process:
        assert process.stdout is not None
        for _ in range(3):
            assert line_of(process.stdout)
        process.stdout.close()
        assert process.wait(PROMPTLY) == 141
        assert process.stderr is not None
        err = process.stderr.read()
    assert [line.split()[0] for line in err.splitlines()] == [b"connecting", b"connected"]


def test_a_closed_pipe_ends_it_although_nothing_is_left_to_write() -> None:
    stream = hold(HEAD + b"data: x\n\n")
    with serving(stream) as server, started("tail", server.address) as process:
        assert process.stdout is not None
        assert line_of(process.stdout)
        process.stdout.close()
        assert process.wait(PROMPTLY) == 141
        assert process.stderr is not None
        err = process.stderr.read()
    assert [line.split()[0] for line in err.splitlines()] == [b"connecting", b"connected"]


def test_too_few_descriptors_for_a_client_are_no_mistake_of_ours(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def command() -> int:
        loop = asyncio.get_running_loop()
        for error in (OSError(errno.EMFILE, "none is left"), OSError(errno.EIO, "worse")):
            loop.call_exception_handler({"message": str(error), "exception": error})
        return 7

    assert run_command(command) == 7
    assert [record.getMessage() for record in caplog.records] == ["[Errno 5] worse"]


def test_help_for_nobody() -> None:
    with started("tail", "--help") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait(BOUND) == 0
