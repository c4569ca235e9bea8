"""``Connection`` and ``connect()`` for trio: structured, one task per transport.

The tasks run whenever the context is open, read or not, and none outlives it. What the body of the
context raises leaves it bare.
"""

import random
import sys
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from math import inf
from types import TracebackType
from typing import Any, Self

import trio

from sansio_sse import AsyncConnectionDriver, EventT, LocalProtocolError, Origin, WireMachine

from .transport import Link

__all__ = ["Connection", "connect"]


class Connection(AsyncConnectionDriver[EventT]):
    """One event stream that survives; made by :func:`connect`.

    An async context manager, and an async iterator of events. Every method that is not a coroutine
    may be called from any thread, callback or signal handler.
    """

    __slots__ = (
        "__weakref__",
        "_alarm",
        "_clock",
        "_links",
        "_lot",
        "_manager",
        "_nursery",
        "_serving",
        "_tasks",
        "_token",
    )

    def _set_up(self) -> None:
        self._token: trio.lowlevel.TrioToken | None = None
        self._clock: trio.abc.Clock | None = None
        self._nursery: trio.Nursery | None = None
        self._manager: AbstractAsyncContextManager[trio.Nursery] | None = None
        self._serving = trio.CancelScope()  # around the timer, as long as there may be another
        self._alarm: trio.CancelScope | None = None
        self._lot = trio.lowlevel.ParkingLot()
        self._links: dict[int, Link | trio.CancelScope] = {}
        self._tasks = 0

    async def open(self, nursery: trio.Nursery) -> Self:
        """Enter without a block, with tasks in ``nursery``; ``aclose()`` ends them."""
        self._check_idle()
        self._nursery = nursery
        try:
            await self._enter()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aenter__(self) -> Self:
        if self._manager is not None:
            raise LocalProtocolError("entered already")
        self._manager = trio.open_nursery()
        self._nursery = await self._manager.__aenter__()
        try:
            await self._enter()
        except BaseException:
            await self._leave()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._leave()

    async def _leave(self) -> None:
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

    async def aclose(self) -> None:
        """Close, and wait until everything is released."""
        with trio.CancelScope(shield=True):  # all tasks are cancelled: it takes no time
            await super().aclose()

    # --- Verbs ---------------------------------------------------------------------------------

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
        with trio.CancelScope(deadline=inf if until is None else until):
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

    def _open(self, transport: int, origin: Origin) -> None:
        link = self._links[transport] = Link(self, transport)
        self._spawn(link.run, origin)

    def _send(self, transport: int, data: bytes) -> None:
        link = self._links[transport]
        assert isinstance(link, Link)
        self._spawn(link.write, data)

    def _drop(self, transport: int) -> None:
        link = self._links.pop(transport, None)
        if link is not None:
            link.cancel()

    def _reading(self, transport: int, on: bool) -> None:
        link = self._links[transport]
        assert isinstance(link, Link)
        link.reading(on)

    def _prepare(self, awaitable: Any, attempt: int) -> None:
        scope = self._links[attempt] = trio.CancelScope()
        self._spawn(self._prepared, awaitable, attempt, scope)

    async def _prepared(self, awaitable: Any, attempt: int, scope: trio.CancelScope) -> None:
        try:
            with scope:
                request = await awaitable
                self._links.pop(attempt, None)
                self._take(WireMachine.request_prepared, attempt, request)
        except Exception as error:
            self._links.pop(attempt, None)
            self._take(WireMachine.prepare_failed, attempt, error)
        finally:
            self._task_released()

    def _unhandled(self, error: BaseException) -> None:
        sys.excepthook(type(error), error, error.__traceback__)

    def _link_released(self, number: int, link: Link) -> None:
        if self._links.get(number) is link:
            del self._links[number]
        self._task_released()

    def _task_released(self) -> None:
        self._tasks -= 1
        if not self._tasks:
            self._wake()

    def _released(self) -> bool:
        return not self._tasks

    def _ended(self) -> None:
        self._serving.cancel()


connect = Connection
"""``connect(url, ...)``: the way in; see :class:`Connection`."""
