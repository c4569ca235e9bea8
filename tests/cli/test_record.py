"""Recording as a user does it: what is in the file, and in what state the file is left."""

import gzip
import json
import os
import signal
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from sansio_sse_cli import main, record
from sansio_sse_cli.recording_file import Tape, read_recording

from .support import BOUND, COMMAND, ENVIRONMENT, HEAD, answer, hold, run, serving, started

Captured = pytest.CaptureFixture[str]

CHUNKED = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nSet-Cookie: session=cookie-secret\r\n"
    b"X-Token: header-secret\r\nServer: test/1\r\nTransfer-Encoding: chunked\r\n\r\n"
)


def lines_of(path: Path) -> list[dict[str, Any]]:
    content = path.read_bytes()
    content = gzip.decompress(content) if path.suffix == ".gz" else content
    return [json.loads(line) for line in content.splitlines()]


def outcome(line: dict[str, Any]) -> Any:
    return next((line[key] for key in ("request", "head", "text", "end") if key in line), None)


def test_attempts_bytes_and_ends_are_written_down(tmp_path: Path, capfd: Captured) -> None:
    file = tmp_path / "r.jsonl"
    first = CHUNKED + b"12\r\nid: 1\ndata: one\n\n\n\r\n0\r\n\r\n"
    busy = answer("503 Busy", b"later", "Retry-After: 0")
    cut = CHUNKED + b"40\r\nid: 2\ndata: tw"
    with serving(first, busy, cut) as server:
        assert main(["record", server.address, str(file)]) == 0
        url = f"http://{server.address}/"
    title, *lines = lines_of(file)
    assert title["recording"] == "sansio-sse"
    assert title["version"] == 1
    assert title["method"] == "GET"
    assert title["url"] == url
    assert [outcome(line) for line in lines if "state" not in line] == [
        *(1, 200, "id: 1\ndata: one\n\n\n", "complete"),
        *(2, 503, "later", "complete"),
        *(3, 200, "id: 2\ndata: tw", "eof"),
        *(4, 204, "complete"),
    ]
    assert [line["after"] for line in lines if "request" in line] == ["", "1", "1", "1"]
    [head, *_] = [line for line in lines if "head" in line]
    assert head["headers"] == [["Content-Type", "text/event-stream"], ["Server", "test/1"]]
    times = [line["at"] for line in lines]
    assert times == sorted(times)
    states = "connecting connected reconnecting reconnecting connected reconnecting closed"
    assert [line["state"] for line in lines if "state" in line] == states.split()
    assert "1 event, " in capfd.readouterr().err


def test_no_credential_is_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    sent_back = ("WWW-Authenticate: challenge-secret", "Via: 1.1 header-key", "Server: s/1")
    refusal = answer("401 No", b"not Bearer header-key!", *sent_back)
    with serving(CHUNKED + b"0\r\n\r\n", refusal) as server:
        url = f"http://user:password1@{server.address}/?key=query-key"
        assert main(["record", url, str(file), "-H", "X-Key: Bearer header-key"]) == 1
        assert b"query-key" in server.requests[0]
    content = file.read_text()
    assert "401" in content
    for secret in ("password1", "query-key", "cookie-secret", "header-secret", "challenge"):
        assert secret not in content
    # What the server says is recorded as it said it; what we say about it is not.
    told = [line for line in content.splitlines() if '"state"' in line or "recording" in line]
    assert "header-key" not in "".join(told)
    [head] = [line for line in lines_of(file) if line.get("head") == 401]
    assert head["headers"] == [["Server", "s/1"]]
    assert "401" in "".join(told)


def test_bytes_that_are_no_text_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl.gz"
    with serving(HEAD + b"data: \xff\x00\n\n") as server:
        assert main(["record", server.address, str(file), "-q"]) == 0
    recording = read_recording(file)
    assert b"".join(data for _, data in recording.attempts[0].pieces) == b"data: \xff\x00\n\n"


def test_a_compressed_body_is_kept_as_it_came(tmp_path: Path, capfd: Captured) -> None:
    file = tmp_path / "r.jsonl"
    body = gzip.compress(b"data: squeezed\n\n", mtime=0)
    head = HEAD.replace(b"Connection", b"Content-Encoding: gzip\r\nConnection")
    with serving(head + body) as server:
        assert main(["record", server.address, str(file), "-q"]) == 0
    attempt = read_recording(file).attempts[0]
    assert b"".join(data for _, data in attempt.pieces) == body
    assert ("Content-Encoding", "gzip") in attempt.headers
    assert main(["replay", str(file), "--print", "--raw", "-q"]) == 0
    assert capfd.readouterr().out == "squeezed\n"


@pytest.mark.parametrize(
    "limit",
    [["-n", "2"], ["--max-bytes", "9"], ["--duration", "0.3"], ["--until", "2"]],
    ids=lambda limit: limit[0].strip("-"),
)
def test_it_ends_when_it_has_enough(limit: list[str], tmp_path: Path, capfd: Captured) -> None:
    file = tmp_path / "r.jsonl"
    with serving(hold(HEAD + b"data: 1\n\ndata: 2\n\n")) as server:
        assert main(["record", server.address, str(file), *limit]) == 0
    assert [line["end"] for line in lines_of(file) if "end" in line] == ["left"]
    err = capfd.readouterr().err
    assert "closed" not in err  # that was us
    assert " recorded, " in err.splitlines()[-1]


def test_what_is_there_is_not_overwritten_unasked(tmp_path: Path, capfd: Captured) -> None:
    file = tmp_path / "r.jsonl"
    file.write_text("precious")
    with serving(HEAD + b"data: 1\n\n") as server:
        with pytest.raises(SystemExit) as caught:
            main(["record", server.address, str(file)])
        assert caught.value.code == 2
        assert server.requests == []
        assert file.read_text() == "precious"
        assert "exists; --force overwrites it" in capfd.readouterr().err
        assert main(["record", server.address, str(file), "--force"]) == 0
    assert lines_of(file)


@pytest.mark.parametrize(
    ("file", "message"),
    [("no/such/place", "No such file or directory"), ("nul\0", "no such name is possible")],
    ids=["nowhere", "nul"],
)
def test_a_file_that_cannot_be_is_a_mistake(file: str, message: str, capfd: Captured) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["record", "localhost:1", file])
    assert caught.value.code == 2
    assert message in capfd.readouterr().err


def test_a_pipe_with_a_name_is_refused(tmp_path: Path, capfd: Captured) -> None:
    file = str(tmp_path / "pipe")
    os.mkfifo(file)
    reading = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(SystemExit) as caught:
            main(["record", "localhost:1", file, "--force", "--max-attempts", "1"])
    finally:
        os.close(reading)
    assert caught.value.code == 2
    assert "is a pipe: record to -, and send standard output there" in capfd.readouterr().err


def test_a_wrong_request_leaves_no_file_behind(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    with pytest.raises(SystemExit):
        main(["record", "ftp://localhost", str(file)])
    assert not file.exists()


@pytest.mark.parametrize("name", ["full", "full.gz"])
def test_a_full_disk_is_told_and_ends_it(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.symlink_to("/dev/full")
    with serving(hold(HEAD + b"data: 1\n\n")) as server:
        done = run("record", server.address, str(file), "--force")
    assert done.returncode == 1
    told = f"sansio-sse: cannot write to {file}: No space left on device\n"
    assert done.stderr.decode().count(told) == 1
    assert b"Traceback" not in done.stderr
    assert b"ignored" not in done.stderr  # by the interpreter, at its end
    assert b"closed" not in done.stderr  # the server had nothing to do with it


def test_standard_output(tmp_path: Path) -> None:
    with serving(HEAD + b"data: 1\n\n") as server:
        done = run("record", server.address, "-")
    assert done.returncode == 0
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[0]["recording"] == "sansio-sse"
    assert lines[-2]["end"] == "complete"


def test_a_terminal_is_no_place_for_it() -> None:
    leader, follower = os.openpty()
    done = subprocess.run(
        [*COMMAND, "record", "localhost:1", "-"],
        stdout=follower,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
        timeout=BOUND,
        check=False,
    )
    os.close(follower)
    os.close(leader)
    assert done.returncode == 2
    assert b"a recording is not for a terminal" in done.stderr


def test_a_reader_who_leaves_ends_it_silently() -> None:
    stream = hold(HEAD + b"data: x\n\n")
    with serving(stream) as server, started("record", server.address, "-") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert b"recording" in process.stdout.readline()
        process.stdout.close()
        assert process.wait(BOUND) == 141
        err = process.stderr.read()
    assert b"Error" not in err
    assert b"closed" not in err


def endless(blocked: threading.Event) -> Any:
    def send(connection: socket.socket) -> None:
        connection.sendall(HEAD)
        connection.settimeout(0.5)
        try:
            while True:
                connection.send(b"data: %s\n\n" % (b"x" * 5000) * 20)
        except TimeoutError:
            blocked.set()
            connection.settimeout(BOUND)
            while connection.recv(1024):
                pass

    return send


def test_a_reader_that_does_not_read_stops_the_stream_not_the_program() -> None:
    blocked = threading.Event()
    with (
        serving(endless(blocked)) as server,
        started("record", server.address, "-", "-q") as process,
    ):
        assert blocked.wait(BOUND)
        process.send_signal(signal.SIGINT)
        assert process.wait(5.0) == 130


def test_a_stream_that_nothing_holds_back_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Captured
) -> None:
    monkeypatch.setattr(record, "_MOST_LAG", 200)
    with serving(hold(HEAD + b": comment\n" * 100)) as server:
        assert main(["record", server.address, str(tmp_path / "r")]) == 1
    assert "more waits to be written than there is room" in capfd.readouterr().err


@pytest.mark.parametrize("name", ["r.jsonl", "r.jsonl.gz"])
def test_ctrl_c_leaves_a_whole_file(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    stream = hold(HEAD + b"id: 7\ndata: x\n\n")
    with serving(stream) as server, started("record", server.address, str(file)) as process:
        assert process.stderr is not None
        while b"connected" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=BOUND)
    assert process.returncode == 130
    assert b"1 event, " in err
    assert lines_of(file)[-1]["end"] == "left"


@pytest.mark.parametrize("name", ["r.jsonl", "r.jsonl.gz"])
def test_what_a_killed_recorder_leaves_can_be_played(
    name: str, tmp_path: Path, capfd: Captured
) -> None:
    file = tmp_path / name
    stream = hold(HEAD + b"id: 7\ndata: x\n\n")
    with serving(stream) as server, started("record", server.address, str(file)) as process:
        size = 0
        while size < 200 or size != file.stat().st_size:  # flushed, and nothing new since
            size = file.stat().st_size if file.exists() else 0
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.6)
        process.kill()
        process.wait(BOUND)
    assert main(["replay", str(file), "--print"]) == 0
    out = capfd.readouterr().out
    assert json.loads(out) == {"event": "message", "data": "x", "id": "7"}


def test_news_of_transports_that_are_none_of_its_business_is_ignored() -> None:
    lines: list[bytes] = []
    tape = Tape(lines.append, lambda: 0.0)
    tape.received(9, b"HTTP/1.1 200 OK\r\n\r\n")
    tape.ended(9)
    tape.failed(9, opened=True)
    tape.left(9)
    assert lines == []


def test_a_head_that_is_none_ends_an_attempt(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    with serving(b"SSH-2.0-nonsense\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000) as server:
        assert main(["record", server.address, str(file), "-q"]) == 1
    ends = [line["end"] for line in lines_of(file) if "end" in line]
    assert ends == ["eof", "eof"]
