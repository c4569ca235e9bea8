"""What httpx-sse offers, under the same names: event streams over a client of httpx or httpx2.

To come from httpx-sse, change the import. Bytes become events in
:class:`sansio_sse.EventStreamParser`, by the letter of the WHATWG standard; everything before that
is the client's, and what the client raises is not touched. Nothing is retried here.

Where httpx-sse 0.4 differs from the standard, this follows the standard:

* A block without a ``data`` line is no event. httpx-sse makes an event with empty data of a block
  that has only ``event``, ``id`` or ``retry``, and of every blank line once the stream gave an ID,
  such as the one after a comment. What such blocks set is in :attr:`EventSource.last_event_id` and
  :attr:`EventSource.retry`, and the ID is that of the events that follow.
* The body is UTF-8, whatever charset the header names, and a byte order mark at its start is
  skipped. httpx-sse goes by the charset, and loses the first field after a mark.
* ``retry`` is digits only. httpx-sse takes whatever ``int()`` takes, such as ``-5`` and ``1_000``.
* A line that ends in CR ends there. httpx-sse holds it until it has seen the character after it.
* The content type is ``text/event-stream`` in any case. httpx-sse wants it in lower case, and is
  content if it is a part of another, such as ``text/event-stream-v2``.

Where this differs by its own choice:

* An event larger than 32 MiB is an error (``max_event_size``).
* A :class:`ServerSentEvent` is a tuple: equal if all of it is equal, hashable, read-only. It has a
  ``has_id``, and None is not taken for ``event``, ``data`` and ``id``.
* :class:`SSEError` itself is no ``httpx.TransportError``; every one that is raised here is.
* The headers that the caller gave are not changed, and may be anything the client takes.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeAlias, TypeVar, cast

import sansio_sse
from sansio_sse import ContentTypeError, EventStreamParser, Limits, ServerSentEvent
from sansio_sse.errors import redact_text, redact_url
from sansio_sse.http import is_event_stream

from .modules import error_for, module_of

__all__ = ["EventSource", "aconnect_sse", "connect_sse"]

_MAX_EVENT_SIZE: Final = Limits().event


class _Headers(Protocol):
    def multi_items(self) -> list[tuple[str, str]]: ...


class _Response(Protocol):
    """As much of a response of httpx or httpx2 as is looked at."""

    @property
    def status_code(self) -> int: ...
    @property
    def http_version(self) -> str: ...
    @property
    def headers(self) -> _Headers: ...
    @property
    def request(self) -> Any: ...
    def iter_bytes(self) -> Iterator[bytes]: ...
    def aiter_bytes(self) -> AsyncIterator[bytes]: ...


if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault

    ResponseT = TypeVarWithDefault("ResponseT", bound=_Response, default=Any)
else:
    # Defaults come with Python 3.13.
    ResponseT = TypeVar("ResponseT")
ResponseT_co = TypeVar("ResponseT_co", bound=_Response, covariant=True)


class _Client(Protocol[ResponseT_co]):
    @property
    def stream(self) -> Callable[..., AbstractContextManager[ResponseT_co]]: ...


class _AsyncClient(Protocol[ResponseT_co]):
    @property
    def stream(self) -> Callable[..., AbstractAsyncContextManager[ResponseT_co]]: ...


class _URL(Protocol):
    @property
    def scheme(self) -> str: ...
    @property
    def host(self) -> str: ...


_Feed: TypeAlias = Callable[[bytes], list[ServerSentEvent]]


class EventSource(Generic[ResponseT]):
    r"""The events of a response, of which the body was not read yet.

    :param response: of httpx or httpx2, streamed (``client.stream``) or whole.
    :param max_event_size: the most bytes that one event may have, as in
        :class:`sansio_sse.EventStreamParser`. Raises ValueError if it is not positive.

    >>> import httpx
    >>> headers = {"Content-Type": "text/event-stream"}
    >>> response = httpx.Response(200, headers=headers, content=b"id: 7\ndata: hello\n\n")
    >>> for event in EventSource(response).iter_sse():
    ...     print(event.event, event.id, event.data)
    message 7 hello
    """

    def __init__(self, response: ResponseT, *, max_event_size: int = _MAX_EVENT_SIZE) -> None:
        self._response = response
        self._max_event_size = max_event_size
        self._parser = EventStreamParser(max_event_size=max_event_size)

    @property
    def response(self) -> ResponseT:
        """The response, for its status and its headers."""
        return self._response

    @property
    def last_event_id(self) -> str:
        """The last event ID of the stream so far: the Last-Event-ID of a request to resume it."""
        return self._parser.last_event_id

    @property
    def retry(self) -> int | None:
        """The reconnection time that the stream gave last, in milliseconds; None if it did not."""
        return self._parser.retry

    def iter_sse(self) -> Generator[ServerSentEvent, None, None]:
        """Iterate over the events as they come, until the body ends; an incomplete one is dropped.

        Raises :class:`SSEError` if the response is no event stream
        (:class:`~sansio_sse.ContentTypeError`) or an event is too large
        (:class:`~sansio_sse.EventTooLarge`), and whatever the client raises.
        """
        parser = self._begin()
        feed = cast(_Feed, parser.feed)
        chunks = self._response.iter_bytes()
        try:
            for chunk in chunks:
                yield from feed(chunk)
                if parser.error is not None:
                    raise self._error(parser.error, accepted=True)
        finally:
            if isinstance(chunks, Generator):
                chunks.close()

    async def aiter_sse(self) -> AsyncGenerator[ServerSentEvent, None]:
        """Do the same with the response of an asynchronous client."""
        parser = self._begin()
        feed = cast(_Feed, parser.feed)
        chunks = self._response.aiter_bytes()
        try:
            async for chunk in chunks:
                for event in feed(chunk):
                    yield event
                if parser.error is not None:
                    raise self._error(parser.error, accepted=True)
        finally:
            if isinstance(chunks, AsyncGenerator):
                await chunks.aclose()

    def _begin(self) -> EventStreamParser:
        self._check_content_type()
        # A response that was read whole can be iterated over again, from its beginning.
        self._parser = EventStreamParser(max_event_size=self._max_event_size)
        return self._parser

    def _check_content_type(self) -> None:
        head = self._head()
        if not is_event_stream(head):
            found = redact_text(head.header("content-type") or "")
            text = "Expected response header Content-Type to contain 'text/event-stream'"
            error = ContentTypeError(f"{text}, got {found.partition(';')[0]!r}")
            raise self._error(error, accepted=False)

    def _error(self, error: sansio_sse.SSEError, *, accepted: bool) -> sansio_sse.SSEError:
        """Tell an error what is known here, and make it one of the client's too."""
        try:
            request = self._response.request
        except RuntimeError:  # the response was made by hand
            request = None
        else:
            error.url = redact_url(str(request.url))
        error.response = self._head()
        error.request_sent = True
        error.accepted = accepted
        return error_for(module_of(self._response), error, request)

    def _head(self) -> sansio_sse.Response:
        response = self._response
        return sansio_sse.Response(
            response.status_code,
            tuple(response.headers.multi_items()),
            response.http_version.removeprefix("HTTP/"),
        )


@contextmanager
def connect_sse(
    client: _Client[ResponseT], method: str, url: str | _URL, **kwargs: Any
) -> Generator[EventSource[ResponseT], None, None]:
    r"""Send a request, and give the :class:`EventSource` of its response; the end closes it.

    :param client: a ``Client`` of httpx or httpx2.
    :param kwargs: for ``client.stream``. The headers Accept and Cache-Control are set.

    >>> import httpx
    >>> def answer(request):
    ...     headers = {"Content-Type": request.headers["Accept"]}
    ...     return httpx.Response(200, headers=headers, content=b"data: hello\n\n")
    >>> with httpx.Client(transport=httpx.MockTransport(answer)) as client:
    ...     with connect_sse(client, "GET", "http://example.com/events") as source:
    ...         [event.data for event in source.iter_sse()]
    ['hello']
    """
    with client.stream(method, url, **_with_headers(client, kwargs)) as response:
        yield EventSource(response)


@asynccontextmanager
async def aconnect_sse(
    client: _AsyncClient[ResponseT], method: str, url: str | _URL, **kwargs: Any
) -> AsyncGenerator[EventSource[ResponseT], None]:
    """Do what :func:`connect_sse` does, with an ``AsyncClient``."""
    async with client.stream(method, url, **_with_headers(client, kwargs)) as response:
        yield EventSource(response)


def _with_headers(client: object, kwargs: dict[str, Any]) -> dict[str, Any]:
    # The client's own type takes everything that the client takes, and copies it.
    headers = module_of(client).Headers(kwargs.get("headers"))
    headers["Accept"] = "text/event-stream"
    headers["Cache-Control"] = "no-store"
    return {**kwargs, "headers": headers}
