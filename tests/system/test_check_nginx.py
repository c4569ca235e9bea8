"""``sansio-sse check`` against a real nginx: it notices a buffer, and only a buffer."""

import json
from pathlib import Path
from typing import Any

import pytest

from sansio_sse_cli import main
from system.nginx_server import EventServer, events, nginx

Stream = dict[str, Any]  # arguments of an EventServer

STEADY: Stream = {"size": 200, "pace": 0.02}
SLOWER: Stream = {"size": 200, "pace": 0.025}  # a buffer of 4 KiB is full after half a second
RARE: Stream = {"size": 40, "pace": 0.3}
BATCHES: Stream = {"size": 60, "pace": 0.3, "batch": 20}
LARGE_BATCHES: Stream = {"size": 500, "pace": 0.3, "batch": 40}
HUGE: Stream = {"size": 9_000, "pace": 0.3}
SLOWER_HUGE: Stream = {"size": 9_000, "pace": 0.5}


class Checked:
    """What the check said."""

    def __init__(self, code: int, out: str) -> None:
        self.code = code
        self.report: dict[str, Any] = json.loads(out)
        self.findings = {each["id"]: each for each in self.report["findings"]}

    def severity(self, check: str) -> str:
        return str(self.findings[check]["severity"])

    def seen(self, check: str) -> str:
        return str(self.findings[check]["seen"])


class Checker:
    """Checks a server behind nginx."""

    def __init__(self, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
        self._folder = folder
        self._capfd = capfd

    def __call__(self, server: EventServer, directives: str, duration: float = 1.3) -> Checked:
        with events(server) as port, nginx(port, directives, self._folder) as url:
            code = main(["check", url, "--json", "--duration", str(duration)])
        return Checked(code, self._capfd.readouterr().out)


@pytest.fixture
def check(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Checker:
    return Checker(tmp_path, capfd)


@pytest.mark.parametrize(
    ("stream", "duration", "seen"),
    [(SLOWER, 3.0, "most of 4096 bytes, end in the middle of a line"), (SLOWER_HUGE, 2.2, "")],
    ids=["steady", "huge"],
)
def test_a_buffer_is_noticed(check: Checker, stream: Stream, duration: float, seen: str) -> None:
    checked = check(EventServer(**stream), "proxy_buffering on; proxy_buffers 8 4k;", duration)
    assert checked.severity("buffering") == "problem"
    assert seen in checked.seen("buffering")
    assert "on the way: nginx" in checked.seen("buffering")
    assert checked.code == 1


def test_a_buffer_that_is_never_full_holds_back_even_the_head(check: Checker) -> None:
    checked = check(EventServer(**RARE), "proxy_buffering on;")
    assert checked.severity("head") == checked.severity("buffering") == "unknown"
    assert "none within" in checked.seen("head")  # which after 5 s is a problem


def test_a_stream_that_is_passed_on_at_its_end_is_noticed(check: Checker) -> None:
    checked = check(EventServer(**RARE, count=5), "proxy_buffering on;", 2.5)
    assert checked.severity("buffering") == "warning"
    assert "came all at once, when the response ended" in checked.seen("buffering")


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (STEADY, "ok"),
        (RARE, "ok"),
        (BATCHES, "info"),
        (LARGE_BATCHES, "info"),
        (HUGE, "ok"),
    ],
    ids=["steady", "rare", "batches", "large batches", "huge"],
)
def test_without_a_buffer_nothing_is_complained_about(
    check: Checker, stream: Stream, expected: str
) -> None:
    checked = check(EventServer(**stream), "proxy_buffering off; proxy_http_version 1.1;")
    assert checked.severity("buffering") == expected
    assert checked.severity("resumption") == "ok"
    assert checked.report["counts"]["problem"] == 0
    assert checked.code == 0


def test_the_server_can_switch_the_buffer_off(check: Checker) -> None:
    checked = check(EventServer(**STEADY, headers="X-Accel-Buffering: no"), "proxy_buffering on;")
    assert checked.severity("buffering") == "ok"
    assert checked.code == 0


def test_compression_is_flushed_where_nothing_is_buffered(check: Checker) -> None:
    directives = "proxy_buffering off; gzip on; gzip_types text/event-stream; gzip_min_length 0;"
    checked = check(EventServer(**RARE), directives)
    assert checked.severity("compression") == "ok"
    assert "gzip" in checked.seen("compression")
