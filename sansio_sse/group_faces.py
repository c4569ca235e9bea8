"""The two faces of a pool and of a set: coroutines for asyncio and trio, plain calls elsewhere.

What a connection's faces are in :mod:`sansio_sse.faces`, these are for groups: they run what is
waited for, and begin and end as the language wants it.
"""

from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from .errors import ConnectionClosed
from .faces import AsyncFace
from .machine_driver import Waiting

__all__ = ["AsyncGroupFace", "AsyncIteration", "SyncGroupFace", "SyncIteration"]

T = TypeVar("T")
ItemT = TypeVar("ItemT")


class AsyncIteration(Generic[ItemT]):
    """An async iterator that ends when there is nothing more, and a context manager to leave it."""

    __slots__ = ()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ItemT:
        try:
            return await self._next()
        except ConnectionClosed:
            raise StopAsyncIteration from None

    def close(self) -> None:
        """Read no more; harmless when repeated."""
        raise NotImplementedError

    async def _next(self) -> ItemT:
        raise NotImplementedError


class SyncIteration(Generic[ItemT]):
    """An iterator that ends when there is nothing more, and a context manager to leave it."""

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> ItemT:
        try:
            return self._next()
        except ConnectionClosed:
            raise StopIteration from None

    def close(self) -> None:
        """Read no more; harmless when repeated."""
        raise NotImplementedError

    def _next(self) -> ItemT:
        raise NotImplementedError


class AsyncGroupFace(AsyncFace):
    """How a pool or a set ends, with a loop."""

    __slots__ = ()

    async def wait_closed(self) -> None:
        """Return when all is closed and no task, socket or timer of it is left."""
        group: Any = self
        await self._run(group._closing_down())

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        group: Any = self
        await group.aclose()


class SyncGroupFace:
    """How a pool or a set begins, lives and ends, without a loop."""

    __slots__ = ()

    def open(self) -> Self:
        """Enter without a block."""
        group: Any = self
        group._start()
        group._start_now()
        return self

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        group: Any = self
        group.close()
        self.wait_closed()

    def wait_closed(self) -> None:
        """Return when all is closed and no task, socket or timer of it is left."""
        group: Any = self
        self._run(group._closing_down())

    def run(self) -> None:
        """Turn the crank until it is closed: for whoever lends a thread, or has callbacks."""
        self._run(self._until_over())

    def _until_over(self) -> Waiting[None]:
        group: Any = self
        while not group._is_over():
            yield None

    def _run(self, waiting: Waiting[T]) -> T:
        raise NotImplementedError
