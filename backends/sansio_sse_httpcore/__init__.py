"""Event streams over httpcore2 or httpcore: HTTP/2, proxies, and a connection pool of one's own.

``connect()`` is for asyncio and trio alike; :mod:`sansio_sse_httpcore.sync` is for plain calls.
Everything that is decided is decided in :mod:`sansio_sse`; HTTP is spoken by the pool.
"""

from .connection import Connection, connect
from .pool import ConnectionPool, StreamSet

__all__ = ["Connection", "ConnectionPool", "StreamSet", "connect"]
