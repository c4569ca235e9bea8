"""``sansio-sse demo --pool``: three servers, one of them killed and revived, and a pool of streams.

The servers (:mod:`.replica`) are processes of their own; each can go on with any stream. There are
more readers than streams: each has a lease for a while, gives it back, and waits for another.
Whatever becomes of its server or its reader, a stream has to go on where it was.
"""

import asyncio
import random
import time
from contextlib import AsyncExitStack

from sansio_sse import (
    BreakerConfig,
    BreakerState,
    Connected,
    ConnectionConfig,
    Endpoint,
    EndpointChanged,
    MemberChanged,
    PoolConfig,
    PrepareRequestHook,
    ReconnectionPolicy,
    ServerSentEvent,
    SSEError,
    Timeouts,
)
from sansio_sse_asyncio import ConnectionPool

from .process import Exit
from .replica import BEGAN, END, SERVED_BY
from .server_process import ServerDidNotStart, ServerProcess
from .story import Story
from .terminal import escape
from .verdict import judge

__all__ = ["SECONDS", "PoolDemo"]

SECONDS = 9.0
"""How long the streams go on, unless told otherwise."""

_NAMES = "abc"
_STREAMS = 6
_READERS = 7
_PACE = 0.025  # seconds from event to event of a stream
_GRACE = 10.0  # seconds that it may take longer, on a machine that is busy with something else

# When something happens, and how long it lasts, as a part of the whole.
_KILLED = 0.2
_REVIVED = 0.4
_BREAKER_OPEN = 0.1
_FAILBACK_AFTER = 0.08
_LEASE = (0.1, 0.9)

_STYLES = {
    BreakerState.CLOSED: "green",
    BreakerState.OPEN: "red",
    BreakerState.HALF_OPEN: "yellow",
}


class PoolDemo:
    """The play and its verdict.

    Args:
        story: Who is told.
        seed: Which server is killed, and how long readers keep their leases.
        seconds: How long the streams go on.
        prepare_request: The pool's hook, for whoever wants to spoil it.
    """

    def __init__(
        self, story: Story, seed: int, seconds: float, prepare_request: PrepareRequestHook | None
    ) -> None:
        self._story = story
        self._seed = seed
        self._seconds = seconds
        self._prepare_request = prepare_request
        self._chance = random.Random(f"pool {seed}")
        self._last = round(seconds / _PACE)
        self._servers: list[ServerProcess] = []  # all there ever were
        self._names: dict[str, str] = {}  # of servers, by url
        self._where: dict[str, str] = {}  # the server of each stream
        self._moves = 0
        self._ended = 0
        self._began = 0.0
        self._failed = False
        self._over = asyncio.Event()

    async def play(self) -> int:
        """Let the readers read to the end of all streams, and judge."""
        story = self._story
        story.head("".join(f" {name}" for name in _NAMES))
        async with AsyncExitStack() as stack:
            servers = [await self._start_server(stack, name) for name in _NAMES]
            pool = self._make_pool([server.url for server in servers])
            story.out.when_broken(self._over.set)
            await self._follow(stack, pool)
            if story.out.broken:
                return Exit.CLOSED_PIPE
            whole = [await server.finish() for server in self._servers if not server.killed]
        if not all(whole):
            story.remark("a server's process ended before it had told what it sent", "red")
        stats = pool.stats()
        verdict = judge(
            (event for server in self._servers for event in server.sent),
            story.received,
            self._last,
        )
        story.verdict(
            verdict,
            f"seed {self._seed}, {len(self._where)} streams, {stats.acquire_successes} leases",
            moves=self._moves,
            breaker_changes=stats.breaker_changes,
        )
        return Exit.OK if verdict.good and all(whole) and not self._failed else Exit.FAILED

    # --- The pool and its readers --------------------------------------------------------------

    def _make_pool(self, urls: list[str]) -> ConnectionPool:
        self._began = time.time()
        # Everything is shorter than anybody would want it outside of a demonstration.
        config = PoolConfig(
            # They have no cursor_domain, and so share one: ids mean the same to all of them.
            [Endpoint(url) for url in urls],
            connection=ConnectionConfig(
                headers={BEGAN: str(self._began)},
                reconnection=ReconnectionPolicy(max_attempts=0, initial_delay=0.05, max_delay=0.5),
                timeouts=Timeouts(connect=2.0, response=2.0),
            ),
            max_size=_STREAMS,
            acquire_timeout=self._seconds + _GRACE,
            strategy="least_loaded",
            breaker=BreakerConfig(
                failures=2,
                successes=2,
                open_for=_BREAKER_OPEN * self._seconds,
                failback_after=_FAILBACK_AFTER * self._seconds,
            ),
        )
        return ConnectionPool(
            config,
            prepare_request=self._prepare_request,
            include=["connected"],
            on_change=self._pool_changed,
            on_error=self._pool_erred,
        )

    async def _follow(self, stack: AsyncExitStack, pool: ConnectionPool) -> None:
        """Return when all streams have ended, or something went wrong that the verdict may miss."""
        limit = self._seconds + _GRACE
        try:
            async with asyncio.timeout(limit), pool, asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._kill_and_revive(stack, pool))]
                for number in range(1, _READERS + 1):
                    tasks.append(group.create_task(self._read(pool, f"reader {number}")))
                await self._over.wait()
                for task in tasks:
                    task.cancel()
        except TimeoutError:
            self._fail(f"the streams did not end within {limit:g} s")

    async def _read(self, pool: ConnectionPool, reader: str) -> None:
        try:
            while True:
                await self._hold(pool, reader)
        except SSEError as error:
            self._fail(f"{reader}: {escape(error.message)}")

    async def _hold(self, pool: ConnectionPool, reader: str) -> None:
        """Have a stream for a while."""
        asked = self._story.seconds
        async with pool.acquire() as lease:
            now = self._story.seconds
            if lease.last_event_id:
                waited = f"{reader} waited {now - asked:.2f} s"
                self._tell(pool, "lease  ", f"{waited}, reads on after {lease.last_event_id}")
            until = now + self._seconds * self._chance.uniform(*_LEASE)
            server: str | None = None
            async for event in lease:
                if isinstance(event, Connected):
                    server = event.response.header(SERVED_BY)
                    continue
                assert isinstance(event, ServerSentEvent)  # nothing else was included
                if server is not None:
                    self._arrived(pool, event, server)
                    server = None
                self._story.received.append(event)
                if event.event == END:
                    self._ended += 1
                    if self._ended == _STREAMS:
                        self._over.set()
                    await self._over.wait()
                elif self._story.seconds >= until:
                    break

    def _arrived(self, pool: ConnectionPool, event: ServerSentEvent, server: str) -> None:
        stream = event.id.rpartition(":")[0]
        old = self._where.get(stream)
        self._where[stream] = server
        way = f"from {old} to {server}, goes on with"
        if old is None:
            way = f"begins at {server} with"
        elif old == server:
            way = f"back at {server}, goes on with"
        else:
            self._moves += 1
        self._tell(pool, "stream ", escape(f"{stream} {way} {event.id}"))

    def _pool_changed(self, pool: ConnectionPool, change: MemberChanged | EndpointChanged) -> None:
        if isinstance(change, EndpointChanged):
            new = self._story.paint(_STYLES[change.new], change.new.value)
            text = f"{self._names[change.endpoint]} {change.old.value} -> {new}"
            if change.error is not None:
                text += f": {escape(change.error.message)}"
            self._tell(pool, "breaker", text)

    def _pool_erred(self, pool: ConnectionPool, error: BaseException) -> None:
        if not isinstance(error, SSEError):
            raise error  # a mistake of ours, for the loop's handler
        if error.accepted:
            self._tell(pool, "stream ", f"lost: {escape(error.message)}")

    # --- The servers ---------------------------------------------------------------------------

    async def _start_server(
        self, stack: AsyncExitStack, name: str, port: int = 0, begun: int = 0
    ) -> ServerProcess:
        arguments = {
            "name": name,
            "port": port,
            "begun": begun,
            "seed": self._seed,
            "last": self._last,
            "pace": _PACE,
        }
        given = [f"--{option}={value}" for option, value in arguments.items()]
        server = await stack.enter_async_context(ServerProcess("replica", *given))
        self._servers.append(server)
        self._names[server.url] = name
        return server

    async def _kill_and_revive(self, stack: AsyncExitStack, pool: ConnectionPool) -> None:
        victim = self._chance.choice(self._servers)
        name = self._names[victim.url]
        who = self._story.paint("magenta", "server ")
        await self._until(_KILLED)
        self._tell(pool, who, f"{name} is killed (SIGKILL)")
        await victim.kill()
        await self._until(_REVIVED)
        streams = {event.id.partition(":")[0] for event in victim.sent}
        begun = [stream for stream in streams if stream.startswith(name)]
        try:
            await self._start_server(stack, name, victim.port, len(begun))
        except ServerDidNotStart as error:
            self._fail(f"{name} did not start again: {error}")
        else:
            self._tell(pool, who, f"{name} is back")

    async def _until(self, part: float) -> None:
        await asyncio.sleep(max(0.0, self._began + part * self._seconds - time.time()))

    # --- Telling -------------------------------------------------------------------------------

    def _tell(self, pool: ConnectionPool, who: str, text: str) -> None:
        columns = "".join(f" {endpoint.streams}" for endpoint in pool.stats().endpoints)
        self._story.line(who, text, columns)

    def _fail(self, text: str) -> None:
        """End it; the verdict alone could be good."""
        self._story.remark(text, "red")
        self._failed = True
        self._over.set()
