"""What is exported: one table of instruments, each with its names, its labels and how it is read.

Both exporters are made of this table, and so are the tests of the dashboard and of the docs. Labels
are bounded by construction: an instrument has the labels of its scope, and at most one more, whose
values are all listed here; any other value a program may come up with becomes ``other``.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from operator import attrgetter
from typing import Any, TypeAlias

from sansio_sse import (
    DURATION_BUCKETS,
    BreakerState,
    ConnectionInfo,
    ConnectionState,
    DurationSummary,
)

__all__ = ["INSTRUMENTS", "OTHER", "Instrument", "Kind", "Scope", "numbers_of", "zeros"]

OTHER = "other"
"""The label value of whatever is too much, or unknown."""

Value: TypeAlias = float | Mapping[str, float] | DurationSummary


class Kind(StrEnum):
    """How the numbers of an instrument behave, and how those of several sources are combined.

    >>> Kind.COUNTER.value
    'counter'
    """

    COUNTER = "counter"
    """Only grows; added up."""
    HISTOGRAM = "histogram"
    """Durations in buckets, which only grow; added up."""
    SUM = "sum"
    """Of now; added up."""
    HIGHEST = "highest"
    """Of now; the highest counts."""


class Scope(StrEnum):
    """What an instrument is about, and which labels it has for that.

    >>> Scope.CONNECTION.labels, Scope.POOL.labels
    (('origin', 'pool'), ('pool',))
    """

    CONNECTION = "connection"
    """Connections, and members of pools and sets; read from ``info()``."""
    ENDPOINT = "endpoint"
    """Endpoints of pools, and of connections which have several."""
    POOL = "pool"
    """Connection pools; read from ``stats()``."""
    SET = "set"
    """Stream sets; read from ``stats()``."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that tell which one it is."""
        return ("pool",) if self in (Scope.POOL, Scope.SET) else ("origin", "pool")


@dataclass(frozen=True, slots=True, eq=False)
class Instrument:
    """One thing that is measured.

    ``name`` is without prefix and suffix, ``unit`` as UCUM writes it, ``value`` reads it from what
    the scope is read from: a number, numbers by the values of ``label``, or a DurationSummary.
    """

    kind: Kind
    scope: Scope
    name: str
    unit: str
    help: str
    value: Callable[[Any], Value]
    label: str = ""
    values: tuple[str, ...] = ("",)

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of all labels."""
        return (*self.scope.labels, self.label) if self.label else self.scope.labels

    @property
    def cumulative(self) -> bool:
        """Whether it only grows."""
        return self.kind in (Kind.COUNTER, Kind.HISTOGRAM)

    @property
    def prometheus(self) -> str:
        """The name of the metric in Prometheus.

        >>> [row.prometheus for row in INSTRUMENTS if row.name == "received"]
        ['sse_client_received_bytes_total']
        """
        unit = {"s": "_seconds", "By": "_bytes", "1": "_ratio"}.get(self.unit, "")
        total = "_total" if self.kind is Kind.COUNTER else ""
        return f"sse_client_{self.name.replace('.', '_')}{unit}{total}"

    @property
    def opentelemetry(self) -> tuple[str, ...]:
        """The names in OpenTelemetry, where a histogram cannot be observed but its sum and count.

        >>> [row.opentelemetry for row in INSTRUMENTS if row.name == "pool.wait"]
        [('sse.client.pool.wait.time', 'sse.client.pool.wait.count')]
        """
        if self.kind is Kind.HISTOGRAM:
            return (f"sse.client.{self.name}.time", f"sse.client.{self.name}.count")
        return (f"sse.client.{self.name}",)


def numbers_of(instrument: Instrument, value: Value) -> dict[str, tuple[float, ...]]:
    """Return what an instrument shows for what it read, by the values of its own label.

    That is one number, or for a histogram the buckets (not cumulated) and the sum.
    """
    if isinstance(value, DurationSummary):
        return {"": (*value.buckets, value.sum)}
    if not isinstance(value, Mapping):
        return {"": (value,)}
    numbers: dict[str, tuple[float, ...]] = {}
    for name, number in value.items():
        known = name if name in instrument.values else OTHER
        numbers[known] = (number + numbers.get(known, (0,))[0],)
    return numbers


def zeros(instrument: Instrument) -> tuple[float, ...]:
    """Return what an instrument shows before anything happened."""
    return (0,) * (len(DURATION_BUCKETS) + 2 if instrument.kind is Kind.HISTOGRAM else 1)


def _event_age(info: ConnectionInfo) -> float:
    """Seconds since the latest event of a stream, or since it was accepted; without a clock."""
    if info.state is not ConnectionState.CONNECTED or info.last_connect is None:
        return 0.0
    since = 0.0 if info.last_event is None else max(0.0, info.last_event - info.last_connect)
    return max(0.0, info.uptime - since)


def _plain(scope: Scope, table: str) -> Iterator[Instrument]:
    """Yield the instruments that are a field of what the scope is read from."""
    for line in table.strip().splitlines():
        kind, name, unit, field, text = line.split(maxsplit=4)
        yield Instrument(Kind(kind), scope, name, unit, text, attrgetter(field))


_STATES = tuple(state.value for state in ConnectionState if state is not ConnectionState.CLOSED)
_BREAKERS = tuple(state.value for state in BreakerState)
_CATEGORIES = ("network", "timeout", "protocol", "usage", OTHER)
_REASONS = tuple("idle lifetime backlog room failed finished released closing".split())

_CONNECTIONS = (
    *_plain(
        Scope.CONNECTION,
        """
counter   connect.attempts    {attempt} metrics.connect_attempts    First attempts to connect.
counter   connect.successes   {attempt} metrics.connect_successes   First attempts, accepted.
counter   connect.failures    {attempt} metrics.connect_failures    First attempts, failed.
counter   reconnect.attempts  {attempt} metrics.reconnect_attempts  Retries and restarts.
counter   reconnect.successes {attempt} metrics.reconnect_successes Retries and restarts, accepted.
counter   reconnect.failures  {attempt} metrics.reconnect_failures  Retries and restarts, failed.
histogram connect.duration    s         metrics.connect_durations   From an attempt to accepted.
counter   heartbeats.sent     {ping}    metrics.heartbeats_sent     Pings sent.
counter   received            By        metrics.bytes_received      Body bytes, not decompressed.
counter   sent                By        metrics.bytes_sent          Body bytes of requests, posts.
counter   events.received     {event}   metrics.events_received     Events received.
counter   events.sent         {event}   metrics.events_sent         Posts answered with 2xx.
counter   events.dropped      {event}   metrics.events_dropped      Events never handed out.
counter   comments.received   {comment} metrics.comments_received   Comments received.
sum       events.buffered     {event}   buffered                    Events that wait for a reader.
highest   longest_silence     s         metrics.longest_silence     Longest time without a byte.
highest   retries             {attempt} reconnect_attempts          Most retries in a row now.
highest   missed_heartbeats   {ping}    missed_heartbeats           Most pings missed in a row now.
        """,
    ),
    Instrument(
        Kind.HIGHEST,
        Scope.CONNECTION,
        "oldest_event_age",
        "s",
        "Longest time that an accepted stream has been without an event, now.",
        _event_age,
    ),
    Instrument(
        Kind.COUNTER,
        Scope.CONNECTION,
        "errors",
        "{error}",
        "Errors by category.",
        attrgetter("metrics.errors"),
        "category",
        _CATEGORIES,
    ),
    Instrument(
        Kind.COUNTER,
        Scope.CONNECTION,
        "heartbeats",
        "{ping}",
        "Pings answered in time, or not.",
        lambda info: {
            "succeeded": info.metrics.heartbeats_succeeded,
            "failed": info.metrics.heartbeats_failed,
        },
        "result",
        ("succeeded", "failed"),
    ),
    Instrument(
        Kind.SUM,
        Scope.CONNECTION,
        "connections",
        "{connection}",
        "Connections that are not closed, by state.",
        lambda info: {} if info.state is ConnectionState.CLOSED else {info.state.value: 1},
        "state",
        _STATES,
    ),
)

_ENDPOINTS = (
    *_plain(
        Scope.ENDPOINT,
        """
sum     endpoint.healthy         {endpoint}   healthy         Endpoints that are healthy.
sum     endpoint.streams         {connection} streams         Streams there, or on their way.
counter endpoint.attempts        {attempt}    attempts        Attempts there.
counter endpoint.successes       {attempt}    successes       Attempts there, accepted.
counter endpoint.failures        {attempt}    failures        Attempts there, failed.
counter endpoint.lost            {connection} lost            Accepted streams that were lost.
counter endpoint.breaker_changes {change}     breaker_changes Changes of its circuit breaker.
        """,
    ),
    Instrument(
        Kind.SUM,
        Scope.ENDPOINT,
        "endpoint.breakers",
        "{endpoint}",
        "Endpoints by the state of their circuit breaker.",
        lambda stats: {stats.breaker.value: 1},
        "breaker",
        _BREAKERS,
    ),
)

_POOLS = (
    *_plain(
        Scope.POOL,
        """
sum       pool.max_size           {connection} max_size           Most members there may be.
sum       pool.healthy_members    {connection} healthy_count      Members with an accepted stream.
sum       pool.waiters            {waiter}     waiters            Callers who wait for a lease.
sum       pool.admission_waiters  {connection} admission_waiters  Members who wait to connect.
sum       pool.attempts_under_way {attempt}    attempts_under_way Attempts under way.
sum       pool.kept_transports    {transport}  kept_transports    Transports kept for a next stream.
counter   pool.acquire_requests   {request}    acquire_requests   Calls for a lease.
histogram pool.wait               s            waits              From a call to the lease.
histogram pool.hold               s            holds              From a lease to its release.
counter   pool.opens              {connection} opens              Members made.
counter   pool.reuses             {use}        reuses             Members and transports used again.
counter   pool.handshakes         {transport}  handshakes         Transports opened for streams.
counter   pool.unread_dropped     {event}      unread_dropped     Events that nobody was ever given.
counter   pool.moves              {connection} moves              Streams sent to a better endpoint.
        """,
    ),
    Instrument(
        Kind.HIGHEST,
        Scope.POOL,
        "pool.utilization",
        "1",
        "Part of max_size that is in use.",
        lambda stats: stats.utilization / 100.0,
    ),
    Instrument(
        Kind.SUM,
        Scope.POOL,
        "pool.members",
        "{connection}",
        "Members by what they are doing.",
        lambda stats: {
            "leased": stats.active,
            "idle": stats.idle,
            "connecting": stats.connecting,
            "failed": stats.failed,
        },
        "state",
        ("leased", "idle", "connecting", "failed"),
    ),
    Instrument(
        Kind.COUNTER,
        Scope.POOL,
        "pool.acquires",
        "{request}",
        "Calls for a lease by what became of them.",
        lambda stats: {
            "success": stats.acquire_successes,
            "timeout": stats.acquire_timeouts,
            "rejection": stats.acquire_rejections,
            "cancellation": stats.acquire_cancellations,
        },
        "outcome",
        ("success", "timeout", "rejection", "cancellation"),
    ),
    Instrument(
        Kind.COUNTER,
        Scope.POOL,
        "pool.closes",
        "{connection}",
        "Members closed, by reason.",
        attrgetter("closes"),
        "reason",
        (*_REASONS, OTHER),
    ),
)

_SETS = _plain(
    Scope.SET,
    """
sum     set.streams            {connection} total              Streams in a set.
sum     set.admission_waiters  {connection} admission_waiters  Streams that wait to connect.
sum     set.attempts_under_way {attempt}    attempts_under_way Attempts under way.
counter set.added              {connection} added              Streams added.
counter set.removed            {connection} removed            Streams removed.
    """,
)

INSTRUMENTS: tuple[Instrument, ...] = (*_CONNECTIONS, *_ENDPOINTS, *_POOLS, *_SETS)
"""All of them, in the order in which they are exported."""
