"""``Connection`` and ``connect()`` for trio: structured, one task per transport.

The tasks run whenever the context is open, read or not, and none outlives it. What the body of the
context raises leaves it bare.
"""

from typing import Any, Self

import trio

from sansio_sse import AsyncConnectionDriver, EventT, Origin, WireMachine

from .loop import LoopVerbs
from .transport import Link

__all__ = ["Connection", "connect"]


class Connection(LoopVerbs, AsyncConnectionDriver[EventT]):
    """One event stream that survives; made by :func:`connect`.

    An async context manager, and an async iterator of events. Every method that is not a coroutine
    may be called from any thread, callback or signal handler.
    """

    __slots__ = ("__weakref__", "_links", *LoopVerbs.SLOTS)

    def _set_up(self) -> None:
        self._set_up_loop()
        self._links: dict[int, Link | trio.CancelScope] = {}

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

    async def aclose(self) -> None:
        """Close, and wait until everything is released."""
        with trio.CancelScope(shield=True):  # all tasks are cancelled: it takes no time
            await super().aclose()

    # --- Verbs ---------------------------------------------------------------------------------

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

    def _released(self) -> bool:
        return not self._tasks

    def _link_released(self, number: int, link: Link) -> None:
        if self._links.get(number) is link:
            del self._links[number]
        self._task_released()


connect = Connection
"""``connect(url, ...)``: the way in; see :class:`Connection`."""
