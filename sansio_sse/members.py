"""The members of a pool: the states of their lives, what a pool asks for, what it tells.

A *member* is one connection of a pool, known by its number; the pool machine never holds one.
Unlike a connection's state, a member's state says who has it: nobody, somebody, or (while it has no
stream) nobody yet.

``FAILED`` needs a holder: a member which fails for good while nobody has it is closed at once, and
replaced where one is wanted. While somebody has it, it stays, so that he is given its error; it
goes with his lease. A member that is *lost* and reconnects stays LEASED, because it heals within
the lease.

The picture in the docs is drawn from the table below, and the model tests check that every trace of
a pool is a walk of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from .endpoints import EndpointChanged, EndpointStats
from .errors import SSEError
from .metrics import DurationSummary

__all__ = [
    "MEMBER_TRANSITIONS",
    "Admit",
    "CloseKept",
    "CloseMember",
    "CloseReason",
    "EndLease",
    "GrantLease",
    "MemberChanged",
    "MemberState",
    "OpenMember",
    "PauseMember",
    "PoolAction",
    "PoolStats",
    "RejectWaiter",
    "RestartMember",
    "Unread",
]


class MemberState(StrEnum):
    """Where a member of a pool is in its life.

    >>> MemberState.LEASED.value
    'leased'
    """

    CONNECTING = "connecting"
    """It has no stream (yet, or again), and nobody has it."""
    IDLE = "idle"
    """It has a stream, and nobody has it."""
    LEASED = "leased"
    """Somebody has it."""
    FAILED = "failed"
    """Somebody has it, and it has failed for good."""
    CLOSED = "closed"
    """It is no member any more."""


_S = MemberState

MEMBER_TRANSITIONS: Mapping[MemberState, Mapping[MemberState, str]] = MappingProxyType(
    {
        _S.CONNECTING: MappingProxyType(
            {
                _S.IDLE: "accepted",
                _S.LEASED: "accepted, somebody waits",
                _S.CLOSED: "failed, evicted",
            }
        ),
        _S.IDLE: MappingProxyType(
            {
                _S.LEASED: "acquire()",
                _S.CONNECTING: "lost, restarted",
                _S.CLOSED: "evicted, failed",
            }
        ),
        _S.LEASED: MappingProxyType(
            {
                _S.IDLE: "release()",
                _S.CONNECTING: "release() while lost",
                _S.FAILED: "failed for good",
                _S.CLOSED: "release() and no more use",
            }
        ),
        _S.FAILED: MappingProxyType({_S.CLOSED: "release()"}),
        _S.CLOSED: MappingProxyType({}),
    }
)
"""Old state -> new state -> why, in a few words. What is not here cannot happen."""

Unread = Literal["keep", "drop", "close"]
"""What a release does with events that were not read: leave them to the next lease of the same
scope, throw them away, or close the member."""

CloseReason = Literal[
    "idle", "lifetime", "backlog", "room", "failed", "finished", "released", "closing"
]
"""Why a pool closed a member: nobody used it for ``max_idle``; it was old; its backlog was, and
there are no ids to go on from; its place was needed for another scope; it failed for good; its
stream ended; its holder wanted that, or it was for one use; the pool is closing."""

# --- What a pool asks for ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OpenMember:
    """Make a connection for ``key`` which asks for admission, and begin."""

    member: int
    key: Any = field(repr=False)  # it may hold headers


@dataclass(frozen=True, slots=True)
class Admit:
    """Let a member's attempt begin, at the endpoint with this position."""

    member: int
    attempt: int
    endpoint: int
    keep_cursor: bool


@dataclass(frozen=True, slots=True)
class CloseMember:
    """Close its connection; it is no member any more, and what it says is not listened to."""

    member: int
    reason: CloseReason


@dataclass(frozen=True, slots=True)
class PauseMember:
    """Stop reading: its buffer is full, and nobody reads it. Reading on is its next reader's."""

    member: int


@dataclass(frozen=True, slots=True)
class RestartMember:
    """Connect anew; ``drop``: from the cursor of what was delivered, without what is unread."""

    member: int
    drop: bool


@dataclass(frozen=True, slots=True)
class GrantLease:
    """A waiter has a member now; its unread events are ``backlog_age`` seconds old at most."""

    waiter: Any = field(repr=False)
    lease: int
    member: int
    backlog_age: float


@dataclass(frozen=True, slots=True)
class RejectWaiter:
    """A waiter waits in vain."""

    waiter: Any = field(repr=False)
    error: SSEError


@dataclass(frozen=True, slots=True)
class EndLease:
    """A lease is over although its holder did not release it."""

    lease: int
    member: int


@dataclass(frozen=True, slots=True)
class CloseKept:
    """Close a transport that was kept for later."""

    transport: int


# --- What a pool tells -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MemberChanged:
    """A member went from one state to another; ``endpoint`` is redacted."""

    member: int
    old: MemberState | None
    """None: it is new."""
    new: MemberState
    at: float
    endpoint: str | None = None
    reason: CloseReason | None = None
    error: SSEError | None = None


PoolAction: TypeAlias = (
    OpenMember
    | Admit
    | CloseMember
    | PauseMember
    | RestartMember
    | GrantLease
    | RejectWaiter
    | EndLease
    | CloseKept
    | MemberChanged
    | EndpointChanged
)
"""What a :class:`~sansio_sse.pool.PoolMachine` answers."""


@dataclass(frozen=True, slots=True, repr=False)
class PoolStats:
    """A pool at a glance. Sizes are of now, counters only grow, durations are seconds.

    >>> stats = PoolStats(max_size=10, total=4, active=3, idle=1, healthy_count=4, waiters=2)
    >>> stats, stats.utilization
    (<PoolStats 3 in use of 4, at most 10, 4 healthy, 2 waiting>, 30.0)
    """

    max_size: int = 0
    total: int = 0
    """Members: active, idle, connecting and failed together."""
    active: int = 0
    """Leased."""
    idle: int = 0
    connecting: int = 0
    failed: int = 0
    healthy_count: int = 0
    """Members with an accepted stream, leased or not."""
    waiters: int = 0
    admission_waiters: int = 0
    """Members that wait for the admission limit, or for an endpoint."""
    attempts_under_way: int = 0
    acquire_requests: int = 0
    acquire_successes: int = 0
    acquire_timeouts: int = 0
    acquire_rejections: int = 0
    """Waiters that were told of an error: every endpoint failed, or the pool was closed."""
    acquire_cancellations: int = 0
    waits: DurationSummary = field(default_factory=DurationSummary)
    """From ``acquire`` to the lease."""
    holds: DurationSummary = field(default_factory=DurationSummary)
    """From the lease to its release."""
    opens: int = 0
    """Members that were made."""
    closes: Mapping[str, int] = field(default_factory=dict[str, int])
    """Members that were closed, by reason."""
    reuses: int = 0
    """Leases of a member that had been leased before, and streams on a transport that had carried
    one."""
    handshakes: int = 0
    """Transports that were opened for streams."""
    kept_transports: int = 0
    """Transports that wait for a next stream."""
    unread_dropped: int = 0
    """Events of members that nobody was ever given."""
    moves: int = 0
    """Streams sent from a healthy endpoint to a better one, to stay or only to try it out."""
    peak_connecting: int = 0
    """The most attempts there ever were under way."""
    breaker_changes: int = 0
    endpoints: Sequence[EndpointStats] = ()

    @property
    def utilization(self) -> float:
        """Percent of ``max_size`` that are in use."""
        return 100.0 * (self.active + self.failed) / self.max_size if self.max_size else 0.0

    def __repr__(self) -> str:
        parts = [f"{self.active} in use of {self.total}", f"at most {self.max_size}"]
        parts.append(f"{self.healthy_count} healthy")
        numbers = (
            (self.connecting, "connecting"),
            (self.failed, "failed"),
            (self.waiters, "waiting"),
            (self.acquire_timeouts, "timed out"),
        )
        parts += [f"{number} {what}" for number, what in numbers if number]
        parts += [f"{each.endpoint} {each.breaker.value}" for each in self.endpoints[:_SHOWN]]
        if len(self.endpoints) > _SHOWN:
            parts.append(f"{len(self.endpoints) - _SHOWN} more endpoints")
        return f"<PoolStats {', '.join(parts)}>"


_SHOWN = 5  # endpoints
