"""An event loop whose time is virtual: it jumps, and it says so when nothing can come."""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

from sansio_sse.testing import VirtualClock
from sansio_sse_asyncio.testing import DeadlockError, VirtualTimeLoop

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T], clock: VirtualClock | None = None) -> T:
    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(clock)) as runner:
        return runner.run(coroutine)


def test_sleeping_takes_no_time_and_all_of_it() -> None:
    async def app() -> list[float]:
        loop = asyncio.get_running_loop()
        times: list[float] = []

        async def sleeper(seconds: float) -> None:
            for _ in range(3):
                await asyncio.sleep(seconds)
                times.append(loop.time())

        async with asyncio.TaskGroup() as group:
            group.create_task(sleeper(10))
            group.create_task(sleeper(86400 * 3))
        return times

    assert run(app()) == [10, 20, 30, 259200, 518400, 777600]


def test_timeouts_are_virtual() -> None:
    async def app() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3600):
                await asyncio.Event().wait()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.sleep(100), 0.5)
        return asyncio.get_running_loop().time()

    clock = VirtualClock(1000)
    assert run(app(), clock) == 4600.5 == clock.now


def test_what_is_due_on_the_clock_comes_between_timers() -> None:
    clock = VirtualClock()
    seen: list[str] = []

    async def app() -> None:
        wakened = asyncio.Event()
        clock.call_at(1, seen.append, "clock 1")
        clock.call_at(3, wakened.set)
        await asyncio.sleep(2)
        seen.append("timer 2")
        await wakened.wait()
        seen.append("woken")
        clock.call_at(clock.now, seen.append, "clock 3")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        seen.append("turned")

    run(app(), clock)
    assert seen == ["clock 1", "timer 2", "woken", "clock 3", "turned"]
    assert clock.now == 3


def test_a_deadlock_is_an_error_and_names_who_waits() -> None:
    cleaned: list[str] = []

    async def app() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(1)
            cleaned.append("up")

    with pytest.raises(DeadlockError, match=r"nothing will ever happen .* Task-\d+"):
        run(app())
    assert cleaned == ["up"]


def test_a_deadlock_without_tasks() -> None:
    loop = VirtualTimeLoop()
    with contextlib.closing(loop), pytest.raises(DeadlockError, match="no tasks"):
        loop.run_forever()


def test_time_that_stands_still_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sansio_sse.testing.application._TURNS", 1000)

    async def app() -> None:
        while True:  # noqa: ASYNC110  # that nothing is waited for is the point
            await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="1000 turns, and it is still 0 s"):
        run(app())


def test_another_thread_can_wake_it_while_it_is_busy() -> None:
    async def app() -> str:
        loop = asyncio.get_running_loop()
        woken: asyncio.Future[str] = loop.create_future()
        loop.call_soon_threadsafe(woken.set_result, "woken")
        return await woken

    assert run(app()) == "woken"


@pytest.mark.parametrize(
    "refused",
    [
        lambda: asyncio.to_thread(print),
        lambda: asyncio.open_connection("127.0.0.1", 9),
        lambda: asyncio.start_server(print, port=0),
        lambda: asyncio.create_subprocess_exec("true"),
        lambda: asyncio.get_running_loop().getaddrinfo("localhost", 80),
    ],
)
def test_what_needs_real_time_is_refused(refused: Any) -> None:
    async def app() -> None:
        await refused()

    with pytest.raises(RuntimeError, match="needs real time"):
        run(app())


def test_debug_mode_works_too() -> None:
    with asyncio.Runner(debug=True, loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(asyncio.sleep(10**5, "done")) == "done"
