"""What trio does for a connection, a pool and a set alike: a nursery, time, waiting, threads."""

import random
import sys
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from math import inf
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self

import trio

from sansio_sse import NO_SLOTS, LocalProtocolError, Log

from .logs import LOG

__all__ = ["LoopVerbs"]


class LoopVerbs:
    """The verbs that concern trio alone; stands before a driver's base among the bases."""

    SLOTS: ClassVar[tuple[str, ...]] = (
        "_alarm",
        "_clock",
        "_lot",
        "_manager",
        "_nursery",
        "_serving",
        "_tasks",
        "_token",
    )

    __slots__ = NO_SLOTS

    _log: ClassVar[Log | None] = LOG

    if TYPE_CHECKING:
        _armed: float | None

        close: Callable[..., None]
        aclose: Callable[..., Any]

        async def _enter(self) -> None: ...

        def _deadline_reached(self) -> None: ...

    def _set_up_loop(self) -> None:
        self._token: trio.lowlevel.TrioToken | None = None
        self._clock: trio.abc.Clock | None = None
        self._nursery: trio.Nursery | None = None
        self._manager: AbstractAsyncContextManager[trio.Nursery] | None = None
        self._serving = trio.CancelScope()  # around the timer, as long as there may be another
        self._alarm: trio.CancelScope | None = None
        self._lot = trio.lowlevel.ParkingLot()
        self._tasks = 0

    async def __aenter__(self) -> Self:
        if self._manager is not None:
            raise LocalProtocolError("entered already")
        self._manager = trio.open_nursery()
        self._nursery = await self._manager.__aenter__()
        try:
            await self._enter()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._end()

    async def _end(self) -> None:
        """Close, and end the nursery without showing it the body's exception: it would wrap it."""
        manager, self._manager = self._manager, None
        assert manager is not None
        assert self._nursery is not None
        try:
            await self.aclose()
        finally:
            # A cancellation that came here would take the place of the body's exception.
            self._nursery.cancel_scope.shield = True
            await manager.__aexit__(None, None, None)

    def _start(self) -> None:
        if self._token is None:
            if self._nursery is None:
                raise LocalProtocolError("not open: use `async with` or open(nursery) first")
            self._token = trio.lowlevel.current_trio_token()
            self._clock = trio.lowlevel.current_clock()
            self._spawn(self._serve)

    async def _serve(self) -> None:
        """Ring when the armed time comes."""
        try:
            with self._serving:
                while True:
                    at = inf if self._armed is None else self._armed
                    with trio.CancelScope(deadline=at) as self._alarm:
                        await trio.sleep_forever()
                    # What was made ready together runs in any order: let the readers go first.
                    await trio.lowlevel.checkpoint()
                    self._deadline_reached()
        finally:
            self._task_released()
            if not self._serving.cancel_called:
                self.close()  # the nursery has ended: nothing can run any more

    def _now(self) -> float:
        if self._clock is None and trio.lowlevel.in_trio_run():
            self._clock = trio.lowlevel.current_clock()
        return time.monotonic() if self._clock is None else self._clock.current_time()

    def _wall_clock(self) -> float:
        return time.time()

    _random = staticmethod(random.random)

    def _arm(self, at: float | None) -> None:
        if self._alarm is not None:
            self._alarm.deadline = inf if at is None else at

    def _wake(self) -> None:
        self._lot.unpark_all()

    async def _wait(self, until: float | None) -> None:
        if until is None:
            await self._lot.park()
            return
        with trio.CancelScope(deadline=until):
            await self._lot.park()
            return
        raise TimeoutError

    def _from_elsewhere(self, command: Callable[[], None]) -> None:
        if self._token is None:
            command()  # never started: there is no other place
            return
        with suppress(trio.RunFinishedError):  # and all transports with it
            self._token.run_sync_soon(command)

    def _spawn(self, task: Callable[..., Any], *args: Any) -> None:
        assert self._nursery is not None
        self._tasks += 1
        self._nursery.start_soon(task, *args)

    def _unhandled(self, error: BaseException) -> None:
        sys.excepthook(type(error), error, error.__traceback__)

    def _task_released(self) -> None:
        self._tasks -= 1
        if not self._tasks:
            self._wake()

    def _ended(self) -> None:
        self._serving.cancel()
