"""The live line at the foot of a terminal, as its screen shows it."""

import asyncio
import json
import os
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from sansio_sse_cli.status_line import Rates, StatusLine, fit
from sansio_sse_cli.terminal import Channel, Paint

from .screen import last_line, on_screen
from .support import BOUND, HEAD, Answer, hold, serving

STATUS = "connected \\| last event"


def gated(*pieces: bytes) -> tuple[Answer, threading.Semaphore]:
    """An answer that sends each piece when it is let, and then holds."""
    gate = threading.Semaphore(0)

    def send(connection: socket.socket) -> None:
        for piece in pieces:
            assert gate.acquire(timeout=BOUND)
            connection.sendall(piece)
        while connection.recv(1024):
            pass

    return send, gate


def test_it_stands_below_the_events_and_is_gone_at_the_end() -> None:
    stream, gate = gated(HEAD + b"id: 1\ndata: one\n\n", b"id: 2\ndata: two\n\n")
    with serving(stream) as server, on_screen("tail", server.address) as (terminal, process):
        lines = terminal.until(last_line("connecting \\| no event yet \\| 0.0 events/s"))
        gate.release()
        lines = terminal.until(last_line(STATUS))
        assert lines[-2].endswith("message 1 one")
        gate.release()
        lines = terminal.until(lambda lines: any("two" in line for line in lines))
        assert lines[-3].endswith("message 1 one")
        assert lines[-2].endswith("message 2 two")
        assert last_line(STATUS)(lines)
        process.send_signal(signal.SIGINT)
        lines = terminal.to_the_end()
        assert process.wait(BOUND) == 130
    assert [line.split(" ")[0] for line in (lines[0], lines[1])] == ["connecting", "connected"]
    assert lines[-1].startswith("2 events, ")
    assert not any("|" in line for line in lines)


def test_it_counts_down_to_the_next_attempt_and_counts_reconnects() -> None:
    refusal = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nRetry-After: 100\r\n\r\n"
    once, again = HEAD + b"retry: 1\ndata: x\n\n", HEAD + b"data: y\n\n"
    with (
        serving(once, again, refusal) as server,
        on_screen("tail", server.address, columns=120) as (terminal, _),
    ):
        [line] = terminal.until(last_line("reconnecting \\| retry \\d+ in \\d\\d+ s"))[-1:]
        assert line.endswith(" | 1 reconnect")
        first = line.split(" | ")[1]
        # And on it goes, although nothing happens.
        terminal.until(lambda lines: first not in lines[-1] and "retry" in lines[-1])


def test_a_flood_passes_above_it_unharmed() -> None:
    body = b"".join(b"id: %d\ndata: %d %s\n\n" % (n, n, b"x" * (n % 200)) for n in range(500))
    with (
        serving(hold(HEAD + body)) as server,
        on_screen("tail", server.address, "--json", columns=300) as (terminal, _),
    ):
        lines = terminal.until(lambda lines: len(lines) > 2 and '"id":"499"' in lines[-2])
        assert last_line(STATUS)(lines)
        shown = [*terminal.scrolled, *lines[:-1]]
    assert [json.loads(line)["id"] for line in shown[2:]] == [str(n) for n in range(500)]


def test_it_is_there_when_the_events_go_elsewhere(tmp_path: Path) -> None:
    stream = hold(HEAD + b"data: x\n\n")
    with (
        open(tmp_path / "events", "wb") as file,
        serving(stream) as server,
        on_screen("tail", server.address, stdout=file.fileno()) as (terminal, process),
    ):
        assert len(terminal.until(last_line(STATUS))) == 3
        process.send_signal(signal.SIGINT)
        assert terminal.to_the_end()[-1].startswith("1 event, ")
    assert (tmp_path / "events").read_bytes() == b'{"event":"message","data":"x","id":""}\n'


@pytest.mark.parametrize(
    ("arguments", "term"),
    [(["-q"], "xterm"), (["--no-status"], "xterm"), ([], "dumb"), ([], "")],
    ids=["quiet", "no-status", "dumb", "no-term"],
)
def test_it_can_be_done_without(arguments: list[str], term: str) -> None:
    with (
        serving(HEAD + b"data: x\n\n") as server,
        on_screen("tail", server.address, *arguments, TERM=term) as (terminal, process),
    ):
        terminal.to_the_end()
        assert process.wait(BOUND) == 0
    assert b"\x1b[J" not in terminal.written
    assert b"|" not in terminal.written


def test_it_keeps_to_the_width_of_the_window_also_when_that_changes() -> None:
    stream, gate = gated(HEAD + b"data: 1\n\n", b"data: 2\n\n", b"data: 3\n\n")
    gate.release()
    with serving(stream) as server, on_screen("tail", server.address) as (terminal, _):
        terminal.until(last_line(STATUS))
        terminal.resize(32, 24)
        gate.release()
        lines = terminal.until(lambda lines: any("message 2" in line for line in lines))
        assert lines[-1] == "connected | last event now"
        terminal.resize(6, 24)
        gate.release()
        terminal.until(last_line("conne$"))
        assert sum("conne" in line for line in terminal.shown) == 3  # two news, and the line


def test_in_the_background_it_is_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    leader, follower = os.openpty()
    try:
        line = StatusLine(Channel(follower), lambda: [("", "status")])
        monkeypatch.setattr(line, "_drawn", True)
        monkeypatch.setattr(os, "tcgetpgrp", lambda fd: os.getpgrp() + 1)
        assert line.wrap(b"event\n") == b"event\n"
        monkeypatch.setattr(os, "tcgetpgrp", lambda fd: os.getpgrp())
        assert line.wrap(b"event\n") == b"event\n"  # it is not there any more
    finally:
        os.close(leader)
        os.close(follower)


def test_it_is_drawn_ten_times_a_second_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    calls: list[tuple[float, Any]] = []

    class Timer:
        def cancel(self) -> None:
            calls.remove((self.at, self))

        def __init__(self, at: float) -> None:
            self.at = at
            calls.append((at, self))

    class Loop:
        def call_later(self, seconds: float, callback: Any) -> Timer:
            return Timer(clock[0] + seconds)

    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(asyncio, "get_running_loop", Loop)
    leader, follower = os.openpty()
    try:
        line = StatusLine(Channel(follower), lambda: [("", "status")])
        line.start()
        calls.clear()
        line._draw()
        assert [at for at, _ in calls] == [101.0]  # nothing new: once a second
        line.touch()
        line.touch()
        assert [at for at, _ in calls] == [pytest.approx(100.1)]
        clock[0] = 100.5
        calls.clear()
        line._draw()
        clock[0] = 101.2
        line.touch()
        assert [at for at, _ in calls] == [101.2]  # late enough: at once
        line.stop()
        assert calls == []
        line.touch()
        assert calls == []
    finally:
        os.close(leader)
        os.close(follower)


def test_a_part_that_does_not_fit_is_left_out_with_all_behind_it() -> None:
    parts = [("red", "error"), ("", "a long remark"), ("", "x")]
    assert fit(parts, 20, Paint(on=True)) == "\x1b[31merror\x1b[0m"
    assert fit(parts, 21, Paint(on=True)) == "\x1b[31merror\x1b[0m | a long remark"
    assert fit(parts, 25, Paint(on=False)) == "error | a long remark | x"


def test_rates_are_of_the_last_seconds() -> None:
    rates = Rates()
    assert rates.events == 0.0
    for second in range(60):
        rates.add(float(second), 10 * second if second < 50 else 500, 1000)
    assert rates.events == 0.0
    assert rates.bytes == 0.0


def test_on_a_terminal_that_is_stopped_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    async def draw(line: StatusLine) -> None:
        line.start()
        line._draw()
        line.stop()

    leader, follower = os.openpty()
    try:
        channel = Channel(follower)
        os.set_blocking(leader, False)
        asyncio.run(draw(StatusLine(channel, lambda: [("", "status")])))
        assert b"status" in os.read(leader, 1000)
        monkeypatch.setattr(channel, "has_room", lambda: False)  # Ctrl-S
        asyncio.run(draw(StatusLine(channel, lambda: [("", "status")])))
        with pytest.raises(BlockingIOError):
            os.read(leader, 1000)
    finally:
        os.close(leader)
        os.close(follower)
