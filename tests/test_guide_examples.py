"""The examples of the guide run as programs, meet faults, and do what they say."""

import itertools
import json
import re
import signal
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest
import trustme
from prometheus_client.parser import text_string_to_metric_families

from contract.server import Peer, Seen, Server
from examples import run_example
from guide_servers import STOP, Program, cut, free_port, get, held, refuse, until, whole
from sansio_sse import encode_event

INTERRUPTED = 130


def price(symbol: str, rate: float) -> str:
    return json.dumps({"symbol": symbol, "rate": rate})


# --- basic.py ----------------------------------------------------------------------------------


def test_basic_prints_prices_through_a_cut_and_a_503() -> None:
    scripts = [
        cut(price("EUR", 1.07), "no json", price("CHF", 0.94)),
        refuse(503, ("Retry-After", "0")),
        whole(price("JPY", 171.5), first=4),
        STOP,
    ]
    with Server(scripts) as server:
        run = run_example("basic.py", server.url)
        assert run.stdout == "EUR 1.07\nCHF 0.94\nJPY 171.50\n"
        assert run.stderr == "event 'message' (id '2') could not be decoded: JSONDecodeError\n"
        assert run.returncode == 0
        assert [request.cursor for request in server.requests] == [None, "3", "3", "4"]


def test_basic_says_why_it_was_refused() -> None:
    with Server(refuse(403, body=b"not for you")) as server:
        run = run_example("basic.py", server.url)
    assert run.returncode == 1
    assert run.stderr.startswith("HTTPStatusError: the server answered 403")
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize(
    ("name", "more"), [("basic.py", []), ("heartbeat.py", []), ("pooling.py", ["share"])]
)
def test_ctrl_c_ends_an_example_without_a_word(name: str, more: list[str]) -> None:
    with Server(held(price("EUR", 1.07))) as server, Program(name, *more, server.url) as program:
        program.lines.until(lambda line: "EUR" in line)
        program.signal(signal.SIGINT)
        assert program.wait() == INTERRUPTED
        assert "Traceback" not in "".join(program.errors.rest())


# --- pooling.py --------------------------------------------------------------------------------


def test_pooling_asks_three_questions_over_one_connection() -> None:
    def answer(peer: Peer, seen: Seen) -> None:
        question = json.loads(seen.body)["question"]
        peer.reply("the", "answer", "to", question, "[DONE]")

    with Server(answer) as server:
        run = run_example("pooling.py", "ask", server.url)
        assert (run.returncode, run.stderr) == (0, "")
        *answers, last = run.stdout.splitlines()
        assert answers == [f"{word}: the answer to {word}" for word in ("one", "two", "three")]
        assert last == "3 members, 1 handshakes, 2 reuses"
        assert len(server.visits) == 1


def test_pooling_shares_one_stream_and_fails_over_to_the_other_server() -> None:
    with (
        Server([cut("a", "b"), refuse(503)]) as one,
        Server([cut("c", first=3), STOP]) as other,
    ):
        run = run_example("pooling.py", "share", one.url, other.url)
        assert (run.returncode, run.stderr) == (0, "")
        lines = run.stdout.splitlines()
        assert [line for line in lines if line.startswith("ledger")] == [
            f"ledger: {data}" for data in "abc"
        ]
        assert [line for line in lines if line.startswith("ticker")] == [
            f"ticker: {data}" for data in "abc"
        ]
        assert lines[-1].startswith("1 members")


def test_pooling_deals_jobs_out_among_workers() -> None:
    jobs = itertools.count(1)

    def deal(peer: Peer, _seen: Seen) -> None:
        peer.stream()
        while True:
            peer.event(f"job {next(jobs)}")
            peer.sleep(0.01)

    with Server(deal) as server:
        run = run_example("pooling.py", "work", server.url)
    assert (run.returncode, run.stderr) == (0, "")
    *done, last = run.stdout.splitlines()
    assert len({line.rpartition(" ")[2] for line in done}) == 9  # nothing was done twice
    assert sorted(line.split()[0] for line in done) == ["Ada"] * 3 + ["Bob"] * 3 + ["Cyd"] * 3
    assert last.startswith("3 members")


def test_pooling_says_why_nothing_could_be_had() -> None:
    with Server(refuse(403)) as server:
        run = run_example("pooling.py", "work", server.url)
    assert run.returncode == 1
    assert "HTTPStatusError: the server answered 403" in run.stderr
    assert "Traceback" not in run.stderr


# --- reconnection.py ---------------------------------------------------------------------------


def test_reconnection_renews_its_token_once_and_keeps_its_cursor(tmp_path: Path) -> None:
    cursor, token = tmp_path / "cursor", tmp_path / "token"
    token.write_text("stale\n")

    def expired(peer: Peer, _seen: Seen) -> None:
        token.write_text("fresh\n")
        peer.respond(401)

    with Server([cut("a", "b"), expired, whole("c", first=3), STOP]) as server:
        run = run_example("reconnection.py", server.url, str(cursor), str(token))
        assert run.returncode == 0
        assert run.stdout == "from the beginning\na\nb\nc\n"
        assert cursor.read_text() == "3"
        assert [request.cursor for request in server.requests] == [None, "2", "2", "3"]
        tokens = [request.header("authorization") for request in server.requests]
        assert tokens == ["Bearer stale", "Bearer stale", "Bearer fresh", "Bearer fresh"]
    assert "connected -> reconnecting: the server closed the connection" in run.stderr
    assert "HTTPStatusError: the server answered 401" in run.stderr
    assert "stale" not in run.stderr
    assert "fresh" not in run.stderr
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["cursor", "token"]


def test_reconnection_begins_anew_where_the_cursor_is_gone(tmp_path: Path) -> None:
    cursor, token = tmp_path / "cursor", tmp_path / "token"
    token.write_text("t")
    cursor.write_text("17")
    with Server([refuse(410), whole("a"), STOP]) as server:
        run = run_example("reconnection.py", server.url, str(cursor), str(token))
        assert (run.returncode, run.stdout) == (0, "from the beginning\na\n")
        assert [request.cursor for request in server.requests] == ["17", None, "1"]
    assert cursor.read_text() == "1"


def test_reconnection_resumes_from_the_file_without_a_snapshot(tmp_path: Path) -> None:
    cursor, token = tmp_path / "cursor", tmp_path / "token"
    token.write_text("t")
    cursor.write_text("2")
    with Server([whole("c", first=3), STOP]) as server:
        run = run_example("reconnection.py", server.url, str(cursor), str(token))
    assert (run.returncode, run.stdout) == (0, "c\n")


def test_reconnection_gives_up_at_the_second_401_in_a_row(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("stale")
    with Server(refuse(401)) as server:
        run = run_example("reconnection.py", server.url, str(tmp_path / "cursor"), str(token))
        assert len(server.requests) == 2
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1].startswith("gave up: the server answered 401")


# --- heartbeat.py ------------------------------------------------------------------------------


def test_heartbeat_tells_a_quiet_stream_from_a_dead_server() -> None:
    alive = threading.Event()
    alive.set()

    def ping(peer: Peer, _seen: Seen) -> None:
        if not alive.is_set():
            peer.stall()
        peer.respond(200)

    with (
        Server([held("one"), whole("two", first=2), STOP]).at("/ping", ping) as server,
        Program("heartbeat.py", server.url, "0.4") as program,
    ):
        program.errors.until(lambda line: re.search(r": [2-9] of \d+ pings answered, 0 m", line))
        alive.clear()
        program.errors.until(lambda line: "1 missed in a row" in line)
        program.errors.until(lambda line: "connected -> reconnecting: HeartbeatTimeout" in line)
        assert program.wait() == 0
        assert program.lines.rest() == ["one", "two"]


def test_heartbeat_takes_silence_for_death_even_where_pings_are_answered() -> None:
    with (
        Server([held("one"), STOP]).at("/ping", refuse(200)) as server,
        Program("heartbeat.py", server.url, "0.3") as program,
    ):
        program.errors.until(lambda line: "connected -> reconnecting: IdleTimeout" in line)
        assert program.wait() == 0


# --- advanced_configuration.py -----------------------------------------------------------------


def test_advanced_configuration_uses_what_its_toml_says() -> None:
    with Server([cut("a"), whole("b", first=2), STOP]) as server:
        run = run_example("advanced_configuration.py", server.url)
        assert (run.returncode, run.stdout) == (0, "a\nb\n")
        assert {request.header("x-team") for request in server.requests} == {"prices"}
        ids = [request.header("x-request-id") for request in server.requests]
        assert len(set(ids)) == 3  # each attempt has one of its own
    assert "idle=120.0" in run.stderr
    assert "prices" not in run.stderr


def test_advanced_configuration_reads_the_environment() -> None:
    with Server([whole("a"), STOP]) as server:
        settings = {"SSE_TIMEOUTS_IDLE": "90s", "SSE_HEADERS": "X-Team: orders"}
        run = run_example("advanced_configuration.py", server.url, **settings)
        assert (run.returncode, run.stdout) == (0, "a\n")
        assert {request.header("x-team") for request in server.requests} == {"orders"}
    assert "idle=90.0" in run.stderr


def test_advanced_configuration_names_every_mistake() -> None:
    settings = {"SSE_TIMEOUTS_IDEL": "90s", "SSE_BUFFER_SIZE": "0"}
    run = run_example("advanced_configuration.py", "http://127.0.0.1:9/", **settings)
    assert run.returncode == 1
    assert run.stderr.startswith("ConfigError: ")
    assert "SSE_TIMEOUTS_IDEL" in run.stderr
    assert "SSE_BUFFER_SIZE" in run.stderr
    assert "Traceback" not in run.stderr


def test_advanced_configuration_trusts_the_authority_it_is_given(tmp_path: Path) -> None:
    authority = trustme.CA()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    authorities = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(authorities))
    with Server([whole("a"), STOP], tls=tls) as server:
        run = run_example("advanced_configuration.py", server.url, str(authorities))
        assert (run.returncode, run.stdout) == (0, "a\n")
        refused = run_example("advanced_configuration.py", server.url)
    assert refused.returncode == 1
    assert "TLSError: the certificate does not verify" in refused.stderr


# --- production.py -----------------------------------------------------------------------------


def logged(line: str) -> dict[str, Any]:
    entry: dict[str, Any] = json.loads(line)
    return entry


def sample(exposed: str, name: str, **labels: str) -> float:
    """Return the sum of a metric's samples that have these labels."""
    return sum(
        one.value
        for family in text_string_to_metric_families(exposed)
        for one in family.samples
        if one.name == name and labels.items() <= one.labels.items()
    )


def test_production_is_ready_while_a_server_is_well_and_counts_what_happens(
    tmp_path: Path,
) -> None:
    port, cursor = free_port(), tmp_path / "cursor"
    gone = refuse(503)
    with (
        Server([held("a", "b"), gone]) as one,
        Server([held("c", first=3), gone]) as other,
        Program("production.py", str(port), str(cursor), one.url, other.url) as program,
    ):
        program.lines.until(lambda line: line == "b")
        assert get(port, "/ready") == (200, "ready\n")
        assert get(port, "/live") == (200, "alive\n")
        assert get(port, "/nothing")[0] == 404
        until(lambda: cursor.exists() and cursor.read_text() == "2")

        one.close()  # it dies: its stream is cut, and nobody listens there any more
        program.lines.until(lambda line: line == "c")
        assert get(port, "/ready")[0] == 200
        assert [request.cursor for request in other.requests] == ["2"]
        exposed = get(port, "/metrics")[1]
        assert sample(exposed, "sse_client_events_received_total") == 3
        assert sample(exposed, "sse_client_reconnect_successes_total") == 1
        assert sample(exposed, "sse_client_errors_total", category="network") >= 1
        assert sample(exposed, "sse_client_pool_healthy_members") == 1
        lost = logged(program.errors.until(lambda line: '"sse_state": "reconnecting"' in line))
        assert lost["level"] == "INFO"
        assert lost["sse_error"] == "RemoteProtocolError"  # cut within a chunked body
        assert lost["sse_url"] == one.url

        other.close()
        until(lambda: get(port, "/ready")[0] == 503)
        assert get(port, "/live")[0] == 200
        exposed = get(port, "/metrics")[1]
        assert sample(exposed, "sse_client_pool_healthy_members") == 0

        program.signal(signal.SIGTERM)  # it drains while there is nothing to drain
        assert program.wait() == 0
        assert cursor.read_text() == "3"


def test_production_handles_what_it_has_and_stores_the_cursor_before_it_ends(
    tmp_path: Path,
) -> None:
    port, cursor = free_port(), tmp_path / "cursor"
    orders = [f"{number:080}" for number in range(1, 601)]

    def at_once(peer: Peer, _seen: Seen) -> None:
        peer.stream(chunked=True)
        events = (encode_event(order, id=str(number)) for number, order in enumerate(orders, 1))
        peer.body(b"".join(events))
        peer.stall()

    with (
        Server(at_once) as server,
        Program("production.py", str(port), str(cursor), server.url) as program,
    ):
        program.lines.go.clear()  # its work is held up, with the rest in its buffer
        until(cursor.exists)
        program.signal(signal.SIGTERM)
        program.errors.until(lambda line: "draining" in line)
        assert get(port, "/ready")[0] == 503
        assert int(cursor.read_text()) < len(orders)
        program.lines.go.set()
        assert program.wait() == 0
        assert program.lines.rest() == orders
        assert cursor.read_text() == "600"
        entries = [logged(line) for line in program.errors.rest()]
        said = [entry["message"] for entry in entries if entry["logger"] == "service"]
        assert said == ["draining", "stopped, next is what comes after '600'"]
        assert len(server.requests) == 1


def test_production_resumes_where_the_one_before_it_ended(tmp_path: Path) -> None:
    cursor = tmp_path / "cursor"
    cursor.write_text("17")
    with (
        Server([whole("a", first=18), STOP]) as server,
        Program("production.py", str(free_port()), str(cursor), server.url) as program,
    ):
        assert program.wait() == 0  # the server said stop
        assert [request.cursor for request in server.requests] == ["17", "18"]
        assert program.lines.rest() == ["a"]
        assert cursor.read_text() == "18"


def test_production_is_alive_and_not_ready_until_there_is_a_server(tmp_path: Path) -> None:
    port = free_port()
    with (
        Server([refuse(503), refuse(503), held("a")]) as server,
        Program("production.py", str(port), str(tmp_path / "cursor"), server.url) as program,
    ):
        program.errors.until(lambda line: "retry 1" in line)
        assert program.lines.until(lambda line: line == "a")
        assert get(port, "/ready")[0] == 200
        program.signal(signal.SIGINT)
        assert program.wait() == 0


def test_production_ends_with_an_error_where_it_is_refused_for_good(tmp_path: Path) -> None:
    with (
        Server(refuse(403)) as server,
        Program("production.py", str(free_port()), str(tmp_path / "cursor"), server.url) as program,
    ):
        assert program.wait() == 1
        last = logged(program.errors.rest()[-1])
        assert last["level"] == "CRITICAL"
        assert last["message"].startswith("HTTPStatusError: the server answered 403")
