"""Bugs planted in the machines, and which check finds each of them."""

import pytest

from mutants import NEAR, Mutant, check, planted, source_of

CONNECTION_MODEL = "test_connection_model.ConnectionModel"
WIRE_MODEL = "test_wire_model.WireModel"
WAY_OF_BYTES = "test_way_of_bytes.test_a_wire_counts_and_answers_as_its_connection_does"
FAILOVER_MODEL = "test_failover.AnyHistory"

MUTANTS = {
    "in one go, nobody notes when the last event came": Mutant(
        "wire",
        "                metrics.last_event = now\n",
        "",
        WAY_OF_BYTES,
    ),
    "in one go, nobody notes a silence": Mutant(
        "wire",
        "                metrics.longest_silence = silence\n",
        "                pass\n",
        WAY_OF_BYTES,
    ),
    "in one go, a stream that ended is taken for one that goes on": Mutant(
        "wire",
        "            if parser.error is not None:\n",
        "            if False:\n",
        WAY_OF_BYTES,
    ),
    "in one function, a full buffer stops nobody": Mutant(
        "driver",
        "                    if len(buffer) >= self._size and not self._paused:\n",
        "                    if False:\n",
        "test_way_of_bytes.test_a_driver_does_the_same_in_one_function_or_three:block",
    ),
    "in one function, a buffer overflows": Mutant(
        "driver",
        "                elif buffer is None or len(buffer) >= self._size:\n",
        "                elif buffer is None:\n",
        "test_way_of_bytes.test_a_driver_does_the_same_in_one_function_or_three:error",
    ),
    "the cursor is forgotten with the stream": Mutant(
        "connection",
        "            self._cursor = cursor\n            self._gave_id",
        "            self._gave_id",
        WIRE_MODEL,
    ),
    "an abandoned exchange is not closed": Mutant(
        "connection",
        "            else:\n                actions.append(Disconnect(self._stream))\n",
        "",
        CONNECTION_MODEL,
    ),
    "a redirect leaves its first exchange open": Mutant(
        "connection",
        "  actions.append(Disconnect(self._stream))\n                self._number += 1",
        "  self._number += 1",
        "test_wire.test_a_redirect_moves_to_another_transport_and_drops_the_rest",
    ),
    "the deadline is not brought forward": Mutant(
        "connection",
        "        self._note_sent()\n        self._wait(Timer.RESPONSE,"
        " now + self._config.timeouts.response)\n        return self._armed([])",
        "        self._note_sent()\n        self._wait(Timer.RESPONSE,"
        " now + self._config.timeouts.response)\n        return []",
        CONNECTION_MODEL,
    ),
    "the parser's list is copied": Mutant(
        "connection",
        "        return events\n\n    def body_ended",
        "        return list(events)\n\n    def body_ended",
        WIRE_MODEL,
    ),
    "a retry counts as a connect": Mutant(
        "connection",
        "        if self._state is _RECONNECTING:\n            self.metrics.reconnect_attempts",
        "        if self._state is not _RECONNECTING:\n            self.metrics.reconnect_attempts",
        CONNECTION_MODEL,
    ),
    "a failed attempt is not counted": Mutant(
        "connection",
        "            self._count_outcome(success=False)\n",
        "            pass\n",
        CONNECTION_MODEL,
    ),
    "a post has the number of the attempt": Mutant(
        "connection",
        "        self._number += 1\n        if self._posts is None:",
        "        if self._posts is None:",
        CONNECTION_MODEL,
    ),
    "close forgets the posts": Mutant(
        "connection",
        "for number, post in (self._posts or {}).items():",
        "for number, post in ():",
        WIRE_MODEL,
    ),
    "reconnecting is entered again and again": Mutant(
        "connection",
        "                if self._state is not _RECONNECTING:\n",
        "                if True:\n",
        CONNECTION_MODEL,
    ),
    "refused events advance the cursor": Mutant(
        "connection",
        "        self._cursor = last_id\n",
        "",
        "test_connection.test_a_refused_buffer_is_final_and_gives_the_cursor_back",
    ),
    "restart keeps the cursor that was replaced": Mutant(
        "connection",
        "        if cursor is not None:\n            self._cursor = cursor\n",
        "",
        CONNECTION_MODEL,
    ),
    "what follows the terminal event is skipped": Mutant(
        "connection",
        "            self._retire_parser(event.id)\n",
        "            self._retire_parser(self.received_event_id)\n",
        CONNECTION_MODEL,
    ),
    "time without reading is the server's silence": Mutant(
        "connection",
        "                self._last_life += unread\n",
        "",
        "test_connection.test_pausing_stops_the_reading_and_the_clock_of_silence",
    ),
    "a paused stream dies of silence": Mutant(
        "connection",
        "            if self._paused_at is None:\n                due = self._next_life",
        "            if True:\n                due = self._next_life",
        "test_connection.test_pausing_stops_the_reading_and_the_clock_of_silence",
    ),
    "being accepted is progress": Mutant(
        "connection",
        "        self._accepted_at = self._last_life = now\n",
        "        self._accepted_at = self._last_life = now\n        self._memory().progress()\n",
        "test_connection.test_being_accepted_is_no_progress_but_an_event_is",
    ),
    "a pong proves the stream": Mutant(
        "connection",
        "            beat.answered(self._beat_counters())\n",
        "            self._last_life = now\n            beat.answered(self._beat_counters())\n",
        "test_connection.test_a_half_open_stream_whose_server_answers_pings_dies_of_silence",
    ),
    "stale bytes are read": Mutant(
        "connection",
        "  if attempt != self._stream:\n            return NO_ACTIONS\n        if now > self._now:",
        "  if now > self._now:",
        CONNECTION_MODEL,
    ),
    "a stale pong counts": Mutant(
        "connection",
        " or beat.ping != ping or not ping:\n            return NO_ACTIONS\n"
        "        actions: Actions = []\n        if 200",
        ":\n            return NO_ACTIONS\n        actions: Actions = []\n        if 200",
        "test_connection.test_a_ping_is_abandoned_when_nobody_needs_its_answer:pause",
    ),
    "a POST is repeated after its redirect": Mutant(
        "connection",
        "                    self._acted = True",
        "                    self._acted = False",
        "test_connection.test_a_post_answered_by_a_redirect_to_a_get_has_had_its_effect:303:lost",
    ),
    "any answer admits": Mutant(
        "connection",
        "        if attempt != self._asking or not attempt:\n",
        "        if not self._asking:\n",
        "test_reuse.test_only_the_latest_question_has_an_answer_and_only_one",
    ),
    "a question for admission is not taken back": Mutant(
        "connection",
        "            actions.append(Disconnect(self._asking))\n",
        "            pass\n",
        CONNECTION_MODEL,
    ),
    "waiting for admission is an attempt": Mutant(
        "connection",
        "            self._asking = number\n            actions",
        "            self._asking = self._stream = number\n            actions",
        "test_reuse.test_nothing_is_under_way_while_it_is_waited_for",
    ),
    "a cursor goes where nobody knows it": Mutant(
        "connection",
        "        if not keep_cursor:\n",
        "        if False:\n",
        "test_reuse.test_the_cursor_is_kept_unless_nobody_knows_it_there",
    ),
    "the rest of a body is waited for without end": Mutant(
        "connection",
        "            due = earlier(due, self._drain[1], Timer.DRAIN)\n",
        "            pass\n",
        "test_reuse.test_draining_takes_no_longer_than_a_second:0",
    ),
    "the older of two rests is forgotten": Mutant(
        "connection",
        "            actions.append(Disconnect(self._drain[0]))\n            self._drain = None\n"
        "        if self._aside",
        "            self._drain = None\n        if self._aside",
        "test_reuse.test_the_next_stream_does_not_wait_for_the_rest_of_the_last",
    ),
    "a truncated stream is released": Mutant(
        "connection",
        "            if well and self._reuse:\n",
        "            if self._reuse:\n",
        CONNECTION_MODEL,
    ),
    "a transport is kept with bytes behind the end": Mutant(
        "wire",
        "drain.body.complete and not drain.body.leftover and",
        "drain.body.complete and",
        "test_reuse.test_bytes_after_the_end_spoil_a_transport:sized",
    ),
    "a transport is kept before its request is written": Mutant(
        "wire",
        "if body.complete and drain.written else",
        "if body.complete else",
        "test_reuse.test_a_transport_is_not_kept_before_the_request_has_been_written",
    ),
    "a body nobody wants is read without a limit": Mutant(
        "wire",
        " or drain.room < 0:",
        ":",
        "test_reuse.test_so_much_is_read_and_no_more:1000:65536",
    ),
    "a transport is kept that the server closes": Mutant(
        "wire",
        "        usable = self._usable & 1 and keep",
        "        usable = keep",
        "test_reuse.test_what_the_head_allows:CLOSING:0",
    ),
    "a draining transport is closed when it is said to be open": Mutant(
        "wire",
        "            return NO_ACTIONS  # it has been open for long\n",
        "            return [CloseTransport(transport)]\n",
        "test_reuse.test_it_is_read_on_until_the_end_and_nothing_of_it_is_given",
    ),
    "a breaker opens one failure late": Mutant(
        "endpoints",
        "place.failures_in_a_row >= self._config.failures",
        "place.failures_in_a_row > self._config.failures",
        "test_failover.test_what_was_broken_is_tried_out_once_its_breaker_allows_it",
    ),
    "a half-open breaker lets everything through": Mutant(
        "endpoints",
        "        return place.connecting < self._config.half_open\n",
        "        return True\n",
        "test_endpoints.test_an_open_breaker_lets_nothing_through_before_its_time_and_then_a_few",
    ),
    "one success closes a breaker": Mutant(
        "endpoints",
        "place.successes_in_a_row >= self._config.successes",
        "place.successes_in_a_row >= 1",
        "test_endpoints.test_an_open_breaker_lets_nothing_through_before_its_time_and_then_a_few",
    ),
    "a 404 opens a breaker": Mutant(
        "endpoints",
        "return error.status >= 500 or",
        "return error.status >= 400 or",
        "test_endpoints.AnyHistory",
    ),
    "weights do not count": Mutant(
        "endpoints",
        "places[index].credit += places[index].endpoint.weight",
        "places[index].credit += total / len(indices)",
        "test_endpoints.test_in_turn_is_smooth",
    ),
    "a healthy stream leaves for one that says no": Mutant(
        "endpoints",
        "        if place.refusing:\n            return inf, True",
        "        if False:\n            return inf, True",
        "test_endpoints.test_nobody_leaves_a_good_place_for_one_that_says_no",
    ),
    "all come at once to try it out": Mutant(
        "endpoints",
        "return inf if alone and place.connecting + place.moving else at",
        "return at",
        "test_endpoints.test_streams_return_to_the_better_endpoint_once_it_has_been_healthy_for_long_enough",
    ),
    "nobody notices that a stream is at a worse place": Mutant(
        "endpoints",
        "            self._unsettled = True\n        if place.breaker is _OPEN:",
        "            pass\n        if place.breaker is _OPEN:",
        "test_endpoints.test_a_stream_that_went_elsewhere_although_nothing_was_wrong_returns_too",
    ),
    "an id goes to another domain": Mutant(
        "failover",
        "        if domain != self._domain:\n            if not is",
        "        if False:\n            if not is",
        FAILOVER_MODEL,
    ),
    "an attempt elsewhere costs the cursor": Mutant(
        "connection",
        "            (self._cursor, self._gave_id), self._aside = self._aside, None\n",
        "            self._aside = None\n",
        FAILOVER_MODEL,
    ),
    "a POST is repeated anywhere": Mutant(
        "failover",
        "            self._repeating = True\n",
        "            pass\n",
        "test_failover.test_a_post_that_may_have_had_an_effect_stays_in_its_domain:sent",
    ),
    "an abandoned attempt is still counted": Mutant(
        "failover",
        "                self._endpoints.given_up(place)\n",
        "                pass\n",
        FAILOVER_MODEL,
    ),
    "what failed is tried again before the others": Mutant(
        "failover",
        "        self._tried.add(place)\n",
        "",
        "test_failover.test_each_endpoint_has_its_turn_before_any_is_tried_again",
    ),
    "a stream with an end is moved": Mutant(
        "failover",
        "            and not self._finite\n",
        "",
        "test_failover.test_a_stream_with_an_end_stays_where_it_is",
    ),
    "a transport that opens late leaks": Mutant(
        "wire",
        "            return [CloseTransport(transport)]\n        if side.opened",
        "            return NO_ACTIONS\n        if side.opened",
        WIRE_MODEL,
    ),
    "what is gone by itself is closed": Mutant(
        "wire",
        "                    if number != gone:\n",
        "                    if True:\n",
        WIRE_MODEL,
    ),
    "the body in the read of its head is dropped": Mutant(
        "wire",
        "        if payload and transport == self._stream:\n",
        "        if False:\n",
        WIRE_MODEL,
    ),
    "the end of a post is not noticed": Mutant(
        "wire",
        "        side.exchange.end()\n",
        "",
        "test_wire.test_a_post_may_be_answered_until_eof",
    ),
    "the end of a body is not noticed": Mutant(
        "wire",
        "        elif body.complete:\n",
        "        elif False:\n",
        "test_wire.test_the_last_chunk_is_the_end",
    ),
    "the answer to a post is unbounded": Mutant(
        "wire",
        "if len(side.content) + len(payload) > limit:",
        "if len(payload) > limit:",
        "test_wire.test_a_post_fails_with_a_reason:large:LimitExceeded",
    ),
    "retries are never used up": Mutant(
        "reconnection",
        "        self.retries += 1\n",
        "",
        "test_connection.test_attempts_are_used_up",
    ),
    "one retry too many": Mutant(
        "reconnection",
        "self.retries >= policy.max_attempts",
        "self.retries > policy.max_attempts",
        "test_connection.test_attempts_are_used_up",
    ),
    "what a server asks for is not capped": Mutant(
        "reconnection",
        "    floor = min(floor, policy.max_server_delay)\n",
        "",
        "test_connection.test_an_absurd_retry_field_is_capped",
    ),
    "misses do not add up": Mutant(
        "heartbeat",
        "else self.missed + 1",
        "else 1",
        "test_connection.test_misses_in_a_row_are_death:failure",
    ),
    "an answered ping is waited for": Mutant(
        "heartbeat",
        "        self.ping = 0\n        self.missed = 0\n",
        "        self.missed = 0\n",
        "test_connection.test_an_answer_in_time_clears_the_misses:200",
    ),
    "204 is an error": Mutant(
        "attempt",
        "    if status == 204:\n",
        "    if status == 205:\n",
        "test_connection.test_204_closes_without_an_error",
    ),
    "one redirect too few": Mutant(
        "attempt",
        "attempt.redirects > config.limits.redirects",
        "attempt.redirects >= config.limits.redirects",
        "test_connection.test_redirects_are_followed_up_to_the_limit",
    ),
    "a body goes to another origin": Mutant(
        "attempt",
        "if followed.content is not None and",
        "if followed.content is None and",
        "test_connection.test_a_body_is_not_sent_to_another_origin",
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


def test_there_are_enough_and_in_every_machine() -> None:
    assert len(MUTANTS) >= 20
    modules = {mutant.module for mutant in MUTANTS.values()}
    theirs = {"reconnection", "heartbeat", "attempt", "endpoints"}
    assert modules == theirs | {"connection", "wire", "failover", "driver"}
