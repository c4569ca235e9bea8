"""What comes out, and where: events, news, the summary."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from sansio_sse import ServerSentEvent
from sansio_sse_cli import main
from sansio_sse_cli.terminal import Channel, to_json

from .support import BOUND, COMMAND, ENVIRONMENT, HEAD, answer, hold, serving

Captured = pytest.CaptureFixture[str]

EVENTS = (
    b"event: price\nid: 7\ndata: {}\n\n"
    + "data: grüße 川\ndata: zwei\n\n".encode()
    + b"retry: 10\n"
    b"data: r\n\n"
)
# A window title, a cleared line, a C1 control, a right-to-left override, DEL: in each field.
HOSTILE = "\x1b]0;owned\x07\x1b[2K\x9b31m\u202e\x7f\u2066\u2028"
UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
COLOR = re.compile("\x1b\\[[0-9]+m")


def test_one_json_object_a_line_where_nobody_looks(capfd: Captured) -> None:
    with serving(HEAD + EVENTS) as server:
        assert main(["tail", server.address]) == 0
    out, err = capfd.readouterr()
    assert [json.loads(line) for line in out.splitlines()] == [
        {"event": "price", "data": "{}", "id": "7"},
        {"event": "message", "data": "grüße 川\nzwei", "id": "7"},
        {"event": "message", "data": "r", "id": "7", "retry": 10},
    ]
    assert "grüße 川" in out  # letters are letters, of whatever language
    news = [line.split(" ")[0] for line in err.splitlines()]
    assert news == ["connecting", "connected", "reconnecting", "closed", "3"]
    assert re.search(r"retry 1 in 0\.(0\d|10) s: ", err)
    assert "the server ended the stream" in err
    assert "the server has no more events for us (204)" in err
    last = err.splitlines()[-1]
    assert re.fullmatch(r"3 events, 78 bytes, 0 reconnects, \d\.\d+ s, last event id 7", last)


def test_reconnects_are_told_with_the_cursor(capfd: Captured) -> None:
    busy = answer("503 Service Unavailable", b"come back later", "Retry-After: 0")
    with serving(HEAD + EVENTS, busy, HEAD + b"data: x\n\n") as server:
        assert main(["tail", server.address, "--last-event-id", "3"]) == 0
        assert [b"Last-Event-ID: 7" in request for request in server.requests] == [
            False,
            True,
            True,
            True,
        ]
    err = capfd.readouterr().err
    assert "connected    200 HTTP/1.1, after event 3\n" in err
    assert "retry 2 in " in err
    assert "the server answered 503 Service Unavailable: come back later" in err
    assert "connected    200 HTTP/1.1, after event 7\n" in err
    assert ", 1 reconnect, " in err


def test_a_redirect_is_told(capfd: Captured) -> None:
    moved = answer("302 Found", b"", "Location: /there?key=hidden")
    with serving(moved, HEAD + b"data: x\n\n") as server:
        assert main(["tail", server.address]) == 0
        there = f"http://{server.address}/there?key=…"
    assert f"connected    200 HTTP/1.1, from {there}\n" in capfd.readouterr().err


def test_a_final_refusal_fails(capfd: Captured) -> None:
    with serving(answer("403 Forbidden", b'{"error":\r\n"no such\x1b[31m key"}')) as server:
        assert main(["tail", server.address, "--quiet"]) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith('error        the server answered 403 Forbidden: {"error":')
    assert err.count("\n") == 1
    assert "\x1b" not in err


def test_a_long_refusal_is_cut(capfd: Captured) -> None:
    with serving(answer("400 Bad Request", b"x" * 1000)) as server:
        assert main(["tail", server.address]) == 1
    assert f": {'x' * 200}…\n" in capfd.readouterr().err


def test_a_long_id_is_told_in_part(capfd: Captured) -> None:
    with serving(HEAD + b"retry: 1\nid: %s\ndata: x\n\n" % (b"7" * 5000), HEAD) as server:
        main(["tail", server.address, "--json", "--max-attempts", "1"])
    err = capfd.readouterr().err
    assert "after event 777" in err
    assert max(map(len, err.splitlines())) < 300


def test_giving_up_fails(capfd: Captured) -> None:
    with serving() as server:
        address = server.address
    assert main(["tail", address, "--max-attempts", "1"]) == 1
    lines = capfd.readouterr().err.splitlines()
    assert re.fullmatch(
        rf"reconnecting retry 1 in 0\.\d\d s: could not connect to {address}: Connection refused",
        lines[1],
    )
    assert lines[2].startswith("error        gave up after 1 reconnect attempt in ")
    assert lines[3].startswith("0 events, 0 bytes, 0 reconnects, ")


def test_silence_is_broken_off(capfd: Captured) -> None:
    with serving(hold(HEAD)) as server:
        assert main(["tail", server.address, "--idle-timeout", "0.05"]) == 0
    assert "nothing received for 0.05 s" in capfd.readouterr().err


def test_a_post_that_ends_has_finished(capfd: Captured) -> None:
    with serving(HEAD + b"data: x\n\n") as server:
        assert main(["tail", server.address, "-d", "{}"]) == 0
    assert "disconnected the stream has ended\n1 event, " in capfd.readouterr().err


def test_until(capfd: Captured) -> None:
    with serving(hold(HEAD + b"data: x\n\ndata: [DONE]\n\ndata: beyond\n\n")) as server:
        assert main(["tail", server.address, "--until", "[DONE]", "--raw"]) == 0
    assert capfd.readouterr().out == "x\n[DONE]\n"


def test_only_some_types(capfd: Captured) -> None:
    body = b"event: a\ndata: 1\n\ndata: 2\n\nevent: b\ndata: 3\n\nevent: a\ndata: 4\n\n"
    with serving(hold(HEAD + body)) as server:
        assert main(["tail", server.address, *"--event a --event b --raw -n 2".split()]) == 0
    out, err = capfd.readouterr()
    assert out == "1\n3\n"
    assert "3 events (2 printed), " in err
    assert "closed" not in err  # that was us


def test_quiet(capfd: Captured) -> None:
    with serving(HEAD + b"data: x\n\n") as server:
        assert main(["tail", server.address, "-q"]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out)["data"] == "x"
    assert err == ""


def test_raw_data_is_passed_as_it_is_where_nobody_looks(capfd: Captured) -> None:
    with serving(HEAD + f"data: {HOSTILE}\n\n".encode()) as server:
        assert main(["tail", server.address, "--raw"]) == 0
    assert capfd.readouterr().out == HOSTILE + "\n"


def test_json_is_safe_everywhere_and_whole() -> None:
    event = ServerSentEvent(HOSTILE, f'{HOSTILE}\n\t\\"é', HOSTILE)
    line = to_json(event)
    assert not UNSAFE.search(line)
    assert json.loads(line) == {"event": event.event, "data": event.data, "id": event.id}


# --- On a terminal -----------------------------------------------------------------------------


def on_a_terminal(*arguments: str, **environment: str) -> str:
    """What a terminal is sent, by both standard output and standard error."""
    leader, follower = os.openpty()
    with subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=follower,
        stderr=follower,
        env=ENVIRONMENT | environment,
    ) as process:
        os.close(follower)
        shown = b""
        try:
            while data := os.read(leader, 65536):
                shown += data
        except OSError:
            pass  # how Linux says that nobody holds the other side any more
        os.close(leader)
        process.wait(BOUND)
    return shown.decode().replace("\r\n", "\n")


def hostile_body() -> bytes:
    return f"event: {HOSTILE}\nid: {HOSTILE}\ndata: {HOSTILE}\ndata: \ttwo\n\n".encode()


@pytest.mark.parametrize("form", [[], ["--raw"], ["--json"]])
def test_nothing_hostile_reaches_a_terminal(form: list[str]) -> None:
    refusal = answer("403 Forbidden", HOSTILE.encode(), f"X: {HOSTILE!a}")
    with serving(HEAD + hostile_body(), refusal) as server:
        shown = on_a_terminal("tail", server.address, "--no-status", *form)
    assert "403" in shown  # both came
    assert "owned" in shown
    assert not UNSAFE.search(COLOR.sub("", shown))


def test_a_person_gets_readable_text() -> None:
    with serving(HEAD + EVENTS) as server:
        shown = on_a_terminal("tail", server.address, "--no-status")
        plain = on_a_terminal("tail", server.address, "--no-status", NO_COLOR="1")
    assert COLOR.search(shown)
    assert "\x1b" not in plain
    text = COLOR.sub("", shown)
    assert re.search(r"^\d\d:\d\d:\d\d price 7 \{\}$", text, re.MULTILINE)
    assert re.search(r"^\d\d:\d\d:\d\d message 7\n    grüße 川\n    zwei$", text, re.MULTILINE)


# --- Ways of writing ---------------------------------------------------------------------------


def test_a_remark_that_nobody_hears_is_lost() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    channel = Channel(writing)
    channel.say("hello")
    os.close(writing)


def test_output_that_cannot_be_written_fails(tmp_path: Path) -> None:
    with serving(HEAD + b"data: x\n\n") as server, open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*COMMAND, "tail", server.address],
            stdout=full,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
            timeout=BOUND,
            check=False,
        )
    assert done.returncode == 1
    assert b"sansio-sse: cannot write to standard output: No space left on device\n" in done.stderr
    assert b"Traceback" not in done.stderr


def test_standard_output_may_be_closed() -> None:
    with serving(HEAD + b"data: x\n\n") as server:
        done = subprocess.run(
            ["sh", "-c", 'exec "$@" >&-', "sh", *COMMAND, "tail", server.address],
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
            timeout=BOUND,
            check=False,
        )
    assert done.returncode == 0
    assert b"1 event, " in done.stderr
