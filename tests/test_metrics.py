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


# --- Several together --------------------------------------------------------------------------


def counters() -> st.SearchStrategy[Counters]:
    """What a connection may have counted."""
    numbers = st.integers(0, 2**40)
    times = st.none() | st.floats(0, 1e9)

    def build(counts: list[int], ats: list[Any], errors: dict[str, int], took: list[float]) -> Any:
        made = Counters()
        for name, number in zip(SUMMED, counts, strict=False):
            setattr(made, name, number)
        made.last_connect, made.last_disconnect, made.last_event = ats[:3]
        made.longest_silence = ats[3] or 0.0
        for category, number in errors.items():
            for _ in range(number):
                made.count_error(category)
        for seconds in took:
            made.count_connect(seconds)
        if counts[-1] % 2:
            made.heartbeats = HeartbeatCounters()
            made.heartbeats.sent, made.heartbeats.succeeded = counts[-1], counts[-1] // 2
            made.heartbeats.failed = counts[-1] - counts[-1] // 2
            made.heartbeats.last = ats[4]
        return made

    size = len(SUMMED) + 1
    return st.builds(
        build,
        st.lists(numbers, min_size=size, max_size=size),
        st.lists(times, min_size=5, max_size=5),
        st.dictionaries(st.sampled_from(["network", "timeout"]), st.integers(1, 5)),
        st.lists(st.floats(0, 100), max_size=4),
    )


SUMMED = [
    name
    for name in ConnectionMetrics.__dataclass_fields__
    if name not in ("connect_durations", "errors", "longest_silence", "uptime")
    and not name.startswith(("last_", "heartbeats_"))
]


@given(st.lists(counters(), max_size=4))
def test_a_total_is_the_sum_of_all_snapshots(each: list[Counters]) -> None:
    snapshots = [one.snapshot(float(place)) for place, one in enumerate(each)]
    total = ConnectionMetrics.total(snapshots)
    beats = ("heartbeats_sent", "heartbeats_succeeded", "heartbeats_failed")
    for name in (*SUMMED, *beats):
        assert getattr(total, name) == sum(getattr(one, name) for one in snapshots), name
    for name in ("last_connect", "last_disconnect", "last_event", "last_heartbeat"):
        times = [at for one in snapshots if (at := getattr(one, name)) is not None]
        assert getattr(total, name) == max(times, default=None)
    assert total.uptime == max(0.0, len(snapshots) - 1.0)
    assert total.longest_silence == max((one.longest_silence for one in snapshots), default=0.0)
    for category in ("network", "timeout"):
        assert total.errors.get(category, 0) == sum(s.errors.get(category, 0) for s in snapshots)
    durations = [one.connect_durations for one in snapshots]
    assert total.connect_durations.count == sum(one.count for one in durations)
    assert total.connect_durations.sum == pytest.approx(sum(one.sum for one in durations))
    assert (
        list(total.connect_durations.buckets)
        == [sum(bucket) for bucket in zip(*(one.buckets for one in durations), strict=True)]
        or not durations
    )
    known = [one for one in durations if one.count]
    if known:
        assert total.connect_durations.min == min(one.min for one in known if one.min is not None)
        assert total.connect_durations.max == max(one.max for one in known if one.max is not None)


@given(counters(), counters())
def test_counters_add_up_as_their_snapshots_do_and_stay_as_they_are(
    one: Counters, other: Counters
) -> None:
    before = one.snapshot(), other.snapshot()
    assert one.plus(other).snapshot() == ConnectionMetrics.total(before)
    assert (one.snapshot(), other.snapshot()) == before


def test_metrics_read_well() -> None:
    metrics = ConnectionMetrics(
        connect_attempts=1,
        connect_successes=1,
        reconnect_attempts=3,
        reconnect_successes=2,
        heartbeats_sent=5,
        heartbeats_succeeded=4,
        bytes_received=1,
        events_received=120,
        events_dropped=4,
        events_sent=2,
        errors={"network": 2, "timeout": 1},
        uptime=12.34,
    )
    assert repr(metrics) == (
        "<ConnectionMetrics 1 of 1 connect, 2 of 3 reconnects, 120 events, 1 byte, 4 dropped,"
        " 2 sent, 4 of 5 heartbeats, errors: 2 network, 1 timeout, up 12.3 s>"
    )
    assert repr(DurationSummary()) == "<DurationSummary 0>"
    summary = DurationSummary(3, 0.6, 0.1, 0.31, 0.2)
    assert repr(summary) == "<DurationSummary 3, 0.2 s on average, 0.1 to 0.31 s>"
