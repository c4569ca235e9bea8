"""``sansio-sse check`` against servers: good ones, faulty ones, hostile ones, and none at all."""

import asyncio
import json
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import h11
import pytest
import trustme

from sansio_sse_cli import main
from sansio_sse_cli.faulty_server import Fault, FaultyServer, make_events
from sansio_sse_cli.loopback import Exchange, LoopbackServer, header, last_event_id
from uvicorn_process import uvicorn_with

from .support import BOUND, ENVIRONMENT, HEAD, Answer, answer, hold, run, serving, started


class Checked:
    """What the command said."""

    def __init__(self, code: int, out: str) -> None:
        self.code = code
        self.report: dict[str, Any] = json.loads(out)
        self.findings = {each["id"]: each for each in self.report["findings"]}

    def severity(self, check: str) -> str:
        return str(self.findings[check]["severity"])

    def seen(self, check: str) -> str:
        return str(self.findings[check]["seen"])


Check = Callable[..., Checked]


@pytest.fixture
def check(capfd: pytest.CaptureFixture[str]) -> Check:
    def run_check(url: str, *arguments: str, duration: float = 0.4) -> Checked:
        code = main(["check", url, "--json", "--duration", str(duration), *arguments])
        return Checked(code, capfd.readouterr().out)

    return run_check


@contextmanager
def in_a_thread(server: LoopbackServer) -> Generator[str]:
    """Run a server in a loop of its own; the url of its stream."""
    listening = threading.Event()
    over = asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with server:
            listening.set()
            await over.wait()

    def serve_and_close() -> None:
        loop.run_until_complete(serve())
        loop.close()

    thread = threading.Thread(target=serve_and_close)
    thread.start()
    try:
        assert listening.wait(BOUND)
        yield server.url
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(BOUND)
        assert not thread.is_alive()


class Numbered(LoopbackServer):
    """Sends numbered events; honours Last-Event-ID, unless it is told to forget it."""

    def __init__(self, *, forgetful: bool = False, live: bool = False) -> None:
        super().__init__()
        self.requests: list[tuple[bytes, str, str]] = []
        """Method, Last-Event-ID and Accept-Encoding of each."""
        self._forgetful = forgetful
        self._live = live
        self._newest = 0

    async def _answer(self, request: h11.Request, exchange: Exchange) -> None:
        cursor = last_event_id(request)
        self.requests.append((request.method, cursor, header(request, "Accept-Encoding")))
        exchange.head(200, ("Content-Type", "text/event-stream"), ("Cache-Control", "no-store"))
        last = self._newest if self._live else 0
        if cursor and not self._forgetful:
            last = int(cursor)
        chance = random.Random(1)
        exchange.data(b"retry: 2000\n\n", chance)
        for number in range(last + 1, last + 200):
            exchange.data(f"id: {number}\ndata: x\n\n".encode(), chance)
            self._newest = max(self._newest, number)
            await exchange.drain()
            await asyncio.sleep(0.04)


# --- Good ones and faulty ones -----------------------------------------------------------------


def test_a_good_server_has_no_problems(check: Check) -> None:
    server = Numbered()
    with in_a_thread(server) as url:
        checked = check(url, duration=1.0)
    for each in ("buffering", "ids", "resumption", "retry", "framing", "compression", "limits"):
        assert checked.severity(each) == "ok", checked.findings[each]
    assert checked.report["counts"]["problem"] == checked.report["counts"]["warning"] == 0
    assert checked.report["connections"] == len(server.requests) == 4
    assert checked.report["complete"] is True
    assert checked.code == 0


def test_it_asks_to_go_on_then_for_anything_then_for_compression(check: Check) -> None:
    server = Numbered()
    with in_a_thread(server) as url:
        check(url, "--last-event-id", "100", duration=1.0)
    first, resumed, control, compressed = server.requests
    assert first == (b"GET", "100", "identity")
    assert int(resumed[1]) > 100
    assert control[1] == compressed[1] == ""
    assert compressed[2] == "gzip"


@pytest.mark.parametrize("live", [False, True], ids=["from the start", "live"])
def test_a_cursor_that_is_ignored_is_noticed(check: Check, live: bool) -> None:
    with in_a_thread(Numbered(forgetful=True, live=live)) as url:
        checked = check(url, duration=1.0)
    assert checked.severity("resumption") == "problem"
    assert ("events are lost" if live else "events come twice") in checked.seen("resumption")
    assert checked.code == 1


@pytest.mark.parametrize(("control", "expected"), [("09", "ok"), ("0234", "unknown")])
def test_a_greeting_is_passed_over(check: Check, control: str, expected: str) -> None:
    def stream(ids: str) -> Answer:
        def send(connection: socket.socket) -> None:
            connection.sendall(HEAD)
            for id_ in ids:
                connection.sendall(f"id: {id_}\ndata: x\n\n".encode())
                time.sleep(0.01)  # so that they are not read as one

        return send

    answers = [stream(ids) for ids in ("01234", "0234", control, "0")]
    with serving(*answers) as server:
        checked = check(server.address, duration=BOUND)
    assert checked.severity("resumption") == expected, checked.seen("resumption")


def test_a_post_is_sent_once(check: Check) -> None:
    server = Numbered()
    with in_a_thread(server) as url:
        checked = check(url, "-X", "POST")
    assert [method for method, _, _ in server.requests] == [b"POST"]
    assert checked.severity("resumption") == "unknown"
    assert "POST" in checked.seen("resumption")


def test_the_demos_faulty_server(check: Check) -> None:
    script = [Fault.CUT_EVENT, Fault.NONE, Fault.BUSY]
    server = FaultyServer(make_events(40, seed=1), script, seed=1, pace=0.005)
    with in_a_thread(server) as url:
        checked = check(url, duration=2.0)
    assert checked.severity("ending") == "problem"
    assert checked.severity("ids") == "ok"
    assert checked.severity("resumption") == "ok"
    assert checked.severity("buffering") != "problem"
    assert "503" in checked.seen("limits")
    assert checked.severity("compression") == "unknown"
    assert len(server.requests) == 3  # it was refused, and does not ask again
    assert checked.code == 1


@pytest.mark.parametrize(
    ("fault", "finding", "seen"),
    [
        (Fault.CUT_CHUNK, "ending", "within a chunked body"),
        (Fault.RESET, "ending", "reset"),
        (Fault.BUSY, "status", "503, and asks to wait 1.0 s"),
        (Fault.SLAM, "http", "before a response head"),
    ],
)
def test_each_fault_is_told(check: Check, fault: Fault, finding: str, seen: str) -> None:
    server = FaultyServer(make_events(9, seed=1), [fault], seed=1)
    with in_a_thread(server) as url:
        checked = check(url, duration=0.5)
    assert checked.severity(finding) == "problem"
    assert seen in checked.seen(finding)
    assert checked.code == 1


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\n"], ids=["silent", "half a head"])
def test_a_server_that_says_nothing_yet_may_be_slow(check: Check, said: bytes) -> None:
    with serving(hold(said)) as server:
        checked = check(server.address, duration=0.2)
    assert checked.severity("head") == checked.severity("buffering") == "unknown"
    assert "none within" in checked.seen("head")
    assert checked.code == 0


def test_redirects_are_followed_and_told(check: Check) -> None:
    script = [Fault.FOUND, Fault.MOVED]
    with in_a_thread(FaultyServer(make_events(9, seed=1), script, seed=1)) as url:
        checked = check(url)
    assert checked.severity("redirects") == "warning"
    assert "2 (302, 308) to" in checked.seen("redirects")
    assert checked.severity("ids") == "ok"


def test_redirects_without_end(check: Check) -> None:
    with serving(*[answer("302 Found", b"", "Location: /again")] * 9) as server:
        checked = check(server.address)
        assert len(server.requests) == 6
    assert checked.severity("status") == "problem"


@pytest.fixture(scope="module")
def uvicorn() -> Iterator[str]:
    with uvicorn_with("check_app:app", Path(__file__).parent) as port:
        yield f"http://127.0.0.1:{port}"


def test_uvicorn_and_sse_starlette(check: Check, uvicorn: str) -> None:
    with urllib.request.urlopen(f"{uvicorn}/events", timeout=BOUND) as response:
        response.readline()  # the first answer waits until all of it is loaded, and comes late
    checked = check(f"{uvicorn}/moved", duration=3.0)
    assert checked.severity("redirects") == "info"
    for each in ("buffering", "ids", "resumption", "retry", "framing", "head", "caching", "fields"):
        assert checked.severity(each) == "ok", checked.findings[each]
    assert checked.severity("heartbeat") == "ok"
    assert "uvicorn" in checked.seen("connection")
    assert checked.report["counts"]["problem"] == 0
    assert checked.code == 0


# --- TLS ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["h2", "http/1.1"])
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    file = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(file)
    return str(file)


BODY = HEAD + b"data: x\n\n"


def test_tls_is_looked_at(check: Check, tls: ssl.SSLContext, ca_file: str) -> None:
    with serving(BODY, BODY, tls=tls) as server:
        checked = check(f"https://{server.address}/", "--cacert", ca_file)
    assert "TLSv1.3" in checked.seen("tls")
    assert checked.severity("certificate") == "ok"
    assert "HTTP/2 is offered" in checked.seen("http")
    assert checked.report["connections"] == 3


def test_a_certificate_that_lives_for_a_day_is_no_problem(
    check: Check, authority: trustme.CA, ca_file: str
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    now, hours = datetime.now(UTC), timedelta(hours=1)
    leaf = authority.issue_cert("127.0.0.1", not_before=now - 2 * hours, not_after=now + 22 * hours)
    leaf.configure_cert(context)
    with serving(BODY, BODY, tls=context) as server:
        checked = check(f"https://{server.address}/", "--cacert", ca_file)
    assert checked.severity("certificate") == "ok"
    assert checked.seen("certificate") == "verified; expires in 22 hours"


def test_a_certificate_that_does_not_verify(check: Check, tls: ssl.SSLContext) -> None:
    with serving(BODY, tls=tls) as server:
        checked = check(f"https://{server.address}/")
    assert checked.severity("tls") == "problem"
    assert "does not verify" in checked.seen("tls")
    assert checked.code == 1


def test_one_that_is_not_to_be_verified(check: Check, tls: ssl.SSLContext) -> None:
    with serving(BODY, BODY, tls=tls) as server:
        checked = check(f"https://{server.address}/", "-k")
    assert checked.severity("certificate") == "unknown"
    assert checked.severity("tls") == "ok"


def test_a_redirect_away_from_tls_is_refused(
    check: Check, tls: ssl.SSLContext, ca_file: str
) -> None:
    away = answer("302 Found", b"", "Location: http://127.0.0.1:1/")
    with serving(away, tls=tls) as server:
        checked = check(f"https://{server.address}/", "--cacert", ca_file)
    assert checked.severity("redirects") == "problem"


def test_a_unix_socket(check: Check, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with serving(BODY, BODY, path=path) as server:
        checked = check("http://localhost/events", "--unix-socket", path)
        assert server.requests[0].startswith(b"GET /events HTTP/1.1\r\n")
    assert checked.severity("status") == "ok"


# --- Hostile ones ------------------------------------------------------------------------------


def endless(opening: bytes, more: bytes) -> Answer:
    def send(connection: socket.socket) -> None:
        connection.sendall(opening)
        while True:
            connection.sendall(more)

    return send


@pytest.mark.parametrize(
    ("hostile", "finding", "seen"),
    [
        (endless(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 1000), "http", "longer than 65536 bytes"),
        (endless(b"HTTP/1.1 200 OK\r\nX: ", b"y" * 9000), "http", "longer than 65536 bytes"),
        (endless(b"", b"SSH-2.0-OpenSSH\r\n"), "http", "does not begin with HTTP/1.x"),
        (endless(HEAD + b"data: ", b"x" * 65536), "event-size", "more than 4.0 MiB"),
        (endless(HEAD, b"data: x\n" * 9000), "event-size", "more than 4.0 MiB"),
        (HEAD[:-4] + b"\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "ending", "malformed chunk"),
    ],
    ids="heads header ssh line event chunk".split(),
)
def test_a_hostile_server_is_a_problem_and_nothing_else(
    check: Check, hostile: Answer, finding: str, seen: str
) -> None:
    with serving(hostile) as server:
        checked = check(server.address, duration=BOUND)  # it is over at once
    assert checked.severity(finding) == "problem"
    assert seen in checked.seen(finding)
    assert checked.code == 1


def test_control_characters_reach_nobody(capfd: pytest.CaptureFixture[str]) -> None:
    head = HEAD[:-4] + b"\r\nServer: \xc2\x9b31m\xe2\x80\xae\r\n\r\n"
    body = b"\x1b[2J\xe2\x80\xae: x\nid: \x1b]0;owned\x07\nevent: \x9b\ndata: x\n\n" * 2
    for form in ([], ["--json"]):
        with serving(head + body, head + body) as server:
            main(["check", server.address, "-v", "--duration", "0.3", *form])
        shown = capfd.readouterr().out
        assert "owned" in shown
        assert not set(shown) & set("\x1b\x07\x9b\u202e")


def test_secrets_are_not_shown(capfd: pytest.CaptureFixture[str]) -> None:
    said = b"first-secret second-secret third-secret"
    head = HEAD[:-4] + b"\r\nServer: %s\r\nVia: %s%s\r\n\r\n" % (said, b"x" * 55, said)
    body = b"id: %s\nevent: %s\n%s: x\ndata: x\n\n" % (said, said, said)
    refused = answer("302 Found", b"", "Location: /other?key=third-secret")
    with serving(refused, head + body * 2, head + body) as server:
        url = f"http://user:second-secret@{server.address}/?key=third-secret"
        main(["check", url, "-v", "--duration", "0.3", "-H", "X-Key: first-secret"])
        assert b"first-secret" in server.requests[1]
    out, err = capfd.readouterr()
    assert "id" in out
    for secret in ("first", "second-s", "third"):
        assert secret not in out + err


# --- None at all, and how it ends --------------------------------------------------------------


def test_a_server_that_is_not_there_is_another_exit_code(check: Check) -> None:
    with serving() as server:
        address = server.address
    checked = check(address)
    assert checked.findings.keys() == {"connect"}
    assert checked.severity("connect") == "problem"
    assert "Connection refused" in checked.seen("connect")
    assert checked.code == 3


def test_warnings_count_if_that_is_wanted(check: Check) -> None:
    for arguments, code in (([], 0), (["--strict"], 1)):
        with serving(*[hold(BODY)] * 2) as server:
            checked = check(server.address, *arguments)
        assert checked.severity("ids") == "warning"
        assert checked.code == code


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"]
)
def test_a_signal_ends_it_with_a_report(number: signal.Signals, code: int) -> None:
    asked = threading.Event()

    def send(connection: socket.socket) -> None:
        connection.sendall(BODY)
        asked.set()
        connection.recv(1)

    with serving(send) as server, started("check", server.address, "--duration", "60") as process:
        assert asked.wait(BOUND)
        process.send_signal(number)
        out, err = process.communicate(timeout=BOUND)
    assert process.returncode == code
    assert err == b""
    assert b"ok       status: 200\n" in out
    assert b"interrupted" in out


def test_the_report_for_people() -> None:
    with serving(BODY, BODY) as server:
        url = f"http://{server.address}/events"
        done = run("check", url, "--duration", "0.3")
    lines = done.stdout.decode().splitlines()
    assert lines[0] == url
    assert "warning  ids: none of 1 events has an id" in lines
    assert any(line.startswith("         Why: An id is how") for line in lines)
    assert any(line.startswith("         Do: Give each event") for line in lines)
    assert done.stderr == b""


def test_output_that_nobody_reads() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with serving(BODY, BODY) as server:
        done = subprocess.run(
            [
                sys.executable,
                "-P",
                "-m",
                "sansio_sse_cli",
                "check",
                server.address,
                "--duration=.3",
            ],
            stdout=writing,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
            timeout=BOUND,
            check=False,
        )
    os.close(writing)
    assert done.returncode == 141
    assert done.stderr == b""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["h", "--duration", "0"], "a duration is a number of seconds"),
        (["h", "--duration", "nan"], "a duration is a number of seconds"),
        (["h", "--duration", "long"], "a duration is a number of seconds"),
        (["ftp://h/"], "the scheme must be http or https"),
        (["h", "-H", "Connection: close"], "belongs to the framing"),
        (["h", "-H", "X: \x01secret"], "control character"),
        (["h", "--cacert", "/nowhere/at/all"], "cannot use /nowhere/at/all"),
    ],
)
def test_a_mistake_is_told_in_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["check", *arguments])
    out, err = capsys.readouterr()
    assert caught.value.code == 2
    assert message in err
    assert err.count("\n") == 1
    assert "secret" not in out + err
