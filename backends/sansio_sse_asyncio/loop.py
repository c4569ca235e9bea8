"""What asyncio does for a connection, a pool and a set alike: time, timers, waiting, threads."""

import asyncio
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from sansio_sse import NO_SLOTS, Log

from .logs import LOG

__all__ = ["LoopVerbs"]


# The usual loop's time is this clock's, by way of one more function.
_CLOCKS = {asyncio.BaseEventLoop.time: time.monotonic}


class LoopVerbs:
    """The verbs that concern the loop alone; stands before a driver's base among the bases."""

    SLOTS: ClassVar[tuple[str, ...]] = ("_loop", "_now", "_reader", "_timer", "_waiters")

    __slots__ = NO_SLOTS

    _log: ClassVar[Log | None] = LOG

    _now: Callable[[], float]
    _reader: asyncio.Future[None] | None

    if TYPE_CHECKING:

        def _deadline_reached(self) -> None: ...

    def _set_up_loop(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._waiters: list[asyncio.Future[bool]] | None = None
        self._reader = None
        self._now = time.monotonic

    def _start(self) -> None:
        if self._loop is None or self._loop.is_closed():
            self._loop = loop = asyncio.get_running_loop()
            self._now = _CLOCKS.get(type(loop).time, loop.time)

    def _wall_clock(self) -> float:
        return time.time()

    _random = staticmethod(random.random)

    def _arm(self, at: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        assert self._loop is not None
        self._timer = None if at is None else self._loop.call_at(at, self._fired)

    def _fired(self) -> None:
        self._timer = None
        assert self._loop is not None
        # Not now: uvloop looks at timers before sockets, and after a callback that took long there
        # may be bytes which are to be read first.
        self._loop.call_soon(self._deadline_reached)

    def _wake(self) -> None:
        for waiter in self._waiters or ():
            if not waiter.done():
                waiter.set_result(True)
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def _wait(self, until: float | None) -> None:
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        if self._waiters is None:
            self._waiters = []
        self._waiters.append(waiter)
        timer = None if until is None else loop.call_at(until, _time_out, waiter)
        try:
            if not await waiter:
                raise TimeoutError
        finally:
            self._waiters.remove(waiter)
            if not self._waiters:
                self._waiters = None
            if timer is not None:
                timer.cancel()

    def _from_elsewhere(self, command: Callable[[], None]) -> None:
        if self._loop is None:
            command()  # never started: there is no other place
            return
        try:
            self._loop.call_soon_threadsafe(command)
        except RuntimeError:
            pass  # the loop has ended, and all transports with it

    def _unhandled(self, error: BaseException) -> None:
        assert self._loop is not None
        self._loop.call_exception_handler(
            {"message": f"a callback of {self!r} raised", "exception": error}
        )


def _time_out(waiter: "asyncio.Future[bool]") -> None:
    if not waiter.done():
        waiter.set_result(False)
