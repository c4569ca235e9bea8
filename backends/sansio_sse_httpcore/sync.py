"""Event streams over httpcore2 or httpcore without ``await``: the same names, plain calls.

A thread for each exchange; which of its waits ``close()`` cannot interrupt is told in
:mod:`sansio_sse_exchanges.threads`.
"""

import ssl
from typing import Any

from sansio_sse import EventT, PoolConfig
from sansio_sse_exchanges import ClientConnection, ClientPool, ClientStreamSet

from .client import KEEP, Pool, make_client

__all__ = ["Connection", "ConnectionPool", "StreamSet", "connect"]


class Connection(ClientConnection[EventT]):
    """One event stream that survives; made by :func:`connect`.

    A context manager, and an iterator of events. ``close``, ``disconnect``, ``restart`` and
    ``metrics`` are for any thread, and for signal handlers.

    :param pool: a ``ConnectionPool`` of httpcore2 or httpcore, which stays the caller's to
        close; by default one is made for this connection alone, and ``ssl_context``, ``uds``,
        ``proxy`` and ``http2`` are for that one.
    :param proxy: the url of a proxy (http, https or socks5, perhaps with userinfo), or the
        package's own ``Proxy``. The environment is not read.
    :param http2: whether to speak HTTP/2 where the server does.

    All others are those of :class:`~sansio_sse.driver.ConnectionDriver`.
    """

    __slots__ = ()

    def __init__(
        self,
        url: str = "",
        *,
        pool: Pool | None = None,
        proxy: Any = None,
        http2: bool = False,
        ssl_context: ssl.SSLContext | None = None,
        uds: str | None = None,
        **options: Any,
    ) -> None:
        self._client = make_client(
            asynchronous=False,
            pool=pool,
            proxy=proxy,
            http2=http2,
            ssl_context=ssl_context,
            uds=uds,
        )
        super().__init__(url, **options)


connect = Connection
"""``connect(url, ...)``: the way in; see :class:`Connection`."""


class ConnectionPool(ClientPool):
    """A pool of event streams: a context manager.

    ``pool``, ``proxy`` and ``http2`` are those of :func:`connect`, its other arguments those of
    :class:`~sansio_sse.pool_driver.PoolDriver`.
    """

    __slots__ = ()

    def __init__(
        self,
        config: PoolConfig,
        *,
        pool: Pool | None = None,
        proxy: Any = None,
        http2: bool = False,
        ssl_context: ssl.SSLContext | None = None,
        uds: str | None = None,
        **options: Any,
    ) -> None:
        self._client = make_client(
            asynchronous=False,
            pool=pool,
            proxy=proxy,
            http2=http2,
            ssl_context=ssl_context,
            uds=uds,
            keep=KEEP,
        )
        super().__init__(config, **options)


class StreamSet(ClientStreamSet):
    """Event streams with different urls: a context manager.

    ``pool``, ``proxy`` and ``http2`` are those of :func:`connect`, its other arguments those of
    :class:`~sansio_sse.stream_set.StreamSetDriver`.
    """

    __slots__ = ()

    def __init__(
        self,
        *,
        pool: Pool | None = None,
        proxy: Any = None,
        http2: bool = False,
        ssl_context: ssl.SSLContext | None = None,
        uds: str | None = None,
        **options: Any,
    ) -> None:
        self._client = make_client(
            asynchronous=False,
            pool=pool,
            proxy=proxy,
            http2=http2,
            ssl_context=ssl_context,
            uds=uds,
        )
        super().__init__(**options)
