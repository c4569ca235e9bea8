"""The pool machine: who gets which connection, when one is opened, where it goes, when it goes.

Pure, as all machines here: it is told what happened and what time it is, and answers with what is
to be done. It knows its members by number and never holds a connection; it knows waiters by
whatever the caller calls them. The members live their own lives, reconnecting included. What they
cannot know is left to the pool: whether they may try at all (the admission limit), where
(endpoints), and who reads them.

Four rules, which ``tests`` hold as properties:

* Members that are leased, idle, connecting and failed are all the members there are, and never more
  than ``max_size``. A connection has one lease at most.
* A member belongs to one *key* (method, url, headers, scope) for life. What it has not handed out
  can only be handed to a lease of that key.
* Waiters are served in the order in which they came. The first one that nothing is being done for
  gets the next place, even if it takes the place of an idle member with another key.
* A waiter is granted, rejected or cancelled once. After its deadline it is rejected, whatever comes
  at that instant.

Each operation takes a time that does not depend on how many members there are.
"""

import heapq
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from itertools import count
from math import inf
from typing import Any, Literal

from .config import PoolConfig, make_endpoints
from .endpoints import Endpoints
from .errors import (
    ConnectionClosed,
    LocalProtocolError,
    NoEndpoint,
    PoolClosed,
    PoolTimeout,
    SSEError,
)
from .http import Origin
from .members import (
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
    PoolAction,
    PoolStats,
    RejectWaiter,
    RestartMember,
    Unread,
)
from .metrics import Durations
from .reconnection import backoff

__all__ = ["PoolMachine"]

Actions = list[PoolAction]
NO_ACTIONS: Sequence[PoolAction] = ()

_CONNECTING = MemberState.CONNECTING
_IDLE = MemberState.IDLE
_LEASED = MemberState.LEASED
_FAILED = MemberState.FAILED
_CLOSED = MemberState.CLOSED

_LIFETIME_JITTER = 0.1

TimerKind = Literal["waiter", "idle", "lifetime", "backlog", "kept"]


class _Waiter:
    __slots__ = (
        "ahead",
        "began",
        "deadline",
        "key",
        "member",
        "number",
        "single",
        "token",
        "tried",
    )

    def __init__(
        self, number: int, token: Hashable, key: Hashable, began: float, deadline: float
    ) -> None:
        self.number = number
        self.token = token
        self.key = key
        self.began = began
        self.deadline = deadline
        self.single = False
        self.ahead = 0
        self.member: _Member | None = None  # what is being connected for it
        self.tried: dict[int, SSEError] = {}  # endpoints which failed it for good


class _Member:
    __slots__ = (
        "asking",
        "attempting",
        "avoid",
        "connected",
        "connected_at",
        "endpoint",
        "exclude",
        "expired",
        "finished",
        "full_until",
        "gave",
        "idle_since",
        "idle_timer",
        "key",
        "last_domain",
        "lease",
        "leased_at",
        "leased_before",
        "number",
        "resting",
        "resumable",
        "single",
        "state",
        "target",
        "unread_since",
        "waiter",
    )

    def __init__(self, number: int, key: Hashable) -> None:
        self.number = number
        self.key = key
        self.state = _CONNECTING
        self.waiter: _Waiter | None = None  # for whom it is being connected
        self.single = False
        self.endpoint: int | None = None
        self.last_domain: tuple[str | None] | None = None  # whose ids its cursor is
        self.asking = 0  # number of the attempt that wants to begin
        self.attempting = False
        self.resting = False  # it waits before it tries again
        self.connected = False
        self.connected_at = 0.0
        self.finished = False
        self.gave = False
        self.avoid: int | None = None  # where its latest failure was
        self.exclude: Mapping[int, SSEError | None] = {}  # above all, its waiter's `tried`
        self.target: int | None = None  # where it is moving
        self.lease = 0
        self.leased_at = 0.0
        self.leased_before = False
        self.expired = False
        self.idle_since = 0.0
        self.idle_timer = False
        self.unread_since: float | None = None
        self.full_until: float | None = None  # how long it may be so
        self.resumable = False


class _Line:
    """Members in the order in which they came, and the same for each key."""

    __slots__ = ("_by_key", "_members")

    def __init__(self) -> None:
        self._members: OrderedDict[int, _Member] = OrderedDict()
        self._by_key: dict[Hashable, OrderedDict[int, _Member]] = {}

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, member: _Member) -> bool:
        return member.number in self._members

    def first(self) -> _Member:
        return next(iter(self._members.values()))

    def latest(self, key: Hashable) -> _Member | None:
        """The member of that key that came last."""
        same_key = self._by_key.get(key)
        return next(reversed(same_key.values())) if same_key else None

    def put(self, member: _Member) -> None:
        """Let it come; one that rests is behind all that do not, and goes first."""
        for line in (self._members, self._by_key.setdefault(member.key, OrderedDict())):
            line[member.number] = member
            line.move_to_end(member.number, last=not member.resting)

    def take(self, member: _Member) -> None:
        """Let it go, if it is there."""
        if self._members.pop(member.number, None) is not None:
            same_key = self._by_key[member.key]
            del same_key[member.number]
            if not same_key:
                del self._by_key[member.key]


class PoolMachine:
    """A pool's decisions; see the module's text.

    :param config: sizes, times, endpoints, strategy.
    :param key: what the members that are kept warm are for.
    :param random: returns a number in [0, 1); asked for lifetimes, and for delays after failures.

    >>> machine = PoolMachine(PoolConfig(["http://a.example/events"]), key="warm")
    >>> [changed, opened] = machine.acquire("me", "warm", now=0.0)
    >>> opened
    OpenMember(member=1)
    >>> machine.admission_requested(1, attempt=1, now=0.0)
    [Admit(member=1, attempt=1, endpoint=0, keep_cursor=True)]
    >>> machine.connected(1, now=0.1)[0]
    GrantLease(lease=1, member=1, backlog_age=0.0)
    >>> machine.release(1, now=5.0)[0].new.value
    'idle'
    """

    __slots__ = (
        "_asking",
        "_by_key",
        "_closing_at",
        "_config",
        "_connecting",
        "_counts",
        "_deadline",
        "_endpoints",
        "_foreign",
        "_here",
        "_holds",
        "_idle",
        "_kept",
        "_kept_by_origin",
        "_key",
        "_lease_numbers",
        "_leases",
        "_member_numbers",
        "_members",
        "_moving",
        "_now",
        "_numbers",
        "_random",
        "_retries",
        "_sizes",
        "_spare",
        "_started",
        "_timers",
        "_urgent",
        "_waiters",
        "_waits",
        "_wanting",
        "_warm",
        "_warm_at",
    )

    def __init__(
        self,
        config: PoolConfig,
        key: Hashable = "",
        *,
        random: Callable[[], float] = lambda: 0.5,
    ) -> None:
        self._config = config
        self._key = key
        self._random = random
        endpoints = make_endpoints("PoolConfig.endpoints", config.endpoints)
        self._endpoints = Endpoints(endpoints, config.strategy, config.breaker)
        self._foreign = {
            domain: {
                index: None
                for index, endpoint in enumerate(endpoints)
                if endpoint.cursor_domain != domain
            }
            for domain in {endpoint.cursor_domain for endpoint in endpoints}
        }
        self._now = -inf
        self._deadline: float | None = None
        self._numbers = count(1)  # of waiters and timers, in order
        self._member_numbers = count(1)
        self._lease_numbers = count(1)
        self._started = False
        self._closing_at: float | None = None  # when what is still leased is cut

        self._members: dict[int, _Member] = {}
        self._sizes = dict.fromkeys(MemberState, 0)
        self._leases: dict[int, _Member] = {}
        self._idle = _Line()
        self._spare = _Line()  # connecting, for nobody
        self._warm = 0  # members with the pool's own key
        self._warm_at = -inf  # when one may be opened again
        self._retries = 0  # failures for good in a row of members nobody waited for

        self._waiters: OrderedDict[Hashable, _Waiter] = OrderedDict()
        self._by_key: dict[Hashable, OrderedDict[int, _Waiter]] = {}
        # A heap of those for whom nothing is being done; who is served stays in it until seen.
        self._wanting: list[tuple[int, int, _Waiter]] = []

        self._asking: OrderedDict[int, _Member] = OrderedDict()
        self._urgent: OrderedDict[int, _Member] = OrderedDict()  # somebody has it, or waits for it
        self._connecting = 0  # attempts under way
        self._moving = 0
        # The streams at each endpoint, by the endpoints that are closed to them.
        self._here: list[dict[frozenset[int], OrderedDict[int, _Member]]] = [{} for _ in endpoints]

        self._kept: OrderedDict[int, tuple[Origin, float]] = OrderedDict()
        self._kept_by_origin: dict[Origin, dict[int, None]] = {}  # in order, the latest last

        self._timers: list[tuple[float, int, TimerKind, Any]] = []
        self._counts: dict[str, int] = {}
        self._waits = Durations()
        self._holds = Durations()

    # --- Look ----------------------------------------------------------------------------------

    @property
    def deadline(self) -> float | None:
        """When to call :meth:`tick` at the latest, or None."""
        return self._deadline

    @property
    def closing(self) -> bool:
        """Whether it has been told to close."""
        return self._closing_at is not None

    @property
    def over(self) -> bool:
        """Whether it has been told to close, and nothing is left."""
        return self._closing_at is not None and not self._members

    @property
    def healthy_count(self) -> int:
        """How many members have an accepted stream."""
        # A copy: another thread may be looking.
        return sum(len(alike) for here in self._here for alike in tuple(here.values()))

    @property
    def endpoints(self) -> Endpoints:
        """What is known of the endpoints; to look at."""
        return self._endpoints

    def stats(self) -> PoolStats:
        """Return the pool at a glance."""
        counts, sizes = self._counts, self._sizes
        places = self._endpoints.stats()
        return PoolStats(
            max_size=self._config.max_size,
            total=len(self._members),
            active=sizes[_LEASED],
            idle=sizes[_IDLE],
            connecting=sizes[_CONNECTING],
            failed=sizes[_FAILED],
            healthy_count=self.healthy_count,
            waiters=len(self._waiters),
            admission_waiters=len(self._asking) + len(self._urgent),
            attempts_under_way=self._connecting,
            acquire_requests=counts.get("requests", 0),
            acquire_successes=counts.get("successes", 0),
            acquire_timeouts=counts.get("timeouts", 0),
            acquire_rejections=counts.get("rejections", 0),
            acquire_cancellations=counts.get("cancellations", 0),
            waits=self._waits.snapshot(),
            holds=self._holds.snapshot(),
            opens=counts.get("opens", 0),
            closes={
                name.removeprefix("close "): number
                for name, number in dict(counts).items()  # another thread may be looking
                if name.startswith("close ")
            },
            reuses=counts.get("reuses", 0),
            handshakes=counts.get("handshakes", 0),
            kept_transports=len(self._kept),
            unread_dropped=counts.get("unread", 0),
            moves=counts.get("moves", 0),
            peak_connecting=counts.get("peak", 0),
            breaker_changes=sum(place.breaker_changes for place in places),
            endpoints=places,
        )

    # --- Commands ------------------------------------------------------------------------------

    def start(self, now: float) -> Sequence[PoolAction]:
        """Begin: open the members that are to be kept warm."""
        actions = self._clock(now)
        self._started = True
        return self._settled(actions)

    def acquire(
        self,
        waiter: Hashable,
        key: Hashable,
        now: float,
        *,
        timeout: float | None = None,
        single: bool = False,
    ) -> Sequence[PoolAction]:
        """Ask for a lease of a member with ``key``, within ``timeout`` seconds.

        The answer, at once or later, is one :class:`GrantLease` or :class:`RejectWaiter` with this
        ``waiter``, which must be hashable and no other waiter. 0 tries once: what is idle is
        granted, or it is rejected. None: ``acquire_timeout``. ``single``: for one use; the key must
        be no other's.

        Raises :class:`PoolClosed`, :class:`LocalProtocolError` for a waiter that waits already.
        """
        if self.closing:
            raise PoolClosed("the pool is closed")
        if waiter in self._waiters:
            raise LocalProtocolError("this waiter waits already")
        actions = self._clock(now)
        seconds = self._config.acquire_timeout if timeout is None else timeout
        self._count("requests")
        waiting = _Waiter(next(self._numbers), waiter, key, self._now, self._now + seconds)
        idle = self._idle.latest(key)
        if idle is not None and not self._has_wanting():
            self._grant(idle, waiting, actions)
            return self._settled(actions)
        waiting.single = single
        waiting.ahead = len(self._waiters)
        if seconds <= 0:
            self._reject(waiting, self._too_late(waiting, seconds), actions, "timeouts")
            return self._settled(actions)
        self._waiters[waiter] = waiting
        self._by_key.setdefault(key, OrderedDict())[waiting.number] = waiting
        self._want(waiting)
        if waiting.deadline < inf:  # a timer that never comes would never be forgotten either
            self._call_at(waiting.deadline, "waiter", waiting)
        return self._settled(actions)

    def cancel(self, waiter: Hashable, now: float) -> Sequence[PoolAction]:
        """A waiter does not want to wait any more; unknown ones are ignored."""
        actions = self._clock(now)
        waiting = self._waiters.get(waiter)
        if waiting is not None:
            self._count("cancellations")
            self._forget_waiter(waiting, actions)
        return self._settled(actions)

    def release(
        self,
        lease: int,
        now: float,
        *,
        unread: Unread = "keep",
        backlog: int = 0,
        full: bool = False,
        resumable: bool = False,
    ) -> Sequence[PoolAction]:
        """A holder gives a lease back.

        ``backlog`` is how many events are left unread, ``full`` whether they fill the buffer,
        ``resumable`` whether the stream can be resumed from what was delivered.

        Raises :class:`LocalProtocolError` for a lease that is not out.
        """
        member = self._leases.get(lease)
        if member is None:
            raise LocalProtocolError("this lease is over: it was released, or is not of this pool")
        actions = self._clock(now)
        if self._leases.get(lease) is not member:
            return self._settled(actions)  # the grace of a closing pool ended at this instant
        self._end_lease(member)
        if unread == "drop":
            self.unread_dropped(backlog)
            backlog, full = 0, False
        if member.state is _FAILED:
            self._close(member, "failed", actions)
        elif member.single or unread == "close":
            self._close(member, "released", actions)
        elif member.finished:
            self._close(member, "finished", actions)
        elif self.closing:
            self._close(member, "closing", actions)
        elif member.expired:
            self._close(member, "lifetime", actions)
        else:
            if backlog:
                member.unread_since = self._now
            self._be_free(member, actions)
            if full and backlog and not member.lease:
                self._note_full(member, resumable, actions)
        return self._settled(actions)

    def close(self, now: float, grace: float = 0.0) -> Sequence[PoolAction]:
        """Refuse whoever comes, reject whoever waits, close what is free, the rest after ``grace``.

        Repeated, the earlier end counts.
        """
        actions = self._clock(now)
        at = self._now + max(grace, 0.0)
        self._closing_at = at if self._closing_at is None else min(at, self._closing_at)
        for waiting in list(self._waiters.values()):
            error = PoolClosed("the pool was closed while this waited for a connection")
            self._reject(waiting, error, actions)
        for member in list(self._members.values()):
            if not member.lease:
                self._close(member, "closing", actions)
        actions += map(CloseKept, self._kept)
        self._kept.clear()
        self._kept_by_origin.clear()
        self._timers.clear()  # whatever is left is for somebody who has it, or ends with the grace
        if self._now >= self._closing_at:
            self._cut(actions)
        return self._settled(actions)

    def reuse_transport(self, origin: Origin, now: float) -> int | None:
        """Return a transport to ``origin`` that was kept, and let go of it; None if there is none.

        The one that was kept last: it is the most likely to be alive.
        """
        waiting = self._kept_by_origin.get(origin)
        if not waiting:
            return None
        transport = next(reversed(waiting))
        if max(now, self._now) >= self._kept[transport][1]:
            return None  # what is too old is closed by the tick that is due
        self._forget_kept(transport)
        return transport

    # --- What happened: to members ---------------------------------------------------------------

    def admission_requested(self, member: int, attempt: int, now: float) -> Sequence[PoolAction]:
        """A member wants to begin an attempt; the answer, at once or later, is :class:`Admit`."""
        actions = self._clock(now)
        there = self._members.get(member)
        if there is not None:
            self._stop_attempt(there)
            there.asking = attempt
            self._rest(there, False)
            self._queue(there)
        return self._settled(actions)

    def connected(self, member: int, now: float) -> Sequence[PoolAction]:
        """A member's attempt was accepted."""
        actions = self._clock(now)
        there = self._members.get(member)
        if there is None or not there.attempting:
            return self._settled(actions)
        assert there.endpoint is not None
        self._succeed(there)
        there.connected = True
        there.connected_at = self._now
        there.gave = False
        there.avoid = None
        domain = self._endpoints.endpoint(there.endpoint).cursor_domain
        there.last_domain = (domain,)
        self._arrive(there)
        if there.key == self._key:
            self._retries = 0
        if there.state is _CONNECTING:
            self._be_free(there, actions)
        if there.single:
            # It has begun: what does not know its ids could only begin it again.
            self._close_to(there, {**there.exclude, **self._foreign[domain]})
        return self._settled(actions)

    def attempt_failed(self, member: int, error: SSEError, now: float) -> Sequence[PoolAction]:
        """A member's attempt failed; it will try again, or tell that it has :meth:`failed`."""
        actions = self._clock(now)
        there = self._members.get(member)
        if there is not None and there.attempting:
            assert there.endpoint is not None
            there.attempting = False
            self._rest(there, True)
            self._connecting -= 1
            self._endpoints.failed(there.endpoint, error, self._now)
            there.avoid = there.endpoint
        return self._settled(actions)

    def lost(self, member: int, now: float, error: SSEError | None = None) -> Sequence[PoolAction]:
        """A member has no stream any more, and will try again; no error: it was restarted."""
        actions = self._clock(now)
        there = self._members.get(member)
        if there is None:
            return self._settled(actions)
        self._note_loss(there, error)
        there.resting = error is not None
        self._lapse(there, actions, error)
        return self._settled(actions)

    def failed(
        self, member: int, error: SSEError, now: float, *, repeatable: bool = True
    ) -> Sequence[PoolAction]:
        """A member failed for good: its holder is told by itself, a waiter's is replaced.

        ``repeatable``: its request may be sent again, elsewhere; else its waiter is told.
        """
        actions = self._clock(now)
        there = self._members.get(member)
        if there is None:
            return self._settled(actions)
        where = there.endpoint
        self._stop(there, error)
        if there.lease:
            self._change(there, _FAILED, actions, error=error)
            return self._settled(actions)
        waiting = there.waiter
        if waiting is not None and not repeatable:
            self._close(there, "failed", actions, error)
            self._reject(waiting, error, actions)
            return self._settled(actions)
        self._replace(there, where, error, "failed", actions)
        return self._settled(actions)

    def finished(self, member: int, now: float) -> Sequence[PoolAction]:
        """A member's stream ended well, or its holder disconnected it."""
        return self._over(member, None, now)

    def closed(self, member: int, now: float) -> Sequence[PoolAction]:
        """A member's connection is closed and the pool did not ask for it: the server said stop."""
        return self._over(member, ConnectionClosed("the server answered 204: no stream here"), now)

    def event_seen(self, member: int, now: float) -> Sequence[PoolAction]:
        """A member's stream gave its first event since it was accepted; more often does no harm."""
        actions = self._clock(now)
        there = self._members.get(member)
        if there is not None and there.endpoint is not None and there.connected and not there.gave:
            there.gave = True
            self._endpoints.event_seen(there.endpoint, self._now)
        return self._settled(actions)

    def backlog(
        self, member: int, now: float, *, full: bool, resumable: bool
    ) -> Sequence[PoolAction]:
        """Events came for a member that nobody has: the first that are unread, or too many.

        ``resumable``: the stream can be resumed from what was delivered.
        """
        actions = self._clock(now)
        there = self._members.get(member)
        if there is None or there.lease:
            return self._settled(actions)
        if there.unread_since is None:
            there.unread_since = self._now
        if full:
            self._note_full(there, resumable, actions)
        return self._settled(actions)

    # --- What happened: otherwise ----------------------------------------------------------------

    def transport_kept(
        self, transport: int, origin: Origin, seconds: float, now: float
    ) -> Sequence[PoolAction]:
        """A transport can carry another stream, for some seconds; the number is the caller's."""
        actions = self._clock(now)
        if self.closing or seconds <= 0:
            return self._settled([*actions, CloseKept(transport)])
        if len(self._kept) >= self._config.max_size:
            oldest = next(iter(self._kept))
            self._forget_kept(oldest)
            actions.append(CloseKept(oldest))
        until = self._now + seconds
        self._kept[transport] = (origin, until)
        self._kept_by_origin.setdefault(origin, {})[transport] = None
        self._call_at(until, "kept", transport)
        return self._settled(actions)

    def transport_gone(self, transport: int, now: float) -> Sequence[PoolAction]:
        """Something happened to a transport that was kept: it is of no use any more."""
        actions = self._clock(now)
        self._forget_kept(transport)
        return self._settled(actions)

    def transport_opened(self, now: float, *, reused: bool) -> Sequence[PoolAction]:
        """Count how a stream came by its transport."""
        self._count("reuses" if reused else "handshakes")
        return self._settled(self._clock(now))

    def unread_dropped(self, events: int) -> None:
        """Count events that nobody will be given."""
        self._count("unread", events)

    def tick(self, now: float) -> Sequence[PoolAction]:
        """Time has passed. Early, late and repeated ticks are harmless."""
        if self._deadline is None or now < self._deadline:
            return NO_ACTIONS
        return self._settled(self._clock(now))

    # --- Waiters -------------------------------------------------------------------------------

    def _has_wanting(self) -> bool:
        """Whether somebody waits for whom nothing is being done."""
        wanting = self._wanting
        while wanting:
            waiting = wanting[0][2]
            if waiting.member is None and self._waiters.get(waiting.token) is waiting:
                return True
            heapq.heappop(wanting)
        return False

    def _want(self, waiting: _Waiter) -> None:
        heapq.heappush(self._wanting, (waiting.number, next(self._numbers), waiting))

    def _serve(self, actions: Actions) -> None:
        """Do something for each waiter, in order, as long as there is a place."""
        while self._has_wanting():
            waiting = self._wanting[0][2]
            idle = self._idle.latest(waiting.key)
            if idle is not None:
                self._grant(idle, waiting, actions)
                continue
            spare = self._spare.latest(waiting.key)
            if spare is not None and not spare.resting:
                self._link(spare, waiting)
            elif len(self._members) < self._config.max_size:
                self._link(self._open(waiting.key, actions, single=waiting.single), waiting)
            elif spare is not None:
                self._link(spare, waiting)
                spare.resting = False
                actions.append(RestartMember(spare.number, drop=False))  # somebody waits
            elif self._spare or self._idle:
                self._close((self._spare or self._idle).first(), "room", actions)
            else:
                return

    def _rest(self, member: _Member, resting: bool) -> None:
        member.resting = resting
        if member in self._spare:
            self._spare.put(member)

    def _link(self, member: _Member, waiting: _Waiter) -> None:
        self._spare.take(member)
        member.waiter, waiting.member = waiting, member
        member.exclude = waiting.tried
        if member.asking:
            self._queue(member)

    def _unlink(self, member: _Member, actions: Actions) -> None:
        """Nobody waits for a member any more: it is spare, or of no use."""
        assert member.waiter is not None
        member.waiter.member = None
        member.waiter = None
        member.exclude = {}
        if member.single or member.expired:
            self._close(member, "released" if member.single else "lifetime", actions)
            return
        self._spare.put(member)
        if member.asking:
            self._queue(member)

    def _forget_waiter(self, waiting: _Waiter, actions: Actions) -> None:
        """Let go of a waiter; what was being connected for it may serve another."""
        del self._waiters[waiting.token]
        same_key = self._by_key[waiting.key]
        del same_key[waiting.number]
        if not same_key:
            del self._by_key[waiting.key]
        if waiting.member is not None:
            self._unlink(waiting.member, actions)

    def _grant(self, member: _Member, waiting: _Waiter, actions: Actions) -> None:
        if waiting.token in self._waiters:
            passed, found = waiting.member, member.waiter
            if passed is not member:
                if found is not None:
                    # It was being connected for somebody who came later, and gets the other's now.
                    found.member = None
                    member.waiter = None
                    if passed is not None:
                        passed.waiter = None
                        waiting.member = None
                        self._link(passed, found)
                    else:
                        self._want(found)
            else:
                waiting.member = None
                member.waiter = None
            self._forget_waiter(waiting, actions)
            self._close_to(member, waiting.tried)
        self._idle.take(member)
        self._spare.take(member)
        self._count("successes")
        self._waits.add(self._now - waiting.began)
        if member.leased_before:
            self._count("reuses")
        member.lease = next(self._lease_numbers)
        member.leased_at = self._now
        member.leased_before = True
        self._leases[member.lease] = member
        age = 0.0 if member.unread_since is None else self._now - member.unread_since
        member.unread_since = member.full_until = None
        actions.append(GrantLease(waiting.token, member.lease, member.number, age))
        self._change(member, _LEASED, actions)

    def _reject(
        self, waiting: _Waiter, error: SSEError, actions: Actions, what: str = "rejections"
    ) -> None:
        self._count(what)
        if waiting.token in self._waiters:
            self._forget_waiter(waiting, actions)
        actions.append(RejectWaiter(waiting.token, error))

    def _too_late(self, waiting: _Waiter, seconds: float) -> PoolTimeout:
        ahead = f"{waiting.ahead} waited before it" if waiting.ahead else "nobody waited before it"
        said = "; ".join(
            f"{name}: {type(error).__name__}: {error}"
            for name, error in self._endpoints.last_errors()
        )
        sizes = self._sizes
        return PoolTimeout(
            f"no connection within {seconds:g} s: {ahead}, {sizes[_LEASED]} of"
            f" {self._config.max_size} are in use, {sizes[_CONNECTING]} are connecting"
            + (f"; the latest failures: {said}" if said else "")
        )

    # --- Members -------------------------------------------------------------------------------

    def _open(self, key: Hashable, actions: Actions, *, single: bool = False) -> _Member:
        member = _Member(next(self._member_numbers), key)
        member.single = single
        self._members[member.number] = member
        self._sizes[_CONNECTING] += 1
        self._warm += key == self._key
        self._count("opens")
        actions.append(MemberChanged(member.number, None, _CONNECTING, self._now))
        actions.append(OpenMember(member.number, key))
        lifetime = self._config.max_lifetime
        if lifetime is not None and not single:
            at = self._now + lifetime * (1 - _LIFETIME_JITTER * self._random())
            self._call_at(at, "lifetime", member)
        return member

    def _be_free(self, member: _Member, actions: Actions) -> None:
        """Nobody has it (any more): give it to the one whose turn it is, or keep it."""
        if not member.connected:
            self._change(member, _CONNECTING, actions)
            self._spare.put(member)
            return
        same_key = self._by_key.get(member.key)
        first = next(iter(same_key.values())) if same_key else None
        # What was opened for a waiter serves the first of its key. A place that nobody has claimed
        # goes to whoever is first of all, though it may have to be made for him.
        if first is not None and (
            member.waiter is not None
            or not self._has_wanting()
            or first.number <= self._wanting[0][0]
        ):
            self._grant(member, first, actions)
            return
        self._spare.take(member)
        member.idle_since = self._now
        self._idle.put(member)
        self._change(member, _IDLE, actions)
        if not member.idle_timer:
            member.idle_timer = True
            self._call_at(self._now + self._config.max_idle, "idle", member)

    def _lapse(self, member: _Member, actions: Actions, error: SSEError | None = None) -> None:
        """If it was idle, it is no more: it has to connect first."""
        if member.state is _IDLE:
            self._idle.take(member)
            self._change(member, _CONNECTING, actions, error=error)
            self._spare.put(member)

    def _end_lease(self, member: _Member) -> None:
        del self._leases[member.lease]
        member.lease = 0
        self._close_to(member, {})
        self._holds.add(self._now - member.leased_at)

    def _close(
        self,
        member: _Member,
        reason: CloseReason,
        actions: Actions,
        error: SSEError | None = None,
    ) -> None:
        """It is no member any more."""
        waiting = member.waiter
        if waiting is not None:
            member.waiter = waiting.member = None
            self._want(waiting)
        self._stop(member, None)
        self._idle.take(member)
        self._spare.take(member)
        del self._members[member.number]
        self._warm -= member.key == self._key
        self._count(f"close {reason}")
        self._change(member, _CLOSED, actions, reason=reason, error=error)
        actions.append(CloseMember(member.number, reason))

    def _replace(
        self,
        member: _Member,
        where: int | None,
        error: SSEError,
        reason: CloseReason,
        actions: Actions,
    ) -> None:
        """A member nobody has failed for good; its waiters try elsewhere, or have tried it all."""
        if member.waiter is None and member.key == self._key:
            policy = self._config.connection.reconnection
            self._warm_at = self._now + backoff(policy, self._retries, 0.0, self._random)
            self._retries += 1
        self._close(member, reason, actions, error)
        same_key = self._by_key.get(member.key)
        for waiting in list(same_key.values()) if same_key else []:
            if where is not None:
                waiting.tried[where] = error
            if len(waiting.tried) == len(self._endpoints):
                self._reject(waiting, _shown(error, len(self._endpoints)), actions)

    def _over(self, member: int, error: SSEError | None, now: float) -> Sequence[PoolAction]:
        """A member's stream has come to an end that is nobody's fault."""
        actions = self._clock(now)
        there = self._members.get(member)
        if there is None:
            return self._settled(actions)
        where = there.endpoint
        if there.lease:
            self._stop(there, None)
            there.finished = True
            return self._settled(actions)
        if there.attempting:
            self._succeed(there)  # no stream is an answer too
        if there.single and there.waiter is not None:
            # A 204 before there was a stream: the reader finds nothing, and nothing wrong.
            there.finished = True
            self._grant(there, there.waiter, actions)
        elif error is not None:
            self._replace(there, where, error, "finished", actions)
        else:
            self._close(there, "finished", actions)
        return self._settled(actions)

    def _succeed(self, member: _Member) -> None:
        """Its attempt was answered, and not with a failure."""
        assert member.endpoint is not None
        member.attempting = False
        self._connecting -= 1
        self._endpoints.accepted(member.endpoint, self._now)

    def _note_full(self, member: _Member, resumable: bool, actions: Actions) -> None:
        member.resumable = resumable
        if member.full_until is None:
            actions.append(PauseMember(member.number))
            member.full_until = self._now + self._config.max_backlog_age
            self._call_at(member.full_until, "backlog", member)

    def _note_loss(self, member: _Member, error: SSEError | None) -> None:
        """It has no stream any more; what that says of its endpoint."""
        if member.endpoint is None or not member.connected:
            return
        self._depart(member)
        member.connected = False
        if error is not None:
            lived = self._now - member.connected_at
            if self._endpoints.lost(
                member.endpoint, error, self._now, lived=lived, gave=member.gave
            ):
                member.avoid = member.endpoint
        self._leave_endpoint(member)

    def _stop(self, member: _Member, error: SSEError | None) -> None:
        """It has no stream any more, and tries no more."""
        self._note_loss(member, error)
        self._stop_attempt(member)
        if member.target is not None:
            self._stop_moving(member)

    def _arrive(self, member: _Member) -> None:
        """Its stream is at its endpoint now."""
        assert member.endpoint is not None
        alike = self._here[member.endpoint].setdefault(frozenset(member.exclude), OrderedDict())
        alike[member.number] = member

    def _depart(self, member: _Member) -> None:
        """Its stream is there no longer."""
        assert member.endpoint is not None
        here, closed = self._here[member.endpoint], frozenset(member.exclude)
        del here[closed][member.number]
        if not here[closed]:
            del here[closed]

    def _close_to(self, member: _Member, exclude: Mapping[int, SSEError | None]) -> None:
        """These endpoints are closed to it from now on, and no others."""
        if member.connected:
            self._depart(member)
        member.exclude = exclude
        if member.connected:
            self._arrive(member)

    def _leave_endpoint(self, member: _Member) -> None:
        if member.endpoint is not None:
            self._endpoints.left(member.endpoint)
            member.endpoint = None

    def _change(
        self,
        member: _Member,
        new: MemberState,
        actions: Actions,
        *,
        reason: CloseReason | None = None,
        error: SSEError | None = None,
    ) -> None:
        old = member.state
        if old is new:
            return
        assert new in MEMBER_TRANSITIONS[old], f"no transition from {old} to {new}"
        member.state = new
        self._sizes[old] -= 1
        self._sizes[new] += new is not _CLOSED
        where = member.endpoint
        name = None if where is None else self._endpoints.endpoint(where).name
        actions.append(MemberChanged(member.number, old, new, self._now, name, reason, error))

    # --- Admission and endpoints ---------------------------------------------------------------

    def _queue(self, member: _Member) -> None:
        """Put a member that asks into the line it belongs to."""
        urgent = member.lease or member.waiter is not None
        mine, other = (self._urgent, self._asking) if urgent else (self._asking, self._urgent)
        other.pop(member.number, None)
        mine.setdefault(member.number, member)

    def _stop_attempt(self, member: _Member) -> None:
        """What it asked for, or was about, is not to be any more."""
        if member.asking:
            member.asking = 0
            self._urgent.pop(member.number, None)
            self._asking.pop(member.number, None)
        if member.attempting:
            member.attempting = False
            self._connecting -= 1
            assert member.endpoint is not None
            self._endpoints.given_up(member.endpoint)
        assert not member.connected, "it is lost before it asks"
        self._leave_endpoint(member)

    def _admit(self, actions: Actions) -> float:
        """Let attempts begin, as far as the limits and the endpoints allow.

        Return when the first endpoint opens that one of the others waits for, or infinity.
        """
        opens = inf
        for line in (self._urgent, self._asking):
            blocked: list[_Member] = []
            while line and self._connecting < self._config.max_connecting:
                _, member = line.popitem(last=False)
                if not self._begin(member, actions):
                    blocked.append(member)
                    at = self._endpoints.next_at(member.exclude)
                    if at > self._now:  # else it waits for the limit of an origin
                        opens = min(opens, at)
                    if not member.exclude:
                        break  # what is closed to it is closed to all
            for member in reversed(blocked):
                line[member.number] = member
                line.move_to_end(member.number, last=False)
        return opens

    def _begin(self, member: _Member, actions: Actions) -> bool:
        chosen = self._endpoints.choose(
            self._now,
            exclude=member.exclude,
            avoid=member.avoid,
            prefer=member.target,
            per_origin=self._config.max_connecting_per_origin,
        )
        if chosen is None:
            return False
        self._connecting += 1
        self._counts["peak"] = max(self._counts.get("peak", 0), self._connecting)
        if member.target is not None:
            self._stop_moving(member)
        member.endpoint = chosen
        self._endpoints.joined(chosen)
        domain = (self._endpoints.endpoint(chosen).cursor_domain,)
        known = member.last_domain
        attempt, member.asking = member.asking, 0
        member.attempting = True
        keep = known is None or known == domain
        actions.append(Admit(member.number, attempt, chosen, keep))
        return True

    def _stop_moving(self, member: _Member) -> None:
        assert member.target is not None
        self._endpoints.moving(member.target, -1)
        self._moving -= 1
        member.target = None

    def _rebalance(self, actions: Actions) -> None:
        """Move streams to where they should be, no faster than the admission limit allows."""
        while (
            not self._asking
            and not self._urgent
            and self._connecting + self._moving < self._config.max_connecting
        ):
            move = self._endpoints.move(self._now, may=self._may_move)
            if move is None:
                return
            target = move[1]
            member = next(self._movable(*move))
            self._lapse(member, actions)
            self._note_loss(member, None)
            member.target = target
            self._moving += 1
            self._endpoints.moving(target, 1)
            self._count("moves")
            actions.append(RestartMember(member.number, drop=False))

    def _movable(self, source: int, target: int) -> Iterator[_Member]:
        """Of the streams at one endpoint that may go to another, the first with the same choice."""
        for closed, alike in self._here[source].items():
            if target not in closed:
                yield next(iter(alike.values()))

    def _may_move(self, source: int, target: int) -> bool:
        return any(self._movable(source, target))

    # --- Time ----------------------------------------------------------------------------------

    def _clock(self, now: float) -> Actions:
        """Note the time (a clock that goes backwards is held) and do what is due by now.

        Every input begins here, so that nobody is served after his deadline.
        """
        if now > self._now:
            self._now = now
        actions: Actions = []
        timers = self._timers
        while timers and timers[0][0] <= self._now:
            _, _, kind, what = heapq.heappop(timers)
            self._fired(kind, what, actions)
        if self._closing_at is not None and self._now >= self._closing_at and self._leases:
            self._cut(actions)
        return actions

    def _call_at(self, at: float, kind: TimerKind, what: Any) -> None:
        heapq.heappush(self._timers, (at, next(self._numbers), kind, what))

    def _fired(self, kind: TimerKind, what: Any, actions: Actions) -> None:
        if kind == "waiter":
            waiting: _Waiter = what
            if self._waiters.get(waiting.token) is waiting:
                seconds = waiting.deadline - waiting.began
                self._reject(waiting, self._too_late(waiting, seconds), actions, "timeouts")
            return
        if kind == "kept":
            kept = self._kept.get(what)
            if kept is not None and self._now >= kept[1]:
                self._forget_kept(what)
                actions.append(CloseKept(what))
            return
        member: _Member = what
        if self._members.get(member.number) is not member:
            return
        if kind == "backlog":
            if member.full_until is not None and member.full_until <= self._now:
                self._backlog_is_old(member, actions)
            return
        if kind == "lifetime":
            if member.lease or member.waiter is not None:
                member.expired = True
            else:
                self._close(member, "lifetime", actions)
            return
        member.idle_timer = False
        if member.state is not _IDLE:
            return
        at = member.idle_since + self._config.max_idle
        if self._now >= at and (member.key != self._key or self._warm > self._config.min_size):
            self._close(member, "idle", actions)
            return
        member.idle_timer = True
        if self._now >= at:
            at = self._now + max(self._config.max_idle, 1.0)  # it is kept warm: look again
        self._call_at(at, "idle", member)

    def _backlog_is_old(self, member: _Member, actions: Actions) -> None:
        """It has been full, and unread, for long: it must not look healthy for ever."""
        member.unread_since = member.full_until = None
        if not member.resumable:
            self._close(member, "backlog", actions)
            return
        self._lapse(member, actions)
        self._note_loss(member, None)
        self._stop_attempt(member)  # it will ask again,
        self._rest(member, False)  # and at once, so that nobody needs to tell it to
        actions.append(RestartMember(member.number, drop=True))

    def _cut(self, actions: Actions) -> None:
        """The grace is over: nobody keeps a lease."""
        for lease, member in list(self._leases.items()):
            self._end_lease(member)
            actions.append(EndLease(lease, member.number))
            self._close(member, "closing", actions)

    def _forget_kept(self, transport: int) -> None:
        kept = self._kept.pop(transport, None)
        if kept is not None:
            waiting = self._kept_by_origin[kept[0]]
            del waiting[transport]
            if not waiting:
                del self._kept_by_origin[kept[0]]

    def _keep_warm(self, actions: Actions) -> None:
        config = self._config
        while (
            self._warm < config.min_size
            and len(self._members) < config.max_size
            and self._now >= self._warm_at
        ):
            self._spare.put(self._open(self._key, actions))

    def _settled(self, actions: Actions) -> Actions:
        """Do what has become possible, and compute the deadline anew; every answer ends here."""
        if not self.closing:
            if self._wanting:
                self._serve(actions)
            if self._started and self._warm < self._config.min_size:
                self._keep_warm(actions)
        opens = self._admit(actions) if self._urgent or self._asking else inf
        next_move = self._endpoints.next_move_at(may=self._may_move)
        if next_move <= self._now and not self.closing:
            self._rebalance(actions)
            next_move = self._endpoints.next_move_at(may=self._may_move)
        if self._endpoints.news:
            actions += self._endpoints.news
            self._endpoints.news.clear()
        self._arm(next_move, opens)
        return actions

    def _arm(self, next_move: float, opens: float) -> None:
        at = min(self._timers[0][0] if self._timers else inf, opens)
        if next_move > self._now:
            at = min(at, next_move)  # else it waits for something that is not time
        if self._closing_at is not None and self._leases:
            at = min(at, self._closing_at)
        room = len(self._members) < self._config.max_size
        if self._started and room and not self.closing and self._warm < self._config.min_size:
            at = min(at, self._warm_at)
        self._deadline = None if at == inf else at

    def _count(self, what: str, number: int = 1) -> None:
        self._counts[what] = self._counts.get(what, 0) + number


def _shown(error: SSEError, endpoints: int) -> SSEError:
    """The cause of a rejection, as the waiter is to see it."""
    if endpoints == 1:
        return error
    failure = NoEndpoint(
        f"all {endpoints} endpoints failed; the last: {error}", cause=error, retryable=False
    )
    failure.response = error.response
    return failure.with_context_of(error)
