"""The two faces of a ``ConnectionPool``, and of what it returns."""

from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any

from .actions import Event
from .endpoints import EndpointChanged
from .faces import AsyncWatch, SyncWatch
from .group import Spec
from .group_faces import AsyncGroupFace, AsyncIteration, SyncGroupFace, SyncIteration
from .leases import AsyncLease, SyncLease
from .machine_driver import Watcher
from .members import MemberChanged
from .pool_driver import PoolChange, PoolDriver
from .sharing import Merge, Reader

__all__ = [
    "AsyncAcquiring",
    "AsyncConnectionPool",
    "AsyncMerged",
    "AsyncSubscription",
    "SyncConnectionPool",
    "SyncMerged",
    "SyncSubscription",
]


class _Subscription:
    __slots__ = ("_hub", "_pool", "_reader")

    def __init__(self, pool: Any, reader: Reader) -> None:
        self._pool = pool
        self._reader = reader

    @property
    def dropped(self) -> int:
        """How many events this reader lost because it was slow."""
        return self._reader.dropped

    def close(self) -> None:
        """Read no more; harmless when repeated."""
        with self._pool._guard:
            self._reader.close()

    def __del__(self) -> None:
        reader = getattr(self, "_reader", None)
        if reader is not None and reader._hub is not None:
            self._pool._from_elsewhere(reader.close)


class AsyncSubscription(_Subscription, AsyncIteration[Any]):
    """One of several readers of a stream: an async iterator of events, and a context manager."""

    __slots__ = ()

    async def receive(self, timeout: float | None = None) -> Any:
        """Return the next event; cancelled or timed out, it loses nothing."""
        pool = self._pool
        return await pool._run(self._reader.waiting(pool._now, timeout))

    _next = receive


class SyncSubscription(_Subscription, SyncIteration[Any]):
    """One of several readers of a stream: an iterator of events, and a context manager."""

    __slots__ = ()

    def receive(self, timeout: float | None = None) -> Any:
        """Return the next event; timed out, it loses nothing."""
        pool = self._pool
        return pool._run(self._reader.waiting(pool._now, timeout))

    _next = receive


class _Merged:
    __slots__ = ("_merge", "_pool")

    def __init__(self, pool: Any, merge: Merge) -> None:
        self._pool = pool
        self._merge = merge

    def close(self) -> None:
        """Give the members back; harmless when repeated."""
        with self._pool._guard:
            self._merge.close()

    def __del__(self) -> None:
        merge = getattr(self, "_merge", None)
        if merge is not None and not merge.over:
            self._pool._from_elsewhere(merge.close)


class AsyncMerged(_Merged, AsyncIteration[Event]):
    """The events of several members in turn: an async iterator, and a context manager."""

    __slots__ = ()

    async def _next(self) -> Event:
        found: tuple[Any, Event] = await self._pool._run(self._merge.waiting())
        return found[1]


class SyncMerged(_Merged, SyncIteration[Event]):
    """The events of several members in turn: an iterator, and a context manager."""

    __slots__ = ()

    def _next(self) -> Event:
        found: tuple[Any, Event] = self._pool._run(self._merge.waiting())
        return found[1]


class AsyncAcquiring(AbstractAsyncContextManager[AsyncLease]):
    """``await`` it for a lease, or enter it with ``async with`` for a lease that ends with it."""

    __slots__ = ("_lease", "_pool", "_single", "_spec", "_timeout")

    def __init__(
        self, pool: "AsyncConnectionPool", spec: Spec, timeout: float | None, *, single: bool
    ) -> None:
        self._pool = pool
        self._spec = spec
        self._timeout = timeout
        self._single = single
        self._lease: AsyncLease | None = None

    def __await__(self) -> Any:
        return self._acquire().__await__()

    async def _acquire(self) -> AsyncLease:
        pool = self._pool
        waiting = pool._acquiring(self._spec, self._timeout, single=self._single)
        return AsyncLease(pool, await pool._run(waiting))

    async def __aenter__(self) -> AsyncLease:
        self._lease = await self._acquire()
        return self._lease

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._lease is not None
        await self._pool._leave(self._lease)


class AsyncConnectionPool(
    AsyncGroupFace, PoolDriver[AsyncAcquiring, AsyncMerged, AsyncSubscription]
):
    """The coroutines of a ``ConnectionPool``, over the verbs of its driver."""

    __slots__ = ()

    def changes(self) -> AsyncWatch[PoolChange]:
        """Return an iterator over changes of members and endpoints, from now on."""
        return AsyncWatch(self, self._watch(Watcher((MemberChanged, EndpointChanged))))

    async def aclose(self, grace: float = 0.0) -> None:
        """Close, and wait until everything is released."""
        self.close(grace)
        await self.wait_closed()

    def _acquisition(self, spec: Spec, timeout: float | None, *, single: bool) -> AsyncAcquiring:
        return AsyncAcquiring(self, spec, timeout, single=single)

    def _merged(self, merge: Merge) -> AsyncMerged:
        return AsyncMerged(self, merge)

    def _subscription(self, reader: Reader) -> AsyncSubscription:
        return AsyncSubscription(self, reader)

    async def _leave(self, lease: AsyncLease) -> None:
        """End a lease; what is finite may read its rest first, so that its transport is of use."""
        hold = lease._hold
        try:
            if not hold.over and hold.single:
                await hold.member._run(hold.finishing())
        finally:
            if not hold.over:
                self._give_back(hold)


class SyncConnectionPool(SyncGroupFace, PoolDriver[SyncLease, SyncMerged, SyncSubscription]):
    """The plain calls of a ``ConnectionPool``, over the verbs of its driver and two more.

    ============================ ===================================================================
    ``_run(waiting)``            run something that is waited for
    ``_catch_up()``              take what has come while nobody was here
    ============================ ===================================================================
    """

    __slots__ = ()

    def changes(self) -> SyncWatch[PoolChange]:
        """Return an iterator over changes of members and endpoints, from now on."""
        return SyncWatch(self, self._watch(Watcher((MemberChanged, EndpointChanged))))

    def _acquisition(self, spec: Spec, timeout: float | None, *, single: bool) -> SyncLease:
        waiting = self._acquiring(spec, timeout, single=single)
        if self._opened and not (single or self._closing):
            self._catch_up()  # a member that was lost meanwhile must not be taken for a healthy one
        return SyncLease(self, self._run(waiting))

    def _merged(self, merge: Merge) -> SyncMerged:
        return SyncMerged(self, merge)

    def _subscription(self, reader: Reader) -> SyncSubscription:
        return SyncSubscription(self, reader)

    def _leave(self, lease: SyncLease) -> None:
        """End a lease; what is finite may read its rest first, so that its transport is of use."""
        hold = lease._hold
        try:
            if not hold.over and hold.single:
                hold.member._run(hold.finishing())
        finally:
            if not hold.over:
                self._give_back(hold)

    def _catch_up(self) -> None:
        """Take what has come while nobody was here. Optional."""
