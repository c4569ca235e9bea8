"""What holders were given, and whether that is right."""

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from sansio_sse import (
    BreakerConfig,
    ConnectionConfig,
    PoolConfig,
    PoolStats,
    ReconnectionPolicy,
    Timeouts,
)

from .server import data_of, due

MEMBERS = 200
HOLDERS = 50
TENANTS = 90
CONNECTING = 40
PATIENCE = 15.0
"""Seconds that an acquire waits at most."""
SLACK = 2.0
"""Seconds by which a busy machine may be late."""
SCOPES = ["", *(f"tenant {number}" for number in range(TENANTS))]

Unread = Literal["keep", "drop", "close"]
_UNREAD: list[Unread] = ["keep", "drop", "close"]


def config(urls: list[str]) -> PoolConfig:
    return PoolConfig(
        urls,
        connection=ConnectionConfig(
            reconnection=ReconnectionPolicy(max_attempts=0, initial_delay=0.02, max_delay=0.3),
            timeouts=Timeouts(connect=1.0, response=1.0, idle=1.2),
            buffer_size=12,
        ),
        min_size=MEMBERS - TENANTS - 10,
        max_size=MEMBERS,
        max_connecting=CONNECTING,
        acquire_timeout=PATIENCE,
        max_idle=20.0,
        max_backlog_age=1.0,
        breaker=BreakerConfig(failures=3, successes=2, open_for=0.3, failback_after=0.5),
    )


@dataclass
class Step:
    """One turn of a holder: what it asks for, how it reads, how it gives back."""

    scope: str
    timeout: float
    """After which it does not want to wait any more; less than PATIENCE: to cancel in a race."""
    events: int
    seconds: float
    """How long it waits for each event; short ones are for being cancelled in the middle."""
    unread: Unread
    pause: float


def steps(seed: int, holder: int) -> Iterator[Step]:
    """Return what a holder does, for ever."""
    choose = random.Random(seed * 1000 + holder)
    while True:
        tenant = choose.randrange(2 * TENANTS)
        yield Step(
            scope=SCOPES[1 + tenant] if tenant < TENANTS else "",
            timeout=PATIENCE if choose.random() < 0.9 else choose.uniform(0.0, 0.02),
            events=choose.choice([0, 1, 3, 10, 30]),
            seconds=choose.choice([0.0, 0.003, 0.05, 0.3]),
            unread=choose.choices(_UNREAD, [94, 4, 2])[0],
            pause=choose.uniform(0.0, 0.15),
        )


@dataclass
class Member:
    """A member as its holders see it."""

    scope: str
    stream: str = ""
    position: int = 0
    held: bool = False
    gap: bool = False
    """Something may be missing: a holder has dropped what was unread."""


Outcome = Literal["granted", "timed out", "cancelled"]


@dataclass
class Book:
    """All that was seen; any thread may write."""

    members: dict[int, Member] = field(default_factory=dict[int, Member])
    streams: dict[str, int] = field(default_factory=dict[str, int])
    counts: Counter[str] = field(default_factory=Counter[str])
    wrong: list[str] = field(default_factory=list[str])
    longest: float = 0.0
    dropped: int = 0
    tries: int = 0
    """Acquires of the end, which were to try once and found nothing."""
    last: PoolStats = field(default_factory=PoolStats)
    lock: Any = field(default_factory=threading.Lock)

    def complain(self, kind: str, text: str) -> None:
        self.counts[kind] += 1
        self.wrong.append(f"{kind}: {text}")

    def waited(self, outcome: Outcome, began: float, step: Step) -> None:
        """An acquire has ended."""
        seconds = time.monotonic() - began
        with self.lock:
            self.counts["acquires"] += 1
            self.counts[outcome] += 1
            self.longest = max(self.longest, seconds)
            if seconds > step.timeout + SLACK:
                self.complain("stuck", f"an acquire within {step.timeout} took {seconds:.2f} s")
            if outcome == "timed out" and step.timeout == PATIENCE:
                self.complain("timeout", f"after {seconds:.2f} s")

    def begin(self, lease: Any, scope: str) -> int:
        """A lease begins; return who it is of."""
        number: int = lease.info().id
        with self.lock:
            member = self.members.setdefault(number, Member(scope))
            if member.held:
                self.complain("shared", f"member {number} has two holders")
            if member.scope != scope:
                self.complain("crossed", f"member {number} went from {member.scope} to {scope}")
            member.held = True
        return number

    def take(self, number: int, event: Any) -> int:
        """An event was handed out; return its position."""
        stream, _, position_text = event.id.rpartition(":")
        position = int(position_text)
        with self.lock:
            member = self.members[number]
            self.counts["events"] += 1
            if not member.stream and self.streams.setdefault(stream, number) != number:
                self.complain("crossed", f"{stream} belongs to another member")
            if stream != (member.stream or stream):
                # It began anew although it knew where it was.
                self.complain("lost", f"{member.stream}:{member.position} became {event.id}")
                member.position = position - 1
            member.stream = stream
            expected = member.position + 1
            if position > expected and member.gap:
                self.dropped += position - expected
            elif position > expected:
                self.complain("lost", f"{event.id} came where {expected} was due")
            elif position < expected:
                self.complain("duplicated", f"{event.id} came where {expected} was due")
            if event.data != data_of(stream, position):
                self.complain("damaged", event.id)
            member.position, member.gap = position, False
        return position

    def end(self, number: int, unread: Unread) -> None:
        """A lease is about to end."""
        with self.lock:
            member = self.members[number]
            member.held = False
            if unread == "drop":
                member.gap = True

    def failed(self, error: BaseException) -> None:
        with self.lock:
            self.complain("error", f"{type(error).__name__}: {error}")

    def behind(self, number: int, now: float) -> bool:
        """Whether there is more of a member's stream than it has given by now."""
        member = self.members[number]
        return not member.stream or member.position < due(member.stream, now)

    def check_stats(self, stats: PoolStats) -> None:
        """What is always true of a pool's numbers."""
        ended = (
            stats.acquire_successes
            + stats.acquire_timeouts
            + stats.acquire_rejections
            + stats.acquire_cancellations
        )
        places = stats.endpoints
        for name, true in {
            "sizes": stats.total == stats.active + stats.idle + stats.connecting + stats.failed,
            "max_size": stats.total <= stats.max_size,
            "opens": stats.opens - sum(stats.closes.values()) == stats.total,
            "acquires": stats.acquire_requests == ended + stats.waiters,
            "waits": stats.waits.count == stats.acquire_successes,
            "holds": stats.acquire_successes - stats.holds.count == stats.active + stats.failed,
            "healthy": stats.healthy_count <= stats.total,
            "admission": stats.attempts_under_way <= stats.peak_connecting <= CONNECTING,
            "streams": stats.healthy_count + stats.attempts_under_way
            <= sum(place.streams for place in places)
            <= stats.total,
            "connecting": sum(place.connecting for place in places) == stats.attempts_under_way,
            "attempts": all(
                place.attempts >= place.successes + place.failures + place.connecting
                for place in places
            ),
            "rejections": stats.acquire_rejections == 0,
            "failed": stats.failed == 0,
        }.items():
            if not true:
                with self.lock:
                    self.complain("stats", f"{name}: {stats}")

    # --- The end -------------------------------------------------------------------------------

    def settled(self, stats: PoolStats, held: int) -> None:
        """All is quiet, and all members are in one hand."""
        self.check_stats(stats)
        self.counts["members"] = held
        timeouts = self.tries + self.counts["timed out"]
        for name, true in {
            "held": stats.active == held == stats.total,
            "waiters": stats.waiters == 0,
            # One may be granted, and cancelled before its holder hears of it.
            "cancelled": stats.acquire_successes + stats.acquire_cancellations
            == self.counts["granted"] + self.counts["cancelled"] + held,
            "granted": stats.acquire_successes >= self.counts["granted"] + held,
            "timeouts": stats.acquire_timeouts == timeouts,
            "dropped": self.dropped <= stats.unread_dropped,
        }.items():
            if not true:
                self.complain("stats", f"{name}, at the end: {self.counts} {stats}")

    def closed(self, stats: PoolStats) -> None:
        """The pool is closed."""
        self.check_stats(stats)
        for place in stats.endpoints:
            self.counts["attempts"] += place.attempts
            self.counts["streams lost"] += place.lost
        # The latest error of an endpoint holds the member that met it.
        self.last = replace(stats, endpoints=())
        if stats.total or stats.attempts_under_way or stats.admission_waiters:
            self.complain("stats", f"when closed: {stats}")

    def left(self, what: str, number: int) -> None:
        """This many are left over."""
        if number > 0:
            self.complain("leaked", f"{number} {what}")

    def report(self) -> str:
        """Return what happened, in a few lines, and the first things that were wrong."""
        counts, stats = self.counts, self.last
        closes = ", ".join(f"{number} {reason}" for reason, number in sorted(stats.closes.items()))
        lines = [
            f"  servers    {counts['kills']} kills, {counts['freezes']} frozen for a while",
            f"  members    {counts['members']} at the end, {stats.opens} opened; closed: {closes}",
            f"  attempts   {counts['attempts']}, {stats.peak_connecting} at a time at most;"
            f" {counts['streams lost']} streams lost,"
            f" {stats.moves} moved, {stats.breaker_changes} changes of breakers",
            f"  acquires   {counts['acquires']}: {counts['granted']} granted,"
            f" {counts['cancelled']} cancelled in a race, {counts['timed out']} tried for"
            f" a moment; longest wait {self.longest:.3f} s",
            f"  events     {counts['events']} in {len(self.streams)} streams;"
            f" {stats.unread_dropped} thrown away unread: by holders, with a member, or to be"
            f" read again",
            "  wrong      "
            + ", ".join(
                f"{counts[kind]} {kind}"
                for kind in (
                    *("lost", "duplicated", "damaged", "crossed", "shared", "silent"),
                    *("stuck", "timeout", "error", "unhandled", "stats", "leaked"),
                )
            ),
        ]
        lines += [f"    {text[:400]}" for text in self.wrong[:10]]
        return "\n".join(lines)
