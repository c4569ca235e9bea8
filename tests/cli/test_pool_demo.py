"""The demonstration of a pool: servers that share their streams, and all of it as processes."""

import asyncio
import json
import re
import signal
import subprocess
import time

import pytest

from sansio_sse import ServerSentEvent
from sansio_sse_asyncio import connect
from sansio_sse_cli.replica import BEGAN, END, Replica

from .support import BOUND, started

# --- The servers -------------------------------------------------------------------------------

LAST = 30


def replica(name: str, log: list[ServerSentEvent], *, begun: int = 0) -> Replica:
    return Replica(name, seed=1, last=LAST, pace=0.001, begun=begun, log=log.append)


async def read(server: Replica, cursor: str = "", *, age: float = 0.0) -> list[ServerSentEvent]:
    """Everything from ``cursor`` to the end, of a server whose clock began ``age`` seconds ago."""
    began = {BEGAN: str(time.time() - age)}
    async with connect(server.url, headers=began, last_event_id=cursor) as connection:
        events: list[ServerSentEvent] = []
        async for event in connection:
            events.append(event)
            if event.event == END:
                break
        return events


def ids(stream: str, first: int) -> list[str]:
    return [f"{stream}:{number}" for number in range(first, LAST + 1)]


def test_a_stream_goes_on_at_any_server() -> None:
    async def play() -> None:
        logs: tuple[list[ServerSentEvent], ...] = ([], [])
        async with replica("a", logs[0]) as one, replica("b", logs[1]) as other:
            whole = await read(one, age=-0.5)  # time enough to be there for the first event
            rest = await read(other, "a1:12")
        assert [event.id for event in whole] == ids("a1", 1)
        assert rest == whole[12:]
        assert [event.id for event in logs[1]] == ids("a1", 13)
        assert [event.event == END for event in whole] == [False] * (LAST - 1) + [True]

    asyncio.run(play())


def test_who_has_no_cursor_begins_a_new_stream_from_now_on() -> None:
    async def play() -> None:
        async with replica("a", []) as server:
            late, later = await read(server, age=0.02), await read(server, age=60.0)
        number = int(late[0].id.removeprefix("a1:"))
        assert 20 < number <= LAST
        assert [event.id for event in late] == ids("a1", number)
        assert [event.id for event in later] == ids("a2", LAST)
        async with replica("a", [], begun=7) as revived:
            assert [event.id for event in await read(revived, age=60.0)] == ids("a8", LAST)

    asyncio.run(play())


# --- All of it, as processes -------------------------------------------------------------------


def test_the_demonstration_and_its_sabotage() -> None:
    with (
        started("demo", "--pool", "--seconds", "6") as demo,
        started("demo", "--pool", "--seconds", "6", "--sabotage=cursor", "--json") as sabotaged,
    ):
        out, err = demo.communicate(timeout=2 * BOUND)
        sabotaged_out, sabotaged_err = sabotaged.communicate(timeout=2 * BOUND)

    story, verdict = out.decode().rstrip("\n").rsplit("\n", 1)
    assert err == b""
    counts = re.fullmatch(
        r"events sent (\d+), received (\d+), lost 0, duplicated 0, moves (\d+),"
        r" breaker changes (\d+)",
        verdict,
    )
    assert counts, verdict
    sent, received, moves, changes = map(int, counts.groups())
    assert sent == received > 6 * 100
    assert moves >= 3  # two streams leave the server that is killed, and some return
    assert changes >= 3
    for news in (
        r"    time events a b c",
        r"[\d .]+ s +\d+ 2 2 2 server  ([abc]) is killed \(SIGKILL\)",
        r"[\d .]+ s +\d+( \d){3} breaker [abc] closed -> open: could not connect to .*",
        r"[\d .]+ s +\d+( \d){3} stream  \w+ from [abc] to [abc], goes on with \w+:\d+",
        r"[\d .]+ s +\d+( \d){3} server  [abc] is back",
        r"[\d .]+ s +\d+( \d){3} breaker [abc] half_open -> closed",
        r"[\d .]+ s +\d+( \d){3} lease   reader \d waited [\d.]+ s, reads on after \w+:\d+",
        r"took [\d.]+ s, seed 1, 6 streams, \d+ leases",
    ):
        assert re.search(f"^{news}$", story, re.MULTILINE), (news, story)
    assert "\x1b" not in story
    assert demo.returncode == 0

    told = json.loads(sabotaged_out)
    assert told["good"] is False
    assert len(told["lost"]) >= 2
    assert told["duplicated"] == []
    assert told["moves"] == 0  # all were streams that began anew
    assert b" begins at " in sabotaged_err
    assert b"Traceback" not in sabotaged_err
    assert sabotaged.returncode == 1


def begun(process: "subprocess.Popen[bytes]") -> None:
    """Wait until the first stream flows."""
    assert process.stdout is not None
    while line := process.stdout.readline():
        if b" begins at " in line:
            return
    pytest.fail("the demonstration did not begin")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_the_servers_do_not_outlive_the_client(number: signal.Signals, code: int) -> None:
    with started("demo", "--pool") as process:
        begun(process)
        process.send_signal(number)
        # Standard error is the children's, too: it ends when all have ended.
        _, err = process.communicate(timeout=5)
        assert process.returncode == code
        assert err == b""


def test_a_closed_pipe_ends_the_demonstration() -> None:
    with started("demo", "--pool") as process:
        begun(process)
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait(BOUND) == 141
