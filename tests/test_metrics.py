"""The counters and their snapshots."""

import pickle
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_sse import ConnectionMetrics, DurationSummary
from sansio_sse.metrics import DURATION_BUCKETS, Counters, HeartbeatCounters


def test_a_snapshot_of_nothing_is_all_zeros() -> None:
    assert Counters().snapshot() == ConnectionMetrics()
    metrics = ConnectionMetrics()
    assert (metrics.connect_success_rate, metrics.heartbeat_success_rate) == (0.0, 0.0)


def test_a_snapshot_is_immutable_and_stays_as_it_was() -> None:
    counters = Counters()
    counters.count_error("network")
    counters.count_connect(0.2)
    counters.heartbeats = HeartbeatCounters()
    before: Any = counters.snapshot(5.0)
    counters.count_error("network")
    counters.count_connect(9.0)
    counters.heartbeats.sent += 1
    counters.events_received += 1
    assert before.errors == {"network": 1}
    assert before.connect_durations.count == 1
    assert (before.heartbeats_sent, before.events_received, before.uptime) == (0, 0, 5.0)
    with pytest.raises(FrozenInstanceError):
        before.uptime = 1.0


def test_a_snapshot_pickles() -> None:
    counters = Counters()
    counters.count_error("timeout")
    counters.count_connect(0.5)
    snapshot = counters.snapshot()
    assert pickle.loads(pickle.dumps(snapshot)) == snapshot


def test_rates_are_percent_of_what_is_known() -> None:
    metrics = ConnectionMetrics(
        connect_attempts=1,
        connect_successes=1,
        reconnect_attempts=3,
        reconnect_successes=2,
        heartbeats_sent=5,
        heartbeats_succeeded=3,
        heartbeats_failed=1,
    )
    assert metrics.connect_success_rate == 75.0
    assert metrics.heartbeat_success_rate == 75.0, "a ping under way is undecided"


@given(st.lists(st.floats(0, 100)))
def test_durations_are_summed_and_sorted_into_buckets(durations: list[float]) -> None:
    counters = Counters()
    for seconds in durations:
        counters.count_connect(seconds)
    summary = counters.snapshot().connect_durations
    if not durations:
        assert summary == DurationSummary()
        return
    assert summary.count == len(durations) == sum(summary.buckets)
    assert summary.sum == pytest.approx(sum(durations))
    assert (summary.min, summary.max, summary.last) == (
        min(durations),
        max(durations),
        durations[-1],
    )
    bounds = (*DURATION_BUCKETS, float("inf"))
    low = -1.0
    for bound, count in zip(bounds, summary.buckets, strict=True):
        assert count == sum(low < seconds <= bound for seconds in durations)
        low = bound


def test_the_bounds_of_the_buckets_are_included() -> None:
    counters = Counters()
    for bound in DURATION_BUCKETS:
        counters.count_connect(bound)
    counters.count_connect(11.0)
    assert set(counters.snapshot().connect_durations.buckets) == {1}


def test_errors_are_counted_by_category() -> None:
    counters = Counters()
    for category in ("network", "timeout", "network"):
        counters.count_error(category)
    assert counters.snapshot().errors == {"network": 2, "timeout": 1}


def test_groups_that_many_never_need_are_made_when_something_happens() -> None:
    counters = Counters()
    assert counters.errors is None
    assert counters.connect_durations is None
    assert counters.heartbeats is None
