"""Event streams for asyncio: ``connect()``, ``ConnectionPool`` and ``StreamSet``.

Works unchanged on uvloop. Everything that is decided is decided in :mod:`sansio_sse`; here are
transports, timers and tasks.
"""

from .connection import Connection, connect
from .pool import ConnectionPool, StreamSet

__all__ = ["Connection", "ConnectionPool", "StreamSet", "connect"]
