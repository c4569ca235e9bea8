"""What is counted, and the immutable snapshot of it that users and exporters see.

Counting happens per read, never per event: on the hot path it is four additions. Groups which many
connections never need (heartbeats, errors, durations) exist only once something happened, so that
ten thousand quiet streams do not carry them.

Times are the machine's own monotonic seconds; drivers turn them into wall-clock times in
``info()``.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from operator import add

__all__ = ["DURATION_BUCKETS", "ConnectionMetrics", "DurationSummary"]

DURATION_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds, in seconds, of the buckets of connect durations; a last bucket holds the rest."""


@dataclass(frozen=True, slots=True, repr=False)
class DurationSummary:
    """Durations in seconds.

    ``buckets[i]`` counts those at most ``DURATION_BUCKETS[i]``, not cumulated.

    >>> DurationSummary(2, 0.3, 0.1, 0.2, 0.2)
    <DurationSummary 2, 0.15 s on average, 0.1 to 0.2 s>
    """

    count: int = 0
    sum: float = 0.0
    min: float | None = None
    max: float | None = None
    last: float | None = None
    buckets: tuple[int, ...] = (0,) * (len(DURATION_BUCKETS) + 1)

    def __repr__(self) -> str:
        if not self.count:
            return "<DurationSummary 0>"
        average = f"{self.sum / self.count:.3g} s on average"
        return f"<DurationSummary {self.count}, {average}, {self.min:.3g} to {self.max:.3g} s>"


_NO_DURATIONS = DurationSummary()


@dataclass(frozen=True, slots=True, repr=False)
class ConnectionMetrics:
    """A snapshot of one connection's counters; every number only ever grows, except ``uptime``.

    >>> metrics = ConnectionMetrics(connect_attempts=2, connect_successes=1)
    >>> metrics.connect_success_rate
    50.0
    >>> metrics
    <ConnectionMetrics 1 of 2 connects, 0 events, 0 bytes>
    """

    connect_attempts: int = 0
    """First attempts of a ``connect()``."""
    connect_successes: int = 0
    connect_failures: int = 0
    reconnect_attempts: int = 0
    """Retries and restarts."""
    reconnect_successes: int = 0
    reconnect_failures: int = 0
    heartbeats_sent: int = 0
    heartbeats_succeeded: int = 0
    heartbeats_failed: int = 0
    bytes_received: int = 0
    """Body bytes of the stream, before decompression; heads and framing are not counted."""
    bytes_sent: int = 0
    """Body bytes of requests and posts, once a transport for them was open."""
    events_received: int = 0
    events_sent: int = 0
    """Posts answered with 2xx."""
    comments_received: int = 0
    events_dropped: int = 0
    """Events that were received but never handed out: overflow, or unread at ``close()``."""
    errors: Mapping[str, int] = field(default_factory=dict[str, int])
    """Errors by category."""
    connect_durations: DurationSummary = _NO_DURATIONS
    """Seconds from an attempt's begin to its acceptance."""
    uptime: float = 0.0
    """Seconds since the present stream was accepted; 0 while there is none."""
    longest_silence: float = 0.0
    """The longest time without a byte on an accepted stream, pauses of our own not counted."""
    last_connect: float | None = None
    last_disconnect: float | None = None
    last_event: float | None = None
    last_heartbeat: float | None = None

    @property
    def connect_success_rate(self) -> float:
        """Percent of all attempts, first and later, which were accepted; 0 before any."""
        attempts = self.connect_attempts + self.reconnect_attempts
        successes = self.connect_successes + self.reconnect_successes
        return 100.0 * successes / attempts if attempts else 0.0

    @property
    def heartbeat_success_rate(self) -> float:
        """Percent of pings answered in time, of those that are decided; 0 before any."""
        decided = self.heartbeats_succeeded + self.heartbeats_failed
        return 100.0 * self.heartbeats_succeeded / decided if decided else 0.0

    @classmethod
    def total(cls, snapshots: "Iterable[ConnectionMetrics]") -> "ConnectionMetrics":
        """Add up what several connections have counted.

        Times are the latest ones, ``uptime`` and ``longest_silence`` the longest.

        >>> one = ConnectionMetrics(connect_attempts=1, errors={"network": 2})
        >>> ConnectionMetrics.total([one, one]).errors
        {'network': 4}
        """
        counters, uptime = Counters(), 0.0
        for snapshot in snapshots:
            counters.add(snapshot)
            uptime = max(uptime, snapshot.uptime)
        return counters.snapshot(uptime)

    def __repr__(self) -> str:
        attempts = self.connect_attempts
        parts = [f"{self.connect_successes} of {counted(attempts, 'connect')}"]
        if self.reconnect_attempts:
            attempts = self.reconnect_attempts
            parts.append(f"{self.reconnect_successes} of {counted(attempts, 'reconnect')}")
        parts += [counted(self.events_received, "event"), counted(self.bytes_received, "byte")]
        for number, what in ((self.events_dropped, "dropped"), (self.events_sent, "sent")):
            if number:
                parts.append(f"{number} {what}")
        beats = self.heartbeats_sent
        if beats:
            parts.append(f"{self.heartbeats_succeeded} of {counted(beats, 'heartbeat')}")
        if self.errors:
            by_category = ", ".join(f"{n} {category}" for category, n in self.errors.items())
            parts.append(f"errors: {by_category}")
        if self.uptime:
            parts.append(f"up {self.uptime:.1f} s")
        return f"<ConnectionMetrics {', '.join(parts)}>"


def counted(number: int, what: str) -> str:
    """Return a number of things for people: the plural but for one."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


class Durations:
    """Durations while they are counted."""

    __slots__ = ("buckets", "count", "last", "max", "min", "sum")

    def __init__(self) -> None:
        self.count: int = 0
        self.sum: float = 0.0
        self.max: float = 0.0
        self.last: float = 0.0
        self.min: float = float("inf")
        self.buckets: list[int] = [0] * (len(DURATION_BUCKETS) + 1)

    def add_all(self, other: "Durations | DurationSummary") -> None:
        """Count those that another has counted, of which there are some."""
        self.count += other.count
        self.sum += other.sum
        self.last = other.last or 0.0
        self.min = min(self.min, other.min or 0.0)
        self.max = max(self.max, other.max or 0.0)
        self.buckets = list(map(add, self.buckets, other.buckets))

    def add(self, seconds: float) -> None:
        """Count one."""
        self.count += 1
        self.sum += seconds
        self.last = seconds
        self.min = min(self.min, seconds)
        self.max = max(self.max, seconds)
        self.buckets[bisect_left(DURATION_BUCKETS, seconds)] += 1

    def snapshot(self) -> DurationSummary:
        """Return what has been counted so far, unchangeable."""
        if not self.count:
            return _NO_DURATIONS
        return DurationSummary(
            self.count, self.sum, self.min, self.max, self.last, tuple(self.buckets)
        )


class Counters:
    """The living counters, one per connection, written by the machine and its driver."""

    __slots__ = (
        "bytes_received",
        "bytes_sent",
        "comments_received",
        "connect_attempts",
        "connect_durations",
        "connect_failures",
        "connect_successes",
        "errors",
        "events_dropped",
        "events_received",
        "events_sent",
        "heartbeats",
        "last_connect",
        "last_disconnect",
        "last_event",
        "longest_silence",
        "reconnect_attempts",
        "reconnect_failures",
        "reconnect_successes",
    )

    def __init__(self) -> None:
        self.connect_attempts: int = 0
        self.connect_successes: int = 0
        self.connect_failures: int = 0
        self.reconnect_attempts: int = 0
        self.reconnect_successes: int = 0
        self.reconnect_failures: int = 0
        self.bytes_received: int = 0
        self.bytes_sent: int = 0
        self.events_received: int = 0
        self.events_sent: int = 0
        self.events_dropped: int = 0
        self.comments_received: int = 0
        self.longest_silence: float = 0.0
        self.last_connect: float | None = None
        self.last_disconnect: float | None = None
        self.last_event: float | None = None
        # Most connections connect once: until there is a second one, it is just a number.
        self.connect_durations: Durations | float | None = None
        self.errors: dict[str, int] | None = None
        self.heartbeats: HeartbeatCounters | None = None

    def count_error(self, category: str) -> None:
        """Count one error."""
        if self.errors is None:
            self.errors = {}
        self.errors[category] = self.errors.get(category, 0) + 1

    def count_connect(self, seconds: float) -> None:
        """Count how long an accepted attempt took."""
        if self.connect_durations is None:
            self.connect_durations = seconds
        else:
            self.connect_durations = self._durations(self.connect_durations)
            self.connect_durations.add(seconds)

    def add(self, other: "Counters | ConnectionMetrics") -> None:
        """Add what another has counted to this."""
        # Written out: a set of ten thousand streams adds up all of them at each look.
        self.connect_attempts += other.connect_attempts
        self.connect_successes += other.connect_successes
        self.connect_failures += other.connect_failures
        self.reconnect_attempts += other.reconnect_attempts
        self.reconnect_successes += other.reconnect_successes
        self.reconnect_failures += other.reconnect_failures
        self.bytes_received += other.bytes_received
        self.bytes_sent += other.bytes_sent
        self.events_received += other.events_received
        self.events_sent += other.events_sent
        self.events_dropped += other.events_dropped
        self.comments_received += other.comments_received
        self.last_connect = _later(self.last_connect, other.last_connect)
        self.last_disconnect = _later(self.last_disconnect, other.last_disconnect)
        self.last_event = _later(self.last_event, other.last_event)
        self.longest_silence = max(self.longest_silence, other.longest_silence)
        # A copy, in one step: these may be written in another thread.
        if other.errors:
            self.errors = self.errors or {}
            for category, number in dict(other.errors).items():
                self.errors[category] = self.errors.get(category, 0) + number
        durations = other.connect_durations
        if isinstance(durations, Durations | DurationSummary):
            if durations.count:
                self.connect_durations = self._durations(self.connect_durations)
                self.connect_durations.add_all(durations)
        elif durations is not None:
            self.count_connect(durations)
        beats = _heartbeats_of(other)
        if beats.sent:
            if self.heartbeats is None:
                self.heartbeats = HeartbeatCounters()
            self.heartbeats.add(beats)

    def plus(self, other: "Counters") -> "Counters":
        """Return both together, in a third."""
        both = Counters()
        both.add(self)
        both.add(other)
        return both

    def _durations(self, counted: Durations | float | None) -> Durations:
        if isinstance(counted, Durations):
            return counted
        durations = Durations()
        if counted is not None:
            durations.add(counted)
        return durations

    def snapshot(self, uptime: float = 0.0) -> ConnectionMetrics:
        """Return what has been counted so far, unchangeable."""
        beats = self.heartbeats or _NO_HEARTBEATS
        return ConnectionMetrics(
            connect_attempts=self.connect_attempts,
            connect_successes=self.connect_successes,
            connect_failures=self.connect_failures,
            reconnect_attempts=self.reconnect_attempts,
            reconnect_successes=self.reconnect_successes,
            reconnect_failures=self.reconnect_failures,
            heartbeats_sent=beats.sent,
            heartbeats_succeeded=beats.succeeded,
            heartbeats_failed=beats.failed,
            bytes_received=self.bytes_received,
            bytes_sent=self.bytes_sent,
            events_received=self.events_received,
            events_sent=self.events_sent,
            comments_received=self.comments_received,
            events_dropped=self.events_dropped,
            errors=dict(self.errors or {}),
            connect_durations=_NO_DURATIONS
            if self.connect_durations is None
            else self._durations(self.connect_durations).snapshot(),
            uptime=uptime,
            longest_silence=self.longest_silence,
            last_connect=self.last_connect,
            last_disconnect=self.last_disconnect,
            last_event=self.last_event,
            last_heartbeat=beats.last,
        )


class HeartbeatCounters:
    """What became of pings; exists where heartbeats are enabled."""

    __slots__ = ("failed", "last", "sent", "succeeded")

    def __init__(self) -> None:
        self.sent: int = 0
        self.succeeded: int = 0
        self.failed: int = 0
        self.last: float | None = None

    def add(self, other: "HeartbeatCounters") -> None:
        """Add what another has counted to this."""
        self.sent += other.sent
        self.succeeded += other.succeeded
        self.failed += other.failed
        self.last = _later(self.last, other.last)


_NO_HEARTBEATS = HeartbeatCounters()


def _heartbeats_of(other: Counters | ConnectionMetrics) -> HeartbeatCounters:
    if isinstance(other, Counters):
        return other.heartbeats or _NO_HEARTBEATS
    beats = HeartbeatCounters()
    beats.sent, beats.last = other.heartbeats_sent, other.last_heartbeat
    beats.succeeded, beats.failed = other.heartbeats_succeeded, other.heartbeats_failed
    return beats


def _later(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else max(one, other)
