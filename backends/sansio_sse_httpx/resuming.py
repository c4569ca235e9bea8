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
from threading import Lock
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Self

import anyio

from sansio_sse import ConfigError, ConnectionConfig, Profile
from sansio_sse.http import is_event_stream

from .messages import core_response, decodable
from .modules import module_of
from .resumption import Resumption, checked_config
from .streams import async_stream, sync_stream

__all__ = ["AsyncResumingTransport", "ResumingTransport"]

if TYPE_CHECKING:
    import httpx
    import httpx2

    class _SyncTransport(httpx2.BaseTransport, httpx.BaseTransport):
        def handle_request(self, request: Any) -> Any: ...
        def __enter__(self) -> Self: ...

    class _AsyncTransport(httpx2.AsyncBaseTransport, httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: Any) -> Any: ...
        async def __aenter__(self) -> Self: ...
else:
    _SyncTransport = _AsyncTransport = object  # neither has to be installed


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
        self, module: ModuleType, request: Any, sent: Any, response: Any, now: float
    ) -> Resumption | None:
        """Return what makes a whole stream of a response, None if it is no event stream."""
        if request.method == "HEAD" or response.status_code != 200:
            return None
        if not is_event_stream(core_response(response)):
            return None
        return Resumption(
            module,
            request,
            sent,
            response,
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
    heed it, one that you have written has to look at it when it reads the body.

    After the event that ends a stream, what is left of the body is read if that can save the
    connection for another request. A server that keeps such a body open delays the end of the
    stream by a second, and over HTTP/1.1 in a sync client by a read timeout.

    An error is a ``TransportError`` of the client's module and a
    :class:`~sansio_sse.SSEError`, and raised by the read that comes to it. A stream whose reader
    has had events is not begun anew, an ``Idempotency-Key`` or not. A server that gives ids is
    taken to heed them, also in a POST; ``ReconnectionPolicy(enabled=False)`` is for one that is not
    to be asked again.

    Raises :class:`~sansio_sse.ConfigError` for a configuration with heartbeats.

    >>> import httpx
    >>> from sansio_sse import OPENAI
    >>> answer = httpx.Response(200, headers={"Content-Type": "text/event-stream"},
    ...                         content=b"data: Hel\n\ndata: lo\n\ndata: [D")
    >>> cut = httpx.MockTransport(lambda request: answer)
    >>> with httpx.Client(transport=ResumingTransport(cut, profile=OPENAI)) as client:
    ...     with client.stream("POST", "http://example.com/") as response:
    ...         [data for data in response.iter_bytes()]
    Traceback (most recent call last):
    sansio_sse_httpx.StreamTruncated: the stream ended before its terminal event
    """

    _default = "HTTPTransport"

    def handle_request(self, request: Any) -> Any:
        """Send a request; of an event stream, return the response to read it from, whole."""
        module = module_of(request)
        inner = self._inner_of(module)
        sent = _outgoing(module, request)
        response = inner.handle_request(sent)
        try:
            resumption = self._resumption(module, request, sent, response, time.monotonic())
            if resumption is None:
                return response
            stream = sync_stream(module)(inner, resumption, response, sent)
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
        sent = _outgoing(module, request)
        response = await inner.handle_async_request(sent)
        try:
            resumption = self._resumption(module, request, sent, response, anyio.current_time())
            if resumption is None:
                return response
            stream = async_stream(module)(inner, resumption, response, sent)
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
