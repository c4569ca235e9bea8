"""The outside of a pool machine, played in virtual time: members, holders, waiters, endpoints.

``Outside`` performs what the machine asks for and keeps its own, simple account of everything. It
knows nothing of the machine's queues: who is served, what is free and who is first is counted anew
after each input. What has to hold whatever happens is asserted there too, so that every test which
plays with it checks it.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from itertools import count
from math import inf
from typing import Any, Literal, TypeVar

from sansio_sse.config import PoolConfig
from sansio_sse.endpoints import BreakerState, EndpointChanged
from sansio_sse.errors import (
    BufferOverflow,
    ConnectError,
    ConnectionLost,
    HTTPStatusError,
    IdleTimeout,
    PoolClosed,
    PoolTimeout,
    SSEError,
)
from sansio_sse.http import Origin
from sansio_sse.members import (
    MEMBER_TRANSITIONS,
    Admit,
    CloseKept,
    CloseMember,
    CloseReason,
    EndLease,
    GrantLease,
    MemberChanged,
    MemberState,
    OpenMember,
    PauseMember,
    PoolStats,
    RejectWaiter,
    RestartMember,
    Unread,
)
from sansio_sse.pool import PoolMachine

Phase = Literal["new", "asking", "trying", "up", "resting", "restarting", "error", "finished"]
Action = TypeVar("Action")
M = MemberState
B = BreakerState
OWN = "own"  # the key of the members that are kept warm

REFUSED = ConnectError("refused")
UNAVAILABLE = HTTPStatusError("503", status=503)
FORBIDDEN = HTTPStatusError("403", status=403, retryable=False)
DROPPED = ConnectionLost("dropped")
SILENT = IdleTimeout("silent")
OVERFLOW = BufferOverflow("the reader is too slow")
SPEAK_AGAINST_THE_ENDPOINT = (REFUSED, UNAVAILABLE, DROPPED, SILENT)

BREAKER_WALKS = {
    (B.CLOSED, B.OPEN),
    (B.OPEN, B.HALF_OPEN),
    (B.HALF_OPEN, B.CLOSED),
    (B.HALF_OPEN, B.OPEN),
}
BY_TIME = ("idle", "lifetime", "backlog", "closing")  # a member closed so heard nothing any more


@dataclass
class Conn:
    """A member's connection."""

    number: int
    key: Hashable
    expires_at: float
    single: bool
    phase: Phase = "new"
    was_up: bool = False  # when it was told to restart
    attempt: int = 0
    endpoint: int | None = None
    domain: tuple[str | None] | None = None
    avoid: int | None = None
    trial: bool = False  # its attempt goes through a half-open breaker
    source: int | None = None  # what it left for a better endpoint
    up_at: float = 0.0
    gave: bool = False
    lease: int = 0
    leased_before: bool = False
    finished: bool = False
    free_since: float = 0.0
    unread_since: float | None = None
    full_until: float | None = None
    resumable: bool = False

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """What Hypothesis shows of it, among the steps that it draws."""
        lease = f", lease {self.lease}" if self.lease else ""
        printer.text(f"<member {self.number} of {self.key!r}: {self.phase}{lease}>")

    @property
    def state(self) -> MemberState:
        if self.lease:
            return M.FAILED if self.phase == "error" else M.LEASED
        return M.IDLE if self.phase == "up" else M.CONNECTING


@dataclass
class Waiter:
    number: int
    token: Hashable
    key: Hashable
    deadline: float
    once: bool
    single: bool
    tried: set[int] = field(default_factory=set[int])


@dataclass
class Place:
    """An endpoint, as a bystander sees it."""

    origin: Origin
    priority: int
    breaker: BreakerState = B.CLOSED
    row: int = 0  # failures in a row
    successes: int = 0  # in a row, since it is half open
    open_until: float = -inf
    failed_at: float = -inf
    ever_broke: bool = False


class Outside:
    """Tells the machine what happens at ``now``, performs its answer, and checks both."""

    def __init__(
        self, config: PoolConfig | None = None, *, random: float = 0.5, **options: Any
    ) -> None:
        options.setdefault("endpoints", ["http://a.example/events"])
        self.config = config or PoolConfig(**options)
        self.machine = PoolMachine(self.config, OWN, random=lambda: random)
        self.lifetime = inf
        if self.config.max_lifetime is not None:
            self.lifetime = self.config.max_lifetime * (1 - 0.1 * random)
        endpoints = [self.machine.endpoints.endpoint(i) for i in range(len(self.machine.endpoints))]
        self.places = [Place(endpoint.origin, endpoint.priority) for endpoint in endpoints]
        self.domains = [(endpoint.cursor_domain,) for endpoint in endpoints]
        self.place_of = {endpoint.name: i for i, endpoint in enumerate(endpoints)}
        self.now = 0.0  # as the caller's clock has it
        self.time = -inf  # as the machine has it: it never goes back
        self.numbers = count(1)
        self.attempts = count(1)
        self.conns: dict[int, Conn] = {}
        self.waiting: dict[Hashable, Waiter] = {}
        self.leases: dict[int, Conn] = {}
        self.trace: dict[int, MemberState] = {}
        self.newest = 0
        self.newest_lease = 0
        self.gone: list[int] = []
        self.closed_to: dict[
            Hashable, set[int]
        ] = {}  # endpoints where a key has nothing to hope for
        self.counted: Counter[str] = Counter()
        self.closes: Counter[str] = Counter()
        self.answers: dict[Hashable, GrantLease | SSEError] = {}
        self.started = False
        self.closing_at: float | None = None
        self.failing: tuple[int, int | None] | None = None
        self.unrepeatable: SSEError | None = None
        self.releasing = 0
        self.granted: list[Waiter] = []
        self.half_opening: list[int] = []
        self.restarted: list[int] = []
        self.sound = True  # nothing has been found yet
        self.actions: Sequence[Any] = ()  # the latest answer
        self.history: list[Any] = []

    # --- Look ----------------------------------------------------------------------------------

    def took(self, kind: type[Action]) -> list[Action]:
        """The actions of that kind in the latest answer."""
        return [action for action in self.actions if isinstance(action, kind)]

    def in_phase(self, *phases: Phase) -> list[Conn]:
        return [conn for conn in self.conns.values() if conn.phase in phases]

    def free(self, key: Hashable) -> list[Conn]:
        """What is being connected with this key and has no holder."""
        return [c for c in self.conns.values() if c.key == key and c.state is M.CONNECTING]

    def waiters(self, key: Hashable) -> list[Waiter]:
        return [waiter for waiter in self.waiting.values() if waiter.key == key]

    # --- Commands ------------------------------------------------------------------------------

    def start(self) -> None:
        self.started = True
        self.tell("start")

    def acquire(
        self,
        token: Hashable,
        key: Hashable = OWN,
        *,
        timeout: float | None = None,
        single: bool = False,
    ) -> None:
        seconds = self.config.acquire_timeout if timeout is None else timeout
        self.counted["requests"] += 1
        deadline = max(self.now, self.time) + seconds
        self.waiting[token] = Waiter(next(self.numbers), token, key, deadline, seconds <= 0, single)
        self.tell("acquire", token, key, timeout=timeout, single=single)
        assert seconds > 0 or token not in self.waiting, "it tries once"

    def cancel(self, token: Hashable) -> None:
        if token in self.waiting and self.waiting[token].deadline > max(self.now, self.time):
            self.counted["cancellations"] += 1
            del self.waiting[token]
        self.tell("cancel", token)

    def release(
        self,
        lease: int,
        *,
        unread: Unread = "keep",
        backlog: int = 0,
        full: bool = False,
        resumable: bool = False,
    ) -> None:
        conn = self.leases.pop(lease)
        conn.lease = 0
        conn.free_since = max(self.now, self.time)
        self.releasing = lease
        if unread == "drop":
            self.counted["unread"] += backlog
        cut = self.closing_at is not None and max(self.now, self.time) >= self.closing_at
        if cut and unread == "drop":
            self.counted["unread"] -= backlog  # the grace was over before it came
        expired = max(self.now, self.time) >= conn.expires_at
        before = conn.phase
        if unread == "keep" and backlog and not cut:
            conn.unread_since = max(self.now, self.time)
            if full:
                conn.full_until = conn.unread_since + self.config.max_backlog_age
                conn.resumable = resumable
        self.tell("release", lease, unread=unread, backlog=backlog, full=full, resumable=resumable)
        self.releasing = 0
        reasons: list[tuple[bool, CloseReason]] = [
            (cut, "closing"),
            (before == "error", "failed"),
            (conn.single or unread == "close", "released"),
            (conn.finished, "finished"),
            (self.closing_at is not None, "closing"),
            (expired, "lifetime"),
        ]
        expected = [reason for holds, reason in reasons if holds]
        closed = [c.reason for c in self.took(CloseMember) if c.member == conn.number]
        if expected:
            assert closed == expected[:1]
        else:
            idle = [["idle"]] if not self.config.max_idle else []  # which is due at once
            assert closed in ([], ["room"], *idle)

    def close(self, grace: float = 0.0) -> None:
        at = max(self.now, self.time) + grace
        self.closing_at = at if self.closing_at is None else min(at, self.closing_at)
        self.tell("close", grace=grace)
        assert not self.waiting

    def tick(self) -> None:
        self.tell("tick")

    def tick_at_deadline(self) -> None:
        """Let the time come that the machine asked for."""
        assert self.machine.deadline is not None
        self.now = max(self.now, self.machine.deadline)
        self.tick()

    # --- What happens to members ---------------------------------------------------------------

    def ask(self, number: int) -> None:
        """It wants to try."""
        conn = self.conns[number]
        attempt = next(self.attempts)

        def effect() -> None:
            conn.phase, conn.attempt, conn.endpoint = "asking", attempt, None

        self.news("admission_requested", conn, effect, attempt)

    def accept(self, number: int) -> None:
        conn = self.conns[number]
        assert conn.phase == "trying"

        def effect() -> None:
            conn.phase, conn.up_at, conn.free_since = "up", self.time, self.time
            conn.avoid, conn.gave = None, False
            self.succeeded(conn)
            conn.domain = self.domain_of(conn)
            if conn.single:  # it has begun, and another domain could only begin it again
                foreign = {i for i, domain in enumerate(self.domains) if domain != conn.domain}
                self.closed_to.setdefault(conn.key, set()).update(foreign)

        self.news("connected", conn, effect)

    def refuse(self, number: int, error: SSEError = REFUSED) -> None:
        """Its attempt fails, for good if another will not help."""
        conn = self.conns[number]
        assert conn.phase == "trying"

        def effect() -> None:
            conn.phase, conn.avoid = "resting", conn.endpoint
            self.blame(conn, error)

        self.news("attempt_failed", conn, effect, error)
        if not error.retryable and number in self.conns:
            self.fail(number, error)

    def lose(self, number: int, error: SSEError | None = DROPPED) -> None:
        """It has no stream any more, by itself or because it was restarted."""
        conn = self.conns[number]
        assert conn.phase in ("up", "restarting")

        def effect() -> None:
            if error is not None:
                self.lost(conn, error)
            conn.phase, conn.endpoint = "resting", None

        self.news("lost", conn, effect, error=error)

    def fail(self, number: int, error: SSEError, *, repeatable: bool = True) -> None:
        """It gives up."""
        conn = self.conns[number]

        def effect() -> None:
            self.failing = (number, conn.endpoint if repeatable else None)
            if conn.phase == "up":
                self.lost(conn, error)
            conn.phase, conn.endpoint, conn.source = "error", None, None

        self.unrepeatable = None if repeatable else error
        self.news("failed", conn, effect, error, repeatable=repeatable)
        self.failing = None

    def finish(self, number: int) -> None:
        """Its stream ends well, or its holder disconnects it."""
        conn = self.conns[number]

        def effect() -> None:
            conn.phase, conn.endpoint, conn.finished = "finished", None, True
            conn.source = None

        self.news("finished", conn, effect)

    def no_content(self, number: int) -> None:
        """The server says that there is no stream here."""
        conn = self.conns[number]
        assert conn.phase == "trying"

        def effect() -> None:
            self.failing = (number, conn.endpoint)
            if not conn.lease:
                self.succeeded(conn)
            conn.phase, conn.endpoint, conn.finished = "finished", None, True
            conn.source = None

        self.news("closed", conn, effect)
        self.failing = None

    def event(self, number: int) -> None:
        """It gives an event."""
        conn = self.conns[number]
        assert conn.phase == "up"

        def effect() -> None:
            if not conn.gave:
                conn.gave = True
                self.succeeded(conn)

        self.news("event_seen", conn, effect)

    def backlog(self, number: int, *, full: bool, resumable: bool = False) -> None:
        """Events come for it and nobody reads them."""
        conn = self.conns[number]
        assert conn.state is M.IDLE

        def effect() -> None:
            if conn.unread_since is None:
                conn.unread_since = self.time
            if full:
                conn.resumable = resumable
                if conn.full_until is None:
                    conn.full_until = self.time + self.config.max_backlog_age

        self.news("backlog", conn, effect, full=full, resumable=resumable)

    def connect(self, number: int) -> None:
        """It asks if it has not, is admitted, and accepted."""
        if self.conns[number].phase in ("new", "resting"):
            self.ask(number)
        self.accept(number)

    def domain_of(self, conn: Conn) -> tuple[str | None]:
        assert conn.endpoint is not None
        return self.domains[conn.endpoint]

    # --- What the outside knows of endpoints -----------------------------------------------------

    def succeeded(self, conn: Conn) -> None:
        assert conn.endpoint is not None
        place = self.places[conn.endpoint]
        if place.breaker is not B.OPEN:
            place.row = 0
            place.successes += place.breaker is B.HALF_OPEN

    def blame(self, conn: Conn, error: SSEError) -> None:
        assert conn.endpoint is not None
        place = self.places[conn.endpoint]
        if error in SPEAK_AGAINST_THE_ENDPOINT:
            place.row += 1
            place.failed_at = self.time

    def lost(self, conn: Conn, error: SSEError) -> None:
        lasting = conn.gave or self.time - conn.up_at >= self.config.breaker.failback_after
        if error is SILENT or not lasting:
            conn.avoid = conn.endpoint
            self.blame(conn, error)

    def admissible(self, index: int) -> bool:
        place = self.places[index]
        if place.breaker is B.HALF_OPEN:
            trying = sum(conn.endpoint == index for conn in self.in_phase("trying"))
            return trying < self.config.breaker.half_open
        return place.breaker is B.CLOSED or self.time >= place.open_until

    # --- Telling ---------------------------------------------------------------------------------

    def news(
        self, name: str, conn: Conn, effect: Callable[[], None], *args: Any, **options: Any
    ) -> None:
        """What happened to a member is heard only if it was not closed at this very instant."""
        full = conn.full_until is not None and conn.full_until <= self.now
        late = any(waiter.deadline <= self.now for waiter in self.waiters(conn.key))
        if full or late:
            # It may be told to restart, or go with the one that waits for it: no news of it then.
            before = conn.phase
            self.tick()
            if conn.number not in self.conns or conn.phase != before:
                return
        self.tell(name, conn.number, *args, about=(conn, effect), **options)

    def tell(
        self,
        name: str,
        *args: Any,
        about: tuple[Conn, Callable[[], None]] | None = None,
        **options: Any,
    ) -> None:
        self.sound = False
        due = self.machine.deadline
        given = getattr(self.machine, name)(*args, **({"now": self.now} | options))
        if name != "tick" or (due is not None and self.now >= due):
            self.time = max(self.time, self.now)
        if about is not None:
            conn, effect = about
            closed = [
                action.reason
                for action in given
                if isinstance(action, CloseMember) and action.member == conn.number
            ]
            if not closed or closed[0] not in BY_TIME:
                effect()
        self.granted = []
        self.actions = given
        self.history += given
        self.judge(given)
        self.check()
        self.sound = True
        actions = list(given)
        while self.restarted:
            number = self.restarted.pop(0)
            if number in self.conns:
                if self.conns[number].was_up:
                    self.lose(number, None)
                    actions += self.actions
                if number in self.conns:
                    self.ask(number)
                    actions += self.actions
        self.actions = actions

    # --- Performing, and judging -----------------------------------------------------------------

    def judge(self, actions: Sequence[Any]) -> None:
        self.half_opening = []
        for action in actions:
            if isinstance(action, EndpointChanged):
                self.breaker_changed(action)
        for action in actions:
            match action:
                case OpenMember(number, key):
                    self.opened(number, key)
                case Admit(number, attempt, endpoint, keep_cursor):
                    self.admitted(number, attempt, endpoint, keep_cursor)
                case CloseMember(number, reason):
                    self.closed(number, reason)
                case PauseMember(number):
                    conn = self.conns[number]
                    assert conn.full_until == self.time + self.config.max_backlog_age
                case RestartMember(number, drop):
                    self.restart(number, drop)
                case GrantLease(token, lease, number, age):
                    self.grant(token, lease, number, age)
                    self.answers[token] = action
                case RejectWaiter(token, error):
                    self.rejected(token, error)
                    self.answers[token] = error
                case EndLease(lease, number):
                    assert self.closing_at is not None
                    assert self.time >= self.closing_at
                    if lease != self.releasing:
                        assert self.leases.pop(lease).number == number
                        self.conns[number].lease = 0
                case MemberChanged():
                    self.member_changed(action)
                case EndpointChanged() | CloseKept():
                    pass
                case _:
                    raise AssertionError(f"unexpected: {action}")
        assert not self.half_opening, "a breaker is half open because something was let through"

    def breaker_changed(self, change: EndpointChanged) -> None:
        index = self.place_of[change.endpoint]
        place, config = self.places[index], self.config.breaker
        assert (change.old, change.new) in BREAKER_WALKS
        assert change.at == self.time
        self.counted["breaker"] += 1
        if change.new is B.HALF_OPEN:
            self.half_opening.append(index)  # it will be seen when something is admitted
            return
        assert change.old is place.breaker
        if change.new is B.OPEN:
            assert place.row >= (config.failures if change.old is B.CLOSED else 1)
            place.open_until = self.time + config.open_for
            place.ever_broke = True
        else:
            assert place.successes >= config.successes
        place.breaker, place.successes = change.new, 0

    def opened(self, number: int, key: Hashable) -> None:
        assert number > self.newest, "no number is used twice"
        self.newest = number
        waiters = self.waiters(key)
        useful = sum(conn.phase != "resting" for conn in self.free(key))
        warm = sum(conn.key == OWN for conn in self.conns.values())
        kept_warm = self.started and key == OWN and warm < self.config.min_size
        assert useful < len(waiters) or kept_warm, "somebody needs it"
        single = len(waiters) == 1 and waiters[0].single
        expires_at = inf if single else self.time + self.lifetime
        self.conns[number] = Conn(number, key, expires_at, single)
        self.counted["opens"] += 1

    def admitted(self, number: int, attempt: int, index: int, keep_cursor: bool) -> None:
        conn = self.conns[number]
        assert conn.phase == "asking"
        assert conn.attempt == attempt
        config, place = self.config, self.places[index]
        under_way = self.in_phase("trying")
        assert len(under_way) < config.max_connecting
        if config.max_connecting_per_origin is not None:
            origins = [self.places[c.endpoint].origin for c in under_way if c.endpoint is not None]
            assert origins.count(place.origin) < config.max_connecting_per_origin
        closed_to = self.closed_to.get(conn.key, set())
        if config.strategy == "priority":
            back = conn.source is not None and place.priority < self.places[conn.source].priority
            for better, rival in enumerate(self.places):
                if rival.priority < place.priority and self.admissible(better) and not back:
                    assert better == conn.avoid or better in closed_to
        if not conn.lease and not self.waiters(conn.key):
            for other in self.in_phase("asking"):
                waited_for = len(self.free(other.key)) <= len(self.waiters(other.key))
                assert not (other.lease or waited_for) or self.is_choosy(other, conn)
        assert index not in closed_to or not conn.single
        conn.trial = place.breaker is not B.CLOSED
        if place.breaker is B.OPEN:
            assert self.time >= place.open_until
            self.half_opening.remove(index)
            place.breaker, place.successes, place.row = B.HALF_OPEN, 0, 0
        elif conn.trial:
            trials = [c for c in under_way if c.endpoint == index and c.trial]
            assert len(trials) < config.breaker.half_open
        assert keep_cursor == (conn.domain in (None, self.domains[index]))
        conn.phase, conn.endpoint, conn.source = "trying", index, None
        self.counted["peak"] = max(self.counted["peak"], len(under_way) + 1)

    def is_choosy(self, *conns: Conn) -> bool:
        """Whether one of them cannot go, or should not, where the others can."""
        return any(
            conn.avoid is not None or conn.source is not None or conn.key in self.closed_to
            for conn in conns
        )

    def closed(self, number: int, reason: CloseReason) -> None:
        conn = self.conns.pop(number)
        self.gone.append(number)
        self.closes[reason] += 1
        assert not conn.lease, "a lease protects its member"
        assert self.trace.pop(number) is M.CLOSED
        match reason:
            case "idle":
                assert conn.phase == "up"
                assert self.time >= conn.free_since + self.config.max_idle
                warm = sum(other.key == OWN for other in self.conns.values())
                assert conn.key != OWN or warm >= self.config.min_size
            case "lifetime":
                assert self.time >= conn.expires_at
            case "backlog":
                assert conn.full_until is not None
                assert self.time >= conn.full_until
                assert not conn.resumable
            case "room":
                assert len(self.conns) == self.config.max_size - 1
                assert any(waiter.key != conn.key for waiter in self.waiting.values())
            case "failed":
                assert conn.phase == "error"
            case "finished":
                assert conn.finished
            case "released":
                pass  # `release` knows; or it was for one waiter, who went
            case "closing":
                assert self.closing_at is not None
        if self.failing is not None and self.failing[0] == number:
            where = self.failing[1]
            if where is not None:
                self.closed_to.setdefault(conn.key, set()).add(where)
                for waiter in self.waiters(conn.key):
                    waiter.tried.add(where)

    def restart(self, number: int, drop: bool) -> None:
        conn = self.conns[number]
        assert conn.phase not in ("new", "restarting", "error", "finished")
        if drop:
            assert conn.state in (M.IDLE, M.CONNECTING)
            assert conn.full_until is not None
            assert self.time >= conn.full_until
            assert conn.resumable
            conn.unread_since = conn.full_until = None
        elif conn.phase == "up":
            self.moved(conn)
        else:
            assert conn.phase == "resting"
            assert self.waiters(conn.key), "somebody waits for it"
        conn.was_up = conn.phase == "up"
        conn.phase, conn.endpoint = "restarting", None
        self.restarted.append(number)

    def moved(self, conn: Conn) -> None:
        """It leaves a good endpoint for a better one."""
        assert conn.endpoint is not None
        assert not self.in_phase("asking"), "who needs a connection comes first"
        on_their_way = [c for c in self.conns.values() if c.source is not None]
        limit = self.config.max_connecting
        assert len(on_their_way) + len(self.in_phase("trying")) < limit
        conn.source = conn.endpoint
        here = self.places[conn.endpoint]
        if self.config.strategy == "priority":
            better = [place for place in self.places if place.priority < here.priority]
        else:
            better = [place for place in self.places if place is not here and place.ever_broke]
        patience = self.config.breaker.failback_after
        assert any(
            self.time >= place.failed_at + patience
            and (place.breaker is not B.OPEN or self.time >= place.open_until)
            for place in better
        )
        self.counted["moves"] += 1

    def grant(self, token: Hashable, lease: int, number: int, age: float) -> None:
        waiter = self.waiting.pop(token)
        conn = self.conns[number]
        assert conn.key == waiter.key, "a scope is never crossed"
        assert not conn.lease, "one lease at a time"
        assert conn.phase == "up" or (conn.single and conn.phase == "finished")
        assert self.closing_at is None
        assert waiter.once or self.time < waiter.deadline
        assert all(waiter.number < other.number for other in self.waiters(waiter.key))
        assert lease > self.newest_lease
        self.newest_lease = lease
        assert age == (0.0 if conn.unread_since is None else self.time - conn.unread_since)
        conn.unread_since = conn.full_until = None
        conn.lease = lease
        self.counted["successes"] += 1
        self.counted["reuses"] += conn.leased_before
        conn.leased_before = True
        self.leases[lease] = conn
        self.granted.append(waiter)

    def rejected(self, token: Hashable, error: SSEError) -> None:
        waiter = self.waiting.pop(token)
        if isinstance(error, PoolTimeout):
            assert self.time >= waiter.deadline
            self.counted["timeouts"] += 1
            return
        self.counted["rejections"] += 1
        if isinstance(error, PoolClosed):
            assert self.closing_at is not None
        elif error is not self.unrepeatable:
            assert waiter.tried == set(range(len(self.places)))

    def member_changed(self, change: MemberChanged) -> None:
        old = self.trace.get(change.member)
        assert change.old is old
        assert old is None or change.new in MEMBER_TRANSITIONS[old]
        assert old is not None or change.new is M.CONNECTING
        assert change.at == self.time
        self.trace[change.member] = change.new

    # --- What has to hold after each input -------------------------------------------------------

    def check(self) -> None:
        stats, config = self.machine.stats(), self.config
        states = Counter(conn.state for conn in self.conns.values())
        assert stats.total == len(self.conns) <= config.max_size
        assert stats.total == stats.active + stats.idle + stats.connecting + stats.failed
        assert stats.active == states[M.LEASED]
        assert stats.idle == states[M.IDLE]
        assert stats.connecting == states[M.CONNECTING]
        assert stats.failed == states[M.FAILED]
        assert stats.healthy_count == len(self.in_phase("up"))
        assert self.trace == {number: conn.state for number, conn in self.conns.items()}
        assert stats.waiters == len(self.waiting)
        assert stats.admission_waiters == len(self.in_phase("asking"))
        trying = self.in_phase("trying")
        assert stats.attempts_under_way == len(trying) <= config.max_connecting
        for index, (seen, place) in enumerate(zip(stats.endpoints, self.places, strict=True)):
            assert seen.connecting == sum(conn.endpoint == index for conn in trying)
            assert seen.breaker is place.breaker
            assert place.breaker is not B.CLOSED or place.row < config.breaker.failures
            if place.breaker is B.HALF_OPEN:
                assert not place.row, "one failure is enough"
                assert place.successes < config.breaker.successes
        self.check_counters(stats)
        self.check_times()
        if self.closing_at is None:
            self.check_order()
        else:
            assert not self.waiting
            assert len(self.conns) == len(self.leases)
            assert self.time < self.closing_at or not self.conns
        assert self.machine.closing is (self.closing_at is not None)
        assert self.machine.over is (self.closing_at is not None and not self.conns)

    def check_counters(self, stats: PoolStats) -> None:
        counted = self.counted
        assert stats.acquire_requests == counted["requests"]
        assert stats.acquire_successes == counted["successes"] == stats.waits.count
        assert stats.acquire_timeouts == counted["timeouts"]
        assert stats.acquire_rejections == counted["rejections"]
        assert stats.acquire_cancellations == counted["cancellations"]
        answered = sum(counted[n] for n in ("successes", "timeouts", "rejections", "cancellations"))
        assert counted["requests"] == answered + len(self.waiting), "each is answered once"
        assert stats.holds.count == counted["successes"] - len(self.leases)
        assert stats.opens == counted["opens"]
        assert stats.closes == self.closes
        assert stats.reuses == counted["reuses"]
        assert stats.unread_dropped == counted["unread"]
        assert stats.moves == counted["moves"]
        assert stats.peak_connecting == counted["peak"]
        assert stats.breaker_changes == counted["breaker"]

    def check_times(self) -> None:
        deadline = self.machine.deadline
        some = self.config.max_idle > 0  # else what has become idle is due at once
        assert deadline is None or deadline > self.time - (not some), "what is due is done"
        for waiter in self.waiting.values():
            assert self.time < waiter.deadline
        for conn in self.conns.values():
            if conn.lease:
                continue
            if conn.phase == "up" and conn.key != OWN:
                assert self.time < conn.free_since + self.config.max_idle or not some
            assert conn.full_until is None or self.time < conn.full_until
            assert self.time < conn.expires_at or self.waiters(conn.key)

    def check_order(self) -> None:
        served: list[int] = []
        unserved: list[int] = []
        spare = 0
        for key in {waiter.key for waiter in self.waiting.values()} | {
            conn.key for conn in self.conns.values()
        }:
            waiters = [waiter.number for waiter in self.waiters(key)]
            under_way = len(self.free(key))
            served += waiters[:under_way]
            unserved += waiters[under_way:]
            spare += max(0, under_way - len(waiters))
            idle = [c for c in self.conns.values() if c.key == key and c.state is M.IDLE]
            assert not (idle and waiters)
        for waiter in self.waiting.values():
            assert waiter.tried != set(range(len(self.places))), "it waits in vain"
        if unserved:
            assert len(self.conns) == self.config.max_size, "there is a place for it"
            assert not spare
            assert not any(conn.state is M.IDLE for conn in self.conns.values())
            assert min(unserved) > max(served, default=0)
            assert all(waiter.number < min(unserved) for waiter in self.granted)
