"""The HTTP-client backend, over httpcore2 and httpcore: on asyncio, on trio, and in threads."""

from collections.abc import Callable
from types import ModuleType
from typing import Any, ClassVar

import anyio
import anyio.abc
import httpcore
import httpcore2

import sansio_sse_httpcore
import sansio_sse_httpcore.sync
from sansio_sse_httpcore.client import default_context

from .driver_asyncio import Asyncio
from .driver_sockets import Connection, ConnectionPool, Sockets, StreamSet
from .driver_trio import Trio
from .face import Face, Scenario
from .server import open_sockets


def _pools(package: ModuleType, kind: str, options: dict[str, Any]) -> dict[str, Any]:
    """Take the options of a pool out, and put a pool of that package in."""
    taken = {name: options.pop(name, None) for name in ("ssl_context", "uds", "proxy", "http2")}
    if package is httpcore2:  # the one that is made by default
        return {**options, **{name: value for name, value in taken.items() if value is not None}}
    context = taken["ssl_context"] or default_context()
    pool = getattr(package, kind)(
        ssl_context=context, uds=taken["uds"], max_connections=None, max_keepalive_connections=0
    )
    return {**options, "pool": pool}


LACKS = frozenset({"own transports", "early answers", "early verdicts", "no proxies", "speed"})
WHAT_CLIENTS_DIFFER_IN = frozenset({"test_phases", "test_resume", "test_transports"})


def opening_in(face: Any, kind: Any) -> Any:
    """Return a class whose ``open()`` needs no task group: it takes the scenario's."""

    class Opened(kind):  # type: ignore[misc]  # it may be one of several
        async def open(self, task_group: anyio.abc.TaskGroup | None = None) -> Any:
            return await super().open(task_group or face._group)

    Opened.__name__ = kind.__name__
    return Opened


class Grouped:
    """What the faces of the async loops have in common here: a task group around a scenario."""

    cycles = 200
    _group: anyio.abc.TaskGroup

    def run(self, scenario: Callable[[], Scenario]) -> None:
        inner: Any = super()
        inner.run(lambda: self._grouped(scenario))

    async def _grouped(self, scenario: Callable[[], Scenario]) -> None:
        failure: Exception | None = None
        async with anyio.create_task_group() as self._group:
            try:
                await scenario()
            except Exception as error:
                failure = error  # bare, not in a group
            await self._clean_up()
            self._group.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _clean_up(self) -> None:
        """Close what a scenario has used."""


class _OverHttpcore(Grouped):
    lacks: ClassVar[frozenset[str]] = LACKS
    package: ClassVar[ModuleType]

    def connect(self, url: str, **options: Any) -> Any:
        made = opening_in(self, sansio_sse_httpcore.Connection)
        return made(url, **_pools(self.package, "AsyncConnectionPool", options))

    def pool(self, config: Any, **options: Any) -> Any:
        made = opening_in(self, sansio_sse_httpcore.ConnectionPool)
        return made(config, **_pools(self.package, "AsyncConnectionPool", options))

    def streams(self, **options: Any) -> Any:
        made = opening_in(self, sansio_sse_httpcore.StreamSet)
        return made(**_pools(self.package, "AsyncConnectionPool", options))


class OnAsyncio(_OverHttpcore, Asyncio):
    name = "httpcore2-asyncio"
    package: ClassVar[ModuleType] = httpcore2


class OnTrio(_OverHttpcore, Trio):
    name = "httpcore2-trio"
    package: ClassVar[ModuleType] = httpcore2


class OnAsyncioOld(_OverHttpcore, Asyncio):
    name = "httpcore-asyncio"
    only = WHAT_CLIENTS_DIFFER_IN
    package: ClassVar[ModuleType] = httpcore


class InThreads(Sockets):
    name = "httpcore2-threads"
    lacks = LACKS | {"connecting", "tidy refusals"}
    cycles = 200

    async def released(self, connection: Any, before: set[tuple[int, int]]) -> None:
        """Look for what is left; a thread that had no socket yet may close its own in a moment."""
        await connection.wait_closed()
        await self.until(lambda: open_sockets() <= before)

    package: ClassVar[ModuleType] = httpcore2

    def connect(self, url: str, **options: Any) -> Any:
        made = sansio_sse_httpcore.sync.Connection[Any]
        return Connection(made(url, **_pools(self.package, "ConnectionPool", options)))

    def pool(self, config: Any, **options: Any) -> Any:
        made = sansio_sse_httpcore.sync.ConnectionPool
        return ConnectionPool(made(config, **_pools(self.package, "ConnectionPool", options)))

    def streams(self, **options: Any) -> Any:
        made = sansio_sse_httpcore.sync.StreamSet
        return StreamSet(made(**_pools(self.package, "ConnectionPool", options)))


class InThreadsOld(InThreads):
    name = "httpcore-threads"
    only = WHAT_CLIENTS_DIFFER_IN
    package: ClassVar[ModuleType] = httpcore


DRIVERS: list[Callable[[], Face]] = [OnAsyncio, OnTrio, OnAsyncioOld, InThreads, InThreadsOld]
