"""What the page is shown in tests: servers that do as they are told, real connections to them, and
the page itself, all in a loop on a thread of its own, because a browser is driven from another."""

import asyncio
import random
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self, TypeVar

import h11

from sansio_sse import (
    BreakerConfig,
    ConnectionConfig,
    PoolConfig,
    ReconnectionPolicy,
    encode_event,
)
from sansio_sse_asyncio import Connection, ConnectionPool
from sansio_sse_cli.live_page import Gate, PageServer, PoolFollower, StreamsFollower
from sansio_sse_cli.loopback import Exchange, LoopbackServer, last_event_id

T = TypeVar("T")

SYMBOLS = ("ACME", "GLOBEX", "HOOLI", "INITECH", "SOYLENT", "STARK")

BOUND = 30.0  # seconds that nothing here should take; beyond them it hangs


class Playground(LoopbackServer):
    """A server whose paths say what it does.

    ``/steady/N``: N events a second; ``/quiet``: none; ``/flaky/S``: ends after about S seconds,
    again and again; ``/busy``: answers 503; ``/missing``: answers 404; ``/says``: sends ``said``.
    """

    def __init__(self, port: int = 0, seed: int = 0) -> None:
        super().__init__(port)
        self.said: list[bytes] = []
        self._chance = random.Random(seed)
        self._open: set[Exchange] = set()

    def at(self, path: str) -> str:
        """Return the url of a path."""
        return f"http://127.0.0.1:{self.port}{path}"

    async def aclose(self) -> None:
        """End it, before its context does."""
        await self.__aexit__(None, None, None)

    def cut(self) -> None:
        """Reset every connection that there is."""
        for exchange in list(self._open):
            exchange.reset()

    async def _answer(self, request: h11.Request, exchange: Exchange) -> None:
        _, what, *rest = request.target.decode().partition("?")[0].split("/")
        if what in ("busy", "missing"):
            exchange.head(503 if what == "busy" else 404)
            await exchange.drain()
            return
        await asyncio.sleep(self._chance.uniform(0.001, 0.02))
        exchange.head(200, ("Content-Type", "text/event-stream"))
        self._open.add(exchange)
        leaving = asyncio.ensure_future(exchange.until_client_leaves())
        given = last_event_id(request)
        cursor = int(given) if given.isdecimal() else 0
        speaking = asyncio.ensure_future(self._speak(what, rest, exchange, cursor))
        try:
            await asyncio.wait({leaving, speaking}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._open.discard(exchange)
            leaving.cancel()
            speaking.cancel()
            await asyncio.gather(leaving, speaking, return_exceptions=True)

    async def _speak(self, what: str, rest: list[str], exchange: Exchange, cursor: int) -> None:
        match what:
            case "says":
                for data in self.said:
                    exchange.data(data, self._chance)
                await asyncio.Event().wait()
            case "steady":
                await self._events(float(rest[0]), BOUND * 100, exchange, cursor)
            case "flaky":
                seconds = float(rest[0]) * self._chance.uniform(0.6, 1.4)
                await self._events(3, seconds, exchange, cursor)
            case _:
                await asyncio.Event().wait()

    async def _events(self, rate: float, seconds: float, exchange: Exchange, number: int) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            number += 1
            kind = self._chance.choice(["price", "price", "trade", "message", "news"])
            price = 100 + self._chance.gauss(0, 3)
            data = f'{{"symbol":"{self._chance.choice(SYMBOLS)}","price":{price:.2f}}}'
            exchange.data(encode_event(data, event=kind, id=str(number)), self._chance)
            await exchange.drain()
            await asyncio.sleep(self._chance.expovariate(rate))


class Stage:
    """A loop on a thread; what is entered through it is left, in order, at the end."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._stack = AsyncExitStack()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.run(self._stack.aclose())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(BOUND)
            self._loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine over there."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(BOUND)

    def call(self, function: Callable[[], T]) -> T:
        """Call a function over there."""

        async def call() -> T:
            return function()

        return self.run(call())

    def enter(self, context: Any) -> Any:
        """Enter an async context, to be left at the end."""
        return self.run(self._stack.enter_async_context(context))

    # --- What is on it ---------------------------------------------------------------------------

    def playground(self, seed: int = 0) -> Playground:
        """Start a server of streams."""
        started: Playground = self.enter(Playground(seed=seed))
        return started

    def page(self, *urls: str, port: int = 0) -> "Show":
        """Follow streams, and serve their page."""
        return Show(self, urls, port)

    def pool_page(self, *urls: str, members: int) -> "PoolShow":
        """Follow a pool over endpoints, and serve its page."""
        return PoolShow(self, urls, members)


PATIENT = ReconnectionPolicy(max_attempts=0, initial_delay=0.2, max_delay=1.0)


class _Followed:
    """A follower that follows as long as its context is open."""

    def __init__(self, follower: StreamsFollower | PoolFollower) -> None:
        self._follower = follower

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._follower.follow())

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


class Show:
    """Connections and the page that shows them."""

    def __init__(self, stage: Stage, urls: tuple[str, ...], port: int) -> None:
        config = ConnectionConfig(reconnection=PATIENT)
        requests = [{"url": url, "config": config} for url in urls]
        self.follower = stage.call(lambda: StreamsFollower(requests))
        stage.enter(_Followed(self.follower))
        self.server: PageServer = stage.enter(PageServer(self.follower.board, Gate(), port=port))

    @property
    def connections(self) -> list[Connection]:
        """What is followed."""
        return self.follower.connections

    @property
    def url(self) -> str:
        """Where the page is."""
        return self.server.url


class PoolShow:
    """A pool whose members are all read, and the page that shows it."""

    def __init__(self, stage: Stage, urls: tuple[str, ...], members: int) -> None:
        config = PoolConfig(
            list(urls),
            connection=ConnectionConfig(reconnection=PATIENT),
            max_size=members + 2,
            breaker=BreakerConfig(failures=1, open_for=60.0),
        )
        self.pool: ConnectionPool = stage.call(lambda: ConnectionPool(config))
        follower = stage.call(lambda: PoolFollower(self.pool, members))
        stage.enter(_Followed(follower))
        self.server: PageServer = stage.enter(PageServer(follower.board, Gate()))

    @property
    def url(self) -> str:
        """Where the page is."""
        return self.server.url
