"""Leases: the reading face of a pool's connection, for one holder at a time.

A lease reads its connection and nothing else. It cannot close, restart or disconnect it, because
the next holder gets the same one. When it is over, whoever still uses it is told so, also if he is
in the middle of waiting; what he was waiting for goes to the next holder.
"""

from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

from .actions import StateChanged
from .driver import ConnectionInfo, PostResponse
from .errors import ConnectionClosed, SSEError
from .faces import AsyncWatch, SyncWatch
from .group import MemberDriver
from .http import HeadersInput, Response
from .machine_driver import Waiting, Watcher
from .members import Unread
from .metrics import ConnectionMetrics
from .states import ConnectionState
from .timeline import StateSpan

__all__ = ["AsyncLease", "Backlog", "Hold", "SyncLease"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Backlog:
    """What was unread when a lease began: how many events, and the age of the oldest in seconds."""

    count: int
    age: float


class Hold:
    """A lease as the pool knows it; it does not keep the holder's own object alive."""

    __slots__ = ("backlog", "member", "number", "over", "single")

    def __init__(self, number: int, member: MemberDriver, backlog: Backlog) -> None:
        self.number: int = number
        self.member: Any = member
        self.backlog: Backlog = backlog
        self.over: bool = False
        self.single: bool = False

    def check(self) -> None:
        """Raise if the lease is over."""
        if self.over:
            raise ConnectionClosed("the lease has ended")

    def guarded(self, waiting: Waiting[T]) -> Waiting[T]:
        """Wait for something, as long as the lease lasts."""
        self.check()
        try:
            while True:
                try:
                    until = next(waiting)
                except StopIteration as done:
                    result: T = done.value
                    return result
                yield until
                self.check()
        finally:
            waiting.close()

    def finishing(self) -> Waiting[None]:
        """Wait until the rest of a body that ended well is read, a second at most."""
        while not self.over and self.member._machine.draining:
            yield None


class _Lease:
    """What both faces of a lease have in common."""

    __slots__ = ("__weakref__", "_hold", "_pool")

    def __init__(self, pool: Any, hold: Hold) -> None:
        self._pool: Any = pool
        self._hold = hold

    # Look

    @property
    def ended(self) -> bool:
        """Whether the lease is over."""
        return self._hold.over

    @property
    def backlog(self) -> Backlog:
        """What was unread when the lease began: a count, and seconds."""
        return self._hold.backlog

    @property
    def state(self) -> ConnectionState:
        """Where the stream is in its life. While it is reconnecting, it heals within the lease."""
        self._hold.check()
        state: ConnectionState = self._hold.member.state
        return state

    @property
    def last_event_id(self) -> str:
        """The cursor of what was handed out, by this lease and those before it."""
        self._hold.check()
        cursor: str = self._hold.member.last_event_id
        return cursor

    @property
    def received_event_id(self) -> str:
        """The cursor of what has been received."""
        self._hold.check()
        cursor: str = self._hold.member.received_event_id
        return cursor

    @property
    def response(self) -> Response | None:
        """Status, headers and HTTP version of the latest accepted response."""
        self._hold.check()
        response: Response | None = self._hold.member.response
        return response

    @property
    def metrics(self) -> ConnectionMetrics:
        """The connection's counters, over all its leases."""
        self._hold.check()
        metrics: ConnectionMetrics = self._hold.member.metrics
        return metrics

    def info(self) -> ConnectionInfo:
        """Return the connection at a glance, with wall-clock times."""
        self._hold.check()
        info: ConnectionInfo = self._hold.member.info()
        return info

    def timeline(self) -> tuple[StateSpan, ...]:
        """Return which states the connection has been in, also before this lease."""
        self._hold.check()
        timeline: tuple[StateSpan, ...] = self._hold.member.timeline()
        return timeline

    def event_failed(self, error: SSEError) -> None:
        """Tell the connection's errors of an event that is of no use; see ``Connection``."""
        self._hold.check()
        self._hold.member.event_failed(error)

    def release(self, unread: Unread = "keep") -> None:
        """Give the connection back; see ``ConnectionPool.release``."""
        self._pool.release(self, unread=unread)

    def __repr__(self) -> str:
        state = "ended" if self._hold.over else self._hold.member.state.value
        return f"<{type(self).__name__} of member {self._hold.member._member} {state}>"

    def __del__(self) -> None:
        hold = getattr(self, "_hold", None)
        if hold is not None and not hold.over:
            self._pool._lease_lost(hold)

    # What the iterators of changes and errors ask for.

    def _unwatch(self, watcher: Watcher[Any]) -> None:
        self._hold.member._unwatch(watcher)

    def _watching(self, watcher: Watcher[T]) -> Waiting[T]:
        return self._hold.guarded(self._hold.member._watching(watcher))


class AsyncLease(_Lease):
    """A connection of a pool, for one holder: an async iterator of events, until it is released.

    An async context manager, which releases it. Once it is over, every use of it raises
    :class:`~sansio_sse.errors.ConnectionClosed`, and a loop over it ends.
    """

    __slots__ = ()

    async def __aenter__(self) -> Self:
        self._hold.check()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._pool._leave(self)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            hold = self._hold
            if hold.over or hold.member._reading_now:
                return await self.receive()
            event = hold.member._poll()
            return await self.receive() if event is None else event
        except ConnectionClosed:
            raise StopAsyncIteration from None

    async def receive(self, timeout: float | None = None) -> Any:
        """Return the next event; cancelled or timed out, it loses nothing.

        Raises what ``Connection.receive`` raises, and
        :class:`~sansio_sse.errors.ConnectionClosed` when the lease is over.
        """
        hold = self._hold
        hold.check()
        return await hold.member._run(hold.guarded(hold.member._receiving(timeout)))

    async def wait_for(self, state: ConnectionState, timeout: float | None = None) -> None:
        """Return when ``state`` is reached, however briefly, or is the present one."""
        hold = self._hold
        hold.check()
        await hold.member._run(hold.guarded(hold.member._waiting_for(state, timeout)))

    async def post(
        self,
        path_or_url: str,
        *,
        method: str = "POST",
        headers: HeadersInput = None,
        content: bytes | str | None = None,
        json: Any = None,
    ) -> PostResponse:
        """Send something up, beside the stream; see ``Connection.post``."""
        hold = self._hold
        hold.check()
        waiting = hold.member._posting(path_or_url, method, headers, content, json)
        response: PostResponse = await hold.member._run(hold.guarded(waiting))
        return response

    def state_changes(self) -> AsyncWatch[StateChanged]:
        """Return an iterator over state changes, the first with old == new: the present state."""
        self._hold.check()
        return AsyncWatch(self, self._hold.member._watch_states())

    def errors(self) -> AsyncWatch[SSEError]:
        """Return an iterator over every error from now on, whatever follows from it."""
        self._hold.check()
        return AsyncWatch(self, self._hold.member._watch(Watcher(SSEError)))

    async def _run(self, waiting: Waiting[T]) -> T:
        result: T = await self._hold.member._run(waiting)
        return result


class SyncLease(_Lease):
    """A connection of a pool, for one holder: an iterator of events, until it is released.

    A context manager, which releases it. Once it is over, every use of it raises
    :class:`~sansio_sse.errors.ConnectionClosed`, and a loop over it ends. Its holder turns its
    connection's crank, and nobody else.
    """

    __slots__ = ()

    def __enter__(self) -> Self:
        self._hold.check()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool._leave(self)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        try:
            hold = self._hold
            hold.check()
            event = hold.member._look()
            return self.receive() if event is None else event
        except ConnectionClosed:
            raise StopIteration from None

    def receive(self, timeout: float | None = None) -> Any:
        """Return the next event; timed out, it loses nothing.

        Raises what ``Connection.receive`` raises, and
        :class:`~sansio_sse.errors.ConnectionClosed` when the lease is over.
        """
        hold = self._hold
        hold.check()
        return hold.member._run(hold.guarded(hold.member._receiving(timeout)))

    def wait_for(self, state: ConnectionState, timeout: float | None = None) -> None:
        """Return when ``state`` is reached, however briefly, or is the present one."""
        hold = self._hold
        hold.check()
        hold.member._run(hold.guarded(hold.member._waiting_for(state, timeout)))

    def post(
        self,
        path_or_url: str,
        *,
        method: str = "POST",
        headers: HeadersInput = None,
        content: bytes | str | None = None,
        json: Any = None,
    ) -> PostResponse:
        """Send something up, beside the stream; see ``Connection.post``."""
        hold = self._hold
        hold.check()
        waiting = hold.member._posting(path_or_url, method, headers, content, json)
        response: PostResponse = hold.member._run(hold.guarded(waiting))
        return response

    def state_changes(self) -> SyncWatch[StateChanged]:
        """Return an iterator over state changes, the first with old == new: the present state."""
        self._hold.check()
        return SyncWatch(self, self._hold.member._watch_states())

    def errors(self) -> SyncWatch[SSEError]:
        """Return an iterator over every error from now on, whatever follows from it."""
        self._hold.check()
        return SyncWatch(self, self._hold.member._watch(Watcher(SSEError)))

    def _run(self, waiting: Waiting[T]) -> T:
        result: T = self._hold.member._run(waiting)
        return result
