"""``ConnectionPool`` and ``StreamSet`` over httpcore2 (or httpcore), for asyncio and trio."""

import ssl
from typing import Any

from sansio_sse import PoolConfig
from sansio_sse_exchanges import AsyncClientPool, AsyncClientStreamSet

from .client import KEEP, AsyncPool, make_client

__all__ = ["ConnectionPool", "StreamSet"]


class ConnectionPool(AsyncClientPool):
    """A pool of event streams: an async context manager.

    ``pool``, ``proxy`` and ``http2`` are those of :func:`~sansio_sse_httpcore.connect`, its other
    arguments those of :class:`~sansio_sse.pool_driver.PoolDriver`.
    """

    __slots__ = ()

    def __init__(
        self,
        config: PoolConfig,
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
            keep=KEEP,
        )
        super().__init__(config, **options)


class StreamSet(AsyncClientStreamSet):
    """Event streams with different urls: an async context manager.

    ``pool``, ``proxy`` and ``http2`` are those of :func:`~sansio_sse_httpcore.connect`, its other
    arguments those of :class:`~sansio_sse.stream_set.StreamSetDriver`.
    """

    __slots__ = ()

    def __init__(
        self,
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
        super().__init__(**options)
