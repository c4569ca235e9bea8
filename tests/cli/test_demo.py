"""The demonstration: the server that fails on purpose, and client and server as processes."""

import asyncio
import json
import re
import signal
import socket
import subprocess
from typing import Any

import pytest

from sansio_sse import ConnectionConfig, HeartbeatConfig, ReconnectionPolicy, Timeouts
from sansio_sse_asyncio import connect
from sansio_sse_cli import main
from sansio_sse_cli.faulty_server import Fault, FaultyServer, make_events, make_script
from sansio_sse_cli.verdict import judge

from .support import BOUND, started

# --- The server --------------------------------------------------------------------------------

IMPATIENT = ConnectionConfig(
    reconnection=ReconnectionPolicy(initial_delay=0.001, max_server_delay=0.01),
    timeouts=Timeouts(response=0.2, idle=0.3),
    heartbeat=HeartbeatConfig(enabled=True, interval=0.05, timeout=0.04, max_missed=2),
)


async def follow(script: list[Fault], seed: int) -> tuple[FaultyServer, list[Any]]:
    async with (
        FaultyServer(make_events(12, seed), script, seed=seed) as server,
        connect(server.url, config=IMPATIENT) as connection,
    ):
        return server, [event async for event in connection]


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.NONE])
def test_the_driver_survives_each_fault(fault: Fault) -> None:
    server, received = asyncio.run(follow([fault, fault], seed=3))
    verdict = judge(server.sent, received)
    assert verdict.good
    assert verdict.sent == 12
    assert len(server.requests) >= 3


def test_the_server_answers_pings_or_does_not() -> None:
    server, _ = asyncio.run(follow([Fault.STALL, Fault.DEAF], seed=3))
    assert server.pings >= 3


def test_the_same_seed_is_the_same_behaviour() -> None:
    assert make_script(1) == make_script(1) != make_script(2)
    assert make_events(50, 1) == make_events(50, 1) != make_events(50, 2)
    assert set(make_script(1)) == set(Fault) - {Fault.NONE}
    script = [Fault.CUT_EVENT, Fault.FOUND, Fault.CUT_CHUNK, Fault.BUSY]
    runs = [asyncio.run(follow(script, seed=5)) for _ in range(2)]
    assert runs[0][0].sent == runs[1][0].sent
    assert runs[0][0].requests == runs[1][0].requests


def test_a_client_without_a_cursor_gets_what_happens_from_now_on() -> None:
    async def play() -> FaultyServer:
        async with FaultyServer(make_events(4, 1), [Fault.END]) as server:
            for _ in range(2):
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                await reader.read()
                writer.close()
                await writer.wait_closed()
            return server

    server = asyncio.run(play())
    assert [event.id for event in server.sent] == ["1", "2", "3", "4"]


@pytest.mark.parametrize("nonsense", [b"", b"GET / HT", b"\x16\x03\x01\r\n\r\n"])
def test_the_server_bears_nonsense(nonsense: bytes) -> None:
    async def play() -> None:
        async with FaultyServer(make_events(1, 1)) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(nonsense)
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()

    asyncio.run(play())


# --- The two as processes ----------------------------------------------------------------------


def test_the_demonstration_and_its_sabotage() -> None:
    # At the same time: most of it is waiting.
    with (
        started("demo", "--seed", "1") as demo,
        started("demo", "--sabotage=cursor") as sabotaged,
        started("demo", "--seed", "2", "--events", "60", "--json") as other,
    ):
        out, err = demo.communicate(timeout=2 * BOUND)
        sabotaged_out, sabotaged_err = sabotaged.communicate(timeout=2 * BOUND)
        other_out, other_err = other.communicate(timeout=2 * BOUND)

    story, verdict = out.decode().rstrip("\n").rsplit("\n", 1)
    assert err == b""
    assert re.fullmatch(
        r"events sent 150, received 150, lost 0, duplicated 0, reconnects \d+", verdict
    )
    assert int(verdict.rpartition(" ")[2]) >= 8
    for fault in set(Fault) - {Fault.NONE}:
        assert fault.value in story, fault
    for client in ("nothing received for 1.2 s", "pings in a row", "503", "Connection reset"):
        assert client in story, client
    assert "\x1b" not in story
    assert demo.returncode == 0

    story, verdict = sabotaged_out.decode().rstrip("\n").rsplit("\n", 1)
    assert sabotaged_err == b""
    numbers = re.search(r"^lost: ([\d, -]+)$", story, re.MULTILINE)
    assert numbers
    counts = re.fullmatch(
        r"events sent 150, received (\d+), lost (\d+), duplicated 0, reconnects \d+", verdict
    )
    assert counts
    assert int(counts[1]) + int(counts[2]) == 150
    assert int(counts[2]) >= 3
    assert sabotaged.returncode == 1

    told = json.loads(other_out)
    assert told["sent"] == told["received"] == 60
    assert told["lost"] == []
    assert told["good"] is True
    assert b"connecting" in other_err
    assert other.returncode == 0


def port_of(process: "subprocess.Popen[bytes]") -> int:
    """Where the child of a demonstration listens, once it does and is connected to."""
    assert process.stdout is not None
    while line := process.stdout.readline():
        if found := re.search(rb"connecting +http://127\.0\.0\.1:(\d+)/", line):
            return int(found[1])
    pytest.fail("the demonstration did not begin")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_the_server_does_not_outlive_the_client(number: signal.Signals, code: int) -> None:
    with started("demo") as process:
        port = port_of(process)
        process.send_signal(number)
        # Standard error is the child's, too: it ends when both have ended.
        _, err = process.communicate(timeout=5)
        assert process.returncode == code
        assert err == b""
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)


def test_a_closed_pipe_ends_the_demonstration() -> None:
    with started("demo") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait(BOUND) == 141


@pytest.mark.parametrize("arguments", [["demo"], ["demo", "--pool"]], ids=" ".join)
@pytest.mark.parametrize("python", ["/bin/false", "/nowhere/at/all"])
def test_a_server_that_cannot_start_is_told(
    python: str,
    arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.executable", python)
    assert main(arguments) == 1
    assert "the server's process did not start" in capfd.readouterr().out
