"""What anyio does for a connection, a pool and a set alike: tasks, time, waiting, threads.

One implementation for asyncio and trio.
"""

import random
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from math import inf
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self

import anyio
import anyio.abc
import anyio.lowlevel

from sansio_sse import NO_SLOTS, LocalProtocolError, Log

from .logs import LOG

__all__ = ["LoopVerbs"]


class LoopVerbs:
    """The verbs that concern the loop alone; stands before a driver's base among the bases."""

    SLOTS: ClassVar[tuple[str, ...]] = (
        "_alarm",
        "_bell",
        "_clock",
        "_handler",
        "_nursery",
        "_own_group",
        "_serving",
        "_soon",
        "_tasks",
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
        self._soon: Callable[[Callable[[], None]], object] | None = None
        self._clock: Callable[[], float] = _time
        self._handler: Callable[[BaseException], object] = _show
        self._nursery: anyio.abc.TaskGroup | None = None
        self._own_group = False
        self._serving: anyio.CancelScope | None = None  # around the timer
        self._alarm: anyio.CancelScope | None = None
        self._bell: anyio.Event | None = None
        self._tasks = 0

    async def __aenter__(self) -> Self:
        if self._own_group:
            raise LocalProtocolError("entered already")
        self._own_group = True
        self._nursery = await anyio.create_task_group().__aenter__()
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
        """Close, and end the group without showing it the body's exception: it would wrap it."""
        self._own_group = False
        assert self._nursery is not None
        try:
            await self.aclose()
        finally:
            # A cancellation that came here would take the place of the body's exception.
            self._nursery.cancel_scope.shield = True
            await self._nursery.__aexit__(None, None, None)

    def _start(self) -> None:
        if self._soon is None:
            if self._nursery is None:
                raise LocalProtocolError("not open: use `async with` or open(task_group) first")
            self._clock, self._soon, self._handler = _native()
            self._serving = anyio.CancelScope()
            self._spawn(self._serve, self._serving)

    async def _serve(self, serving: anyio.CancelScope) -> None:
        """Ring when the armed time comes."""
        try:
            with serving:
                while True:
                    at = inf if self._armed is None else self._armed
                    with anyio.CancelScope(deadline=at) as self._alarm:
                        await anyio.sleep_forever()
                    # What was made ready together runs in any order: let the readers go first.
                    await anyio.lowlevel.checkpoint()
                    self._deadline_reached()
        finally:
            if not serving.cancel_called:
                self.close()  # the group has ended: nothing can run any more
            with anyio.CancelScope(shield=True):
                await self._close_client()
            self._task_released()

    async def _close_client(self) -> None:
        """Close what was made for this alone. Optional."""

    def _now(self) -> float:
        return self._clock()

    def _wall_clock(self) -> float:
        return time.time()

    _random = staticmethod(random.random)

    def _arm(self, at: float | None) -> None:
        if self._alarm is not None:
            self._alarm.deadline = inf if at is None else at

    def _wake(self) -> None:
        bell, self._bell = self._bell, None
        if bell is not None:
            bell.set()

    async def _wait(self, until: float | None) -> None:
        if self._bell is None:
            self._bell = anyio.Event()
        if until is None:
            await self._bell.wait()
            return
        with anyio.CancelScope(deadline=until):
            await self._bell.wait()
            return
        raise TimeoutError

    def _from_elsewhere(self, command: Callable[[], None]) -> None:
        if self._soon is None:
            command()  # never started: there is no other place
            return
        with suppress(RuntimeError):  # the loop has ended, and all exchanges with it
            self._soon(command)

    def _spawn(self, task: Callable[..., Any], *args: Any) -> None:
        assert self._nursery is not None
        self._tasks += 1
        self._nursery.start_soon(task, *args)

    def _unhandled(self, error: BaseException) -> None:
        self._handler(error)

    def _task_released(self) -> None:
        self._tasks -= 1
        if not self._tasks:
            self._wake()

    def _ended(self) -> None:
        if self._serving is not None:
            self._serving.cancel()


def _time() -> float:
    """Return the time before a loop is known: of the one that is running, if one is."""
    try:
        return anyio.current_time()
    except RuntimeError:
        return time.monotonic()


def _show(error: BaseException) -> None:
    sys.excepthook(type(error), error, error.__traceback__)


def _native() -> tuple[
    Callable[[], float],
    Callable[[Callable[[], None]], object],
    Callable[[BaseException], object],
]:
    """Return the running loop's clock, how to call something in it soon, and who takes exceptions.

    anyio's own way from a thread waits for the call to end, which a signal handler must not.
    """
    token: Any = anyio.lowlevel.current_token().native_token
    if hasattr(token, "call_soon_threadsafe"):
        # Where sniffio is installed, anyio asks it which loop this is; in a callback, which is no
        # task, it knows by this variable alone.
        context = copy_context()
        sniffio = sys.modules.get("sniffio")
        if sniffio is not None:
            context.run(sniffio.current_async_library_cvar.set, "asyncio")

        def handle(error: BaseException) -> None:
            token.call_exception_handler(
                {"message": "a callback of an event stream raised", "exception": error}
            )

        return token.time, partial(token.call_soon_threadsafe, context=context), handle
    import trio

    return trio.lowlevel.current_clock().current_time, token.run_sync_soon, _show
