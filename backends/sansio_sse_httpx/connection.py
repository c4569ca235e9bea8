"""``connect(client, url, ...)``: a whole connection over the user's own httpx or httpx2 client.

The client's auth, cookies, default headers, proxies, transports and event hooks are used as they
are. When to connect again, where to resume, what is silence: that stays the core's business, so the
client's own timeouts and its following of redirects are not used.
"""

from collections.abc import AsyncGenerator, AsyncIterable, Generator, Iterable
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, overload

import anyio

from sansio_sse import ConfigError, HeadersInput, Request, Response, request_fields
from sansio_sse.http import join_url
from sansio_sse_exchanges import (
    AsyncClientConnection,
    ClientConnection,
    Told,
    extensions_of,
    response_of,
)

from .modules import module_of

__all__ = ["AsyncConnection", "Connection", "connect"]

if TYPE_CHECKING:
    import httpx
    import httpx2

# The client's framing is its own, cookies are looked up for each request, and what httpx accepts
# by itself is not what is wanted of an event stream: compression buffers, and `*/*` is no request
# for events.
_NOT_OURS = frozenset({"connection", "content-length", "cookie", "host", "transfer-encoding"})
_ONLY_IF_GIVEN = frozenset({"accept", "accept-encoding"})


class _AsyncHttpx:
    """An ``AsyncClient``, as a driver of exchanges uses it."""

    __slots__ = ("_client",)

    tells = False  # a transport may be anything

    def __init__(self, client: Any) -> None:
        self._client = client

    @asynccontextmanager
    async def exchange(
        self, request: Request, told: Told
    ) -> AsyncGenerator[tuple[Response, AsyncIterable[bytes]]]:
        """Send a request through the client."""
        extensions = extensions_of(told, asynchronous=True)
        made, options = _made(self._client, request, extensions, trusted=told.trusted)
        response = await self._client.send(made, **options)
        try:
            yield _head(response), _apieces(response)
        finally:
            with anyio.CancelScope(shield=True):
                await response.aclose()

    async def aclose(self) -> None:
        """Leave the client open: it is the caller's."""


class _Httpx:
    """A ``Client``, as a driver of exchanges uses it."""

    __slots__ = ("_client",)

    tells = False

    def __init__(self, client: Any) -> None:
        self._client = client

    @contextmanager
    def exchange(self, request: Request, told: Told) -> Generator[tuple[Response, Iterable[bytes]]]:
        """Send a request through the client."""
        extensions = extensions_of(told, asynchronous=False)
        made, options = _made(self._client, request, extensions, trusted=told.trusted)
        response = self._client.send(made, **options)
        extensions["timeout"].pop("read")  # the silence of a stream is the core's to judge
        try:
            told.connected(response.extensions.get("network_stream"))
            yield _head(response), _pieces(response)
        finally:
            response.close()

    def close(self) -> None:
        """Leave the client open: it is the caller's."""


class AsyncConnection(AsyncClientConnection[Any]):
    """One event stream that survives, over an ``AsyncClient``; made by :func:`connect`."""

    __slots__ = ()

    def __init__(self, client: Any, url: str = "", **options: Any) -> None:
        self._client = _AsyncHttpx(client)
        super().__init__(**_through(client, url, options))


class Connection(ClientConnection[Any]):
    """One event stream that survives, over a ``Client``; made by :func:`connect`."""

    __slots__ = ()

    def __init__(self, client: Any, url: str = "", **options: Any) -> None:
        self._client = _Httpx(client)
        super().__init__(**_through(client, url, options))


@overload
def connect(
    client: "httpx.AsyncClient | httpx2.AsyncClient", url: str = "", **options: Any
) -> AsyncConnection: ...


@overload
def connect(
    client: "httpx.Client | httpx2.Client", url: str = "", **options: Any
) -> Connection: ...


def connect(client: Any, url: str = "", **options: Any) -> Any:
    """Follow an event stream through the user's own client, httpx's or httpx2's.

    ``client`` is a ``Client``, and what is returned a context manager and an iterator; or it is an
    ``AsyncClient``, and ``async with`` and ``async for`` are the words, on asyncio and trio. The
    client stays the caller's to close. ``url`` is joined to its ``base_url``, headers and
    parameters of the client come along, and each exchange has its cookies and its auth, which are
    not sent to another origin that a redirect leads to.

    Other arguments are those of every ``connect()``, see
    :class:`~sansio_sse.driver.ConnectionDriver`; but ``ssl_context``, ``uds`` and ``proxy`` are the
    client's. A client has a limit of connections (100 by default), and each stream has one of them.

    Raises :class:`~sansio_sse.errors.ConfigError` for what cannot be, and TypeError for a client
    that is neither of httpx nor of httpx2.
    """
    module = module_of(client)
    kind = AsyncConnection if isinstance(client, module.AsyncClient) else Connection
    return kind(client, url, **options)


def _through(client: Any, url: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a connection, with what the client adds to each request."""
    for name in ("ssl_context", "uds", "proxy"):
        if options.get(name) is not None:
            raise ConfigError(f"{name}: the client has its own")
    if options.get("endpoints") is not None:
        given = _pairs(options.get("headers"))
        names = {name.lower() for name, _ in given}
        mine = [pair for pair in client.headers.multi_items() if pair[0].lower() not in names]
        options["headers"] = [*_ours(mine, names), *given]
        return {**options, "url": url}
    config = options.get("config")
    if config is not None and config.base_url is not None:
        url = join_url(config.base_url, url)
    headers = _pairs(options.pop("headers", None))
    built = client.build_request(options.get("method", "GET"), url, headers=headers)
    names = {name.lower() for name, _ in headers}
    options["headers"] = _ours(built.headers.multi_items(), names)
    return {**options, "url": str(built.url)}


def _pairs(headers: HeadersInput) -> list[tuple[str, str]]:
    if headers is None:
        return []
    given: Any = headers
    if hasattr(given, "multi_items"):  # httpx's own: the items of these are joined
        return list(given.multi_items())
    return list(given.items() if hasattr(given, "items") else given)


def _ours(pairs: list[tuple[str, str]], given: set[str]) -> list[tuple[str, str]]:
    left_out = _NOT_OURS | (_ONLY_IF_GIVEN - given)
    return [pair for pair in pairs if pair[0].lower() not in left_out]


def _made(
    client: Any, request: Request, extensions: dict[str, Any], *, trusted: bool
) -> tuple[Any, dict[str, Any]]:
    """Return the request as the client's module has it, and how it is to be sent."""
    made = module_of(client).Request(
        request.method,
        request.url,
        headers=request_fields(request),
        content=request.content,
        extensions=extensions,
    )
    client.cookies.set_cookie_header(made)  # of the url's own domain
    options: dict[str, Any] = {"stream": True, "follow_redirects": False}
    if not trusted:
        options["auth"] = None
    return made, options


def _pieces(response: Any) -> Iterable[bytes]:
    # A transport for tests gives responses whose content is there already.
    return [response.content] if response.is_stream_consumed else response.iter_raw()


def _apieces(response: Any) -> AsyncIterable[bytes]:
    return _whole(response.content) if response.is_stream_consumed else response.aiter_raw()


async def _whole(content: bytes) -> AsyncGenerator[bytes]:
    yield content


def _head(response: Any) -> Response:
    return response_of(response.status_code, response.headers.raw, response.extensions)
