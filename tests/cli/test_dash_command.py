"""``sansio-sse dash`` as a shell sees it: what it prints, how it ends, what it keeps to itself."""

import json
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sansio_sse_cli import main

from .support import BOUND, HEAD, hold, run, serving, started

PROMPTLY = 3.0  # on a machine that is busy with something else
TOKEN = "correct-horse-battery"


@contextmanager
def shown(*args: str) -> "Generator[tuple[subprocess.Popen[bytes], str]]":
    """Start the command; return it and the address it prints."""
    with started("dash", *args) as process:
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        assert line.startswith("live page: http://"), line
        yield process, line.removeprefix("live page: ").strip()


def feed_until(address: str, condition: Callable[[dict[str, Any]], object], *headers: str) -> str:
    """Read the beginning of the feed again and again, until it is as it should be."""
    url = address.partition("#")[0].replace("0.0.0.0", "127.0.0.1") + "feed"
    request = urllib.request.Request(url)
    for header in headers:
        request.add_header(*header.split(": "))
    until = time.monotonic() + BOUND
    while time.monotonic() < until:
        with urllib.request.urlopen(request, timeout=BOUND) as response:
            data = ""
            while not data:
                line = response.readline().decode()
                data = line.removeprefix("data: ").strip() if line.startswith("data: ") else ""
        if condition(json.loads(data)):
            return data
        time.sleep(0.05)
    raise TimeoutError


def connected(state: dict[str, Any]) -> bool:
    return all(stream["state"] == "connected" for stream in state["streams"].values())


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"]
)
@pytest.mark.parametrize("pool", [(), ("--pool",)], ids=["streams", "pool"])
def test_a_signal_ends_it_at_once_and_in_order(
    number: signal.Signals, code: int, pool: tuple[str, ...]
) -> None:
    with serving(hold(HEAD)) as server, shown(server.address, *pool) as (process, address):
        feed_until(address, lambda state: state["streams"] and connected(state))
        process.send_signal(number)
        sent = time.monotonic()
        _, err = process.communicate(timeout=BOUND)
        assert time.monotonic() - sent < PROMPTLY
    assert process.returncode == code
    assert err == b""


def test_it_ends_with_a_viewer_looking() -> None:
    with serving(hold(HEAD)) as server, shown(server.address) as (process, address):
        with urllib.request.urlopen(f"{address}feed", timeout=BOUND) as response:
            assert response.readline()
            process.send_signal(signal.SIGTERM)
            response.read()  # to its end
        _, err = process.communicate(timeout=BOUND)
    assert process.returncode == 143
    assert err == b""


def test_what_streams_do_is_on_the_feed_and_failing_ends_nothing() -> None:
    event = b"event: note\nid: 7\ndata: hello\n\n"
    answers = [HEAD + event, hold(HEAD)]
    with serving(*answers) as server, shown(server.address, "127.0.0.1:9") as (process, address):
        data = feed_until(address, lambda state: state["streams"]["1"]["reconnects"] == 1)
        assert process.poll() is None
    state = json.loads(data)
    (latest,) = state["streams"]["1"]["latest"].values()
    assert (latest["type"], latest["id"], latest["data"]) == ("note", "7", "hello")
    assert state["streams"]["2"]["state"] == "reconnecting"
    assert {entry["kind"] for entry in state["feed"].values()} == {"retry", "recovered"}


def test_a_pool_is_followed_by_all_its_members() -> None:
    event = b"data: hello\n\n"
    with (
        serving(*[hold(HEAD + event)] * 4) as server,
        shown("--pool", "--members", "3", server.address) as (_, address),
    ):
        data = feed_until(
            address,
            lambda state: (
                sum(stream["events"] for stream in state["streams"].values()) == 3
                and all(stream["latest"] for stream in state["streams"].values())
            ),
        )
    state = json.loads(data)
    assert state["about"]["mode"] == "pool"
    assert state["pool"]["active"] == state["pool"]["size"] == 3
    assert state["pool"]["utilization"] == 100
    assert state["endpoints"]["0"]["breaker"] == "closed"


def test_what_was_given_in_confidence_is_on_no_page() -> None:
    secrets = ["hunter2hunter2", "q-secret", "pw-secret"]
    echo = "data: " + " ".join(secrets) + "\n\n"
    refusal = b"HTTP/1.1 503 Busy\r\nContent-Length: 14\r\nConnection: close\r\n\r\nhunter2hunter2"
    with serving(refusal, hold(HEAD + echo.encode())) as server:
        url = f"http://me:pw-secret@{server.address}/?token=q-secret"
        with shown(url, "-H", "X-Key: hunter2hunter2") as (_, address):
            data = feed_until(address, lambda state: state["streams"]["1"]["latest"])
    assert not [secret for secret in secrets if secret in data]
    assert json.loads(data)["streams"]["1"]["latest"]["1"]["data"] == "… … …"


@pytest.mark.parametrize(
    ("data", "echo"),
    [
        ("user=me&key=d%2Dsecret", "d%2Dsecret d-secret"),
        ('{"keys": [{"a": "d-secret"}, 1]}', "d-secret"),
        ("all-of-it", "all-of-it"),
        ("user=me&key=d-secret", "user=me&key=d-secret"),
    ],
    ids=["form", "JSON", "text", "whole"],
)
def test_data_that_was_sent_is_on_no_page_either(data: str, echo: str) -> None:
    with (
        serving(hold(HEAD + f"data: {echo}\n\n".encode())) as server,
        shown(server.address, "-d", data) as (_, address),
    ):
        feed = feed_until(address, lambda state: state["streams"]["1"]["latest"])
    (event,) = json.loads(feed)["streams"]["1"]["latest"].values()
    assert event["data"].replace("…", "").strip() == ""


# --- Who may see it ------------------------------------------------------------------------------


def test_beyond_this_machine_a_token_is_made_and_told_once() -> None:
    with serving(hold(HEAD)) as server, shown("--host", "0.0.0.0", server.address) as (_, address):
        place, _, token = address.partition("#token=")
        assert re.fullmatch(r"[\w-]{32}", token)
        with pytest.raises(urllib.error.HTTPError, match="401"):
            feed_until(place, bool)
        feed_until(place, connected, f"Authorization: Bearer {token}")


def test_a_token_that_was_given_is_not_printed() -> None:
    with serving(hold(HEAD)) as server, shown("--token", TOKEN, server.address) as (run_, address):
        assert "#" not in address
        with pytest.raises(urllib.error.HTTPError, match="401"):
            feed_until(address, bool)
        feed_until(address, connected, f"Authorization: Bearer {TOKEN}")
        run_.send_signal(signal.SIGTERM)
        out, err = run_.communicate(timeout=BOUND)
    assert TOKEN.encode() not in out + err


def test_a_token_may_come_from_a_file_or_standard_input_where_no_list_of_processes_has_it(
    tmp_path: Path,
) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    with (
        serving(hold(HEAD)) as server,
        shown("--token", f"@{file}", server.address) as (_, address),
    ):
        assert "#" not in address
        with pytest.raises(urllib.error.HTTPError, match="401"):
            feed_until(address, bool, f"Authorization: Bearer @{file}")
        feed_until(address, connected, f"Authorization: Bearer {TOKEN}")
    done = run("dash", "--token", "@-", "--host", "a..b", "x", stdin=TOKEN.encode())
    assert done.returncode == 1  # the token was taken, the host was not
    assert b"a..b" in done.stderr


@pytest.mark.parametrize("name", ["missing", "null\0", "."])
def test_a_token_file_that_cannot_be_read_is_told(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["dash", "--token", f"@{tmp_path}/{name}", "x"])
    assert "--token: cannot read" in capsys.readouterr().err


def test_names_are_served_that_were_allowed() -> None:
    with (
        serving(hold(HEAD)) as server,
        shown("--allow-host", "page.example", server.address) as (_, address),
    ):
        feed_until(address, connected, "Host: page.example:80")
        with pytest.raises(urllib.error.HTTPError, match="403"):
            feed_until(address, connected, "Host: evil.example")


# --- Mistakes ------------------------------------------------------------------------------------


def test_a_port_that_is_taken_is_a_failure_in_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("dash", "--port", str(port), "127.0.0.1:9")
    assert done.returncode == 1
    assert done.stdout == b""
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith(f"sansio-sse: cannot listen on 127.0.0.1 port {port}: ")


@pytest.mark.parametrize("host", ["a..b", "x" * 70, "name\udcff"], ids=["empty", "long", "bytes"])
def test_a_host_that_cannot_be_is_a_failure_in_a_sentence(host: str) -> None:
    done = run("dash", "--host", host, "127.0.0.1:9")
    assert done.returncode == 1
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("sansio-sse: cannot listen on ")
    assert line.endswith(" port 0: this is no address")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "URL"),
        (["--token", "short", "x"], "from 16"),
        (["--token", "with a \n line end in it", "x"], "visible"),
        (["--token", "with a space at its end ", "x"], "spaces"),
        (["--token", "with umlauts: äöüß", "x"], "ASCII"),
        (["--token", "x" * 513, "x"], "512"),
        (["--members", "2", "x"], "--pool"),
        (["--port", "70000", "x"], "--port"),
        (["--viewers", "0", "x"], "--viewers"),
        (["--pool", "ftp://x"], "http"),
        (["http://"], "url"),
    ],
)
def test_wrong_usage_is_told_in_one_line(args: list[str], said: str) -> None:
    done = run("dash", *args)
    assert done.returncode == 2
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("sansio-sse dash: error: ")
    assert said.lower() in line.lower()
    assert "Traceback" not in line
    assert "short" not in line


def test_a_token_is_not_repeated_by_the_message_that_refuses_it() -> None:
    done = run("dash", "--token", "s3cret", "127.0.0.1:9")
    assert b"s3cret" not in done.stdout + done.stderr


def test_help_tells_of_every_option_and_of_exit_codes() -> None:
    done = run("dash", "--help")
    assert done.returncode == 0
    text = done.stdout.decode()
    for option in ("--pool", "--members", "--host", "--port", "--token", "--allow-host", "-H"):
        assert option in text
    assert "exit codes:" in text
