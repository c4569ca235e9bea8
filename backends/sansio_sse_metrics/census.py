"""What all connections, pools and sets together have counted, for an exporter to show.

A connection ends, a member comes and goes between two looks, a stream fails over to another origin:
the sums must only ever grow all the same. So nothing is summed up from scratch. Each source has a
*ledger* of what was last read from it, and whatever has been added since goes to the totals, under
the labels that hold at this moment. Totals stay when their source is gone.

Sources are held until they are closed and have been read twice after that (a reader may still drop
what it never read), or until they are removed; by then nothing of them is left but their share of
the totals.

An exporter looks from another thread. Sources are read without a lock of ours, because a pool may
have one of its own and call us while holding it; only the arithmetic is locked, and readings that
arrive out of order do no harm, because a ledger never goes back. Each reading of one source is of
one moment; those of different sources are a few microseconds apart.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from operator import add
from types import SimpleNamespace
from typing import Any, TypeAlias

from sansio_sse import (
    ConnectionDriver,
    ConnectionInfo,
    ConnectionMetrics,
    ConnectionState,
    ErrorOccurred,
    Origin,
    PoolDriver,
    StateChanged,
    StreamSetDriver,
)
from sansio_sse.errors import redact_text

from .instruments import INSTRUMENTS, OTHER, Instrument, Kind, Scope, numbers_of, zeros

__all__ = ["MAX_PLACES", "Census", "Listener", "News", "Source", "Survey"]

MAX_PLACES = 100
"""How many pairs of origin and pool are told apart, and how many pools; the rest is ``other``."""

Source: TypeAlias = ConnectionDriver[Any] | PoolDriver[Any, Any, Any] | StreamSetDriver[Any]
"""What can be followed: connections, pools and stream sets of any driver."""

Place: TypeAlias = tuple[str, ...]
"""The values of a scope's labels."""

News: TypeAlias = StateChanged | ErrorOccurred
"""The news at which the numbers of a connection are read between two surveys."""

Listener: TypeAlias = Callable[[ConnectionDriver[Any], News, ConnectionInfo, str], object]
"""``listener(connection, news, info, origin)``: told of connections, members among them."""

Series: TypeAlias = tuple[Instrument, Place]
"""An instrument and the values of all its labels."""
Numbers: TypeAlias = tuple[float, ...]
_CLOSED = ConnectionState.CLOSED
_MAX_NAME = 60  # characters of a pool's name
_MAX_ORIGIN = 300  # a host's name has at most 253
_SWEEP = 256  # connections held before it is looked which of them are closed
_COUNTERS: Mapping[Scope, Sequence[Instrument]] = {
    scope: [row for row in INSTRUMENTS if row.scope is scope and row.cumulative] for scope in Scope
}
_GAUGES: Mapping[Scope, Sequence[Instrument]] = {
    scope: [row for row in INSTRUMENTS if row.scope is scope and not row.cumulative]
    for scope in Scope
}


class Survey:
    """All numbers of a moment."""

    __slots__ = ("_numbers",)

    def __init__(self, numbers: Mapping[Series, Numbers]) -> None:
        self._numbers: dict[Instrument, list[tuple[Place, Numbers]]] = {}
        for (row, labels), value in numbers.items():
            self._numbers.setdefault(row, []).append((labels, value))

    def of(self, instrument: Instrument) -> Sequence[tuple[Place, Numbers]]:
        """Return the values of an instrument's labels, and the numbers under each.

        That is one number, or for a histogram the buckets (not cumulated) and the sum.
        """
        return self._numbers.get(instrument, ())


class _Ledger:
    """What was last read of one thing."""

    __slots__ = ("numbers", "values")

    def __init__(self) -> None:
        self.values: list[Any] = []  # as they were read: most have not changed by the next time
        self.numbers: dict[tuple[Instrument, str], Numbers] = {}


class _Entry:
    """A connection that is followed, on its own or as a member."""

    __slots__ = ("closed", "connection", "endpoints", "ledger", "origin", "url")

    def __init__(self, connection: ConnectionDriver[Any]) -> None:
        self.connection: ConnectionDriver[Any] = connection
        self.ledger = _Ledger()
        self.endpoints: dict[int, _Ledger] = {}
        self.url: str | None = None
        self.origin = OTHER
        self.closed = False  # it was already when it was last looked for


class _Followed:
    """A source, the connections it stands for, and its observer."""

    __slots__ = ("_census", "endpoints", "entries", "ledger", "pool", "source")

    def __init__(self, census: "Census", source: Source, pool: str) -> None:
        self._census = census
        self.source: Source = source
        self.pool: str = pool
        self.entries: dict[int, _Entry] = {}
        self.ledger: _Ledger = _Ledger()
        self.endpoints: dict[int, _Ledger] = {}

    def heard(self, source: Any, news: object) -> None:
        """Observe: what was counted until now belongs to where the connection is now."""
        if isinstance(news, StateChanged | ErrorOccurred):
            self._census.heard(self, source, news)


class Census:
    """Follows sources, and sums up what they count; see the module's text.

    :param listener: told of state changes and errors, on the driver's own thread.
    """

    __slots__ = (
        "_followed",
        "_held",
        "_known",
        "_limit",
        "_listener",
        "_lock",
        "_places",
        "_pools",
        "_totals",
    )

    def __init__(self, listener: Listener | None = None) -> None:
        self._listener = listener
        # A garbage collection in the midst of it may end a lease, and that be told to us.
        self._lock = threading.RLock()
        self._followed: dict[int, _Followed] = {}
        self._held = 0  # connections
        self._limit = _SWEEP
        self._places: dict[Scope, dict[Place, None]] = {scope: {} for scope in Scope}
        self._known: set[Place] = set()
        self._pools: set[str] = set()
        self._totals: dict[Series, Numbers] = {}

    # --- What is followed ----------------------------------------------------------------------

    def add(self, *sources: Source) -> None:
        """Follow sources, from what they have counted so far; one that is followed is no mistake.

        Raises TypeError for anything else than connections, pools and stream sets.
        """
        for source in sources:
            if not isinstance(source, ConnectionDriver | PoolDriver | StreamSetDriver):
                kind = type(source).__name__
                raise TypeError(f"not a connection, pool or stream set: {kind}")
        for source in sources:
            if id(source) not in self._followed:
                self._follow(source)

    def remove(self, *sources: Source) -> None:
        """Follow sources no more; what they have counted stays. One unknown is no mistake.

        A source which is added again is counted again from its beginning.
        """
        for source in sources:
            followed = self._followed.get(id(source))
            if followed is not None:
                source.unobserve(followed.heard)
                self._look_at(followed, {})
                self._forget(followed)

    def clear(self) -> None:
        """Remove all sources."""
        self.remove(*(followed.source for followed in tuple(self._followed.values())))

    def _follow(self, source: Source) -> None:
        alone = isinstance(source, ConnectionDriver)
        followed = _Followed(self, source, "" if alone else self._pool_name(source.name))
        self._followed[id(source)] = followed
        source.observe(followed.heard)
        if isinstance(source, ConnectionDriver):
            self._enter(followed, source)
        else:
            for member in source.members():
                self._enter(followed, member)
            self._count_departed(followed, source.metrics)
        self._look_at(followed, {})

    def _enter(self, followed: _Followed, connection: ConnectionDriver[Any]) -> None:
        with self._lock:
            # A driver may still be telling us what happened when its source is removed already.
            removed = self._followed.get(id(followed.source)) is not followed
            if removed or id(connection) in followed.entries:
                return
            followed.entries[id(connection)] = _Entry(connection)
            self._held += 1
        if self._held > self._limit:
            self._sweep()

    def _count_departed(self, followed: _Followed, metrics: ConnectionMetrics) -> None:
        """Count what members had counted that were gone before we came: nobody knows where."""
        present = _Ledger()
        attempts = 0.0
        for entry in tuple(followed.entries.values()):
            self._look(followed, entry, None)
            for key, numbers in entry.ledger.numbers.items():
                known = present.numbers.get(key, zeros(key[0]))
                present.numbers[key] = tuple(map(add, numbers, known))
                attempts += numbers[0] if key[0].name == "connect.attempts" else 0
        if metrics.connect_attempts > attempts:
            everybody = SimpleNamespace(metrics=metrics)
            self._account(Scope.CONNECTION, everybody, (OTHER, followed.pool), present, None)

    # --- Labels --------------------------------------------------------------------------------

    def _pool_name(self, name: str | None) -> str:
        """Return what a pool is called: short, printable, without the credentials of a url."""
        shown = redact_text(str(name or ""))[:_MAX_NAME]
        with self._lock:
            if shown not in self._pools and len(self._pools) >= MAX_PLACES:
                return OTHER
            self._pools.add(shown)
        return shown

    def _place(self, origin: str, pool: str) -> Place:
        place = (origin, pool)
        with self._lock:
            if place not in self._known and len(self._known) >= MAX_PLACES:
                return OTHER, pool
            self._known.add(place)
        return place

    # --- Reading -------------------------------------------------------------------------------

    def survey(self) -> Survey:
        """Read all sources now."""
        gauges: dict[Series, Numbers] = {}
        for followed in tuple(self._followed.values()):
            self._look_at(followed, gauges)
            self._let_go_of_closed(followed)
        with self._lock:
            return Survey({**self._zero_gauges(), **gauges, **self._totals})

    def _look_at(self, followed: _Followed, gauges: dict[Series, Numbers]) -> None:
        for entry in tuple(followed.entries.values()):
            self._look(followed, entry, gauges)
        source, place = followed.source, (followed.pool,)
        if isinstance(source, PoolDriver):
            stats = source.stats()
            self._account(Scope.POOL, stats, place, followed.ledger, gauges)
            self._account_endpoints(stats.endpoints, followed.pool, followed.endpoints, gauges)
        elif isinstance(source, StreamSetDriver):
            self._account(Scope.SET, source.stats(), place, followed.ledger, gauges)

    def _look(
        self, followed: _Followed, entry: _Entry, gauges: dict[Series, Numbers] | None
    ) -> tuple[ConnectionInfo, str]:
        info = entry.connection.info()
        if info.url != entry.url:
            entry.url, entry.origin = info.url, _origin(info.url)
        place = self._place(entry.origin, followed.pool)
        self._account(Scope.CONNECTION, info, place, entry.ledger, gauges)
        self._account_endpoints(info.endpoints, followed.pool, entry.endpoints, gauges)
        return info, place[0]

    def _account_endpoints(
        self,
        endpoints: Sequence[Any],
        pool: str,
        ledgers: dict[int, _Ledger],
        gauges: dict[Series, Numbers] | None,
    ) -> None:
        for number, endpoint in enumerate(endpoints):
            place = self._place(_origin(endpoint.endpoint), pool)
            ledger = ledgers.get(number) or ledgers.setdefault(number, _Ledger())
            self._account(Scope.ENDPOINT, endpoint, place, ledger, gauges)

    def _account(
        self,
        scope: Scope,
        subject: Any,
        place: Place,
        ledger: _Ledger,
        gauges: dict[Series, Numbers] | None,
    ) -> None:
        """Add what a snapshot shows more than the last one; what is of now goes to ``gauges``."""
        counters = _COUNTERS[scope]
        values = [row.value(subject) for row in counters]
        with self._lock:
            self._settle(scope, place)
            if values != ledger.values:
                ledger.values = values
                for row, value in zip(counters, values, strict=True):
                    self._grow(row, place, ledger, value)
            if gauges is not None:
                for row in _GAUGES[scope]:
                    _gauge(row, place, row.value(subject), gauges)

    def _settle(self, scope: Scope, place: Place) -> None:
        """Begin all counters of a place at zero, so that their first step is seen as one."""
        if place not in self._places[scope]:
            self._places[scope][place] = None
            for series in _all_series(_COUNTERS[scope], place):
                self._totals[series] = zeros(series[0])

    def _grow(self, row: Instrument, place: Place, ledger: _Ledger, value: Any) -> None:
        for label, numbers in numbers_of(row, value).items():
            before = ledger.numbers.get((row, label)) or zeros(row)
            if numbers == before:
                continue
            # A snapshot may be older than the last one: it was taken first, and came second.
            now = ledger.numbers[row, label] = tuple(map(max, before, numbers))
            series = row, (*place, label) if row.label else place
            self._totals[series] = tuple(
                total + (new - old)  # never less than it was, whatever rounding does
                for total, new, old in zip(self._totals[series], now, before, strict=True)
            )

    def _zero_gauges(self) -> dict[Series, Numbers]:
        return {
            series: zeros(series[0])
            for scope, places in self._places.items()
            for place in places
            for series in _all_series(_GAUGES[scope], place)
        }

    # --- What comes and goes -------------------------------------------------------------------

    def heard(self, followed: _Followed, connection: ConnectionDriver[Any], news: News) -> None:
        """Take note of a state change or an error."""
        if connection.state is not _CLOSED:
            self._enter(followed, connection)
        entry = followed.entries.get(id(connection))
        if entry is not None:  # else its share has been counted
            info, origin = self._look(followed, entry, None)
            if self._listener is not None:
                self._listener(connection, news, info, origin)

    def _sweep(self) -> None:
        """Let go of what is closed, where no survey has done it for long.

        Called by drivers, so it must not touch pools: they have locks of their own.
        """
        for followed in tuple(self._followed.values()):
            for entry in tuple(followed.entries.values()):
                if entry.connection.state is _CLOSED:
                    self._look(followed, entry, None)
            self._let_go_of_closed(followed)
        self._limit = max(_SWEEP, 2 * self._held)

    def _let_go_of_closed(self, followed: _Followed) -> None:
        for entry in tuple(followed.entries.values()):
            if not entry.closed:
                entry.closed = entry.connection.state is _CLOSED
            elif entry.connection is followed.source:
                followed.source.unobserve(followed.heard)
                self._forget(followed)
            else:
                self._forget_entries(followed, entry)

    def _forget(self, followed: _Followed) -> None:
        with self._lock:
            self._forget_entries(followed, *followed.entries.values())
            self._followed.pop(id(followed.source), None)

    def _forget_entries(self, followed: _Followed, *entries: _Entry) -> None:
        with self._lock:
            for entry in entries:
                if followed.entries.pop(id(entry.connection), None) is not None:
                    self._held -= 1


def _origin(url: str) -> str:
    origin = str(Origin.of(url))
    return origin if len(origin) <= _MAX_ORIGIN else OTHER


def _all_series(rows: Sequence[Instrument], place: Place) -> list[Series]:
    return [(row, (*place, value) if row.label else place) for row in rows for value in row.values]


def _gauge(row: Instrument, place: Place, value: Any, gauges: dict[Series, Numbers]) -> None:
    if not value:
        return  # all begin at zero
    for label, (number,) in numbers_of(row, value).items():
        series = row, (*place, label) if row.label else place
        (known,) = gauges.get(series, (0,))
        gauges[series] = (known + number if row.kind is Kind.SUM else max(known, number),)
