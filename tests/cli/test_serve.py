"""Lines in, events out: what clients get, who they may be, and how it ends."""

import asyncio
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sansio_sse import EventStreamParser, ServerSentEvent, encode_event
from sansio_sse_cli import event_source, main
from sansio_sse_cli.broadcast import Broadcast
from sansio_sse_cli.event_source import NoEvent, event_of_json, lines_of_input
from sansio_sse_cli.terminal import to_json

from .support import BOUND, COMMAND, ENVIRONMENT, HEAD, hold, serving

Captured = pytest.CaptureFixture[str]


class Serving:
    """A running ``sansio-sse serve`` and its standard input."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.process = process
        assert process.stdin is not None
        assert process.stderr is not None
        self._stdin, self._stderr = process.stdin, process.stderr
        self.told = [self._stderr.readline().decode()]
        while "serving at" not in self.told[-1]:
            assert self.told[-1], self.told
            self.told.append(self._stderr.readline().decode())
        found = re.search(r"http://\S+:(\d+)/", self.told[-1])
        assert found
        self.url, self.port = found[0], int(found[1])

    def say(self, *lines: str, end: bool = False) -> None:
        """Write lines to its standard input."""
        self._stdin.write("".join(f"{line}\n" for line in lines).encode())
        self._stdin.flush()
        if end:
            self._stdin.close()

    def until(self, text: str) -> None:
        """Read what it tells until it says so."""
        while text not in self.told[-1]:
            self.told.append(self._stderr.readline().decode())
            assert self.told[-1], self.told

    def finish(self) -> int:
        """Wait for its end and return its exit code."""
        self.told += self._stderr.read().decode().splitlines()
        return self.process.wait(BOUND)

    def ask(self, path: str = "/", method: str = "GET", **headers: str) -> http.client.HTTPResponse:
        """Send a request and return the response's head; the body is there to be read."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=BOUND)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers=names)
        return connection.getresponse()


@contextmanager
def serve(*arguments: str) -> Generator[Serving]:
    with subprocess.Popen(
        [*COMMAND, "serve", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    ) as process:
        try:
            yield Serving(process)
        finally:
            process.kill()


def some(response: http.client.HTTPResponse, count: int) -> list[str]:
    """The next lines of a body, blank ones left out."""
    lines: list[str] = []
    while len(lines) < count:
        line = response.readline().decode().rstrip("\n")
        lines += [line] if line else []
    return lines


# --- Lines -------------------------------------------------------------------------------------


def test_each_line_is_an_event_with_its_number() -> None:
    with serve("--event", "note", "--retry", "50") as server:
        server.say("one", "", "größe\r")
        with server.ask() as response:
            assert response.status == 200
            assert response.getheader("content-type") == "text/event-stream"
            assert response.getheader("access-control-allow-origin") is None
            assert some(response, 10) == [
                *("retry: 50", "event: note", "id: 1", "data: one"),
                *("event: note", "id: 2", "data: "),
                *("event: note", "id: 3", "data: größe"),
            ]
            server.say("four")
            assert some(response, 3)[-1] == "data: four"


def test_who_comes_back_goes_on_where_he_was() -> None:
    with serve("--history", "3") as server:
        server.say(*"12345", end=True)
        server.until("the input has ended")
        for last_id, first in (("", "3"), ("3", "4"), ("4", "5"), ("1", "3"), ("unknown", "3")):
            headers = {"Last_Event_ID": last_id} if last_id else {}
            with server.ask(**headers) as response:
                assert some(response, 1) == [f"id: {first}"]


def test_live_is_from_now_on() -> None:
    with serve("--live") as server:
        server.say("old")
        with server.ask(Last_Event_ID="0") as response:
            assert some(response, 2) == ["id: 1", "data: old"]
        with server.ask() as response:
            server.say("new")
            assert some(response, 2) == ["id: 2", "data: new"]


def test_silence_has_a_heart_beat() -> None:
    with serve("--heartbeat", "0.05") as server, server.ask() as response:
        assert some(response, 2) == [": still here", ": still here"]


def test_json_lines_that_are_no_events_are_told_and_left_out() -> None:
    with serve("--json") as server:
        server.say('{"data":"ok"}', "{", '{"data":7}', '{"data":"x","id":"a\\nb"}', '{"data":"2"}')
        with server.ask() as response:
            assert some(response, 4) == ["id: 1", "data: ok", "id: 5", "data: 2"]
        server.process.send_signal(signal.SIGINT)
        assert server.finish() == 130
    told = "\n".join(server.told)
    assert "sansio-sse: line 2 is left out: it is not JSON" in told
    assert "sansio-sse: line 3 is left out: it is no JSON object with a string named data" in told
    assert "sansio-sse: line 4 is left out: an id must not contain a line end" in told
    assert server.told[-1] == "2 events, 3 lines left out"


@pytest.mark.parametrize(
    "line",
    [
        "[]",
        '{"data":"x","event":7}',
        '{"data":"x","id":7}',
        '{"data":"x","retry":"7"}',
        '{"data":"x","retry":true}',
        '{"data":"x","retry":-1}',
        '{"data":"\\ud800"}',
        '{"data":"x","id":"\\u0000"}',
        "[" * 100_000,
    ],
    ids=range(9),
)
def test_nothing_else_is_an_event(line: str) -> None:
    with pytest.raises(NoEvent):
        event_of_json(line, 1)


def test_a_line_without_end_is_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import asyncio

    monkeypatch.setattr(event_source, "LONGEST_LINE", 10)
    file = tmp_path / "lines"
    file.write_bytes(b"short\n" + b"x" * 200_000 + b"\nagain\r\n" + b"0123456789\nlast")

    async def read() -> list[str]:
        with file.open("rb") as opened:
            return [str(line) async for line in lines_of_input(opened.fileno())]

    assert asyncio.run(read()) == [
        "short",
        "it is longer than 10 bytes",
        "again",
        "0123456789",
        "last",
    ]


# --- The end -----------------------------------------------------------------------------------


def test_it_stays_when_the_input_ends_and_ends_if_that_is_wanted(capfd: Captured) -> None:
    with serve("--end") as server:
        server.say("one", "two", end=True)
        server.until("the input has ended after 2 events")
        time.sleep(0.1)
        assert server.process.poll() is None  # nobody has come yet
        assert main(["tail", server.url]) == 0
        assert server.finish() == 0
    out, err = capfd.readouterr()
    assert [json.loads(line)["data"] for line in out.splitlines()] == ["one", "two"]
    assert "the server has no more events for us (204)" in err
    with serve() as server:
        server.say("one", end=True)
        server.until("the input has ended after 1 event")
        with server.ask() as response:
            assert some(response, 2) == ["id: 1", "data: one"]
            assert server.process.poll() is None


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_with_clients_and_an_open_input(number: int, code: int) -> None:
    with serve() as server, server.ask():
        server.until("a client has come: 1 client now")
        server.process.send_signal(number)
        assert server.finish() == code
    assert "Traceback" not in "".join(server.told)


def test_input_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    writing = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
    done = subprocess.run(
        [*COMMAND, "serve"],
        stdin=writing,
        capture_output=True,
        env=ENVIRONMENT,
        timeout=BOUND,
        check=False,
    )
    os.close(writing)
    assert done.returncode == 1
    assert b"sansio-sse: cannot read standard input: Bad file descriptor\n" in done.stderr


# --- Round trips -------------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
LINE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"), max_size=9)
EVENTS = st.builds(
    ServerSentEvent,
    event=LINE.map(lambda text: text or "message"),
    data=TEXT.map(lambda text: text.replace("\r\n", "\n").replace("\r", "\n")),
    id=LINE,
    retry=st.none() | st.integers(0, 10**9),
    has_id=st.booleans(),
)


@given(st.lists(EVENTS, max_size=8))
def test_what_tail_writes_serve_reads_whatever_the_event(events: list[ServerSentEvent]) -> None:
    written = [to_json(event) for event in events]
    served = b"".join(event_of_json(line, 1)[0] for line in written)
    parsed: Any = EventStreamParser().feed(served)
    again = [to_json(event) for event in parsed]
    assert again == written


@settings(max_examples=2, deadline=None)  # three processes each
@given(st.lists(EVENTS.map(lambda event: event._replace(retry=None)), min_size=1, max_size=30))
def test_a_stream_passes_through_tail_serve_and_tail(events: list[ServerSentEvent]) -> None:
    body = b"".join(encode_event(event) for event in events)
    with serving(hold(HEAD + body)) as origin:
        arguments = [*COMMAND, "tail", "-q", "-n", str(len(events))]
        first = subprocess.run(
            [*arguments, origin.address], capture_output=True, env=ENVIRONMENT, check=True
        ).stdout
    with serve("--json", "--end", "-q") as server:
        server.say(*first.decode().split("\n")[:-1], end=True)
        second = subprocess.run(
            [*arguments, server.url], capture_output=True, env=ENVIRONMENT, check=True
        ).stdout
    assert second == first
    assert len(first.splitlines()) == len(events)


def test_events_of_a_recording(tmp_path: Path, capfd: Captured) -> None:
    file = str(tmp_path / "r.jsonl")
    body = b"id: 1\ndata: one\n\nevent: note\nid: 2\ndata: two\n\n"
    with serving(HEAD + body, HEAD + b"data: three\n\n") as server:
        assert main(["record", server.address, file, "-q"]) == 0
    with serve("--recording", file, "--speed", "100", "--end", "-q") as served:
        capfd.readouterr()
        assert main(["tail", served.url, "-q"]) == 0
        out = capfd.readouterr().out
    assert [json.loads(line) for line in out.splitlines()] == [
        {"event": "message", "data": "one", "id": "1"},
        {"event": "note", "data": "two", "id": "2"},
        {"event": "message", "data": "three", "id": "2"},
    ]


def test_a_recording_that_is_none(tmp_path: Path, capfd: Captured) -> None:
    assert main(["serve", "--recording", str(tmp_path / "no")]) == 1
    (tmp_path / "text").write_text("hello\n")
    assert main(["serve", "--recording", str(tmp_path / "text")]) == 1
    err = capfd.readouterr().err
    assert "cannot read" in err
    assert "it is no recording" in err


# --- Clients -----------------------------------------------------------------------------------


def test_a_ping_a_head_and_what_there_is_not() -> None:
    with serve() as server:
        server.say("one")
        assert server.ask("/ping").status == 204
        head = server.ask(method="HEAD")
        assert (head.status, head.read()) == (200, b"")
        refused = server.ask(method="POST")
        assert (refused.status, refused.getheader("allow")) == (405, "GET, HEAD")
        assert server.ask(method="OPTIONS").status == 405
        assert server.ask(f"{server.url}ping?x").status == 204  # a whole url is a target too
        assert server.ask(server.url[:-1], "HEAD").status == 200


def test_a_head_has_been_told_nothing() -> None:
    with serve("--end") as server:
        server.say("one", end=True)
        server.until("the input has ended")
        for _ in range(2):
            assert server.ask(method="HEAD").status == 200
        with server.ask() as response:
            assert response.read() == b"id: 1\ndata: one\n\n"
        assert server.ask().status == 204  # now it is over


def test_a_long_id_of_a_client_is_told_in_part() -> None:
    with serve() as server:
        server.ask(Last_Event_ID="9" * 10_000).close()
        server.until("a client has come")
        assert "999…: 1 client now" in server.told[-1]
        assert len(server.told[-1]) < 300


def test_pages_elsewhere_may_read_it_if_told_so() -> None:
    with serve("--cors", "https://app.example.com") as server:
        with server.ask() as response:
            assert response.getheader("access-control-allow-origin") == "https://app.example.com"
        asked = server.ask(method="OPTIONS", Access_Control_Request_Headers="last-event-id")
        assert asked.status == 204
        assert "Last-Event-ID" in (asked.getheader("access-control-allow-headers") or "")


def test_a_name_that_leads_here_from_elsewhere_is_refused() -> None:
    with serve() as server:
        assert server.ask(Host="evil.example.com").status == 421
        assert server.ask("/ping", Host=f"localhost:{server.port}").status == 204
        assert server.ask("/ping", Host="[::1]:80").status == 204


def test_the_world_is_warned_of() -> None:
    with serve("--host", "0.0.0.0") as server:
        assert "everybody who reaches 0.0.0.0 can read this" in server.told[0]
        assert server.ask("/ping", Host="box.example.com").status == 204


def raw(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=BOUND) as connection:
        answer = b""
        try:
            connection.sendall(data)
            while piece := connection.recv(65536):
                answer += piece
        except ConnectionError:
            pass  # cut off before all was said
        return answer


def test_nonsense_gets_a_short_answer_and_harms_nobody() -> None:
    with serve() as server:
        server.say("one")
        assert raw(server.port, b"\x16\x03\x01\x02\x00\r\n\r\n").startswith(b"HTTP/1.1 400")
        assert raw(server.port, b"GET / HTTP/1.1\r\nX: " + b"x" * 10_000_000)[:12] in (
            b"HTTP/1.1 431",
            b"",
        )
        posted = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999\r\n\r\n"
        assert raw(server.port, posted + b"x" * 9_999_999)[:12] in (b"HTTP/1.1 413", b"")
        old = raw(server.port, b"GET /ping HTTP/1.0\r\n\r\n")
        assert old.startswith(b"HTTP/1.1 204")
        with server.ask() as response:
            assert some(response, 2) == ["id: 1", "data: one"]


def test_a_client_that_is_slow_misses_events_and_is_told_how_many() -> None:
    with serve("--history", "10") as server, server.ask() as response:
        server.until("a client has come")
        for _ in range(40):  # more than buffers hold
            server.say(*(["x" * 50_000] * 20))
        server.say("last", end=True)
        server.until("the input has ended after 801 events")
        # Numbers go up, and where one is missing a comment says how many.
        newest, missed = 0, 0
        while newest < 801:
            line = response.readline().decode()
            if found := re.match(r": (\d+) events were dropped", line):
                missed = int(found[1])
            elif line.startswith("id: "):
                number = int(line[4:])
                assert number == newest + 1 + missed
                newest, missed = number, 0
        server.process.send_signal(signal.SIGINT)
        assert server.finish() == 130
    assert re.fullmatch(r"801 events, \d+ dropped for slow clients", server.told[-1])


def test_the_history_is_bounded_in_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sansio_sse_cli.broadcast._MOST_BYTES", 1000)  # 330 each
    broadcast = Broadcast(1000)
    for number in range(50):
        broadcast.add(b"x" * 30, str(number))  # short ones have their price too
    assert (broadcast.oldest, broadcast.end) == (47, 50)
    assert broadcast.after("46") is None
    broadcast.add(b"y" * 5000, "")  # one that is larger than all is kept all the same
    assert (broadcast.oldest, broadcast.end) == (50, 51)


def test_what_is_large_is_copied_for_nobody() -> None:
    async def pieces() -> list[bytes]:
        return [piece async for piece in broadcast.read(0, 1.0)]

    broadcast = Broadcast(10)
    large = b"x" * 100_000
    for event in (b"a", b"b", large, b"c"):
        broadcast.add(event, "")
    broadcast.finish()
    given = asyncio.run(pieces())
    assert given == [b"ab", large, b"c"]
    assert given[1] is large


def test_a_large_event_goes_out_in_pieces() -> None:
    with serve() as server:
        server.say("x" * 300_000)
        with socket.create_connection(("127.0.0.1", server.port), timeout=BOUND) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            with connection.makefile("rb") as answer:
                while answer.readline() != b"\r\n":
                    pass
                assert int(answer.readline(), 16) == 65536


def test_an_id_that_comes_again_means_its_last_event() -> None:
    broadcast = Broadcast(3)
    for id_ in ("a", "b", "a", "c"):
        broadcast.add(b"", id_)
    assert broadcast.after("a") == 3
    assert broadcast.after("b") == 2


# --- Arguments ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--recording f --json", "do not go with --recording"),
        ("--json --event x", "--event does not go with --json"),
        ("--speed 2", "--speed does not go without --recording"),
        ("--event a\nb", "an event type must not contain a line end"),
        ("--event \udcff", "lone surrogate"),
        ("--cors example.com", "an origin is like"),
        ("--cors https://a\r\nX:y", "an origin is like"),
        ("--port 65536", "a port, from 0 to 65535"),
        ("--port -1", "a port, from 0 to 65535"),
        ("--history 0", "a whole number from 1"),
        ("--heartbeat nan", "a number of seconds above 0"),
        ("--heartbeat soon", "a number of seconds above 0"),
    ],
)
def test_mistakes(arguments: str, message: str, capfd: Captured) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["serve", *arguments.split(" ")])
    assert caught.value.code == 2
    assert message in capfd.readouterr().err


def test_a_port_that_is_taken_is_told(capfd: Captured) -> None:
    with serving() as server:
        port = server.address.partition(":")[2]
        assert main(["serve", "--port", port]) == 1
    assert f"cannot listen at 127.0.0.1, port {port}: " in capfd.readouterr().err


def test_a_client_that_leaves_is_noticed() -> None:
    with serve() as server:
        server.ask().close()
        server.until("a client has gone: 0 clients now")


def test_an_id_that_was_taken_back_stays_so() -> None:
    events: Any = EventStreamParser().feed(b"id: 7\ndata: a\n\nid\ndata: b\n\n")
    lines = [event_of_json(to_json(event), 1)[0] for event in events]
    assert lines == [b"id: 7\ndata: a\n\n", b"id: \ndata: b\n\n"]
