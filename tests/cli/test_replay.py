"""A recording once more: printed in virtual time, and served."""

import asyncio
import gzip
import json
import os
import re
import signal
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_sse import ConnectionConfig, ReconnectionPolicy, ServerSentEvent, Timeouts
from sansio_sse_cli import main
from sansio_sse_cli.faulty_server import Fault, FaultyServer, make_events
from sansio_sse_cli.playback import play
from sansio_sse_cli.recording_file import RecordingError, Tape, read_recording, title
from sansio_sse_cli.verdict import judge
from sansio_sse_config import from_toml

from .support import BOUND, COMMAND, ENVIRONMENT, HEAD, run, serving, started

Captured = pytest.CaptureFixture[str]

TITLE = {
    "recording": "sansio-sse",
    "version": 1,
    "began": 1_767_225_600.0,
    "method": "GET",
    "url": "https://api.example.com/events?key=…",
}
STREAM: list[Any] = [["Content-Type", "text/event-stream"]]
# A day: a stream that is cut, a refusal, a server that is gone, one that falls silent, an end.
DAY: list[dict[str, Any]] = [
    {"at": 0.0, "request": 1, "after": ""},
    {"at": 0.25, "head": 200, "headers": STREAM},
    {"at": 1.0, "text": "id: 1\ndata: one\n\nid: 2\nda"},
    {"at": 30_000.0, "text": ": still here\n\n"},
    {"at": 30_000.5, "end": "reset"},
    {"at": 30_001.0, "state": "reconnecting", "news": "for people"},
    {"at": 30_001.0, "request": 2, "after": "1"},
    {"at": 30_001.1, "head": 503, "headers": [["Retry-After", "60"]]},
    {"at": 30_001.1, "end": "complete"},
    {"at": 30_070.0, "request": 3, "after": "1"},
    {"at": 30_070.5, "end": "refused"},
    {"at": 30_072.0, "request": 4, "after": "1"},
    {"at": 30_072.0, "head": 302, "headers": []},
    {"at": 30_072.0, "end": "complete"},
    {"at": 30_072.0, "request": 5, "after": "1"},
    {"at": 30_072.5, "head": 200, "headers": STREAM},
    {"at": 30_073.0, "base64": "aWQ6IDIKZGF0YTogdHfz"},  # half of a character
    {"at": 30_074.0, "base64": "CgoKCg=="},
    {"at": 80_000.0, "end": "left"},
    {"at": 80_001.0, "request": 6, "after": "2"},
    {"at": 80_002.0, "head": 200, "headers": STREAM},
    {"at": 86_400.0, "text": "event: note\ndata: three\n\n"},
    {"at": 86_400.0, "end": "complete"},
]


def write(path: Path, *lines: object, end: bytes = b"") -> str:
    """A file of these lines, and what stands at its end."""
    path.write_bytes(b"".join(json.dumps(line).encode() + b"\n" for line in lines) + end)
    return str(path)


# --- Printed -----------------------------------------------------------------------------------


def test_a_day_is_printed_in_a_moment_and_the_same_each_time(
    tmp_path: Path, capfd: Captured
) -> None:
    file = write(tmp_path / "day", TITLE, *DAY)
    began = time.monotonic()
    assert main(["replay", file, "--print", "--idle-timeout", "50000"]) == 0
    assert time.monotonic() - began < 10.0
    out, err = capfd.readouterr()
    assert [json.loads(line) for line in out.splitlines()] == [
        {"event": "message", "data": "one", "id": "1"},
        {"event": "message", "data": "tw\ufffd", "id": "2"},
        {"event": "note", "data": "three", "id": "2"},
    ]
    news = [re.sub(r" in [\d.]+ .*?: ", ": ", line) for line in err.splitlines()]
    assert [line.split(" s ")[1][:24].rstrip() for line in news[:-1]] == [
        "connecting   https://api",
        "connected    200 HTTP/1.",
        "reconnecting retry 1: th",
        "reconnecting retry 2: th",
        "reconnecting retry 3: co",
        "connected    200 HTTP/1.",
        "reconnecting retry 1: th",
        "connected    200 HTTP/1.",
        "reconnecting retry 1: th",
        "closed       the server",
    ]
    assert re.match(r" +0\.250 s connected ", news[1])
    assert "from https://api.example.com/hop-4, after event 2" in err
    assert news[-1].startswith("3 events, 2")  # hours
    main(["replay", file, "--print", "--idle-timeout", "50000"])
    again = capfd.readouterr()
    assert again.out == out
    assert again.err.splitlines()[:-1] == err.splitlines()[:-1]


def test_other_settings_would_have_seen_something_else(tmp_path: Path, capfd: Captured) -> None:
    file = write(tmp_path / "day", TITLE, *DAY)
    assert main(["replay", file, "--print", "--max-attempts", "1"]) == 1
    err = capfd.readouterr().err
    assert "   300.250 s reconnecting" not in err
    assert re.search(r" 301\.000 s reconnecting retry 1 in .*: nothing received for 300 s", err)
    assert re.search(r" error +gave up after 1 reconnect attempt", err)


def test_forms_are_those_of_tail(tmp_path: Path, capfd: Captured) -> None:
    file = write(tmp_path / "day", TITLE, *DAY[:4])
    assert main(["replay", file, "--print", "--raw", "--quiet"]) == 0
    out, err = capfd.readouterr()
    assert out == "one\n"
    assert err == ""


def test_an_attempt_of_which_nothing_was_seen_at_the_end_is_left_out(
    tmp_path: Path, capfd: Captured
) -> None:
    lines = [*DAY[:5], {"at": 30_001.0, "request": 2, "after": "1"}]
    assert main(["replay", write(tmp_path / "day", TITLE, *lines), "--print"]) == 0
    assert "closed       the server has no more" in capfd.readouterr().err


def test_a_signal_ends_it_in_the_middle(tmp_path: Path) -> None:
    file = write(tmp_path / "r", TITLE, *DAY[:2], *[DAY[2]] * 20_000)
    with subprocess.Popen(
        [*COMMAND, "replay", file, "--print"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    ) as process:
        assert process.stderr is not None
        while b"connected" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGINT)
        assert process.wait(BOUND) == 130
        assert b"Traceback" not in process.stderr.read()


def test_an_empty_recording_has_nothing(tmp_path: Path, capfd: Captured) -> None:
    assert main(["replay", write(tmp_path / "r", TITLE), "--print"]) == 0
    assert capfd.readouterr().out == ""


def test_what_was_recorded_is_what_is_printed(tmp_path: Path, capfd: Captured) -> None:
    file = str(tmp_path / "r.jsonl.gz")
    body = "event: größe\nid: 1\ndata: 川\ndata: 2\n\nretry: 30\ndata: x\x1b\n\n".encode()
    with serving(HEAD + body, HEAD + b"data: again\n\n") as server:
        assert main(["record", server.address, file]) == 0
        capfd.readouterr()
    with serving(HEAD + body, HEAD + b"data: again\n\n") as server:
        assert main(["tail", server.address]) == 0
        seen = capfd.readouterr().out
    assert main(["replay", file, "--print"]) == 0
    assert capfd.readouterr().out == seen


FAULTS = [
    *(Fault.CUT_EVENT, Fault.SLAM, Fault.RESET, Fault.FOUND, Fault.STALL, Fault.NO_HEAD),
    *(Fault.MOVED, Fault.CUT_CHUNK, Fault.RETRY, Fault.END),
]


def test_a_hostile_server_is_as_hostile_in_its_recording(tmp_path: Path) -> None:
    file, settings = tmp_path / "r.jsonl.gz", tmp_path / "sse.toml"
    settings.write_text(
        "[timeouts]\nresponse = 0.5\nidle = 0.5\n"
        "[reconnection]\nmax_attempts = 0\ninitial_delay = 0.01\n"
    )

    async def record() -> list[ServerSentEvent]:
        async with FaultyServer(make_events(60, seed=3), FAULTS, seed=3) as server:
            arguments = ["record", server.url, str(file), "--config", str(settings), "-q"]
            process = await asyncio.create_subprocess_exec(*COMMAND, *arguments, env=ENVIRONMENT)
            assert await asyncio.wait_for(process.wait(), BOUND) == 0
            return server.sent

    sent = asyncio.run(record())
    recording = read_recording(file)
    assert len(recording.attempts) == len(FAULTS) + 2
    ends = {attempt.end for attempt in recording.attempts}
    assert ends == {"complete", "eof", "reset", "left"}
    played = list(play(recording, from_toml(settings)))
    verdict = judge(sent, [what for _, what in played if isinstance(what, ServerSentEvent)])
    assert verdict.good
    assert verdict.received == 60


def test_a_post_is_played_as_one(tmp_path: Path, capfd: Captured) -> None:
    lines = [*DAY[:3], {"at": 2.0, "end": "complete"}]
    file = write(tmp_path / "r", TITLE | {"method": "POST"}, *lines)
    assert main(["replay", file, "--print"]) == 0
    assert "disconnected the stream has ended" in capfd.readouterr().err


def test_nothing_hostile_in_a_recording_reaches_a_terminal(tmp_path: Path) -> None:
    url = "http://h/\x1b]0;owned\x07"
    file = write(tmp_path / "r\x1b[2J", TITLE | {"url": url}, *DAY[:4])
    done = run("replay", file, "--print")
    assert b"\x1b" not in done.stdout + done.stderr
    done = run("replay", file + "no")
    assert done.returncode == 1
    assert b"\x1b" not in done.stderr
    assert b"cannot read" in done.stderr


# --- Files that are not as they should be ------------------------------------------------------


def test_a_last_line_that_is_cut_is_left_out(tmp_path: Path, capfd: Captured) -> None:
    file = write(tmp_path / "r", TITLE, *DAY[:3], end=b'{"at":2.0,"text":"data: tw')
    assert main(["replay", file, "--print"]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out)["data"] == "one"
    assert f"{file} ends in the middle of a line" in err


def test_a_compressed_file_may_be_cut_anywhere(tmp_path: Path) -> None:
    whole = gzip.compress(Path(write(tmp_path / "r", TITLE, *DAY)).read_bytes())
    readable = 0
    for length in range(0, len(whole), 7):
        (tmp_path / "cut").write_bytes(whole[:length])
        try:
            readable += read_recording(tmp_path / "cut").cut
        except RecordingError:
            pass  # it is not even known to be one
    assert readable > 10


NOT_ONE = {
    "empty": [],
    "text": ["hello"],
    "other": [{"recording": "something"}],
    "version": [TITLE | {"version": 2}],
    "no url": [TITLE | {"url": 7}],
    "no time": [TITLE | {"began": "today"}],
    "nan": [TITLE | {"began": float("nan")}],
    "headless": [TITLE, {"at": 1, "text": "x"}],
    "bodiless": [TITLE, DAY[0], {"at": 1, "text": "x"}],
    "status": [TITLE, DAY[0], {"at": 1, "head": 99, "headers": []}],
    "headers": [TITLE, DAY[0], {"at": 1, "head": 200, "headers": {}}],
    "cookie": [TITLE, DAY[0], {"at": 1, "head": 200, "headers": [["Set-Cookie", "a=b"]]}],
    "split": [TITLE, DAY[0], {"at": 1, "head": 200, "headers": [["Via", "a\r\nX: y"]]}],
    "end": [TITLE, DAY[0], {"at": 1, "end": "boom"}],
    "base64": [TITLE, *DAY[:2], {"at": 1, "base64": "?"}],
    "surrogate": [TITLE, *DAY[:2], {"at": 1, "text": "\ud800"}],
    "no body": [TITLE, *DAY[:2], {"at": 1}],
    "late": [TITLE, {"at": 1e10, "request": 1, "after": ""}],
    "true": [TITLE, {"at": True, "request": 1, "after": ""}],
    "number": [TITLE, {"at": 0, "request": 1, "after": 7}],
    "id": [TITLE, {"at": 0, "request": 1, "after": "1\n2"}, *DAY[1:]],
    "method": [TITLE | {"method": "G T"}, *DAY],
    "scheme": [TITLE | {"url": "file:///etc/passwd"}, *DAY],
    "host": [TITLE | {"url": "http://[/"}, *DAY],
    "path": [TITLE | {"url": "http://h/\ud800"}, *DAY],
    "two heads": [TITLE, *DAY[:3], {"at": 2, "head": 200, "headers": STREAM}],
}


@pytest.mark.parametrize("lines", NOT_ONE.values(), ids=NOT_ONE.keys())
def test_what_is_no_recording_is_refused_in_one_line(
    lines: list[Any], tmp_path: Path, capfd: Captured
) -> None:
    file = write(tmp_path / "r", *lines)
    assert main(["replay", file, "--print"]) == 1
    err = capfd.readouterr().err
    assert f"sansio-sse: cannot use {file}: " in err.splitlines()[-1]


@pytest.mark.parametrize("line", [{"at": 0, "text": ""}, {"at": 0, "request": 2, "after": ""}])
def test_lines_are_bounded_however_short_they_are(
    line: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sansio_sse_cli.recording_file._LARGEST", 1 << 20)
    content = Path(write(tmp_path / "r", TITLE, *DAY[:2], *[line] * 10_000)).read_bytes()
    assert len(content) < 1 << 20
    (tmp_path / "bomb").write_bytes(gzip.compress(content))
    with pytest.raises(RecordingError, match="larger than 1 MiB"):
        read_recording(tmp_path / "bomb")


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_recording_comes_through_a_pipe(pack: Any, tmp_path: Path) -> None:
    file = write(tmp_path / "r", TITLE, *DAY)
    reading, writing = os.pipe()
    try:
        os.write(writing, pack(Path(file).read_bytes()))
        os.close(writing)
        assert read_recording(f"/dev/fd/{reading}") == read_recording(file)
    finally:
        os.close(reading)


def test_a_recording_comes_through_standard_input(tmp_path: Path) -> None:
    content = Path(write(tmp_path / "r", TITLE, *DAY[:3])).read_bytes()
    done = run("replay", "-", "--print", "--raw", stdin=gzip.compress(content))
    assert (done.returncode, done.stdout) == (0, b"one\n")


def test_compression_that_is_broken_is_told(tmp_path: Path, capfd: Captured) -> None:
    whole = bytearray(gzip.compress(Path(write(tmp_path / "r", TITLE, *DAY)).read_bytes()))
    whole[len(whole) // 2] ^= 0xFF
    whole[len(whole) // 2 + 1] ^= 0xFF
    (tmp_path / "broken").write_bytes(whole)
    assert main(["replay", str(tmp_path / "broken"), "--print"]) == 1
    assert "cannot use" in capfd.readouterr().err


@given(st.lists(st.sampled_from([TITLE, *DAY, {"at": 5}, [], 7, None, "x"]), max_size=12))
def test_any_lines_are_played_or_refused(lines: list[Any]) -> None:
    text = b"".join(json.dumps(line).encode() + b"\n" for line in [TITLE, *lines])
    config = ConnectionConfig(
        reconnection=ReconnectionPolicy(max_attempts=0), timeouts=Timeouts(idle=0.0)
    )
    try:
        for at, _ in play(_read(text), config):
            assert 0 <= at < 1e6
    except RecordingError:
        pass


def _read(content: bytes) -> Any:
    import tempfile

    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        return read_recording(file.name)


@given(st.lists(st.binary(max_size=30), max_size=8), st.integers(1, 40))
def test_any_bytes_come_out_of_a_recording_as_they_went_in(pieces: list[bytes], size: int) -> None:
    lines = [title("http://h/", "GET", 0.0)]
    tape = Tape(lines.append, lambda: 1.0)
    tape.asked(1, after="")
    wire = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    wire += b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces if p) + b"0\r\n\r\n"
    for start in range(0, len(wire), size):
        tape.received(1, wire[start : start + size])
    [attempt] = _read(b"".join(lines)).attempts
    assert b"".join(data for _, data in attempt.pieces) == b"".join(pieces)
    assert attempt.end == "complete"


# --- Served ------------------------------------------------------------------------------------


def url_of(process: Any) -> str:
    line = process.stderr.readline().decode()
    found = re.search(r"http://\S+", line)
    assert found, line
    return found[0]


SHORT = [
    {"at": 0.0, "request": 1, "after": ""},
    {"at": 0.1, "head": 503, "headers": [["Retry-After", "0"]]},
    {"at": 0.1, "text": "busy"},
    {"at": 0.1, "end": "complete"},
    {"at": 0.5, "request": 2, "after": ""},
    {"at": 0.5, "head": 302, "headers": []},
    {"at": 0.5, "end": "complete"},
    {"at": 0.5, "request": 3, "after": ""},
    {"at": 0.5, "head": 200, "headers": STREAM},
    {"at": 0.5, "text": "id: 1\ndata: one\n\nid: 2\nda"},
    {"at": 0.6, "end": "eof"},
    {"at": 0.6, "request": 4, "after": "1"},
    {"at": 0.6, "end": "refused"},
    {"at": 0.8, "request": 5, "after": "1"},
    {"at": 0.8, "head": 200, "headers": STREAM},
    {"at": 1.8, "text": "id: 2\ndata: two\n\n"},
    {"at": 2.0, "end": "left"},
]


def test_responses_are_served_in_their_order(tmp_path: Path, capfd: Captured) -> None:
    file = write(tmp_path / "r", TITLE, *SHORT)
    with started("replay", file, "--speed", "max") as process:
        url = url_of(process)
        for _ in range(2):  # and from the beginning once more
            assert main(["tail", url]) == 0
            out, err = capfd.readouterr()
            assert [json.loads(line)["data"] for line in out.splitlines()] == ["one", "two"]
            for news in ("503 Service Unavailable: busy", "/hop-2", "within a chunked body"):
                assert news in err
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=BOUND)
    assert process.returncode == 130
    assert b"a request, after event 1: response 5\n" in told
    assert b"a request, after event 2: 204, that was the last\n" in told


def test_it_takes_a_part_of_the_time_it_took(tmp_path: Path) -> None:
    hour = [*SHORT[:-2], {"at": 3600.8, "text": "id: 2\ndata: two\n\n"}]
    with started("replay", write(tmp_path / "r", TITLE, *hour), "--speed", "7200") as process:
        url = url_of(process)
        began = time.monotonic()
        assert main(["tail", url, "-n", "2"]) == 0
        assert 0.49 < time.monotonic() - began < BOUND


def test_once_is_enough(tmp_path: Path) -> None:
    file = write(tmp_path / "r", TITLE, *SHORT)
    with started("replay", file, "--once", "--speed", "max") as process:
        assert main(["tail", url_of(process), "-n", "2"]) == 0
        assert process.wait(BOUND) == 0


def test_a_ping_is_not_a_request_for_the_stream(tmp_path: Path) -> None:
    file = write(tmp_path / "r", TITLE, *SHORT[7:10])
    with started("replay", file) as process:
        url = url_of(process)
        for path, expected in (("ping", 204), ("", 200), ("ping", 204)):
            with urllib.request.urlopen(url + path, timeout=BOUND) as response:
                assert response.status == expected


def test_a_port_that_is_taken_is_told(tmp_path: Path, capfd: Captured) -> None:
    file = write(tmp_path / "r", TITLE, *SHORT)
    with serving() as server:
        port = server.address.partition(":")[2]
        assert main(["replay", file, "--port", port]) == 1
    assert f"sansio-sse: cannot listen at port {port}: " in capfd.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    ["--print --once", "--print --speed 2", "--print --port 8000", "--json", "--idle-timeout 5"],
)
def test_what_does_not_go_together(arguments: str, tmp_path: Path, capfd: Captured) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["replay", write(tmp_path / "r", TITLE), *arguments.split()])
    assert caught.value.code == 2
    assert "does not go with" in capfd.readouterr().err


def test_events_are_those_of_the_machine() -> None:
    recording = _read(b"".join(json.dumps(line).encode() + b"\n" for line in [TITLE, *SHORT]))
    config = ConnectionConfig(reconnection=ReconnectionPolicy(max_attempts=0))
    events = [what for _, what in play(recording, config) if isinstance(what, ServerSentEvent)]
    assert [(event.id, event.data) for event in events] == [("1", "one"), ("2", "two")]
