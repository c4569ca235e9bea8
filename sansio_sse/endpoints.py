"""Several endpoints of one stream: which to take, which to leave alone, when to come back.

A circuit breaker stands before each endpoint. *Closed* is the good state: attempts go through. Too
many failures in a row *open* it, and nothing goes through for a while. Then it is *half open*: a
few attempts are let through, and either enough of them succeed and it closes, or one fails and it
opens again.

What counts as a failure is what an *endpoint* did: no transport, no answer, 5xx, 408, 429, silence,
a stream that is accepted and dropped. A 403 or 404 is an answer: somebody else's request may well
be fine, so it opens nothing.

Being chosen and being returned to are two things. Where a new attempt goes is the business of
``choose``. Whether a healthy stream should leave its endpoint for another (``move``) asks for more:
the other one has been healthy for ``failback_after`` seconds, or this stream is the one that tries
it out.

It must not know members, connections or clocks; everything is told to it, with the time.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import TypeAlias

from .config import BreakerConfig, Endpoint, Strategy
from .errors import HeartbeatTimeout, HTTPStatusError, IdleTimeout, SSEError
from .http import Origin, make_request
from .metrics import counted

__all__ = ["BreakerState", "EndpointChanged", "EndpointStats", "Endpoints"]


class BreakerState(StrEnum):
    """Whether attempts go to an endpoint.

    >>> BreakerState.HALF_OPEN.value
    'half_open'
    """

    CLOSED = "closed"
    """They do."""
    OPEN = "open"
    """They do not, for a while."""
    HALF_OPEN = "half_open"
    """A few do, to see."""


_CLOSED = BreakerState.CLOSED
_OPEN = BreakerState.OPEN
_HALF_OPEN = BreakerState.HALF_OPEN

May: TypeAlias = Callable[[int, int], bool]


@dataclass(frozen=True, slots=True)
class EndpointChanged:
    """The breaker of an endpoint went from one state to another, perhaps for an error."""

    endpoint: str
    """The endpoint's url, redacted."""
    old: BreakerState
    new: BreakerState
    at: float
    error: SSEError | None = None


@dataclass(frozen=True, slots=True, repr=False)
class EndpointStats:
    """One endpoint at a glance; the counters only grow.

    >>> EndpointStats("http://a/", BreakerState.OPEN, False, 0, 1, 7, 2, 5, 1, 1, None)
    <EndpointStats http://a/ open, 0 streams, 2 of 7 attempts, 1 lost>
    """

    endpoint: str
    """Its url, redacted."""
    breaker: BreakerState
    healthy: bool
    """Its breaker is closed, and it has not failed since it last did well."""
    streams: int
    """Members that are there, or on their way."""
    connecting: int
    """Attempts under way."""
    attempts: int
    successes: int
    failures: int
    lost: int
    """Accepted streams that ended in an error."""
    breaker_changes: int
    last_error: SSEError | None

    def __repr__(self) -> str:
        parts = [
            f"{self.endpoint} {self.breaker.value}",
            counted(self.streams, "stream"),
            f"{self.successes} of {self.attempts} attempts",
            f"{self.lost} lost",
        ]
        if self.last_error is not None:
            parts.append(f"{type(self.last_error).__name__}: {self.last_error.message}")
        return f"<EndpointStats {', '.join(parts)}>"


class _Place:
    """What is known of one endpoint."""

    __slots__ = (
        "attempts",
        "breaker",
        "changes",
        "connecting",
        "credit",
        "endpoint",
        "failed_at",
        "failures",
        "failures_in_a_row",
        "healthy_since",
        "last_error",
        "lost",
        "moving",
        "open_until",
        "origin",
        "refusing",
        "returning",
        "streams",
        "successes",
        "successes_in_a_row",
    )

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint: Endpoint = endpoint
        self.origin: Origin = make_request("GET", endpoint.url).origin
        self.breaker: BreakerState = _CLOSED
        self.open_until: float = 0.0
        self.failures_in_a_row: int = 0
        self.successes_in_a_row: int = 0
        self.healthy_since: float | None = None
        self.failed_at: float | None = None
        self.refusing: bool = False  # its latest answer was no, and no fault of its own
        self.returning: bool = False  # it was broken, and has not got its share back
        self.streams: int = 0
        self.connecting: int = 0
        self.moving: int = 0  # streams that are about to try it out, or to return
        self.credit: float = 0.0  # for the round robin
        self.attempts: int = 0
        self.successes: int = 0
        self.failures: int = 0
        self.lost: int = 0
        self.changes: int = 0
        self.last_error: SSEError | None = None

    @property
    def load(self) -> float:
        return self.streams / self.endpoint.weight


class Endpoints:
    """The endpoints of a pool, or of one stream, by their positions from 0.

    :meth:`choose` begins an attempt, and one of :meth:`accepted`, :meth:`failed` and
    :meth:`given_up` ends it; later there may be :meth:`event_seen` and :meth:`lost`. Changes of
    breakers collect in ``news``, for the caller to take.

    >>> places = Endpoints([Endpoint("http://a.example"), Endpoint("http://b.example")])
    >>> [places.choose(now=0.0) for _ in range(3)]
    [0, 1, 0]
    >>> all(places.lost(0, IdleTimeout("silent"), 1.0, lived=1.0, gave=True) for _ in range(5))
    True
    >>> places.breaker(0).value, [places.choose(now=2.0) for _ in range(3)]
    ('open', [1, 1, 1])
    """

    __slots__ = ("_best", "_by_priority", "_config", "_places", "_strategy", "_unsettled", "news")

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        strategy: Strategy = "round_robin",
        config: BreakerConfig | None = None,
    ) -> None:
        self._places = [_Place(endpoint) for endpoint in endpoints]
        self._strategy: Strategy = strategy
        self._config = config or BreakerConfig()
        self._best = min(endpoint.priority for endpoint in endpoints)
        self._by_priority = sorted(range(len(endpoints)), key=lambda i: endpoints[i].priority)
        self._unsettled = False  # streams may be elsewhere than they should
        self.news: list[EndpointChanged] = []
        """Changes since the caller last emptied it."""

    # --- Look ----------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._places)

    def endpoint(self, index: int) -> Endpoint:
        """Return an endpoint."""
        return self._places[index].endpoint

    def breaker(self, index: int) -> BreakerState:
        """Return the state of an endpoint's breaker."""
        return self._places[index].breaker

    def last_errors(self) -> list[tuple[str, SSEError]]:
        """Return the latest failure of each endpoint that has one, by its redacted url."""
        return [
            (place.endpoint.name, place.last_error)
            for place in self._places
            if place.last_error is not None
        ]

    def stats(self) -> tuple[EndpointStats, ...]:
        """Return all of them at a glance."""
        return tuple(
            EndpointStats(
                endpoint=place.endpoint.name,
                breaker=place.breaker,
                healthy=place.breaker is _CLOSED and not place.failures_in_a_row,
                streams=place.streams,
                connecting=place.connecting,
                attempts=place.attempts,
                successes=place.successes,
                failures=place.failures,
                lost=place.lost,
                breaker_changes=place.changes,
                last_error=place.last_error,
            )
            for place in self._places
        )

    def next_at(self, exclude: Collection[int] = ()) -> float:
        """Return when the first open breaker lets something through again; infinity if none will.

        Half-open ones do as soon as their trial is over, which is no question of time.
        """
        return min(
            (
                place.open_until
                for index, place in enumerate(self._places)
                if place.breaker is _OPEN and index not in exclude
            ),
            default=inf,
        )

    def move(
        self, now: float, only: int | None = None, *, may: May = lambda _source, _target: True
    ) -> tuple[int, int] | None:
        """Return from where to where one healthy stream should move now, or None.

        By priority to an endpoint that comes first; with the other strategies to one that was
        broken and has less than its share. ``only`` is the one place it may come from; ``may``
        says whether there is a stream at one place that could go to the other.
        """
        for target in self._by_priority:
            candidate = self._places[target]
            if now < self._invites_at(candidate):
                continue
            wanted = self._wanted_from(target, only)
            possible = [source for source in wanted if may(source, target)]
            if possible:
                return max(possible, key=lambda source: self._places[source].load), target
            if not wanted and only is None and not candidate.moving:
                candidate.returning = False  # it has its share
        return None

    def next_move_at(
        self, only: int | None = None, *, may: May = lambda _source, _target: True
    ) -> float:
        """Return when :meth:`move` is worth asking again, if nothing happens; or infinity."""
        if not self._unsettled:
            return inf
        at = inf
        self._unsettled = any(place.returning for place in self._places)
        for target, candidate in enumerate(self._places):
            wanted = self._wanted_from(target, only)
            if wanted and not candidate.refusing:
                self._unsettled = True  # even if none of them may go: others may, later
            if any(may(source, target) for source in wanted):
                at = min(at, self._invites_at(candidate))
        return at

    def _wanted_from(self, target: int, only: int | None) -> list[int]:
        """Return the places with streams that would rather be at another one."""
        candidate = self._places[target]
        return [
            source
            for source, place in enumerate(self._places)
            if place.streams and only in (None, source) and self._is_wanted(candidate, place)
        ]

    def _is_wanted(self, candidate: _Place, place: _Place) -> bool:
        """Whether a stream of ``place`` would rather be at ``candidate``, health aside."""
        if self._strategy == "priority":
            return candidate.endpoint.priority < place.endpoint.priority
        if candidate is place or not candidate.returning:
            return False
        share = (candidate.streams + candidate.moving + 1) / candidate.endpoint.weight
        return place.load - share > 0.05 * place.load

    def _invites_at(self, place: _Place) -> float:
        """Return from when on streams may move there; infinity if that is no matter of time."""
        at, alone = self._invites(place)
        return inf if alone and place.connecting + place.moving else at

    def _invites(self, place: _Place) -> tuple[float, bool]:
        """Return from when on streams may move to a place, and whether only one at a time may."""
        patience = self._config.failback_after
        if place.refusing:
            return inf, True  # whoever has to try it may; no healthy stream leaves for a 404
        if place.healthy_since is not None:
            return place.healthy_since + patience, place.breaker is not _CLOSED
        if place.failed_at is None:
            return -inf, False
        # Nobody knows how it is now: somebody has to try it out.
        return max(place.failed_at + patience, place.open_until), True

    # --- What happened -------------------------------------------------------------------------

    def choose(
        self,
        now: float,
        *,
        exclude: Collection[int] = (),
        avoid: int | None = None,
        prefer: int | None = None,
        per_origin: int | None = None,
    ) -> int | None:
        """Begin an attempt and return where it goes, or None while it can go nowhere.

        ``exclude`` are never taken, ``avoid`` only where there is nothing else, ``prefer`` where
        that is possible. ``per_origin`` is the most attempts under way to one origin.
        """
        places = self._places
        indices = [
            index
            for index, place in enumerate(places)
            if index not in exclude and self._admits(place, now)
        ]
        if len(indices) > 1 and avoid in indices and avoid != prefer:
            indices.remove(avoid)
        if prefer in indices:
            indices = [prefer]
        elif self._strategy == "priority" and indices:
            best = min(places[index].endpoint.priority for index in indices)
            indices = [index for index in indices if places[index].endpoint.priority == best]
        if per_origin is not None:
            indices = [index for index in indices if self._connecting(index) < per_origin]
        if not indices:
            return None
        if self._strategy == "least_loaded":
            chosen = min(indices, key=lambda index: places[index].load)
        else:
            chosen = self._next_in_turn(indices)
        place = places[chosen]
        if self._strategy == "priority" and place.endpoint.priority > self._best:
            self._unsettled = True
        if place.breaker is _OPEN:
            self._change(place, _HALF_OPEN, now)
        place.attempts += 1
        place.connecting += 1
        return chosen

    def _admits(self, place: _Place, now: float) -> bool:
        if place.breaker is _CLOSED:
            return True
        if place.breaker is _OPEN:
            return now >= place.open_until
        return place.connecting < self._config.half_open

    def _connecting(self, index: int) -> int:
        origin = self._places[index].origin
        return sum(place.connecting for place in self._places if place.origin == origin)

    def _next_in_turn(self, indices: list[int]) -> int:
        """Smooth weighted round robin: each is owed its weight a turn, and who is chosen pays."""
        places = self._places
        total = 0.0
        for index in indices:
            places[index].credit += places[index].endpoint.weight
            total += places[index].endpoint.weight
        chosen = max(indices, key=lambda index: places[index].credit)
        places[chosen].credit -= total
        return chosen

    def joined(self, index: int) -> None:
        """A stream belongs to this endpoint."""
        self._places[index].streams += 1

    def left(self, index: int) -> None:
        """A stream belongs there no longer."""
        self._places[index].streams -= 1

    def moving(self, index: int, count: int) -> None:
        """A stream is about to move there (1), or has arrived or thought better of it (-1)."""
        self._places[index].moving += count

    def accepted(self, index: int, now: float) -> None:
        """The attempt was accepted."""
        place = self._places[index]
        place.connecting -= 1
        place.successes += 1
        self._succeeded(place, now)

    def event_seen(self, index: int, now: float) -> None:
        """A stream of this endpoint gave its first event: it does what it is there for."""
        self._succeeded(self._places[index], now)

    def failed(self, index: int, error: SSEError, now: float) -> None:
        """The attempt failed."""
        place = self._places[index]
        place.connecting -= 1
        place.failures += 1
        place.refusing = error.category != "usage" and not _is_its_fault(error)
        self._blame(place, error, now)

    def given_up(self, index: int) -> None:
        """The attempt ended without an answer: nobody wanted one any more."""
        self._places[index].connecting -= 1

    def lost(self, index: int, error: SSEError, now: float, *, lived: float, gave: bool) -> bool:
        """An accepted stream ended after ``lived`` seconds; ``gave``: it had given an event.

        Return whether the endpoint is to blame. Silence is a failure. An end is one if there was
        nothing before it: a server that accepts and drops is ill, one that rotates is not.
        """
        place = self._places[index]
        place.lost += 1
        silent = isinstance(error, IdleTimeout | HeartbeatTimeout)
        blamed = silent or not (gave or lived >= self._config.failback_after)
        if blamed:
            self._blame(place, error, now)
        return blamed

    # --- The breaker ---------------------------------------------------------------------------

    def _succeeded(self, place: _Place, now: float) -> None:
        if place.breaker is _OPEN:
            return  # an answer from before it broke
        place.failures_in_a_row = 0
        if place.refusing:
            place.refusing = False
            self._unsettled = True
        if place.healthy_since is None:
            place.healthy_since = now
        if place.breaker is _HALF_OPEN:
            place.successes_in_a_row += 1
            if place.successes_in_a_row >= self._config.successes:
                self._change(place, _CLOSED, now)

    def _blame(self, place: _Place, error: SSEError, now: float) -> None:
        place.last_error = error
        if not _is_its_fault(error):
            return
        place.failures_in_a_row += 1
        place.healthy_since = None
        place.failed_at = now
        self._unsettled = True
        enough = place.failures_in_a_row >= self._config.failures
        if place.breaker is _HALF_OPEN or (place.breaker is _CLOSED and enough):
            place.open_until = now + self._config.open_for
            place.returning = True
            self._change(place, _OPEN, now, error)

    def _change(
        self, place: _Place, new: BreakerState, now: float, error: SSEError | None = None
    ) -> None:
        old, place.breaker = place.breaker, new
        place.successes_in_a_row = 0
        place.changes += 1
        self.news.append(EndpointChanged(place.endpoint.name, old, new, now, error))


def _is_its_fault(error: SSEError) -> bool:
    """Whether a failure speaks against the endpoint, and not against this request or against us."""
    if isinstance(error, HTTPStatusError):
        return error.status >= 500 or error.status in (408, 429)
    return error.category != "usage"
