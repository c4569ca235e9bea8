"""When to ping, what clears a miss, and what goes along with a request beside the stream."""

import pytest

from sansio_sse import ConfigError, HeartbeatConfig, Request
from sansio_sse.heartbeat import Heartbeat, ping_request, side_request
from sansio_sse.metrics import HeartbeatCounters

CONFIG = HeartbeatConfig(enabled=True, interval=30, timeout=5)


def test_a_ping_is_due_an_interval_after_life_or_the_last_ping() -> None:
    beat = Heartbeat()
    counters = HeartbeatCounters()
    assert beat.due(CONFIG, 100.0) == 130.0
    beat.sent(7, CONFIG, 130.0, counters)
    assert (beat.ping, beat.answer_by) == (7, 135.0)
    assert beat.due(CONFIG, 100.0) == 160.0
    assert beat.due(CONFIG, 140.0) == 170.0
    assert (counters.sent, counters.last) == (1, 130.0)


def test_misses_count_in_a_row_and_an_answer_clears_them() -> None:
    beat = Heartbeat()
    counters = HeartbeatCounters()
    for expected in (1, 2):
        beat.sent(1, CONFIG, 130.0, counters)
        assert beat.missed_one(100.0, counters) == expected
        assert beat.ping == 0
        assert beat.in_a_row(100.0) == expected
    beat.sent(1, CONFIG, 160.0, counters)
    beat.answered(counters)
    assert (beat.ping, beat.missed) == (0, 0)
    assert (counters.sent, counters.succeeded, counters.failed) == (3, 1, 2)


def test_bytes_outweigh_a_miss() -> None:
    beat = Heartbeat()
    counters = HeartbeatCounters()
    beat.sent(1, CONFIG, 130.0, counters)
    assert beat.missed_one(131.0, counters) == 0
    beat.sent(1, CONFIG, 165.0, counters)
    assert beat.missed_one(131.0, counters) == 1
    assert beat.in_a_row(166.0) == 0
    assert counters.failed == 2


STREAM = Request(
    "POST",
    "https://a.example/deep/chat?x=1",
    (
        ("Authorization", "t"),
        ("Accept", "text/event-stream"),
        ("Accept-Language", "cy"),
        ("LAST-EVENT-ID", "7"),
        ("Idempotency-Key", "k"),
        ("Content-Type", "application/json"),
        ("User-Agent", "me"),
    ),
    b"{}",
)


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("/ping", "https://a.example/ping"),
        ("ping?x=1", "https://a.example/ping?x=1"),
        ("https://a.example:443/p", "https://a.example:443/p"),
    ],
)
def test_a_ping_goes_to_the_streams_own_origin_with_its_credentials(
    endpoint: str, url: str
) -> None:
    ping = ping_request(STREAM, endpoint)
    assert (ping.method, ping.url, ping.content) == ("GET", url, None)
    names = [name for name, _ in ping.headers]
    assert names == ["Authorization", "Accept-Language", "User-Agent"]


@pytest.mark.parametrize(
    "endpoint", ["https://b.example/ping", "http://a.example/ping", "https://a.example:444/ping"]
)
def test_a_ping_to_another_origin_has_no_credentials(endpoint: str) -> None:
    assert [name for name, _ in ping_request(STREAM, endpoint).headers] == [
        "Accept-Language",
        "User-Agent",
    ]


@pytest.mark.parametrize(
    "url", ["ftp://a.example/", "mailto:me", "http://[", "https://a.example:0/"]
)
def test_a_request_beside_the_stream_is_checked(url: str) -> None:
    with pytest.raises(ConfigError):
        side_request(STREAM, "POST", url)


def test_a_request_beside_the_stream_is_relative_to_the_stream() -> None:
    request = side_request(STREAM, "PUT", "up", b"hi")
    assert (request.method, request.url, request.content) == (
        "PUT",
        "https://a.example/deep/up",
        b"hi",
    )
