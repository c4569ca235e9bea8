"""The pool machine, by example; what holds whatever happens is in ``test_pool_model``."""

from math import inf
from typing import Any

import pytest

from pool_play import DROPPED, FORBIDDEN, OWN, REFUSED, SILENT, UNAVAILABLE, Outside
from sansio_sse.config import BreakerConfig, ConnectionConfig, Endpoint, ReconnectionPolicy
from sansio_sse.endpoints import BreakerState
from sansio_sse.errors import (
    ConnectionClosed,
    HTTPStatusError,
    LocalProtocolError,
    NoEndpoint,
    PoolClosed,
    PoolTimeout,
    SSEError,
)
from sansio_sse.http import Origin
from sansio_sse.members import (
    Admit,
    CloseKept,
    CloseMember,
    EndLease,
    GrantLease,
    MemberChanged,
    MemberState,
    OpenMember,
    PauseMember,
    PoolStats,
    RestartMember,
)

A, B = "http://a.example/events", "http://b.example/events"
A_AND_B = [Endpoint(A), Endpoint(B)]
FIRST_A_THEN_B = [Endpoint(A), Endpoint(B, priority=1)]
ORIGIN = Origin.of(A)
ELSEWHERE = Origin.of(B)


def fragile(open_for: float = 10.0) -> BreakerConfig:
    """A breaker that one failure opens."""
    return BreakerConfig(failures=1, successes=1, open_for=open_for, failback_after=30.0)


def opened(pool: Outside) -> int:
    """The member that the latest answer opened."""
    [action] = pool.took(OpenMember)
    return action.member


def wish(pool: Outside, token: str, key: str = OWN, **options: Any) -> int:
    """Somebody comes; the member that is opened for him."""
    pool.acquire(token, key, **options)
    return opened(pool)


def lease(pool: Outside, token: str, key: str = OWN, **options: Any) -> int:
    """Somebody comes and is granted a new member; his lease."""
    pool.connect(wish(pool, token, key, **options))
    return granted(pool, token).lease


def granted(pool: Outside, token: str) -> GrantLease:
    answer = pool.answers[token]
    assert isinstance(answer, GrantLease)
    return answer


def refusal(pool: Outside, token: str) -> SSEError:
    answer = pool.answers[token]
    assert isinstance(answer, SSEError)
    return answer


def closed(pool: Outside) -> list[tuple[int, str]]:
    """What the latest answer closed, and why."""
    return [(action.member, action.reason) for action in pool.took(CloseMember)]


def admitted(pool: Outside) -> list[tuple[int, int]]:
    """What the latest answer let begin, and at which endpoint."""
    return [(action.member, action.endpoint) for action in pool.took(Admit)]


# --- Waiting in vain ------------------------------------------------------------------------------


def test_a_timeout_says_how_many_were_before_and_what_is_wrong_with_the_endpoints() -> None:
    secret = "http://me:s3cr3t@a.example/events?token=s3cr3t"
    pool = Outside(endpoints=[secret, B], max_size=2, strategy="priority")
    lease(pool, "holder")
    member = wish(pool, "first", timeout=10.0)
    pool.acquire("second", timeout=5.0)
    pool.ask(member)
    pool.refuse(member, UNAVAILABLE)
    pool.now = 5.0
    pool.tick()
    error = refusal(pool, "second")
    assert isinstance(error, PoolTimeout)
    assert str(error) == (
        "no connection within 5 s: 1 waited before it, 1 of 2 are in use, 1 are connecting;"
        " the latest failures: http://b.example/events: HTTPStatusError: 503"
    )
    pool.ask(member)
    pool.refuse(member)
    pool.now = 10.0
    pool.tick()
    assert str(refusal(pool, "first")) == (
        "no connection within 10 s: nobody waited before it, 1 of 2 are in use, 1 are connecting;"
        " the latest failures: http://a.example/events?token=…: ConnectError: refused;"
        " http://b.example/events: HTTPStatusError: 503"
    )


def test_a_timeout_of_zero_tries_once() -> None:
    pool = Outside()
    pool.acquire("too early", timeout=0.0)
    assert isinstance(refusal(pool, "too early"), PoolTimeout)
    assert not pool.conns
    pool.release(lease(pool, "me"))
    pool.acquire("in time", timeout=0.0)
    assert granted(pool, "in time").member in pool.conns


def test_who_comes_while_others_wait_waits_behind_them() -> None:
    pool = Outside(max_size=1)
    held = lease(pool, "holder", "a")
    pool.acquire("first", "b")
    pool.acquire("second", "a")
    pool.release(held)
    assert closed(pool) == [(granted(pool, "holder").member, "room")]
    pool.connect(opened(pool))
    granted(pool, "first")
    assert "second" in pool.waiting


def test_a_waiter_waits_once() -> None:
    pool = Outside(max_size=1)
    wish(pool, "me")
    with pytest.raises(LocalProtocolError, match="waits already"):
        pool.machine.acquire("me", OWN, 0.0)


def test_the_first_of_a_key_gets_what_was_opened_for_another() -> None:
    pool = Outside(max_size=2)
    slow, fast = wish(pool, "first"), wish(pool, "second")
    pool.connect(fast)
    assert granted(pool, "first").member == fast
    pool.connect(slow)
    assert granted(pool, "second").member == slow


def test_who_lost_his_place_at_this_instant_takes_over_a_later_ones() -> None:
    # The first one's member is closed by time, and the second one's accepted, in one input.
    pool = Outside(max_size=2, max_backlog_age=5.0)
    held = lease(pool, "holder")
    member = granted(pool, "holder").member
    pool.lose(member, None)
    pool.ask(member)
    pool.release(held, backlog=1, full=True)
    pool.acquire("first")
    later = wish(pool, "second")
    pool.ask(later)
    pool.now = 5.0
    pool.accept(later)
    assert closed(pool) == [(member, "backlog")]
    assert granted(pool, "first").member == later
    pool.connect(opened(pool))
    granted(pool, "second")


def test_whose_member_is_idle_waits_for_nobody_who_lost_his_place_at_this_instant() -> None:
    pool = Outside(max_size=2, max_backlog_age=5.0)
    pool.release(lease(pool, "idle", "idle"))
    held = lease(pool, "holder")
    member = granted(pool, "holder").member
    pool.lose(member, None)
    pool.ask(member)
    pool.release(held, backlog=1, full=True)
    pool.acquire("me")
    pool.now = 5.0
    pool.acquire("other", "idle")
    assert closed(pool) == [(member, "backlog")]
    assert pool.conns[opened(pool)].key == OWN
    assert granted(pool, "other").member == granted(pool, "idle").member


def test_a_wait_without_end_needs_no_timer() -> None:
    pool = Outside()
    wish(pool, "me", timeout=inf)
    assert pool.machine.deadline is None


# --- Failing for good -----------------------------------------------------------------------------


def test_the_only_endpoint_fails_for_good_and_the_cause_is_told_at_once() -> None:
    pool = Outside()
    member = wish(pool, "me")
    pool.acquire("another", "other")
    pool.ask(member)
    pool.refuse(member, FORBIDDEN)
    assert pool.answers == {"me": FORBIDDEN}, "the other scope may be welcome"
    assert closed(pool) == [(member, "failed")]


def test_all_endpoints_fail_for_good_and_the_last_cause_is_told_at_once() -> None:
    pool = Outside(endpoints=A_AND_B)
    gone = HTTPStatusError("410", status=410, retryable=False)
    gone.url = A
    first = wish(pool, "me")
    pool.ask(first)
    pool.refuse(first, FORBIDDEN)
    second = opened(pool)
    pool.ask(second)
    assert admitted(pool) == [(second, 1)]
    pool.refuse(second, gone)
    error = refusal(pool, "me")
    assert isinstance(error, NoEndpoint)
    assert str(error) == "all 2 endpoints failed; the last: 410"
    assert error.cause is gone
    assert error.url == A
    assert not error.retryable
    assert pool.machine.stats().acquire_rejections == 1


def test_what_may_not_be_repeated_fails_with_its_first_endpoint() -> None:
    pool = Outside(endpoints=A_AND_B)
    member = wish(pool, "me", "one POST", single=True)
    pool.ask(member)
    pool.fail(member, DROPPED, repeatable=False)
    assert refusal(pool, "me") is DROPPED
    assert closed(pool) == [(member, "failed")]
    assert not pool.took(OpenMember)


def test_what_fails_before_it_was_admitted_says_nothing_of_an_endpoint() -> None:
    pool = Outside()
    member = wish(pool, "me")
    pool.fail(member, DROPPED)
    assert closed(pool) == [(member, "failed")]
    pool.connect(opened(pool))
    granted(pool, "me")


def test_the_holder_of_a_failed_member_keeps_it_until_he_releases_it() -> None:
    pool = Outside(max_size=1)
    held = lease(pool, "me")
    member = granted(pool, "me").member
    pool.fail(member, DROPPED)
    assert pool.machine.stats().failed == 1
    assert pool.machine.stats().utilization == 100.0
    pool.acquire("next")
    assert not pool.took(OpenMember)
    pool.release(held)
    assert closed(pool) == [(member, "failed")]
    pool.connect(opened(pool))
    granted(pool, "next")


def test_a_204_before_there_was_a_stream_is_a_lease_of_nothing() -> None:
    pool = Outside()
    member = wish(pool, "me", "for one", single=True)
    pool.ask(member)
    pool.no_content(member)
    pool.release(granted(pool, "me").lease)
    assert closed(pool) == [(member, "released")]


def test_a_stream_that_ends_well_while_nobody_has_it_is_closed() -> None:
    pool = Outside()
    pool.release(lease(pool, "me"))
    pool.finish(granted(pool, "me").member)
    assert closed(pool) == [(granted(pool, "me").member, "finished")]


def test_a_204_ends_a_member_that_is_kept() -> None:
    pool = Outside()
    member = wish(pool, "me")
    pool.ask(member)
    pool.no_content(member)
    assert closed(pool) == [(member, "finished")]
    assert isinstance(refusal(pool, "me"), ConnectionClosed)


def test_an_attempt_that_asks_for_an_open_endpoint_begins_when_it_opens() -> None:
    # The endpoint it may not have any more opens first: that is not the moment.
    pool = Outside(
        endpoints=FIRST_A_THEN_B, strategy="priority", breaker=fragile(), acquire_timeout=100.0
    )
    first = wish(pool, "me", "a")
    pool.ask(first)
    pool.refuse(first, FORBIDDEN)
    mine = opened(pool)
    pool.ask(mine)
    assert admitted(pool) == [(mine, 1)]
    other = wish(pool, "other", "b")
    pool.ask(other)
    assert admitted(pool) == [(other, 0)]
    pool.refuse(other)
    pool.cancel("other")
    pool.now = 7.0
    pool.refuse(mine)
    pool.ask(mine)
    assert admitted(pool) == []
    pool.tick_at_deadline()
    assert (pool.now, admitted(pool)) == (17.0, [(mine, 1)])


# --- Kept warm ------------------------------------------------------------------------------------


def test_members_are_kept_warm_once_it_has_started() -> None:
    pool = Outside(min_size=2, max_size=3)
    assert not pool.conns
    pool.start()
    one, two = pool.conns
    pool.connect(one)
    pool.connect(two)
    pool.acquire("me")
    assert granted(pool, "me").member == two, "the latest: its stream is the freshest"
    pool.release(granted(pool, "me").lease, unread="close")
    assert closed(pool) == [(two, "released")]
    assert opened(pool) not in (one, two)


def test_warming_up_backs_off_after_failures_for_good() -> None:
    policy = ReconnectionPolicy(initial_delay=1.0, jitter_factor=0.0)
    pool = Outside(min_size=1, connection=ConnectionConfig(reconnection=policy))
    pool.start()
    for delay in (1.0, 2.0, 4.0):
        [member] = pool.conns
        pool.ask(member)
        pool.refuse(member, FORBIDDEN)
        assert not pool.conns
        assert pool.machine.deadline == pool.now + delay
        pool.tick_at_deadline()
    [member] = pool.conns
    pool.connect(member)
    pool.fail(member, DROPPED)
    assert pool.machine.deadline == pool.now + 1.0, "it was accepted, so it begins anew"


def test_failures_of_other_scopes_do_not_hold_up_the_warming() -> None:
    pool = Outside(min_size=1, max_size=2)
    pool.release(lease(pool, "me", "other"))
    pool.fail(granted(pool, "me").member, DROPPED)
    pool.start()
    assert opened(pool)


def test_what_is_kept_warm_makes_room_for_another_scope_and_comes_back() -> None:
    pool = Outside(min_size=1, max_size=1)
    pool.start()
    [warm] = pool.conns
    pool.connect(warm)
    pool.acquire("me", "other")
    assert closed(pool) == [(warm, "room")]
    pool.connect(opened(pool))
    pool.release(granted(pool, "me").lease, unread="close")
    [warm] = pool.conns
    assert pool.conns[warm].key == OWN


# --- Idle members, and old ones -------------------------------------------------------------------


def test_an_idle_member_is_closed_after_max_idle() -> None:
    pool = Outside(max_idle=50.0)
    pool.release(lease(pool, "me"))
    member = granted(pool, "me").member
    pool.now = 20.0
    pool.acquire("again")
    pool.now = 30.0
    pool.release(granted(pool, "again").lease)
    pool.tick_at_deadline()
    assert (pool.now, closed(pool)) == (50.0, []), "it was not idle all the time"
    pool.tick_at_deadline()
    assert (pool.now, closed(pool)) == (80.0, [(member, "idle")])


def test_the_idle_time_begins_anew_at_each_release() -> None:
    pool = Outside(max_idle=50.0)
    first = lease(pool, "me")
    pool.now = 10.0
    pool.release(first)
    pool.now = 20.0
    pool.acquire("again")
    pool.now = 30.0
    pool.release(granted(pool, "again").lease)
    pool.now = 79.0
    pool.tick()
    assert closed(pool) == []
    pool.now = 80.0
    pool.tick()
    assert closed(pool) == [(granted(pool, "me").member, "idle")]


def test_a_member_in_use_is_not_closed_for_having_been_idle() -> None:
    pool = Outside(max_idle=50.0)
    pool.release(lease(pool, "me"))
    pool.now = 20.0
    pool.acquire("again")
    pool.now = 50.0
    pool.tick()
    assert closed(pool) == []


def test_the_last_idle_members_are_kept_warm() -> None:
    pool = Outside(max_idle=50.0, min_size=1)
    first, second = lease(pool, "first"), lease(pool, "second")
    pool.release(first)
    pool.release(second)
    pool.now = 40.0  # past the waiters' own
    pool.tick()
    pool.tick_at_deadline()
    assert closed(pool) == [(granted(pool, "first").member, "idle")]
    assert pool.machine.deadline == 100.0
    pool.tick_at_deadline()
    assert len(pool.conns) == 1


def test_a_lifetime_is_up_to_a_tenth_shorter_by_chance() -> None:
    pool = Outside(max_lifetime=100.0, max_idle=1000.0, random=0.5)
    pool.release(lease(pool, "me"))
    pool.now = 30.0  # past the waiter's own
    pool.tick()
    pool.tick_at_deadline()
    assert (pool.now, closed(pool)) == (95.0, [(granted(pool, "me").member, "lifetime")])


def test_an_old_member_that_is_in_use_is_not_cut() -> None:
    pool = Outside(max_lifetime=100.0, random=0.0)
    held = lease(pool, "me")
    pool.now = 150.0
    pool.tick()
    assert closed(pool) == []
    pool.release(held)
    assert closed(pool) == [(granted(pool, "me").member, "lifetime")]


def test_an_old_member_that_nobody_waits_for_any_more_is_closed() -> None:
    pool = Outside(max_lifetime=10.0, random=0.0)
    member = wish(pool, "me")
    pool.now = 20.0
    pool.tick()
    assert closed(pool) == []
    pool.cancel("me")
    assert closed(pool) == [(member, "lifetime")]


# --- Nobody reads ---------------------------------------------------------------------------------


def test_a_full_buffer_is_paused_and_after_a_while_the_member_begins_anew_without_it() -> None:
    pool = Outside(max_backlog_age=30.0)
    pool.release(lease(pool, "me"))
    member = granted(pool, "me").member
    pool.now = 1.0
    pool.backlog(member, full=False, resumable=True)
    assert pool.actions == []
    pool.now = 2.0
    pool.backlog(member, full=True, resumable=True)
    assert pool.actions == [PauseMember(member)]
    pool.backlog(member, full=True, resumable=True)
    assert pool.actions == []
    while pool.now < 32.0:
        pool.tick_at_deadline()
    assert RestartMember(member, drop=True) in pool.actions
    assert pool.machine.stats().idle == 0, "it does not look healthy while it is not"
    assert pool.machine.stats().healthy_count == 0
    pool.accept(member)
    pool.acquire("next")
    assert granted(pool, "next").backlog_age == 0.0


def test_an_attempt_that_is_to_begin_anew_is_not_let_begin() -> None:
    pool = Outside(max_backlog_age=30.0, breaker=fragile(open_for=30.0))
    held = lease(pool, "me")
    member = granted(pool, "me").member
    pool.lose(member)
    pool.release(held, backlog=3, full=True, resumable=True)
    pool.ask(member)
    first = pool.conns[member].attempt
    assert admitted(pool) == []
    pool.now = 30.0
    pool.tick()
    [admit] = pool.took(Admit)
    assert admit.attempt > first


def test_a_full_buffer_without_ids_ends_the_member() -> None:
    pool = Outside(max_backlog_age=30.0)
    pool.release(lease(pool, "me"), backlog=3, full=True)
    member = granted(pool, "me").member
    assert pool.took(PauseMember) == [PauseMember(member)]
    pool.tick_at_deadline()
    assert (pool.now, closed(pool)) == (30.0, [(member, "backlog")])


def test_the_next_lease_is_told_how_old_the_backlog_is_and_takes_it_over() -> None:
    pool = Outside(max_backlog_age=30.0)
    pool.release(lease(pool, "me"), backlog=3, full=True)
    pool.now = 29.0
    pool.acquire("next")
    assert granted(pool, "next").backlog_age == 29.0
    pool.now = 60.0
    pool.tick()
    assert closed(pool) == [], "somebody reads it now"
    pool.release(granted(pool, "next").lease)
    pool.acquire("last")
    assert granted(pool, "last").backlog_age == 0.0


def test_a_member_that_somebody_has_has_no_backlog() -> None:
    pool = Outside()
    lease(pool, "me")
    assert not pool.machine.backlog(granted(pool, "me").member, 0.0, full=True, resumable=True)


# --- Releasing ------------------------------------------------------------------------------------


def test_what_is_dropped_is_counted_and_the_member_kept() -> None:
    pool = Outside()
    pool.release(lease(pool, "me"), unread="drop", backlog=7, full=True)
    assert closed(pool) == []
    assert pool.took(PauseMember) == []
    assert pool.machine.stats().unread_dropped == 7


def test_a_holder_can_have_the_member_closed() -> None:
    pool = Outside()
    pool.release(lease(pool, "me"), unread="close")
    assert closed(pool) == [(granted(pool, "me").member, "released")]


def test_a_member_for_one_use_is_closed_by_its_release() -> None:
    pool = Outside()
    pool.release(lease(pool, "me", "for one", single=True))
    assert closed(pool) == [(granted(pool, "me").member, "released")]


def test_nobody_waits_for_a_member_for_one_use_any_more() -> None:
    pool = Outside()
    member = wish(pool, "me", "for one", single=True)
    pool.cancel("me")
    assert closed(pool) == [(member, "released")]


def test_a_stream_that_ended_well_is_not_pooled() -> None:
    pool = Outside()
    held = lease(pool, "me")
    pool.finish(granted(pool, "me").member)
    pool.release(held)
    assert closed(pool) == [(granted(pool, "me").member, "finished")]


def test_a_member_that_is_lost_is_pooled_and_heals() -> None:
    pool = Outside()
    held = lease(pool, "me")
    member = granted(pool, "me").member
    pool.lose(member)
    pool.release(held)
    changed = pool.took(MemberChanged)
    assert [(change.old, change.new) for change in changed] == [
        (MemberState.LEASED, MemberState.CONNECTING)
    ]
    pool.acquire("next")
    assert opened(pool) != member, "it rests, and there is a place"
    pool.connect(member)
    assert granted(pool, "next").member == member


def test_a_member_goes_from_hand_to_hand() -> None:
    pool = Outside(max_size=1)
    held = lease(pool, "me")
    pool.acquire("next")
    pool.release(held)
    assert granted(pool, "next").member == granted(pool, "me").member
    assert not pool.took(MemberChanged), "it was in use, and is"


def test_a_lease_is_released_once() -> None:
    pool = Outside()
    held = lease(pool, "me")
    pool.release(held)
    with pytest.raises(LocalProtocolError, match="is not of this pool"):
        pool.machine.release(held, 0.0)


def test_what_begins_anew_is_not_told_so_again_for_whom_it_is_to_serve() -> None:
    pool = Outside(max_size=1)
    pool.release(lease(pool, "me"), backlog=1, full=True, resumable=True)
    member = granted(pool, "me").member
    pool.lose(member)
    pool.now = pool.config.max_backlog_age
    pool.acquire("next")
    assert pool.took(RestartMember) == [RestartMember(member, drop=True)]
    pool.accept(member)
    assert granted(pool, "next").member == member


# --- Making room ----------------------------------------------------------------------------------


def test_what_is_being_connected_for_nobody_makes_room_before_what_is_idle() -> None:
    pool = Outside(max_size=2)
    pool.release(lease(pool, "me", "idle"))
    spare = wish(pool, "nobody", "spare")
    pool.cancel("nobody")
    pool.acquire("next", "other")
    assert closed(pool) == [(spare, "room")]


def test_the_member_that_has_been_idle_for_longest_makes_room() -> None:
    pool = Outside(max_size=2)
    leases = [lease(pool, key, key) for key in ("first", "second")]
    for held in leases:
        pool.release(held)
    pool.acquire("next", "other")
    assert closed(pool) == [(granted(pool, "first").member, "room")]


def test_what_rests_is_told_to_try_at_once_where_there_is_no_other_place() -> None:
    pool = Outside(max_size=1)
    member = wish(pool, "nobody")
    pool.ask(member)
    pool.refuse(member)
    pool.cancel("nobody")
    pool.acquire("me")
    assert RestartMember(member, drop=False) in pool.actions
    pool.accept(member)
    assert granted(pool, "me").member == member


def test_what_is_being_connected_already_is_taken_before_what_rests() -> None:
    pool = Outside(max_size=3)
    asking, resting = wish(pool, "one"), wish(pool, "two")
    pool.ask(resting)
    pool.refuse(resting)
    pool.cancel("one")
    pool.cancel("two")
    pool.acquire("me")
    assert not pool.took(OpenMember)
    pool.connect(asking)
    assert granted(pool, "me").member == asking


# --- Admission ------------------------------------------------------------------------------------


def test_whom_somebody_waits_for_is_admitted_before_whom_nobody_does() -> None:
    pool = Outside(min_size=2, max_size=4, max_connecting=1)
    pool.start()
    under_way, spare = pool.conns
    pool.ask(under_way)
    pool.ask(spare)
    wanted = wish(pool, "me", "other")
    pool.ask(wanted)
    assert admitted(pool) == []
    pool.accept(under_way)
    assert admitted(pool) == [(wanted, 0)]
    pool.accept(wanted)
    assert admitted(pool) == [(spare, 0)]


def test_whom_nobody_waits_for_any_more_goes_behind() -> None:
    pool = Outside(max_size=4, max_connecting=1)
    under_way, dropped, wanted = (wish(pool, key, key) for key in ("a", "b", "c"))
    for member in (under_way, dropped, wanted):
        pool.ask(member)
    pool.cancel("b")
    pool.accept(under_way)
    assert admitted(pool) == [(wanted, 0)]


def test_a_member_that_may_not_go_there_does_not_hold_up_the_others() -> None:
    pool = Outside(endpoints=A_AND_B, breaker=fragile(), strategy="priority")
    first = wish(pool, "me", "a")
    pool.ask(first)
    pool.refuse(first, FORBIDDEN)  # b is what remains for it
    mine = opened(pool)
    pool.ask(mine)
    assert admitted(pool) == [(mine, 1)]
    pool.refuse(mine)
    pool.ask(mine)
    assert admitted(pool) == []
    other = wish(pool, "other", "b")
    pool.ask(other)
    assert admitted(pool) == [(other, 0)]
    pool.now = 10.0
    pool.tick()
    assert admitted(pool) == [(mine, 1)]


def test_an_origin_has_a_limit_of_its_own() -> None:
    pool = Outside(endpoints=A_AND_B, max_connecting_per_origin=1)
    members = [wish(pool, key, key) for key in ("a", "b", "c")]
    began: list[tuple[int, int]] = []
    for member in members:
        pool.ask(member)
        began += admitted(pool)
    assert began == [(members[0], 0), (members[1], 1)]
    pool.accept(members[1])
    assert admitted(pool) == [(members[2], 1)]


def test_what_the_limit_of_an_origin_holds_up_waits_for_no_time() -> None:
    both_at_a = [Endpoint(A), Endpoint("http://a.example/more")]
    pool = Outside(endpoints=both_at_a, breaker=fragile(), max_connecting_per_origin=1)
    broken, slow, held_up = (wish(pool, key, key, timeout=inf) for key in "abc")
    pool.ask(broken)
    pool.refuse(broken)
    pool.ask(slow)
    assert admitted(pool) == [(slow, 1)]
    pool.now = 10.0
    pool.ask(held_up)
    assert admitted(pool) == []
    assert pool.machine.deadline is None
    pool.accept(slow)
    assert [member for member, _ in admitted(pool)] == [held_up]


def test_a_cursor_goes_only_where_its_ids_mean_something() -> None:
    endpoints = [Endpoint(A), Endpoint(B, cursor_domain="another")]
    pool = Outside(endpoints=endpoints)
    lease(pool, "me")
    member = granted(pool, "me").member
    pool.lose(member)
    for keep, answered in [(False, False), (True, True), (False, True)]:
        pool.ask(member)
        assert [action.keep_cursor for action in pool.took(Admit)] == [keep]
        if answered:
            pool.accept(member)
            pool.event(member)
            pool.lose(member)
        else:
            pool.refuse(member)


def test_an_answer_that_nobody_waits_for_is_ignored() -> None:
    pool = Outside()
    member = wish(pool, "me")
    assert not pool.machine.connected(member, 0.0)
    assert not pool.machine.attempt_failed(member, REFUSED, 0.0)
    assert not pool.machine.event_seen(member, 0.0)


def test_what_is_gone_is_not_heard_and_has_no_timers() -> None:
    pool = Outside(max_lifetime=100.0, random=0.0)
    pool.release(lease(pool, "me"), unread="close")
    member = granted(pool, "me").member
    assert not pool.machine.admission_requested(member, 2, 0.0)
    assert not pool.machine.connected(member, 0.0)
    assert not pool.machine.attempt_failed(member, REFUSED, 0.0)
    assert not pool.machine.event_seen(member, 0.0)
    assert not pool.machine.lost(member, 0.0, DROPPED)
    assert not pool.machine.failed(member, FORBIDDEN, 0.0)
    for now in (1.0, 100.0):  # the first is too early for anything
        pool.now = now
        pool.tick()
        assert not pool.actions


# --- Moving ---------------------------------------------------------------------------------------


def strayed(**options: Any) -> tuple[Outside, int]:
    """A pool whose one stream, held by "me", is at the second endpoint."""
    options.setdefault("breaker", fragile())
    pool = Outside(endpoints=FIRST_A_THEN_B, strategy="priority", **options)
    member = wish(pool, "me")
    pool.ask(member)
    pool.refuse(member)
    pool.connect(member)
    assert pool.conns[member].endpoint == 1
    return pool, member


def test_a_stream_tries_the_better_endpoint_again_when_it_has_been_left_alone_for_long() -> None:
    pool, member = strayed()
    pool.tick_at_deadline()
    assert pool.now == 30.0
    assert RestartMember(member, drop=False) in pool.actions
    assert admitted(pool) == [(member, 0)]
    assert pool.machine.stats().moves == 1
    pool.accept(member)
    assert pool.machine.endpoints.breaker(0) is BreakerState.CLOSED
    assert pool.conns[member].lease, "the lease has not noticed"


def test_a_stream_returns_to_an_endpoint_that_failed_but_once() -> None:
    pool, member = strayed(breaker=BreakerConfig(failback_after=30.0))
    pool.tick_at_deadline()
    assert (pool.now, admitted(pool)) == (30.0, [(member, 0)])


def test_an_attempt_that_has_failed_elsewhere_is_no_stream_to_move() -> None:
    breaker = BreakerConfig(failback_after=30.0)
    pool = Outside(endpoints=FIRST_A_THEN_B, strategy="priority", breaker=breaker)
    member = wish(pool, "me", timeout=inf)
    for _ in "ab":
        pool.ask(member)
        pool.refuse(member)
    assert pool.machine.deadline is None
    pool.now = 30.0
    pool.tell("cancel", "nobody")
    assert pool.actions == []


FIRST_A_THEN_B_THEN_C = [*FIRST_A_THEN_B, Endpoint("http://c.example/events", priority=2)]
B_DOES_NOT_KNOW_THE_IDS = [
    Endpoint(A),
    Endpoint(B, priority=1, cursor_domain="another"),
    Endpoint("http://c.example/events", priority=2),
]


def strays(pool: Outside, key: str, *refused: int, single: bool = False) -> int:
    """A leased stream which is not where these endpoints are, for they refuse; its member."""
    member = wish(pool, key, key, single=single)
    pool.ask(member)
    while pool.conns[member].endpoint in refused:
        pool.refuse(member)
        pool.ask(member)
    pool.accept(member)
    return member


def test_what_may_not_go_to_the_better_endpoint_holds_nobody_up() -> None:
    pool = Outside(endpoints=B_DOES_NOT_KNOW_THE_IDS, strategy="priority", breaker=fragile())
    stays, goes = strays(pool, "one", 0, single=True), strays(pool, "two", 1)
    assert [conn.endpoint for conn in pool.conns.values()] == [1, 2]
    pool.tick_at_deadline()
    assert (pool.now, admitted(pool)) == (30.0, [(goes, 0)])
    pool.accept(goes)
    assert pool.conns[stays].endpoint == 1
    assert pool.machine.deadline is None, "the other one stays for good"


def test_however_many_may_not_go_the_one_that_may_does() -> None:
    endpoints = B_DOES_NOT_KNOW_THE_IDS[:2]
    pool = Outside(endpoints=endpoints, strategy="priority", breaker=fragile(), max_size=50)
    for number in range(49):
        strays(pool, f"{number}", 0, single=True)
    goes = strays(pool, "goes")
    pool.tick_at_deadline()
    assert (pool.now, admitted(pool)) == (30.0, [(goes, 0)])


def test_an_attempt_that_has_failed_elsewhere_holds_no_stream_up() -> None:
    pool = Outside(endpoints=FIRST_A_THEN_B_THEN_C, strategy="priority", breaker=fragile())
    fails, goes = strays(pool, "one", 0), strays(pool, "two", 1)
    pool.now = 10.0
    pool.lose(fails)
    for _ in "ab":
        pool.ask(fails)
        pool.refuse(fails)
    assert [conn.endpoint for conn in pool.conns.values()] == [1, 2]
    pool.now = 40.0
    pool.tick()
    assert admitted(pool) == [(goes, 0)]


def test_while_the_best_endpoint_is_tried_out_another_one_is_returned_to_in_time() -> None:
    options: Any = {"strategy": "priority", "breaker": fragile(), "acquire_timeout": 1000.0}
    pool = Outside(endpoints=FIRST_A_THEN_B_THEN_C, **options)
    first = wish(pool, "one", "one")
    pool.ask(first)
    pool.refuse(first)
    pool.now = 5.0
    pool.ask(first)
    pool.refuse(first)
    pool.connect(first)
    second = strays(pool, "two")
    assert [conn.endpoint for conn in pool.conns.values()] == [2, 2]
    pool.tick_at_deadline()
    assert (pool.now, admitted(pool)) == (30.0, [(first, 0)])
    pool.tick_at_deadline()
    assert (pool.now, admitted(pool)) == (35.0, [(second, 1)])


def test_a_stream_returns_to_the_best_endpoint_without_a_stop_between() -> None:
    best_is_last = [
        Endpoint(A, priority=2),
        Endpoint(B, priority=1),
        Endpoint("http://c.example/events"),
    ]
    pool = Outside(endpoints=best_is_last, strategy="priority", breaker=fragile())
    member = strays(pool, "me", 1, 2)
    pool.tick_at_deadline()
    assert (pool.now, admitted(pool)) == (30.0, [(member, 2)])


def test_a_stream_may_go_where_its_latest_holder_was_refused_for_good() -> None:
    breaker = BreakerConfig(failback_after=30.0)
    pool = Outside(endpoints=FIRST_A_THEN_B, strategy="priority", breaker=breaker)
    refused = wish(pool, "me")
    pool.ask(refused)
    pool.refuse(refused, FORBIDDEN)
    pool.connect(opened(pool))
    held = granted(pool, "me")
    lease(pool, "other", "other")  # A is fine, but for the one
    pool.now = 40.0
    pool.tick()
    assert pool.machine.stats().moves == 0
    pool.release(held.lease)
    assert admitted(pool) == [(held.member, 0)]


def test_an_idle_stream_that_moves_is_not_handed_out() -> None:
    pool, member = strayed()
    pool.release(granted(pool, "me").lease)
    pool.tick_at_deadline()
    changed = pool.took(MemberChanged)
    assert [(change.old, change.new) for change in changed] == [
        (MemberState.IDLE, MemberState.CONNECTING)
    ]
    pool.accept(member)
    assert pool.machine.stats().idle == 1


def test_a_stream_that_fails_before_it_has_moved_makes_way_for_the_next() -> None:
    pool, first = strayed(max_connecting=1)
    lease(pool, "other", "other")
    second = granted(pool, "other").member
    assert pool.machine.tick(30.0) == [RestartMember(first, drop=False)]
    changed, restarted = pool.machine.failed(first, DROPPED, 30.0)
    assert isinstance(changed, MemberChanged)
    assert restarted == RestartMember(second, drop=False)


def test_streams_return_no_faster_than_attempts_may_begin() -> None:
    pool, first = strayed(breaker=BreakerConfig(failback_after=30.0), max_connecting=2)
    for name in "abc":
        pool.connect(wish(pool, name, name))
        pool.lose(pool.newest)
        pool.ask(pool.newest)
        pool.accept(pool.newest)
    assert [conn.endpoint for conn in pool.conns.values()] == [1, 1, 1, 1]
    pool.tick_at_deadline()
    assert (pool.now, admitted(pool)) == (30.0, [(first, 0)]), "one tries it out"
    pool.accept(first)
    pool.tick_at_deadline()
    assert (pool.now, [place for _, place in admitted(pool)]) == (60.0, [0, 0])
    pool.accept(admitted(pool)[0][0])
    assert [place for _, place in admitted(pool)] == [0]


def test_streams_return_to_an_endpoint_that_was_broken_until_it_has_its_share() -> None:
    pool = Outside(endpoints=A_AND_B, breaker=fragile(open_for=5.0), max_connecting=1)
    first = wish(pool, "0", "0")
    pool.ask(first)
    pool.refuse(first, SILENT)
    pool.connect(first)
    for name in "123":
        lease(pool, name, name)
    assert [conn.endpoint for conn in pool.conns.values()] == [1, 1, 1, 1]
    moved: list[float] = []
    while pool.machine.deadline is not None:
        pool.tick_at_deadline()
        for conn in pool.in_phase("trying"):
            moved.append(pool.now)
            pool.accept(conn.number)
    assert moved == [30.0, 60.0], "one to try it out, the other when it has proved itself"
    assert sorted(c.endpoint or 0 for c in pool.conns.values()) == [0, 0, 1, 1]
    assert pool.machine.stats().moves == 2


def test_streams_stay_where_they_are_when_no_endpoint_was_broken() -> None:
    pool = Outside(endpoints=A_AND_B, acquire_timeout=1.0)
    leases = [lease(pool, key, key) for key in "abcd"]
    for held, conn in list(zip(leases, pool.conns.values(), strict=True)):
        if conn.endpoint == 1:
            pool.release(held, unread="close")
    assert [conn.endpoint for conn in pool.conns.values()] == [0, 0]
    pool.now = 1000.0
    pool.tick()
    assert pool.machine.deadline is None
    assert pool.machine.stats().moves == 0


# --- Kept transports ------------------------------------------------------------------------------


def test_the_transport_that_was_kept_last_is_reused_first() -> None:
    pool = Outside()
    pool.tell("transport_kept", 1, ORIGIN, 4.0)
    pool.tell("transport_kept", 2, ORIGIN, 4.0)
    pool.tell("transport_kept", 3, ELSEWHERE, 4.0)
    assert pool.machine.stats().kept_transports == 3
    assert [pool.machine.reuse_transport(ORIGIN, 0.0) for _ in range(3)] == [2, 1, None]


def test_a_kept_transport_is_closed_in_time() -> None:
    pool = Outside()
    pool.tell("transport_kept", 1, ORIGIN, 4.0)
    assert pool.machine.reuse_transport(ORIGIN, 4.0) is None
    pool.tick_at_deadline()
    assert (pool.now, pool.actions) == (4.0, [CloseKept(1)])


def test_what_was_kept_again_has_its_time_anew() -> None:
    pool = Outside()
    pool.tell("transport_kept", 1, ORIGIN, 4.0)
    assert pool.machine.reuse_transport(ORIGIN, 1.0) == 1
    pool.now = 2.0
    pool.tell("transport_kept", 1, ORIGIN, 4.0)
    pool.tick_at_deadline()
    assert (pool.now, pool.actions) == (4.0, [])
    pool.tick_at_deadline()
    assert (pool.now, pool.actions) == (6.0, [CloseKept(1)])


def test_no_more_transports_are_kept_than_members() -> None:
    pool = Outside(max_size=1)
    pool.tell("transport_kept", 1, ORIGIN, 4.0)
    pool.tell("transport_kept", 2, ELSEWHERE, 4.0)
    assert pool.actions == [CloseKept(1)]
    pool.tell("transport_kept", 3, ORIGIN, 0.0)
    assert pool.actions == [CloseKept(3)]


def test_a_transport_that_is_gone_is_forgotten() -> None:
    pool = Outside()
    pool.tell("transport_kept", 1, ORIGIN, 4.0)
    for transport in (1, 2):
        pool.tell("transport_gone", transport)
    assert pool.machine.reuse_transport(ORIGIN, 0.0) is None
    pool.tick_at_deadline()
    assert pool.actions == []


def test_streams_on_a_transport_that_had_carried_one_are_reuses() -> None:
    pool = Outside()
    pool.machine.transport_opened(0.0, reused=False)
    pool.machine.transport_opened(0.0, reused=True)
    stats = pool.machine.stats()
    assert (stats.handshakes, stats.reuses) == (1, 1)


# --- Closing --------------------------------------------------------------------------------------


def test_a_closed_pool_refuses_rejects_and_closes() -> None:
    pool = Outside(max_size=2)
    lease(pool, "holder")
    wish(pool, "waiting")
    pool.tell("transport_kept", 1, ORIGIN, 4.0)
    pool.close()
    assert CloseKept(1) in pool.actions
    assert isinstance(refusal(pool, "waiting"), PoolClosed)
    assert str(pool.answers["waiting"]) == (
        "the pool was closed while this waited for a connection"
    )
    assert pool.machine.over
    assert pool.machine.deadline is None
    with pytest.raises(PoolClosed, match="the pool is closed"):
        pool.machine.acquire("late", OWN, 0.0)
    pool.tell("transport_kept", 2, ORIGIN, 4.0)
    assert pool.actions == [CloseKept(2)]


def test_holders_are_given_some_grace() -> None:
    pool = Outside()
    held, kept = lease(pool, "one"), lease(pool, "two", "two")
    pool.close(grace=5.0)
    assert (pool.machine.closing, pool.machine.over) == (True, False)
    pool.close(grace=60.0)
    assert pool.machine.deadline == 5.0, "the earlier end counts"
    pool.release(held)
    assert closed(pool) == [(granted(pool, "one").member, "closing")]
    pool.tick_at_deadline()
    member = granted(pool, "two").member
    assert pool.took(EndLease) == [EndLease(kept, member)]
    assert closed(pool) == [(member, "closing")]
    assert pool.machine.over


def test_a_release_at_the_instant_when_the_grace_ends_is_too_late_and_no_mistake() -> None:
    pool = Outside()
    held = lease(pool, "me")
    pool.close(grace=5.0)
    pool.now = 5.0
    pool.release(held, backlog=3, unread="drop")
    assert pool.took(EndLease) == [EndLease(held, granted(pool, "me").member)]


def test_a_stream_that_is_lost_in_the_grace_may_heal() -> None:
    pool = Outside()
    lease(pool, "me")
    member = granted(pool, "me").member
    pool.close(grace=5.0)
    pool.lose(member)
    pool.ask(member)
    assert admitted(pool) == [(member, 0)]


# --- At a glance ----------------------------------------------------------------------------------


def test_a_pool_without_size_is_not_used() -> None:
    assert PoolStats().utilization == 0.0
