"""What the live page shows, kept while it happens: bounded, and without a clock of its own.

A :class:`Board` is told events and an observer's news, looks at its connections every now and then,
and makes one state of it all: nested dicts of JSON values, numbered where things come and go, so
that two states in a row differ by little (see :mod:`.patches`).

Times are seconds since 1970, as a caller gives them. What servers say is cut to length, and control
characters in it are made visible; it stays *text*: how text is put on a page is the page's concern.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from sansio_sse import (
    ConnectionInfo,
    ConnectionState,
    EndpointChanged,
    EndpointStats,
    ErrorOccurred,
    MemberChanged,
    MemberState,
    PoolStats,
    ScheduleReconnect,
    ServerSentEvent,
    SSEError,
    StateChanged,
    StateSpan,
    __version__,
)

from ..terminal import duration, escape

__all__ = ["WINDOW", "Board", "Source"]

WINDOW = 60
"""For how many seconds rates and gaps are kept, one number a second."""

_CONNECTS = 20  # connect durations kept for each stream
_FEED = 200  # entries
_LATEST = 400  # events for all streams together, if there are few ...
_LATEST_EACH = (4, 40)  # ... and for each of them at least, and at most
_DATA = 400  # characters of an event that are shown
_NAME = 80  # characters of its type and id
_LOOKED_AT = 1 << 14  # characters in which secrets are searched before they are cut

_State = dict[str, Any]


class Source(Protocol):
    """A connection, or a member of a pool: what a row of the page is made of."""

    def info(self) -> ConnectionInfo:
        """Return it at a glance."""
        ...

    def timeline(self) -> tuple[StateSpan, ...]:
        """Return its states so far."""
        ...


class Board:
    """The state of the page.

    Args:
        sources: Returns the connections that there are now.
        pool: Returns the stats of the pool that they belong to, if they do.
        hide: Takes secrets out of a text.
    """

    def __init__(
        self,
        sources: Callable[[], Iterable[Source]],
        pool: Callable[[], PoolStats] | None = None,
        hide: Callable[[str], str] = str,
    ) -> None:
        self._sources = sources
        self._pool = pool
        self._hide = hide
        self._rows: dict[int, _Row] = {}
        self._numbers = 0
        self._feed: dict[str, _State] = {}
        self._entries = 0
        self._uses = _Seconds(max)
        self._about: _State = {
            "version": __version__,
            "window": WINDOW,
            "mode": "streams" if pool is None else "pool",
        }

    # --- What happened ---------------------------------------------------------------------------

    def events_of(self, source: Source) -> Callable[[ServerSentEvent, float], None]:
        """Return what is to be called with each event of a connection, and the time."""
        return self._row(source.info()).event

    def news(self, source: Any, news: object, at: float) -> None:
        """An observer was told something."""
        match news:
            case StateChanged():
                self._state_changed(self._row(source.info()), news, at)
            case ErrorOccurred(error):
                self._failed(self._row(source.info()), error, at, "error")
            case ScheduleReconnect(error=SSEError() as error):
                how = f"retry {news.attempt} in {duration(news.delay)}"
                self._failed(self._row(source.info()), error, at, "retry", how)
            case EndpointChanged():
                text = f"breaker {_words(news.new)} for {news.endpoint}"
                self._tell(at, "breaker", text, cause=news.error, breaker=news.new.value)
            case MemberChanged(new=MemberState.CLOSED | MemberState.FAILED):
                text = f"member {news.member} {_words(news.new)}"
                if news.reason is not None:
                    text += f" ({news.reason})"
                self._tell(at, "member", text, cause=news.error)
            case _:
                pass

    def _state_changed(self, row: "_Row", change: StateChanged, at: float) -> None:
        row.moved = True
        match change.new:
            case ConnectionState.CONNECTED:
                if row.lost_at is not None:
                    took = duration(max(0.0, at - row.lost_at))
                    self._tell(at, "recovered", f"connected after {took}", row)
                row.lost_at = row.failure = None
            case ConnectionState.RECONNECTING:
                if row.lost_at is None:
                    row.lost_at = at
                if change.error is not None:
                    self._failed(row, change.error, at, "error")
            case ConnectionState.ERROR if change.error is not None:
                self._failed(row, change.error, at, "failed", "failed for good")
            case ConnectionState.DISCONNECTED | ConnectionState.CLOSED if self._pool is None:
                self._tell(at, "ended", f"{change.new.value}: the stream has ended", row)
            case _:
                pass

    def _failed(
        self, row: "_Row", error: SSEError, at: float, kind: str, text: str = "error"
    ) -> None:
        """Tell of a failure once, however many pieces of news it has; the gravest decides.

        One that is like the last, without a success between them, takes its place and counts: a
        server that is down for a night leaves room for others.
        """
        last, first, times = row.failure, at, 1
        if last is not None and (last.error is error or last.is_like(error)):
            if last.error is error and kind == "error":
                return
            first, times = last.first, last.times + (last.error is not error)
            self._feed = {key: entry for key, entry in self._feed.items() if key != last.number}
        more = {"first": _rounded(first), "times": times} if times > 1 else {}
        number = self._tell(at, kind, text, row, error, **more)
        row.failure = _Failure(error, number, first, times)

    def _tell(
        self,
        at: float,
        kind: str,
        text: str,
        row: "_Row | None" = None,
        cause: SSEError | None = None,
        **more: str | float,
    ) -> str:
        entry: _State = {"at": _rounded(at), "kind": kind, "text": self._shown(text, _DATA), **more}
        if row is not None:
            entry["who"] = row.number
        if cause is not None:
            entry["cause"] = self._shown(cause.message, _DATA)
            entry["error"] = type(cause).__name__
        self._entries += 1
        number = str(self._entries)
        self._feed = _latest({**self._feed, number: entry}, _FEED)
        return number

    # --- Looking ---------------------------------------------------------------------------------

    def look(self, at: float, viewers: _State | None = None) -> _State:
        """Look at everything and return the state of the page; parts are shared with the last."""
        sources = [(source, source.info()) for source in self._sources()]
        seen = [(self._row(info), source, info) for source, info in sources]
        self._rows = {row.id: row for row, _, _ in seen}  # who has gone is forgotten
        each = min(max(_LATEST // max(1, len(seen)), _LATEST_EACH[0]), _LATEST_EACH[1])
        state: _State = {
            "now": _rounded(at),
            "about": self._about,
            "viewers": viewers or {},
            "streams": {
                str(row.number): row.look(source, info, at, self._shown, each)
                for row, source, info in seen
            },
            "feed": self._feed,
        }
        if self._pool is not None:
            stats = self._pool()
            self._uses.put(at, stats.utilization)
            state["pool"] = {**_pool(stats), "use": self._uses.look(at)}
            state["endpoints"] = {
                str(place): self._endpoint(endpoint)
                for place, endpoint in enumerate(stats.endpoints)
            }
        return state

    def _row(self, info: ConnectionInfo) -> "_Row":
        row = self._rows.get(info.id)
        if row is None:
            self._numbers += 1
            row = self._rows[info.id] = _Row(info.id, self._numbers)
        return row

    def _endpoint(self, stats: EndpointStats) -> _State:
        found: _State = {
            "url": self._shown(stats.endpoint, 200),
            "breaker": stats.breaker.value,
            "healthy": stats.healthy,
            "streams": stats.streams,
            "connecting": stats.connecting,
            "attempts": stats.attempts,
            "successes": stats.successes,
            "failures": stats.failures,
            "lost": stats.lost,
            "changes": stats.breaker_changes,
        }
        if stats.last_error is not None:
            found["error"] = self._shown(stats.last_error.message, _DATA)
        return found

    def _shown(self, text: str, most: int) -> str:
        """Return a text as it may be seen: without secrets, with all that is invisible, cut."""
        # Secrets first: of one that is cut in half, half would be seen.
        text = self._hide(text[:_LOOKED_AT])
        cut = text[:most]
        return escape(cut, keep="\n\t") + ("…" if len(text) > most else "")


@dataclass(frozen=True, slots=True)
class _Failure:
    """A failure in the feed: of the same kind ``times`` in a row, the first at ``first``."""

    error: SSEError
    number: str
    first: float
    times: int

    def is_like(self, error: SSEError) -> bool:
        return type(self.error) is type(error) and self.error.message == error.message


class _Row:
    """What is kept of one connection."""

    def __init__(self, id: int, number: int) -> None:
        self.id = id
        self.number = number
        self.moved = True  # its timeline has to be looked at
        self.lost_at: float | None = None
        self.failure: _Failure | None = None  # the latest since it was connected
        self._spans: dict[str, _State] = {}
        self._rates = _Seconds(lambda old, new: old + new)
        self._gaps = _Seconds(max)
        self._connects: dict[str, float] = {}
        self._events = 0
        self._came: float | None = None  # when the latest event did
        self._waiting: deque[tuple[float, ServerSentEvent]] = deque(maxlen=_LATEST_EACH[1])
        self._latest: dict[str, _State] = {}
        self._shown = 0

    def event(self, event: ServerSentEvent, at: float) -> None:
        if self._came is not None:
            self._gaps.put(at, _rounded(max(0.0, at - self._came)))
        self._came = at
        if len(event.data) + len(event.event) + len(event.id) > _LOOKED_AT:
            # Not the event itself: of many megabytes only a beginning is shown.
            kind, data, id = (text[:_LOOKED_AT] for text in (event.event, event.data, event.id))
            event = ServerSentEvent(kind, data, id)
        self._waiting.append((at, event))
        self._shown += 1

    def look(
        self,
        source: Source,
        info: ConnectionInfo,
        at: float,
        shown: Callable[[str, int], str],
        latest: int,
    ) -> _State:
        metrics = info.metrics
        if self.moved:
            self._spans = _numbered(self._spans, source.timeline(), shown)
            self.moved = False
        received, self._events = metrics.events_received - self._events, metrics.events_received
        if received:
            self._rates.put(at, received)
        connects = metrics.connect_durations
        if connects.last is not None and str(connects.count) not in self._connects:
            took = _rounded(connects.last, 6)
            self._connects = _latest({**self._connects, str(connects.count): took}, _CONNECTS)
        if self._waiting.maxlen != latest:
            self._waiting = deque(self._waiting, latest)
        if self._waiting or len(self._latest) > latest:
            self._show(shown, latest)
        state: _State = {
            "name": shown(info.name or info.url, 200),  # a pool's member moves between urls
            "state": info.state.value,
            "spans": self._spans,
            "events": metrics.events_received,
            "rate": self._rates.look(at),
            "gaps": self._gaps.look(at),
            "connects": self._connects,
            "latest": self._latest,
            "reconnects": metrics.reconnect_successes,
            "failures": metrics.connect_failures + metrics.reconnect_failures,
            "errors": sum(metrics.errors.values()),
            "bytes": metrics.bytes_received,
            "dropped": metrics.events_dropped,
            "attempt": info.reconnect_attempts,
        }
        if info.last_event is not None:
            state["last"] = _rounded(info.last_event, 1)
        if info.next_reconnect is not None:
            state["next"] = _rounded(info.next_reconnect, 1)
        return state

    def _show(self, shown: Callable[[str, int], str], latest: int) -> None:
        number = self._shown - len(self._waiting)
        found = dict(self._latest)
        for at, event in self._waiting:
            number += 1
            entry: _State = {
                "at": _rounded(at),
                "type": shown(event.event, _NAME),
                "data": shown(event.data, _DATA),
            }
            if event.id:
                entry["id"] = shown(event.id, _NAME)
            found[str(number)] = entry
        self._waiting.clear()
        self._latest = _latest(found, latest)


class _Seconds:
    """One number for each of the latest seconds in which there was one."""

    def __init__(self, merge: Callable[[float, float], float]) -> None:
        self._merge = merge
        self._found: dict[str, float] = {}
        self._pending: dict[str, float] = {}

    def put(self, at: float, value: float) -> None:
        second = str(int(at))
        found = self._pending.get(second)
        if found is None:
            found = self._found.get(second)
        self._pending[second] = value if found is None else self._merge(found, value)
        if len(self._pending) > 2 * WINDOW:
            self._settle(at)

    def look(self, at: float) -> dict[str, float]:
        """Return the numbers by their seconds; the same object if nothing has changed."""
        # A clock that was set back leaves numbers in the future: they go too.
        if self._pending or any(not self._is_recent(second, at) for second in self._found):
            self._settle(at)
        return self._found

    def _settle(self, at: float) -> None:
        found = self._found | self._pending
        self._pending = {}
        self._found = {
            second: value for second, value in found.items() if self._is_recent(second, at)
        }

    def _is_recent(self, second: str, at: float) -> bool:
        return int(at) - WINDOW < int(second) <= int(at)


def _numbered(
    old: dict[str, _State], spans: tuple[StateSpan, ...], shown: Callable[[str, int], str]
) -> dict[str, _State]:
    """Return a timeline by numbers that a span keeps while older ones are forgotten."""
    found = [_span(span, shown) for span in spans]
    first = 1
    if old:
        number, last = next(reversed(old.items()))
        first = int(number) + 1  # as if all were new
        for place in range(len(found) - 1, -1, -1):
            if _is_same(found[place], last):
                first = max(1, int(number) - place)
                break
    return {str(first + place): span for place, span in enumerate(found)}


def _is_same(one: _State, other: _State) -> bool:
    # Wall-clock times of one moment, taken twice, differ in their last digits.
    same: bool = one["state"] == other["state"] and abs(one["began"] - other["began"]) < 0.002
    return same


def _span(span: StateSpan, shown: Callable[[str, int], str]) -> _State:
    found: _State = {"state": span.state.value, "began": _rounded(span.began)}
    if span.ended is not None:
        found["ended"] = _rounded(span.ended)
    if span.cause:
        found["cause"] = shown(span.cause, _DATA)
    return found


def _pool(stats: PoolStats) -> _State:
    return {
        "size": stats.max_size,
        "total": stats.total,
        "active": stats.active,
        "idle": stats.idle,
        "connecting": stats.connecting,
        "failed": stats.failed,
        "healthy": stats.healthy_count,
        "waiters": stats.waiters,
        "utilization": _rounded(stats.utilization, 1),
        "requests": stats.acquire_requests,
        "timeouts": stats.acquire_timeouts,
        "opens": stats.opens,
        "moves": stats.moves,
        "breaker_changes": stats.breaker_changes,
    }


def _latest(entries: dict[str, Any], most: int) -> dict[str, Any]:
    """Return the last entries of a dict."""
    if len(entries) <= most:
        return entries
    return dict(list(entries.items())[-most:])


def _rounded(number: float, digits: int = 3) -> float:
    return round(number, digits)


def _words(state: str) -> str:
    return state.replace("_", " ")
