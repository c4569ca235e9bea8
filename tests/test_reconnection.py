"""Delays: their bounds, floors and caps, and when the retries are used up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansio_sse import ReconnectionPolicy
from sansio_sse.reconnection import Reconnection, backoff

seconds = st.floats(0, 1e6)
chance = st.floats(0, 1, exclude_max=True)


@st.composite
def policies(draw: st.DrawFn) -> ReconnectionPolicy:
    initial = draw(seconds)
    return ReconnectionPolicy(
        max_attempts=draw(st.integers(0, 5)),
        initial_delay=initial,
        max_delay=initial + draw(seconds),
        backoff_multiplier=draw(st.floats(1, 1e12)),
        jitter_factor=draw(st.floats(0, 1)),
        max_server_delay=draw(seconds),
    )


@given(policies(), st.integers(0, 10**9), chance)
def test_without_a_floor_a_delay_is_within_the_policy(
    policy: ReconnectionPolicy, retries: int, random: float
) -> None:
    delay = backoff(policy, retries, 0.0, lambda: random)
    assert 0 <= delay <= policy.max_delay
    full = backoff(policy, retries, 0.0, lambda: 0.0)
    assert full * (1 - policy.jitter_factor) <= delay <= full
    assert min(policy.initial_delay, policy.max_delay) <= full <= policy.max_delay


@given(policies(), st.integers(0, 10**9), seconds, chance)
def test_a_floor_is_kept_and_capped(
    policy: ReconnectionPolicy, retries: int, floor: float, random: float
) -> None:
    delay = backoff(policy, retries, floor, lambda: random)
    ours = backoff(policy, retries, 0.0, lambda: random)
    floor = min(floor, policy.max_server_delay)
    assert delay >= max(floor, ours)
    if floor > ours:
        assert delay == floor * (1 + policy.jitter_factor * random)
    else:
        assert delay == ours


@given(policies(), st.integers(0, 100))
def test_delays_never_shrink_from_one_retry_to_the_next(
    policy: ReconnectionPolicy, retries: int
) -> None:
    one = backoff(policy, retries, 0.0, lambda: 0.0)
    assert one <= backoff(policy, retries + 1, 0.0, lambda: 0.0)


@pytest.mark.parametrize("multiplier", [1, 1.0, 2, 65536.0, 10**6, 1e15])
def test_no_multiplier_overflows(multiplier: float) -> None:
    policy = ReconnectionPolicy(backoff_multiplier=multiplier, jitter_factor=0)
    expected = 0.1 if multiplier == 1 else 30
    assert backoff(policy, 10**12, 0.0, lambda: 0.0) == expected


def test_no_initial_delay_is_no_delay_however_often() -> None:
    policy = ReconnectionPolicy(initial_delay=0, backoff_multiplier=1e15)
    assert backoff(policy, 50, 0.0, lambda: 0.5) == 0
    assert backoff(policy, 50, 2.0, lambda: 0.5) == 2.5


@given(policies(), st.lists(st.sampled_from(["fail", "progress"])))
def test_retries_count_from_the_last_progress(policy: ReconnectionPolicy, news: list[str]) -> None:
    memory = Reconnection()
    since = 0
    for now, item in enumerate(news):
        if item == "progress":
            memory.progress()
            since = 0
        else:
            delay = memory.next_delay(policy, 0.0, lambda: 0.0, float(now))
            used_up = policy.max_attempts and since >= policy.max_attempts
            assert (delay is None) is bool(used_up)
            if delay is not None:
                assert delay == backoff(policy, since, 0.0, lambda: 0.0)
                since += 1
        assert memory.retries == since


def test_the_first_of_a_row_of_retries_is_when_it_began() -> None:
    memory = Reconnection()
    policy = ReconnectionPolicy()
    for now in (1.0, 2.0):
        memory.next_delay(policy, 0.0, lambda: 0.0, now)
        assert memory.since == 1.0
    memory.progress()
    memory.next_delay(policy, 0.0, lambda: 0.0, 9.0)
    assert memory.since == 9.0


def test_the_larger_of_the_servers_two_wishes_counts() -> None:
    memory = Reconnection()
    memory.retry_floor = 5.0
    policy = ReconnectionPolicy(jitter_factor=0)
    assert memory.next_delay(policy, 7.0, lambda: 0.0, 0.0) == 7.0
    assert memory.next_delay(policy, 3.0, lambda: 0.0, 0.0) == 5.0
