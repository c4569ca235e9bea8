"""Transports for clients of httpx and httpx2 under which event streams go on, or fail aloud.

One line between an SDK and its client's transport::

    profile = sansio_sse.OPENAI
    client = openai.OpenAI(http_client=httpx2.Client(transport=ResumingTransport(profile=profile)))

Whatever is no event stream passes untouched, so that the SDK's own retries, redirects and errors
are as they were. An event stream reaches the SDK in whole events; if it is cut or falls silent, it
goes on behind its cursor where the server gave one, and otherwise ends in
:class:`~sansio_sse.StreamTruncated` after the last whole event: never early, and never in silence.

Nothing runs here by itself, neither thread nor task. Whoever reads the stream drives it: reconnects
and waits take place inside of the read that needs them. What to do is said by
:class:`~sansio_sse_httpx.resumption.Resumption`; this module does it.
"""

import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from threading import Lock
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Self, assert_never

import anyio

from sansio_sse import ConfigError, ConnectionConfig, Profile
from sansio_sse.http import is_event_stream

from .messages import core_response, decodable
from .modules import module_of
from .resumption import Open, Read, Resumption, Shut, Wait, checked_config

__all__ = ["AsyncResumingTransport", "ResumingTransport"]

if TYPE_CHECKING:
    import httpx2

    import httpx

    class _SyncTransport(httpx2.BaseTransport, httpx.BaseTransport):
        def handle_request(self, request: Any) -> Any: ...
        def __enter__(self) -> Self: ...

    class _AsyncTransport(httpx2.AsyncBaseTransport, httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: Any) -> Any: ...
        async def __aenter__(self) -> Self: ...
else:
    _SyncTransport = _AsyncTransport = object  # neither has to be installed

_SHORTEST = 0.001  # for a socket, a timeout of 0 means something else


class _Transport:
    """What both have in common: the inner transport, and what becomes of a response."""

    _default: str  # the name of the module's own transport

    def __init__(
        self,
        transport: Any = None,
        *,
        profile: Profile,
        config: ConnectionConfig | None = None,
    ) -> None:
        if not isinstance(profile, Profile):
            raise ConfigError(f"profile must be a Profile, not {type(profile).__name__}")
        self._inner: Any = transport
        self._making = Lock()
        self._profile = profile
        self._config = checked_config(config)

    def _inner_of(self, module: ModuleType) -> Any:
        with self._making:
            if self._inner is None:
                self._inner = getattr(module, self._default)()
            return self._inner

    def _resumption(
        self, module: ModuleType, request: Any, outgoing: Any, response: Any, now: float
    ) -> Resumption | None:
        """Return what makes a whole stream of a response, None if it is no event stream."""
        if request.method == "HEAD" or response.status_code != 200:
            return None
        if not is_event_stream(core_response(response)):
            return None
        return Resumption(
            module,
            request,
            response,
            outgoing.extensions,
            profile=self._profile,
            config=self._config,
            now=now,
        )


class ResumingTransport(_Transport, _SyncTransport):
    r"""Event streams that are resumed where they can be, for a ``Client`` of httpx or httpx2.

    :param transport: what carries the requests; None: an ``HTTPTransport()`` of the client's
        module. A client that is given a transport leaves proxies, TLS, HTTP/2 and limits to it, so
        they belong here: ``ResumingTransport(httpx2.HTTPTransport(http2=True), profile=OPENAI)``.
    :param profile: what ends a stream, and where its cursor goes; ``PLAIN`` if nothing is known of
        it.
    :param config: of it count ``timeouts`` (for the first response, ``idle`` alone: the rest is the
        client's), ``reconnection``, ``limits``, ``replay`` and ``retry_statuses``.

    The client's own timeouts hold too, if they are shorter. Silence is noticed by a read timeout
    that is lowered once a response turns out to be an event stream: transports of httpx and httpx2
    heed it, one that you have written has to read it when it reads the body.

    An error is a ``TransportError`` of the client's module and a
    :class:`~sansio_sse.SSEError`, and raised by the read that comes to it. A stream whose reader
    has had events is not begun anew, an ``Idempotency-Key`` or not. A connection can be used again
    if the stream is read to its end.

    Raises :class:`~sansio_sse.ConfigError` for a configuration with heartbeats.

    >>> import httpx
    >>> from sansio_sse import OPENAI
    >>> answer = httpx.Response(200, headers={"Content-Type": "text/event-stream"},
    ...                         content=b"data: Hel\n\ndata: lo\n\ndata: [D")
    >>> cut = httpx.MockTransport(lambda request: answer)
    >>> with httpx.Client(transport=ResumingTransport(cut, profile=OPENAI)) as client:
    ...     with client.stream("POST", "http://example.com/") as response:
    ...         for data in response.iter_bytes():
    ...             print(data)
    Traceback (most recent call last):
    sansio_sse_httpx.StreamTruncated: the stream ended before its terminal event
    """

    _default = "HTTPTransport"

    def handle_request(self, request: Any) -> Any:
        """Send a request; of an event stream, return the response to read it from, whole."""
        module = module_of(request)
        inner = self._inner_of(module)
        outgoing = _outgoing(module, request)
        response = inner.handle_request(outgoing)
        try:
            resumption = self._resumption(module, request, outgoing, response, time.monotonic())
            if resumption is None:
                return response
            stream = _sync_stream(module)(inner, resumption, response, outgoing)
            return _with_stream(module, response, stream)
        except BaseException:
            response.close()
            raise

    def close(self) -> None:
        """Close the inner transport."""
        if self._inner is not None:
            self._inner.close()

    def __enter__(self) -> Self:
        if self._inner is not None:
            self._inner.__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        if self._inner is not None:
            self._inner.__exit__(exc_type, exc_value, traceback)


class AsyncResumingTransport(_Transport, _AsyncTransport):
    """The same for an ``AsyncClient``, on asyncio and trio.

    Silence is noticed by a cancel scope around each read, whatever the inner transport does.

    >>> import httpx2
    >>> from sansio_sse import ANTHROPIC
    >>> client = httpx2.AsyncClient(transport=AsyncResumingTransport(profile=ANTHROPIC))
    """

    _default = "AsyncHTTPTransport"

    async def handle_async_request(self, request: Any) -> Any:
        """Send a request; of an event stream, return the response to read it from, whole."""
        module = module_of(request)
        inner = self._inner_of(module)
        outgoing = _outgoing(module, request)
        response = await inner.handle_async_request(outgoing)
        try:
            resumption = self._resumption(module, request, outgoing, response, anyio.current_time())
            if resumption is None:
                return response
            stream = _async_stream(module)(inner, resumption, response, outgoing)
            return _with_stream(module, response, stream)
        except BaseException:
            await response.aclose()
            raise

    async def aclose(self) -> None:
        """Close the inner transport."""
        if self._inner is not None:
            await self._inner.aclose()

    async def __aenter__(self) -> Self:
        if self._inner is not None:
            await self._inner.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        if self._inner is not None:
            await self._inner.__aexit__(exc_type, exc_value, traceback)


class _SyncStream:
    def __init__(self, inner: Any, resumption: Resumption, response: Any, outgoing: Any) -> None:
        self._inner = inner
        self._resumption = resumption
        self._response = response
        self._chunks: Iterator[bytes] = iter(response.stream)
        self._timeouts = _Timeouts(outgoing)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        while True:
            step = self._resumption.next(time.monotonic())
            match step:
                case bytes() as output:
                    return output
                case Read(until):
                    self._timeouts.lower(until)
                    self._read()
                case Open(request, until):
                    self._timeouts.lower(until)
                    self._open(request)
                case Wait(until):
                    time.sleep(max(0.0, until - time.monotonic()))
                    self._resumption.waited(time.monotonic())
                case Shut():
                    self._shut()
                case None:
                    raise StopIteration
                case _:
                    assert_never(step)

    def _read(self) -> None:
        try:
            data = next(self._chunks)
        except StopIteration:
            self._resumption.ended(time.monotonic())
        except BaseException as error:
            self._resumption.failed(error, time.monotonic())
            if not isinstance(error, Exception):
                raise
        else:
            self._resumption.received(data, time.monotonic())

    def _open(self, request: Any) -> None:
        try:
            self._response = self._inner.handle_request(request)
        except BaseException as error:
            self._resumption.failed(error, time.monotonic())
            if not isinstance(error, Exception):
                raise
        else:
            self._chunks = iter(self._response.stream)
            self._resumption.opened(self._response, time.monotonic())

    def _shut(self) -> None:
        response, self._response = self._response, None
        if response is not None:
            response.close()

    def close(self) -> None:
        self._resumption.close(time.monotonic())
        self._shut()


class _AsyncStream:
    def __init__(self, inner: Any, resumption: Resumption, response: Any, outgoing: Any) -> None:
        self._inner = inner
        self._resumption = resumption
        self._response = response
        self._chunks: Any = aiter(response.stream)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while True:
            step = self._resumption.next(anyio.current_time())
            match step:
                case bytes() as output:
                    return output
                case Read(until):
                    await self._read(until)
                case Open(request, until):
                    await self._open(request, until)
                case Wait(until):
                    await anyio.sleep(max(0.0, until - anyio.current_time()))
                    self._resumption.waited(anyio.current_time())
                case Shut():
                    await self._shut()
                case None:
                    raise StopAsyncIteration
                case _:
                    assert_never(step)

    async def _read(self, until: float | None) -> None:
        data: bytes | None = None
        try:
            with _scope(until):
                data = await anext(self._chunks)
        except StopAsyncIteration:
            self._resumption.ended(anyio.current_time())
        except BaseException as error:
            self._resumption.failed(error, anyio.current_time())
            if not isinstance(error, Exception):
                raise
        else:
            if data is None:
                self._resumption.failed(TimeoutError("too late"), anyio.current_time())
            else:
                self._resumption.received(data, anyio.current_time())

    async def _open(self, request: Any, until: float | None) -> None:
        try:
            with _scope(until):
                self._response = await self._inner.handle_async_request(request)
        except BaseException as error:
            self._resumption.failed(error, anyio.current_time())
            if not isinstance(error, Exception):
                raise
        else:
            if self._response is None:
                self._resumption.failed(TimeoutError("too late"), anyio.current_time())
            else:
                self._chunks = aiter(self._response.stream)
                self._resumption.opened(self._response, anyio.current_time())

    async def _shut(self) -> None:
        response, self._response = self._response, None
        if response is not None:
            await response.aclose()
            if hasattr(self._chunks, "aclose"):
                with suppress(RuntimeError):  # another task is reading, and finds it closed
                    await self._chunks.aclose()

    async def aclose(self) -> None:
        self._resumption.close(anyio.current_time())
        await self._shut()


def _scope(until: float | None) -> anyio.CancelScope:
    return anyio.CancelScope() if until is None else anyio.CancelScope(deadline=until)


class _Timeouts:
    """The timeouts of requests and reads to come, which transports look up when they need them."""

    def __init__(self, outgoing: Any) -> None:
        self._now: dict[str, float | None] = outgoing.extensions["timeout"]
        self._read = self._now.get("read")

    def lower(self, until: float | None) -> None:
        """Let a read last until then, and no longer than the client wants."""
        left = None if until is None else max(_SHORTEST, until - time.monotonic())
        limits = [limit for limit in (left, self._read) if limit is not None]
        self._now["read"] = min(limits, default=None)


@cache
def _sync_stream(module: ModuleType) -> Any:
    return type("ResumingStream", (_SyncStream, module.SyncByteStream), {})


@cache
def _async_stream(module: ModuleType) -> Any:
    return type("AsyncResumingStream", (_AsyncStream, module.AsyncByteStream), {})


def _outgoing(module: ModuleType, request: Any) -> Any:
    """Return the request in an object of our own: same content, and timeouts that can be lowered.

    It accepts no coding that could not be decoded here.
    """
    headers = request.headers.copy()
    if "accept-encoding" in headers:
        headers["accept-encoding"] = decodable(headers["accept-encoding"])
    timeouts = dict(request.extensions.get("timeout") or {})
    return module.Request(
        request.method,
        request.url,
        headers=headers,
        stream=request.stream,
        extensions={**request.extensions, "timeout": timeouts},
    )


def _with_stream(module: ModuleType, response: Any, stream: Any) -> Any:
    """Return a response with another body, and without what was said of the one it had."""
    headers = response.headers.copy()
    for name in ("content-encoding", "content-length", "transfer-encoding"):
        headers.pop(name, None)
    return module.Response(
        response.status_code, headers=headers, stream=stream, extensions=response.extensions
    )
