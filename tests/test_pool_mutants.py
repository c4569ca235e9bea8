"""Bugs planted in the pool's machines, and what finds each of them: mostly the model."""

import pytest

from mutants import NEAR, Mutant, check, planted, source_of

MODEL = "test_pool_model.PoolModel"

MUTANTS = {
    "a waiter is granted twice": Mutant(
        "pool",
        "        del self._waiters[waiting.token]\n        same_key",
        "        same_key",
        MODEL,
    ),
    "a cancelled waiter is granted": Mutant(
        "pool",
        '_count("cancellations")\n            self._forget_waiter(waiting, actions)\n',
        '_count("cancellations")\n',
        MODEL,
    ),
    "one member too many": Mutant(
        "pool",
        "            elif len(self._members) < self._config.max_size:",
        "            elif len(self._members) <= self._config.max_size:",
        MODEL,
    ),
    "a place stays empty": Mutant(
        "pool",
        "            elif len(self._members) < self._config.max_size:",
        "            elif len(self._members) < self._config.max_size - 1:",
        MODEL,
    ),
    "too many are kept warm": Mutant(
        "pool",
        "            and len(self._members) < config.max_size\n",
        "",
        MODEL,
    ),
    "an idle member serves any key": Mutant(
        "pool",
        "        idle = self._idle.latest(key)\n        if idle is not None",
        "        idle = self._idle.first() if self._idle else None\n        if idle is not None",
        MODEL,
    ),
    "what is being connected serves any key": Mutant(
        "pool",
        "            spare = self._spare.latest(waiting.key)\n",
        "            spare = self._spare.first() if self._spare else None\n",
        MODEL,
    ),
    "the last waiter is first": Mutant(
        "pool",
        "        first = next(iter(same_key.values())) if same_key else None",
        "        first = next(reversed(same_key.values())) if same_key else None",
        MODEL,
    ),
    "who comes later gets the place": Mutant(
        "pool",
        "(waiting.number, next(self._numbers), waiting)",
        "(-waiting.number, next(self._numbers), waiting)",
        MODEL,
    ),
    "a key that has an idle member evicts it for nobody": Mutant(
        "pool",
        "            or first.number <= self._wanting[0][0]\n",
        "            or True\n",
        MODEL,
    ),
    "attempts that are given up count for ever": Mutant(
        "pool",
        "            member.attempting = False\n            self._connecting -= 1\n"
        "            assert member.endpoint is not None\n            self._endpoints.given_up",
        "            member.attempting = False\n            assert member.endpoint is not None\n"
        "            self._endpoints.given_up",
        MODEL,
    ),
    "the endpoint is not told of an attempt that is given up": Mutant(
        "pool",
        "            self._endpoints.given_up(member.endpoint)\n",
        "",
        MODEL,
    ),
    "one attempt too many": Mutant(
        "pool",
        "            while line and self._connecting < self._config.max_connecting:",
        "            while line and self._connecting <= self._config.max_connecting:",
        "test_pool.test_whom_somebody_waits_for_is_admitted_before_whom_nobody_does",
    ),
    "a grant after the deadline": Mutant(
        "pool",
        "        while timers and timers[0][0] <= self._now:",
        "        while timers and timers[0][0] < self._now - 0.5:",
        MODEL,
    ),
    "a deadline is forgotten": Mutant(
        "pool",
        '        self._call_at(waiting.deadline, "waiter", waiting)\n',
        "",
        MODEL,
    ),
    "a failed member keeps its place for ever": Mutant(
        "pool",
        '            self._close(member, "failed", actions)\n        elif',
        "            pass\n        elif",
        MODEL,
    ),
    "a leased member is closed for being idle": Mutant(
        "pool",
        "        if member.state is not _IDLE:\n            return\n        at =",
        "        at =",
        "test_pool.test_a_member_in_use_is_not_closed_for_having_been_idle",
    ),
    "a leased member is closed for being old": Mutant(
        "pool",
        "            if member.lease or member.waiter is not None:\n                member.expired",
        "            if member.waiter is not None:\n                member.expired",
        "test_pool.test_an_old_member_that_is_in_use_is_not_cut",
    ),
    "an old member is pooled again": Mutant(
        "pool",
        "        elif member.expired:\n",
        "        elif False:\n",
        "test_pool.test_an_old_member_that_is_in_use_is_not_cut",
    ),
    "a cancelled waiter leaves an old member": Mutant(
        "pool",
        "        if member.single or member.expired:\n",
        "        if member.single:\n",
        "test_pool.test_an_old_member_that_nobody_waits_for_any_more_is_closed",
    ),
    "a finished member is pooled again": Mutant(
        "pool",
        "        elif member.finished:\n",
        "        elif False:\n",
        MODEL,
    ),
    "idle time begins with the first time": Mutant(
        "pool",
        "        member.idle_since = self._now\n",
        "        member.idle_since = member.idle_since or self._now\n",
        "test_pool.test_the_idle_time_begins_anew_at_each_release",
    ),
    "close forgets who waits": Mutant(
        "pool",
        "        for waiting in list(self._waiters.values()):\n            error = PoolClosed",
        "        for waiting in list(self._waiters.values())[1:]:\n            error = PoolClosed",
        "test_pool.test_a_closed_pool_refuses_rejects_and_closes",
    ),
    "the grace never ends": Mutant(
        "pool",
        "and self._now >= self._closing_at and self._leases:\n",
        "and False:\n",
        MODEL,
    ),
    "a second close prolongs the grace": Mutant(
        "pool",
        "else min(at, self._closing_at)",
        "else max(at, self._closing_at)",
        "test_pool.test_holders_are_given_some_grace",
    ),
    "whoever asks first is admitted first": Mutant(
        "pool",
        "        urgent = member.lease or member.waiter is not None\n",
        "        urgent = False\n",
        "test_pool.test_whom_somebody_waits_for_is_admitted_before_whom_nobody_does",
    ),
    "the limit of an origin is not kept": Mutant(
        "pool",
        "            per_origin=self._config.max_connecting_per_origin,\n",
        "",
        "test_pool.test_an_origin_has_a_limit_of_its_own",
    ),
    "an endpoint that failed for good is tried again": Mutant(
        "pool",
        "                waiting.tried[where] = error\n",
        "                pass\n",
        "test_pool.test_all_endpoints_fail_for_good_and_the_last_cause_is_told_at_once",
    ),
    "all endpoints failed, and it waits": Mutant(
        "pool",
        "            if len(waiting.tried) == len(self._endpoints):",
        "            if len(waiting.tried) > len(self._endpoints):",
        "test_pool.test_all_endpoints_fail_for_good_and_the_last_cause_is_told_at_once",
    ),
    "an old backlog is shown again": Mutant(
        "pool",
        "        member.unread_since = member.full_until = None\n        actions.append(GrantLease",
        "        actions.append(GrantLease",
        "test_pool.test_the_next_lease_is_told_how_old_the_backlog_is_and_takes_it_over",
    ),
    "ids go to another domain": Mutant(
        "pool",
        "        keep = known is None or known == domain\n",
        "        keep = True\n",
        MODEL,
    ),
    "moves know no limit": Mutant(
        "pool",
        "            and self._connecting + self._moving < self._config.max_connecting\n",
        "",
        "test_pool.test_streams_return_no_faster_than_attempts_may_begin",
    ),
    "a move never ends": Mutant(
        "pool",
        "        self._moving -= 1\n",
        "",
        "test_pool.test_streams_return_to_an_endpoint_that_was_broken_until_it_has_its_share",
    ),
    "an idle stream that moves is still handed out": Mutant(
        "pool",
        "            self._lapse(member, actions)\n            self._note_loss(member, None)\n"
        "            member.target",
        "            self._note_loss(member, None)\n            member.target",
        "test_pool.test_an_idle_stream_that_moves_is_not_handed_out",
    ),
    "a stream goes where that is closed to it": Mutant(
        "pool",
        "            if target not in closed:\n",
        "            if True:\n",
        "test_pool.test_what_may_not_go_to_the_better_endpoint_holds_nobody_up",
    ),
    "what is closed to one holder's stream is closed to the next one's": Mutant(
        "pool",
        "        self._close_to(member, {})\n",
        "",
        "test_pool.test_a_stream_may_go_where_its_latest_holder_was_refused_for_good",
    ),
    "a member is told to begin anew twice": Mutant(
        "pool",
        "        self._rest(member, False)  # and at once, so that nobody needs to tell it to\n",
        "",
        "test_pool.test_what_begins_anew_is_not_told_so_again_for_whom_it_is_to_serve",
    ),
    "a stream that is to start anew is healthy": Mutant(
        "pool",
        "        self._note_loss(member, None)\n        self._stop_attempt(member)",
        "        self._stop_attempt(member)",
        "test_pool.test_a_full_buffer_is_paused_and_after_a_while_the_member_begins_anew_without_it",
    ),
    "a breaker never closes": Mutant(
        "endpoints",
        "            if place.successes_in_a_row >= self._config.successes:\n",
        "            if place.successes_in_a_row > self._config.successes:\n",
        MODEL,
    ),
    "a breaker opens late": Mutant(
        "endpoints",
        "        enough = place.failures_in_a_row >= self._config.failures\n",
        "        enough = place.failures_in_a_row > self._config.failures\n",
        MODEL,
    ),
    "an open breaker lets something through": Mutant(
        "endpoints",
        "            return now >= place.open_until\n",
        "            return now >= place.open_until - 5.0\n",
        MODEL,
    ),
    "a half-open breaker lets all through": Mutant(
        "endpoints",
        "        return place.connecting < self._config.half_open\n",
        "        return True\n",
        "test_endpoints.test_an_open_breaker_lets_nothing_through_before_its_time_and_then_a_few",
    ),
    "half open is for ever": Mutant(
        "endpoints",
        "        if place.breaker is _HALF_OPEN or (place.breaker is _CLOSED and enough):\n",
        "        if place.breaker is _CLOSED and enough:\n",
        MODEL,
    ),
    "priority is ignored": Mutant(
        "endpoints",
        "            best = min(places[index].endpoint.priority for index in indices)\n",
        "            best = max(places[index].endpoint.priority for index in indices)\n",
        "test_pool.test_a_stream_tries_the_better_endpoint_again_when_it_has_been_left_alone_for_long",
    ),
    "streams return at once": Mutant(
        "endpoints",
        "            return place.healthy_since + patience, place.breaker is not _CLOSED\n",
        "            return place.healthy_since, place.breaker is not _CLOSED\n",
        "test_pool.test_streams_return_to_an_endpoint_that_was_broken_until_it_has_its_share",
    ),
    "a stream that has strayed never returns": Mutant(
        "endpoints",
        "            self._unsettled = True\n        if place.breaker is _OPEN:",
        "            pass\n        if place.breaker is _OPEN:",
        "test_pool.test_a_stream_returns_to_an_endpoint_that_failed_but_once",
    ),
    "a stream that may not go holds up those that may": Mutant(
        "endpoints",
        "            possible = [source for source in wanted if may(source, target)]\n",
        "            possible = wanted\n",
        "test_pool.test_what_may_not_go_to_the_better_endpoint_holds_nobody_up",
    ),
    "a stream that may not go yet never will": Mutant(
        "endpoints",
        "                self._unsettled = True  # even if",
        "                pass  # even if",
        "test_pool.test_a_stream_may_go_where_its_latest_holder_was_refused_for_good",
    ),
    "the trial of one endpoint delays the return to another": Mutant(
        "endpoints",
        "        return inf if alone and place.connecting + place.moving else at\n",
        "        return at\n",
        "test_pool.test_while_the_best_endpoint_is_tried_out_another_one_is_returned_to_in_time",
    ),
    "a stream returns by way of the second best": Mutant(
        "endpoints",
        "        for target in self._by_priority:\n",
        "        for target in range(len(self._places)):\n",
        "test_pool.test_a_stream_returns_to_the_best_endpoint_without_a_stop_between",
    ),
    "what was dropped at once is no failure": Mutant(
        "endpoints",
        "silent or not (gave or lived >= self._config.failback_after)",
        "silent",
        MODEL,
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_every_planted_bug_is_found(name: str) -> None:
    mutant = MUTANTS[name]
    with planted(mutant.module, mutant.source()):
        search = check(mutant.killer)
        with pytest.raises(Exception):  # noqa: B017, PT011  # a bug may show in any way
            search()


@pytest.mark.parametrize("module", sorted({mutant.module for mutant in MUTANTS.values()}))
def test_what_finds_them_finds_nothing_in_the_real_machines(module: str) -> None:
    with planted(module, source_of(module)):
        for killer in sorted({m.killer for m in MUTANTS.values() if m.module == module}):
            check(killer, NEAR)()


def test_there_are_enough_and_in_both_machines() -> None:
    by_model = [mutant for mutant in MUTANTS.values() if mutant.killer == MODEL]
    assert len(by_model) >= 15
    assert {mutant.module for mutant in MUTANTS.values()} == {"pool", "endpoints"}
