"""The two faces of a ``Connection``: coroutines for asyncio and trio, plain calls elsewhere.

What is waited for is written once, in :class:`~sansio_sse.driver.ConnectionDriver`, as generators
that yield whenever they have to wait. A face runs them over its driver's ``_wait(until)``; that is
all it does. The two have the same methods with the same meaning; only ``aclose`` is async alone.
"""

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from .actions import StateChanged
from .driver import ConnectionDriver, EventT, PostResponse
from .errors import ConnectionClosed, SSEError
from .event_stream import ServerSentEvent
from .http import HeadersInput
from .machine_driver import Waiting, Watcher
from .states import ConnectionState

__all__ = ["AsyncConnectionDriver", "AsyncFace", "AsyncWatch", "SyncConnectionDriver", "SyncWatch"]

T = TypeVar("T")

_CONNECTED = ConnectionState.CONNECTED


class _Watch(Generic[T]):
    __slots__ = ("_connection", "_watcher")

    def __init__(self, connection: Any, watcher: Watcher[T]) -> None:
        self._connection = connection
        self._watcher = watcher

    @property
    def dropped(self) -> int:
        """How many items were dropped because nobody looked."""
        return self._watcher.dropped

    def __del__(self) -> None:
        # An iterator which somebody broke out of must not collect for ever.
        self._connection._unwatch(self._watcher)


class AsyncWatch(_Watch[T]):
    """An async iterator over state changes or errors, independent of all others; ends on CLOSED.

    It holds at most 1000 items for whoever does not look; the oldest are dropped and counted.
    """

    __slots__ = ()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        try:
            item: T = await self._connection._run(self._connection._watching(self._watcher))
        except ConnectionClosed:
            raise StopAsyncIteration from None
        return item


class SyncWatch(_Watch[T]):
    """An iterator over state changes or errors, independent of all others; ends on CLOSED.

    It holds at most 1000 items for whoever does not look; the oldest are dropped and counted.
    """

    __slots__ = ()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        try:
            item: T = self._connection._run(self._connection._watching(self._watcher))
        except ConnectionClosed:
            raise StopIteration from None
        return item


class AsyncFace:
    """Runs what is waited for, over one verb: ``_wait(until)``."""

    __slots__ = ()

    async def _run(self, waiting: Waiting[T]) -> T:
        try:
            while True:
                await self._wait(next(waiting))
        except StopIteration as done:
            result: T = done.value
            return result
        finally:
            waiting.close()

    async def _wait(self, until: float | None) -> None:
        raise NotImplementedError


class AsyncConnectionDriver(AsyncFace, ConnectionDriver[EventT]):
    """The coroutines of a ``Connection``, over two more verbs.

    ========================= ====================================================================
    ``_wait(until)``          return at the next ``_wake()``; raise TimeoutError at ``until``
    ``_start()``              get ready on the running loop
    ``_wait_for_event()``     (optional) the same as ``_wait(None)``, for the reader alone
    ========================= ====================================================================
    """

    __slots__ = ()

    async def connect(self) -> None:
        """Begin (again), from DISCONNECTED or ERROR, and return when the stream is accepted.

        Retries by policy until then. Raises the ERROR state's error, :class:`LocalProtocolError` in
        any other state, and :class:`ConnectionClosed` if it is closed or disconnected meanwhile.
        """
        self._start()
        await self._run(self._connecting())

    async def _enter(self) -> None:
        """Begin, and (unless ``wait=False``) return when accepted."""
        self._start()
        self._connect_now()
        if self._wait_entered:
            await self._run(self._entering())

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> EventT:
        # As `receive` does, without its machinery: a reader who keeps up is here at each event.
        mine: object = None
        try:
            while True:
                buffer = self._buffer
                if buffer and self._reading_now is mine and not (self._stopped or self._paused):
                    event: EventT = buffer.popleft()
                    if isinstance(event, ServerSentEvent):
                        self._delivered = event.id
                    return event
                if mine is None:
                    if self._reading_now:
                        self._begin_reading()  # raises
                    self._reading_now = mine = object()
                if (
                    buffer
                    or self._machine._state is not _CONNECTED  # whose end wakes
                    or self._on_event is not None
                ):
                    polled = self._poll()
                    if polled is not None:
                        return polled
                await self._wait_for_event()
        except ConnectionClosed:
            raise StopAsyncIteration from None
        finally:
            if mine is not None and self._reading_now is mine:
                self._reading_now = None

    def _wait_for_event(self) -> Awaitable[Any]:
        return self._wait(None)

    async def receive(self, timeout: float | None = None) -> EventT:
        """Return the next event; cancelled or timed out, it loses nothing.

        Raises TimeoutError after ``timeout`` seconds, :class:`ConnectionClosed` when there will be
        no more events, the error of ERROR, and :class:`LocalProtocolError` if somebody else is
        reading.
        """
        return await self._run(self._receiving(timeout))

    def state_changes(self) -> AsyncWatch[StateChanged]:
        """Return an iterator over state changes, the first with old == new: the present state."""
        return AsyncWatch(self, self._watch_states())

    def errors(self) -> AsyncWatch[SSEError]:
        """Return an iterator over every error from now on, whatever follows from it."""
        return AsyncWatch(self, self._watch(Watcher(SSEError)))

    async def wait_for(self, state: ConnectionState, timeout: float | None = None) -> None:
        """Return when ``state`` is reached, however briefly, or is the present one.

        Raises TimeoutError, and what ended the stream when ``state`` can no longer come by itself.
        """
        await self._run(self._waiting_for(state, timeout))

    async def post(
        self,
        path_or_url: str,
        *,
        method: str = "POST",
        headers: HeadersInput = None,
        content: bytes | str | None = None,
        json: Any = None,
    ) -> PostResponse:
        """Send something up, beside the stream: same origin, same credentials, its own exchange.

        Returns the answer whatever its status. Raises :class:`ConfigError` for another origin, and
        the error of the exchange; it may take ``timeouts.connect + timeouts.response`` at most.
        Never repeated by itself.
        """
        self._start()
        return await self._run(self._posting(path_or_url, method, headers, content, json))

    async def aclose(self) -> None:
        """Close, and wait until everything is released."""
        self.close()
        await self.wait_closed()

    async def wait_closed(self) -> None:
        """Return when the connection is closed and no task, socket or timer of it is left."""
        await self._run(self._closing_down())

    def _start(self) -> None:
        raise NotImplementedError


class SyncConnectionDriver(ConnectionDriver[EventT]):
    """The plain calls of a ``Connection``, over a few more verbs.

    ========================= ====================================================================
    ``_turn(seconds)``        wait that long at most (None: for ever) for news and take it
    ``_start()``              get ready
    ``_inside``               a context manager: whoever touches the machine holds it
    ``_alone()``              (optional) raise LocalProtocolError if a call is under way
    ``_left()``               (optional) a call has ended
    ========================= ====================================================================

    ``_inside`` must be a lock of the interpreter's, or nothing: a Ctrl-C between the steps of one
    that is written in Python would leave it locked for ever.

    Whoever is in a blocking call turns the crank; if nobody is, nothing happens: no pings, no
    timeouts, no reconnects.
    """

    __slots__ = ("_calling", "_inside")

    _inside: AbstractContextManager[Any]
    _calling: bool  # somebody is in a call

    def connect(self) -> None:
        """Begin (again), from DISCONNECTED or ERROR, and return when the stream is accepted.

        Retries by policy until then. Raises the ERROR state's error, :class:`LocalProtocolError` in
        any other state, and :class:`ConnectionClosed` if it is closed or disconnected meanwhile.
        """
        self._begin()
        self._run(self._entering())

    def _begin(self) -> None:
        self._run(self._beginning())

    def _beginning(self) -> Waiting[None]:
        self._start()
        self._connect_now()
        yield from ()

    def open(self) -> Self:
        """Enter without a block: begin, and (unless ``wait=False``) return when accepted."""
        self._check_idle()
        try:
            self._begin()
            if self._wait_entered:
                self._run(self._entering())
        except BaseException:
            self.close()
            self.wait_closed()
            raise
        return self

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
        self.wait_closed()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> EventT:
        # The usual case first: what is buffered needs neither the machine nor its lock.
        buffer = self._buffer
        if buffer and not (self._stopped or self._paused or self._calling):
            try:
                buffered: EventT = buffer.popleft()
            except IndexError:
                pass  # another thread has closed the connection meanwhile
            else:
                if isinstance(buffered, ServerSentEvent):
                    self._delivered = buffered.id
                return buffered
        try:
            return self._call(self._next)
        except ConnectionClosed:
            raise StopIteration from None

    def _look(self) -> EventT | None:
        """Return what is buffered, without waiting."""
        return self._call(self._poll)

    def _next(self) -> EventT:
        """Do as ``receive()`` does, without its machinery: who keeps up is here at each event."""
        event = self._poll()
        if event is None:
            reader = self._begin_reading()
            try:
                while (event := self._poll()) is None:
                    self._wait(None)
            finally:
                if self._reading_now is reader:
                    self._reading_now = None
        return event

    def receive(self, timeout: float | None = None) -> EventT:
        """Return the next event; cancelled or timed out, it loses nothing.

        Raises TimeoutError after ``timeout`` seconds, :class:`ConnectionClosed` when there will be
        no more events, the error of ERROR, and :class:`LocalProtocolError` if somebody else is
        reading.
        """
        return self._run(self._receiving(timeout))

    def state_changes(self) -> SyncWatch[StateChanged]:
        """Return an iterator over state changes, the first with old == new: the present state."""
        return SyncWatch(self, self._watch_states())

    def errors(self) -> SyncWatch[SSEError]:
        """Return an iterator over every error from now on, whatever follows from it."""
        return SyncWatch(self, self._watch(Watcher(SSEError)))

    def wait_for(self, state: ConnectionState, timeout: float | None = None) -> None:
        """Return when ``state`` is reached, however briefly, or is the present one.

        Raises TimeoutError, and what ended the stream when ``state`` can no longer come by itself.
        """
        self._run(self._waiting_for(state, timeout))

    def post(
        self,
        path_or_url: str,
        *,
        method: str = "POST",
        headers: HeadersInput = None,
        content: bytes | str | None = None,
        json: Any = None,
    ) -> PostResponse:
        """Send something up, beside the stream: same origin, same credentials, its own exchange.

        Returns the answer whatever its status. Raises :class:`ConfigError` for another origin, and
        the error of the exchange; it may take ``timeouts.connect + timeouts.response`` at most.
        Never repeated by itself.
        """
        return self._run(
            self._started_first(self._posting(path_or_url, method, headers, content, json))
        )

    def wait_closed(self) -> None:
        """Return when the connection is closed and no task, socket or timer of it is left."""
        self._run(self._closing_down())

    def _started_first(self, waiting: Waiting[T]) -> Waiting[T]:
        self._start()
        return (yield from waiting)

    def _run(self, waiting: Waiting[T]) -> T:
        return self._call(lambda: self._run_inside(waiting))

    def _call(self, function: Callable[[], T]) -> T:
        """Call a function as the one who is inside."""
        self._alone()
        try:
            with self._inside:
                self._calling = True
                try:
                    return function()
                finally:
                    self._calling = False
        finally:
            self._left()

    def _run_inside(self, waiting: Waiting[T]) -> T:
        late = False
        try:
            while True:
                until = next(waiting)
                if late:
                    raise TimeoutError
                late = self._wait(until)
        except StopIteration as done:
            result: T = done.value
            return result
        finally:
            waiting.close()

    def _wait(self, until: float | None) -> bool:
        """Turn the crank once; return whether ``until`` has passed."""
        self._start()
        at = self._armed
        if until is not None and (at is None or until < at):
            at = until
        self._wait_once(None if at is None else max(0.0, at - self._now()))
        return until is not None and self._now() >= until

    def _wait_once(self, seconds: float | None) -> None:
        # Bytes before the tick: what has arrived while the reader was busy is life.
        self._turn(seconds)
        now = self._now()
        if self._armed is not None and now >= self._armed:
            self._deadline_reached()

    def _alone(self) -> None:
        pass

    def _left(self) -> None:
        pass

    def _start(self) -> None:
        raise NotImplementedError

    def _turn(self, seconds: float | None) -> None:
        raise NotImplementedError
