"""``AsyncClientConnection``: an event stream over an async HTTP client; one task for each exchange.

The tasks run whenever the context is open, read or not, and none outlives it. What the body of the
context raises leaves it bare.
"""

from contextlib import aclosing
from typing import Any, ClassVar, Self

import anyio
import anyio.abc

from sansio_sse import (
    AsyncConnectionDriver,
    Carrier,
    EventT,
    ExchangeMachine,
    Request,
    Timeouts,
)

from .client import AsyncClient, failure_of
from .loop import LoopVerbs

__all__ = ["AsyncClientConnection"]


class Link:
    """One exchange of a connection."""

    __slots__ = ("_dropped", "_gate", "_scope", "number", "owner", "timeouts")

    def __init__(self, owner: "AsyncClientConnection[Any]", number: int) -> None:
        self.owner = owner
        self.number = number
        self.timeouts: Timeouts = owner._machine.config.timeouts
        self._dropped = False
        self._gate: anyio.Event | None = None  # what a pause waits for
        self._scope = anyio.CancelScope()

    async def run(self, request: Request) -> None:
        """Make the exchange, and tell what becomes of it."""
        owner, number = self.owner, self.number
        try:
            with self._scope:
                if not owner._client.tells:
                    self._tell(ExchangeMachine.exchange_begun)
                async with owner._client.exchange(request, self) as (response, body):
                    self._tell(ExchangeMachine.response_received, response)
                    async with aclosing(aiter(body)) as pieces:  # type: ignore[type-var]
                        async for data in pieces:
                            while self._gate is not None:
                                await self._gate.wait()
                            if not self._dropped:
                                owner._bytes_received(number, data)
                    self._tell(ExchangeMachine.end_received)
        except Exception as error:
            self._tell(ExchangeMachine.exchange_failed, failure_of(error))
        finally:
            owner._link_released(number, self)

    def _tell(self, news: Any, *args: Any) -> None:
        if not self._dropped:
            self.owner._take(news, self.number, *args)

    def opened(self, *, shared: bool) -> None:
        """It has a connection."""
        self._tell(ExchangeMachine.transport_opened)

    def sent(self) -> None:
        """The whole request has left."""
        self._tell(ExchangeMachine.request_sent)

    def connected(self, stream: Any) -> None:
        """Nothing to do: what waits can be cancelled."""

    def reading(self, on: bool) -> None:
        """Read, or do not."""
        if self._gate is not None:
            self._gate.set()
        self._gate = None if on else anyio.Event()

    def cancel(self) -> None:
        """Let go of it at once."""
        self._dropped = True
        self._scope.cancel()


class AsyncClientConnection(LoopVerbs, AsyncConnectionDriver[EventT]):
    """One event stream that survives, over an async HTTP client; asyncio or trio.

    An async context manager, and an async iterator of events. Every method that is not a coroutine
    may be called from any thread, callback or signal handler.

    A subclass sets ``_client`` before all else.
    """

    SLOTS: ClassVar[tuple[str, ...]] = ("__weakref__", "_client", "_links", *LoopVerbs.SLOTS)

    __slots__ = SLOTS

    _client: AsyncClient
    _carrier: ClassVar[type[Carrier]] = ExchangeMachine

    def _set_up(self) -> None:
        self._set_up_loop()
        self._links: dict[int, Link | anyio.CancelScope] = {}

    async def open(self, task_group: anyio.abc.TaskGroup) -> Self:
        """Enter without a block, with tasks in ``task_group``; ``aclose()`` ends them."""
        self._check_idle()
        self._nursery = task_group
        try:
            await self._enter()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def aclose(self) -> None:
        """Close, and wait until everything is released."""
        with anyio.CancelScope(shield=True):  # all tasks are cancelled: it takes no time
            await super().aclose()

    async def _close_client(self) -> None:
        await self._client.aclose()

    # --- Verbs ---------------------------------------------------------------------------------

    def _exchange(self, exchange: int, request: Request) -> None:
        link = self._links[exchange] = Link(self, exchange)
        self._spawn(link.run, request)

    def _drop(self, transport: int) -> None:
        link = self._links.pop(transport, None)
        if link is not None:
            link.cancel()

    def _reading(self, transport: int, on: bool) -> None:
        link = self._links[transport]
        assert isinstance(link, Link)
        link.reading(on)

    def _prepare(self, awaitable: Any, attempt: int) -> None:
        scope = self._links[attempt] = anyio.CancelScope()
        self._spawn(self._prepared, awaitable, attempt, scope)

    async def _prepared(self, awaitable: Any, attempt: int, scope: anyio.CancelScope) -> None:
        try:
            with scope:
                request = await awaitable
                self._links.pop(attempt, None)
                self._take(Carrier.request_prepared, attempt, request)
        except Exception as error:
            self._links.pop(attempt, None)
            self._take(Carrier.prepare_failed, attempt, error)
        finally:
            self._task_released()

    def _released(self) -> bool:
        return not self._tasks

    def _link_released(self, number: int, link: Link) -> None:
        if self._links.get(number) is link:
            del self._links[number]
        self._task_released()
