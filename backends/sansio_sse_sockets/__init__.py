"""Event streams for plain sockets: ``connect()``, ``ConnectionPool`` and ``StreamSet``.

No loop, no thread, no ``await``: whoever iterates does the waiting. Everything that is decided is
decided in :mod:`sansio_sse`.
"""

from .connection import Connection, connect
from .pool import ConnectionPool, StreamSet

__all__ = ["Connection", "ConnectionPool", "StreamSet", "connect"]
