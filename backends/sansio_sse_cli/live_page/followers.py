"""What the live page is about: connections that are followed, each for itself or as a pool.

A follower runs the streams and tells the board; what happens to them is decided elsewhere.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

from sansio_sse import MemberDriver, PoolClosed, ServerSentEvent, SSEError
from sansio_sse_asyncio import Connection, ConnectionPool, connect

from .board import Board

__all__ = ["PoolFollower", "StreamsFollower"]

_REST = 1.0  # seconds before a member of a pool that ended is replaced


class StreamsFollower:
    """One connection for each of several requests, given as the arguments of ``connect()``."""

    def __init__(
        self, requests: Sequence[dict[str, Any]], hide: Callable[[str], str] = str
    ) -> None:
        self.connections: list[Connection] = [
            connect(**request, on_event=self._came, wait=False) for request in requests
        ]
        self.board: Board = Board(lambda: self.connections, hide=hide)
        self._listeners: dict[Connection, Callable[[ServerSentEvent, float], None]] = {}

    async def follow(self) -> None:
        """Run until cancelled."""
        async with AsyncExitStack() as stack:
            for connection in self.connections:
                self._listeners[connection] = self.board.events_of(connection)
                connection.observe(_observer(self.board))
                await stack.enter_async_context(connection)
            await asyncio.Event().wait()

    def _came(self, connection: Connection, event: ServerSentEvent) -> None:
        self._listeners[connection](event, time.time())


class PoolFollower:
    """A pool of which ``members`` are leased and read."""

    def __init__(
        self, pool: ConnectionPool, members: int, hide: Callable[[str], str] = str
    ) -> None:
        self.pool: ConnectionPool = pool
        self.board: Board = Board(pool.members, pool.stats, hide)
        self._members = members

    async def follow(self) -> None:
        """Run until cancelled."""
        self.pool.observe(_observer(self.board))
        async with self.pool, asyncio.TaskGroup() as group:
            for _ in range(self._members):
                group.create_task(self._read())

    async def _read(self) -> None:
        """Have a member, and another one when that has ended, until the pool is closed."""
        while True:
            try:
                async with self.pool.acquire() as lease:
                    listener = self.board.events_of(self._member(lease.info().id))
                    async for event in lease:
                        listener(event, time.time())
            except PoolClosed:
                return
            except SSEError:
                pass  # the observer was told
            await asyncio.sleep(_REST)

    def _member(self, id: int) -> MemberDriver:
        return next(member for member in self.pool.members() if member.info().id == id)


def _observer(board: Board) -> Callable[[Any, object], None]:
    def observe(source: Any, news: object) -> None:
        board.news(source, news, time.time())

    return observe
