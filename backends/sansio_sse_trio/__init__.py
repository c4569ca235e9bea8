"""Event streams for trio: ``connect()``, ``ConnectionPool`` and ``StreamSet``.

Everything that is decided is decided in :mod:`sansio_sse`; here are streams, one task each.
"""

from .connection import Connection, connect
from .pool import ConnectionPool, StreamSet

__all__ = ["Connection", "ConnectionPool", "StreamSet", "connect"]
