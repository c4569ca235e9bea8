"""asyncio, on its own loop and on uvloop."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import uvloop

import sansio_sse_asyncio

from .face import LIMIT, PATIENCE, Face, Job, Scenario


class _Task(Job):
    def __init__(self, task: "asyncio.Task[Any]") -> None:
        self._task = task

    async def result(self) -> Any:
        async with asyncio.timeout(PATIENCE):
            return await self._task

    @property
    def done(self) -> bool:
        return self._task.done()

    def cancel(self) -> None:
        self._task.cancel()


class Asyncio(Face):
    name = "asyncio"
    _new_loop: Callable[[], asyncio.AbstractEventLoop] = staticmethod(asyncio.new_event_loop)

    def connect(self, url: str, **options: Any) -> Any:
        return sansio_sse_asyncio.connect(url, **options)

    def pool(self, config: Any, **options: Any) -> Any:
        return sansio_sse_asyncio.ConnectionPool(config, **options)

    def streams(self, **options: Any) -> Any:
        return sansio_sse_asyncio.StreamSet(**options)

    def run(self, scenario: Callable[[], Scenario]) -> None:
        with asyncio.Runner(loop_factory=self._new_loop) as runner:
            runner.get_loop().set_exception_handler(self._note)
            runner.run(self._whole(scenario))
        if self.unhandled:
            raise self.unhandled[0]

    async def _whole(self, scenario: Callable[[], Scenario]) -> None:
        # Not a timer of the loop, which would be a leftover; and not pytest's alarm alone, which
        # does not get through to uvloop.
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None
        watchdog = threading.Timer(LIMIT, loop.call_soon_threadsafe, [task.cancel])
        watchdog.start()
        try:
            await scenario()
        except asyncio.CancelledError:
            raise TimeoutError(f"the scenario has not ended after {LIMIT:g} s") from None
        finally:
            watchdog.cancel()
        assert self.leftovers() == []

    def _note(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.unhandled.append(context.get("exception") or RuntimeError(context["message"]))

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def let_run(self, connection: Any, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def one_turn(self) -> None:
        await asyncio.sleep(0)

    def beside(
        self, function: Callable[..., Awaitable[Any]], *args: Any
    ) -> AbstractAsyncContextManager[Job]:
        return _beside(function, *args)

    def leftovers(self) -> list[str]:
        tasks = [repr(task) for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        loop: Any = asyncio.get_running_loop()
        # uvloop does not show its timers.
        timers = getattr(loop, "_scheduled", [])
        return tasks + [repr(timer) for timer in timers if not timer.cancelled()]


@asynccontextmanager
async def _beside(function: Callable[..., Awaitable[Any]], *args: Any) -> AsyncGenerator[Job]:
    async def call() -> Any:
        return await function(*args)

    task = asyncio.create_task(call())
    try:
        await asyncio.sleep(0)  # it begins before the block does
        yield _Task(task)
        async with asyncio.timeout(PATIENCE):
            await asyncio.wait([task])
        if not task.cancelled():
            task.result()
    finally:
        task.cancel()
        await asyncio.wait([task])


class Uvloop(Asyncio):
    name = "uvloop"
    _new_loop = staticmethod(uvloop.new_event_loop)


DRIVERS: list[Callable[[], Face]] = [Asyncio, Uvloop]
