"""``Connection`` and ``connect()`` for asyncio, and for uvloop unchanged."""

import asyncio
from typing import Any, Self

from sansio_sse import AsyncConnectionDriver, EventT, Origin, WireMachine

from .loop import LoopVerbs
from .transport import Link, opener_for, shared_view

__all__ = ["Connection", "connect"]


class Connection(LoopVerbs, AsyncConnectionDriver[EventT]):
    """One event stream that survives; made by :func:`connect`.

    An async context manager, and an async iterator of events. Every method that is not a coroutine
    may be called from any thread, callback or signal handler.
    """

    __slots__ = (
        "__weakref__",
        "_link",
        "_links",
        "_unreleased",
        *LoopVerbs.SLOTS,
    )

    def _set_up(self) -> None:
        self._set_up_loop()
        # Most connections have one transport at a time; only those that ping or post get a dict.
        self._link: Link | None = None
        self._links: dict[int, Link | asyncio.Future[Any]] | None = None
        self._unreleased = 0

    async def open(self) -> Self:
        """Enter without a block: begin, and (unless ``wait=False``) return when accepted."""
        self._check_idle()
        try:
            await self._enter()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aenter__(self) -> Self:
        return await self.open()

    # --- Verbs ---------------------------------------------------------------------------------

    def _wait_for_event(self) -> "asyncio.Future[None]":
        reader: asyncio.Future[None] = asyncio.Future(loop=self._loop)
        self._reader = reader  # for whoever has read bytes, see Link.buffer_updated
        return reader

    def _open(self, transport: int, origin: Origin) -> None:
        assert self._loop is not None
        link = Link(self, transport, shared_view(self._loop))
        self._put_link(transport, link)
        self._unreleased += 1
        # The core bounds the handshake; asyncio insists on a limit too, so it gets a later one.
        handshake = self._machine.config.timeouts.connect + 1
        opening = opener_for(self._loop)(
            link, origin, uds=self._uds, context=self._ssl_context, handshake=handshake
        )
        link.opening = self._loop.create_task(opening)
        link.opening.add_done_callback(link.opened)

    def _send(self, transport: int, data: bytes) -> None:
        link = self._get_link(transport)
        assert isinstance(link, Link)
        link.send(data)

    def _drop(self, transport: int) -> None:
        link = self._take_link(transport)
        if isinstance(link, Link):
            link.drop()
        elif link is not None:
            link.cancel()

    def _reading(self, transport: int, on: bool) -> None:
        link = self._get_link(transport)
        assert isinstance(link, Link)
        link.reading(on)

    def _prepare(self, awaitable: Any, attempt: int) -> None:
        task = asyncio.ensure_future(awaitable)
        self._put_link(attempt, task)
        self._unreleased += 1

        def prepared(task: asyncio.Future[Any]) -> None:
            given_up = self._take_link(attempt) is not task
            error = None if task.cancelled() else task.exception()
            if not given_up:
                if task.cancelled():
                    error = RuntimeError("prepare_request was cancelled")
                if error is None:
                    self._take(WireMachine.request_prepared, attempt, task.result())
                else:
                    self._take(WireMachine.prepare_failed, attempt, error)
            self._released_one()

        task.add_done_callback(prepared)

    # --- Links ---------------------------------------------------------------------------------

    def _put_link(self, number: int, link: "Link | asyncio.Future[Any]") -> None:
        if self._link is None and isinstance(link, Link):
            self._link = link
            return
        if self._links is None:
            self._links = {}
        self._links[number] = link

    def _get_link(self, number: int) -> "Link | asyncio.Future[Any] | None":
        if self._link is not None and self._link.number == number:
            return self._link
        return None if self._links is None else self._links.get(number)

    def _take_link(self, number: int) -> "Link | asyncio.Future[Any] | None":
        if self._link is not None and self._link.number == number:
            link, self._link = self._link, None
            return link
        return None if self._links is None else self._links.pop(number, None)

    def _link_released(self, number: int, link: Link) -> None:
        if self._get_link(number) is link:
            self._take_link(number)
        self._released_one()

    def _released_one(self) -> None:
        self._unreleased -= 1
        if not self._unreleased:
            self._wake()

    def _released(self) -> bool:
        return self._unreleased == 0


connect = Connection
"""``connect(url, ...)``: the way in; see :class:`Connection`."""
