"""Plain sockets: the same scenarios, on a connection whose methods are made awaitable.

Nothing ever suspends: an ``await`` of this face is a call that blocks.
"""

import sys
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any

import sansio_sse_sockets
from sansio_sse import ConnectionClosed, ConnectionState, LocalProtocolError

from .face import PATIENCE, Face, Job, Scenario


def run_to_the_end(awaitable: Awaitable[Any]) -> Any:
    """Run what never suspends."""
    steps = awaitable.__await__()
    try:
        next(steps)
    except StopIteration as done:
        return done.value
    raise AssertionError("a plain connection has nothing to suspend for")


class _Thread(Job):
    def __init__(self, function: Callable[..., Awaitable[Any]], *args: Any) -> None:
        self.value: Any = None
        self.error: BaseException | None = None

        def call() -> None:
            try:
                self.value = run_to_the_end(function(*args))
            except BaseException as error:
                self.error = error

        self.thread = threading.Thread(target=call, name="test-beside", daemon=True)
        self.thread.start()

    async def result(self) -> Any:
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive(), "what runs beside does not end"
        if self.error is not None:
            raise self.error
        return self.value

    @property
    def done(self) -> bool:
        return not self.thread.is_alive()


class Awaitables:
    """A plain iterator in the words of an async one."""

    def __init__(self, plain: Any) -> None:
        self.plain = plain

    def __getattr__(self, name: str) -> Any:
        return getattr(self.plain, name)

    def __aiter__(self) -> Any:
        return self

    async def __anext__(self) -> Any:
        try:
            return next(self.plain)
        except StopIteration:
            raise StopAsyncIteration from None


class Connection(Awaitables):
    """A plain connection in the words of an async one."""

    async def open(self) -> Any:
        self.plain.open()
        return self

    async def connect(self) -> None:
        self.plain.connect()

    async def receive(self, timeout: float | None = None) -> Any:
        return self.plain.receive(timeout)

    async def wait_for(self, state: ConnectionState, timeout: float | None = None) -> None:
        self.plain.wait_for(state, timeout)

    async def post(self, path_or_url: str, **options: Any) -> Any:
        return self.plain.post(path_or_url, **options)

    async def wait_closed(self) -> None:
        self.plain.wait_closed()

    async def aclose(self) -> None:
        self.plain.close()
        self.plain.wait_closed()

    def state_changes(self) -> Any:
        return Awaitables(self.plain.state_changes())

    def errors(self) -> Any:
        return Awaitables(self.plain.errors())

    def __repr__(self) -> str:
        return repr(self.plain)

    async def __aenter__(self) -> Any:
        return await self.open()

    async def __aexit__(self, *raised: object) -> None:
        self.plain.__exit__(*raised)


class Lease(Connection):
    """A plain lease in the words of an async one."""

    async def __aenter__(self) -> Any:
        self.plain.__enter__()
        return self

    async def __aexit__(self, *raised: object) -> None:
        self.plain.__exit__(*raised)


class Acquiring:
    """A plain call for a lease, made when it is awaited or entered."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call

    def __await__(self) -> Any:
        return self._acquire().__await__()

    async def _acquire(self) -> Lease:
        return Lease(self._call())

    async def __aenter__(self) -> Any:
        self._lease = await self._acquire()
        return await self._lease.__aenter__()

    async def __aexit__(self, *raised: object) -> None:
        await self._lease.__aexit__(*raised)


class Shared(Awaitables):
    """A plain subscription, or events of many, in the words of an async one."""

    async def receive(self, timeout: float | None = None) -> Any:
        return self.plain.receive(timeout)

    async def __aenter__(self) -> Any:
        self.plain.__enter__()
        return self

    async def __aexit__(self, *raised: object) -> None:
        self.plain.__exit__(*raised)


class Group:
    """What a plain pool and a plain set have in common, in the words of async ones."""

    def __init__(self, plain: Any) -> None:
        self.plain = plain

    def __getattr__(self, name: str) -> Any:
        return getattr(self.plain, name)

    def __repr__(self) -> str:
        return repr(self.plain)

    async def open(self) -> Any:
        self.plain.open()
        return self

    async def wait_closed(self) -> None:
        self.plain.wait_closed()

    async def aclose(self, *grace: float) -> None:
        self.plain.close(*grace)
        self.plain.wait_closed()

    async def __aenter__(self) -> Any:
        self.plain.__enter__()
        return self

    async def __aexit__(self, *raised: object) -> None:
        self.plain.__exit__(*raised)


class ConnectionPool(Group):
    """A plain pool in the words of an async one."""

    def acquire(self, *args: Any, **options: Any) -> Acquiring:
        return Acquiring(lambda: self.plain.acquire(*args, **options))

    def stream(self, *args: Any, **options: Any) -> Acquiring:
        return Acquiring(lambda: self.plain.stream(*args, **options))

    def release(self, lease: Any, *args: Any, **options: Any) -> None:
        self.plain.release(getattr(lease, "plain", lease), *args, **options)

    def subscribe(self, *args: Any, **options: Any) -> Shared:
        return Shared(self.plain.subscribe(*args, **options))

    def events(self, *args: Any, **options: Any) -> Shared:
        return Shared(self.plain.events(*args, **options))

    def changes(self) -> Awaitables:
        return Awaitables(self.plain.changes())


class StreamSet(Group):
    """A plain set in the words of an async one."""

    def events(self) -> Awaitables:
        return Awaitables(self.plain.events())

    def __len__(self) -> int:
        return len(self.plain)

    def __contains__(self, key: Any) -> bool:
        return key in self.plain

    def __iter__(self) -> Any:
        return iter(self.plain)

    def __getitem__(self, key: Any) -> Connection:
        return Connection(self.plain[key])


class Sockets(Face):
    name = "sockets"
    asynchronous = False

    def connect(self, url: str, **options: Any) -> Any:
        return Connection(sansio_sse_sockets.connect(url, **options))

    def pool(self, config: Any, **options: Any) -> Any:
        return ConnectionPool(sansio_sse_sockets.ConnectionPool(config, **options))

    def streams(self, **options: Any) -> Any:
        return StreamSet(sansio_sse_sockets.StreamSet(**options))

    def run(self, scenario: Callable[[], Scenario]) -> None:
        hook, sys.excepthook = sys.excepthook, self._note
        try:
            run_to_the_end(scenario())
        finally:
            sys.excepthook = hook
        if self.unhandled:
            raise self.unhandled[0]

    def _note(
        self, kind: type[BaseException], error: BaseException, traceback: TracebackType | None
    ) -> None:
        self.unhandled.append(error)

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 - nothing here is really asynchronous

    async def let_run(self, connection: Any, seconds: float) -> None:
        try:
            if isinstance(connection, Group):
                connection.plain._run(_nothing(connection.plain, seconds))
            connection.plain.wait_for(ConnectionState.CLOSED, seconds)
        except TimeoutError:
            pass
        except (ConnectionClosed, LocalProtocolError):
            await self.sleep(seconds)  # it is over, or somebody else is turning the crank

    async def one_turn(self) -> None:
        """Whoever is inside takes a turn by itself; if nobody is, the command is done already."""

    def beside(
        self, function: Callable[..., Awaitable[Any]], *args: Any
    ) -> AbstractAsyncContextManager[Job]:
        return self._beside(function, *args)

    @asynccontextmanager
    async def _beside(
        self, function: Callable[..., Awaitable[Any]], *args: Any
    ) -> AsyncGenerator[Job]:
        job = _Thread(function, *args)
        yield job
        await job.result()

    def leftovers(self) -> list[str]:
        return []  # sockets and threads are looked for by the fixtures


def _nothing(group: Any, seconds: float) -> Generator[float, None, None]:
    """Wait for nothing, as long as that."""
    until = group._now() + seconds
    while True:
        yield until


DRIVERS: list[Callable[[], Face]] = [Sockets]
