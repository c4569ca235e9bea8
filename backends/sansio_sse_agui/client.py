"""``run()``: one POST of a ``RunAgentInput``, and the events of the run.

It stands on whatever opens event streams, and imports none of it: the ``connect`` of a driver, the
``stream`` of a pool. Retries, resuming, timeouts and limits are those of the connection.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar, overload

from ag_ui.core import RunAgentInput

from sansio_sse import (
    AG_UI,
    AsyncTyped,
    EventDecodeError,
    HeadersInput,
    LocalProtocolError,
    ServerSentEvent,
    SSEError,
    SyncTyped,
    typed,
)

from .events import RunEvent, decode

__all__ = ["AsyncRun", "SyncRun", "run"]

Terminal = Callable[[ServerSentEvent], bool]


class _AsyncEvents(Protocol):
    def __aiter__(self) -> AsyncIterator[object]: ...
    def event_failed(self, error: SSEError) -> None: ...


class _SyncEvents(Protocol):
    def __iter__(self) -> Iterator[object]: ...
    def event_failed(self, error: SSEError) -> None: ...


AsyncT = TypeVar("AsyncT", bound=_AsyncEvents)
SyncT = TypeVar("SyncT", bound=_SyncEvents)
ConnectionT = TypeVar("ConnectionT", bound=_AsyncEvents | _SyncEvents)


class _Run(Generic[ConnectionT]):
    __slots__ = ("_connection", "_until")

    def __init__(self, until: Terminal) -> None:
        self._connection: ConnectionT | None = None
        self._until = until

    @property
    def connection(self) -> ConnectionT:
        """What the events come by: its state, errors, metrics, ``close()``.

        Raises :class:`~sansio_sse.errors.LocalProtocolError` before the run is entered.
        """
        if self._connection is None:
            raise LocalProtocolError("the run is not open: use it in a `with` block")
        return self._connection

    def _failed(self, error: EventDecodeError) -> None:
        self.connection.event_failed(error)
        if self._until(error.event):
            raise error  # nothing comes behind it, and the end must not pass for a good one


class AsyncRun(_Run[AsyncT]):
    """An async context manager, and an async iterator of events; made by :func:`run`."""

    __slots__ = ("_events", "_opening")

    def __init__(self, opening: AbstractAsyncContextManager[AsyncT], until: Terminal) -> None:
        super().__init__(until)
        self._opening = opening
        self._events: AsyncTyped[RunEvent] | None = None

    async def __aenter__(self) -> Self:
        self._connection = await self._opening.__aenter__()
        self._events = typed(self._connection, decode, on_error=self._failed)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._opening.__aexit__(kind, error, traceback)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> RunEvent:
        if self._events is None:
            raise LocalProtocolError("the run is not open: use it in an `async with` block")
        return await anext(self._events)


class SyncRun(_Run[SyncT]):
    """A context manager, and an iterator of events; made by :func:`run`."""

    __slots__ = ("_events", "_opening")

    def __init__(self, opening: AbstractContextManager[SyncT], until: Terminal) -> None:
        super().__init__(until)
        self._opening = opening
        self._events: SyncTyped[RunEvent] | None = None

    def __enter__(self) -> Self:
        self._connection = self._opening.__enter__()
        self._events = typed(self._connection, decode, on_error=self._failed)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._opening.__exit__(kind, error, traceback)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> RunEvent:
        if self._events is None:
            raise LocalProtocolError("the run is not open: use it in a `with` block")
        return next(self._events)


@overload
def run(
    connect: Callable[..., AbstractAsyncContextManager[AsyncT]],
    url: str,
    run_input: RunAgentInput,
    *,
    headers: HeadersInput = None,
    until: Terminal = AG_UI,
    **options: Any,
) -> AsyncRun[AsyncT]: ...


@overload
def run(
    connect: Callable[..., AbstractContextManager[SyncT]],
    url: str,
    run_input: RunAgentInput,
    *,
    headers: HeadersInput = None,
    until: Terminal = AG_UI,
    **options: Any,
) -> SyncRun[SyncT]: ...


def run(
    connect: Callable[..., Any],
    url: str,
    run_input: RunAgentInput,
    *,
    headers: HeadersInput = None,
    until: Terminal = AG_UI,
    **options: Any,
) -> Any:
    """Ask an agent's server for a run: ``async with``, or ``with``, and iterate over its events.

    :param connect: what opens the event stream: the ``connect`` of any driver, or the ``stream`` of
        a pool. Whether the run is async is up to it.
    :param url: where the agent is.
    :param run_input: sent as it is, but for activity messages: they are for people, and the agent
        must not get them back.
    :param headers: those of the request; the credentials, say.
    :param until: what ends the stream: by default the first RUN_FINISHED or RUN_ERROR. A server
        that replays earlier runs before the one asked for needs a closer look.
    :param options: whatever else ``connect`` takes: ``config``, ``ssl_context``, ``on_error``, ...

    The event that ends the run is given, then iteration ends. An end without it raises
    :class:`~sansio_sse.errors.StreamTruncated`; a RUN_ERROR is an event like any other. An event
    that is not as it should be goes to ``connection.errors()`` and ``on_error`` as an
    :class:`~sansio_sse.errors.EventDecodeError`, and the stream goes on; that of the event which
    ends the run is raised as well.

    >>> from sansio_sse_sockets import connect
    >>> question = RunAgentInput(thread_id="t", run_id="r", messages=[])
    >>> type(run(connect, "https://agent.example/run", question)).__name__
    'SyncRun'
    """
    opening = connect(
        url, method="POST", headers=headers, json=_as_json(run_input), until=until, **options
    )
    if hasattr(opening, "__aenter__"):
        return AsyncRun[Any](opening, until)
    return SyncRun[Any](opening, until)


def _as_json(run_input: RunAgentInput) -> Any:
    # Not exclude_none: the models leave out by themselves what has no value, and the nulls of the
    # application's own data are data.
    messages = [message for message in run_input.messages if message.role != "activity"]
    sent = run_input.model_copy(update={"messages": messages})
    return sent.model_dump(mode="json", by_alias=True)
