"""How httpcore and httpcore2 are asked for an exchange, and which pool they are asked by.

Either package will do; neither is imported before it is needed. A pool is what it looks like.
"""

import importlib
import os
import ssl
from collections.abc import AsyncGenerator, AsyncIterable, Generator, Iterable
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes, urlsplit

import anyio

from sansio_sse import ConfigError, Origin, Request, Response, request_fields
from sansio_sse_exchanges import Told, extensions_of, response_of

from .multiplex import mend

__all__ = ["KEEP", "AsyncPool", "Pool", "make_client"]

KEEP = 4.0
"""Seconds that a connection is kept for the next stream: servers close what is idle."""


class AsyncPool(Protocol):
    """An ``AsyncConnectionPool`` of httpcore or httpcore2, or what looks like one."""

    async def handle_async_request(self, request: Any) -> Any:
        """Send a request of the pool's own package."""

    async def aclose(self) -> None:
        """Close all connections."""


class Pool(Protocol):
    """A ``ConnectionPool`` of httpcore or httpcore2, or what looks like one."""

    def handle_request(self, request: Any) -> Any:
        """Send a request of the pool's own package."""

    def close(self) -> None:
        """Close all connections."""


def make_client(
    *,
    asynchronous: bool,
    pool: Any = None,
    proxy: Any = None,
    http2: bool = False,
    ssl_context: ssl.SSLContext | None = None,
    uds: str | None = None,
    keep: float = 0.0,
) -> Any:
    """Return what a driver of exchanges uses: the pool that is given, or one that is made.

    ``proxy`` is a url (http, https, socks5, perhaps with userinfo) or the package's own ``Proxy``;
    ``keep`` is for how many seconds a connection that is not used is kept. Raises
    :class:`~sansio_sse.errors.ConfigError` for what does not go together, and where neither
    package is there.
    """
    kind = AsyncPoolClient if asynchronous else PoolClient
    if pool is not None:
        given = {"proxy": proxy, "http2": http2, "ssl_context": ssl_context, "uds": uds}
        _check_pool(pool, [name for name, value in given.items() if value], asynchronous)
        return kind(pool, own=False)
    package = _package()
    if http2:
        _need("h2", "http2")
    make = package.AsyncConnectionPool if asynchronous else package.ConnectionPool
    made = make(
        ssl_context=ssl_context or default_context(),
        proxy=_proxy(package, proxy) if isinstance(proxy, str) else proxy,
        http2=http2,
        uds=uds,
        max_connections=None,  # how many there are is the core's to decide
        max_keepalive_connections=None if keep else 0,
        keepalive_expiry=keep,
    )
    return kind(made, own=True)


def _check_pool(pool: Any, given: list[str], asynchronous: bool) -> None:
    if not hasattr(pool, "handle_async_request" if asynchronous else "handle_request"):
        where = "sansio_sse_httpcore" + (".sync" if asynchronous else "")
        raise ConfigError(f"pool: {type(pool).__name__} is for {where}")
    if given:
        raise ConfigError(f"{', '.join(given)}: the pool that is given has its own")


def _package() -> Any:
    for name in ("httpcore2", "httpcore"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise ConfigError("a pool is needed: install httpcore2, as sansio-sse[httpcore] does")


def _need(name: str, what: str) -> None:
    """Find out now whether a package is there that httpcore imports when it needs it."""
    try:
        importlib.import_module(name)
    except ImportError:
        raise ConfigError(
            f"{what}: install {name}, as sansio-sse[httpcore] does, and httpcore by itself does not"
        ) from None


class _Password(bytes):
    """What httpcore shows in its log, when it logs everything."""

    def __repr__(self) -> str:
        return "…"


def _proxy(package: Any, url: str) -> Any:
    """Return the package's own proxy. The url is never shown: it may hold a password."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port  # raises if it is no number
    except ValueError:
        raise ConfigError("proxy: its url cannot be read") from None
    if parts.scheme not in ("http", "https", "socks5", "socks5h"):
        raise ConfigError("proxy: its url begins with http, https or socks5")
    if not host:
        raise ConfigError("proxy: its url has no host")
    if parts.scheme.startswith("socks"):
        _need("socksio", "proxy")
    if not url.isascii():
        raise ConfigError("proxy: its url has characters that are not ASCII: percent-encode them")
    auth = None
    if parts.username is not None:
        # As bytes: text would have to be ASCII.
        password = _Password(unquote_to_bytes(parts.password or ""))
        auth = (unquote_to_bytes(parts.username), password)
        url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return package.Proxy(url, auth=auth)


_contexts: dict[tuple[str | None, str | None], ssl.SSLContext] = {}


def default_context() -> ssl.SSLContext:
    """Return a verifying context; one for each setting of SSL_CERT_FILE and SSL_CERT_DIR."""
    key = (os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
    if key not in _contexts:
        _contexts[key] = ssl.create_default_context()
    return _contexts[key]


# --- Exchanges -----------------------------------------------------------------------------------


class AsyncPoolClient:
    """An async pool, as a driver of exchanges uses it."""

    __slots__ = ("_own", "_pool")

    tells = True

    def __init__(self, pool: AsyncPool, *, own: bool) -> None:
        self._pool = pool
        self._own = own  # made for one connection alone, and closed with it

    @asynccontextmanager
    async def exchange(
        self, request: Request, told: Told
    ) -> AsyncGenerator[tuple[Response, AsyncIterable[bytes]]]:
        """Send a request through the pool."""
        extensions = extensions_of(told, asynchronous=True)
        hear = extensions["trace"]

        async def trace(name: str, info: dict[str, Any]) -> None:
            if name.startswith("http2."):
                mend(self._pool, asynchronous=True)
            await hear(name, info)

        extensions["trace"] = trace
        response = await self._pool.handle_async_request(_made(self._pool, request, extensions))
        try:
            yield (
                response_of(response.status, response.headers, response.extensions),
                (response.stream),
            )
        finally:
            with anyio.CancelScope(shield=True):
                await response.aclose()

    async def aclose(self) -> None:
        """Close the pool, if it was made for one connection alone."""
        if self._own:
            await self._pool.aclose()


class PoolClient:
    """A pool of plain calls, as a driver of exchanges uses it."""

    __slots__ = ("_own", "_pool")

    tells = True

    def __init__(self, pool: Pool, *, own: bool) -> None:
        self._pool = pool
        self._own = own

    @contextmanager
    def exchange(self, request: Request, told: Told) -> Generator[tuple[Response, Iterable[bytes]]]:
        """Send a request through the pool."""
        extensions = extensions_of(told, asynchronous=False)
        hear = extensions["trace"]

        def trace(name: str, info: dict[str, Any]) -> None:
            if name.startswith("http2."):
                mend(self._pool, asynchronous=False)
                # Who reads, reads for all: no silence is too long.
                extensions["timeout"].pop("read", None)
            hear(name, info)

        extensions["trace"] = trace
        extensions["wanted"] = lambda: not told.dropped
        response = self._pool.handle_request(_made(self._pool, request, extensions))
        extensions["timeout"].pop("read", None)  # the silence of a stream is the core's to judge
        try:
            told.connected(response.extensions.get("network_stream"))
            yield (
                response_of(response.status, response.headers, response.extensions),
                (response.stream),
            )
        finally:
            response.close()

    def close(self) -> None:
        """Close the pool, if it was made for one connection alone."""
        if self._own:
            self._pool.close()


def _made(pool: Any, request: Request, extensions: dict[str, Any]) -> Any:
    """Return the request as the pool's own package has it."""
    package = importlib.import_module(_package_of(pool))
    origin: Origin = request.origin
    url = package.URL(
        scheme=origin.scheme.encode(),
        host=origin.host.encode("ascii"),
        port=origin.port,
        target=request.target.encode("ascii"),
    )
    return package.Request(
        request.method,
        url,
        headers=request_fields(request),
        content=request.content or b"",
        extensions=extensions,
    )


def _package_of(pool: Any) -> str:
    """Return the package that a pool (or what is made of one) belongs to."""
    for kind in type(pool).__mro__:
        root = kind.__module__.partition(".")[0]
        if root in ("httpcore", "httpcore2"):
            return root
    name: str = _package().__name__
    return name
