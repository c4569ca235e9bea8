"""Typed events: what a stream's data stands for, in place of its text.

A *decoder* is any function from the text of an event's data to what it stands for: the
``validate_json`` of a pydantic ``TypeAdapter``, the ``decode`` of a msgspec ``Decoder``,
``json.loads``. An event that it cannot decode is an error of that one event: it is reported, and
the stream goes on.
"""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from typing import Any, Generic, Self, TypeVar, overload

from .errors import ConfigError, EventDecodeError, redact_text
from .event_stream import ServerSentEvent

__all__ = ["AsyncTyped", "SyncTyped", "typed"]

T = TypeVar("T")

Report = Callable[[EventDecodeError], object]


class _Typed(Generic[T]):
    __slots__ = ("_decode", "_report", "failures")

    def __init__(self, decode: Callable[[str], T], report: Report) -> None:
        self._decode = decode
        self._report = report
        self.failures: int = 0
        """How many events could not be decoded."""

    def _take(self, event: object) -> tuple[T] | None:
        """Return what an event stands for; None if it is no event, or not as it should be."""
        if not (isinstance(event, ServerSentEvent) or hasattr(event, "data")):
            return None  # Connected, Comment and their like
        given: Any = event
        try:
            return (self._decode(given.data),)
        except Exception as error:
            self.failures += 1
            where = f" (id {given.id!r})" if given.id else ""
            text = f"event {given.event!r}{where} could not be decoded: {type(error).__name__}"
            # The type and the id are the server's to choose, and may be of any length.
            self._report(EventDecodeError(redact_text(text), event=given, cause=error))
            return None


class AsyncTyped(_Typed[T]):
    """An async iterator over what events stand for; made by :func:`typed`."""

    __slots__ = ("_source",)

    def __init__(
        self, source: AsyncIterable[object], decode: Callable[[str], T], report: Report
    ) -> None:
        super().__init__(decode, report)
        self._source: AsyncIterator[object] = aiter(source)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while True:
            taken = self._take(await anext(self._source))
            if taken is not None:
                return taken[0]


class SyncTyped(_Typed[T]):
    """An iterator over what events stand for; made by :func:`typed`."""

    __slots__ = ("_source",)

    def __init__(
        self, source: Iterable[object], decode: Callable[[str], T], report: Report
    ) -> None:
        super().__init__(decode, report)
        self._source: Iterator[object] = iter(source)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        while True:
            taken = self._take(next(self._source))
            if taken is not None:
                return taken[0]


@overload
def typed(
    events: AsyncIterable[object],
    decoder: Callable[[str], T],
    *,
    on_error: Report | None = None,
) -> AsyncTyped[T]: ...


@overload
def typed(
    events: Iterable[object],
    decoder: Callable[[str], T],
    *,
    on_error: Report | None = None,
) -> SyncTyped[T]: ...


def typed(
    events: Any,
    decoder: Callable[[str], T],
    *,
    on_error: Report | None = None,
) -> Any:
    """Iterate over what events stand for: ``decoder(event.data)`` for each.

    :param events: a connection, or whatever else can be iterated over and gives events: a lease, a
        subscription, an ``EventSource``. What is no event (``Connected``, ``Comment``) is left out.
    :param decoder: from text to anything.
    :param on_error: called with the :class:`~sansio_sse.errors.EventDecodeError` of an event that
        could not be decoded, in which that event is. Without it the error goes where the other
        errors of the connection go: to ``errors()``, its ``on_error``, its metrics.

    Raises :class:`~sansio_sse.errors.ConfigError` if nobody would hear of errors: without
    ``on_error``, where ``events`` has no such place.

    >>> events = [ServerSentEvent(data="1"), ServerSentEvent(data="?"), ServerSentEvent(data="2")]
    >>> list(typed(events, int, on_error=print))
    event 'message' could not be decoded: ValueError
    [1, 2]
    """
    report: Report | None = on_error or getattr(events, "event_failed", None)
    if report is None:
        raise ConfigError("on_error: these events have no error stream, so it has to be given")
    if hasattr(events, "__aiter__"):
        return AsyncTyped[T](events, decoder, report)
    return SyncTyped[T](events, decoder, report)
