"""The ways into the backend: both packages, on asyncio, on trio, and in threads.

Unlike the faces of the contract suite these make no pool of their own: what a test gives is what
the backend is given.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpcore

import sansio_sse_httpcore
import sansio_sse_httpcore.sync
from contract import driver_httpcore as contract
from contract.driver_httpcore import opening_in
from contract.driver_sockets import Connection, ConnectionPool, StreamSet

__all__ = ["WAYS", "InThreads", "OnAsyncio", "OnTrio", "Way"]


class Way:
    """What the ways have in common beside a :class:`~contract.face.Face`."""

    package: Any
    asynchronous: bool

    @asynccontextmanager
    async def transports(self, **options: Any) -> AsyncGenerator[Any]:
        """Make a connection pool of the package, and close it in the end."""
        if self.asynchronous:
            async with self.package.AsyncConnectionPool(**options) as pool:
                yield pool
        else:
            with self.package.ConnectionPool(**options) as pool:
                yield pool

    @property
    def old(self) -> bool:
        return self.package is httpcore


class _Tasks(Way):
    def connect(self, url: str, **options: Any) -> Any:
        return opening_in(self, sansio_sse_httpcore.Connection)(url, **options)

    def pool(self, config: Any, **options: Any) -> Any:
        return opening_in(self, sansio_sse_httpcore.ConnectionPool)(config, **options)

    def streams(self, **options: Any) -> Any:
        return opening_in(self, sansio_sse_httpcore.StreamSet)(**options)


class _Threads(Way):
    def connect(self, url: str, **options: Any) -> Any:
        return Connection(sansio_sse_httpcore.sync.Connection[Any](url, **options))

    def pool(self, config: Any, **options: Any) -> Any:
        return ConnectionPool(sansio_sse_httpcore.sync.ConnectionPool(config, **options))

    def streams(self, **options: Any) -> Any:
        return StreamSet(sansio_sse_httpcore.sync.StreamSet(**options))


class OnAsyncio(_Tasks, contract.OnAsyncio):
    pass


class OnTrio(_Tasks, contract.OnTrio):
    pass


class OnAsyncioOld(_Tasks, contract.OnAsyncioOld):
    pass


class InThreads(_Threads, contract.InThreads):
    pass


class InThreadsOld(_Threads, contract.InThreadsOld):
    pass


WAYS: list[Callable[[], Any]] = [OnAsyncio, OnTrio, OnAsyncioOld, InThreads, InThreadsOld]
