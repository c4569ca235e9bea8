"""``AsyncClientConnection``: an event stream over an async HTTP client; one task for each exchange.

The tasks run whenever the context is open, read or not, and none outlives it. What the body of the
context raises leaves it bare.
"""

from collections.abc import AsyncIterable, AsyncIterator
from contextlib import suppress
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

from .client import AsyncClient, before_sending, failure_of
from .loop import LoopVerbs

__all__ = ["AsyncClientConnection"]


class _Work:
    """What a task of a connection does under a number, until it is done or let go of."""

    __slots__ = ("_scope", "dropped", "number", "owner")

    def __init__(self, owner: "AsyncClientConnection[Any]", number: int) -> None:
        self.owner: Any = owner
        self.number: int = number
        self.dropped: bool = False
        self._scope: anyio.CancelScope | None = None

    async def run(self, task: Any) -> None:
        """Do what ``task`` is about; the task."""
        try:
            if not self.dropped:
                with anyio.CancelScope() as self._scope:
                    await self._do(task)
        finally:
            self.owner._work_released(self)

    async def _do(self, task: Any, /) -> None:
        raise NotImplementedError

    def _tell(self, news: Any, *args: Any) -> None:
        if not self.dropped:
            self.owner._take(news, self.number, *args)

    def cancel(self) -> None:
        """Let go of it at once."""
        self.dropped = True
        if self._scope is not None:
            self._scope.cancel()


class Preparing(_Work):
    """An async ``prepare_request`` under way."""

    __slots__ = ()

    async def _do(self, awaitable: Any, /) -> None:
        try:
            request = await awaitable
        except Exception as error:
            self._tell(Carrier.prepare_failed, error)
        else:
            self._tell(Carrier.request_prepared, request)


class Link(_Work):
    """One exchange of a connection."""

    __slots__ = ("_connecting", "_gate", "_paused", "_sent", "timeouts", "trusted")

    def __init__(self, owner: "AsyncClientConnection[Any]", number: int) -> None:
        super().__init__(owner, number)
        self.timeouts: Timeouts = owner._machine.config.timeouts
        self.trusted: bool = False
        self._sent = False
        self._paused = False
        self._gate: anyio.Event | None = None  # what a pause waits for
        self._connecting: Any = None  # the stream of a connection that is not made yet

    async def _do(self, request: Request, /) -> None:
        client = self.owner._client
        self.trusted = self.owner._machine.trusts(request)
        try:
            if not client.tells:
                self._tell(ExchangeMachine.exchange_begun)
            async with client.exchange(request, self) as (response, body):
                self._connecting = None
                self._tell(ExchangeMachine.response_received, response)
                await self._read(body)
                self._tell(ExchangeMachine.end_received)
        except Exception as error:
            if not client.tells and not before_sending(error):
                self._tell(ExchangeMachine.transport_opened)  # perhaps
            failure = failure_of(error, self.timeouts, sent=self._sent)
            self._tell(ExchangeMachine.exchange_failed, failure)
        finally:
            if self._connecting is not None:  # httpcore leaves it open when TLS is cancelled
                with anyio.CancelScope(shield=True):
                    await self._connecting.aclose()

    async def _read(self, body: AsyncIterable[bytes]) -> None:
        pieces = aiter(body)
        try:
            async for data in pieces:
                while self._paused:
                    self._gate = anyio.Event()
                    await self._gate.wait()
                if self.dropped:
                    return
                self.owner._bytes_received(self.number, data)
        finally:
            await _unwind(pieces)

    def opened(self, *, shared: bool) -> None:
        """It has a connection."""
        self._connecting = None
        self._tell(ExchangeMachine.transport_opened)

    def sent(self) -> None:
        """The whole request has left."""
        self._sent = True
        self._tell(ExchangeMachine.request_sent)

    def connected(self, stream: Any) -> None:
        """There is a stream, which is not the client's to use yet."""
        self._connecting = stream

    def reading(self, on: bool) -> None:
        """Read, or do not."""
        self._paused = not on
        if on and self._gate is not None:
            self._gate.set()


async def _unwind(pieces: AsyncIterator[bytes]) -> None:
    """End an iteration that was left early.

    Clients have generators inside of generators, and to close the outer one leaves the others to
    the garbage collector, which trio warns of. An exception that begins inside ends them all: the
    next wait is cancelled.
    """
    with anyio.CancelScope() as scope, suppress(Exception):
        scope.cancel()
        async for _ in pieces:
            pass  # it had this already


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
        self._links: dict[int, _Work] = {}

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
        work = self._links[exchange] = Link(self, exchange)
        self._spawn(work.run, request)

    def _drop(self, transport: int) -> None:
        work = self._links.pop(transport, None)
        if work is not None:
            work.cancel()

    def _reading(self, transport: int, on: bool) -> None:
        link = self._links[transport]
        assert isinstance(link, Link)
        link.reading(on)

    def _prepare(self, awaitable: Any, attempt: int) -> None:
        work = self._links[attempt] = Preparing(self, attempt)
        self._spawn(work.run, awaitable)

    def _released(self) -> bool:
        return not self._tasks

    def _work_released(self, work: _Work) -> None:
        if self._links.get(work.number) is work:  # another may have its number by now
            del self._links[work.number]
        self._task_released()
