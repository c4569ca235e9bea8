"""``Connection`` and ``connect()`` over httpcore2 (or httpcore), for asyncio and trio.

This is the way through a proxy, to HTTP/2, and to an application's own connection pool. Everything
else is as in the other drivers.
"""

import ssl
from typing import Any

from sansio_sse import EventT
from sansio_sse_exchanges import AsyncClientConnection

from .client import AsyncPool, make_client

__all__ = ["Connection", "connect"]


class Connection(AsyncClientConnection[EventT]):
    """One event stream that survives; made by :func:`connect`.

    An async context manager, and an async iterator of events. Every method that is not a coroutine
    may be called from any thread, callback or signal handler.

    :param pool: an ``AsyncConnectionPool`` of httpcore2 or httpcore, which stays the caller's to
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
        pool: AsyncPool | None = None,
        proxy: Any = None,
        http2: bool = False,
        ssl_context: ssl.SSLContext | None = None,
        uds: str | None = None,
        **options: Any,
    ) -> None:
        self._client = make_client(
            asynchronous=True,
            pool=pool,
            proxy=proxy,
            http2=http2,
            ssl_context=ssl_context,
            uds=uds,
        )
        super().__init__(url, **options)


connect = Connection
"""``connect(url, ...)``: the way in; see :class:`Connection`."""
