"""Several endpoints: which is chosen, when one is left alone, and when streams return to it."""

from math import inf
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sansio_sse import (
    BufferOverflow,
    ConnectError,
    ConnectionLost,
    HeartbeatTimeout,
    HTTPStatusError,
    IdleTimeout,
    LocalProtocolError,
    ResponseTimeout,
    SSEError,
    TLSError,
)
from sansio_sse.config import BreakerConfig, Endpoint, Strategy
from sansio_sse.endpoints import BreakerState, EndpointChanged, Endpoints

SECRET = "s3cr3t"
CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN
STRATEGIES: list[Strategy] = ["round_robin", "least_loaded", "priority"]


def status(code: int) -> HTTPStatusError:
    return HTTPStatusError(f"the server answered {code}", status=code)


ITS_FAULT: list[SSEError] = [
    ConnectError("refused"),
    TLSError("no", retryable=False),
    ResponseTimeout("nothing"),
    *(status(code) for code in (408, 429, 500, 503, 599)),
]
NOT_ITS_FAULT: list[SSEError] = [
    *(status(code) for code in (302, 400, 401, 403, 404, 425)),
    LocalProtocolError("the caller's own"),
]
SILENCE: list[SSEError] = [IdleTimeout("silent"), HeartbeatTimeout("no answer")]


def places(*weights: float, strategy: Strategy = "round_robin", **config: Any) -> Endpoints:
    """Endpoints a, b, c... of these weights; for "priority" they are in order of preference."""
    endpoints = [
        Endpoint(f"http://{'abcdef'[index]}.example/", weight, index)
        for index, weight in enumerate(weights)
    ]
    return Endpoints(endpoints, strategy, BreakerConfig(**config))


def broken(there: Endpoints, index: int, now: float) -> None:
    """As many failures as open a breaker, by streams that fell silent."""
    while there.breaker(index) is not OPEN:
        there.lost(index, IdleTimeout("silent"), now, lived=1.0, gave=True)


# --- Any history -------------------------------------------------------------------------------


class Ledger:
    """What one endpoint should be, told in the words of the documentation."""

    def __init__(self) -> None:
        self.breaker = CLOSED
        self.opens_at = 0.0
        self.bad = 0  # failures in a row
        self.good = 0  # successes in a row, while half open
        self.connecting = 0
        self.streams = 0
        self.attempts = 0
        self.successes = 0
        self.failures = 0
        self.lost = 0


class AnyHistory(RuleBasedStateMachine):
    """Draws attempts, answers, losses and times; the ledger says what the breakers must be."""

    @initialize(
        strategy=st.sampled_from(STRATEGIES),
        weights=st.lists(st.sampled_from([0.5, 1, 2, 3]), min_size=1, max_size=4),
        shared=st.booleans(),
        config=st.builds(
            BreakerConfig,
            failures=st.integers(1, 3),
            successes=st.integers(1, 3),
            open_for=st.sampled_from([0, 10, 60]),
            half_open=st.integers(1, 2),
            failback_after=st.sampled_from([0, 30]),
        ),
    )
    def begin(
        self, strategy: Strategy, weights: list[float], shared: bool, config: BreakerConfig
    ) -> None:
        self.config = config
        self.shared = shared  # all are of one origin
        self.there = Endpoints(
            [
                Endpoint("http://a.example/" if shared else f"http://{i}.example/", weight, i // 2)
                for i, weight in enumerate(weights)
            ],
            strategy,
            config,
        )
        self.ledgers = [Ledger() for _ in weights]
        self.now = 0.0

    def admits(self, index: int) -> bool:
        ledger = self.ledgers[index]
        match ledger.breaker:
            case BreakerState.CLOSED:
                return True
            case BreakerState.OPEN:
                return self.now >= ledger.opens_at
            case BreakerState.HALF_OPEN:
                return ledger.connecting < self.config.half_open

    def some(self, draw: Any, what: str) -> int:
        return int(
            draw(st.sampled_from([i for i, one in enumerate(self.ledgers) if getattr(one, what)]))
        )

    def expect_news(self, index: int, *changes: tuple[BreakerState, BreakerState]) -> None:
        name = self.there.endpoint(index).name
        assert [(news.endpoint, news.old, news.new, news.at) for news in self.there.news] == [
            (name, old, new, self.now) for old, new in changes
        ]
        self.there.news.clear()

    def succeeded(self, index: int) -> None:
        ledger = self.ledgers[index]
        changes = []
        if ledger.breaker is not OPEN:
            ledger.bad = 0
        if ledger.breaker is HALF_OPEN:
            ledger.good += 1
            if ledger.good == self.config.successes:
                ledger.breaker = CLOSED
                changes.append((HALF_OPEN, CLOSED))
        self.expect_news(index, *changes)

    def blamed(self, index: int) -> None:
        ledger = self.ledgers[index]
        old = ledger.breaker
        ledger.bad += 1
        if old is HALF_OPEN or (old is CLOSED and ledger.bad >= self.config.failures):
            ledger.breaker, ledger.opens_at = OPEN, self.now + self.config.open_for
            self.expect_news(index, (old, OPEN))
        else:
            self.expect_news(index)

    @rule(seconds=st.sampled_from([0.0, 0.5, 10.0, 29.5, 60.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(data=st.data())
    def choose(self, data: st.DataObject) -> None:
        draw = data.draw
        index = st.integers(0, len(self.ledgers) - 1)
        exclude = draw(st.sets(index, max_size=1))
        avoid, prefer = draw(st.none() | index), draw(st.none() | index)
        per_origin = draw(st.none() | st.integers(1, 2))
        possible = [i for i in range(len(self.ledgers)) if i not in exclude and self.admits(i)]
        chosen = self.there.choose(
            self.now, exclude=exclude, avoid=avoid, prefer=prefer, per_origin=per_origin
        )
        if chosen is None:
            # There is nothing open to it, or as much under way as one origin may have.
            assert not possible or per_origin is not None
            if self.shared and per_origin is not None and possible:
                assert sum(ledger.connecting for ledger in self.ledgers) >= per_origin
            return
        assert chosen in possible
        if prefer in possible:
            assert chosen == prefer
        elif len(possible) > 1:
            assert chosen != avoid
        ledger = self.ledgers[chosen]
        if ledger.breaker is OPEN:
            ledger.breaker, ledger.good = HALF_OPEN, 0
            self.expect_news(chosen, (OPEN, HALF_OPEN))
        ledger.attempts += 1
        ledger.connecting += 1
        if per_origin is not None:
            here = self.ledgers if self.shared else [ledger]
            assert sum(one.connecting for one in here) <= per_origin

    @precondition(lambda self: any(one.connecting for one in self.ledgers))
    @rule(data=st.data(), how=st.sampled_from(["accepted", "given up", "its fault", "not its"]))
    def attempt_ends(self, data: st.DataObject, how: str) -> None:
        index = self.some(data.draw, "connecting")
        ledger = self.ledgers[index]
        ledger.connecting -= 1
        match how:
            case "accepted":
                self.there.accepted(index, self.now)
                ledger.successes += 1
                self.succeeded(index)
                self.there.joined(index)
                ledger.streams += 1
            case "given up":
                self.there.given_up(index)
                self.expect_news(index)
            case "its fault":
                self.there.failed(index, data.draw(st.sampled_from(ITS_FAULT)), self.now)
                ledger.failures += 1
                self.blamed(index)
            case _:
                self.there.failed(index, data.draw(st.sampled_from(NOT_ITS_FAULT)), self.now)
                ledger.failures += 1
                self.expect_news(index)

    @precondition(lambda self: any(one.streams for one in self.ledgers))
    @rule(
        data=st.data(),
        how=st.sampled_from(["event", "left", "silent", "lost"]),
        lived=st.sampled_from([0.0, 29.0, 30.0]),
        gave=st.booleans(),
    )
    def stream_goes_on(self, data: st.DataObject, how: str, lived: float, gave: bool) -> None:
        index = self.some(data.draw, "streams")
        ledger = self.ledgers[index]
        if how == "event":
            self.there.event_seen(index, self.now)
            self.succeeded(index)
            return
        if how != "left":
            silent = how == "silent"
            error = data.draw(st.sampled_from(SILENCE)) if silent else ConnectionLost("gone")
            self.there.lost(index, error, self.now, lived=lived, gave=gave)
            ledger.lost += 1
            if silent or not (gave or lived >= self.config.failback_after):
                self.blamed(index)
            else:
                self.expect_news(index)
        self.there.left(index)
        ledger.streams -= 1

    @rule(one_place=st.booleans(), data=st.data())
    def move(self, one_place: bool, data: st.DataObject) -> None:
        only = data.draw(st.integers(0, len(self.ledgers) - 1)) if one_place else None
        at = self.there.next_move_at(only)
        move = self.there.move(self.now, only)
        assert self.there.news == []
        if move is None:
            # Asking again is worth it later, or the one that tries it out is under way.
            assert at > self.now or any(ledger.connecting for ledger in self.ledgers)
            return
        source, target = move
        assert at <= self.now, "who asks at the time that was named misses nothing"
        assert source != target
        assert only in (None, source)
        assert self.ledgers[source].streams
        assert self.admits(target), "a stream that leaves has where to go"
        assert self.there.choose(self.now, prefer=target) == target
        self.there.left(source)
        self.ledgers[source].streams -= 1
        ledger = self.ledgers[target]
        if ledger.breaker is OPEN:
            ledger.breaker, ledger.good = HALF_OPEN, 0
            self.expect_news(target, (OPEN, HALF_OPEN))
        ledger.attempts += 1
        ledger.connecting += 1

    @invariant()
    def is_as_the_ledger_says(self) -> None:
        for index, (ledger, stats) in enumerate(zip(self.ledgers, self.there.stats(), strict=True)):
            assert stats.breaker is ledger.breaker is self.there.breaker(index)
            assert stats.healthy is (ledger.breaker is CLOSED and not ledger.bad)
            assert (stats.streams, stats.connecting) == (ledger.streams, ledger.connecting)
            assert (stats.attempts, stats.successes) == (ledger.attempts, ledger.successes)
            assert (stats.failures, stats.lost) == (ledger.failures, ledger.lost)
        opening = [one.opens_at for one in self.ledgers if one.breaker is OPEN]
        assert self.there.next_at() == min(opening, default=inf)
        assert self.there.next_at(exclude=range(len(self.ledgers))) == inf


TestAnyHistory = AnyHistory.TestCase
TestAnyHistory.settings = settings(
    max_examples=max(200, settings().max_examples // 10), stateful_step_count=40
)


# --- Which one ---------------------------------------------------------------------------------

WEIGHTS = st.lists(st.integers(1, 7), min_size=1, max_size=5)


@given(WEIGHTS, st.integers(1, 3))
def test_in_turn_each_gets_its_weight(weights: list[int], rounds: int) -> None:
    there = places(*weights)
    chosen = [there.choose(0.0) for _ in range(sum(weights) * rounds)]
    assert [chosen.count(index) for index in range(len(weights))] == [
        weight * rounds for weight in weights
    ]


@given(WEIGHTS, st.integers(1, 40))
def test_in_turn_nobody_waits_much_longer_than_its_share_asks_for(
    weights: list[int], turns: int
) -> None:
    there = places(*weights)
    chosen = [there.choose(0.0) for _ in range(turns)]
    for index, weight in enumerate(weights):
        owed = turns * weight / sum(weights)
        assert abs(chosen.count(index) - owed) < len(weights)


def test_in_turn_is_smooth() -> None:
    there = places(5, 1, 1)
    assert [there.choose(0.0) for _ in range(7)] == [0, 0, 1, 0, 2, 0, 0]


@given(WEIGHTS, st.integers(0, 40))
def test_the_least_loaded_is_the_one_furthest_below_its_weight(
    weights: list[int], streams: int
) -> None:
    there = places(*weights, strategy="least_loaded")
    for _ in range(streams):
        index = there.choose(0.0)
        assert index is not None
        there.joined(index)
    loads = [stats.streams / weights[index] for index, stats in enumerate(there.stats())]
    for index, weight in enumerate(weights):
        # Whoever got the latest of its streams had no more than anybody else before it.
        assert loads[index] - 1 / weight <= min(loads) + 1e-9


def test_by_priority_the_lowest_number_that_is_healthy_gets_everything() -> None:
    there = Endpoints(
        [Endpoint(f"http://{i}.example/", priority=p) for i, p in enumerate([2, 1, 1, 3])],
        "priority",
    )
    assert [there.choose(0.0) for _ in range(4)] == [1, 2, 1, 2]
    broken(there, 1, 0.0)
    assert [there.choose(0.0) for _ in range(2)] == [2, 2]
    broken(there, 2, 0.0)
    assert there.choose(0.0) == 0
    assert there.choose(0.0, exclude={0}) == 3
    assert there.choose(0.0, exclude={0, 3}) is None


def test_what_is_avoided_is_better_than_nothing_and_what_is_preferred_better_than_all() -> None:
    there = places(1, 1, 1, strategy="priority")
    assert there.choose(0.0, avoid=0) == 1
    assert there.choose(0.0, avoid=0, exclude={1, 2}) == 0
    assert there.choose(0.0, prefer=2) == 2
    assert there.choose(0.0, avoid=2, prefer=2) == 2
    assert there.choose(0.0, prefer=2, exclude={2}) == 0


def test_one_origin_has_so_many_attempts_under_way_whatever_its_endpoints() -> None:
    there = Endpoints(
        [Endpoint("http://a.example/x"), Endpoint("http://a.example/y"), Endpoint("http://b.test/")]
    )
    taken = [there.choose(0.0, per_origin=1) for _ in range(3)]
    assert taken == [0, 2, None]
    there.given_up(0)
    assert there.choose(0.0, per_origin=1) == 1


# --- The breaker -------------------------------------------------------------------------------


@pytest.mark.parametrize("error", ITS_FAULT, ids=str)
def test_what_the_endpoint_did_opens_its_breaker(error: SSEError) -> None:
    there = places(1, failures=2)
    for opened in (False, True):
        assert there.choose(0.0) == 0
        there.failed(0, error, 1.0)
        assert (there.breaker(0) is OPEN) is opened
    [news] = there.news
    assert news == EndpointChanged("http://a.example/", CLOSED, OPEN, 1.0, error)
    assert there.last_errors() == [("http://a.example/", error)]


@pytest.mark.parametrize("error", NOT_ITS_FAULT, ids=str)
def test_an_answer_or_a_fault_of_ours_opens_nothing(error: SSEError) -> None:
    there = places(1, failures=1)
    there.choose(0.0)
    there.failed(0, error, 1.0)
    assert there.breaker(0) is CLOSED
    assert there.last_errors() == [("http://a.example/", error)]
    assert there.stats()[0].failures == 1


@pytest.mark.parametrize(
    ("error", "lived", "gave", "opens"),
    [
        (IdleTimeout("silent"), 3600.0, True, True),
        (HeartbeatTimeout("silent"), 3600.0, True, True),
        (ConnectionLost("accepted and dropped"), 29.9, False, True),
        (ConnectionLost("it had given something"), 0.0, True, False),
        (ConnectionLost("it had lived long"), 30.0, False, False),
        (BufferOverflow("our reader is slow"), 0.0, False, False),
    ],
    ids=lambda value: str(value),
)
def test_how_a_stream_may_end(error: SSEError, lived: float, gave: bool, opens: bool) -> None:
    there = places(1, failures=1)
    there.lost(0, error, 5.0, lived=lived, gave=gave)
    assert (there.breaker(0) is OPEN) is opens
    assert there.stats()[0].lost == 1


def test_a_success_in_between_begins_the_count_anew() -> None:
    there = places(1, failures=2)
    for now in range(10):
        there.choose(now)
        there.failed(0, status(500), now)
        there.choose(now)
        there.accepted(0, now)
    assert there.breaker(0) is CLOSED
    assert not there.news


def test_an_open_breaker_lets_nothing_through_before_its_time_and_then_a_few() -> None:
    there = places(1, failures=1, open_for=60, half_open=2, successes=2)
    broken(there, 0, 10.0)
    assert there.next_at() == 70.0
    assert there.choose(69.9) is None
    assert [there.choose(70.0) for _ in range(3)] == [0, 0, None]
    assert there.breaker(0) is HALF_OPEN
    assert there.next_at() == inf
    there.given_up(0)
    assert there.choose(71.0) == 0
    there.accepted(0, 71.0)
    assert there.breaker(0) is HALF_OPEN
    there.event_seen(0, 72.0)
    assert there.breaker(0) is CLOSED
    assert [(news.old, news.new) for news in there.news] == [
        (CLOSED, OPEN),
        (OPEN, HALF_OPEN),
        (HALF_OPEN, CLOSED),
    ]
    assert there.stats()[0].breaker_changes == 3


def test_one_failure_of_a_trial_opens_it_again_for_the_whole_time() -> None:
    there = places(1, failures=3, open_for=60, successes=3)
    broken(there, 0, 0.0)
    for begun in (60.0, 121.0):
        there.choose(begun)
        there.accepted(0, begun)
        there.event_seen(0, begun)
        there.lost(0, IdleTimeout("silent"), begun + 1, lived=1.0, gave=True)
        assert there.breaker(0) is OPEN
        assert there.next_at() == begun + 61


def test_an_answer_from_before_it_broke_says_nothing() -> None:
    there = places(1, failures=1, successes=1)
    there.choose(0.0)
    broken(there, 0, 1.0)
    there.accepted(0, 2.0)
    assert there.breaker(0) is OPEN
    assert not there.stats()[0].healthy


# --- Whether to move ---------------------------------------------------------------------------


def settle(there: Endpoints, now: float) -> list[tuple[int, int]]:
    """Move streams, and let each arrive at once, until nobody wants to move."""
    moves: list[tuple[int, int]] = []
    while (move := there.move(now)) is not None:
        source, target = move
        assert there.choose(now, prefer=target) == target
        there.left(source)
        there.joined(target)
        there.accepted(target, now)
        there.event_seen(target, now)
        moves.append(move)
        assert len(moves) <= 200, "it has to come to rest"
    return moves


def test_streams_return_to_the_better_endpoint_once_it_has_been_healthy_for_long_enough() -> None:
    there = places(1, 1, strategy="priority", failures=1, open_for=10, successes=2)
    assert there.next_move_at() == inf
    broken(there, 0, 0.0)
    for _ in range(3):
        assert there.choose(0.0) == 1
        there.accepted(1, 0.0)
        there.joined(1)
    assert there.next_move_at() == 30.0
    assert there.move(29.9) is None
    # One tries it out, and the others wait for what becomes of it.
    assert there.move(30.0) == (1, 0)
    there.moving(0, 1)
    there.left(1)
    assert there.move(30.0) is None
    there.moving(0, -1)
    assert there.choose(30.0, prefer=0) == 0
    there.joined(0)
    assert there.move(30.0) is None
    there.accepted(0, 31.0)
    there.event_seen(0, 31.0)
    assert there.breaker(0) is CLOSED
    assert there.next_move_at() == 61.0
    assert there.move(60.9) is None
    # From here on it is known to be good: all may come.
    assert there.move(61.0) == (1, 0)
    there.moving(0, 1)
    assert there.move(61.0) == (1, 0)


def test_a_trial_that_fails_is_repeated_when_the_breaker_allows_it() -> None:
    there = places(1, 1, strategy="priority", failures=1, open_for=100)
    broken(there, 0, 0.0)
    there.choose(0.0)
    there.joined(1)
    assert there.next_move_at() == 100.0
    assert there.choose(100.0, prefer=0) == 0
    there.failed(0, status(503), 101.0)
    assert there.next_move_at() == 201.0


def test_one_failure_that_opens_nothing_is_waited_out_too() -> None:
    there = places(1, 1, strategy="priority", failures=5)
    there.choose(0.0)
    there.failed(0, status(503), 1.0)
    assert there.choose(1.0, avoid=0) == 1
    there.joined(1)
    assert there.next_move_at() == 31.0


def test_a_stream_that_went_elsewhere_although_nothing_was_wrong_returns_too() -> None:
    there = places(1, 1, strategy="priority")
    assert there.choose(0.0, avoid=0) == 1
    there.joined(1)
    assert there.next_move_at() <= 0.0
    assert there.move(0.0) == (1, 0)


def test_nobody_leaves_a_good_place_for_one_that_says_no() -> None:
    there = places(1, 1, strategy="priority", successes=1)
    broken(there, 0, 0.0)
    there.choose(0.0)
    there.joined(1)
    assert there.move(60.0) == (1, 0)
    assert there.choose(60.0, prefer=0) == 0
    there.failed(0, status(403), 60.0)
    assert there.breaker(0) is HALF_OPEN
    assert there.next_move_at() == inf
    assert there.move(1e9) is None
    # Until somebody whom it does not refuse comes to it by itself.
    assert there.choose(100.0) == 0
    there.accepted(0, 100.0)
    assert there.next_move_at() == 130.0


def test_only_one_place_may_be_asked_about() -> None:
    there = places(1, 1, 1, strategy="priority")
    there.choose(0.0, prefer=2)
    for index in (1, 2):
        there.joined(index)
    assert there.move(0.0, only=2) == (2, 0)
    assert there.move(0.0, only=0) is None
    assert there.next_move_at(only=0) == inf


@pytest.mark.parametrize("strategy", ["round_robin", "least_loaded"])
def test_streams_return_to_what_was_broken_up_to_its_share(strategy: Strategy) -> None:
    there = places(1, 1, 2, strategy=strategy, successes=1)
    broken(there, 0, 0.0)
    for index in (1, 2, 2) * 10:
        there.joined(index)
    moves = settle(there, 60.0)
    assert there.breaker(0) is CLOSED
    assert not there.move(60.0)
    moves += settle(there, 90.0)
    assert {target for _, target in moves} == {0}
    streams = [stats.streams for stats in there.stats()]
    assert sum(streams) == 30
    loads = [streams[0], streams[1], streams[2] / 2]
    assert max(loads) - min(loads) <= 1
    # It has its share: what was never broken, and later imbalances, move nobody.
    assert there.next_move_at() == inf
    for _ in range(10):
        there.left(0)
    assert there.move(1e6) is None


@given(
    st.sampled_from(STRATEGIES),
    st.lists(st.tuples(st.integers(1, 4), st.integers(0, 12), st.booleans()), min_size=2),
)
def test_moving_comes_to_rest_and_nobody_goes_back_where_others_came_from(
    strategy: Strategy, drawn: list[tuple[int, int, bool]]
) -> None:
    drawn = drawn[:5]
    there = places(*(weight for weight, _, _ in drawn), strategy=strategy, successes=1)
    for index, (_, streams, breaks) in enumerate(drawn):
        if breaks:
            broken(there, index, 0.0)
        for _ in range(streams):
            there.joined(index)
    if strategy == "priority":
        there.choose(0.0, prefer=len(drawn) - 1)  # somebody is where it should not stay
        there.given_up(len(drawn) - 1)
    total = sum(streams for _, streams, _ in drawn)
    moves = [move for now in (100.0, 131.0, 162.0) for move in settle(there, now)]
    assert len(moves) <= total * len(drawn)
    assert not {(target, source) for source, target in moves} & set(moves)
    assert sum(stats.streams for stats in there.stats()) == total
    assert not settle(there, 1e6)
    assert there.next_move_at() == inf


# --- Secrets -----------------------------------------------------------------------------------


def test_nothing_that_is_shown_has_credentials() -> None:
    there = Endpoints(
        [Endpoint(f"http://me:{SECRET}@a.example/x?key={SECRET}")], "priority", BreakerConfig(1)
    )
    there.choose(0.0)
    there.failed(0, ConnectError("refused"), 0.0)
    shown = f"{there.stats()} {there.news} {there.last_errors()} {there.endpoint(0)!r}"
    assert SECRET not in shown
    assert "http://a.example/x?key=…" in shown
    assert len(there) == 1
