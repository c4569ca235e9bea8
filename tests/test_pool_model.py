"""The pool machine against a simple account of its outside, in any order of events.

What has to hold after each input stands in ``pool_play``; here is what happens, and what has to
come in the end.
"""

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from pool_play import (
    DROPPED,
    FORBIDDEN,
    OVERFLOW,
    OWN,
    REFUSED,
    SILENT,
    UNAVAILABLE,
    Conn,
    M,
    Outside,
)
from sansio_sse.config import BreakerConfig, Endpoint
from sansio_sse.members import GrantLease

KEYS = [OWN, "a", "b"]
SECONDS = [0.0, 0.1, 1.0, 1.0, 2.0, 5.0, 20.0]
TIMEOUTS = [None, None, None, None, 0.0, 3.0]
PATIENCE = 3.0
BACKLOG_AGE = 4.0
LONG = 1e6

OFTEN = st.sampled_from([True, True, False])

# The second shares its origin with the first, the third its cursors.
ENDPOINTS = [
    ("http://a.example/events", None),
    ("http://a.example/more", "other"),
    ("http://b.example/events", None),
]


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    priorities = st.integers(0, 2)
    endpoints = [
        Endpoint(url, priority=draw(priorities), cursor_domain=domain)
        for url, domain in ENDPOINTS[: draw(st.sampled_from([1, 2, 2, 3, 3]))]
    ]
    max_size = draw(st.integers(1, 4))
    return {
        "endpoints": endpoints,
        "min_size": draw(st.integers(0, min(max_size, 2))),
        "max_size": max_size,
        "max_connecting": draw(st.integers(1, 3)),
        "max_connecting_per_origin": draw(st.sampled_from([None, None, 1])),
        "max_idle": draw(st.sampled_from([0, 5, 50, 50])),
        "max_lifetime": draw(st.sampled_from([None, None, 20])),
        "acquire_timeout": 30,
        "max_backlog_age": BACKLOG_AGE,
        "strategy": draw(st.sampled_from(["round_robin", "least_loaded", "priority", "priority"])),
        "breaker": BreakerConfig(
            failures=2,
            successes=draw(st.integers(1, 2)),
            open_for=draw(st.sampled_from([0.0, 10.0, 10.0])),
            half_open=draw(st.integers(1, 2)),
            failback_after=PATIENCE,
        ),
    }


class PoolModel(RuleBasedStateMachine):
    """Draws any order of wishes, news and times."""

    @initialize(
        config=configs(),
        random=st.sampled_from([0.0, 0.5, 0.9]),
        started=st.booleans(),
    )
    def begin(self, config: dict[str, Any], random: float, started: bool) -> None:
        self.pool = Outside(random=random, **config)
        self.ill: set[int] = set()  # endpoints which refuse
        self.tokens = count(1)
        self.steps = 0
        if started:
            self.pool.start()

    # --- Rules: most steps go on, or nothing would ever be reached that is worth disturbing ------

    @rule(
        wishes=st.lists(
            st.tuples(st.sampled_from(KEYS), st.sampled_from(TIMEOUTS)), min_size=1, max_size=3
        ),
        far=st.integers(0, 3),
    )
    def some_come(self, wishes: list[tuple[str, float | None]], far: int) -> None:
        if self.pool.closing_at is None:
            for key, timeout in wishes:
                self.pool.acquire(next(self.tokens), key, timeout=timeout)
        self.life_goes_on(self.pool.config.max_size, far)

    @rule(how_many=st.integers(1, 4), far=st.integers(1, 3))
    def some_do_what_comes_next(self, how_many: int, far: int) -> None:
        self.life_goes_on(how_many, far)

    def life_goes_on(self, how_many: int, far: int) -> None:
        for _ in range(far):
            for conn in list(self.pool.conns.values())[-how_many:]:
                self.goes_on(conn)

    def goes_on(self, conn: Conn) -> None:
        if self.pool.conns.get(conn.number) is not conn:
            return
        if conn.phase in ("new", "resting"):
            self.pool.ask(conn.number)
        elif conn.phase == "trying" and conn.endpoint in self.ill:
            self.pool.refuse(conn.number)
        elif conn.phase == "trying":
            self.pool.accept(conn.number)

    @rule(which=st.integers(0, 2), drops=st.booleans())
    def an_endpoint_falls_ill_or_recovers(self, which: int, drops: bool) -> None:
        which %= len(self.pool.places)
        self.ill ^= {which}
        if drops and which in self.ill:
            for conn in list(self.pool.conns.values()):
                if conn.number in self.pool.conns and conn.phase == "up" and conn.endpoint == which:
                    self.pool.lose(conn.number)

    @precondition(lambda self: self.pool.leases)
    @rule(data=st.data())
    def somebody_goes(self, data: st.DataObject) -> None:
        draw = data.draw
        self.pool.release(
            draw(st.sampled_from(list(self.pool.leases))),
            unread=draw(st.sampled_from(["keep", "keep", "keep", "drop", "close"])),
            backlog=draw(st.integers(0, 2)),
            full=draw(st.booleans()),
            resumable=draw(OFTEN),
        )

    @rule(
        seconds=st.sampled_from(SECONDS),
        due=st.sampled_from([False, False, False, True]),
        tick=st.booleans(),
    )
    def time_passes(self, seconds: float, due: bool, tick: bool) -> None:
        """Some seconds, or what the machine asked for; not every driver ticks in time."""
        pool = self.pool
        pool.now += 0.0 if due else seconds
        if due and pool.machine.deadline is not None:
            pool.now = max(pool.now, pool.machine.deadline)
        if tick:
            pool.tick()
            pool.tick()  # for what became idle by the first one, and may not be idle at all
            assert pool.machine.deadline is None or pool.machine.deadline > pool.now

    @rule(full=OFTEN, resumable=OFTEN, seconds=st.sampled_from([0.0, 0.0, BACKLOG_AGE]))
    def nobody_reads(self, full: bool, resumable: bool, seconds: float) -> None:
        for conn in list(self.pool.conns.values()):
            if conn.state is M.IDLE and conn.number in self.pool.conns:
                self.pool.backlog(conn.number, full=full, resumable=resumable)
        self.pool.now += seconds
        self.pool.tick()

    @rule(data=st.data(), times=st.integers(1, 3))
    def disturb(self, data: st.DataObject, times: int) -> None:
        """What servers, networks and holders may do instead."""
        for _ in range(times):
            if self.pool.conns:
                conn = data.draw(st.sampled_from(list(self.pool.conns.values())))
                self.disturb_one(conn, data.draw)

    def disturb_one(self, conn: Conn, draw: Any) -> None:
        pool = self.pool
        number = conn.number
        possible: list[Callable[[], None]] = []
        if conn.phase == "trying":
            errors = st.sampled_from([REFUSED, REFUSED, UNAVAILABLE, FORBIDDEN, FORBIDDEN])
            possible += [lambda: pool.refuse(number, draw(errors))] * 4
            possible += [lambda: pool.no_content(number)]
        if conn.phase == "resting":
            possible += [lambda: pool.fail(number, REFUSED)]
        if conn.phase == "up":
            possible += [lambda: pool.lose(number, draw(st.sampled_from([DROPPED, SILENT])))] * 2
            possible += [lambda: pool.fail(number, draw(st.sampled_from([OVERFLOW, DROPPED])))]
            possible += [lambda: pool.event(number)] * 2
        if conn.phase == "up" or (conn.lease and conn.phase not in ("error", "finished")):
            possible += [lambda: pool.finish(number)]
        if conn.lease and conn.phase in ("asking", "trying", "up", "finished"):
            possible += [lambda: self.restart(conn)]
        if possible:
            draw(st.sampled_from(possible))()

    def restart(self, conn: Conn) -> None:
        """Its holder wants another connection."""
        if conn.phase == "up":
            self.pool.lose(conn.number, None)
        if conn.number in self.pool.conns:
            self.pool.ask(conn.number)

    @rule(data=st.data())
    def beside(self, data: st.DataObject) -> None:
        pool, draw = self.pool, data.draw
        possible: list[Callable[[], None]] = [
            lambda: self.stale(draw(st.integers(0, 8))),
            lambda: self.go_back(draw(st.sampled_from([0.5, 100.0]))),
        ]
        if pool.closing_at is None:
            possible += [self.somebody_comes_for_one_use] * 3
        if pool.waiting:
            possible += [lambda: pool.cancel(draw(st.sampled_from(list(pool.waiting))))] * 3
        self.steps += 1
        if self.steps > 6:
            possible += [lambda: pool.close(draw(st.sampled_from([0.0, 5.0])))]
        draw(st.sampled_from(possible))()

    def somebody_comes_for_one_use(self) -> None:
        token = next(self.tokens)
        self.pool.acquire(token, ("for one", token), single=True)

    def stale(self, which: int) -> None:
        """News of a member that was closed meanwhile, and a wish that nobody remembers."""
        pool = self.pool
        number = pool.gone[-1] if pool.gone else 10**9
        stale: list[Callable[[], None]] = [
            lambda: pool.tell("admission_requested", number, 10**9),
            lambda: pool.tell("connected", number),
            lambda: pool.tell("attempt_failed", number, REFUSED),
            lambda: pool.tell("lost", number),
            lambda: pool.tell("failed", number, REFUSED),
            lambda: pool.tell("finished", number),
            lambda: pool.tell("event_seen", number),
            lambda: pool.tell("backlog", number, full=True, resumable=True),
            lambda: pool.cancel("nobody"),
        ]
        stale[which]()

    def go_back(self, seconds: float) -> None:
        """A clock that goes backwards is held."""
        pool = self.pool
        pool.now -= seconds
        pool.tell("cancel", "nobody")
        pool.now += seconds

    # --- What has to come in the end -------------------------------------------------------------

    def teardown(self) -> None:
        if not hasattr(self, "pool") or not self.pool.sound:
            return  # what was found is what is to be shown
        if self.pool.closing_at is None:
            self.everybody_is_served()
            self.streams_go_home()
            self.pool.close(grace=5.0)
        for _ in range(20):
            if self.pool.machine.over:
                break
            self.pool.tick_at_deadline()
        assert self.pool.machine.over
        assert not self.pool.conns
        assert not self.pool.leases
        assert self.pool.machine.deadline is None

    def go_on(self) -> bool:
        """Let everything go well, once."""
        self.ill.clear()
        before = [(conn.number, conn.phase) for conn in self.pool.conns.values()]
        for conn in list(self.pool.conns.values()):
            self.goes_on(conn)
        return before != [(conn.number, conn.phase) for conn in self.pool.conns.values()]

    def everybody_is_served(self) -> None:
        """Where all goes well and leases are given back, nobody waits for ever.

        Time passes only to the moments that the machine asks for.
        """
        pool = self.pool
        last = [("last", key) for key in KEYS]
        for token in last:
            pool.acquire(token, token[1], timeout=LONG)
        began = pool.time
        for _ in range(300):
            if not pool.waiting:
                break
            for lease in list(pool.leases):
                pool.release(lease)
            if not self.go_on() and not pool.leases:
                pool.tick_at_deadline()
        for token in last:
            assert isinstance(pool.answers[token], GrantLease)
        assert pool.time - began < 100

    def streams_go_home(self) -> None:
        """Where all goes well, streams come to be at the best endpoint, and stay there."""
        pool = self.pool
        end = pool.time + 200
        for _ in range(1000):
            if self.go_on():
                continue
            if pool.machine.deadline is None or pool.machine.deadline > end:
                break
            pool.tick_at_deadline()
        else:
            raise AssertionError("it does not come to rest")
        for conn in pool.conns.values():
            assert conn.phase in ("up", "error", "finished")
            if conn.phase == "up" and pool.config.strategy == "priority":
                assert conn.endpoint is not None
                here = pool.places[conn.endpoint].priority
                better = {i for i, place in enumerate(pool.places) if place.priority < here}
                assert better <= pool.closed_to.get(conn.key, set())


TestPool: Any = PoolModel.TestCase
TestPool.settings = settings(
    max_examples=max(300, settings().max_examples // 10),
    stateful_step_count=50,
    # The same search is another one elsewhere: Hypothesis also tries numbers out of what is loaded
    # and not installed. With the blob, what is found in one place is shown in any.
    print_blob=True,
)
# A second for each that is tried, and time for what is found to be made shorter, which is worth it:
# that goes on for up to five minutes, and nothing is shown before.
pytestmark = pytest.mark.timeout(600 + TestPool.settings.max_examples)
