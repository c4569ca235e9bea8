"""trio."""

import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any

import trio
import trio.testing

import sansio_sse_trio

from .face import LIMIT, PATIENCE, Face, Job, Scenario


class _Task(Job):
    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.over = trio.Event()
        self.value: Any = None
        self.error: BaseException | None = None

    async def run(self, function: Callable[..., Awaitable[Any]], *args: Any) -> None:
        try:
            with self.scope:
                self.value = await function(*args)
        except Exception as error:
            self.error = error
        finally:
            self.over.set()

    async def result(self) -> Any:
        with trio.fail_after(PATIENCE):
            await self.over.wait()
        if self.error is not None:
            raise self.error
        return self.value

    @property
    def done(self) -> bool:
        return self.over.is_set()

    def cancel(self) -> None:
        self.scope.cancel()


class Trio(Face):
    name = "trio"
    spare_threads = "Trio thread"

    def connect(self, url: str, **options: Any) -> Any:
        here = self._nursery

        class Connection(sansio_sse_trio.Connection):
            # The one exception among signatures: a nursery, here that of the scenario.
            async def open(self, nursery: trio.Nursery | None = None) -> Any:
                return await super().open(nursery or here)

        return Connection(url, **options)

    def pool(self, config: Any, **options: Any) -> Any:
        here = self._nursery

        class ConnectionPool(sansio_sse_trio.ConnectionPool):
            async def open(self, nursery: trio.Nursery | None = None) -> Any:
                return await super().open(nursery or here)

        return ConnectionPool(config, **options)

    def streams(self, **options: Any) -> Any:
        here = self._nursery

        class StreamSet(sansio_sse_trio.StreamSet):
            async def open(self, nursery: trio.Nursery | None = None) -> Any:
                return await super().open(nursery or here)

        return StreamSet(**options)

    def run(self, scenario: Callable[[], Scenario]) -> None:
        hook, sys.excepthook = sys.excepthook, self._note
        try:
            trio.run(self._whole, scenario)
        finally:
            sys.excepthook = hook
        if self.unhandled:
            raise self.unhandled[0]

    async def _whole(self, scenario: Callable[[], Scenario]) -> None:
        failure: BaseException | None = None
        async with trio.open_nursery() as self._nursery:
            with trio.move_on_after(LIMIT) as limit:
                try:
                    await scenario()
                    assert self.leftovers() == []
                except Exception as error:
                    failure = error  # bare, not in the nursery's group
            self._nursery.cancel_scope.cancel()
        if limit.cancelled_caught:
            failure = TimeoutError(f"the scenario has not ended after {LIMIT:g} s")
        if failure is not None:
            raise failure

    def _note(
        self, kind: type[BaseException], error: BaseException, traceback: TracebackType | None
    ) -> None:
        self.unhandled.append(error)

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def let_run(self, connection: Any, seconds: float) -> None:
        await trio.sleep(seconds)

    async def one_turn(self) -> None:
        # A command from elsewhere wakes the loop in one turn, and runs in the next.
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()

    def beside(
        self, function: Callable[..., Awaitable[Any]], *args: Any
    ) -> AbstractAsyncContextManager[Job]:
        return self._beside(function, *args)

    @asynccontextmanager
    async def _beside(
        self, function: Callable[..., Awaitable[Any]], *args: Any
    ) -> AsyncGenerator[Job]:
        job = _Task()
        self._nursery.start_soon(job.run, function, *args)
        await trio.testing.wait_all_tasks_blocked()  # it begins before the block does
        try:
            yield job
            await job.result()
        finally:
            job.cancel()
            with trio.CancelScope(shield=True):
                await job.over.wait()

    def leftovers(self) -> list[str]:
        root = self._nursery.parent_task
        found: list[str] = []
        nurseries = list(root.child_nurseries)
        while nurseries:
            for task in nurseries.pop().child_tasks:
                nurseries += task.child_nurseries
                if task is not trio.lowlevel.current_task():
                    found.append(task.name)
        return found


DRIVERS: list[Callable[[], Face]] = [Trio]
