"""Pools and sets of connections over an HTTP client: all tasks in one group, or a thread each.

The client has connections of its own to keep: a pool here counts streams, not transports.
"""

import queue
import random
import sys
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any, ClassVar, Self

import anyio
import anyio.abc

from sansio_sse import (
    NO_SLOTS,
    AsyncConnectionPool,
    AsyncStreamSet,
    Log,
    MemberDriver,
    SyncConnectionPool,
    SyncGroupDriver,
    SyncMemberDriver,
    SyncStreamSet,
)

from .client import AsyncClient, Client
from .logs import LOG
from .loop import LoopVerbs
from .tasks import AsyncClientConnection
from .threads import LONG, ClientConnection, News

__all__ = ["AsyncClientPool", "AsyncClientStreamSet", "ClientPool", "ClientStreamSet"]


class _Borrowed:
    """A client whose owner closes it."""

    __slots__ = ("exchange", "tells")

    def __init__(self, client: Any) -> None:
        self.exchange: Any = client.exchange
        self.tells: bool = client.tells

    async def aclose(self) -> None:
        pass

    def close(self) -> None:
        pass


# --- Tasks ---------------------------------------------------------------------------------------


class AsyncMember(MemberDriver, AsyncClientConnection[Any]):
    """A connection of a pool or a set."""

    __slots__ = MemberDriver.SLOTS

    def _set_up(self) -> None:
        super()._set_up()
        group: Any = self._group
        self._client = _Borrowed(group._client)
        self._nursery = group._nursery


class _AsyncGroup(LoopVerbs):
    """What a pool and a set have in common here."""

    __slots__ = NO_SLOTS

    SLOTS: ClassVar[tuple[str, ...]] = ("__weakref__", "_client", *LoopVerbs.SLOTS)

    _client: AsyncClient
    _start_now: Any
    _check_idle: Any

    def _set_up(self) -> None:
        self._set_up_loop()

    def _new_member(self) -> AsyncMember:
        return AsyncMember.__new__(AsyncMember)

    async def __aenter__(self) -> Self:
        self._check_idle()
        return await super().__aenter__()

    async def open(self, task_group: anyio.abc.TaskGroup) -> Self:
        """Enter without a block, with tasks in ``task_group``; ``aclose()`` ends them."""
        self._check_idle()
        self._nursery = task_group
        await self._enter()
        return self

    async def _enter(self) -> None:
        self._start()
        self._start_now()

    async def _close_client(self) -> None:
        await self._client.aclose()

    def _gone(self) -> bool:
        return not self._tasks


class AsyncClientPool(_AsyncGroup, AsyncConnectionPool):
    """A pool of event streams: an async context manager. A subclass sets ``_client``.

    Its other arguments are those of :class:`~sansio_sse.pool_driver.PoolDriver`. ``acquire`` and
    ``stream`` wait, ``release`` and ``close`` do not.
    """

    __slots__ = _AsyncGroup.SLOTS

    async def aclose(self, grace: float = 0.0) -> None:
        """Close, and wait until everything is released."""
        try:
            if grace:
                await AsyncConnectionPool.aclose(self, grace)
        finally:
            with anyio.CancelScope(shield=True):  # all tasks are cancelled: it takes no time
                await AsyncConnectionPool.aclose(self)

    def _drop_link(self, link: Any) -> None:
        raise AssertionError("the client keeps connections, not the pool")

    def _warn(self, text: str) -> None:
        warnings.warn(text, ResourceWarning, stacklevel=2)


class AsyncClientStreamSet(_AsyncGroup, AsyncStreamSet):
    """Event streams with different urls: an async context manager. A subclass sets ``_client``.

    Its other arguments are those of :class:`~sansio_sse.stream_set.StreamSetDriver`.
    """

    __slots__ = _AsyncGroup.SLOTS

    async def aclose(self) -> None:
        """Close, and wait until everything is released."""
        with anyio.CancelScope(shield=True):  # all tasks are cancelled: it takes no time
            await AsyncStreamSet.aclose(self)


# --- Threads -------------------------------------------------------------------------------------


class Member(SyncMemberDriver, ClientConnection[Any]):
    """A connection of a pool or a set."""

    __slots__ = MemberDriver.SLOTS

    def _set_up(self) -> None:
        super()._set_up()
        group: Any = self._group
        self._client = _Borrowed(group._client)

    def _put(self, news: News) -> None:
        super()._put(news)
        group: Any = self._group
        if self._member in group._shared:  # else its holder looks after it
            group._bell.put(self)

    def _can_turn(self) -> bool:
        return True

    def _urgency(self) -> float | None:
        return 0 if self._commands or not self._news.empty() else None


class _Group(SyncGroupDriver):
    """What a pool and a set have in common here."""

    __slots__ = NO_SLOTS

    _log: ClassVar[Log | None] = LOG

    SLOTS: ClassVar[tuple[str, ...]] = (
        *SyncGroupDriver.SYNC_SLOTS,
        "__weakref__",
        "_bell",
        "_client",
    )

    _client: Client

    def _set_up(self) -> None:
        super()._set_up()
        self._guard = threading.RLock()
        self._condition = threading.Condition(self._guard)
        self._bell: queue.SimpleQueue[Member | None] = queue.SimpleQueue()  # who has news

    def _new_member(self) -> Member:
        return Member.__new__(Member)

    # --- The crank -----------------------------------------------------------------------------

    def _start(self) -> None:
        pass

    def _select(self, seconds: float | None) -> set[Any]:
        ready: set[Any] = set()
        if seconds is not None:
            moments = [member._moment() for member in tuple(self._shared.values())]
            seconds = min(max(seconds, *moments, 0), LONG)
        try:
            ready.add(self._bell.get(timeout=seconds))
            while True:
                ready.add(self._bell.get_nowait())
        except queue.Empty:
            return ready

    def _nudge(self) -> None:
        if self._leading:
            self._bell.put(None)

    def _shared_again(self, member: Any) -> None:
        with self._guard:
            member._calling = False  # who is inside is on his way out, and not in anybody's way
            self._shared[member._member] = member
            self._nudge()

    def _not_shared(self, member: Any) -> None:
        with self._guard:
            self._shared.pop(member._member, None)

    def _ended(self) -> None:
        self._client.close()

    # --- Verbs ---------------------------------------------------------------------------------

    def _take(self, news: Callable[..., Any], *args: Any) -> None:
        with self._guard:
            super()._take(news, *args)

    def _now(self) -> float:
        return time.monotonic()

    _random = staticmethod(random.random)

    def _from_elsewhere(self, command: Callable[[], None]) -> None:
        # A thread that is inside already may be interrupted here: its inputs queue up.
        with self._guard:
            command()

    def _tell(self, member: MemberDriver, command: Callable[[], None]) -> None:
        member._from_elsewhere(command)
        self._nudge()

    def _unhandled(self, error: BaseException) -> None:
        sys.excepthook(type(error), error, error.__traceback__)


class ClientPool(_Group, SyncConnectionPool):
    """A pool of event streams: a context manager. A subclass sets ``_client``.

    Its other arguments are those of :class:`~sansio_sse.pool_driver.PoolDriver`. Any number of
    threads may use it; each lease is turned by its holder.
    """

    __slots__ = _Group.SLOTS

    def _drop_link(self, link: Any) -> None:
        raise AssertionError("the client keeps connections, not the pool")

    def _warn(self, text: str) -> None:
        warnings.warn(text, ResourceWarning, stacklevel=2)


class ClientStreamSet(_Group, SyncStreamSet):
    """Event streams with different urls: a context manager. A subclass sets ``_client``.

    Its other arguments are those of :class:`~sansio_sse.stream_set.StreamSetDriver`. Whoever reads
    ``events()``, or is in ``run()``, turns all of them.
    """

    __slots__ = _Group.SLOTS
